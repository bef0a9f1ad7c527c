//! The tracker against scripted announcements and answers.

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::{Event, Observation, REFRESH_TICKS, Snapshot, Tracker, Upkeep, bounds};
use crate::nexthop::{
    Frame, Link, LinkKind, Mac, Neighbour, NeighbourKey, NextHop, Reachability, RouteAnswer, Unresolved,
};

const A: &str = "10.0.0.11";
const B: &str = "10.0.0.12";
const FAR: &str = "192.0.2.1";

#[test]
fn every_wanted_destination_is_reported_once_and_then_on_each_change() {
    let mut tracker = settled(&[A, B]);
    reports(&mut tracker, &[(A, "asking for 10.0.0.11 on eth0"), (B, "asking for 10.0.0.12 on eth0")]);
    announce(&mut tracker, A, Reachability::Known(mac(1)));
    reports(&mut tracker, &[(A, "02:00:00:00:00:01")]);
    announce(&mut tracker, A, Reachability::Known(mac(1)));
    reports(&mut tracker, &[]);
    announce(&mut tracker, A, Reachability::Known(mac(2)));
    reports(&mut tracker, &[(A, "02:00:00:00:00:02")]);
    fall_silent(&mut tracker, A);
    reports(&mut tracker, &[(A, "10.0.0.11 does not answer ARP on eth0")]);
}

#[test]
fn an_unread_change_is_replaced_by_the_next_one() {
    let mut tracker = settled(&[A]);
    for last in 1..100 {
        announce(&mut tracker, A, Reachability::Known(mac(last)));
    }
    reports(&mut tracker, &[(A, "02:00:00:00:00:63")]);
}

#[test]
fn a_dead_host_that_is_asked_again_and_again_is_reported_dead_once() {
    let mut tracker = settled(&[A]);
    announce(&mut tracker, A, Reachability::Silent);
    results(&mut tracker);
    for _ in 0..3 {
        announce(&mut tracker, A, Reachability::Asking);
        announce(&mut tracker, A, Reachability::Silent);
    }
    reports(&mut tracker, &[]);
}

#[test]
fn flushing_the_neighbour_table_stops_no_traffic_and_is_made_good() {
    let mut tracker = settled(&[A]);
    upkeep(&mut tracker);
    announce(&mut tracker, A, Reachability::Known(mac(1)));
    results(&mut tracker);
    tracker.tick();
    announce(&mut tracker, A, Reachability::Silent);
    tracker.observe(Observation::NeighbourGone(key(A)));
    assert_eq!(upkeep(&mut tracker), [Upkeep::Manage(key(A))]);
    announce(&mut tracker, A, Reachability::Asking);
    reports(&mut tracker, &[]);
    announce(&mut tracker, A, Reachability::Silent);
    reports(&mut tracker, &[(A, "10.0.0.11 does not answer ARP on eth0")]);
}

#[test]
fn a_link_that_goes_down_takes_its_next_hops_along_and_asks_for_routes() {
    let mut tracker = settled(&[A]);
    announce(&mut tracker, A, Reachability::Known(mac(1)));
    results(&mut tracker);
    tracker.observe(Observation::Link(Link { carrier: false, ..eth(2, "eth0") }));
    reports(&mut tracker, &[(A, "interface eth0 is down")]);
    assert_eq!(tracker.next_route(), Some(ip(A)));
}

#[test]
fn a_recreated_interface_is_reported_removed_then_appeared() {
    let mut tracker = settled(&[A]);
    links(&mut tracker);
    // The new one has the smaller index: the order is not that of the indices.
    tracker.observe(Observation::LinkGone(2));
    tracker.observe(Observation::Link(eth(1, "eth0")));
    assert_eq!(links(&mut tracker), ["-2 eth0", "+1 eth0"]);
    tracker.observe(Observation::Link(eth(1, "lan")));
    assert_eq!(links(&mut tracker), ["-1 eth0", "+1 lan"]);
    tracker.observe(Observation::Link(Link { mtu: 9000, ..eth(1, "lan") }));
    assert_eq!(links(&mut tracker), ["~1 lan"]);
}

