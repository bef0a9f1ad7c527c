//! The two-owner slots of one lookup table: how a slot changes hands without moving a flow.
//!
//! Most flows have no record, so when a slot gets a new owner nothing tells an old flow from a new one, except a
//! TCP SYN. For a while, therefore, a slot has two owners, in one word that one atomic store changes ([`Slot`]):
//!
//! | state      | previous owner   | recorded flow | TCP SYN              | any other packet      |
//! |------------|------------------|---------------|----------------------|-----------------------|
//! | settled    | none             | → current     | → current            | → current             |
//! | unsettled  | another backend  | → its record  | → current, recorded  | → previous, recorded  |
//! | exceptions | same as current  | → its record  | → current            | → current             |
//!
//! The rules, and what each is for:
//!
//! 1. *A change of owner makes a settled slot unsettled.* The old owner's flows have no record yet; they get one with
//!    their next packet.
//! 2. *A further change while unsettled keeps the first previous owner and its clock.* Flows that have no record are
//!    still those of the first owner; whatever was opened since is recorded. When the new owner *is* that previous one,
//!    the word reads "exceptions", which is right: unrecorded flows are its own, recorded ones have their records.
//! 3. *A change in the exceptions state starts over with the current owner as the previous one*: its flows are the
//!    unrecorded ones; those of earlier owners all have records.
//! 4. *A previous owner that is down owns nothing worth keeping.* A settled slot goes to its new owner at once, an
//!    unsettled or exceptions slot to "exceptions" on the new one, because records of third backends may exist.
//! 5. *Unsettled → exceptions one idle timeout after the change*: an old flow that is not idle has been seen, and
//!    recorded, by then. *And one idle timeout after the last record that could not be made* (in the slot's element of
//!    16: the kernel keeps one time an element), because the refused flow is still known only by not having a record. A
//!    small table under ordinary load would never be free of refusals; so after [`PATIENCE`] idle timeouts the slot
//!    leaves anyway, and [`SweepReport::forced`] says so.
//! 6. *Exceptions → settled when no live record differs from the current owner*, by a survey of the records that began
//!    after the slot's word was stored: surveying a million records takes a while, and until the store records were
//!    still being made.
//!
//! A slot that has *no* current owner (no backend has a weight) cannot be written as "exceptions", for that would be
//! [`NONE`] twice, which reads "settled", and recorded flows of draining backends would be lost. It keeps a previous
//! owner instead, alive or not, until no live record is left in it.
//!
//! **What the caller owes.** When a backend goes down hard, the records that name it are deleted before it is up again
//! (a slot that went straight to another owner would otherwise, at the next change, resurrect them for flows that have
//! since been opened elsewhere). An index is given to another backend only when neither [`SlotTable::named`] nor a
//! record names it. Changes are written to the map in the order in which they are returned.
//!
//! Only the words live in the maps. The clocks here are the master's and die with the process; a peer is told them ([`told`]).

pub mod told;

use std::collections::BTreeMap;
use std::time::Duration;

use lb_common::limits::SLOTS_PER_ELEMENT;
use lb_common::slot::{NONE, Slot, SlotState};

/// After how many idle timeouts a slot leaves "unsettled" although records are still refused.
pub const PATIENCE: u32 = 4;

/// Added to the idle timeout: between the decision `now` and the store to the map, packets still find the old word and
/// leave no record; and the kernel's coarse clock lags by a tick.
pub const WRITE_MARGIN: Duration = Duration::from_secs(1);

/// One store to the slots map.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SlotWrite {
    /// Which slot of the table.
    pub slot: u32,
    /// Its new word.
    pub word: Slot,
}

/// What a sweep did besides the words it changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct SweepReport {
    /// Slots that left "unsettled" although records were still refused: their unrecorded flows may have moved. An
    /// alarm.
    pub forced: u32,
    /// Slots kept unsettled beyond one idle timeout by refusals.
    pub held_by_refusals: u32,
    /// Slots that became settled.
    pub settled: u32,
}

/// What a sweep asks of the flow tables.
pub trait Records {
    /// When the survey began that [`Records::differing`] answers from.
    fn surveyed_from(&self) -> Duration;
    /// When a record for a slot of this element of [`SLOTS_PER_ELEMENT`] slots could last not be made; `None`: never.
    /// Best read from the map when asked: a refusal between this answer and the store of the word goes unnoticed.
    fn last_refusal(&self, element: u32) -> Option<Duration>;
    /// Whether a live record of this slot names a backend other than `owner` ([`NONE`]: any live record at all). A
    /// record that has idled out, or that names a backend which is down, is not live.
    fn differing(&self, slot: u32, owner: u16) -> bool;
}

