//! Which backend has a flow of a stateful service? Its record says; a new flow is given one by the service's rule, and recorded.
//!
//! These services have a flow table, and the counts of their connections, apart from all others: however many flows they have, no
//! exception of another service is refused a record for it.
//!
//! What has no record and does not begin a connection is dropped while records may be on their way from the node that was master; else it, and what could not be recorded for want of room, is left to the
//! lookup table, as if the service were a stateless one: it stays with what the table says, unrecorded. Datagrams always begin
//! one; of those that found no room the next may find some, and another backend with it.
//!
//! A service may remember its clients too (*persistence*; IPVS: templates): who comes back gets the backend that it had, by any
//! listener, whatever the rule says and however full that backend is; unless it is gone or without weight (IPVS does the latter with
//! `expire_quiescent_template`). A new flow makes its client young again. Who is remembered is so for as long as the table has
//! it: user space forgets a client that was silent for too long and has no connection.
//!
//! Flows of other services pay one test of a bit for this. The kernel runs it as a function that the verifier walks once, whatever the
//! path before has been ([`Tables::owner`]), and in parts that follow one another: a program has 512 octets of stack, of which
//! the path before has taken most.

mod client;
mod rule;

use self::client::by_client;
use self::rule::by_rule;
use super::{Inserted, Step, Tables, access, is_alive, live_word};
use crate::abi::{Chooser, Load, Record, Service, connection_state, service_flags};
use crate::connection::{self, Counted, Timeouts};
use crate::counters::Reason;
use crate::flow::Flow;
use crate::packet::protocol;
use crate::packet::transport::{Flags, Signal};
use crate::scheduler::thresholds::Thresholds;
use crate::slot::NONE;

/// The lookup table decides.
pub const BY_TABLE: u32 = u32::MAX;

/// The same, since there was no room for a record.
pub const UNRECORDED: u32 = u32::MAX - 1;

/// The client may not come to the service.
pub const DENIED: u32 = u32::MAX - 2;

/// Added to the index of a backend: it was recorded just now.
const NEW: u32 = 1 << 16;

/// Added to the index of a backend: it has this datagram, and no other.
const ALONE: u32 = 1 << 17;

/// A backend is to be chosen by a rule, whose number is added to this.
const BY_RULE: u32 = 1 << 18;

/// Added to that: unless the client has one.
const OF_CLIENT: u32 = 1 << 8;

/// The index of the backend that a packet goes to, [`NONE`] if there is none that takes it; or `None`: the lookup table says.
#[inline(always)]
pub fn backend<T: Tables>(tables: &T, service: &Service, flow: &Flow, flags: Flags) -> Option<u16> {
    let owner = tables.owner(service, flow, Some(flags));
    let backend = owner as u16;
    match owner {
        BY_TABLE => return None,
        UNRECORDED => {
            tables.trace(Step::Refused);
            return None;
        }
        ALONE.. => tables.trace(Step::Chosen(backend)),
        NEW.. => tables.trace(Step::NewRecord(backend)),
        _ if backend != NONE => tables.trace(Step::Recorded(backend)),
        _ => {}
    }
    Some(backend)
}

/// The same of the flow that an ICMP error quotes, if its client may come to the service at all; a service without state is asked too.
#[inline(always)]
pub fn backend_of_quoted<T: Tables>(tables: &T, service: &Service, flow: &Flow) -> Result<Option<u16>, Reason> {
    match tables.owner(service, flow, None) {
        DENIED => {
            tables.trace(Step::Admission(access::DENIED));
            Err(Reason::Denied)
        }
        BY_TABLE => Ok(None),
        owner => {
            tables.trace(Step::Recorded(owner as u16));
            Ok(Some(owner as u16))
        }
    }
}

/// See [`backend`]; as a number. `flags` are `None` for the packet that an ICMP error quotes: looked up, never changed.
#[inline(always)]
pub fn owner<T: Tables>(tables: &T, service: &Service, flow: &Flow, flags: Option<Flags>) -> u32 {
    let Some(flags) = flags else {
        return if access::admits_quoted(tables, service, flow) { recorded(tables, service, flow) } else { DENIED };
    };
    let known = known(tables, service, flow, flags.signal());
    if !(BY_RULE..UNRECORDED).contains(&known) {
        return known;
    }
    let chosen = match known & OF_CLIENT {
        0 => by_rule(tables, service, known),
        _ => by_client(tables, service, flow, known),
    };
    if chosen == NONE as u32 || chosen == UNRECORDED {
        chosen
    } else if is_alone(service, flow) {
        ALONE | chosen
    } else {
        begin(tables, service, flow, chosen)
    }
}

/// Whether every datagram of a flow is a flow of its own, for which a backend is chosen and nothing recorded.
#[inline(always)]
fn is_alone(service: &Service, flow: &Flow) -> bool {
    service.flags & service_flags::ONE_PACKET != 0 && flow.protocol == protocol::UDP
}

