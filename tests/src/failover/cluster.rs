//! Two balancers, what they serve, and the clients that hold on to it; and everything that can happen to the first.
//!
//! With Fairway the address is that of a service with backends, which answer; keepalived has no data path of its own on
//! this kernel, so there the node that holds the address answers, and no connection could outlive it.

use std::net::SocketAddr;
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use fairway::playground::Lab;
use fairway::playground::topology::{Replies, SERVICE_V4, Spec, backend_v4};

use super::churn::{Broken, Churn};
use super::clock::now;
use super::connections::Connections;
use super::daemon::Daemon;
use super::offer::{Offer, PORT, offers};
use super::plan::{Fault, Peer, Setup};
use super::servers::Server;
use crate::harness::ip;
use crate::vrrp::{Cable, has_address};

/// Connections held through the balancer.
const CONNECTIONS: usize = 1000;
/// The same, of all services together where there are several.
const MIXED_CONNECTIONS: usize = 10_000;
/// New connections a second to each service, where there are several.
const CHURN: u32 = 50;
/// Connections opened besides after a backend was replaced.
const LATER_CONNECTIONS: usize = 500;
/// Of a service; one more is there to replace the first.
pub const BACKENDS: usize = 3;
/// From the replacement to the fault.
const CHANGED_BEFORE: Duration = Duration::from_secs(10);
/// From a drain to the fault.
const DRAINED_BEFORE: Duration = Duration::from_millis(500);
/// The better node, and the other.
const FIRST: usize = 0;
const SECOND: usize = 1;
/// Longer than any takeover: three intervals of a second, and what a daemon needs to start.
const PATIENCE: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(5);

/// A pair under test. Fields are in the order in which they have to end.
pub struct Cluster {
    connections: Vec<Connections>,
    churn: Vec<Churn>,
    _servers: Vec<Server>,
    nodes: [Option<Daemon>; 2],
    setup: Setup,
    lab: Lab,
}

impl Cluster {
    /// Builds a network, starts both nodes and waits until the better one is master and all connections are open.
    pub fn start(setup: Setup) -> Result<Self> {
        let replies = if setup.variant.nat { Replies::ThroughBalancer } else { Replies::Direct };
        let lab =
            Lab::build(&Spec { balancers: 2, backends: BACKENDS + 1, floating: true, replies, ..Spec::default() })?;
        if !setup.translates() {
            stop_forwarding(&lab)?;
        }
        let mut cluster = Self {
            connections: vec![],
            churn: vec![],
            _servers: servers(&lab, setup)?,
            nodes: [None, None],
            setup,
            lab,
        };
        for index in [FIRST, SECOND] {
            cluster.start_node(index);
        }
        cluster.wait_for_master(FIRST)?;
        if setup.peer == Peer::Fairway {
            cluster.connect(if setup.variant.mix { MIXED_CONNECTIONS } else { CONNECTIONS })?;
        }
        if setup.variant.mix {
            let begin = |offer: Offer| Churn::start(&cluster.lab.client(), offer.address(), CHURN);
            cluster.churn = offers(setup).into_iter().map(begin).collect();
        }
        Ok(cluster)
    }

    /// What it is.
    pub fn setup(&self) -> Setup {
        self.setup
    }

    /// Where clients are.
    pub fn lab(&self) -> &Lab {
        &self.lab
    }

    /// Connections through the balancer that have broken so far, where there are any.
    pub fn broken(&self) -> Option<u64> {
        self.connections.iter().map(Connections::broken).reduce(|sum, more| sum + more)
    }

    /// Connections of those that come and go that have broken since a time on [`now`]'s clock, where there are any.
    pub fn broken_churn(&self, since: u64) -> Option<Broken> {
        self.churn.iter().map(|churn| churn.broken(since)).reduce(|sum, more| sum + more)
    }

    /// Waits until every connection has had an answer, or has been found broken.
    pub fn wait_for_answers(&self) {
        let begun = now();
        for connections in &self.connections {
            connections.wait_for_answers_since(begun);
        }
    }

    fn connect(&mut self, count: usize) -> Result<()> {
        let offers = offers(self.setup);
        for offer in &offers {
            self.connections.push(Connections::open(&self.lab.client(), offer.address(), count / offers.len())?);
        }
        Ok(())
    }

    /// How often a node has become master.
    pub fn takeovers(&self) -> usize {
        self.nodes.iter().flatten().map(Daemon::takeovers).sum()
    }

    /// Makes everything ready for a fault.
    pub fn prepare(&mut self, fault: Fault) -> Result<()> {
        if fault == Fault::Return {
            self.node(FIRST)?.stop();
            self.nodes[FIRST] = None;
            self.wait_for_master(SECOND)?;
        }
        if fault == Fault::Replaced {
            for (index, node) in self.nodes.iter().enumerate() {
                node.as_ref().context("the node does not run")?.replace_backend(&self.lab, self.setup, index)?;
            }
            self.connect(LATER_CONNECTIONS)?;
            thread::sleep(CHANGED_BEFORE);
        }
        if fault == Fault::Changed {
            let offers = offers(self.setup);
            self.node(FIRST)?.drain(&offers)?;
            thread::sleep(DRAINED_BEFORE);
        }
        Ok(())
    }