/// The times of an unsettled slot.
#[derive(Clone, Copy, Debug)]
struct Clock {
    /// When it became unsettled: rule 5 counts from here.
    since: Duration,
    /// When its word last changed: a survey that began earlier says nothing about it.
    stored: Duration,
    /// When a record for it could last not be made, as the last sweep saw it; zero: never.
    refused: Duration,
}

/// All slots of one table with their clocks. Costs of a sweep grow with the slots that are not settled, not with the
/// table.
#[derive(Clone, Debug)]
pub struct SlotTable {
    words: Vec<Slot>,
    unsettled: BTreeMap<u32, Clock>,
    /// Slots with exceptions, and since when.
    exceptions: BTreeMap<u32, Duration>,
    /// How many halves of words name each index.
    names: Vec<u32>,
}

impl SlotTable {
    /// A table of `size` slots without owners.
    pub fn new(size: u32) -> Self {
        Self {
            words: vec![Slot::settled(NONE); size as usize],
            unsettled: BTreeMap::new(),
            exceptions: BTreeMap::new(),
            names: Vec::new(),
        }
    }

    /// Gives the slots to `owners`, one for each slot, moving no flow of a backend that `is_up`. Returns the changed
    /// words.
    ///
    /// A backend that drains is up; only one that is dead to its flows is not.
    pub fn retarget(&mut self, now: Duration, owners: &[u16], is_up: impl Fn(u16) -> bool) -> Vec<SlotWrite> {
        assert_eq!(owners.len(), self.words.len(), "one owner for each slot");
        let mut writes = Vec::new();
        for (slot, &owner) in owners.iter().enumerate() {
            if self.words[slot].current() != owner {
                self.change_owner(slot as u32, now, owner, &is_up);
                writes.push(self.write(slot as u32));
            }
        }
        writes
    }

    /// Starts every clock anew, for a copy of a table whose refusals and surveys were another's until now.
    pub fn restart_clocks(&mut self, now: Duration) {
        self.unsettled.values_mut().for_each(|clock| *clock = Clock::new(now, now));
        self.exceptions.values_mut().for_each(|since| *since = now);
    }

    /// A backend died: what it owned as *previous* owner is given up. What it owns as current owner changes with the
    /// next [`SlotTable::retarget`].
    pub fn backend_down(&mut self, now: Duration, index: u16) -> Vec<SlotWrite> {
        let given_up: Vec<u32> = self
            .unsettled
            .keys()
            .copied()
            .filter(|&slot| self.word(slot).previous() == index && self.word(slot).current() != NONE)
            .collect();
        given_up
            .into_iter()
            .map(|slot| {
                self.except(slot, self.word(slot).current(), now);
                self.write(slot)
            })
            .collect()
    }

    /// Moves slots on whose time has come (rules 5 and 6). Returns the changed words.
    pub fn sweep(
        &mut self,
        now: Duration,
        idle_timeout: Duration,
        records: &impl Records,
    ) -> (Vec<SlotWrite>, SweepReport) {
        for (&slot, clock) in &mut self.unsettled {
            clock.refused = last_refusal(records, slot).unwrap_or(clock.refused);
        }
        let mut report = SweepReport::default();
        let mut writes = self.leave_exceptions(records, &mut report);
        writes.extend(self.leave_unsettled(now, idle_timeout + WRITE_MARGIN, records, &mut report));
        (writes, report)
    }

    /// The indices that any word names, in order.
    pub fn named(&self) -> impl Iterator<Item = u16> {
        self.names.iter().enumerate().filter(|(_, count)| **count > 0).map(|(index, _)| index as u16)
    }

    /// Whether any word names this index.
    pub fn names(&self, index: u16) -> bool {
        self.names.get(usize::from(index)).is_some_and(|&count| count > 0)
    }

    /// All slots with their words: what a full write of the table stores.
    pub fn iter(&self) -> impl Iterator<Item = SlotWrite> {
        self.words.iter().enumerate().map(|(slot, &word)| SlotWrite { slot: slot as u32, word })
    }

    /// All words in order.
    pub fn words(&self) -> &[Slot] {
        &self.words
    }

    /// Slots that have two owners.
    pub fn unsettled(&self) -> usize {
        self.unsettled.len()
    }

    /// Slots whose recorded flows may belong to others.
    pub fn exceptions(&self) -> usize {
        self.exceptions.len()
    }

    /// Whether the packet path needs no records for this table.
    pub fn is_settled(&self) -> bool {
        self.unsettled.is_empty() && self.exceptions.is_empty()
    }

