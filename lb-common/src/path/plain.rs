//! The way of nearly all packets, in one go: a whole IPv4 packet without tags and options, over TCP or UDP, to a service that asks for
//! nothing besides its lookup table, whose slot is settled.
//!
//! It decides nothing that the path behind it would not decide the same way; it is faster because it is narrow. All headers are
//! checked against the end of the frame once, and lie where they mostly do; what is read of them is read where it is needed and
//! carried nowhere. Whatever is not plain is left alone, before anything was changed or counted, to the path that knows everything
//! ([`super::process_any`]), which begins anew.

mod passage;

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use self::passage::Passage;
use super::{Tables, Verdict, classify, exit, nat, signs, tunnel, verdict};
use crate::abi::{ALWAYS_LIVE, Row, Service, encapsulation, method, root_flags, service_flags};
use crate::address::Address;
use crate::checksum;
use crate::counters::Reason;
use crate::flow::Flow;
use crate::packet::ethernet::{self, Exit, Frame, ethertype};
use crate::packet::transport::{Flags, destination_port_wire};
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
    /// Identification, flags, fragment offset.
    identity_wire: u32,
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

    /// The protocol, if these are the headers that a plain packet has, and it may be sent on.
    #[inline(always)]
    fn plain_protocol(&self) -> Option<u8> {
        /// What is 0 in a time to live of 0 and 1, which are not sent on.
        const ALIVE: u32 = 0xfe;
        const FRAGMENT: u32 = (ipv4::FRAGMENT as u32) << 16;
        let hop_wire = self.hop_wire;
        if self.kind_wire & Self::KIND_MASK != Self::KIND
            || self.identity_wire & FRAGMENT != 0
            || hop_wire & ALIVE == 0
            || self.length() < ipv4::HEADER as u32
        {
            return None;
        }
        let protocol = (hop_wire >> 8) as u8;
        matches!(protocol, protocol::TCP | protocol::UDP).then_some(protocol)
    }

    /// IP protocol number.
    #[inline(always)]
    fn protocol(&self) -> u8 {
        (self.hop_wire >> 8) as u8
    }

    /// Whether a flow begins with it.
    #[inline(always)]
    fn opens(&self) -> bool {
        self.protocol() == protocol::TCP && Flags(self.flags).opens()
    }

    /// Version and header length, type of service, length, identification, flags: as they lie there.
    #[inline(always)]
    fn first(&self) -> u64 {
        let octets: &[u8; size_of::<Self>()] = zerocopy::transmute_ref!(self);
        let [_, _, _, _, _, _, _, _, _, _, _, _, _, _, a, b, c, d, e, f, g, h, ..] = *octets;
        u64::from_ne_bytes([a, b, c, d, e, f, g, h])
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
            time_to_live: self.hop_wire as u8,
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

/// What becomes of a packet, as `finish` says it.
pub enum Plain<F> {
    /// It is not plain, or its service is not. Nothing was changed.
    No,
    /// This.
    Done(F),
    /// It goes by the tunnel of this row, whose outer header is IPv6's, and [`wrap`] is next.
    ToWrap(u32),
}

/// What becomes of a packet, if it is a plain one. `finish` is told what is done with it, wherever that is known: so that a program's
/// answer is a number there.
#[inline(always)]
pub fn begin<P: Packet, T: Tables, F>(packet: &mut P, tables: &T, finish: impl Fn(Verdict) -> F) -> Plain<F> {
    sent(packet, tables, finish).unwrap_or(Plain::No)
}

#[inline(always)]
fn sent<P: Packet, T: Tables, F>(packet: &mut P, tables: &T, finish: impl Fn(Verdict) -> F) -> Option<Plain<F>> {
    let front: &mut Front = packet.front()?;
    let protocol = front.plain_protocol()?;
    let live = classify::live(tables).ok()?;
    let end = End::of(front, protocol);
    let service = live.candidate(tables, end.address, end.port_wire, protocol)?;
    match end.asks(service) {
        Asked::Plain => {}
        Asked::Perhaps => return None,
        Asked::Not => {
            const ELSEWHERE: u64 = root_flags::WILDCARD | root_flags::NAT | root_flags::PROBES;
            let not_ours = || Plain::Done(finish(verdict(packet, tables, Err(Reason::NotService))));
            return (!live.has(ELSEWHERE)).then(not_ours);
        }
    }
    if service.live != ALWAYS_LIVE && !tables.is_live(service.live) {
        return None;
    }
    let slot = tables.slot(selection::of_flow(service, &front.flow()))?;
    let index = service.first_row.wrapping_add(slot.settled_owner()? as u32);
    let row = tables.row(index)?;
    if row.tags_wire[0] != 0 {
        return None;
    }
    // Asked for by itself, and first.
    let interface = if row.way() == method::DIRECT as u16 {
        let exit = exit(row).ok()?;
        front.mac_head = exit.mac_head;
        front.mac_tail = exit.mac_tail;
        front.hop_wire = checksum::hop(front.hop_wire);
        exit.interface
    } else {
        match row.method {
            method::NAT => return translated(packet, tables, service, index, row, finish),
            method::TUNNEL if row.encapsulation & encapsulation::V4 != 0 => {
                let passage = Passage::of(front, row, tables.tunnel(index)?)?;
                let opens = note_opening(tables, service, front, index);
                return Some(Plain::Done(finish(through(packet, tables, index, &passage, opens))));
            }
            method::TUNNEL => {
                note_opening(tables, service, front, index);
                return Some(Plain::ToWrap(index));
            }
            _ => return None,
        }
    };
    let length = front.length();
    // Last, since what the verifier learns here would else be walked with all that comes before.
    let opens = note_opening(tables, service, front, index);
    tables.count(index, length, opens);
    Some(Plain::Done(finish(verdict(packet, tables, Ok(interface)))))
}

/// Sends a packet to the backend of a row under `nat`.
#[inline(always)]
fn translated<P: Packet, T: Tables, F>(
    packet: &mut P,
    tables: &T,
    service: &Service,
    index: u32,
    row: &Row,
    finish: impl Fn(Verdict) -> F,
) -> Option<Plain<F>> {
    let front: &mut Front = packet.front()?;
    // Without tags, which was seen: the compiler is to know it too.
    let exit = Exit { tags_wire: [0; 2], ..exit(row).ok()? };
    let (flow, length, opens, sequence_wire) = (front.flow(), front.length(), front.opens(), front.sequence_wire);
    let datagram = front.datagram(&flow);
    // To the kernel's verifier any number, or it would walk the translation once for each.
    let opens = u32::from(opens) | packet.nothing();
    let fate = nat::request_by(packet, &FRAME, &datagram, row, Some(flow.ports_wire), exit);
    let opens = opens != 0;
    if fate.is_ok() {
        if opens {
            signs::syn_of(tables, service, &flow, sequence_wire, index);
        }
        tables.count(index, length, opens);
    }
    Some(Plain::Done(finish(verdict(packet, tables, fate))))
}

/// Sends a packet through the tunnel of a row.
#[inline(always)]
fn through<P: Packet, T: Tables>(packet: &mut P, tables: &T, row: u32, passage: &Passage, opens: bool) -> Verdict {
    // As in `translated`.
    let opens = u32::from(opens) | packet.nothing();
    let fate = passage.put(packet);
    if fate.is_ok() {
        tables.count(row, passage.length, opens != 0);
    }
    verdict(packet, tables, fate)
}

/// Leaves the mark of a packet that opens a flow; whether it does.
#[inline(always)]
fn note_opening<T: Tables>(tables: &T, service: &Service, front: &Front, row: u32) -> bool {
    let opens = front.opens();
    if opens {
        signs::syn_of(tables, service, &front.flow(), front.sequence_wire, row);
    }
    opens
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
    let (length, flow, opens) = (front.length(), front.flow(), front.opens());
    let datagram = front.datagram(&flow);
    let interface = tunnel::forward(packet, tables, &datagram, row, Some(flow.ports_wire))?;
    tables.count(row, length, opens);
    Ok(interface)
}

/// The end of a flow that may be a listener.
struct End {
    address: Address,
    port_wire: u16,
    protocol: u8,
}

/// Whether a packet asks a listener.
enum Asked {
    /// It does, and the listener asks for nothing besides its lookup table, and for the whole flow.
    Plain,
    /// It may.
    Perhaps,
    /// It does not.
    Not,
}

impl End {
    #[inline(always)]
    fn of(front: &Front, protocol: u8) -> Self {
        let address = Address::from_v4_wire(front.destination_wire);
        Self { address, port_wire: destination_port_wire(front.ports_wire), protocol }
    }

    /// One comparison tells, of address, port, protocol and flags together.
    #[inline(always)]
    fn asks(&self, service: &Service) -> Asked {
        const FLAGS: u32 = 56;
        const PLAIN: u64 = (service_flags::PLAIN as u64) << FLAGS;
        const KEY: u64 = (1 << FLAGS) - 1;
        let key = (self.protocol as u64) << 48 | (self.port_wire as u64) << 32 | self.address.v4_wire() as u64;
        let differs = service.end() ^ (PLAIN | key);
        match differs & (PLAIN | KEY) {
            0 => Asked::Plain,
            _ if differs & KEY == 0 => Asked::Perhaps,
            _ => Asked::Not,
        }
    }
}
