//! Which backend has the flow? The lookup table's word, and a record where the word alone would be wrong.
//!
//! | state | a packet of a recorded flow | a TCP SYN, an SCTP INIT | any other packet |
//! |---|---|---|---|
//! | settled | not looked up → current | → current | → current |
//! | unsettled | → its record | → current, recorded | → previous, recorded |
//! | exceptions | → its record | → current | → current |
//!
//! A steady flow costs one hash and one load; no helper is called. If a record cannot be made, the packet goes to the
//! *previous* owner and the refusal is noted, which keeps the slot unsettled for longer. While records may be on their way from the
//! node that was master until just now ([`Tables::awaits_records`]), what goes on in an unsettled slot without one is dropped.

use super::{Inserted, Step, Tables, is_alive, live_word, quic, stateful};
use crate::abi::{ConnectionIds, Record, Service, service_flags};
use crate::counters::Reason;
use crate::flow::Flow;
use crate::packet::transport::{Flags, Signal};
use crate::packet::{Packet, protocol};
use crate::selection;
use crate::slot::{NONE, Slot, SlotState};

/// The row that a packet of a flow goes to, whose transport header is here.
#[inline(always)]
pub fn row<P: Packet, T: Tables>(
    packet: &P,
    tables: &T,
    service: &Service,
    flow: &Flow,
    flags: Flags,
    transport: usize,
) -> Result<u32, Reason> {
    let owner = match chosen(packet, tables, service, flow, flags, transport) {
        Some(backend) => backend,
        None => by_slot(tables, service, flow, flags)?,
    };
    row_of(tables, service, owner)
}

/// The row of the flow that an ICMP error quotes: looked up, never recorded.
#[inline(always)]
pub fn row_of_quoted<T: Tables>(tables: &T, service: &Service, flow: &Flow) -> Result<u32, Reason> {
    // One question for all that a service has besides its lookup table, since errors are rare and the verifier walks far from here.
    let owner = match service.chooser | service.access as u32 {
        0 => quoted_by_slot(tables, service, flow)?,
        _ => match stateful::backend_of_quoted(tables, service, flow)? {
            Some(backend) => backend,
            None => quoted_by_slot(tables, service, flow)?,
        },
    };
    row_of(tables, service, owner)
}

/// What [`quic`] or [`stateful`] says, of a service that it is asked about.
#[inline(always)]
fn chosen<P: Packet, T: Tables>(
    packet: &P,
    tables: &T,
    service: &Service,
    flow: &Flow,
    flags: Flags,
    transport: usize,
) -> Option<u16> {
    // Not a flag: what the verifier learns of the flags by asking for one would keep apart what meets again after this.
    match service.chooser {
        0 => None,
        word => match ConnectionIds::of(word) {
            Some(ids) => quic::backend(packet, tables, service, ids, transport),
            None => stateful::backend(tables, service, flow, flags),
        },
    }
}

/// The owner of a flow, by the lookup table.
#[inline(always)]
fn by_slot<T: Tables>(tables: &T, service: &Service, flow: &Flow, flags: Flags) -> Result<u16, Reason> {
    let index = selection::slot(service, flow);
    let slot = slot(tables, service, index)?;
    Ok(if slot.state() == SlotState::Settled || !keeps_records(service, flow) {
        slot.current()
    } else {
        recorded(tables, service, flow, flags.signal(), index, slot)
    })
}

/// The owner of a quoted flow, by the lookup table.
#[inline(always)]
fn quoted_by_slot<T: Tables>(tables: &T, service: &Service, flow: &Flow) -> Result<u16, Reason> {
    let slot = slot(tables, service, selection::slot(service, flow))?;
    if slot.state() == SlotState::Settled || !keeps_records(service, flow) {
        return Ok(slot.current());
    }
    let now = tables.now();
    let known = tables.with_record(flow, |record| usable(tables, service, record, now).then_some(record.backend));
    Ok(match known.flatten() {
        Some(backend) => backend,
        None => owner_without_record(tables, service, slot, Signal::Continues),
    })
}

