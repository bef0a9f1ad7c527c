//! `[[vrrp]]` and `[peer]`, typed. As with [`super::model`], a value that exists is valid.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use serde::Serialize;

use super::model::{Word, words};

/// `[[vrrp]]`: a virtual router.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct VirtualRouter {
    /// Unique among virtual routers; a pair knows its routers by it.
    pub name: String,
    /// The interface it speaks on, by name; it may appear and go.
    pub interface: String,
    /// Virtual router identifier, 1 to 255. Unique for an interface and a family.
    pub vrid: u8,
    /// Version of the protocol on the wire.
    pub version: VrrpVersion,
    /// As configured, 1 to 255; 255 is the address owner's.
    pub priority: u8,
    /// Time between advertisements: whole centiseconds up to 40.95 s (version 3), whole seconds (version 2).
    pub advertisement_interval: Duration,
    /// Advertisement intervals without a word until the master is taken for dead; 3 is what the RFCs say.
    pub missed_advertisements: u8,
    /// Whether a higher priority takes over from a living master.
    pub preempt: bool,
    /// How long it waits before it does.
    pub preempt_delay: Duration,
    /// Addresses that are advertised, all of one family; never empty.
    pub addresses: Vec<IpNet>,
    /// Addresses held but not advertised, of either family.
    pub excluded_addresses: Vec<IpNet>,
    /// What becomes of the addresses when the daemon dies.
    pub on_crash: OnCrash,
    /// Whether the addresses answer with the virtual router's MAC address.
    pub virtual_mac: bool,
    /// Source of advertisements; `None`: the interface's primary (IPv4) or link-local (IPv6) address.
    pub unicast_source: Option<IpAddr>,
    /// Whom to advertise to; empty: the multicast group.
    pub unicast_peers: Vec<IpAddr>,
    /// Least TTL or hop limit of advertisements from unicast peers; 255 unless routers are in between.
    pub unicast_minimum_ttl: u8,
    /// Simple-text password (version 2 only), zero padded.
    pub authentication: Option<[u8; 8]>,
    /// Form of the IPv4 checksum that is sent (version 3).
    pub checksum: ChecksumForm,
    /// Routers of one group move together.
    pub group: Option<String>,
    /// What raises, lowers or faults the priority.
    pub tracks: Vec<Track>,
    /// Routes that follow mastership.
    pub routes: Vec<VirtualRoute>,
    /// Policy rules that follow mastership.
    pub rules: Vec<VirtualRule>,
}

impl VirtualRouter {
    /// Whether it speaks over IPv4: the family of its advertised addresses.
    pub fn is_ipv4(&self) -> bool {
        self.addresses.iter().all(|address| address.addr().is_ipv4())
    }
}

/// `[[vrrp.track]]`: a condition, and what it does to the priority while it does not hold.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Track {
    /// Unique within the router; `status` shows it.
    pub name: String,
    /// What must hold.
    pub condition: Condition,
    /// What happens while it does not.
    pub consequence: Consequence,
}

/// What a track does while its condition does not hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Consequence {
    /// Added to the priority; negative as a rule.
    Weight(i16),
    /// The router is in Fault: it holds nothing and does not take over.
    Fault,
}

