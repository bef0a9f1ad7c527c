//! What a pool promises about its members and their indices.

use super::*;

struct NoRecords;

impl Records for NoRecords {
    fn surveyed_from(&self) -> Duration {
        Duration::MAX
    }

    fn last_refusal(&self, _element: u32) -> Option<Duration> {
        None
    }

    fn differing(&self, _slot: u32, _owner: u16) -> bool {
        false
    }
}

const IDLE: Duration = Duration::from_secs(60);
const START: Duration = Duration::ZERO;
const LATER: Duration = Duration::from_secs(1000);

fn pool(members: &[(&str, u32)]) -> Pool {
    let mut pool = Pool::new(64, 4, Seed::from_text("fairway"));
    pool.set_members(START, members).unwrap();
    pool
}

fn index(pool: &Pool, identity: &str) -> u16 {
    pool.member(identity).unwrap().index
}

/// Releases what may be, by a survey of now that finds no record.
fn release(pool: &mut Pool) -> Vec<(String, u16)> {
    // By the first it is noticed that no slot names it any more.
    [LATER * 3, LATER * 4].map(|now| pool.release(now, now, |_| false)).concat()
}

/// Lets all slots settle, from `now` on.
fn settle(pool: &mut Pool, now: Duration) {
    pool.sweep(now + IDLE * 2, IDLE, &NoRecords);
    pool.sweep(now + IDLE * 2, IDLE, &NoRecords);
    assert!(pool.slots().is_settled());
}

#[test]
fn indices_follow_identities_and_not_the_order_in_the_file() {
    let (one, other) = (pool(&[("a", 1), ("b", 1), ("c", 2)]), pool(&[("c", 2), ("a", 1), ("b", 1)]));
    assert_eq!(one.members().map(|(_, member)| member.index).collect::<Vec<_>>(), [0, 1, 2]);
    assert_eq!(one.fingerprint(), other.fingerprint());
    assert_eq!(one.slots().words(), other.slots().words());
}

#[test]
fn tables_of_different_history_have_equal_hashes_when_their_owners_agree() {
    let fresh = pool(&[("b", 1), ("c", 1)]);
    let mut grown = pool(&[("a", 1), ("b", 1)]);
    grown.set_members(START, &[("b", 1), ("c", 1)]).unwrap();
    assert_ne!(index(&fresh, "c"), index(&grown, "c"));
    assert_eq!(fresh.lookup_table_hash(), grown.lookup_table_hash());
    assert_ne!(fresh.fingerprint(), grown.fingerprint());
}

#[test]
fn a_removed_backend_stays_until_neither_slot_nor_record_names_it() {
    let mut pool = pool(&[("a", 1), ("b", 1)]);
    let a = index(&pool, "a");
    pool.set_members(START, &[("b", 1)]).unwrap();
    assert!(pool.member("a").unwrap().leaving);
    assert_eq!(release(&mut pool), []);
    settle(&mut pool, START);
    assert_eq!(pool.release(LATER, LATER, |_| false), [], "nobody has looked since the slots let go of it");
    assert_eq!(pool.release(LATER * 2, LATER * 2, |index| index == a), []);
    assert_eq!(release(&mut pool), [("a".to_owned(), a)]);
    assert_eq!(pool.identity(a), None);
}

#[test]
fn a_survey_that_began_before_the_slots_let_go_of_a_backend_does_not_release_it() {
    let mut pool = pool(&[("a", 1), ("b", 1)]);
    pool.set_members(START, &[("b", 1)]).unwrap();
    settle(&mut pool, START);
    let unnamed = LATER;
    assert_eq!(pool.release(unnamed, unnamed - IDLE, |_| false), []);
    assert_eq!(pool.release(unnamed * 2, unnamed, |_| false), []);
    assert_eq!(pool.release(unnamed * 2, unnamed + WRITE_MARGIN, |_| false).len(), 1);
}

#[test]
fn a_backend_that_came_back_and_leaves_again_waits_again() {
    let mut pool = pool(&[("a", 0), ("b", 1)]);
    pool.set_members(START, &[("b", 1)]).unwrap();
    assert_eq!(pool.release(START, START, |_| false), []);
    pool.set_members(START, &[("a", 0), ("b", 1)]).unwrap();
    pool.set_members(LATER, &[("b", 1)]).unwrap();
    assert_eq!(pool.release(LATER, LATER, |_| false), []);
    assert_eq!(release(&mut pool).len(), 1);
}

#[test]
fn a_backend_that_comes_back_while_leaving_finds_its_index() {
    let mut pool = pool(&[("a", 1), ("b", 1)]);
    let a = index(&pool, "a");
    pool.set_members(START, &[("b", 1)]).unwrap();
    let change = pool.set_members(START, &[("b", 1), ("0", 1), ("a", 1)]).unwrap();
    assert_eq!(index(&pool, "a"), a);
    assert_eq!(change.added, [2], "the index of a is not free for another");
}

