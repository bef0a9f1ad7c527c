//! IPv4 headers (RFC 791), options included: they are stepped over.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::{Datagram, Packet, Part};
use crate::address::Address;
use crate::checksum::Difference;

/// Length of a header without options.
pub const HEADER: usize = 20;
/// Offset of the length of the whole packet.
pub const LENGTH: usize = 2;
/// Offset of the fragment bits and offset.
const FRAGMENT_WIRE: usize = 6;
/// Offset of time to live, protocol and checksum.
const TTL: usize = 8;
/// Offset of the source address.
pub const SOURCE: usize = 12;
/// Offset of the destination address.
pub const DESTINATION: usize = 16;
/// More-fragments bit and fragment offset, as they lie in a packet.
pub const FRAGMENT: u16 = 0x3fffu16.to_be();
/// Don't-fragment bit, as it lies in a packet.
const DONT_FRAGMENT: u16 = 0x4000u16.to_be();
/// Fragment offset, as it lies in a packet.
const FRAGMENT_OFFSET: u16 = 0x1fffu16.to_be();

/// The fixed part of a header.
#[repr(C)]
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
struct Header {
    version_length: u8,
    service: u8,
    length_wire: u16,
    identification_wire: u16,
    fragment_wire: u16,
    time_to_live: u8,
    protocol: u8,
    checksum_wire: u16,
    source_wire: u32,
    destination_wire: u32,
}

/// Reads the header at `network`; `None` when cut short or malformed.
#[inline(always)]
pub fn parse<P: Packet>(packet: &P, network: usize) -> Option<Datagram> {
    let header: Header = packet.load(network)?;
    let length = (header.version_length & 15) as usize * 4;
    if header.version_length >> 4 != 4 || length < HEADER {
        return None;
    }
    let total = u16::from_be(header.length_wire) as u32;
    if total < length as u32 {
        return None;
    }
    let part = if header.fragment_wire & FRAGMENT == 0 {
        Part::Whole
    } else if header.fragment_wire & FRAGMENT_OFFSET == 0 {
        Part::First
    } else {
        Part::Later
    };
    Some(Datagram {
        source: Address::from_v4_wire(header.source_wire),
        destination: Address::from_v4_wire(header.destination_wire),
        network,
        transport: if length == HEADER { network + HEADER } else { packet.forget(network + length)? },
        length: total,
        identification_wire: header.identification_wire as u32,
        v4: true,
        protocol: header.protocol,
        time_to_live: header.time_to_live,
        part,
    })
}

/// Whether routers must not fragment the packet whose header is at `network`.
#[inline(always)]
pub fn forbids_fragments<P: Packet>(packet: &P, network: usize) -> bool {
    let fragment = packet.forget(network).and_then(|network| packet.load::<u16>(network + FRAGMENT_WIRE));
    fragment.is_some_and(|fragment| fragment & DONT_FRAGMENT != 0)
}

/// Takes one from the time to live of the header at `network` and mends the header's checksum, also for a change of
/// address that the caller makes.
#[inline(always)]
pub fn hop<P: Packet>(packet: &mut P, network: usize, change: Difference) -> Option<()> {
    let old: [u16; 2] = packet.load(network + TTL)?;
    let ttl = u16::from_be(old[0]).wrapping_sub(0x0100).to_be();
    let checksum = change.word(old[0], ttl).apply(old[1]);
    packet.store(network + TTL, [ttl, checksum])
}

/// Mends the checksum of the header at `network` for a change of address that the caller makes, and returns what that
/// adds to a checksum over the header.
#[inline(always)]
pub fn mend<P: Packet>(packet: &mut P, network: usize, change: Difference) -> Option<Difference> {
    let old: u16 = packet.load(network + TTL + 2)?;
    let new = change.apply(old);
    packet.store(network + TTL + 2, new)?;
    Some(Difference::NONE.word(old, new))
}
