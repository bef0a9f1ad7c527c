//! The rules between values: what each value alone may be, `value` has said already. Each rule is a function over the
//! draft that reports all of its violations. Here those over the whole file; `service` has those within one service,
//! `nat` those over addresses that are translated, `vrrp` those over virtual routers.

mod access;
mod check;
mod nat;
mod own_client;
mod quic;
mod scheduling;
mod service;
mod vrrp;

use super::code::Code;
use super::diagnostic::{Diagnostic, Problems, Span};
use super::draft::{At, Draft, DraftService};
use super::model::{Listener, Ports, Protocol};
use lb_common::limits::{MAX_LISTENERS, MAX_RANGES, MAX_ROWS};
use std::collections::{BTreeMap, HashMap};
use std::fmt::Display;
use std::hash::Hash;
use std::net::IpAddr;

/// Every rule.
pub(super) fn check(draft: &Draft, problems: &mut Problems) {
    interfaces(draft, problems);
    let names = draft.services.iter().filter_map(|service| service.name.given());
    duplicates(names, Code::DuplicateService, "service", "give each service a name of its own", problems);
    listeners(&draft.services, problems);
    if within_tables(&draft.services, problems) {
        nat::check(draft, problems);
    }
    for service in &draft.services {
        service::check(service, problems);
        check::check(service, problems);
        scheduling::check(service, problems);
        access::check(service, problems);
        quic::check(service, problems);
    }
    quic::within_table(&draft.services, problems);
    access::within_table(&draft.services, problems);
    vrrp::check(draft, problems);
    own_client::check(draft, problems);
}

fn interfaces(draft: &Draft, problems: &mut Problems) {
    let advice = "list each interface once";
    duplicates(draft.interfaces.iter(), Code::DuplicateInterface, "interface", advice, problems);
    if draft.interfaces_written {
        return;
    }
    let Some(first) = draft.services.first() else { return };
    problems.push(
        Diagnostic::new(
            Code::NoInterfaces,
            "there are services, but no interface to receive their packets on",
            draft.interfaces_span.unwrap_or(first.span),
        )
        .help("name the interfaces clients' packets arrive on: `interfaces = [\"eth0\"]` in `[dataplane]`"),
    );
}

fn listeners(services: &[DraftService], problems: &mut Problems) {
    let all = || services.iter().flat_map(|service| service.listeners.iter());
    let advice = "let one service have it, or change address, port or protocol of the other";
    duplicates(all(), Code::DuplicateListener, "listener", advice, problems);
    ranges(all(), problems);
}

/// Ranges of an address and protocol, and ports beside them, have nothing in common; `*` takes what they leave.
fn ranges<'a>(listeners: impl Iterator<Item = &'a At<Listener>>, problems: &mut Problems) {
    let mut by_address: BTreeMap<(IpAddr, Protocol), Vec<&At<Listener>>> = BTreeMap::new();
    for at in listeners.filter(|at| at.value.ports != Ports::Every) {
        by_address.entry((at.value.address, at.value.protocol)).or_default().push(at);
    }
    for mut of_address in by_address.into_values() {
        let ranges: Vec<Span> = of_address.iter().filter(|at| is_range(at)).map(|at| at.span).collect();
        if let Some(beyond) = ranges.get(MAX_RANGES) {
            let message = format!("an address has more than {MAX_RANGES} ranges of ports of one protocol");
            let diagnostic = Diagnostic::new(Code::TooManyRanges, message, *beyond);
            problems.push(diagnostic.help("join ranges, or take every port with `*`"));
        }
        of_address.sort_by_key(|at| at.value.ports.first());
        // The one that reaches farthest of those before: it meets whatever any of them meets.
        let mut farthest: Option<&At<Listener>> = None;
        for at in of_address {
            let met =
                farthest.filter(|other| other.value.ports.meets(at.value.ports) && (is_range(other) || is_range(at)));
            if let Some(other) = met {
                let (first, second) = if other.span.start <= at.span.start { (other, at) } else { (at, other) };
                let message = format!("listener `{}` has ports of `{}`", second.value, first.value);
                problems.push(
                    Diagnostic::new(Code::OverlappingPorts, message, second.span)
                        .label("again here")
                        .note(first.span, "first here")
                        .help("let each port be of one listener"),
                );
            }
            if farthest.is_none_or(|other| last(other) < last(at)) {
                farthest = Some(at);
            }
        }
    }
}

fn is_range(at: &At<Listener>) -> bool {
    matches!(at.value.ports, Ports::Range(..))
}

fn last(at: &At<Listener>) -> u16 {
    match at.value.ports {
        Ports::One(port) | Ports::Range(_, port) => port,
        Ports::Every => u16::MAX,
    }
}

/// Reports every value that was there before, pointing at both places.
fn duplicates<'a, T: Eq + Hash + Display + 'a>(
    values: impl Iterator<Item = &'a At<T>>,
    code: Code,
    thing: &str,
    advice: &str,
    problems: &mut Problems,
) {
    let mut first_places: HashMap<&T, Span> = HashMap::new();
    for at in values {
        match first_places.get(&at.value) {
            None => {
                first_places.insert(&at.value, at.span);
            }
            Some(first) => problems.push(
                Diagnostic::new(code, format!("{thing} `{}` is there twice", at.value), at.span)
                    .label("again here")
                    .note(*first, "first here")
                    .help(advice),
            ),
        }
    }
}

/// Whether all services together fit the maps.
fn within_tables(services: &[DraftService], problems: &mut Problems) -> bool {
    let (mut listeners, mut rows) = (0, 0);
    let (mut listeners_fit, mut rows_fit) = (true, true);
    for service in services {
        // A range is found by an entry of its own, which an address may need besides.
        listeners += service.listeners.iter().map(|at| if is_range(at) { 2 } else { 1 }).sum::<usize>();
        rows += service.listeners.len() * service.backends.len();
        if listeners > MAX_LISTENERS && std::mem::take(&mut listeners_fit) {
            problems.push(too_many(Code::TooManyListeners, "listeners", MAX_LISTENERS, service));
        }
        if rows > MAX_ROWS && std::mem::take(&mut rows_fit) {
            problems.push(too_many(Code::TooManyRows, "pairs of listener and backend", MAX_ROWS, service));
        }
    }
    listeners_fit && rows_fit
}

fn too_many(code: Code, things: &str, limit: usize, service: &DraftService) -> Diagnostic {
    Diagnostic::new(code, format!("with {} there are more than {limit} {things}", service.title()), service.place())
        .help("the tables in the kernel hold no more; a port `*` takes one listener for all ports")
}
