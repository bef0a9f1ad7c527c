//! What the flow tables hold, counted for the sweep: which backends the live records of each slot name.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use lb_common::abi::{Chooser, ClientKey, FlowKey6, Record, Service, Translation};
use lb_common::address::Address;
use lb_common::connection::{self, Counted, Timeouts};
use lb_common::flow::{Flow, SECOND};
use lb_common::limits::SLOTS_PER_ELEMENT;
use lb_common::packet::transport::{destination_port_wire, source_port_wire};
use lb_common::path::translation::{Ends, turned};
use lb_common::selection;

use crate::reconcile::image::Image;
use crate::scheduler::slots::Records;

/// The records of all flow tables at one time. Fed record by record with [`Census::add`].
#[derive(Clone, Debug, Default)]
pub struct Census {
    /// When it began; records made later are not in it.
    pub began: Duration,
    /// Backends that live records of a slot name, by the slot's place in the map.
    live: BTreeMap<u32, BTreeSet<u16>>,
    /// Backends that any record of a pool names, and how many do.
    named: BTreeMap<u32, BTreeMap<u16, u64>>,
    /// When a record could last not be made, by element of the slots map.
    pub refusals: BTreeMap<u32, Duration>,
    /// Live records.
    pub count: u64,
    /// Live records of stateful services.
    pub connections: u64,
    /// Clients that stateful services remember.
    pub clients: u64,
    /// Of these, who has begun nothing for too long. Whoever turns out to have a connection is taken out.
    silent: BTreeSet<ClientKey>,
    /// What these count as, by pool and backend.
    counted: BTreeMap<u32, BTreeMap<u16, Counted>>,
    /// The first load of pools of which some listener was removed; `None`: all were.
    elsewhere: BTreeMap<u32, Option<u32>>,
    /// What loads said before the records were read, and after: both without those that were deleted.
    pub loads: BTreeMap<u32, [Counted; 2]>,
    /// Live translated flows that are recorded.
    pub translations: u64,
    /// Servers, by address and protocol, that some flow reaches from its client's address but another port than its own.
    pub renamed: BTreeSet<(Address, u8)>,
    /// Live records that name another backend than the slot's current owner: flows that a node without the records would
    /// move.
    pub exceptions: u64,
}

/// What becomes of a record.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fate {
    /// It stays.
    Keep,
    /// It has idled out, or is of no service any more: it is deleted.
    Delete,
}

/// What becomes of a record of a stateful service.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ConnectionFate {
    /// It stays.
    Keep,
    /// It is deleted, and taken off this load, if anybody still counts it.
    Delete(Option<u32>),
}

/// What becomes of the record of one direction of a translated flow.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TranslationFate {
    /// It stays.
    Keep,
    /// It is deleted: it has no other direction.
    Forget,
    /// It is deleted, and so is the other direction.
    ForgetBoth,
}

impl Census {
    /// A census that begins now.
    pub fn new(began: Duration) -> Self {
        Self { began, ..Self::default() }
    }

    /// Whether a record has had its time. `now` in nanoseconds of the packet path's clock.
    pub fn is_over(image: &Image, key: &FlowKey6, record: &Record, now: u64) -> bool {
        keeper(image, key, record, now).is_none()
    }

    /// Counts a record, or says that it has had its time. `now` as for [`Self::is_over`].
    pub fn add(&mut self, image: &Image, key: &FlowKey6, record: &Record, now: u64) -> Fate {
        let Some(service) = keeper(image, key, record, now) else { return Fate::Delete };
        let slot = selection::slot(service, &Flow::from(*key));
        self.live.entry(slot).or_default().insert(record.backend);
        *self.named.entry(record.pool).or_default().entry(record.backend).or_default() += 1;
        self.count += 1;
        let current = image.slots.get(slot as usize).map(|&word| lb_common::slot::Slot(word).current());
        self.exceptions += u64::from(current != Some(record.backend));
        Fate::Keep
    }

