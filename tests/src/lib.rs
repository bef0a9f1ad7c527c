//! Fairway tests

pub mod bench;