/// The index of the backend that a record names, [`BY_TABLE`], or [`BY_RULE`] and more for a flow that begins here.
#[inline(never)]
fn known<T: Tables>(tables: &T, service: &Service, flow: &Flow, signal: Signal) -> u32 {
    let Some(chooser) = &tables.chooser(service.chooser) else { return BY_TABLE };
    if !is_alone(service, flow) {
        let now = tables.now();
        let known = tables.with_connection(flow, |record| follow(tables, service, chooser, record, signal, now));
        if let Some(Some((backend, change))) = known {
            if change != Counted::default() {
                count(tables, chooser, backend, change);
                // How else a connection goes on, the other node may hear of later.
                if change.active > 0 {
                    let (pool, state) = (service.pool, connection_state::ESTABLISHED);
                    tables.tell_record(flow, Record { last_seen: now, pool, backend, state }, true);
                }
            }
            return backend as u32;
        }
    }
    if chooser.rule == 0 {
        return BY_TABLE;
    }
    if signal.goes_on(flow.protocol) {
        let is_awaited = live_word::awaits_record_of(tables, service.live, flow.protocol, signal);
        return if is_awaited { NONE as u32 } else { BY_TABLE };
    }
    let of_client = if chooser.persistence != 0 { OF_CLIENT } else { 0 };
    BY_RULE + (chooser.rule & 0xff) + of_client
}

/// The index of the backend of the flow that an ICMP error quotes, or [`BY_TABLE`]: looked up, never changed.
#[inline(never)]
fn recorded<T: Tables>(tables: &T, service: &Service, flow: &Flow) -> u32 {
    if service.chooser == 0 {
        return BY_TABLE;
    }
    let Some(chooser) = &tables.chooser(service.chooser) else { return BY_TABLE };
    let now = tables.now();
    let known = tables.with_connection(flow, |it| holds(tables, service, chooser, it, now).then_some(it.backend));
    known.flatten().map_or(BY_TABLE, |backend| backend as u32)
}

/// Notes a packet of a recorded flow: its backend and what changes of the counts; `None` if the record holds no longer.
#[inline(always)]
fn follow<T: Tables>(
    tables: &T,
    service: &Service,
    chooser: &Chooser,
    record: &mut Record,
    signal: Signal,
    now: u64,
) -> Option<(u16, Counted)> {
    // Without a rule nothing would take the place of the record, and data after the SYN would find it again.
    let begins_anew = chooser.rule != 0 && matches!(signal, Signal::Opens) && connection::is_over(record.state);
    if begins_anew || !holds(tables, service, chooser, record, now) {
        return None;
    }
    let before = record.state;
    record.last_seen = now;
    record.state = connection::next_state(before, signal);
    Some((record.backend, Counted::change(before, record.state)))
}

/// Whether a record still says whose the flow is: of this pool, not silent for too long, and its backend not dead.
#[inline(always)]
fn holds<T: Tables>(tables: &T, service: &Service, chooser: &Chooser, record: &Record, now: u64) -> bool {
    let timeouts = Timeouts::new(service.idle_timeout, chooser);
    record.pool == service.pool
        && connection::is_fresh(record, now, timeouts)
        && tables.row(service.first_row.wrapping_add(record.backend as u32)).is_some_and(is_alive)
}

/// Records a new flow for a backend; whose it is then, as [`owner`] says it.
#[inline(never)]
fn begin<T: Tables>(tables: &T, service: &Service, flow: &Flow, chosen: u32) -> u32 {
    let Some(chooser) = &tables.chooser(service.chooser) else { return BY_TABLE };
    let (now, backend) = (tables.now(), chosen as u16);
    let state = connection::first_state(protocol::has_openings(flow.protocol));
    let record = Record { last_seen: now, pool: service.pool, backend, state };
    match tables.insert_connection(flow, record) {
        Inserted::Done => {}
        Inserted::Exists => {
            let other = tables.with_connection(flow, |old| replace(tables, service, chooser, old, record));
            if let Some(Some(other)) = other {
                return other as u32;
            }
            tables.tell_record(flow, record, true);
        }
        Inserted::Full => {
            tables.note_unrecorded();
            return UNRECORDED;
        }
    }
    count(tables, chooser, backend, Counted::one(state));
    fill(tables, chooser, backend);
    NEW | backend as u32
}

/// Puts a record in the place of one that holds no longer. If it does, another CPU had a packet of the same flow a moment
/// earlier: its decision stands.
#[inline(always)]
fn replace<T: Tables>(
    tables: &T,
    service: &Service,
    chooser: &Chooser,
    old: &mut Record,
    record: Record,
) -> Option<u16> {
    if !connection::is_over(old.state) && holds(tables, service, chooser, old, record.last_seen) {
        return Some(old.backend);
    }
    // Of another pool, it was counted where nobody counts any more.
    if old.pool == service.pool {
        count(tables, chooser, old.backend, Counted::one(old.state).ended());
    }
    *old = record;
    None
}

#[inline(always)]
fn count<T: Tables>(tables: &T, chooser: &Chooser, backend: u16, change: Counted) {
    tables.count_connections(chooser.first_load().wrapping_add(backend as u32), change);
}

/// Closes a backend that has reached its upper threshold with a new flow.
#[inline(always)]
fn fill<T: Tables>(tables: &T, chooser: &Chooser, backend: u16) {
    let index = chooser.first_load().wrapping_add(backend as u32);
    let Some(load) = tables.load(index) else { return };
    let Load { upper, lower, .. } = load;
    if upper != 0 && load.full == 0 && (Thresholds { upper, lower }).is_full(false, load.connections()) {
        tables.close(index);
    }
}
