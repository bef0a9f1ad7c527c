//! The types of checks: which there are, and which keys of `[service.check]` belong to which.

use super::model::{Word, words};
use serde::Serialize;

words! {
    /// How a backend is probed.
    CheckKind {
        /// Not at all.
        None = "none",
        /// A TCP connection.
        Tcp = "tcp",
        /// An HTTP request.
        Http = "http",
        /// A TLS handshake.
        Tls = "tls",
        /// A DNS question.
        Dns = "dns",
        /// A datagram.
        Udp = "udp",
        /// An ICMP echo request.
        Icmp = "icmp",
        /// An SMTP greeting.
        Smtp = "smtp",
        /// The gRPC health service.
        Grpc = "grpc",
        /// Lines sent and expected.
        Expect = "expect",
        /// A program's exit code.
        Script = "script",
        /// An agent's line.
        Agent = "agent",
    }
}

/// The keys of encryption.
const TLS: [&str; 3] = ["server_name", "verify", "expiry_warning"];

impl CheckKind {
    /// The keys that only this type (and perhaps some others) has.
    pub(super) fn keys(self) -> Vec<&'static str> {
        let own: &[&str] = match self {
            CheckKind::None | CheckKind::Tcp | CheckKind::Icmp | CheckKind::Tls => &[],
            CheckKind::Http => {
                &["version", "method", "path", "host", "headers", "body", "status", "expect", "expect_regex", "tls"]
            }
            CheckKind::Dns => &["query", "record", "expect", "accept_empty"],
            CheckKind::Udp => &["send", "expect", "expect_regex"],
            CheckKind::Smtp => &["helo"],
            CheckKind::Grpc => &["grpc_service", "tls"],
            CheckKind::Expect => &["steps", "tls"],
            CheckKind::Script => &["command", "user"],
            CheckKind::Agent => &["send"],
        };
        let encrypted: &[&str] = if self == CheckKind::Tls || own.contains(&"tls") { &TLS } else { &[] };
        own.iter().chain(encrypted).copied().collect()
    }

    /// The key without which the type makes no sense.
    pub(super) fn required(self) -> Option<&'static str> {
        match self {
            CheckKind::Dns => Some("query"),
            CheckKind::Udp => Some("send"),
            CheckKind::Expect => Some("steps"),
            CheckKind::Script => Some("command"),
            _ => None,
        }
    }

    /// Whether a port is asked.
    pub(super) fn has_port(self) -> bool {
        !matches!(self, CheckKind::None | CheckKind::Icmp | CheckKind::Script)
    }

    /// The types that have a key; none if every type has it.
    pub(super) fn with_key(key: &str) -> Vec<Self> {
        Self::ALL.iter().map(|(_, kind)| *kind).filter(|kind| kind.keys().contains(&key)).collect()
    }
}
