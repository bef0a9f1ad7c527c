//! Packets out and in: advertisements, heartbeats, BFD, questions to gateways.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use fairway::config::Peer;
use fairway::effects::vrrp::Command;
use fairway::playground::topology::{balancer_v4, balancer_v6};
use fairway::vrrp::effect::{Advertise, BfdEnds, Effect};
use fairway::vrrp::event::Settings;

use super::node::{Node, Seen};
use super::{address, settings, two_balancers};

const VIRTUAL_MAC: [u8; 6] = [0, 0, 0x5e, 0, 1, 51];

/// The whole of a version 3 advertisement; the thread does not look into it.
fn payload(priority: u8) -> Vec<u8> {
    vec![0x31, 51, priority, 1, 0, 10, 0, 0, 10, 2, 0, 200]
}

fn advertise(node: &Node, source: IpAddr, destination: IpAddr, payload: Vec<u8>) -> Effect {
    let source_mac = VIRTUAL_MAC;
    Effect::Advertise(Advertise {
        interface: node.interface,
        source,
        destinations: vec![destination],
        source_mac,
        payload,
    })
}

#[test]
fn f1_advertisements_reach_the_other_node_with_ttl_255_and_not_their_sender() {
    let lab = two_balancers();
    let nodes = [0, 1].map(|index| Node::start(lab.balancer(index)));
    for node in &nodes {
        node.send(settings(|_| {}));
        node.listen();
        // Commands are done in order: once this is, it listens.
        node.step(super::node::Step::Wake(Duration::ZERO));
        node.expect("a tick", |seen| (*seen == Seen::Tick).then_some(()));
    }
    let [sender, receiver] = &nodes;
    let cases: [(IpAddr, &str); 4] = [
        (balancer_v4(0).into(), "224.0.0.18"),
        (balancer_v6(0).into(), "ff02::12"),
        (balancer_v4(0).into(), "10.2.0.12"),
        (balancer_v6(0).into(), "fd02::12"),
    ];
    for (number, (source, destination)) in (1u8..).zip(cases) {
        sender.perform(vec![advertise(sender, source, address(destination), payload(number))]);
        let heard = receiver.expect(destination, |seen| match seen {
            Seen::Received { .. } => Some(seen.clone()),
            _ => None,
        });
        let interface = receiver.interface;
        let Seen::Received { payload: heard_payload, .. } = &heard else { unreachable!("just matched") };
        // Short frames are padded, which an IPv4 header tells and the kernel cuts off.
        assert_eq!(*heard_payload, payload(number), "{destination}");
        let wanted =
            Seen::Received { interface, source, destination: address(destination), ttl: 255, payload: payload(number) };
        assert_eq!(heard, wanted);
    }
    let own = sender.seen().into_iter().filter(|seen| matches!(seen, Seen::Received { .. })).count();
    assert_eq!(own, 0, "nobody hears himself");
    let failures = &sender.thread.handle.thread().failures;
    assert!(failures.is_empty(), "{failures:?}");
}

#[test]
fn an_advertisement_too_long_for_a_frame_arrives_in_pieces() {
    let lab = two_balancers();
    let nodes = [0, 1].map(|index| Node::start(lab.balancer(index)));
    let [sender, receiver] = &nodes;
    for node in &nodes {
        node.send(settings(|_| {}));
        node.listen();
    }
    let mut long = payload(9);
    long.resize(8 + 16 * 200, 7);
    receiver.step(super::node::Step::Wake(Duration::ZERO));
    receiver.expect("a tick", |seen| (*seen == Seen::Tick).then_some(()));
    sender.perform(vec![advertise(sender, balancer_v6(0).into(), address("ff02::12"), long.clone())]);
    let heard = receiver.expect("the long advertisement", |seen| match seen {
        Seen::Received { payload, .. } => Some(payload.clone()),
        _ => None,
    });
    assert_eq!(heard, long);
}

#[test]
fn heartbeats_go_both_ways_by_both_families() {
    let lab = two_balancers();
    let nodes = [0, 1].map(|index| Node::start(lab.balancer(index)));
    let addresses = |index| [IpAddr::from(balancer_v4(index)), balancer_v6(index).into()];
    for (node, other) in nodes.iter().zip([1, 0]) {
        let peer = Peer {
            addresses: addresses(other).to_vec(),
            port: 6112,
            key_file: PathBuf::new(),
            heartbeat: Duration::from_millis(50),
            misses: 3,
            hold: Duration::from_secs(60),
            nodes: 2,
        };
        let settings = Settings { peer: Some((peer, vec![0; 32])), ..Settings::default() };
        node.send(Command::Configure(Box::new(settings)));
        node.step(super::node::Step::Wake(Duration::ZERO));
        node.expect("a tick", |seen| (*seen == Seen::Tick).then_some(()));
    }
    for (from, to) in [(0, 1), (1, 0)] {
        for (own, other) in addresses(from).into_iter().zip(addresses(to)) {
            let octets = other.to_string().into_bytes();
            nodes[from].perform(vec![Effect::Heartbeat { to: other, octets: octets.clone() }]);
            let wanted = Seen::Heartbeat { source: own, octets };
            nodes[to].expect("a heartbeat", |seen| (*seen == wanted).then_some(()));
        }
    }
}

#[test]
fn bfd_packets_arrive_with_ttl_255_from_a_port_of_their_range() {
    let lab = two_balancers();
    let nodes = [0, 1].map(|index| Node::start(lab.balancer(index)));
    let addresses = |index| [IpAddr::from(balancer_v4(index)), balancer_v6(index).into()];
    let ends = |index: usize| -> Vec<BfdEnds> {
        let pairs = addresses(index).into_iter().zip(addresses(1 - index));
        let interface = nodes[index].interface;
        pairs.map(|(source, neighbour)| BfdEnds { interface, source, neighbour }).collect()
    };
    for (index, node) in nodes.iter().enumerate() {
        node.perform(vec![Effect::BfdSessions(ends(index).into_iter().collect())]);
        node.step(super::node::Step::Wake(Duration::ZERO));
        node.expect("a tick", |seen| (*seen == Seen::Tick).then_some(()));
    }
    for ends in ends(0) {
        let (source, octets) = (ends.source, vec![0x20, 0x40, 3, 24]);
        nodes[0].perform(vec![Effect::Bfd { ends, octets: octets.clone() }]);
        let wanted = Seen::Bfd { source, ttl: 255, octets };
        nodes[1].expect("a BFD packet", |seen| (*seen == wanted).then_some(()));
    }
    nodes[0].perform(vec![Effect::BfdSessions(BTreeSet::new())]);
    nodes[0].perform(vec![Effect::Bfd { ends: ends(0).remove(0), octets: vec![0] }]);
    crate::harness::await_that("sending without a session is counted", || {
        nodes[0].thread.handle.thread().failures.contains_key("send a BFD packet: NotConnected")
    });
}

#[test]
fn a_gateway_answers_and_one_that_is_not_there_does_not() {
    let lab = two_balancers();
    let node = Node::start(lab.balancer(0));
    let interface = node.interface;
    let ask = |gateway: &str| Effect::ProbeGateway { interface, address: address(gateway) };
    for gateway in ["10.2.0.254", "fd02::fe"] {
        node.perform(vec![ask("10.2.0.253"), ask("fd02::fd"), ask(gateway)]);
        node.expect(gateway, |seen| match seen {
            Seen::Answered(answered) => {
                assert_eq!(*answered, address(gateway));
                Some(())
            }
            _ => None,
        });
    }
}
