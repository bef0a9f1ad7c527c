//! The typed configuration. Only [`super::parse`] makes one, and only from a file without errors, so holders may rely
//! on every rule of `rules`: addresses of one family within a service, unique names and listeners, limits kept.

use ipnet::IpNet;
use serde::{Serialize, Serializer};
use sha2::{Digest, Sha256};
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use super::access::Access;
use super::check::{Check, OnDown, Outlier, Sorry};
use super::quic::{Configurations, ServerId};
use super::scheduling::{Persistence, Prefixes, Scheduler};
use super::virtual_router::{Hook, Peer, VirtualRouter};

/// Idle timeout of TCP and SCTP flows where a service sets none.
pub const TCP_IDLE_TIMEOUT: Duration = Duration::from_secs(15 * 60);
/// Idle timeout of UDP, ESP and AH flows where a service sets none.
pub const UDP_IDLE_TIMEOUT: Duration = Duration::from_secs(60);

/// Bytes of the SHA-256 that [`Config::hash`] keeps: enough to tell two files apart, short enough to compare by eye.
const HASH_BYTES: usize = 8;

/// A whole, valid configuration.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Config {
    /// This node.
    pub node: Node,
    /// Where and how packets are taken.
    pub dataplane: Dataplane,
    /// How it is asked and commanded.
    pub admin: Admin,
    /// The virtual routers, in the order of the file.
    pub virtual_routers: Vec<VirtualRouter>,
    /// The other node of the pair.
    pub peer: Option<Peer>,
    /// Who is told of events.
    pub hook: Option<Hook>,
    /// The virtual services, in the order of the file.
    pub services: Vec<Service>,
}

/// `[node]`
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Node {
    /// Its name, the host name by default. Fit for a file name.
    pub name: String,
    /// What outlives the process.
    pub state_dir: PathBuf,
}

/// `[dataplane]`
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Dataplane {
    /// Interfaces that XDP is attached to; never empty when there are services.
    pub interfaces: Vec<String>,
    /// Native or generic.
    pub mode: AttachMode,
    /// Directory of pins, to which the node's name is added.
    pub pin_path: PathBuf,
    /// Flows either flow table can hold.
    pub flow_table_capacity: u32,
    /// Flows of services with a stateful scheduler, of each family.
    pub stateful_table_capacity: u32,
    /// Translated flows that are recorded, of each family.
    pub translation_table_capacity: u32,
    /// The addresses of this node that full NAT gives flows as their source.
    pub source_nat_addresses: Vec<IpAddr>,
    /// The first and the last of the ports that it gives them.
    pub source_nat_ports: (u16, u16),
    /// Keys the hash that selects backends; the same on all nodes of a cluster.
    pub hash_seed: String,
    /// A node that hears no master takes over after so long even if it is not ready.
    pub ready_timeout: Duration,
    /// What tunnels' outer packets come from.
    pub tunnel_sources: TunnelSources,
    /// This host is a client of its own services.
    pub own_client: bool,
}

/// `[admin]`
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Admin {
    /// Unix socket for commands.
    pub socket: PathBuf,
    /// Address of the read-only HTTP side; `None`: off.
    pub listen: Option<SocketAddr>,
}

