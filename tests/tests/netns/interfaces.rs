//! Interfaces come and go: one that is made anew, or appears after the start, gets the program and serves.

use fairway::playground::topology::Replies;
use serde_json::Value;

use crate::harness::{
    Bed, Fairway, HTTP, await_that, four_backends, ip, lab, link, requests, service_v4, service_v6, usual_config,
};

const BOTH_FAMILIES: [fn(u16) -> std::net::SocketAddr; 2] = [service_v4, service_v6];

#[test]
fn an_interface_that_is_deleted_and_made_anew_serves_again() {
    let mut bed = Bed::start(&four_backends(Replies::Direct), &[0, 1, 2, 3]);
    serves(&bed);
    let balancer = bed.lab.balancer(0);

    ip(&balancer, "link delete eth0");
    await_that("its absence is told", || interface(&bed.fairway, "eth0")["mode"] == "none");
    assert!(interface(&bed.fairway, "eth0")["why"].to_string().contains("no interface eth0"));
    bed.lab.connect_balancer_again(0).expect("the link can be made again");

    bed.fairway.wait_until_ready();
    assert_eq!(link(&balancer, "eth0")["xdp"]["mode"], 1, "native");
    serves(&bed);
}

#[test]
fn an_interface_that_is_missing_at_the_start_is_told_and_attached_when_it_appears() {
    let lab = lab(&four_backends(Replies::Direct));
    let bed = Bed::begin(lab, |lab| usual_config(lab, &[0, 1, 2, 3]).replace("[\"eth0\"]", "[\"eth0\", \"late0\"]"));
    await_that("eth0 has the program", || interface(&bed.fairway, "eth0")["mode"] == "native");

    let late = interface(&bed.fairway, "late0");
    assert_eq!((&late["mode"], &late["index"]), (&Value::from("none"), &Value::Null));
    assert!(bed.fairway.warnings().contains("there is no interface late0"), "{}", bed.fairway.warnings());
    assert_eq!(bed.fairway.metric("fairway_xdp_attached{interface=\"late0\",mode=\"native\"}"), Some(0.0));
    await_that("next hops are known", || bed.fairway.metric("fairway_neighbours_unresolved") == Some(0.0));
    serves(&bed);

    ip(&bed.lab.balancer(0), "link add late0 type veth peer name late1");
    bed.fairway.wait_until_ready();
    assert_eq!(interface(&bed.fairway, "late0")["mode"], "native");
    assert!(!bed.fairway.warnings().contains("late0"), "{}", bed.fairway.warnings());
}

fn serves(bed: &Bed) {
    for service in BOTH_FAMILIES {
        assert_eq!(requests(&bed.lab.client(), service(HTTP), 40).failures, [""; 0]);
    }
}

fn interface(fairway: &Fairway, name: &str) -> Value {
    let status = fairway.status();
    let interfaces = status["interfaces"].as_array().expect("status lists interfaces");
    let found = interfaces.iter().find(|interface| interface["name"] == name);
    found.unwrap_or_else(|| panic!("status does not list {name}: {status}")).clone()
}
