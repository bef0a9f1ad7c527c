//! The exchange: what a pair shares so that a failover loses nothing. The lookup tables are the same on both nodes without a word;
//! what they cannot know is told: the records of flows that the table would get wrong, which slots have two owners and since
//! when, and the effective weights that tables are made from.
//!
//! **Who tells whom.** A *realm* is the services that follow one virtual router. Its master tells, the other node follows. Each node
//! opens one connection to the other and *tells* on it, whatever it is master of; so there are two connections, one for each
//! direction, and nobody has to agree on who connects. [`machine::Exchange`] is both ends at once, `handle(now, event) -> effects`.
//!
//! **Epochs.** Who becomes master of a realm *claims* it with a higher epoch than any it has heard of. A follower takes a realm only
//! by a claim that is not older than the one it knows, from a node that is not followed already by a newer one, and never while it is
//! master itself; so what a master of yesterday still has to say changes nothing. It is told that its claim is old, and
//! if it is master all the same (VRRP says who is), it claims anew. A claim begins with *all* items of the realm (the *bulk*);
//! at its end the follower drops what was not in it, so no item of an older epoch survives. What changes while it is told is told
//! between its items: the newest flows are those that a failover must not lose.
//!
//! **Last words.** Who hands over in good order has said its last items a moment after the other became master. For
//! a second these are taken as *late*: what is not there yet is added, nothing is removed, and nothing is replaced but records of which no packet
//! has come to the new master since. So the old master can complete what the new one has, and nothing more. Until it hears who has taken over
//! clients' packets come to it, and its words go on; a moment after that it says that this was all. Until then
//! the packet path of the new master drops what only a record could tell the backend of, rather than guess
//! ([`machine::Exchange::awaits_records`]): TCP sends it again; and its bulk has no records yet, since those of the old master may be younger
//! and packets still come to them. From a node that is dead nothing is waited for.
//!
//! **Words** ([`word`]) are said besides, of nothing that anybody claims: a sample of the master's decisions, for [`rehearsal`];
//! what operators want, where the later word counts (`health::pool::intent::said`); and what checks say, for a node that knows nothing yet.
//!
//! **Order.** Connections are TCP, which orders and repeats; what it cannot do is done here. Messages have numbers: one that was
//! there is ignored, one too far ahead ends the session, and the next session begins with a bulk. Both ends give up a session
//! on which nothing was heard for [`machine::DEADLINE`], so a half-open connection ends by itself.
//!
//! **Bounds.** What has changed and is not told yet is a set by key, so a flow that changes a thousand times is told once. It has a
//! limit; beyond, it is thrown away and a bulk is due. At most [`machine::WINDOW`] messages are under way and
//! [`machine::BURST`] begin in one interval, which bounds bandwidth and the memory of sockets. Whatever a peer says has limits of its own
//! ([`item`]), and what is of a kind that this version does not know is passed over and counted.
//!
//! **Times** travel by the teller's clock, with its present time in each message; the follower translates.
//!
//! **Trust** ([`seal`]): both ends prove the key of `[peer]` with a greeting that has a fresh random number; every frame after that has
//! an HMAC under a key of that session, with a counter. Recordings open no session and continue none.
//!
//! Indices differ between nodes: services go by name, backends by identity ([`crate::reconcile::placed::identity_of`]); the teller says
//! which identity its indices stand for ([`item::Value::Backends`]) before it uses them.

pub mod agreement;
pub mod changes;
pub mod directory;
mod dirty;
pub mod foreign;
pub mod gather;
pub mod item;
mod late;
mod linear_table;
pub mod machine;
pub mod message;
pub mod pairs;
pub mod party;
pub mod readiness;
mod realm;
pub mod rehearsal;
pub mod seal;
pub mod store;
pub mod stored;
pub mod tables;
#[cfg(test)]
mod tests;
pub mod told;
pub mod translation;
pub mod translations;
pub mod view;
pub mod walk;
pub mod word;

use std::time::Duration;

pub use item::{FlowId, Key, Value};
pub use machine::{Direction, Effect, Event, Exchange};
pub use message::{Answer, Body, Message};
pub use word::Word;

/// A time as it is told, and as records have it.
fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
