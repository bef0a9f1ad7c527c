//! Forwarding method `tunnel` (LVS: IP tunnelling): the packet is put into another, addressed to the backend, wherever that is. The
//! backend takes it out again, holds the service's address, and answers the client itself.
//!
//! | encapsulation | between the outer IP header and the packet |
//! |---|---|
//! | `ipip` | nothing (RFC 2003, 2473, 4213) |
//! | `gue` | a UDP header and four octets of GUE, variant 0 (draft-ietf-intarea-gue; Linux: `fou … gue`) |
//! | `fou` | a UDP header (Linux: `fou … ipproto`) |
//! | `gre` | four octets of GRE (RFC 2784) |
//!
//! Inner and outer header may be of different families. As under IPVS (`ip_vs_tunnel_xmit`) the inner time to live is decremented
//! and then copied outward, and so is the type of service, congestion marks as RFC 3168 section 9.1.1 has them (full
//! functionality), and don't-fragment. Around IPv6 don't-fragment is always set (IPVS leaves it clear): its
//! senders can be told. Outer UDP checksums are zero (RFC 6935): the inner packet has its own.
//!
//! What flows differ in is in the outer UDP source port and the outer IPv6 flow label (RFC 6438), and in the outer source address
//! where it may be spread, so that the network and the backend's receive queues spread flows. Fragments have no ports and go by
//! their addresses, all of a datagram alike.
//!
//! A packet that does not fit is answered: with what fits ([`oversize`]).

use super::oversize;
use super::{Tables, exit};
use crate::abi::{Row, Tunnel, encapsulation};
use crate::address::Address;
use crate::checksum;
use crate::counters::Reason;
use crate::packet::ethernet::{self, ethertype};
use crate::packet::{Datagram, Packet, Part, ipv4, ipv6, protocol};

/// What is asked of [`wrap`], as numbers: in the kernel it is a function of its own.
#[derive(Clone, Copy)]
pub struct Question {
    /// The row.
    pub row: u32,
    /// Where the IP header starts.
    pub network: usize,
    /// What tells flows apart.
    pub entropy: u32,
    /// Bits of [`about`].
    pub about: u32,
}

/// Bits of [`Question::about`].
pub mod about {
    /// The packet is IPv4.
    pub const V4: u32 = 1;
    /// Its sender may be told that it is too big.
    pub const ANSWERABLE: u32 = 1 << 1;
}

/// Dynamic ports (RFC 6335): those that outer UDP packets come from.
pub const FIRST_PORT: u16 = 0xc000;
/// Octets of a UDP header.
pub const UDP: usize = 8;
/// Octets of a GUE header, or a GRE header, without options.
pub const SHIM: usize = 4;

/// Sends a packet to the backend of a row; the interface it leaves by. `ports_wire` is `None` for what has none of its own.
#[inline(always)]
pub fn forward<P: Packet, T: Tables>(
    packet: &mut P,
    tables: &T,
    datagram: &Datagram,
    row: u32,
    ports_wire: Option<u32>,
) -> Result<u32, Reason> {
    let is_flow = datagram.part == Part::Whole && ports_wire.is_some();
    let ports_wire_of_flow = if is_flow { ports_wire.unwrap_or(0) } else { 0 };
    let entropy = entropy(datagram.source, datagram.destination, ports_wire_of_flow);
    let answerable = if ports_wire.is_some() { about::ANSWERABLE } else { 0 };
    let about = if datagram.v4 { about::V4 } else { 0 } | answerable;
    tables.wrap(packet, Question { row, network: datagram.network, entropy, about })
}

/// What tells flows apart. Not the selection hash: flows of one backend agree in much of that.
#[inline(always)]
pub(super) fn entropy(source: Address, destination: Address, ports_wire: u32) -> u32 {
    const ODD: u64 = 0x9e37_79b9_7f4a_7c15;
    let ends = source.low ^ source.high.rotate_left(29) ^ destination.low.rotate_left(17);
    ((ends ^ ports_wire as u64).wrapping_mul(ODD) >> 32) as u32
}

/// What the outer header copies of the inner.
#[derive(Clone, Copy)]
struct Inner {
    /// Octets from the IP header on.
    length: u32,
    /// Type of service, or traffic class, with the congestion bits that go outward.
    service: u8,
    /// After the hop.
    time_to_live: u8,
    /// Identification and don't-fragment bit, as they lie in an IPv4 header.
    identity_wire: u32,
}

