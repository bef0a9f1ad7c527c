//! What is told: a key, and its value or that it is gone. All numbers big-endian:
//!
//! ```text
//! kind, octets of what follows (u16), then by kind, gone or not first:
//! 1 backends  service, block (u32), count (u16), each: index (u16), weight (u32), flags, identity
//! 2 slots     service, block (u32), count (u16), each: slot (u32), previous owner (u16), since (u64)
//! 3 table     service, lookup-table hash (u64)
//! 4 flow, or 5 one of a stateful service: 4 or 6, addresses, ports, protocol; backend (u16), state (u16), last packet (u64)
//! 6 client    service, address (16); backend (u16), last new connection (u64)
//! 7 translation, by the client's packets: as a flow, what they become: as a flow too; state (u16), last packet of either direction (u64)
//! ```
//!
//! A reader that does not know a kind passes over it: so a later version may tell more.

use std::collections::HashSet;
use std::sync::Arc;

use foldhash::fast::RandomState;
use lb_common::abi::FlowKey6;
use lb_common::address::Address;
use zerocopy::{FromBytes as _, IntoBytes as _};

use super::message::{Reader, Senseless, text};

/// Backends in one item: pools of tens of thousands are told in parts.
pub const BACKENDS_PER_BLOCK: u16 = 128;
/// Slots that one item is about.
pub const SLOTS_PER_BLOCK: u32 = 512;
/// Octets of an item at most, so that its length fits its field.
pub const LARGEST: usize = u16::MAX as usize;

const BACKENDS: u8 = 1;
const SLOTS: u8 = 2;
const TABLE: u8 = 3;
const FLOW: u8 = 4;
const CONNECTION: u8 = 5;
const CLIENT: u8 = 6;
const TRANSLATION: u8 = 7;
const UP: u8 = 1;
const LEAVING: u8 = 2;

/// A flow: the octets of a [`FlowKey6`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct FlowId(pub [u8; 40]);

/// What an item is about. In the order in which items are told: who the backends are comes before what names them.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Key {
    /// Backends of a service, by blocks of [`BACKENDS_PER_BLOCK`] indices.
    Backends(Arc<str>, u32),
    /// Slots of a service that are not settled, by blocks of [`SLOTS_PER_BLOCK`].
    Slots(Arc<str>, u32),
    /// The lookup table of a service.
    Table(Arc<str>),
    /// The record of a flow, and whether it is one of a stateful service: those are kept apart.
    Flow(FlowId, bool),
    /// A client that a service remembers, by its address, or what counts of it.
    Client(Arc<str>, [u8; 16]),
    /// What the packets of a flow become, and those that answer them.
    Translation(FlowId),
}

/// Keys of which a million may be kept: hashed fast, under a seed that nobody knows.
pub type Keys = HashSet<Key, RandomState>;

/// What is said of it. Times are nanoseconds of the teller's monotonic clock.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Value {
    /// Those of the block.
    Backends(Vec<Backend>),
    /// Those of the block that are not settled.
    Slots(Vec<SlotNote>),
    /// Its hash ([`crate::scheduler::pool::Pool::lookup_table_hash`]).
    Table(u64),
    /// Its record.
    Flow(FlowRecord),
    /// Its backend, by the teller's index, and when it began something last.
    Client(u16, u64),
    /// Addresses and ports of its client's packets on their way to the backend.
    Translation(TranslationRecord),
}

impl Key {
    /// Whether it is about packets that came, and names backends by indices that others explain.
    pub fn is_record(&self) -> bool {
        matches!(self, Self::Flow(..) | Self::Client(..) | Self::Translation(_))
    }
}

/// A backend, and what the teller's indices call it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Backend {
    /// Its index at the teller.
    pub index: u16,
    /// Its effective weight.
    pub weight: u32,
    /// Whether it is up to its flows.
    pub up: bool,
    /// Whether it is leaving.
    pub leaving: bool,
    /// Its identity, at most 255 octets.
    pub identity: Arc<str>,
}

/// A slot that is not settled.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SlotNote {
    /// Which of the table.
    pub slot: u32,
    /// Its previous owner, by the teller's index; that of the current owner, or none: exceptions.
    pub previous: u16,
    /// Since when it is as it is.
    pub since: u64,
}

/// The record of a flow.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FlowRecord {
    /// Its backend, by the teller's index.
    pub backend: u16,
    /// As in a record.
    pub state: u16,
    /// When its last packet came.
    pub last_seen: u64,
}

