//! What is said of virtual routers: a snapshot, for status, metrics and tests.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// State of a virtual router (RFC 9568 section 6.4); Master is what RFC 9568 calls Active.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Not taking part yet, or no more.
    Init,
    /// Another node is master, or nobody yet.
    Backup,
    /// This node holds the addresses.
    Master,
    /// Something that is tracked forbids taking part.
    Fault,
}

impl State {
    /// Every state.
    pub const ALL: [Self; 4] = [Self::Init, Self::Backup, Self::Master, Self::Fault];

    /// As metrics and JSON call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Init => "init",
            Self::Backup => "backup",
            Self::Master => "master",
            Self::Fault => "fault",
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Everything, at a moment.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Snapshot {
    /// When it was taken, monotonic.
    pub at: Duration,
    /// The virtual routers, in the order of the file.
    pub routers: Vec<RouterView>,
    /// The peer link; `None`: not configured.
    pub peer: Option<PeerView>,
    /// The BFD sessions.
    pub bfd: Vec<BfdView>,
    /// Why the node is not ready; `None`: it is.
    pub not_ready: Option<String>,
    /// VRRP packets that concern no virtual router of ours, by reason (`vrid`, `interface`).
    pub stray: BTreeMap<String, u64>,
    /// Stalls that were noticed.
    pub stalls: u64,
    /// The longest of them.
    pub longest_stall: Duration,
}

/// A virtual router.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RouterView {
    /// Its name.
    pub name: String,
    /// Its interface.
    pub interface: String,
    /// `ipv4` or `ipv6`.
    pub family: String,
    /// Virtual router identifier.
    pub vrid: u8,
    /// Version, 2 or 3.
    pub version: u8,
    /// Its group, if any.
    pub group: Option<String>,
    /// Its state.
    pub state: State,
    /// Since when, monotonic.
    pub since: Duration,
    /// Why, in words.
    pub why: String,
    /// Priority as configured.
    pub priority: u8,
    /// Priority with all terms.
    pub effective_priority: u8,
    /// The terms: what is added, and what it depends on.
    pub terms: Vec<Term>,
    /// Who is master as far as we hear; `None`: nobody, or we are.
    pub master: Option<MasterView>,
    /// Advertised addresses.
    pub addresses: Vec<IpAddr>,
    /// Addresses held besides.
    pub excluded: Vec<IpAddr>,
    /// The virtual MAC address, if used.
    pub virtual_mac: Option<String>,
    /// An operator made it resign.
    pub resigned: bool,
    /// It does not preempt until then, monotonic.
    pub hold_until: Option<Duration>,
    /// Why it is not master though it might be: `not ready: 2 next hops are not known yet`.
    pub held_back: Option<String>,
    /// The other's addresses differ from ours, in words.
    pub address_difference: Option<String>,
    /// Another node that says it is master while we are, and when it last did, monotonic.
    pub foreign_master: Option<(IpAddr, Duration)>,
    /// Advertisement interval in force: the master's, learned (version 3), or our own.
    pub interval: Duration,
    /// Skew_Time at present.
    pub skew: Duration,
    /// Counters.
    pub counters: RouterCounters,
}

/// Who is master.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MasterView {
    /// Its address.
    pub address: IpAddr,
    /// Its priority.
    pub priority: u8,
    /// When it was last heard, monotonic.
    pub heard: Duration,
}

/// A term of the effective priority.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Term {
    /// Name of the track.
    pub name: String,
    /// Whether its condition holds; `None`: not known yet.
    pub holds: Option<bool>,
    /// What it adds at present.
    pub contribution: i32,
    /// It puts the router in Fault at present.
    pub fault: bool,
    /// What was found, in words.
    pub detail: String,
}

/// Counters of a virtual router (RFC 6527).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RouterCounters {
    /// Changes of state, by state entered.
    pub transitions: BTreeMap<String, u64>,
    /// Advertisements sent.
    pub sent: u64,
    /// Advertisements received and accepted.
    pub received: u64,
    /// Of those, priority 0.
    pub priority_zero_received: u64,
    /// Priority 0 sent.
    pub priority_zero_sent: u64,
    /// Received, checksum with pseudo-header.
    pub checksum_pseudo_header: u64,
    /// Received, checksum over the message alone.
    pub checksum_plain: u64,
    /// Received with another address list (accepted all the same).
    pub address_list_differs: u64,
    /// Received and discarded, by reason.
    pub errors: BTreeMap<String, u64>,
    /// How late advertisements went out: seconds in all, and how many beyond each bound of [`LATENESS_BOUNDS`].
    pub lateness: Lateness,
}

/// Upper bounds of the lateness histogram, in seconds.
pub const LATENESS_BOUNDS: [f64; 10] = [0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.05, 0.25];

/// A histogram of lateness.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Lateness {
    /// Observations up to each bound of [`LATENESS_BOUNDS`] (not cumulative), and one more for those beyond.
    pub counts: [u64; LATENESS_BOUNDS.len() + 1],
    /// Sum, in seconds.
    pub sum: f64,
}

impl Lateness {
    /// Takes note of one.
    pub fn observe(&mut self, late: Duration) {
        let seconds = late.as_secs_f64();
        let place = LATENESS_BOUNDS.iter().position(|bound| seconds <= *bound).unwrap_or(LATENESS_BOUNDS.len());
        self.counts[place] += 1;
        self.sum += seconds;
    }
}

/// The peer link.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PeerView {
    /// The peer's node name; `None`: not heard yet.
    pub name: Option<String>,
    /// Whether it is heard on some path.
    pub alive: bool,
    /// Since when it is as it is, monotonic.
    pub since: Duration,
    /// Its paths.
    pub paths: Vec<PathView>,
    /// Datagrams refused, by reason (`authentication`, `replay`, `version`, `length`).
    pub refused: BTreeMap<String, u64>,
    /// Routers that only one of the two nodes has, in words.
    pub differences: Vec<String>,
}

/// A path to the peer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PathView {
    /// The peer's address.
    pub address: IpAddr,
    /// Whether it is heard there.
    pub alive: bool,
    /// When it was last heard, monotonic.
    pub heard: Option<Duration>,
    /// Heartbeats sent.
    pub sent: u64,
    /// Heartbeats received.
    pub received: u64,
}

/// A BFD session.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BfdView {
    /// The other end.
    pub neighbour: IpAddr,
    /// `admin-down`, `down`, `init`, `up`.
    pub state: String,
    /// Since when, monotonic.
    pub since: Duration,
    /// Detection time in force.
    pub detection_time: Duration,
    /// Sessions lost.
    pub losses: u64,
    /// Packets discarded, by reason.
    pub discarded: BTreeMap<String, u64>,
}
