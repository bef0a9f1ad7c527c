//! Pools over random histories: servers fail and recover, operators drain and disable and weigh, agents ask for less, files
//! change quorum, tiers, sorry server and all the rest. Judged is what packets find, on the path that runs in the kernel:
//!
//! - the table points to permitted backends only, and is never empty while there is one;
//! - the same effective weights, reached in whatever order, give the same table;
//! - while a backend is up to its flows, none of them moves;
//! - when everything falls silent at once, the last verdicts count, and a suspicion alone changes nothing.
//!
//! Who is permitted is worked out anew from what was said (`model`), not asked of the code under test. `FAIRWAY_FULL=1` runs
//! many more. A history that fails is told from its seed.

#[path = "simulation_pools/clients.rs"]
mod clients;
#[path = "simulation_pools/fault.rs"]
mod fault;
#[path = "simulation_reload/frames.rs"]
#[expect(dead_code, reason = "shared with another simulation, which needs more of it")]
mod frames;
#[path = "simulation_pools/judge.rs"]
mod judge;
#[path = "simulation_pools/model.rs"]
mod model;
#[path = "simulation/rng.rs"]
mod rng;
#[path = "simulation_pools/silence.rs"]
mod silence;
#[path = "simulation_pools/world.rs"]
mod world;

use std::collections::BTreeMap;

use fault::Fault;
use world::{Coverage, Hashes, World};

fn histories() -> u64 {
    if std::env::var_os("FAIRWAY_FULL").is_some() { 20_000 } else { 1_000 }
}

#[test]
fn tables_point_to_permitted_backends_and_flows_stay_in_the_first_half_of_the_histories() {
    judge(0..histories() / 2);
}

#[test]
fn tables_point_to_permitted_backends_and_flows_stay_in_the_second_half_of_the_histories() {
    judge(histories() / 2..histories());
}

#[test]
fn a_verdict_that_gets_lost_is_noticed() {
    is_noticed(Fault::LoseVerdicts);
}

#[test]
fn a_cut_cable_that_is_taken_for_dead_backends_is_noticed() {
    is_noticed(Fault::SilenceIsRefusal);
}

#[test]
fn words_that_are_not_stored_are_noticed() {
    is_noticed(Fault::LoseWords);
}

#[test]
fn keeping_the_records_of_the_dead_is_noticed() {
    is_noticed(Fault::KeepRecordsOfTheDead);
}

#[test]
fn keeping_the_rows_of_the_dead_is_noticed() {
    is_noticed(Fault::KeepRowsOfTheDead);
}

#[test]
fn a_history_follows_from_its_seed() {
    let story = |seed| {
        let mut world = World::new(seed, Fault::None, true);
        world.run(&mut BTreeMap::new()).expect("no promise is broken");
        world.story
    };
    assert_eq!(story(7), story(7));
    assert_ne!(story(7), story(8));
}

/// `FAIRWAY_SEED=7 cargo test … tells -- --ignored --nocapture`
#[test]
#[ignore = "tells the whole history of one seed, for a person to read"]
fn tells_a_history() {
    let seed = std::env::var("FAIRWAY_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(0);
    println!("{}", tell(seed, Fault::None, &mut BTreeMap::new()));
}

fn judge(seeds: std::ops::Range<u64>) {
    let histories = seeds.end - seeds.start;
    let mut all = Coverage::default();
    // Of all histories together: tables do not depend on how one came to them.
    let mut hashes = Hashes::new();
    for seed in seeds {
        let before = hashes.clone();
        let mut world = World::new(seed, Fault::None, false);
        if let Err(violation) = world.run(&mut hashes) {
            panic!("seed {seed}: {violation}\n{}", tell(seed, Fault::None, &mut before.clone()));
        }
        all.add(&world.coverage);
    }
    println!("{histories} histories: {all:#?}, {} tables", hashes.len());
    for (what, count) in [
        ("judged packets", all.packets / 50),
        ("judged packets in unsettled slots", all.unsettled),
        ("looks at tables", all.looks / 100),
        ("tables found again", all.found_again / 50),
        ("tables that distrust", all.distrusts),
        ("tables of the sorry server", all.sorry),
        ("tables with a backup tier", all.backup_tiers),
        ("lost quorums", all.lost),
        ("ramps", all.ramps),
        ("drains that ended", all.ended_drains),
        ("reset flows", all.reset_flows),
        ("orders", all.orders / 5),
        ("reloads", all.reloads / 5),
        ("verdicts", all.verdicts / 20),
        ("shared tables", all.shared),
        ("looks while verdicts were held", all.held),
        ("suspicions", all.suspects),
    ] {
        assert!(count >= histories, "the histories have too few {what} to prove anything: {all:#?}");
    }
}

fn is_noticed(fault: Fault) {
    let noticed = (0..histories()).find_map(|seed| {
        let mut hashes = Hashes::new();
        let violation = World::new(seed, fault, false).run(&mut hashes).err()?;
        Some((seed, violation))
    });
    let (seed, violation) =
        noticed.unwrap_or_else(|| panic!("{fault:?} broke no promise in {} histories", histories()));
    println!("{fault:?}: seed {seed}: {violation}");
}

/// The last lines of a history, up to its end or its violation.
fn tell(seed: u64, fault: Fault, hashes: &mut Hashes) -> String {
    let mut world = World::new(seed, fault, true);
    if let Err(violation) = world.run(hashes) {
        world.story.push(violation);
    }
    world.story[world.story.len().saturating_sub(120)..].join("\n")
}
