//! The rules within one service.

use crate::config::code::Code;
use crate::config::diagnostic::{Diagnostic, Problems, Span};
use crate::config::draft::{At, DraftBackend, DraftService, DraftWrapping, Field};
use crate::config::model::{Backend, Encapsulation, Forwarding, Listener, Protocol, UdpMode};
use lb_common::limits::MAX_BACKENDS_PER_SERVICE;
use std::collections::{HashMap, HashSet};
use std::net::IpAddr;

/// Slots a backend below which shares become uneven: each is exact to one slot, so 100 mean 1 %.
const SLOTS_FOR_EVEN_SHARES: usize = 100;

pub(super) fn check(service: &DraftService, problems: &mut Problems) {
    no_listeners(service, problems);
    families(service, problems);
    let told = same_server_twice(service, problems);
    // Where the name is the address by default, the same mistake is not told again.
    let names =
        service.backends.iter().filter_map(|backend| backend.name.given()).filter(|name| !told.contains(&name.span));
    let advice = "give each backend of the service a name of its own; the default is its address";
    super::duplicates(names, Code::DuplicateBackendName, "backend", advice, problems);
    for backend in &service.backends {
        port(service, backend, problems);
    }
    pool_size(service, problems);
    weights(service, problems);
    no_effect(service, problems);
}

fn no_listeners(service: &DraftService, problems: &mut Problems) {
    if let Some(span) = service.empty_listen {
        problems.push(
            Diagnostic::new(Code::NoListeners, format!("{} listens on nothing", service.title()), span)
                .help("add a listener: `listen = [\"tcp://203.0.113.10:80\"]`"),
        );
    }
}

fn family(address: IpAddr) -> &'static str {
    if address.is_ipv4() { "IPv4" } else { "IPv6" }
}

/// Every address of a service is of one family, since each listener uses every backend and only `tunnel` wraps packets into those
/// of another. The first listener decides which.
fn families(service: &DraftService, problems: &mut Problems) {
    let Some(first) = service.listeners.first() else { return };
    let expected = family(first.value.address);
    let mixed = service.listeners.iter().find(|other| family(other.value.address) != expected);
    if let Some(other) = mixed {
        let message = format!("{} listens on both {expected} and {}", service.title(), family(other.value.address));
        problems.push(
            Diagnostic::new(Code::FamilyMismatch, message, other.span)
                .label(family(other.value.address))
                .note(first.span, expected)
                .help("make two services, one a family, each with the backends' addresses of that family"),
        );
    }
    let keeps_family = |backend: &&DraftBackend| backend.forwarding.get().is_some_and(|it| *it != Forwarding::Tunnel);
    for address in service.backends.iter().filter(keeps_family).filter_map(|backend| backend.address.given()) {
        let found = family(address.value);
        if found != expected {
            let message = format!("{} is {expected}, but a backend's address is {found}", service.title());
            problems.push(
                Diagnostic::new(Code::FamilyMismatch, message, address.span)
                    .label(found)
                    .note(first.span, expected)
                    .help(format!(
                        "give the backend's {expected} address: only `forwarding = \"tunnel\"` reaches the other"
                    )),
            );
        }
    }
}

/// A backend with the target of its packets, as far as both could be read.
struct Target {
    backend: Backend,
    span: Span,
}

/// One server may be listed again only where nat reaches another port of it; else it gets a share twice by accident.
/// Returns the places of the addresses it reported.
fn same_server_twice(service: &DraftService, problems: &mut Problems) -> HashSet<Span> {
    let mut told = HashSet::new();
    let mut by_address: HashMap<IpAddr, Vec<Target>> = HashMap::new();
    for draft in &service.backends {
        let (Some(backend), Some(address)) = (draft.target(), draft.address.given()) else { continue };
        let known = by_address.entry(backend.address).or_default();
        if let Some(first) = known.iter().find(|other| same_target(&other.backend, &backend, &service.listeners)) {
            told.insert(address.span);
            let message = format!("{} has the server {} twice", service.title(), backend.address);
            problems.push(
                Diagnostic::new(Code::DuplicateBackend, message, address.span)
                    .label("again here")
                    .note(first.span, "first here")
                    .help("take one out and raise the weight of the other instead"),
            );
        } else {
            known.push(Target { backend, span: address.span });
        }
    }
    told
}

fn same_target(a: &Backend, b: &Backend, listeners: &[At<Listener>]) -> bool {
    let port = |backend: &Backend, listener: &Listener| match backend.forwarding {
        Forwarding::Direct | Forwarding::Tunnel => listener.ports,
        Forwarding::Nat | Forwarding::FullNat => backend.target_ports(listener),
    };
    listeners.iter().any(|at| port(a, &at.value) == port(b, &at.value))
}

fn port(service: &DraftService, backend: &DraftBackend, problems: &mut Problems) {
    let (Some(port), Some(forwarding)) = (backend.port.given(), backend.forwarding.given()) else { return };
    match forwarding.value {
        Forwarding::Direct | Forwarding::Tunnel => {
            let message =
                format!("`port` is for nat only: {} leaves the packet's port as it is", forwarding.value.name());
            let diagnostic = Diagnostic::new(Code::PortWithoutNat, message, port.span);
            let help = "take it out and let the server listen on the service's port, or use `forwarding = \"nat\"`";
            problems.push(diagnostic.help(help));
        }
        Forwarding::Nat | Forwarding::FullNat => {
            if let Some(wildcard) = service.listeners.iter().find(|listener| takes_several_ports(&listener.value)) {
                problems.push(
                    Diagnostic::new(
                        Code::PortUnderWildcard,
                        "`port` cannot go with a listener of several ports: their replies could not be told apart",
                        port.span,
                    )
                    .label("every port would become this one")
                    .note(wildcard.span, "takes several ports")
                    .help("take `port` out, or list the ports of the service one by one"),
                );
            }
        }
    }
}

