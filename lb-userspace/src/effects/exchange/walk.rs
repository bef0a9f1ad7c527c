//! The walk over the tables that finds what differs from what was told. Some thousands of records at a time; after each piece it rests
//! nine times as long as that took.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use super::tables::{Tables, all, client_key, client_value, value};
use crate::effects::dataplane::{TranslationWalks, Walks};
use crate::exchange::directory::{Directory, Kind};
use crate::exchange::{Key, Value};

/// Time between the beginnings of two walks, at least.
pub const INTERVAL: Duration = Duration::from_millis(250);
/// A walk rests so many times as long as it works: it has one tenth of a core.
const REST: u32 = 9;
/// Work is done in pieces of about so long.
const PIECE: Duration = Duration::from_millis(1);

/// Something of a realm that is so now, or gone.
pub type Change = (Arc<str>, Key, Option<Value>);

/// What is walked over.
#[derive(Clone, Copy)]
enum Table {
    /// Records of one kind, of IPv4 or not.
    Flows(Kind, bool),
    /// Clients that are remembered.
    Clients,
    /// Translations, of IPv4 or not.
    Translations(bool),
}

/// See the module's description.
#[derive(Default)]
pub struct Walker {
    /// Tables that are to be walked still, the next one last; empty: none is under way.
    left: Vec<Table>,
    /// Whether the walk over that one has begun.
    is_entered: bool,
    walks: Walks,
    translation_walks: TranslationWalks,
    began: Duration,
    rest_until: Duration,
    took: Option<Duration>,
    count: u64,
}

impl Walker {
    /// Walks that were completed.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// How long the last walk took, rests included.
    pub fn took(&self) -> Option<Duration> {
        self.took
    }

    /// Goes on for a piece, if it is time; what it found. `notes` says of which realms anything is to be told.
    ///
    /// # Errors
    /// When the kernel refuses; the walk begins anew.
    pub fn go_on(
        &mut self,
        clock: fn() -> Duration,
        tables: &mut Tables,
        directory: &Directory,
        notes: impl Fn(&str) -> bool,
    ) -> anyhow::Result<Vec<Change>> {
        let began = clock();
        let mut found = Vec::new();
        if began < self.rest_until || self.left.is_empty() && !self.begin(began, tables, directory) {
            return Ok(found);
        }
        let mut now = began;
        while now < began + PIECE && !self.left.is_empty() {
            if let Err(error) = self.step(now, tables, directory, &notes, &mut found) {
                *self = Self { rest_until: began + INTERVAL, count: self.count, ..Self::default() };
                return Err(error);
            }
            now = clock();
        }
        self.rest_until = now + (now - began) * REST;
        if self.left.is_empty() {
            self.took = Some(now - self.began);
            self.count += 1;
        }
        Ok(found)
    }

    fn begin(&mut self, now: Duration, tables: &Tables, directory: &Directory) -> bool {
        if now < self.began + INTERVAL {
            return false;
        }
        self.began = now;
        let is_used = |&(kind, is_v4): &(Kind, bool)| directory.uses(kind, is_v4) || !tables.told.is_empty(kind, is_v4);
        self.left = all().filter(is_used).map(|(kind, is_v4)| Table::Flows(kind, is_v4)).collect();
        if directory.remembers_clients() || !tables.told.clients.is_empty() {
            self.left.push(Table::Clients);
        }
        let is_used = |&is_v4: &bool| directory.translates(is_v4) || !tables.translations.is_empty(is_v4);
        self.left.extend([true, false].into_iter().filter(is_used).map(Table::Translations));
        self.is_entered = false;
        !self.left.is_empty()
    }

    /// The next records of the table that is walked.
    fn step(
        &mut self,
        now: Duration,
        tables: &mut Tables,
        directory: &Directory,
        notes: impl Fn(&str) -> bool,
        found: &mut Vec<Change>,
    ) -> anyhow::Result<()> {
        let Some(&table) = self.left.last() else { return Ok(()) };
        let is_first = !std::mem::replace(&mut self.is_entered, true);
        let more = match table {
            Table::Flows(kind, is_v4) => self.step_flows(kind, is_v4, is_first, tables, directory, notes, found)?,
            Table::Clients => self.step_clients(is_first, tables, directory, notes, found)?,
            Table::Translations(is_v4) => {
                let walks = &mut self.translation_walks;
                tables.step_translations(is_v4, is_first, walks, directory, now, notes, found)?
            }
        };
        if more.is_break() {
            self.left.pop();
            self.is_entered = false;
        }
        Ok(())
    }

    fn step_flows(
        &mut self,
        kind: Kind,
        is_v4: bool,
        is_first: bool,
        tables: &mut Tables,
        directory: &Directory,
        notes: impl Fn(&str) -> bool,
        found: &mut Vec<Change>,
    ) -> anyhow::Result<ControlFlow<()>> {
        let stateful = kind == Kind::Connection;
        let Tables { records, told, sampler, .. } = tables;
        if is_first {
            told.begin(kind, is_v4);
        }
        let more = records.step(kind, is_v4, &mut self.walks, |flow, record| {
            let Some(entry) = directory.of_pool(record.pool).filter(|entry| notes(&entry.realm)) else { return };
            sampler.offer(&entry.realm, flow, stateful);
            if told.shows(kind, flow, record, entry.timeout(flow, record.state, stateful)) {
                found.push((Arc::clone(&entry.realm), Key::Flow(flow.into(), stateful), Some(value(record))));
            }
        })?;
        if more.is_break() {
            for (flow, pool) in told.end(kind, is_v4) {
                let Some(entry) = directory.of_pool(pool) else { continue };
                found.push((Arc::clone(&entry.realm), Key::Flow((&flow).into(), stateful), None));
            }
        }
        Ok(more)
    }

    fn step_clients(
        &mut self,
        is_first: bool,
        tables: &mut Tables,
        directory: &Directory,
        notes: impl Fn(&str) -> bool,
        found: &mut Vec<Change>,
    ) -> anyhow::Result<ControlFlow<()>> {
        let Tables { records, told, .. } = tables;
        if is_first {
            told.clients.begin();
        }
        let more = records.step_clients(&mut self.walks, |client, record| {
            let Some(entry) = directory.of_pool(record.pool).filter(|entry| notes(&entry.realm)) else { return };
            if told.clients.shows(client, record, entry.persistence) {
                found.push((Arc::clone(&entry.realm), client_key(entry, client), Some(client_value(record))));
            }
        })?;
        if more.is_break() {
            for (client, pool) in told.clients.end() {
                let Some(entry) = directory.of_pool(pool) else { continue };
                found.push((Arc::clone(&entry.realm), client_key(entry, &client), None));
            }
        }
        Ok(more)
    }
}
