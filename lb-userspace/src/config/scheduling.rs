//! How a service chooses backends, typed: its scheduler, and how long and how closely clients stay with one. As with
//! [`super::model`], a value that exists is valid.

use std::net::IpAddr;
use std::time::Duration;

use serde::Serialize;

use super::model::{Service, Word, words};

words! {
    /// How a backend is chosen. The hashing ones ask the lookup table, with one part of the flow or another; all others choose by a
    /// rule for each new flow, and record it.
    Scheduler {
        /// Consistent hashing of the whole flow.
        Maglev = "maglev",
        /// Of the client's address: all connections of a client go to one backend.
        SourceHash = "source-hash",
        /// Of the service's address.
        DestinationHash = "destination-hash",
        /// The next in turn.
        RoundRobin = "round-robin",
        /// The next in turn, heavier ones more often.
        WeightedRoundRobin = "weighted-round-robin",
        /// Whoever has fewest connections.
        LeastConnection = "least-connection",
        /// Whoever has fewest connections for its weight.
        WeightedLeastConnection = "weighted-least-connection",
        /// Whoever would have fewest established connections for its weight with one more.
        ShortestExpectedDelay = "shortest-expected-delay",
        /// Whoever has none, else as before.
        NeverQueue = "never-queue",
        /// The heaviest.
        WeightedFailover = "weighted-failover",
        /// The heaviest that has no more established connections than weight.
        WeightedOverflow = "weighted-overflow",
        /// The less loaded of two drawn by weight.
        WeightedRandomTwos = "weighted-random-twos",
        /// The backend of the service's address, unless crowded.
        LocalityLeastConnection = "locality-based-least-connection",
        /// The least loaded of the backends of the service's address, unless crowded.
        ReplicatedLocalityLeastConnection = "locality-based-least-connection-with-replication",
    }
}

/// For how long clients are remembered by services that remember them and do not say: what ipvsadm's `-p` means without a number.
pub const PERSISTENCE_TIMEOUT: Duration = Duration::from_secs(300);

/// `persistence`: clients that have come to a backend come back to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Persistence {
    /// For so long after a client's last new connection, and while it has any; `None`: [`PERSISTENCE_TIMEOUT`], or with `maglev` for as
    /// long as the lookup table says so.
    pub timeout: Option<Duration>,
    /// Who counts as one client.
    pub prefixes: Prefixes,
}

/// Leading bits of a client's address that make it one client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Prefixes {
    /// Of 32.
    pub v4: u8,
    /// Of 128.
    pub v6: u8,
}

impl Prefixes {
    /// Every address is a client of its own.
    pub const HOSTS: Self = Self { v4: 32, v6: 128 };

    /// The leading bits of the sixteen octets of an address of this one's family, IPv4 in its v4-mapped form.
    pub fn of(&self, address: IpAddr) -> u8 {
        match address {
            IpAddr::V4(_) => 96 + self.v4,
            IpAddr::V6(_) => self.v6,
        }
    }
}

/// The part of a flow that its slot is the hash of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SelectionKey {
    /// The client's address and both ports.
    Flow,
    /// The client's address as far as these prefixes, and its port if so, whatever listener it comes to.
    Source {
        /// See [`Prefixes`].
        prefixes: Prefixes,
        /// Whether the client's port counts.
        port: bool,
    },
    /// The service's address.
    Destination,
}

impl Scheduler {
    /// Whether the backend of a flow is what the lookup table says, whatever was before.
    pub fn is_hashing(self) -> bool {
        match self {
            Self::Maglev | Self::SourceHash | Self::DestinationHash => true,
            Self::RoundRobin
            | Self::WeightedRoundRobin
            | Self::LeastConnection
            | Self::WeightedLeastConnection
            | Self::ShortestExpectedDelay
            | Self::NeverQueue
            | Self::WeightedFailover
            | Self::WeightedOverflow
            | Self::WeightedRandomTwos
            | Self::LocalityLeastConnection
            | Self::ReplicatedLocalityLeastConnection => false,
        }
    }
}

impl Service {
    /// What the lookup table is asked with: under a rule that keeps records, for flows that have none.
    pub fn selection_key(&self) -> SelectionKey {
        match (self.scheduler, self.persistence) {
            (Scheduler::SourceHash, _) => SelectionKey::Source { prefixes: self.source_prefix, port: self.source_port },
            (Scheduler::DestinationHash, _) => SelectionKey::Destination,
            (_, Some(persistence)) => SelectionKey::Source { prefixes: persistence.prefixes, port: false },
            (_, None) => SelectionKey::Flow,
        }
    }
}
