//! The keys of virtual routers, the peer link and the hook.

use super::super::track_kind::TrackKind;
use super::super::virtual_router::{ChecksumForm, OnCrash};
use super::Presence::{Absent, Default, Required};
use super::{Kind, MAX_PATH, Table, choice, key};

/// The longest delay, hold or interval between runs that makes sense: an hour.
const HOUR: u64 = 3_600_000;
/// What the kernel's user databases take for a name.
const MAX_USER: usize = 32;
/// A process name as long as a file name may be.
const MAX_PROCESS: usize = 255;

pub(in super::super) static VRRP: Table = Table {
    path: "vrrp",
    about: "A virtual router: addresses that the master of several nodes holds. Needs neither services nor XDP. May be repeated.",
    keys: &[
        key("name", Kind::Name, Required, "Name of the virtual router, unique; the same on every node."),
        key("interface", Kind::Interface, Required, "Interface it speaks on. It may appear later, and go."),
        key(
            "vrid",
            Kind::Integer { min: 1, max: 255 },
            Required,
            "Virtual router identifier: the same on every node, and no other's on this link and family.",
        ),
        key(
            "version",
            Kind::Integer { min: 2, max: 3 },
            Default("3"),
            "Version of the protocol: 3 (RFC 9568), or 2 (RFC 3768) for peers that know no other; IPv6 needs 3.",
        ),
        key(
            "priority",
            Kind::Integer { min: 1, max: 255 },
            Default("250"),
            "The highest becomes master. A backup waits (256 - priority) / 256 intervals before it follows a master that resigns, so keep both high: 254 and 250. 255: the addresses are the interface's own.",
        ),
        key(
            "advertisement_interval",
            Kind::Duration { min: 10, max: 255_000 },
            Default(r#""1s""#),
            "Time between advertisements: 10ms to 40.95s in steps of 10ms (version 3), 1s to 255s in whole seconds (version 2).",
        ),
        key(
            "missed_advertisements",
            Kind::Integer { min: 2, max: 100 },
            Default("3"),
            "Intervals without an advertisement, besides the skew time, until a backup takes the master for dead. 3 is the standard's.",
        ),
        key(
            "preempt",
            Kind::Flag,
            Default("true"),
            "Whether this node takes over from a living master of lower priority.",
        ),
        key(
            "preempt_delay",
            Kind::Duration { min: 0, max: HOUR },
            Default(r#""0s""#),
            "How long it waits before it does.",
        ),
        key(
            "addresses",
            Kind::VirtualAddresses,
            Required,
            "Addresses that the master holds and advertises, all of one family, at most 255. Without a length: /32 or /128.",
        ),
        key(
            "excluded_addresses",
            Kind::VirtualAddresses,
            Default("[]"),
            "Addresses that the master holds besides, of either family, without advertising them.",
        ),
        key(
            "on_crash",
            choice::<OnCrash>(&[], &[]),
            Default(r#""release""#),
            "What becomes of the addresses when the daemon dies or hangs. `release`: given up at once, so that another node takes over; `keep`: held until the daemon is back.",
        ),
        key(
            "virtual_mac",
            Kind::Flag,
            Default("false"),
            "Whether the addresses answer with the virtual router's MAC address, 00-00-5E-00-01-VRID or 00-00-5E-00-02-VRID, instead of the interface's.",
        ),
        key(
            "unicast_source",
            Kind::LinkAddress,
            Absent("the interface's own address"),
            "Source address of advertisements to unicast peers.",
        ),
        key(
            "unicast_peers",
            Kind::LinkAddresses,
            Default("[]"),
            "The other nodes' addresses, to advertise to them instead of the multicast group; advertisements of others are discarded.",
        ),
        key(
            "unicast_minimum_ttl",
            Kind::Integer { min: 1, max: 255 },
            Default("255"),
            "Least TTL or hop limit of advertisements from unicast peers; below 255 only with routers in between.",
        ),
        key(
            "authentication",
            Kind::Text(8),
            Absent("none"),
            "Simple-text password (version 2). Anyone on the link can read it.",
        ),
        key(
            "checksum",
            choice::<ChecksumForm>(&[], &[]),
            Default(r#""auto""#),
            "Form of the IPv4 checksum that is sent (version 3); both are accepted. `auto`: with pseudo-header until a peer is heard that sends the other.",
        ),
        key(
            "group",
            Kind::OptionalName,
            Default(r#""""#),
            "Virtual routers with the same group move together: one in fault takes all along.",
        ),
        key("track", Kind::Tables(&TRACK), Absent("none"), TRACK.about),
        key("route", Kind::Tables(&ROUTE), Absent("none"), ROUTE.about),
        key("rule", Kind::Tables(&RULE), Absent("none"), RULE.about),
    ],
};

static TRACK: Table = Table {
    path: "vrrp.track",
    about: "A condition of the virtual router above it, and what happens while it does not hold. May be repeated.",
    keys: &[
        key(
            "type",
            choice::<TrackKind>(&[], &[]),
            Required,
            "`interface`: is up and running; `service`: has a backend to use; `script`: a program exits with 0; `process`: runs; `file`: is not there, or holds 0; `load`: is below a limit; `gateway`: answers ARP or neighbour solicitations; `bfd`: a BFD session is up.",
        ),
        key("name", Kind::Name, Absent("the type and what it looks at"), "Name of the track, unique in its router."),
        key(
            "weight",
            Kind::Signed { min: -254, max: 254 },
            Absent("-50, unless `fault` is set"),
            "Added to the priority while the condition does not hold; for a file, times the number in it. The sum stays within 1 to 254.",
        ),
        key(
            "fault",
            Kind::Flag,
            Default("false"),
            "While the condition does not hold the router is in Fault: it gives up its addresses and does not take over.",
        ),
        key("interface", Kind::Interface, Absent("the router's"), "`interface`: its name."),
        key("service", Kind::Name, Absent("required by its type"), "`service`: its name."),
        key(
            "command",
            Kind::Command,
            Absent("required by its type"),
            "`script`: program, by absolute path, and arguments; no shell in between. Runs never overlap.",
        ),
        key(
            "interval",
            Kind::Duration { min: 10, max: HOUR },
            Default(r#""1s""#),
            "`script`, `gateway`: time between two runs or two questions.",
        ),
        key(
            "timeout",
            Kind::Duration { min: 10, max: HOUR },
            Default(r#""1s""#),
            "`script`: time a run may take; then it is killed and has failed.",
        ),
        key(
            "rise",
            Kind::Integer { min: 1, max: 1000 },
            Default("2"),
            "`script`: successes in a row until the condition holds; the first run decides alone.",
        ),
        key(
            "fall",
            Kind::Integer { min: 1, max: 1000 },
            Default("2"),
            "`script`: failures in a row until it does not; the first run decides alone.",
        ),
        key(
            "user",
            Kind::Text(MAX_USER),
            Default(r#""nobody""#),
            "`script`: who runs it. Root only if it says so here.",
        ),
        key(
            "process",
            Kind::Text(MAX_PROCESS),
            Absent("required by its type"),
            "`process`: its name as the kernel knows it (`ps -e`), or the file name of its program.",
        ),
        key("minimum", Kind::Integer { min: 1, max: 1_000_000 }, Default("1"), "`process`: how many must run."),
        key("path", Kind::Path(MAX_PATH), Absent("required by its type"), "`file`: its path."),
        key("maximum", Kind::Positive, Absent("required by its type"), "`load`: limit of the one-minute load average."),
        key(
            "address",
            Kind::LinkAddress,
            Absent("required by its type"),
            "`gateway`: its address, on the router's interface.",
        ),
        key(
            "misses",
            Kind::Integer { min: 1, max: 100 },
            Default("3"),
            "`gateway`: questions without an answer until it is taken for unreachable.",
        ),
        key(
            "neighbour",
            Kind::LinkAddress,
            Absent("required by its type"),
            "`bfd`: address of the other end, on the router's interface.",
        ),
        key("source", Kind::LinkAddress, Absent("the interface's address"), "`bfd`: address of this end."),
        key(
            "transmit_interval",
            Kind::Duration { min: 10, max: 60_000 },
            Default(r#""50ms""#),
            "`bfd`: shortest time between the packets we send.",
        ),
        key(
            "receive_interval",
            Kind::Duration { min: 10, max: 60_000 },
            Default(r#""50ms""#),
            "`bfd`: shortest time between the packets we take.",
        ),
        key(
            "multiplier",
            Kind::Integer { min: 1, max: 255 },
            Default("3"),
            "`bfd`: packets missed until the other end takes us for dead.",
        ),
    ],
};

static ROUTE: Table = Table {
    path: "vrrp.route",
    about: "A route that is there while this node is master of the virtual router above it. May be repeated.",
    keys: &[
        key("destination", Kind::Network, Required, "Where to: `0.0.0.0/0`, say."),
        key("via", Kind::LinkAddress, Absent("none: on the link"), "Next hop."),
        key("interface", Kind::Interface, Absent("the router's"), "Outgoing interface."),
        key("source", Kind::LinkAddress, Absent("the kernel's choice"), "Preferred source address."),
        key("table", Kind::Integer { min: 1, max: u32::MAX }, Default("254"), "Routing table; 254 is main."),
        key("metric", Kind::Integer { min: 1, max: u32::MAX }, Absent("the kernel's"), "Metric."),
    ],
};

static RULE: Table = Table {
    path: "vrrp.rule",
    about: "A policy rule that is there while this node is master of the virtual router above it. May be repeated.",
    keys: &[
        key("from", Kind::Network, Absent("any; at least one of the two"), "Source prefix."),
        key("to", Kind::Network, Absent("any; at least one of the two"), "Destination prefix."),
        key("table", Kind::Integer { min: 1, max: u32::MAX }, Required, "Routing table to look up."),
        key(
            "priority",
            Kind::Integer { min: 1, max: 32_765 },
            Absent("the kernel's"),
            "Order among rules; before main's 32766.",
        ),
    ],
};

pub(in super::super) static PEER: Table = Table {
    path: "peer",
    about: "The other node of a pair: authenticated heartbeats beside VRRP, by which a dead master is noticed sooner.",
    keys: &[
        key(
            "addresses",
            Kind::Addresses,
            Required,
            "Its own addresses, one a path: the data network's and a direct link's, say.",
        ),
        key(
            "port",
            Kind::Port,
            Default("9912"),
            "UDP port of heartbeats and TCP port of the exchange, the same on both nodes; registered to nobody. Firewalls must let both through.",
        ),
        key(
            "key_file",
            Kind::Path(MAX_PATH),
            Required,
            "File with the key that both share, readable by root only: one line, of hexadecimal digits say (`head -c 32 /dev/urandom | xxd -p -c 64`).",
        ),
        key("heartbeat", Kind::Duration { min: 5, max: 10_000 }, Default(r#""50ms""#), "Time between heartbeats."),
        key(
            "misses",
            Kind::Integer { min: 2, max: 100 },
            Default("3"),
            "Heartbeats missed until a path is silent; the peer is taken for dead when all are.",
        ),
        key(
            "hold",
            Kind::Duration { min: 0, max: HOUR },
            Default(r#""60s""#),
            "A node that stepped down or has started does not preempt a living master for so long.",
        ),
        key(
            "nodes",
            Kind::Integer { min: 2, max: 16 },
            Default("2"),
            "Nodes that share the virtual routers. With more than two, a backup waits its skew time when the peer falls silent, so that not all take over at once.",
        ),
    ],
};

pub(in super::super) static HOOK: Table = Table {
    path: "hook",
    about: "A program that is told of every event, one after the other, in order.",
    keys: &[
        key(
            "command",
            Kind::Command,
            Required,
            "Program, by absolute path, and arguments; no shell in between. The event is on its standard input, as a line of JSON.",
        ),
        key(
            "timeout",
            Kind::Duration { min: 100, max: 600_000 },
            Default(r#""10s""#),
            "Time it may take for one event; then it is killed, and the next event's turn comes.",
        ),
        key("user", Kind::Text(MAX_USER), Default(r#""nobody""#), "Who runs it. Root only if it says so here."),
    ],
};
