//! What this node has to tell: of flows that were recorded just now, what a walk finds, and at the beginning all of a realm.

use std::sync::Arc;
use std::time::Duration;

use super::super::changes::{Changes, Noted};
use super::super::gather::Gathering;
use super::Shell;
use crate::effects::dataplane::Fresh;
use crate::exchange::{Direction, Event};

/// Flows that were recorded and are told of at one tick, at most: as many as there is room for while they wait.
const MOST_RECORDED: usize = 16_384;
/// All of a realm is gathered for about so long at one tick.
const PIECE: Duration = Duration::from_millis(2);

impl Shell {
    /// Tells of flows that were recorded since the last tick.
    pub(super) fn tell_recorded(&mut self) {
        let (Some(tables), exchange) = (&mut self.tables, &self.exchange) else { return };
        let mut noted = Noted::new(&self.directory, |realm| exchange.notes_changes(realm));
        let mut changes = Changes::default();
        for _ in 0..MOST_RECORDED {
            let Some(recorded) = tables.records.recorded() else { break };
            let is_new = match recorded {
                Fresh::Flow(flow) => tables.told_of(&mut noted, &flow, &mut changes),
                Fresh::Translation(it) => tables.told_of_translation(&noted, &it, &mut changes),
            };
            self.recorded += u64::from(is_new);
        }
        self.changed(changes);
    }

    pub(super) fn walk(&mut self) {
        let (Some(tables), exchange) = (&mut self.tables, &self.exchange) else { return };
        let notes = |realm: &str| exchange.notes_changes(realm);
        // What is gathered would all be found to be new.
        if !self.gatherings.is_empty() || !self.directory.realms.iter().any(|realm| notes(realm)) {
            return;
        }
        let found = self.walker.go_on(self.start.clock, tables, Noted::new(&self.directory, notes));
        match found {
            Ok(found) => {
                self.problems.remove("walk");
                self.changed(found);
            }
            Err(error) => self.problem("walk", format!("the flow tables cannot be read: {error:#}")),
        }
    }

    fn changed(&mut self, changes: Changes) {
        changes.into_iter().for_each(|(realm, items)| self.happened(Event::Changed(realm, items)));
    }

    /// All of a realm is to be told: begins with what explains its records.
    pub(super) fn begin_gathering(&mut self, realm: Arc<str>) {
        self.walker.restart();
        self.gatherings.retain(|gathering| gathering.realm != realm);
        let items = self.directory.of_realm(&realm).flat_map(|entry| entry.items()).collect();
        if let Some(tables) = &mut self.tables {
            self.gatherings.push_back(Gathering::begin(Arc::clone(&realm), tables, &self.directory));
        }
        let has_records = self.tables.is_some();
        self.happened(Event::Gathered(realm, items, has_records));
    }

    /// Goes on with it, as much as is to be told next.
    pub(super) fn gather(&mut self) {
        let until = self.now() + PIECE;
        while let Some(gathering) = self.gatherings.front_mut() {
            let (Some(tables), Some(is_time)) = (&mut self.tables, self.exchange.gathers(&gathering.realm)) else {
                self.gatherings.pop_front();
                continue;
            };
            if !is_time || (self.start.clock)() >= until {
                return;
            }
            let (realm, more) = (Arc::clone(&gathering.realm), gathering.has_more());
            let items = match gathering.step(tables, &self.directory) {
                Ok(items) => items,
                Err(error) => {
                    self.problem("gather", format!("the flow tables cannot be read: {error:#}"));
                    return self.close(Direction::Telling, "the flow tables cannot be read");
                }
            };
            if !more {
                self.problems.remove("gather");
                self.gatherings.pop_front();
            }
            self.happened(Event::Gathered(realm, items, more));
        }
    }
}
