//! The rules of unicast peers.

use super::router::{family, too_many};
use crate::config::code::Code;
use crate::config::diagnostic::{Diagnostic, Problems};
use crate::config::draft::DraftRouter;

/// An advertisement is sent to each.
const MOST_PEERS: usize = 64;

pub(super) fn check(router: &DraftRouter, problems: &mut Problems) {
    let peers = &router.unicast_peers;
    let advice = "list each peer once";
    super::super::duplicates(peers.items.iter(), Code::DuplicateAddress, "unicast peer", advice, problems);
    too_many(peers, MOST_PEERS, "unicast peers", problems);
    families(router, problems);
    own_addresses(router, problems);
    if let Some(first) = peers.items.first() {
        if router.unicast_source.given().is_none() {
            let message = format!("{} has unicast peers, but no `unicast_source`", router.title());
            let help =
                "set it to the address the peers have listed for this node: they discard advertisements of others";
            problems.push(Diagnostic::new(Code::NoUnicastSource, message, first.span).help(help));
        }
    } else if peers.complete {
        no_effect(router, problems);
    }
}

fn families(router: &DraftRouter, problems: &mut Problems) {
    let Some(first) = router.addresses.items.first() else { return };
    let ipv4 = first.value.addr().is_ipv4();
    for address in router.unicast_peers.items.iter().chain(router.unicast_source.given()) {
        if address.value.is_ipv4() != ipv4 {
            let expected = family(ipv4);
            let message = format!("{} speaks {expected}, {} does not", router.title(), address.value);
            problems.push(
                Diagnostic::new(Code::MixedFamilies, message, address.span)
                    .label(family(!ipv4))
                    .note(first.span, expected)
                    .help(format!("give the {expected} address: advertisements go by the family they are about")),
            );
        }
    }
}

fn own_addresses(router: &DraftRouter, problems: &mut Problems) {
    let source = router.unicast_source.given();
    for peer in &router.unicast_peers.items {
        let source = source.filter(|source| source.value == peer.value);
        let held = router.held().find(|address| address.value.addr() == peer.value);
        let (why, span) = match (source, held) {
            (Some(source), _) => ("is this node's own", source.span),
            (None, Some(held)) => ("moves between the nodes", held.span),
            (None, None) => continue,
        };
        problems.push(
            Diagnostic::new(Code::OwnAddress, format!("the unicast peer's address {} {why}", peer.value), peer.span)
                .note(span, "here")
                .help("list the other nodes' own addresses"),
        );
    }
}

fn no_effect(router: &DraftRouter, problems: &mut Problems) {
    let source = router.unicast_source.given().map(|source| (source.span, "unicast_source"));
    let ttl = router.written(&router.unicast_minimum_ttl).map(|span| (span, "unicast_minimum_ttl"));
    for (span, key) in source.into_iter().chain(ttl) {
        let message = format!("`{key}` has no effect without `unicast_peers`");
        problems.push(Diagnostic::new(Code::NoEffect, message, span).help("take it out, or list `unicast_peers`"));
    }
}