/// `[[service]]`: listeners that share a pool of backends.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Service {
    /// Unique among services.
    pub name: String,
    /// What it listens on; never empty, all of one family.
    pub listeners: Vec<Listener>,
    /// The forwarding method of backends that set none of their own.
    pub forwarding: Forwarding,
    /// How those of them are wrapped that set nothing of their own, under `tunnel`.
    pub wrapping: Wrapping,
    /// How a backend is chosen.
    pub scheduler: Scheduler,
    /// `source-hash`: who counts as one client.
    pub source_prefix: Prefixes,
    /// `source-hash`: whether the client's port counts too.
    pub source_port: bool,
    /// Whether clients come back to the same backend; `None`: as the scheduler has it.
    pub persistence: Option<Persistence>,
    /// The virtual router that it follows: packets are taken only while this node is live for it; `None`: always.
    pub vrrp: Option<String>,
    /// As the file has it; see [`Service::idle_timeout`].
    #[serde(serialize_with = "duration_text")]
    pub idle_timeout: Option<Duration>,
    /// For how long a stateful scheduler remembers a connection that the client has ended.
    pub fin_timeout: Duration,
    /// For how long it remembers one of which only a SYN was seen.
    pub syn_timeout: Duration,
    /// For how long it remembers one that the client has reset.
    pub closed_timeout: Duration,
    /// Whether UDP flows are kept.
    pub udp: UdpMode,
    /// Under `quic`: which connection IDs name servers.
    pub quic: Configurations,
    /// What becomes of packets no backend can take.
    pub on_no_backend: OnNoBackend,
    /// Under nat: destinations whose replies are left alone.
    pub nat_exclude: Vec<IpNet>,
    /// Which clients may come, and how often.
    pub access: Access,
    /// Slots of the lookup table, a power of two.
    pub lookup_table_size: u32,
    /// How its backends are probed; none: they are unchecked, and get traffic.
    pub checks: Vec<Check>,
    /// Backends that must be up for the service to be.
    pub quorum: u32,
    /// So many more must be up until a quorum that was lost counts as found again.
    pub quorum_hysteresis: u32,
    /// Share of the enabled backends, 0 to 1, below which all of them keep traffic, up or not; 0: off.
    pub minimum_healthy: f64,
    /// What becomes of the flows of a backend whose check fails.
    pub on_down: OnDown,
    /// A backend that comes up reaches its weight in so long; zero: at once.
    pub slow_start: Duration,
    /// A drained backend loses the flows it still has after so long; `None`: never.
    #[serde(serialize_with = "duration_text")]
    pub drain_timeout: Option<Duration>,
    /// When packets make a backend suspect; `None`: never.
    pub outlier: Option<Outlier>,
    /// Who serves while there is no quorum.
    pub sorry: Option<Sorry>,
    /// The pool, in the order of the file; may be empty.
    pub backends: Vec<Backend>,
}

/// What a service listens on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub struct Listener {
    /// Its protocol.
    pub protocol: Protocol,
    /// The virtual address.
    pub address: IpAddr,
    /// Its ports.
    pub ports: Ports,
}

/// Which ports a listener has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub enum Ports {
    /// One.
    One(u16),
    /// The first to the last, which is higher.
    Range(u16, u16),
    /// Every port that no other listener of the same address and protocol has; or the protocol has no ports.
    Every,
}

impl Ports {
    /// The only one, if there is only one.
    pub fn one(self) -> Option<u16> {
        match self {
            Ports::One(port) => Some(port),
            Ports::Range(..) | Ports::Every => None,
        }
    }

    /// The first, 0 if it is every port: what entries are found by.
    pub fn first(self) -> u16 {
        match self {
            Ports::One(port) | Ports::Range(port, _) => port,
            Ports::Every => 0,
        }
    }

    /// Whether some port is of both.
    pub fn meets(self, other: Self) -> bool {
        let ends = |ports| match ports {
            Ports::One(port) => (port, port),
            Ports::Range(first, last) => (first, last),
            Ports::Every => (0, u16::MAX),
        };
        let ((first, last), (others_first, others_last)) = (ends(self), ends(other));
        first <= others_last && others_first <= last
    }
}

/// `[[service.backend]]`: a server.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Backend {
    /// Unique within the service; the address by default.
    pub name: String,
    /// Its own address; of the listeners' family, except under `tunnel`.
    pub address: IpAddr,
    /// Under nat: the port to translate to; `None`: the listener's, or the one of several that a packet came with.
    pub port: Option<u16>,
    /// Share relative to the others'; 0 drains.
    pub weight: u16,
    /// Connections from which on it gets no new ones, under a stateful scheduler; 0: no limit.
    pub upper_threshold: u32,
    /// Connections below which it gets new ones again; 0: three quarters of the upper threshold.
    pub lower_threshold: u32,
    /// Under `udp = "quic"`: who it is in the connection IDs that it gives.
    pub server_id: Option<ServerId>,
    /// Its tier: backends of a higher number get traffic only while those of lower ones do not make the quorum.
    pub priority: u8,
    /// The service's method, or its own.
    pub forwarding: Forwarding,
    /// Under `tunnel`: the service's encapsulation, or its own.
    pub wrapping: Wrapping,
}

