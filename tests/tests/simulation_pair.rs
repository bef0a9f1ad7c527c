//! Whole pairs over random histories: two nodes with the real packet path, the real controller and the real party of the exchange, and
//! between them a link that delays, stalls, is cut and breaks. Masters hand over, are preempted, die and come back with empty tables,
//! also in the middle of a bulk; operators change backends and weights, on one node earlier than on the other; clients open connections
//! and watch which backend answers. Judged is:
//!
//! - while its backend is up, a connection never changes backend over any number of takeovers, but for those that docs/exchange.md says
//!   may (`shares`, which forgives and counts them);
//! - a client that a service remembers gets the backend that it had from whichever node it comes to (`remembered`);
//! - after healing both nodes have the same records, slots and counts;
//! - no record of an older claim survives what a newer master's bulk did not mention;
//! - who follows settles no slot by itself.
//!
//! `FAIRWAY_FULL=1` runs many more. A history that fails is told from its seed.

#[path = "simulation_pair/backends.rs"]
mod backends;
#[path = "simulation_pair/census.rs"]
mod census;
#[path = "simulation_pair/clients.rs"]
mod clients;
#[path = "simulation_pair/coverage.rs"]
mod coverage;
#[path = "simulation_pair/desired.rs"]
mod desired;
#[path = "simulation_pair/fault.rs"]
mod fault;
#[path = "simulation_reload/frames.rs"]
#[expect(dead_code, reason = "shared with another simulation, which needs more of it")]
mod frames;
#[path = "simulation_pair/judge.rs"]
mod judge;
#[path = "simulation_pair/link.rs"]
mod link;
#[path = "simulation_pair/mastership.rs"]
mod mastership;
#[path = "simulation_pair/moments.rs"]
mod moments;
#[path = "simulation_pair/node.rs"]
mod node;
#[path = "simulation_pair/remembered.rs"]
mod remembered;
#[path = "simulation/rng.rs"]
mod rng;
#[path = "simulation_pair/shares.rs"]
mod shares;
#[path = "simulation_pair/world.rs"]
mod world;

use std::ops::Range;

use coverage::Coverage;
use fault::Fault;
use shares::Forgiven;
use world::World;

/// Of a history that fails the last ones are shown.
const LINES: usize = 120;

fn histories() -> u64 {
    if std::env::var_os("FAIRWAY_FULL").is_some() { 50_000 } else { 10_000 }
}

#[test]
fn connections_stay_and_pairs_agree_in_the_first_half_of_the_histories() {
    judge(0..histories() / 2);
}

#[test]
fn connections_stay_and_pairs_agree_in_the_second_half_of_the_histories() {
    judge(histories() / 2..histories());
}

#[test]
fn settling_slots_before_the_master_says_so_is_noticed() {
    is_noticed(Fault::SettleAlone);
}

#[test]
fn dropping_last_words_is_noticed() {
    is_noticed(Fault::DropLastWords);
}

#[test]
fn not_waiting_for_records_is_noticed() {
    is_noticed(Fault::AwaitNothing);
}

#[test]
fn keeping_what_a_bulk_did_not_mention_is_noticed() {
    is_noticed(Fault::KeepAll);
}

#[test]
fn not_telling_of_slots_is_noticed() {
    is_noticed(Fault::LoseSlots);
}

#[test]
fn losing_records_is_noticed() {
    is_noticed(Fault::LoseRecords);
}

#[test]
fn storing_without_counting_is_noticed() {
    is_noticed(Fault::CountNothing);
}

#[test]
fn losing_clients_is_noticed() {
    is_noticed(Fault::LoseClients);
}

#[test]
fn a_history_follows_from_its_seed() {
    let story = |seed| {
        let mut world = World::new(seed, Fault::None, false);
        world.run().expect("no promise is broken");
        (world.coverage, world.now)
    };
    assert_eq!(story(7), story(7));
    assert_ne!(story(7), story(8));
}

