//! What translation asks of addresses. That several services reach one server at one port is no fault: whose a reply is, records say then
//! (`reconcile::sharing`).

use crate::config::code::Code;
use crate::config::diagnostic::{Diagnostic, Problems, Span};
use crate::config::draft::{Draft, DraftRouter, DraftService, Field};
use crate::config::model::{Backend, Forwarding, Ports, Protocol};
use lb_common::limits::{MAX_RANGES, SOURCE_ADDRESSES};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;

pub(super) fn check(draft: &Draft, problems: &mut Problems) {
    let listeners = listeners(&draft.services);
    backends_that_are_listeners(&draft.services, &listeners, problems);
    sources(draft, &listeners, problems);
    backends_without_source(draft, problems);
    draft.services.iter().for_each(|service| sources_that_stay(service, draft, problems));
    draft.services.iter().for_each(|service| protocols(service, problems));
    ranges(&draft.services, problems);
}

/// Every service's address, and one place where it is listened on.
fn listeners(services: &[DraftService]) -> HashMap<IpAddr, Span> {
    let all = services.iter().flat_map(|service| &service.listeners).rev();
    all.map(|listener| (listener.value.address, listener.span)).collect()
}

fn translated_backends(service: &DraftService) -> impl Iterator<Item = (Backend, Span)> {
    service.backends.iter().filter_map(|draft| {
        let backend = draft.target().filter(|backend| backend.forwarding.translates())?;
        Some((backend, draft.address.given()?.span))
    })
}

/// Translating to an address that is itself a service would send the packet to this very node.
fn backends_that_are_listeners(services: &[DraftService], listeners: &HashMap<IpAddr, Span>, problems: &mut Problems) {
    for (backend, span) in services.iter().flat_map(translated_backends) {
        let Some(listener) = listeners.get(&backend.address) else { continue };
        problems.push(
            Diagnostic::new(
                Code::BackendIsListener,
                format!("nat backend `{}` has the address of a service, {}", backend.name, backend.address),
                span,
            )
            .note(*listener, "the service")
            .help("give the server's own address; a packet is translated once, never from one service to the next"),
        );
    }
}

fn sources(draft: &Draft, listeners: &HashMap<IpAddr, Span>, problems: &mut Problems) {
    let (v4, v6): (Vec<_>, Vec<_>) = draft.sources.items.iter().partition(|at| at.value.is_ipv4());
    for of_family in [v4, v6] {
        if let Some(first) = of_family.get(SOURCE_ADDRESSES) {
            let message = format!("there are more than {SOURCE_ADDRESSES} source addresses of one family");
            problems.push(Diagnostic::new(Code::TooMany, message, first.span).help("take some out"));
        }
    }
    for source in &draft.sources.items {
        let Some(listener) = listeners.get(&source.value) else { continue };
        problems.push(
            Diagnostic::new(
                Code::SourceIsListener,
                format!("the source address {} is the address of a service", source.value),
                source.span,
            )
            .note(*listener, "the service")
            .help("give another address of this node: what backends send there must not be taken for clients' packets"),
        );
    }
}

/// One report for each service and family.
fn backends_without_source(draft: &Draft, problems: &mut Problems) {
    let has = |backend: &Backend| {
        draft.sources.items.iter().any(|source| source.value.is_ipv4() == backend.address.is_ipv4())
    };
    if !draft.sources.complete {
        return;
    }
    for service in &draft.services {
        let needs = |(backend, _): &(Backend, Span)| backend.forwarding == Forwarding::FullNat && !has(backend);
        let Some((backend, span)) = translated_backends(service).find(needs) else { continue };
        let family = if backend.address.is_ipv4() { "IPv4" } else { "IPv6" };
        let message =
            format!("backend `{}` is reached by `full-nat`, and there is no {family} source address", backend.name);
        problems.push(Diagnostic::new(Code::NoSource, message, span).help(
            "name addresses of this node that the backends reach: `source_nat_addresses = [...]` in `[dataplane]`",
        ));
    }
}