    /// Lets it happen, and waits until whoever is to be master then has the address. Returns when it began, on [`now`]'s
    /// clock. The return of the better node begins when it takes over: its start serves nobody yet, and would be seen only
    /// because all nodes share this machine's processors.
    pub fn strike(&mut self, fault: Fault) -> Result<u64> {
        let cable = Cable::of(&self.lab, FIRST);
        let begun = now();
        match fault {
            Fault::None => {}
            Fault::PowerOff | Fault::Replaced => {
                cable.block();
                self.node(FIRST)?.power_off();
            }
            Fault::LinkDown => cable.pull(),
            Fault::Sigkill | Fault::Changed => self.node(FIRST)?.kill(),
            Fault::Sigstop => self.node(FIRST)?.freeze(),
            Fault::Stop => self.node(FIRST)?.stop(),
            Fault::Resign => self.node(FIRST)?.resign()?,
            Fault::Return => self.start_node(FIRST),
        }
        match fault {
            Fault::None => self.wait_until_held(FIRST)?,
            Fault::Return => {
                self.wait_until_held(FIRST)?;
                return Ok(now());
            }
            _ => self.wait_until_held(SECOND)?,
        }
        Ok(begun)
    }

    /// Whether the first node still has the address although the other is master.
    pub fn is_address_left(&self) -> bool {
        self.holds(FIRST) && self.holds(SECOND)
    }

    /// Undoes the fault and waits until the first node is master again, alone.
    pub fn heal(&mut self, fault: Fault) -> Result<()> {
        let cable = Cable::of(&self.lab, FIRST);
        match fault {
            Fault::None | Fault::Return => {}
            Fault::PowerOff | Fault::Replaced => {
                self.boot_without_addresses();
                cable.unblock();
                self.start_node(FIRST);
            }
            Fault::LinkDown => cable.plug(),
            Fault::Sigkill | Fault::Changed | Fault::Stop => self.start_node(FIRST),
            Fault::Sigstop => {
                if !self.node(FIRST)?.thaw() {
                    self.start_node(FIRST);
                }
            }
            Fault::Resign => self.node(FIRST)?.resume()?,
        }
        self.wait_for_master(FIRST)
    }

    fn start_node(&mut self, index: usize) {
        self.nodes[index] = None; // what is left of the one before
        self.nodes[index] = Some(Daemon::start(&self.lab, self.setup, index));
    }

    fn node(&mut self, index: usize) -> Result<&mut Daemon> {
        self.nodes[index].as_mut().context("the node does not run")
    }

    /// A machine that starts has no addresses but those it is configured with.
    fn boot_without_addresses(&self) {
        if self.holds(FIRST) {
            ip(&self.lab.balancer(FIRST), &format!("address delete {SERVICE_V4}/32 dev eth0\n"));
        }
    }

    fn wait_for_master(&self, index: usize) -> Result<()> {
        self.wait(index, || self.holds(index) && !self.holds(1 - index))
    }

    fn wait_until_held(&self, index: usize) -> Result<()> {
        self.wait(index, || self.holds(index))
    }

    fn wait(&self, index: usize, holds: impl Fn() -> bool) -> Result<()> {
        for _ in 0..PATIENCE.as_millis() / POLL.as_millis() {
            if holds() {
                return Ok(());
            }
            thread::sleep(POLL);
        }
        let logs: Vec<String> = self.nodes.iter().flatten().map(Daemon::log).collect();
        bail!("lb{} is not master after {PATIENCE:?}; the nodes' logs:\n{}", index + 1, logs.join("\n---\n"))
    }

    fn holds(&self, index: usize) -> bool {
        has_address(&self.lab.balancer(index), SERVICE_V4.into())
    }
}

/// A balancer that forwards as routers do would pass on to the master what still comes to it, and hide that it does.
fn stop_forwarding(lab: &Lab) -> Result<()> {
    [FIRST, SECOND].iter().try_for_each(|index| lab.balancer(*index).set_sysctls(&[("net/ipv4/ip_forward", "0")]))
}

/// What the probes talk to.
pub fn service() -> SocketAddr {
    SocketAddr::new(SERVICE_V4.into(), PORT)
}

fn servers(lab: &Lab, setup: Setup) -> Result<Vec<Server>> {
    match setup.peer {
        Peer::Keepalived => [FIRST, SECOND]
            .into_iter()
            .map(|index| Server::of_probes(&lab.balancer(index), service(), number(index)))
            .collect(),
        Peer::Fairway => (0..=BACKENDS)
            .flat_map(|index| offers(setup).into_iter().map(move |offer| (index, offer)))
            .map(|(index, offer)| {
                let address = offer.address_at(backend_v4(index));
                Server::of_probes_and_connections(&lab.backend(index), address, number(index))
            })
            .collect(),
    }
}

fn number(index: usize) -> u8 {
    u8::try_from(index + 1).expect("a lab has few hosts")
}
