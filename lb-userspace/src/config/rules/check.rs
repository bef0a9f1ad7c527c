//! The rules of checks and of what follows from them.

use super::vrrp::program;
use crate::config::check::{Check, Probe, Via};
use crate::config::code::Code;
use crate::config::diagnostic::{Diagnostic, Problems, Span};
use crate::config::draft::{At, DraftCheck, DraftService, Field};
use crate::config::model::Forwarding;

/// Of one backend: each is a probe in every interval.
const MOST_CHECKS: usize = 8;

pub(super) fn check(service: &DraftService, problems: &mut Problems) {
    if service.checks.len() > MOST_CHECKS {
        let message = format!("{} has {} checks, more than {MOST_CHECKS}", service.title(), service.checks.len());
        problems.push(Diagnostic::new(Code::TooMany, message, service.place()).help("check fewer things"));
    }
    for draft in &service.checks {
        if let Some(check) = &draft.check {
            one(service, draft, check, problems);
        }
    }
    quorum(service, problems);
    sorry(service, problems);
    unchecked(service, problems);
}

fn one(service: &DraftService, draft: &DraftCheck, check: &Check, problems: &mut Problems) {
    if check.timing.timeout > check.timing.interval {
        let message = "a probe may take longer than the time until the next one";
        problems.push(
            Diagnostic::new(Code::TimeoutOverInterval, message, draft.interval_span)
                .help("probes never overlap: the next one then begins late. Make `timeout` at most `interval`"),
        );
    }
    if let Probe::Script { command, user } = &check.probe {
        program(command, user, draft.command_span, problems);
    }
    if !draft.port_written && draft.kind.get().is_some_and(|kind| kind.has_port()) && !knows_port(service) {
        let message = format!("it is not known which port of the backends of {} is probed", service.title());
        problems.push(
            Diagnostic::new(Code::CheckWithoutPort, message, draft.span)
                .help("set `port` here: no listener has one port that this check could ask"),
        );
    }
    let all_nat = |method: &Field<Forwarding>| method.get().is_some_and(|method| method.translates());
    let nat_only = !service.backends.is_empty() && service.backends.iter().all(|backend| all_nat(&backend.forwarding));
    if let (Via::Service, Some(span), true) = (check.via, draft.via_span, nat_only) {
        let message = "under `nat` packets go to the backend's own address anyway";
        problems.push(Diagnostic::new(Code::NoEffect, message, span).help("take `via` out"));
    }
}

/// Whether a port follows from the listeners or from every backend.
fn knows_port(service: &DraftService) -> bool {
    service.listeners.iter().any(|listener| listener.value.probed_port().is_some())
        || (!service.backends.is_empty() && service.backends.iter().all(|backend| backend.port.get().is_some()))
}

fn quorum(service: &DraftService, problems: &mut Problems) {
    let Some(At { value: quorum, span }) = service.quorum.given() else { return };
    let backends = service.backends.len();
    if backends > 0 && *quorum as usize > backends {
        let message = format!("{} can never have its quorum of {quorum}: it has {backends} backends", service.title());
        problems.push(Diagnostic::new(Code::QuorumTooLarge, message, *span).help(format!("at most {backends}")));
    }
}

/// The sorry server is reached as a backend is, and is not one of them.
fn sorry(service: &DraftService, problems: &mut Problems) {
    let Some(sorry) = &service.sorry else { return };
    let Some(At { value: address, span }) = sorry.address.given() else { return };
    if let Some(first) = service.listeners.first()
        && sorry.forwarding.get().is_some_and(|it| *it != Forwarding::Tunnel)
        && first.value.address.is_ipv4() != address.is_ipv4()
    {
        problems.push(
            Diagnostic::new(Code::FamilyMismatch, "the sorry server's address is not of the service's family", *span)
                .note(first.span, "the service's")
                .help("give its address of that family: only `forwarding = \"tunnel\"` reaches the other"),
        );
    }
    if let (Some(port), Some(method @ (Forwarding::Direct | Forwarding::Tunnel))) =
        (sorry.port.given(), sorry.forwarding.get())
    {
        let message = format!("a sorry server has a port although `{}` cannot change ports", method.name());
        problems.push(Diagnostic::new(Code::PortWithoutNat, message, port.span).help("use `forwarding = \"nat\"`"));
    }
    let twin = service.backends.iter().find(|backend| {
        backend.address.get() == Some(address)
            && backend.port.get() == sorry.port.get()
            && backend.forwarding.get() == sorry.forwarding.get()
    });
    if let Some(twin) = twin.and_then(|backend| backend.address.given()) {
        problems.push(
            Diagnostic::new(Code::DuplicateBackend, "the sorry server is a backend of the service, too", *span)
                .note(twin.span, "the backend")
                .help("name a server that is not one of the backends"),
        );
    }
}

/// What only verdicts can bring about.
fn unchecked(service: &DraftService, problems: &mut Problems) {
    let is_probed = |draft: &DraftCheck| draft.check.is_some() || !matches!(draft.kind, Field::Given(_));
    if service.checks.iter().any(is_probed) {
        return;
    }
    let mut idle = |what: &str, span: Span| {
        let message = format!("`{what}` has no effect: the backends of {} are not checked", service.title());
        problems.push(Diagnostic::new(Code::NoEffect, message, span).help("add a `[service.check]`, or take it out"));
    };
    let is_written = |span: Span| span != service.span;
    if let Some(at) = service.slow_start.given().filter(|at| is_written(at.span)) {
        idle("slow_start", at.span);
    }
    if let Some(at) = service.minimum_healthy.given().filter(|at| is_written(at.span) && at.value > 0.0) {
        idle("minimum_healthy", at.span);
    }
    if let Some(span) = service.outlier_span {
        idle("outlier", span);
    }
}
