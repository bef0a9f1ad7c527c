//! The XDP program is there while the daemon runs and gone when it has stopped.

use std::fs;
use std::net::TcpStream;
use std::time::Duration;

use fairway::playground::topology::Replies;

use crate::harness::{Bed, HTTP, await_that, four_backends, link, service_v4};

#[test]
fn the_program_runs_natively_and_stop_detaches_it() {
    let mut bed = Bed::start(&four_backends(Replies::Direct), &[0, 1, 2, 3]);
    let balancer = bed.lab.balancer(0);
    assert_eq!(xdp_mode(&link(&balancer, "eth0")), Some(NATIVE));

    let status = bed.fairway.stop();

    assert!(status.success(), "{status}\n{}", bed.fairway.log());
    assert_eq!(xdp_mode(&link(&balancer, "eth0")), None);
    let pinned = fs::read_dir(bed.lab.pin_path()).map(|entries| entries.count()).unwrap_or(0);
    assert_eq!(pinned, 0, "a stop leaves nothing pinned");
}

#[test]
fn after_a_stop_the_host_answers_for_itself() {
    let mut bed = Bed::start(&four_backends(Replies::Direct), &[0, 1, 2, 3]);
    bed.fairway.stop();

    let connect = || TcpStream::connect_timeout(&service_v4(HTTP), Duration::from_secs(5)).map(drop);
    let refused = bed.lab.client().run(connect).expect("the namespace is there").expect_err("nobody listens there");

    assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
}

#[test]
fn the_program_goes_even_with_a_daemon_that_is_killed() {
    let mut bed = Bed::start(&four_backends(Replies::Direct), &[0, 1, 2, 3]);

    bed.fairway.kill();

    let balancer = bed.lab.balancer(0);
    await_that("the kernel has detached it", || xdp_mode(&link(&balancer, "eth0")).is_none());
    await_that("the host answers for itself", || {
        let connect = || TcpStream::connect_timeout(&service_v4(HTTP), Duration::from_secs(1)).map(drop);
        let outcome = bed.lab.client().run(connect).expect("the namespace is there");
        outcome.is_err_and(|error| error.kind() == std::io::ErrorKind::ConnectionRefused)
    });
}

/// `XDP_ATTACHED_DRV`.
const NATIVE: u64 = 1;

fn xdp_mode(link: &serde_json::Value) -> Option<u64> {
    link["xdp"]["mode"].as_u64()
}
