//! One half of the service tables, from the entries it shall hold: address entries are added, the perfect hashes are
//! built, and the root word's flags follow from what is in it.

use std::collections::BTreeMap;

use lb_common::abi::{ALWAYS_LIVE, Displacements, Reverse, Root, Service, Sources, root_flags, service_flags};
use lb_common::address::Address;
use lb_common::packet::protocol;

use super::perfect_hash::{Key, PerfectHash, build};
use super::write::{Half, Write};

/// The writes that make `services` and `reverse` live, in the half that `live` does not use: fill, flip, and wait until no
/// packet uses the other half. Whether replies leave by VLAN interfaces, and whether there are probes, is not decided here and stays. `None` when two entries have the same key, or there are too many.
pub fn publish(live: &Root, services: &[Service], reverse: &[Reverse], sources: &Sources) -> Option<[Write; 3]> {
    let index = (live.word & root_flags::HALF) as u32 ^ 1;
    let addresses = address_entries(services);
    let entries: Vec<Service> = services.iter().chain(&addresses).copied().collect();
    let service_hash = build(&entries.iter().map(service_key).collect::<Vec<_>>())?;
    let reverse_hash = build(&reverse.iter().map(reverse_key).collect::<Vec<_>>())?;

    let mut root = *live;
    root.word = u64::from(index)
        | flags(services, reverse)
        | live.word & (root_flags::VLAN | root_flags::PROBES | root_flags::EXCHANGE);
    root.service_seed[index as usize] = service_hash.seed;
    root.reverse_seed[index as usize] = reverse_hash.seed;
    let half = Half {
        index,
        displacements: Displacements { services: service_hash.displacements, reverse: reverse_hash.displacements },
        services: placed(&service_hash, &entries),
        reverse: placed(&reverse_hash, reverse),
        sources: *sources,
    };
    Some([Write::Half(Box::new(half)), Write::Flip(root), Write::Grace])
}

/// One entry for each address that some listener has: it tells a packet that cannot be read from a stranger's. Its live
/// word is that of its listeners; where they differ, one of them may be live at any time, so it counts as always live.
fn address_entries(services: &[Service]) -> Vec<Service> {
    let mut live: BTreeMap<Address, u32> = BTreeMap::new();
    for service in services {
        let word = live.entry(service.address).or_insert(service.live);
        if *word != service.live {
            *word = ALWAYS_LIVE;
        }
    }
    let flags = service_flags::USED | service_flags::ADDRESS;
    live.into_iter().map(|(address, live)| Service { address, flags, live, ..Service::default() }).collect()
}

fn flags(services: &[Service], reverse: &[Reverse]) -> u64 {
    let when = |condition: bool, flag: u64| if condition { flag } else { 0 };
    let takes_every_port = |service: &Service| service.port_wire == 0 && !protocol::is_portless(service.protocol);
    when(services.iter().any(takes_every_port), root_flags::WILDCARD)
        | when(!reverse.is_empty(), root_flags::NAT)
        | when(reverse.iter().any(|reverse| reverse.backend_port_wire == 0), root_flags::NAT_WILDCARD)
        | when(reverse.iter().any(|reverse| reverse.exclude != 0), root_flags::NAT_EXCLUDE)
}

fn service_key(service: &Service) -> Key {
    Key { address: service.address, port_wire: service.port_wire, protocol: service.protocol }
}

fn reverse_key(reverse: &Reverse) -> Key {
    Key { address: reverse.backend, port_wire: reverse.backend_port_wire, protocol: reverse.protocol }
}

fn placed<T: Copy>(hash: &PerfectHash, entries: &[T]) -> Vec<(u32, T)> {
    hash.entries.iter().copied().zip(entries.iter().copied()).collect()
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;
    use crate::reconcile::image::Image;

    fn service(number: u32, port: u16) -> Service {
        let address = Ipv4Addr::from(0xcb00_7100 + number).into();
        let flags = service_flags::USED;
        Service { address, port_wire: port.to_be(), protocol: 6, flags, pool: number + 1, ..Service::default() }
    }

    fn publish_into(image: &mut Image, services: &[Service]) {
        let writes = publish(&image.root, services, &[], &Sources::default()).expect("all different keys");
        writes.iter().for_each(|write| image.apply(write));
    }

    #[test]
    fn every_listener_is_found_and_no_other() {
        let mut image = Image::new(16, 16);
        let services: Vec<Service> = (0..1000).map(|number| service(number / 4, 80 + number as u16 % 4)).collect();
        publish_into(&mut image, &services);
        for service in &services {
            assert_eq!(image.listener(service.address, service.port_wire, 6), Some(service));
            assert_eq!(image.listener(service.address, service.port_wire, 17), None);
            assert_eq!(image.listener(service.address, 84u16.to_be(), 6), None);
        }
    }

    #[test]
    fn a_listener_of_every_port_takes_what_no_other_has() {
        let mut image = Image::new(16, 16);
        let (every, exact) = (service(1, 0), Service { pool: 7, ..service(1, 80) });
        publish_into(&mut image, &[every, exact]);
        assert_ne!(image.root.word & root_flags::WILDCARD, 0);
        assert_eq!(image.listener(every.address, 80u16.to_be(), 6).map(|entry| entry.pool), Some(7));
        assert_eq!(image.listener(every.address, 81u16.to_be(), 6), Some(&every));
    }

    #[test]
    fn an_address_follows_what_all_of_its_listeners_follow() {
        let following = |number, port, live| Service { live, ..service(number, port) };
        let mut image = Image::new(16, 16);
        let services = [following(1, 80, 5), following(1, 443, 5), following(2, 80, 5), following(2, 443, 6)];
        publish_into(&mut image, &services);
        let of_address = |number| image.listener(service(number, 0).address, 0, 0).map(|entry| entry.live);
        assert_eq!((of_address(1), of_address(2)), (Some(5), Some(ALWAYS_LIVE)));
    }

    #[test]
    fn halves_take_turns_and_the_live_one_is_left_alone_until_the_flip() {
        let mut image = Image::new(16, 16);
        publish_into(&mut image, &[service(1, 80)]);
        let [fill, flip, grace] = publish(&image.root, &[service(2, 80)], &[], &Sources::default()).expect("one key");
        image.apply(&fill);
        assert!(image.listener(service(1, 80).address, 80u16.to_be(), 6).is_some());
        assert!(image.listener(service(2, 80).address, 80u16.to_be(), 6).is_none());
        image.apply(&flip);
        assert!(image.listener(service(1, 80).address, 80u16.to_be(), 6).is_none());
        assert!(image.listener(service(2, 80).address, 80u16.to_be(), 6).is_some());
        assert!(matches!(grace, Write::Grace), "the other half is filled again by the next plan");
    }

    #[test]
    fn whether_replies_leave_by_vlan_interfaces_survives() {
        let mut image = Image::new(16, 16);
        image.root.word |= root_flags::VLAN;
        publish_into(&mut image, &[service(1, 80)]);
        assert_ne!(image.root.word & root_flags::VLAN, 0);
    }
}
