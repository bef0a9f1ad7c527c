//! What is said of the exchange: for status, metrics and tests. Moments are seconds, of the monotonic clock until [`View::at_epoch`].

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Why who connects may be refused: the first two before a word is said, the others are [`Refusal`](super::seal::Refusal)'s.
pub const REFUSALS: [&str; 8] =
    ["address", "too-many", "length", "magic", "version", "authentication", "reflection", "content"];

/// Everything, at one moment.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct View {
    /// Whether the peer takes what this node tells.
    pub telling: Option<SessionView>,
    /// Whether the peer tells this node.
    pub following: Option<SessionView>,
    /// The virtual routers whose services are shared.
    pub realms: Vec<RealmView>,
    /// Why the state of the peer is not all here; `None`: it is, or there is nobody to have it from.
    pub not_caught_up: Option<String>,
    /// Records that were told or are about to be and that the peer has not confirmed.
    pub unconfirmed: u64,
    /// Hash of the peer's configuration, once it has said so.
    pub peer_config: Option<String>,
    /// What was counted.
    pub counters: CountersView,
    /// Greetings and frames that were not believed, by reason.
    pub refused: BTreeMap<String, u64>,
    /// The peer's records and backends that have no place here, by reason.
    pub unplaced: BTreeMap<String, u64>,
    /// What has differed between the two nodes for longer than a change takes to reach both, in words.
    #[serde(default)]
    pub disagreements: Vec<String>,
    /// What is wrong at present, in words.
    pub problems: Vec<String>,
    /// How long the last walk over the tables took, rests included, in seconds; `None`: there was none yet.
    pub walk_seconds: Option<f64>,
    /// Records that were told and stand so.
    pub told_records: u64,
    /// How decisions of the peer's compare with those of this node.
    #[serde(default)]
    pub rehearsal: RehearsalView,
}

/// Where packets go at the peer that is master, and where they would here.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RehearsalView {
    /// The share that agreed in the last seconds; `None`: nothing was compared.
    pub ratio: Option<f64>,
    /// Decisions that agreed.
    pub agreed: u64,
    /// Decisions that did not.
    pub differed: u64,
    /// Some that did not in the last seconds, in words.
    pub examples: Vec<String>,
}

/// A connection to the peer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SessionView {
    /// The peer's node name.
    pub peer: String,
    /// Its address.
    pub address: String,
    /// Since when.
    pub since: f64,
}

/// The services of one virtual router.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RealmView {
    /// Its name.
    pub vrrp: String,
    /// Whether this node is master, as the exchange sees it.
    pub master: bool,
    /// Whether the node that is not master has everything: the peer of what this node is master of, else this node.
    pub in_sync: bool,
}

/// See [`View`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CountersView {
    /// Items told.
    pub told: u64,
    /// Items taken.
    pub taken: u64,
    /// Items that came after this node had taken over.
    pub late: u64,
    /// Times that all of a virtual router's state was told.
    pub bulks: u64,
    /// Times that changes were thrown away since too many waited.
    pub overflows: u64,
    /// Messages and items of old claims or out of place.
    pub refused: u64,
    /// Sessions that ended over a missing message.
    pub gaps: u64,
    /// Items of kinds that this version does not know.
    pub unknown: u64,
    /// Sessions that were opened, in either direction.
    pub sessions: u64,
    /// Flows that were told of as they were recorded.
    pub recorded: u64,
    /// Walks over the flow tables that were completed.
    pub walks: u64,
}

impl View {
    /// With moments in seconds since the Unix epoch, by what that was at monotonic time 0.
    pub fn at_epoch(mut self, epoch: f64) -> Self {
        for session in [&mut self.telling, &mut self.following].into_iter().flatten() {
            session.since += epoch;
        }
        self
    }
}

impl View {
    /// What an operator should know and do.
    pub fn warnings(&self) -> impl Iterator<Item = String> {
        let problems = self.problems.iter().map(|problem| format!("exchange: {problem}"));
        let differing = self.disagreements.iter().map(|what| format!("{what} is not the same on the peer"));
        problems.chain(differing)
    }
}
