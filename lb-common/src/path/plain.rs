//! The way of nearly all packets, in one go: a whole IPv4 packet without tags and options, over TCP or UDP, to a service that asks for
//! nothing besides its lookup table, whose slot is settled.
//!
//! It decides nothing that the path behind it would not decide the same way; it is faster because it is narrow. All headers are
//! checked against the end of the frame once, and lie where they mostly do; what is read of them is read where it is needed and
//! carried nowhere. Whatever is not plain is left alone, before anything was changed or counted, to the path that knows everything
//! ([`super::process_any`]), which begins anew.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::{Tables, Verdict, classify, exit, nat, signs, tunnel, verdict};
use crate::abi::{ALWAYS_LIVE, Service, method, root_flags, service_flags};
use crate::address::Address;
use crate::checksum;
use crate::counters::Reason;
use crate::flow::Flow;
use crate::packet::ethernet::{self, Frame, ethertype};
use crate::packet::transport::Flags;
use crate::packet::{Datagram, Packet, Part, ipv4, protocol};
use crate::selection;

/// The headers of a plain packet, up to TCP's flags. No frame that came by a wire is shorter, whatever it carries.
#[repr(C, packed)]
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
pub struct Front {
    mac_head: u64,
    mac_tail: u32,
    /// EtherType, version and header length, type of service.
    kind_wire: u32,
    length_wire: u16,
    identification_wire: u16,
    fragment_wire: u16,
    /// Time to live, protocol, checksum.
    hop_wire: u32,
    source_wire: u32,
    destination_wire: u32,
    ports_wire: u32,
    /// TCP's sequence number and acknowledgment; anything under UDP.
    sequence_wire: u64,
    header_length: u8,
    /// TCP's.
    flags: u8,
    /// TCP's: window, checksum, urgent pointer.
    rest: [u8; 6],
}

const _: () = assert!(size_of::<Front>() == ethernet::HEADER + ipv4::HEADER + crate::packet::transport::TCP_HEADER);

impl Front {
    /// IPv4, and a header without options; the type of service is none of ours.
    const KIND: u32 = ethertype::IPV4 as u32 | 0x45 << 16;
    const KIND_MASK: u32 = 0x00ff_ffff;

    /// Whether these are the headers that a plain packet has, and it may be sent on.
    #[inline(always)]
    fn is_plain(&self) -> bool {
        self.kind_wire & Self::KIND_MASK == Self::KIND
            && self.fragment_wire & ipv4::FRAGMENT == 0
            && self.time_to_live() > 1
    }

    #[inline(always)]
    fn time_to_live(&self) -> u8 {
        self.hop_wire as u8
    }

    #[inline(always)]
    fn protocol(&self) -> u8 {
        (self.hop_wire >> 8) as u8
    }

    /// TCP's flags, none under UDP; `None` if it is neither.
    #[inline(always)]
    fn flags(&self) -> Option<Flags> {
        match self.protocol() {
            protocol::TCP => Some(Flags(self.flags)),
            protocol::UDP => Some(Flags(0)),
            _ => None,
        }
    }

    /// Octets from the IP header on.
    #[inline(always)]
    fn length(&self) -> u32 {
        u16::from_be(self.length_wire) as u32
    }

    /// What the path for all packets would know of it.
    #[inline(always)]
    fn datagram(&self, flow: &Flow) -> Datagram {
        Datagram {
            source: flow.source,
            destination: flow.destination,
            network: FRAME.network,
            transport: FRAME.network + ipv4::HEADER,
            length: self.length(),
            identification_wire: 0,
            v4: true,
            protocol: flow.protocol,
            time_to_live: self.time_to_live(),
            part: Part::Whole,
        }
    }

    #[inline(always)]
    fn flow(&self) -> Flow {
        Flow {
            source: Address::from_v4_wire(self.source_wire),
            destination: Address::from_v4_wire(self.destination_wire),
            ports_wire: self.ports_wire,
            protocol: self.protocol(),
        }
    }
}

