//! One half of the service tables, from the entries it shall hold: address entries and the directories of ranges are added, the perfect
//! hashes are built, and the root word's flags follow from what is in it.

use std::collections::BTreeMap;

use lb_common::abi::{
    ALWAYS_LIVE, Displacements, Ranges, Reverse, Root, Service, Sources, reverse_flags, root_flags, service_flags,
};
use lb_common::address::Address;
use lb_common::limits::RANGE_LISTS;
use lb_common::packet::protocol;

use super::perfect_hash::{Key, PerfectHash, build};
use super::write::{Half, Write};

/// The writes that make `services` and `reverse` live, in the half that `live` does not use: fill, flip, and wait until no
/// packet uses the other half. Whether replies leave by VLAN interfaces, and whether there are probes, is not decided here and stays. `None` when two entries have the same key, or there are too many.
pub fn publish(live: &Root, services: &[Service], reverse: &[Reverse], sources: &Sources) -> Option<[Write; 3]> {
    let index = (live.word & root_flags::HALF) as u32 ^ 1;
    let mut lists = Lists::default();
    let mut entries = with_directories(services, &mut lists)?;
    let turned = with_directories(reverse, &mut lists)?;
    let flags = flags(&entries, &turned);
    for plain in entries.iter_mut().filter(|entry| entry.is_plain()) {
        plain.flags |= service_flags::PLAIN;
    }
    entries.extend(address_entries(services));
    let service_hash = build(&entries.iter().map(service_key).collect::<Vec<_>>())?;
    let reverse_hash = build(&turned.iter().map(reverse_key).collect::<Vec<_>>())?;

    let mut root = *live;
    root.word = u64::from(index) | flags | live.word & (root_flags::VLAN | root_flags::PROBES | root_flags::EXCHANGE);
    root.service_seed[index as usize] = service_hash.seed;
    root.reverse_seed[index as usize] = reverse_hash.seed;
    let half = Half {
        index,
        displacements: Displacements { services: service_hash.displacements, reverse: reverse_hash.displacements },
        services: placed(&service_hash, &entries),
        reverse: placed(&reverse_hash, &turned),
        ranges: lists.0,
        sources: *sources,
    };
    Some([Write::Half(Box::new(half)), Write::Flip(root), Write::Grace])
}

/// Lists of ranges, each once.
#[derive(Default)]
struct Lists(Vec<Ranges>);

impl Lists {
    /// How entries name a list; `None` if it is too long, or there are too many.
    fn number(&mut self, mut ranges: Vec<u32>) -> Option<u16> {
        ranges.sort_unstable_by_key(|range| range & 0xffff);
        let mut list = Ranges::EMPTY;
        list.ranges.get_mut(..ranges.len())?.copy_from_slice(&ranges);
        let index = self.0.iter().position(|known| *known == list).unwrap_or(self.0.len());
        if index == self.0.len() {
            self.0.push(list);
        }
        (index < RANGE_LISTS).then_some(index as u16 + 1)
    }
}

/// An entry of either table, as far as ranges go.
trait Entry: Copy {
    /// The address and protocol that it is found by.
    fn whose(&self) -> (Address, u8);
    /// Its first port, 0 if it has every port, and its last, 0 if it is no range.
    fn ports(&self) -> (u16, u16);
    /// Names the ranges of its address and protocol.
    fn name(&mut self, ranges: u16);
    /// One that stands for ranges alone.
    fn directory(whose: (Address, u8)) -> Self;
}

impl Entry for Service {
    fn whose(&self) -> (Address, u8) {
        (self.address, self.protocol)
    }

    fn ports(&self) -> (u16, u16) {
        (u16::from_be(self.port_wire), self.last_port)
    }

    fn name(&mut self, ranges: u16) {
        self.ranges = ranges;
    }

    fn directory((address, protocol): (Address, u8)) -> Self {
        Self { address, protocol, flags: service_flags::DIRECTORY, ..Self::default() }
    }
}

impl Entry for Reverse {
    fn whose(&self) -> (Address, u8) {
        (self.backend, self.protocol)
    }

    fn ports(&self) -> (u16, u16) {
        (u16::from_be(self.backend_port_wire), self.last_port)
    }

    fn name(&mut self, ranges: u16) {
        self.ranges = ranges;
    }

    fn directory((backend, protocol): (Address, u8)) -> Self {
        Self { backend, protocol, flags: reverse_flags::DIRECTORY, ..Self::default() }
    }
}

