//! What the programs share that run inside virtual machines.

pub mod balancer;
