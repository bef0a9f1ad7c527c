//! Schedulers and the lookup tables they fill: which backend owns which slot, and how a slot changes hands.
//!
//! Pure: no clock, no map, no I/O. Time is an argument, a [`std::time::Duration`] since any fixed start of a monotonic
//! clock; the only rule is that all calls on one pool, and the last-seen times of its flow records, use the same one.
//!
//! - [`maglev`]: from a set of weighted backends to a table of owners. Knows nothing of history.
//! - [`slots`]: from one table of owners to the next without moving a flow: the two-owner state machine.
//! - [`pool`]: the backends of a service with their stable indices, on top of both. The reconciler calls this one.

pub mod maglev;
pub mod pool;
pub mod seed;
pub mod slots;
