//! The balancer as a client of its own services, by the means of docs/packet-path.md: its sockets' packets to a service's address go
//! out by a veth pair, at whose other end the program takes them for a client's.

use std::collections::BTreeSet;
use std::fs;
use std::process::{Command, Stdio};

use fairway::playground::Namespace;
use fairway::playground::topology::{Replies, balancer_v4, balancer_v6};

use crate::harness::{Bed, HTTP, await_that, fetch, four_backends, link, service_v4, service_v6, usual_config};

#[test]
fn the_balancer_reaches_its_own_direct_services_as_documented() {
    let bed = Bed::start(&four_backends(Replies::Direct), &[0, 1, 2, 3]);
    let balancer = bed.lab.balancer(0);
    let services = [service_v4(HTTP), service_v6(HTTP)];
    for service in services {
        let refused = fetch(&balancer, service, "/", None).expect_err("nothing listens there on the balancer itself");
        assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused, "{service}");
    }

    run(&balancer, "ip link add fwself0 type veth peer name fwself1");
    run(&balancer, "ip link set fwself0 up");
    run(&balancer, "ip link set fwself1 up");
    run(&balancer, "ethtool -K fwself0 tx off");
    let config = usual_config(&bed.lab, &[0, 1, 2, 3]).replace("[\"eth0\"]", "[\"eth0\", \"fwself1\"]");
    let output = bed.fairway.reload(&config);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    await_that("the program is at the other end", || !link(&balancer, "fwself1")["xdp"].is_null());

    // Answers come from an address that is routed out by another device: only the strict filter minds.
    for (name, value) in [("all", "0"), ("eth0", "2")] {
        let path = format!("/proc/sys/net/ipv4/conf/{name}/rp_filter");
        balancer.run(|| fs::write(path, value)).expect("the namespace is there").expect("root may");
    }
    let other_end = link(&balancer, "fwself1")["address"].as_str().expect("it has an address").to_owned();
    for (family, service, source) in
        [("-4", services[0].ip(), balancer_v4(0).to_string()), ("-6", services[1].ip(), balancer_v6(0).to_string())]
    {
        run(&balancer, &format!("ip {family} rule add pref 100 lookup local"));
        run(&balancer, &format!("ip {family} rule del pref 0 lookup local"));
        run(&balancer, &format!("ip {family} rule add pref 10 iif lo lookup 112"));
        run(&balancer, &format!("ip {family} route add {service} dev fwself0 src {source} table 112"));
        run(&balancer, &format!("ip {family} neigh replace {service} lladdr {other_end} dev fwself0"));
    }

    for service in services {
        let ask = |from: &Namespace| {
            let answer = fetch(from, service, "/", None);
            let answer = answer.unwrap_or_else(|error| panic!("{service}: {error}\n{}", bed.traces()));
            String::from_utf8_lossy(&answer).trim().to_owned()
        };
        let served: BTreeSet<String> = (0..40).map(|_| ask(&balancer)).collect();
        assert_eq!(served.iter().collect::<Vec<_>>(), ["b1", "b2", "b3", "b4"], "{service}");
        ask(&bed.lab.client());
    }
}

/// Runs a command in a namespace; it must succeed.
fn run(namespace: &Namespace, command: &str) {
    let mut words = command.split(' ');
    let mut child = Command::new(words.next().expect("it has a name"));
    child.args(words).stdin(Stdio::null());
    let output = namespace.run(move || child.output()).expect("the namespace is there").expect("it is installed");
    assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
}
