//! The peer link: authenticated heartbeats between the two nodes of a pair, on every path they share, so that a dead peer is
//! noticed after a few heartbeats whatever VRRP's interval is, and so that a node can say "I hand over" where VRRP cannot.
//!
//! It decides nothing about mastership: it says who is heard and what the other node says of its virtual routers. The engine
//! feeds it datagrams and the time, and sends what it returns.
//!
//! **Trust.** Each datagram carries a random number drawn at process start (`boot`) and the receiver's one as last heard.
//! One that does not name our present boot proves nothing and is only answered, so recordings of earlier lives of either
//! side revive nobody; numbers within a life only rise. What remains: somebody *on* the path who holds back datagrams can
//! deliver each of them once, late. Such a neighbour could as well forge VRRP itself.
//!
//! **Same moment on all paths.** Heartbeats are not spread in time over the paths: a change must reach the peer on all of
//! them at once anyway, one wake-up serves all, and a path is judged by its own gaps, which spreading does not shorten.

mod key;
mod link;
mod message;
mod outbox;
mod path;
mod remote;
#[cfg(test)]
mod tests;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

pub use key::{KeyError, LONGEST_KEY, SHORTEST_KEY, parse_key};
pub use link::PeerLink;
pub use message::Refusal;

use super::view::State;

/// Virtual routers that one side can report; more are not configurable.
pub const MAX_REPORTS: usize = 1_024;

/// What a node says of one of its virtual routers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouterReport {
    /// Its name, at most 255 octets of UTF-8; the pair knows its routers by it.
    pub name: Arc<str>,
    /// Its state.
    pub state: State,
    /// Its priority with all terms.
    pub effective_priority: u8,
    /// Its advertisement interval, carried as whole centiseconds (rounded down).
    pub interval: Duration,
    /// It could serve at once if it became master.
    pub ready: bool,
    /// An operator made it resign, or the node is stopping.
    pub resigned: bool,
}

/// What changed on the peer link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PeerNews {
    /// The peer is heard: after silence, or for the first time.
    Alive,
    /// The peer is silent on every path. Its last reports stay readable.
    Silent,
    /// The peer is heard on this path.
    PathAlive(IpAddr),
    /// The peer is no longer heard on this path.
    PathSilent(IpAddr),
    /// The peer, which we hear, no longer hears us on any path: a master advertises at once. Once an episode.
    Unheard,
    /// The peer says something new of its virtual routers.
    Reports,
    /// The peer is another process than before; its reports begin anew.
    Restarted,
}
