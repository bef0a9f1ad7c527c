//! Where packets go on this node, or would if it were master: each is sent down the packet path, natively, over the tables as they are,
//! with the record of its flow. Like `fairway explain`, for many at once and without a copy of the tables.

use std::net::{IpAddr, SocketAddr};

use lb_common::limits::LIVE_WORDS;
use lb_common::packet::transport::{destination_port_wire, source_port_wire};

use super::explain::{frame, words};
use super::request::ExplainQuery;
use crate::controller::Controller;
use crate::exchange::rehearsal::{Fate, Packet};
use crate::native::{NativePacket, NativeTables, process};

/// Where packets go at `now`, in nanoseconds of the packet path's clock.
pub(super) fn fates(controller: &mut Controller, now: u64, packets: &[Packet]) -> Vec<Fate> {
    controller.lend_image(|controller, image| {
        let mut tables = NativeTables::new(image, usize::MAX);
        tables.translation_capacity = usize::MAX;
        tables.clock.set(now);
        tables.live = (0..LIVE_WORDS).collect();
        let interface = controller.interfaces().outer().find_map(|(_, interface)| interface.index).unwrap_or(1);
        let fates = packets.iter().map(|packet| fate(controller, &mut tables, interface, packet)).collect();
        (fates, tables.image)
    })
}

fn fate(controller: &Controller, tables: &mut NativeTables, interface: u32, packet: &Packet) -> Fate {
    forget(tables);
    match packet.record {
        Some((record, true)) => drop(tables.connections.get_mut().insert(packet.flow, record)),
        Some((record, false)) => drop(tables.flows.get_mut().insert(packet.flow, record)),
        None => {}
    }
    let end = |address: IpAddr, port_wire: u16| SocketAddr::new(address, u16::from_be(port_wire));
    let query = ExplainQuery {
        from: end(packet.flow.source.into(), source_port_wire(packet.flow.ports_wire)),
        to: end(packet.flow.destination.into(), destination_port_wire(packet.flow.ports_wire)),
        protocol: packet.flow.protocol as u8,
        established: !packet.opens,
        connection_id: None,
    };
    let verdict = process(&mut NativePacket::new(&frame(&query), interface), tables);
    let row = tables.counters.get_mut().keys().next().copied();
    match row.and_then(|row| controller.planner().rows().get(row)) {
        Some(owner) => Ok((owner.service.clone(), owner.identity.clone())),
        None => Err(words(controller, verdict)),
    }
}

