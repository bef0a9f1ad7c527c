//! A `direct` service, checked at its own address, whose master is killed: the backup has the verdicts already, they stay right
//! when it holds the address itself, and the dead one's steering is no trouble to the next daemon.

use std::net::IpAddr;

use fairway::playground::Lab;
use fairway::playground::topology::{Replies, SERVICE_V4, Spec, backend_v4};
use fairway_tests::vrrp::{has_address, preamble};
use serde_json::Value;

use crate::harness::{Fairway, HTTP, Nginx, await_that, ip, ip_says, lab, requests, service_v4};

const REQUESTS: usize = 160;
const DEVICES: [&str; 2] = ["fwprobe0", "fwprobe1"];

#[test]
fn the_backup_has_the_verdicts_when_the_master_is_killed_and_nothing_is_left_of_its_steering() {
    let lab = lab(&Spec { balancers: 2, backends: 2, floating: true, replies: Replies::Direct, ..Spec::default() });
    let _nginx = [Nginx::start(&lab, 0), Nginx::start(&lab, 1)];
    // What only a check by the way of clients' packets finds.
    ip(&lab.backend(1), &format!("address del {SERVICE_V4}/32 dev lo\n"));
    let mut nodes = [0, 1].map(|node| Fairway::start_on(&lab, node, &config(&lab, node)));
    await_that("the better one is master", || holds(&lab, 0) && !holds(&lab, 1));
    for node in &nodes {
        await_that("each node has found out", || is_right(node));
    }
    let backups = check(&nodes[1], "b1");

    nodes[0].kill();
    await_that("the other has taken over", || holds(&lab, 1));
    assert!(is_right(&nodes[1]), "{:?}", nodes[1].show("checks"));
    let results = requests(&lab.client(), service_v4(HTTP), REQUESTS);
    assert_eq!(
        (results.failures, results.answers.into_keys().collect()),
        (Vec::<String>::new(), vec!["b1".to_owned()])
    );
    let more = successes(&backups) + 4;
    await_that("it goes on asking as master", || successes(&check(&nodes[1], "b1")) >= more);
    let now = check(&nodes[1], "b1");
    // The same moment, converted twice.
    let apart = (since(&now) - since(&backups)).abs();
    assert!(apart < 0.1 && now["flaps"] == 0, "the verdict never changed: {now}");

    assert_eq!(devices(&lab, 0), DEVICES, "a killed daemon removes nothing");
    nodes[0] = Fairway::start_on(&lab, 0, &config(&lab, 0));
    await_that("it is master again", || holds(&lab, 0) && !holds(&lab, 1));
    await_that("it has found out anew", || is_right(&nodes[0]));
    assert_eq!((devices(&lab, 0), routes(&lab, 0)), (DEVICES.map(str::to_owned).to_vec(), 2));
    assert_eq!(requests(&lab.client(), service_v4(HTTP), REQUESTS).failures, [""; 0]);

    for (index, node) in nodes.iter_mut().enumerate() {
        assert!(node.stop().success());
        assert_eq!((devices(&lab, index).len(), routes(&lab, index)), (0, 0), "a stop in good order leaves nothing");
    }
}

/// A virtual router, and a service with a check that follows it; the first node is the better one.
pub fn config(lab: &Lab, node: usize) -> String {
    let backend =
        |index| format!("[[service.backend]]\nname = \"b{}\"\naddress = \"{}\"\n", index + 1, backend_v4(index));
    format!(
        "{}[dataplane]\ninterfaces = [\"eth0\"]\n\
         [[vrrp]]\nname = \"public\"\ninterface = \"eth0\"\nvrid = 51\npriority = {}\nadvertisement_interval = \"100ms\"\n\
         addresses = [\"{SERVICE_V4}/32\"]\n\
         [[service]]\nname = \"web\"\nlisten = [\"tcp://{SERVICE_V4}:80\"]\nforwarding = \"direct\"\nvrrp = \"public\"\n\
         [service.check]\ntype = \"http\"\ninterval = \"300ms\"\ntimeout = \"250ms\"\n{}{}",
        preamble(lab, node),
        200 - 10 * node,
        backend(0),
        backend(1)
    )
}

/// Whether a node has the service's address.
pub fn holds(lab: &Lab, node: usize) -> bool {
    has_address(&lab.balancer(node), IpAddr::V4(SERVICE_V4))
}

/// The first backend is up, and of the second it is known what it lacks.
fn is_right(node: &Fairway) -> bool {
    let lacking = check(node, "b2");
    let why = lacking["why"].as_str().unwrap_or_default();
    check(node, "b1")["state"] == "up"
        && lacking["state"] == "down"
        && why.contains("does it hold the service's address")
}

/// The check of a backend.
fn check(node: &Fairway, backend: &str) -> Value {
    let shown = node.show("checks");
    let mut checks = shown["checks"].as_array().expect("a list").iter();
    checks.find(|check| check["backend"] == backend).cloned().unwrap_or_default()
}

fn since(check: &Value) -> f64 {
    check["since"].as_f64().expect("a time")
}

fn successes(check: &Value) -> u64 {
    check["successes"].as_u64().expect("a count")
}

fn devices(lab: &Lab, node: usize) -> Vec<String> {
    let links = ip_says(&lab.balancer(node), &["link", "show"]);
    let names = links.as_array().expect("a list").iter().filter_map(|link| link["ifname"].as_str());
    let mut names: Vec<String> = names.filter(|name| name.starts_with("fwprobe")).map(str::to_owned).collect();
    names.sort();
    names
}

/// Routes to reserved addresses, of both families.
fn routes(lab: &Lab, node: usize) -> usize {
    let of = |family| ip_says(&lab.balancer(node), &[family, "route", "show", "proto", "112"]);
    ["-4", "-6"].map(|family| of(family).as_array().expect("a list").len()).into_iter().sum()
}
