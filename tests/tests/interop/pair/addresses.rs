//! Who holds which addresses: each node half of them, those that are not advertised, and what a crash left behind.

use fairway_tests::harness::await_that;

use super::{BETTER, FIRST, Pair, SECOND, WORSE, priority, router};

const ONE: &str = "10.2.0.161";
const OTHER: &str = "10.2.0.162";
const UNADVERTISED_V4: &str = "10.2.0.163";
const UNADVERTISED_V6: &str = "fd02::163";

#[test]
fn each_node_is_master_of_half_and_takes_over_the_others() {
    let config = |node| {
        let (one, other) = if node == FIRST { (BETTER, WORSE) } else { (WORSE, BETTER) };
        router("one", 1, one, ONE, "") + &router("other", 2, other, OTHER, "")
    };
    let halves = |pair: &Pair, what: &str| {
        pair.await_holder(what, ONE, FIRST);
        pair.await_holder(what, OTHER, SECOND);
    };
    let mut pair = Pair::new();
    for node in [FIRST, SECOND] {
        pair.start(node, &config(node));
    }
    halves(&pair, "each has its half");
    pair.power_off(SECOND);
    await_that("the first has all", || pair.holds(FIRST, ONE) && pair.holds(FIRST, OTHER));
    // It comes back dead, and with what it held when it died.
    pair.start(SECOND, &config(SECOND));
    pair.cable(SECOND).unblock();
    halves(&pair, "each has its half again");
    pair.stop(FIRST);
    pair.await_holder("the second has all", ONE, SECOND);
    pair.await_holder("the second has all", OTHER, SECOND);
}

#[test]
fn addresses_that_are_not_advertised_move_along() {
    let unadvertised = format!("excluded_addresses = [\"{UNADVERTISED_V4}\", \"{UNADVERTISED_V6}\"]");
    let mut pair = Pair::start_both(ONE, |node| router("one", 1, priority(node), ONE, &unadvertised));
    for address in [UNADVERTISED_V4, UNADVERTISED_V6] {
        pair.await_holder("the master holds it", address, FIRST);
    }
    pair.stop(FIRST);
    for address in [ONE, UNADVERTISED_V4, UNADVERTISED_V6] {
        pair.await_holder("it has moved", address, SECOND);
    }
}

#[test]
fn leftovers_of_a_crash_go_where_another_is_master_and_are_no_trouble_where_not() {
    let extra = format!(
        "excluded_addresses = [\"{UNADVERTISED_V6}\"]
[[vrrp.route]]
destination = \"198.51.100.0/24\"
via = \"10.2.0.254\"
[[vrrp.rule]]
from = \"{ONE}/32\"
table = 100
priority = 50"
    );
    let config = |node| router("one", 1, priority(node), ONE, &format!("preempt = false\n{extra}"));
    let mut pair = Pair::new();
    pair.start(FIRST, &config(FIRST));
    pair.await_holder("the first is master, alone as it is", ONE, FIRST);
    pair.start(SECOND, &config(SECOND));

    pair.kill_with_supervisor(FIRST);
    await_that("the second takes over", || pair.holds(SECOND, ONE) && pair.holds(SECOND, UNADVERTISED_V6));
    assert!(pair.holds(FIRST, ONE), "nobody was there to remove it");
    pair.start(FIRST, &config(FIRST));
    for address in [ONE, UNADVERTISED_V6] {
        pair.await_holder("it is gone where it was left", address, SECOND);
    }

    // Now nobody else is there: it becomes master of what it finds.
    pair.stop(FIRST);
    pair.kill_with_supervisor(SECOND);
    assert!(pair.holds(SECOND, ONE), "nobody was there to remove it");
    pair.start(SECOND, &config(SECOND));
    await_that("it is master again", || pair.node(SECOND).log().contains("→ master"));
    await_that("it holds them", || pair.holds(SECOND, ONE) && pair.holds(SECOND, UNADVERTISED_V6));
    let log = pair.node(SECOND).log();
    let troubled: Vec<&str> = log.lines().filter(|line| line.contains("add ") || line.contains("remove ")).collect();
    assert!(troubled.is_empty(), "what was there already was in the way: {troubled:?}");
}
