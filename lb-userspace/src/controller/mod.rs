//! The pure heart of the daemon: events in, effects out.

pub mod view;
