//! The rules of the two-owner slots, one by one. `tests/tests/simulation.rs` has them all at once, against flows.

use super::*;

const IDLE: Duration = Duration::from_secs(900);
const WAIT: Duration = Duration::from_secs(901);

/// Records as a test wants them.
pub struct Fixed {
    pub begun: Duration,
    pub refused: Option<Duration>,
    pub record: Option<u16>,
}

impl Records for Fixed {
    fn surveyed_from(&self) -> Duration {
        self.begun
    }

    fn last_refusal(&self, _element: u32) -> Option<Duration> {
        self.refused
    }

    fn differing(&self, _slot: u32, owner: u16) -> bool {
        self.record.is_some_and(|backend| backend != owner)
    }
}

pub const NO_RECORDS: Fixed = Fixed { begun: Duration::MAX, refused: None, record: None };

fn at(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// A table of 16 slots, all of backend `owner` and settled.
fn owned_by(owner: u16) -> SlotTable {
    let mut table = SlotTable::new(16);
    table.retarget(at(0), &[owner; 16], |_| true);
    assert!(table.is_settled());
    table
}

fn give(table: &mut SlotTable, seconds: u64, owner: u16) {
    give_with_dead(table, seconds, owner, NONE);
}

fn give_with_dead(table: &mut SlotTable, seconds: u64, owner: u16, dead: u16) {
    table.retarget(at(seconds), &[owner; 16], |index| index != dead);
}

/// Current and previous owner of all slots, which must be the same.
fn owners(table: &SlotTable) -> (u16, u16) {
    let first = table.words()[0];
    assert!(table.words().iter().all(|&word| word == first));
    (first.current(), first.previous())
}

#[test]
fn the_first_owners_come_without_a_previous_one() {
    assert_eq!(owners(&owned_by(3)), (3, NONE));
}

#[test]
fn a_change_of_owner_makes_a_settled_slot_unsettled() {
    let mut table = owned_by(1);
    let writes = table.retarget(at(5), &[2; 16], |_| true);
    assert_eq!(writes.len(), 16);
    assert_eq!(writes[3], SlotWrite { slot: 3, word: Slot::new(2, 1) });
    assert_eq!((table.unsettled(), table.exceptions()), (16, 0));
}

#[test]
fn slots_that_keep_their_owner_are_not_written() {
    let mut table = owned_by(1);
    let mut owners = [1; 16];
    owners[7] = 2;
    assert_eq!(table.retarget(at(5), &owners, |_| true), [SlotWrite { slot: 7, word: Slot::new(2, 1) }]);
}

#[test]
fn a_second_change_keeps_the_first_previous_owner_and_its_clock() {
    let mut table = owned_by(1);
    give(&mut table, 10, 2);
    give(&mut table, 500, 3);
    assert_eq!(owners(&table), (3, 1));
    table.sweep(at(10) + WAIT, IDLE, &NO_RECORDS);
    assert_eq!(owners(&table), (3, 1));
    table.sweep(at(11) + WAIT, IDLE, &NO_RECORDS);
    assert_eq!(owners(&table), (3, 3));
}

#[test]
fn going_back_to_the_previous_owner_reads_exceptions() {
    let mut table = owned_by(1);
    give(&mut table, 10, 2);
    give(&mut table, 20, 1);
    assert_eq!(owners(&table), (1, 1));
    assert_eq!((table.unsettled(), table.exceptions()), (0, 16));
}

#[test]
fn a_change_in_the_exceptions_state_starts_over_with_a_new_clock() {
    let mut table = owned_by(1);
    give(&mut table, 10, 2);
    give(&mut table, 20, 1);
    give(&mut table, 700, 3);
    assert_eq!(owners(&table), (3, 1));
    table.sweep(at(100) + WAIT, IDLE, &NO_RECORDS);
    assert_eq!(owners(&table), (3, 1));
    table.sweep(at(701) + WAIT, IDLE, &NO_RECORDS);
    assert_eq!(owners(&table), (3, 3));
}

#[test]
fn a_dead_owner_of_a_settled_slot_leaves_it_settled_on_the_new_one() {
    let mut table = owned_by(1);
    give_with_dead(&mut table, 10, 2, 1);
    assert_eq!(owners(&table), (2, NONE));
}

#[test]
fn a_dead_owner_of_a_slot_with_exceptions_leaves_exceptions_on_the_new_one() {
    let mut table = owned_by(1);
    give(&mut table, 10, 2);
    give(&mut table, 20, 1);
    give_with_dead(&mut table, 30, 3, 1);
    assert_eq!(owners(&table), (3, 3));
}

#[test]
fn a_previous_owner_that_dies_turns_its_slots_to_exceptions() {
    let mut table = owned_by(1);
    give(&mut table, 10, 2);
    assert_eq!(table.backend_down(at(30), 3), []);
    assert_eq!(table.backend_down(at(30), 1).len(), 16);
    assert_eq!(owners(&table), (2, 2));
}

#[test]
fn a_current_owner_that_dies_while_unsettled_leaves_the_previous_one_and_its_clock() {
    let mut table = owned_by(1);
    give(&mut table, 10, 2);
    assert_eq!(table.backend_down(at(30), 2), []);
    give_with_dead(&mut table, 800, 3, 2);
    assert_eq!(owners(&table), (3, 1));
    table.sweep(at(11) + WAIT, IDLE, &NO_RECORDS);
    assert_eq!(owners(&table), (3, 3));
}

#[test]
fn a_settled_slot_is_reached_in_two_sweeps_one_idle_timeout_after_the_change() {
    let mut table = owned_by(1);
    give(&mut table, 10, 2);
    assert_eq!(table.sweep(at(10) + WAIT, IDLE, &NO_RECORDS), (vec![], SweepReport::default()));
    assert_eq!(table.sweep(at(11) + WAIT, IDLE, &NO_RECORDS).0.len(), 16);
    let (writes, report) = table.sweep(at(12) + WAIT, IDLE, &NO_RECORDS);
    assert_eq!(writes[0], SlotWrite { slot: 0, word: Slot::settled(2) });
    assert_eq!(report, SweepReport { settled: 16, ..SweepReport::default() });
    assert!(table.is_settled());
}

#[test]
fn a_live_record_of_another_backend_keeps_a_slot_from_settling() {
    let mut table = owned_by(1);
    give(&mut table, 10, 2);
    table.sweep(at(11) + WAIT, IDLE, &NO_RECORDS);
    table.sweep(at(5000), IDLE, &Fixed { record: Some(1), ..NO_RECORDS });
    assert_eq!(owners(&table), (2, 2));
    table.sweep(at(5000), IDLE, &Fixed { record: Some(2), ..NO_RECORDS });
    assert_eq!(owners(&table), (2, NONE));
}

#[test]
fn a_survey_that_began_before_the_slot_changed_does_not_settle_it() {
    let mut table = owned_by(1);
    give(&mut table, 10, 2);
    give(&mut table, 20, 1);
    table.sweep(at(25), IDLE, &Fixed { begun: at(20), ..NO_RECORDS });
    assert_eq!(owners(&table), (1, 1));
    table.sweep(at(25), IDLE, &Fixed { begun: at(21), ..NO_RECORDS });
    assert_eq!(owners(&table), (1, NONE));
}

#[test]
fn a_refused_record_keeps_a_slot_unsettled_for_one_more_idle_timeout() {
    let mut table = owned_by(1);
    give(&mut table, 10, 2);
    let records = Fixed { refused: Some(at(400)), ..NO_RECORDS };
    let (_, report) = table.sweep(at(400) + WAIT, IDLE, &records);
    assert_eq!((owners(&table), report.held_by_refusals), ((2, 1), 16));
    let (_, report) = table.sweep(at(401) + WAIT, IDLE, &records);
    assert_eq!((owners(&table), report.forced), ((2, 2), 0));
}

#[test]
fn after_four_idle_timeouts_of_refusals_a_slot_leaves_anyway_and_is_counted() {
    let mut table = owned_by(1);
    give(&mut table, 10, 2);
    let end = at(10) + WAIT * PATIENCE;
    let (_, report) = table.sweep(end, IDLE, &Fixed { refused: Some(end), ..NO_RECORDS });
    assert_eq!((owners(&table), report.forced), ((2, 1), 0));
    let end = end + at(1);
    let (_, report) = table.sweep(end, IDLE, &Fixed { refused: Some(end), ..NO_RECORDS });
    assert_eq!((owners(&table), report.forced), ((2, 2), 16));
}

#[test]
fn a_slot_without_an_owner_keeps_its_previous_one_until_no_record_is_left() {
    let mut table = owned_by(1);
    give(&mut table, 10, NONE);
    assert_eq!(owners(&table), (NONE, 1));
    assert_eq!(table.backend_down(at(30), 1), [], "records of others are still looked up");
    table.sweep(at(11) + WAIT, IDLE, &Fixed { record: Some(7), ..NO_RECORDS });
    assert_eq!(owners(&table), (NONE, 1));
    table.sweep(at(12) + WAIT, IDLE, &Fixed { begun: at(10) + WAIT, ..NO_RECORDS });
    assert_eq!(owners(&table), (NONE, 1), "a record may have been made since that survey began");
    table.sweep(at(12) + WAIT, IDLE, &NO_RECORDS);
    assert_eq!(owners(&table), (NONE, NONE));
    assert!(table.is_settled());
}

#[test]
fn exceptions_survive_a_time_without_any_owner() {
    let mut table = owned_by(1);
    give(&mut table, 10, 2);
    give(&mut table, 20, 1);
    give_with_dead(&mut table, 30, NONE, 1);
    assert_eq!(owners(&table), (NONE, 1));
    give_with_dead(&mut table, 40, 3, 1);
    assert_eq!(owners(&table), (3, 3));
}

#[test]
fn an_index_is_named_as_long_as_any_half_of_a_word_has_it() {
    let mut table = owned_by(1);
    assert!(!table.names(2) && !table.names(NONE));
    give(&mut table, 10, 2);
    assert_eq!(table.named().collect::<Vec<_>>(), [1, 2]);
    table.sweep(at(11) + WAIT, IDLE, &NO_RECORDS);
    assert_eq!(table.named().collect::<Vec<_>>(), [2]);
}

#[test]
fn a_full_write_has_every_slot_once() {
    let table = owned_by(4);
    let all: Vec<_> = table.iter().collect();
    assert_eq!(all.len(), 16);
    assert!(all.iter().enumerate().all(|(i, write)| write.slot == i as u32 && write.word == Slot::settled(4)));
}
