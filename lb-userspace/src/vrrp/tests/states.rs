//! The state machine, statement by statement (RFC 9568 section 6.4; the numbers are those of docs/vrrp.md).

use std::time::Duration;

use super::bench::{
    Bench, ETH0, MAC, OTHER, US, advertisement, advertises, ip, link, ms, nets, router, settings, words,
};
use crate::config::VrrpVersion;
use crate::vrrp::effect::Effect;
use crate::vrrp::event::Event;
use crate::vrrp::router::advertise::{GROUP_V4, GROUP_V6};
use crate::vrrp::timing;
use crate::vrrp::view::State;

/// 3 intervals and the skew of priority 100, with 1-second advertisements.
const DOWN: Duration = Duration::from_micros(3_609_375);
const SKEW: Duration = Duration::from_micros(609_375);

fn is_announcement(effect: &Effect) -> bool {
    matches!(effect, Effect::Announce { .. })
}

#[test]
fn s01_the_owner_is_master_at_startup_and_says_so_before_it_announces() {
    let owner = crate::config::VirtualRouter { priority: 255, addresses: nets(&["10.0.0.1/32"]), ..router("own", 1) };
    let mut bench = Bench::bare();
    bench.give(Event::Configure(Box::new(settings(&[owner], false))));
    let effects = bench.give(Event::Link(link("eth0", ETH0)));
    assert_eq!(words(&effects), ["listen", "advertise", "announce", "testament", "transition"]);
    assert!(effects.iter().any(|effect| advertises(effect, 255)));
    assert_eq!(bench.state(), State::Master);
    assert_eq!(bench.until(|effect| advertises(effect, 255)), ms(1000));
}

#[test]
fn s02_any_other_is_backup_at_startup_and_waits_its_own_active_down_interval() {
    let mut bench = Bench::new(&[router("a", 51)]);
    assert_eq!(bench.state(), State::Backup);
    assert_eq!(bench.view().interval, ms(1000));
    assert_eq!(bench.until(|effect| advertises(effect, 100)), DOWN);
}

#[test]
fn s03_a_backup_holds_nothing_and_what_an_earlier_run_left_is_removed() {
    let mut bench = Bench::bare();
    bench.give(Event::Configure(Box::new(settings(&[router("a", 51)], true))));
    let effects = bench.give(Event::Link(link("eth0", ETH0)));
    assert_eq!(words(&effects), ["dead", "remove", "listen", "transition"]);
    bench.pass(ms(3000));
    let held =
        |(_, effect): &(Duration, Effect)| matches!(effect, Effect::AddAddresses { .. } | Effect::Announce { .. });
    assert!(!bench.done.iter().any(held));
}

/// What an earlier run held and was to keep is given up as soon as another is heard to be master.
#[test]
fn s03_what_was_kept_over_a_crash_goes_when_another_is_master() {
    let keep = crate::config::VirtualRouter { on_crash: crate::config::OnCrash::Keep, ..router("a", 51) };
    let mut bench = Bench::new(std::slice::from_ref(&keep));
    bench.pass(ms(1000));
    assert!(!bench.done.iter().any(|(_, effect)| matches!(effect, Effect::RemoveAddresses { .. })));
    let effects = bench.hear(&advertisement(&keep, 200));
    assert_eq!(words(&effects), ["remove"]);
    assert_eq!(words(&bench.hear(&advertisement(&keep, 200))), [""; 0]);
}

#[test]
fn s04_priority_zero_sets_the_timer_to_skew() {
    for (learned, skew) in [(ms(1000), SKEW), (ms(100), SKEW / 10)] {
        let a = router("a", 51);
        let mut bench = Bench::new(std::slice::from_ref(&a));
        let mut master = advertisement(&a, 200);
        master.interval = learned;
        bench.hear(&master);
        bench.pass(learned / 2);
        master.priority = 0;
        bench.hear(&master);
        let waited = bench.until(|effect| advertises(effect, 100));
        assert!(waited.abs_diff(skew) < ms(1) / 1000, "{waited:?}, not {skew:?}");
        assert_eq!(bench.view().why, "10.0.0.2 is leaving: priority 0");
    }
}

#[test]
fn s05_a_backup_obeys_an_equal_or_higher_priority_and_learns_its_interval() {
    for priority in [100, 101, 255] {
        let a = router("a", 51);
        let mut bench = Bench::new(std::slice::from_ref(&a));
        bench.pass(ms(3000));
        let mut master = advertisement(&a, priority);
        master.interval = ms(200);
        bench.hear(&master);
        assert_eq!(bench.view().interval, ms(200));
        assert_eq!(bench.view().master.unwrap().priority, priority);
        assert_eq!(bench.until(|effect| advertises(effect, 100)), DOWN / 5);
        assert_eq!(bench.view().why, "no advertisement of 10.0.0.2 for 722 ms");
    }
}