fn takes_several_ports(listener: &Listener) -> bool {
    listener.ports.one().is_none() && listener.protocol.has_ports()
}

fn pool_size(service: &DraftService, problems: &mut Problems) {
    let backends = service.backends.len();
    if backends > MAX_BACKENDS_PER_SERVICE {
        let message = format!("{} has {backends} backends, more than {MAX_BACKENDS_PER_SERVICE}", service.title());
        let diagnostic = Diagnostic::new(Code::TooManyBackends, message, service.place());
        problems.push(diagnostic.help("the tables in the kernel hold no more: split the service"));
    }
    let Some(size) = service.lookup_table_size.given() else { return };
    let slots = size.value as usize;
    let wanted = (backends * SLOTS_FOR_EVEN_SHARES).next_power_of_two();
    if backends > slots {
        let message = format!("{} has {backends} backends, but its lookup table only {slots} slots", service.title());
        let diagnostic = Diagnostic::new(Code::MoreBackendsThanSlots, message, size.span);
        problems.push(diagnostic.help(format!("set `lookup_table_size = {wanted}`")));
    } else if backends * SLOTS_FOR_EVEN_SHARES > slots {
        let message =
            format!("{} has fewer than {SLOTS_FOR_EVEN_SHARES} slots a backend: shares are uneven", service.title());
        problems.push(
            Diagnostic::new(Code::FewSlots, message, size.span)
                .label(format!("{slots} slots for {backends} backends"))
                .help(format!("set `lookup_table_size = {wanted}`; changing it later moves most flows")),
        );
    }
}

fn weights(service: &DraftService, problems: &mut Problems) {
    if service.backends.is_empty() {
        let message = format!("{} has no backends: `on_no_backend` decides over all its packets", service.title());
        let diagnostic = Diagnostic::new(Code::NoBackends, message, service.place());
        problems.push(diagnostic.help("add a `[[service.backend]]`"));
    } else if service.backends.iter().all(|backend| backend.weight.get() == Some(&0)) {
        let message = format!("every backend of {} has weight 0: no new flow finds a backend", service.title());
        let diagnostic = Diagnostic::new(Code::AllWeightsZero, message, service.place());
        problems.push(diagnostic.help("give at least one backend a weight above 0"));
    }
}

/// An encapsulation that nothing is wrapped into, and a port that its kind has not.
fn wrapping(wrapping: &DraftWrapping, maybe_tunnel: bool, problems: &mut Problems) {
    let Some(span) = wrapping.written else { return };
    if !maybe_tunnel {
        let diagnostic = Diagnostic::new(Code::NoEffect, "`encapsulation` has no effect without tunnel", span);
        problems.push(diagnostic.help("take it out, or set `forwarding = \"tunnel\"`"));
    }
    if let (Some(Encapsulation::Ipip | Encapsulation::Gre), Some(port)) =
        (wrapping.encapsulation.get(), wrapping.port.given())
    {
        let message = "`encapsulation_port` has no effect: only `gue` and `fou` have ports";
        problems.push(Diagnostic::new(Code::NoEffect, message, port.span).help("take it out"));
    }
}

/// Keys that say something nobody will ever look at, probably because another one was forgotten.
fn no_effect(service: &DraftService, problems: &mut Problems) {
    let methods = || service.backends.iter().map(|backend| &backend.forwarding).chain([&service.forwarding]);
    let maybe_nat = methods().any(|method| method.get().is_none_or(|it| *it == Forwarding::Nat));
    let maybe_tunnel = |method: &Field<Forwarding>| method.get().is_none_or(|it| *it == Forwarding::Tunnel);
    let sorry = service.sorry.as_ref().map(|sorry| &sorry.forwarding);
    wrapping(&service.wrapping, methods().chain(sorry).any(maybe_tunnel), problems);
    for backend in &service.backends {
        wrapping(&backend.wrapping, maybe_tunnel(&backend.forwarding), problems);
    }
    if let (Some(first), false) = (service.nat_exclude.first(), maybe_nat) {
        let diagnostic = Diagnostic::new(Code::NoEffect, "`nat_exclude` has no effect without nat", first.span);
        problems.push(diagnostic.help("take it out, or set `forwarding = \"nat\"`"));
    }
    let maybe_udp =
        service.listeners.is_empty() || service.listeners.iter().any(|at| at.value.protocol == Protocol::Udp);
    if let (Some(At { value: UdpMode::Flows | UdpMode::OnePacket | UdpMode::Quic, span }), false) =
        (service.udp.given(), maybe_udp)
    {
        let diagnostic = Diagnostic::new(Code::NoEffect, "`udp` has no effect: no listener is UDP", *span);
        problems.push(diagnostic.help("take it out, or add a listener `udp://...`"));
    } else if let Some(At { value: UdpMode::OnePacket, span }) = service.udp.given()
        && let Some(scheduler) = service.scheduler.get().filter(|scheduler| scheduler.is_hashing())
    {
        let message =
            format!("`udp = \"one-packet\"` has no effect: `{}` keeps a flow on one backend", scheduler.name());
        let diagnostic = Diagnostic::new(Code::NoEffect, message, *span);
        problems.push(diagnostic.help("take it out, or use a stateful scheduler, `round-robin` for example"));
    }
}