/// A frame without tags.
const FRAME: Frame = Frame { ethertype_wire: ethertype::IPV4, network: ethernet::HEADER };

/// What becomes of a packet.
pub enum Plain {
    /// It is not plain, or its service is not. Nothing was changed.
    No,
    /// This.
    Done(Verdict),
    /// It goes by the tunnel of this row, and [`wrap`] is next.
    ToWrap(u32),
}

/// What becomes of a packet, if it is a plain one.
#[inline(always)]
pub fn begin<P: Packet, T: Tables>(packet: &mut P, tables: &T) -> Plain {
    sent(packet, tables).unwrap_or(Plain::No)
}

#[inline(always)]
fn sent<P: Packet, T: Tables>(packet: &mut P, tables: &T) -> Option<Plain> {
    let front: &mut Front = packet.front()?;
    let length = front.length();
    if !front.is_plain() || length < ipv4::HEADER as u32 {
        return None;
    }
    let flags = front.flags()?;
    let flow = front.flow();
    let live = classify::live(tables).ok()?;
    let Some(service) = live.listener(tables, &flow) else {
        const ELSEWHERE: u64 = root_flags::WILDCARD | root_flags::NAT | root_flags::PROBES;
        return (!live.has(ELSEWHERE)).then(|| Plain::Done(verdict(packet, tables, Err(Reason::NotService))));
    };
    if !is_plain(service) || service.live != ALWAYS_LIVE && !tables.is_live(service.live) {
        return None;
    }
    let slot = tables.slot(selection::of_flow(service, &flow))?;
    let index = service.first_row.wrapping_add(slot.settled_owner()? as u32);
    let row = tables.row(index)?;
    let method = row.method;
    if !matches!(method, method::DIRECT | method::NAT | method::TUNNEL) || row.tags_wire[0] != 0 {
        return None;
    }
    let sequence_wire = front.sequence_wire;
    let interface = match method {
        method::TUNNEL => None,
        method::DIRECT => {
            let exit = exit(row).ok()?;
            front.hop_wire = checksum::hop(front.hop_wire);
            front.mac_head = exit.mac_head;
            front.mac_tail = exit.mac_tail;
            Some(exit.interface)
        }
        _ => {
            exit(row).ok()?;
            let datagram = front.datagram(&flow);
            match nat::request(packet, &FRAME, &datagram, row, Some(flow.ports_wire)) {
                Ok(interface) => Some(interface),
                Err(reason) => return Some(Plain::Done(verdict(packet, tables, Err(reason)))),
            }
        }
    };
    // Last, since what the verifier learns here would else be walked with all that comes before.
    if flags.opens() {
        signs::syn_of(tables, service, &flow, sequence_wire, index);
    }
    let Some(interface) = interface else { return Some(Plain::ToWrap(index)) };
    tables.count(index, length, flags.opens());
    Some(Plain::Done(verdict(packet, tables, Ok(interface))))
}

/// Puts a plain packet into the tunnel of a row.
#[inline(always)]
pub fn wrap<P: Packet, T: Tables>(packet: &mut P, tables: &T, row: u32) -> Verdict {
    let fate = wrapped(packet, tables, row);
    verdict(packet, tables, fate)
}

#[inline(always)]
fn wrapped<P: Packet, T: Tables>(packet: &mut P, tables: &T, row: u32) -> Result<u32, Reason> {
    let front: &mut Front = packet.front().ok_or(Reason::Inconsistent)?;
    let (length, flow, flags) = (front.length(), front.flow(), front.flags());
    let datagram = front.datagram(&flow);
    let interface = tunnel::forward(packet, tables, &datagram, row, Some(flow.ports_wire))?;
    tables.count(row, length, flags.is_some_and(Flags::opens));
    Ok(interface)
}

/// Whether a service asks for nothing besides its lookup table, and for the whole flow.
#[inline(always)]
fn is_plain(service: &Service) -> bool {
    service.chooser | service.access as u32 | (service.flags & service_flags::KEYED) as u32 == 0
}