/// What the packets of a translated flow become.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TranslationRecord {
    /// The flow as its backend sees it, of the same protocol.
    pub becomes: FlowId,
    /// As in a record: one of [`lb_common::abi::connection_state`].
    pub state: u16,
    /// When the last packet of either direction came, as far as that is known.
    pub last_seen: u64,
}

impl FlowId {
    /// The flow table's key.
    pub fn key(&self) -> FlowKey6 {
        FlowKey6::read_from_bytes(&self.0).expect("a key is 40 octets")
    }
}

impl From<&FlowKey6> for FlowId {
    fn from(key: &FlowKey6) -> Self {
        Self(key.as_bytes().try_into().expect("a key is 40 octets"))
    }
}

/// Appends an item. False: it is too large to be told, and nothing is appended.
pub(super) fn encode(out: &mut Vec<u8>, key: &Key, value: Option<&Value>) -> bool {
    let from = out.len();
    out.push(match key {
        Key::Backends(..) => BACKENDS,
        Key::Slots(..) => SLOTS,
        Key::Table(_) => TABLE,
        Key::Flow(_, false) => FLOW,
        Key::Flow(_, true) => CONNECTION,
        Key::Client(..) => CLIENT,
        Key::Translation(_) => TRANSLATION,
    });
    out.extend([0, 0, u8::from(value.is_some())]);
    match key {
        Key::Backends(service, block) | Key::Slots(service, block) => {
            text(out, service);
            out.extend(block.to_be_bytes());
        }
        Key::Table(service) => text(out, service),
        Key::Flow(flow, _) | Key::Translation(flow) => encode_flow(out, &flow.key()),
        Key::Client(service, address) => {
            text(out, service);
            out.extend(address);
        }
    }
    if let Some(value) = value {
        encode_value(out, value);
    }
    let octets = out.len() - from - 3;
    if octets > LARGEST {
        out.truncate(from);
        return false;
    }
    out[from + 1..from + 3].copy_from_slice(&(octets as u16).to_be_bytes());
    true
}

fn encode_value(out: &mut Vec<u8>, value: &Value) {
    match value {
        Value::Backends(backends) => {
            out.extend((backends.len() as u16).to_be_bytes());
            for backend in backends {
                out.extend(backend.index.to_be_bytes());
                out.extend(backend.weight.to_be_bytes());
                out.push(if backend.up { UP } else { 0 } | if backend.leaving { LEAVING } else { 0 });
                text(out, &backend.identity);
            }
        }
        Value::Slots(notes) => {
            out.extend((notes.len() as u16).to_be_bytes());
            for note in notes {
                out.extend(note.slot.to_be_bytes());
                out.extend(note.previous.to_be_bytes());
                out.extend(note.since.to_be_bytes());
            }
        }
        Value::Table(hash) => out.extend(hash.to_be_bytes()),
        Value::Flow(record) => {
            out.extend(record.backend.to_be_bytes());
            out.extend(record.state.to_be_bytes());
            out.extend(record.last_seen.to_be_bytes());
        }
        Value::Client(backend, last_seen) => {
            out.extend(backend.to_be_bytes());
            out.extend(last_seen.to_be_bytes());
        }
        Value::Translation(it) => {
            encode_flow(out, &it.becomes.key());
            out.extend(it.state.to_be_bytes());
            out.extend(it.last_seen.to_be_bytes());
        }
    }
}

pub(super) fn encode_flow(out: &mut Vec<u8>, key: &FlowKey6) {
    if key.source.is_v4() && key.destination.is_v4() {
        out.push(4);
        out.extend(key.source.v4_wire().to_ne_bytes());
        out.extend(key.destination.v4_wire().to_ne_bytes());
    } else {
        out.push(6);
        out.extend(key.source.octets());
        out.extend(key.destination.octets());
    }
    out.extend(key.ports_wire.to_ne_bytes());
    out.push(key.protocol as u8);
}

