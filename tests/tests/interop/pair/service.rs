//! A service that follows a virtual router is served by the master, and passed by the backup as if it were not there.

use std::fs;

use fairway::playground::topology::{Replies, SERVICE_V4, Spec};
use fairway::playground::{KEY_FILE, node_configuration};
use fairway_tests::harness::{Fairway, HTTP, Nginx, admin_socket, await_that, fetch, ip, lab, service_v4};

use super::{FIRST, Pair, SECOND};

/// Of 32 octets, as `head -c 32 /dev/urandom | base64` makes one.
const KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n";
const BACKENDS: [usize; 2] = [0, 1];

#[test]
fn the_master_forwards_and_the_backup_passes() {
    let lab = lab(&Spec { balancers: 2, backends: 2, floating: true, replies: Replies::Direct, ..Spec::default() });
    let _servers = BACKENDS.map(|index| Nginx::start(&lab, index));
    fs::write(lab.directory().join(KEY_FILE), KEY).expect("the lab's directory is writable");
    let mut pair = Pair::in_lab(lab);
    for node in [FIRST, SECOND] {
        let lab = &pair.lab;
        let config = node_configuration(lab, node, &admin_socket(lab, node), &BACKENDS);
        pair.nodes[node] = Some(Fairway::start_on(lab, node, &config));
    }
    let service = SERVICE_V4.to_string();
    pair.await_holder("the better one is master", &service, FIRST);
    await_that("the master forwards", || asked(&pair) && forwarded(&mut pair, FIRST) > 0.0);
    assert_eq!(forwarded(&mut pair, SECOND), 0.0, "the backup has seen nothing");

    // Now the requests go to the backup, which is a router like any other to them: the master gets them all the same.
    lead_to(&pair, "02:00:00:00:02:12");
    let (before, passed) = (forwarded(&mut pair, FIRST), passes(&mut pair, SECOND));
    for _ in 0..10 {
        assert!(asked(&pair), "the backup is in the way");
    }
    assert_eq!(forwarded(&mut pair, SECOND), 0.0, "the backup forwards what is the master's");
    assert!(passes(&mut pair, SECOND) > passed, "the backup does not count what it passes");
    assert!(forwarded(&mut pair, FIRST) > before, "the master was passed over");
    ip(&pair.lab.router(), &format!("neighbour delete {SERVICE_V4} dev br0\n"));

    pair.power_off(FIRST);
    await_that("the other forwards", || asked(&pair) && forwarded(&mut pair, SECOND) > 0.0);
}

fn asked(pair: &Pair) -> bool {
    fetch(&pair.lab.client(), service_v4(HTTP), "/", None).is_ok()
}

/// Packets that a node has forwarded to backends.
fn forwarded(pair: &mut Pair, node: usize) -> f64 {
    pair.node(node).metric_sum("fairway_backend_packets_total")
}

fn passes(pair: &mut Pair, node: usize) -> f64 {
    pair.node(node).packets("passes", "not-master")
}

/// Makes the lab's router send what is for the service there.
fn lead_to(pair: &Pair, mac: &str) {
    ip(&pair.lab.router(), &format!("neighbour replace {SERVICE_V4} lladdr {mac} nud permanent dev br0\n"));
}