    /// Counts a client that is remembered, or says that none is any more. All clients come before all connections. `timeouts` are
    /// [`Image::persistence`]; `now` as for [`Self::add`].
    pub fn add_client(&mut self, timeouts: &BTreeMap<u32, u32>, client: &ClientKey, record: &Record, now: u64) -> Fate {
        let Some(&timeout) = timeouts.get(&record.pool) else { return Fate::Delete };
        self.clients += 1;
        if now.saturating_sub(record.last_seen) > u64::from(timeout) * SECOND {
            self.silent.insert(*client);
        }
        Fate::Keep
    }

    /// Clients that are to be forgotten: silent for too long, and without a connection. After all connections.
    pub fn take_forgotten(&mut self) -> BTreeSet<ClientKey> {
        let forgotten = std::mem::take(&mut self.silent);
        self.clients -= forgotten.len() as u64;
        forgotten
    }

    /// Whether a record of a stateful service has had its time. `now` as for [`Self::is_over`].
    pub fn is_connection_over(image: &Image, key: &FlowKey6, record: &Record, now: u64) -> bool {
        chooser_of(image, key, record).is_none_or(|(service, chooser)| is_silent(service, chooser, record, now))
    }

    /// Counts a record of a stateful service, or says that it has had its time. `now` as for [`Self::is_over`].
    pub fn add_connection(&mut self, image: &Image, key: &FlowKey6, record: &Record, now: u64) -> ConnectionFate {
        let Some((service, chooser)) = chooser_of(image, key, record) else {
            // Its listener was removed; what else listens for the service counts it still.
            return ConnectionFate::Delete(self.load_elsewhere(image, record));
        };
        if is_silent(service, chooser, record, now) {
            return ConnectionFate::Delete(Some(chooser.first_load() + u32::from(record.backend)));
        }
        *self.named.entry(record.pool).or_default().entry(record.backend).or_default() += 1;
        let counted = self.counted.entry(record.pool).or_default().entry(record.backend).or_default();
        *counted = counted.plus(Counted::one(record.state));
        self.connections += 1;
        if !self.silent.is_empty() && chooser.persistence != 0 {
            self.silent.remove(&ClientKey::of(service, key.source));
        }
        let slot = selection::slot(service, &Flow::from(*key));
        let current = image.slots.get(slot as usize).map(|&word| lb_common::slot::Slot(word).current());
        self.exceptions += u64::from(current != Some(record.backend));
        ConnectionFate::Keep
    }

    /// For how long one direction of a translated flow may be silent, in nanoseconds; `None`: it is of no listener any more.
    pub fn translation_timeout(image: &Image, key: &FlowKey6, it: &Translation) -> Option<u64> {
        let is_reply = it.state == 0;
        let (address, port_wire) = match is_reply {
            true => (it.source, source_port_wire(it.ports_wire)),
            false => (key.destination, destination_port_wire(key.ports_wire)),
        };
        let service = image.listener(address, port_wire, key.protocol as u8)?;
        let timeouts = match service.stateful() {
            None => Timeouts::usual(service.idle_timeout),
            Some(index) => Timeouts::new(service.idle_timeout, image.choosers.get(index as usize)?),
        };
        let seconds = if is_reply { timeouts.idle } else { timeouts.of(it.state) };
        Some(u64::from(seconds) * SECOND)
    }

    /// What becomes of a direction of a translated flow that was silent for longer than its timeout. `other` is what is recorded of the
    /// packets that answer it.
    pub fn silent_translation(
        key: &FlowKey6,
        it: &Translation,
        timeout: u64,
        other: Option<&Translation>,
        now: u64,
    ) -> TranslationFate {
        // The other's becoming this one turned round is what makes them a pair.
        let other = other.filter(|other| turned(&Ends::from(*other), key.protocol) == *key);
        match other {
            None => TranslationFate::Forget,
            // Of a pair the client's record decides.
            Some(_) if it.state == 0 => TranslationFate::Keep,
            Some(other) if now.saturating_sub(other.last_seen) <= timeout => TranslationFate::Keep,
            Some(_) => TranslationFate::ForgetBoth,
        }
    }

