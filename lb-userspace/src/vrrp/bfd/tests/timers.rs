//! RFC 5880 sections 6.8.2 to 6.8.4, 6.8.7 and 6.6: how often, how long, and how either changes.

use super::*;

/// The gaps between periodic packets, over so many of them, while the neighbour is heard all the time.
fn gaps(session: &mut Session, from: Duration, count: usize, heard: Packet) -> Vec<Duration> {
    let (mut now, mut gaps, mut last) = (from, Vec::new(), from);
    while gaps.len() <= count {
        now += Duration::from_micros(100);
        hear(session, now, heard);
        if sent(session, now).is_some() {
            gaps.push(now - last);
            last = now;
        }
    }
    gaps.split_off(1)
}

/// Least and greatest gap as shares of the interval, with slack for the step of time.
fn check_jitter(session: &mut Session, heard: Packet, interval: Duration, most: f64) {
    let gaps = gaps(session, ms(0), 300, heard);
    let shares = || gaps.iter().map(|gap| gap.as_secs_f64() / interval.as_secs_f64());
    let (least, greatest) = (shares().fold(f64::MAX, f64::min), shares().fold(0.0, f64::max));
    let step = 0.000_2 / interval.as_secs_f64();
    assert!(least >= 0.75 - step && greatest <= most + step, "{least} to {greatest}");
    assert!(least < 0.77 && greatest > most - 0.02, "all of the range is used: {least} to {greatest}");
}

#[test]
fn packets_are_a_second_apart_while_the_session_is_not_up() {
    let quick = Packet { required_receive: ms(1), ..from_neighbour(BfdState::AdminDown) };
    check_jitter(&mut session_in(BfdState::Down, ms(0)), quick, ms(1_000), 1.0);
}

#[test]
fn the_slower_of_our_rate_and_what_the_neighbour_takes_counts() {
    let heard = |receive| Packet { required_receive: ms(receive), ..from_neighbour(BfdState::Up) };
    check_jitter(&mut up(ms(0)), heard(20), ms(50), 1.0);
    check_jitter(&mut up(ms(0)), heard(80), ms(80), 1.0);
}

#[test]
fn with_a_multiplier_of_one_packets_are_never_later_than_nine_tenths() {
    let mut session = Session::new(Settings { multiplier: 1, ..settings() }, OURS, 5, ms(0));
    hear(&mut session, ms(0), from_neighbour(BfdState::Init));
    hear(&mut session, ms(0), Packet { is_final: true, ..from_neighbour(BfdState::Up) });
    check_jitter(&mut session, from_neighbour(BfdState::Up), ms(50), 0.9);
}

#[test]
fn the_detection_time_is_the_neighbours_multiplier_times_the_slower_rate() {
    let cases = [(100, 4, 400), (10, 4, 240), (60, 1, 60), (200, 255, 51_000)];
    for (transmit, multiplier, expected) in cases {
        let mut session = up(ms(0));
        hear(
            &mut session,
            ms(1),
            Packet { desired_transmit: ms(transmit), multiplier, ..from_neighbour(BfdState::Up) },
        );
        assert_eq!(session.detection_time(), ms(expected), "{transmit} ms x {multiplier}");
    }
}

#[test]
fn coming_up_begins_a_poll_that_goes_on_until_it_is_answered() {
    let mut session = session_in(BfdState::Down, ms(0));
    hear(&mut session, ms(1), from_neighbour(BfdState::Init));
    let first = sent(&mut session, ms(1)).expect("at once");
    assert!(first.poll);
    assert_eq!(first.desired_transmit, ms(50));
    assert!(sent(&mut session, ms(60)).expect("periodic").poll);
    hear(&mut session, ms(61), Packet { is_final: true, ..from_neighbour(BfdState::Up) });
    assert!(!sent(&mut session, ms(120)).expect("periodic").poll);
}

#[test]
fn a_final_that_nobody_asked_for_is_an_ordinary_packet() {
    let mut session = up(ms(0));
    hear(&mut session, ms(1), Packet { is_final: true, ..from_neighbour(BfdState::Up) });
    assert_eq!(session.state(), BfdState::Up);
}

