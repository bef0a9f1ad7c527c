//! A pair that shares what it has, and somebody without the key.

use std::collections::BTreeMap;

use super::NOW;
use crate::exchange::view::{CountersView, RealmView, RehearsalView, SessionView, View};

/// See the module's description.
pub fn exchange() -> View {
    let session = SessionView { peer: "lb2".to_owned(), address: "10.9.0.2".to_owned(), since: NOW - 125.0 };
    let realm = |vrrp: &str, master| RealmView { vrrp: vrrp.to_owned(), master, in_sync: true };
    View {
        telling: Some(session.clone()),
        following: Some(session),
        realms: vec![realm("inside", false), realm("public", true)],
        not_caught_up: None,
        unconfirmed: 4,
        peer_config: Some("00112233aabbccdd".to_owned()),
        counters: CountersView { told: 100, taken: 50, late: 1, bulks: 2, sessions: 2, ..CountersView::default() },
        refused: BTreeMap::from([("authentication".to_owned(), 3)]),
        unplaced: BTreeMap::from([("no-backend".to_owned(), 5)]),
        disagreements: vec!["the lookup table of service web".to_owned()],
        problems: Vec::new(),
        walk_seconds: Some(0.25),
        told_records: 13,
        rehearsal: RehearsalView { ratio: Some(1.0), agreed: 640, differed: 2, examples: Vec::new() },
    }
}
