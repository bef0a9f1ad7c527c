//! The keys of checks, and of what follows from them for a pool.

use super::super::check::{HttpVersion, Initial, Via};
use super::super::check_kind::CheckKind;
use super::super::model::Forwarding;
use super::Presence::{Absent, Default, Required};
use super::{Kind, Table, choice, key};

/// The longest interval between probes: an hour.
const HOUR: u64 = 3_600_000;
const YEAR: u64 = 365 * 24 * HOUR;
const MINUTE: u64 = 60_000;
/// What the kernel's user databases take for a name.
const MAX_USER: usize = 32;
/// A domain name's octets (RFC 1035 section 2.3.4).
const MAX_DOMAIN: usize = 253;
/// Of paths, bodies, patterns: more is a test suite, not a probe.
const MAX_TEXT: usize = 4096;

pub(in super::super) static CHECK: Table = Table {
    path: "service.check",
    about: "How each backend of the service is probed. Written once as `[service.check]`, or several times as `[[service.check]]`: then a backend is up when all of them say so.",
    keys: &[
        key(
            "type",
            choice::<CheckKind>(
                &[],
                &[("https", "http"), ("ssl", "tls"), ("ping", "icmp"), ("misc", "script"), ("http2", "http")],
            ),
            Required,
            "`tcp`: a connection is accepted; `http`: a request is answered as expected; `tls`: a handshake is completed; `dns`: a question is answered; `udp`: a datagram is answered; `icmp`: an echo request is answered; `smtp`: greeting and EHLO; `grpc`: `grpc.health.v1`; `expect`: lines sent and expected; `script`: a program exits with 0; `agent`: a line of words from an agent; `none`: not probed.",
        ),
        key("port", Kind::Port, Absent("the backend's, else of the first listener with one"), "Port that is probed."),
        key(
            "via",
            choice::<Via>(&[], &[]),
            Default(r#""service""#),
            "`service`: the probe takes the way of the traffic; under `direct` and `tunnel` to the service's address on that backend, under `tunnel` in an outer packet, so that a missing address, a wrong route or a backend that does not unwrap is found; under `nat` to the backend's own address. `address`: the backend's own address.",
        ),
        key(
            "interval",
            Kind::Duration { min: 50, max: HOUR },
            Default(r#""2s""#),
            "Time between the beginnings of two probes.",
        ),
        key(
            "fast_interval",
            Kind::Duration { min: 10, max: HOUR },
            Absent("half of `interval`"),
            "The same after an answer that contradicts the verdict, until `rise` or `fall` decide.",
        ),
        key(
            "timeout",
            Kind::Duration { min: 10, max: HOUR },
            Default(r#""1s""#),
            "Time that a probe may take as a whole: an answer that drips does not prolong it.",
        ),
        key(
            "rise",
            Kind::Integer { min: 1, max: 1000 },
            Default("2"),
            "Successes in a row until a backend that was down is up. The first probe decides alone.",
        ),
        key(
            "fall",
            Kind::Integer { min: 1, max: 1000 },
            Default("3"),
            "Failures in a row until a backend that was up is down. The first probe decides alone.",
        ),
        key(
            "initial",
            choice::<Initial>(&[], &[]),
            Default(r#""down""#),
            "What a backend is until its first probe has ended. `down`: gets no traffic; `up`: gets traffic.",
        ),
        key("version", choice::<HttpVersion>(&[], &[("1", "1.1")]), Default(r#""1.1""#), "`http`: version."),
        key("method", Kind::Text(32), Default(r#""GET""#), "`http`: method."),
        key("path", Kind::Text(MAX_TEXT), Default(r#""/""#), "`http`: path, with query."),
        key(
            "host",
            Kind::Text(MAX_DOMAIN),
            Absent("`server_name`, else the address"),
            "`http`: name of the host that is asked for.",
        ),
        key("headers", Kind::Headers, Default("[]"), "`http`: further header fields, each `\"Name: value\"`."),
        key("body", Kind::Text(MAX_TEXT), Absent("none"), "`http`: body of the request."),
        key(
            "status",
            Kind::StatusRanges,
            Default(r#"["200-299"]"#),
            "`http`: status codes that are right: codes and ranges.",
        ),
        key(
            "expect",
            Kind::Text(MAX_TEXT),
            Absent("anything"),
            "`http`, `udp`: octets that the answer holds; `dns`: text of a record that is among the answers. `\\r`, `\\n`, `\\0`, `\\xHH` stand for octets.",
        ),
        key(
            "expect_regex",
            Kind::Regex,
            Absent("anything"),
            "`http`, `udp`: regular expression that the answer matches somewhere.",
        ),
        key("tls", Kind::Flag, Default("false"), "`http`, `grpc`, `expect`: encrypted."),
        key(
            "server_name",
            Kind::Text(MAX_DOMAIN),
            Absent("none"),
            "TLS: the server's name, sent in the handshake and verified.",
        ),
        key(
            "verify",
            Kind::Flag,
            Default("false"),
            "TLS: the certificate must be valid for `server_name` (or the address), by this host's trust store.",
        ),
        key(
            "expiry_warning",
            Kind::Duration { min: 0, max: YEAR },
            Default(r#""14days""#),
            "TLS: a certificate that expires within so long is reported.",
        ),
        key("query", Kind::Text(MAX_DOMAIN), Absent("required by its type"), "`dns`: name that is asked for."),
        key("record", Kind::Text(16), Default(r#""A""#), "`dns`: type of record that is asked for."),
        key(
            "accept_empty",
            Kind::Flag,
            Default("false"),
            "`dns`: whether an answer without records, or NXDOMAIN, is right, too.",
        ),
        key(
            "send",
            Kind::Text(MAX_TEXT),
            Absent("required by `udp`; `agent`: nothing"),
            "`udp`, `agent`: octets that are sent. `\\r`, `\\n`, `\\0`, `\\xHH` stand for octets.",
        ),
        key("helo", Kind::Text(MAX_DOMAIN), Default(r#""localhost""#), "`smtp`: name that EHLO gives."),
        key(
            "grpc_service",
            Kind::Text(MAX_DOMAIN),
            Absent("the server as a whole"),
            "`grpc`: service whose health is asked for.",
        ),
        key(
            "steps",
            Kind::Steps,
            Absent("required by its type"),
            "`expect`: what is done in order, each `\"send OCTETS\"`, `\"expect OCTETS\"` or `\"match REGEX\"`.",
        ),
        key(
            "command",
            Kind::Command,
            Absent("required by its type"),
            "`script`: program, by absolute path, and arguments; no shell in between. Exit code 0 is success, the last line of output the reason.",
        ),
        key(
            "user",
            Kind::Text(MAX_USER),
            Default(r#""nobody""#),
            "`script`: who runs it. Root only if it says so here.",
        ),
    ],
};

pub(in super::super) static OUTLIER: Table = Table {
    path: "service.outlier",
    about: "When packets make a backend suspect, so that it is probed at once.",
    keys: &[
        key(
            "percent",
            Kind::Integer { min: 1, max: 100 },
            Default("20"),
            "Share of the new connections, in per cent, whose first packet was sent again, or that were refused.",
        ),
        key(
            "minimum_connections",
            Kind::Integer { min: 1, max: 1_000_000 },
            Default("10"),
            "New connections in a window until the share means anything.",
        ),
        key(
            "window",
            Kind::Duration { min: 1_000, max: 10 * MINUTE },
            Default(r#""5s""#),
            "Length of the window, in whole seconds.",
        ),
    ],
};

pub(in super::super) static SORRY: Table = Table {
    path: "service.sorry",
    about: "A server that is used while the service has no quorum.",
    keys: &[
        key(
            "address",
            Kind::Address,
            Required,
            "Its address; of the family of the service's listeners, except under `tunnel`.",
        ),
        key("port", Kind::Port, Absent("the listener's port"), "Port packets are translated to. `nat` only."),
        key(
            "forwarding",
            choice::<Forwarding>(&[], &[]),
            Absent("the service's; `nat` with a `port`"),
            "Forwarding method.",
        ),
    ],
};
