//! What a scrape says of the sample, and that any OpenMetrics parser would take it.

use std::collections::{BTreeMap, BTreeSet};

use super::super::sample;
use super::text;
use crate::controller::view::Status;

fn scrape() -> String {
    text(sample::status())
}

#[test]
fn the_scrape_has_these_series() {
    let scrape = scrape();
    let lines: BTreeSet<&str> = scrape.lines().collect();
    let expected = r#"
fairway_build_info{version="0.1.0"} 1
fairway_config_info{hash="00112233aabbccdd"} 1
fairway_config_last_reload_successful 1
fairway_config_last_reload_timestamp_seconds 1700001000.0
fairway_xdp_attached{interface="eth0",mode="native"} 1
fairway_xdp_attached{interface="eth0",mode="generic"} 0
fairway_xdp_attached{interface="eth1",mode="native"} 0
fairway_xdp_attached{interface="eth1",mode="generic"} 1
fairway_service_info{service="we\"b",address="tcp://203.0.113.10:443"} 1
fairway_service_packets_total{service="we\"b"} 1200
fairway_service_bytes_total{service="we\"b"} 1500000
fairway_service_connections_total{service="we\"b"} 120
fairway_quic_packets_total{service="we\"b",way="connection-id"} 800
fairway_quic_packets_total{service="we\"b",way="beginning"} 30
fairway_quic_packets_total{service="we\"b",way="unknown"} 2
fairway_service_quorum_ok{service="we\"b"} 1
fairway_lookup_table_hash{service="we\"b"} 4503599627370495
fairway_unsettled_slots{service="we\"b"} 12
fairway_backend_info{service="we\"b",backend="web1",address="10.0.0.11",forwarding="direct"} 1
fairway_backend_packets_total{service="we\"b",backend="web1"} 700
fairway_backend_bytes_total{service="we\"b",backend="web1"} 900000
fairway_backend_connections_total{service="we\"b",backend="web1"} 70
fairway_backend_syn_retransmissions_total{service="we\"b",backend="web1"} 3
fairway_backend_resets_total{service="we\"b",backend="web1"} 2
fairway_backend_unreachables_total{service="we\"b",backend="web1"} 1
fairway_backend_weight{service="we\"b",backend="web1"} 100.0
fairway_backend_active_connections{service="we\"b",backend="web1"} 5
fairway_backend_inactive_connections{service="we\"b",backend="web1"} 7
fairway_backend_overloaded{service="we\"b",backend="web1"} 1
fairway_backend_state{service="we\"b",backend="web1",state="up"} 1
fairway_backend_state{service="we\"b",backend="web1",state="drain"} 0
fairway_backend_last_change_timestamp_seconds{service="we\"b",backend="web1"} 1700009875.0
fairway_backend_check_state{service="we\"b",backend="web1",check="http",state="up"} 1
fairway_backend_check_state{service="we\"b",backend="web1",check="http",state="down"} 0
fairway_backend_check_last_change_timestamp_seconds{service="we\"b",backend="web1",check="http"} 1700009875.0
fairway_backend_check_duration_seconds_bucket{le="0.001",service="we\"b",backend="web1",check="http"} 60
fairway_backend_check_duration_seconds_bucket{le="+Inf",service="we\"b",backend="web1",check="http"} 62
fairway_backend_check_duration_seconds_sum{service="we\"b",backend="web1",check="http"} 0.25
fairway_backend_check_successes_total{service="we\"b",backend="web1",check="http"} 61
fairway_backend_check_failures_total{service="we\"b",backend="web1",check="http",reason="wrong"} 1
fairway_backend_check_failures_total{service="we\"b",backend="web1",check="http",reason="silent"} 0
fairway_backend_check_flaps_total{service="we\"b",backend="web1",check="http"} 2
fairway_certificate_expiry_timestamp_seconds{service="we\"b",backend="web1",check="http"} 1701000000
fairway_check_lateness_seconds_bucket{le="0.0025"} 61
fairway_check_lateness_seconds_count 61
fairway_probes_limit 16384
fairway_probe_faults_total 0
fairway_drops_total{reason="truncated"} 5
fairway_drops_total{reason="no-backend"} 0
fairway_passes_total{reason="not-a-service"} 77
fairway_flow_table_entries{protocol="tcp"} 12
fairway_flow_table_capacity{protocol="udp"} 1048576
fairway_flow_record_refusals_total 3
fairway_stateful_table_entries 13
fairway_stateful_table_capacity 4096
fairway_stateful_unrecorded_total 2
fairway_stateful_clients 5
fairway_translation_table_entries 7
fairway_translation_table_capacity 2048
fairway_flows_at_risk 12
fairway_neighbours_unresolved 1
fairway_exchange_session{direction="telling"} 1
fairway_exchange_in_sync{vrrp="public"} 1
fairway_exchange_caught_up 1
fairway_exchange_disagreements 1
fairway_exchange_unconfirmed_items 4
fairway_exchange_told_records 13
fairway_exchange_walk_seconds 0.25
fairway_exchange_items_told_total 100
fairway_exchange_agreement_ratio 1.0
fairway_exchange_rehearsed_total{result="agreed"} 640
fairway_exchange_rehearsed_total{result="differed"} 2
fairway_exchange_refused_total{reason="authentication"} 3
fairway_exchange_refused_total{reason="address"} 0
fairway_exchange_records_unplaced_total{reason="no-backend"} 5
fairway_vrrp_info{vrrp="public",interface="eth0",family="ipv4",vrid="51",version="3"} 1
fairway_vrrp_address_info{vrrp="public",address="2001:db8::10"} 1
fairway_vrrp_state{vrrp="public",state="master"} 1
fairway_vrrp_state{vrrp="public",state="backup"} 0
fairway_vrrp_state{vrrp="inside",state="backup"} 1
fairway_vrrp_last_change_timestamp_seconds{vrrp="public"} 1700009875.0
fairway_vrrp_priority{vrrp="public"} 254.0
fairway_vrrp_effective_priority{vrrp="public"} 204.0
fairway_vrrp_track_contribution{vrrp="public",track="interface eth1"} -50.0
fairway_vrrp_foreign_master{vrrp="public"} 1.0
fairway_vrrp_foreign_master{vrrp="inside"} 0.0
fairway_vrrp_resigned{vrrp="inside"} 1.0
fairway_vrrp_held_back{vrrp="inside"} 1.0
fairway_vrrp_transitions_total{vrrp="public",state="master"} 2
fairway_vrrp_transitions_total{vrrp="public",state="fault"} 0
fairway_vrrp_advertisements_sent_total{vrrp="public"} 100
fairway_vrrp_advertisements_received_total{vrrp="public"} 7
fairway_vrrp_advertisement_errors_total{vrrp="public",reason="ttl"} 3
fairway_vrrp_priority_zero_received_total{vrrp="public"} 1
fairway_vrrp_priority_zero_sent_total{vrrp="public"} 0
fairway_vrrp_address_list_differs_total{vrrp="public"} 0
fairway_vrrp_checksum_form_total{vrrp="public",form="plain"} 1
fairway_vrrp_advertisement_lateness_seconds_sum{vrrp="public"} 0.5
fairway_vrrp_advertisement_lateness_seconds_count{vrrp="public"} 100
fairway_vrrp_advertisement_lateness_seconds_bucket{le="0.00005",vrrp="public"} 90
fairway_vrrp_advertisement_lateness_seconds_bucket{le="0.25",vrrp="public"} 99
fairway_vrrp_advertisement_lateness_seconds_bucket{le="+Inf",vrrp="public"} 100
fairway_vrrp_stray_packets_total{reason="vrid"} 9
fairway_vrrp_stalls_total 2
fairway_vrrp_longest_stall_seconds 0.12
fairway_vrrp_realtime 1.0
fairway_vrrp_memory_locked 0.0
fairway_vrrp_wakeups_total 5000
fairway_vrrp_late_wakeups_total 2
fairway_vrrp_worst_lateness_seconds 0.0125
fairway_vrrp_failures_total{reason="send an advertisement: ENETDOWN"} 1
fairway_peer_up 1.0
fairway_peer_refused_total{reason="authentication"} 3
fairway_peer_path_info{path="2",address="192.0.2.2"} 1
fairway_peer_path_up{path="1"} 1.0
fairway_peer_path_up{path="2"} 0.0
fairway_peer_heartbeats_sent_total{path="2"} 1000
fairway_peer_heartbeats_received_total{path="1"} 990
fairway_bfd_session_info{session="1",neighbour="192.0.2.2"} 1
fairway_bfd_session_up{session="1"} 1.0
fairway_bfd_session_losses_total{session="1"} 1
fairway_bfd_packets_discarded_total{session="1",reason="ttl"} 4
"#;
    for line in expected.trim().lines() {
        let line = line.replace("we\"b", "we\\\"b");
        assert!(lines.contains(&*line), "{line} is missing in\n{scrape}");
    }
}

