//! A new configuration changes what differs, and restarts nothing.

use super::bench::{Bench, ETH0, ip, ms, nets, router, settings, words};
use crate::config::{OnCrash, VirtualRoute, VirtualRouter};
use crate::vrrp::effect::{Effect, Testament};
use crate::vrrp::event::Event;
use crate::vrrp::view::State;

fn reload(bench: &mut Bench, routers: &[VirtualRouter]) -> Vec<Effect> {
    bench.give(Event::Configure(Box::new(settings(routers, false))))
}

#[test]
fn a_reload_without_changes_does_nothing() {
    let a = router("a", 51);
    let mut bench = Bench::master(&a);
    let effects = reload(&mut bench, &[a]);
    assert_eq!(words(&effects), [""; 0]);
    assert_eq!(bench.state(), State::Master);
}

#[test]
fn addresses_that_come_are_added_and_announced_and_those_that_go_are_removed() {
    let a = router("a", 51);
    let mut bench = Bench::master(&a);
    let changed = VirtualRouter { addresses: nets(&["10.0.0.51/32", "10.0.0.77/32"]), ..a.clone() };
    let effects = reload(&mut bench, &[changed]);
    assert_eq!(words(&effects), ["add", "announce", "testament"]);
    assert_eq!(effects[0], Effect::AddAddresses { interface: ETH0, addresses: nets(&["10.0.0.77/32"]) });
    let effects = reload(&mut bench, &[a]);
    assert_eq!(words(&effects), ["remove", "testament"]);
    assert_eq!(effects[0], Effect::RemoveAddresses { interface: ETH0, addresses: nets(&["10.0.0.77/32"]) });
}

#[test]
fn priority_interval_and_name_change_in_place() {
    let a = router("a", 51);
    let mut bench = Bench::master(&a);
    let since = bench.view().since;
    reload(&mut bench, &[VirtualRouter { name: "b".into(), priority: 120, advertisement_interval: ms(100), ..a }]);
    bench.pass(ms(1000));
    let view = bench.view();
    assert_eq!((view.name.as_str(), view.effective_priority, view.since), ("b", 120, since));
    assert_eq!(bench.done.iter().filter(|(_, effect)| matches!(effect, Effect::Advertise(_))).count(), 10);
}

#[test]
fn a_removed_master_says_so_and_lets_go() {
    let mut bench = Bench::master(&router("a", 51));
    let effects = reload(&mut bench, &[]);
    assert_eq!(words(&effects), ["remove", "listen", "farewell", "testament", "transition"]);
    assert_eq!(effects[3], Effect::Testament(Testament::default()));
    bench.done.clear();
    bench.pass(ms(120_000));
    assert!(bench.done.is_empty());
}

#[test]
fn another_vrid_is_another_router() {
    let a = router("a", 51);
    let mut bench = Bench::master(&a);
    let effects = reload(&mut bench, &[VirtualRouter { vrid: 52, ..a }]);
    assert!(words(&effects).contains(&"farewell"));
    assert_eq!(bench.state(), State::Backup);
}

#[test]
fn an_address_that_moves_between_masters_is_not_removed() {
    let (a, b) = (router("a", 51), router("b", 52));
    let mut bench = Bench::new(&[a.clone(), b.clone()]);
    bench.pass(ms(4000));
    assert_eq!(bench.states(), [State::Master; 2]);
    let a_without = VirtualRouter { addresses: nets(&["10.0.0.60/32"]), ..a };
    let b_with = VirtualRouter { addresses: nets(&["10.0.0.52/32", "10.0.0.51/32"]), ..b };
    let effects = reload(&mut bench, &[a_without, b_with]);
    let removed = effects.iter().any(|effect| matches!(effect, Effect::RemoveAddresses { .. }));
    assert!(!removed, "{effects:?}");
}

#[test]
fn the_testament_names_what_a_master_holds() {
    let keep = VirtualRouter { on_crash: OnCrash::Keep, ..router("keep", 52) };
    let release = VirtualRouter { excluded_addresses: nets(&["192.0.2.1/32"]), ..router("release", 51) };
    let mut with_words = settings(&[keep, release], true);
    with_words.ready_timeout = ms(0);
    let mut bench = Bench::with(with_words);
    bench.pass(ms(4000));
    let mut testaments = bench.done.iter().filter_map(|(_, effect)| match effect {
        Effect::Testament(testament) => Some(testament.clone()),
        _ => None,
    });
    let [bequest]: [_; 1] = testaments.next_back().unwrap().release.try_into().unwrap();
    assert_eq!((bequest.router.as_str(), bequest.live, bequest.farewell.payload[2]), ("release", Some(1), 0));
    let held = nets(&["10.0.0.51/32", "192.0.2.1/32"]);
    assert_eq!(bequest.addresses, [(ETH0, held[0]), (ETH0, held[1])]);
}

#[test]
fn where_addresses_survive_a_crash_they_stay_until_a_master_is_heard() {
    let a = VirtualRouter { on_crash: OnCrash::Keep, ..router("a", 51) };
    let removes = |(_, effect): &(std::time::Duration, Effect)| matches!(effect, Effect::RemoveAddresses { .. });
    let mut bench = Bench::new(std::slice::from_ref(&a));
    bench.pass(ms(5000));
    assert_eq!(bench.state(), State::Master);
    assert!(!bench.done.iter().any(removes));

    let mut bench = Bench::new(std::slice::from_ref(&a));
    bench.hear(&super::bench::advertisement(&a, 200));
    assert!(bench.done.iter().any(removes));
}

#[test]
fn an_address_that_somebody_takes_away_is_put_back_but_not_in_a_race() {
    let mut bench = Bench::master(&router("a", 51));
    let lost = || Event::AddressLost { interface: ETH0, address: ip("10.0.0.51") };
    let effects = bench.give(lost());
    assert_eq!(words(&effects), ["add", "announce", "warning"]);
    for _ in 0..100 {
        bench.pass(ms(10));
        bench.give(lost());
    }
    let put_back = bench.done.iter().filter(|(_, effect)| matches!(effect, Effect::AddAddresses { .. })).count();
    assert_eq!(put_back, 2);
}

#[test]
fn with_a_virtual_mac_the_addresses_are_on_the_loopback_interface_and_routes_follow() {
    let route = VirtualRoute {
        destination: "192.0.2.0/24".parse().unwrap(),
        via: Some(ip("10.0.0.254")),
        interface: None,
        source: None,
        table: 254,
        metric: None,
    };
    let a = VirtualRouter { virtual_mac: true, routes: vec![route], ..router("a", 51) };
    let mut bench = Bench::new(std::slice::from_ref(&a));
    bench.pass(ms(3609));
    bench.done.clear();
    bench.pass(ms(1));
    let effects: Vec<Effect> = bench.done.iter().map(|(_, effect)| effect.clone()).collect();
    let expected = ["advertise", "add", "mac on", "announce", "routes", "testament", "transition"];
    assert_eq!(words(&effects), expected);
    assert_eq!(effects[1], Effect::AddAddresses { interface: 1, addresses: nets(&["10.0.0.51/32"]) });
    let effects = bench.hear(&super::bench::advertisement(&a, 200));
    assert_eq!(words(&effects), ["remove", "mac off", "no routes", "testament", "transition"]);
}
