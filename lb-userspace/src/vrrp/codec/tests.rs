//! The wire format, statement by statement (the names' numbers are those of `docs/vrrp.md`), on octets that keepalived
//! 2.2.7 sent, on octets made by hand where it never sends them, and on whatever proptest thinks of.

use proptest::prelude::*;

use super::*;
use VrrpVersion::{V2, V3};

const GROUP: &str = "224.0.0.18";

/// Captured from keepalived 2.2.7: one address, every 500 ms, to the multicast group.
const KEEPALIVED_V3: &str = "31336401 0032 74df 0a630064";
/// Captured, to one unicast peer every second.
const KEEPALIVED_V3_UNICAST: &str = "31366401 0064 4a53 0a630069";
/// Captured, over IPv6: a link-local and a global address.
const KEEPALIVED_V3_IPV6: &str = "3133c802 0064 d9fc fe800000000000000000000000000100 20010db8000000000000000000000100";
/// Captured, version 2: two addresses, no authentication.
const KEEPALIVED_V2: &str = "21346402 0001 6535 0a630066 0a630067 0000000000000000";
/// Captured, version 2: the password `hello12`.
const KEEPALIVED_V2_PASSWORD: &str = "21356401 0101 f8f9 0a630068 68656c6c6f313200";
/// `KEEPALIVED_V3` with the sum over the message alone, as RFC 9568 routers send it: ~(3133 + 6401 + 0032 + 0a63 + 0064).
const RFC_9568_V3: &str = "31336401 0032 5fd2 0a630064";

#[test]
fn f02_version_3_has_the_interval_in_centiseconds_and_nothing_behind_the_addresses() {
    let advertisement = keepalived_v3();
    assert_eq!(encode(&advertisement, address("10.99.0.1"), address(GROUP)), octets(KEEPALIVED_V3));
    assert_eq!(decode_v4(&octets(KEEPALIVED_V3), V3), Ok(advertisement));
}

#[test]
fn f02_reserved_bits_are_ignored_and_sent_as_zero() {
    let mut message = octets(KEEPALIVED_V3);
    message[4] |= 0xf0;
    set_plain_checksum(&mut message);
    let expected = Advertisement { checksum: Form::Plain, ..keepalived_v3() };
    assert_eq!(decode_v4(&message, V3), Ok(expected));
    let longest = Advertisement { interval: Duration::from_millis(40_950), ..keepalived_v3() };
    assert_eq!(encode(&longest, address("10.99.0.1"), address(GROUP))[4..6], [0x0f, 0xff]);
}

#[test]
fn f03_version_2_ends_with_eight_octets_of_authentication_data() {
    let advertisement = keepalived_v2();
    assert_eq!(encode(&advertisement, address("10.99.0.1"), address(GROUP)), octets(KEEPALIVED_V2));
    assert_eq!(decode_v4(&octets(KEEPALIVED_V2), V2), Ok(advertisement));
    for missing in 1..=AUTHENTICATION_DATA {
        let message = octets(KEEPALIVED_V2);
        assert_eq!(decode_v4(&message[..message.len() - missing], V2), Err(Rejected::Length), "without {missing}");
    }
}

#[test]
fn f03_the_simple_text_password_of_version_2_is_carried() {
    let advertisement = Advertisement {
        vrid: 53,
        addresses: vec![address("10.99.0.104")],
        authentication: Some(*b"hello12\0"),
        ..keepalived_v2()
    };
    assert_eq!(encode(&advertisement, address("10.99.0.1"), address(GROUP)), octets(KEEPALIVED_V2_PASSWORD));
    assert_eq!(decode_v4(&octets(KEEPALIVED_V2_PASSWORD), V2), Ok(advertisement));
}

#[test]
fn f03_authentication_types_other_than_none_and_simple_text_are_rejected() {
    for kind in 2..=u8::MAX {
        let mut message = octets(KEEPALIVED_V2);
        message[4] = kind;
        set_plain_checksum(&mut message);
        assert_eq!(decode_v4(&message, V2), Err(Rejected::Authentication), "type {kind}");
    }
}

#[test]
fn f03_the_checksum_of_version_2_has_never_a_pseudo_header() {
    let mut message = octets(KEEPALIVED_V2);
    message[CHECKSUM..CHECKSUM + 2].fill(0);
    let sum = sum::with_pseudo_header(address("10.99.0.1"), address(GROUP), &message);
    message[CHECKSUM..CHECKSUM + 2].copy_from_slice(&sum);
    assert_eq!(decode_v4(&message, V2), Err(Rejected::Checksum));
    let asked = Advertisement { checksum: Form::PseudoHeader, ..keepalived_v2() };
    assert_eq!(encode(&asked, address("10.99.0.1"), address(GROUP)), octets(KEEPALIVED_V2));
}

