//! What the host as a client of its own services needs to itself: a pair of interfaces, a routing table, two places among the policy rules.

use crate::config::code::Code;
use crate::config::diagnostic::{Diagnostic, Problems, Span};
use crate::config::draft::{Draft, DraftRoute, DraftRule};
use crate::own_client::{INNER, LOCAL_PRIORITY, OUTER, PRIORITY, TABLE};

pub(super) fn check(draft: &Draft, problems: &mut Problems) {
    let Some(own) = draft.own_client.given().filter(|at| at.value) else { return };
    for interface in draft.interfaces.iter().filter(|at| [OUTER, INNER].contains(&&*at.value)) {
        let message = format!("`{}` is made, and attached to, by Fairway itself", interface.value);
        problems.push(
            Diagnostic::new(Code::OwnPair, message, interface.span)
                .note(own.span, "for this")
                .help("take it out; one that was made by hand is to be removed: `ip link del fwself0`"),
        );
    }
    for router in &draft.routers {
        for (what, span) in router.routes.iter().filter_map(route).chain(router.rules.iter().filter_map(rule)) {
            let message = format!("{} has {what}, which is that of `own_client`", router.title());
            problems.push(
                Diagnostic::new(Code::OwnRouting, message, span)
                    .note(own.span, "switched on here")
                    .help("use another one"),
            );
        }
    }
    if draft.services.is_empty() {
        problems.push(
            Diagnostic::new(Code::ClientOfNothing, "`own_client` is set, and there is no service", own.span)
                .help("it makes this host a client of its own services; services that are added at run time count too"),
        );
    }
}

fn route(route: &DraftRoute) -> Option<(String, Span)> {
    let table = route.table.given().filter(|at| at.value == TABLE)?;
    Some((format!("a route in table {TABLE}"), table.span))
}

fn rule(rule: &DraftRule) -> Option<(String, Span)> {
    let table = rule.table.given().filter(|at| at.value == TABLE);
    let place = rule.priority.given().filter(|at| at.value <= PRIORITY.max(LOCAL_PRIORITY));
    let of_place = place.map(|at| (format!("a rule with priority {}", at.value), at.span));
    table.map(|at| (format!("a rule for table {TABLE}"), at.span)).or(of_place)
}
