//! RFC 5880 section 6.2 and 6.8.6: the state machine.

use super::super::Change;
use super::*;

#[test]
fn every_state_with_every_state_heard() {
    use BfdState::{AdminDown, Down, Init, Up};
    let lost = Some(Change::Down(Diagnostic::NeighbourSignaledDown));
    let cases = [
        (Down, AdminDown, Down, None),
        (Down, Down, Init, None),
        (Down, Init, Up, Some(Change::Up)),
        (Down, Up, Down, None),
        (Init, AdminDown, Down, None),
        (Init, Down, Init, None),
        (Init, Init, Up, Some(Change::Up)),
        (Init, Up, Up, Some(Change::Up)),
        (Up, AdminDown, Down, Some(Change::AdminDown)),
        (Up, Down, Down, lost),
        (Up, Init, Up, None),
        (Up, Up, Up, None),
        (AdminDown, AdminDown, AdminDown, None),
        (AdminDown, Down, AdminDown, None),
        (AdminDown, Init, AdminDown, None),
        (AdminDown, Up, AdminDown, None),
    ];
    for (state, heard, expected, change) in cases {
        let mut session = session_in(state, ms(0));
        assert_eq!(hear(&mut session, ms(1), from_neighbour(heard)), change, "{state:?} hears {heard:?}");
        assert_eq!(session.state(), expected, "{state:?} hears {heard:?}");
    }
}

#[test]
fn a_new_state_is_told_at_once() {
    let mut session = session_in(BfdState::Down, ms(0));
    assert!(session.deadline() > ms(700));
    hear(&mut session, ms(1), from_neighbour(BfdState::Down));
    assert!(session.deadline() <= ms(1));
    let packet = sent(&mut session, ms(1)).expect("at once");
    assert_eq!((packet.state, packet.your_discriminator), (BfdState::Init, THEIRS));
    assert_eq!(sent(&mut session, ms(1)), None, "and once");
}

#[test]
fn a_session_that_is_lost_says_why_and_forgets_its_neighbour() {
    let mut session = up(ms(0));
    let (_, change) = session.handle_timeout(ms(399));
    assert_eq!(change, None);
    let (octets, change) = session.handle_timeout(ms(400));
    assert_eq!(change, Some(Change::Down(Diagnostic::DetectionTimeExpired)));
    let packet = Packet::decode(&octets.expect("told at once")).unwrap();
    assert_eq!(packet.state, BfdState::Down);
    assert_eq!(packet.diagnostic, Diagnostic::DetectionTimeExpired);
    assert_eq!(packet.your_discriminator, 0, "RFC 5880 section 6.8.1");
    assert_eq!(packet.desired_transmit, ms(1_000));
    assert_eq!(session.view("192.0.2.1".parse().unwrap()).losses, 1);
}

#[test]
fn init_without_a_neighbour_is_down_and_no_loss() {
    let mut session = session_in(BfdState::Init, ms(0));
    let (_, change) = session.handle_timeout(ms(400));
    assert_eq!((change, session.state()), (None, BfdState::Down));
    assert_eq!(session.diagnostic(), Diagnostic::DetectionTimeExpired);
    assert_eq!(session.view("192.0.2.1".parse().unwrap()).losses, 0);
}

#[test]
fn a_neighbour_that_restarts_brings_the_session_down_and_up_again() {
    let mut session = up(ms(0));
    let newborn = |state| Packet { my_discriminator: 99, ..from_neighbour(state) };
    let greeting = Packet { your_discriminator: 0, ..newborn(BfdState::Down) };
    let change = hear(&mut session, ms(1), greeting);
    assert_eq!(change, Some(Change::Down(Diagnostic::NeighbourSignaledDown)));
    hear(&mut session, ms(2), newborn(BfdState::Down));
    assert_eq!(hear(&mut session, ms(3), newborn(BfdState::Up)), Some(Change::Up));
    assert_eq!(session.diagnostic(), Diagnostic::None);
}

#[test]
fn shutting_down_is_told_at_once_and_then_nothing_is_taken() {
    let mut session = up(ms(0));
    session.admin_down(ms(1));
    let packet = sent(&mut session, ms(1)).expect("at once");
    assert_eq!((packet.state, packet.diagnostic), (BfdState::AdminDown, Diagnostic::AdministrativelyDown));
    assert!(!packet.poll);
    hear(&mut session, ms(2), Packet { poll: true, ..from_neighbour(BfdState::Up) });
    assert_eq!(sent(&mut session, ms(2)), None);
    assert_eq!(session.view("192.0.2.1".parse().unwrap()).discarded["admin-down"], 1);
}

#[test]
fn a_poll_is_answered_at_once_beside_the_periodic_packets() {
    let mut session = up(ms(0));
    let periodic = session.deadline();
    hear(&mut session, ms(1), Packet { poll: true, ..from_neighbour(BfdState::Up) });
    let answer = sent(&mut session, ms(1)).expect("at once");
    assert!(answer.is_final && !answer.poll);
    assert_eq!(session.deadline(), periodic);
    assert_eq!(sent(&mut session, ms(1)), None);
}

#[test]
fn a_poll_is_answered_by_a_session_that_polls_itself() {
    let mut session = session_in(BfdState::Up, ms(0));
    hear(&mut session, ms(1), Packet { poll: true, ..from_neighbour(BfdState::Up) });
    let answer = sent(&mut session, ms(1)).expect("the answer");
    assert!(answer.is_final && !answer.poll, "never both: RFC 5880 section 6.5");
    let periodic = sent(&mut session, ms(100)).expect("the next periodic packet");
    assert!(periodic.poll && !periodic.is_final, "its own poll goes on");
}
