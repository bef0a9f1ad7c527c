//! `[[vrrp.track]]`: one table for every type of track, of which each type has some keys.

use crate::config::code::Code;
use crate::config::diagnostic::{Diagnostic, Problems};
use crate::config::draft::{At, DraftTrack, Field, List};
use crate::config::keys::Kind;
use crate::config::reader::TableReader;
use crate::config::track_kind::TrackKind;
use crate::config::value::vrrp as value;
use crate::config::virtual_router::Condition;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// `router_interface`: what a track of an interface looks at where it names none.
pub(super) fn read(
    mut table: TableReader<'_>,
    router_interface: &Field<String>,
    problems: &mut Problems,
) -> DraftTrack {
    let kind = table.choice::<TrackKind>("type", problems);
    let given = Given::read(&mut table, problems);
    let condition = kind.get().copied().and_then(|kind| {
        foreign_keys(kind, &table, problems);
        let first = table.value_span(kind.keys()[0]);
        if kind != TrackKind::Interface && first.is_none() {
            problems.push(lacking(kind, &table));
            return None;
        }
        let span = first.unwrap_or(table.span);
        given.condition(kind, router_interface).map(|value| At { value, span })
    });
    let name = match (table.text("name", problems), &condition) {
        (Field::Absent, Some(condition)) => {
            Field::Given(At { value: default_name(&condition.value), span: condition.span })
        }
        (Field::Absent, None) => Field::Bad,
        (written, _) => written,
    };
    let draft = DraftTrack {
        span: table.span,
        kind,
        name,
        weight: table.signed("weight", problems),
        fault: table.flag("fault", problems),
        condition,
    };
    table.finish();
    draft
}

/// The keys of every type, as the file has them.
struct Given {
    interface: Field<String>,
    service: Field<String>,
    command: List<String>,
    interval: Option<Duration>,
    timeout: Option<Duration>,
    rise: Option<u32>,
    fall: Option<u32>,
    user: Option<String>,
    process: Option<String>,
    minimum: Option<u32>,
    path: Option<PathBuf>,
    maximum: Option<f64>,
    address: Option<IpAddr>,
    misses: Option<u32>,
    neighbour: Option<IpAddr>,
    source: Field<IpAddr>,
    transmit_interval: Option<Duration>,
    receive_interval: Option<Duration>,
    multiplier: Option<u8>,
}

impl Given {
    fn read(table: &mut TableReader<'_>, problems: &mut Problems) -> Self {
        Self {
            interface: table.interface("interface", problems),
            service: table.text("service", problems),
            command: table.whole_list("command", value::argument, problems),
            interval: table.duration("interval", problems).take(),
            timeout: table.duration("timeout", problems).take(),
            rise: table.number("rise", problems).take(),
            fall: table.number("fall", problems).take(),
            user: table.text("user", problems).take(),
            process: table.text("process", problems).take(),
            minimum: table.number("minimum", problems).take(),
            path: table.path("path", problems).take(),
            maximum: table.positive("maximum", problems).take(),
            address: table.link_address("address", problems).take(),
            misses: table.number("misses", problems).take(),
            neighbour: table.link_address("neighbour", problems).take(),
            source: table.link_address("source", problems),
            transmit_interval: table.duration("transmit_interval", problems).take(),
            receive_interval: table.duration("receive_interval", problems).take(),
            multiplier: table.octet("multiplier", problems).take(),
        }
    }

    fn condition(self, kind: TrackKind, router_interface: &Field<String>) -> Option<Condition> {
        Some(match kind {
            TrackKind::Interface => Condition::Interface {
                interface: match self.interface {
                    Field::Absent => router_interface.get()?.clone(),
                    written => written.take()?,
                },
            },
            TrackKind::Service => Condition::Service { service: self.service.take()? },
            TrackKind::Script => Condition::Script {
                command: self.command.whole()?,
                interval: self.interval?,
                timeout: self.timeout?,
                rise: self.rise?,
                fall: self.fall?,
                user: self.user?,
            },
            TrackKind::Process => Condition::Process { process: self.process?, minimum: self.minimum? },
            TrackKind::File => Condition::File { path: self.path? },
            TrackKind::Load => Condition::Load { maximum: self.maximum? },
            TrackKind::Gateway => {
                Condition::Gateway { address: self.address?, interval: self.interval?, misses: self.misses? }
            }
            TrackKind::Bfd => Condition::Bfd {
                neighbour: self.neighbour?,
                source: match self.source {
                    Field::Bad => return None,
                    source => source.take(),
                },
                transmit_interval: self.transmit_interval?,
                receive_interval: self.receive_interval?,
                multiplier: self.multiplier?,
            },
        })
    }
}

/// A key that the track's type does not have would only seem to help.
fn foreign_keys(kind: TrackKind, table: &TableReader<'_>, problems: &mut Problems) {
    for key in table.keys() {
        let owners = TrackKind::with_key(key.name);
        if owners.is_empty() || owners.contains(&kind) {
            continue;
        }
        if let Some(span) = table.value_span(key.name) {
            let owners: Vec<String> = owners.iter().map(|kind| format!("`{}`", kind.name())).collect();
            let message = format!("a track of type `{}` has no key `{}`", kind.name(), key.name);
            problems.push(
                Diagnostic::new(Code::ForeignTrackKey, message, span)
                    .help(format!("take it out; it belongs to the type {}", owners.join(" or "))),
            );
        }
    }
}

fn lacking(kind: TrackKind, table: &TableReader<'_>) -> Diagnostic {
    let name = kind.keys()[0];
    let key = table.keys().iter().find(|key| key.name == name).expect("keys of types are keys of the table");
    let message = format!("a track of type `{}` lacks the key `{name}`", kind.name());
    Diagnostic::new(Code::MissingKey, message, table.span)
        .label(format!("no `{name}` here"))
        .help(format!("`{name}` is {}", Kind::describe(&key.kind)))
}

fn default_name(condition: &Condition) -> String {
    match condition {
        Condition::Interface { interface } => format!("interface {interface}"),
        Condition::Uplink { interface } => format!("uplink {interface}"),
        Condition::Service { service } => format!("service {service}"),
        Condition::Script { command, .. } => {
            let program = command.first().map_or("", String::as_str);
            let file = Path::new(program).file_name().map_or_else(|| program.into(), |name| name.to_string_lossy());
            format!("script {file}")
        }
        Condition::Process { process, .. } => format!("process {process}"),
        Condition::File { path } => format!("file {}", path.display()),
        Condition::Load { .. } => "load".to_owned(),
        Condition::Gateway { address, .. } => format!("gateway {address}"),
        Condition::Bfd { neighbour, .. } => format!("bfd {neighbour}"),
    }
}
