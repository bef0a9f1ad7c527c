//! The rules about services that go by QUIC's connection IDs.

use std::collections::HashMap;

use lb_common::limits::MAX_SERVER_IDS;

use crate::config::code::Code;
use crate::config::diagnostic::{Diagnostic, Problems, Span};
use crate::config::draft::{At, DraftBackend, DraftService, Field};
use crate::config::model::UdpMode;
use crate::config::quic::ServerId;

pub(super) fn check(service: &DraftService, problems: &mut Problems) {
    match service.udp.given() {
        Some(At { value: UdpMode::Quic, span }) => {
            scheduler(service, *span, problems);
            missing(service, *span, problems);
            twice(service, problems);
            lengths(service, problems);
            configurations(service, problems);
        }
        Some(_) => no_effect(service, problems),
        None => {}
    }
}

/// Whether the server IDs of all services together fit their table.
pub(super) fn within_table(services: &[DraftService], problems: &mut Problems) {
    let mut count = 0;
    for service in services.iter().filter(|service| service.udp.get() == Some(&UdpMode::Quic)) {
        count += service.backends.len();
        if count > MAX_SERVER_IDS {
            let message = format!("with {} there are more than {MAX_SERVER_IDS} server IDs", service.title());
            let diagnostic = Diagnostic::new(Code::TooMany, message, service.place());
            problems.push(diagnostic.help("the table in the kernel holds no more"));
            return;
        }
    }
}

/// What a record says of a client's port is wrong as soon as that port has a connection to another server.
fn scheduler(service: &DraftService, udp: Span, problems: &mut Problems) {
    let Some(at) = service.scheduler.given().filter(|at| !at.value.is_hashing()) else { return };
    let name = at.value.name();
    let message =
        format!("`udp = \"quic\"` cannot go with `scheduler = \"{name}\"`, which records flows by address and port");
    problems.push(
        Diagnostic::new(Code::QuicByRule, message, udp)
            .note(at.span, "chooses by a rule")
            .help("use `scheduler = \"maglev\"`: connections stay with their server whatever the table says"),
    );
}

fn missing(service: &DraftService, udp: Span, problems: &mut Problems) {
    for backend in service.backends.iter().filter(|backend| matches!(backend.server_id, Field::Absent)) {
        let Some(place) = backend.name.given().map(|name| name.span) else { continue };
        let message = "a backend has no `server_id`: packets whose client has moved would not find it";
        problems.push(
            Diagnostic::new(Code::NoServerId, message, place)
                .note(udp, "packets go by connection ID")
                .help("set `server_id` to what this server writes into its connection IDs: `server_id = \"0a01\"`"),
        );
    }
}

fn ids(service: &DraftService) -> impl Iterator<Item = &At<ServerId>> {
    service.backends.iter().filter_map(|backend: &DraftBackend| backend.server_id.given())
}

fn twice(service: &DraftService, problems: &mut Problems) {
    let mut known: HashMap<ServerId, Span> = HashMap::new();
    for At { value, span } in ids(service) {
        let Some(first) = known.get(value) else {
            known.insert(*value, *span);
            continue;
        };
        let message = format!("two backends of {} have the server ID {value}", service.title());
        problems.push(
            Diagnostic::new(Code::DuplicateServerId, message, *span)
                .label("again here")
                .note(*first, "first here")
                .help("give each server an ID of its own, and tell the server"),
        );
    }
}

/// A short header does not say how long a connection ID is, so the length of server IDs is the service's.
fn lengths(service: &DraftService, problems: &mut Problems) {
    let Some(first) = ids(service).next() else { return };
    let expected = first.value.octets().len();
    for other in ids(service).filter(|other| other.value.octets().len() != expected) {
        let found = other.value.octets().len();
        let message = format!("server IDs of {} have {expected} octets, and this one {found}", service.title());
        problems.push(
            Diagnostic::new(Code::ServerIdLength, message, other.span)
                .label(format!("{found} octets"))
                .note(first.span, format!("{expected} octets"))
                .help("make them equally long: the length is part of the servers' configuration"),
        );
    }
}

fn configurations(service: &DraftService, problems: &mut Problems) {
    let Some(other) = service.quic_other_configuration.given() else { return };
    if matches!(service.quic_configuration, Field::Bad) {
        return;
    }
    if service.quic_configuration.get().copied().unwrap_or(0) == other.value {
        let message = "`quic_other_configuration` has no effect: it is the same as `quic_configuration`";
        problems.push(Diagnostic::new(Code::NoEffect, message, other.span).help("take it out, or set another"));
    }
}

/// Keys that nothing looks at without `udp = "quic"`.
fn no_effect(service: &DraftService, problems: &mut Problems) {
    let configuration = service.quic_configuration.given().map(|at| (at.span, "quic_configuration"));
    let other = service.quic_other_configuration.given().map(|at| (at.span, "quic_other_configuration"));
    let id = ids(service).next().map(|at| (at.span, "server_id"));
    for (span, key) in [configuration, other, id].into_iter().flatten() {
        let message = format!("`{key}` has no effect without `udp = \"quic\"`");
        problems.push(Diagnostic::new(Code::NoEffect, message, span).help("take it out, or set `udp = \"quic\"`"));
    }
}
