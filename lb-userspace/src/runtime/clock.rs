//! The one place where the clocks are read. Everything else is told the time.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nix::time::{ClockId, clock_gettime};

/// Monotonic time since boot, the clock of the packet path (`bpf_ktime_get_coarse_ns` is at most a tick behind it).
pub fn now() -> Duration {
    let time = clock_gettime(ClockId::CLOCK_MONOTONIC).expect("Linux has a monotonic clock");
    Duration::from(time)
}

/// Seconds since the Unix epoch, for people and for metrics.
#[expect(clippy::disallowed_methods, reason = "the clock is read here so that nothing else does")]
pub fn wall() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}

/// Seconds since the Unix epoch at monotonic time 0.
pub fn epoch() -> f64 {
    wall() - now().as_secs_f64()
}
