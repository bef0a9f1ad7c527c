//! The keys about how a service chooses backends.

use super::super::scheduling::Scheduler;
use super::Presence::{Absent, Default};
use super::{Choices, Kind, Table, key, words};

/// The words of `scheduler`. What ipvsadm and keepalived call them is taken too.
pub(super) const SCHEDULERS: Kind = Kind::Choice(Choices {
    now: words::<Scheduler>,
    later: &[],
    aliases: &[
        ("mh", "maglev"),
        ("rr", "round-robin"),
        ("wrr", "weighted-round-robin"),
        ("lc", "least-connection"),
        ("wlc", "weighted-least-connection"),
        ("lblc", "locality-based-least-connection"),
        ("lblcr", "locality-based-least-connection-with-replication"),
        ("sh", "source-hash"),
        ("dh", "destination-hash"),
        ("sed", "shortest-expected-delay"),
        ("nq", "never-queue"),
        ("fo", "weighted-failover"),
        ("ovf", "weighted-overflow"),
        ("twos", "weighted-random-twos"),
    ],
    aliases_are_taken: true,
});

/// The longest that a client is remembered: a month.
const MONTH: u64 = 30 * 86_400_000;

/// Leading bits of an IPv4 address. None at all would make one client of everybody.
pub(super) const PREFIX_V4: Kind = Kind::Integer { min: 1, max: 32 };
/// Leading bits of an IPv6 address.
pub(super) const PREFIX_V6: Kind = Kind::Integer { min: 1, max: 128 };

pub(in super::super) static PERSISTENCE: Table = Table {
    path: "service.persistence",
    about: "Clients come back to the backend that they have come to, over all listeners of the service. Stateful schedulers remember each client. With `maglev` nothing is remembered for this: the lookup table is asked for the client's address instead of the whole flow.",
    keys: &[
        key(
            "timeout",
            Kind::Duration { min: 1_000, max: MONTH },
            Absent("`5m`; with `maglev`, for as long as the lookup table says so"),
            "Stateful schedulers: for how long after its last new connection a client is remembered; as long as it has any it is anyway.",
        ),
        key("prefix_v4", PREFIX_V4, Default("32"), "Leading bits of a client's IPv4 address that make it one client."),
        key(
            "prefix_v6",
            PREFIX_V6,
            Default("128"),
            "The same for IPv6; 64 is a household, since hosts change the rest.",
        ),
    ],
};
