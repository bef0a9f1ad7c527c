//! A BFD session with the master, who runs FRR's bfdd: its loss is acted upon at once, not when advertisements are missed.

use std::time::Duration;

use fairway::playground::topology::{balancer_v4, balancer_v6};
use fairway_tests::failover::clock::now;
use fairway_tests::harness::await_that;
use fairway_tests::vrrp::{Bfdd, Cable, Keepalived, Node as _, Router, floating};

use super::{BETTER, FIRST, Pair, SECOND, WORSE, router};

/// A hundred advertisements of keepalived's may be missed: ten seconds.
const SELDOM: &str = "missed_advertisements = 100";
/// 150 ms until the session is down and Skew_Time behind it, on a busy machine.
const SOON: Duration = Duration::from_secs(4);

#[test]
fn the_loss_of_the_session_with_the_master_makes_a_backup_take_over() {
    let mut pair = Pair::new();
    let address = floating(1, false);
    let mut keepalived =
        Keepalived::start(&pair.lab, SECOND, &[Router::new(1, Duration::from_millis(100), BETTER, vec![address])]);
    let mut bfdd = Bfdd::start(&pair.lab, SECOND, balancer_v4(FIRST).into());
    let text = address.to_string();
    await_that("keepalived is master", || pair.holds(SECOND, &text));
    let track = format!(
        "{SELDOM}\n[[vrrp.track]]\ntype = \"bfd\"\nname = \"other\"\nneighbour = \"{}\"\nweight = -1",
        balancer_v4(SECOND)
    );
    pair.start(FIRST, &router("public", 1, WORSE, &text, &track));
    await_that("bfdd says that the session is up", || bfdd.state() == "up");
    await_that("Fairway says so too", || pair.node(FIRST).log().contains("is up"));
    assert!(!pair.holds(FIRST, &text), "it is the backup");

    Cable::of(&pair.lab, SECOND).block();
    let lost = now();
    keepalived.kill();
    bfdd.kill();
    await_that("the backup takes over", || pair.holds(FIRST, &text));
    let taken = Duration::from_nanos(now() - lost);
    assert!(taken < SOON, "{taken:?}: it waited for advertisements");
}

#[test]
fn a_session_over_ipv6_that_must_be_up_allows_and_forbids_to_be_master() {
    let mut pair = Pair::new();
    let bfdd = Bfdd::start(&pair.lab, SECOND, balancer_v6(FIRST).into());
    let track = format!(
        "[[vrrp.track]]\ntype = \"bfd\"\nname = \"other\"\nneighbour = \"{}\"\nsource = \"{}\"\nfault = true",
        balancer_v6(SECOND),
        balancer_v6(FIRST)
    );
    pair.start(FIRST, &router("public", 1, WORSE, "fd02::190", &track));
    await_that("bfdd says that the session is up", || bfdd.state() == "up");
    await_that("with the session the router may be master", || pair.holds(FIRST, "fd02::190"));
    drop(bfdd);
    await_that("without it the router is in fault", || !pair.holds(FIRST, "fd02::190"));
}
