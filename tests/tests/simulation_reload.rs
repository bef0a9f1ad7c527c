//! The promise of the two-owner slots, judged on the code that runs: the reconciler's plans, the census, and the packet
//! path itself, over random histories of reloads. While its backend is configured or leaving, an established flow that
//! is not idle never changes backend, and under nat its replies come back as the service's.
//!
//! `FAIRWAY_FULL=1` runs many more. A history that fails is told from its seed.

#[path = "simulation_reload/dead_owner.rs"]
mod dead_owner;
#[path = "simulation_reload/desired.rs"]
mod desired;
#[path = "simulation_reload/fault.rs"]
mod fault;
#[path = "simulation_reload/frames.rs"]
mod frames;
#[path = "simulation_reload/in_flight.rs"]
mod in_flight;
#[path = "simulation/rng.rs"]
mod rng;
#[path = "simulation_reload/world.rs"]
mod world;

use fault::Fault;
use world::Coverage;

fn histories() -> u64 {
    if std::env::var_os("FAIRWAY_FULL").is_some() { 40_000 } else { 2_000 }
}

#[test]
fn no_established_flow_changes_backend_in_the_first_half_of_the_histories() {
    judge(0..histories() / 2);
}

#[test]
fn no_established_flow_changes_backend_in_the_second_half_of_the_histories() {
    judge(histories() / 2..histories());
}

#[test]
fn settling_too_early_is_noticed() {
    is_noticed(Fault::SettleEarly);
}

#[test]
fn ignoring_refused_records_is_noticed() {
    is_noticed(Fault::IgnoreRefusals);
}

#[test]
fn overlooking_records_is_noticed() {
    is_noticed(Fault::OverlookRecords);
}

#[test]
fn believing_an_old_census_is_noticed() {
    is_noticed(Fault::TrustOldSurveys);
}

#[test]
fn sharing_a_table_with_who_has_diverged_is_noticed() {
    is_noticed(Fault::SkipCopy);
}

#[test]
fn storing_words_before_what_they_name_is_noticed() {
    is_noticed(Fault::LiveWordsFirst);
}

#[test]
fn not_waiting_for_packets_in_flight_is_noticed() {
    is_noticed(Fault::SkipGrace);
}

#[test]
fn writing_over_rows_in_use_is_noticed() {
    is_noticed(Fault::WriteRowsInUse);
}

#[test]
fn using_rows_of_removed_backends_at_once_is_noticed() {
    is_noticed(Fault::ReuseRowsAtOnce);
}

#[test]
fn forgetting_replies_of_removed_backends_is_noticed() {
    is_noticed(Fault::DropReverseOfLeaving);
}

#[test]
fn a_history_follows_from_its_seed() {
    assert_eq!(world::story(7, Fault::None), world::story(7, Fault::None));
    assert_ne!(world::story(7, Fault::None), world::story(8, Fault::None));
}

/// `FAIRWAY_SEED=7 cargo test … tells -- --ignored --nocapture`
#[test]
#[ignore = "tells the whole history of one seed, for a person to read"]
fn tells_a_history() {
    let seed = std::env::var("FAIRWAY_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(0);
    println!("{}", world::story(seed, Fault::None).join("\n"));
}

fn judge(seeds: std::ops::Range<u64>) {
    let histories = seeds.end - seeds.start;
    let mut all = Coverage::default();
    for seed in seeds {
        match world::run(seed, Fault::None) {
            Ok(coverage) => all.add(coverage),
            Err(violation) => panic!("seed {seed}: {violation}\n{}", last_lines(seed, Fault::None)),
        }
    }
    println!("{histories} histories: {all:#?}");
    for (what, count) in [
        ("judged packets", all.packets_judged / 200),
        ("judged packets in unsettled slots", all.judged_unsettled / 10),
        ("judged packets in slots with exceptions", all.judged_exceptions / 10),
        ("packets in flight", all.judged_in_flight / 10),
        ("judged replies", all.replies_judged / 10),
        ("judged UDP packets", all.udp_judged / 10),
        ("reloads", all.reloads / 10),
        ("tables that were copied", all.diverged * 10),
        ("places of rows that were outgrown", all.grown * 20),
        ("rows that were used again", all.rows_reused),
        ("released backends", all.released),
        ("refusals", all.refusals),
        ("settled slots", all.slots_settled),
    ] {
        assert!(count >= histories, "the histories have too few {what} to prove anything: {all:#?}");
    }
    assert!(all.refused_plans < all.reloads / 20, "too many plans did not fit: {all:#?}");
    assert!(all.slots_forced < all.slots_settled / 50, "too many slots left by force: {all:#?}");
}

fn is_noticed(fault: Fault) {
    let noticed = (0..histories()).find(|&seed| world::run(seed, fault).is_err());
    let seed = noticed.unwrap_or_else(|| panic!("{fault:?} broke no promise in {} histories", histories()));
    println!("{fault:?}: seed {seed}\n{}", last_lines(seed, fault));
}

fn last_lines(seed: u64, fault: Fault) -> String {
    let story = world::story(seed, fault);
    story[story.len().saturating_sub(150)..].join("\n")
}
