//! The tables of records as the exchange uses them: all of a realm is gathered from them, and what the peer tells is put into them.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use lb_common::abi::{ClientKey, FlowKey4, FlowKey6, Record, Recorded};
use lb_common::address::Address;
use lb_common::connection::Counted;
use lb_common::flow::Flow;

use super::translations::ToldTranslations;
use super::walk::Change;
use crate::effects::dataplane::{Records, Walks};
use crate::exchange::directory::{Directory, Entry, Kind, is_state};
use crate::exchange::foreign::Foreign;
use crate::exchange::item::{FlowId, FlowRecord};
use crate::exchange::rehearsal::Sampler;
use crate::exchange::told::{REFRESH, Told};
use crate::exchange::{Key, Value};

/// See the module's description.
pub struct Tables {
    /// The tables themselves.
    pub records: Records,
    /// What was told of them.
    pub told: ToldTables,
    /// Some of the records that were walked over.
    pub sampler: Sampler,
    /// The same of translations.
    pub translations: ToldTranslations,
    unplaced: BTreeMap<&'static str, u64>,
    lacks_backends: bool,
}

/// What was told of each table.
#[derive(Default)]
pub struct ToldTables {
    v4: [Told<FlowKey4>; 3],
    v6: [Told<FlowKey6>; 3],
    /// Clients that are remembered.
    pub clients: Told<ClientKey>,
}

/// A record of the peer's.
pub struct Foreigner<'a> {
    /// Whose it is.
    pub realm: &'a str,
    /// The flow.
    pub flow: FlowKey6,
    /// Whether it is one of a stateful service.
    pub stateful: bool,
    /// What is said of it.
    pub record: FlowRecord,
    /// How long ago its last packet was, in nanoseconds.
    pub age: u64,
}

/// A client that the peer remembers.
pub struct Client<'a> {
    /// Whose it is.
    pub realm: &'a str,
    /// Of which service.
    pub service: &'a str,
    /// What counts of its address.
    pub address: Address,
    /// Its backend, by the peer's index.
    pub backend: u16,
    /// How long ago it began something, in nanoseconds.
    pub age: u64,
}

impl ToldTables {
    /// See [`Told::shows`].
    pub fn shows(&mut self, kind: Kind, flow: &FlowKey6, record: &Record, timeout: u64) -> bool {
        if flow.source.is_v4() {
            self.v4[kind as usize].shows(&Flow::from(*flow).key4(), record, timeout)
        } else {
            self.v6[kind as usize].shows(flow, record, timeout)
        }
    }

    /// See [`Told::begin`].
    pub fn begin(&mut self, kind: Kind, is_v4: bool) {
        if is_v4 { self.v4[kind as usize].begin() } else { self.v6[kind as usize].begin() }
    }

    /// See [`Told::end`].
    pub fn end(&mut self, kind: Kind, is_v4: bool) -> Vec<(FlowKey6, u32)> {
        if is_v4 {
            self.v4[kind as usize].end().into_iter().map(|(key, pool)| (widen(&key), pool)).collect()
        } else {
            self.v6[kind as usize].end()
        }
    }

    /// Whether nothing of a table was told.
    pub fn is_empty(&self, kind: Kind, is_v4: bool) -> bool {
        if is_v4 { self.v4[kind as usize].is_empty() } else { self.v6[kind as usize].is_empty() }
    }

    /// Records that were told.
    pub fn len(&self) -> usize {
        let flows = self.v4.iter().map(Told::len).chain(self.v6.iter().map(Told::len));
        flows.sum::<usize>() + self.clients.len()
    }

    fn forget(&mut self, is_of: impl Fn(u32) -> bool) {
        self.v4.iter_mut().for_each(|told| told.forget(&is_of));
        self.v6.iter_mut().for_each(|told| told.forget(&is_of));
        self.clients.forget(&is_of);
    }
}

impl Tables {
    /// Nothing was told yet.
    pub fn new(records: Records) -> Self {
        let (told, sampler, unplaced) = (ToldTables::default(), Sampler::default(), BTreeMap::new());
        let translations = ToldTranslations::default();
        Self { records, told, translations, sampler, unplaced, lacks_backends: false }
    }

