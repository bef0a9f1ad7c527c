//! `fairway vrrp resign` and `resume`: a planned hand-over, which holds until it is taken back.

use fairway_tests::harness::await_that;

use super::{FIRST, Pair, SECOND, priority, router};

const ADDRESS: &str = "10.2.0.185";
const OTHER: &str = "10.2.0.186";

#[test]
fn who_resigns_hands_over_and_holds_back_until_it_resumes() {
    let config =
        |node| router("public", 1, priority(node), ADDRESS, "") + &router("inside", 2, priority(node), OTHER, "");
    let mut pair = Pair::start_both(ADDRESS, config);
    pair.await_holder("it is master of both", OTHER, FIRST);

    order(&mut pair, FIRST, "resign", "public");
    pair.await_holder("it has handed over", ADDRESS, SECOND);
    pair.await_holder("the other router stays", OTHER, FIRST);

    // A restart forgets nothing.
    pair.stop(FIRST);
    pair.await_holder("both are the other's", OTHER, SECOND);
    pair.start(FIRST, &config(FIRST));
    pair.await_holder("one comes back", OTHER, FIRST);
    pair.await_holder("and one does not", ADDRESS, SECOND);

    // Nobody is worse than one who resigned.
    pair.power_off(SECOND);
    await_that("who resigned takes over", || pair.holds(FIRST, ADDRESS));
    pair.start(SECOND, &config(SECOND));
    pair.cable(SECOND).unblock();
    resign_when_backed(&mut pair);
    pair.await_holder("told again, it hands over to who is there", ADDRESS, SECOND);

    order(&mut pair, FIRST, "resume", "--all");
    pair.await_holder("it takes part again", ADDRESS, FIRST);
}

#[test]
fn who_resigns_serves_on_while_nobody_takes_over() {
    let mut pair = Pair::new();
    pair.start(FIRST, &router("public", 1, priority(FIRST), ADDRESS, ""));
    pair.await_holder("it is master, alone as it is", ADDRESS, FIRST);
    order(&mut pair, FIRST, "resign", "public");
    for _ in 0..50 {
        assert!(pair.holds(FIRST, ADDRESS), "nobody has it");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    pair.start(SECOND, &router("public", 1, priority(SECOND), ADDRESS, ""));
    resign_when_backed(&mut pair);
    pair.await_holder("told again, it hands over to who is there", ADDRESS, SECOND);
}

/// Has the first resign `public` once the second is its backup.
fn resign_when_backed(pair: &mut Pair) {
    await_that("the other takes part", || pair.node(SECOND).log().contains("public: init → backup"));
    order(pair, FIRST, "resign", "public");
}

fn order(pair: &mut Pair, node: usize, order: &str, router: &str) {
    let output = pair.node(node).command(&["vrrp", order, router]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