/// What a track looks at.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub enum Condition {
    /// An interface is up and running.
    Interface {
        /// Its name.
        interface: String,
    },
    /// An interface is not to blame for the silence of everything behind it. Not of the file: every router has it for the
    /// interfaces that backends are behind.
    Uplink {
        /// Its name.
        interface: String,
    },
    /// A service has its quorum of backends.
    Service {
        /// The service's name.
        service: String,
    },
    /// A program exits with 0.
    Script {
        /// Program and arguments; no shell in between.
        command: Vec<String>,
        /// Time between two runs.
        interval: Duration,
        /// Time a run may take; then it is killed with its children.
        timeout: Duration,
        /// Successes in a row until it holds.
        rise: u32,
        /// Failures in a row until it does not.
        fall: u32,
        /// Who runs it; never root unless named.
        user: String,
    },
    /// Processes of a name run.
    Process {
        /// The kernel's name of the process (`comm`) or the file name of its program.
        process: String,
        /// How many there must be.
        minimum: u32,
    },
    /// A file does not exist, or holds a number: 0 means that all is well; other numbers are added to the priority times the weight.
    File {
        /// Its path.
        path: PathBuf,
    },
    /// The one-minute load average stays below a limit.
    Load {
        /// The limit.
        maximum: f64,
    },
    /// A gateway answers ARP or neighbour solicitations.
    Gateway {
        /// Its address, on the router's interface.
        address: IpAddr,
        /// Time between two questions.
        interval: Duration,
        /// Questions without an answer until it is taken for unreachable.
        misses: u32,
    },
    /// A BFD session is up (RFC 5880, 5881). The loss of the session with the present master makes a backup take over at once.
    Bfd {
        /// The other end, one hop away.
        neighbour: IpAddr,
        /// Our end; `None`: the interface's address of that family.
        source: Option<IpAddr>,
        /// Shortest time between packets that we send.
        transmit_interval: Duration,
        /// Shortest time between packets that we take.
        receive_interval: Duration,
        /// Packets missed until the other end takes us for dead.
        multiplier: u8,
    },
}

/// A route that is there while the router is master.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct VirtualRoute {
    /// Where to.
    pub destination: IpNet,
    /// Next hop; `None`: on the link.
    pub via: Option<IpAddr>,
    /// Outgoing interface; `None`: the router's.
    pub interface: Option<String>,
    /// Preferred source address.
    pub source: Option<IpAddr>,
    /// Routing table; 254 is main.
    pub table: u32,
    /// Metric.
    pub metric: Option<u32>,
}

/// A policy rule that is there while the router is master.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct VirtualRule {
    /// Source prefix.
    pub from: Option<IpNet>,
    /// Destination prefix.
    pub to: Option<IpNet>,
    /// Table to look up.
    pub table: u32,
    /// Order among rules.
    pub priority: Option<u32>,
}

/// `[peer]`: the other node of a pair.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Peer {
    /// Its addresses, one a path; never empty.
    pub addresses: Vec<IpAddr>,
    /// UDP port of heartbeats, here and there.
    pub port: u16,
    /// File with the key both share.
    pub key_file: PathBuf,
    /// Time between heartbeats.
    pub heartbeat: Duration,
    /// Heartbeats missed until a path is silent.
    pub misses: u32,
    /// A node that stepped down or restarted does not preempt for so long.
    pub hold: Duration,
    /// Nodes that share the virtual routers. With three or more, a silent peer leaves Skew_Time to decide who takes over.
    pub nodes: u8,
}

/// `[hook]`: a program that is told of events.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Hook {
    /// Program and arguments; the event is on its standard input and in its environment.
    pub command: Vec<String>,
    /// Time it may take for one event; then it is killed with its children.
    pub timeout: Duration,
    /// Who runs it; never root unless named.
    pub user: String,
}

words! {
    /// Version of VRRP.
    VrrpVersion {
        /// RFC 3768, IPv4 only.
        V2 = "2",
        /// RFC 9568.
        V3 = "3",
    }
}

words! {
    /// What becomes of a router's addresses when the daemon dies.
    OnCrash {
        /// Priority 0 goes out and the addresses are removed, so that the other node takes over.
        Release = "release",
        /// They stay, and what is forwarded, until the daemon is back.
        Keep = "keep",
    }
}

words! {
    /// Form of a version 3 advertisement's checksum over IPv4 (RFC 9568 section 5.2.8, RFC 5798 section 5.2.8).
    ChecksumForm {
        /// With the pseudo-header until a peer is heard that sends the other; then as the peer does.
        Auto = "auto",
        /// With the pseudo-header: keepalived, FRR, RFC 5798 as most read it.
        PseudoHeader = "pseudo-header",
        /// Over the message alone: RFC 9568.
        Plain = "plain",
    }
}