/// The entries, of which those of port 0 name the ranges of their address and protocol; where there is none, one is added. `None` where
/// there are too many ranges.
fn with_directories<E: Entry>(entries: &[E], lists: &mut Lists) -> Option<Vec<E>> {
    let mut all = entries.to_vec();
    let mut ranges: BTreeMap<(Address, u8), Vec<u32>> = BTreeMap::new();
    for (entry, (first, last)) in entries.iter().map(|entry| (entry, entry.ports())).filter(|(_, (_, last))| *last != 0)
    {
        ranges.entry(entry.whose()).or_default().push(Ranges::pair(first, last));
    }
    if ranges.is_empty() {
        return Some(all);
    }
    let is_every = |(_, entry): &(usize, &E)| entry.ports().0 == 0;
    let every: BTreeMap<_, _> = entries.iter().enumerate().filter(is_every).map(|(at, it)| (it.whose(), at)).collect();
    for (whose, ranges) in ranges {
        let number = lists.number(ranges)?;
        let at = *every.get(&whose).unwrap_or(&all.len());
        if at == all.len() {
            all.push(E::directory(whose));
        }
        all[at].name(number);
    }
    Some(all)
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
        let flags = service_flags::USED | service_flags::PLAIN;
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
    fn what_asks_nothing_besides_its_table_over_ipv4_is_marked_as_plain() {
        let v6: std::net::Ipv6Addr = "2001:db8::1".parse().expect("an address");
        let plain = Service { flags: service_flags::USED, ..service(1, 80) };
        let others = [
            Service { address: std::net::IpAddr::from(v6).into(), ..plain },
            Service { port_wire: 81u16.to_be(), chooser: 1, ..plain },
            Service { port_wire: 82u16.to_be(), access: 1, ..plain },
            Service { port_wire: 83u16.to_be(), flags: service_flags::USED | service_flags::KEYED, ..plain },
        ];
        let mut image = Image::new(16, 16);
        publish_into(&mut image, &[&[plain][..], &others].concat());
        let marked = |service: &Service| {
            let entry = image.listener(service.address, service.port_wire, 6).expect("it was published");
            entry.flags & service_flags::PLAIN != 0
        };
        assert!(marked(&plain));
        assert!(!others.iter().any(marked));
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
    fn a_range_takes_its_ports_and_leaves_the_others() {
        let mut image = Image::new(16, 16);
        let range = |number, first, last| Service { last_port: last, ..service(number, first) };
        let (exact, every) = (Service { pool: 7, ..service(1, 50) }, Service { pool: 8, ..service(2, 0) });
        let services = [range(1, 80, 89), range(1, 443, 65_535), exact, range(2, 80, 89), every];
        publish_into(&mut image, &services);
        assert_ne!(image.root.word & root_flags::WILDCARD, 0);
        let found = |number, port: u16| image.listener(service(number, 0).address, port.to_be(), 6).map(|it| it.pool);
        for (port, one, two) in [
            (79, None, Some(8)),
            (80, Some(2), Some(3)),
            (85, Some(2), Some(3)),
            (89, Some(2), Some(3)),
            (90, None, Some(8)),
            (50, Some(7), Some(8)),
            (443, Some(2), Some(8)),
            (65_535, Some(2), Some(8)),
            (0, None, Some(8)),
        ] {
            assert_eq!((found(1, port), found(2, port)), (one, two), "port {port}");
        }
    }

    #[test]
    fn addresses_with_the_same_ranges_share_a_list_and_too_many_are_refused() {
        let range = |number, first, last| Service { last_port: last, ..service(number, first) };
        let fits = |services: &[Service]| publish(&Root::default(), services, &[], &Sources::default());
        let alike: Vec<Service> = (0..2000).map(|number| range(number, 80, 89)).collect();
        let Some([Write::Half(half), ..]) = fits(&alike) else { panic!("they fit") };
        assert_eq!(half.ranges.len(), 1);
        let different: Vec<Service> =
            (0..=RANGE_LISTS as u32).map(|number| range(number, 80, 100 + number as u16)).collect();
        assert!(fits(&different[1..]).is_some());
        assert!(fits(&different).is_none());
        let of_one: Vec<Service> = (1..=17).map(|n| range(1, n * 100, n * 100 + 9)).collect();
        assert!(fits(&of_one[1..]).is_some());
        assert!(fits(&of_one).is_none());
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
