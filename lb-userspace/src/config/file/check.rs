//! `[service.check]`, `[service.outlier]`, `sorry`: one table for every type of check, of which each has some keys.

use crate::config::check::{
    Check, Dns, ExpectStep, Http, HttpVersion, Initial, Octets, Pattern, Probe, Timing, Tls, Udp, Via,
};
use crate::config::check_kind::CheckKind;
use crate::config::code::Code;
use crate::config::diagnostic::{Diagnostic, Problems};
use crate::config::draft::{At, DraftCheck, DraftOutlier, DraftSorry, Field, List};
use crate::config::keys::Kind;
use crate::config::model::Forwarding;
use crate::config::reader::TableReader;
use crate::config::value;
use std::time::Duration;

/// Status codes that say that all is well (RFC 9110 section 15.3).
const SUCCESSFUL: (u16, u16) = (200, 299);

/// Lists that must not be empty: the key, what is wrong, what to do.
const EMPTY: &[(&str, &str, &str)] = &[
    ("status", "no status would be right", "write the status codes that are: [\"200-299\"]"),
    (
        "steps",
        "the list of steps is empty",
        "write what is sent and expected: [\"send PING\\\\r\\\\n\", \"expect +PONG\"]",
    ),
];

pub(super) fn check(mut table: TableReader<'_>, problems: &mut Problems) -> DraftCheck {
    let kind = table.choice::<CheckKind>("type", problems);
    let timing = DraftTiming::read(&mut table, problems);
    let port = table.small_number("port", problems);
    let via: Field<Via> = table.choice("via", problems);
    let initial: Field<Initial> = table.choice("initial", problems);
    let given = Given::read(&mut table, problems);
    let expects_twice = given.expects_twice();
    let probe = kind.get().copied().and_then(|kind| {
        foreign_keys(kind, &table, problems);
        if let Some(required) = kind.required()
            && table.value_span(required).is_none()
        {
            problems.push(lacking(kind, required, &table));
            return None;
        }
        given.probe(kind)
    });
    for (list, message, help) in EMPTY {
        if let Some(span) = table.empty_list(list) {
            problems.push(Diagnostic::new(Code::EmptyList, *message, span).help(*help));
        }
    }
    if let (true, Some(span)) = (expects_twice, table.value_span("expect_regex")) {
        let diagnostic = Diagnostic::new(Code::ExpectTwice, "a check has either `expect` or `expect_regex`", span);
        problems.push(diagnostic.help("take one of them out"));
    }
    let written = |key| table.value_span(key);
    let draft = DraftCheck {
        span: table.span,
        interval_span: written("interval").unwrap_or(table.span),
        command_span: written("command").unwrap_or(table.span),
        via_span: written("via"),
        port_written: !matches!(port, Field::Absent),
        check: match (probe, timing.typed(), via.take(), initial.take(), &port) {
            (Some(Some(probe)), Some(timing), Some(via), Some(initial), Field::Absent | Field::Given(_)) => {
                Some(Check { probe, port: port.take(), via, timing, initial })
            }
            _ => None,
        },
        kind,
    };
    table.finish();
    draft
}

/// When it asks, as the file has it.
struct DraftTiming {
    interval: Option<Duration>,
    fast_interval: Field<Duration>,
    timeout: Option<Duration>,
    rise: Option<u32>,
    fall: Option<u32>,
}

impl DraftTiming {
    fn read(table: &mut TableReader<'_>, problems: &mut Problems) -> Self {
        Self {
            interval: table.duration("interval", problems).take(),
            fast_interval: table.duration("fast_interval", problems),
            timeout: table.duration("timeout", problems).take(),
            rise: table.number("rise", problems).take(),
            fall: table.number("fall", problems).take(),
        }
    }

