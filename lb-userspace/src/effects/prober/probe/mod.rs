//! What is asked of a backend, and whether its answer is right. A kind of probe is a file here.
//!
//! [`Prepared`] is what is compiled once for all backends that are asked the same: patterns, TLS settings.
//! [`Prepared::run`] asks once. One deadline covers everything from the first packet to the last octet, whatever stage it
//! finds the probe in, so a server that answers an octet a second is as late as one that does not answer. What is read is
//! limited ([`MOST_READ`]), so a server cannot fill our memory either.
//!
//! A kind says where it is by [`Attempt::enter`], so that the deadline can say what was missing, and has its sockets
//! from [`super::route`] only: how they reach the backend is decided there.

mod agent;
mod attempt;
mod certificate;
mod connection;
mod conversation;
mod dns;
mod exchange;
mod expect;
mod grpc;
mod http;
mod http1;
mod http2;
mod icmp;
mod pattern;
mod script;
mod secure;
mod smtp;
mod tcp;
#[cfg(test)]
mod tests;
mod tls;
mod udp;

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
    Http(Box<http::Http>),
    Tls(tls::Tls),
    Dns(dns::Dns),
    Udp(udp::Udp),
    Icmp,
    Smtp(smtp::Smtp),
    Grpc(grpc::Grpc),
    Expect(expect::Expect),
    Script(script::Script),
    Agent(agent::Agent),
}

impl Prepared {
    /// Compiles what a probe needs.
    ///
    /// # Errors
    /// In words, when it cannot be made as it is written: a regular expression that is none, a host without a trust store.
    pub fn new(probe: &Probe) -> Result<Self, String> {
        let kind = match probe {
            Probe::Tcp => Kind::Tcp,
            Probe::Http(http) => Kind::Http(Box::new(http::Http::new(http)?)),
            Probe::Tls(tls) => Kind::Tls(tls::Tls::new(tls)?),
            Probe::Dns(dns) => Kind::Dns(dns::Dns::new(dns)?),
            Probe::Udp(udp) => Kind::Udp(udp::Udp::new(udp)?),
            Probe::Icmp => Kind::Icmp,
            Probe::Smtp { helo } => Kind::Smtp(smtp::Smtp::new(helo)?),
            Probe::Grpc { service, tls } => Kind::Grpc(grpc::Grpc::new(service, tls.as_ref())?),
            Probe::Expect { steps, tls } => Kind::Expect(expect::Expect::new(steps, tls.as_ref())?),
            Probe::Script { command, user } => Kind::Script(script::Script::new(command, user)),
            Probe::Agent { send } => Kind::Agent(agent::Agent::new(send)),
        };
        Ok(Self { kind })
    }

    /// Asks the target of `spec` once, within `spec.timing.timeout`. `spec` must hold the probe that this was prepared from.
    /// Dropped, it leaves no socket and no process behind.
    pub async fn run(&self, spec: &Spec, route: &Route) -> Outcome {
        let began = Instant::now();
        let attempt = Attempt::new(spec, route, began);
        let result = match &self.kind {
            // It has its own deadline, and sees its processes die after it.
            Kind::Script(script) => Box::pin(script.run(&attempt)).await,
            kind => match timeout_at(attempt.deadline(), kind.ask(&attempt)).await {
                Ok(result) => result,
                Err(_) => Err(attempt.too_late()),
            },
        };
        Outcome { result, took: began.elapsed() }
    }
}

impl Kind {
    /// The futures of all but the smallest are boxed: tens of thousands of TCP checks need not hold the place of the largest.
    async fn ask(&self, attempt: &Attempt<'_>) -> Result<Success, Failure> {
        match self {
            Self::Tcp => tcp::run(attempt).await,
            Self::Http(http) => Box::pin(http.run(attempt)).await,
            Self::Tls(tls) => Box::pin(tls.run(attempt)).await,
            Self::Dns(dns) => Box::pin(dns.run(attempt)).await,
            Self::Udp(udp) => Box::pin(udp.run(attempt)).await,
            Self::Icmp => Box::pin(icmp::run(attempt)).await,
            Self::Smtp(smtp) => Box::pin(smtp.run(attempt)).await,
            Self::Grpc(grpc) => Box::pin(grpc.run(attempt)).await,
            Self::Expect(expect) => Box::pin(expect.run(attempt)).await,
            Self::Script(script) => Box::pin(script.run(attempt)).await,
            Self::Agent(agent) => Box::pin(agent.run(attempt)).await,
        }
    }
}
