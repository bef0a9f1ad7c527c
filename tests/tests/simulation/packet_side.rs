//! The packet side of the simulation: what the kernel does with a packet of a flow, as a trait, and a model of it.
//!
//! The model follows the table in `fairway::scheduler::slots` and the record states of the packet path, and nothing
//! else. It is kept apart from the world so that the real packet path can stand in its place.

use std::collections::HashMap;
use std::time::Duration;

use fairway::scheduler::slots::{Records, SlotWrite};
use lb_common::limits::SLOTS_PER_ELEMENT;
use lb_common::slot::{NONE, Slot, SlotState};

/// A record whose flow has sent only a SYN, or has sent FIN or RST, lives this long without packets.
pub const SHORT_IDLE: Duration = Duration::from_secs(60);

/// What a packet says about its flow.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    Syn,
    Data,
    Fin,
}

/// Everything the world does to the packet side, and asks of it.
pub trait PacketSide {
    /// The backend a packet goes to, if any.
    fn packet(&mut self, now: Duration, flow: u64, kind: Kind) -> Option<u16>;
    /// The slot a flow falls into.
    fn slot_of(&self, flow: u64) -> u32;
    /// One store to the slots map.
    fn store(&mut self, write: SlotWrite);
    /// A row says whether its backend's flows are alive.
    fn set_up(&mut self, index: u16, up: bool);
    /// Deletes all records that name a backend.
    fn forget(&mut self, index: u16);
    /// User space's sweep: deletes the records that are not live.
    fn expire(&mut self, now: Duration);
    /// What the slots' sweep needs to know.
    fn survey(&self, now: Duration) -> Survey;
    /// Whether any record names this backend.
    fn recorded(&self, index: u16) -> bool;
}

/// Refusals by element and live records by slot, at one moment.
pub struct Survey {
    pub begun: Duration,
    pub refusals: Vec<Option<Duration>>,
    pub live: HashMap<u32, Vec<u16>>,
}

impl Records for Survey {
    fn surveyed_from(&self) -> Duration {
        self.begun
    }

    fn last_refusal(&self, element: u32) -> Option<Duration> {
        self.refusals[element as usize]
    }

    fn differing(&self, slot: u32, owner: u16) -> bool {
        self.live.get(&slot).is_some_and(|backends| backends.iter().any(|&backend| backend != owner))
    }
}

/// The DESIGN table, literally.
pub struct Model {
    words: Vec<Slot>,
    down: Vec<u16>,
    records: HashMap<u64, Record>,
    capacity: usize,
    refusals: Vec<Option<Duration>>,
    idle_timeout: Duration,
}

#[derive(Clone, Copy)]
struct Record {
    backend: u16,
    last: Kind,
    last_seen: Duration,
}

impl Model {
    pub fn new(slots: u32, capacity: usize, idle_timeout: Duration) -> Self {
        Self {
            words: vec![Slot::settled(NONE); slots as usize],
            down: Vec::new(),
            records: HashMap::new(),
            capacity,
            refusals: vec![None; slots as usize / SLOTS_PER_ELEMENT],
            idle_timeout,
        }
    }

    pub fn records(&self) -> usize {
        self.records.len()
    }

    pub fn was_refused(&self) -> bool {
        self.refusals.iter().any(Option::is_some)
    }

    fn state_of(&self, flow: u64) -> SlotState {
        self.words[self.slot_of(flow) as usize].state()
    }

    fn is_live(&self, record: &Record, now: Duration) -> bool {
        let limit = if record.last == Kind::Data { self.idle_timeout } else { SHORT_IDLE };
        now <= record.last_seen + limit && self.is_up(record.backend)
    }

    fn is_up(&self, backend: u16) -> bool {
        backend != NONE && !self.down.contains(&backend)
    }

    fn unrecorded(&mut self, now: Duration, flow: u64, kind: Kind) -> u16 {
        let word = self.words[self.slot_of(flow) as usize];
        if word.state() != SlotState::Unsettled {
            return word.current();
        }
        let backend = if kind == Kind::Syn { word.current() } else { word.previous() };
        if !self.is_up(backend) {
            return NONE;
        }
        if self.records.len() >= self.capacity && !self.records.contains_key(&flow) {
            let element = self.slot_of(flow) as usize / SLOTS_PER_ELEMENT;
            self.refusals[element] = Some(now);
            return word.previous();
        }
        self.records.insert(flow, Record { backend, last: kind, last_seen: now });
        backend
    }
}

impl PacketSide for Model {
    fn packet(&mut self, now: Duration, flow: u64, kind: Kind) -> Option<u16> {
        let settled = self.state_of(flow) == SlotState::Settled;
        let record = self.records.get(&flow).copied().filter(|record| !settled && self.is_live(record, now));
        let backend = match record {
            Some(Record { backend, .. }) => {
                self.records.insert(flow, Record { backend, last: kind, last_seen: now });
                backend
            }
            None => self.unrecorded(now, flow, kind),
        };
        self.is_up(backend).then_some(backend)
    }

    fn slot_of(&self, flow: u64) -> u32 {
        (flow.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (64 - self.words.len().trailing_zeros())) as u32
    }

    fn store(&mut self, write: SlotWrite) {
        self.words[write.slot as usize] = write.word;
    }

    fn set_up(&mut self, index: u16, up: bool) {
        self.down.retain(|&down| down != index);
        if !up {
            self.down.push(index);
        }
    }

    fn forget(&mut self, index: u16) {
        self.records.retain(|_, record| record.backend != index);
    }

    fn expire(&mut self, now: Duration) {
        let records = std::mem::take(&mut self.records);
        self.records = records.into_iter().filter(|(_, record)| self.is_live(record, now)).collect();
    }

    fn survey(&self, now: Duration) -> Survey {
        let mut live: HashMap<u32, Vec<u16>> = HashMap::new();
        for (&flow, record) in self.records.iter().filter(|(_, record)| self.is_live(record, now)) {
            live.entry(self.slot_of(flow)).or_default().push(record.backend);
        }
        Survey { begun: now, refusals: self.refusals.clone(), live }
    }

    fn recorded(&self, index: u16) -> bool {
        self.records.values().any(|record| record.backend == index)
    }
}
