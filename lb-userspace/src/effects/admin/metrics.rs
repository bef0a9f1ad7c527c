//! `/metrics`: one [`Status`] written as OpenMetrics text. There is no registry of live counters to keep in step; each
//! scrape encodes one snapshot. docs/metrics.md explains every name.
//!
//! The encoder appends `_total` to counters and `_info` to infos by itself, hence the names here are without.

mod checks;
mod exchange;
mod vrrp;

use std::collections::BTreeMap;
use std::fmt::Result;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeGaugeValue, EncodeLabelSet, NoLabelSet, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;

use crate::controller::view::{BackendStatus, Connections, QuicTotals, ServiceStatus, Status, Totals};

/// What [`text`] writes.
pub(super) const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Every state that a backend can be in.
const STATES: [&str; 6] = ["up", "down", "drain", "disabled", "starting", "unchecked"];
/// Every way that XDP can be attached.
const MODES: [&str; 2] = ["native", "generic"];
/// Digits of a lookup table's hash that are shown as a number: 52 bits, which a double holds exactly.
const HASH_DIGITS: usize = 13;

/// The metrics of one snapshot.
pub(super) fn text(status: Status) -> String {
    let mut registry = Registry::with_prefix("fairway");
    registry.register_collector(Box::new(Snapshot(status)));
    let mut out = String::new();
    text::encode(&mut out, &registry).expect("writing to a string cannot fail");
    out
}

#[derive(Debug)]
struct Snapshot(Status);

impl Collector for Snapshot {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> Result {
        let mut out = Families { encoder };
        node(&mut out, &self.0)?;
        interfaces(&mut out, &self.0)?;
        services(&mut out, &self.0.services)?;
        backends(&mut out, &self.0.services)?;
        checks::encode(&mut out, &self.0)?;
        packets_and_flows(&mut out, &self.0)?;
        vrrp::encode(&mut out, self.0.vrrp.as_ref())?;
        exchange::encode(&mut out, self.0.exchange.as_ref())
    }
}

fn node(out: &mut Families<'_>, status: &Status) -> Result {
    let Status { node, config, .. } = status;
    out.infos("build", "Version of Fairway", [vec![("version", &*node.version)]])?;
    out.infos("config", "Hash of the configuration in force", [vec![("hash", &*config.hash)]])?;
    out.gauge(
        "config_last_reload_successful",
        "Whether the last configuration was accepted",
        u32::from(config.last_reload_successful),
    )?;
    out.gauge(
        "config_last_reload_timestamp_seconds",
        "When the last configuration was tried, accepted or not",
        config.last_reload,
    )
}

fn interfaces(out: &mut Families<'_>, status: &Status) -> Result {
    let series = status.interfaces.iter().flat_map(|interface| {
        MODES.map(|mode| ([("interface", &*interface.name), ("mode", mode)], u32::from(interface.mode == mode)))
    });
    out.gauges("xdp_attached", "Whether XDP is attached to the interface in this mode", series)
}

fn services(out: &mut Families<'_>, services: &[ServiceStatus]) -> Result {
    let listeners = services.iter().flat_map(|service| {
        service.listeners.iter().map(|address| vec![("service", &*service.name), ("address", address)])
    });
    out.infos("service", "Addresses of the service", listeners)?;
    let totals = |pick: fn(&Totals) -> u64| services.iter().map(move |service| (label(service), pick(&service.totals)));
    out.counters("service_packets", "Packets forwarded to backends of the service", totals(|sum| sum.packets))?;
    out.counters("service_bytes", "Bytes of these, from the IP length", totals(|sum| sum.bytes))?;
    out.counters("service_connections", "New connections among these (TCP SYNs)", totals(|sum| sum.connections))?;
    let went_by = services.iter().flat_map(|service| {
        let counted = service.quic.iter().flat_map(QuicTotals::by_name);
        counted.map(|(way, packets)| ([("service", &*service.name), ("way", way)], packets))
    });
    out.counters(
        "quic_packets",
        "Packets of the service by what they went by, if that may be a connection ID",
        went_by,
    )?;
    let quorum = services.iter().map(|service| (label(service), u32::from(service.quorum_ok)));
    out.gauges("service_quorum_ok", "Whether enough backends are up", quorum)?;
    let hashes = services.iter().filter_map(|service| Some((label(service), hash_number(&service.lookup_table_hash)?)));
    out.gauges("lookup_table_hash", "Leading 52 bits of the lookup table's hash: equal on nodes that agree", hashes)?;
    let unsettled = services.iter().map(|service| (label(service), service.unsettled_slots));
    out.gauges("unsettled_slots", "Slots of the lookup table with two owners", unsettled)
}

