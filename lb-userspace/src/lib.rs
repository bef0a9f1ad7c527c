//! Fairway's user space: the pure core (configuration, schedulers, reconciler, controller), and the thin shell that
//! performs its effects. ARCHITECTURE.md has the map.

pub mod cli;
pub mod config;
pub mod controller;
pub mod effects;
pub mod exchange;
pub mod happening;
pub mod health;
pub mod native;
pub mod nexthop;
pub mod own_client;
pub mod playground;
mod random;
pub mod reconcile;
pub mod runtime;
pub mod scheduler;
pub mod vrrp;
