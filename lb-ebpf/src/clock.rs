//! The kernel's timer, as a clock: the number of its ticks is one load, where a helper that tells the time is called, and calls others.
//! Each return takes processors that return with care as long as several look-ups.

use core::ptr;

use aya_ebpf::helpers::generated::bpf_jiffies64;

/// Nanoseconds of a tick, which who loads the object knows.
#[unsafe(no_mangle)]
static TICK_NANOSECONDS: u64 = 0;

/// Nanoseconds in whole ticks, since a little before the kernel started.
#[inline(always)]
pub fn ticked() -> u64 {
    // SAFETY: the word is written before the program is loaded, which the compiler does not know.
    let tick = unsafe { ptr::read_volatile(&raw const TICK_NANOSECONDS) };
    // SAFETY: a helper without arguments, which the kernel replaces by a load.
    unsafe { bpf_jiffies64() }.wrapping_mul(tick)
}