/// `FAIRWAY_SEED=7 cargo test … tells -- --ignored --nocapture`
#[test]
#[ignore = "tells the whole history of one seed, for a person to read"]
fn tells_a_history() {
    println!("{}", tell(seed_to_tell(), Fault::None).join("\n"));
}

fn seed_to_tell() -> u64 {
    std::env::var("FAIRWAY_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(0)
}

/// `FAIRWAY_SEED=400 cargo test … which -- --ignored --nocapture`: of all histories, from that one on.
#[test]
#[ignore = "says of every history that fails what it fails for, for a person to read"]
fn says_which_histories_fail() {
    for seed in seed_to_tell()..histories() {
        if let Err(violation) = World::new(seed, Fault::None, false).run() {
            println!("{seed}: {violation}");
        }
    }
}

fn judge(seeds: Range<u64>) {
    let histories = seeds.end - seeds.start;
    let mut all = Coverage::default();
    for seed in seeds {
        let mut world = World::new(seed, Fault::None, false);
        if let Err(violation) = world.run() {
            let story = tell(seed, Fault::None);
            panic!("seed {seed}: {violation}\n{}", story[story.len().saturating_sub(LINES)..].join("\n"));
        }
        all.add(&world.coverage);
    }
    println!("{histories} histories: {all:#?}");
    for (what, count) in [
        ("judged packets", all.of("judged packets") / 50),
        ("flows", all.of("flows") / 10),
        ("flows that lived on at another node", all.of("flows that lived on at another node") / 5),
        ("clients that came back", all.of("clients that came back")),
        ("clients that came back at another node", all.of("clients that came back at another node") * 10),
        ("takeovers", all.of("takeovers")),
        ("hand-overs", all.of("hand-overs") * 3),
        ("farewells that were lost", all.of("farewells that were lost") * 20),
        ("preemptions", all.of("preemptions") * 2),
        ("moments with two masters", all.of("moments with two masters") * 2),
        ("masters beside masters", all.of("masters beside masters") * 20),
        ("deaths of masters", all.of("deaths of masters") * 3),
        ("deaths of followers", all.of("deaths of followers") * 2),
        ("deaths in the middle of a bulk", all.of("deaths in the middle of a bulk") * 6),
        ("bulks", all.of("bulks")),
        ("cuts", all.of("cuts") * 2),
        ("stalls", all.of("stalls") * 2),
        ("lost messages", all.of("lost messages") * 8),
        ("packets that awaited records", all.of("packets that awaited records") * 5),
        ("reloads", all.of("reloads")),
        ("orders", all.of("orders")),
        ("slots that a follower left alone", all.of("slots that a follower left alone") / 20),
        ("slots with two owners in the end", all.of("slots with two owners in the end") / 5),
        ("records in the end", all.of("records in the end") / 5),
        ("young flows that were lost", all.of(Forgiven::Young.name()) * 40),
    ] {
        assert!(count >= histories, "the histories have too few {what} to prove anything: {all:#?}");
    }
    for (why, most) in [(Forgiven::GivenBack, 500), (Forgiven::PortsAgain, 20), (Forgiven::SpokeAgain, 10)] {
        assert!(all.of(why.name()) <= 2 + histories / most, "too much is forgiven as {why:?}: {all:#?}");
    }
    let forgiven: u64 = Forgiven::ALL.iter().map(|why| all.of(why.name())).sum();
    assert!(forgiven < all.of("judged packets") / 50, "too much is forgiven: {all:#?}");
}

fn is_noticed(fault: Fault) {
    let noticed = (0..histories()).find_map(|seed| {
        let violation = World::new(seed, fault, false).run().err()?;
        Some((seed, violation))
    });
    let (seed, violation) =
        noticed.unwrap_or_else(|| panic!("{fault:?} broke no promise in {} histories", histories()));
    println!("{fault:?}: seed {seed}: {violation}");
}

/// A history in words, up to its end or its violation.
fn tell(seed: u64, fault: Fault) -> Vec<String> {
    let mut world = World::new(seed, fault, true);
    if let Err(violation) = world.run() {
        world.story.push(violation);
    }
    world.story
}
