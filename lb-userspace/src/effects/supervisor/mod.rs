//! The supervisor: a second process that releases what the daemon holds when the daemon cannot do it any more.
//!
//! A daemon that was killed, or that hangs, leaves its addresses behind, and two nodes own them. So the daemon writes its
//! testament whenever it becomes master of something or ceases to be, and beats a word of shared memory ([`Pulse`]). The
//! supervisor (`fairway supervise`, this binary again) reads both. When the daemon ends without having said so, or its pulse
//! stands still, it carries the testament out: a farewell advertisement of priority 0 for each virtual router, away with
//! the addresses, off with the live words. Another node then takes over within milliseconds.
//!
//! A daemon that only hung finds in the same memory that it was deposed ([`Pulse::deposed`]) before it does anything else,
//! and steps back.
//!
//! [`keeper`] is the daemon's side: it starts the supervisor, and starts it again. [`sentry`] is the other process;
//! [`vigil`] decides (pure) whether a pulse stands still, [`darkness`] (pure) which live words go off and when, [`release`]
//! prepares and carries out, [`apart`] keeps the process running when the daemon's is killed or starved; [`heritage`] is
//! what the next daemon gets of a dead one. [`message`] is what is said between the two.

mod apart;
mod darkness;
mod farewell;
pub mod heritage;
mod keeper;
mod message;
mod pulse;
mod release;
mod sentry;
mod vigil;

pub use keeper::{Handle, Options, start};
pub use pulse::Pulse;
pub use sentry::supervise;
