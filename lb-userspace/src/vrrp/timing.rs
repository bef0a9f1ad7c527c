//! The formulas of section 6.1, in exact integer arithmetic, and what an interval may be.
//!
//! Version 3 scales the skew by the interval, version 2 does not: with 1-second advertisements both give the same, with
//! 10-second ones a version 2 backup of priority 100 still waits 609 ms where a version 3 one waits 6.09 s.

use std::ops::RangeInclusive;
use std::time::Duration;

use crate::config::VrrpVersion;

/// What the version 3 interval counts in.
pub const CENTISECOND: Duration = Duration::from_millis(10);
/// Twelve bits of centiseconds (RFC 9568 section 5.2.7; 0 is not an interval, erratum 8301): 40.95 s.
pub const LONGEST_V3: Duration = Duration::from_millis(40_950);
/// Eight bits of seconds (RFC 3768 section 5.3.7).
pub const LONGEST_V2: Duration = Duration::from_secs(255);
/// What the RFCs say: advertisements missed until the master is taken for dead.
pub const MISSED_ADVERTISEMENTS: u8 = 3;

/// Priorities are taken as a share of this.
const PRIORITIES: u32 = 256;

/// What an advertisement interval may be: whole centiseconds, or whole seconds in version 2.
pub fn intervals(version: VrrpVersion) -> RangeInclusive<Duration> {
    match version {
        VrrpVersion::V2 => Duration::from_secs(1)..=LONGEST_V2,
        VrrpVersion::V3 => CENTISECOND..=LONGEST_V3,
    }
}

/// Skew_Time: how much longer than others a backup of this priority waits. `interval` is the master's, as learned.
///
/// Version 3: ((256 - priority) * interval) / 256 (RFC 9568 section 6.1). Version 2: (256 - priority) / 256 seconds
/// (RFC 3768 section 6.1).
pub fn skew_time(version: VrrpVersion, priority: u8, interval: Duration) -> Duration {
    let scale = match version {
        VrrpVersion::V2 => Duration::from_secs(1),
        VrrpVersion::V3 => interval,
    };
    scale * (PRIORITIES - u32::from(priority)) / PRIORITIES
}

/// Active_Down_Interval (version 2: Master_Down_Interval): how long a backup hears nothing until it takes over.
///
/// `missed_advertisements` * interval + Skew_Time; the RFCs' multiplier is [`MISSED_ADVERTISEMENTS`].
pub fn active_down_interval(
    version: VrrpVersion,
    priority: u8,
    interval: Duration,
    missed_advertisements: u8,
) -> Duration {
    interval * u32::from(missed_advertisements) + skew_time(version, priority, interval)
}

#[cfg(test)]
mod tests {
    use VrrpVersion::{V2, V3};

    use super::*;

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn skew_of_version_3_is_scaled_by_the_interval() {
        let cases = [
            (100, seconds(1), Duration::from_micros(609_375)),
            (254, seconds(1), Duration::from_nanos(7_812_500)),
            (254, Duration::from_millis(100), Duration::from_nanos(781_250)),
            (255, CENTISECOND, Duration::from_nanos(39_062)),
            (100, seconds(10), Duration::from_micros(6_093_750)),
            (1, LONGEST_V3, Duration::from_nanos(40_790_039_062)),
            (0, seconds(1), seconds(1)),
        ];
        for (priority, interval, skew) in cases {
            assert_eq!(skew_time(V3, priority, interval), skew, "priority {priority}, interval {interval:?}");
        }
    }

    #[test]
    fn skew_of_version_2_is_not_scaled_by_the_interval() {
        for interval in [seconds(1), seconds(10), LONGEST_V2] {
            assert_eq!(skew_time(V2, 100, interval), Duration::from_micros(609_375), "interval {interval:?}");
            assert_eq!(skew_time(V2, 254, interval), Duration::from_nanos(7_812_500), "interval {interval:?}");
        }
    }

    #[test]
    fn a_master_is_dead_after_so_many_intervals_and_the_skew() {
        let cases = [
            (V3, 100, seconds(1), 3, Duration::from_micros(3_609_375)),
            (V3, 100, CENTISECOND, 3, Duration::from_nanos(36_093_750)),
            (V3, 254, CENTISECOND, 10, Duration::from_nanos(100_078_125)),
            (V2, 100, seconds(1), 3, Duration::from_micros(3_609_375)),
            (V2, 100, seconds(10), 3, Duration::from_micros(30_609_375)),
        ];
        for (version, priority, interval, missed, expected) in cases {
            let found = active_down_interval(version, priority, interval, missed);
            assert_eq!(found, expected, "{version:?}, priority {priority}, {missed} times {interval:?}");
        }
    }

    #[test]
    fn the_longest_wait_fits() {
        let longest = active_down_interval(V2, 1, LONGEST_V2, u8::MAX);
        assert_eq!(longest, LONGEST_V2 * 255 + skew_time(V2, 1, LONGEST_V2));
    }

    #[test]
    fn intervals_are_those_that_fit_the_field() {
        assert_eq!(intervals(V3), Duration::from_millis(10)..=Duration::from_millis(40_950));
        assert_eq!(intervals(V2), seconds(1)..=seconds(255));
    }
}
