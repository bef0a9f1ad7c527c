//! Plain packets into tunnels over IPv4, of every encapsulation: what [`tunnel::wrap`] does, with the row in hand. What does not fit is
//! left alone, to be answered by who knows how.
//!
//! The headers are made of the inner one and of what the row's [`Tunnel`] has ready, before there is room for them; then they are written
//! in few words behind one check. Few, since making room is a call, and all that is needed after it has to be kept on the stack.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::Front;
use crate::abi::{Row, Tunnel, encapsulation};
use crate::checksum;
use crate::counters::Reason;
use crate::packet::ethernet::{self, ethertype};
use crate::packet::{Packet, ipv4};
use crate::path::{exit, tunnel};

/// The headers in front of the packet that is carried, as they are written.
#[repr(C, packed)]
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
struct Headers {
    mac_head: u64,
    mac_tail: u32,
    ethertype_wire: u16,
    ip: [u64; 2],
    destination_wire: u32,
    /// UDP, or what of GRE there is before the packet.
    udp: [u32; 2],
    /// GUE.
    gue: u32,
}

const _: () = assert!(size_of::<Headers>() == ethernet::HEADER + ipv4::HEADER + tunnel::UDP + tunnel::SHIM);

/// The way of one packet through a tunnel.
pub struct Passage<'a> {
    row: &'a Row,
    tunnel: &'a Tunnel,
    mac_head: u64,
    /// Octets of the packet, from its IP header on.
    pub length: u32,
}

impl<'a> Passage<'a> {
    /// Of a packet that goes by a row; `None` if it does not fit, or the next hop is not known.
    #[inline(always)]
    pub fn of(front: &Front, row: &'a Row, tunnel: &'a Tunnel) -> Option<Self> {
        let (mac_head, length) = (exit(row).ok()?.mac_head, front.length());
        (length <= tunnel::room(tunnel)).then_some(Self { row, tunnel, mac_head, length })
    }

    /// Puts the packet into another, and that into the frame that reaches the backend; the interface it leaves by.
    #[inline(always)]
    pub fn put<P: Packet>(&self, packet: &mut P) -> Result<u32, Reason> {
        // A branch each, which a processor foresees: how far the head moves, and all that follows from it, does not wait for the row.
        match self.row.encapsulation & encapsulation::KIND {
            encapsulation::IPIP => self.put_by::<{ encapsulation::IPIP }, P>(packet),
            encapsulation::GUE => self.put_by::<{ encapsulation::GUE }, P>(packet),
            encapsulation::FOU => self.put_by::<{ encapsulation::FOU }, P>(packet),
            _ => self.put_by::<{ encapsulation::GRE }, P>(packet),
        }
    }

    #[inline(always)]
    fn put_by<const KIND: u8, P: Packet>(&self, packet: &mut P) -> Result<u32, Reason> {
        let front: &mut Front = packet.front().ok_or(Reason::Inconsistent)?;
        let Outer { ip, udp } = Outer::of::<KIND>(front, self.tunnel);
        packet.adjust_head(-(tunnel::overhead(KIND | encapsulation::V4) as i32)).ok_or(Reason::NoHeadroom)?;
        let headers: &mut Headers = packet.front().ok_or(Reason::Inconsistent)?;
        headers.mac_head = self.mac_head;
        headers.mac_tail = self.row.mac_tail;
        headers.ethertype_wire = ethertype::IPV4;
        headers.ip = ip;
        headers.destination_wire = self.row.address.v4_wire();
        match KIND {
            encapsulation::IPIP => {}
            encapsulation::GRE => headers.udp[0] = tunnel::gre(true),
            _ => headers.udp = [udp as u32, (udp >> 32) as u32],
        }
        if KIND == encapsulation::GUE {
            headers.gue = tunnel::gue(true);
        }
        Ok(self.row.interface)
    }
}

/// The headers of an outer packet.
struct Outer {
    /// IPv4's, up to the source address.
    ip: [u64; 2],
    /// UDP's, for encapsulations that have one.
    udp: u64,
}

impl Outer {
    /// The headers of a packet; and the packet made one hop older.
    #[inline(always)]
    fn of<const KIND: u8>(front: &mut Front, tunnel: &Tunnel) -> Self {
        let has_udp = const { matches!(KIND, encapsulation::GUE | encapsulation::FOU) };
        let between = const { tunnel::between(KIND) as u32 };
        let spread = (tunnel.spread >> 32) as u32;
        let entropy = if has_udp || spread != 0 {
            let flow = front.flow();
            tunnel::entropy(flow.source, flow.destination, flow.ports_wire)
        } else {
            0
        };
        let spread = spread & entropy;
        let udp = if has_udp { tunnel::udp(entropy, tunnel.port_wire, front.length() + between) } else { 0 };
        let inner_hop_wire = checksum::hop(front.hop_wire);
        front.hop_wire = inner_hop_wire;
        let time_to_live = inner_hop_wire & 0xff;
        let first = outward(front.first());
        let length_wire = ((front.length() + ipv4::HEADER as u32 + between) as u16).to_be() as u32;
        let copied = (first as u32 & 0xff00) + (first >> 32) as u32 + time_to_live;
        let sum = tunnel.sum as u32 + copied + length_wire + (spread & 0xffff) + (spread >> 16);
        let protocol = const { (tunnel::outer_protocol(KIND, true) as u32) << 8 };
        let hop_wire = time_to_live | protocol | (!checksum::fold_short(sum) as u32) << 16;
        let source_wire = tunnel.source.v4_wire() | spread;
        let ip = [first | (length_wire as u64) << 16, hop_wire as u64 | (source_wire as u64) << 32];
        Self { ip, udp }
    }
}

/// Of the first eight octets of an inner header what the outer one has too, as [`tunnel::outward`] has the type of service: all but the
/// length, and of "congestion experienced" one bit.
#[inline(always)]
const fn outward(first: u64) -> u64 {
    const ONE: u64 = 1 << 8;
    const COPIED: u64 = (tunnel::IDENTITY as u64) << 32 | 0xffff;
    (first ^ (first >> 1 & first & ONE)) & COPIED
}