#[test]
fn f04_the_checksum_over_ipv6_has_always_the_pseudo_header() {
    let advertisement = Advertisement {
        version: V3,
        vrid: 51,
        priority: 200,
        interval: Duration::from_secs(1),
        addresses: vec![address("fe80::100"), address("2001:db8::100")],
        authentication: None,
        checksum: Form::PseudoHeader,
    };
    let (source, group) = (address("fe80::1"), address("ff02::12"));
    assert_eq!(encode(&advertisement, source, group), octets(KEEPALIVED_V3_IPV6));
    let asked = Advertisement { checksum: Form::Plain, ..advertisement.clone() };
    assert_eq!(encode(&asked, source, group), octets(KEEPALIVED_V3_IPV6));
    assert_eq!(decode(&octets(KEEPALIVED_V3_IPV6), source, group, V3), Ok(advertisement));

    let mut plain = octets(KEEPALIVED_V3_IPV6);
    set_plain_checksum(&mut plain);
    assert_eq!(decode(&plain, source, group, V3), Err(Rejected::Checksum));
}

#[test]
fn f05_both_checksums_of_version_3_over_ipv4_are_accepted_and_told_apart() {
    for (message, form) in [(KEEPALIVED_V3, Form::PseudoHeader), (RFC_9568_V3, Form::Plain)] {
        let expected = Advertisement { checksum: form, ..keepalived_v3() };
        assert_eq!(decode_v4(&octets(message), V3), Ok(expected.clone()));
        assert_eq!(encode(&expected, address("10.99.0.1"), address(GROUP)), octets(message));
    }
    for bit in 0..16 {
        let mut message = octets(KEEPALIVED_V3);
        message[CHECKSUM + bit / 8] ^= 1 << (bit % 8);
        assert_eq!(decode_v4(&message, V3), Err(Rejected::Checksum), "bit {bit}");
    }
}

#[test]
fn f05_a_message_that_is_right_in_both_forms_counts_as_with_pseudo_header() {
    // Destination e000 + 0012, protocol 0070, length 000c and this source add up to ffff: nothing, in ones' complement.
    let source = address("31.113.0.0");
    for checksum in [Form::PseudoHeader, Form::Plain] {
        let sent = Advertisement { checksum, ..keepalived_v3() };
        let message = encode(&sent, source, address(GROUP));
        assert_eq!(message, octets(RFC_9568_V3));
        assert_eq!(decode(&message, source, address(GROUP), V3), Ok(keepalived_v3()));
    }
}

#[test]
fn f06_a_unicast_checksum_is_over_the_peers_address_not_over_the_group() {
    let advertisement = Advertisement {
        vrid: 54,
        interval: Duration::from_secs(1),
        addresses: vec![address("10.99.0.105")],
        ..keepalived_v3()
    };
    let (source, peer) = (address("10.99.0.1"), address("10.99.0.2"));
    assert_eq!(encode(&advertisement, source, peer), octets(KEEPALIVED_V3_UNICAST));
    assert_eq!(decode(&octets(KEEPALIVED_V3_UNICAST), source, peer, V3), Ok(advertisement.clone()));

    let as_before_keepalived_1_3_7 = encode(&advertisement, source, address(GROUP));
    assert_eq!(decode(&as_before_keepalived_1_3_7, source, peer, V3), Err(Rejected::Checksum));
}

#[test]
fn f07_addresses_keep_their_order_so_that_the_link_local_one_stays_first() {
    let mut addresses = vec![address("fe80::100"), address("2001:db8::9"), address("2001:db8::1")];
    for _ in 0..addresses.len() {
        let sent = Advertisement { addresses: addresses.clone(), ..keepalived_v3() };
        let message = encode(&sent, address("fe80::1"), address("ff02::12"));
        let received = decode(&message, address("fe80::1"), address("ff02::12"), V3).unwrap();
        assert_eq!(received.addresses, addresses);
        addresses.rotate_left(1);
    }
}

#[test]
fn f08_no_addresses_and_no_interval_are_discarded() {
    for (message, version) in [(KEEPALIVED_V3, V3), (KEEPALIVED_V2, V2)] {
        let mut without_addresses = octets(message);
        without_addresses[3] = 0;
        without_addresses.truncate(HEADER + if version == V2 { AUTHENTICATION_DATA } else { 0 });
        set_plain_checksum(&mut without_addresses);
        assert_eq!(decode_v4(&without_addresses, version), Err(Rejected::Count), "{version:?}");

        let mut without_interval = octets(message);
        without_interval[4..6].copy_from_slice(if version == V2 { &[0, 0] } else { &[0xf0, 0] });
        set_plain_checksum(&mut without_interval);
        assert_eq!(decode_v4(&without_interval, version), Err(Rejected::Interval), "{version:?}");
    }
}

