//! BFD: finding out within milliseconds that a neighbour one hop away no longer answers (RFC 5880, RFC 5881).
//!
//! Asynchronous mode, single hop, no authentication, no echo. We never ask for demand mode, but a neighbour that does is
//! obeyed, and its polls are answered. Interoperates with FRR's bfdd.
//!
//! Pure: the engine hands in packets and the time and sends what comes out: with TTL 255, to UDP port 3784, from one port
//! above 49151 for each session (RFC 5881 sections 4 and 5).
//!
//! What a lost session means is the engine's to say. [`Change::Down`] with [`Diagnostic::DetectionTimeExpired`] says that
//! nothing is heard; with [`Diagnostic::NeighbourSignaledDown`] that the neighbour lives and has lost us, or has restarted.

mod jitter;
mod packet;
mod session;
mod sessions;
#[cfg(test)]
mod tests;

use std::time::Duration;

pub use packet::{BfdState, Diagnostic, Discard, Packet};
pub use session::Session;
pub use sessions::{Due, Sessions};

use jitter::Jitter;

/// What is configured of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Shortest time between packets that we send while the session is up.
    pub transmit_interval: Duration,
    /// Shortest time between packets that we take.
    pub receive_interval: Duration,
    /// Packets missed until the neighbour takes us for dead; at least 1.
    pub multiplier: u8,
}

/// What became of a session that was up, or that came up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// Both ends hear each other.
    Up,
    /// It was up and is not, for this reason.
    Down(Diagnostic),
    /// It was up, and the neighbour has shut it down on purpose: says nothing about the forwarding path.
    AdminDown,
}
