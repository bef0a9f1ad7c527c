//! What the peer tells, put where it belongs: records into our tables, what its indices stand for, the weights that it makes its tables
//! from.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tracing::info;

use super::super::Followed;
use super::super::stored::{Client, Foreigner};
use super::super::translations;
use super::Shell;
use crate::exchange::item::{BACKENDS_PER_BLOCK, Backend, Keys};
use crate::exchange::message::Item;
use crate::exchange::{Key, Value};
use crate::reconcile::placed::{Extent, FromMaster, ToldSlots};

impl Shell {
    pub(super) fn store(&mut self, realm: &Arc<str>, items: Vec<Item>, teller_now: u64, late: bool) {
        let (mut is_reweighed, mut stored, now) = (false, Ok(()), self.now());
        for (key, value) in items {
            match (key, value) {
                (Key::Backends(service, block), value) if !late => {
                    is_reweighed |= self.note_backends(realm, &service, block, value);
                }
                (Key::Table(service), Some(Value::Table(hash))) if !late => {
                    self.foreign.note_table(realm, &service, Some(hash));
                    is_reweighed = true;
                }
                (Key::Slots(service, block), value) if !late => {
                    let notes = match value {
                        Some(Value::Slots(notes)) => notes,
                        Some(_) => continue,
                        None => Vec::new(),
                    };
                    let ago = |since| Duration::from_nanos(teller_now.saturating_sub(since));
                    let since = |since| now.saturating_sub(ago(since));
                    is_reweighed |= self.foreign.note_slots(realm, &service, block, &notes, since);
                }
                (key, value) => stored = stored.and(self.store_record(realm, key, value, (teller_now, now), late)),
            }
        }
        let settled = self.tables.as_mut().map_or(Ok(()), |tables| tables.records.settle());
        self.stored(stored.and(settled));
        if is_reweighed {
            self.follow();
        }
    }

    /// Something of packets that came. `now`: by the teller's clock, and by ours.
    fn store_record(
        &mut self,
        realm: &str,
        key: Key,
        value: Option<Value>,
        (teller_now, now): (u64, Duration),
        late: bool,
    ) -> anyhow::Result<()> {
        let (Some(tables), directory) = (&mut self.tables, &self.directory) else { return Ok(()) };
        match (key, value) {
            (Key::Flow(flow, stateful), Some(Value::Flow(record))) => {
                let age = teller_now.saturating_sub(record.last_seen);
                let it = Foreigner { realm, flow: flow.key(), stateful, record, age };
                tables.store(directory, &self.foreign, &it, now, late)
            }
            (Key::Flow(flow, stateful), None) if !late => tables.remove(directory, realm, &flow.key(), stateful),
            (Key::Client(service, address), value) => {
                let (backend, age) = match value {
                    Some(Value::Client(backend, last)) => (backend, teller_now.saturating_sub(last)),
                    None if !late => (u16::MAX, 0),
                    _ => return Ok(()),
                };
                let address = IpAddr::from(address).into();
                let it = Client { realm, service: &service, address, backend, age };
                if value.is_some() {
                    tables.store_client(directory, &self.foreign, &it, now, late)
                } else {
                    tables.remove_client(directory, &it)
                }
            }
            (Key::Translation(flow), Some(Value::Translation(record))) => {
                let age = teller_now.saturating_sub(record.last_seen);
                let it = translations::Foreigner { realm, flow: flow.key(), record, age };
                tables.store_translation(directory, &it, now, late)
            }
            (Key::Translation(flow), None) if !late => tables.remove_translation(directory, realm, &flow.key()),
            // Last words about backends, and that something is gone, are old; values of another kind than their key are nonsense.
            _ => Ok(()),
        }
    }

    pub(super) fn note_backends(
        &mut self,
        realm: &Arc<str>,
        service: &Arc<str>,
        block: u32,
        value: Option<Value>,
    ) -> bool {
        if self.directory.service(service).is_none_or(|entry| entry.realm != *realm) {
            return false;
        }
        let of_block = |it: &Backend| u32::from(it.index / BACKENDS_PER_BLOCK) == block;
        let backends = match value {
            Some(Value::Backends(backends)) if backends.iter().all(of_block) => Some(backends),
            Some(_) => return false,
            None => None,
        };
        self.foreign.note(realm, service, block, backends);
        true
    }

    pub(super) fn keep(&mut self, realm: &Arc<str>, keys: &Keys) {
        let is_kept = |service: &Arc<str>, block| keys.contains(&Key::Backends(Arc::clone(service), block));
        self.foreign.keep(realm, is_kept);
        self.foreign.keep_slots(realm, |service, block| keys.contains(&Key::Slots(Arc::clone(service), block)));
        if let Some(tables) = &mut self.tables {
            let kept = tables.keep(&self.directory, realm, keys);
            // Whatever failed, nothing may be left on its way: this node may be master next.
            let settled = tables.records.settle();
            self.stored(kept.and(settled));
        }
        self.follow();
        info!(vrrp = %realm, "all of the master's state is here");
    }

    pub(super) fn stored(&mut self, result: anyhow::Result<()>) {
        match result {
            Ok(()) => drop(self.problems.remove("store")),
            Err(error) => self.problem("store", format!("a record of the peer's cannot be kept: {error:#}")),
        }
    }

    /// A claim was made of a realm: what was told of slots under an earlier one counts no more.
    pub(super) fn begin_slots(&mut self, realm: &Arc<str>) {
        self.foreign.forget_slots(realm);
        self.follow();
    }

    /// Says what masters make their tables from, of what this node is not master of.
    pub(super) fn follow(&mut self) {
        let mut followed = Followed::new();
        for realm in self.directory.realms.iter().filter(|realm| !self.exchange.is_master(realm)) {
            let (is_whole, is_begun) = (self.exchange.follows(realm), self.exchange.is_being_told(realm));
            for entry in self.directory.of_realm(realm) {
                let Some(standings) = self.foreign.standings(realm, &entry.name) else { continue };
                let extent = match (is_whole, is_begun) {
                    (true, _) => Extent::Whole(self.foreign.table(realm, &entry.name)),
                    (false, true) => Extent::Part,
                    (false, false) => Extent::Unknown,
                };
                let slots = self.foreign.slots(realm, &entry.name);
                let slots = slots.map(|slots| Arc::new(ToldSlots { slots: Arc::clone(slots), extent }));
                followed.insert(Arc::clone(&entry.name), Arc::new(FromMaster { standings, slots }));
            }
        }
        self.wires.follow.send_if_modified(|before| {
            let is_other = *before != followed;
            *before = followed;
            is_other
        });
    }
}
