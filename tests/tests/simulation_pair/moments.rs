//! Moments that histories had in them and that were not as they should be, each by itself.

use std::time::Duration;

use lb_common::abi::{FlowKey6, Record};

use crate::clients::Kind;
use crate::desired::{IDLE_TIMEOUT, REALM};
use crate::fault::Fault;
use crate::world::World;

/// The service that keeps state.
const BLUE: usize = 1;

#[test]
fn a_connection_that_begins_on_the_ports_of_one_that_is_over_is_told_at_once() {
    let mut world = shared();
    for kind in [Kind::Opens, Kind::Data, Kind::Resets] {
        world.comes_to(0, BLUE, kind);
    }
    // What ends is found by a walk.
    world.pass(Duration::from_millis(300)).expect("nothing goes wrong");
    let over = record(&world, 1);
    world.comes_to(0, BLUE, Kind::Opens);
    world.pass(Duration::from_millis(15)).expect("nothing goes wrong");
    assert_ne!(record(&world, 0).map(|it| it.1.state), over.map(|it| it.1.state));
    assert_eq!(record(&world, 0).map(|it| it.1.state), record(&world, 1).map(|it| it.1.state));
}

#[test]
fn last_words_are_told_on_so_that_a_bulk_does_not_lose_them() {
    let mut world = shared();
    world.preempt();
    world.pass(Duration::from_millis(6)).expect("nothing goes wrong");
    // To who was master before, whose live word is still there: the new one has begun to tell by now.
    world.comes_to(0, BLUE, Kind::Opens);
    world.pass(Duration::from_millis(60)).expect("nothing goes wrong");
    assert!(world.nodes[0].party.exchange.follows(REALM), "the bulk has come to its end");
    assert!(record(&world, 1).is_some(), "the new master has taken the last words");
    assert_eq!(record(&world, 0).map(|it| it.1.backend), record(&world, 1).map(|it| it.1.backend));
}

#[test]
fn who_hands_over_says_when_flows_were_heard_of_last() {
    let mut world = shared();
    for kind in [Kind::Opens, Kind::Data] {
        world.comes_to(0, BLUE, kind);
    }
    world.pass(Duration::from_secs(IDLE_TIMEOUT) / 2).expect("nothing goes wrong");
    let heard = |world: &World| record(world, 1).expect("it is told").1.last_seen;
    let before = heard(&world);
    world.comes_to(0, BLUE, Kind::Data);
    world.preempt();
    world.pass(Duration::from_millis(30)).expect("nothing goes wrong");
    assert!(world.nodes[1].is_master);
    let silent = Duration::from_nanos(heard(&world) - before);
    assert!(silent >= Duration::from_secs(IDLE_TIMEOUT) / 4, "{silent:?}");
}

/// A pair in order: node 0 is master, and node 1 has everything.
fn shared() -> World {
    let mut world = World::new(1, Fault::None, false);
    world.link.is_rough = false;
    world.pass(Duration::from_secs(1)).expect("nothing goes wrong");
    assert!(world.shared_since[0].is_some());
    world
}

/// The one connection that a node has.
fn record(world: &World, node: usize) -> Option<(FlowKey6, Record)> {
    let connections = world.nodes[node].tables().connections.borrow();
    assert!(connections.len() <= 1);
    connections.iter().next().map(|(key, record)| (*key, *record))
}
