//! Outer headers made ready in user space, for probes of `tunnel` backends: the program that sends these adds only what depends on
//! the packet, its length. Clients' packets get theirs in [`crate::path::tunnel`]; a backend cannot tell the two apart but
//! by time to live, type of service and don't-fragment bit, which are not copied from the inner packet here.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::abi::encapsulation;
use crate::address::Address;
use crate::checksum;
use crate::packet::ethernet::ethertype;
use crate::packet::{ipv4, ipv6};
use crate::path::tunnel::{SHIM, UDP, ip_protocol, outer_protocol, overhead};

/// Octets of the longest: IPv6, UDP and GUE.
pub const LONGEST: usize = ipv6::HEADER + UDP + SHIM;
/// Offset of the length within a UDP header.
pub const UDP_LENGTH: usize = 4;

/// Of packets that nobody asked for a time to live: Linux' own.
const TIME_TO_LIVE: u8 = 64;
/// Of an IPv4 header without options.
const VERSION_AND_LENGTH: u8 = 0x45;
const VERSION_6: u8 = 0x60;
/// The don't-fragment bit, in the seventh octet of an IPv4 header.
const DONT_FRAGMENT: u8 = 0x40;

/// An outer IP header and what stands between it and the packet; a cache line.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Outer {
    /// As they lie in a packet; lengths and IPv4's checksum are zero.
    pub octets: [u8; LONGEST],
    /// The sum of the IPv4 header, folded; the length is not in it.
    pub sum: u16,
    /// Bits of [`encapsulation`].
    pub encapsulation: u8,
    /// How many of the octets are used; 0: the packet is not put into anything.
    pub length: u8,
    /// Reserved, zero.
    pub reserved: [u32; 2],
}

impl Default for Outer {
    fn default() -> Self {
        Self { octets: [0; LONGEST], sum: 0, encapsulation: 0, length: 0, reserved: [0; 2] }
    }
}

impl Outer {
    /// The headers from one address to another, around IPv4 (`inner_v4`) or IPv6. `ports` are those of UDP, source first, where
    /// there is any.
    pub fn new(bits: u8, inner_v4: bool, source: Address, destination: Address, ports: (u16, u16)) -> Self {
        let mut octets = [0; LONGEST];
        let v4 = bits & encapsulation::V4 != 0;
        let header = if v4 { ipv4::HEADER } else { ipv6::HEADER };
        let number = outer_protocol(bits, inner_v4);
        if v4 {
            [octets[0], octets[6], octets[8], octets[9]] = [VERSION_AND_LENGTH, DONT_FRAGMENT, TIME_TO_LIVE, number];
            octets[12..16].copy_from_slice(&source.v4_wire().to_ne_bytes());
            octets[16..20].copy_from_slice(&destination.v4_wire().to_ne_bytes());
        } else {
            [octets[0], octets[6], octets[7]] = [VERSION_6, number, TIME_TO_LIVE];
            octets[8..24].copy_from_slice(&source.octets());
            octets[24..40].copy_from_slice(&destination.octets());
        }
        let between = &mut octets[header..];
        match bits & encapsulation::KIND {
            encapsulation::IPIP => {}
            encapsulation::GRE => {
                let ethertype_wire = if inner_v4 { ethertype::IPV4 } else { ethertype::IPV6 };
                between[2..4].copy_from_slice(&ethertype_wire.to_ne_bytes());
            }
            kind => {
                between[..2].copy_from_slice(&ports.0.to_be_bytes());
                between[2..4].copy_from_slice(&ports.1.to_be_bytes());
                if kind == encapsulation::GUE {
                    // Variant 0, no flags, no options.
                    between[UDP + 1] = ip_protocol(inner_v4);
                }
            }
        }
        let sum = if v4 { !checksum::full(0, &octets[..ipv4::HEADER]) } else { 0 };
        let length = overhead(bits) as u8;
        Self { octets, sum, encapsulation: bits, length, reserved: [0; 2] }
    }

    /// Whether the outer IP header is IPv4.
    #[inline(always)]
    pub const fn is_v4(&self) -> bool {
        self.encapsulation & encapsulation::V4 != 0
    }

    /// Whether a UDP header follows the outer IP header.
    #[inline(always)]
    pub const fn has_udp(&self) -> bool {
        matches!(self.encapsulation & encapsulation::KIND, encapsulation::GUE | encapsulation::FOU)
    }

    /// The checksum of the IPv4 header of a packet that is so long in all, as it lies in the header.
    #[inline(always)]
    pub const fn checksum_wire(&self, length_wire: u16) -> u16 {
        !checksum::fold(self.sum as u64 + length_wire as u64)
    }
}

const _: () = assert!(size_of::<Outer>() == 64);

#[cfg(test)]
mod tests {
    use core::net::{IpAddr, Ipv6Addr};

    use super::*;

    fn v4() -> [Address; 2] {
        [1, 2].map(|last| IpAddr::from([10, 0, 0, last]).into())
    }

    #[test]
    fn an_ipv4_header_is_as_rfc_791_has_it_and_adds_up() {
        let outer = Outer::new(encapsulation::IPIP | encapsulation::V4, true, v4()[0], v4()[1], (0, 0));
        assert_eq!(outer.length, 20);
        let mut header: [u8; 20] = outer.octets[..20].try_into().expect("as long");
        assert_eq!(header, [0x45, 0, 0, 0, 0, 0, 0x40, 0, 64, 4, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2]);
        let length_wire = 60u16.to_be();
        header[2..4].copy_from_slice(&length_wire.to_ne_bytes());
        header[10..12].copy_from_slice(&outer.checksum_wire(length_wire).to_ne_bytes());
        assert_eq!(checksum::full(0, &header), 0, "a header with its checksum sums up to nothing");
    }

    #[test]
    fn what_stands_between_says_what_follows() {
        let bits = |kind| kind | encapsulation::V4;
        let between = |outer: Outer| outer.octets[20..usize::from(outer.length)].to_vec();
        let made = |kind, inner_v4| between(Outer::new(bits(kind), inner_v4, v4()[0], v4()[1], (0xc123, 6080)));
        assert_eq!(made(encapsulation::GUE, true), [0xc1, 0x23, 0x17, 0xc0, 0, 0, 0, 0, 0, 4, 0, 0]);
        assert_eq!(made(encapsulation::GUE, false)[8..], [0, 41, 0, 0]);
        assert_eq!(made(encapsulation::FOU, true), [0xc1, 0x23, 0x17, 0xc0, 0, 0, 0, 0]);
        assert_eq!(made(encapsulation::GRE, true), [0, 0, 8, 0]);
        assert_eq!(made(encapsulation::GRE, false), [0, 0, 0x86, 0xdd]);
        assert_eq!(made(encapsulation::IPIP, true), []);
    }

    #[test]
    fn an_ipv6_header_is_as_rfc_8200_has_it() {
        let ends = [1, 2].map(|last| IpAddr::V6(Ipv6Addr::new(0xfd02, 0, 0, 0, 0, 0, 0, last)).into());
        let outer = Outer::new(encapsulation::FOU, true, ends[0], ends[1], (0xc000, 5555));
        assert_eq!((outer.length, outer.is_v4(), outer.has_udp()), (48, false, true));
        assert_eq!(outer.octets[..8], [0x60, 0, 0, 0, 0, 0, 17, 64]);
        assert_eq!((outer.octets[23], outer.octets[39]), (1, 2));
    }
}
