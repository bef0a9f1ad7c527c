//! One attempt at a probe: whom it asks, until when, and how far it has come.

use std::fmt;
use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::effects::prober::route::{self, Route, Tcp};
use crate::health::spec::{Spec, Target};
use crate::health::verdict::{Failure, FailureKind};

/// One attempt. Kinds of probes borrow it.
pub(super) struct Attempt<'a> {
    pub(super) spec: &'a Spec,
    pub(super) route: &'a Route,
    deadline: Instant,
    progress: Mutex<Progress>,
}

struct Progress {
    stage: Stage,
    since: Instant,
    octets: usize,
}

/// What a probe is waiting for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// A TCP connection.
    Connecting,
    /// The end of a TLS handshake.
    Handshake,
    /// An answer, over a connection or, for datagrams, at all.
    Answer,
    /// The answer to a datagram: that nothing came says nothing of a connection.
    Datagram,
}

impl<'a> Attempt<'a> {
    pub(super) fn new(spec: &'a Spec, route: &'a Route, began: Instant) -> Self {
        let progress = Progress { stage: Stage::Connecting, since: began, octets: 0 };
        Self { spec, route, deadline: began + spec.timing.timeout, progress: Mutex::new(progress) }
    }

    /// Who is asked, as reasons name it.
    pub(super) fn target(&self) -> &Target {
        &self.spec.target
    }

    /// When it must be over. Whatever a kind itself bounds by this instant ends before the probe as a whole does.
    pub(super) fn deadline(&self) -> Instant {
        self.deadline
    }

    /// Notes that a stage begins.
    pub(super) fn enter(&self, stage: Stage) {
        let mut progress = self.progress();
        (progress.stage, progress.since, progress.octets) = (stage, Instant::now(), 0);
    }

    /// Notes that a part of the answer has come.
    pub(super) fn received(&self, octets: usize) {
        self.progress().octets += octets;
    }

    /// Opens a TCP connection and begins to wait for an answer.
    pub(super) async fn connect(&self) -> Result<Tcp, Failure> {
        self.enter(Stage::Connecting);
        let connection = route::tcp(self.route).await.map_err(|trouble| trouble.failure(self.target()))?;
        self.enter(Stage::Answer);
        Ok(connection)
    }

    /// That the deadline came.
    pub(super) fn too_late(&self) -> Failure {
        let Progress { stage, since, octets } = *self.progress();
        let waited = Brief(self.waited(since));
        let limit = Brief(self.spec.timing.timeout);
        match (stage, octets) {
            (Stage::Connecting, _) => Failure::new(FailureKind::Silent, format!("connect timed out after {limit}")),
            (Stage::Datagram, _) => Failure::new(FailureKind::Silent, format!("no answer within {limit}")),
            (Stage::Handshake, _) => {
                Failure::new(FailureKind::Hung, format!("no TLS handshake within {waited} after connecting"))
            }
            (Stage::Answer, 0) => {
                Failure::new(FailureKind::Hung, format!("no answer within {waited} after connecting"))
            }
            (Stage::Answer, octets) => {
                let unit = if octets == 1 { "octet" } else { "octets" };
                Failure::new(FailureKind::Hung, format!("answer incomplete after {limit}: {octets} {unit}"))
            }
        }
    }

    /// Time from the beginning of a stage to the deadline. What went before is left out if it was little: the same trouble
    /// has the same words each time.
    fn waited(&self, since: Instant) -> Duration {
        let (limit, left) = (self.spec.timing.timeout, self.deadline.saturating_duration_since(since));
        if left * 10 >= limit * 9 { limit } else { left }
    }

    /// A connection broke, or ended where it should not.
    pub(super) fn broken(&self, error: &io::Error) -> Failure {
        let Progress { stage, octets, .. } = *self.progress();
        let target = self.target();
        let stage = match (stage, octets) {
            (Stage::Handshake, _) => "during the TLS handshake",
            (_, 0) => "before an answer",
            (_, _) => "in the middle of the answer",
        };
        match error.kind() {
            io::ErrorKind::UnexpectedEof => {
                Failure::new(FailureKind::Wrong, format!("connection closed by {target} {stage}"))
            }
            io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => {
                Failure::new(FailureKind::Refused, format!("connection reset by {target} {stage}"))
            }
            _ => Failure::new(FailureKind::Refused, format!("connection to {target} failed {stage}: {error}")),
        }
    }

    fn progress(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A duration in two digits or three: `1.0 s`, `250 ms`. Coarse, so that the same trouble has the same words each time.
pub(super) struct Brief(pub(super) Duration);

impl fmt::Display for Brief {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.as_millis() {
            milliseconds @ 0..100 => write!(f, "{milliseconds} ms"),
            milliseconds @ 100..995 => write!(f, "{} ms", (milliseconds + 5) / 10 * 10),
            milliseconds => write!(f, "{}.{} s", (milliseconds + 50) / 1000, (milliseconds + 50) % 1000 / 100),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_brief() {
        for (milliseconds, text) in [
            (7, "7 ms"),
            (198, "200 ms"),
            (250, "250 ms"),
            (994, "990 ms"),
            (998, "1.0 s"),
            (1000, "1.0 s"),
            (1960, "2.0 s"),
            (12_340, "12.3 s"),
        ] {
            assert_eq!(Brief(Duration::from_millis(milliseconds)).to_string(), text);
        }
    }
}
