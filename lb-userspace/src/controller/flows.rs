//! The flows that some table holds a record of, for `fairway show flows`: which are asked for, and what is said of one.
//!
//! Most flows have no record, by design: the lookup table alone says whose they are, and nothing is kept of them. So what is
//! listed here is not the traffic, but what the tables remember beside it. [`Listing`] goes through records one by one, on
//! a thread that may take its time, with a [`Roster`] of the names that they stand for.

mod listing;
mod roster;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

pub use listing::Listing;
pub use roster::Roster;

/// Flows that are shown unless the asker says how many.
pub const USUAL_LIMIT: u32 = 1000;
/// Flows that are shown at most: an answer of some 30 MB, made in a fraction of a second.
pub const MOST_LIMIT: u32 = 100_000;

/// Which flows are wanted: all that is given must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FlowQuery {
    /// Of the service of this name.
    pub service: Option<String>,
    /// Of the backends with this name or address.
    pub backend: Option<String>,
    /// Of clients within this network.
    pub client: Option<IpNet>,
    /// So many are shown; [`USUAL_LIMIT`] unless it is given.
    pub limit: Option<u32>,
}

/// What is recorded.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct FlowsReport {
    /// [`super::view::API_VERSION`].
    pub api: String,
    /// The flows, by client.
    pub flows: Vec<FlowStatus>,
    /// Recorded flows that were asked for, shown or not.
    pub matching: u64,
    /// Whether there are more of them than shown.
    pub truncated: bool,
}

/// A recorded flow, or a client that is remembered.
#[derive(Clone, Debug, PartialEq, PartialOrd, Serialize, Deserialize)]
pub struct FlowStatus {
    /// The client's address; of a remembered client the network that counts as one.
    pub client: String,
    /// Its port.
    pub client_port: Option<u16>,
    /// `tcp`, `udp`; a remembered client has none.
    pub protocol: Option<String>,
    /// The service's address; a remembered client may come to any.
    pub address: Option<String>,
    /// Its port.
    pub port: Option<u16>,
    /// Which table has it: `exception`, `connection`, `translation`, `client`.
    pub kind: String,
    /// Name of the service.
    pub service: String,
    /// Name of the backend; `None`: it was removed, and the record will be.
    pub backend: Option<String>,
    /// The backend's address.
    pub backend_address: Option<String>,
    /// Of a translation: the port that the backend sees its packets come to.
    pub backend_port: Option<u16>,
    /// Of a translation: the address that the backend sees its packets come from.
    pub source: Option<String>,
    /// Of a translation: the port that the backend sees its packets come from.
    pub source_port: Option<u16>,
    /// `opening`, `established`, `closing`, `closed`, `datagrams`, `remembered`.
    pub state: String,
    /// Seconds since its last packet; of a remembered client, since its last new connection.
    pub idle_seconds: f64,
    /// After so many seconds more without one it is forgotten. A remembered client is not while it has a connection.
    pub expires_in_seconds: f64,
}