#[test]
fn all_that_exists_is_reported_before_listed() {
    let mut tracker = Tracker::default();
    assert_eq!(tracker.next_event(), None);
    let addresses = BTreeSet::from([(2, ip("10.0.0.1"))]);
    tracker.resynchronise(Snapshot { addresses, ..snapshot(&[]) });
    let events: Vec<_> = std::iter::from_fn(|| tracker.next_event()).collect();
    let local = BTreeSet::from([ip("10.0.0.1")]);
    assert_eq!(events, [Event::LinkAppeared(eth(2, "eth0")), Event::LocalAddresses(local), Event::Listed]);
    tracker.resynchronise(Snapshot { addresses: BTreeSet::from([(2, ip("10.0.0.1"))]), ..snapshot(&[]) });
    assert_eq!(tracker.next_event(), None, "the same again is no news");
}

#[test]
fn an_address_held_twice_is_local_until_the_second_goes() {
    let mut tracker = Tracker::default();
    tracker.observe(Observation::Address(1, ip("10.9.9.9")));
    tracker.observe(Observation::Address(2, ip("10.9.9.9")));
    assert_eq!(tracker.next_event(), Some(Event::LocalAddresses(BTreeSet::from([ip("10.9.9.9")]))));
    tracker.observe(Observation::AddressGone(1, ip("10.9.9.9")));
    assert_eq!(tracker.next_event(), None);
    tracker.observe(Observation::AddressGone(2, ip("10.9.9.9")));
    assert_eq!(tracker.next_event(), Some(Event::LocalAddresses(BTreeSet::new())));
}

#[test]
fn a_route_change_asks_only_for_destinations_within_its_prefix() {
    let cases: [(&str, u8, &[&str]); 6] = [
        ("10.0.0.0", 24, &[A, B]),
        ("10.0.0.11", 32, &[A]),
        ("198.51.100.0", 24, &[]),
        ("0.0.0.0", 0, &[A, B, FAR]),
        ("::", 0, &["2001:db8::1"]),
        ("2001:db8::", 64, &["2001:db8::1"]),
    ];
    for (prefix, length, expected) in cases {
        let mut tracker = settled(&[A, B, FAR, "2001:db8::1"]);
        tracker.observe(Observation::Route(ip(prefix), length));
        let asked: BTreeSet<_> = std::iter::from_fn(|| tracker.next_route()).collect();
        assert_eq!(asked, set(expected), "{prefix}/{length}");
    }
}

#[test]
fn a_route_that_changes_while_it_is_asked_for_is_asked_for_again() {
    let mut tracker = settled(&[A]);
    tracker.observe(Observation::Routing);
    assert_eq!(tracker.next_route(), Some(ip(A)));
    tracker.observe(Observation::Routing);
    assert_eq!(tracker.next_route(), None, "one question at a time, so that answers cannot overtake");
    tracker.route_answered(ip(A), on_link());
    assert_eq!(tracker.next_route(), Some(ip(A)));
}

#[test]
fn a_failed_question_keeps_the_last_answer_and_is_repeated_with_the_next_tick() {
    let mut tracker = settled(&[A]);
    results(&mut tracker);
    tracker.observe(Observation::Routing);
    let _ = tracker.next_route();
    tracker.route_answered(ip(A), RouteAnswer::Failed("no answer".into()));
    reports(&mut tracker, &[]);
    assert!(!tracker.has_stale_routes());
    tracker.tick();
    assert_eq!(tracker.next_route(), Some(ip(A)));
}

#[test]
fn all_routes_are_asked_for_now_and_then() {
    let mut tracker = settled(&[A]);
    for _ in 1..REFRESH_TICKS {
        tracker.tick();
    }
    assert!(!tracker.has_stale_routes());
    tracker.tick();
    assert!(tracker.has_stale_routes());
}

#[test]
fn the_router_is_managed_once_for_all_destinations_behind_it() {
    let mut tracker = started(&[A, B]);
    let behind = RouteAnswer::Unicast { interface: 2, gateway: Some(ip("10.0.0.254")), mtu: None, source: None };
    while let Some(address) = tracker.next_route() {
        tracker.route_answered(address, behind.clone());
    }
    assert_eq!(upkeep(&mut tracker), [Upkeep::Manage(key("10.0.0.254"))]);
    results(&mut tracker);
    announce(&mut tracker, "10.0.0.254", Reachability::Known(mac(9)));
    reports(&mut tracker, &[(A, "02:00:00:00:00:09"), (B, "02:00:00:00:00:09")]);
}