impl Config {
    /// A short name for the content: equal for files that mean the same, whatever their order and comments, and equal on
    /// the nodes of a cluster. So what may well differ between these is left out: `[node]`, `[admin]`, where packets are
    /// taken, the paths of `[peer]`, `[hook]`, and of a virtual router its interface, priority, unicast
    /// addresses, tracks and routes (which name interfaces and neighbours).
    pub fn hash(&self) -> String {
        let Dataplane { flow_table_capacity, hash_seed, ready_timeout, .. } = &self.dataplane;
        let peer = self.peer.as_ref().map(|peer| (peer.port, peer.heartbeat, peer.misses, peer.hold, peer.nodes));
        let canonical = (
            (flow_table_capacity, hash_seed, ready_timeout),
            common_routers(&self.virtual_routers),
            peer,
            canonical(&self.services),
        );
        let bytes = serde_json::to_vec(&canonical).expect("strings, numbers and lists only");
        let digest = Sha256::digest(bytes);
        digest[..HASH_BYTES].iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

/// What the virtual routers of all nodes have in common.
fn common_routers(routers: &[VirtualRouter]) -> Vec<VirtualRouter> {
    let mut routers = routers.to_vec();
    routers.sort_by(|a, b| a.name.cmp(&b.name));
    for router in &mut routers {
        router.interface.clear();
        router.priority = 0;
        router.unicast_source = None;
        router.unicast_peers.clear();
        router.unicast_minimum_ttl = 0;
        router.tracks.clear();
        router.addresses.sort_unstable();
        router.excluded_addresses.sort_unstable();
        // They name interfaces, next hops and sources of this node.
        router.routes.clear();
    }
    routers
}

fn canonical(services: &[Service]) -> Vec<Service> {
    let mut services = services.to_vec();
    services.sort_by(|a, b| a.name.cmp(&b.name));
    for service in &mut services {
        service.listeners.sort_unstable();
        service.nat_exclude.sort_unstable();
        service.access.allow.sort_unstable();
        service.access.deny.sort_unstable();
        service.backends.sort_by(|a, b| a.name.cmp(&b.name));
    }
    services
}

impl Service {
    /// How long a flow of this protocol may be silent and still keep its backend.
    pub fn idle_timeout(&self, protocol: Protocol) -> Duration {
        self.idle_timeout.unwrap_or(match protocol {
            Protocol::Tcp | Protocol::Sctp => TCP_IDLE_TIMEOUT,
            Protocol::Udp | Protocol::Esp | Protocol::Ah => UDP_IDLE_TIMEOUT,
        })
    }
}

impl Forwarding {
    /// Whether the destination is rewritten: packets go to the backend's own address and port.
    pub fn translates(self) -> bool {
        match self {
            Forwarding::Direct | Forwarding::Tunnel => false,
            Forwarding::Nat | Forwarding::FullNat => true,
        }
    }
}

impl Backend {
    /// The ports that packets for `listener` have when they reach this backend. Of several each packet keeps the one that it came with.
    pub fn target_ports(&self, listener: &Listener) -> Ports {
        self.port.map_or(listener.ports, Ports::One)
    }
}

impl Listener {
    /// The port that a check asks which does not say; `None`: it must say.
    pub fn probed_port(&self) -> Option<u16> {
        let first = Some(self.ports.first()).filter(|&port| port != 0);
        first.filter(|_| self.protocol.is_probed())
    }
}

impl fmt::Display for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://", self.protocol.name())?;
        match self.address {
            IpAddr::V4(address) => write!(f, "{address}")?,
            IpAddr::V6(address) => write!(f, "[{address}]")?,
        }
        match self.ports {
            Ports::One(port) => write!(f, ":{port}"),
            Ports::Range(first, last) => write!(f, ":{first}-{last}"),
            Ports::Every if self.protocol.has_ports() => write!(f, ":*"),
            Ports::Every => Ok(()),
        }
    }
}

fn duration_text<S: Serializer>(duration: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
    match duration {
        Some(duration) => serializer.collect_str(&humantime::format_duration(*duration)),
        None => serializer.serialize_none(),
    }
}

/// A value that is one of a few words. The words stand here once: reader, schema and reference take them from here.
pub(super) trait Word: Copy + 'static {
    /// Every value with its word.
    const ALL: &'static [(&'static str, Self)];
}

macro_rules! words {
    ($(#[$meta:meta])* $name:ident { $($(#[$about:meta])* $value:ident = $word:literal,)* }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
        pub enum $name {
            $($(#[$about])* #[serde(rename = $word)] $value,)*
        }

        impl $name {
            /// The word for it in the configuration file.
            pub fn name(self) -> &'static str {
                match self {
                    $($name::$value => $word,)*
                }
            }
        }

        impl Word for $name {
            const ALL: &'static [(&'static str, Self)] = &[$(($word, $name::$value),)*];
        }
    };
}
pub(super) use words;

