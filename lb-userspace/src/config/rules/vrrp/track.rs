//! The rules of tracks.

use super::peer::program;
use super::router::OWNER;
use crate::config::code::Code;
use crate::config::diagnostic::{Diagnostic, Problems, Span};
use crate::config::draft::{At, Draft, DraftRouter, DraftTrack, Field};
use crate::config::track_kind::TrackKind;
use crate::config::value;
use crate::config::virtual_router::{Condition, Consequence};
use std::net::IpAddr;

/// Each is a probe, a process or a term that somebody must read.
const MOST_TRACKS: usize = 64;

pub(super) fn check(router: &DraftRouter, draft: &Draft, problems: &mut Problems) {
    if router.tracks.len() > MOST_TRACKS {
        let message = format!("{} has {} tracks, more than {MOST_TRACKS}", router.title(), router.tracks.len());
        problems.push(Diagnostic::new(Code::TooMany, message, router.place()).help("track fewer conditions"));
    }
    let names = router.tracks.iter().filter_map(|track| track.name.given());
    let advice = "give each track of the router its own `name`, or take one out";
    super::super::duplicates(names, Code::DuplicateTrack, "track", advice, problems);
    for track in &router.tracks {
        consequence(track, router, problems);
        condition(track, router, draft, problems);
    }
}

fn condition(track: &DraftTrack, router: &DraftRouter, draft: &Draft, problems: &mut Problems) {
    let Some(At { value: condition, span }) = &track.condition else { return };
    match condition {
        Condition::Interface { interface } => own_interface(interface, *span, router, problems),
        Condition::Service { service } => known_service(service, *span, draft, problems),
        Condition::Script { command, user, .. } => program(command, user, *span, problems),
        Condition::Gateway { address, .. } => not_held(*address, "gateway", *span, router, problems),
        Condition::Bfd { neighbour, source, .. } => {
            not_held(*neighbour, "BFD neighbour", *span, router, problems);
            bfd_ends(*neighbour, *source, *span, problems);
        }
        Condition::Uplink { .. } | Condition::Process { .. } | Condition::File { .. } | Condition::Load { .. } => {}
    }
}

fn consequence(track: &DraftTrack, router: &DraftRouter, problems: &mut Problems) {
    if matches!(track.weight, Field::Bad) || matches!(track.fault, Field::Bad) {
        return;
    }
    match (track.consequence(), track.weight.given()) {
        (None, Some(weight)) => {
            let message = "a track has either `weight` or `fault = true`, not both";
            let help = "`weight = -50` lowers the priority by 50; `fault = true` gives up the addresses";
            problems.push(Diagnostic::new(Code::TrackConsequence, message, weight.span).help(help));
        }
        (Some(Consequence::Weight(weight)), at) => {
            let span = at.map_or(track.span, |at| at.span);
            self::weight(weight, span, track, router, problems);
        }
        (Some(Consequence::Fault), _) | (None, None) => {}
    }
}

fn weight(weight: i16, span: Span, track: &DraftTrack, router: &DraftRouter, problems: &mut Problems) {
    if weight == 0 {
        let help = "make it negative, or take the track out";
        problems.push(Diagnostic::new(Code::NoEffect, "a weight of 0 has no effect", span).help(help));
    } else if router.priority.get() == Some(&OWNER) {
        let message = "a weight has no effect on the address owner, whose priority is always 255";
        let help = "use `fault = true`, or a priority below 255";
        problems.push(Diagnostic::new(Code::NoEffect, message, span).help(help));
    } else if weight > 0 && track.kind.get() != Some(&TrackKind::File) {
        let message = format!("the priority rises by {weight} while the condition does not hold");
        let help = format!("write `weight = -{weight}`, if it is to fall");
        problems.push(Diagnostic::new(Code::RaisingWeight, message, span).help(help));
    }
}

fn own_interface(interface: &str, span: Span, router: &DraftRouter, problems: &mut Problems) {
    if router.interface.get().is_some_and(|own| own == interface) {
        let message = format!("{} is in Fault anyway while its own interface is down", router.title());
        let help = "take the track out, or name another interface: the one to the backends, say";
        problems.push(Diagnostic::new(Code::NoEffect, message, span).help(help));
    }
}

fn known_service(service: &str, span: Span, draft: &Draft, problems: &mut Problems) {
    let all_known = draft.services.iter().all(|service| service.name.given().is_some());
    let names = || draft.services.iter().filter_map(|service| service.name.get()).map(String::as_str);
    if all_known && !names().any(|name| name == service) {
        let help = match value::nearest(service, names()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => "name a `[[service]]` of this file".to_owned(),
        };
        problems.push(Diagnostic::new(Code::UnknownName, format!("there is no service `{service}`"), span).help(help));
    }
}

/// What moves between the nodes is no third party.
fn not_held(address: IpAddr, what: &str, span: Span, router: &DraftRouter, problems: &mut Problems) {
    if let Some(held) = router.held().find(|held| held.value.addr() == address) {
        let message = format!("the {what} {address} is an address of {}", router.title());
        problems.push(
            Diagnostic::new(Code::OwnAddress, message, span)
                .note(held.span, "held here")
                .help("name another machine's address: while this node is master it would ask itself"),
        );
    }
}

fn bfd_ends(neighbour: IpAddr, source: Option<IpAddr>, span: Span, problems: &mut Problems) {
    let Some(source) = source else { return };
    if source.is_ipv4() != neighbour.is_ipv4() {
        let message = format!("a BFD session has one family: {source} cannot talk to {neighbour}");
        let help = "give both addresses of one family, or leave `source` out";
        problems.push(Diagnostic::new(Code::MixedFamilies, message, span).help(help));
    } else if source == neighbour {
        let message = format!("a BFD session has two ends, not {source} twice");
        let help = "`neighbour` is the other end's address";
        problems.push(Diagnostic::new(Code::OwnAddress, message, span).help(help));
    }
}
