//! The Maglev scheduler: from a set of weighted backends to a lookup table.
//!
//! **A pure function of the set.** Members are put in an order of their own (a keyed hash of their identity), so
//! neither the order in the file, nor history, nor the indices that happen to be written into the slots make a
//! difference. Two nodes with one configuration compute one table; [`lookup_table_hash`] lets them check.
//!
//! **Quotas first.** A member's exact share is `size × weight / sum`. It gets that, rounded down or up, so no share is
//! off by a whole slot. Who is rounded up is decided by the fraction against a threshold of the member's own (from its
//! hash). Plain largest-remainder rounding would flip whole groups of equal weights at once when their fraction crosses
//! that of another group; with a threshold each, a small change of weights rounds few members otherwise.
//!
//! **Then claims by rank.** As in the Maglev paper each member has a permutation of the slots (offset and skip from its
//! hash; the size is a power of two, so every odd skip visits all slots). In the paper each turn takes the *next free*
//! slot. Here a turn tries *one* slot, the next of the permutation, and is lost when it is taken; a member stops
//! at its quota. So a slot goes to the member that ranks it best, whatever the others do (that is rendezvous hashing,
//! where a leaving member moves nothing but its own slots), except in the last few percent, where the first quotas are
//! full. Turns come in proportion to weight, measured in the median weight: a unit that one member's coming or going
//! seldom changes, and that keeps the number of turns small when one weight is a thousand times the others.
//!
//! Slots that move *besides* the leaver's own when one of n equal backends leaves, means over 8 removals (the test
//! `moves_fewer_slots_than_the_paper` prints and checks them), in slots and in percent of the table:
//!
//! | slots  | n    | own share | here         | Maglev paper, prime size |
//! |--------|------|-----------|--------------|--------------------------|
//! | 16,384 | 10   | 1,638     | 62 (0.38 %)  | 80 (0.49 %)              |
//! | 16,384 | 100  | 163       | 97 (0.60 %)  | 210 (1.28 %)             |
//! | 16,384 | 1000 | 16        | 71 (0.44 %)  | 98 (0.60 %)              |
//! | 65,536 | 10   | 6,553     | 71 (0.11 %)  | 145 (0.22 %)             |
//! | 65,536 | 100  | 655       | 199 (0.30 %) | 378 (0.58 %)             |
//! | 65,536 | 1000 | 65        | 220 (0.34 %) | 368 (0.56 %)             |
//!
//! A tenth more weight for one backend of 100 moves 76 slots of 16,384, where 16 have to. 65,536 slots for 1,000
//! backends take 2 ms to fill (18 ms at opt-level 1 on a busy machine), 16,384 for 100 less than half a millisecond,
//! 2^20 for 8,192 some 40 ms.
//!
//! Three rounds of fitting speeds to quotas (so that natural ranks come out at the quota) were tried and made it worse:
//! the fit itself depends on everybody. Permutations with more mixing than offset and skip change nothing.

use std::cmp::Reverse;

use lb_common::limits::{MAX_TABLE_SIZE, MIN_TABLE_SIZE};
use lb_common::slot::NONE;

use super::seed::Seed;

/// One backend as the scheduler sees it.
#[derive(Clone, Copy, Debug)]
pub struct Member<'a> {
    /// What the backend *is*, the same on every node and after every restart: its name, address and port.
    pub identity: &'a str,
    /// What is written into its slots: its index in the pool.
    pub index: u16,
    /// Its share of the slots, relative to the others'; 0 gets none.
    pub weight: u32,
}

/// The owner of each of `size` slots; all [`NONE`] when no member has a weight. Identities must be distinct.
///
/// # Panics
/// When `size` is not a power of two within the limits: configuration is checked before it comes here.
pub fn table(members: &[Member], size: u32, seed: &Seed) -> Vec<u16> {
    assert!(size.is_power_of_two() && (MIN_TABLE_SIZE..=MAX_TABLE_SIZE).contains(&size), "table size {size}");
    let mut owners = vec![NONE; size as usize];
    claim_by_rank(claimants(members, size, seed), &mut owners);
    owners
}

/// A fingerprint of a table that does not depend on index assignment: equal on two nodes whose tables send every flow
/// to the same backend. `identity` names the backend of an index.
pub fn lookup_table_hash<'a>(owners: &[u16], identity: impl Fn(u16) -> Option<&'a str>) -> u64 {
    let key = Seed([0; 16]);
    let mut names = std::collections::HashMap::new();
    let mut bytes = Vec::with_capacity(owners.len() * 8);
    for &owner in owners {
        let name = *names
            .entry(owner)
            .or_insert_with(|| identity(owner).map_or(0, |name| key.hash(IDENTITY, name.as_bytes()).0));
        bytes.extend_from_slice(&name.to_le_bytes());
    }
    key.hash(TABLE, &bytes).0
}

