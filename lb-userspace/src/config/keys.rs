//! The key table: every key of the file, once. The reader takes names, types, ranges and defaults from here, the JSON
//! schema and the reference (`docs/config.md`) are printed from here, so the three cannot disagree. A new key is a row
//! here and a line in `file`; a row without its line fails every test (`TableReader::finish`), a line without its row
//! too.

mod access;
mod check;
mod scheduling;
mod service;
mod vrrp;

use super::model::{AttachMode, Word};

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

use Presence::{Absent, Default};

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
        key("service", Kind::Tables(&service::SERVICE), Absent("none"), service::SERVICE.about),
    ],
};

/// What a layer of services that were added at run time may have.
pub(super) static LAYER: Table = Table {
    path: "",
    about: "",
    keys: &[key("service", Kind::Tables(&service::SERVICE), Absent("none"), service::SERVICE.about)],
};

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
            "Flows of services with a stateful scheduler that are recorded, of each address family. They have a table of their own, so that they cannot crowd out others'. If the daemon is started with such services of IPv4 or of IPv6, memory for that family's is taken at once: 80 octets a flow of IPv4, 104 of IPv6.",
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
