//! What the kernel does with packets in the name of threads that happen to run, as the bench of the exchange reads it: softirqs that receive
//! and send packets run when an interrupt ends, or when a thread that has sent something itself goes on; whoever that is, is charged.

use aya_ebpf::EbpfContext as _;
use aya_ebpf::helpers::bpf_ktime_get_ns;
use aya_ebpf::macros::{map, raw_tracepoint};
use aya_ebpf::maps::{HashMap, PerCpuArray};
use aya_ebpf::programs::RawTracePointContext;

/// `NET_TX_SOFTIRQ` and `NET_RX_SOFTIRQ` of `linux/interrupt.h`.
const PACKETS: core::ops::RangeInclusive<u32> = 2..=3;
/// Threads at a time.
const THREADS: u32 = 64;

/// Threads that are watched, by ID as the kernel counts them, and nanoseconds of packets in their name.
#[map]
static PACKETS_OF: HashMap<u32, u64> = HashMap::with_max_entries(THREADS, 0);
/// When that began which this CPU does now; 0: nothing of a watched thread's.
#[map]
static BEGUN: PerCpuArray<u64> = PerCpuArray::with_max_entries(1, 0);

/// Softirqs of a CPU do not interrupt each other: each begin has its end.
#[raw_tracepoint(tracepoint = "softirq_entry")]
pub fn softirq_entry(context: RawTracePointContext) -> i32 {
    let is_watched = PACKETS.contains(&context.arg::<u32>(0)) && PACKETS_OF.get_ptr(&context.pid()).is_some();
    if let (Some(begun), true) = (BEGUN.get_ptr_mut(0), is_watched) {
        // SAFETY: the element is this CPU's own; so is the clock.
        unsafe { *begun = bpf_ktime_get_ns() };
    }
    0
}

/// See [`softirq_entry`].
#[raw_tracepoint(tracepoint = "softirq_exit")]
pub fn softirq_exit(context: RawTracePointContext) -> i32 {
    let Some(begun) = BEGUN.get_ptr_mut(0) else { return 0 };
    // SAFETY: as above.
    let since = unsafe { core::mem::take(&mut *begun) };
    if let (Some(sum), true) = (PACKETS_OF.get_ptr_mut(&context.pid()), since != 0) {
        // SAFETY: a thread is on one CPU at a time, so nobody else writes its element.
        unsafe { *sum += bpf_ktime_get_ns() - since };
    }
    0
}
