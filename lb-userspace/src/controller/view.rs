//! What the daemon says of itself: one snapshot that `status`, `show`, the metrics and the status page are all made from.
//! Its JSON is the answer of `-o json`; the shape is versioned by [`API_VERSION`].

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::checks::{CheckStatus, ProberStatus};
use super::vrrp::VrrpStatus;

/// Version of the shapes here. Fields are added under the same version, never renamed or removed.
pub const API_VERSION: &str = "v1";

/// Everything, at one moment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// [`API_VERSION`].
    pub api: String,
    /// This node.
    pub node: NodeStatus,
    /// The configuration in force.
    pub config: ConfigStatus,
    /// Interfaces that XDP is, or should be, attached to.
    pub interfaces: Vec<InterfaceStatus>,
    /// The virtual services, in the order of the configuration.
    pub services: Vec<ServiceStatus>,
    /// The flow tables.
    pub flows: FlowsStatus,
    /// Packets passed to the host, by reason.
    pub passes: BTreeMap<String, u64>,
    /// Packets dropped, by reason.
    pub drops: BTreeMap<String, u64>,
    /// Neighbours (next hops) by destination: resolved frame or reason, in words.
    pub neighbours: Vec<NeighbourStatus>,
    /// What an operator should know and do, in words; empty when all is well.
    pub warnings: Vec<String>,
    /// Flows that would move or end if this node failed now and another took over: records that the other node has not.
    pub flows_at_risk: u64,
    /// What operators want beside the configuration.
    #[serde(default)]
    pub overrides: Vec<Override>,
    /// VRRP; `None`: no virtual router was configured since the daemon started.
    #[serde(default)]
    pub vrrp: Option<VrrpStatus>,
    /// The prober; `None`: no check was configured since the daemon started.
    #[serde(default)]
    pub prober: Option<ProberStatus>,
    /// The exchange with the peer; `None`: no peer was configured since the daemon started.
    #[serde(default)]
    pub exchange: Option<crate::exchange::view::View>,
}

/// The node.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NodeStatus {
    /// Its name.
    pub name: String,
    /// Version of Fairway.
    pub version: String,
    /// Running kernel.
    pub kernel: String,
    /// Process id of the daemon.
    pub pid: u32,
    /// Start of the daemon, seconds since the Unix epoch.
    pub started: f64,
    /// Whether the daemon is ready to serve: attached and every next hop known or failed.
    pub ready: bool,
    /// Why it is not.
    pub not_ready: Option<String>,
}

/// The configuration.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ConfigStatus {
    /// Where it was read from.
    pub file: String,
    /// `Config::hash` of what is in force.
    pub hash: String,
    /// When it came into force, seconds since the Unix epoch.
    pub loaded: f64,
    /// Whether the last reload was accepted.
    pub last_reload_successful: bool,
    /// When the last reload was tried, accepted or not, seconds since the Unix epoch.
    pub last_reload: f64,
    /// Why it was not.
    pub last_reload_error: Option<String>,
}

/// An interface.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct InterfaceStatus {
    /// Its name in the configuration.
    pub name: String,
    /// Its index; `None` when there is no such interface now.
    pub index: Option<u32>,
    /// `native`, `generic`, or `none`.
    pub mode: String,
    /// Its MTU.
    pub mtu: Option<u32>,
    /// When the mode last changed, seconds since the Unix epoch.
    pub since: f64,
    /// Why it is not attached, or not natively.
    pub why: Option<String>,
}

/// A virtual service.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ServiceStatus {
    /// Its name.
    pub name: String,
    /// It was added at run time: it is not in the configuration file.
    #[serde(default)]
    pub runtime: bool,
    /// `tcp://203.0.113.10:80`, …
    pub listeners: Vec<String>,
    /// `direct`, `nat`.
    pub forwarding: String,
    /// `maglev`, …
    pub scheduler: String,
    /// Which clients may come, and how often, in words; empty: all, always.
    #[serde(default)]
    pub access: String,
    /// Slots of the lookup table.
    pub lookup_table_size: u32,
    /// Hash of the lookup table, by backends' identities: equal on nodes that agree.
    pub lookup_table_hash: String,
    /// Slots with two owners.
    pub unsettled_slots: u32,
    /// Slots whose recorded flows may belong to others.
    pub exception_slots: u32,
    /// Whether enough backends are up.
    pub quorum_ok: bool,
    /// How the quorum stands, in words.
    #[serde(default)]
    pub quorum_why: String,
    /// Since when it is as it is, seconds since the Unix epoch.
    #[serde(default)]
    pub quorum_since: f64,
    /// Sums over the backends.
    pub totals: Totals,
    /// What its packets went by, if it goes by QUIC's connection IDs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quic: Option<QuicTotals>,
    /// Backends, in the order of the configuration, then those that are leaving.
    pub backends: Vec<BackendStatus>,
}

