//! Translations that are recorded: full NAT, which gives a flow another source too, and NAT to a server that several services
//! share, where a reply does not tell by its source whose it is. What tells is its whole flow.
//!
//! A flow has two records, one of each direction: the packets that come with these addresses and ports get those
//! ([`Translation`](crate::abi::Translation)). The reply's is made first, under a key that nobody has, so that no two flows ever look alike to
//! a backend; then the request's. A new flow tries a bounded number of sources: so a flood of SYNs costs memory, never time.
//! It keeps its own where only the service is to be told, unless that is taken. A record is not touched but by its own flow and by the
//! census, which deletes both when neither direction has been heard of for the timeout of its state; a full table costs
//! new flows, never those that are recorded. What goes on without a record, while records may be on their way from the node that was master
//! until just now, is dropped ([`Tables::awaits_records`]).
//!
//! Which backend has a flow is not said here but by `select`, as for all others; a record that names another backend than that is
//! made anew.
//!
//! All of this is rare beside the steady path, and the kernel does it in functions that its verifier walks by themselves. What they
//! need lies in a [`Work`]: such a function takes numbers and the packet.

mod record;
mod rewriting;
mod work;

use self::record::{decide_reply, decide_request};
use self::rewriting::{rewrite, translate_quote};
use super::nat::{self, WayBack};
use super::{Route, RouteQuery, Step, Tables, classify, exit, signs};
use crate::abi::{FragmentEntry, Reverse, Service, fragment_kind};
use crate::counters::Reason;
use crate::flow::Flow;
use crate::own_client;
use crate::packet::ethernet::{self, Exit, Frame};
use crate::packet::transport::Flags;
use crate::packet::{Datagram, Packet, Part, protocol};

pub use self::record::FIRST_FREE_PORT;
pub use self::rewriting::checked;
pub use self::work::{Ends, Task, Work, turned};

/// A client's packet for a row whose translations are recorded; the interface it leaves by.
#[inline(always)]
pub fn request<P: Packet, T: Tables>(
    packet: &mut P,
    tables: &T,
    frame: &Frame,
    datagram: &Datagram,
    service: &Service,
    flow: &Flow,
    flags: Flags,
    row: u32,
    task: Task,
) -> Result<u32, Reason> {
    let filled = tables.prepare(|work| {
        work.fill(task, frame, datagram, flow);
        work.flags = flags;
        (work.row, work.live, work.seed) = (row, service.live, service.seed);
    });
    filled.ok_or(Reason::Inconsistent)?;
    tables.carry_out(packet)
}

/// A backend's packet whose flow says whose it is; the interface it leaves by.
#[inline(always)]
pub fn reply<P: Packet, T: Tables>(
    packet: &mut P,
    tables: &T,
    frame: &Frame,
    datagram: &Datagram,
    reverse: &Reverse,
    flow: &Flow,
) -> Result<u32, Reason> {
    tables.trace(Step::Reply(reverse));
    let filled = tables.prepare(|work| {
        work.fill(Task::Reply, frame, datagram, flow);
        work.turn_back(reverse);
    });
    filled.ok_or(Reason::Inconsistent)?;
    tables.carry_out(packet)
}

/// An ICMP error about a packet that a backend sent to a client of `flow`: for the backend of a row.
#[inline(always)]
pub fn error_for_backend<P: Packet, T: Tables>(
    packet: &mut P,
    tables: &T,
    frame: &Frame,
    datagram: &Datagram,
    about: &Datagram,
    flow: &Flow,
    row: u32,
) -> Result<u32, Reason> {
    let filled = tables.prepare(|work| {
        work.fill(Task::ErrorForBackend, frame, datagram, flow);
        work.about = *about;
        work.row = row;
    });
    filled.ok_or(Reason::Inconsistent)?;
    tables.carry_out(packet)
}

/// An ICMP error about a client's packet to a translated backend; `flow` is that of the replies.
#[inline(always)]
pub fn error_for_client<P: Packet, T: Tables>(
    packet: &mut P,
    tables: &T,
    frame: &Frame,
    datagram: &Datagram,
    about: &Datagram,
    reverse: &Reverse,
    flow: &Flow,
) -> Result<u32, Reason> {
    tables.trace(Step::Reply(reverse));
    let filled = tables.prepare(|work| {
        work.fill(Task::ErrorForClient, frame, datagram, flow);
        work.about = *about;
        work.turn_back(reverse);
    });
    filled.ok_or(Reason::Inconsistent)?;
    tables.carry_out(packet)
}

/// A later fragment of a datagram whose first was translated so.
#[inline(always)]
pub fn later<P: Packet, T: Tables>(
    packet: &mut P,
    tables: &T,
    frame: &Frame,
    datagram: &Datagram,
    entry: &FragmentEntry,
) -> Result<u32, Reason> {
    let is_request = entry.kind == fragment_kind::RECORDED_REQUEST;
    let filled = tables.prepare(|work| {
        work.task = if is_request { Task::Request } else { Task::Reply };
        work.is_decided = true;
        (work.frame, work.datagram) = (*frame, *datagram);
        work.becomes = Ends { source: entry.address, destination: entry.destination, ports_wire: 0 };
        work.row = entry.row;
    });
    filled.ok_or(Reason::Inconsistent)?;
    tables.carry_out(packet)
}

