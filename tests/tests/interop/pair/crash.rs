//! What becomes of the addresses when the daemon is killed or hangs: given up, or kept until it is back.

use std::thread;
use std::time::Duration;

use fairway_tests::harness::await_that;
use fairway_tests::vrrp::Adverts;
use nix::sys::signal::Signal;

use super::{FIRST, Pair, SECOND, priority, router};

const V4: &str = "10.2.0.171";
const V6: &str = "fd02::171";
/// Longer than the supervisor takes to see that the daemon hangs, and than a backup takes to miss a master.
const A_WHILE: Duration = Duration::from_secs(1);
const POLL: Duration = Duration::from_millis(20);

/// Twenty seconds, longer than the test waits for anything: who takes over was told to.
const SELDOM: &str = "missed_advertisements = 100";

fn config(node: usize, on_crash: &str) -> String {
    let extra = format!("on_crash = \"{on_crash}\"\nexcluded_addresses = [\"{V6}\"]\n{SELDOM}");
    router("public", 1, priority(node), V4, &extra).replace("100ms", "200ms")
}

#[test]
fn who_is_killed_gives_up_its_addresses_at_once_and_says_so() {
    let mut pair = Pair::new();
    pair.start(FIRST, &config(FIRST, "release").replace(SELDOM, ""));
    pair.await_holder("it is master, alone as it is", V4, FIRST);
    pair.start(SECOND, &config(SECOND, "release"));
    let adverts = Adverts::listen(&pair.lab.backend(0));
    pair.node(FIRST).signal(Signal::SIGKILL);
    for address in [V4, V6] {
        pair.await_holder("the other has taken over", address, SECOND);
    }
    let heard = adverts.take();
    assert!(heard.iter().any(|advert| advert.priority == 0), "nobody said goodbye: {heard:?}");
}

#[test]
fn who_hangs_gives_up_its_addresses_and_is_backup_when_it_goes_on() {
    let mut pair = Pair::new();
    pair.start(FIRST, &(config(FIRST, "release").replace(SELDOM, "") + "preempt = false\n"));
    pair.await_holder("it is master, alone as it is", V4, FIRST);
    pair.start(SECOND, &config(SECOND, "release"));
    pair.node(FIRST).signal(Signal::SIGSTOP);
    for address in [V4, V6] {
        pair.await_holder("the other has taken over", address, SECOND);
    }
    pair.node(FIRST).signal(Signal::SIGCONT);
    stays_so(|| pair.holds(SECOND, V4) && !pair.holds(FIRST, V4) && !pair.holds(FIRST, V6));
}

#[test]
fn addresses_that_are_to_be_kept_stay_over_a_kill_until_the_daemon_is_back() {
    let mut pair = alone_and_keeping();
    pair.node(FIRST).kill();
    stays_so(|| pair.holds(FIRST, V4) && pair.holds(FIRST, V6));
    pair.nodes[FIRST] = None;
    pair.start(FIRST, &config(FIRST, "keep").replace(SELDOM, ""));
    stays_so(|| pair.holds(FIRST, V4) && pair.holds(FIRST, V6));
    await_that("it is master again", || pair.node(FIRST).log().contains("→ master"));
    pair.stop(FIRST);
    assert!(!pair.holds(FIRST, V4) && !pair.holds(FIRST, V6), "a stop in good order gives them up");
}

#[test]
fn addresses_that_are_to_be_kept_stay_while_the_daemon_hangs() {
    let mut pair = alone_and_keeping();
    pair.node(FIRST).signal(Signal::SIGSTOP);
    stays_so(|| pair.holds(FIRST, V4) && pair.holds(FIRST, V6));
    pair.node(FIRST).signal(Signal::SIGCONT);
    pair.await_holder("it serves on", V4, FIRST);
}

fn alone_and_keeping() -> Pair {
    let mut pair = Pair::new();
    pair.start(FIRST, &config(FIRST, "keep").replace(SELDOM, ""));
    for address in [V4, V6] {
        pair.await_holder("it is master, alone as it is", address, FIRST);
    }
    pair
}

fn stays_so(holds: impl Fn() -> bool) {
    for _ in 0..A_WHILE.as_millis() / POLL.as_millis() {
        assert!(holds(), "it did not stay so");
        thread::sleep(POLL);
    }
}
