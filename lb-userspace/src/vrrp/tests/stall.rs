//! A thread that did not run steps back before it forwards on.

use std::time::Duration;

use super::bench::{Bench, advertisement, advertises, ms, router, settings, words};
use super::pair::Pair;
use crate::config::VirtualRouter;
use crate::vrrp::event::Event;
use crate::vrrp::view::State;

#[test]
fn a_stall_that_let_nobody_take_over_changes_nothing() {
    let mut bench = Bench::master(&router("a", 51));
    assert!(bench.give(Event::Stalled { gap: ms(2000) }).is_empty());
    assert_eq!(bench.state(), State::Master);
    assert_eq!(bench.engine.snapshot(bench.now).stalls, 1);
}

#[test]
fn a_longer_one_makes_a_master_step_back_at_once_and_return_if_nobody_is_heard() {
    let mut bench = Bench::with(settings(&[router("a", 51)], true));
    bench.give(Event::Ready(Ok(())));
    bench.pass(ms(10_000));
    let effects = bench.give(Event::Stalled { gap: ms(2100) });
    assert_eq!(words(&effects), ["dead", "remove", "testament", "transition", "stalled"]);
    let skew = Duration::from_micros(609_375);
    assert_eq!(bench.until(|effect| advertises(effect, 100)), skew);
}

#[test]
fn another_master_in_the_queue_is_obeyed() {
    let a = VirtualRouter { advertisement_interval: ms(10), ..router("a", 51) };
    let mut bench = Bench::master(&a);
    bench.give(Event::Stalled { gap: ms(25) });
    bench.hear(&advertisement(&a, 99));
    bench.give(Event::Tick);
    assert_eq!(bench.state(), State::Backup);
}

#[test]
fn a_backups_timer_that_fired_meanwhile_waits_for_what_is_in_the_queue() {
    let a = router("a", 51);
    let mut bench = Bench::backup_of(&a, 200);
    bench.now += ms(10_000);
    bench.give(Event::Stalled { gap: ms(6400) });
    bench.give(Event::Tick);
    bench.hear(&advertisement(&a, 200));
    bench.pass(ms(3000));
    assert_eq!(bench.state(), State::Backup);
}

#[test]
fn with_a_peer_link_the_heartbeats_count() {
    let mut pair = Pair::settled(&router("a", 51));
    pair.give(0, Event::Stalled { gap: ms(149) });
    assert_eq!(pair.states()[0], State::Master);
    pair.give(0, Event::Stalled { gap: ms(150) });
    assert_eq!(pair.states()[0], State::Backup);
    pair.pass(ms(1000));
    assert_eq!(pair.states(), [State::Backup, State::Master], "the peer was told and took over");
    assert!(pair.both < ms(1));
}

#[test]
fn of_two_nodes_the_one_that_stepped_back_waits_for_two_heartbeats() {
    let of = |priority| VirtualRouter { priority, ..router("a", 51) };
    let mut pair = Pair::new(&[of(100)], &[of(50)]);
    pair.pass(ms(70_000));
    assert_eq!(pair.states(), [State::Master, State::Backup]);
    // The peer dies at the very moment, so that it takes nothing over.
    pair.kill(1);
    pair.give(0, Event::Stalled { gap: ms(150) });
    assert_eq!(pair.states()[0], State::Backup);
    pair.pass(ms(101));
    assert_eq!(pair.states()[0], State::Master, "not after Skew_Time, 0.6 s at priority 100");
}

#[test]
fn a_deposed_master_begins_anew() {
    let mut bench = Bench::with(settings(&[router("a", 51)], true));
    bench.give(Event::Ready(Ok(())));
    bench.pass(ms(10_000));
    let effects = bench.give(Event::Deposed);
    assert_eq!(words(&effects), ["dead", "remove", "testament", "transition"]);
    assert_eq!(bench.until(|effect| advertises(effect, 100)), Duration::from_micros(3_609_375));
}