/// Does the work at hand; the interface that the packet leaves by.
pub fn carry_out<P: Packet, T: Tables>(packet: &mut P, tables: &T, work: &mut Work) -> Result<u32, Reason> {
    decide(tables, work)?;
    tables.trace(Step::Translated(&work.becomes));
    find_way(packet, tables, work)?;
    if work.quotes() {
        rewrite_quote(packet, work)?;
    }
    leave(packet, tables, work)
}

/// Finds out what the flow's addresses and ports become, and records it if a request begins it.
#[inline(always)]
pub fn decide<T: Tables>(tables: &T, work: &mut Work) -> Result<(), Reason> {
    work.begins = false;
    if work.is_decided {
        return Ok(());
    }
    match work.task {
        Task::Request | Task::OwnRequest => decide_request(tables, work),
        Task::Reply => decide_reply(tables, work, true),
        Task::ErrorForClient => decide_reply(tables, work, false),
        Task::ErrorForBackend => {
            work.becomes = tables.with_translation(&work.key, |it| Ends::of(it)).ok_or(Reason::NotTranslated)?;
            Ok(())
        }
    }
}

/// Finds out how the packet leaves, and whether it may. Nothing of it is changed before.
#[inline(always)]
pub fn find_way<P: Packet, T: Tables>(packet: &P, tables: &T, work: &mut Work) -> Result<(), Reason> {
    if work.goes_to_backend() {
        let exit = exit(tables.row(work.row).ok_or(Reason::Inconsistent)?)?;
        if work.datagram.time_to_live <= 1 {
            return Err(Reason::TimeToLive);
        }
        work.way = WayBack { exit, neighbour_known: true };
        return Ok(());
    }
    let datagram = &work.datagram;
    let query = RouteQuery {
        source: work.outer_source(),
        destination: work.becomes.destination,
        ports_wire: if work.quotes() { 0 } else { work.becomes.ports_wire },
        length: datagram.length as u16,
        protocol: datagram.protocol,
        v4: datagram.v4,
        interface: packet.interface(),
    };
    work.way = match tables.route(&query) {
        Route::Local => way_to_own_client(tables, work)?,
        route => nat::judge(packet, route, datagram)?,
    };
    Ok(())
}

/// How an answer to this host reaches it, if it is a client of the service.
#[inline(always)]
fn way_to_own_client<T: Tables>(tables: &T, work: &Work) -> Result<WayBack, Reason> {
    let interface = classify::live(tables)?.own_client().ok_or(Reason::NotTranslated)?;
    // Else it may be one of this host's connections to a backend's own address, at a server that services share.
    let is_recorded = work.is_decided || tables.with_translation(&work.key, |_| ()).is_some();
    if !is_recorded {
        return Err(Reason::NotTranslated);
    }
    if work.datagram.time_to_live <= 1 {
        return Err(Reason::TimeToLive);
    }
    let exit = Exit { mac_head: OWN_MAC_HEAD, mac_tail: OWN_MAC_TAIL, interface, tags_wire: [0; 2] };
    Ok(WayBack { exit, neighbour_known: true })
}

const OWN_MAC_HEAD: u64 = {
    let [a, b, c, d, e, f] = own_client::MAC;
    u64::from_ne_bytes([a, b, c, d, e, f, a, b])
};

const OWN_MAC_TAIL: u32 = {
    let [_, _, a, b, c, d] = own_client::MAC;
    u32::from_ne_bytes([a, b, c, d])
};

/// Rewrites what an ICMP error quotes: it must name the packet as the receiver of the error knows it.
#[inline(always)]
pub fn rewrite_quote<P: Packet>(packet: &mut P, work: &mut Work) -> Result<(), Reason> {
    work.inner = translate_quote(packet, work).ok_or(Reason::QuoteTruncated)?;
    Ok(())
}

/// Rewrites the packet's own ends, and sends it on; the interface it leaves by.
#[inline(always)]
pub fn leave<P: Packet, T: Tables>(packet: &mut P, tables: &T, work: &Work) -> Result<u32, Reason> {
    let frame = Frame { network: packet.forget(work.frame.network).ok_or(Reason::Inconsistent)?, ..work.frame };
    let datagram = checked(packet, &work.datagram).ok_or(Reason::Inconsistent)?;
    match work.task {
        Task::Reply if datagram.protocol == protocol::TCP && datagram.part != Part::Later => {
            signs::reply(packet, tables, datagram.transport, work.row);
        }
        Task::ErrorForClient => signs::error(packet, tables, &datagram, work.row),
        Task::Request | Task::OwnRequest | Task::Reply | Task::ErrorForBackend => {}
    }
    if datagram.part == Part::First && !work.quotes() {
        super::fragment::remember_translation(tables, &datagram, work);
    }
    rewrite(packet, &datagram, work).ok_or(Reason::Truncated)?;
    if !work.goes_to_backend() {
        return nat::leave(packet, tables, &classify::live(tables)?, &frame, &datagram, work.way);
    }
    ethernet::rewrite(packet, &frame, &work.way.exit).ok_or(Reason::NoHeadroom)?;
    Ok(work.way.exit.interface)
}
