//! Fairway beside other implementations of VRRP on one link, in a lab of network namespaces. Needs root, keepalived and
//! FRR, which `cargo xtask test interop` unpacks. `scenarios` says what must hold beside any of them, `keepalived` and
//! `frr` in which versions and families, `bed` is how it is done.
//!
//! The tests wait far more than they compute: run them with more threads than cores.

mod bed;
mod frr;
mod keepalived;
mod scenarios;
