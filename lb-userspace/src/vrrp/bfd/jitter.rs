//! Spreads packets in time, so that many sessions do not beat together (RFC 5880 section 6.8.7). SplitMix64: chance enough
//! for that, and the same for the same seed.

use std::time::Duration;

#[derive(Clone, Debug)]
pub(super) struct Jitter(u64);

impl Jitter {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A share of the interval, in thousandths: 750 to 1000, with a multiplier of 1 at most 900, since then the very first
    /// late packet ends the session.
    pub fn share(&mut self, multiplier: u8) -> u32 {
        let most = if multiplier == 1 { 900 } else { 1000 };
        750 + (self.next() % (most - 750 + 1)) as u32
    }
}

/// That share of an interval.
pub(super) fn part(interval: Duration, thousandths: u32) -> Duration {
    interval * thousandths / 1000
}
