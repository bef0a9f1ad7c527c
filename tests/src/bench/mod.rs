//! What Fairway costs a packet, in nanoseconds, beside floors that no balancer can go below. `docs/benchmarks.md` says
//! how it is measured; `bin/bench.rs` is the command.
//!
//! [`rows`] lists what is measured, over the tables of [`fixture`] and the packets of [`traffic`]; [`harness`] runs all of
//! it interleaved and checks that each packet took the way that its row is about; [`report`] prints.

pub mod fixture;
pub mod harness;
pub mod report;
pub mod rows;
pub mod traffic;