/// What one packet leaves behind is nothing to the next.
fn forget(tables: &mut NativeTables) {
    tables.flows.get_mut().clear();
    tables.connections.get_mut().clear();
    tables.translations.get_mut().clear();
    tables.service_buckets.get_mut().clear();
    tables.client_buckets.get_mut().clear();
    tables.counters.get_mut().clear();
    tables.reasons.get_mut().clear();
    tables.handed_over.get_mut().clear();
    tables.fragments.get_mut().clear();
    tables.refusals.get_mut().clear();
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;
    use crate::config::parse;
    use crate::controller::Event;
    use crate::exchange::directory::{Directory, Entry};
    use crate::exchange::rehearsal::draw;
    use crate::nexthop::tracker::Event as Network;
    use crate::nexthop::{Frame, Mac, NextHop};

    const NOW: Duration = Duration::from_secs(1000);

    fn text(seed: &str, services: usize, backends: usize) -> String {
        let mut text = format!(
            "[dataplane]\ninterfaces = [\"eth0\"]\nhash_seed = \"{seed}\"\n[[vrrp]]\nname = \"public\"\ninterface = \"eth0\"\n\
             vrid = 51\naddresses = [\"203.0.113.10/32\"]\n"
        );
        for service in 0..services {
            text += &format!("[[service]]\nname = \"s{service}\"\nvrrp = \"public\"\nlookup_table_size = 2048\n");
            let port = 1000 + service;
            text += &format!("listen = [\"tcp://203.0.113.10:{port}\", \"udp://203.0.113.10:{port}\"]\n");
            for backend in 1..=backends {
                text += &format!("[[service.backend]]\naddress = \"10.0.0.{backend}\"\n");
            }
        }
        text
    }

    /// A node whose backends are all reached; and what its tables mean.
    fn node(text: &str) -> (Controller, Directory) {
        let config = parse(text, "host").unwrap().0;
        let mut controller = Controller::new(config.clone(), 2048 * 64, 4096);
        controller.configure(NOW, config.clone()).unwrap();
        let mac = Mac([2, 0, 0, 0, 0, 1]);
        for destination in controller.planner().destinations().clone() {
            let frame = Frame {
                interface: 2,
                source_mac: mac,
                destination_mac: mac,
                tags: Vec::new(),
                mtu: 1500,
                source: None,
            };
            let result = Ok(NextHop::Frame(frame));
            controller.handle(NOW, Event::Network(Network::NextHop { destination, result }));
        }
        let directory = Directory::new(&config, "hash", controller.planner(), &Directory::default());
        (controller, directory)
    }

    fn drawn(directory: &Directory, count: usize) -> Vec<Packet> {
        let services: Vec<&Arc<Entry>> = directory.of_realm("public").collect();
        draw(&services, count, 7)
    }

    fn fates_of(controller: &mut Controller, packets: &[Packet]) -> Vec<Fate> {
        fates(controller, u64::try_from(NOW.as_nanos()).unwrap(), packets)
    }

    #[test]
    fn nodes_of_one_configuration_agree_and_those_of_another_seed_do_not() {
        let (mut one, directory) = node(&text("a", 3, 4));
        let packets = drawn(&directory, 200);
        let fates = fates_of(&mut one, &packets);
        assert!(fates.iter().all(Result::is_ok), "{fates:?}");
        let services: std::collections::BTreeSet<_> = fates.iter().flatten().map(|(service, _)| service).collect();
        assert_eq!(services.len(), 3, "each has its turn");
        assert_eq!(fates_of(&mut node(&text("a", 3, 4)).0, &packets), fates);
        let others = fates_of(&mut node(&text("b", 3, 4)).0, &packets);
        let same = others.iter().zip(&fates).filter(|(other, one)| other == one).count();
        assert!((20..80).contains(&same), "{same} of 200 by chance");
        assert_eq!(fates_of(&mut one, &packets), fates, "nothing is left behind");
    }

    #[test]
    fn a_record_counts_and_only_for_its_own_flow() {
        let (mut node, directory) = node(&text("a", 1, 4));
        let mut packets: Vec<Packet> = drawn(&directory, 200).into_iter().filter(|it| it.flow.protocol == 6).collect();
        let words = node.planner().tables().iter().map(|(_, table)| table.first_slot..table.first_slot + table.size());
        let slots: Vec<u32> = words.flatten().collect();
        let pool = directory.service("s0").unwrap().pool;
        // Every slot has two owners: then records are looked up.
        node.lend_image(|_, mut image| {
            for slot in slots {
                let word = &mut image.slots[slot as usize];
                *word = lb_common::slot::Slot::new(lb_common::slot::Slot(*word).current(), 3).0;
            }
            ((), image)
        });
        packets.iter_mut().for_each(|packet| packet.opens = false);
        let last_seen = u64::try_from(NOW.as_nanos()).unwrap();
        let record = lb_common::abi::Record { last_seen, pool, backend: 0, state: 2 };
        packets[0].record = Some((record, false));
        let fates = fates_of(&mut node, &packets);
        assert_eq!(fates[0], Ok(("s0".into(), "10.0.0.1 direct".into())));
        assert!(fates[1..].iter().all(|fate| *fate == Ok(("s0".into(), "10.0.0.4 direct".into()))), "{fates:?}");
    }

    #[test]
    fn whose_backend_is_not_reached_goes_nowhere() {
        let text = text("a", 1, 1);
        let config = parse(&text, "host").unwrap().0;
        let mut controller = Controller::new(config.clone(), 2048, 64);
        controller.configure(NOW, config).unwrap();
        let fates = fates_of(&mut controller, &drawn(&node(&text).1, 1));
        assert!(matches!(&fates[..], [Err(why)] if why.starts_with("drop (next-hop")), "{fates:?}");
    }
}
