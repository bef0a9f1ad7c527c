//! Internet checksums, whole and incremental (RFC 1071, RFC 1624).
//!
//! A sum is kept in 32 bits or more without folding; words are taken as they lie in memory, since the ones' complement
//! sum commutes with swapping bytes (RFC 1071 section 2B), so nothing on the packet path is swapped.

use crate::address::Address;

/// What a rewrite adds to the words under a checksum: new words minus old ones, in ones' complement.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Difference(u64);

impl Difference {
    /// No change.
    pub const NONE: Self = Self(0);

    /// One 16-bit word changed (both as they lie in memory).
    #[inline(always)]
    pub const fn word(self, old_wire: u16, new_wire: u16) -> Self {
        Self(self.0 + (!old_wire) as u64 + new_wire as u64)
    }

    /// Two adjacent 16-bit words changed.
    #[inline(always)]
    pub const fn double(self, old_wire: u32, new_wire: u32) -> Self {
        Self(self.0 + (!old_wire) as u64 + new_wire as u64)
    }

    /// An address changed; both of the same family.
    #[inline(always)]
    pub const fn address(self, old: Address, new: Address) -> Self {
        let sum =
            self.double(old.high as u32, new.high as u32).double((old.high >> 32) as u32, (new.high >> 32) as u32);
        sum.double(old.low as u32, new.low as u32).double((old.low >> 32) as u32, (new.low >> 32) as u32)
    }

    /// Both differences.
    #[inline(always)]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 + other.0)
    }

    /// The checksum after the change (RFC 1624 equation 3). Never turns a right checksum into a wrong one.
    #[inline(always)]
    pub const fn apply(self, checksum_wire: u16) -> u16 {
        !fold((!checksum_wire) as u64 + self.0)
    }

    /// As [`Self::apply`] for UDP, where zero on the wire means "no checksum" (RFC 768): zero stays zero, and a sum that
    /// comes out as zero is sent as all ones.
    #[inline(always)]
    pub const fn apply_udp(self, checksum_wire: u16) -> u16 {
        if checksum_wire == 0 {
            return 0;
        }
        match self.apply(checksum_wire) {
            0 => 0xffff,
            sum => sum,
        }
    }
}

/// A ones' complement sum folded to 16 bits.
#[inline(always)]
pub const fn fold(sum: u64) -> u16 {
    let sum = (sum >> 32) + (sum & 0xffff_ffff);
    let sum = (sum >> 32) + (sum & 0xffff_ffff);
    let sum = (sum >> 16) + (sum & 0xffff);
    let sum = (sum >> 16) + (sum & 0xffff);
    ((sum >> 16) + (sum & 0xffff)) as u16
}

/// The checksum of `bytes` on top of `initial` (an unfolded sum, for a pseudo-header), as it lies on the wire.
pub fn full(initial: u64, bytes: &[u8]) -> u16 {
    let sum = bytes
        .chunks(2)
        .fold(initial, |sum, pair| sum + u16::from_ne_bytes([pair[0], pair.get(1).copied().unwrap_or(0)]) as u64);
    !fold(sum)
}
