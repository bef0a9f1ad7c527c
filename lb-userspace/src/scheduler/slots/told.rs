//! What one node's table has been through, as another is told it: which slots are not settled, who owned them before and since when.
//! The current owners are not told: both nodes compute them.

use std::collections::BTreeMap;
use std::time::Duration;

use lb_common::slot::{NONE, Slot};

use super::{Clock, SlotTable, SlotWrite};

/// What is told of a slot that is not settled.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct History {
    /// Whose the flows without a record are: another than the current owner, or the current owner itself, of whose slot others have records.
    pub previous: u16,
    /// Since when it is so; or when a record for it could last not be made, if that was later. What counts is that every flow which is not
    /// idle has been seen, and recorded, since then: who is told waits as long after a refusal as the teller does.
    pub since: Duration,
}

impl SlotTable {
    /// The slots that are not settled, in order.
    pub fn history(&self) -> impl Iterator<Item = (u32, History)> {
        let mut unsettled =
            self.unsettled.iter().map(|(&slot, clock)| (slot, clock.since.max(clock.refused))).peekable();
        let mut exceptions = self.exceptions.iter().map(|(&slot, &since)| (slot, since)).peekable();
        let next = move || match (unsettled.peek(), exceptions.peek()) {
            (Some((one, _)), Some((other, _))) if one < other => unsettled.next(),
            (Some(_), None) => unsettled.next(),
            _ => exceptions.next(),
        };
        std::iter::from_fn(next).map(|(slot, since)| (slot, History { previous: self.word(slot).previous(), since }))
    }

    /// Takes over the history of a table with the same owners, or nearly: what is `told` of a slot counts instead of what this table has
    /// been through. `settles`: slots of which nothing is told are settled. The changed words.
    pub fn adopt(&mut self, now: Duration, told: &BTreeMap<u32, History>, settles: bool) -> Vec<SlotWrite> {
        let mut changed = Vec::new();
        for (&slot, history) in told {
            let Some(&word) = self.words.get(slot as usize) else { continue };
            changed.extend(self.adopt_slot(now, slot, word, history).then_some(slot));
        }
        if settles {
            let open = self.unsettled.keys().chain(self.exceptions.keys());
            let settled: Vec<u32> = open.filter(|slot| !told.contains_key(slot)).copied().collect();
            for &slot in &settled {
                self.set(slot, Slot::settled(self.word(slot).current()));
            }
            changed.extend(settled);
        }
        changed.into_iter().map(|slot| self.write(slot)).collect()
    }

    /// Whether the word is another one now.
    fn adopt_slot(&mut self, now: Duration, slot: u32, word: Slot, told: &History) -> bool {
        let History { previous, since } = *told;
        if previous == NONE {
            return false;
        }
        let is_same = word == Slot::new(word.current(), previous);
        match (is_same, previous == word.current()) {
            // When a survey may settle it is this table's own matter: from when on the word was stored here.
            (true, true) => {}
            (true, false) => {
                let stored = self.unsettled.get(&slot).map_or(now, |clock| clock.stored);
                self.unsettled.insert(slot, Clock::new(since.min(now), stored));
            }
            (false, true) => self.except(slot, word.current(), now),
            (false, false) => self.unsettle(slot, word.current(), previous, since.min(now), now),
        }
        !is_same
    }
}

#[cfg(test)]
mod tests {
    use super::super::SlotTable;
    use super::super::tests::{Fixed, NO_RECORDS};
    use super::*;

    const IDLE: Duration = Duration::from_secs(900);

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    /// Four slots: settled, unsettled, with exceptions, unsettled and without an owner.
    fn master() -> SlotTable {
        let mut table = SlotTable::new(4);
        table.retarget(at(0), &[1, 1, 1, 1], |_| true);
        table.retarget(at(10), &[1, 1, 2, 1], |_| true);
        table.retarget(at(20), &[1, 2, 1, NONE], |_| true);
        table
    }

