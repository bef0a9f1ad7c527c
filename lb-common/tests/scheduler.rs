//! The rules of the scheduler on pools in plain memory. That they agree with IPVS is tested in `tests/ipvs`.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;

use lb_common::address::Address;
use lb_common::flow::SECOND;
use lb_common::scheduler::least::Least;
use lb_common::scheduler::locality::{EXPIRATION, MEMBERS, NONE, Servers};
use lb_common::scheduler::turns::{self, Passes, Turn};
use lb_common::scheduler::{Candidate, Candidates, Go, MAX_WEIGHT, Pool, Rule, Visitor, pick, show, twos};
use proptest::prelude::*;

const DESTINATION: Address = Address::from_v4_wire(0x0100_090a);

#[test]
fn round_robin_gives_each_backend_with_weight_its_turn() {
    let pool = Memory::of_weights(&[5, 0, 1, 9]);
    assert_eq!(sequence(&pool, Rule::RoundRobin, 7), [0, 2, 3, 0, 2, 3, 0]);
}

#[test]
fn weighted_round_robin_goes_by_passes_that_ask_for_ever_less() {
    let pool = Memory::of_weights(&[2, 4, 6]);
    assert_eq!(sequence(&pool, Rule::WeightedRoundRobin, 8), [2, 1, 2, 0, 1, 2, 2, 1], "1:2:3");
}

#[test]
fn no_rule_finds_anybody_in_a_pool_without_backends_or_without_weight() {
    for number in 0..=u8::MAX {
        let Some(rule) = Rule::from_number(number) else { continue };
        assert_eq!(rule as u8, number);
        for weights in [&[][..], &[0, 0]] {
            assert_eq!(pick(rule, &Memory::of_weights(weights), DESTINATION), None, "{rule:?}");
        }
    }
}

#[test]
fn each_rule_counts_what_it_says() {
    // Weight, active, inactive; heavy but busy, light and idle, in between.
    let pool = Memory::of_loads(&[(10, 8, 0), (1, 0, 600), (5, 4, 600), (4, 3, 0)]);
    for (rule, index) in [
        (Least::Connections, 1),
        (Least::WeightedConnections, 3),
        (Least::ExpectedDelay, 0),
        (Least::NeverQueue, 1),
        (Least::Failover, 0),
        (Least::Overflow, 0),
    ] {
        assert_eq!(rule.pick(&pool), Some(index), "{rule:?}");
    }
}

#[test]
fn overflow_goes_on_to_the_next_heaviest_beyond_as_many_connections_as_weight() {
    let pool = Memory::of_loads(&[(2, 2, 0), (10, 11, 0), (3, 4, 0)]);
    assert_eq!(Least::Overflow.pick(&pool), Some(0));
    assert_eq!(Least::Overflow.pick(&Memory::of_loads(&[(2, 3, 0)])), None);
}

#[test]
fn of_equals_the_first_is_taken_and_who_is_full_or_without_weight_never() {
    let good = Candidate { weight: 1, ..Candidate::default() };
    let full = Candidate { weight: 9, overloaded: true, ..Candidate::default() };
    let drained = Candidate::default();
    for number in 1..=Rule::ReplicatedLocality as u8 {
        let rule = Rule::from_number(number).unwrap();
        let pool = Memory::new(vec![None, Some(full), Some(drained), Some(good), Some(good)]);
        assert_eq!(pick(rule, &pool, DESTINATION), Some(3), "{rule:?}");
        assert_eq!(pick(rule, &Memory::new(vec![Some(full), Some(drained)]), DESTINATION), None, "{rule:?}");
    }
}

#[test]
fn the_largest_counts_and_weights_do_not_overflow() {
    let busiest = (MAX_WEIGHT, u32::MAX, u32::MAX);
    let pool = Memory::of_loads(&[busiest, (MAX_WEIGHT, u32::MAX - 1, u32::MAX)]);
    assert_eq!(Least::WeightedConnections.pick(&pool), Some(1));
    assert_eq!(Least::ExpectedDelay.pick(&pool), Some(1));
    let weights = vec![MAX_WEIGHT; lb_common::limits::MAX_BACKENDS_PER_SERVICE];
    assert_eq!(twos::pick(&Memory::of_weights(&weights), [u32::MAX, u32::MAX]), Some(8191));
}

#[test]
fn twos_draws_each_backend_as_often_as_its_weight_says_and_takes_the_less_loaded() {
    let pool = Memory::of_weights(&[1, 0, 3]);
    let quarter = 1 << 30;
    for (random, index) in [(0, 0), (quarter - 1, 0), (quarter, 2), (u32::MAX, 2)] {
        assert_eq!(twos::pick(&pool, [random, random]), Some(index), "{random}");
    }
    let pool = Memory::of_loads(&[(1, 1, 0), (1, 2, 0)]);
    for random in [[0, u32::MAX], [u32::MAX, 0]] {
        assert_eq!(twos::pick(&pool, random), Some(0));
    }
    let equals = Memory::of_weights(&[1, 1]);
    assert_eq!(twos::pick(&equals, [u32::MAX, 0]), Some(1), "the first drawn");
}

