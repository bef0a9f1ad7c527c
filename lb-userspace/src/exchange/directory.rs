//! What this node's tables mean: which service a record is of and what its indices stand for, so that it can be told to another
//! node and what another tells can be put into ours. Published by the daemon whenever it changes; read by the exchange's thread,
//! which has nothing else of the planner's.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Weak};
use std::time::Duration;

use foldhash::fast::RandomState;
use lb_common::abi::{FlowKey6, connection_state, record_state};
use lb_common::connection::Timeouts;
use lb_common::flow::{CLOSING_TIMEOUT, OPENING_TIMEOUT, SECOND};
use lb_common::packet::protocol;
use lb_common::packet::transport::destination_port_wire;

use super::item::{BACKENDS_PER_BLOCK, Backend, Key, SLOTS_PER_BLOCK, SlotNote, Value};
use super::nanoseconds;
use super::translation::Translating;
use crate::config::{Config, Listener, Protocol, Service as ServiceConfig, UdpMode};
use crate::reconcile::entries;
use crate::reconcile::listening::Listening;
use crate::reconcile::placed::Placed;
use crate::reconcile::planner::Planner;
use crate::reconcile::stateful::{Seat, persistence};
use crate::reconcile::tables::Table;
use crate::scheduler::slots::told::History;

/// See the module's description.
#[derive(Clone, Debug, Default)]
pub struct Directory {
    /// Hash of the configuration in force.
    pub config: Arc<str>,
    /// The virtual routers that services follow.
    pub realms: BTreeSet<Arc<str>>,
    /// Their live words.
    pub live: BTreeMap<Arc<str>, u32>,
    /// Services that follow one, by name.
    services: BTreeMap<Arc<str>, Arc<Entry>>,
    pools: HashMap<u32, Arc<Entry>, RandomState>,
    listeners: Listening<Arc<Entry>>,
    /// Tables in which there may be records of these.
    uses: BTreeSet<(Kind, bool)>,
    /// Families of which some service translates.
    translates: BTreeSet<bool>,
    /// What the entries were made of, by service.
    origins: BTreeMap<Arc<str>, Origin>,
}

/// What an entry was made of. A lookup table that changes lies elsewhere afterwards, since this one is looked at from here.
#[derive(Clone, Debug)]
struct Origin {
    config: Arc<ServiceConfig>,
    table: Weak<Table>,
    pool: u32,
    seat: Option<Seat>,
}

/// The tables that records are in.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Kind {
    /// TCP flows that the lookup table would get wrong.
    Tcp,
    /// UDP flows.
    Udp,
    /// Connections of stateful services.
    Connection,
}

impl Kind {
    /// All.
    pub const ALL: [Self; 3] = [Self::Tcp, Self::Udp, Self::Connection];

    /// Where the record of a flow is kept.
    pub fn of(flow: &FlowKey6, stateful: bool) -> Self {
        match (stateful, flow.protocol == u32::from(protocol::UDP)) {
            (true, _) => Self::Connection,
            (false, true) => Self::Udp,
            (false, false) => Self::Tcp,
        }
    }
}

/// A service that follows a virtual router.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    /// Its name.
    pub name: Arc<str>,
    /// The virtual router that it follows.
    pub realm: Arc<str>,
    /// What its records name.
    pub pool: u32,
    /// The load of the pool's backend 0, if the service keeps state.
    pub first_load: Option<u32>,
    /// The pool, by index.
    backends: Vec<Backend>,
    indices: BTreeMap<Arc<str>, u16>,
    listeners: Vec<Listener>,
    tcp: Timeouts,
    udp: Timeouts,
    /// For how long its clients are remembered, in nanoseconds; 0: they are not.
    pub persistence: u64,
    /// See [`Value::Table`].
    pub table: u64,
    /// Slots that are not settled, in order.
    slots: Vec<SlotNote>,
    /// What it may translate to, if it translates.
    pub translating: Option<Translating>,
    /// Its lookup table is settled: no TCP flow has a record, but for those that are of no use any more.
    is_settled: bool,
    keeps_udp: bool,
}

