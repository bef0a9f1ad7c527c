//! The words for how a backend is, as status and metrics have them.

use std::fmt;

use serde::{Deserialize, Serialize};

/// How a backend is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// Its checks pass. (It may stand by, in a tier that is not needed.)
    Up,
    /// A check fails, or none has passed yet.
    Down,
    /// It gets no new flows, and keeps those that it has.
    Drain,
    /// It gets no flows at all.
    Disabled,
    /// It is up, and its weight still ramps.
    Starting,
    /// It has no check.
    Unchecked,
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Up => "up",
            Self::Down => "down",
            Self::Drain => "drain",
            Self::Disabled => "disabled",
            Self::Starting => "starting",
            Self::Unchecked => "unchecked",
        })
    }
}
