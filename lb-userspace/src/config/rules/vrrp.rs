//! The rules over virtual routers: between them here; within one in `router`, `unicast`, `track` and `route`; between
//! routers and services in `following`; of the peer link and the hook in `peer`.

mod following;
mod peer;
mod route;
mod router;
mod track;
mod unicast;

pub(super) use peer::program;

use crate::config::code::Code;
use crate::config::diagnostic::{Diagnostic, Problems, Span};
use crate::config::draft::{At, Draft, DraftRouter};
use ipnet::IpNet;
use lb_common::limits::LIVE_WORDS;
use std::collections::HashMap;
use std::net::IpAddr;

/// Virtual routers in one configuration: each may have a live word, and the first is that of services that follow none.
const MOST_ROUTERS: usize = LIVE_WORDS as usize - 1;

pub(super) fn check(draft: &Draft, problems: &mut Problems) {
    let routers = &draft.routers;
    let names = routers.iter().filter_map(|router| router.name.given());
    super::duplicates(
        names,
        Code::DuplicateRouter,
        "virtual router",
        "give each virtual router a name of its own",
        problems,
    );
    if let Some(router) = routers.get(MOST_ROUTERS) {
        let message = format!("with {} there are more than {MOST_ROUTERS} virtual routers", router.title());
        let help = "let one virtual router hold several addresses, and more in `excluded_addresses`";
        problems.push(Diagnostic::new(Code::TooMany, message, router.place()).help(help));
    }
    identities(routers, problems);
    addresses(routers, problems);
    groups(routers, problems);
    for router in routers {
        router::check(router, draft.peer.as_ref(), problems);
        unicast::check(router, problems);
        track::check(router, draft, problems);
        route::check(router, problems);
    }
    following::check(draft, problems);
    peer::check(draft, problems);
}

/// What a peer tells virtual routers apart by.
fn identities(routers: &[DraftRouter], problems: &mut Problems) {
    let mut known: HashMap<(&str, u8, bool), Span> = HashMap::new();
    for router in routers {
        let (Some(interface), Some(vrid), Some(ipv4)) = (router.interface.get(), router.vrid.given(), router.is_ipv4())
        else {
            continue;
        };
        if let Some(first) = known.get(&(interface.as_str(), vrid.value, ipv4)) {
            let message = format!("two virtual routers have VRID {} on `{interface}`", vrid.value);
            problems.push(
                Diagnostic::new(Code::DuplicateVrid, message, vrid.span)
                    .label("again here")
                    .note(*first, "first here")
                    .help("choose a VRID that no virtual router on this link has; IPv4 and IPv6 may share one"),
            );
        } else {
            known.insert((interface, vrid.value, ipv4), vrid.span);
        }
    }
}

/// An address has one holder, whatever prefix length it is written with.
fn addresses(routers: &[DraftRouter], problems: &mut Problems) {
    let mut known: HashMap<IpAddr, (&At<IpNet>, &DraftRouter)> = HashMap::new();
    for router in routers {
        for address in router.held() {
            let Some((first, holder)) = known.get(&address.value.addr()) else {
                known.insert(address.value.addr(), (address, router));
                continue;
            };
            // Each link has link-local addresses of its own.
            let elsewhere = holder.interface.get() != router.interface.get();
            if elsewhere && matches!(address.value.addr(), IpAddr::V6(v6) if v6.is_unicast_link_local()) {
                continue;
            }
            let message = format!("address {} is held twice", address.value.addr());
            problems.push(
                Diagnostic::new(Code::DuplicateAddress, message, address.span)
                    .label(format!("by {}", router.title()))
                    .note(first.span, format!("by {}", holder.title()))
                    .help("let one virtual router hold it, else both nodes may answer for it"),
            );
        }
    }
}

fn groups(routers: &[DraftRouter], problems: &mut Problems) {
    let named = || routers.iter().filter_map(|router| Some((router, router.group.given()?)));
    for (router, group) in named() {
        let Some(name) = &group.value else { continue };
        let members = named().filter(|(_, other)| other.value.as_ref() == Some(name)).count();
        // Whoever of the others could not be read may be a member.
        let all_known = routers.iter().all(|router| router.group.given().is_some());
        if members == 1 && all_known {
            let message = format!("group `{name}` has no other member than {}", router.title());
            let help = "give another virtual router the same `group`, or take it out";
            problems.push(Diagnostic::new(Code::NoEffect, message, group.span).help(help));
        }
    }
}
