//! What Fairway's tests and benches share.

pub mod bench;
pub mod exchange;
pub mod failover;
pub mod guest;
pub mod harness;
pub mod packet;
pub mod vrrp;
