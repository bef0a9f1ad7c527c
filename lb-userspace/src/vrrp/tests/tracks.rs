//! Tracks in the engine: what they do to a router, and when.

use super::bench::{Bench, ETH0, advertisement, advertises, ip, link, ms, router, words};
use crate::config::{Condition, Consequence, Track, VirtualRouter};
use crate::vrrp::effect::Effect;
use crate::vrrp::event::{Event, Link, Verdict};
use crate::vrrp::view::State;

fn with(condition: Condition, consequence: Consequence) -> VirtualRouter {
    VirtualRouter { tracks: vec![Track { name: "t".into(), condition, consequence }], ..router("a", 51) }
}

fn load() -> Condition {
    Condition::Load { maximum: 4.0 }
}

fn found(holds: bool) -> Event<'static> {
    let verdict = Verdict { holds: Some(holds), factor: 1, detail: "load 5.0".into() };
    Event::Track { router: "a".into(), track: "t".into(), verdict }
}

#[test]
fn a_weight_changes_what_is_advertised_and_says_why() {
    let mut bench = Bench::master(&with(load(), Consequence::Weight(-40)));
    let effects = bench.give(found(false));
    assert_eq!(words(&effects), ["priority"]);
    bench.until(|effect| advertises(effect, 60));
    assert_eq!(bench.view().terms[0].contribution, -40);
    bench.give(found(true));
    bench.until(|effect| advertises(effect, 100));
}

#[test]
fn a_fault_makes_a_master_say_farewell_and_let_go() {
    let mut bench = Bench::new(&[with(load(), Consequence::Fault)]);
    bench.give(found(true));
    bench.pass(ms(5000));
    assert_eq!(bench.state(), State::Master);
    let effects = bench.give(found(false));
    assert_eq!(words(&effects), ["remove", "farewell", "testament", "transition"]);
    assert_eq!((bench.state(), bench.view().why.as_str()), (State::Fault, "t: load 5.0"));
    bench.give(found(true));
    assert_eq!(bench.state(), State::Backup);
}

#[test]
fn a_first_verdict_is_waited_for_but_not_for_ever() {
    let mut bench = Bench::new(&[with(load(), Consequence::Fault)]);
    bench.pass(ms(4900));
    assert_eq!(bench.state(), State::Backup);
    assert_eq!(bench.view().held_back.as_deref(), Some("first verdict of t pending"));
    bench.pass(ms(200));
    assert_eq!(bench.state(), State::Fault);
    assert_eq!(bench.view().why, "t: no verdict yet");
}

#[test]
fn a_first_verdict_that_comes_late_lets_it_take_over_at_once() {
    let mut bench = Bench::new(&[with(load(), Consequence::Fault)]);
    bench.pass(ms(4500));
    let effects = bench.give(found(true));
    assert!(effects.iter().any(|effect| advertises(effect, 100)));
}

#[test]
fn a_tracked_interface_that_goes_down_is_a_fault() {
    let mut bench = Bench::new(&[with(Condition::Interface { interface: "eth1".into() }, Consequence::Fault)]);
    bench.give(Event::Link(link("eth1", 3)));
    bench.pass(ms(5000));
    assert_eq!(bench.state(), State::Master);
    bench.give(Event::Link(Link { running: false, ..link("eth1", 3) }));
    assert_eq!((bench.state(), bench.view().why.as_str()), (State::Fault, "t: eth1 is down"));
    bench.give(Event::LinkGone { name: "eth1".into() });
    assert_eq!(bench.view().why, "t: eth1 is gone");
}

#[test]
fn a_gateway_is_asked_every_interval_and_unreachable_after_so_many_misses() {
    let condition = Condition::Gateway { address: ip("10.0.0.254"), interval: ms(1000), misses: 3 };
    let mut bench = Bench::new(&[with(condition, Consequence::Weight(-40))]);
    let answer = || Event::GatewayAnswered { interface: ETH0, address: ip("10.0.0.254") };
    for _ in 0..5 {
        bench.until(|effect| matches!(effect, Effect::ProbeGateway { .. }));
        bench.give(answer());
    }
    assert_eq!(bench.view().effective_priority, 100);
    bench.pass(ms(3999));
    assert_eq!(bench.view().effective_priority, 100);
    bench.pass(ms(1));
    assert_eq!(bench.view().effective_priority, 60);
    bench.give(answer());
    assert_eq!(bench.view().effective_priority, 100);
}

#[test]
fn a_verdict_about_nothing_is_nothing() {
    let mut bench = Bench::master(&router("a", 51));
    assert!(bench.give(found(false)).is_empty());
}

#[test]
fn an_interface_that_comes_back_under_another_index_takes_everything_along() {
    let a = router("a", 51);
    let mut bench = Bench::master(&a);
    let effects = bench.give(Event::LinkGone { name: "eth0".into() });
    assert_eq!(words(&effects), ["remove", "listen", "testament", "transition"]);
    assert_eq!(bench.state(), State::Fault);
    bench.give(Event::Link(link("eth0", 9)));
    assert_eq!(bench.state(), State::Backup);
    let effects = bench.hear(&advertisement(&a, 200));
    assert!(effects.is_empty() && bench.engine.snapshot(bench.now).stray["interface"] == 1);
    bench.done.clear();
    bench.until(|effect| matches!(effect, Effect::AddAddresses { interface: 9, .. }));
}
