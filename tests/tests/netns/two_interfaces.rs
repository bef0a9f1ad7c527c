//! Traffic comes in by one interface and the backends are behind another.

use fairway::playground::Lab;
use fairway::playground::topology::{Replies, Role, backend_v4, backend_v6, router_port};

use crate::harness::{Bed, HTTP, four_backends, ip, lab, requests, service_v4, service_v6, usual_config};

#[test]
fn direct_redirects_to_backends_behind_another_interface() {
    check(Replies::Direct);
}

#[test]
fn nat_redirects_to_backends_behind_another_interface_and_back() {
    check(Replies::ThroughBalancer);
}

fn check(replies: Replies) {
    let mut lab = lab(&four_backends(replies));
    move_backends_behind_eth1(&mut lab);
    let both = |lab: &Lab| usual_config(lab, &[0, 1, 2, 3]).replace("[\"eth0\"]", "[\"eth0\", \"eth1\"]");
    let bed = Bed::in_lab(lab, both);

    for service in [service_v4(HTTP), service_v6(HTTP)] {
        let results = requests(&bed.lab.client(), service, 400);
        assert_eq!(results.failures, [""; 0]);
        assert_eq!(results.answers.keys().collect::<Vec<_>>(), ["b1", "b2", "b3", "b4"]);
    }

    let neighbours = bed.fairway.show("neighbours").to_string();
    assert!(neighbours.contains("eth1") && !neighbours.contains("eth0"), "{neighbours}");
}

/// A second bridge joins the backends and a second link of the balancer. They keep their addresses, which the balancer
/// finds by routes of their own.
fn move_backends_behind_eth1(lab: &mut Lab) {
    let (balancer, router) = (lab.balancer(0), lab.router());
    let (far, prefix) = ("p-lb1-too", lab.prefix().to_owned());
    ip(
        &router,
        &format!(
            "link add br1 type bridge stp_state 0 forward_delay 0 mcast_snooping 0
link set br1 up
address add 10.3.0.254/24 dev br1
address add fd03::fe/64 dev br1 nodad
link add {far} type veth peer name eth1 netns {prefix}-lb1
link set {far} master br1 up
"
        ),
    );
    ip(&balancer, "link set eth1 up\naddress add 10.3.0.11/24 dev eth1\naddress add fd03::11/64 dev eth1 nodad\n");
    let (gateway_v4, gateway_v6) = match lab.spec().replies {
        Replies::Direct => ("10.3.0.254", "fd03::fe"),
        Replies::ThroughBalancer => ("10.3.0.11", "fd03::11"),
    };
    for index in 0..lab.spec().backends {
        ip(&router, &format!("link set {} master br1\n", router_port(Role::Backend(index))));
        let (v4, v6) = (backend_v4(index), backend_v6(index));
        ip(&balancer, &format!("route add {v4}/32 dev eth1\nroute add {v6}/128 dev eth1\n"));
        let defaults = format!(
            "route replace default via {gateway_v4} dev eth0 onlink\nroute replace default via {gateway_v6} dev eth0 onlink\n"
        );
        ip(&lab.backend(index), &defaults);
    }
    lab.ready_port(far).expect("the port exists");
}
