//! What is said of the exchange: the view that it publishes, and what is wrong.

use std::sync::Arc;
use std::time::Duration;

use tracing::error;

use super::super::connection::Connection;
use super::Shell;
use crate::exchange::directory::Entry;
use crate::exchange::view::{CountersView, RealmView, SessionView, View};

/// Time between two views.
const VIEW: Duration = Duration::from_millis(100);

impl Shell {
    pub(super) fn problem(&mut self, what: &'static str, why: String) {
        if self.problems.get(what) != Some(&why) {
            error!("{why}");
            self.problems.insert(what, why);
        }
    }

    pub(super) fn show(&mut self) {
        let now = self.now();
        if now < self.view_at {
            return;
        }
        self.view_at = now + VIEW;
        let disagreements = self.disagreements();
        self.wires.view.store(Arc::new(self.look(disagreements)));
    }

    /// What differs between the two nodes, in words.
    pub(super) fn disagreements(&mut self) -> Vec<String> {
        let mut differing = Vec::new();
        if self.party.exchange.peer_config().is_some_and(|peer| *peer != self.party.directory.config) {
            differing.push("the configuration".to_owned());
        }
        for realm in self.party.directory.realms.iter().filter(|realm| self.party.exchange.follows(realm)) {
            let differs = |entry: &&Arc<Entry>| {
                self.party.foreign.table(realm, &entry.name).is_some_and(|table| table != entry.table)
            };
            let services = self.party.directory.of_realm(realm).filter(differs);
            differing.extend(services.map(|entry| format!("the lookup table of service {}", entry.name)));
        }
        self.agreement.judge(self.now(), differing)
    }

    pub(super) fn look(&self, disagreements: Vec<String>) -> View {
        let session = |connection: &Connection| SessionView {
            peer: connection.who.node.to_string(),
            address: connection.address.to_string(),
            since: connection.since.as_secs_f64(),
        };
        let realm = |name: &Arc<str>| {
            let master = self.party.exchange.is_master(name);
            let in_sync =
                if master { self.party.exchange.is_followed_by_peer(name) } else { self.party.exchange.follows(name) };
            RealmView { vrrp: name.to_string(), master, in_sync }
        };
        let counters = self.party.exchange.counters();
        let unplaced = self.party.tables.iter().flat_map(|tables| tables.unplaced());
        View {
            telling: self.telling.as_ref().map(session),
            following: self.following.as_ref().map(session),
            realms: self.party.directory.realms.iter().map(realm).collect(),
            not_caught_up: self.party.exchange.caught_up().err(),
            unconfirmed: self.party.exchange.at_risk() as u64,
            peer_config: self.party.exchange.peer_config().map(ToString::to_string),
            counters: CountersView {
                told: counters.told,
                taken: counters.taken,
                late: counters.late,
                bulks: counters.bulks,
                overflows: counters.overflows,
                refused: counters.refused,
                gaps: counters.gaps,
                unknown: counters.unknown,
                sessions: self.sessions,
                walks: self.party.walker.count(),
                recorded: self.party.recorded(),
            },
            refused: self.refused.clone(),
            unplaced: unplaced.map(|(reason, count)| ((*reason).to_owned(), *count)).collect(),
            disagreements,
            problems: self.problems.values().cloned().chain(self.comparison.problem(self.now())).collect(),
            walk_seconds: self.party.walker.took().map(|took| took.as_secs_f64()),
            told_records: self
                .party
                .tables
                .as_ref()
                .map_or(0, |tables| (tables.told.len() + tables.translations.len()) as u64),
            rehearsal: self.look_at_rehearsal(),
        }
    }
}
