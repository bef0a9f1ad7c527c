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
fairway_service_quorum_ok{service="we\"b"} 1
fairway_lookup_table_hash{service="we\"b"} 4503599627370495
fairway_unsettled_slots{service="we\"b"} 12
fairway_backend_info{service="we\"b",backend="web1",address="10.0.0.11",forwarding="direct"} 1
fairway_backend_packets_total{service="we\"b",backend="web1"} 700
fairway_backend_bytes_total{service="we\"b",backend="web1"} 900000
fairway_backend_connections_total{service="we\"b",backend="web1"} 70
fairway_backend_weight{service="we\"b",backend="web1"} 100
fairway_backend_state{service="we\"b",backend="web1",state="up"} 1
fairway_backend_state{service="we\"b",backend="web1",state="drain"} 0
fairway_backend_last_change_timestamp_seconds{service="we\"b",backend="web1"} 1700009875.0
fairway_drops_total{reason="truncated"} 5
fairway_drops_total{reason="no-backend"} 0
fairway_passes_total{reason="not-a-service"} 77
fairway_flow_table_entries{protocol="tcp"} 12
fairway_flow_table_capacity{protocol="udp"} 1048576
fairway_flow_record_refusals_total 3
fairway_neighbours_unresolved 1
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
            let suffix = match families[&current] {
                "counter" => "_total",
                "info" => "_info",
                "gauge" => "",
                other => panic!("{current} is a {other}"),
            };
            assert_eq!(name, format!("{current}{suffix}"), "a sample outside of its family");
            assert!(name.starts_with("fairway_"));
            assert!(series.insert(format!("{name}{labels:?}")), "{line} comes twice");
            names.insert(name);
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