/// The next item; `None`: it is of a kind that this version does not know.
pub(super) fn decode(reader: &mut Reader<'_>) -> Result<Option<(Key, Option<Value>)>, Senseless> {
    let kind = reader.octet()?;
    let octets = u16::from_be_bytes(reader.array()?);
    let mut inner = Reader(reader.take(octets.into())?);
    if !(BACKENDS..=TRANSLATION).contains(&kind) {
        return Ok(None);
    }
    let is_there = match inner.octet()? {
        0 => false,
        1 => true,
        _ => return Err(Senseless),
    };
    let item = match kind {
        BACKENDS => {
            let key = Key::Backends(inner.text()?, u32::from_be_bytes(inner.array()?));
            (key, is_there.then(|| backends(&mut inner)).transpose()?)
        }
        SLOTS => {
            let key = Key::Slots(inner.text()?, u32::from_be_bytes(inner.array()?));
            (key, is_there.then(|| slots(&mut inner)).transpose()?)
        }
        TABLE => {
            let key = Key::Table(inner.text()?);
            let value = is_there.then(|| inner.array().map(|octets| Value::Table(u64::from_be_bytes(octets))));
            (key, value.transpose()?)
        }
        CLIENT => {
            let key = Key::Client(inner.text()?, inner.array()?);
            let mut value = || {
                let backend = u16::from_be_bytes(inner.array()?);
                Ok(Value::Client(backend, u64::from_be_bytes(inner.array()?)))
            };
            (key, is_there.then(&mut value).transpose()?)
        }
        TRANSLATION => {
            let key = Key::Translation(decode_flow(&mut inner)?);
            (key, is_there.then(|| translation(&mut inner)).transpose()?)
        }
        _ => {
            let key = Key::Flow(decode_flow(&mut inner)?, kind == CONNECTION);
            (key, is_there.then(|| record(&mut inner)).transpose()?)
        }
    };
    if inner.0.is_empty() { Ok(Some(item)) } else { Err(Senseless) }
}

fn backends(reader: &mut Reader<'_>) -> Result<Value, Senseless> {
    let count = u16::from_be_bytes(reader.array()?);
    if count > BACKENDS_PER_BLOCK {
        return Err(Senseless);
    }
    let backend = |reader: &mut Reader<'_>| {
        let (index, weight) = (u16::from_be_bytes(reader.array()?), u32::from_be_bytes(reader.array()?));
        let flags = reader.octet()?;
        if flags & !(UP | LEAVING) != 0 {
            return Err(Senseless);
        }
        let identity = reader.text()?;
        Ok(Backend { index, weight, up: flags & UP != 0, leaving: flags & LEAVING != 0, identity })
    };
    Ok(Value::Backends((0..count).map(|_| backend(reader)).collect::<Result<_, _>>()?))
}

fn slots(reader: &mut Reader<'_>) -> Result<Value, Senseless> {
    let count = u16::from_be_bytes(reader.array()?);
    if u32::from(count) > SLOTS_PER_BLOCK {
        return Err(Senseless);
    }
    let note = |reader: &mut Reader<'_>| {
        Ok(SlotNote {
            slot: u32::from_be_bytes(reader.array()?),
            previous: u16::from_be_bytes(reader.array()?),
            since: u64::from_be_bytes(reader.array()?),
        })
    };
    Ok(Value::Slots((0..count).map(|_| note(reader)).collect::<Result<_, _>>()?))
}

pub(super) fn decode_flow(reader: &mut Reader<'_>) -> Result<FlowId, Senseless> {
    let (source, destination) = match reader.octet()? {
        4 => {
            let mut address = || Ok(Address::from_v4_wire(u32::from_ne_bytes(reader.array()?)));
            (address()?, address()?)
        }
        6 => {
            let mut address = || Ok(Address::from(std::net::IpAddr::from(reader.array::<16>()?)));
            (address()?, address()?)
        }
        _ => return Err(Senseless),
    };
    let ports_wire = u32::from_ne_bytes(reader.array()?);
    Ok(FlowId::from(&FlowKey6 { source, destination, ports_wire, protocol: reader.octet()?.into() }))
}

fn translation(reader: &mut Reader<'_>) -> Result<Value, Senseless> {
    Ok(Value::Translation(TranslationRecord {
        becomes: decode_flow(reader)?,
        state: u16::from_be_bytes(reader.array()?),
        last_seen: u64::from_be_bytes(reader.array()?),
    }))
}

fn record(reader: &mut Reader<'_>) -> Result<Value, Senseless> {
    Ok(Value::Flow(FlowRecord {
        backend: u16::from_be_bytes(reader.array()?),
        state: u16::from_be_bytes(reader.array()?),
        last_seen: u64::from_be_bytes(reader.array()?),
    }))
}
