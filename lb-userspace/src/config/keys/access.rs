//! The keys about which clients may come to a service, and how often.

use super::Presence::{Absent, Default};
use super::scheduling::{PREFIX_V4, PREFIX_V6};
use super::{Kind, Table, key};

/// Connections in a second, or at once.
const CONNECTIONS: Kind = Kind::Integer { min: 1, max: 10_000_000 };

pub(in super::super) static RATE_LIMIT: Table = Table {
    path: "service.rate_limit",
    about: "How many new connections are let in: TCP SYNs, and UDP flows that have no record yet. Others are dropped, counted as `client-rate` and `service-rate`; connections that are established are left alone. At least a hundredth of a rate is let in at once.",
    keys: &[
        key("connections", CONNECTIONS, Absent("any number"), "New connections a second, of all clients together."),
        key(
            "burst",
            CONNECTIONS,
            Absent("what comes in a second"),
            "Of these, so many are let in at once after a pause.",
        ),
        key("client_connections", CONNECTIONS, Absent("any number"), "New connections a second, of each client."),
        key("client_burst", CONNECTIONS, Absent("what comes in a second"), "The same of each client."),
        key("prefix_v4", PREFIX_V4, Default("32"), "Leading bits of a client's IPv4 address that make it one client."),
        key(
            "prefix_v6",
            PREFIX_V6,
            Default("64"),
            "The same for IPv6; 64 is a household, since hosts change the rest.",
        ),
    ],
};
