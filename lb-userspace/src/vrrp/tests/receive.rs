//! What becomes of received packets: the decision table, with the reasons they are counted under.

use super::bench::{Bench, OTHER, US, advertisement, ip, ms, nets, router, settings, words};
use crate::config::{ChecksumForm, VirtualRouter, VrrpVersion};
use crate::vrrp::codec::{Form, decode, encode};
use crate::vrrp::effect::{Advertise, Effect};
use crate::vrrp::event::{Event, Received};
use crate::vrrp::router::advertise::GROUP_V4;
use crate::vrrp::view::State;

/// Octets that a better master sent, changed; whether they are taken, or why not.
fn check(change: impl Fn(&mut Vec<u8>), reason: Option<&str>) {
    let a = router("a", 51);
    let mut bench = Bench::master(&a);
    let mut payload = encode(&advertisement(&a, 200), ip(OTHER), GROUP_V4);
    change(&mut payload);
    bench.receive(&payload, ip(OTHER), GROUP_V4, 255);
    let expected = if reason.is_some() { State::Master } else { State::Backup };
    assert_eq!(bench.state(), expected, "{reason:?}");
    let counted: Vec<(String, u64)> = bench.view().counters.errors.into_iter().collect();
    let wanted: Vec<(String, u64)> = reason.into_iter().map(|reason| (reason.to_string(), 1)).collect();
    assert_eq!(counted, wanted);
}

#[test]
fn octets_are_taken_or_counted_under_one_reason() {
    check(|_| {}, None);
    check(|payload| payload.extend([0; 6]), None);
    check(|payload| payload[0] = 0x41, Some("version"));
    check(|payload| payload[0] = 0x21, Some("version"));
    check(|payload| payload[0] = 0x32, Some("type"));
    check(|payload| payload[3] = 0, Some("count"));
    check(|payload| payload[3] = 3, Some("length"));
    check(|payload| payload.truncate(8), Some("length"));
    check(|payload| payload.truncate(5), Some("length"));
    check(|payload| payload[6] ^= 1, Some("checksum"));
}

#[test]
fn f01_ttl_below_255_is_discarded() {
    let a = router("a", 51);
    let mut bench = Bench::master(&a);
    bench.hear_from(&advertisement(&a, 200), ip(OTHER), GROUP_V4, 254);
    assert_eq!(bench.view().counters.errors["ttl"], 1);
    assert_eq!(bench.state(), State::Master);
}

#[test]
fn packets_for_nobody_are_stray() {
    let a = router("a", 51);
    let mut bench = Bench::new(std::slice::from_ref(&a));
    bench.hear(&advertisement(&router("b", 52), 200));
    bench.receive(&[0x31], ip(OTHER), GROUP_V4, 255);
    let payload = encode(&advertisement(&a, 200), ip(OTHER), GROUP_V4);
    let (source, destination) = (ip(OTHER), GROUP_V4);
    bench.give(Event::Received(Received { interface: 9, source, destination, ttl: 255, payload: &payload }));
    let stray: Vec<(String, u64)> = bench.engine.snapshot(bench.now).stray.into_iter().collect();
    assert_eq!(stray, [("interface".into(), 1), ("length".into(), 1), ("vrid".into(), 1)]);
}

#[test]
fn another_address_list_is_accepted_and_told_once_a_change() {
    let a = router("a", 51);
    let mut bench = Bench::master(&a);
    let mut other = advertisement(&a, 200);
    other.addresses = vec![ip("10.0.0.52")];
    let effects = bench.hear(&other);
    assert_eq!(bench.state(), State::Backup);
    assert_eq!(words(&effects), ["remove", "advertise", "testament", "differ", "transition"]);
    assert_eq!(words(&bench.hear(&other)), [""; 0]);
    let view = bench.view();
    assert_eq!(view.address_difference.unwrap(), "10.0.0.2 lacks 10.0.0.51 and has 10.0.0.52 besides");
    assert_eq!(view.counters.address_list_differs, 2);
    bench.hear(&advertisement(&a, 200));
    assert_eq!(bench.view().address_difference, None);
}

#[test]
fn the_order_of_addresses_is_no_difference() {
    let a = VirtualRouter { addresses: nets(&["10.0.0.51/32", "10.0.0.52/32"]), ..router("a", 51) };
    let mut bench = Bench::master(&a);
    let mut other = advertisement(&a, 200);
    other.addresses.reverse();
    bench.hear(&other);
    assert_eq!(bench.view().address_difference, None);
}

