//! The exchange bench: what it costs a pair to share connections, and how long a node that comes back waits for all of them.
//!
//! [`flood`] begins connections at the master at a steady rate, [`node`] are the two nodes and what their threads have used, and
//! [`softirqs`] says how much of that were packets. The program is `src/bin/exchange.rs`.

pub mod flood;
pub mod node;
pub mod softirqs;

use std::time::Duration;

use crate::failover::clock::now;

/// Time since a moment on [`now`]'s clock.
pub fn since(moment: u64) -> Duration {
    Duration::from_nanos(now() - moment)
}
