//! The metrics of VRRP: virtual routers, their thread, the peer link, BFD. Without `[[vrrp]]` there are none.
//!
//! Addresses stand in `_info` series only, so that one that moves keeps its series: paths to the peer and BFD sessions have
//! numbers instead, in the order of the configuration.

use std::fmt::Result;

use super::Families;
use crate::controller::vrrp::{BfdStatus, PathStatus, PeerStatus, RouterStatus, ThreadStatus, VrrpStatus};
use crate::vrrp::view::{LATENESS_BOUNDS, Lateness, RouterCounters, State};

pub(super) fn encode(out: &mut Families<'_>, status: Option<&VrrpStatus>) -> Result {
    let Some(vrrp) = status else { return Ok(()) };
    routers(out, &vrrp.routers)?;
    advertisements(out, &vrrp.routers)?;
    thread(out, vrrp, &vrrp.thread)?;
    if let Some(peer) = &vrrp.peer {
        self::peer(out, peer)?;
    }
    bfd(out, &vrrp.bfd)
}

/// A label that every series of a router has.
type Label<'a> = (&'static str, &'a str);

fn label(router: &RouterStatus) -> Label<'_> {
    ("vrrp", &router.name)
}

fn routers(out: &mut Families<'_>, routers: &[RouterStatus]) -> Result {
    let vrids: Vec<String> = routers.iter().map(|router| router.vrid.to_string()).collect();
    let versions: Vec<String> = routers.iter().map(|router| router.version.to_string()).collect();
    let infos = routers.iter().zip(vrids.iter().zip(&versions)).map(|(router, (vrid, version))| {
        let [name, interface] = [label(router), ("interface", router.interface.as_str())];
        vec![name, interface, ("family", &router.family), ("vrid", vrid), ("version", version)]
    });
    out.infos("vrrp", "A virtual router", infos)?;
    let held: Vec<(Label<'_>, String)> = routers
        .iter()
        .flat_map(|router| {
            let all = router.addresses.iter().chain(&router.excluded_addresses);
            all.map(|address| (label(router), address.to_string()))
        })
        .collect();
    let addresses = held.iter().map(|(name, address)| vec![*name, ("address", address.as_str())]);
    out.infos("vrrp_address", "An address that the master holds", addresses)?;
    let states = routers.iter().flat_map(|router| {
        State::ALL.map(|state| ([label(router), ("state", state.name())], u32::from(router.state == state)))
    });
    out.gauges("vrrp_state", "Whether the virtual router is in this state", states)?;
    gauges(out, routers, "vrrp_last_change_timestamp_seconds", "When the state last changed", |router| router.since)?;
    gauges(out, routers, "vrrp_priority", "Configured priority", |router| f64::from(router.priority))?;
    let help = "Priority with what the tracks add";
    gauges(out, routers, "vrrp_effective_priority", help, |router| f64::from(router.effective_priority))?;
    let terms = routers.iter().flat_map(|router| {
        router.terms.iter().map(|term| ([label(router), ("track", term.name.as_str())], f64::from(term.contribution)))
    });
    out.gauges("vrrp_track_contribution", "What a track adds to the priority", terms)?;
    let help = "Whether another node says it is master while this one is";
    gauges(out, routers, "vrrp_foreign_master", help, |router| flag(router.foreign_master.is_some()))?;
    gauges(out, routers, "vrrp_resigned", "Whether an operator made it resign", |router| flag(router.resigned))?;
    let help = "Whether it is kept from becoming master";
    gauges(out, routers, "vrrp_held_back", help, |router| flag(router.held_back.is_some()))
}

fn flag(set: bool) -> f64 {
    f64::from(u8::from(set))
}

fn gauges(
    out: &mut Families<'_>,
    routers: &[RouterStatus],
    name: &str,
    help: &str,
    value: impl Fn(&RouterStatus) -> f64,
) -> Result {
    out.gauges(name, help, routers.iter().map(|router| ([label(router)], value(router))))
}

fn advertisements(out: &mut Families<'_>, routers: &[RouterStatus]) -> Result {
    let entered = routers.iter().flat_map(|router| {
        State::ALL.map(|state| {
            let count = router.counters.transitions.get(state.name()).copied().unwrap_or(0);
            ([label(router), ("state", state.name())], count)
        })
    });
    out.counters("vrrp_transitions", "Changes of state, by the state entered", entered)?;
    let help = "Advertisements sent";
    counters(out, routers, "vrrp_advertisements_sent", help, |counters| counters.sent)?;
    let help = "Advertisements received and accepted";
    counters(out, routers, "vrrp_advertisements_received", help, |counters| counters.received)?;
    let errors = routers.iter().flat_map(|router| {
        router.counters.errors.iter().map(|(reason, count)| ([label(router), ("reason", reason.as_str())], *count))
    });
    out.counters("vrrp_advertisement_errors", "Advertisements received and discarded", errors)?;
    let help = "Advertisements with priority 0 received: a master steps down";
    counters(out, routers, "vrrp_priority_zero_received", help, |counters| counters.priority_zero_received)?;
    let help = "Advertisements with priority 0 sent";
    counters(out, routers, "vrrp_priority_zero_sent", help, |counters| counters.priority_zero_sent)?;
    let help = "Advertisements accepted although their addresses differ";
    counters(out, routers, "vrrp_address_list_differs", help, |counters| counters.address_list_differs)?;
    let forms = routers.iter().flat_map(|router| {
        let RouterCounters { checksum_pseudo_header, checksum_plain, .. } = router.counters;
        [("pseudo-header", checksum_pseudo_header), ("plain", checksum_plain)]
            .map(|(form, count)| ([label(router), ("form", form)], count))
    });
    out.counters("vrrp_checksum_form", "Advertisements received, by the form of their checksum", forms)?;
    let lateness = routers.iter().map(|router| ([label(router)], buckets(&router.counters.lateness)));
    out.histograms("vrrp_advertisement_lateness_seconds", "How late advertisements went out", lateness)
}

fn counters(
    out: &mut Families<'_>,
    routers: &[RouterStatus],
    name: &str,
    help: &str,
    value: impl Fn(&RouterCounters) -> u64,
) -> Result {
    out.counters(name, help, routers.iter().map(|router| ([label(router)], value(&router.counters))))
}

/// Sum, and the count of each bucket by its upper bound; the encoder adds them up.
fn buckets(lateness: &Lateness) -> (f64, Vec<(f64, u64)>) {
    let bounds = LATENESS_BOUNDS.into_iter().chain([f64::INFINITY]);
    (lateness.sum, bounds.zip(lateness.counts).collect())
}

fn thread(out: &mut Families<'_>, vrrp: &VrrpStatus, thread: &ThreadStatus) -> Result {
    let stray = vrrp.stray.iter().map(|(reason, count)| ([("reason", reason.as_str())], *count));
    out.counters("vrrp_stray_packets", "VRRP packets that concern no virtual router of this node", stray)?;
    out.counter("vrrp_stalls", "Stalls that could have made another node take over", vrrp.stalls)?;
    out.gauge("vrrp_longest_stall_seconds", "The longest of these", vrrp.longest_stall_seconds)?;
    out.gauge("vrrp_realtime", "Whether the thread has real-time priority", flag(thread.no_realtime.is_none()))?;
    out.gauge("vrrp_memory_locked", "Whether its memory is locked", flag(thread.not_locked.is_none()))?;
    out.counter("vrrp_wakeups", "Times the thread woke up", thread.wakeups)?;
    out.counter("vrrp_late_wakeups", "Times it was late", thread.late_wakeups)?;
    out.gauge("vrrp_worst_lateness_seconds", "The latest of all wake-ups", thread.worst_lateness_seconds)?;
    out.counter("vrrp_events_dropped", "Events that were lost because the daemon was busy", thread.outputs_dropped)?;
    out.counter("vrrp_receive_floods", "Times more packets waited than are read at a time", thread.receive_floods)?;
    let help = "Times the kernel's announcements of links and addresses overran their buffer";
    out.counter("vrrp_announcement_overruns", help, thread.announcement_overruns)?;
    let failures = thread.failures.iter().map(|(what, count)| ([("reason", what.as_str())], *count));
    out.counters("vrrp_failures", "What the thread could not do", failures)
}

fn peer(out: &mut Families<'_>, peer: &PeerStatus) -> Result {
    out.gauge("peer_up", "Whether the peer is heard on some path", flag(peer.alive))?;
    out.gauge("peer_last_change_timestamp_seconds", "When that last changed", peer.since)?;
    let refused = peer.refused.iter().map(|(reason, count)| ([("reason", reason.as_str())], *count));
    out.counters("peer_refused", "Heartbeats refused", refused)?;
    let paths: Vec<(String, &PathStatus)> = numbered(&peer.paths);
    let addresses: Vec<String> = peer.paths.iter().map(|path| path.address.to_string()).collect();
    let infos = paths.iter().zip(&addresses).map(|((number, _), address)| {
        let labels: Vec<(&'static str, &str)> = vec![("path", number), ("address", address)];
        labels
    });
    out.infos("peer_path", "A path to the peer, by its place in the configuration", infos)?;
    let up = paths.iter().map(|(number, path)| ([("path", number.as_str())], flag(path.alive)));
    out.gauges("peer_path_up", "Whether the peer is heard on the path", up)?;
    let sent = paths.iter().map(|(number, path)| ([("path", number.as_str())], path.sent));
    out.counters("peer_heartbeats_sent", "Heartbeats sent", sent)?;
    let received = paths.iter().map(|(number, path)| ([("path", number.as_str())], path.received));
    out.counters("peer_heartbeats_received", "Heartbeats received", received)
}

fn bfd(out: &mut Families<'_>, sessions: &[BfdStatus]) -> Result {
    let all = numbered(sessions);
    let neighbours: Vec<String> = sessions.iter().map(|session| session.neighbour.to_string()).collect();
    let infos = all.iter().zip(&neighbours).map(|((number, _), neighbour)| {
        let labels: Vec<(&'static str, &str)> = vec![("session", number), ("neighbour", neighbour)];
        labels
    });
    out.infos("bfd_session", "A BFD session", infos)?;
    let up = all.iter().map(|(number, session)| ([("session", number.as_str())], flag(session.state == "up")));
    out.gauges("bfd_session_up", "Whether the session is up", up)?;
    let losses = all.iter().map(|(number, session)| ([("session", number.as_str())], session.losses));
    out.counters("bfd_session_losses", "Times it was lost", losses)?;
    let discarded = all.iter().flat_map(|(number, session)| {
        let reasons = session.discarded.iter();
        reasons.map(|(reason, count)| ([("session", number.as_str()), ("reason", reason.as_str())], *count))
    });
    out.counters("bfd_packets_discarded", "BFD packets discarded", discarded)
}

fn numbered<T>(items: &[T]) -> Vec<(String, &T)> {
    items.iter().enumerate().map(|(index, item)| ((index + 1).to_string(), item)).collect()
}