#[test]
fn s05_without_preemption_a_lower_priority_is_obeyed() {
    let a = crate::config::VirtualRouter { preempt: false, ..router("a", 51) };
    let mut bench = Bench::new(std::slice::from_ref(&a));
    for _ in 0..20 {
        bench.pass(ms(1000));
        bench.hear(&advertisement(&a, 50));
    }
    assert_eq!(bench.state(), State::Backup);
    assert_eq!(bench.view().held_back.unwrap(), "preempt is off");
    assert_eq!(bench.until(|effect| advertises(effect, 100)), DOWN);
}

#[test]
fn s06_with_preemption_a_lower_priority_does_not_restart_the_timer() {
    let a = router("a", 51);
    let mut bench = Bench::new(std::slice::from_ref(&a));
    for _ in 0..3 {
        bench.pass(ms(1000));
        bench.hear(&advertisement(&a, 50));
    }
    assert_eq!(bench.until(|effect| advertises(effect, 100)), DOWN - ms(3000));
    assert_eq!(bench.view().why, "10.0.0.2 advertises priority 50, ours is 100");
}

#[test]
fn s06_preempt_delay_counts_from_when_it_could_preempt() {
    let a = crate::config::VirtualRouter { preempt_delay: ms(10_000), ..router("a", 51) };
    let mut bench = Bench::new(std::slice::from_ref(&a));
    let mut waited = Duration::ZERO;
    while bench.state() == State::Backup {
        bench.hear(&advertisement(&a, 50));
        bench.pass(ms(1000));
        waited += ms(1000);
    }
    assert!((ms(12_000)..=ms(15_000)).contains(&waited), "{waited:?}");
}

#[test]
fn s07_the_new_master_advertises_then_holds_the_addresses_then_announces_them() {
    let a = crate::config::VirtualRouter { excluded_addresses: nets(&["fe80::51/128"]), ..router("a", 51) };
    let mut bench = Bench::with(settings(&[a], true));
    bench.give(Event::Ready(Ok(())));
    bench.done.clear();
    bench.until(|effect| advertises(effect, 100));
    let effects: Vec<Effect> = bench.done.iter().map(|(_, effect)| effect.clone()).collect();
    assert_eq!(words(&effects), ["live", "advertise", "add", "announce", "testament", "transition"]);
    let all = nets(&["10.0.0.51/32", "fe80::51/128"]);
    assert_eq!(effects[2], Effect::AddAddresses { interface: ETH0, addresses: all });
    let addresses = vec![ip("10.0.0.51"), ip("fe80::51")];
    assert_eq!(effects[3], Effect::Announce { interface: ETH0, mac: MAC, addresses });
}

#[test]
fn s08_a_master_advertises_every_interval() {
    let mut bench = Bench::master(&router("a", 51));
    bench.pass(ms(10_000));
    assert_eq!(bench.done.iter().filter(|(_, effect)| advertises(effect, 100)).count(), 10);
    assert_eq!(bench.view().counters.lateness.counts[0], bench.view().counters.sent - 1);
}

#[test]
fn s09_a_master_answers_priority_zero_at_once_and_stays() {
    let a = router("a", 51);
    let mut bench = Bench::master(&a);
    let effects = bench.hear(&advertisement(&a, 0));
    assert!(effects.iter().any(|effect| advertises(effect, 100)));
    assert_eq!(bench.state(), State::Master);
    assert_eq!(bench.until(|effect| advertises(effect, 100)), ms(1000));
}

#[test]
fn s10_a_master_that_hears_a_better_one_removes_its_addresses_and_announces_nothing_more() {
    let a = router("a", 51);
    let mut bench = Bench::new(std::slice::from_ref(&a));
    bench.until(|effect| advertises(effect, 100));
    bench.done.clear();
    let mut better = advertisement(&a, 200);
    better.interval = ms(500);
    let effects = bench.hear(&better);
    assert_eq!(words(&effects), ["remove", "advertise", "testament", "transition"]);
    bench.pass(ms(1500));
    assert!(!bench.done.iter().any(|(_, effect)| is_announcement(effect)));
    assert_eq!(bench.view().interval, ms(500));
    assert_eq!(bench.view().why, "10.0.0.2 advertises priority 200, ours is 100");
}

/// The better master may never have heard this one: it is told, so that it announces its addresses anew, by an advertisement
/// that contests nothing.
#[test]
fn s10_a_master_that_yields_says_once_that_it_was_master() {
    for (virtual_mac, expected) in [(false, 1), (true, 0)] {
        let a = crate::config::VirtualRouter { virtual_mac, ..router("a", 51) };
        let mut bench = Bench::master(&a);
        bench.hear(&advertisement(&a, 200));
        bench.pass(ms(2000));
        let sent: Vec<&Effect> =
            bench.done.iter().map(|(_, effect)| effect).filter(|e| matches!(e, Effect::Advertise(_))).collect();
        assert_eq!(sent.len(), expected, "virtual MAC: {virtual_mac}");
        assert!(sent.iter().all(|effect| advertises(effect, 1)));
    }
}