#[test]
fn a_permanent_entry_is_neither_managed_nor_removed() {
    let mut tracker = settled_with(&[A], &[(key(A), entry(Reachability::Fixed(mac(5)), false, false))]);
    reports(&mut tracker, &[(A, "02:00:00:00:00:05")]);
    tracker.tick();
    tracker.set_wanted(&BTreeSet::new());
    assert_eq!(upkeep(&mut tracker), []);
    assert!(tracker.releases().is_empty());
}

#[test]
fn only_our_own_managed_entries_are_removed() {
    let operators = (key(A), entry(Reachability::Known(mac(1)), true, false));
    let ours = (key(B), entry(Reachability::Known(mac(2)), true, true));
    let mut tracker = settled_with(&[A, B], &[operators, ours]);
    assert_eq!(upkeep(&mut tracker), [], "both are managed already");
    assert_eq!(tracker.releases(), [key(B)]);
    tracker.set_wanted(&BTreeSet::new());
    assert_eq!(upkeep(&mut tracker), [Upkeep::Release(key(B))]);
}

#[test]
fn a_predecessors_entries_are_left_until_the_new_process_knows_what_it_wants() {
    let ours = (key(A), entry(Reachability::Known(mac(1)), true, true));
    let mut tracker = Tracker::default();
    tracker.resynchronise(snapshot(&[ours]));
    for step in 0..4 {
        tracker.tick();
        assert_eq!(upkeep(&mut tracker), [], "step {step}");
        match step {
            0 => tracker.set_wanted(&set(&[B])),
            1 => tracker.set_attached(BTreeSet::from([2])),
            _ => {}
        }
    }
    answer_all(&mut tracker);
    tracker.tick();
    assert_eq!(upkeep(&mut tracker), [Upkeep::Release(key(A)), Upkeep::Manage(key(B))]);
}

#[test]
fn an_unattached_interface_is_not_probed() {
    let mut tracker = settled(&[A]);
    tracker.set_attached(BTreeSet::new());
    tracker.tick();
    assert_eq!(upkeep(&mut tracker), []);
    reports(&mut tracker, &[(A, "route leaves by eth0, which is not in dataplane.interfaces")]);
}

#[test]
fn destinations_are_pending_until_it_is_known_what_is_attached() {
    let mut tracker = Tracker::default();
    tracker.resynchronise(snapshot(&[]));
    tracker.set_wanted(&set(&[A]));
    answer_all(&mut tracker);
    reports(&mut tracker, &[(A, "the route to 10.0.0.11 is being looked up")]);
}

#[test]
fn a_kernel_that_refuses_to_manage_has_its_entries_probed() {
    let mut tracker = settled(&[A]);
    assert_eq!(upkeep(&mut tracker), [Upkeep::Manage(key(A))]);
    tracker.management_refused();
    let probe = Upkeep::Probe { key: key(A), managed: false };
    tracker.tick();
    assert_eq!(upkeep(&mut tracker), [probe]);
    tracker.observe(Observation::Neighbour(key(A), entry(Reachability::Known(mac(1)), false, false)));
    let probes: Vec<_> = (0..10).map(|_| (tracker.tick(), upkeep(&mut tracker).len()).1).collect();
    assert_eq!(probes.iter().sum::<usize>(), 2, "every fifth second: {probes:?}");
}

#[test]
fn a_silent_neighbour_is_asked_each_second() {
    let mut tracker = settled(&[A]);
    upkeep(&mut tracker);
    announce(&mut tracker, A, Reachability::Silent);
    assert_eq!(upkeep(&mut tracker), [], "it was looked after in this second");
    tracker.tick();
    assert_eq!(upkeep(&mut tracker), [Upkeep::Probe { key: key(A), managed: true }]);
}

#[test]
fn bounds_of_prefixes() {
    for (prefix, length, first, last) in [
        ("10.1.2.3", 24, "10.1.2.0", "10.1.2.255"),
        ("10.1.2.3", 32, "10.1.2.3", "10.1.2.3"),
        ("10.1.2.3", 0, "0.0.0.0", "255.255.255.255"),
        ("2001:db8::1", 64, "2001:db8::", "2001:db8::ffff:ffff:ffff:ffff"),
        ("2001:db8::1", 128, "2001:db8::1", "2001:db8::1"),
    ] {
        assert_eq!(bounds(ip(prefix), length), (ip(first), ip(last)), "{prefix}/{length}");
    }
}

