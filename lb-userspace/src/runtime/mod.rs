//! The daemon: it owns the clock and carries out what the controller decides.

pub mod request;
