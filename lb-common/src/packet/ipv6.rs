//! IPv6 headers (RFC 8200) with a bounded chain of extension headers.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::{Datagram, Packet, Part, protocol};
use crate::address::Address;

/// Length of the fixed header.
pub const HEADER: usize = 40;
/// Offset of the length of what follows the fixed header.
pub const LENGTH: usize = 4;
/// Offset of the next header number; the hop limit follows.
const NEXT_HEADER: usize = 6;
/// Offset of the source address.
pub const SOURCE: usize = 8;
/// Offset of the destination address.
pub const DESTINATION: usize = 24;
/// Extension headers that are stepped over. RFC 8200 section 4.1 recommends an order in which at most five precede the
/// transport header; what needs more is addressed to nobody's service.
pub const MAX_EXTENSIONS: usize = 5;

/// Extension header numbers.
mod extension {
    pub const HOP_BY_HOP: u8 = 0;
    pub const ROUTING: u8 = 43;
    pub const FRAGMENT: u8 = 44;
    pub const DESTINATION_OPTIONS: u8 = 60;
}

/// The fixed header.
#[repr(C)]
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
struct Header {
    version_class_flow_wire: u32,
    payload_wire: u16,
    next: u8,
    hop_limit: u8,
    addresses: [u64; 4],
}

/// The fragment header (RFC 8200 section 4.5).
#[repr(C)]
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
struct Fragment {
    next: u8,
    reserved: u8,
    offset_wire: u16,
    identification_wire: u32,
}

/// Reads the header at `network` and the extension headers behind it; `None` when the fixed header is cut short or
/// malformed. A chain that is cut short or too long gives [`protocol::UNREADABLE`].
///
/// AH is an extension header, and stepped over like any other, unless `ends_at_ah` says of the datagram that AH is what it carries.
#[inline(always)]
pub fn parse<P: Packet>(packet: &P, network: usize, ends_at_ah: impl Fn(&Datagram) -> bool) -> Option<Datagram> {
    let header: Header = packet.load(network)?;
    if header.version_class_flow_wire & 0xf0u32 != 0x60u32 {
        return None;
    }
    let mut datagram = Datagram {
        source: Address { high: header.addresses[0], low: header.addresses[1] },
        destination: Address { high: header.addresses[2], low: header.addresses[3] },
        network,
        transport: network + HEADER,
        length: u16::from_be(header.payload_wire) as u32 + HEADER as u32,
        identification_wire: 0,
        v4: false,
        protocol: header.next,
        time_to_live: header.hop_limit,
        part: Part::Whole,
    };
    if is_extension(header.next) {
        step_over(packet, &mut datagram, ends_at_ah);
    }
    Some(datagram)
}

#[inline(always)]
fn is_extension(next: u8) -> bool {
    matches!(
        next,
        extension::HOP_BY_HOP
            | extension::ROUTING
            | extension::FRAGMENT
            | protocol::AH
            | extension::DESTINATION_OPTIONS
    )
}

#[inline(always)]
fn step_over<P: Packet>(packet: &P, datagram: &mut Datagram, ends_at_ah: impl Fn(&Datagram) -> bool) {
    // Asked behind the loop: the kernel's verifier walks a call in it once for each header.
    let mut ah = 0;
    for _ in 0..MAX_EXTENSIONS {
        if !is_extension(datagram.protocol) || datagram.part == Part::Later {
            break;
        }
        if datagram.protocol == protocol::AH && ah == 0 {
            ah = datagram.transport;
        }
        if extension_header(packet, datagram).is_none() {
            break;
        }
    }
    if datagram.part == Part::Later {
        return;
    }
    if is_extension(datagram.protocol) {
        datagram.protocol = protocol::UNREADABLE;
    }
    if ah != 0 && ends_at_ah(datagram) {
        (datagram.protocol, datagram.transport) = (protocol::AH, ah);
    }
}

/// Steps over one extension header; `None` when it is cut short.
#[inline(always)]
fn extension_header<P: Packet>(packet: &P, datagram: &mut Datagram) -> Option<()> {
    if datagram.protocol == extension::FRAGMENT {
        let fragment: Fragment = packet.load(datagram.transport)?;
        datagram.identification_wire = fragment.identification_wire;
        datagram.part = match u16::from_be(fragment.offset_wire) & 0xfff9 {
            0 => Part::Whole, // an atomic fragment (RFC 6946)
            1 => Part::First,
            _ => Part::Later,
        };
        datagram.protocol = fragment.next;
        datagram.transport = packet.forget(datagram.transport + size_of::<Fragment>())?;
        return Some(());
    }
    let [next, length]: [u8; 2] = packet.load(datagram.transport)?;
    let end = datagram.transport
        + match datagram.protocol {
            protocol::AH => (length as usize + 2) * 4, // RFC 4302 section 2.2
            _ => (length as usize + 1) * 8,
        };
    datagram.transport = packet.forget(end)?;
    datagram.protocol = next;
    Some(())
}

/// Takes one from the hop limit of the header at `network`.
#[inline(always)]
pub fn hop<P: Packet>(packet: &mut P, network: usize) -> Option<()> {
    let [next, limit]: [u8; 2] = packet.load(network + NEXT_HEADER)?;
    packet.store(network + NEXT_HEADER, [next, limit.wrapping_sub(1)])
}
