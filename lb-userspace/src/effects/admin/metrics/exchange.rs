//! The metrics of the exchange with the peer. Without `[peer]` there are none.

use std::fmt::Result;

use super::Families;
use crate::exchange::view::{REFUSALS, View};

pub(super) fn encode(out: &mut Families<'_>, view: Option<&View>) -> Result {
    let Some(view) = view else { return Ok(()) };
    let sessions = [("telling", &view.telling), ("following", &view.following)];
    let sessions = sessions.map(|(direction, session)| ([("direction", direction)], u32::from(session.is_some())));
    out.gauges("exchange_session", "Whether there is a session in which state goes to the peer, or from it", sessions)?;
    let realms = view.realms.iter().map(|realm| ([("vrrp", realm.vrrp.as_str())], u32::from(realm.in_sync)));
    out.gauges("exchange_in_sync", "Whether the node that is not master has all of the master's state", realms)?;
    let caught_up = u32::from(view.not_caught_up.is_none());
    out.gauge("exchange_caught_up", "Whether all that the peer is master of is here", caught_up)?;
    let help = "Items that were told, or are about to be, and that the peer has not confirmed";
    out.gauge("exchange_unconfirmed_items", help, view.unconfirmed)?;
    out.gauge("exchange_told_records", "Records of flows that the peer was told of and that stand", view.told_records)?;
    let help = "What differs between the two nodes: the configuration, lookup tables; status names it";
    out.gauge("exchange_disagreements", help, view.disagreements.len() as u64)?;
    if let Some(seconds) = view.walk_seconds {
        out.gauge(
            "exchange_walk_seconds",
            "How long the last walk over the flow tables took, rests included",
            seconds,
        )?;
    }
    let counters = &view.counters;
    let help = "Flows that were told of as they were recorded, not found by a walk";
    out.counter("exchange_flows_told_at_once", help, counters.recorded)?;
    out.counter("exchange_walks", "Walks over the flow tables that were completed", counters.walks)?;
    out.counter("exchange_sessions", "Sessions that were opened, in either direction", counters.sessions)?;
    out.counter("exchange_items_told", "Items told to the peer", counters.told)?;
    out.counter("exchange_items_taken", "Items taken from the peer", counters.taken)?;
    out.counter("exchange_items_late", "Of the peer, taken after this node had taken over", counters.late)?;
    out.counter("exchange_items_unknown", "Items of kinds that this version does not know", counters.unknown)?;
    out.counter("exchange_bulks", "Times that all of a virtual router's state was told", counters.bulks)?;
    out.counter("exchange_overflows", "Times that too many changes waited, and all was told anew", counters.overflows)?;
    out.counter("exchange_gaps", "Sessions that ended over a missing message", counters.gaps)?;
    out.counter("exchange_messages_rejected", "Messages of old claims or out of place", counters.refused)?;
    let rehearsal = &view.rehearsal;
    if let Some(ratio) = rehearsal.ratio {
        let help = "Share of the peer's decisions of late that this node would make too";
        out.gauge("exchange_agreement_ratio", help, ratio)?;
    }
    let rehearsed = [("agreed", rehearsal.agreed), ("differed", rehearsal.differed)];
    let rehearsed = rehearsed.map(|(result, count)| ([("result", result)], count));
    out.counters("exchange_rehearsed", "Decisions of the peer's that this node made too, or otherwise", rehearsed)?;
    let refused = REFUSALS.map(|reason| ([("reason", reason)], view.refused.get(reason).copied().unwrap_or(0)));
    out.counters("exchange_refused", "Connections and frames that were not believed", refused)?;
    let unplaced = view.unplaced.iter().map(|(reason, count)| ([("reason", reason.as_str())], *count));
    out.counters("exchange_records_unplaced", "Records of the peer's that have no place here", unplaced)
}
