//! Answers to probes of `direct` and `tunnel` backends. They come from the service's address, which the host may itself hold, and were asked
//! for at a reserved address (see [`crate::probe`]): here their source becomes that address again, and the host gets them by
//! the device that it sent the probe by. By that device, because what comes in by another interface than its source is
//! routed to does not pass a strict reverse path filter.
//!
//! Reached only by packets that are neither a service's nor a translated backend's, and only while some backend is probed
//! by this way. Whose probe it is tells the local port, or the identifier of an echo; user space notes it before it sends. An
//! answer in fragments is left alone.

use super::Tables;
use super::nat::{self, End};
use crate::address::Address;
use crate::checksum::Difference;
use crate::counters::Reason;
use crate::packet::ethernet::{self, Exit, Frame};
use crate::packet::transport::{destination_port_wire, source_port_wire};
use crate::packet::{Datagram, Packet, Part, ipv4, protocol};
use crate::probe::{self, Kind};

/// Offset of an ICMP checksum.
pub const ICMP_CHECKSUM: usize = 2;
/// Offset of an echo's identifier.
const IDENTIFIER: usize = 4;

/// Whom a probe asked, and where the answer goes.
#[derive(Clone, Copy)]
pub struct Asked {
    /// The reserved address.
    pub reserved: Address,
    /// The interface that answers are sent in by.
    back: u32,
}

/// A TCP or UDP packet that nobody else has a claim to; the interface it leaves by.
#[inline(always)]
pub fn answer<P: Packet, T: Tables>(
    packet: &mut P,
    tables: &T,
    frame: &Frame,
    datagram: &Datagram,
    ports_wire: u32,
) -> Result<u32, Reason> {
    let asked = asked(tables, kind(datagram.protocol), destination_port_wire(ports_wire), datagram.source);
    let Some(asked) = asked.filter(|_| datagram.part == Part::Whole) else { return Err(Reason::NotService) };
    let change = Difference::NONE.address(datagram.source, asked.reserved);
    // What is cut short in front of its checksum is not touched.
    nat::mend_transport(packet, datagram.transport, datagram.protocol, change).ok_or(Reason::NotService)?;
    write_source(packet, datagram, asked.reserved, change).ok_or(Reason::NotService)?;
    hand_in(packet, tables, frame, asked)
}

/// An echo reply; the interface it leaves by.
#[inline(always)]
pub fn echo_reply<P: Packet, T: Tables>(
    packet: &mut P,
    tables: &T,
    frame: &Frame,
    datagram: &Datagram,
) -> Result<u32, Reason> {
    let identifier_wire: u16 = packet.load(datagram.transport + IDENTIFIER).ok_or(Reason::NotService)?;
    let asked = asked(tables, Kind::Echo, identifier_wire, datagram.source);
    let Some(asked) = asked.filter(|_| datagram.part == Part::Whole) else { return Err(Reason::NotService) };
    let change = Difference::NONE.address(datagram.source, asked.reserved);
    if !datagram.v4 {
        mend_icmp(packet, datagram.transport, change).ok_or(Reason::NotService)?;
    }
    write_source(packet, datagram, asked.reserved, change).ok_or(Reason::NotService)?;
    hand_in(packet, tables, frame, asked)
}

/// Sends a turned answer to the host; the interface it leaves by.
#[inline(always)]
pub fn hand_in<P: Packet, T: Tables>(packet: &mut P, tables: &T, frame: &Frame, asked: Asked) -> Result<u32, Reason> {
    let exit = Exit { mac_head: MAC_HEAD, mac_tail: MAC_TAIL, interface: asked.back, tags_wire: [0; 2] };
    ethernet::rewrite(packet, frame, &exit).ok_or(Reason::NoHeadroom)?;
    tables.count_reason(Reason::ProbeAnswer);
    Ok(asked.back)
}

const MAC_HEAD: u64 = {
    let ([a, b, c, d, e, f], [g, h, ..]) = (probe::DEVICE_MAC, probe::OTHER_MAC);
    u64::from_ne_bytes([a, b, c, d, e, f, g, h])
};
const MAC_TAIL: u32 = {
    let [_, _, a, b, c, d] = probe::OTHER_MAC;
    u32::from_ne_bytes([a, b, c, d])
};

/// Whom the probe asked that an ICMP error is about, whose quote names these ports.
#[inline(always)]
pub fn quoted<T: Tables>(tables: &T, about: &Datagram, ports_wire: u32) -> Option<Asked> {
    asked(tables, kind(about.protocol), source_port_wire(ports_wire), about.destination)
}

/// The same for the quote of an echo request.
#[inline(always)]
pub fn quoted_echo<P: Packet, T: Tables>(packet: &P, tables: &T, about: &Datagram) -> Option<Asked> {
    let identifier_wire = packet.load(about.transport + IDENTIFIER)?;
    asked(tables, Kind::Echo, identifier_wire, about.destination)
}

/// Whom a probe asked in place of `service`, from a local port or with an identifier.
#[inline(always)]
fn asked<T: Tables>(tables: &T, kind: Kind, number_wire: u16, service: Address) -> Option<Asked> {
    let index = tables.probed(probe::place(kind, u16::from_be(number_wire)))?;
    let target = tables.probe_target(index)?;
    let reserved = probe::reserved(index, service.is_v4());
    (target.service == service).then_some(Asked { reserved, back: target.back })
}

/// Makes `new` the source of a datagram, apart from what its transport header has to say.
#[inline(always)]
pub fn write_source<P: Packet>(packet: &mut P, datagram: &Datagram, new: Address, change: Difference) -> Option<()> {
    if datagram.v4 {
        ipv4::mend(packet, datagram.network, change)?;
    }
    nat::write_address(packet, datagram, End::Source, new)
}

/// Mends the checksum of the ICMP header at `offset`.
#[inline(always)]
pub fn mend_icmp<P: Packet>(packet: &mut P, offset: usize, sum: Difference) -> Option<()> {
    let at = offset + ICMP_CHECKSUM;
    let old: u16 = packet.load(at)?;
    packet.store(at, sum.apply(old))
}

#[inline(always)]
const fn kind(number: u8) -> Kind {
    if number == protocol::UDP { Kind::Udp } else { Kind::Tcp }
}
