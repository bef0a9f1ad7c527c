//! A router that has a narrower link towards the client tells the backend: its ICMP errors are addressed to the service
//! and reach the backend whose packet they quote. Without that every long answer would stall.

use std::process::Command;

use fairway::playground::topology::Replies;

use crate::harness::{Bed, HTTP, fetch, four_backends, ip, service_v4, service_v6};

/// The router's link to the client takes so much; the client does not know and offers to take more.
const NARROW: &str = "link set client mtu 1300";
const DOWNLOADS: usize = 12;
const LENGTH: usize = 1 << 20;

#[test]
fn backends_of_direct_learn_the_path_mtu() {
    check(Replies::Direct);
}

#[test]
fn backends_of_nat_learn_the_path_mtu() {
    check(Replies::ThroughBalancer);
}

fn check(replies: Replies) {
    let bed = Bed::start(&four_backends(replies), &[0, 1, 2, 3]);
    ip(&bed.lab.router(), NARROW);

    for (service, client) in [(service_v4(HTTP), "10.1.0.1"), (service_v6(HTTP), "fd01::1")] {
        for number in 0..DOWNLOADS {
            let received = fetch(&bed.lab.client(), service, "/big", None)
                .unwrap_or_else(|error| panic!("download {number} from {service}: {error}"));
            assert_eq!(received.len(), LENGTH);
        }
        let learned = (0..4).filter(|&index| knows_narrow_path(&bed, index, client)).count();
        assert!(learned > 0, "no backend was told of the narrow link to {client}, so nothing was tested");
    }
}

fn knows_narrow_path(bed: &Bed, backend: usize, client: &str) -> bool {
    let ask = || Command::new("ip").args(["route", "get", client]).output();
    let output = bed.lab.backend(backend).run(ask).expect("the namespace is there").expect("ip starts");
    String::from_utf8_lossy(&output.stdout).contains("mtu 1300")
}
