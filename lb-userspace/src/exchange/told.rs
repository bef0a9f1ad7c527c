//! What has been told: a copy of each record as the peer was told it, so that a walk over the table finds what differs. Pure; who walks
//! shows every record of a table, in rounds, and at the end of a round learns what was not shown any more.
//!
//! The last packet's time changes with every packet and is not told each time: only once it has moved by a quarter of what the
//! flow may be silent, by whole seconds, and not before a walk has come to it. A follower adds a half and a second, so that it forgets no flow before
//! its time as long as a walk takes no longer than a quarter; it may keep one for that much longer.

use std::hash::Hash;
use std::num::NonZeroU16;

use lb_common::abi::Record;
use lb_common::flow::SECOND;

use super::linear_table::LinearTable;

/// Which part of the time that a flow may be silent passes until it is told again that it was not.
pub const REFRESH: u64 = 4;
/// Which part of it a follower adds to what it was told.
pub const ALLOWANCE: u64 = 2;

/// Of one table, by the table's own keys.
#[derive(Debug)]
pub struct Told<K> {
    records: LinearTable<K, Known>,
    round: NonZeroU16,
    /// Records that were shown or told in this round.
    shown: usize,
    /// By the clock, in seconds.
    now: u32,
}

#[derive(Clone, Copy, Debug)]
struct Known {
    pool: u32,
    /// In seconds: a record is 16 octets here, of which there may be a million.
    last_seen: u32,
    backend: u16,
    state: u16,
    /// Never 0, so that a place in the table needs no mark of its own.
    round: NonZeroU16,
}

impl<K> Default for Told<K> {
    fn default() -> Self {
        Self { records: LinearTable::default(), round: NonZeroU16::MIN, shown: 0, now: u32::MAX }
    }
}

impl<K: Copy + Eq + Hash> Told<K> {
    /// A record is there. Whether that is to be told; it counts as told then. `timeout`: for how long its flow may be silent, in
    /// nanoseconds.
    pub fn shows(&mut self, key: &K, record: &Record, timeout: u64) -> bool {
        let Record { last_seen, pool, backend, state } = *record;
        // What the other node has told counts as heard of in the future; who is told that takes it for the present.
        let seconds = u32::try_from(last_seen / SECOND).unwrap_or(u32::MAX).min(self.now);
        let now = Known { pool, last_seen: seconds, backend, state, round: self.round };
        let Some(known) = self.records.get_or_insert(key, now) else {
            self.shown += 1;
            return true;
        };
        self.shown += usize::from(known.round != self.round);
        known.round = self.round;
        let is_same = (known.pool, known.backend, known.state) == (pool, backend, state);
        let moved = u64::from(seconds.saturating_sub(known.last_seen)) * SECOND;
        if is_same && moved <= timeout / REFRESH {
            return false;
        }
        *known = now;
        true
    }

    /// These are shown next, at most [`AHEAD`](super::linear_table::AHEAD): what is known of them is fetched from memory at once.
    pub fn touch(&self, keys: impl Iterator<Item = K>) {
        self.records.touch(keys);
    }

    /// It is so late by the clock of the records, in nanoseconds.
    pub fn set_clock(&mut self, now: u64) {
        self.now = u32::try_from(now / SECOND).unwrap_or(u32::MAX);
    }

    /// A walk over the table begins.
    pub fn begin(&mut self) {
        self.round = self.round.checked_add(1).unwrap_or(NonZeroU16::MIN);
        self.shown = 0;
    }

    /// The walk that was begun has shown all: what it has not shown is gone, and is forgotten here. With the pool that it was of.
    pub fn end(&mut self) -> Vec<(K, u32)> {
        if self.shown == self.records.len() {
            return Vec::new();
        }
        let round = self.round;
        let gone = self.records.extract(|_, known| known.round != round);
        gone.into_iter().map(|(key, known)| (key, known.pool)).collect()
    }

    /// Forgets what was told of pools.
    pub fn forget(&mut self, is_of: impl Fn(u32) -> bool) {
        self.forget_those(|_, known| is_of(known.pool));
    }