#[test]
fn f09_padding_behind_the_message_is_accepted() {
    for (message, version) in [(KEEPALIVED_V3, V3), (RFC_9568_V3, V3), (KEEPALIVED_V2, V2)] {
        let expected = decode_v4(&octets(message), version);
        assert!(expected.is_ok());
        for padding in 1..=46 {
            for octet in [0, 0xff] {
                let mut padded = octets(message);
                padded.resize(padded.len() + padding, octet);
                assert_eq!(decode_v4(&padded, version), expected, "{padding} octets of {octet}");
            }
        }
    }
}

#[test]
fn f10_other_versions_and_types_are_told_apart() {
    for octet in 0..=u8::MAX {
        let mut message = octets(KEEPALIVED_V3);
        message[0] = octet;
        set_plain_checksum(&mut message);
        let found = decode_v4(&message, V3);
        match (octet >> 4, octet & 0x0f) {
            (3, 1) => assert!(found.is_ok()),
            (3, _) => assert_eq!(found, Err(Rejected::Type), "{octet:#x}"),
            (_, _) => assert_eq!(found, Err(Rejected::Version), "{octet:#x}"),
        }
    }
    assert_eq!(decode_v4(&octets(KEEPALIVED_V2), V3), Err(Rejected::Version));
    assert_eq!(decode_v4(&octets(KEEPALIVED_V3), V2), Err(Rejected::Version));
}

#[test]
fn a_message_shorter_than_it_says_is_rejected_by_length() {
    for (message, version) in [(KEEPALIVED_V3, V3), (KEEPALIVED_V2, V2)] {
        let whole = octets(message);
        for length in 0..whole.len() {
            assert_eq!(decode_v4(&whole[..length], version), Err(Rejected::Length), "{length} octets");
        }
        let mut counting_more = whole.clone();
        counting_more[3] += 1;
        set_plain_checksum(&mut counting_more);
        assert_eq!(decode_v4(&counting_more, version), Err(Rejected::Length));
    }
}

#[test]
fn one_wrong_bit_is_never_accepted() {
    let v4 = [(KEEPALIVED_V3, V3), (RFC_9568_V3, V3), (KEEPALIVED_V2, V2), (KEEPALIVED_V2_PASSWORD, V2)];
    for (message, version) in v4 {
        for bit in 0..octets(message).len() * 8 {
            let mut message = octets(message);
            message[bit / 8] ^= 1 << (bit % 8);
            assert!(decode_v4(&message, version).is_err(), "bit {bit} of {message:x?}");
        }
    }
}

#[test]
fn the_virtual_router_is_known_before_anything_is_judged() {
    assert_eq!(vrid(&octets(KEEPALIVED_V3)), Some(51));
    assert_eq!(vrid(&[0xff, 7]), Some(7));
    assert_eq!(vrid(&[0xff]), None);
    assert_eq!(vrid(&[]), None);
}

#[test]
fn octets_depend_on_the_destination_only_with_a_pseudo_header() {
    let (plain, pseudo) = (Form::Plain, Form::PseudoHeader);
    let cases =
        [(V2, true, pseudo, false), (V3, true, plain, false), (V3, true, pseudo, true), (V3, false, plain, true)];
    for (version, is_ipv4, checksum, expected) in cases {
        let virtual_address = address(if is_ipv4 { "10.99.0.100" } else { "fe80::100" });
        let advertisement = Advertisement { version, checksum, addresses: vec![virtual_address], ..keepalived_v3() };
        assert_eq!(depends_on_destination(&advertisement, is_ipv4), expected);
        let (source, one, other) =
            if is_ipv4 { ("10.99.0.1", "10.99.0.2", "10.99.0.3") } else { ("fe80::1", "fe80::2", "fe80::3") };
        let to = |destination| encode(&advertisement, address(source), address(destination));
        assert_eq!(to(one) != to(other), expected, "{version:?}, IPv4 {is_ipv4}, {checksum:?}");
    }
}

