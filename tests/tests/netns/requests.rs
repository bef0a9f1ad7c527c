//! Ten thousand requests on as many connections reach four backends in about equal shares, and none fails.

use std::net::SocketAddr;

use fairway::playground::topology::Replies;

use crate::harness::{Bed, HTTP, four_backends, requests, service_v4, service_v6};

const REQUESTS: usize = 10_000;

#[test]
fn direct_serves_every_request_over_ipv4() {
    check(Replies::Direct, service_v4(HTTP));
}

#[test]
fn direct_serves_every_request_over_ipv6() {
    check(Replies::Direct, service_v6(HTTP));
}

#[test]
fn nat_serves_every_request_over_ipv4() {
    check(Replies::ThroughBalancer, service_v4(HTTP));
}

#[test]
fn nat_serves_every_request_over_ipv6() {
    check(Replies::ThroughBalancer, service_v6(HTTP));
}

fn check(replies: Replies, service: SocketAddr) {
    let bed = Bed::start(&four_backends(replies), &[0, 1, 2, 3]);

    let results = requests(&bed.lab.client(), service, REQUESTS);

    assert!(results.failures.is_empty(), "{:?}\n{}", results.failures, bed.traces());
    assert_eq!(results.answers.keys().collect::<Vec<_>>(), ["b1", "b2", "b3", "b4"]);
    for (name, answers) in &results.answers {
        // A fair share is a quarter; ports taken in turn are not random, hence the wide margin.
        let share = *answers as f64 / REQUESTS as f64;
        assert!((0.18..0.32).contains(&share), "{name} served a share of {share}: {:?}", results.answers);
    }
    // They did go through Fairway and not around it. A retransmitted SYN counts too, so there may be more.
    let counted = bed.fairway.metric_sum("fairway_backend_connections_total");
    assert!(counted >= REQUESTS as f64, "only {counted} connections were counted");
}
