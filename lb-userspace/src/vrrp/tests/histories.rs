//! Random histories of two nodes: whatever was cut, stopped or restarted, when all is well again there is one master.

use super::bench::{ms, router};
use super::pair::{Pair, eth0};
use crate::config::VirtualRouter;
use crate::random::Random;
use crate::vrrp::event::{Event, Link};
use crate::vrrp::view::State;

const HISTORIES: u64 = 60;
const STEPS: u64 = 12;

fn node(index: usize) -> VirtualRouter {
    VirtualRouter { priority: [254, 250][index], ..router("a", 51) }
}

/// Something happens, to one of the nodes or to a wire.
fn step(pair: &mut Pair, chance: &mut Random) {
    let index = chance.below(2) as usize;
    match chance.below(10) {
        0 => pair.vrrp_cut[index] = chance.below(2) == 0,
        1 => pair.heartbeats_cut[index] = chance.below(2) == 0,
        2 => pair.kill(index),
        3 => pair.restart(index, &[node(index)]),
        4 => pair.give(index, Event::Link(Link { running: false, ..eth0(index) })),
        5 => pair.give(index, Event::Link(eth0(index))),
        6 => pair.give(index, Event::Resign(None)),
        7 => pair.give(index, Event::Resume(None)),
        8 => pair.give(index, Event::Stalled { gap: ms(chance.below(5000)) }),
        _ => pair.give(index, Event::Deposed),
    }
    pair.pass(ms(chance.below(5000)));
}

/// Everything is mended; nodes that are dead start again.
fn heal(pair: &mut Pair) {
    pair.vrrp_cut = [false; 2];
    pair.heartbeats_cut = [false; 2];
    for index in 0..2 {
        if pair.is_dead(index) {
            pair.restart(index, &[node(index)]);
        }
        pair.give(index, Event::Link(eth0(index)));
        pair.give(index, Event::Resume(None));
    }
}

#[test]
fn when_all_is_well_again_there_is_one_master_and_after_the_hold_the_better_one() {
    for seed in 0..HISTORIES {
        let mut chance = Random(seed);
        let mut pair = Pair::new(&[node(0)], &[node(1)]);
        (0..STEPS).for_each(|_| step(&mut pair, &mut chance));
        heal(&mut pair);
        pair.pass(ms(4100));
        let masters = pair.states().into_iter().filter(|state| *state == State::Master).count();
        assert_eq!(masters, 1, "seed {seed}: {:#?}", pair.views());
        pair.both = ms(0);
        pair.pass(ms(66_000));
        assert_eq!(pair.states(), [State::Master, State::Backup], "seed {seed}: {:#?}", pair.views());
        assert!(pair.both < ms(1), "seed {seed}: both for {:?}", pair.both);
    }
}
