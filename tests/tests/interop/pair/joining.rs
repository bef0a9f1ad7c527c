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