impl Directory {
    /// Of a configuration, with these services where the planner has put them. Entries that are as they were are those of `before`, and
    /// those of which nothing has changed are not even looked at.
    pub fn new(config: &Config, hash: &str, planner: &Planner, before: &Self) -> Self {
        let mut next = Self { config: hash.into(), ..Self::default() };
        for service in &config.services {
            let Some(realm) = &service.vrrp else { continue };
            let Some(placed) = planner.services().get(&service.name) else { continue };
            let live = planner.live().get(realm);
            let translating = Translating::new(config, placed, live.unwrap_or(u32::MAX));
            let table = planner.tables().shared(placed.table);
            let name = service.name.as_str();
            let known = before.services.get(name);
            let origin = before.origins.get(name).filter(|origin| origin.is_of(placed, table));
            let entry = match (known, origin) {
                (Some(known), Some(_)) if known.translating == translating => Arc::clone(known),
                _ => {
                    let entry = Entry::new(placed, table, realm, translating);
                    known.filter(|it| ***it == entry).cloned().unwrap_or_else(|| Arc::new(entry))
                }
            };
            next.origins.insert(Arc::clone(&entry.name), Origin::new(placed, table));
            next.add(entry);
            next.live.extend(live.map(|index| (realm.as_str().into(), index)));
        }
        next
    }

    /// Whether records may have a place now that had none in `before`: there are other services, or backends.
    pub fn has_more_places_than(&self, before: &Self) -> bool {
        self.services
            .iter()
            .any(|(name, new)| before.services.get(name).is_none_or(|old| new.has_more_places_than(old)))
    }

    fn add(&mut self, entry: Arc<Entry>) {
        self.realms.insert(Arc::clone(&entry.realm));
        self.pools.insert(entry.pool, Arc::clone(&entry));
        self.uses.extend(entry.uses());
        self.translates.extend(entry.translating.iter().map(|_| entry.is_v4()));
        for listener in &entry.listeners {
            self.listeners.insert(*listener, Arc::clone(&entry));
        }
        self.services.insert(Arc::clone(&entry.name), entry);
    }

    /// What is to be told of backends that was different in `before`.
    pub fn changes_since(&self, before: &Self) -> Vec<(Arc<str>, Key, Option<Value>)> {
        let mut changes = Vec::new();
        for (name, old) in &before.services {
            let new = self.services.get(name).filter(|new| new.realm == old.realm);
            if new.is_some_and(|new| Arc::ptr_eq(new, old)) {
                continue;
            }
            let items: BTreeMap<Key, Value> = new.iter().flat_map(|new| new.items()).collect();
            let gone = old.items().into_iter().filter(|(key, _)| !items.contains_key(key));
            changes.extend(gone.map(|(key, _)| (Arc::clone(&old.realm), key, None)));
        }
        for (name, new) in &self.services {
            let old = before.services.get(name).filter(|old| new.realm == old.realm);
            if old.is_some_and(|old| Arc::ptr_eq(new, old)) {
                continue;
            }
            let known: BTreeMap<Key, Value> = old.iter().flat_map(|old| old.items()).collect();
            let other = new.items().into_iter().filter(|(key, value)| known.get(key) != Some(value));
            changes.extend(other.map(|(key, value)| (Arc::clone(&new.realm), key, Some(value))));
        }
        changes
    }

    /// The service whose records name a pool.
    pub fn of_pool(&self, pool: u32) -> Option<&Arc<Entry>> {
        self.pools.get(&pool)
    }

    /// Whether a table may have records of these services; of IPv4 or not.
    pub fn uses(&self, kind: Kind, is_v4: bool) -> bool {
        self.uses.contains(&(kind, is_v4))
    }

    /// Whether any of these services translates, of IPv4 or not.
    pub fn translates(&self, is_v4: bool) -> bool {
        self.translates.contains(&is_v4)
    }