/// Interface 2 exists, is attached and everything wanted is on its link.
fn settled(wanted: &[&str]) -> Tracker {
    settled_with(wanted, &[])
}

fn settled_with(wanted: &[&str], neighbours: &[(NeighbourKey, Neighbour)]) -> Tracker {
    let mut tracker = started(wanted);
    tracker.resynchronise(snapshot(neighbours));
    answer_all(&mut tracker);
    tracker
}

fn started(wanted: &[&str]) -> Tracker {
    let mut tracker = Tracker::default();
    tracker.resynchronise(snapshot(&[]));
    tracker.set_attached(BTreeSet::from([2]));
    tracker.set_wanted(&set(wanted));
    tracker
}

fn snapshot(neighbours: &[(NeighbourKey, Neighbour)]) -> Snapshot {
    Snapshot {
        links: [eth(2, "eth0")].into_iter().collect(),
        neighbours: neighbours.to_vec(),
        addresses: BTreeSet::new(),
    }
}

fn answer_all(tracker: &mut Tracker) {
    while let Some(address) = tracker.next_route() {
        tracker.route_answered(address, on_link());
    }
}

fn announce(tracker: &mut Tracker, address: &str, reachability: Reachability) {
    tracker.observe(Observation::Neighbour(key(address), entry(reachability, true, true)));
}

/// As the kernel does: it is checked first, and nobody answers.
fn fall_silent(tracker: &mut Tracker, address: &str) {
    let checked = Neighbour { doubtful: true, ..entry(Reachability::Known(mac(1)), true, true) };
    tracker.observe(Observation::Neighbour(key(address), checked));
    announce(tracker, address, Reachability::Silent);
}

#[track_caller]
fn reports(tracker: &mut Tracker, expected: &[(&str, &str)]) {
    let found = results(tracker);
    let found: Vec<_> = found.iter().map(|(address, words)| (address.as_str(), words.as_str())).collect();
    assert_eq!(found, expected);
}

/// The MAC address or the words of each next hop reported.
fn results(tracker: &mut Tracker) -> Vec<(String, String)> {
    let next_hop = |event| match event {
        Event::NextHop { destination, result } => Some((destination.to_string(), in_short(result))),
        _ => None,
    };
    std::iter::from_fn(|| tracker.next_event()).filter_map(next_hop).collect()
}

fn in_short(result: Result<NextHop, Unresolved>) -> String {
    match result {
        Ok(NextHop::Local) => "local".to_owned(),
        Ok(NextHop::Frame(Frame { destination_mac, .. })) => destination_mac.to_string(),
        Err(unresolved) => unresolved.to_string(),
    }
}

fn links(tracker: &mut Tracker) -> Vec<String> {
    let link = |event| match event {
        Event::LinkAppeared(link) => Some(format!("+{} {}", link.index, link.name)),
        Event::LinkChanged(link) => Some(format!("~{} {}", link.index, link.name)),
        Event::LinkRemoved { index, name } => Some(format!("-{index} {name}")),
        _ => None,
    };
    std::iter::from_fn(|| tracker.next_event()).filter_map(link).collect()
}

fn upkeep(tracker: &mut Tracker) -> Vec<Upkeep> {
    std::iter::from_fn(|| tracker.next_upkeep()).collect()
}

fn on_link() -> RouteAnswer {
    RouteAnswer::Unicast { interface: 2, gateway: None, mtu: None, source: None }
}

fn eth(index: u32, name: &str) -> Link {
    Link {
        index,
        name: name.to_owned(),
        kind: LinkKind::Plain,
        mac: Some(mac(0xee)),
        mtu: 1500,
        master: None,
        lower: None,
        enabled: true,
        carrier: true,
        program: None,
    }
}

fn entry(reachability: Reachability, managed: bool, ours: bool) -> Neighbour {
    Neighbour { reachability, managed, ours, doubtful: false, present: true }
}

fn key(address: &str) -> NeighbourKey {
    NeighbourKey { interface: 2, address: ip(address) }
}

fn set(addresses: &[&str]) -> BTreeSet<IpAddr> {
    addresses.iter().map(|address| ip(address)).collect()
}

fn mac(last: u8) -> Mac {
    Mac([2, 0, 0, 0, 0, last])
}

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}