#[test]
fn s10_among_equals_the_higher_address_is_master() {
    for (source, expected) in [("10.0.0.2", State::Backup), ("9.255.255.255", State::Master)] {
        let a = router("a", 51);
        let mut bench = Bench::master(&a);
        bench.hear_from(&advertisement(&a, 100), ip(source), GROUP_V4, 255);
        assert_eq!(bench.state(), expected, "{source}");
    }
}

#[test]
fn s11_a_master_answers_a_worse_one_at_once_and_announces_again() {
    let a = router("a", 51);
    let mut bench = Bench::master(&a);
    let effects = bench.hear(&advertisement(&a, 50));
    assert_eq!(words(&effects), ["advertise", "announce", "foreign"]);
    bench.done.clear();
    let start = bench.now;
    bench.pass(ms(3100));
    let bursts =
        bench.done.iter().filter(|(_, effect)| is_announcement(effect)).map(|(at, _)| (*at - start).as_millis());
    assert_eq!(bursts.collect::<Vec<_>>(), [10, 30, 100, 300, 1000, 3000]);
}

#[test]
fn s11_a_foreign_master_is_told_of_once_an_episode() {
    let a = router("a", 51);
    let mut bench = Bench::master(&a);
    for _ in 0..5 {
        bench.hear(&advertisement(&a, 50));
        bench.pass(ms(1000));
    }
    assert_eq!(bench.view().foreign_master.unwrap().0, ip(OTHER));
    bench.pass(ms(5000));
    assert_eq!(bench.view().foreign_master, None);
    bench.hear(&advertisement(&a, 50));
    let effects: Vec<Effect> = bench.done.iter().map(|(_, effect)| effect.clone()).collect();
    assert_eq!(words(&effects).iter().filter(|word| **word == "foreign").count(), 2);
}

#[test]
fn s11_the_master_that_was_relieved_is_no_foreign_one() {
    let a = router("a", 51);
    let mut bench = Bench::new(std::slice::from_ref(&a));
    bench.until(|effect| advertises(effect, 100));
    bench.done.clear();
    bench.pass(ms(500));
    let effects = bench.hear(&advertisement(&a, 50));
    assert_eq!(words(&effects), ["advertise", "announce"]);
    assert_eq!(bench.view().foreign_master, None);
}

#[test]
fn s12_a_master_that_stops_sends_priority_zero_and_a_backup_goes_silently() {
    let mut bench = Bench::master(&router("a", 51));
    assert_eq!(words(&bench.give(Event::Stop)), ["farewell"]);
    let mut bench = Bench::backup_of(&router("a", 51), 200);
    assert_eq!(words(&bench.give(Event::Stop)), ["transition", "handed over"]);
    assert_eq!(bench.state(), State::Init);
}

#[test]
fn s13_the_owner_preempts_whatever_is_configured_and_takes_what_it_hears() {
    let owner = crate::config::VirtualRouter {
        priority: 255,
        preempt: false,
        addresses: nets(&["10.0.0.1/32"]),
        ..router("own", 1)
    };
    let mut bench = Bench::master(&owner);
    bench.hear(&advertisement(&owner, 254));
    assert_eq!(bench.state(), State::Master);
    assert_eq!(bench.view().counters.received, 1);
    assert!(bench.view().foreign_master.is_some());
}

#[test]
fn s14_a_master_accepts_packets_to_its_addresses_because_it_holds_them() {
    let mut bench = Bench::new(&[router("a", 51)]);
    bench.until(|effect| advertises(effect, 100));
    let added = Effect::AddAddresses { interface: ETH0, addresses: nets(&["10.0.0.51/32"]) };
    assert!(bench.done.iter().any(|(_, effect)| *effect == added));
}

#[test]
fn s16_the_same_vrid_in_both_families_is_two_routers() {
    let four = router("four", 51);
    let mut six = router("six", 51);
    six.addresses = nets(&["2001:db8::51/128", "fe80::51/128"]);
    let mut bench = Bench::new(&[four.clone(), six.clone()]);
    bench.hear(&advertisement(&four, 200));
    bench.pass(DOWN - ms(1));
    bench.hear(&advertisement(&four, 200));
    bench.pass(ms(2));
    assert_eq!(bench.states(), [State::Backup, State::Master]);
    let sent = bench.done.iter().find_map(|(_, effect)| match effect {
        Effect::Advertise(packet) => Some(packet.clone()),
        _ => None,
    });
    let sent = sent.unwrap();
    assert_eq!((sent.source, sent.destinations), (ip("fe80::1"), vec![GROUP_V6]));
    assert_eq!(sent.payload[8..10], [0xfe, 0x80], "the link-local address comes first");
}

