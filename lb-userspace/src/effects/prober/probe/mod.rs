//! What is asked of a backend, and whether its answer is right. A kind of probe is a file here.
//!
//! [`Prepared`] is what is compiled once for all backends that are asked the same: patterns, TLS settings.
//! [`Prepared::run`] asks once. One deadline covers everything from the first packet to the last octet, whatever stage it
//! finds the probe in, so a server that answers an octet a second is as late as one that does not answer. What is read is
//! limited ([`MOST_READ`]), so a server cannot fill our memory either.
//!
//! A kind says where it is by [`Attempt::enter`], so that the deadline can say what was missing, and opens
//! sockets by [`Attempt::connect`] only: how they reach the backend is [`super::route`]'s business.

mod attempt;
mod tcp;
#[cfg(test)]
mod tests;

use tokio::time::{Instant, timeout_at};

use self::attempt::Attempt;
use super::route::Route;
use crate::config::check::Probe;
use crate::health::spec::Spec;
use crate::health::verdict::{Failure, Outcome, Success};

/// Of an answer so many octets are read and searched.
pub const MOST_READ: usize = 64 * 1024;

/// A probe, ready to be made any number of times, at the same time too.
#[derive(Debug)]
pub struct Prepared {
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Tcp,
}

impl Prepared {
    /// Compiles what a probe needs.
    ///
    /// # Errors
    /// In words, when it cannot be made as it is written: a regular expression that is none, a host without a trust store.
    pub fn new(probe: &Probe) -> Result<Self, String> {
        let kind = match probe {
            Probe::Tcp => Kind::Tcp,
            _ => return Err("not in this version".to_owned()),
        };
        Ok(Self { kind })
    }

    /// Asks the target of `spec` once, within `spec.timing.timeout`. `spec` must hold the probe that this was prepared from.
    /// Dropped, it leaves no socket and no process behind.
    pub async fn run(&self, spec: &Spec, route: &Route) -> Outcome {
        let began = Instant::now();
        let attempt = Attempt::new(spec, route, began);
        let result = match timeout_at(attempt.deadline(), self.ask(&attempt)).await {
            Ok(result) => result,
            Err(_) => Err(attempt.too_late()),
        };
        Outcome { result, took: began.elapsed() }
    }

    async fn ask(&self, attempt: &Attempt<'_>) -> Result<Success, Failure> {
        match &self.kind {
            Kind::Tcp => tcp::run(attempt).await,
        }
    }
}
