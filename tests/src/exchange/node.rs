//! A pair whose service has a stateful scheduler, and what its nodes say of themselves.

use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use anyhow::{Context as _, Result};
use fairway::playground::Lab;
use fairway::playground::topology::{Replies, SERVICE_V4, Spec, backend_v4, balancer_v4};

use super::flood::{FIRST_PORT, PORTS};
use super::softirqs::Softirqs;
use crate::harness::{Fairway, ip};
use crate::vrrp::{PeerLink, Router, preamble};

const BACKENDS: usize = 4;
/// Records of each node's table.
const CAPACITY: u32 = 1 << 21;
const PRIORITIES: [u8; 2] = [254, 250];
const VRID: u8 = 51;

/// The interface of a link of its own between both nodes.
const INTERFACE: &str = "peer0";

/// What the exchange goes over.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Link {
    /// A link that is for nothing else.
    Own,
    /// The clients' link: whoever sends or receives there handles packets of theirs that wait.
    Clients,
}

impl Link {
    /// A balancer's end of it.
    fn address(self, index: usize) -> Ipv4Addr {
        match self {
            Self::Own => Ipv4Addr::new(10, 3, 0, index as u8 + 1),
            Self::Clients => balancer_v4(index),
        }
    }

    fn interface(self) -> &'static str {
        match self {
            Self::Own => INTERFACE,
            Self::Clients => "eth0",
        }
    }
}

/// A network in which nobody answers connections, and no node runs yet.
///
/// # Errors
/// When it cannot be built.
pub fn lab(link: Link) -> Result<Lab> {
    let lab = Lab::build(&Spec {
        balancers: 2,
        backends: BACKENDS,
        floating: true,
        replies: Replies::Direct,
        ..Spec::default()
    })?;
    for backend in 0..BACKENDS {
        ip(&lab.backend(backend), &format!("address delete {SERVICE_V4}/32 dev lo\n"));
    }
    if link == Link::Own {
        let [first, second] = [lab.balancer(0), lab.balancer(1)];
        let other = second.name();
        ip(&first, &format!("link add {INTERFACE} type veth peer name {INTERFACE} netns {other}\n"));
        for (index, namespace) in [first, second].iter().enumerate() {
            let address = link.address(index);
            ip(namespace, &format!("address add {address}/24 dev {INTERFACE}\nlink set {INTERFACE} up\n"));
        }
    }
    Ok(lab)
}

/// Starts a node.
///
/// # Errors
/// When the lab's directory cannot be written.
pub fn start(lab: &Lab, link: Link, index: usize) -> Result<Node> {
    let router = Router::new(VRID, Duration::from_secs(1), PRIORITIES[index], vec![IpAddr::V4(SERVICE_V4)]);
    let backend = |index| format!("\n[[service.backend]]\naddress = \"{}\"\n", backend_v4(index));
    let peer = PeerLink { other: link.address(1 - index).into(), heartbeat: None, hold: "100ms" };
    let text = format!(
        "{preamble}
[dataplane]
interfaces = [\"eth0\"]
hash_seed = \"bench\"
stateful_table_capacity = {CAPACITY}
{vrrp}{peer}
[[service]]
name = \"bench\"
listen = [\"tcp://{SERVICE_V4}:{FIRST_PORT}-{last}\"]
vrrp = \"{name}\"
scheduler = \"weighted-least-connection\"
idle_timeout = \"1h\"
{backends}",
        preamble = preamble(lab, index),
        vrrp = router.for_fairway(),
        name = router.name(),
        peer = peer.for_fairway(lab)?,
        last = u32::from(FIRST_PORT) + PORTS - 1,
        backends = (0..BACKENDS).map(backend).collect::<String>(),
    );
    Ok(Node { fairway: Fairway::start_on(lab, index, &text) })
}

/// What a thread has used of a processor.
#[derive(Clone, Copy, Default, Debug)]
pub struct Used {
    /// As it is charged.
    pub charged: Duration,
    /// Of that: for packets that the kernel handled in its name, its own among them.
    pub packets: Duration,
}

impl Used {
    /// The part since then.
    pub fn since(self, before: Self) -> Self {
        let charged = self.charged.saturating_sub(before.charged);
        Self { charged, packets: self.packets.saturating_sub(before.packets) }
    }
}

/// A node that runs.
pub struct Node {
    /// The daemon.
    pub fairway: Fairway,
}

impl Node {
    /// A metric of its, 0 if it has none of that name.
    pub fn metric(&self, series: &str) -> f64 {
        self.fairway.metric(series).unwrap_or(0.0)
    }

    /// Whether the state of the service is all here, or told, whichever it is for the node.
    pub fn is_in_sync(&self) -> bool {
        self.fairway.metric_sum("fairway_exchange_in_sync") == 1.0
    }

    /// Connections that it counts.
    pub fn connections(&self) -> f64 {
        self.fairway.metric_sum("fairway_backend_active_connections")
            + self.fairway.metric_sum("fairway_backend_inactive_connections")
    }

    /// Those of them that it counts as established.
    pub fn established(&self) -> f64 {
        self.fairway.metric_sum("fairway_backend_active_connections")
    }

    /// What the exchange's thread has used of a processor.
    ///
    /// # Errors
    /// When it does not run.
    pub fn used(&self, softirqs: &mut Softirqs) -> Result<Used> {
        for task in fs::read_dir(format!("/proc/{}/task", self.fairway.pid())).context("looking for its threads")? {
            let task = task?;
            if fs::read_to_string(task.path().join("comm"))?.starts_with("fairway-exch") {
                let thread = task.file_name().to_string_lossy().parse().context("a thread's ID")?;
                let figures =
                    fs::read_to_string(task.path().join("schedstat")).context("asking for a thread's time")?;
                let first = figures.split_whitespace().next().context("figures")?;
                let charged = Duration::from_nanos(first.parse().context("a number")?);
                return Ok(Used { charged, packets: softirqs.of(thread)? });
            }
        }
        anyhow::bail!("it has no exchange")
    }

    /// Octets of memory that are its own.
    ///
    /// # Errors
    /// When it does not run.
    pub fn memory(&self) -> Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.fairway.pid()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).context("a line of it")?;
        let kibibytes: u64 = line.trim().trim_end_matches("kB").trim().parse().context("a number")?;
        Ok(kibibytes << 10)
    }
}

/// Octets that a balancer has received over that link.
///
/// # Errors
/// When it is not there.
pub fn received(lab: &Lab, link: Link, index: usize) -> Result<u64> {
    let read = || fs::read_to_string("/proc/thread-self/net/dev");
    let text = lab.balancer(index).run(read)?.context("asking for counters")?;
    let of_link = |line: &str| line.trim().strip_prefix(link.interface())?.strip_prefix(':').map(str::to_owned);
    let figures = text.lines().find_map(of_link).context("an interface")?;
    figures.split_whitespace().next().context("figures")?.parse().context("a number")
}