    /// Records of the peer's that have no place here, by reason.
    pub fn unplaced(&self) -> &BTreeMap<&'static str, u64> {
        &self.unplaced
    }

    /// Whether records had no place for want of a backend or a service since this was last asked.
    pub fn take_whether_any_lacked_a_backend(&mut self) -> bool {
        std::mem::take(&mut self.lacks_backends)
    }

    pub(super) fn count_unplaced(&mut self, why: &'static str) {
        *self.unplaced.entry(why).or_default() += 1;
        self.lacks_backends = true;
    }

    /// A flow was recorded: what is to be told of it. `notes` says of which realms anything is.
    pub fn told_of(
        &mut self,
        directory: &Directory,
        recorded: &Recorded,
        notes: impl Fn(&str) -> bool,
    ) -> Option<Change> {
        let Recorded { key, record, stateful } = recorded;
        let entry = directory.of_pool(record.pool).filter(|entry| notes(&entry.realm))?;
        let stateful = *stateful != 0;
        let timeout = entry.timeout(key, record.state, stateful);
        let is_new = self.told.shows(Kind::of(key, stateful), key, record, timeout);
        is_new.then(|| (Arc::clone(&entry.realm), Key::Flow(key.into(), stateful), Some(value(record))))
    }

    /// All records of a realm, which count as told from now on.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn gather(&mut self, directory: &Directory, realm: &str) -> anyhow::Result<Vec<(Key, Value)>> {
        let mut items = Vec::new();
        let Self { records, told, .. } = self;
        told.forget(|pool| directory.of_pool(pool).is_none_or(|entry| &*entry.realm == realm));
        for (kind, is_v4) in all() {
            if !directory.uses(kind, is_v4) {
                continue;
            }
            walk(records, kind, is_v4, |flow, record| {
                let Some(entry) = directory.of_pool(record.pool).filter(|entry| &*entry.realm == realm) else { return };
                let stateful = kind == Kind::Connection;
                told.shows(kind, flow, record, entry.timeout(flow, record.state, stateful));
                items.push((Key::Flow(flow.into(), stateful), value(record)));
            })?;
        }
        if directory.remembers_clients() {
            let mut walks = Walks::default();
            let mut visit = |client: &ClientKey, record: &Record| {
                let Some(entry) = directory.of_pool(record.pool).filter(|entry| &*entry.realm == realm) else { return };
                told.clients.shows(client, record, entry.persistence);
                items.push((client_key(entry, client), client_value(record)));
            };
            while records.step_clients(&mut walks, &mut visit)?.is_continue() {}
        }
        self.gather_translations(directory, realm, &mut items)?;
        Ok(items)
    }

    /// Remembers a client of the peer's. `age`: how long ago it began something, in nanoseconds; `late`: only if it is not remembered.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn store_client(
        &mut self,
        directory: &Directory,
        foreign: &Foreign,
        it: &Client<'_>,
        now: Duration,
        late: bool,
    ) -> anyhow::Result<()> {
        let Some(entry) = client_entry(directory, it) else { return Ok(()) };
        let identity = foreign.identity(it.realm, &entry.name, it.backend);
        let Some(backend) = identity.and_then(|identity| entry.index_of(identity)) else {
            self.count_unplaced("no-backend");
            return Ok(());
        };
        let record = Record { last_seen: since(now, it.age, entry.persistence), pool: entry.pool, backend, state: 0 };
        let key = ClientKey { address: it.address, pool: entry.pool.into() };
        if late { self.records.add_client(&key, &record) } else { self.records.put_client(&key, &record) }
    }

    /// Forgets a client.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn remove_client(&mut self, directory: &Directory, it: &Client<'_>) -> anyhow::Result<()> {
        let Some(entry) = client_entry(directory, it) else { return Ok(()) };
        self.records.remove_client(&ClientKey { address: it.address, pool: entry.pool.into() })
    }

    /// Puts a record of the peer's into our table, under our indices. `late`: only if there is none.
    ///
    /// # Errors
    /// When the kernel refuses. A record that has no place is counted, and no error.
    pub fn store(
        &mut self,
        directory: &Directory,
        foreign: &Foreign,
        it: &Foreigner<'_>,
        now: Duration,
        late: bool,
    ) -> anyhow::Result<()> {
        match place(directory, foreign, it, now) {
            Ok((entry, record)) => self.put(&entry.clone(), it, &record, late),
            Err(why) => {
                self.count_unplaced(why);
                Ok(())
            }
        }
    }

    fn put(&mut self, entry: &Entry, it: &Foreigner<'_>, record: &Record, late: bool) -> anyhow::Result<()> {
        let kind = Kind::of(&it.flow, it.stateful);
        if !it.stateful && !late {
            return self.records.put(kind, &it.flow, record);
        }
        // Most are new: of those one call is enough.
        if self.records.add(kind, &it.flow, record)? {
            return self.count(entry, record, Counted::one(record.state));
        }
        if late {
            return Ok(());
        }
        let before = self.records.get(kind, &it.flow)?;
        self.records.put(kind, &it.flow, record)?;
        match before.filter(|before| before.pool == entry.pool) {
            Some(before) if (before.backend, before.state) == (record.backend, record.state) => return Ok(()),
            Some(before) => self.count(entry, &before, Counted::one(before.state).ended())?,
            None => {}
        }
        self.count(entry, record, Counted::one(record.state))
    }

    /// Forgets a record, if it is of a service of the realm.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn remove(
        &mut self,
        directory: &Directory,
        realm: &str,
        flow: &FlowKey6,
        stateful: bool,
    ) -> anyhow::Result<()> {
        let Some(entry) = directory.of_flow(flow).filter(|entry| &*entry.realm == realm).cloned() else {
            return Ok(());
        };
        let Some(last) = self.records.take(Kind::of(flow, stateful), flow)? else { return Ok(()) };
        if stateful && last.pool == entry.pool {
            self.count(&entry, &last, Counted::one(last.state).ended())?;
        }
        Ok(())
    }

    /// Forgets all records of a realm but these.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn keep(&mut self, directory: &Directory, realm: &str, keys: &HashSet<Key>) -> anyhow::Result<()> {
        for (kind, is_v4) in all() {
            let stateful = kind == Kind::Connection;
            let mut strangers = Vec::new();
            walk(&self.records, kind, is_v4, |flow, record| {
                let is_of = directory.of_pool(record.pool).is_some_and(|entry| &*entry.realm == realm);
                if is_of && !keys.contains(&Key::Flow(FlowId::from(flow), stateful)) {
                    strangers.push(*flow);
                }
            })?;
            strangers.iter().try_for_each(|flow| self.remove(directory, realm, flow, stateful))?;
        }
        let mut strangers = Vec::new();
        let mut walks = Walks::default();
        let mut visit = |client: &ClientKey, record: &Record| {
            let entry = directory.of_pool(record.pool).filter(|entry| &*entry.realm == realm);
            if entry.is_some_and(|entry| !keys.contains(&client_key(entry, client))) {
                strangers.push(*client);
            }
        };
        while self.records.step_clients(&mut walks, &mut visit)?.is_continue() {}
        strangers.iter().try_for_each(|client| self.records.remove_client(client))?;
        self.keep_translations(directory, realm, keys)
    }

    /// Services without state have no counts.
    fn count(&self, entry: &Entry, record: &Record, change: Counted) -> anyhow::Result<()> {
        entry.load(record.backend).map_or(Ok(()), |load| self.records.count(load, change))
    }
}

