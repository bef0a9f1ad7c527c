//! All of a realm, gathered from the tables in pieces: of a million records it takes a while, in which the newest are to be told and the
//! peer is to be heard. What is gathered counts as told.

use std::ops::ControlFlow;
use std::sync::Arc;

use lb_common::abi::{ClientKey, Record};

use super::directory::{Directory, Kind};
use super::item::{Key, Value};
use super::store::Store;
use super::tables::{Tables, all, client_key, client_value, value};
use super::translations;
use super::walk::Table;

/// See the module's description.
pub struct Gathering<S: Store> {
    /// Of which realm.
    pub realm: Arc<str>,
    /// Tables that are to be gone through still, the next one last.
    left: Vec<Table>,
    walks: S::Walks,
    translation_walks: translations::Walks<S>,
}

impl<S: Store> Gathering<S> {
    /// Begins; what was told of the realm is to be told anew.
    pub fn begin(realm: Arc<str>, tables: &mut Tables<S>, directory: &Directory) -> Self {
        tables.told.forget(|pool| directory.of_pool(pool).is_none_or(|entry| entry.realm == realm));
        tables.translations.forget(|key| directory.of_flow(key).is_none_or(|entry| entry.realm == realm));
        let flows = all().filter(|&(kind, is_v4)| directory.uses(kind, is_v4));
        let mut left: Vec<Table> = flows.map(|(kind, is_v4)| Table::Flows(kind, is_v4)).collect();
        left.extend(directory.remembers_clients().then_some(Table::Clients));
        left.extend([true, false].into_iter().filter(|&is_v4| directory.translates(is_v4)).map(Table::Translations));
        Self { realm, left, walks: S::Walks::default(), translation_walks: translations::Walks::<S>::default() }
    }

    /// Whether there is more.
    pub fn has_more(&self) -> bool {
        !self.left.is_empty()
    }

    /// The next piece: some thousands of records, of which those that were told since it began are left out.
    ///
    /// # Errors
    /// When the store refuses.
    pub fn step(&mut self, tables: &mut Tables<S>, directory: &Directory) -> anyhow::Result<Vec<(Key, Value)>> {
        let mut items = Vec::new();
        let Some(&table) = self.left.last() else { return Ok(items) };
        let more = match table {
            Table::Flows(kind, is_v4) => self.step_flows(kind, is_v4, tables, directory, &mut items)?,
            Table::Clients => self.step_clients(tables, directory, &mut items)?,
            Table::Translations(is_v4) => {
                let walks = &mut self.translation_walks;
                tables.gather_translations(is_v4, walks, directory, &self.realm, &mut items)?
            }
        };
        if more.is_break() {
            self.left.pop();
        }
        Ok(items)
    }

    fn step_flows(
        &mut self,
        kind: Kind,
        is_v4: bool,
        tables: &mut Tables<S>,
        directory: &Directory,
        items: &mut Vec<(Key, Value)>,
    ) -> anyhow::Result<ControlFlow<()>> {
        let (realm, stateful) = (&self.realm, kind == Kind::Connection);
        tables.step_flows(kind, is_v4, &mut self.walks, |told, _, flow, record| {
            let Some(entry) = directory.of_pool(record.pool).filter(|entry| entry.realm == *realm) else { return };
            if told.shows(kind, flow, record, entry.timeout(flow, record.state, stateful)) {
                items.push((Key::Flow(flow.into(), stateful), value(record)));
            }
        })
    }

    fn step_clients(
        &mut self,
        tables: &mut Tables<S>,
        directory: &Directory,
        items: &mut Vec<(Key, Value)>,
    ) -> anyhow::Result<ControlFlow<()>> {
        let Tables { records, told, .. } = tables;
        records.step_clients(&mut self.walks, |client: &ClientKey, record: &Record| {
            let Some(entry) = directory.of_pool(record.pool).filter(|entry| entry.realm == self.realm) else { return };
            if told.clients.shows(client, record, entry.persistence) {
                items.push((client_key(entry, client), client_value(record)));
            }
        })
    }
}