    fn typed(self) -> Option<Timing> {
        let interval = self.interval?;
        let fast_interval = match self.fast_interval {
            Field::Absent => interval / 2,
            Field::Bad => return None,
            Field::Given(at) => at.value.min(interval),
        };
        Some(Timing { interval, fast_interval, timeout: self.timeout?, rise: self.rise?, fall: self.fall? })
    }
}

/// The keys of every type, as the file has them.
struct Given {
    version: Option<HttpVersion>,
    method: Option<String>,
    path: Option<String>,
    host: Field<String>,
    headers: List<(String, String)>,
    body: Field<String>,
    /// If it is written.
    status: Option<List<(u16, u16)>>,
    expect: Field<Octets>,
    expect_regex: Field<String>,
    tls: Option<bool>,
    server_name: Field<String>,
    verify: Option<bool>,
    expiry_warning: Option<Duration>,
    query: Field<String>,
    record: Option<String>,
    accept_empty: Option<bool>,
    send: Field<Octets>,
    helo: Option<String>,
    grpc_service: Field<String>,
    steps: List<ExpectStep>,
    command: List<String>,
    user: Option<String>,
}

impl Given {
    fn read(table: &mut TableReader<'_>, problems: &mut Problems) -> Self {
        Self {
            version: table.choice("version", problems).take(),
            method: table.text("method", problems).take(),
            path: table.text("path", problems).take(),
            host: table.text("host", problems),
            headers: table.whole_list("headers", value::check::header, problems),
            body: table.text("body", problems),
            status: {
                let written = table.value_span("status").is_some();
                let list = table.whole_list("status", value::check::status, problems);
                written.then_some(list)
            },
            expect: table.octets("expect", problems),
            expect_regex: table.regex("expect_regex", problems),
            tls: table.flag("tls", problems).take(),
            server_name: table.text("server_name", problems),
            verify: table.flag("verify", problems).take(),
            expiry_warning: table.duration("expiry_warning", problems).take(),
            query: table.text("query", problems),
            record: table.text("record", problems).take(),
            accept_empty: table.flag("accept_empty", problems).take(),
            send: table.octets("send", problems),
            helo: table.text("helo", problems).take(),
            grpc_service: table.text("grpc_service", problems),
            steps: table.whole_list("steps", value::check::step, problems),
            command: table.whole_list("command", value::vrrp::argument, problems),
            user: table.text("user", problems).take(),
        }
    }

    fn expects_twice(&self) -> bool {
        self.expect.given().is_some() && self.expect_regex.given().is_some()
    }

    /// What is asked; the outer `None`: it could not be read, the inner one: nothing is.
    fn probe(self, kind: CheckKind) -> Option<Option<Probe>> {
        Some(Some(match kind {
            CheckKind::None => return Some(None),
            CheckKind::Tcp => Probe::Tcp,
            CheckKind::Icmp => Probe::Icmp,
            CheckKind::Tls => Probe::Tls(self.certificate()?),
            CheckKind::Smtp => Probe::Smtp { helo: self.helo? },
            CheckKind::Http => Probe::Http(self.http()?),
            CheckKind::Dns => Probe::Dns(Dns {
                record: self.record?.to_ascii_uppercase(),
                expect: optional(self.expect)?.map(|octets| String::from_utf8_lossy(&octets).into_owned()),
                accept_empty: self.accept_empty?,
                name: self.query.take()?,
            }),
            CheckKind::Udp => {
                Probe::Udp(Udp { expect: pattern(self.expect, self.expect_regex)?, send: self.send.take()? })
            }
            CheckKind::Grpc => {
                Probe::Grpc { tls: self.encryption()?, service: optional(self.grpc_service)?.unwrap_or_default() }
            }
            CheckKind::Expect => Probe::Expect { tls: self.encryption()?, steps: self.steps.whole()? },
            CheckKind::Script => Probe::Script { command: self.command.whole()?, user: self.user? },
            CheckKind::Agent => Probe::Agent { send: optional(self.send)?.unwrap_or_default() },
        }))
    }

