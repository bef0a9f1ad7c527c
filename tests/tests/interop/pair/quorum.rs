//! A service that has lost its quorum of backends on one node is served by the other.

use std::fs;

use fairway::playground::topology::{Replies, SERVICE_V4, Spec, backend_v4};
use fairway::playground::{KEY_FILE, node_configuration};
use fairway_tests::harness::{Fairway, HTTP, Nginx, admin_socket, await_that, fetch, ip, lab, service_v4};

use super::{FIRST, Pair, SECOND};

/// Of 32 octets, as `head -c 32 /dev/urandom | base64` makes one.
const KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n";
const BACKENDS: [usize; 2] = [0, 1];
const TRACK: &str = "\n[[vrrp.track]]\ntype = \"service\"\nservice = \"web\"\nweight = -50\n";

#[test]
fn a_node_whose_service_has_no_quorum_gives_its_virtual_router_up() {
    let lab = lab(&Spec { balancers: 2, backends: 2, floating: true, replies: Replies::Direct, ..Spec::default() });
    let _servers = BACKENDS.map(|index| Nginx::start(&lab, index));
    fs::write(lab.directory().join(KEY_FILE), KEY).expect("the lab's directory is writable");
    let mut pair = Pair::in_lab(lab);
    for node in [FIRST, SECOND] {
        let lab = &pair.lab;
        let config = node_configuration(lab, node, &admin_socket(lab, node), &BACKENDS);
        // Behind the router that holds the service's address, and before whatever follows it.
        let (before, after) = config.split_once("group = \"both\"\n").expect("the routers are of one group");
        let config =
            format!("{before}group = \"both\"\n{TRACK}{after}").replace("web\"\nlisten", "web\"\nquorum = 2\nlisten");
        pair.nodes[node] = Some(Fairway::start_on(lab, node, &config));
    }
    let service = SERVICE_V4.to_string();
    pair.await_holder("the better one is master", &service, FIRST);
    await_that("it serves", || asked(&pair));

    // Something that is so on this node alone: what an operator says holds on both.
    route(&pair, FIRST, "add");
    pair.await_holder("the other takes over, since the first has no quorum", &service, SECOND);
    await_that("the other serves", || asked(&pair));

    route(&pair, FIRST, "del");
    pair.await_holder("the first takes over again, since it has its quorum", &service, FIRST);
    await_that("the first serves", || asked(&pair));
}

/// Whether a node reaches one of the backends.
fn route(pair: &Pair, node: usize, action: &str) {
    ip(&pair.namespace(node), &format!("route {action} blackhole {}/32\n", backend_v4(0)));
}

fn asked(pair: &Pair) -> bool {
    fetch(&pair.lab.client(), service_v4(HTTP), "/", None).is_ok()
}