    /// Rules 1 to 4, for one slot whose owner changes.
    fn change_owner(&mut self, slot: u32, now: Duration, owner: u16, is_up: impl Fn(u16) -> bool) {
        let old = self.word(slot);
        match old.state() {
            SlotState::Settled if is_live(old.current(), &is_up) => self.unsettle(slot, owner, old.current(), now, now),
            SlotState::Settled => self.set(slot, Slot::settled(owner)),
            SlotState::Exceptions if is_live(old.current(), &is_up) || owner == NONE => {
                self.unsettle(slot, owner, old.current(), now, now);
            }
            SlotState::Unsettled if owner == old.previous() => self.except(slot, owner, now),
            SlotState::Unsettled if is_live(old.previous(), &is_up) || owner == NONE => {
                self.unsettle(slot, owner, old.previous(), self.unsettled[&slot].since, now);
            }
            SlotState::Exceptions | SlotState::Unsettled => self.except(slot, owner, now),
        }
    }

    /// Rule 6: the slots whose flows all belong to the current owner.
    fn leave_exceptions(&mut self, records: &impl Records, report: &mut SweepReport) -> Vec<SlotWrite> {
        let surveyed = |since: Duration| since + WRITE_MARGIN <= records.surveyed_from();
        let settling: Vec<u32> = self
            .exceptions
            .iter()
            .filter(|&(&slot, &since)| surveyed(since) && !records.differing(slot, self.word(slot).current()))
            .map(|(&slot, _)| slot)
            .collect();
        settling.into_iter().map(|slot| self.settle(slot, report)).collect()
    }

    /// Rule 5: the unsettled slots that have waited long enough.
    fn leave_unsettled(
        &mut self,
        now: Duration,
        wait: Duration,
        records: &impl Records,
        report: &mut SweepReport,
    ) -> Vec<SlotWrite> {
        let waited: Vec<(u32, Clock)> = self
            .unsettled
            .iter()
            .map(|(&slot, &clock)| (slot, clock))
            .filter(|(_, clock)| now > clock.since + wait)
            .collect();
        let mut writes = Vec::new();
        for (slot, clock) in waited {
            let owner = self.word(slot).current();
            let refused = last_refusal(records, slot).is_some_and(|last| now <= last + wait);
            if refused && now <= clock.since + wait * PATIENCE {
                report.held_by_refusals += 1;
            } else if owner != NONE {
                report.forced += u32::from(refused);
                self.except(slot, owner, now);
                writes.push(self.write(slot));
            } else if records.surveyed_from() > clock.settles_ownerless(wait) && !records.differing(slot, NONE) {
                report.forced += u32::from(refused);
                writes.push(self.settle(slot, report));
            }
        }
        writes
    }

    fn write(&self, slot: u32) -> SlotWrite {
        SlotWrite { slot, word: self.word(slot) }
    }

    fn settle(&mut self, slot: u32, report: &mut SweepReport) -> SlotWrite {
        report.settled += 1;
        self.set(slot, Slot::settled(self.word(slot).current()));
        self.write(slot)
    }

    fn unsettle(&mut self, slot: u32, current: u16, previous: u16, since: Duration, now: Duration) {
        self.set(slot, Slot::new(current, previous));
        self.unsettled.insert(slot, Clock::new(since, now));
    }

    fn except(&mut self, slot: u32, owner: u16, now: Duration) {
        self.set(slot, Slot::new(owner, owner));
        self.exceptions.insert(slot, now);
    }

    /// The only place that changes a word, and with it everything that is counted about words; the clock is the
    /// caller's to set.
    fn set(&mut self, slot: u32, word: Slot) {
        let old = std::mem::replace(&mut self.words[slot as usize], word);
        for owner in [word.current(), word.previous()] {
            self.name(owner, 1);
        }
        for owner in [old.current(), old.previous()] {
            self.name(owner, -1);
        }
        self.unsettled.remove(&slot);
        self.exceptions.remove(&slot);
    }

    fn name(&mut self, owner: u16, by: i32) {
        if owner == NONE {
            return;
        }
        let at = usize::from(owner);
        if self.names.len() <= at {
            self.names.resize(at + 1, 0);
        }
        self.names[at] =
            self.names[at].checked_add_signed(by).expect("a word that is replaced was counted when it was set");
    }

    fn word(&self, slot: u32) -> Slot {
        self.words[slot as usize]
    }
}

impl Clock {
    fn new(since: Duration, stored: Duration) -> Self {
        Self { since, stored, refused: Duration::ZERO }
    }

    /// When a survey must have begun to settle a slot without owner: records were made until its word was stored, and
    /// old flows may be recorded until the wait is over.
    fn settles_ownerless(&self, wait: Duration) -> Duration {
        (self.since + wait).max(self.stored + WRITE_MARGIN)
    }
}

/// When a record for a slot could last not be made.
fn last_refusal(records: &impl Records, slot: u32) -> Option<Duration> {
    records.last_refusal(slot / SLOTS_PER_ELEMENT as u32)
}

/// Whether this owner has flows to keep.
fn is_live(owner: u16, is_up: impl Fn(u16) -> bool) -> bool {
    owner != NONE && is_up(owner)
}

#[cfg(test)]
#[path = "slots_tests.rs"]
mod tests;
