//! The time that all figures are differences of, and threads that are on time.

use std::process::{Command, Stdio};

use nix::sys::prctl;
use nix::time::{ClockId, clock_gettime};
use nix::unistd::gettid;

/// Below the realtime priorities of what is measured.
const PRIORITY: &str = "10";

/// Nanoseconds of the monotonic clock.
pub fn now() -> u64 {
    let time = clock_gettime(ClockId::CLOCK_MONOTONIC).expect("every Linux has it");
    let (seconds, nanoseconds) = (time.tv_sec().unsigned_abs(), time.tv_nsec().unsigned_abs());
    seconds * 1_000_000_000 + nanoseconds
}

/// Makes the calling thread run when it is due, as far as the machine permits: client and servers share its processors with
/// the balancers, and how long they wait for one is no property of a failover.
pub fn be_punctual() {
    // Otherwise the kernel may add 50 microseconds to every pause.
    let _ = prctl::set_timerslack(1);
    let mut chrt = Command::new("chrt");
    chrt.args(["--fifo", "--pid", PRIORITY, &gettid().to_string()]).stdout(Stdio::null()).stderr(Stdio::null());
    // Where it is not permitted the control run shows what that costs.
    let _ = chrt.status();
}