    fn http(self) -> Option<Http> {
        let tls = self.encryption()?;
        let server_name = tls.as_ref().and_then(|tls| tls.server_name.clone());
        Some(Http {
            version: self.version?,
            tls,
            method: self.method?,
            path: self.path?,
            host: optional(self.host)?.or(server_name),
            headers: self.headers.whole()?,
            body: optional(self.body)?.unwrap_or_default(),
            status: self.status.map_or_else(|| Some(vec![SUCCESSFUL]), List::whole)?,
            expect: pattern(self.expect, self.expect_regex)?,
        })
    }

    /// TLS where `tls` asks for it.
    fn encryption(&self) -> Option<Option<Tls>> {
        if self.tls? { self.certificate().map(Some) } else { Some(None) }
    }

    fn certificate(&self) -> Option<Tls> {
        Some(Tls {
            server_name: optional(self.server_name.clone())?,
            verify: self.verify?,
            expiry_warning: self.expiry_warning?,
        })
    }
}

/// A value that may be left out; `None` where it is there and could not be read.
fn optional<T>(field: Field<T>) -> Option<Option<T>> {
    match field {
        Field::Absent => Some(None),
        Field::Bad => None,
        Field::Given(at) => Some(Some(at.value)),
    }
}

fn pattern(contains: Field<Octets>, matches: Field<String>) -> Option<Option<Pattern>> {
    match (optional(contains)?, optional(matches)?) {
        (Some(octets), None) => Some(Some(Pattern::Contains(octets))),
        (None, Some(expression)) => Some(Some(Pattern::Matches(expression))),
        (None, None) => Some(None),
        (Some(_), Some(_)) => None,
    }
}

/// A key that the check's type does not have would only seem to help.
fn foreign_keys(kind: CheckKind, table: &TableReader<'_>, problems: &mut Problems) {
    for key in table.keys() {
        let owners = CheckKind::with_key(key.name);
        if owners.is_empty() || owners.contains(&kind) {
            continue;
        }
        if let Some(span) = table.value_span(key.name) {
            let owners: Vec<String> = owners.iter().map(|kind| format!("`{}`", kind.name())).collect();
            let message = format!("a check of type `{}` has no key `{}`", kind.name(), key.name);
            problems.push(
                Diagnostic::new(Code::ForeignCheckKey, message, span)
                    .help(format!("take it out; it belongs to the type {}", owners.join(" or "))),
            );
        }
    }
}

fn lacking(kind: CheckKind, name: &str, table: &TableReader<'_>) -> Diagnostic {
    let key = table.keys().iter().find(|key| key.name == name).expect("keys of types are keys of the table");
    let message = format!("a check of type `{}` lacks the key `{name}`", kind.name());
    Diagnostic::new(Code::MissingKey, message, table.span)
        .label(format!("no `{name}` here"))
        .help(format!("`{name}` is {}", Kind::describe(&key.kind)))
}

pub(super) fn outlier(mut table: TableReader<'_>, problems: &mut Problems) -> DraftOutlier {
    let draft = DraftOutlier {
        percent: table.octet("percent", problems),
        minimum_connections: table.number("minimum_connections", problems),
        window: table.duration("window", problems),
    };
    table.finish();
    draft
}

/// `inherited`: the service's method.
pub(super) fn sorry(mut table: TableReader<'_>, inherited: &Field<Forwarding>, problems: &mut Problems) -> DraftSorry {
    let address = table.address("address", problems);
    let port = table.small_number("port", problems);
    let forwarding = match (table.choice("forwarding", problems), port.given()) {
        (Field::Absent, Some(port)) => Field::Given(At { value: Forwarding::Nat, span: port.span }),
        (Field::Absent, None) => inherited.clone(),
        (written, _) => written,
    };
    let draft = DraftSorry { address, port, forwarding };
    table.finish();
    draft
}
