//! What the flow tables hold, counted for the sweep: which backends the live records of each slot name.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use lb_common::abi::{FlowKey6, Record};
use lb_common::flow::Flow;
use lb_common::limits::SLOTS_PER_ELEMENT;
use lb_common::packet::transport::destination_port_wire;
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

impl Census {
    /// A census that begins now.
    pub fn new(began: Duration) -> Self {
        Self { began, ..Self::default() }
    }

    /// Counts a record, or says that it has had its time. `now` in nanoseconds of the packet path's clock.
    pub fn add(&mut self, image: &Image, key: &FlowKey6, record: &Record, now: u64) -> Fate {
        let Some(service) = image.listener(key.destination, destination_port_wire(key.ports_wire), key.protocol as u8)
        else {
            return Fate::Delete;
        };
        if record.pool != service.pool || !record.is_fresh(now, service.idle_timeout) {
            return Fate::Delete;
        }
        let slot = selection::slot(service, &Flow::from(*key));
        self.live.entry(slot).or_default().insert(record.backend);
        *self.named.entry(record.pool).or_default().entry(record.backend).or_default() += 1;
        self.count += 1;
        let current = image.slots.get(slot as usize).map(|&word| lb_common::slot::Slot(word).current());
        self.exceptions += u64::from(current != Some(record.backend));
        Fate::Keep
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
