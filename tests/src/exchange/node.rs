//! A pair whose service has a stateful scheduler, and what its nodes say of themselves.

use std::fs;
use std::net::IpAddr;
use std::time::Duration;

use anyhow::{Context as _, Result};
use fairway::playground::Lab;
use fairway::playground::topology::{Replies, SERVICE_V4, Spec, backend_v4, balancer_v4};

use super::flood::{FIRST_PORT, PORTS};
use crate::harness::{Fairway, ip};
use crate::vrrp::{Router, preamble};

const BACKENDS: usize = 4;
/// Records of each node's table.
const CAPACITY: u32 = 1 << 21;
const PRIORITIES: [u8; 2] = [254, 250];
const VRID: u8 = 51;

/// A network in which nobody answers connections, and no node runs yet.
///
/// # Errors
/// When it cannot be built.
pub fn lab() -> Result<Lab> {
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
    fs::write(lab.directory().join("peer.key"), "6b".repeat(32)).context("writing the pair's key")?;
    Ok(lab)
}

/// Starts a node.
pub fn start(lab: &Lab, index: usize) -> Node {
    let router = Router::new(VRID, Duration::from_secs(1), PRIORITIES[index], vec![IpAddr::V4(SERVICE_V4)]);
    let backend = |index| format!("\n[[service.backend]]\naddress = \"{}\"\n", backend_v4(index));
    let text = format!(
        "{preamble}
[dataplane]
interfaces = [\"eth0\"]
hash_seed = \"bench\"
stateful_table_capacity = {CAPACITY}
{vrrp}
[peer]
addresses = [\"{other}\"]
key_file = \"{key}\"
hold = \"100ms\"

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
        other = balancer_v4(1 - index),
        key = lab.directory().join("peer.key").display(),
        last = u32::from(FIRST_PORT) + PORTS - 1,
        backends = (0..BACKENDS).map(backend).collect::<String>(),
    );
    Node { fairway: Fairway::start_on(lab, index, &text) }
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
    pub fn used(&self) -> Result<Duration> {
        for task in fs::read_dir(format!("/proc/{}/task", self.fairway.pid())).context("looking for its threads")? {
            let task = task?.path();
            if fs::read_to_string(task.join("comm"))?.starts_with("fairway-exch") {
                let figures = fs::read_to_string(task.join("schedstat")).context("asking what a thread has used")?;
                let first = figures.split_whitespace().next().context("figures")?;
                return Ok(Duration::from_nanos(first.parse().context("a number")?));
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

/// Octets that a balancer has received.
///
/// # Errors
/// When it is not there.
pub fn received(lab: &Lab, index: usize) -> Result<u64> {
    let read = || fs::read_to_string("/proc/thread-self/net/dev");
    let text = lab.balancer(index).run(read)?.context("asking for counters")?;
    let line = text.lines().find_map(|line| line.trim().strip_prefix("eth0:")).context("an interface")?;
    line.split_whitespace().next().context("figures")?.parse().context("a number")
}
