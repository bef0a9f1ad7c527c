//! Last words of the master before this one, told on: what was gathered of the realm before they came does not have them, and the other
//! node, which has said them, forgets at the end of a bulk what was not in it. A walk would find them, but only a moment later, and until
//! then a takeover back would lose them.

use std::net::IpAddr;

use lb_common::abi::{ClientKey, Recorded, Translated};

use super::changes::{Changes, Noted};
use super::directory::Kind;
use super::item::Key;
use super::pairs::Table as _;
use super::store::Store;
use super::tables::{Tables, client_value};

impl<S: Store> Tables<S> {
    /// What is kept by now of what these keys are about is to be told, unless it was: then it is among the changes.
    ///
    /// # Errors
    /// When the store refuses.
    pub(super) fn told_late(
        &mut self,
        noted: &mut Noted<'_, impl Fn(&str) -> bool>,
        keys: &[Key],
        changes: &mut Changes,
    ) -> anyhow::Result<()> {
        for key in keys {
            match key {
                Key::Flow(flow, stateful) => {
                    let key = flow.key();
                    let record = self.records.get(Kind::of(&key, *stateful), &key)?;
                    if let Some(record) = record {
                        let recorded = Recorded { key, record, stateful: u64::from(*stateful) };
                        self.told_of(noted, &recorded, changes);
                    }
                }
                Key::Translation(flow) => {
                    let key = flow.key();
                    if let Some(translation) = self.records.translations().get(&key)? {
                        self.told_of_translation(noted, &Translated { key, translation }, changes);
                    }
                }
                Key::Client(service, address) => {
                    let Some(entry) = noted.directory().service(service).filter(|entry| noted.takes(entry)) else {
                        continue;
                    };
                    let client = ClientKey { address: IpAddr::from(*address).into(), pool: entry.pool.into() };
                    let Some(record) = self.records.client(&client)? else { continue };
                    if self.told.clients.shows(&client, &record, entry.persistence) {
                        changes.push(&entry.realm, key.clone(), Some(client_value(&record)));
                    }
                }
                Key::Backends(..) | Key::Slots(..) | Key::Table(_) => {}
            }
        }
        Ok(())
    }
}