fn label(service: &ServiceStatus) -> [(&'static str, &str); 1] {
    [("service", &service.name)]
}

fn hash_number(hash: &str) -> Option<u64> {
    u64::from_str_radix(hash.get(..HASH_DIGITS).unwrap_or(hash), 16).ok()
}

fn backends(out: &mut Families<'_>, services: &[ServiceStatus]) -> Result {
    let backends = merged(services);
    let infos = backends.iter().map(|backend| {
        let [service, name] = backend.labels;
        vec![service, name, ("address", &*backend.shown.address), ("forwarding", &*backend.shown.forwarding)]
    });
    out.infos("backend", "Address of the backend", infos)?;
    let totals = |pick: fn(&Totals) -> u64| backends.iter().map(move |backend| (backend.labels, pick(&backend.totals)));
    out.counters("backend_packets", "Packets forwarded to the backend", totals(|sum| sum.packets))?;
    out.counters("backend_bytes", "Bytes of these, from the IP length", totals(|sum| sum.bytes))?;
    out.counters("backend_connections", "New connections among these (TCP SYNs)", totals(|sum| sum.connections))?;
    let again = totals(|sum| sum.syn_retransmissions);
    out.counters("backend_syn_retransmissions", "SYNs for the backend that clients had sent before", again)?;
    out.counters("backend_resets", "TCP resets of the backend, under nat", totals(|sum| sum.resets))?;
    let unreachables = totals(|sum| sum.unreachables);
    out.counters("backend_unreachables", "ICMP errors that the backend cannot be reached, under nat", unreachables)?;
    let connections = |pick: fn(&Connections) -> u32| {
        backends.iter().filter_map(move |backend| Some((backend.labels, pick(backend.shown.connections.as_ref()?))))
    };
    out.gauges(
        "backend_active_connections",
        "Established connections, under a stateful scheduler",
        connections(|it| it.active),
    )?;
    out.gauges(
        "backend_inactive_connections",
        "All other connections, under a stateful scheduler",
        connections(|it| it.inactive),
    )?;
    out.gauges(
        "backend_overloaded",
        "Whether the backend has reached its upper threshold",
        connections(|it| it.full.into()),
    )?;
    let weights = backends.iter().map(|backend| (backend.labels, backend.shown.effective_weight));
    out.gauges("backend_weight", "Weight that the lookup table is made from", weights)?;
    let states = backends.iter().flat_map(|backend| {
        let [service, name] = backend.labels;
        STATES.map(|state| ([service, name, ("state", state)], u32::from(backend.shown.state == state)))
    });
    out.gauges("backend_state", "Whether the backend is in this state", states)?;
    let since = backends.iter().map(|backend| (backend.labels, backend.shown.since));
    out.gauges("backend_last_change_timestamp_seconds", "When the state last changed", since)
}

/// What the series of one service and backend name say.
struct Merged<'a> {
    labels: [(&'static str, &'a str); 2],
    shown: &'a BackendStatus,
    totals: Totals,
}

/// A name may stand twice in a service: its new server, and the removed one that still serves its flows. A series may
/// not, so these two are one: the state of the new, the totals of both.
fn merged(services: &[ServiceStatus]) -> Vec<Merged<'_>> {
    let mut all: Vec<Merged<'_>> = Vec::new();
    let mut places = BTreeMap::new();
    for (service, backend) in services.iter().flat_map(|service| service.backends.iter().map(move |b| (service, b))) {
        let key = (service.name.as_str(), backend.name.as_str());
        let place = *places.entry(key).or_insert_with(|| {
            let labels = [("service", key.0), ("backend", key.1)];
            all.push(Merged { labels, shown: backend, totals: Totals::default() });
            all.len() - 1
        });
        let merged = &mut all[place];
        if merged.shown.leaving && !backend.leaving {
            merged.shown = backend;
        }
        merged.totals.add(&backend.totals);
    }
    all
}