#[test]
fn a_name_that_stands_for_two_servers_is_one_series_with_the_new_ones_state() {
    let scrape = scrape();
    let web2: Vec<&str> = scrape.lines().filter(|line| line.contains("backend=\"web2\"")).collect();
    let has = |part: &str| web2.iter().filter(|line| line.contains(part)).copied().collect::<Vec<_>>();
    assert_eq!(has("_packets_total"), [r#"fairway_backend_packets_total{service="we\"b",backend="web2"} 500"#]);
    let on: Vec<&str> = has("_state").into_iter().filter(|line| line.ends_with(" 1")).collect();
    assert_eq!(on, [r#"fairway_backend_state{service="we\"b",backend="web2",state="unchecked"} 1"#]);
}

#[test]
fn a_scrape_is_well_formed() {
    check_exposition(&scrape());
}

#[test]
fn an_empty_state_is_a_well_formed_scrape_too() {
    let status = sample::status();
    check_exposition(&text(Status {
        services: Vec::new(),
        interfaces: Vec::new(),
        neighbours: Vec::new(),
        passes: BTreeMap::new(),
        drops: BTreeMap::new(),
        vrrp: None,
        ..status
    }));
}

#[test]
fn every_metric_is_documented() {
    let docs = include_str!("../../../../docs/metrics.md");
    for series in check_exposition(&scrape()) {
        assert!(docs.contains(&format!("`{series}`")), "{series} is not in docs/metrics.md");
    }
}

#[test]
fn without_virtual_routers_there_are_no_metrics_of_them() {
    let scrape = text(Status { vrrp: None, exchange: None, ..sample::status() });
    assert!(!scrape.contains("vrrp") && !scrape.contains("fairway_peer") && !scrape.contains("fairway_bfd"));
}

/// Fails unless the text keeps the rules of OpenMetrics that scrapers trip over; returns the names of all samples.
fn check_exposition(text: &str) -> BTreeSet<String> {
    let body = text.strip_suffix("# EOF\n").expect("the text ends with EOF");
    let (mut families, mut series, mut names) = (BTreeMap::new(), BTreeSet::new(), BTreeSet::new());
    let mut current = String::new();
    for line in body.lines() {
        if let Some(family) = line.strip_prefix("# TYPE ") {
            let (name, kind) = family.split_once(' ').expect("a type has a name and a kind");
            assert!(families.insert(name.to_owned(), kind).is_none(), "{name} comes twice");
            assert!(!name.ends_with("_total") && !name.ends_with("_info"), "{name}: the suffix is the samples'");
            current = name.to_owned();
        } else if !line.starts_with("# HELP ") {
            let (name, labels) = sample_of(line);
            let suffixes: &[&str] = match families[&current] {
                "counter" => &["_total"],
                "info" => &["_info"],
                "gauge" => &[""],
                "histogram" => &["_sum", "_count", "_bucket"],
                other => panic!("{current} is a {other}"),
            };
            let known = suffixes.iter().any(|suffix| name == format!("{current}{suffix}"));
            assert!(known, "{line} is a sample outside of its family");
            assert!(name.starts_with("fairway_"));
            assert!(series.insert(format!("{name}{labels:?}")), "{line} comes twice");
            // A histogram is documented as one.
            names.insert(if families[&current] == "histogram" { current.clone() } else { name });
        }
    }
    names
}

/// Name and labels of a sample line.
fn sample_of(line: &str) -> (String, Vec<(String, String)>) {
    let (series, value) = line.rsplit_once(' ').expect("a sample has a value");
    value.parse::<f64>().unwrap_or_else(|_| panic!("{line}: not a number"));
    let Some((name, labels)) = series.split_once('{') else { return (series.to_owned(), Vec::new()) };
    let mut rest = labels.strip_suffix('}').expect("labels are closed");
    let mut all = Vec::new();
    while !rest.is_empty() {
        let (key, after) = rest.split_once("=\"").expect("a label has a quoted value");
        let (value, after) = quoted(after);
        all.push((key.to_owned(), value));
        rest = after.strip_prefix(',').unwrap_or(after);
    }
    (name.to_owned(), all)
}

/// The value up to its closing quote, and what follows.
fn quoted(text: &str) -> (String, &str) {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return (value, &text[at + 1..]),
            '\\' => value.push(chars.next().expect("an escape escapes something").1),
            _ => value.push(c),
        }
    }
    panic!("{text}: not closed")
}
