//! The datagram, octet by octet.

use hmac::Mac;
use proptest::prelude::*;

use super::super::message::{Header, LARGEST, Refusal, decode, encode, prepare};
use super::*;

fn header() -> Header {
    Header {
        hears_path: true,
        hears_any: true,
        path: 2,
        boot: 0x0102_0304_0506_0708,
        echo: 0x1112_1314_1516_1718,
        number: 0x2122_2324_2526_2728,
        heartbeat: ms(50),
        generation: 9,
        total: 1,
        node: "lb1".into(),
    }
}

/// All before the tag.
const KNOWN: [u8; 54] = [
    b'F', b'W', b'H', b'B', 1, 3, 2, 1, //
    1, 2, 3, 4, 5, 6, 7, 8, //
    0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x17, 0x18, //
    0x21, 0x22, 0x23, 0x24, 0x25, 0x26, 0x27, 0x28, //
    0, 0, 0xc3, 0x50, 0, 0, 0, 9, 0, 1, //
    3, b'l', b'b', b'1', //
    3, b'w', b'e', b'b', 0b0110, 250, 0, 100,
];

#[test]
fn known_octets() {
    let key = prepare(KEY);
    let reports = [report("web", State::Master)];
    let octets = encode(&key, &header(), &reports);
    assert_eq!(octets[..KNOWN.len()], KNOWN);
    let tag = key.clone().chain_update(KNOWN).finalize().into_bytes();
    assert_eq!(octets[KNOWN.len()..], tag[..16]);
    assert_eq!(decode(&key, &octets), Ok((header(), reports.to_vec())));
}

#[test]
fn a_holder_of_the_key_may_err_and_is_refused_all_the_same() {
    let cases = [
        ("unknown flags of a report", 50, 0x16, Refusal::Content),
        ("a name that is no UTF-8", 47, 0xff, Refusal::Content),
        ("a node name that is no UTF-8", 43, 0xff, Refusal::Content),
        ("more reports than there are", 7, 2, Refusal::Length),
        ("fewer reports than there are", 7, 0, Refusal::Length),
        ("a name beyond the end", 46, 200, Refusal::Length),
    ];
    let key = prepare(KEY);
    for (what, at, to, refusal) in cases {
        let mut said = KNOWN.to_vec();
        said[at] = to;
        let tag = key.clone().chain_update(&said).finalize().into_bytes();
        said.extend(&tag[..16]);
        assert_eq!(decode(&key, &said), Err(refusal), "{what}");
    }
}

fn any_report() -> impl Strategy<Value = RouterReport> {
    let state = prop::sample::select(State::ALL.to_vec());
    (".{0,60}", state, any::<u8>(), any::<u16>(), any::<bool>(), any::<bool>()).prop_map(
        |(name, state, effective_priority, centiseconds, ready, resigned)| RouterReport {
            name: name.into(),
            state,
            effective_priority,
            interval: ms(u64::from(centiseconds) * 10),
            ready,
            resigned,
        },
    )
}

proptest! {
    #[test]
    fn what_is_written_is_read(reports in prop::collection::vec(any_report(), 0..4)) {
        let key = prepare(KEY);
        let octets = encode(&key, &header(), &reports);
        prop_assert!(octets.len() <= LARGEST);
        prop_assert_eq!(decode(&key, &octets), Ok((header(), reports)));
    }

    /// Behind a good tag, so that the parser itself is reached.
    #[test]
    fn no_octets_make_it_panic(body in prop::collection::vec(any::<u8>(), 38..1_179)) {
        let key = prepare(KEY);
        let mut said = [&b"FWHB\x01"[..], &body].concat();
        let tag = key.clone().chain_update(&said).finalize().into_bytes();
        said.extend(&tag[..16]);
        if let Err(refusal) = decode(&key, &said) {
            prop_assert!(matches!(refusal, Refusal::Length | Refusal::Content));
        }
    }
}
