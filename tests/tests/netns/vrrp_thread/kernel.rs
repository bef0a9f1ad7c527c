//! Addresses, announcements, interfaces, routes and rules.

use std::net::IpAddr;

use fairway::config::{OnCrash, VirtualRoute, VirtualRule};
use fairway::playground::topology::balancer_v4;
use fairway::vrrp::effect::Effect;
use ipnet::IpNet;

use super::node::{Node, Seen};
use super::{VIRTUAL_V4, VIRTUAL_V6, address, known_mac, settings, times_held, two_balancers};
use crate::harness::{await_that, ip, ip_says};

const MACS: [[u8; 6]; 2] = [[2, 0, 0, 0, 2, 0x11], [2, 0, 0, 0, 2, 0x12]];

fn prefixes() -> Vec<IpNet> {
    [VIRTUAL_V4, VIRTUAL_V6].map(|text| IpNet::from(address(text))).to_vec()
}

fn move_to(node: &Node, mac: [u8; 6]) {
    let interface = node.interface;
    node.perform(vec![
        Effect::AddAddresses { interface, addresses: prefixes() },
        Effect::Announce { interface, mac, addresses: [VIRTUAL_V4, VIRTUAL_V6].map(address).to_vec() },
    ]);
}

#[test]
fn s17_an_announced_address_moves_in_the_neighbours_tables() {
    let lab = two_balancers();
    let nodes = [0, 1].map(|index| Node::start(lab.balancer(index)));
    move_to(&nodes[0], MACS[0]);
    // The router learns from announcements only what it has an entry for.
    let ask = |host: &str| format!("neighbour replace {host} lladdr 02:00:00:00:00:99 nud reachable dev br0\n");
    ip(&lab.router(), &(ask(VIRTUAL_V4) + &ask(VIRTUAL_V6)));
    for (node, mac, written) in [(&nodes[1], MACS[1], "02:00:00:00:02:12"), (&nodes[0], MACS[0], "02:00:00:00:02:11")] {
        await_that(&format!("the router knows {written}"), || {
            // What has been heard within the last second may be kept by the router (locktime): as the schedule does,
            // announce again.
            move_to(node, mac);
            [VIRTUAL_V4, VIRTUAL_V6].iter().all(|host| known_mac(&lab, host).as_deref() == Some(written))
        });
    }
    let interface = nodes[0].interface;
    nodes[0].perform(vec![Effect::RemoveAddresses { interface, addresses: prefixes() }]);
    await_that("the addresses are gone", || {
        [VIRTUAL_V4, VIRTUAL_V6].iter().all(|host| times_held(&nodes[0].namespace, "eth0", host) == 0)
    });
}

#[test]
fn adding_and_removing_hundreds_of_addresses_twice_is_no_trouble() {
    let lab = two_balancers();
    let node = Node::start(lab.balancer(0));
    let interface = node.interface;
    let addresses: Vec<IpNet> = (0..300u16)
        .map(|number| {
            let [high, low] = number.to_be_bytes();
            IpNet::from(IpAddr::from([10, 77, high, low]))
        })
        .collect();
    let held = || {
        let links = ip_says(&node.namespace, &["address", "show", "dev", "eth0"]);
        let all = links[0]["addr_info"].as_array().expect("a list").clone();
        all.iter().filter(|info| info["local"].as_str().is_some_and(|local| local.starts_with("10.77."))).count()
    };
    for _ in 0..2 {
        node.perform(vec![Effect::AddAddresses { interface, addresses: addresses.clone() }]);
    }
    await_that("all are there", || held() == addresses.len());
    for _ in 0..2 {
        node.perform(vec![Effect::RemoveAddresses { interface, addresses: addresses.clone() }]);
    }
    await_that("none is there", || held() == 0);
    let lost = node.seen().into_iter().filter(|seen| matches!(seen, Seen::Lost(_))).count();
    assert_eq!(lost, 0, "what we remove ourselves is not lost");
    let thread = node.thread.handle.thread();
    assert!(thread.failures.is_empty() && thread.problems.is_empty(), "{thread:?}");
}

#[test]
fn an_address_that_somebody_removes_is_told() {
    let lab = two_balancers();
    let node = Node::start(lab.balancer(0));
    let interface = node.interface;
    node.perform(vec![Effect::AddAddresses { interface, addresses: prefixes() }]);
    for host in [VIRTUAL_V4, VIRTUAL_V6] {
        await_that("it is there", || times_held(&node.namespace, "eth0", host) == 1);
        ip(&node.namespace, &format!("address delete {host} dev eth0\n"));
        let lost = node.expect("the address is lost", |seen| match seen {
            Seen::Lost(address) => Some(*address),
            _ => None,
        });
        assert_eq!(lost, address(host));
    }
}

#[test]
fn an_address_of_which_the_kernel_has_not_told_yet_is_not_lost() {
    let lab = two_balancers();
    let node = Node::start(lab.balancer(0));
    node.send(settings(|_| {}));
    let interface = node.interface;
    let addresses = |number: u16| vec![IpNet::from(IpAddr::from([0xfd02, 0, 0, 0, 0, 0, 1, number]))];
    // Of an IPv6 address the kernel tells some time after it has it, and in between of others.
    let other = vec![IpNet::from(address(VIRTUAL_V4))];
    for number in 0..200 {
        node.perform(vec![
            Effect::AddAddresses { interface, addresses: addresses(number) },
            Effect::AddAddresses { interface, addresses: other.clone() },
            Effect::RemoveAddresses { interface, addresses: other.clone() },
        ]);
    }
    let last = addresses(199)[0].addr().to_string();
    await_that("all are there", || times_held(&node.namespace, "eth0", &last) == 1);
    // They go and come back at once.
    for number in 0..200 {
        let addresses = addresses(number);
        node.perform(vec![
            Effect::RemoveAddresses { interface, addresses: addresses.clone() },
            Effect::AddAddresses { interface, addresses },
        ]);
    }
    await_that("all are back", || times_held(&node.namespace, "eth0", &last) == 1);
    let lost: Vec<Seen> = node.seen().into_iter().filter(|seen| matches!(seen, Seen::Lost(_))).collect();
    assert_eq!(lost, [], "nobody took them");
}

