//! Scripted connections and which backend each got: recorded from the real IPVS, and decided by Fairway's rules.
//!
//! - [`script`]: the language of the files in `tests/data/ipvs`, script and record in one.
//! - [`control`]: telling the kernel's IPVS what to do.
//! - [`modes`]: what clients and servers see of a forwarding method.
//! - [`mark`]: how recorded files leave the virtual machine.
//! - [`records`]: the recorded files.
//! - [`replay`]: the book-keeping of IPVS around the rules of `lb_common::scheduler`, on plain memory.
//!
//! `cargo xtask record-ipvs` makes the records anew, by the program `ipvs-guest` inside a virtual machine with Debian's
//! kernel; `tests/conformance.rs` holds the rules to them.

pub mod control;
pub mod mark;
pub mod modes;
pub mod records;
pub mod replay;
pub mod script;
