//! Tests of BFD, in virtual time.

mod packet;
mod pair;
mod session;
mod sessions;
mod timers;

use std::time::Duration;

use super::{BfdState, Diagnostic, Packet, Session, Settings};

/// Discriminator of the session under test.
const OURS: u32 = 7;
/// Discriminator of its neighbour.
const THEIRS: u32 = 9;

fn settings() -> Settings {
    Settings { transmit_interval: ms(50), receive_interval: ms(60), multiplier: 3 }
}

/// What a neighbour in this state sends that knows our discriminator.
fn from_neighbour(state: BfdState) -> Packet {
    Packet {
        diagnostic: Diagnostic::None,
        state,
        poll: false,
        is_final: false,
        demand: false,
        multiplier: 4,
        my_discriminator: THEIRS,
        your_discriminator: OURS,
        desired_transmit: ms(100),
        required_receive: ms(20),
    }
}

/// A session in this state, whose last packet has gone out at `now`.
fn session_in(state: BfdState, now: Duration) -> Session {
    let mut session = Session::new(settings(), OURS, 1, now);
    match state {
        BfdState::AdminDown => session.admin_down(now),
        BfdState::Down => {}
        BfdState::Init => drop(hear(&mut session, now, from_neighbour(BfdState::Down))),
        BfdState::Up => drop(hear(&mut session, now, from_neighbour(BfdState::Init))),
    }
    assert_eq!(session.state(), state);
    sent(&mut session, now);
    session
}

fn up(now: Duration) -> Session {
    let mut session = session_in(BfdState::Up, now);
    // The poll sequence of coming up ends here.
    hear(&mut session, now, Packet { is_final: true, ..from_neighbour(BfdState::Up) });
    session
}

fn hear(session: &mut Session, now: Duration, packet: Packet) -> Option<super::Change> {
    session.receive(now, 255, &packet.encode())
}

/// What it sends now, if anything.
fn sent(session: &mut Session, now: Duration) -> Option<Packet> {
    session.handle_timeout(now).0.map(|octets| Packet::decode(&octets).expect("we send valid packets"))
}

fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}
