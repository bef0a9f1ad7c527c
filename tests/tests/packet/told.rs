//! What the packet path says of flows of stateful services where another node is to know: that one begins and that it is established, once
//! each. Its other packets say nothing.

use fairway::reconcile::write::Write;
use fairway_tests::packet::flag;
use lb_common::abi::connection_state::{ESTABLISHED, SYN_RECEIVED};
use lb_common::abi::{Recorded, Root, root_flags};
use zerocopy::FromBytes as _;

use super::build::Change as _;
use super::kernel::{Kernel, enter};
use super::world::{self, FLAVOURS, LAN, port};

#[test]
fn a_connection_is_told_of_when_it_begins_and_when_it_is_established() {
    let mut kernel = Kernel::new(1 << 12);
    enter(&kernel.namespace);
    tell(&mut kernel, true);
    for flavour in FLAVOURS.into_iter().filter(|flavour| flavour.tcp) {
        let data = flavour.request(port::TURNS);
        let syn = data.clone().flags(flag::SYN);
        for (packet, told) in [
            (&syn, Some(SYN_RECEIVED)),
            (&syn, None),
            (&data, Some(ESTABLISHED)),
            (&data, None),
            (&syn, None),
            (&data.clone().flags(flag::FIN | flag::ACK), None),
            (&data, None),
        ] {
            kernel.run(&packet.octets(), LAN);
            let states: Vec<u16> = told_of(&mut kernel).iter().map(|it| it.record.state).collect();
            assert_eq!(states, Vec::from_iter(told), "{flavour:?}");
        }
    }
}

#[test]
fn what_is_told_of_an_established_connection_is_its_record() {
    let mut kernel = Kernel::new(1 << 12);
    enter(&kernel.namespace);
    tell(&mut kernel, true);
    let data = FLAVOURS[0].request(port::TURNS);
    kernel.run(&data.clone().flags(flag::SYN).octets(), LAN);
    kernel.run(&data.octets(), LAN);
    let told = told_of(&mut kernel);
    let [begun, established] = told[..] else { panic!("{told:?}") };
    let record = |it: &Recorded| (it.key, it.record.pool, it.record.backend, it.stateful);
    assert_eq!(record(&begun), record(&established));
    assert!(begun.record.last_seen <= established.record.last_seen);
}

#[test]
fn nothing_is_told_where_there_is_no_other_node() {
    let mut kernel = Kernel::new(1 << 12);
    enter(&kernel.namespace);
    tell(&mut kernel, false);
    let data = FLAVOURS[0].request(port::TURNS);
    kernel.run(&data.clone().flags(flag::SYN).octets(), LAN);
    kernel.run(&data.octets(), LAN);
    assert_eq!(told_of(&mut kernel), []);
}

/// Says whether another node is to know, of a node that is live.
fn tell(kernel: &mut Kernel, tells: bool) {
    kernel.maps.live_words.set(world::ROUTER, true).expect("a live word");
    let root = |write: Write| if let Write::Flip(root) = write { Some(root) } else { None };
    let root = world::writes().into_iter().find_map(root).expect("tables were published");
    let exchange = if tells { root_flags::EXCHANGE } else { 0 };
    kernel.maps.apply(&Write::Flip(Root { word: root.word | exchange, ..root })).expect("a write");
}

/// What was told since this was last asked.
fn told_of(kernel: &mut Kernel) -> Vec<Recorded> {
    let ring = kernel.maps.recorded.as_mut().expect("nobody took it");
    let mut told = Vec::new();
    while let Some(item) = ring.next() {
        told.push(Recorded::read_from_bytes(&item).expect("of a flow"));
    }
    told
}