    /// Counts a translated flow, by the record of its client's packets.
    pub fn add_translation(&mut self, key: &FlowKey6, it: &Translation) {
        self.translations += 1;
        if it.source == key.source && source_port_wire(it.ports_wire) != source_port_wire(key.ports_wire) {
            self.renamed.insert((it.destination, key.protocol as u8));
        }
    }

    /// The load of a record's backend, if any listener has its pool.
    fn load_elsewhere(&mut self, image: &Image, record: &Record) -> Option<u32> {
        let first_load = || {
            let service = image.of_pool(record.pool)?;
            image.choosers.get(service.stateful()? as usize).map(Chooser::first_load)
        };
        let first_load = *self.elsewhere.entry(record.pool).or_insert_with(first_load);
        first_load.map(|first| first + u32::from(record.backend))
    }

    /// What the records of a pool that name a backend count as.
    pub fn counted(&self, pool: u32, backend: u16) -> Counted {
        self.counted.get(&pool).and_then(|counted| counted.get(&backend)).copied().unwrap_or_default()
    }

    /// Records of a pool in the table of stateful services.
    pub fn connections_of(&self, pool: u32) -> u64 {
        let sum = |counted: &Counted| u64::from((counted.active + counted.inactive).unsigned_abs());
        self.counted.get(&pool).map_or(0, |counted| counted.values().map(sum).sum::<u64>())
    }

    /// Whether any record of a pool names a backend.
    pub fn names(&self, pool: u32, backend: u16) -> bool {
        self.records_of(pool, backend) > 0
    }

    /// Records of a pool that name a backend.
    pub fn records_of(&self, pool: u32, backend: u16) -> u64 {
        self.named.get(&pool).and_then(|named| named.get(&backend)).copied().unwrap_or(0)
    }

    /// The part about one lookup table.
    pub fn of_table(&self, first_slot: u32) -> TableCensus<'_> {
        TableCensus { census: self, first_slot }
    }
}

/// A census as one lookup table sees it.
pub struct TableCensus<'a> {
    census: &'a Census,
    first_slot: u32,
}

impl Records for TableCensus<'_> {
    fn surveyed_from(&self) -> Duration {
        self.census.began
    }

    fn last_refusal(&self, element: u32) -> Option<Duration> {
        let first_element = self.first_slot / SLOTS_PER_ELEMENT as u32;
        self.census.refusals.get(&(first_element + element)).copied()
    }

    fn differing(&self, slot: u32, owner: u16) -> bool {
        let named = self.census.live.get(&(self.first_slot + slot));
        named.is_some_and(|named| named.iter().any(|&backend| backend != owner))
    }
}

/// The service that keeps a record still.
fn keeper<'a>(image: &'a Image, key: &FlowKey6, record: &Record, now: u64) -> Option<&'a Service> {
    let service = listener_of(image, key)?;
    (record.pool == service.pool && record.is_fresh(now, service.idle_timeout)).then_some(service)
}

/// The service of a record that keeps state, and its rule.
fn chooser_of<'a>(image: &'a Image, key: &FlowKey6, record: &Record) -> Option<(&'a Service, &'a Chooser)> {
    let service = listener_of(image, key).filter(|it| it.pool == record.pool)?;
    Some((service, image.choosers.get(service.stateful()? as usize)?))
}

fn listener_of<'a>(image: &'a Image, key: &FlowKey6) -> Option<&'a Service> {
    image.listener(key.destination, destination_port_wire(key.ports_wire), key.protocol as u8)
}

fn is_silent(service: &Service, chooser: &Chooser, record: &Record, now: u64) -> bool {
    !connection::is_fresh(record, now, Timeouts::new(service.idle_timeout, chooser))
}
