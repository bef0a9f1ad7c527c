//! The exchange between two nodes over random histories: messages are lost, overtake each other and come twice, connections are cut
//! on one side or both, nodes restart in the middle of a bulk, both change, both are master for a while. After healing what the follower
//! has is what the master has, and nothing else.
//!
//! `FAIRWAY_FULL=1` runs many more. A history that fails is told from its seed.

#[path = "simulation_exchange/fault.rs"]
mod fault;
#[path = "simulation/rng.rs"]
mod rng;
#[path = "simulation_exchange/world.rs"]
mod world;

use fault::Fault;
use world::Coverage;

fn histories() -> u64 {
    if std::env::var_os("FAIRWAY_FULL").is_some() { 200_000 } else { 10_000 }
}

#[test]
fn after_healing_both_nodes_have_the_same_items_in_every_history() {
    let mut all = Coverage::default();
    for seed in 0..histories() {
        match world::run(seed, Fault::None) {
            Ok(coverage) => all.add(&coverage),
            Err(violation) => panic!("seed {seed}: {violation}"),
        }
    }
    println!("{all:?}");
    let histories = histories();
    for (what, count) in [
        ("items taken", all.taken / 10),
        ("bulks", all.bulks / 2),
        ("lost messages", all.lost),
        ("repeated messages", all.repeated * 4),
        ("sessions that ended over a gap", all.gaps * 4),
        ("refused claims and items", all.refused * 2),
        ("overflows", all.overflows * 20),
        ("restarts", all.restarts * 2),
        ("restarts in the middle of a bulk", all.restarts_in_bulk * 20),
        ("moments with two masters", all.two_masters * 2),
        ("items that were dropped after a bulk", all.dropped),
        ("last words", all.late * 50),
    ] {
        assert!(count >= histories, "the histories have too few {what} to prove anything: {all:?}");
    }
}

#[test]
fn keeping_what_a_bulk_did_not_mention_is_noticed() {
    is_noticed(Fault::KeepAll);
}

#[test]
fn losing_an_item_without_a_gap_is_noticed() {
    is_noticed(Fault::LoseItem);
}

#[test]
fn ignoring_that_something_is_gone_is_noticed() {
    is_noticed(Fault::IgnoreGone);
}

#[test]
fn taking_an_old_masters_claim_for_a_new_one_is_noticed() {
    is_noticed(Fault::RaiseEpochs);
}

#[test]
fn gathering_before_the_last_change_is_noticed() {
    is_noticed(Fault::GatherEarly);
}

#[test]
fn a_history_follows_from_its_seed() {
    let run = |seed| format!("{:?}", world::run(seed, Fault::None));
    assert_eq!(run(7), run(7));
    assert_ne!(run(7), run(8));
}

fn is_noticed(fault: Fault) {
    let noticed = (0..histories()).find(|&seed| world::run(seed, fault).is_err());
    let seed = noticed.unwrap_or_else(|| panic!("{fault:?} broke no promise in {} histories", histories()));
    println!("{fault:?}: seed {seed}: {}", world::run(seed, fault).expect_err("it was seen"));
}