/// Puts the packet into another, and that into the frame that reaches the backend; the interface it leaves by.
#[inline(always)]
pub fn wrap<P: Packet, T: Tables>(packet: &mut P, tables: &T, question: Question) -> Result<u32, Reason> {
    let row = tables.row(question.row).ok_or(Reason::Inconsistent)?;
    let tunnel = tables.tunnel(question.row).ok_or(Reason::Inconsistent)?;
    let exit = exit(row)?;
    let network = packet.forget(question.network).ok_or(Reason::Inconsistent)?;
    let v4 = question.about & about::V4 != 0;
    let inner = if v4 { inner_v4(packet, network) } else { inner_v6(packet, network) }.ok_or(Reason::Malformed)?;
    if inner.time_to_live == 0 || inner.time_to_live == u8::MAX {
        return Err(Reason::TimeToLive);
    }
    let room = room(tunnel);
    if inner.length > room {
        return match question.about & about::ANSWERABLE {
            0 => Err(Reason::TooBigForTunnel),
            _ => oversize::answer(packet, tables, network, v4, room),
        };
    }
    let hop = if v4 { ipv4::hop(packet, network, checksum::Difference::NONE) } else { ipv6::hop(packet, network) };
    hop.ok_or(Reason::Inconsistent)?;
    let outer_v4 = row.encapsulation & encapsulation::V4 != 0;
    let (header, ethertype) = if outer_v4 { (ipv4::HEADER, ethertype::IPV4) } else { (ipv6::HEADER, ethertype::IPV6) };
    let between = between(row.encapsulation);
    let start = ethernet::wrap(packet, network, header + between, ethertype, &exit).ok_or(Reason::NoHeadroom)?;
    let start = packet.forget(start).ok_or(Reason::Inconsistent)?;
    let content = Content { v4, entropy: question.entropy, between };
    let written = if outer_v4 {
        outer_v4_header(packet, start, row, tunnel, &inner, &content)
    } else {
        outer_v6_header(packet, start, row, tunnel, &inner, &content)
    };
    written.ok_or(Reason::Inconsistent)?;
    let written = shim(packet, start + header, row, tunnel, &inner, &content);
    written.ok_or(Reason::Inconsistent)?;
    Ok(exit.interface)
}

/// Octets of the longest IP packet that fits now.
#[inline(always)]
pub(super) fn room(tunnel: &Tunnel) -> u32 {
    // SAFETY: a reference is valid for reads. Volatile because user space replaces the word while packets flow.
    unsafe { core::ptr::read_volatile(&tunnel.room) }
}

/// What is put into the outer packet.
#[derive(Clone, Copy)]
struct Content {
    v4: bool,
    entropy: u32,
    /// Octets between the outer IP header and the packet.
    between: usize,
}

/// Octets between the outer IP header and the packet.
#[inline(always)]
pub(super) const fn between(bits: u8) -> usize {
    match bits & encapsulation::KIND {
        encapsulation::IPIP => 0,
        encapsulation::GUE => UDP + SHIM,
        encapsulation::FOU => UDP,
        _ => SHIM,
    }
}

/// Octets that an encapsulation adds to a packet.
pub const fn overhead(bits: u8) -> u32 {
    (between(bits) + if bits & encapsulation::V4 != 0 { ipv4::HEADER } else { ipv6::HEADER }) as u32
}

/// What the outer IP header says that it carries.
pub const fn outer_protocol(bits: u8, inner_v4: bool) -> u8 {
    match bits & encapsulation::KIND {
        encapsulation::IPIP => ip_protocol(inner_v4),
        encapsulation::GRE => protocol::GRE,
        _ => protocol::UDP,
    }
}

/// The protocol number of an IP packet in an IP packet.
#[inline(always)]
pub const fn ip_protocol(v4: bool) -> u8 {
    if v4 { protocol::IPIP } else { protocol::IPV6 }
}

/// The sum of what is always the same in an outer IPv4 header: version, protocol and addresses, as they lie in it.
pub const fn constant_sum(bits: u8, inner_v4: bool, source_wire: u32, destination_wire: u32) -> u16 {
    let protocol = (outer_protocol(bits, inner_v4) as u64) << 8;
    checksum::fold(VERSION_AND_LENGTH as u64 + protocol + source_wire as u64 + destination_wire as u64)
}

/// Of an IPv4 header without options.
const VERSION_AND_LENGTH: u32 = 0x45;
/// Identification and don't-fragment bit, as they lie in an IPv4 header.
pub(super) const IDENTITY: u32 = 0x0040_ffff;
/// The don't-fragment bit alone.
const DONT_FRAGMENT: u32 = 0x0040_0000;

#[inline(always)]
fn inner_v4<P: Packet>(packet: &P, network: usize) -> Option<Inner> {
    let words: [u32; 3] = packet.load(network)?;
    Some(Inner {
        length: u16::from_be((words[0] >> 16) as u16) as u32,
        service: outward((words[0] >> 8) as u8),
        time_to_live: (words[2] as u8).wrapping_sub(1),
        identity_wire: words[1] & IDENTITY,
    })
}