    /// Forgets what was told of some keys.
    pub fn forget_keys(&mut self, is_of: impl Fn(&K) -> bool) {
        self.forget_those(|key, _| is_of(key));
    }

    fn forget_those(&mut self, are_these: impl Fn(&K, &Known) -> bool) {
        let forgotten = self.records.extract(are_these);
        self.shown -= forgotten.iter().filter(|(_, known)| known.round == self.round).count();
    }

    /// Records that were told.
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Whether none was.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMEOUT: u64 = 100 * SECOND;

    fn record(backend: u16, state: u16, seconds: u64) -> Record {
        Record { last_seen: seconds * SECOND, pool: 7, backend, state }
    }

    #[test]
    fn a_record_is_told_when_it_is_new_or_says_something_else() {
        let mut told = Told::default();
        for (record, is_told) in [
            (record(1, 1, 50), true),
            (record(1, 1, 50), false),
            (record(1, 2, 50), true),
            (record(2, 2, 50), true),
            (record(2, 2, 75), false),
            (record(2, 2, 76), true),
            (record(2, 2, 77), false),
        ] {
            assert_eq!(told.shows(&1, &record, TIMEOUT), is_told, "{record:?}");
        }
    }

    #[test]
    fn who_is_told_of_a_packet_of_the_future_takes_it_for_the_present_and_is_told_again_by_that() {
        let mut told = Told::default();
        told.set_clock(50 * SECOND);
        assert!(told.shows(&1, &record(1, 1, 76), TIMEOUT), "as the other node has told it, with what it adds");
        told.set_clock(76 * SECOND);
        for (seconds, is_told) in [(75, false), (76, true), (101, false)] {
            assert_eq!(told.shows(&1, &record(1, 1, seconds), TIMEOUT), is_told, "at {seconds} s");
        }
    }

    #[test]
    fn what_a_round_does_not_show_is_gone_once() {
        let mut told = Told::default();
        told.begin();
        (1..=3).for_each(|key| assert!(told.shows(&key, &record(1, 1, 0), TIMEOUT)));
        assert!(told.end().is_empty());
        told.begin();
        told.shows(&2, &record(1, 1, 0), TIMEOUT);
        // Made while the walk went on, and told by another way.
        told.shows(&4, &record(1, 1, 0), TIMEOUT);
        let mut gone = told.end();
        gone.sort_unstable();
        assert_eq!(gone, [(1, 7), (3, 7)]);
        assert_eq!(told.len(), 2);
    }

    #[test]
    fn what_is_forgotten_in_the_middle_of_a_round_hides_nothing_that_is_gone() {
        let mut told = Told::default();
        (1..=4).for_each(|key| assert!(told.shows(&key, &record(1, 1, 0), TIMEOUT)));
        told.begin();
        told.touch(1..=3);
        (1..=3).for_each(|key| assert!(!told.shows(&key, &record(1, 1, 0), TIMEOUT)));
        told.forget_keys(|key| *key == 1);
        assert_eq!(told.end(), [(4, 7)]);
        told.begin();
        // Twice is once.
        (2..=3).chain(2..=3).for_each(|key| assert!(!told.shows(&key, &record(1, 1, 0), TIMEOUT)));
        assert!(told.end().is_empty());
        assert_eq!(told.len(), 2);
    }

    #[test]
    fn what_is_forgotten_is_told_anew() {
        let mut told = Told::default();
        told.shows(&1, &record(1, 1, 0), TIMEOUT);
        told.forget(|pool| pool == 8);
        assert!(!told.shows(&1, &record(1, 1, 0), TIMEOUT));
        told.forget(|pool| pool == 7);
        assert!(told.shows(&1, &record(1, 1, 0), TIMEOUT));
        told.forget_keys(|key| *key == 2);
        assert!(!told.shows(&1, &record(1, 1, 0), TIMEOUT));
        told.forget_keys(|key| *key == 1);
        assert!(told.shows(&1, &record(1, 1, 0), TIMEOUT));
    }
}