/// Purposes of [`Seed::hash`].
const PERMUTATION: u8 = 1;
const THRESHOLD: u8 = 2;
const IDENTITY: u8 = 3;
const TABLE: u8 = 4;

/// One turn, in the fixed point that turns are counted in.
const ONE_TURN: u64 = 1 << 32;

/// A member on its way to its quota.
struct Claimant {
    index: u16,
    /// Slots it may still claim.
    quota: u32,
    next: u32,
    skip: u32,
    turns_per_round: u64,
    turns: u64,
}

/// Every round gives each claimant its turns, until all quotas are filled. Quotas add up to the number of slots and a
/// permutation visits all of them, so this ends.
fn claim_by_rank(mut claimants: Vec<Claimant>, owners: &mut [u16]) {
    while !claimants.is_empty() {
        for claimant in &mut claimants {
            claimant.take_turns(owners);
        }
        claimants.retain(|claimant| claimant.quota > 0);
        hurry(&mut claimants);
    }
}

/// When only light members are left, whole rounds would pass without a turn; their proportions are all that counts.
fn hurry(claimants: &mut [Claimant]) {
    let fastest = claimants.iter().map(|claimant| claimant.turns_per_round).max().unwrap_or(ONE_TURN);
    let doublings = fastest.leading_zeros().saturating_sub(ONE_TURN.leading_zeros());
    for claimant in claimants {
        claimant.turns_per_round <<= doublings;
    }
}

impl Claimant {
    fn take_turns(&mut self, owners: &mut [u16]) {
        let mask = owners.len() as u32 - 1;
        self.turns += self.turns_per_round;
        while self.turns >= ONE_TURN && self.quota > 0 {
            self.turns -= ONE_TURN;
            let slot = &mut owners[(self.next & mask) as usize];
            self.next = self.next.wrapping_add(self.skip);
            if *slot == NONE {
                *slot = self.index;
                self.quota -= 1;
            }
        }
    }
}

/// The members that get slots, in the order of their hashes: an order of identities would favour the early names.
fn claimants(members: &[Member], size: u32, seed: &Seed) -> Vec<Claimant> {
    let mut weighted: Vec<_> = members
        .iter()
        .filter(|member| member.weight > 0)
        .map(|member| (seed.hash(PERMUTATION, member.identity.as_bytes()), member))
        .collect();
    weighted.sort_by_key(|(hash, member)| (*hash, member.identity, member.index));
    let members: Vec<&Member> = weighted.iter().map(|(_, member)| *member).collect();
    let median = median_weight(&members);
    quotas(&members, size, seed)
        .into_iter()
        .zip(weighted)
        .filter(|(quota, _)| *quota > 0)
        .map(|(quota, ((offset, skip), member))| Claimant {
            index: member.index,
            quota,
            next: offset as u32,
            skip: skip as u32 | 1,
            turns_per_round: (u64::from(member.weight) * ONE_TURN / median).max(1),
            turns: 0,
        })
        .collect()
}

fn median_weight(members: &[&Member]) -> u64 {
    let mut weights: Vec<u32> = members.iter().map(|member| member.weight).collect();
    weights.sort_unstable();
    weights.get(weights.len() / 2).copied().unwrap_or(1).into()
}

/// How many slots each member gets: its exact share rounded down or up, `size` in all.
fn quotas(members: &[&Member], size: u32, seed: &Seed) -> Vec<u32> {
    let sum: u64 = members.iter().map(|member| u64::from(member.weight)).sum();
    let exact = |member: &Member| u64::from(size) * u64::from(member.weight);
    let mut quotas: Vec<u32> = members.iter().map(|member| (exact(member) / sum) as u32).collect();
    let left_over = size.saturating_sub(quotas.iter().sum()) as usize;

    let mut rounded_up: Vec<(Reverse<i64>, usize)> = members
        .iter()
        .enumerate()
        .filter(|(_, member)| !exact(member).is_multiple_of(sum))
        .map(|(at, member)| {
            let fraction = (u128::from(exact(member) % sum) << 32) / u128::from(sum);
            let threshold = seed.hash(THRESHOLD, member.identity.as_bytes()).0 >> 32;
            (Reverse(fraction as i64 - threshold as i64), at)
        })
        .collect();
    rounded_up.sort_unstable();
    for (_, at) in rounded_up.into_iter().take(if members.is_empty() { 0 } else { left_over }) {
        quotas[at] += 1;
    }
    quotas
}

#[cfg(test)]
#[path = "maglev_tests.rs"]
mod tests;