#[test]
fn a_destination_keeps_its_backend_while_that_is_not_crowded() {
    let pool = Memory::of_weights(&[2, 2, 2]);
    assert_eq!(pick(Rule::Locality, &pool, DESTINATION), Some(0));
    pool.set(0, |backend| backend.active = 2);
    assert_eq!(pick(Rule::Locality, &pool, DESTINATION), Some(0), "not more than its weight");
    pool.set(0, |backend| backend.active = 3);
    assert_eq!(pick(Rule::Locality, &pool, DESTINATION), Some(1), "another has room");
    pool.set(0, |backend| backend.active = 0);
    assert_eq!(pick(Rule::Locality, &pool, DESTINATION), Some(1), "and has it from now on");
    pool.set(1, |backend| backend.overloaded = true);
    assert_eq!(pick(Rule::Locality, &pool, DESTINATION), Some(1), "even when it is full");
    pool.set(1, |backend| backend.weight = 0);
    assert_eq!(pick(Rule::Locality, &pool, DESTINATION), Some(0), "but not without weight");
}

#[test]
fn a_destination_has_the_more_backends_the_more_it_needs_and_fewer_after_a_while() {
    let pool = Memory::of_weights(&[2, 2, 2]);
    assert_eq!(pick(Rule::ReplicatedLocality, &pool, DESTINATION), Some(0));
    pool.set(0, |backend| backend.active = 3);
    assert_eq!(pick(Rule::ReplicatedLocality, &pool, DESTINATION), Some(1));
    assert_eq!(pool.members(), [1, 0]);
    pool.time.set(SECOND + EXPIRATION);
    assert_eq!(pick(Rule::ReplicatedLocality, &pool, DESTINATION), Some(1));
    assert_eq!(pool.members(), [1, 0], "not yet");
    pool.time.set(SECOND + EXPIRATION + 1);
    assert_eq!(pick(Rule::ReplicatedLocality, &pool, DESTINATION), Some(1));
    assert_eq!(pool.members(), [1], "the most loaded was forgotten");
}

#[test]
fn so_many_are_remembered_and_no_more() {
    let many = MEMBERS as u32 + 2;
    let pool = Memory::of_weights(&vec![2; many as usize]);
    for index in 0..many {
        assert_eq!(pick(Rule::ReplicatedLocality, &pool, DESTINATION), Some(index));
        pool.set(index as usize, |backend| backend.active = 3);
    }
    let newest: Vec<u16> = (0..many as u16).rev().take(MEMBERS).collect();
    assert_eq!(pool.members(), newest);
}

#[test]
fn a_destination_without_weight_finds_nobody_under_dh() {
    let pool = Memory::of_weights(&[1, 1, 1]);
    let owner = pick(Rule::DestinationHash, &pool, DESTINATION).unwrap();
    pool.set(owner as usize, |backend| backend.weight = 0);
    assert_eq!(pick(Rule::DestinationHash, &pool, DESTINATION), None);
}

proptest! {
    #[test]
    fn one_walk_finds_whom_walking_pass_by_pass_would_find(pool in any_pool()) {
        let passes = pool.passes();
        for _ in 0..30 {
            let before = Turn::from_word(pool.turn());
            let expected = pass_by_pass(&pool, passes, before);
            let found = turns::pick(&pool, passes);
            prop_assert_eq!(found, expected.map(|(index, _)| index), "after {:?}", before);
            if let Some((_, turn)) = expected {
                prop_assert_eq!(Turn::from_word(pool.turn()), turn);
            }
        }
    }

    #[test]
    fn a_restart_asks_for_what_some_pass_asks_for(old in any_pool(), new in any_pool(), turns in 0usize..20) {
        for _ in 0..turns {
            turns::pick(&old, old.passes());
        }
        let passes = new.passes();
        let turn = Turn::from_word(old.turn()).restarted(passes);
        prop_assert_eq!(turn.passed, 0);
        prop_assert!(turn.asks <= passes.top);
        prop_assert!(passes.top == 0 || turn.asks % passes.step == 1 % passes.step, "{:?} of {:?}", turn, passes);
    }

    #[test]
    fn a_race_lost_costs_one_turn_twice_and_nothing_else(pool in any_pool(), losses in 0u32..6) {
        pool.losses.set(losses);
        let first = turns::pick(&pool, pool.passes());
        let second = turns::pick(&pool, pool.passes());
        let is_shared = losses >= turns::ATTEMPTS;
        prop_assert!(!is_shared || first == second);
    }
}

