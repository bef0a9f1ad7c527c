//! The key table: every key of the file, once. The reader takes names, types, ranges and defaults from here, the JSON
//! schema and the reference (`docs/config.md`) are printed from here, so the three cannot disagree. A new key is a row
//! here and a line in `file`; a row without its line fails every test (`TableReader::finish`), a line without its row
//! too.

mod access;
mod check;
mod scheduling;
mod vrrp;

use super::check::OnDown;
use super::model::{AttachMode, Encapsulation, Forwarding, OnNoBackend, UdpMode, Word};
use lb_common::limits::{MAX_TABLE_SIZE, MIN_TABLE_SIZE};

/// A table of the file.
pub(super) struct Table {
    /// As headers and messages call it: `service.backend`; empty for the file itself.
    pub path: &'static str,
    pub about: &'static str,
    pub keys: &'static [Key],
}

/// A key of a table.
pub(super) struct Key {
    pub name: &'static str,
    pub kind: Kind,
    pub presence: Presence,
    pub support: Support,
    /// Meaning and unit; for a required key the reference's example follows from it.
    pub about: &'static str,
}

/// What a missing key means.
pub(super) enum Presence {
    /// An error.
    Required,
    /// This TOML value.
    Default(&'static str),
    /// These words.
    Absent(&'static str),
}

/// Whether this version has the feature.
#[derive(PartialEq)]
pub(super) enum Support {
    Now,
    /// Refused, so that nobody believes it works.
    Later,
}

/// What a key holds.
pub(super) enum Kind {
    /// Any string of 1 to so many bytes.
    Text(usize),
    /// A name people type.
    Name,
    /// A name that also names a file.
    FileName,
    /// An absolute path of at most so many bytes.
    Path(usize),
    /// `IP:PORT`, or empty for off.
    SocketAddress,
    Address,
    Port,
    Integer {
        min: u32,
        max: u32,
    },
    PowerOfTwo {
        min: u32,
        max: u32,
    },
    /// In milliseconds.
    Duration {
        min: u64,
        max: u64,
    },
    Choice(Choices),
    Listeners,
    Networks,
    Interfaces,
    Flag,
    /// A whole number that may be negative.
    Signed {
        min: i32,
        max: i32,
    },
    /// A number above 0, whole or not.
    Positive,
    /// A name, or empty for none.
    OptionalName,
    Interface,
    /// An address that may be link-local, for it is used on one known interface.
    LinkAddress,
    /// Several of [`Kind::Address`].
    Addresses,
    /// Several of [`Kind::LinkAddress`].
    LinkAddresses,
    /// Addresses with or without prefix length.
    VirtualAddresses,
    Network,
    /// A program with its arguments.
    Command,
    /// Of an answer.
    Regex,
    /// Of a whole, 0 to 1.
    Share,
    /// `Name: value`.
    Headers,
    /// Codes and ranges of codes.
    StatusRanges,
    /// Of a check that sends and expects.
    Steps,
    Table(&'static Table),
    /// One table, or several.
    OneOrMore(&'static Table),
    Tables(&'static Table),
}

/// The words a key may hold.
pub(super) struct Choices {
    pub now: fn() -> Vec<&'static str>,
    /// Known, but not in this version.
    pub later: &'static [&'static str],
    /// What other programs call them, with our word.
    pub aliases: &'static [(&'static str, &'static str)],
    /// Whether these will do; else they are only understood, and our word is advised.
    pub aliases_are_taken: bool,
}

impl Choices {
    /// Every word that will do.
    pub(super) fn taken(&self) -> Vec<&'static str> {
        let now = (self.now)();
        let aliases = self.aliases.iter().filter(|(_, word)| self.aliases_are_taken && now.contains(word));
        let aliases: Vec<&str> = aliases.map(|(alias, _)| *alias).collect();
        now.into_iter().chain(aliases).collect()
    }
}

const fn key(name: &'static str, kind: Kind, presence: Presence, about: &'static str) -> Key {
    Key { name, kind, presence, support: Support::Now, about }
}

fn words<T: Word>() -> Vec<&'static str> {
    T::ALL.iter().map(|(word, _)| *word).collect()
}

const fn choice<T: Word>(later: &'static [&'static str], aliases: &'static [(&'static str, &'static str)]) -> Kind {
    Kind::Choice(Choices { now: words::<T>, later, aliases, aliases_are_taken: false })
}

use Presence::{Absent, Default, Required};

/// The longest path that fits `sockaddr_un` with its final zero.
const MAX_SOCKET_PATH: usize = 107;
/// Linux's PATH_MAX without the final zero, less room for the names we add below a directory.
const MAX_PATH: usize = 4095 - 256;

/// The whole file.
pub(super) static FILE: Table = Table {
    path: "",
    about: "",
    keys: &[
        key("node", Kind::Table(&NODE), Absent("all defaults"), NODE.about),
        key("dataplane", Kind::Table(&DATAPLANE), Absent("all defaults"), DATAPLANE.about),
        key("admin", Kind::Table(&ADMIN), Absent("all defaults"), ADMIN.about),
        key("vrrp", Kind::Tables(&vrrp::VRRP), Absent("none"), vrrp::VRRP.about),
        key("peer", Kind::Table(&vrrp::PEER), Absent("off"), vrrp::PEER.about),
        key("hook", Kind::Table(&vrrp::HOOK), Absent("off"), vrrp::HOOK.about),
        key("service", Kind::Tables(&SERVICE), Absent("none"), SERVICE.about),
    ],
};

/// What a layer of services that were added at run time may have.
pub(super) static LAYER: Table =
    Table { path: "", about: "", keys: &[key("service", Kind::Tables(&SERVICE), Absent("none"), SERVICE.about)] };

static NODE: Table = Table {
    path: "node",
    about: "This node.",
    keys: &[
        key(
            "name",
            Kind::FileName,
            Absent("the host name"),
            "Name of this node, in status, metrics and below `dataplane.pin_path`.",
        ),
        key(
            "state_dir",
            Kind::Path(MAX_PATH),
            Default(r#""/var/lib/fairway""#),
            "Directory of what outlives the process: operator intent, services added at run time.",
        ),
    ],
};

static DATAPLANE: Table = Table {
    path: "dataplane",
    about: "Where packets are taken, and the tables they are looked up in.",
    keys: &[
        key(
            "interfaces",
            Kind::Interfaces,
            Absent("none; required when there are services"),
            "Interfaces XDP is attached to: physical ones, bonds, or parents of VLAN interfaces.",
        ),
        key(
            "mode",
            choice::<AttachMode>(&[], &[("driver", "native"), ("skb", "generic")]),
            Default(r#""auto""#),
            "How XDP is attached. `auto`: native, and where the driver refuses, generic with a warning; `native`: or not at all; `generic`: slow, works on any interface.",
        ),
        Key {
            name: "pin_path",
            kind: Kind::Path(MAX_PATH),
            presence: Default(r#""/sys/fs/bpf/fairway""#),
            support: Support::Later,
            about: "Directory under bpffs where program, link and maps are pinned, in a directory by the node's name.",
        },
        key(
            "flow_table_capacity",
            Kind::Integer { min: 1024, max: 1 << 26 },
            Default("1_048_576"),
            "Flows each flow table holds. Only exceptions are recorded: flows opened before a change of their slot, and UDP flows where they are kept.",
        ),
        key(
            "ready_timeout",
            Kind::Duration { min: 0, max: 3_600_000 },
            Default(r#""30s""#),
            "A node that hears no master for so long takes over even if it is not ready: better half a service than none.",
        ),
        key(
            "stateful_table_capacity",
            Kind::Integer { min: 1024, max: 1 << 26 },
            Default("1_048_576"),
            "Flows of services with a stateful scheduler that are recorded, of each address family. They have a table of their own, so that they cannot crowd out others'.",
        ),
        key(
            "translation_table_capacity",
            Kind::Integer { min: 1024, max: 1 << 25 },
            Default("262_144"),
            "Flows whose translation is recorded, of each address family: those under `full-nat`, and those under `nat` to a server that several services share.",
        ),
        key(
            "source_nat_addresses",
            Kind::Addresses,
            Default("[]"),
            "Addresses that `full-nat` gives flows as their source, at most 16 of each family. Backends must reach them. A service that follows a virtual router gets those that the router holds (or another of its group), so that its flows live on when it moves; other services get those that no router holds, which this node has on its interface and another node has others.",
        ),
        key(
            "source_nat_first_port",
            Kind::Port,
            Default("1024"),
            "First of the ports that `full-nat` gives flows. The host itself must not use them towards backends: keep them apart from `net.ipv4.ip_local_port_range`.",
        ),
        key("source_nat_last_port", Kind::Port, Default("32_767"), "Last of these ports."),
        key(
            "tunnel_source_v4",
            Kind::Network,
            Absent("the address that the host would send from"),
            "Source of outer IPv4 packets of `tunnel` backends: an address, or a network over whose addresses flows are spread (`10.99.0.0/16`, say), so that a backend's receive queues spread them, too. Routers and backends must then not filter by reverse path.",
        ),
        key("tunnel_source_v6", Kind::Network, Absent("the same"), "The same for IPv6."),
        key(
            "own_client",
            Kind::Flag,
            Default("false"),
            "Whether this host itself can use its services, by their addresses, under every forwarding method. Fairway then makes a pair of interfaces, `fwself0` and `fwself1`, routes services' addresses to it in table 112, and moves the host's rule for local addresses behind its own. Under `nat` such connections get a source port of `source_nat_first_port` to `source_nat_last_port`.",
        ),
        key(
            "hash_seed",
            Kind::Text(256),
            Default(r#""fairway""#),
            "Keys the hash that selects backends. The same on all nodes of a cluster; changing it moves most flows.",
        ),
    ],
};

static ADMIN: Table = Table {
    path: "admin",
    about: "How Fairway is asked and commanded.",
    keys: &[
        key(
            "socket",
            Kind::Path(MAX_SOCKET_PATH),
            Default(r#""/run/fairway/admin.sock""#),
            "Unix socket for the commands of `fairway`.",
        ),
        key(
            "listen",
            Kind::SocketAddress,
            Default(r#""127.0.0.1:9910""#),
            "Address and port of the read-only HTTP side (`/metrics`, status page, `/livez`, `/readyz`, `/api/v1/`); `\"\"` turns it off. It asks for no password: keep it on a loopback address.",
        ),
    ],
};

/// Of QUIC-LB; 7 says that a connection ID holds no server ID.
const CONFIGURATION: Kind = Kind::Integer { min: 0, max: 6 };

static SERVICE: Table = Table {
    path: "service",
    about: "A virtual service: listeners that share a pool of backends. May be repeated.",
    keys: &[
        key("name", Kind::Name, Required, "Name of the service, unique."),
        key(
            "listen",
            Kind::Listeners,
            Required,
            "What it listens on: a list of `tcp://ADDRESS:PORT`, `udp://ADDRESS:PORT` or `sctp://ADDRESS:PORT`, an IPv6 address in brackets, a range of ports as `8000-8099`, port `*` for every port no other listener of the address has; or `esp://ADDRESS`, `ah://ADDRESS`. All of one address family, the backends' too, except under `tunnel`. SCTP, ESP and AH are for `direct` and `tunnel`.",
        ),
        key(
            "forwarding",
            choice::<Forwarding>(
                &[],
                &[
                    ("dr", "direct"),
                    ("gate", "direct"),
                    ("masq", "nat"),
                    ("fullnat", "full-nat"),
                    ("tun", "tunnel"),
                    ("ipip", "tunnel"),
                ],
            ),
            Default(r#""direct""#),
            "Forwarding method of its backends. `direct`: the backend holds the service's address too and answers the client itself; `nat`: destination address and port are rewritten, replies must come back through the balancer; `full-nat`: so is the source, hence they do; `tunnel`: the packet is sent inside another, to a backend anywhere, which unwraps it, holds the service's address and answers the client itself.",
        ),
        key(
            "encapsulation",
            choice::<Encapsulation>(&[], &[("ip-in-ip", "ipip")]),
            Default(r#""ipip""#),
            "`tunnel`: what packets are put into. `ipip`: IP in IP; `gue`: UDP with a GUE header; `fou`: UDP alone; `gre`: GRE. With UDP the source port tells flows apart.",
        ),
        key(
            "encapsulation_port",
            Kind::Port,
            Absent("6080 for `gue`, 5555 for `fou`"),
            "UDP port that `gue` or `fou` packets are sent to.",
        ),
        key(
            "scheduler",
            scheduling::SCHEDULERS,
            Default(r#""maglev""#),
            "How a backend is chosen. `maglev`: consistent hashing of the 5-tuple by weight; `source-hash`: the same of the client's address alone; `destination-hash`: of the service's address. The others choose by a rule of IPVS for each new flow, and record it. IPVS's names will do.",
        ),
        key(
            "source_prefix_v4",
            scheduling::PREFIX_V4,
            Default("32"),
            "`source-hash`: leading bits of a client's IPv4 address that are hashed.",
        ),
        key("source_prefix_v6", scheduling::PREFIX_V6, Default("128"), "The same for IPv6."),
        key(
            "source_port",
            Kind::Flag,
            Default("false"),
            "`source-hash`: whether the client's port is hashed too (IPVS: `sh-port`).",
        ),
        key("persistence", Kind::Table(&scheduling::PERSISTENCE), Absent("off"), scheduling::PERSISTENCE.about),
        key(
            "vrrp",
            Kind::OptionalName,
            Default(r#""""#),
            "Virtual router that the service follows: it is live only while this node is master of it. Empty: always live.",
        ),
        key(
            "idle_timeout",
            Kind::Duration { min: 1_000, max: 86_400_000 },
            Absent("15m for TCP and SCTP, else 1m"),
            "How long a flow may be silent and still keep its backend.",
        ),
        key(
            "fin_timeout",
            Kind::Duration { min: 1_000, max: 86_400_000 },
            Default(r#""2m""#),
            "Stateful schedulers: how long a connection is remembered that the client has ended.",
        ),
        key(
            "syn_timeout",
            Kind::Duration { min: 1_000, max: 86_400_000 },
            Default(r#""1m""#),
            "Stateful schedulers: how long a connection is remembered of which only the SYN came.",
        ),
        key(
            "closed_timeout",
            Kind::Duration { min: 1_000, max: 86_400_000 },
            Default(r#""10s""#),
            "Stateful schedulers: how long a connection is remembered that the client has reset.",
        ),
        key(
            "quorum",
            Kind::Integer { min: 1, max: 8192 },
            Default("1"),
            "Backends that must be up for the service to be: without, its `sorry` server serves, and tracks of type `service` fail.",
        ),
        key(
            "quorum_hysteresis",
            Kind::Integer { min: 0, max: 8192 },
            Default("0"),
            "So many more backends must be up until a quorum that was lost is found again.",
        ),
        key(
            "minimum_healthy",
            Kind::Share,
            Default("0.0"),
            "Share of the enabled backends, 0.0 to 1.0, below which all of them keep traffic, up or not: better some errors than all traffic on the last ones.",
        ),
        key(
            "lookup_table_size",
            Kind::PowerOfTwo { min: MIN_TABLE_SIZE, max: MAX_TABLE_SIZE },
            Default("16_384"),
            "Slots of its lookup table, at least 100 a backend for even shares. Changing it moves most flows: `fairway diff` says how many.",
        ),
        key(
            "udp",
            choice::<UdpMode>(&[], &[]),
            Default(r#""stateless""#),
            "`stateless`: a UDP packet goes to the current owner of its slot; `flows`: UDP flows keep their backend as TCP's do; `one-packet`, for stateful schedulers: a backend is chosen for each datagram by itself, and nothing recorded; `quic`, for hashing schedulers: QUIC packets go to the backend whose `server_id` their connection ID holds, also when the client's address or port changes, and all others as by `stateless`.",
        ),
        key(
            "quic_configuration",
            CONFIGURATION,
            Absent("0"),
            "`udp = \"quic\"`: the configuration ID, 0 to 6, of the connection IDs that hold a server ID, as QUIC-LB has it: their first three bits.",
        ),
        key(
            "quic_other_configuration",
            CONFIGURATION,
            Absent("none"),
            "The same of other ones that are taken too, while servers change from one to the other.",
        ),
        key(
            "on_down",
            choice::<OnDown>(&[], &[]),
            Default(r#""keep""#),
            "What becomes of the flows of a backend whose check fails. `keep`: they stay, as under IPVS; `reset`: they go to other backends, which reset them.",
        ),
        key(
            "slow_start",
            Kind::Duration { min: 0, max: 3_600_000 },
            Default(r#""0s""#),
            "A backend that comes up again reaches its weight in so long.",
        ),
        key(
            "drain_timeout",
            Kind::Duration { min: 1_000, max: 30 * 86_400_000 },
            Absent("never"),
            "A drained backend loses the flows it still has after so long.",
        ),
        key(
            "nat_exclude",
            Kind::Networks,
            Default("[]"),
            "Under `nat`: networks whose members get a backend's replies untranslated, being its own clients and not the service's.",
        ),
        key(
            "allow",
            Kind::Networks,
            Default("[]"),
            "Networks whose members may come. If there are any, all others may not. Of several that hold a client the longest counts, here and in `deny`. Packets of others are dropped, counted as `denied`.",
        ),
        key(
            "deny",
            Kind::Networks,
            Default("[]"),
            "Networks whose members may not come, also in the midst of a connection.",
        ),
        key("rate_limit", Kind::Table(&access::RATE_LIMIT), Absent("off"), access::RATE_LIMIT.about),
        key(
            "on_no_backend",
            choice::<OnNoBackend>(&[], &[]),
            Default(r#""pass""#),
            "What becomes of packets no backend can take. `pass`: to the host, which resets them if it owns the address; `drop`: counted and dropped.",
        ),
        key("sorry", Kind::Table(&check::SORRY), Absent("none"), check::SORRY.about),
        key("outlier", Kind::Table(&check::OUTLIER), Absent("off"), check::OUTLIER.about),
        key("check", Kind::OneOrMore(&check::CHECK), Absent("none: `status` says \"unchecked\""), check::CHECK.about),
        key("backend", Kind::Tables(&BACKEND), Absent("none, with a warning"), BACKEND.about),
    ],
};

static BACKEND: Table = Table {
    path: "service.backend",
    about: "A server of the service above it. May be repeated.",
    keys: &[
        key("name", Kind::Name, Absent("the address"), "Name of the backend, unique in its service."),
        key(
            "address",
            Kind::Address,
            Required,
            "Its address; of the family of the service's listeners, except under `tunnel`.",
        ),
        key(
            "port",
            Kind::Port,
            Absent("the listener's port"),
            "Port packets are translated to. `nat` only, and only where no listener takes several ports: those are kept.",
        ),
        key(
            "weight",
            Kind::Integer { min: 0, max: 10_000 },
            Default("100"),
            "Share relative to the other backends'. 0 drains: flows stay, new ones go elsewhere.",
        ),
        key(
            "upper_threshold",
            Kind::Integer { min: 0, max: 1 << 30 },
            Default("0"),
            "Stateful schedulers: connections from which on it gets no new ones; 0: no limit.",
        ),
        key(
            "lower_threshold",
            Kind::Integer { min: 0, max: 1 << 30 },
            Default("0"),
            "Connections below which it gets new ones again; 0: three quarters of `upper_threshold`.",
        ),
        key(
            "server_id",
            Kind::Text(30),
            Absent("required by `udp = \"quic\"`"),
            "Who it is in the connection IDs that it gives: 1 to 15 octets in hexadecimal, as many for all backends of the service.",
        ),
        key(
            "priority",
            Kind::Integer { min: 0, max: 255 },
            Default("0"),
            "Its tier. Backends of a higher number get traffic only while those of lower ones that are up do not make the quorum.",
        ),
        key(
            "forwarding",
            choice::<Forwarding>(&[], &[]),
            Absent("the service's"),
            "Forwarding method of this backend.",
        ),
        key(
            "encapsulation",
            choice::<Encapsulation>(&[], &[("ip-in-ip", "ipip")]),
            Absent("the service's"),
            "`tunnel`: what its packets are put into.",
        ),
        key(
            "encapsulation_port",
            Kind::Port,
            Absent("the service's, if its encapsulation is too"),
            "UDP port that `gue` or `fou` packets are sent to.",
        ),
    ],
};

impl Table {
    pub(super) fn key(&self, name: &str) -> Option<&'static Key>
    where
        Self: 'static,
    {
        let keys: &'static [Key] = self.keys;
        keys.iter().find(|key| key.name == name)
    }

    /// As messages call it.
    pub(super) fn title(&self) -> String {
        if self.path.is_empty() { "the file".to_owned() } else { format!("`[{}]`", self.path) }
    }
}

impl Kind {
    /// In words, with article.
    pub(super) fn describe(&self) -> String {
        match self {
            Kind::Text(_) => "a string".to_owned(),
            Kind::Name | Kind::FileName => "a string (a name)".to_owned(),
            Kind::Path(_) => "a string (an absolute path)".to_owned(),
            Kind::SocketAddress => "a string (address:port, or empty)".to_owned(),
            Kind::Address => "a string (an IP address)".to_owned(),
            Kind::Port => "an integer, 1 to 65535".to_owned(),
            Kind::Integer { min, max } => format!("an integer, {min} to {max}"),
            Kind::PowerOfTwo { min, max } => format!("an integer, a power of two, {min} to {max}"),
            Kind::Duration { min, max } => format!("a string (a duration, {} to {})", duration(*min), duration(*max)),
            Kind::Choice(_) => "a string".to_owned(),
            Kind::Listeners => "a list of strings (listeners)".to_owned(),
            Kind::Networks => "a list of strings (networks)".to_owned(),
            Kind::Interfaces => "a list of strings (interface names)".to_owned(),
            Kind::Flag => "true or false".to_owned(),
            Kind::Signed { min, max } => format!("an integer, {min} to {max}"),
            Kind::Positive => "a number above 0".to_owned(),
            Kind::OptionalName => "a string (a name, or empty)".to_owned(),
            Kind::Interface => "a string (an interface name)".to_owned(),
            Kind::LinkAddress => "a string (an IP address)".to_owned(),
            Kind::Addresses | Kind::LinkAddresses => "a list of strings (IP addresses)".to_owned(),
            Kind::VirtualAddresses => "a list of strings (IP addresses, with or without prefix length)".to_owned(),
            Kind::Network => "a string (a network)".to_owned(),
            Kind::Command => "a list of strings (a program and its arguments)".to_owned(),
            Kind::Regex => "a string (a regular expression)".to_owned(),
            Kind::Share => "a number, 0.0 to 1.0".to_owned(),
            Kind::Headers => "a list of strings (header fields)".to_owned(),
            Kind::StatusRanges => "a list of strings (status codes and ranges)".to_owned(),
            Kind::Steps => "a list of strings (steps)".to_owned(),
            Kind::Table(table) => format!("a table, `[{}]`", table.path),
            Kind::OneOrMore(table) => format!("a table or tables, `[{0}]` or `[[{0}]]`", table.path),
            Kind::Tables(table) => format!("tables, `[[{}]]`", table.path),
        }
    }
}

fn duration(milliseconds: u64) -> String {
    humantime::format_duration(std::time::Duration::from_millis(milliseconds)).to_string()
}