/// What the packets of a service went by that goes by QUIC's connection IDs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct QuicTotals {
    /// Their connection ID.
    pub connection_id: u64,
    /// The lookup table, with a long header: what begins a connection, above all.
    pub beginning: u64,
    /// The lookup table, with a short header: no backend that is alive has the server ID.
    pub unknown: u64,
}

impl QuicTotals {
    /// Each with the word for it in metrics and tables.
    pub fn by_name(&self) -> [(&'static str, u64); 3] {
        [("connection-id", self.connection_id), ("beginning", self.beginning), ("unknown", self.unknown)]
    }
}

/// A backend of a service.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BackendStatus {
    /// Its name.
    pub name: String,
    /// Its address.
    pub address: String,
    /// The port that nat translates to, where it is set.
    pub port: Option<u16>,
    /// `direct`, `nat`.
    pub forwarding: String,
    /// Configured weight.
    pub weight: u32,
    /// The weight that the lookup table is made from, in units of the configured one.
    #[serde(default)]
    pub effective_weight: f64,
    /// Its tier.
    #[serde(default)]
    pub priority: u8,
    /// `up`, `down`, `drain`, `disabled`, `starting`, `unchecked`; `drain` with `leaving` set for a removed one.
    pub state: String,
    /// Removed from the configuration; its flows are still served.
    pub leaving: bool,
    /// When the state last changed, seconds since the Unix epoch.
    pub since: f64,
    /// Why it is in this state, in words.
    pub why: String,
    /// Slots of the lookup table that it owns.
    pub slots: u32,
    /// What is left of the flows that it had, while it gets no new ones.
    #[serde(default)]
    pub remaining: Option<Remaining>,
    /// The frame that reaches it, or why there is none, in words.
    pub next_hop: String,
    /// Whether its next hop is known.
    pub reachable: bool,
    /// Its connections, where the scheduler counts them.
    #[serde(default)]
    pub connections: Option<Connections>,
    /// What was forwarded to it.
    pub totals: Totals,
    /// Its checks, in the order of the configuration.
    #[serde(default)]
    pub checks: Vec<CheckStatus>,
}

/// Connections of a backend under a stateful scheduler.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Connections {
    /// Established ones.
    pub active: u32,
    /// Those that open or close, and those that are not TCP.
    pub inactive: u32,
    /// It gets no new ones until they are fewer.
    pub full: bool,
}

/// Flows that a backend still has though it gets no new ones. Flows of settled slots are not recorded, so nobody knows their
/// number; but each of them is recorded with its next packet as long as its slot names the backend as the previous owner.
/// With no such slot and no record, none is left.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Remaining {
    /// Recorded flows, at the last census.
    pub recorded: u64,
    /// Slots that may still have unrecorded ones.
    pub slots: u32,
}

/// What an operator wants beside the configuration.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Override {
    /// The service; `None`: all.
    pub service: Option<String>,
    /// The backend; its address, if it is meant in all services.
    pub backend: String,
    /// In words: `drained, weight 50`.
    pub what: String,
    /// When it was said, seconds since the Unix epoch.
    pub since: f64,
    /// Whether the backend is in the configuration at present.
    pub configured: bool,
}

/// What became of an order to a backend.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct BackendReport {
    /// [`API_VERSION`].
    pub api: String,
    /// How the backends stand now, one a line.
    pub lines: Vec<String>,
}

/// Counters since the daemon started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Totals {
    /// Packets.
    pub packets: u64,
    /// Bytes, from the IP length.
    pub bytes: u64,
    /// New connections (TCP SYNs).
    pub connections: u64,
    /// SYNs that clients had sent before.
    #[serde(default)]
    pub syn_retransmissions: u64,
    /// TCP resets of translated backends.
    #[serde(default)]
    pub resets: u64,
    /// ICMP errors that say that a translated backend cannot be reached.
    #[serde(default)]
    pub unreachables: u64,
}

