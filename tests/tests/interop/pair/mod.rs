//! Two nodes of Fairway on one link, configured in the words of the configuration file, and what a pair promises.

mod addresses;
mod bfd;
mod checksum;
mod crash;
mod exchange;
mod exchange_translations;
mod floating;
mod followers;
mod group;
mod hook;
mod joining;
mod quorum;
mod rehearsal;
mod resign;
mod servers;
mod service;
mod transfers;

use std::net::IpAddr;
use std::process::Command;

use fairway::playground::topology::Spec;
use fairway::playground::{Lab, Namespace};
use fairway_tests::harness::{Fairway, await_that, fairway_binary, lab};
use fairway_tests::vrrp::{Cable, Family, has_address, preamble};

/// The better node of most tests, and the other.
const FIRST: usize = 0;
const SECOND: usize = 1;
/// Priorities of the better node and of the other.
const BETTER: u8 = 254;
const WORSE: u8 = 250;

/// Two balancers. Fields are in the order in which they have to end.
struct Pair {
    nodes: [Option<Fairway>; 2],
    lab: Lab,
}

impl Pair {
    /// A lab with two balancers on which nothing runs yet.
    fn new() -> Self {
        Self::in_lab(lab(&Spec { balancers: 2, backends: 1, floating: true, ..Spec::default() }))
    }

    fn in_lab(lab: Lab) -> Self {
        Self { nodes: [None, None], lab }
    }

    /// Both nodes, the same but for what `config` makes of the node's number; and the first is master of `address`.
    fn start_both(address: &str, config: impl Fn(usize) -> String) -> Self {
        let mut pair = Self::new();
        for node in [FIRST, SECOND] {
            pair.start(node, &config(node));
        }
        pair.await_holder("the better one is master", address, FIRST);
        pair
    }

    /// Starts a node with this behind `[node]` and `[admin]`.
    fn start(&mut self, node: usize, config: &str) {
        self.start_through(node, config, Command::new(fairway_binary()));
    }

    /// The same by a command that becomes the daemon.
    fn start_through(&mut self, node: usize, config: &str, command: Command) {
        let config = preamble(&self.lab, node) + config;
        self.nodes[node] = Some(Fairway::start_through(&self.lab, node, &config, command));
    }

    fn node(&mut self, node: usize) -> &mut Fairway {
        self.nodes[node].as_mut().expect("it runs")
    }

    /// Ends a node in good order.
    fn stop(&mut self, node: usize) {
        let status = self.nodes[node].take().expect("it runs").stop();
        assert!(status.success(), "{status}");
    }

    /// Ends a node and its supervisor at once. What it holds stays on its interfaces.
    fn kill_with_supervisor(&mut self, node: usize) {
        let mut fairway = self.nodes[node].take().expect("it runs");
        let family = Family::of(fairway.pid());
        family.kill();
        await_that("it is gone", || !family.is_alive());
        fairway.kill();
    }

    /// The same, and nothing passes its link any more.
    fn power_off(&mut self, node: usize) {
        self.cable(node).block();
        self.kill_with_supervisor(node);
    }

    fn cable(&self, node: usize) -> Cable {
        Cable::of(&self.lab, node)
    }

    fn namespace(&self, node: usize) -> Namespace {
        self.lab.balancer(node)
    }

    fn holds(&self, node: usize, address: &str) -> bool {
        has_address(&self.namespace(node), ip_address(address))
    }

    /// Waits until an address is that node's alone.
    fn await_holder(&self, what: &str, address: &str, node: usize) {
        await_that(what, || self.holds(node, address) && !self.holds(1 - node, address));
    }
}

/// A `[[vrrp]]` on `eth0` that advertises ten times a second; `more` are further keys.
fn router(name: &str, vrid: u8, priority: u8, address: &str, more: &str) -> String {
    format!(
        "
[[vrrp]]
name = \"{name}\"
interface = \"eth0\"
vrid = {vrid}
priority = {priority}
advertisement_interval = \"100ms\"
addresses = [\"{address}\"]
{more}
"
    )
}

/// Of a node, where the first is the better one.
fn priority(node: usize) -> u8 {
    if node == FIRST { BETTER } else { WORSE }
}

fn ip_address(text: &str) -> IpAddr {
    text.parse().expect("the test gives an address")
}
