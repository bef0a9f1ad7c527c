//! The rules about which clients may come to a service, and how often.

use std::collections::HashMap;
use std::net::IpAddr;

use ipnet::IpNet;
use lb_common::limits::MAX_ACCESS_PREFIXES;

use crate::config::code::Code;
use crate::config::diagnostic::{Diagnostic, Problems, Span};
use crate::config::draft::{At, DraftRate, DraftRateLimit, DraftService, Field};

pub(super) fn check(service: &DraftService, problems: &mut Problems) {
    families(service, problems);
    twice(service, problems);
    if let Some(limit) = &service.access.rate_limit {
        rates(limit, problems);
        flows(service, limit, problems);
    }
}

/// Whether all services together fit the table of prefixes.
pub(super) fn within_table(services: &[DraftService], problems: &mut Problems) {
    let mut count = 0;
    for service in services {
        count += prefixes(service).count();
        if count > MAX_ACCESS_PREFIXES {
            let message = format!(
                "with {} there are more than {MAX_ACCESS_PREFIXES} networks that may come or not",
                service.title()
            );
            let diagnostic = Diagnostic::new(Code::TooMany, message, service.place());
            problems.push(diagnostic.help("the table in the kernel holds no more: join neighbouring networks"));
            return;
        }
    }
}

/// Every readable prefix, and the key that it is under.
fn prefixes(service: &DraftService) -> impl Iterator<Item = (&At<IpNet>, &'static str)> {
    let allowed = service.access.allow.iter().map(|at| (at, "allow"));
    allowed.chain(service.access.deny.iter().map(|at| (at, "deny")))
}

/// Clients are of the listeners' family: a network of the other one holds none.
fn families(service: &DraftService, problems: &mut Problems) {
    let Some(first) = service.listeners.first() else { return };
    let name = |address: IpAddr| if address.is_ipv4() { "IPv4" } else { "IPv6" };
    let expected = name(first.value.address);
    for (at, key) in prefixes(service).filter(|(at, _)| name(at.value.addr()) != expected) {
        let found = name(at.value.addr());
        let message = format!("{} is {expected}, but a network of its `{key}` is {found}", service.title());
        problems.push(
            Diagnostic::new(Code::FamilyMismatch, message, at.span)
                .label(found)
                .note(first.span, expected)
                .help(format!("take it out, or move it to the service that listens on {found}")),
        );
    }
}

fn twice(service: &DraftService, problems: &mut Problems) {
    let mut known: HashMap<IpNet, (Span, &str)> = HashMap::new();
    for (at, key) in prefixes(service) {
        let Some((first, first_key)) = known.insert(at.value, (at.span, key)) else { continue };
        let message = match key == first_key {
            true => format!("the network {} is in `{key}` twice", at.value),
            false => format!("the network {} is both in `allow` and in `deny`", at.value),
        };
        let diagnostic = Diagnostic::new(Code::DuplicatePrefix, message, at.span).label("again here");
        problems.push(diagnostic.note(first, "first here").help("take one out"));
    }
}

fn rates(limit: &DraftRateLimit, problems: &mut Problems) {
    let DraftRateLimit { service, client, .. } = limit;
    let is_absent = |rate: &DraftRate| matches!(rate.per_second, Field::Absent);
    if is_absent(service) && is_absent(client) {
        let message = "`rate_limit` limits nothing: it has neither `connections` nor `client_connections`";
        problems.push(Diagnostic::new(Code::EmptyLimit, message, limit.span).help("set one of them, or take it out"));
        return;
    }
    let mut no_effect = |key: &str, needs: &str, span: Span| {
        let message = format!("`{key}` has no effect without `{needs}`");
        problems.push(Diagnostic::new(Code::NoEffect, message, span).help(format!("take it out, or set `{needs}`")));
    };
    if let (true, Some(burst)) = (is_absent(service), service.burst.given()) {
        no_effect("burst", "connections", burst.span);
    }
    if let (true, Some(burst)) = (is_absent(client), client.burst.given()) {
        no_effect("client_burst", "client_connections", burst.span);
    }
    if let (true, Some(span)) = (is_absent(client), limit.prefixes.written) {
        no_effect("prefix", "client_connections", span);
    }
}

/// Datagrams do not say that a flow begins with them: it takes a record to know, and hashing schedulers keep none.
fn flows(service: &DraftService, limit: &DraftRateLimit, problems: &mut Problems) {
    let Some(scheduler) = service.scheduler.get().copied().filter(|scheduler| scheduler.is_hashing()) else { return };
    if let Some(listener) = service.listeners.iter().find(|at| !at.value.protocol.has_openings()) {
        let (scheduler, protocol) = (scheduler.name(), listener.value.protocol.name().to_uppercase());
        let message = format!(
            "`rate_limit` cannot go with {protocol} under `scheduler = \"{scheduler}\"`: nothing tells a new flow from an old one"
        );
        problems.push(
            Diagnostic::new(Code::LimitWithoutFlows, message, limit.span)
                .note(listener.span, protocol)
                .help("use a stateful scheduler, `round-robin` for example, or a service of its own for this listener"),
        );
    }
}