    /// Whether any of these services remembers clients.
    pub fn remembers_clients(&self) -> bool {
        self.services.values().any(|entry| entry.persistence != 0)
    }

    /// The shortest time that a SYN may wait for what follows, of services that keep state.
    pub fn syn_timeout(&self) -> Option<Duration> {
        let stateful = self.services.values().filter(|entry| entry.first_load.is_some());
        stateful.map(|entry| Duration::from_secs(entry.tcp.syn.into())).min()
    }

    /// The service of a name.
    pub fn service(&self, name: &str) -> Option<&Arc<Entry>> {
        self.services.get(name)
    }

    /// The services of a realm.
    pub fn of_realm<'a>(&'a self, realm: &'a str) -> impl Iterator<Item = &'a Arc<Entry>> {
        self.services.values().filter(move |entry| &*entry.realm == realm)
    }

    /// The service that a flow goes to, as the packet path finds it.
    pub fn of_flow(&self, flow: &FlowKey6) -> Option<&Arc<Entry>> {
        let port = u16::from_be(destination_port_wire(flow.ports_wire));
        let protocol = entries::protocol_of(flow.protocol)?;
        self.listeners.find(protocol, flow.destination.into(), port).map(|(_, entry)| entry)
    }
}

impl Origin {
    fn new(placed: &Placed, table: &Arc<Table>) -> Self {
        let Placed { config, pool, seat, .. } = placed;
        Self { config: Arc::clone(config), table: Arc::downgrade(table), pool: *pool, seat: *seat }
    }

    fn is_of(&self, placed: &Placed, table: &Arc<Table>) -> bool {
        Arc::ptr_eq(&self.config, &placed.config)
            && std::ptr::eq(self.table.as_ptr(), Arc::as_ptr(table))
            && (self.pool, self.seat) == (placed.pool, placed.seat)
    }
}

impl Entry {
    fn has_more_places_than(&self, before: &Self) -> bool {
        let kind = |it: &Self| (it.first_load.is_some(), it.persistence != 0);
        self.realm != before.realm
            || kind(self) != kind(before)
            || self.listeners != before.listeners
            || self.indices.keys().any(|identity| !before.indices.contains_key(identity))
    }

    fn new(placed: &Placed, table: &Table, realm: &str, translating: Option<Translating>) -> Self {
        let config = &placed.config;
        let member = |(identity, member): (&str, &crate::scheduler::pool::PoolMember)| Backend {
            index: member.index,
            weight: member.weight,
            up: member.up,
            leaving: member.leaving,
            identity: identity.into(),
        };
        let mut backends: Vec<Backend> = table.pool.members().map(member).collect();
        backends.sort_by_key(|backend| backend.index);
        let indices = backends.iter().map(|it| (Arc::clone(&it.identity), it.index)).collect();
        let seconds = |time: Duration| u32::try_from(time.as_secs()).unwrap_or(u32::MAX);
        let timeouts = |protocol| Timeouts {
            idle: seconds(config.idle_timeout(protocol)),
            fin: seconds(config.fin_timeout),
            syn: seconds(config.syn_timeout),
            closed: seconds(config.closed_timeout),
        };
        Self {
            name: config.name.as_str().into(),
            realm: realm.into(),
            pool: placed.pool,
            first_load: placed.seat.map(|seat| seat.first_load),
            indices,
            backends,
            listeners: config.listeners.clone(),
            tcp: timeouts(Protocol::Tcp),
            udp: timeouts(Protocol::Udp),
            persistence: u64::from(persistence(config)) * SECOND,
            table: table.pool.lookup_table_hash(),
            translating,
            is_settled: table.pool.slots().is_settled(),
            slots: table.pool.slots().history().map(note).collect(),
            keeps_udp: config.udp == UdpMode::Flows,
        }
    }

