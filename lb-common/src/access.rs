//! How often clients may come: a bucket of tokens in one word.
//!
//! The word is the time at which the bucket is full again (the *generic cell rate algorithm*, ITU-T I.371, keeps the same). A
//! connection takes a token, which puts that time off by what it takes to make one; it is refused when the bucket lacks all of its
//! tokens. So nothing has to fill buckets up, a bucket that nobody knows is full, and CPUs share one by compare-and-exchange.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::flow::SECOND;

/// How many new connections are let in. All zero: any number.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Limit {
    /// Nanoseconds until a bucket has one token more.
    pub interval: u64,
    /// How far ahead of now, in nanoseconds, a bucket may be due to be full and still give a token.
    pub tolerance: u64,
}

/// Clocks that cost next to nothing tick so often in a second, at least: what comes in between comes at once.
const TICKS: u32 = 100;

impl Limit {
    /// So many in a second in the long run, and `burst` at once: the size of the bucket. It holds at least what may come in between
    /// two ticks of the clock, or the limit would be lower than it says. Neither is 0.
    pub const fn new(per_second: u32, burst: u32) -> Self {
        let least = per_second.div_ceil(TICKS);
        let size = if burst > least { burst } else { least };
        let interval = SECOND / per_second as u64;
        Self { interval, tolerance: interval * (size as u64 - 1) }
    }

    /// Whether there is no limit.
    #[inline(always)]
    pub const fn is_none(&self) -> bool {
        self.interval == 0
    }

    /// Takes a token out of a bucket that is full again when `due`: when it is then, or `None` if it holds no token.
    #[inline(always)]
    pub const fn take(&self, due: u64, now: u64) -> Option<u64> {
        let due = if due > now { due } else { now };
        if due - now > self.tolerance { None } else { Some(due + self.interval) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of connections at these times, in nanoseconds, those that are let in.
    fn let_in(limit: Limit, times: impl IntoIterator<Item = u64>) -> usize {
        let mut due = 0;
        let mut take = |now: &u64| limit.take(due, *now).map(|after| due = after).is_some();
        times.into_iter().filter(|now| take(now)).count()
    }

    #[test]
    fn a_bucket_that_nobody_knows_is_full() {
        assert_eq!(let_in(Limit::new(10, 7), [5 * SECOND; 20]), 7);
        assert_eq!(let_in(Limit::new(10, 1), [5 * SECOND; 20]), 1);
    }

    #[test]
    fn tokens_come_back_one_by_one() {
        let limit = Limit::new(10, 3);
        let tenth = SECOND / 10;
        assert_eq!(let_in(limit, [0, 0, 0, 0].into_iter().chain([tenth, tenth])), 4);
        assert_eq!(let_in(limit, [0, 0, 0, 0].into_iter().chain([tenth - 1])), 3);
        assert_eq!(let_in(limit, [0, 0, 0, 0].into_iter().chain([100 * SECOND; 9])), 6, "it never holds more");
    }

    #[test]
    fn who_keeps_to_the_limit_is_never_refused() {
        for per_second in [1, 3, 10, 999, 100_000, 10_000_000] {
            let limit = Limit::new(per_second, 1);
            assert_eq!(let_in(limit, (0..5000).map(|n| n * limit.interval)), 5000, "{per_second} a second");
        }
    }

    #[test]
    fn a_clock_that_ticks_rarely_does_not_lower_the_limit() {
        // 1000 a second, four ticks of which each bring ten times as many.
        let limit = Limit::new(1000, 1);
        let arrivals = (0..250).flat_map(|tick| [tick * 4_000_000; 40]);
        let let_in = let_in(limit, arrivals);
        assert!((995..=1010).contains(&let_in), "{let_in}");
    }

    #[test]
    fn in_no_stretch_of_time_do_more_come_in_than_rate_and_burst_allow() {
        // Bursts and pauses of no regularity: multiples of a golden ratio.
        let (limit, burst) = (Limit::new(50, 20), 20);
        let mut due = 0;
        let mut now = 0u64;
        let (mut taken, mut count) = ([0u64; 20_000], 0);
        for step in 1..20_000u64 {
            now += step.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 38;
            if let Some(after) = limit.take(due, now) {
                due = after;
                taken[count] = now;
                count += 1;
            }
        }
        assert!(count > 1000, "{count}");
        for stretch in [10, 100, 1000] {
            for window in taken[..count].windows(stretch) {
                let lasted = window[stretch - 1] - window[0];
                let most = burst + lasted / limit.interval + 1;
                assert!(stretch as u64 <= most, "{stretch} in {lasted} ns");
            }
        }
    }

    #[test]
    fn a_clock_a_tick_behind_takes_no_harm() {
        let limit = Limit::new(1, 2);
        assert_eq!(limit.take(5 * SECOND, 5 * SECOND - 1), Some(6 * SECOND));
    }
}
