//! Links with an MTU of 9000 work: the program takes frames of more than one buffer.

use std::net::SocketAddr;

use fairway::playground::topology::{Replies, Spec};

use crate::harness::{Bed, HTTP, fetch, link, requests, service_v4, service_v6};

const UPLOAD: usize = 1 << 20;
const DOWNLOAD: usize = 1 << 20;

#[test]
fn direct_carries_jumbo_frames() {
    check(Replies::Direct);
}

#[test]
fn nat_carries_jumbo_frames() {
    check(Replies::ThroughBalancer);
}

fn check(replies: Replies) {
    let bed = Bed::start(&Spec { mtu: 9000, replies, ..Spec::default() }, &[0, 1, 2, 3]);
    assert_eq!(link(&bed.lab.balancer(0), "eth0")["mtu"], 9000);
    for service in [service_v4(HTTP), service_v6(HTTP)] {
        transfer(&bed, service);
    }
}

/// Both directions, with enough data for full frames.
fn transfer(bed: &Bed, service: SocketAddr) {
    let client = bed.lab.client();
    let received = fetch(&client, service, "/big", None).expect("a download works");
    assert_eq!(received.len(), DOWNLOAD);
    let answer = fetch(&client, service, "/upload", Some(&vec![b'u'; UPLOAD])).expect("an upload works");
    assert_eq!(answer, format!("{UPLOAD}\n").into_bytes());
    assert_eq!(requests(&client, service, 200).failures, [""; 0]);
}
