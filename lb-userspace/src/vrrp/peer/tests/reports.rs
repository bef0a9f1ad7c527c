//! What one node knows of the other's virtual routers.

use std::collections::BTreeSet;

use super::super::{MAX_REPORTS, message};
use super::*;

fn many(count: usize, state: State) -> Vec<RouterReport> {
    (0..count).map(|n| report(&format!("router-{n:04}"), state)).collect()
}

#[test]
fn a_thousand_routers_are_all_known_after_one_round() {
    let mut pair = Pair::settled();
    pair.links[0].set_local(many(1_023, State::Backup), false);
    pair.links[1].set_local(many(1_023, State::Master), false);
    pair.run(ms(50 * 80));
    assert_eq!(pair.links[0].remote(), many(1_023, State::Master));
    assert_eq!(pair.links[1].remote(), many(1_023, State::Backup));
    assert!(pair.sent.iter().flatten().all(|(_, _, octets)| octets.len() <= message::LARGEST));
}

#[test]
fn an_urgent_change_of_all_is_told_in_one_burst() {
    let mut pair = Pair::settled();
    pair.links[0].set_local(many(1_023, State::Master), false);
    pair.run(ms(5_000));
    pair.links[0].set_local(many(1_023, State::Fault), true);
    pair.run(ms(5));
    assert_eq!(pair.links[1].remote(), many(1_023, State::Fault));
}

#[test]
fn one_change_among_a_thousand_goes_first_and_survives_a_loss() {
    let mut pair = Pair::settled();
    let mut reports = many(1_023, State::Backup);
    pair.links[0].set_local(reports.clone(), false);
    pair.run(ms(5_000));
    reports[700].state = State::Master;
    pair.cut[0] = [true, true];
    pair.links[0].set_local(reports.clone(), true);
    pair.run(ms(10));
    pair.cut[0] = [false, false];
    pair.run(ms(60));
    assert_eq!(pair.links[1].remote(), reports);
}

#[test]
fn a_router_that_goes_is_forgotten_and_one_that_comes_is_known() {
    let mut pair = Pair::settled();
    pair.links[0].set_local(vec![report("a", State::Master), report("b", State::Master)], true);
    pair.run(ms(10));
    pair.links[0].set_local(vec![report("b", State::Master), report("c", State::Init)], true);
    pair.run(ms(10));
    assert_eq!(pair.links[1].remote(), [report("b", State::Master), report("c", State::Init)]);
    pair.links[0].set_local(vec![], true);
    pair.run(ms(10));
    assert_eq!(pair.links[1].remote(), []);
}

#[test]
fn an_older_datagram_from_a_slow_path_changes_nothing() {
    let mut pair = Pair::settled();
    pair.latency[1] = ms(30);
    pair.links[0].set_local(vec![report("web", State::Master)], true);
    pair.run(ms(10));
    pair.links[0].set_local(vec![report("web", State::Backup)], true);
    pair.run(ms(50));
    let told = pair.news[1].iter().filter(|(_, news)| *news == PeerNews::Reports).count();
    assert_eq!(told, 2, "master, backup, and not master again: {:?}", pair.news[1]);
    assert_eq!(pair.links[1].remote(), [report("web", State::Backup)]);
}

#[test]
fn the_last_word_of_a_silent_peer_stays_and_a_new_life_begins_without() {
    let mut pair = Pair::settled();
    pair.links[1].set_local(vec![report("web", State::Master)], true);
    pair.run(ms(10));
    pair.run_only([true, false], ms(1_000));
    assert_eq!(pair.links[0].remote_router("web"), Some(&report("web", State::Master)));
    pair.restart(1, 777);
    pair.run(ms(20));
    assert_eq!(pair.links[0].remote(), []);
}

#[test]
fn routers_of_one_side_only_are_named() {
    let mut pair = Pair::settled();
    pair.links[0].set_local(vec![report("both", State::Backup), report("here", State::Backup)], true);
    pair.links[1].set_local(vec![report("both", State::Master), report("there", State::Master)], true);
    pair.run(ms(20));
    let expected = ["virtual router here is on this node only", "virtual router there is on the peer only"];
    assert_eq!(pair.links[0].view(pair.now).differences, expected);
}

#[test]
fn many_differences_are_counted() {
    let mut pair = Pair::settled();
    pair.links[0].set_local(many(50, State::Backup), true);
    pair.run(ms(20));
    let differences = pair.links[0].view(pair.now).differences;
    assert_eq!((differences.len(), differences[20].as_str()), (21, "and 30 more"));
}

#[test]
fn lists_beyond_the_limit_and_names_beyond_the_wire_are_cut() {
    let mut pair = Pair::settled();
    let mut reports = many(2 * MAX_REPORTS, State::Backup);
    reports.insert(0, report(&"x".repeat(256), State::Backup));
    pair.links[0].set_local(reports, true);
    pair.run(ms(20));
    let names: BTreeSet<_> = pair.links[1].remote().iter().map(|report| report.name.clone()).collect();
    assert_eq!(names.len(), MAX_REPORTS);
}

#[test]
fn the_longest_names_fit() {
    let mut pair = Pair::settled();
    let reports: Vec<_> = (0..9).map(|n| report(&format!("{n}{}", "x".repeat(254)), State::Fault)).collect();
    pair.links[0].set_local(reports.clone(), true);
    pair.run(ms(20));
    assert_eq!(pair.links[1].remote(), reports);
}