/// The record that another's is here, or why it has no place.
fn place<'a>(
    directory: &'a Directory,
    foreign: &Foreign,
    it: &Foreigner<'_>,
    now: Duration,
) -> Result<(&'a Arc<Entry>, Record), &'static str> {
    let entry = directory.of_flow(&it.flow).filter(|entry| &*entry.realm == it.realm).ok_or("no-service")?;
    if entry.first_load.is_some() != it.stateful || !is_state(it.record.state, it.stateful) {
        return Err("other-kind");
    }
    let identity = foreign.identity(it.realm, &entry.name, it.record.backend).ok_or("unknown-index")?;
    let backend = entry.index_of(identity).ok_or("no-backend")?;
    let last_seen = since(now, it.age, entry.timeout(&it.flow, it.record.state, it.stateful));
    Ok((entry, Record { last_seen, pool: entry.pool, backend, state: it.record.state }))
}

/// When a packet was by our clock, so long ago by the teller's; and it may have been later: see the description of
/// [`crate::exchange::told`].
pub(super) fn since(now: Duration, age: u64, timeout: u64) -> u64 {
    let now = u64::try_from(now.as_nanos()).unwrap_or(u64::MAX);
    now.saturating_sub(age.saturating_sub(timeout / REFRESH)).max(1)
}

/// The service that a client is of, if it remembers any.
fn client_entry<'a>(directory: &'a Directory, it: &Client<'_>) -> Option<&'a Arc<Entry>> {
    directory.service(it.service).filter(|entry| &*entry.realm == it.realm && entry.persistence != 0)
}

/// What a client is told by.
pub fn client_key(entry: &Entry, client: &ClientKey) -> Key {
    Key::Client(Arc::clone(&entry.name), client.address.octets())
}

/// What is told of it.
pub fn client_value(record: &Record) -> Value {
    Value::Client(record.backend, record.last_seen)
}

/// What is told of a record.
pub fn value(record: &Record) -> Value {
    let Record { last_seen, backend, state, .. } = *record;
    Value::Flow(FlowRecord { backend, state, last_seen })
}

/// Every table: the kind, and whether it is IPv4's.
pub fn all() -> impl Iterator<Item = (Kind, bool)> {
    Kind::ALL.into_iter().flat_map(|kind| [(kind, true), (kind, false)])
}

fn walk(records: &Records, kind: Kind, is_v4: bool, mut visit: impl FnMut(&FlowKey6, &Record)) -> anyhow::Result<()> {
    let mut walks = Walks::default();
    while records.step(kind, is_v4, &mut walks, &mut visit)?.is_continue() {}
    Ok(())
}

pub(super) fn widen(key: &FlowKey4) -> FlowKey6 {
    FlowKey6 {
        source: Address::from_v4_wire(key.source_wire),
        destination: Address::from_v4_wire(key.destination_wire),
        ports_wire: key.ports_wire,
        protocol: key.protocol,
    }
}
