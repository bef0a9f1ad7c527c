//! Fairway's packet path and table layouts.
#![no_std]

pub mod limits;
pub mod slot;
