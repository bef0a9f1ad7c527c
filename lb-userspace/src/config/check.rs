//! `[service.check]` and what else a service says of its pool, typed. As with [`super::model`], a value that exists is valid.

use std::net::IpAddr;
use std::time::Duration;

use serde::Serialize;

use super::model::{Forwarding, Word, words};

/// `[service.check]`: how each backend of the service is probed. A service may have several; a backend is up when all
/// of them say so.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub struct Check {
    /// What is asked, and what is a right answer.
    pub probe: Probe,
    /// Port that is asked; `None`: the backend's, else that of the first listener with one.
    pub port: Option<u16>,
    /// Which address of the backend is asked.
    pub via: Via,
    /// When, and how many answers decide.
    pub timing: Timing,
    /// Whether a backend gets traffic before its first verdict.
    pub initial: Initial,
}

/// When a check asks, and how many answers decide.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub struct Timing {
    /// Time between the beginnings of two probes.
    pub interval: Duration,
    /// The same while a verdict is in doubt: after an answer that differs from it, until `rise` or `fall` decide.
    pub fast_interval: Duration,
    /// Time that a whole probe may take, from the first packet to the last octet of the answer.
    pub timeout: Duration,
    /// Successes in a row until a backend is up.
    pub rise: u32,
    /// Failures in a row until it is down.
    pub fall: u32,
}

/// What is asked, and what is a right answer.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub enum Probe {
    /// A TCP connection is accepted; it is closed by a reset.
    Tcp,
    /// An HTTP request is answered as expected.
    Http(Http),
    /// A TLS handshake is completed.
    Tls(Tls),
    /// A DNS question is answered as expected (RFC 1035), over UDP.
    Dns(Dns),
    /// A datagram is answered as expected, or at least not refused.
    Udp(Udp),
    /// An ICMP or ICMPv6 echo request is answered.
    Icmp,
    /// An SMTP server greets with 220 and answers EHLO with 250 (RFC 5321).
    Smtp {
        /// The name that EHLO gives.
        helo: String,
    },
    /// `grpc.health.v1.Health/Check` says SERVING.
    Grpc {
        /// The service that is asked about; empty: the server as a whole.
        service: String,
        /// Encrypted, if set.
        tls: Option<Tls>,
    },
    /// Lines or octets are sent and expected over TCP, in turns.
    Expect {
        /// What is done, in order; never empty.
        steps: Vec<ExpectStep>,
        /// Encrypted, if set.
        tls: Option<Tls>,
    },
    /// A program exits with 0. The last line of its output is the reason.
    Script {
        /// Program, by absolute path, and arguments; no shell in between.
        command: Vec<String>,
        /// Who runs it; never root unless named.
        user: String,
    },
    /// A TCP connection yields a line of words: `up`, `ready`, `down`, `fail`, `drain`, `maint`, `75%`.
    Agent {
        /// Sent first, if not empty.
        send: Octets,
    },
}

impl Probe {
    /// As the file, status and metrics call its kind.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Http(_) => "http",
            Self::Tls(_) => "tls",
            Self::Dns(_) => "dns",
            Self::Udp(_) => "udp",
            Self::Icmp => "icmp",
            Self::Smtp { .. } => "smtp",
            Self::Grpc { .. } => "grpc",
            Self::Expect { .. } => "expect",
            Self::Script { .. } => "script",
            Self::Agent { .. } => "agent",
        }
    }
}

/// An HTTP request and its right answers.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub struct Http {
    /// HTTP/1.1, or HTTP/2 (with prior knowledge where it is not encrypted).
    pub version: HttpVersion,
    /// Encrypted, if set.
    pub tls: Option<Tls>,
    /// Method.
    pub method: String,
    /// Path and query.
    pub path: String,
    /// Name of the host that is asked for; `None`: the address.
    pub host: Option<String>,
    /// Further header fields: name and value.
    pub headers: Vec<(String, String)>,
    /// Body of the request.
    pub body: String,
    /// Right status codes, as ranges, both ends included; never empty.
    pub status: Vec<(u16, u16)>,
    /// What the body of the answer must hold.
    pub expect: Option<Pattern>,
}

/// TLS.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub struct Tls {
    /// Server name sent in the handshake (SNI), and verified; `None`: none is sent, the address is verified.
    pub server_name: Option<String>,
    /// Whether the certificate must be valid for the name, by the host's trust store.
    pub verify: bool,
    /// A valid certificate that expires within so long is reported, without failing the check.
    pub expiry_warning: Duration,
}

/// A DNS question and its right answers.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub struct Dns {
    /// The name asked for.
    pub name: String,
    /// The type asked for, upper case: `A`, `AAAA`, `NS`, `SOA`, `MX`, `TXT`, `CNAME`, …
    pub record: String,
    /// Text of an answer that must be among them; `None`: any answer.
    pub expect: Option<String>,
    /// Whether `NXDOMAIN` or an answer without records is right, too.
    pub accept_empty: bool,
}

/// A datagram and its right answers.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub struct Udp {
    /// What is sent.
    pub send: Octets,
    /// What the answer must hold. `None`: silence is right, an ICMP error is not.
    pub expect: Option<Pattern>,
}

/// What an answer must hold.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub enum Pattern {
    /// These octets, anywhere.
    Contains(Octets),
    /// A match of this regular expression, over octets.
    Matches(String),
}

/// One step of [`Probe::Expect`].
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub enum ExpectStep {
    /// Sends these.
    Send(Octets),
    /// Reads until what was read holds this.
    Expect(Pattern),
}

/// Octets, written in the file as a string with `\r`, `\n`, `\0`, `\xHH` where TOML has no escape of its own.
pub type Octets = Vec<u8>;

/// `[service.outlier]`: when packets say that a backend may have failed before its check does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct Outlier {
    /// Share of the new connections of a window, in per cent, whose first packet had to be sent again, or that were refused.
    pub percent: u8,
    /// New connections in a window until the share means anything.
    pub minimum_connections: u32,
    /// Length of the window.
    pub window: Duration,
}

/// `sorry`: a server that is used while the service has no quorum.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub struct Sorry {
    /// Its address, of the listeners' family.
    pub address: IpAddr,
    /// Under nat: the port to translate to; `None`: the listener's.
    pub port: Option<u16>,
    /// How it is reached.
    pub forwarding: Forwarding,
}

words! {
    /// Which address of a backend a check asks.
    Via {
        /// The service's, on that backend, by the way that its packets go (direct and tunnel); nat: the backend's own.
        Service = "service",
        /// The backend's own.
        Address = "address",
    }
}

words! {
    /// What a backend is before its first verdict.
    Initial {
        /// Gets no traffic until the first success.
        Down = "down",
        /// Gets traffic until its check fails.
        Up = "up",
    }
}

words! {
    /// A version of HTTP.
    HttpVersion {
        /// HTTP/1.1 (RFC 9112).
        Http1 = "1.1",
        /// HTTP/2 (RFC 9113).
        Http2 = "2",
    }
}

words! {
    /// What becomes of the flows of a backend whose check fails.
    OnDown {
        /// They stay with it, as IPVS has it: new flows go elsewhere.
        Keep = "keep",
        /// They go to other backends, which reset them.
        Reset = "reset",
    }
}
