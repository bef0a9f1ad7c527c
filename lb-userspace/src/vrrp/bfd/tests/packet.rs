//! RFC 5880 sections 4.1 and 6.8.6: what a packet is, and which are discarded.

use proptest::prelude::*;

use super::super::{Discard, Session};
use super::*;

/// As FRR's bfdd sends it: down, multiplier 3, 1 s and 300 ms, echo 50 ms.
const FROM_FRR: [u8; 24] =
    [0x20, 0x40, 3, 24, 0, 0, 0, 9, 0, 0, 0, 0, 0x00, 0x0f, 0x42, 0x40, 0x00, 0x04, 0x93, 0xe0, 0, 0, 0xc3, 0x50];

#[test]
fn known_octets_are_read() {
    let expected = Packet {
        multiplier: 3,
        your_discriminator: 0,
        desired_transmit: ms(1_000),
        required_receive: ms(300),
        ..from_neighbour(BfdState::Down)
    };
    assert_eq!(Packet::decode(&FROM_FRR), Ok(expected));
}

#[test]
fn known_octets_are_written() {
    let packet = Packet {
        diagnostic: Diagnostic::DetectionTimeExpired,
        poll: true,
        demand: true,
        ..from_neighbour(BfdState::Up)
    };
    let expected =
        [0x21, 0xe2, 4, 24, 0, 0, 0, 9, 0, 0, 0, 7, 0x00, 0x01, 0x86, 0xa0, 0x00, 0x00, 0x4e, 0x20, 0, 0, 0, 0];
    assert_eq!(packet.encode(), expected);
    let is_final = Packet { is_final: true, ..from_neighbour(BfdState::Init) };
    assert_eq!(is_final.encode()[1], 0x90);
}

/// Each rule of section 6.8.6 that discards, and TTL 255 of RFC 5881 section 5, on a session that is Down.
#[test]
fn every_reception_rule_discards_and_counts() {
    let valid = from_neighbour(BfdState::Init).encode();
    let with = |changes: &[(usize, u8)]| {
        let mut octets = valid.clone();
        changes.iter().for_each(|&(at, to)| octets[at] = to);
        octets
    };
    let authenticated = [&with(&[(1, 0x84), (3, 26)])[..], &[1, 2]].concat();
    let cases = [
        ("not one hop away", 254, valid.clone(), Discard::Ttl),
        ("version 0", 255, with(&[(0, 0x00)]), Discard::Version),
        ("version 2", 255, with(&[(0, 0x40)]), Discard::Version),
        ("nothing", 255, vec![], Discard::Length),
        ("length field below 24", 255, with(&[(3, 23)]), Discard::Length),
        ("length field below 26 with authentication", 255, with(&[(1, 0x84), (3, 25)]), Discard::Length),
        ("length field beyond the payload", 255, with(&[(3, 25)]), Discard::Length),
        ("payload cut", 255, valid[..23].to_vec(), Discard::Length),
        ("multiplier 0", 255, with(&[(2, 0)]), Discard::Multiplier),
        ("multipoint", 255, with(&[(1, 0x81)]), Discard::Multipoint),
        ("my discriminator 0", 255, with(&[(7, 0)]), Discard::MyDiscriminator),
        ("your discriminator of no session", 255, with(&[(11, 8)]), Discard::Session),
        ("your discriminator 0 in Init", 255, with(&[(11, 0)]), Discard::State),
        ("your discriminator 0 in Up", 255, with(&[(1, 0xc0), (11, 0)]), Discard::State),
        ("authentication where none is in use", 255, authenticated, Discard::Authentication),
    ];
    for (what, ttl, octets, discard) in cases {
        let mut session = session_in(BfdState::Down, ms(0));
        assert_eq!(session.receive(ms(1), ttl, &octets), None, "{what}");
        let view = session.view("192.0.2.1".parse().unwrap());
        assert_eq!(view.discarded, [(discard.name().to_owned(), 1)].into(), "{what}");
        assert_eq!((session.state(), session.detection_time()), (BfdState::Down, ms(0)), "{what}");
    }
    let mut session = session_in(BfdState::Down, ms(0));
    session.receive(ms(1), 255, &valid);
    assert_eq!(session.state(), BfdState::Up, "the unaltered one is taken");
}

#[test]
fn padding_behind_a_packet_and_unknown_diagnostics_are_taken() {
    let mut octets = [&FROM_FRR[..], &[0; 40]].concat();
    octets[0] = 0x3f;
    assert_eq!(Packet::decode(&octets).map(|packet| packet.diagnostic), Ok(Diagnostic::Other(31)));
}

fn any_packet() -> impl Strategy<Value = Packet> {
    let state = prop::sample::select(vec![BfdState::AdminDown, BfdState::Down, BfdState::Init, BfdState::Up]);
    let diagnostic = prop::sample::select(vec![
        Diagnostic::None,
        Diagnostic::DetectionTimeExpired,
        Diagnostic::NeighbourSignaledDown,
        Diagnostic::AdministrativelyDown,
        Diagnostic::Other(5),
        Diagnostic::Other(31),
    ]);
    let numbers = (1_u8.., 1_u32.., 1_u32.., any::<u32>(), any::<u32>());
    (state, diagnostic, any::<[bool; 3]>(), numbers).prop_map(
        |(state, diagnostic, [poll, is_final, demand], numbers)| Packet {
            diagnostic,
            state,
            poll,
            is_final,
            demand,
            multiplier: numbers.0,
            my_discriminator: numbers.1,
            your_discriminator: numbers.2,
            desired_transmit: Duration::from_micros(numbers.3.into()),
            required_receive: Duration::from_micros(numbers.4.into()),
        },
    )
}

proptest! {
    #[test]
    fn what_is_written_is_read(packet in any_packet()) {
        prop_assert_eq!(Packet::decode(&packet.encode()), Ok(packet));
    }

    /// Noise, and valid packets of every kind: never a panic, and every packet is taken or counted once.
    #[test]
    fn no_packets_upset_a_session(
        steps in prop::collection::vec((any_packet(), any::<Option<(usize, u8)>>(), 254..=255_u8, 0..3_000_u64), 0..60),
    ) {
        let mut session = Session::new(settings(), OURS, 3, ms(0));
        let mut now = ms(0);
        for (mut packet, alter, ttl, wait) in steps {
            packet.your_discriminator = OURS;
            let mut octets = packet.encode();
            if let Some((at, to)) = alter {
                let at = at % octets.len();
                octets[at] = to;
            }
            let discarded = |session: &Session| session.view("::1".parse().unwrap()).discarded.values().sum::<u64>();
            let before = discarded(&session);
            session.receive(now, ttl, &octets);
            let count = discarded(&session) - before;
            prop_assert!(count <= 1);
            prop_assert!(ttl == 255 || count == 1);
            now += ms(wait);
            session.handle_timeout(now);
            prop_assert!(session.deadline() > now || session.handle_timeout(now).0.is_some());
        }
    }

    #[test]
    fn octets_at_random_are_refused_or_read(octets in prop::collection::vec(any::<u8>(), 0..80)) {
        let _ = Packet::decode(&octets);
    }
}
