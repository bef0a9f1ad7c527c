//! The promise of the two-owner slots, over random histories: while its backend is up, an established flow that is not
//! idle never changes backend.
//!
//! `FAIRWAY_FULL=1` runs many more. A history that fails is told from its seed.

#[path = "simulation/fault.rs"]
mod fault;
#[path = "simulation/packet_side.rs"]
mod packet_side;
#[path = "simulation/rng.rs"]
mod rng;
#[path = "simulation/world.rs"]
mod world;

use std::time::Duration;

use fairway::scheduler::pool::Pool;
use fairway::scheduler::seed::Seed;
use fairway::scheduler::slots::WRITE_MARGIN;
use fault::Fault;
use packet_side::{Kind, Model, PacketSide, SHORT_IDLE};
use world::Coverage;

fn histories() -> u64 {
    if std::env::var_os("FAIRWAY_FULL").is_some() { 30_000 } else { 2_000 }
}

#[test]
fn no_established_flow_changes_backend_in_any_history() {
    let mut all = Coverage::default();
    for seed in 0..histories() {
        match world::run(seed, Fault::None) {
            Ok(coverage) => all.add(coverage),
            Err(violation) => panic!("seed {seed}: {violation}\n{}", last_lines(seed, Fault::None)),
        }
    }
    println!("{all:?}");
    let histories = histories();
    for (what, count) in [
        ("judged packets", all.packets_judged / 100),
        ("judged packets in unsettled slots", all.judged_unsettled / 10),
        ("judged packets in slots with exceptions", all.judged_exceptions / 10),
        ("refusals", all.refusals),
        ("settled slots", all.slots_settled),
        ("reused indices", all.indices_reused),
        ("backends that went down", all.downs),
    ] {
        assert!(count >= histories, "the histories have too few {what} to prove anything: {all:?}");
    }
    assert!(all.slots_forced < all.slots_settled / 100, "too many slots left by force: {all:?}");
}

#[test]
fn settling_too_early_is_noticed() {
    is_noticed(Fault::SettleEarly);
}

#[test]
fn moving_the_previous_owner_on_a_second_change_is_noticed() {
    is_noticed(Fault::MovePrevious);
}

#[test]
fn ignoring_refused_records_is_noticed() {
    is_noticed(Fault::IgnoreRefusals);
}

#[test]
fn settling_over_live_records_is_noticed() {
    is_noticed(Fault::IgnoreRecords);
}

#[test]
fn settling_by_an_old_survey_is_noticed() {
    is_noticed(Fault::TrustOldSurveys);
}

#[test]
fn keeping_the_records_of_a_dead_backend_is_noticed() {
    is_noticed(Fault::KeepRecordsOfTheDead);
}

#[test]
fn reusing_an_index_that_a_record_names_is_noticed() {
    is_noticed(Fault::ReuseIndexEarly);
}

#[test]
fn a_history_follows_from_its_seed() {
    assert_eq!(world::story(7, Fault::SettleEarly), world::story(7, Fault::SettleEarly));
    assert_ne!(world::story(7, Fault::SettleEarly), world::story(8, Fault::SettleEarly));
}

/// The worst hour of a drain: the flow table is full of a flood's SYNs from the first second, and stays so for two idle
/// timeouts.
#[test]
fn a_syn_flood_during_a_drain_moves_no_established_flow() {
    const IDLE: Duration = Duration::from_secs(900);
    let (mut pool, mut side) = (Pool::new(64, 2, Seed::from_text("flood")), Model::new(64, 1000, IDLE));
    pool.set_members(Duration::ZERO, &[("a", 1), ("b", 1)]).unwrap();
    pool.slots().iter().for_each(|write| side.store(write));
    let owners: Vec<_> = (0..1000).map(|flow| side.packet(Duration::ZERO, flow, Kind::Syn)).collect();
    let drain = pool.set_members(Duration::ZERO, &[("a", 0), ("b", 1)]).unwrap();
    drain.writes.into_iter().for_each(|write| side.store(write));

    let flood_ends = IDLE * 2;
    let mut unsettled_at_its_end = 0;
    // The flood's records outlive it, so refusals do too.
    let end = flood_ends + SHORT_IDLE + IDLE + Duration::from_secs(20);
    for second in (0..end.as_secs()).step_by(5) {
        let now = Duration::from_secs(second);
        if now < flood_ends {
            (0..3000).for_each(|n| _ = side.packet(now, 1 << 40 | second << 12 | n, Kind::Syn));
            unsettled_at_its_end = pool.slots().unsettled();
        }
        let due = (0..1000).filter(|flow| flow % 50 == second / 5 % 50);
        for flow in due {
            assert_eq!(side.packet(now, flow, Kind::Data), owners[flow as usize], "flow {flow} at {now:?}");
        }
        side.expire(now);
        let (writes, report) = pool.sweep(now, IDLE, &side.survey(now));
        assert_eq!(report.forced, 0);
        writes.into_iter().for_each(|write| side.store(write));
    }
    assert!(side.was_refused());
    assert_eq!((unsettled_at_its_end, pool.slots().unsettled()), (32, 0));
}

/// One tenth of 5,000 new connections a second, of slots, and of the default flow table.
#[test]
fn under_load_the_slots_of_a_drained_backend_settle_in_one_idle_timeout() {
    const SLOTS: u32 = 1024;
    const IDLE: Duration = Duration::from_secs(900);
    const RECORDS: usize = 1_048_576 / 10;
    let (mut pool, mut side) = (Pool::new(SLOTS, 10, Seed::from_text("load")), Model::new(SLOTS, RECORDS, IDLE));
    let mut members: Vec<(&str, u32)> = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j"].map(|name| (name, 1)).into();
    pool.set_members(Duration::ZERO, &members).unwrap();
    members[4].1 = 0;
    pool.set_members(Duration::ZERO, &members).unwrap();
    pool.slots().iter().for_each(|write| side.store(write));
    assert!(pool.slots().unsettled() >= SLOTS as usize / 10);

    let mut most_records = 0;
    for second in 0..=(IDLE + WRITE_MARGIN).as_secs() + 1 {
        let now = Duration::from_secs(second);
        connections_of(second, |flow| side.packet(now, flow, Kind::Syn));
        connections_of(second.wrapping_sub(1), |flow| side.packet(now, flow, Kind::Data));
        connections_of(second.wrapping_sub(5), |flow| side.packet(now, flow, Kind::Fin));
        side.expire(now);
        most_records = most_records.max(side.records());
        pool.sweep(now, IDLE, &side.survey(now)).0.into_iter().for_each(|write| side.store(write));
    }
    println!("at most {most_records} records");
    assert!(!side.was_refused());
    assert_eq!(pool.slots().unsettled(), 0);
}

/// The 500 flows that are opened in one second.
fn connections_of(second: u64, mut each: impl FnMut(u64) -> Option<u16>) {
    for number in 0..500 {
        each(second.wrapping_mul(500).wrapping_add(number));
    }
}

fn is_noticed(fault: Fault) {
    let noticed = (0..histories()).find(|&seed| world::run(seed, fault).is_err());
    let seed = noticed.unwrap_or_else(|| panic!("{fault:?} broke no promise in {} histories", histories()));
    println!("{fault:?}: seed {seed}\n{}", last_lines(seed, fault));
}

fn last_lines(seed: u64, fault: Fault) -> String {
    let story = world::story(seed, fault);
    story[story.len().saturating_sub(200)..].join("\n")
}