#[test]
fn what_the_format_cannot_say_becomes_the_nearest_thing_it_can() {
    let sent = |version, interval| {
        let advertisement = Advertisement { version, interval, checksum: Form::Plain, ..keepalived_v3() };
        let message = encode(&advertisement, address("10.99.0.1"), address(GROUP));
        decode_v4(&message, version).unwrap().interval
    };
    let milliseconds = Duration::from_millis;
    for (version, asked, expected) in [
        (V3, milliseconds(0), milliseconds(10)),
        (V3, milliseconds(1_019), milliseconds(1_010)),
        (V3, milliseconds(40_960), milliseconds(40_950)),
        (V2, milliseconds(10), milliseconds(1_000)),
        (V2, milliseconds(2_999), milliseconds(2_000)),
        (V2, milliseconds(256_000), milliseconds(255_000)),
    ] {
        assert_eq!(sent(version, asked), expected, "{version:?}: {asked:?}");
    }
    let too_many = (0..300).map(|i: u32| IpAddr::from((0x0a63_0000 + i).to_be_bytes()));
    let advertisement = Advertisement { addresses: too_many.chain([address("fe80::1")]).collect(), ..keepalived_v3() };
    let message = encode(&advertisement, address("10.99.0.1"), address(GROUP));
    assert_eq!(decode_v4(&message, V3).unwrap().addresses, advertisement.addresses[..MOST_ADDRESSES]);
}

#[test]
fn names_of_reasons_are_unique() {
    let names: std::collections::BTreeSet<_> = Rejected::ALL.map(Rejected::name).into_iter().collect();
    assert_eq!(names.len(), Rejected::ALL.len());
}

proptest! {
    #[test]
    fn what_is_sent_is_what_is_received((advertisement, source, destination) in advertisements()) {
        let message = encode(&advertisement, source, destination);
        let received = decode(&message, source, destination, advertisement.version).unwrap();
        // By chance the plain form is right in both.
        if received.checksum == Form::PseudoHeader && advertisement.checksum == Form::Plain {
            prop_assert_eq!(sum::plain(&message), [0; 2]);
        } else {
            prop_assert_eq!(received.checksum, advertisement.checksum);
        }
        prop_assert_eq!(Advertisement { checksum: advertisement.checksum, ..received }, advertisement);
    }
}

fn advertisements() -> impl Strategy<Value = (Advertisement, IpAddr, IpAddr)> {
    let wires = prop_oneof![
        Just((V2, true, Form::Plain)),
        Just((V3, true, Form::Plain)),
        Just((V3, true, Form::PseudoHeader)),
        Just((V3, false, Form::PseudoHeader)),
    ];
    let values = (any::<u8>(), any::<u8>(), 1..=4_095_u16, prop::option::of(any::<[u8; 8]>()));
    let addresses = prop::collection::vec(any::<u128>(), 3..=2 + MOST_ADDRESSES);
    (wires, values, addresses).prop_map(
        |((version, is_ipv4, checksum), (vrid, priority, interval, password), numbers)| {
            let mut addresses = numbers.into_iter().map(|number| match is_ipv4 {
                true => IpAddr::from(<[u8; 4]>::try_from(&number.to_be_bytes()[..4]).unwrap()),
                false => IpAddr::from(number.to_be_bytes()),
            });
            let (source, destination) = (addresses.next().unwrap(), addresses.next().unwrap());
            let (interval, authentication) = match version {
                V2 => (Duration::from_secs(u64::from(interval % 255 + 1)), password),
                V3 => (Duration::from_millis(u64::from(interval) * 10), None),
            };
            let addresses = addresses.collect();
            (
                Advertisement { version, vrid, priority, interval, addresses, authentication, checksum },
                source,
                destination,
            )
        },
    )
}

/// What `KEEPALIVED_V3` says.
fn keepalived_v3() -> Advertisement {
    Advertisement {
        version: V3,
        vrid: 51,
        priority: 100,
        interval: Duration::from_millis(500),
        addresses: vec![address("10.99.0.100")],
        authentication: None,
        checksum: Form::PseudoHeader,
    }
}

/// What `KEEPALIVED_V2` says.
fn keepalived_v2() -> Advertisement {
    Advertisement {
        version: V2,
        vrid: 52,
        priority: 100,
        interval: Duration::from_secs(1),
        addresses: vec![address("10.99.0.102"), address("10.99.0.103")],
        authentication: None,
        checksum: Form::Plain,
    }
}

fn decode_v4(message: &[u8], version: VrrpVersion) -> Result<Advertisement, Rejected> {
    decode(message, address("10.99.0.1"), address(GROUP), version)
}

fn set_plain_checksum(message: &mut [u8]) {
    message[CHECKSUM..CHECKSUM + 2].fill(0);
    let sum = sum::plain(message);
    message[CHECKSUM..CHECKSUM + 2].copy_from_slice(&sum);
}

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn octets(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> = hex.bytes().filter(u8::is_ascii_hexdigit).collect();
    digits.chunks(2).map(|pair| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}