#[test]
fn version_2_discards_another_interval_and_version_3_learns_it() {
    for (version, reason) in [(VrrpVersion::V2, Some(1)), (VrrpVersion::V3, None)] {
        let a = VirtualRouter { version, ..router("a", 51) };
        let mut bench = Bench::master(&a);
        let mut other = advertisement(&a, 200);
        other.interval = ms(2000);
        bench.hear(&other);
        assert_eq!(bench.view().counters.errors.get("interval").copied(), reason);
        assert_eq!(bench.state(), if reason.is_some() { State::Master } else { State::Backup });
    }
}

#[test]
fn version_2_compares_the_password() {
    let password = *b"sesame\0\0";
    let a = VirtualRouter { version: VrrpVersion::V2, authentication: Some(password), ..router("a", 51) };
    for (said, expected) in [(None, State::Master), (Some([0; 8]), State::Master), (Some(password), State::Backup)] {
        let mut bench = Bench::master(&a);
        let mut other = advertisement(&a, 200);
        other.authentication = said;
        bench.hear(&other);
        assert_eq!(bench.state(), expected, "{said:?}");
        let wrong = u64::from(expected == State::Master);
        assert_eq!(bench.view().counters.errors.get("authentication").copied().unwrap_or(0), wrong);
    }
}

/// A router that speaks with two peers by unicast, through a hop.
fn unicast() -> VirtualRouter {
    let unicast_peers = vec![ip("192.0.2.2"), ip("192.0.2.3")];
    VirtualRouter { unicast_source: Some(ip(US)), unicast_peers, unicast_minimum_ttl: 250, ..router("a", 51) }
}

#[test]
fn unicast_is_taken_from_configured_peers_only() {
    let cases = [
        ("192.0.2.2", US, 255, None),
        ("192.0.2.3", US, 250, None),
        ("192.0.2.2", US, 249, Some("ttl")),
        ("192.0.2.4", US, 255, Some("source")),
        ("192.0.2.2", "224.0.0.18", 255, Some("destination")),
        (US, US, 255, Some("own-address")),
    ];
    for (source, destination, ttl, reason) in cases {
        let mut bench = Bench::master(&unicast());
        bench.hear_from(&advertisement(&unicast(), 200), ip(source), ip(destination), ttl);
        let counted: Vec<String> = bench.view().counters.errors.into_keys().collect();
        assert_eq!(counted, reason.into_iter().collect::<Vec<_>>(), "{source} to {destination}");
        assert_eq!(bench.state(), if reason.is_some() { State::Master } else { State::Backup });
    }
}

#[test]
fn a_multicast_router_does_not_listen_to_unicast() {
    let a = router("a", 51);
    let mut bench = Bench::master(&a);
    bench.hear_from(&advertisement(&a, 200), ip(OTHER), ip(US), 255);
    assert_eq!(bench.view().counters.errors["destination"], 1);
}

fn advertised(bench: &mut Bench) -> Vec<Advertise> {
    bench.done.clear();
    bench.pass(ms(1000));
    let packets = bench.done.iter().filter_map(|(_, effect)| match effect {
        Effect::Advertise(packet) => Some(packet.clone()),
        _ => None,
    });
    packets.collect()
}

#[test]
fn unicast_peers_each_get_a_checksum_that_is_right_for_them() {
    let packets = advertised(&mut Bench::master(&unicast()));
    let to: Vec<_> = packets.iter().flat_map(|packet| packet.destinations.clone()).collect();
    assert_eq!(to, unicast().unicast_peers);
    for packet in packets {
        assert!(decode(&packet.payload, packet.source, packet.destinations[0], VrrpVersion::V3).is_ok());
    }
}

#[test]
fn f05_the_checksum_follows_what_the_others_send() {
    let a = router("a", 51);
    let mut bench = Bench::master(&a);
    let form_sent = |bench: &mut Bench| {
        let packet = advertised(bench).remove(0);
        decode(&packet.payload, packet.source, GROUP_V4, VrrpVersion::V3).unwrap().checksum
    };
    assert_eq!(form_sent(&mut bench), Form::PseudoHeader);
    for form in [Form::Plain, Form::PseudoHeader] {
        let mut other = advertisement(&a, 50);
        other.checksum = form;
        bench.hear(&other);
        assert_eq!(form_sent(&mut bench), form);
    }
    let counters = bench.view().counters;
    assert_eq!((counters.checksum_plain, counters.checksum_pseudo_header), (1, 1));
}

#[test]
fn f05_a_checksum_form_that_is_configured_stays() {
    let a = VirtualRouter { checksum: ChecksumForm::Plain, ..router("a", 51) };
    let mut bench = Bench::with(settings(std::slice::from_ref(&a), false));
    bench.pass(ms(5000));
    bench.hear(&advertisement(&a, 50));
    let packet = advertised(&mut bench).remove(0);
    assert_eq!(decode(&packet.payload, packet.source, GROUP_V4, VrrpVersion::V3).unwrap().checksum, Form::Plain);
}