#[test]
fn a_released_index_is_given_out_again() {
    let mut pool = pool(&[("a", 1), ("b", 1)]);
    pool.set_members(START, &[("b", 1)]).unwrap();
    settle(&mut pool, START);
    release(&mut pool);
    assert_eq!(pool.set_members(START, &[("b", 1), ("z", 1)]).unwrap().added, [0]);
}

#[test]
fn too_many_backends_are_refused_and_nothing_changes() {
    let mut pool = pool(&[("a", 1), ("b", 1), ("c", 1)]);
    let before = pool.fingerprint();
    let full = pool.set_members(START, &[("c", 1), ("d", 1), ("e", 1)]).unwrap_err();
    assert_eq!(full, PoolFull { needed: 5, leaving: 2, capacity: 4 });
    assert_eq!(pool.fingerprint(), before);
}

#[test]
fn a_drain_keeps_the_backend_as_previous_owner() {
    let mut pool = pool(&[("a", 1), ("b", 1)]);
    let (a, b) = (index(&pool, "a"), index(&pool, "b"));
    let change = pool.set_members(START, &[("a", 0), ("b", 1)]).unwrap();
    assert_eq!(change.writes.len(), 32);
    assert!(change.writes.iter().all(|write| (write.word.current(), write.word.previous()) == (b, a)));
}

#[test]
fn a_backend_that_goes_down_loses_its_slots_at_once_and_its_records_are_to_be_deleted() {
    let mut pool = pool(&[("a", 1), ("b", 1)]);
    let change = pool.set_up(START, "a", false);
    assert_eq!(change.forget, [index(&pool, "a")]);
    assert_eq!(change.writes.len(), 32);
    assert!(pool.slots().is_settled());
    assert_eq!(pool.set_up(START, "a", false), PoolChange::default());
}

#[test]
fn a_previous_owner_that_goes_down_is_forgotten_by_all_slots() {
    let mut pool = pool(&[("a", 1), ("b", 1), ("c", 1)]);
    pool.set_members(START, &[("a", 0), ("b", 1), ("c", 1)]).unwrap();
    let change = pool.set_up(START, "a", false);
    assert!(!change.writes.is_empty());
    assert!(!pool.slots().names(index(&pool, "a")));
}

#[test]
fn with_no_backend_left_new_flows_have_no_owner_and_old_ones_theirs() {
    let mut pool = pool(&[("a", 1)]);
    pool.set_members(START, &[]).unwrap();
    assert!(pool.slots().words().iter().all(|word| word.current() == lb_common::slot::NONE && word.previous() == 0));
}

#[test]
fn the_same_members_again_change_nothing() {
    let mut pool = pool(&[("a", 1), ("b", 1)]);
    assert_eq!(pool.set_members(START, &[("b", 1), ("a", 1)]).unwrap(), PoolChange::default());
}

#[test]
fn a_backend_that_dies_while_another_comes_gives_its_slots_to_no_third_in_between() {
    let mut pool = pool(&[("a", 1), ("b", 1), ("c", 0)]);
    let (a, c) = (index(&pool, "a"), index(&pool, "c"));
    let change = pool.set_standings(START, &[("a", 1, false), ("b", 1, true), ("c", 1, true)]).unwrap();
    assert_eq!(change.forget, [a]);
    let mut once: Vec<u32> = change.writes.iter().map(|write| write.slot).collect();
    once.sort_unstable();
    once.dedup();
    assert_eq!(once.len(), change.writes.len(), "a slot was written twice");
    assert!(!pool.slots().names(a) && pool.slots().names(c));
    assert_eq!(pool.lookup_table_hash(), self::pool(&[("b", 1), ("c", 1)]).lookup_table_hash());
}

#[test]
fn a_backend_that_comes_back_owns_what_it_owned() {
    let mut pool = pool(&[("a", 1), ("b", 1)]);
    let before = pool.lookup_table_hash();
    pool.set_standings(START, &[("a", 1, false), ("b", 1, true)]).unwrap();
    let back = pool.set_standings(LATER, &[("a", 1, true), ("b", 1, true)]).unwrap();
    assert_eq!((back.forget, pool.lookup_table_hash()), (vec![], before));
}

#[test]
fn a_common_factor_of_all_weights_changes_no_slot() {
    let (one, other) = (pool(&[("a", 1), ("b", 3), ("c", 7)]), pool(&[("a", 100), ("b", 300), ("c", 700)]));
    assert_eq!(one.lookup_table_hash(), other.lookup_table_hash());
}
