//! The VRRP thread on real interfaces, with a script in the engine's place: each effect is seen to be done by another
//! host of the lab or by the kernel, and what happens to interfaces, addresses and packets reaches the engine.

mod election;
mod kernel;
mod node;
mod packets;
mod punctuality;
mod virtual_mac;

use std::net::IpAddr;

use fairway::config::{ChecksumForm, OnCrash, VirtualRouter, VrrpVersion};
use fairway::effects::vrrp::Command;
use fairway::playground::Lab;
use fairway::playground::topology::{Replies, Spec};
use fairway::vrrp::event::{RouterSettings, Settings};
use std::time::Duration;

use crate::harness::{ip_says, lab};

/// The address that moves, free in every lab.
const VIRTUAL_V4: &str = "10.2.0.200";
/// The same of the other family.
const VIRTUAL_V6: &str = "fd02::200";

fn two_balancers() -> Lab {
    lab(&Spec { balancers: 2, backends: 1, replies: Replies::Direct, ..Spec::default() })
}

fn address(text: &str) -> IpAddr {
    text.parse().expect("the test gives an address")
}

/// Settings with one virtual router on `eth0`.
fn settings(change: impl FnOnce(&mut VirtualRouter)) -> Command {
    let mut router = VirtualRouter {
        name: "public".to_owned(),
        interface: "eth0".to_owned(),
        vrid: 51,
        version: VrrpVersion::V3,
        priority: 100,
        advertisement_interval: Duration::from_millis(100),
        missed_advertisements: 3,
        preempt: true,
        preempt_delay: Duration::ZERO,
        addresses: vec![format!("{VIRTUAL_V4}/32").parse().expect("a prefix")],
        excluded_addresses: vec![format!("{VIRTUAL_V6}/128").parse().expect("a prefix")],
        on_crash: OnCrash::Release,
        virtual_mac: false,
        unicast_source: None,
        unicast_peers: Vec::new(),
        unicast_minimum_ttl: 255,
        authentication: None,
        checksum: ChecksumForm::Auto,
        group: None,
        tracks: Vec::new(),
        routes: Vec::new(),
        rules: Vec::new(),
    };
    change(&mut router);
    let routers = vec![RouterSettings { router, live: None }];
    Command::Configure(Box::new(Settings { routers, peer: None, ready_timeout: Duration::from_secs(30) }))
}

/// The MAC address that the lab's router knows for an address, if any.
fn known_mac(lab: &Lab, address: &str) -> Option<String> {
    let neighbours = ip_says(&lab.router(), &["neighbour", "show", address]);
    neighbours[0]["lladdr"].as_str().map(str::to_owned)
}

/// How often an address is on an interface, as `ip` lists it.
fn times_held(namespace: &fairway::playground::Namespace, interface: &str, address: &str) -> usize {
    let links = ip_says(namespace, &["address", "show", "dev", interface]);
    links[0]["addr_info"].as_array().map_or(0, |all| all.iter().filter(|info| info["local"] == address).count())
}
