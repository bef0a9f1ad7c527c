//! Fragments (RFC 791, RFC 8200 section 4.5): all of a datagram go where its first went.
//!
//! Only the first has the ports, so it writes its decision to a table that the others read. The limits: a later
//! fragment that overtakes the first is dropped (`unknown-fragment`), as is one whose entry was displaced by
//! `limits::FRAGMENT_ENTRIES` younger datagrams; the sender's retransmission mends both. Only datagrams of services and
//! of service addresses take entries.

use super::nat::{self, End};
use super::translation::{self, Ends, Task, Work};
use super::{Tables, classify, forward, live_word};
use crate::abi::{ALWAYS_LIVE, FragmentEntry, FragmentKey, Reverse, Service, fragment_kind};
use crate::counters::Reason;
use crate::packet::ethernet::Frame;
use crate::packet::{Datagram, Packet};

/// Decides a fragment that has no transport header.
#[inline(always)]
pub fn later<P: Packet, T: Tables>(
    packet: &mut P,
    tables: &T,
    frame: &Frame,
    datagram: &Datagram,
) -> Result<u32, Reason> {
    let Some(entry) = tables.fragment(&key(datagram)) else {
        return Err(classify::not_understood(tables, datagram.destination, Reason::UnknownFragment));
    };
    match entry.kind {
        fragment_kind::REQUEST => {
            live_word::check(tables, entry.live.into())?;
            // Recorded after the first fragment went: the rest is as if it had been forgotten.
            let no_translation = |_: &mut P, _: Task| Err(Reason::UnknownFragment);
            let interface = forward(packet, tables, frame, datagram, entry.row, None, no_translation)?;
            tables.count(entry.row, datagram.length, false);
            Ok(interface)
        }
        fragment_kind::REPLY => {
            live_word::check(tables, entry.live.into())?;
            let live = classify::live(tables)?;
            let way = nat::route(packet, tables, datagram, entry.address, 0)?;
            nat::translate(packet, datagram, End::Source, entry.address, None).ok_or(Reason::Malformed)?;
            nat::leave(packet, tables, &live, frame, datagram, way)
        }
        fragment_kind::RECORDED_REQUEST => {
            live_word::check(tables, entry.live.into())?;
            let interface = translation::later(packet, tables, frame, datagram, &entry)?;
            tables.count(entry.row, datagram.length, false);
            Ok(interface)
        }
        fragment_kind::RECORDED_REPLY => {
            live_word::check(tables, entry.live.into())?;
            translation::later(packet, tables, frame, datagram, &entry)
        }
        _ => Err(Reason::HostFragment),
    }
}

/// Remembers that the datagram goes to a backend.
#[inline(always)]
pub fn remember_request<T: Tables>(tables: &T, datagram: &Datagram, service: &Service, row: u32) {
    let entry =
        FragmentEntry { row, kind: fragment_kind::REQUEST, live: service.live as u16, ..FragmentEntry::default() };
    tables.remember_fragment(&key(datagram), entry);
}

/// Remembers that the datagram is a reply that is turned back.
#[inline(always)]
pub fn remember_reply<T: Tables>(tables: &T, datagram: &Datagram, reverse: &Reverse) {
    let (address, live) = (reverse.service, reverse.live as u16);
    let entry = FragmentEntry { address, kind: fragment_kind::REPLY, live, ..FragmentEntry::default() };
    tables.remember_fragment(&key(datagram), entry);
}

/// Remembers what a datagram's ends become under a translation that is recorded.
#[inline(always)]
pub fn remember_translation<T: Tables>(tables: &T, datagram: &Datagram, work: &Work) {
    use fragment_kind::{RECORDED_REPLY, RECORDED_REQUEST};
    let Ends { source, destination, .. } = work.becomes;
    let kind = if work.goes_to_backend() { RECORDED_REQUEST } else { RECORDED_REPLY };
    let entry = FragmentEntry { address: source, destination, row: work.row, kind, live: work.live as u16 };
    tables.remember_fragment(&key(datagram), entry);
}

/// Remembers that the datagram is the host's, if it is for an address of a service: only then are its later fragments
/// looked for.
#[inline(always)]
pub fn remember_host<T: Tables>(tables: &T, datagram: &Datagram) {
    if let Ok(live) = classify::live(tables)
        && live.address(tables, datagram.destination).is_some()
    {
        let entry = FragmentEntry { kind: fragment_kind::PASS, live: ALWAYS_LIVE as u16, ..FragmentEntry::default() };
        tables.remember_fragment(&key(datagram), entry);
    }
}

#[inline(always)]
fn key(datagram: &Datagram) -> FragmentKey {
    FragmentKey {
        source: datagram.source,
        destination: datagram.destination,
        identification_wire: datagram.identification_wire,
        // RFC 8200 identifies a datagram without the protocol, RFC 791 with it.
        protocol: if datagram.v4 { datagram.protocol as u32 } else { 0 },
    }
}
