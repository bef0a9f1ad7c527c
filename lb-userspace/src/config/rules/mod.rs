//! The rules between values: what each value alone may be, `value` has said already. Each rule is a function over the
//! draft that reports all of its violations. Here those over the whole file; `service` has those within one service,
//! `nat` those over addresses that are translated, `vrrp` those over virtual routers.

mod access;
mod check;
mod nat;
mod scheduling;
mod service;
mod vrrp;

use super::code::Code;
use super::diagnostic::{Diagnostic, Problems, Span};
use super::draft::{At, Draft, DraftService};
use lb_common::limits::{MAX_LISTENERS, MAX_ROWS};
use std::collections::HashMap;
use std::fmt::Display;
use std::hash::Hash;

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
    }
    access::within_table(&draft.services, problems);
    vrrp::check(draft, problems);
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
    let all = services.iter().flat_map(|service| service.listeners.iter());
    let advice = "let one service have it, or change address, port or protocol of the other";
    duplicates(all, Code::DuplicateListener, "listener", advice, problems);
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
        listeners += service.listeners.len();
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
