//! Fragments (RFC 791, RFC 8200 section 4.5): all of a datagram go where its first went.
//!
//! Only the first has the ports, so it writes its decision to a table that the others read. The limits: a later
//! fragment that overtakes the first is dropped (`unknown-fragment`), as is one whose entry was displaced by
//! `limits::FRAGMENT_ENTRIES` younger datagrams; the sender's retransmission mends both. Only datagrams of services and
//! of service addresses take entries.

use super::nat::{self, End};
use super::{Tables, classify, forward};
use crate::abi::{FragmentEntry, FragmentKey, fragment_kind};
use crate::address::Address;
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
            let interface = forward(packet, tables, frame, datagram, entry.row, None)?;
            tables.count(entry.row, datagram.length, false);
            Ok(interface)
        }
        fragment_kind::REPLY => {
            let live = classify::live(tables)?;
            let way = nat::route(packet, tables, datagram, entry.address, 0)?;
            nat::translate(packet, datagram, End::Source, entry.address, None).ok_or(Reason::Malformed)?;
            nat::leave(packet, tables, &live, frame, datagram, way)
        }
        _ => Err(Reason::HostFragment),
    }
}

/// Remembers that the datagram goes to a backend.
#[inline(always)]
pub fn remember_request<T: Tables>(tables: &T, datagram: &Datagram, row: u32) {
    let entry = FragmentEntry { address: Address::default(), row, kind: fragment_kind::REQUEST };
    tables.remember_fragment(&key(datagram), entry);
}

/// Remembers that the datagram is a reply whose source becomes `service`.
#[inline(always)]
pub fn remember_reply<T: Tables>(tables: &T, datagram: &Datagram, service: Address) {
    let entry = FragmentEntry { address: service, row: 0, kind: fragment_kind::REPLY };
    tables.remember_fragment(&key(datagram), entry);
}

/// Remembers that the datagram is the host's, if it is for an address of a service: only then are its later fragments
/// looked for.
#[inline(always)]
pub fn remember_host<T: Tables>(tables: &T, datagram: &Datagram) {
    if let Ok(live) = classify::live(tables)
        && live.is_service_address(tables, datagram.destination)
    {
        let entry = FragmentEntry { address: Address::default(), row: 0, kind: fragment_kind::PASS };
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