#[inline(always)]
fn slot<T: Tables>(tables: &T, service: &Service, index: u32) -> Result<Slot, Reason> {
    let slot = tables.slot(index).ok_or(Reason::Inconsistent)?;
    tables.trace(Step::Service(service));
    tables.trace(Step::Slot(index - service.first_slot, slot));
    Ok(slot)
}

/// Whether flows of this kind are recorded at all: UDP's only when the service says so.
#[inline(always)]
fn keeps_records(service: &Service, flow: &Flow) -> bool {
    protocol::has_openings(flow.protocol) || service.flags & service_flags::UDP_FLOWS != 0
}

#[inline(always)]
fn row_of<T: Tables>(tables: &T, service: &Service, owner: u16) -> Result<u32, Reason> {
    if owner != NONE {
        return Ok(service.first_row.wrapping_add(owner as u32));
    }
    if tables.awaits_records(service.live) {
        return Err(Reason::RecordAwaited);
    }
    Err(match service.flags & service_flags::DROP_WITHOUT_BACKEND {
        0 => Reason::NoBackendPassed,
        _ => Reason::NoBackend,
    })
}

/// The owner of a flow whose slot changed hands.
#[inline(always)]
fn recorded<T: Tables>(tables: &T, service: &Service, flow: &Flow, signal: Signal, index: u32, slot: Slot) -> u16 {
    let now = tables.now();
    let known = tables.with_record(flow, |record| {
        let usable = usable(tables, service, record, now);
        if usable {
            record.touch(signal, now);
        }
        usable.then_some(record.backend)
    });
    if let Some(Some(backend)) = known {
        tables.trace(Step::Recorded(backend));
        return backend;
    }
    let owner = owner_without_record(tables, service, slot, signal);
    if slot.state() != SlotState::Unsettled || owner == NONE {
        return owner;
    }
    if live_word::awaits_record_of(tables, service.live, flow.protocol, signal) {
        return NONE;
    }
    let record = Record::new(service.pool, owner, signal, now);
    if known.is_some() && tables.with_record(flow, |old| *old = record).is_some() {
        tables.tell_record(flow, record, false);
        tables.trace(Step::NewRecord(owner));
        return owner;
    }
    match tables.insert_record(flow, record) {
        Inserted::Done => {
            tables.trace(Step::NewRecord(owner));
            owner
        }
        // Another CPU had a packet of the same flow a moment earlier: its decision stands.
        Inserted::Exists => tables.with_record(flow, |record| record.backend).unwrap_or(owner),
        Inserted::Full => {
            tables.note_refusal(index, now);
            tables.trace(Step::Refused);
            owner_without_record(tables, service, slot, Signal::Continues)
        }
    }
}

/// Who has a flow that no record names. A previous owner that is dead has none: until user space has taken it out of the
/// word its flows go to the current owner.
#[inline(always)]
fn owner_without_record<T: Tables>(tables: &T, service: &Service, slot: Slot, signal: Signal) -> u16 {
    match signal {
        Signal::Closes | Signal::Resets | Signal::Continues if is_owner_alive(tables, service, slot.previous()) => {
            slot.previous()
        }
        Signal::Opens | Signal::Closes | Signal::Resets | Signal::Continues => slot.current(),
    }
}

/// Whether a record still holds: of this pool, not idle for too long, and its backend not dead.
#[inline(always)]
fn usable<T: Tables>(tables: &T, service: &Service, record: &Record, now: u64) -> bool {
    record.pool == service.pool
        && record.is_fresh(now, service.idle_timeout)
        && is_owner_alive(tables, service, record.backend)
}

#[inline(always)]
fn is_owner_alive<T: Tables>(tables: &T, service: &Service, owner: u16) -> bool {
    tables.row(service.first_row.wrapping_add(owner as u32)).is_some_and(is_alive)
}