impl Totals {
    /// Adds others to these.
    pub fn add(&mut self, more: &Self) {
        self.packets += more.packets;
        self.bytes += more.bytes;
        self.connections += more.connections;
        self.syn_retransmissions += more.syn_retransmissions;
        self.resets += more.resets;
        self.unreachables += more.unreachables;
    }
}

/// The flow tables.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FlowsStatus {
    /// Records of TCP flows, at the last census.
    pub tcp: u64,
    /// Records of UDP flows, at the last census.
    pub udp: u64,
    /// Records that fit into each table.
    pub capacity: u64,
    /// Records that could not be made, since the daemon started.
    pub refusals: u64,
    /// Slots that left "unsettled" although records were still refused: flows may have moved.
    pub forced_slots: u64,
    /// Records of stateful schedulers, at the last census.
    #[serde(default)]
    pub stateful: u64,
    /// Of these, so many fit, of each address family.
    #[serde(default)]
    pub stateful_capacity: u64,
    /// Clients that stateful schedulers remember, at the last census.
    #[serde(default)]
    pub clients: u64,
    /// Flows that a stateful scheduler could not record, and left to the lookup table.
    #[serde(default)]
    pub unrecorded: u64,
    /// Translated flows that are recorded, at the last census.
    #[serde(default)]
    pub translations: u64,
    /// Of these, so many fit, of each address family.
    #[serde(default)]
    pub translation_capacity: u64,
}

/// A destination and how it is reached.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NeighbourStatus {
    /// The backend's address.
    pub destination: String,
    /// Whether the frame is known.
    pub resolved: bool,
    /// The frame, or why there is none.
    pub detail: String,
}

/// What a reload did or would do.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PlanReport {
    /// [`API_VERSION`].
    pub api: String,
    /// One line a change: `+ service web (…)`, `~ …`, `- …`. Empty: nothing to do.
    pub changes: Vec<String>,
    /// Writes to the tables.
    pub writes: usize,
    /// Slots that get another owner, and slots in all.
    pub slots_moved: u64,
    /// Slots in all tables that are touched.
    pub slots: u64,
    /// Services whose lookup table changes its size: most of their established flows lose their backend. How many flows that
    /// are nobody knows, since settled flows are not recorded.
    pub rehomed: Vec<String>,
    /// Warnings of the configuration check, rendered.
    pub warnings: Vec<String>,
    /// What operators want beside the configuration, which stays in force.
    #[serde(default)]
    pub overrides: Vec<Override>,
}

impl std::fmt::Display for Override {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.service {
            Some(service) => write!(f, "{service}/{} {}", self.backend, self.what)?,
            None => write!(f, "{} {}", self.backend, self.what)?,
        }
        if self.configured { Ok(()) } else { f.write_str(" (not in the configuration)") }
    }
}

/// Why a request could not be served.
#[derive(Clone, Debug, PartialEq, thiserror::Error, Serialize, Deserialize)]
#[error("{message}")]
pub struct Problem {
    /// The exit code of the command: 1 failure, 2 bad config or usage, 3 no answer in time, 4 permission, 5 partly
    /// applied.
    pub exit: u8,
    /// What is wrong and what to do; for a bad configuration all its problems, rendered.
    pub message: String,
}

/// The services that were added at run time.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RuntimeServices {
    /// [`API_VERSION`].
    pub api: String,
    /// Where they are kept.
    pub file: String,
    /// Each with the keys of `[[service]]` that were given.
    pub services: Vec<toml::Table>,
    /// All of them, to be pasted into a configuration file.
    pub toml: String,
    /// Why they are not in force, if they are not.
    pub not_in_force: Option<String>,
}

/// The answer of `explain`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Explanation {
    /// [`API_VERSION`].
    pub api: String,
    /// The service that the packet belongs to, if any.
    pub service: Option<String>,
    /// The backend that it goes to, if any.
    pub backend: Option<String>,
    /// What happens to it: `transmit`, `redirect to eth1`, `pass (not-a-service)`, `drop (…)`.
    pub verdict: String,
    /// Each step, in words.
    pub steps: Vec<String>,
}

/// What became of an order to virtual routers.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct OrderReport {
    /// [`API_VERSION`].
    pub api: String,
    /// Names of the virtual routers it was given to.
    pub routers: Vec<String>,
}
