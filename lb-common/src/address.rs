//! An IP address of either family as the packet path compares it: sixteen octets held as two machine words.
//!
//! IPv4 is held in its v4-mapped form (RFC 4291 section 2.5.5.2), so that one comparison, one hash and one table serve
//! both families. The words keep the octets in wire order: loading one from a packet swaps no bytes.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// An IPv6 address, or an IPv4 address in v4-mapped form.
#[repr(C)]
#[derive(
    Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
pub struct Address {
    /// Octets 0 to 7, as they lie in memory.
    pub high: u64,
    /// Octets 8 to 15, as they lie in memory.
    pub low: u64,
}

/// Octets 8 to 11 of a v4-mapped address, as the low half of [`Address::low`] on a little-endian machine.
const MAPPED: u64 = 0xffff_0000;

impl Address {
    /// The address whose four octets lie in memory as `wire`.
    #[inline(always)]
    pub const fn from_v4_wire(wire: u32) -> Self {
        Self { high: 0, low: (wire as u64) << 32 | MAPPED }
    }

    /// The four octets of an IPv4 address, as they lie in memory; of an IPv6 address its last four.
    #[inline(always)]
    pub const fn v4_wire(self) -> u32 {
        (self.low >> 32) as u32
    }

    /// Whether this is an IPv4 address.
    #[inline(always)]
    pub const fn is_v4(self) -> bool {
        self.high == 0 && self.low as u32 == MAPPED as u32
    }

    /// The leading `bits` of the sixteen octets, the others zero. More than 128 are 128.
    #[inline(always)]
    pub fn prefix(self, bits: u8) -> Self {
        let bits = bits as u32;
        let (high, low) = (if bits < 64 { bits } else { 64 }, bits.saturating_sub(64));
        Self { high: self.high & leading(high), low: self.low & leading(if low < 64 { low } else { 64 }) }
    }

    /// The sixteen octets in wire order.
    #[inline(always)]
    pub fn octets(self) -> [u8; 16] {
        zerocopy::transmute!(self)
    }
}

/// The mask of the first `bits`, at most 64, of eight octets as they lie in memory.
#[inline(always)]
const fn leading(bits: u32) -> u64 {
    // In two halves, since a shift by 64 is undefined.
    let ones = !((u64::MAX >> (bits / 2)) >> (bits - bits / 2));
    ones.to_be()
}

impl From<IpAddr> for Address {
    fn from(address: IpAddr) -> Self {
        let octets = match address {
            IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
            IpAddr::V6(v6) => v6.octets(),
        };
        zerocopy::transmute!(octets)
    }
}

impl From<Ipv4Addr> for Address {
    fn from(address: Ipv4Addr) -> Self {
        IpAddr::V4(address).into()
    }
}

impl From<Address> for IpAddr {
    fn from(address: Address) -> Self {
        Ipv6Addr::from(address.octets()).to_canonical()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_keeps_the_leading_bits() {
        let v6: Address = "2001:db8:ffff:ffff:ffff::ffff".parse::<IpAddr>().expect("an address").into();
        let v4: Address = Ipv4Addr::new(192, 0, 2, 255).into();
        for (address, bits, kept) in [
            (v6, 0, "::"),
            (v6, 1, "::"),
            (v6, 20, "2001::"),
            (v6, 36, "2001:db8:f000::"),
            (v6, 64, "2001:db8:ffff:ffff::"),
            (v6, 65, "2001:db8:ffff:ffff:8000::"),
            (v6, 128, "2001:db8:ffff:ffff:ffff::ffff"),
            (v6, 255, "2001:db8:ffff:ffff:ffff::ffff"),
            (v4, 96 + 24, "192.0.2.0"),
            (v4, 96 + 25, "192.0.2.128"),
            (v4, 128, "192.0.2.255"),
        ] {
            let kept: IpAddr = kept.parse().expect("an address");
            assert_eq!(IpAddr::from(address.prefix(bits)), kept, "{bits} bits of {}", IpAddr::from(address));
        }
    }

    #[test]
    fn both_families_survive_the_round_trip() {
        for text in ["10.0.0.1", "203.0.113.255", "fd00::1", "::1", "2001:db8:1:2:3:4:5:6"] {
            let address: IpAddr = text.parse().expect("literal");
            assert_eq!(IpAddr::from(Address::from(address)), address);
            assert_eq!(Address::from(address).is_v4(), address.is_ipv4());
        }
    }

    #[test]
    fn an_ipv4_address_loaded_from_the_wire_equals_the_parsed_one() {
        let wire = u32::from_ne_bytes([10, 1, 2, 3]);
        assert_eq!(Address::from_v4_wire(wire), Address::from(Ipv4Addr::new(10, 1, 2, 3)));
        assert_eq!(Address::from_v4_wire(wire).v4_wire(), wire);
    }
}
