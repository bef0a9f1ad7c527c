//! Flows whose translation is recorded, on the real path over random histories: under `full-nat`, and under `nat` to a server that
//! two services share. A reply of a live flow comes back to the client that asked, from the address that it asked; no two live flows are the
//! same to a server; a sweep removes no flow that was heard of within its timeout, and leaves none that was not.
//!
//! There are far fewer source ports than clients, so that flows are refused, ports are used again, and flows whose record has
//! gone try to come back. `FAIRWAY_FULL=1` runs many more histories. One that fails is told by its seed.

#[expect(dead_code, reason = "shared with another simulation, which needs more of it")]
#[path = "simulation_reload/frames.rs"]
mod frames;
#[expect(dead_code, reason = "shared with other simulations, which need more of it")]
#[path = "simulation/rng.rs"]
mod rng;
#[path = "simulation_translations/world.rs"]
mod world;

use world::{Coverage, Fault};

fn histories() -> u64 {
    if std::env::var_os("FAIRWAY_FULL").is_some() { 20_000 } else { 1_000 }
}

#[test]
fn replies_of_live_flows_come_back_to_who_asked() {
    let mut coverage = Coverage::default();
    for seed in 0..histories() {
        match world::run(seed, Fault::None) {
            Ok(of_history) => coverage.add(of_history),
            Err(violation) => panic!("seed {seed}: {violation}"),
        }
    }
    println!("{coverage:?}");
    let Coverage { begun, refused, replies, late_replies, renamed, used_again, swept, kept_by_reply } = coverage;
    let least = histories();
    assert!([begun, replies, swept].into_iter().all(|count| count > 10 * least), "{coverage:?}");
    assert!([refused, late_replies, used_again, kept_by_reply].into_iter().all(|count| count > least), "{coverage:?}");
    assert!(renamed > least / 4, "{coverage:?}");
}

#[test]
fn sweeping_by_the_clients_packets_alone_is_noticed() {
    is_noticed(Fault::ClientsAlone);
}

#[test]
fn leaving_the_record_of_replies_behind_is_noticed() {
    is_noticed(Fault::LeaveReplies);
}

#[test]
fn sweeping_the_record_of_replies_alone_is_noticed() {
    is_noticed(Fault::RepliesAlone);
}

fn is_noticed(fault: Fault) {
    let noticed = (0..histories()).any(|seed| world::run(seed, fault).is_err());
    assert!(noticed, "{fault:?} broke no promise in {} histories", histories());
}