/// The turns as `ip_vs_wrr.c` describes them: pass by pass, a full round at most.
fn pass_by_pass(pool: &Memory, passes: Passes, turn: Turn) -> Option<(u32, Turn)> {
    let mut asks = if turn.asks == 0 { passes.top } else { turn.asks };
    let mut from = turn.passed;
    for _ in 0..passes.top / passes.step + 2 {
        for index in from..pool.count() {
            let takes = |c: &Candidate| !c.overloaded && c.weight > 0 && c.weight >= asks;
            if pool.candidate(index).is_some_and(|candidate| takes(&candidate)) {
                return Some((index, Turn { asks, passed: index + 1 }));
            }
        }
        from = 0;
        asks = if asks > passes.step { asks - passes.step } else { passes.top };
    }
    None
}

fn any_pool() -> impl Strategy<Value = Memory> {
    let candidate = (0u32..5, 0..4, 0..4).prop_map(|(weight, hole, full)| {
        (hole > 0).then_some(Candidate { weight, overloaded: full == 0, ..Candidate::default() })
    });
    (1u32..4, prop::collection::vec(candidate, 0..8)).prop_map(|(factor, all)| {
        let heavier = |candidate: Candidate| Candidate { weight: candidate.weight * factor, ..candidate };
        Memory::new(all.into_iter().map(|candidate| candidate.map(heavier)).collect())
    })
}

fn sequence(pool: &Memory, rule: Rule, length: usize) -> Vec<u32> {
    (0..length).map(|_| pick(rule, pool, DESTINATION).expect("somebody has weight")).collect()
}

/// A pool; `None` is a hole.
#[derive(Debug)]
struct Memory {
    backends: RefCell<Vec<Option<Candidate>>>,
    turn: Cell<u64>,
    /// How many races for the turn are lost from now on.
    losses: Cell<u32>,
    time: Cell<u64>,
    servers: RefCell<HashMap<Address, Servers>>,
}

impl Memory {
    fn new(backends: Vec<Option<Candidate>>) -> Self {
        Self {
            backends: RefCell::new(backends),
            turn: Cell::default(),
            losses: Cell::default(),
            time: Cell::new(SECOND),
            servers: RefCell::default(),
        }
    }

    fn of_weights(weights: &[u32]) -> Self {
        Self::new(weights.iter().map(|&weight| Some(Candidate { weight, ..Candidate::default() })).collect())
    }

    fn of_loads(loads: &[(u32, u32, u32)]) -> Self {
        let candidate = |&(weight, active, inactive)| Some(Candidate { weight, active, inactive, overloaded: false });
        Self::new(loads.iter().map(candidate).collect())
    }

    fn set(&self, index: usize, change: impl FnOnce(&mut Candidate)) {
        change(self.backends.borrow_mut()[index].as_mut().expect("no hole"));
    }

    fn members(&self) -> Vec<u16> {
        let servers = self.servers.borrow()[&DESTINATION];
        servers.members.into_iter().take_while(|&member| member != NONE).collect()
    }
}

impl Candidates for Memory {
    fn count(&self) -> u32 {
        self.backends.borrow().len() as u32
    }

    fn candidate(&self, index: u32) -> Option<Candidate> {
        self.backends.borrow()[index as usize]
    }

    fn walk<V: Visitor>(&self, first: u32, visitor: &mut V) {
        for step in 0..self.count() {
            if show(self, first, step, visitor) == Go::Stop {
                return;
            }
        }
    }

    fn repeat<F: FnMut(u32) -> Go>(&self, times: u32, step: F) {
        (0..times).map(step).find(|go| *go == Go::Stop);
    }
}

impl Pool for Memory {
    fn turn(&self) -> u64 {
        self.turn.get()
    }

    fn take_turn(&self, before: u64, after: u64) -> bool {
        if let Some(rest) = self.losses.get().checked_sub(1) {
            self.losses.set(rest);
            return false;
        }
        assert_eq!(self.turn.get(), before);
        self.turn.set(after);
        true
    }

    fn passes(&self) -> Passes {
        Passes::of(self.backends.borrow().iter().flatten().map(|candidate| candidate.weight))
    }

    fn random(&self) -> u32 {
        0
    }

    fn now(&self) -> u64 {
        self.time.get()
    }

    fn with_servers(&self, destination: Address, act: impl FnOnce(&mut Servers) -> Option<u32>) -> Option<u32> {
        let mut servers = self.servers.borrow().get(&destination).copied().unwrap_or_default();
        let found = act(&mut servers);
        self.servers.borrow_mut().insert(destination, servers);
        found
    }
}
