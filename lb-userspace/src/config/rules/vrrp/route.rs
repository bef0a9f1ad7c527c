//! The rules of routes and policy rules that follow mastership.

use super::router::family;
use crate::config::code::Code;
use crate::config::diagnostic::{Diagnostic, Problems};
use crate::config::draft::{DraftRoute, DraftRouter, DraftRule, Field};

/// Each is a message to the kernel while a take-over waits.
const MOST: usize = 256;

pub(super) fn check(router: &DraftRouter, problems: &mut Problems) {
    for (count, things) in [(router.routes.len(), "routes"), (router.rules.len(), "rules")] {
        if count > MOST {
            let message = format!("{} has {count} {things}, more than {MOST}", router.title());
            let help = "keep those that do not move with the addresses in the network's own configuration";
            problems.push(Diagnostic::new(Code::TooMany, message, router.place()).help(help));
        }
    }
    router.routes.iter().for_each(|route| families(route, problems));
    router.rules.iter().for_each(|rule| prefixes(rule, problems));
}

fn families(route: &DraftRoute, problems: &mut Problems) {
    let Some(destination) = route.destination.given() else { return };
    let ipv4 = destination.value.addr().is_ipv4();
    for address in [&route.via, &route.source].into_iter().filter_map(Field::given) {
        if address.value.is_ipv4() != ipv4 {
            problems.push(
                Diagnostic::new(Code::MixedFamilies, "a route is of one family", address.span)
                    .label(family(!ipv4))
                    .note(destination.span, family(ipv4))
                    .help(format!("give an {} address", family(ipv4))),
            );
        }
    }
}

fn prefixes(rule: &DraftRule, problems: &mut Problems) {
    match (&rule.from, &rule.to) {
        (Field::Absent, Field::Absent) => {
            let message = "a rule has neither `from` nor `to`: it would catch every packet";
            problems.push(
                Diagnostic::new(Code::EmptyRule, message, rule.span)
                    .help("say which packets it is for: `from = \"203.0.113.10/32\"`"),
            );
        }
        (Field::Given(from), Field::Given(to)) if from.value.addr().is_ipv4() != to.value.addr().is_ipv4() => {
            problems.push(
                Diagnostic::new(Code::MixedFamilies, "a rule is of one family", to.span)
                    .label(family(to.value.addr().is_ipv4()))
                    .note(from.span, family(from.value.addr().is_ipv4()))
                    .help("make two rules"),
            );
        }
        (Field::Absent | Field::Bad | Field::Given(_), Field::Absent | Field::Bad | Field::Given(_)) => {}
    }
}
