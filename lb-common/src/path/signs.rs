//! Signs that a backend does not do well, seen as its packets pass: SYNs that a client has to send again, resets and ICMP
//! errors on its side. They cost nothing where there are none: SYNs are rare, and the rest is seen on the way of packets that
//! are read anyway.
//!
//! No flow is remembered for this. A SYN leaves a mark at a place that its hash says, over whatever mark was there: a tag, and
//! when. The same SYN again finds its mark if no other SYN fell on the place in between; a mark that was displaced means one
//! retransmission less that is counted, never one more.

use super::Tables;
use crate::abi::Service;
use crate::flow::Flow;
use crate::hash;
use crate::limits::SYN_MARKS;
use crate::packet::{Datagram, Packet};

/// A sign, counted by row.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Sign {
    /// A client's SYN or INIT that was sent before: it was not answered, or the answer was lost.
    SynRetransmission,
    /// A TCP reset of a translated backend.
    Reset,
    /// An ICMP error that says that a translated backend, or its port, cannot be reached.
    Unreachable,
}

/// Offset of what tells a SYN from others of the same flow, and is the same when it is sent again: TCP's sequence number and
/// acknowledgment; an INIT's tag, which is 0, and its checksum.
const SEQUENCE: usize = 4;
/// Offset of TCP's header length; the flags follow.
const LENGTH_AND_FLAGS: usize = 12;
const RST: u8 = 4;

/// Marks tell time in so many powers of two of nanoseconds: about milliseconds.
const UNIT: u32 = 20;
/// Sooner it is a packet that the network doubled. RFC 6298 has clients wait for a second, the impatient for a fifth.
const SOONEST: u32 = 200;
/// Later, at the third attempt of a connection, it is nothing new.
const LATEST: u32 = 3500;

/// A SYN or INIT for the backend of a row, at `transport`.
#[inline(always)]
pub fn syn<P: Packet, T: Tables>(packet: &P, tables: &T, service: &Service, flow: &Flow, transport: usize, row: u32) {
    let Some(sequence_wire) = packet.load::<u64>(transport + SEQUENCE) else { return };
    syn_of(tables, service, flow, sequence_wire, row);
}

/// The same of one that has these octets at [`SEQUENCE`].
#[inline(always)]
pub fn syn_of<T: Tables>(tables: &T, service: &Service, flow: &Flow, sequence_wire: u64, row: u32) {
    let destination = flow.destination.low ^ flow.destination.high;
    let hash = hash::flow(service.seed ^ destination ^ sequence_wire, flow.source, flow.ports_wire);
    let now = (tables.ticked() >> UNIT) as u32;
    let tag = hash >> 32;
    let before = tables.mark_syn(hash as u32 % SYN_MARKS, tag << 32 | now as u64);
    let age = now.wrapping_sub(before as u32);
    if before >> 32 == tag && (SOONEST..=LATEST).contains(&age) {
        tables.note_sign(row, Sign::SynRetransmission);
    }
}

/// A TCP packet of the translated backend of a row, at `transport`, to a client.
#[inline(always)]
pub fn reply<P: Packet, T: Tables>(packet: &P, tables: &T, transport: usize, row: u32) {
    // Length and flags together: the kernel's verifier cannot follow a check for a single octet.
    if let Some([_, flags]) = packet.load::<[u8; 2]>(transport + LENGTH_AND_FLAGS)
        && flags & RST != 0
    {
        tables.note_sign(row, Sign::Reset);
    }
}

/// An ICMP error about a client's packet for the translated backend of a row.
#[inline(always)]
pub fn error<P: Packet, T: Tables>(packet: &P, tables: &T, datagram: &Datagram, row: u32) {
    const UNREACHABLE: u8 = 3;
    const FRAGMENTATION_NEEDED: u8 = 4;
    const UNREACHABLE_V6: u8 = 1;
    // Type and code together: the kernel's verifier cannot follow a check for a single octet.
    let Some([kind, code]) = packet.load::<[u8; 2]>(datagram.transport) else { return };
    let unreachable =
        if datagram.v4 { kind == UNREACHABLE && code != FRAGMENTATION_NEEDED } else { kind == UNREACHABLE_V6 };
    if unreachable {
        tables.note_sign(row, Sign::Unreachable);
    }
}
