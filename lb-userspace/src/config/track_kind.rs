//! The types of tracks: which there are, and which keys of `[[vrrp.track]]` belong to which.

use super::model::{Word, words};
use serde::Serialize;

words! {
    /// What a track looks at.
    TrackKind {
        /// An interface.
        Interface = "interface",
        /// A service.
        Service = "service",
        /// A program's exit code.
        Script = "script",
        /// Processes.
        Process = "process",
        /// A file's content.
        File = "file",
        /// The load average.
        Load = "load",
        /// A gateway.
        Gateway = "gateway",
        /// A BFD session.
        Bfd = "bfd",
    }
}

impl TrackKind {
    /// The keys that only this type (and perhaps some others) has: the first is required, except of an interface.
    pub(super) fn keys(self) -> &'static [&'static str] {
        match self {
            TrackKind::Interface => &["interface"],
            TrackKind::Service => &["service"],
            TrackKind::Script => &["command", "interval", "timeout", "rise", "fall", "user"],
            TrackKind::Process => &["process", "minimum"],
            TrackKind::File => &["path"],
            TrackKind::Load => &["maximum"],
            TrackKind::Gateway => &["address", "interval", "misses"],
            TrackKind::Bfd => &["neighbour", "source", "transmit_interval", "receive_interval", "multiplier"],
        }
    }

    /// The types that have a key; none if every type has it.
    pub(super) fn with_key(key: &str) -> Vec<Self> {
        Self::ALL.iter().map(|(_, kind)| *kind).filter(|kind| kind.keys().contains(&key)).collect()
    }
}
