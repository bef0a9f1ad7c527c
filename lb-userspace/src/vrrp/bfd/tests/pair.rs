//! Two sessions against each other over a link that loses, delays and stops.

use proptest::prelude::*;

use super::super::Change;
use super::*;

struct Pair {
    now: Duration,
    sessions: [Session; 2],
    latency: Duration,
    /// Whether what a node sends is lost.
    cut: [bool; 2],
    flying: Vec<(Duration, usize, Vec<u8>)>,
    sent: [usize; 2],
    changes: [Vec<(Duration, Change)>; 2],
}

impl Pair {
    fn new(settings: [Settings; 2]) -> Self {
        let session = |node: usize| Session::new(settings[node], 10 + node as u32, 100 + node as u64, ms(0));
        Self {
            now: ms(0),
            sessions: [session(0), session(1)],
            latency: ms(1),
            cut: [false; 2],
            flying: Vec::new(),
            sent: [0; 2],
            changes: Default::default(),
        }
    }

    fn up() -> Self {
        let mut pair = Self::new([settings(); 2]);
        pair.run(ms(3_000));
        assert!(pair.is_up());
        pair.changes = Default::default();
        pair
    }

    fn run_only(&mut self, running: [bool; 2], time: Duration) {
        let end = self.now + time;
        loop {
            let deadlines = (0..2).filter(|&node| running[node]).map(|node| self.sessions[node].deadline());
            let next = deadlines.chain(self.flying.iter().map(|flight| flight.0)).min().unwrap_or(end).max(self.now);
            if next >= end {
                self.now = end;
                return;
            }
            self.now = next;
            self.arrive(running);
            (0..2).filter(|&node| running[node]).for_each(|node| self.tick(node));
        }
    }

    fn run(&mut self, time: Duration) {
        self.run_only([true; 2], time);
    }

    fn arrive(&mut self, running: [bool; 2]) {
        let now = self.now;
        let (come, flying): (Vec<_>, _) =
            std::mem::take(&mut self.flying).into_iter().partition(|flight| flight.0 <= now);
        self.flying = flying;
        for (_, to, octets) in come.into_iter().filter(|flight| running[flight.1]) {
            let change = self.sessions[to].receive(now, 255, &octets);
            self.changes[to].extend(change.map(|change| (now, change)));
        }
    }

    fn tick(&mut self, node: usize) {
        let (octets, change) = self.sessions[node].handle_timeout(self.now);
        self.changes[node].extend(change.map(|change| (self.now, change)));
        if let Some(octets) = octets {
            self.sent[node] += 1;
            if !self.cut[node] {
                self.flying.push((self.now + self.latency, 1 - node, octets));
            }
        }
    }

    fn is_up(&self) -> bool {
        self.sessions.iter().all(|session| session.state() == BfdState::Up)
    }
}

#[test]
fn two_sessions_come_up_and_stay_up_at_the_agreed_rate() {
    let quick = Settings { transmit_interval: ms(10), receive_interval: ms(10), multiplier: 3 };
    let slow = Settings { transmit_interval: ms(30), receive_interval: ms(40), multiplier: 5 };
    let mut pair = Pair::new([quick, slow]);
    pair.run(ms(2_000));
    assert!(pair.is_up());
    assert_eq!(pair.sessions[0].detection_time(), ms(150), "5 x 30 ms");
    assert_eq!(pair.sessions[1].detection_time(), ms(120), "3 x 40 ms");
    pair.sent = [0; 2];
    pair.run(ms(10_000));
    assert!((250..=334).contains(&pair.sent[0]), "40 ms, a quarter less at most: {}", pair.sent[0]);
    assert!((333..=445).contains(&pair.sent[1]), "30 ms, a quarter less at most: {}", pair.sent[1]);
    assert!(pair.changes.iter().all(|changes| changes.len() == 1), "{:?}", pair.changes);
}

#[test]
fn a_neighbour_that_dies_is_lost_within_the_detection_time() {
    let mut pair = Pair::up();
    let died = pair.now;
    pair.run_only([true, false], ms(1_000));
    let [(lost, change)] = pair.changes[0][..] else { panic!("{:?}", pair.changes) };
    assert_eq!(change, Change::Down(Diagnostic::DetectionTimeExpired));
    assert!(lost > died && lost <= died + ms(181), "{lost:?} after {died:?}");
}

#[test]
fn a_cut_of_one_direction_brings_both_ends_down_and_says_which_hears_nothing() {
    let mut pair = Pair::up();
    pair.cut[0] = true;
    pair.run(ms(1_000));
    assert_eq!(pair.changes[1][0].1, Change::Down(Diagnostic::DetectionTimeExpired));
    assert_eq!(pair.changes[0][0].1, Change::Down(Diagnostic::NeighbourSignaledDown));
    assert_eq!(pair.sessions[0].remote_diagnostic(), Diagnostic::DetectionTimeExpired);
}

#[test]
fn shutting_down_on_purpose_is_told_from_a_failure() {
    let mut pair = Pair::up();
    let now = pair.now;
    pair.sessions[1].admin_down(now);
    pair.run(ms(2_000));
    assert_eq!(pair.changes[0].iter().map(|(_, change)| *change).collect::<Vec<_>>(), [Change::AdminDown]);
    assert_eq!(pair.sessions[0].state(), BfdState::Down);
}

#[test]
fn parameters_change_while_the_session_is_up_and_nothing_is_lost() {
    let mut pair = Pair::up();
    for (transmit, receive, multiplier) in [(500, 10, 2), (10, 500, 1), (20, 20, 9), (2_000, 3_000, 2), (50, 60, 3)] {
        pair.sessions[0].configure(Settings {
            transmit_interval: ms(transmit),
            receive_interval: ms(receive),
            multiplier,
        });
        pair.run(ms(20_000));
        assert_eq!(pair.changes, [vec![], vec![]], "{transmit} {receive} {multiplier}");
    }
    assert_eq!(pair.sessions[0].detection_time(), ms(180));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever the network and the nodes do, the session comes up once they are well, and the changes tell the truth: up
    /// and down take turns.
    #[test]
    fn a_healed_network_heals_the_session(
        steps in prop::collection::vec((any::<[bool; 2]>(), 0..1_500_u64, 0..200_u64, 0..10_u8), 1..30),
    ) {
        let mut pair = Pair::new([settings(); 2]);
        for (life, (cut, time, latency, event)) in steps.into_iter().enumerate() {
            (pair.cut, pair.latency) = (cut, ms(latency));
            match event {
                0 | 1 => {
                    let node = usize::from(event);
                    pair.sessions[node] = Session::new(settings(), 1_000 + life as u32, life as u64, pair.now);
                    pair.changes[node].clear();
                }
                2 | 3 => pair.run_only([event == 2, event == 3], ms(time)),
                4 => pair.sessions[0].configure(Settings { transmit_interval: ms(time), ..settings() }),
                _ => {}
            }
            pair.run(ms(time));
        }
        (pair.cut, pair.latency) = ([false; 2], ms(1));
        pair.run(ms(10_000));
        prop_assert!(pair.is_up());
        for changes in &pair.changes {
            for (at, (_, change)) in changes.iter().enumerate() {
                prop_assert_eq!(*change == Change::Up, at % 2 == 0, "{:?}", changes);
            }
        }
    }
}
