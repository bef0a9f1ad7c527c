//! A node that joins: what it has from the other, which only the other could know.

use fairway_tests::harness::await_that;

use super::exchange::{CONNECTIONS, Shared, answers, metric};
use super::{FIRST, SECOND};

#[test]
fn flows_without_a_record_live_on_on_a_node_that_joined_in_the_middle_of_a_change_of_the_pool() {
    let mut shared = Shared::prepare("maglev");
    shared.start_node(FIRST);
    shared.await_master(FIRST);
    let mut old = shared.open(4 * CONNECTIONS);
    let before = answers(&mut old);
    assert!(before.contains(&"b1".to_owned()), "{before:?}");
    // From now on they are silent, so they have no record; only that their slots have two owners tells where they belong.
    let output = shared.pair.node(FIRST).command(&["backend", "drain", "web", "b1"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let unsettled = "fairway_unsettled_slots{service=\"web\"}";
    await_that("slots have two owners", || metric(&mut shared.pair, FIRST, unsettled) > 0.0);
    assert_eq!(metric(&mut shared.pair, FIRST, "fairway_exchange_told_records"), 0.0);

    shared.start_node(SECOND);
    shared.await_sync(FIRST);
    await_that("they have two owners there too", || {
        metric(&mut shared.pair, SECOND, unsettled) == metric(&mut shared.pair, FIRST, unsettled)
    });
    let agreed = "fairway_exchange_rehearsed_total{result=\"agreed\"}";
    let seen = metric(&mut shared.pair, SECOND, agreed);
    await_that("decisions agree", || {
        metric(&mut shared.pair, SECOND, agreed) > seen + 300.0
            && metric(&mut shared.pair, SECOND, "fairway_exchange_agreement_ratio") == 1.0
    });
    shared.kill(FIRST);
    shared.await_master(SECOND);
    assert_eq!(answers(&mut old), before);
}

/// What operators want of backends of a node, in words.
fn overrides(shared: &mut Shared, node: usize) -> Vec<String> {
    let status = shared.pair.node(node).status();
    let all = status["overrides"].as_array().cloned().unwrap_or_default();
    all.iter()
        .map(|it| format!("{} {}", it["backend"].as_str().unwrap_or("?"), it["what"].as_str().unwrap_or("?")))
        .collect()
}

fn order(shared: &mut Shared, node: usize, arguments: &[&str]) {
    let output = shared.pair.node(node).command(arguments);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn what_an_operator_said_to_the_master_holds_when_it_dies_and_what_was_said_meanwhile_when_it_returns() {
    let mut shared = Shared::start("maglev");
    order(&mut shared, FIRST, &["backend", "drain", "web", "b1"]);
    order(&mut shared, FIRST, &["backend", "weight", "web", "b2", "7"]);
    let both = ["b1 drained".to_owned(), "b2 weight 7".to_owned()];
    await_that("the other node knows", || overrides(&mut shared, SECOND) == both);
    shared.kill(FIRST);
    shared.await_master(SECOND);
    let answered = answers(&mut shared.open(4 * CONNECTIONS));
    assert!(!answered.contains(&"b1".to_owned()), "{answered:?}");
    // It is the node's own by now, and outlives it.
    shared.kill(SECOND);
    shared.start_node(SECOND);
    shared.await_master(SECOND);
    assert_eq!(overrides(&mut shared, SECOND), both);
    order(&mut shared, SECOND, &["backend", "undrain", "web", "b1"]);

    shared.start_node(FIRST);
    await_that("who was away learns that it was taken back", || overrides(&mut shared, FIRST) == both[1..]);
    shared.await_sync(FIRST);
    assert_eq!(overrides(&mut shared, SECOND), both[1..], "and does not bring it up again");
}

#[test]
fn a_node_that_joins_begins_with_what_the_others_checks_say() {
    const CHECK: &str =
        "[service.check]\ntype = \"tcp\"\nport = 80\ninterval = \"1s\"\nrise = 6\n\n[[service.backend]]\nname = \"b1\"";
    let mut shared = Shared::prepare("maglev");
    let checked = |shared: &Shared, node| shared.config(node).replace("[[service.backend]]\nname = \"b1\"", CHECK);
    let why = |shared: &mut Shared, node: usize| {
        shared.pair.node(node).status()["services"][0]["backends"][0]["why"].as_str().unwrap_or_default().to_owned()
    };
    let config = checked(&shared, FIRST);
    shared.start_node_with(FIRST, &config);
    await_that("the first node's checks have decided", || why(&mut shared, FIRST).contains("connected"));
    let config = checked(&shared, SECOND);
    shared.start_node_with(SECOND, &config);
    await_that("the other begins with that", || why(&mut shared, SECOND).ends_with("; says the peer"));
    await_that("until its own have", || {
        !why(&mut shared, SECOND).contains("peer") && why(&mut shared, SECOND).contains("connected")
    });
}
