//! The rules about how a service chooses backends: what goes with which scheduler.

use crate::config::code::Code;
use crate::config::diagnostic::{Diagnostic, Problems, Span};
use crate::config::draft::{At, DraftService};
use crate::config::model::UdpMode;
use crate::config::scheduling::Scheduler;

pub(super) fn check(service: &DraftService, problems: &mut Problems) {
    let Some(scheduler) = service.scheduler.get().copied() else { return };
    persistence(service, scheduler, problems);
    source(service, scheduler, problems);
    thresholds(service, scheduler, problems);
    by_address(service, scheduler, problems);
}

/// ESP and AH have no ports, and the keys of a client are with the backend that its IKE (UDP ports 500 and 4500) went to: all that a
/// client sends must go to one backend. Records of UDP flows would part what the lookup table keeps together.
fn by_address(service: &DraftService, scheduler: Scheduler, problems: &mut Problems) {
    let Some(listener) = service.listeners.iter().find(|at| !at.value.protocol.has_ports()) else { return };
    let by_port = service.source_port.get().is_some_and(|port| *port);
    let keeps_clients = scheduler == Scheduler::SourceHash && !by_port || service.persistence.is_some();
    let title =
        format!("`{}` needs all packets of a client to go to one backend, the one that has its keys", listener.value);
    let mut push = |span: Span, label: &str, help: &str| {
        let diagnostic = Diagnostic::new(Code::PartedFromIke, title.clone(), listener.span).note(span, label);
        problems.push(diagnostic.help(help));
    };
    if !keeps_clients {
        let by_port = service.source_port.given().filter(|at| at.value).map(|at| at.span);
        let span = by_port.or(service.scheduler.given().map(|at| at.span)).unwrap_or_else(|| service.place());
        push(
            span,
            "may send them to several",
            "set `scheduler = \"source-hash\"`, without `source_port`, or `persistence`",
        );
    } else if let (Some(At { value: UdpMode::Flows, span }), true) = (service.udp.given(), scheduler.is_hashing()) {
        push(*span, "keeps IKE where ESP is not kept", "take `udp` out: then both move together when the pool changes");
    } else if let Some(At { value: UdpMode::Quic, span }) = service.udp.given() {
        push(*span, "would read IKE as QUIC", "take `udp` out, or make a service of its own for QUIC");
    }
}

/// Hashing by address keeps clients together as it is; `maglev` does by hashing less, and then forgets nobody. All others remember.
fn persistence(service: &DraftService, scheduler: Scheduler, problems: &mut Problems) {
    let Some(persistence) = &service.persistence else { return };
    let refused = match scheduler {
        Scheduler::Maglev => None,
        Scheduler::SourceHash => Some((
            "keeps every client on one backend by itself",
            "`source_prefix_v4` and `source_prefix_v6` say who is one client",
        )),
        Scheduler::DestinationHash => Some((
            "sends all clients of an address to one backend",
            "take it out, or use `scheduler = \"source-hash\"`",
        )),
        Scheduler::RoundRobin
        | Scheduler::WeightedRoundRobin
        | Scheduler::LeastConnection
        | Scheduler::WeightedLeastConnection
        | Scheduler::ShortestExpectedDelay
        | Scheduler::NeverQueue
        | Scheduler::WeightedFailover
        | Scheduler::WeightedOverflow
        | Scheduler::WeightedRandomTwos
        | Scheduler::LocalityLeastConnection
        | Scheduler::ReplicatedLocalityLeastConnection => None,
    };
    if let Some((why, help)) = refused {
        let message = format!("`persistence` cannot go with `scheduler = \"{}\"`, which {why}", scheduler.name());
        problems.push(Diagnostic::new(Code::PersistenceByHash, message, persistence.span).help(help));
    } else if let (Scheduler::Maglev, Some(At { span, .. })) = (scheduler, persistence.timeout.given()) {
        let message = "`timeout` has no effect: with `maglev` no client is remembered, hence none forgotten";
        problems.push(Diagnostic::new(Code::NoEffect, message, *span).help("take it out"));
    }
}

fn source(service: &DraftService, scheduler: Scheduler, problems: &mut Problems) {
    if scheduler == Scheduler::SourceHash {
        return;
    }
    let mut no_effect = |span: Option<Span>, key: &str, help: &str| {
        if let Some(span) = span {
            let message = format!("`{key}` has no effect: it is for `scheduler = \"source-hash\"`");
            problems.push(Diagnostic::new(Code::NoEffect, message, span).help(help));
        }
    };
    let prefixes = "take it out, or use `persistence`, which has prefixes too";
    no_effect(service.source_prefix.written, "source_prefix", prefixes);
    let port = service.source_port.given().filter(|at| at.value).map(|at| at.span);
    no_effect(port, "source_port", "take it out");
}

fn thresholds(service: &DraftService, scheduler: Scheduler, problems: &mut Problems) {
    for backend in &service.backends {
        let (Some(upper), Some(lower)) = (backend.upper_threshold.given(), backend.lower_threshold.given()) else {
            continue;
        };
        if lower.value > 0 && lower.value >= upper.value {
            let message = match upper.value {
                0 => "`lower_threshold` without `upper_threshold`: the backend is never full".to_owned(),
                upper => format!("`lower_threshold` is not below `upper_threshold`, {upper}"),
            };
            let help = "set `upper_threshold` higher, or leave `lower_threshold` out: it is three quarters then";
            problems.push(Diagnostic::new(Code::LowerAboveUpper, message, lower.span).help(help));
        } else if upper.value > 0 && scheduler.is_hashing() {
            let scheduler = scheduler.name();
            let message = format!("`upper_threshold` has no effect: `{scheduler}` does not count connections");
            let help = "take it out, or use a stateful scheduler, `weighted-least-connection` for example";
            problems.push(Diagnostic::new(Code::NoEffect, message, upper.span).help(help));
        }
    }
}