/// Replies come to the source address: where that stays behind when the service moves, its flows end.
fn sources_that_stay(service: &DraftService, draft: &Draft, problems: &mut Problems) {
    let followed = service.vrrp.given().and_then(|at| at.value.as_ref().map(|name| (name, at.span)));
    let Some((name, span)) = followed else { return };
    let Some(router) = draft.routers.iter().find(|it| it.name.get() == Some(name)) else { return };
    let full = |(backend, _): &(Backend, Span)| backend.forwarding == Forwarding::FullNat;
    let Some((backend, backend_span)) = translated_backends(service).find(full) else { return };
    let group = router.group.get().and_then(Option::as_ref);
    let moves_along = |it: &&DraftRouter| {
        std::ptr::eq(*it, router) || group.is_some() && it.group.get().and_then(Option::as_ref) == group
    };
    let movers: Vec<&DraftRouter> = draft.routers.iter().filter(moves_along).collect();
    let is_readable = movers.iter().all(|it| it.addresses.complete && it.excluded_addresses.complete);
    let sources = draft.sources.items.iter().map(|source| source.value);
    let of_family: Vec<IpAddr> = sources.filter(|it| it.is_ipv4() == backend.address.is_ipv4()).collect();
    let is_held = |source: &IpAddr| movers.iter().any(|router| router.held().any(|held| held.value.addr() == *source));
    if !draft.sources.complete || !is_readable || of_family.is_empty() || of_family.iter().any(is_held) {
        return;
    }
    let message = format!(
        "{} follows {}, and none of the addresses that `full-nat` gives its flows does: they end when it moves",
        service.title(),
        router.title()
    );
    problems.push(
        Diagnostic::new(Code::SourceDoesNotFollow, message, span)
            .note(backend_span, "reached by `full-nat`")
            .note(router.place(), "does not hold any of `source_nat_addresses`")
            .help("add an address that the backends reach to `excluded_addresses` of the router, and to `source_nat_addresses`"),
    );
}

/// One report for each service: of its first listener that no backend under nat can serve.
fn protocols(service: &DraftService, problems: &mut Problems) {
    let Some(listener) = service.listeners.iter().find(|at| !at.value.protocol.is_translated()) else { return };
    let backends = service.backends.iter().map(|backend| &backend.forwarding);
    let methods = backends.chain(service.sorry.as_ref().map(|sorry| &sorry.forwarding));
    let Some(method) = methods.filter_map(Field::given).find(|method| method.value.translates()) else { return };
    let (protocol, method_name) = (listener.value.protocol.name(), method.value.name());
    let message =
        format!("`{}` cannot be served under `{method_name}`, which does not translate {protocol}", listener.value);
    problems.push(
        Diagnostic::new(Code::NotTranslated, message, listener.span)
            .note(method.span, "translates")
            .help("use `direct` or `tunnel`, or a service of its own for this listener"),
    );
}

/// The ranges of a server are searched when it replies, those of all services together.
fn ranges(services: &[DraftService], problems: &mut Problems) {
    let mut servers: BTreeMap<(IpAddr, Protocol), BTreeSet<Ports>> = BTreeMap::new();
    for service in services {
        for (backend, span) in translated_backends(service) {
            let targets = service.listeners.iter().map(|at| (at.value.protocol, backend.target_ports(&at.value)));
            for (protocol, ports) in targets.filter(|(_, ports)| matches!(ports, Ports::Range(..))) {
                let known = servers.entry((backend.address, protocol)).or_default();
                if known.insert(ports) && known.len() == MAX_RANGES + 1 {
                    let message = format!("the server {} has more than {MAX_RANGES} ranges of ports", backend.address);
                    let diagnostic = Diagnostic::new(Code::TooManyRanges, message, span);
                    problems.push(diagnostic.help("join ranges, or take every port with `*`"));
                }
            }
        }
    }
}
