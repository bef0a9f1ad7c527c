//! The failover bench: how long a service is away when something happens to the balancer that serves it, for Fairway and
//! for keepalived, round by round beside each other.
//!
//! [`plan`] says what is measured, [`round`] does one round in a [`cluster`], [`prober`] and [`connections`] are its
//! clients and [`servers`] what answers them, [`report`] writes it down. The program is `src/bin/failover.rs`.

pub mod churn;
pub mod clock;
pub mod cluster;
pub mod connections;
pub mod daemon;
pub mod idle;
pub mod offer;
pub mod outage;
pub mod plan;
pub mod prober;
pub mod report;
pub mod round;
pub mod servers;
pub mod steal;