#[test]
fn s17_addresses_are_announced_with_the_mac_that_answers_for_them() {
    for (virtual_mac, mac) in [(false, MAC), (true, [0, 0, 0x5e, 0, 1, 51])] {
        let a = crate::config::VirtualRouter { virtual_mac, ..router("a", 51) };
        let mut bench = Bench::new(&[a]);
        bench.until(|effect| advertises(effect, 100));
        let announced = Effect::Announce { interface: ETH0, mac, addresses: vec![ip("10.0.0.51")] };
        assert!(bench.done.iter().any(|(_, effect)| *effect == announced));
    }
}

#[test]
fn s18_the_group_is_joined_where_a_router_is_and_again_when_the_interface_comes_back() {
    let mut bench = Bench::new(&[router("a", 51)]);
    let subscriptions = |effects: &[Effect]| match effects.iter().find(|effect| matches!(effect, Effect::Listen(_))) {
        Some(Effect::Listen(set)) => set.iter().map(|one| (one.interface, one.is_ipv4, one.multicast)).collect(),
        _ => vec![(0, false, false)],
    };
    let gone = bench.give(Event::LinkGone { name: "eth0".into() });
    assert_eq!(subscriptions(&gone), []);
    let back = bench.give(Event::Link(link("eth0", 7)));
    assert_eq!(subscriptions(&back), [(7, true, true)]);
}

#[test]
fn s19_nothing_is_announced_before_the_interface_has_an_address_to_speak_from() {
    let mut six = router("six", 51);
    six.addresses = nets(&["2001:db8::51/128"]);
    let mut bench = Bench::bare();
    bench.give(Event::Configure(Box::new(settings(&[six], false))));
    let mut bare = link("eth0", ETH0);
    bare.addresses = nets(&["10.0.0.1/24"]);
    bench.give(Event::Link(bare));
    bench.pass(ms(10_000));
    assert_eq!(bench.state(), State::Init);
    assert_eq!(bench.view().why, "eth0 has no IPv6 link-local address to speak from");
    assert!(!bench.done.iter().any(|(_, effect)| is_announcement(effect) || advertises(effect, 100)));
    bench.give(Event::Link(link("eth0", ETH0)));
    assert_eq!(bench.state(), State::Backup);
}

#[test]
fn s20_backups_of_equal_priority_do_not_compare_addresses() {
    let a = router("a", 51);
    let mut bench = Bench::new(std::slice::from_ref(&a));
    for _ in 0..10 {
        bench.hear_from(&advertisement(&a, 100), ip("9.0.0.1"), GROUP_V4, 255);
        bench.pass(ms(1000));
    }
    assert_eq!(bench.state(), State::Backup);
}

#[test]
fn s20_our_own_address_in_the_source_is_counted_and_ignored() {
    let a = router("a", 51);
    let mut bench = Bench::backup_of(&a, 200);
    bench.hear_from(&advertisement(&a, 255), ip(US), GROUP_V4, 255);
    assert_eq!(bench.view().counters.errors["own-address"], 1);
    assert_eq!(bench.view().master.unwrap().priority, 200);
}

#[test]
fn s21_changes_within_one_interval_are_taken_in_order_and_the_last_one_counts() {
    let a = router("a", 51);
    let mut bench = Bench::master(&a);
    bench.hear(&advertisement(&a, 200));
    bench.hear(&advertisement(&a, 0));
    bench.hear(&advertisement(&a, 200));
    assert_eq!(bench.state(), State::Backup);
    assert_eq!(bench.until(|effect| advertises(effect, 100)), DOWN);
    let transitions: Vec<_> = bench
        .done
        .iter()
        .filter_map(|(_, effect)| match effect {
            Effect::Happened(crate::happening::Happening::Transition { from, to, .. }) => Some((*from, *to)),
            _ => None,
        })
        .collect();
    assert_eq!(transitions, [(State::Master, State::Backup), (State::Backup, State::Master)]);
}

#[test]
fn version_2_does_not_scale_the_skew() {
    let a = crate::config::VirtualRouter {
        version: VrrpVersion::V2,
        advertisement_interval: ms(10_000),
        ..router("a", 51)
    };
    let mut bench = Bench::backup_of(&a, 200);
    let expected = timing::active_down_interval(VrrpVersion::V2, 100, ms(10_000), 3);
    assert_eq!(expected, ms(30_000) + SKEW);
    assert_eq!(bench.until(|effect| advertises(effect, 100)), expected);
}
