//! The rules between virtual routers and services: who follows whom.

use crate::config::code::Code;
use crate::config::diagnostic::{Diagnostic, Problems, Span};
use crate::config::draft::{Draft, DraftRouter, DraftService};
use crate::config::value;
use std::net::IpAddr;

pub(super) fn check(draft: &Draft, problems: &mut Problems) {
    for service in &draft.services {
        let Some(followed) = service.vrrp.given() else { continue };
        match &followed.value {
            Some(name) => follows(service, name, followed.span, draft, problems),
            None => follows_nobody(service, draft, problems),
        }
    }
    default_seed(draft, problems);
}

fn follows(service: &DraftService, name: &str, span: Span, draft: &Draft, problems: &mut Problems) {
    let called_so = |router: &&DraftRouter| router.name.get().is_some_and(|known| known == name);
    match draft.routers.iter().find(called_so) {
        Some(router) => addresses_held(service, router, problems),
        None if draft.routers.iter().any(|router| router.name.given().is_none()) => {}
        None => problems.push(unknown_router(service, name, span, draft)),
    }
}

fn addresses_held(service: &DraftService, router: &DraftRouter, problems: &mut Problems) {
    if !router.addresses.complete || !router.excluded_addresses.complete {
        return;
    }
    for listener in service.listeners.iter().filter(|listener| !holds(router, listener.value.address)) {
        let address = listener.value.address;
        let message = format!("{} listens on {address}, which {} does not hold", service.title(), router.title());
        let help = "add it to `addresses` or `excluded_addresses` of the router, \
                    or let the service follow the router that holds it";
        problems.push(
            Diagnostic::new(Code::ServiceAddressNotHeld, message, listener.span)
                .note(router.place(), "the router it follows")
                .help(help),
        );
    }
}

fn unknown_router(service: &DraftService, name: &str, span: Span, draft: &Draft) -> Diagnostic {
    let names = draft.routers.iter().filter_map(|router| router.name.get()).map(String::as_str);
    let help = match value::nearest(name, names) {
        Some(near) => format!("did you mean `{near}`?"),
        None => "name a `[[vrrp]]` of this file, or leave it out: then the service is always live".to_owned(),
    };
    let message = format!("there is no virtual router `{name}` for {} to follow", service.title());
    Diagnostic::new(Code::UnknownName, message, span).help(help)
}

/// On a backup such a service would take packets that are the master's.
fn follows_nobody(service: &DraftService, draft: &Draft, problems: &mut Problems) {
    let held = service.listeners.iter().find_map(|listener| {
        let router = draft.routers.iter().find(|router| holds(router, listener.value.address))?;
        Some((listener, router))
    });
    if let Some((listener, router)) = held {
        let name = router.name.get().map_or("its name", String::as_str);
        let message = format!("{} is live on every node, though {} holds its address", service.title(), router.title());
        problems.push(
            Diagnostic::new(Code::DoesNotFollow, message, listener.span)
                .note(router.place(), "holds the address")
                .help(format!("set `vrrp = {name:?}` in the service")),
        );
    }
}

fn holds(router: &DraftRouter, address: IpAddr) -> bool {
    router.held().any(|held| held.value.addr() == address)
}

/// With one seed a standby agrees on every flow. The default does that too, but it is one that everybody knows, so that
/// clients could choose addresses and ports that all meet at one backend.
fn default_seed(draft: &Draft, problems: &mut Problems) {
    let (Some(router), Some(_)) = (draft.routers.first(), draft.services.first()) else { return };
    if !draft.hash_seed_written {
        let message = "services move between nodes, but `dataplane.hash_seed` is not set";
        let help =
            "set it to some text of your own, the same on every node: it decides which backend a flow belongs to";
        problems.push(Diagnostic::new(Code::DefaultSeed, message, router.place()).help(help));
    }
}