    fn newcomer() -> SlotTable {
        let mut table = SlotTable::new(4);
        table.retarget(at(100), &[1, 2, 1, NONE], |_| true);
        assert!(table.is_settled());
        table
    }

    fn told(table: &SlotTable) -> BTreeMap<u32, History> {
        table.history().collect()
    }

    #[test]
    fn only_what_is_not_settled_is_told_and_in_order() {
        let history = |previous, seconds| History { previous, since: at(seconds) };
        let expected = [(1, history(1, 20)), (2, history(1, 20)), (3, history(1, 20))];
        assert_eq!(master().history().collect::<Vec<_>>(), expected);
        assert_eq!(newcomer().history().count(), 0);
    }

    #[test]
    fn a_newcomer_has_the_words_of_the_master_and_its_clocks() {
        let (master, mut table) = (master(), newcomer());
        let writes = table.adopt(at(100), &told(&master), true);
        assert_eq!(writes.len(), 3);
        assert_eq!(table.words(), master.words());
        assert!(table.adopt(at(101), &told(&master), true).is_empty(), "again");
        // One idle timeout after the master's change, not after its own start.
        let (early, _) = table.sweep(at(920), IDLE, &NO_RECORDS);
        assert!(!early.iter().any(|write| write.slot == 1));
        let (due, _) = table.sweep(at(922), IDLE, &NO_RECORDS);
        assert_eq!(
            due,
            [SlotWrite { slot: 1, word: Slot::new(2, 2) }, SlotWrite { slot: 3, word: Slot::settled(NONE) }]
        );
    }

    #[test]
    fn what_is_not_told_is_settled_only_when_all_was_told() {
        let mut table = master();
        let one: BTreeMap<u32, History> = told(&table).into_iter().filter(|(slot, _)| *slot == 1).collect();
        assert!(table.adopt(at(100), &one, false).is_empty());
        assert_eq!((table.unsettled(), table.exceptions()), (2, 1));
        let writes = table.adopt(at(100), &one, true);
        assert_eq!(
            writes,
            [SlotWrite { slot: 3, word: Slot::settled(NONE) }, SlotWrite { slot: 2, word: Slot::settled(1) }]
        );
        assert_eq!((table.unsettled(), table.exceptions()), (1, 0));
    }

    #[test]
    fn what_is_told_of_who_owns_the_slot_here_is_an_exception_and_of_nobody_nothing() {
        let mut table = newcomer();
        let history = |previous| History { previous, since: at(50) };
        let told = [(0, history(1)), (1, history(NONE)), (99, history(1))].into();
        assert_eq!(table.adopt(at(100), &told, true), [SlotWrite { slot: 0, word: Slot::new(1, 1) }]);
        // A survey that began before the word was stored here says nothing.
        let survey = |seconds| Fixed { begun: at(seconds), ..NO_RECORDS };
        assert!(table.sweep(at(5_000), IDLE, &survey(100)).0.is_empty());
        assert_eq!(table.sweep(at(5_000), IDLE, &survey(101)).0.len(), 1);
    }

    #[test]
    fn who_takes_over_waits_after_a_refusal_as_the_teller_would() {
        let (mut master, mut table) = (master(), newcomer());
        let refused = Fixed { refused: Some(at(500)), ..NO_RECORDS };
        master.sweep(at(600), IDLE, &refused);
        table.adopt(at(600), &told(&master), true);
        let is_unsettled = |table: &SlotTable| table.word(1) == Slot::new(2, 1);
        for seconds in [922, 1_401] {
            for (table, records) in [(&mut master, &refused), (&mut table, &NO_RECORDS)] {
                table.sweep(at(seconds), IDLE, records);
                assert!(is_unsettled(table), "at {seconds} s");
            }
        }
        for (table, records) in [(&mut master, &refused), (&mut table, &NO_RECORDS)] {
            table.sweep(at(1_402), IDLE, records);
            assert!(!is_unsettled(table));
        }
    }
}
