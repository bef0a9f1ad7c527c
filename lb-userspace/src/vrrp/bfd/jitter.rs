//! Spreads packets in time, so that many sessions do not beat together (RFC 5880 section 6.8.7), the same for the same seed.

use std::time::Duration;

use crate::random::Random;

#[derive(Clone, Debug)]
pub(super) struct Jitter(Random);

impl Jitter {
    pub fn new(seed: u64) -> Self {
        Self(Random(seed))
    }

    pub fn next(&mut self) -> u64 {
        self.0.next()
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