#[test]
fn interfaces_are_told_with_their_addresses_as_they_come_and_go() {
    let lab = two_balancers();
    let node = Node::start(lab.balancer(0));
    node.send(settings(|_| {}));
    let link = |what: &str, running: bool| {
        node.expect(what, |seen| match seen {
            Seen::Link(link) if link.running == running => Some(link.clone()),
            _ => None,
        })
    };
    let first = link("eth0 as it is", true);
    assert_eq!((&*first.name, first.index, first.mac), ("eth0", node.interface, MACS[0]));
    assert_eq!(first.addresses[0].addr(), IpAddr::from(balancer_v4(0)), "{:?}", first.addresses);

    ip(&node.namespace, "link set eth0 down\n");
    link("eth0 is down", false);
    ip(&node.namespace, "link set eth0 up\n");
    link("eth0 is up", true);
    ip(&lab.router(), "link set p-lb1 down\n");
    link("eth0 has no carrier", false);
    ip(&node.namespace, "link delete eth0\n");
    node.expect("eth0 is gone", |seen| (*seen == Seen::LinkGone("eth0".to_owned())).then_some(()));
}

#[test]
fn s18_a_node_hears_advertisements_again_after_its_link_was_down() {
    let lab = two_balancers();
    let node = Node::start(lab.balancer(0));
    node.send(settings(|_| {}));
    node.listen();
    ip(&node.namespace, "link set eth0 down\n");
    ip(&node.namespace, "link set eth0 up\n");
    let memberships = || {
        let read = || std::fs::read_to_string("/proc/thread-self/net/igmp").expect("it is there");
        node.namespace.run(read).expect("the namespace is there")
    };
    await_that("224.0.0.18 is joined", || memberships().contains("120000E0"));
    let thread = node.thread.handle.thread();
    assert!(thread.problems.is_empty(), "{thread:?}");
}

#[test]
fn leftovers_of_an_earlier_run_are_removed_or_kept_as_configured() {
    let cases = [(OnCrash::Release, 100, 0), (OnCrash::Keep, 100, 1), (OnCrash::Release, 255, 1)];
    let lab = two_balancers();
    for (on_crash, priority, held) in cases {
        let namespace = lab.balancer(0);
        let lines = format!("address replace {VIRTUAL_V4}/32 dev eth0\naddress replace {VIRTUAL_V6}/128 dev eth0\n");
        ip(&namespace, &lines);
        let node = Node::start(namespace);
        node.send(settings(|router| (router.on_crash, router.priority) = (on_crash, priority)));
        node.expect("the interface", |seen| matches!(seen, Seen::Link(_)).then_some(()));
        for host in [VIRTUAL_V4, VIRTUAL_V6] {
            let what = format!("{on_crash:?}, priority {priority}: {host} is held {held} times");
            await_that(&what, || times_held(&node.namespace, "eth0", host) == held);
        }
        node.stop();
    }
}

#[test]
fn routes_and_rules_come_and_go_and_leave_those_of_others_alone() {
    let lab = two_balancers();
    let node = Node::start(lab.balancer(0));
    ip(&node.namespace, "route add 198.51.100.0/24 via 10.2.0.254\n");
    let route = |destination: &str, via: &str, table| VirtualRoute {
        destination: destination.parse().expect("a prefix"),
        via: Some(address(via)),
        interface: None,
        source: None,
        table,
        metric: None,
    };
    let routes = vec![
        route("203.0.113.0/24", "10.2.0.254", 254),
        route("2001:db8::/32", "fd02::fe", 1000),
        route("198.51.100.0/24", "10.2.0.253", 254),
    ];
    let rules =
        vec![VirtualRule { from: Some(IpNet::from(address(VIRTUAL_V6))), to: None, table: 1000, priority: Some(50) }];
    let set = |present| Effect::Routes {
        router: "public".into(),
        interface: node.interface,
        routes: routes.clone(),
        rules: rules.clone(),
        present,
    };
    let gateway = |arguments: &[&str]| ip_says(&node.namespace, arguments)[0]["gateway"].as_str().map(str::to_owned);
    let ours = ["route", "show", "203.0.113.0/24"];
    let ours_v6 = ["-6", "route", "show", "2001:db8::/32", "table", "1000"];
    let theirs = ["route", "show", "198.51.100.0/24"];
    let rule = || ip_says(&node.namespace, &["-6", "rule", "show", "priority", "50"])[0]["table"].clone();

    // Twice, as after a crash.
    node.perform(vec![set(true), set(true)]);
    await_that("the routes are there", || gateway(&ours).is_some() && gateway(&ours_v6).is_some() && rule() == "1000");
    assert_eq!(gateway(&theirs).as_deref(), Some("10.2.0.254"), "somebody else's stays");
    await_that("that one is refused is told", || {
        let problems = &node.thread.handle.thread().problems;
        problems.len() == 1 && problems.iter().all(|problem| problem.contains("add the route to 198.51.100.0/24"))
    });

    node.perform(vec![set(false)]);
    await_that("the routes are gone", || gateway(&ours).is_none() && gateway(&ours_v6).is_none() && rule().is_null());
    assert_eq!(gateway(&theirs).as_deref(), Some("10.2.0.254"), "somebody else's stays");
}
