//! May this client come to the service, and may it begin another connection just now?
//!
//! Prefixes decide about every packet, the longest that holds the client's address: who is refused is refused in the midst of a
//! connection too, and what ICMP errors quote of its flows finds no backend. The limits decide about new connections only, a
//! client's own first, so that one that comes too often does not use up what is there for all. New is what opens a flow; of UDP
//! a datagram without a record, which only a stateful service has (the configuration check refuses limits for others).
//!
//! Who is refused leaves no trace: no record, no entry for the fragments that follow (they are of an unknown datagram then), so that
//! it cannot crowd out others'.
//!
//! A service without rules pays one test of a number for this; the kernel runs the rest as a function of its own
//! ([`Tables::admission`]).

use super::{Step, Tables};
use crate::abi::{Access, Service, admission};
use crate::connection::{self, Timeouts};
use crate::counters::Reason;
use crate::flow::Flow;
use crate::packet::protocol;
use crate::packet::transport::Flags;

/// The packet may come. What the numbers of [`admission`] say, in the order of what is asked.
pub const ADMITTED: u32 = 0;
/// See [`Reason::Denied`].
pub const DENIED: u32 = 1;
/// See [`Reason::ClientRate`].
pub const CLIENT_RATE: u32 = 2;
/// See [`Reason::ServiceRate`].
pub const SERVICE_RATE: u32 = 3;

/// Goes on only if the service lets the packet in.
#[inline(always)]
pub fn check<T: Tables>(tables: &T, service: &Service, flow: &Flow, flags: Flags) -> Result<(), Reason> {
    if service.access == 0 {
        return Ok(());
    }
    let admission = tables.admission(service, flow, Some(flags));
    tables.trace(Step::Admission(admission));
    match admission {
        ADMITTED => Ok(()),
        DENIED => Err(Reason::Denied),
        CLIENT_RATE => Err(Reason::ClientRate),
        _ => Err(Reason::ServiceRate),
    }
}

/// Whether the service lets the client in whose flow an ICMP error quotes.
#[inline(never)]
pub fn admits_quoted<T: Tables>(tables: &T, service: &Service, flow: &Flow) -> bool {
    service.access == 0 || admission(tables, service, flow, None) == ADMITTED
}

/// One of the numbers above. `flags` are `None` for the packet that an ICMP error quotes.
#[inline(always)]
pub fn admission<T: Tables>(tables: &T, service: &Service, flow: &Flow, flags: Option<Flags>) -> u32 {
    let index = service.access as u32;
    let Some(access) = tables.access(index) else { return ADMITTED };
    if !is_allowed(tables, &access, flow) {
        return DENIED;
    }
    let Access { limit, client_limit, .. } = access;
    let Some(flags) = flags else { return ADMITTED };
    if limit.is_none() && client_limit.is_none() || !begins(tables, service, flow, flags) {
        return ADMITTED;
    }
    let now = tables.now();
    if !client_limit.is_none() && !tables.take_of_client(&access.client_key(flow.source), client_limit, now) {
        return CLIENT_RATE;
    }
    if !limit.is_none() && !tables.take_of_service(index, limit, now) {
        return SERVICE_RATE;
    }
    ADMITTED
}

#[inline(always)]
fn is_allowed<T: Tables>(tables: &T, access: &Access, flow: &Flow) -> bool {
    if access.set() == 0 {
        return true;
    }
    match tables.prefix_admission(access.set(), flow.source) {
        Some(known) => known == admission::ALLOWED,
        None => !access.refuses_others(),
    }
}

/// Whether a packet begins a connection.
#[inline(always)]
fn begins<T: Tables>(tables: &T, service: &Service, flow: &Flow, flags: Flags) -> bool {
    if protocol::has_openings(flow.protocol) {
        return flags.opens();
    }
    let Some(chooser) = tables.chooser(service.chooser) else { return false };
    let timeouts = Timeouts::new(service.idle_timeout, &chooser);
    let now = tables.now();
    let is_known =
        tables.with_connection(flow, |it| it.pool == service.pool && connection::is_fresh(it, now, timeouts));
    chooser.rule != 0 && !is_known.unwrap_or(false)
}