    /// The tables that its records are in.
    fn uses(&self) -> impl Iterator<Item = (Kind, bool)> {
        let is_v4 = self.is_v4();
        let kinds = [(Kind::Tcp, !self.is_settled), (Kind::Udp, self.keeps_udp || !self.is_settled)];
        let kinds = kinds.into_iter().chain([(Kind::Connection, self.first_load.is_some())]);
        kinds.filter(|(_, used)| *used).map(move |(kind, _)| (kind, is_v4))
    }

    /// What it listens on.
    pub fn listeners(&self) -> &[Listener] {
        &self.listeners
    }

    fn is_v4(&self) -> bool {
        self.listeners.first().is_none_or(|listener| listener.address.is_ipv4())
    }

    /// The index of a backend in the pool.
    pub fn index_of(&self, identity: &str) -> Option<u16> {
        self.indices.get(identity).copied()
    }

    /// The load of a backend of a stateful service.
    pub fn load(&self, backend: u16) -> Option<u32> {
        self.first_load.map(|first| first + u32::from(backend))
    }

    /// What is told of its backends, all blocks of indices in which there are any; of its slots, all blocks in which some are not settled,
    /// and the first in any case, as a sign that slots are told of; and of its lookup table.
    pub fn items(&self) -> Vec<(Key, Value)> {
        let mut blocks: BTreeMap<u32, Vec<Backend>> = BTreeMap::new();
        for backend in &self.backends {
            blocks.entry(u32::from(backend.index / BACKENDS_PER_BLOCK)).or_default().push(backend.clone());
        }
        let item = |(block, backends)| (Key::Backends(Arc::clone(&self.name), block), Value::Backends(backends));
        let table = (Key::Table(Arc::clone(&self.name)), Value::Table(self.table));
        let mut slots: BTreeMap<u32, Vec<SlotNote>> = BTreeMap::from([(0, Vec::new())]);
        for note in &self.slots {
            slots.entry(note.slot / SLOTS_PER_BLOCK).or_default().push(*note);
        }
        let of_slots = |(block, notes)| (Key::Slots(Arc::clone(&self.name), block), Value::Slots(notes));
        blocks.into_iter().map(item).chain(slots.into_iter().map(of_slots)).chain([table]).collect()
    }

    /// For how long a flow may be silent whose record is in a state, in nanoseconds. `stateful`: of a stateful service.
    pub fn timeout(&self, flow: &FlowKey6, state: u16, stateful: bool) -> u64 {
        let is_connection = [protocol::TCP, protocol::SCTP].map(u32::from).contains(&flow.protocol);
        let timeouts = if is_connection { self.tcp } else { self.udp };
        match (stateful, state) {
            (true, state) => u64::from(timeouts.of(state)) * SECOND,
            (false, record_state::OPENING) => OPENING_TIMEOUT,
            (false, record_state::CLOSING) => CLOSING_TIMEOUT,
            (false, _) => u64::from(timeouts.idle) * SECOND,
        }
    }

    /// For how long either direction of a translated flow may be silent, by the state of its client's record, in nanoseconds.
    pub fn translation_timeout(&self, flow: &FlowKey6, state: u16) -> u64 {
        let timeouts = if flow.protocol == u32::from(protocol::TCP) { self.tcp } else { self.udp };
        let timeouts = if self.first_load.is_some() { timeouts } else { Timeouts::usual(timeouts.idle) };
        u64::from(timeouts.of(state)) * SECOND
    }
}

fn note((slot, history): (u32, History)) -> SlotNote {
    SlotNote { slot, previous: history.previous, since: nanoseconds(history.since) }
}

/// Whether a state is one that records have.
pub fn is_state(state: u16, stateful: bool) -> bool {
    match stateful {
        true => (connection_state::SYN_RECEIVED..=connection_state::DATAGRAMS).contains(&state),
        false => (record_state::OPENING..=record_state::CLOSING).contains(&state),
    }
}

#[cfg(test)]
#[path = "directory_tests.rs"]
mod tests;
