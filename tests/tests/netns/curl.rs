//! An ordinary client, `curl`, is served by nginx through every method and family.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::process::{Command, Output, Stdio};

use fairway::playground::topology::Replies;

use crate::harness::{Bed, HTTP, four_backends, service_v4, service_v6};

/// Enough that a backend without any share would be noticed: the chance that one of four is never asked is below 10⁻²⁴.
const REQUESTS: usize = 200;

#[test]
fn curl_is_served_through_direct() {
    check(Replies::Direct);
}

#[test]
fn curl_is_served_through_nat() {
    check(Replies::ThroughBalancer);
}

fn check(replies: Replies) {
    let bed = Bed::start(&four_backends(replies), &[0, 1, 2, 3]);
    for service in [service_v4(HTTP), service_v6(HTTP)] {
        let output = curl(&bed, service);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{service}: {} {said}\n{}", output.status, bed.traces());
        let answers = String::from_utf8_lossy(&output.stdout);
        let backends: BTreeSet<&str> = answers.lines().collect();
        assert_eq!(answers.lines().count(), REQUESTS, "{service}");
        assert_eq!(backends, BTreeSet::from(["b1", "b2", "b3", "b4"]), "{service}");
    }
}

/// So many requests, each on a connection of its own.
fn curl(bed: &Bed, service: SocketAddr) -> Output {
    let url = format!("http://{service}/");
    let mut command = Command::new("curl");
    command.args(["--silent", "--show-error", "--fail", "--globoff", "--max-time", "20"]);
    command.args(["--header", "Connection: close"]).args(std::iter::repeat_n(url, REQUESTS));
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    bed.lab.client().run(move || command.output()).expect("the namespace is there").expect("curl is installed")
}
