//! Virtual routers in a lab of network namespaces: Fairway beside other implementations of VRRP on one link, and two of
//! Fairway with what a pair is for. Needs root, and what `cargo xtask test interop` unpacks: keepalived, FRR, HAProxy, nginx.
//!
//! `scenarios` says what must hold beside any other implementation, `keepalived` and `frr` in which versions and families,
//! `bed` is how it is done. `pair` is two of Fairway, each file one promise.
//!
//! The tests wait far more than they compute: run them with more threads than cores.

mod bed;
mod frr;
mod keepalived;
mod pair;
mod scenarios;
