//! The takeover, rehearsed: the node that is not master says of the master's decisions whether it would make them too.

use std::time::Duration;

use fairway_tests::harness::await_that;

use super::exchange::{CONNECTIONS, Shared, answers, metric};
use super::{FIRST, SECOND};

/// Enough rounds of enough packets that whatever differs is among them.
const ENOUGH: f64 = 300.0;
/// Until a round that has seen a change is out of the window.
const WINDOW: Duration = Duration::from_secs(6);

fn rehearsed(shared: &mut Shared, result: &str) -> f64 {
    metric(&mut shared.pair, SECOND, &format!("fairway_exchange_rehearsed_total{{result=\"{result}\"}}"))
}

fn ratio(shared: &mut Shared) -> f64 {
    metric(&mut shared.pair, SECOND, "fairway_exchange_agreement_ratio")
}

#[test]
fn a_pair_agrees_on_every_decision_of_hashed_services() {
    let mut shared = Shared::start("maglev");
    await_that("many decisions were rehearsed", || rehearsed(&mut shared, "agreed") > ENOUGH);
    let status = shared.pair.node(SECOND).status();
    assert_eq!((rehearsed(&mut shared, "differed"), ratio(&mut shared)), (0.0, 1.0), "{status}");
    // A change of the pool, which makes records and slots with two owners.
    let mut old = shared.open(CONNECTIONS);
    answers(&mut old);
    let output = shared.pair.node(FIRST).command(&["backend", "drain", "web", "b1"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut new = shared.open(CONNECTIONS);
    answers(&mut new);
    std::thread::sleep(WINDOW);
    let before = rehearsed(&mut shared, "differed");
    let agreed = rehearsed(&mut shared, "agreed");
    await_that("many more were", || rehearsed(&mut shared, "agreed") > agreed + ENOUGH);
    let status = shared.pair.node(SECOND).status();
    assert_eq!((rehearsed(&mut shared, "differed"), ratio(&mut shared)), (before, 1.0), "{status}");
    // Who is master is told nothing to rehearse.
    assert_eq!(metric(&mut shared.pair, FIRST, "fairway_exchange_agreement_ratio"), -1.0);
}

#[test]
fn a_pair_agrees_on_every_connection_of_a_stateful_service() {
    let mut shared = Shared::start("weighted-least-connection");
    let mut connections = shared.open(CONNECTIONS);
    answers(&mut connections);
    await_that("many decisions were rehearsed", || rehearsed(&mut shared, "agreed") > 10.0 * CONNECTIONS as f64);
    let status = shared.pair.node(SECOND).status();
    assert_eq!((rehearsed(&mut shared, "differed"), ratio(&mut shared)), (0.0, 1.0), "{status}");
}

#[test]
fn nodes_that_would_send_flows_elsewhere_say_which() {
    let mut shared = Shared::prepare("maglev");
    shared.start_node(FIRST);
    let other = shared.config(SECOND).replace("\n[dataplane]\n", "\n[dataplane]\nhash_seed = \"another\"\n");
    shared.start_node_with(SECOND, &other);
    shared.await_master(FIRST);
    await_that("the ratio falls", || (0.0..0.9).contains(&ratio(&mut shared)));
    assert!(ratio(&mut shared) > 0.05, "a quarter is where it was by chance");
    let status = shared.pair.node(SECOND).status();
    let example = status["exchange"]["rehearsal"]["examples"][0].as_str().unwrap_or_default().to_owned();
    assert!(example.contains(", which goes to ") && example.contains(" direct here"), "{example}");
    let named = || shared.pair.node(SECOND).warnings().contains("a takeover now would move flows: of ");
    await_that("it is an alarm", named);
}
