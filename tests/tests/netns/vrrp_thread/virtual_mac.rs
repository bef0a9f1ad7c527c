//! A virtual MAC address without a macvlan: neighbours learn it, the host answers at it, and when it is given up nothing
//! is left.

use std::io::{Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use fairway::vrrp::effect::Effect;
use ipnet::IpNet;

use super::node::Node;
use super::{VIRTUAL_V4, VIRTUAL_V6, address, known_mac, times_held, two_balancers};
use crate::harness::{await_that, ip};

const CASES: [(&str, [u8; 6], &str); 2] = [
    (VIRTUAL_V4, [0, 0, 0x5e, 0, 1, 51], "00:00:5e:00:01:33"),
    (VIRTUAL_V6, [0, 0, 0x5e, 0, 2, 51], "00:00:5e:00:02:33"),
];
const LOOPBACK: u32 = 1;
const PORT: u16 = 4321;

fn take(node: &Node, host: &str, mac: [u8; 6]) {
    let addresses = vec![IpNet::from(address(host))];
    node.perform(vec![
        Effect::AddAddresses { interface: LOOPBACK, addresses },
        Effect::VirtualMac { interface: node.interface, mac, addresses: vec![address(host)] },
        Effect::Announce { interface: node.interface, mac, addresses: vec![address(host)] },
    ]);
    await_that("it is on the loopback interface", || times_held(&node.namespace, "lo", host) == 1);
}

fn give_up(node: &Node, host: &str, mac: [u8; 6]) {
    node.perform(vec![
        Effect::RemoveAddresses { interface: LOOPBACK, addresses: vec![IpNet::from(address(host))] },
        Effect::VirtualMac { interface: node.interface, mac, addresses: Vec::new() },
    ]);
    await_that("it is gone", || times_held(&node.namespace, "lo", host) == 0);
}

/// Says one word at whatever connects.
fn greet(node: &Node, word: &'static str) {
    let listen = || TcpListener::bind(("::", PORT)).expect("the port is free");
    let listener = node.namespace.run(listen).expect("the namespace is there");
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let _ = stream.write_all(word.as_bytes());
        }
    });
}

/// What the client, a router away, hears there; empty when nobody answers.
fn greeting(lab: &fairway::playground::Lab, host: IpAddr) -> String {
    let connect = || {
        let mut heard = String::new();
        let stream = TcpStream::connect_timeout(&SocketAddr::new(host, PORT), Duration::from_millis(500));
        if let Ok(mut stream) = stream {
            let _ = stream.set_read_timeout(Some(Duration::from_millis(500)));
            let _ = stream.read_to_string(&mut heard);
        }
        heard
    };
    lab.client().run(connect).expect("the namespace is there")
}

fn setting(node: &Node, name: &str) -> String {
    let read = || std::fs::read_to_string(format!("/proc/sys/net/ipv4/conf/eth0/{name}")).expect("it is there");
    node.namespace.run(read).expect("the namespace is there").trim().to_owned()
}

#[test]
fn f11_a_client_is_served_at_the_virtual_mac_address_by_whoever_has_it() {
    let lab = two_balancers();
    let nodes = [0, 1].map(|index| Node::start(lab.balancer(index)));
    greet(&nodes[0], "first");
    greet(&nodes[1], "second");
    for (host, mac, written) in CASES {
        take(&nodes[0], host, mac);
        // Asked anew, so that the answer is to the router's question and not our announcement.
        ip(&lab.router(), "neighbour flush dev br0\n");
        await_that("the first serves", || greeting(&lab, address(host)) == "first");
        assert_eq!(known_mac(&lab, host).as_deref(), Some(written), "{:?}", nodes[0].thread.handle.thread());

        give_up(&nodes[0], host, mac);
        take(&nodes[1], host, mac);
        await_that("the second serves", || greeting(&lab, address(host)) == "second");
        assert_eq!(known_mac(&lab, host).as_deref(), Some(written), "the router need not learn anything");
        give_up(&nodes[1], host, mac);
    }
    for node in &nodes {
        let thread = node.thread.handle.thread();
        assert!(thread.problems.is_empty() && thread.failures.is_empty(), "{thread:?}");
    }
}

#[test]
fn giving_up_a_virtual_mac_address_restores_the_settings_of_the_interface() {
    let lab = two_balancers();
    let node = Node::start(lab.balancer(0));
    let [(host, mac, _), (host_v6, mac_v6, _)] = CASES;
    let before = ["arp_ignore", "arp_announce"].map(|name| setting(&node, name));
    take(&node, host, mac);
    take(&node, host_v6, mac_v6);
    await_that("the kernel is silent", || setting(&node, "arp_ignore") == "1" && setting(&node, "arp_announce") == "2");
    give_up(&node, host, mac);
    assert_eq!(setting(&node, "arp_ignore"), "1", "the other still needs it");
    give_up(&node, host_v6, mac_v6);
    await_that("it is as before", || ["arp_ignore", "arp_announce"].map(|name| setting(&node, name)) == before);
}
