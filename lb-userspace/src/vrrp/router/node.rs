//! What all virtual routers of a node have in common, as one of them sees it.

use std::time::Duration;

/// The node.
#[derive(Debug)]
pub struct Node {
    /// When the engine began.
    pub started: Duration,
    /// Whether the data plane could take traffic, else why not.
    pub ready: Result<(), String>,
    /// It once could. What it lacks now is no reason to leave the addresses of a dead master to nobody.
    pub was_ready: bool,
    /// A node that hears no master takes over after so long even if it is not ready.
    pub ready_timeout: Duration,
    /// The other node of a pair; `None`: no peer link.
    pub peer: Option<PeerStanding>,
}

/// What the peer link says about the peer.
#[derive(Debug)]
pub struct PeerStanding {
    /// Time between heartbeats.
    pub heartbeat: Duration,
    /// Without a heartbeat for so long, the peer takes us for dead.
    pub detection: Duration,
    /// How long a node that stepped down or has just started does not preempt.
    pub hold: Duration,
    /// The two of us are all there are.
    pub pair: bool,
    /// The peer is heard on some path.
    pub alive: bool,
    /// Since when it is as it is.
    pub since: Duration,
}

impl Node {
    /// A node that has just started.
    pub fn new(now: Duration) -> Self {
        Self {
            started: now,
            ready: Err("the data plane has not reported yet".into()),
            was_ready: false,
            ready_timeout: Duration::ZERO,
            peer: None,
        }
    }

    /// The peer link is there and silent: since when.
    pub fn silent_since(&self) -> Option<Duration> {
        self.peer.as_ref().filter(|peer| !peer.alive).map(|peer| peer.since)
    }
}