fn packets_and_flows(out: &mut Families<'_>, status: &Status) -> Result {
    let Status { flows, drops, passes, .. } = status;
    let reasons = |counts: &BTreeMap<String, u64>| -> Vec<([(&'static str, String); 1], u64)> {
        counts.iter().map(|(reason, count)| ([("reason", reason.clone())], *count)).collect()
    };
    out.counters("drops", "Packets dropped", reasons(drops))?;
    out.counters("passes", "Packets passed to the host", reasons(passes))?;
    let entries = [([("protocol", "tcp")], flows.tcp), ([("protocol", "udp")], flows.udp)];
    out.gauges("flow_table_entries", "Recorded flows, at the last census", entries)?;
    let capacity = [([("protocol", "tcp")], flows.capacity), ([("protocol", "udp")], flows.capacity)];
    out.gauges("flow_table_capacity", "Flows that the table holds", capacity)?;
    out.counter("flow_record_refusals", "Groups of 16 slots in which a flow could not be recorded", flows.refusals)?;
    out.gauge("stateful_table_entries", "Recorded flows of stateful schedulers, at the last census", flows.stateful)?;
    out.gauge(
        "stateful_table_capacity",
        "Flows of each address family that their table holds",
        flows.stateful_capacity,
    )?;
    out.gauge("stateful_clients", "Clients that stateful schedulers remember, at the last census", flows.clients)?;
    out.counter("stateful_unrecorded", "Flows that a stateful scheduler could not record", flows.unrecorded)?;
    out.gauge("translation_table_entries", "Recorded translations of flows, at the last census", flows.translations)?;
    let capacity = flows.translation_capacity;
    out.gauge("translation_table_capacity", "Flows of each address family that their table holds", capacity)?;
    let help = "Flows that would move or end if this node failed now: records that no other node has";
    out.gauge("flows_at_risk", help, status.flows_at_risk)?;
    let unresolved = status.neighbours.iter().filter(|neighbour| !neighbour.resolved).count();
    out.gauge("neighbours_unresolved", "Next hops without a known frame", unresolved)
}

/// Writes families of metrics.
struct Families<'a> {
    encoder: DescriptorEncoder<'a>,
}

impl Families<'_> {
    fn gauge(&mut self, name: &str, help: &str, value: impl EncodeGaugeValue) -> Result {
        self.encoder.encode_descriptor(name, help, None, MetricType::Gauge)?.encode_gauge(&value)
    }

    fn counter(&mut self, name: &str, help: &str, value: u64) -> Result {
        let mut family = self.encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
        family.encode_counter::<NoLabelSet, _, u64>(&value, None)
    }

    fn gauges<L, V>(&mut self, name: &str, help: &str, series: impl IntoIterator<Item = (L, V)>) -> Result
    where
        L: EncodeLabelSet,
        V: EncodeGaugeValue,
    {
        let mut family = self.encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
        series.into_iter().try_for_each(|(labels, value)| family.encode_family(&labels)?.encode_gauge(&value))
    }

    fn counters<L>(&mut self, name: &str, help: &str, series: impl IntoIterator<Item = (L, u64)>) -> Result
    where
        L: EncodeLabelSet,
    {
        let mut family = self.encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
        series.into_iter().try_for_each(|(labels, value)| {
            family.encode_family(&labels)?.encode_counter::<NoLabelSet, _, u64>(&value, None)
        })
    }

    /// Sum, and the count of each bucket by its upper bound.
    fn histogram(&mut self, name: &str, help: &str, (sum, buckets): (f64, Vec<(f64, u64)>)) -> Result {
        let mut family = self.encoder.encode_descriptor(name, help, None, MetricType::Histogram)?;
        let count = buckets.iter().map(|(_, count)| count).sum();
        family.encode_histogram::<NoLabelSet>(sum, count, &buckets, None)
    }

    /// Each with its sum, and the count of each bucket by its upper bound.
    fn histograms<L>(
        &mut self,
        name: &str,
        help: &str,
        series: impl IntoIterator<Item = (L, (f64, Vec<(f64, u64)>))>,
    ) -> Result
    where
        L: EncodeLabelSet,
    {
        let mut family = self.encoder.encode_descriptor(name, help, None, MetricType::Histogram)?;
        series.into_iter().try_for_each(|(labels, (sum, buckets))| {
            let count = buckets.iter().map(|(_, count)| count).sum();
            family.encode_family(&labels)?.encode_histogram::<NoLabelSet>(sum, count, &buckets, None)
        })
    }

    fn infos<'l>(
        &mut self,
        name: &str,
        help: &str,
        series: impl IntoIterator<Item = Vec<(&'static str, &'l str)>>,
    ) -> Result {
        let mut family = self.encoder.encode_descriptor(name, help, None, MetricType::Info)?;
        series.into_iter().try_for_each(|labels| family.encode_info(&labels))
    }
}

#[cfg(test)]
#[path = "metrics_tests.rs"]
mod tests;
