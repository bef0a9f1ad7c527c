//! Groups move together.

use super::bench::{Bench, ETH0, advertisement, link, ms, router};
use crate::config::{Condition, Consequence, Track, VirtualRouter};
use crate::vrrp::event::{Event, Link};
use crate::vrrp::view::State;

/// Two routers of one group, on two interfaces.
fn group() -> [VirtualRouter; 2] {
    let group = Some("lb".to_string());
    let inside = VirtualRouter { interface: "eth1".into(), group: group.clone(), ..router("inside", 52) };
    [VirtualRouter { group, ..router("outside", 51) }, inside]
}

fn both(routers: &[VirtualRouter]) -> Bench {
    let mut bench = Bench::new(routers);
    bench.give(Event::Link(link("eth1", 3)));
    bench
}

#[test]
fn all_become_master_when_one_does() {
    let [outside, inside] = group();
    let mut bench = both(&[outside.clone(), inside]);
    assert_eq!(bench.states(), [State::Backup; 2]);
    bench.pass(ms(2000));
    bench.hear(&advertisement(&outside, 200));
    bench.pass(ms(1700));
    assert_eq!(bench.states(), [State::Master; 2], "the timer of the one that heard nobody has fired");
    assert!(bench.view_of(0).why.starts_with("group: inside: no advertisement for"), "{}", bench.view_of(0).why);
}

#[test]
fn all_step_down_when_one_hears_a_better_master() {
    let [outside, inside] = group();
    let mut bench = both(&[outside.clone(), inside]);
    bench.pass(ms(4000));
    assert_eq!(bench.states(), [State::Master; 2]);
    bench.hear(&advertisement(&outside, 200));
    assert_eq!(bench.states(), [State::Backup; 2]);
    assert_eq!(bench.view_of(1).why, "group: outside: 10.0.0.2 advertises priority 200, ours is 100");
}

#[test]
fn all_are_in_fault_while_one_is() {
    let mut bench = both(&group());
    bench.pass(ms(4000));
    bench.give(Event::Link(Link { running: false, ..link("eth1", 3) }));
    assert_eq!(bench.states(), [State::Fault; 2]);
    assert_eq!(bench.view_of(0).why, "group: inside: eth1 is down");
    assert_eq!(bench.view_of(1).why, "eth1 is down");
    bench.give(Event::Link(link("eth1", 3)));
    assert_eq!(bench.states(), [State::Backup; 2]);
}

#[test]
fn all_have_the_least_priority_of_the_group() {
    let [outside, mut inside] = group();
    let condition = Condition::Interface { interface: "eth2".into() };
    inside.tracks = vec![Track { name: "uplink".into(), condition, consequence: Consequence::Weight(-30) }];
    let mut bench = both(&[outside, inside]);
    bench.give(Event::Link(Link { running: false, ..link("eth2", 4) }));
    assert_eq!([bench.view_of(0).effective_priority, bench.view_of(1).effective_priority], [70, 70]);
    bench.give(Event::Link(link("eth2", 4)));
    assert_eq!([bench.view_of(0).effective_priority, bench.view_of(1).effective_priority], [100, 100]);
}

#[test]
fn all_resign_when_one_is_told_to() {
    let mut bench = both(&group());
    bench.pass(ms(4000));
    bench.give(Event::Resign(Some("inside".into())));
    assert!(bench.view_of(0).resigned && bench.view_of(1).resigned);
}

#[test]
fn who_resumes_when_a_part_is_handed_over_lets_the_rest_go_too() {
    let [outside, inside] = group();
    let mut bench = both(&[outside.clone(), inside]);
    bench.pass(ms(4000));
    bench.give(Event::Resign(None));
    bench.hear(&advertisement(&outside, 90));
    assert_eq!(
        bench.states(),
        [State::Backup, State::Master],
        "the one that was relieved, and the one that is not yet"
    );
    bench.give(Event::Resume(None));
    assert_eq!(bench.states(), [State::Backup; 2]);
}

#[test]
fn routers_without_a_group_move_alone() {
    let outside = router("outside", 51);
    let mut bench = Bench::new(&[outside.clone(), router("other", 52)]);
    bench.pass(ms(4000));
    bench.hear(&advertisement(&outside, 200));
    assert_eq!(bench.states(), [State::Backup, State::Master]);
    bench.give(Event::Link(Link { running: false, ..link("eth0", ETH0) }));
    assert_eq!(bench.states(), [State::Fault; 2]);
}
