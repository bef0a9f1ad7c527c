//! Reserved addresses: what a probe of a `direct` or `tunnel` backend connects to, in place of the service's address.
//!
//! Clients' packets reach such a backend with the service's address as their destination. A socket cannot send the like:
//! on the node that holds that address it is its own, and with several backends behind one address it would not say which is
//! meant. So each target has an address of its own, from the ranges that are set aside for benchmarking devices and appear on no
//! network in service (RFC 2544 and RFC 5180). The program on the steering device makes the service's address of it on the
//! way out, `path::probe` turns it back on the way in.

use crate::address::Address;

/// The reserved IPv4 range: `198.18.0.0/15`.
pub const V4: ([u8; 4], u8) = ([198, 18, 0, 0], 15);
/// The reserved IPv6 range: `2001:2::/48`.
pub const V6: ([u16; 8], u8) = ([0x2001, 2, 0, 0, 0, 0, 0, 0], 48);

/// The MAC address of the steering device, and that of its other end: answers are sent in by the latter.
pub const DEVICE_MAC: [u8; 6] = [2, b'f', b'w', b'p', b'b', 0];
/// See [`DEVICE_MAC`].
pub const OTHER_MAC: [u8; 6] = [2, b'f', b'w', b'p', b'b', 1];

/// The range as it lies in an address: its octets in memory order, and which of them count.
const V4_WIRE: u32 = u32::from_ne_bytes(V4.0);
const V4_HOST: u32 = (1 << (32 - V4.1)) - 1;
const V6_HIGH: u64 = u64::from_ne_bytes([0x20, 0x01, 0, 2, 0, 0, 0, 0]);

/// What a local number is taken from: ports of TCP and of UDP, and identifiers of echo requests, are apart.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(u32)]
pub enum Kind {
    /// A TCP port.
    Tcp,
    /// A UDP port.
    Udp,
    /// The identifier of an ICMP or ICMPv6 echo request.
    Echo,
}

/// Local numbers of all kinds together.
pub const PLACES: usize = 3 << 16;

/// Where the target of a local port or identifier is noted.
#[inline(always)]
pub const fn place(kind: Kind, number: u16) -> u32 {
    (kind as u32) << 16 | number as u32
}

/// The reserved address of a target.
#[inline(always)]
pub const fn reserved(index: u32, v4: bool) -> Address {
    let host = (index + 1).to_be();
    if v4 { Address::from_v4_wire(V4_WIRE | host) } else { Address { high: V6_HIGH, low: (host as u64) << 32 } }
}

/// The target whose reserved IPv4 address lies in memory as `wire`.
#[inline(always)]
pub const fn target_v4(wire: u32) -> Option<u32> {
    let host = u32::from_be(wire) & V4_HOST;
    if u32::from_be(wire) - host != u32::from_be(V4_WIRE) || host == 0 { None } else { Some(host - 1) }
}

/// The target whose reserved IPv6 address this is.
#[inline(always)]
pub const fn target_v6(address: Address) -> Option<u32> {
    let host = u32::from_be((address.low >> 32) as u32);
    if address.high != V6_HIGH || address.low as u32 != 0 || host == 0 { None } else { Some(host - 1) }
}

#[cfg(test)]
mod tests {
    use core::net::IpAddr;

    use super::*;
    use crate::limits::PROBE_TARGETS;

    fn target(address: &str) -> Option<u32> {
        let address = Address::from(address.parse::<IpAddr>().expect("literal"));
        if address.is_v4() { target_v4(address.v4_wire()) } else { target_v6(address) }
    }

    #[test]
    fn a_target_has_the_address_after_its_number() {
        for (index, v4, v6) in [(0, "198.18.0.1", "2001:2::1"), (255, "198.18.1.0", "2001:2::100")] {
            assert_eq!(IpAddr::from(reserved(index, true)), v4.parse::<IpAddr>().expect("literal"));
            assert_eq!(IpAddr::from(reserved(index, false)), v6.parse::<IpAddr>().expect("literal"));
        }
    }

    #[test]
    fn every_target_is_found_by_its_address() {
        for index in (0..PROBE_TARGETS as u32).step_by(97).chain([PROBE_TARGETS as u32 - 1]) {
            assert_eq!(target_v4(reserved(index, true).v4_wire()), Some(index));
            assert_eq!(target_v6(reserved(index, false)), Some(index));
        }
    }

    #[test]
    fn other_addresses_are_no_targets() {
        for address in [
            "198.18.0.0",
            "198.17.255.255",
            "198.20.0.1",
            "10.0.0.1",
            "2001:2::",
            "2001:2:0:1::1",
            "2001:3::1",
            "2001:2::1:0:0:1",
        ] {
            assert_eq!(target(address), None, "{address}");
        }
    }

    #[test]
    fn places_of_different_kinds_are_apart() {
        assert_eq!(place(Kind::Tcp, u16::MAX) + 1, place(Kind::Udp, 0));
        assert_eq!(place(Kind::Udp, u16::MAX) + 1, place(Kind::Echo, 0));
        assert_eq!(place(Kind::Echo, u16::MAX) as usize + 1, PLACES);
    }
}