words! {
    /// How XDP is attached.
    AttachMode {
        /// Native; generic, loudly, where the driver cannot.
        Auto = "auto",
        /// Native or not at all.
        Native = "native",
        /// Generic.
        Generic = "generic",
    }
}

words! {
    /// A transport protocol.
    Protocol {
        /// TCP.
        Tcp = "tcp",
        /// UDP.
        Udp = "udp",
        /// SCTP.
        Sctp = "sctp",
        /// ESP, of IPsec; by address, for it has no ports.
        Esp = "esp",
        /// AH, the same.
        Ah = "ah",
    }
}

impl Protocol {
    /// Whether flows begin with a packet that says so, and are kept for that: TCP's SYN, SCTP's INIT.
    pub fn has_openings(self) -> bool {
        match self {
            Protocol::Tcp | Protocol::Sctp => true,
            Protocol::Udp | Protocol::Esp | Protocol::Ah => false,
        }
    }

    /// Whether its packets have ports.
    pub fn has_ports(self) -> bool {
        match self {
            Protocol::Tcp | Protocol::Udp | Protocol::Sctp => true,
            Protocol::Esp | Protocol::Ah => false,
        }
    }

    /// Whether `nat` can rewrite its packets. SCTP's checksum is a CRC over the whole packet, which no difference mends; replies of ESP do
    /// not tell which service they are of, and AH signs the addresses.
    pub fn is_translated(self) -> bool {
        match self {
            Protocol::Tcp | Protocol::Udp => true,
            Protocol::Sctp | Protocol::Esp | Protocol::Ah => false,
        }
    }

    /// Whether checks ask ports of it.
    pub fn is_probed(self) -> bool {
        match self {
            Protocol::Tcp | Protocol::Udp => true,
            Protocol::Sctp | Protocol::Esp | Protocol::Ah => false,
        }
    }
}

words! {
    /// The forwarding method.
    Forwarding {
        /// New MAC addresses; the backend answers the client itself (LVS-DR).
        Direct = "direct",
        /// New destination address and port; replies come back through the balancer (LVS-NAT).
        Nat = "nat",
        /// As `nat`, and the source becomes one of ours: replies come back whatever the backend's routes are.
        FullNat = "full-nat",
        /// Inside another packet, to wherever the backend is; it answers the client itself (LVS-TUN).
        Tunnel = "tunnel",
    }
}

words! {
    /// What packets are put into under `tunnel`.
    Encapsulation {
        /// IP in IP.
        Ipip = "ipip",
        /// Generic UDP encapsulation.
        Gue = "gue",
        /// UDP, and nothing else between the IP headers.
        Fou = "fou",
        /// Generic routing encapsulation.
        Gre = "gre",
    }
}

/// How a backend's packets are wrapped, if its method is `tunnel`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub struct Wrapping {
    /// What they are put into.
    pub encapsulation: Encapsulation,
    /// The UDP port that it goes to; `None`: the usual one.
    pub port: Option<u16>,
}

impl Wrapping {
    /// The UDP port that it goes to, of encapsulations that have one.
    pub fn port(self) -> Option<u16> {
        let usual = match self.encapsulation {
            Encapsulation::Gue => 6080,
            Encapsulation::Fou => 5555,
            Encapsulation::Ipip | Encapsulation::Gre => return None,
        };
        Some(self.port.unwrap_or(usual))
    }
}

/// What a tunnel's outer packets come from, by family; `None`: the address that this host would send from. A network: flows are spread
/// over its addresses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct TunnelSources {
    /// Of outer IPv4 packets.
    pub v4: Option<IpNet>,
    /// Of outer IPv6 packets.
    pub v6: Option<IpNet>,
}

impl TunnelSources {
    /// What packets come from that go to a backend at this address.
    pub fn towards(&self, backend: IpAddr) -> Option<IpNet> {
        if backend.is_ipv4() { self.v4 } else { self.v6 }
    }
}

words! {
    /// What is kept of UDP flows.
    UdpMode {
        /// Nothing: always the slot's current owner.
        Stateless = "stateless",
        /// Flows keep their backend as TCP's do.
        Flows = "flows",
        /// Each datagram is a flow of its own, under a scheduler that chooses by a rule.
        OnePacket = "one-packet",
        /// QUIC packets go to the server that their connection ID names, others as by `stateless`.
        Quic = "quic",
    }
}

words! {
    /// What becomes of packets no backend can take.
    OnNoBackend {
        /// Passed to the host, which resets them if it owns the address.
        Pass = "pass",
        /// Dropped.
        Drop = "drop",
    }
}
