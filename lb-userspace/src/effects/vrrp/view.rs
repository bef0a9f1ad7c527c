//! What the thread says of itself, beside the engine's snapshot.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::Serialize;

/// The VRRP thread's own state.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ThreadView {
    /// It has a real-time priority, or why not and what to do.
    pub realtime: Result<(), String>,
    /// Its memory is locked, or why not and what to do.
    pub locked: Result<(), String>,
    /// Times it woke up.
    pub wakeups: u64,
    /// Of those with a deadline, times it was more than [`super::LATE`] after it.
    pub late_wakeups: u64,
    /// The worst of all, after a deadline.
    pub worst_lateness: Duration,
    /// Failures by what was attempted and how it failed: `send an advertisement: ENETDOWN`.
    pub failures: BTreeMap<String, u64>,
    /// What is wrong at present, in words.
    pub problems: BTreeSet<String>,
    /// Outputs that nobody took in time.
    pub outputs_dropped: u64,
    /// Times that a socket had more packets than are read at a time.
    pub floods: u64,
    /// Times that the kernel's announcements overran their buffer.
    pub overruns: u64,
}

impl ThreadView {
    pub(super) fn new(realtime: Result<(), String>, locked: Result<(), String>) -> Self {
        Self {
            realtime,
            locked,
            wakeups: 0,
            late_wakeups: 0,
            worst_lateness: Duration::ZERO,
            failures: BTreeMap::new(),
            problems: BTreeSet::new(),
            outputs_dropped: 0,
            floods: 0,
            overruns: 0,
        }
    }
}
