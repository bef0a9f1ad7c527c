//! Whole clusters of real engines, from seeds: two and three nodes on a network with loss, delay and cuts, whose processes
//! stall, crash and restart, whose clocks jump and whose operators interfere.
//!
//! The nodes' effects are carried out by simulated hosts; a client on the segments believes what it is told by ARP.
//!
//! `FAIRWAY_FULL=1` runs many more histories. One that breaks a promise is told from its seed;
//! `FAIRWAY_SEED=7 cargo test … tells -- --ignored --nocapture` tells it again.

mod chaos;
mod client;
mod draw;
mod effects;
mod episodes;
mod fault;
mod host;
mod judge;
mod moments;
mod network;
mod node;
mod rest;
#[path = "../simulation/rng.rs"]
mod rng;
mod scenario;
mod world;

use fault::Fault;
use world::Coverage;

/// Failovers that a run in CI must have seen.
const FAILOVERS: u64 = 20_000;

fn histories() -> u64 {
    if std::env::var_os("FAIRWAY_FULL").is_some() { 20_000 } else { 700 }
}

#[test]
fn the_promises_hold_in_every_history() {
    let mut all = Coverage::new();
    for seed in 0..histories() {
        match world::run(seed, Fault::None) {
            Ok(coverage) => coverage.into_iter().for_each(|(what, count)| *all.entry(what).or_default() += count),
            Err(broken) => panic!("{}\nseed {seed}: {broken}", last_lines(seed, Fault::None)),
        }
    }
    println!("{all:#?}");
    assert!(all["failovers"] >= FAILOVERS, "too few failovers to prove anything: {all:#?}");
    for what in [
        "masters that heard each other",
        "masters that stalled",
        "masters that were heard and taken over from",
        "best masters",
        "clients that found the master",
        "hand-overs and returns",
        "depositions",
        "crashes",
        "clock jumps",
    ] {
        assert!(all[what] >= histories(), "too few {what} to prove anything: {all:#?}");
    }
    assert!(all["hosts without leftovers"] * 20 >= histories(), "too few long quiets to prove anything: {all:#?}");
}

#[test]
fn keeping_addresses_is_noticed() {
    is_noticed(Fault::KeepAddresses);
}

#[test]
fn announcing_after_mastership_was_lost_is_noticed() {
    is_noticed(Fault::AnnounceLate);
}

#[test]
fn announcing_only_once_is_noticed() {
    is_noticed(Fault::AnnounceOnce);
}

#[test]
fn ignoring_better_masters_is_noticed() {
    is_noticed(Fault::IgnoreBetterMasters);
}

#[test]
fn taking_over_from_a_silent_peer_that_advertises_is_noticed() {
    is_noticed(Fault::SkipPeerWait);
}

#[test]
fn breaking_before_making_is_noticed() {
    is_noticed(Fault::BreakBeforeMake);
}

#[test]
fn a_live_word_that_goes_with_the_addresses_is_noticed() {
    is_noticed(Fault::LiveWordGoesAtOnce);
}

#[test]
fn a_live_word_that_stays_is_noticed() {
    is_noticed(Fault::LiveWordStays);
}

#[test]
fn ignoring_stalls_is_noticed() {
    is_noticed(Fault::IgnoreStalls);
}

#[test]
fn preempting_within_the_hold_is_noticed() {
    is_noticed(Fault::HoldNothing);
}

#[test]
fn not_preempting_is_noticed() {
    is_noticed(Fault::NeverPreempt);
}

#[test]
fn a_master_that_falls_silent_is_noticed() {
    is_noticed(Fault::FallSilent);
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

fn is_noticed(fault: Fault) {
    let noticed = (0..histories()).find_map(|seed| Some((seed, world::run(seed, fault).err()?)));
    let (seed, broken) = noticed.unwrap_or_else(|| panic!("{fault:?} broke no promise in {} histories", histories()));
    println!("{fault:?}: seed {seed}: {broken}");
}

fn last_lines(seed: u64, fault: Fault) -> String {
    let story = world::story(seed, fault);
    story[story.len().saturating_sub(150)..].join("\n")
}
