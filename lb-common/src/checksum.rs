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

/// One less in the time to live of an IPv4 header, which is not 0: the word of time to live, protocol and checksum after the hop. The sum
/// of the header becomes one less, so the checksum one more, as [`Difference::apply`] has it.
#[inline(always)]
pub const fn hop(word: u32) -> u32 {
    const ONE_IN_CHECKSUM: u32 = 1 << 16;
    let hopped = word.wrapping_add(ONE_IN_CHECKSUM - 1);
    // One more than 0xfffe and 0xffff in ones' complement is 0 and 1.
    if word >= 0xfffe_0000 { hopped.wrapping_add(ONE_IN_CHECKSUM) } else { hopped }
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

/// The same of a sum below 2^24, of a few words say: in fewer steps.
#[inline(always)]
pub const fn fold_short(sum: u32) -> u16 {
    let sum = (sum >> 16) + (sum & 0xffff);
    ((sum >> 16) + sum) as u16
}

/// The checksum of `bytes` on top of `initial` (an unfolded sum, for a pseudo-header), as it lies on the wire.
pub fn full(initial: u64, bytes: &[u8]) -> u16 {
    let sum = bytes
        .chunks(2)
        .fold(initial, |sum, pair| sum + u16::from_ne_bytes([pair[0], pair.get(1).copied().unwrap_or(0)]) as u64);
    !fold(sum)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HEADER: usize = 60;

    fn words() -> impl Strategy<Value = [u8; HEADER]> {
        // Octets of all ones and all zeros are where carries and the two zeros of ones' complement are.
        prop::array::uniform(prop_oneof![3 => any::<u8>(), 1 => Just(0), 1 => Just(0xff)])
    }

    fn word(octets: &[u8], at: usize) -> u32 {
        u32::from_ne_bytes([octets[at], octets[at + 1], octets[at + 2], octets[at + 3]])
    }

    /// What changed between two headers, in words of four octets.
    fn difference(old: &[u8; HEADER], new: &[u8; HEADER]) -> Difference {
        (0..HEADER).step_by(4).fold(Difference::NONE, |sum, at| sum.double(word(old, at), word(new, at)))
    }

    proptest! {
        #[test]
        fn an_incremental_checksum_equals_the_full_one(old in words(), new in words()) {
            // A header has a version at least: of nothing but zeros the two zeros of ones' complement could not be told.
            prop_assume!(old != [0; HEADER] && new != [0; HEADER]);
            prop_assert_eq!(difference(&old, &new).apply(full(0, &old)), full(0, &new));
        }

        #[test]
        fn an_incremental_udp_checksum_equals_the_full_one(old in words(), new in words()) {
            prop_assume!(old != [0; HEADER] && new != [0; HEADER]);
            let sent = |sum| if sum == 0 { 0xffff } else { sum };
            prop_assert_eq!(difference(&old, &new).apply_udp(sent(full(0, &old))), sent(full(0, &new)));
        }

        #[test]
        fn no_udp_checksum_stays_none(old in words(), new in words()) {
            prop_assert_eq!(difference(&old, &new).apply_udp(0), 0);
        }

        #[test]
        fn a_change_and_its_reverse_leave_the_checksum(old in words(), new in words()) {
            prop_assume!(old != [0; HEADER]);
            let there_and_back = difference(&old, &new).and(difference(&new, &old));
            prop_assert_eq!(there_and_back.apply(full(0, &old)), full(0, &old));
        }

        #[test]
        fn words_of_two_octets_and_addresses_add_up_alike(old in any::<[u8; 16]>(), new in any::<[u8; 16]>()) {
            let half = |octets: &[u8; 16], at: usize| u16::from_ne_bytes([octets[at], octets[at + 1]]);
            let by_words = (0..16).step_by(2).fold(Difference::NONE, |sum, at| sum.word(half(&old, at), half(&new, at)));
            let by_address = Difference::NONE.address(zerocopy::transmute!(old), zerocopy::transmute!(new));
            prop_assert_eq!(by_words.apply(0x1234), by_address.apply(0x1234));
        }
    }

    #[test]
    fn a_short_sum_folds_as_any_other() {
        for sum in (0..1u32 << 24).step_by(7).chain(0x3f_0000..0x41_0000) {
            assert_eq!(fold_short(sum), fold(u64::from(sum)), "{sum:06x}");
        }
    }

    #[test]
    fn a_hop_is_what_the_difference_of_the_word_gives() {
        for checksum in 0..=u16::MAX {
            for ttl in [1u16, 2, 64, 255] {
                let [old, new] = [ttl | 17 << 8, (ttl - 1) | 17 << 8];
                let word = u32::from(new) | u32::from(Difference::NONE.word(old, new).apply(checksum)) << 16;
                assert_eq!(hop(u32::from(old) | u32::from(checksum) << 16), word, "{checksum:04x}, {ttl}");
            }
        }
    }

    #[test]
    fn the_example_of_rfc_1624_section_4_comes_out_right() {
        let difference = Difference::NONE.word(0x5555u16.to_be(), 0x3285u16.to_be());
        assert_eq!(difference.apply(0xdd2fu16.to_be()), 0x0000);
    }

    #[test]
    fn an_odd_octet_counts_as_padded() {
        assert_eq!(full(0, &[0x12, 0x34, 0x56]), full(0, &[0x12, 0x34, 0x56, 0]));
    }
}
