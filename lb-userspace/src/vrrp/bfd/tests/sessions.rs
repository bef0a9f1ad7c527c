//! RFC 5880 section 6.3: which session a packet is for.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::super::{Change, Sessions};
use super::*;
use crate::vrrp::effect::BfdEnds;

fn ends(interface: u32, neighbour: &str) -> BfdEnds {
    let (source, neighbour) = ("192.0.2.1".parse().unwrap(), neighbour.parse().unwrap());
    BfdEnds { interface, source, neighbour }
}

fn open(all: &[BfdEnds]) -> Sessions {
    let mut sessions = Sessions::new(11);
    sessions.configure(&all.iter().map(|ends| (ends.clone(), settings())).collect(), ms(0));
    sessions.handle_timeout(ms(0));
    sessions
}

fn hear(sessions: &mut Sessions, source: &str, packet: Packet) -> Option<(BfdEnds, Change)> {
    sessions.receive(ms(1), source.parse().unwrap(), 255, &packet.encode())
}

#[test]
fn the_discriminator_says_which_and_else_the_source() {
    let (first, second) = (ends(1, "192.0.2.2"), ends(1, "192.0.2.3"));
    let mut sessions = open(&[first.clone(), second.clone()]);
    let unknown = Packet { your_discriminator: 0, ..from_neighbour(BfdState::Down) };
    assert_eq!(hear(&mut sessions, "192.0.2.3", unknown), None);
    let states = |sessions: &Sessions| [&first, &second].map(|ends| sessions.get(ends).expect("configured").state());
    assert_eq!(states(&sessions), [BfdState::Down, BfdState::Init]);
    let your_discriminator = sessions.get(&second).expect("configured").discriminator();
    let named = Packet { your_discriminator, ..from_neighbour(BfdState::Init) };
    // Section 6.3: once the discriminator is known the source may be another.
    assert_eq!(hear(&mut sessions, "192.0.2.77", named), Some((second.clone(), Change::Up)));
    assert_eq!(states(&sessions), [BfdState::Down, BfdState::Up]);
}

#[test]
fn what_is_for_no_session_is_counted_apart() {
    let mut sessions = open(&[ends(1, "192.0.2.2")]);
    let unknown = Packet { your_discriminator: 0, ..from_neighbour(BfdState::Down) };
    hear(&mut sessions, "192.0.2.99", unknown);
    sessions.receive(ms(1), "192.0.2.99".parse().unwrap(), 64, &unknown.encode());
    assert_eq!(sessions.stray(), [("session".to_owned(), 1), ("ttl".to_owned(), 1)].into());
    hear(&mut sessions, "192.0.2.2", Packet { your_discriminator: 0x1234_5678, ..unknown });
    assert_eq!(sessions.view()[0].discarded, [("session".to_owned(), 1)].into());
}

#[test]
fn one_neighbour_over_two_interfaces_comes_up_on_both() {
    let both = [ends(1, "fe80::2"), ends(2, "fe80::2")];
    let mut sessions = open(&both);
    for my_discriminator in [1, 2] {
        hear(
            &mut sessions,
            "fe80::2",
            Packet { my_discriminator, your_discriminator: 0, ..from_neighbour(BfdState::Down) },
        );
    }
    assert!(sessions.iter().all(|(_, session)| session.state() == BfdState::Init));
}

#[test]
fn discriminators_differ_and_are_not_zero() {
    let all: Vec<_> = (2..=255).map(|n| ends(1, &format!("192.0.2.{n}"))).collect();
    let sessions = open(&all);
    let names: BTreeSet<u32> = sessions.iter().map(|(_, session)| session.discriminator()).collect();
    assert_eq!(names.len(), all.len());
    assert!(!names.contains(&0));
}

#[test]
fn those_that_go_say_so_and_those_that_stay_keep_their_state() {
    let (stays, goes, comes) = (ends(1, "192.0.2.2"), ends(1, "192.0.2.3"), ends(1, "192.0.2.4"));
    let mut sessions = open(&[stays.clone(), goes.clone()]);
    hear(&mut sessions, "192.0.2.2", Packet { your_discriminator: 0, ..from_neighbour(BfdState::Down) });
    let wanted = BTreeMap::from([(stays.clone(), settings()), (comes.clone(), settings())]);
    let farewells = sessions.configure(&wanted, ms(2));
    assert_eq!(farewells.len(), 1);
    assert_eq!(farewells[0].0, goes);
    assert_eq!(Packet::decode(&farewells[0].1).map(|packet| packet.state), Ok(BfdState::AdminDown));
    assert_eq!(sessions.get(&stays).map(Session::state), Some(BfdState::Init));
    let due = sessions.handle_timeout(ms(2));
    assert!(due.packets.iter().any(|(ends, _)| *ends == comes));
    assert_eq!(sessions.configure(&BTreeMap::new(), ms(3)).len(), 2);
    assert_eq!(sessions.deadline(), None);
}

#[test]
fn stopping_tells_every_neighbour() {
    let all = [ends(1, "192.0.2.2"), ends(1, "192.0.2.3")];
    let mut sessions = open(&all);
    sessions.admin_down(ms(1));
    let due = sessions.handle_timeout(ms(1));
    let told: Vec<IpAddr> = due.packets.iter().map(|(ends, _)| ends.neighbour).collect();
    assert_eq!(told, all.map(|ends| ends.neighbour));
}
