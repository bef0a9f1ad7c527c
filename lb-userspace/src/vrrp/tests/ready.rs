//! Ready before master: a node that could not forward does not take the addresses.

use super::bench::{Bench, advertisement, advertises, ms, router, settings};
use crate::happening::Happening;
use crate::vrrp::effect::Effect;
use crate::vrrp::event::Event;
use crate::vrrp::view::State;

fn told(bench: &Bench) -> Vec<(String, bool)> {
    let told = bench.done.iter().filter_map(|(_, effect)| match effect {
        Effect::Happened(Happening::NotReady { reason, took_over, .. }) => Some((reason.clone(), *took_over)),
        _ => None,
    });
    told.collect()
}

fn unready() -> Bench {
    let mut bench = Bench::with(settings(&[router("a", 51)], true));
    bench.give(Event::Ready(Err("3 of 40 first checks pending".into())));
    bench
}

#[test]
fn a_node_that_is_not_ready_stays_backup_with_the_reason() {
    let mut bench = unready();
    bench.pass(ms(29_000));
    assert_eq!(bench.state(), State::Backup);
    assert_eq!(bench.view().held_back.as_deref(), Some("not ready: 3 of 40 first checks pending"));
    assert_eq!(told(&bench), [("not ready: 3 of 40 first checks pending".into(), false)], "told once");
}

#[test]
fn it_takes_over_as_soon_as_it_is_ready_if_nobody_was_heard() {
    let mut bench = unready();
    bench.pass(ms(10_000));
    let effects = bench.give(Event::Ready(Ok(())));
    assert!(effects.iter().any(|effect| advertises(effect, 100)));
}

#[test]
fn without_any_master_it_takes_over_after_the_timeout_and_says_so() {
    let mut bench = unready();
    let waited = bench.until(|effect| advertises(effect, 100));
    assert_eq!(waited, ms(30_000));
    assert_eq!(told(&bench).last().unwrap(), &("3 of 40 first checks pending".into(), true));
}

#[test]
fn the_timeout_counts_from_when_a_master_was_heard_last() {
    let mut bench = unready();
    bench.pass(ms(20_000));
    bench.hear(&advertisement(&router("a", 51), 50));
    assert_eq!(bench.until(|effect| advertises(effect, 100)), ms(30_000));
}

#[test]
fn it_does_not_preempt_while_it_is_not_ready() {
    let mut bench = unready();
    for _ in 0..100 {
        bench.hear(&advertisement(&router("a", 51), 50));
        bench.pass(ms(1000));
    }
    assert_eq!(bench.state(), State::Backup);
}

#[test]
fn a_node_that_was_ready_before_takes_over_from_a_dead_master_at_once() {
    let mut bench = unready();
    bench.give(Event::Ready(Ok(())));
    bench.hear(&advertisement(&router("a", 51), 200));
    bench.give(Event::Ready(Err("1 next hop is not known".into())));
    assert!(bench.until(|effect| advertises(effect, 100)) < ms(3700));
}

#[test]
fn a_master_that_is_not_ready_any_more_stays_and_says_so() {
    let mut bench = unready();
    bench.give(Event::Ready(Ok(())));
    bench.until(|effect| advertises(effect, 100));
    let effects = bench.give(Event::Ready(Err("XDP is not attached".into())));
    assert_eq!(bench.state(), State::Master);
    assert!(effects.iter().any(|effect| matches!(effect, Effect::Happened(Happening::Warning { .. }))));
}

#[test]
fn a_router_without_services_does_not_wait() {
    let mut bench = Bench::with(settings(&[router("a", 51)], false));
    bench.give(Event::Ready(Err("XDP is not attached".into())));
    assert!(bench.until(|effect| advertises(effect, 100)) < ms(3700));
}

#[test]
fn a_worse_master_that_dies_while_it_could_not_be_preempted_any_more_is_replaced() {
    let mut bench = unready();
    bench.give(Event::Ready(Ok(())));
    for _ in 0..3 {
        bench.hear(&advertisement(&router("a", 51), 50));
        bench.pass(ms(1000));
    }
    bench.give(Event::Ready(Err("1 next hop is not known".into())));
    assert!(bench.until(|effect| advertises(effect, 100)) < ms(7400));
}
