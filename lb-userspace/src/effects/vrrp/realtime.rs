//! Real-time scheduling and locked memory: asked for once, at the start; where refused, with what to do.
//!
//! No limit is set on the time at real-time priority (`RLIMIT_RTTIME`): the thread sleeps after each round, which is what
//! the kernel counts from, and should it ever not, `kernel.sched_rt_runtime_us` leaves a twentieth to everybody else.

use std::io;

use nix::sys::prctl;
use nix::sys::signal::SigSet;

use super::sys;

/// Real-time priority of the VRRP thread: a middle place, as keepalived and others take; the supervisor is one above it.
pub const PRIORITY: i32 = 50;
/// Without real-time priority the kernel may put a wake-up off by 50 µs; so it does not.
const TIMER_SLACK_NS: libc::c_ulong = 1;

/// What was granted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Granted {
    /// SCHED_FIFO, or why not and what to do.
    pub realtime: Result<(), String>,
    /// Locked memory, or why not and what to do.
    pub locked: Result<(), String>,
}

/// Locks the memory and makes the calling thread punctual.
pub fn settle() -> Granted {
    // In this order: to fault the whole process in takes the kernel a tenth of a second, which at real-time priority would
    // keep everybody from the processor.
    let locked = locked();
    Granted { realtime: be_punctual(), locked }
}

/// Makes the calling thread as punctual as is permitted, and deaf to signals, which others handle.
///
/// # Errors
/// In words, what was not granted, and what to do.
pub fn be_punctual() -> Result<(), String> {
    let _ = SigSet::all().thread_block();
    let _ = prctl::set_timerslack(TIMER_SLACK_NS);
    realtime()
}

/// Of a thread that should run soon after it is woken, but never before those at real-time priority.
const NICE: i32 = -10;

/// Lets the calling thread run before ordinary ones. Where that is not permitted it is as soon as they are.
pub fn be_prompt() {
    let _ = sys::set_nice(NICE);
}

fn realtime() -> Result<(), String> {
    sys::become_realtime(PRIORITY).map_err(|error| {
        let advice = match error.raw_os_error() {
            Some(libc::EPERM) => {
                "grant CAP_SYS_NICE (systemd: AmbientCapabilities=CAP_SYS_NICE) or LimitRTPRIO=50; \
                in a control group with cpu.rt_runtime_us = 0, raise that"
            }
            _ => "the kernel does not offer it",
        };
        format!("no real-time priority: {error}; {advice}")
    })
}

fn locked() -> Result<(), String> {
    sys::lock_memory().map_err(|error: io::Error| {
        format!("memory is not locked: {error}; grant CAP_IPC_LOCK or LimitMEMLOCK=infinity")
    })
}