#[inline(always)]
fn inner_v6<P: Packet>(packet: &P, network: usize) -> Option<Inner> {
    let words: [u32; 2] = packet.load(network)?;
    Some(Inner {
        length: u16::from_be(words[1] as u16) as u32 + ipv6::HEADER as u32,
        service: outward((u32::from_be(words[0]) >> 20) as u8),
        time_to_live: ((words[1] >> 24) as u8).wrapping_sub(1),
        identity_wire: DONT_FRAGMENT,
    })
}

/// The outer type of service: the inner one; but "congestion experienced" goes outward as "capable", since what the outer header
/// meets on its way is added to the inner one at the end.
#[inline(always)]
const fn outward(service: u8) -> u8 {
    service & !(service >> 1 & service & 1)
}

#[inline(always)]
fn outer_v4_header<P: Packet>(
    packet: &mut P,
    at: usize,
    row: &Row,
    tunnel: &Tunnel,
    inner: &Inner,
    content: &Content,
) -> Option<()> {
    let length = inner.length + (ipv4::HEADER + content.between) as u32;
    let length_wire = (length as u16).to_be() as u32;
    let spread = ((tunnel.spread >> 32) as u32) & content.entropy;
    let sum = tunnel.sum as u64
        + ((inner.service as u64) << 8)
        + length_wire as u64
        + inner.identity_wire as u64
        + inner.time_to_live as u64
        + spread as u64;
    let checksum = !checksum::fold(sum) as u32;
    let protocol = outer_protocol(row.encapsulation, content.v4) as u32;
    packet.store(
        at,
        [
            VERSION_AND_LENGTH | (inner.service as u32) << 8 | length_wire << 16,
            inner.identity_wire,
            inner.time_to_live as u32 | protocol << 8 | checksum << 16,
            tunnel.source.v4_wire() | spread,
            row.address.v4_wire(),
        ],
    )
}

#[inline(always)]
fn outer_v6_header<P: Packet>(
    packet: &mut P,
    at: usize,
    row: &Row,
    tunnel: &Tunnel,
    inner: &Inner,
    content: &Content,
) -> Option<()> {
    const VERSION: u32 = 6 << 28;
    const FLOW_LABEL: u32 = (1 << 20) - 1;
    let first = (VERSION | (inner.service as u32) << 20 | content.entropy & FLOW_LABEL).to_be();
    let payload_wire = ((inner.length + content.between as u32) as u16).to_be() as u64;
    let protocol = outer_protocol(row.encapsulation, content.v4) as u64;
    let entropy = content.entropy as u64 | (content.entropy as u64) << 32;
    packet.store(
        at,
        [
            first as u64 | payload_wire << 32 | protocol << 48 | (inner.time_to_live as u64) << 56,
            tunnel.source.high,
            tunnel.source.low | entropy & tunnel.spread,
            row.address.high,
            row.address.low,
        ],
    )
}

/// Writes what stands between the outer IP header and the packet.
#[inline(always)]
fn shim<P: Packet>(
    packet: &mut P,
    at: usize,
    row: &Row,
    tunnel: &Tunnel,
    inner: &Inner,
    content: &Content,
) -> Option<()> {
    let kind = row.encapsulation & encapsulation::KIND;
    match kind {
        encapsulation::IPIP => return Some(()),
        encapsulation::GRE => return packet.store(at, gre(content.v4)),
        _ => {}
    }
    packet.store(at, udp(content.entropy, tunnel.port_wire, inner.length + content.between as u32))?;
    match kind {
        encapsulation::GUE => packet.store(at + UDP, gue(content.v4)),
        _ => Some(()),
    }
}

/// A UDP header without a checksum: from a port that goes by the flow, of so many octets with what it carries.
#[inline(always)]
pub(super) const fn udp(entropy: u32, port_wire: u16, length: u32) -> u64 {
    let source_wire = ((FIRST_PORT as u32 | entropy >> 18) as u16).to_be();
    source_wire as u64 | (port_wire as u64) << 16 | ((length as u16).to_be() as u64) << 32
}

/// A GRE header: no flags, version 0, and the EtherType of what follows.
#[inline(always)]
pub(super) const fn gre(v4: bool) -> u32 {
    (if v4 { ethertype::IPV4 } else { ethertype::IPV6 } as u32) << 16
}

/// A GUE header: variant 0, no flags, no options; the second octet is the protocol of what follows.
#[inline(always)]
pub(super) const fn gue(v4: bool) -> u32 {
    (ip_protocol(v4) as u32) << 8
}
