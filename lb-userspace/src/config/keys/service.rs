//! The keys of services and of their backends.

use lb_common::limits::{MAX_TABLE_SIZE, MIN_TABLE_SIZE};

use super::super::check::OnDown;
use super::super::model::{Encapsulation, Forwarding, OnNoBackend, UdpMode};
use super::Presence::{Absent, Default, Required};
use super::{Kind, Table, access, check, choice, key, scheduling};

/// Of QUIC-LB; 7 says that a connection ID holds no server ID.
const CONFIGURATION: Kind = Kind::Integer { min: 0, max: 6 };

pub(in super::super) static SERVICE: Table = Table {
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
