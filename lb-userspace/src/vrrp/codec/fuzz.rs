//! A bounded fuzz of [`decode`]: random octets, and encodings that were mutated, half of them with their checksum put
//! right again so that what lies behind it is reached. A run takes a second; `FAIRWAY_FULL=1` makes it twenty times as
//! long.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use super::*;
use crate::random::Random;

const ROUNDS: u64 = 2_000_000;

/// How many packets ended how: `None` was accepted.
type Fates = BTreeMap<Option<Rejected>, u64>;

#[test]
fn hostile_octets_are_accepted_whole_or_rejected_for_one_reason() {
    let rounds = if std::env::var_os("FAIRWAY_FULL").is_some() { ROUNDS * 20 } else { ROUNDS };
    let mut rng = Random(0x112);
    let mut fates = Fates::new();
    for _ in 0..rounds {
        let wire = Wire::any(&mut rng);
        let payload = hostile(&mut rng, wire);
        let fate = decode(&payload, wire.source, wire.destination, wire.version);
        if let Ok(advertisement) = &fate {
            assert_is_what_it_says(advertisement, &payload, wire);
        }
        *fates.entry(fate.err()).or_default() += 1;
    }
    assert_eq!(fates.values().sum::<u64>(), rounds);
    let reached: Vec<Option<Rejected>> = fates.keys().copied().collect();
    use Rejected::{Authentication, Checksum, Count, Interval, Length, Type, Version};
    let all = [Version, Type, Count, Length, Checksum, Interval, Authentication];
    assert_eq!(reached, [vec![None], all.map(Some).to_vec()].concat(), "the fuzz is blind: {fates:?}");
}

/// What was accepted says the same when sent again: nothing was read beside the octets or made up.
fn assert_is_what_it_says(advertisement: &Advertisement, payload: &[u8], wire: Wire) {
    let again = encode(advertisement, wire.source, wire.destination);
    assert!(again.len() <= payload.len(), "{advertisement:?} from {payload:x?}");
    assert_eq!(again[..4], payload[..4], "{advertisement:?} from {payload:x?}");
    assert_eq!(decode(&again, wire.source, wire.destination, wire.version).as_ref(), Ok(advertisement));
    let addresses = HEADER..again.len() - if wire.version == VrrpVersion::V2 { AUTHENTICATION_DATA } else { 0 };
    assert_eq!(again[addresses.clone()], payload[addresses], "{advertisement:?} from {payload:x?}");
}

/// Between whom, and as what, a packet is decoded.
#[derive(Clone, Copy)]
struct Wire {
    version: VrrpVersion,
    source: IpAddr,
    destination: IpAddr,
}

impl Wire {
    fn any(rng: &mut Random) -> Self {
        let v4 = |last| IpAddr::from([10, 99, 0, last]);
        let v6 = |last| IpAddr::from([0xfe80, 0, 0, 0, 0, 0, 0, last]);
        match rng.below(3) {
            0 => Self { version: VrrpVersion::V2, source: v4(1), destination: v4(2) },
            1 => Self { version: VrrpVersion::V3, source: v4(1), destination: v4(2) },
            _ => Self { version: VrrpVersion::V3, source: v6(1), destination: v6(2) },
        }
    }
}

fn hostile(rng: &mut Random, wire: Wire) -> Vec<u8> {
    if rng.below(8) == 0 {
        let length = rng.below(64);
        return (0..length).map(|_| octet(rng)).collect();
    }
    let mut message = well_formed(rng, wire);
    for _ in 0..rng.below(4) {
        mutate(rng, &mut message);
    }
    if rng.below(2) == 0 {
        put_checksum_right(&mut message, wire);
    }
    message
}

fn well_formed(rng: &mut Random, wire: Wire) -> Vec<u8> {
    let mut address = || match wire.source {
        IpAddr::V4(_) => IpAddr::from([octet(rng), octet(rng), octet(rng), octet(rng)]),
        IpAddr::V6(_) => IpAddr::from(std::array::from_fn::<u8, 16, _>(|_| octet(rng))),
    };
    let addresses = vec![address(), address()];
    let advertisement = Advertisement {
        version: wire.version,
        vrid: octet(rng),
        priority: octet(rng),
        interval: Duration::from_millis(rng.below(50_000)),
        addresses,
        authentication: (rng.below(2) == 0).then_some(*b"password"),
        checksum: if rng.below(2) == 0 { Form::Plain } else { Form::PseudoHeader },
    };
    encode(&advertisement, wire.source, wire.destination)
}

/// Headers are short and decide most, so that half of the blows go there.
fn mutate(rng: &mut Random, message: &mut Vec<u8>) {
    let length = u64::try_from(message.len()).expect("a message is short");
    let reach = if rng.below(2) == 0 { length.min(8) } else { length };
    let at = usize::try_from(rng.below(reach.max(1))).expect("within a message");
    match rng.below(5) {
        0 => message.truncate(at),
        1 => message.resize(message.len() + at, octet(rng)),
        2 => message.iter_mut().skip(at).take(1).for_each(|octet| *octet ^= 1 << rng.below(8)),
        3 => message.iter_mut().skip(at).take(1).for_each(|it| *it = octet(rng)),
        _ => message.iter_mut().skip(at).take(2).for_each(|octet| *octet = 0),
    }
}

/// As a sender would that means what is in the message, however odd: over as much of it as its count says.
fn put_checksum_right(message: &mut [u8], wire: Wire) {
    let Some(count) = message.get(3).copied().map(usize::from) else { return };
    let (each, behind) = match (wire.version, wire.source.is_ipv4()) {
        (VrrpVersion::V2, _) => (4, AUTHENTICATION_DATA),
        (VrrpVersion::V3, true) => (4, 0),
        (VrrpVersion::V3, false) => (16, 0),
    };
    let Some(message) = message.get_mut(..HEADER + count * each + behind) else { return };
    message[CHECKSUM..CHECKSUM + 2].fill(0);
    let sum = match wire.version {
        VrrpVersion::V2 => sum::plain(message),
        VrrpVersion::V3 => sum::with_pseudo_header(wire.source, wire.destination, message),
    };
    message[CHECKSUM..CHECKSUM + 2].copy_from_slice(&sum);
}

fn octet(rng: &mut Random) -> u8 {
    rng.next().to_be_bytes()[0]
}
