//! What a probe found out, and what follows from several of them.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// How one probe ended.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// What it found.
    pub result: Result<Success, Failure>,
    /// From its beginning to its end.
    pub took: Duration,
}

/// A right answer.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Success {
    /// In words: `connected`, `HTTP 200`.
    pub detail: String,
    /// Until when the server's certificate is valid, in seconds since the Unix epoch.
    pub certificate_expires: Option<i64>,
    /// What an agent asks for.
    pub agent: Option<AgentWish>,
}

/// What an agent's line asks for. What it does not mention stays as it was.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AgentWish {
    /// Share of the configured weight.
    pub percent: Option<u8>,
    /// No new flows (`drain`, `maint`), or flows again (`ready`).
    pub drain: Option<bool>,
}

/// No right answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Of which kind.
    pub kind: FailureKind,
    /// In words that name numbers: `connect timed out after 1.0 s`, `HTTP 503, expected 200-299`.
    pub why: String,
}

/// What a failure says of the way to the backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FailureKind {
    /// No frame came back at all: it may be our own uplink.
    Silent,
    /// The backend, or a router, said no: a reset, an ICMP error.
    Refused,
    /// It accepted and then gave no answer in time.
    Hung,
    /// It answered, and wrongly.
    Wrong,
    /// The probe could not be made, for reasons of this host: says nothing of the backend.
    Local,
}

/// What the probes of one spec say.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Verdict {
    /// The state.
    pub state: CheckState,
    /// Why, in words.
    pub why: String,
    /// Of the last failure, while it is down.
    pub failure: Option<FailureKind>,
    /// What an agent asks for, all of its lines together.
    pub agent: AgentWish,
}

/// The state of a check.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CheckState {
    /// No probe has decided yet.
    #[default]
    Unknown,
    /// Answers are right.
    Up,
    /// They are not.
    Down,
}

impl fmt::Display for CheckState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Unknown => "unknown",
            Self::Up => "up",
            Self::Down => "down",
        })
    }
}

impl FailureKind {
    /// Every kind.
    pub const ALL: [Self; 5] = [Self::Silent, Self::Refused, Self::Hung, Self::Wrong, Self::Local];

    /// As metrics and JSON call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Silent => "silent",
            Self::Refused => "refused",
            Self::Hung => "hung",
            Self::Wrong => "wrong",
            Self::Local => "local",
        }
    }
}

impl AgentWish {
    /// With what a further line says. What it does not mention stays as it was.
    pub fn merged(self, line: Self) -> Self {
        Self { percent: line.percent.or(self.percent), drain: line.drain.or(self.drain) }
    }
}

impl Failure {
    /// A failure in words.
    pub fn new(kind: FailureKind, why: impl Into<String>) -> Self {
        Self { kind, why: why.into() }
    }
}