#[test]
fn slower_sending_waits_until_the_neighbour_knows() {
    let mut session = up(ms(0));
    sent(&mut session, ms(50));
    session.configure(Settings { transmit_interval: ms(500), ..settings() });
    let told = sent(&mut session, ms(51)).expect("told at once");
    assert!(told.poll);
    assert_eq!(told.desired_transmit, ms(500));
    assert!(session.deadline() <= ms(101), "still the old rate");
    hear(&mut session, ms(60), Packet { is_final: true, ..from_neighbour(BfdState::Up) });
    assert!(session.deadline() > ms(101), "now the new one");
}

#[test]
fn shorter_patience_waits_until_the_neighbour_knows() {
    let mut session = up(ms(0));
    let quick = |is_final| Packet { desired_transmit: ms(1), is_final, ..from_neighbour(BfdState::Up) };
    session.configure(Settings { receive_interval: ms(10), ..settings() });
    hear(&mut session, ms(1), quick(false));
    assert_eq!(session.detection_time(), ms(240), "4 x 60 ms as before");
    hear(&mut session, ms(2), quick(true));
    assert_eq!(session.detection_time(), ms(40));
}

#[test]
fn quicker_sending_and_longer_patience_need_not_wait() {
    let mut session = up(ms(0));
    session.configure(Settings { transmit_interval: ms(25), receive_interval: ms(200), multiplier: 5 });
    let told = sent(&mut session, ms(1)).expect("told at once");
    assert!(told.poll);
    assert_eq!((told.required_receive, told.multiplier), (ms(200), 5));
    assert_eq!(session.detection_time(), ms(800));
    assert!(session.deadline() <= ms(26));
}

#[test]
fn a_change_during_a_poll_waits_for_its_end() {
    let mut session = session_in(BfdState::Up, ms(0));
    session.configure(Settings { receive_interval: ms(10), ..settings() });
    assert_eq!(sent(&mut session, ms(50)).expect("periodic").required_receive, ms(60));
    hear(&mut session, ms(51), Packet { is_final: true, ..from_neighbour(BfdState::Up) });
    let told = sent(&mut session, ms(51)).expect("a poll of its own");
    assert!(told.poll);
    assert_eq!(told.required_receive, ms(10));
}

#[test]
fn settings_out_of_the_wires_range_are_brought_into_it() {
    let extreme = Settings { transmit_interval: ms(0), receive_interval: Duration::MAX, multiplier: 0 };
    let mut session = Session::new(extreme, 0, 1, ms(0));
    let packet = sent(&mut session, ms(0)).expect("valid");
    assert_eq!(packet.required_receive, Duration::from_micros(u32::MAX.into()));
    assert_eq!((packet.multiplier, packet.my_discriminator), (1, 1));
}

#[test]
fn a_neighbour_that_wants_no_packets_gets_none() {
    let mut session = up(ms(0));
    hear(&mut session, ms(1), Packet { required_receive: ms(0), ..from_neighbour(BfdState::Up) });
    assert_eq!(sent(&mut session, ms(300)), None);
    assert_eq!(session.deadline(), ms(401), "only the detection time is waited for");
}

#[test]
fn demand_mode_suppresses_periodic_packets_while_both_ends_are_up() {
    let demand = |state| Packet { demand: true, ..from_neighbour(state) };
    let mut session = up(ms(0));
    hear(&mut session, ms(1), demand(BfdState::Up));
    assert_eq!(sent(&mut session, ms(300)), None);
    hear(&mut session, ms(301), Packet { poll: true, ..demand(BfdState::Up) });
    assert!(sent(&mut session, ms(301)).expect("a poll is answered").is_final);
    hear(&mut session, ms(302), demand(BfdState::Init));
    assert!(sent(&mut session, ms(360)).is_some(), "not both are up");
}

#[test]
fn late_packets_are_not_made_up() {
    let mut session = up(ms(0));
    hear(&mut session, ms(5_000), from_neighbour(BfdState::Up));
    assert!(sent(&mut session, ms(5_000)).is_some());
    assert_eq!(sent(&mut session, ms(5_000)), None);
    assert!(session.deadline() >= ms(5_037));
}

#[test]
fn after_a_stall_of_our_own_the_neighbour_gets_its_full_time_again() {
    let mut session = up(ms(0));
    session.forgive(ms(5_000));
    assert_eq!(session.handle_timeout(ms(5_399)).1, None);
    assert!(session.handle_timeout(ms(5_400)).1.is_some());
}
