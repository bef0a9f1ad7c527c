//! A reply of a nat backend must tell by itself which service it belongs to.
//!
//! NAT keeps no state per flow: a packet to listener `L` leaves for backend address and port `B`, and a reply that comes
//! from `B` gets `L`'s address and port back. So what is looked up is (backend address, backend port, protocol), and if
//! two listeners translate to the same of these, half of the clients would get replies from an address they never
//! wrote to. Such a pair is refused here, before anyone looks for it with tcpdump.
//!
//! A listener of every port translates to every port of its backends, so it meets each exact listener with the same
//! backend; the two agree only if both give a reply the same address and the port it already has.

use crate::config::code::Code;
use crate::config::diagnostic::{Diagnostic, Problems, Span};
use crate::config::draft::{At, DraftService};
use crate::config::model::{Backend, Forwarding, Listener, Protocol};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::IpAddr;

pub(super) fn check(services: &[DraftService], problems: &mut Problems) {
    backends_that_are_listeners(services, problems);
    let mut reverse: BTreeMap<(IpAddr, Protocol), Translations> = BTreeMap::new();
    let mut told = HashSet::new();
    for (service, listener, backend) in translations(services) {
        let origin = Origin { service, listener, backend: backend.name.clone() };
        let port = backend.target_port(&listener.value);
        let known = reverse.entry((backend.address, listener.value.protocol)).or_default();
        for earlier in known.conflicts(port, &listener.value) {
            // One report a pair of listeners: a hundred common backends are one mistake.
            if told.insert((earlier.listener.span, listener.span)) {
                problems.push(ambiguous(earlier, &origin, &backend, port));
            }
        }
        known.insert(port, origin);
    }
}

/// Where a translation comes from.
struct Origin<'a> {
    service: &'a DraftService,
    listener: &'a At<Listener>,
    backend: String,
}

/// What replies of one backend address and protocol are translated to, by the backend's port.
#[derive(Default)]
struct Translations<'a> {
    exact: BTreeMap<u16, Origin<'a>>,
    every_port: Option<Origin<'a>>,
}

impl<'a> Translations<'a> {
    /// The listeners known so far that would give a reply from `port` (`None`: some port) another source than `listener`
    /// does.
    fn conflicts(&self, port: Option<u16>, listener: &Listener) -> Vec<&Origin<'a>> {
        let differs = |reply: u16, other: &Listener| {
            (other.address, other.port.unwrap_or(reply)) != (listener.address, listener.port.unwrap_or(reply))
        };
        let mut conflicts = Vec::new();
        let wildcard = self.every_port.as_ref();
        match port {
            Some(port) => {
                conflicts.extend(
                    self.exact.get(&port).into_iter().chain(wildcard).filter(|o| differs(port, &o.listener.value)),
                );
            }
            None => {
                conflicts
                    .extend(self.exact.iter().filter(|(port, o)| differs(**port, &o.listener.value)).map(|(_, o)| o));
                conflicts.extend(wildcard.filter(|o| o.listener.value.address != listener.address));
            }
        }
        conflicts
    }

    fn insert(&mut self, port: Option<u16>, origin: Origin<'a>) {
        match port {
            Some(port) => {
                self.exact.entry(port).or_insert(origin);
            }
            None => {
                self.every_port.get_or_insert(origin);
            }
        }
    }
}

/// Every pair of listener and nat backend that is readable and not refused for another reason already.
fn translations(services: &[DraftService]) -> impl Iterator<Item = (&DraftService, &At<Listener>, Backend)> {
    services.iter().flat_map(|service| {
        let backends: Vec<Backend> = nat_backends(service).map(|(backend, _)| backend).collect();
        service.listeners.iter().flat_map(move |listener| {
            let wildcard_with_port = |backend: &Backend| listener.value.port.is_none() && backend.port.is_some();
            let usable: Vec<Backend> = backends.iter().filter(|b| !wildcard_with_port(b)).cloned().collect();
            usable.into_iter().map(move |backend| (service, listener, backend))
        })
    })
}

fn nat_backends(service: &DraftService) -> impl Iterator<Item = (Backend, Span)> {
    service.backends.iter().filter_map(|draft| {
        let backend = draft.target().filter(|backend| backend.forwarding == Forwarding::Nat)?;
        Some((backend, draft.address.given()?.span))
    })
}

fn ambiguous(first: &Origin<'_>, second: &Origin<'_>, backend: &Backend, port: Option<u16>) -> Diagnostic {
    let port = port.map_or_else(|| "any port".to_owned(), |port| format!("port {port}"));
    let (one, other) = (&first.listener.value, &second.listener.value);
    let (title, other_title) = (first.service.title(), second.service.title());
    let message = if std::ptr::eq(first.service, second.service) {
        format!("replies of {} from {port} could belong to `{one}` or to `{other}` of {title}", backend.address)
    } else {
        format!(
            "replies of {} from {port} could belong to `{one}` of {title} or to `{other}` of {other_title}",
            backend.address
        )
    };
    Diagnostic::new(Code::AmbiguousReply, message, second.listener.span)
        .label(format!("reaches it as backend `{}`", second.backend))
        .note(first.listener.span, format!("reaches it as backend `{}`", first.backend))
        .help(
            "nat gives a reply the service's address back by the server's address and port alone: \
             let each listener use a port of its own on the server (`port` of the backend), \
             or another address of the server",
        )
}

/// Translating to an address that is itself a service would send the packet to this very node.
fn backends_that_are_listeners(services: &[DraftService], problems: &mut Problems) {
    let mut by_address: HashMap<IpAddr, Span> = HashMap::new();
    for listener in services.iter().flat_map(|service| &service.listeners) {
        by_address.entry(listener.value.address).or_insert(listener.span);
    }
    for (backend, span) in services.iter().flat_map(nat_backends) {
        let Some(listener) = by_address.get(&backend.address) else { continue };
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
