//! VRRP: who of several nodes holds which addresses. RFC 9568 (version 3), RFC 5798, RFC 3768 (version 2).
//!
//! Pure: [`engine::Engine`] takes what happened ([`event::Event`]) with the time, and says what is to be done
//! ([`effect::Effect`]). It reads no clock and opens no socket, so whole clusters run in simulation from a seed. Its shell
//! is `effects::vrrp`, a thread of its own.
//!
//! From the outside in: `engine` knows all virtual routers and what they have in common, `router` is the state machine of
//! one, `priority`, `announcer` and `schedule` are the parts that stand for themselves.

mod announcer;
pub mod bfd;
pub mod codec;
pub mod effect;
pub mod engine;
pub mod event;
mod outbox;
pub mod peer;
mod priority;
mod router;
mod schedule;
pub mod timing;
pub mod view;
mod words;

#[cfg(test)]
mod tests;
