//! `show flows` lists what the tables hold: connections of stateful services, exceptions, translations, remembered clients; and
//! says that flows which the lookup table alone decides are not among them.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};

use fairway::playground::Lab;
use fairway::playground::topology::{Replies, Spec, backend_v4};
use serde_json::Value;

use crate::harness::{Bed, Connection, HTTP, four_backends, lab, service_v4, service_v6, usual_config};

const CONNECTIONS: usize = 16;

#[test]
fn connections_and_clients_of_a_stateful_service_are_listed_and_filtered() {
    let bed = Bed::in_lab(lab(&four_backends(Replies::Direct)), |lab| {
        usual_config(lab, &[0, 1, 2, 3]).replacen("\nforwarding = ", "\nscheduler = \"round-robin\"\nforwarding = ", 1)
    });
    let mut held = hold(&bed, service_v4(HTTP));
    let _unrecorded = hold(&bed, service_v6(HTTP));
    let expected = names(&mut held);

    let report = flows(&bed, &[]);
    assert_eq!(of_kind(&report, "connection"), expected);
    assert_eq!(report["matching"], CONNECTIONS, "those over IPv6 are hashed, and have no record: {report}");
    let one = &report["flows"][0];
    assert_eq!(one["service"], "web");
    assert_eq!((one["address"].as_str(), one["port"].as_u64()), (Some("10.2.0.100"), Some(HTTP.into())));
    assert_eq!((one["protocol"].as_str(), one["state"].as_str()), (Some("tcp"), Some("established")));
    assert!(one["expires_in_seconds"].as_f64().is_some_and(|left| left > 800.0 && left <= 900.0), "{one}");

    let (client, second) = (held[0].0.local().to_string(), backend_v4(1).to_string());
    for (filter, matching) in [
        (&["--service", "web"][..], CONNECTIONS),
        (&["--service", "web6"], 0),
        (&["--backend", "b2"], CONNECTIONS / 4),
        (&["--backend", &second, "--service", "web"], CONNECTIONS / 4),
        (&["--client", "10.1.0.0/24"], CONNECTIONS),
        (&["--client", "10.99.0.0/24"], 0),
    ] {
        assert_eq!(flows(&bed, filter)["matching"], matching, "{filter:?}");
    }
    let table = said(&bed, &["--limit", "3"]);
    assert!(table.contains(&format!("TRUNCATED: 3 of {CONNECTIONS} records are shown")), "{table}");
    let table = said(&bed, &[]);
    assert!(table.contains(&client) && table.contains(&format!("{CONNECTIONS} records.")), "{table}");
    assert!(table.contains("have no record, by design"), "{table}");

    for wrong in [&["--service", "nosuch"][..], &["--backend", "nosuch"], &["--limit", "0"], &["--client", "x"]] {
        let output = bed.fairway.command(&[&["show", "flows"], wrong].concat());
        assert_eq!(output.status.code(), Some(2), "{wrong:?}: {output:?}");
    }
    assert_eq!(bed.fairway.command(&["show", "services", "--limit", "3"]).status.code(), Some(2));
}

#[test]
fn a_remembered_client_is_listed_beside_its_connections() {
    let bed = Bed::in_lab(lab(&four_backends(Replies::Direct)), |lab| {
        usual_config(lab, &[0, 1, 2, 3]).replace(
            "\nforwarding = ",
            "\nscheduler = \"round-robin\"\npersistence = { timeout = \"60s\", prefix_v4 = 24 }\nforwarding = ",
        )
    });
    let mut held = hold(&bed, service_v4(HTTP));
    let expected = names(&mut held);
    let report = flows(&bed, &["--client", "10.1.0.0/16"]);
    assert_eq!(of_kind(&report, "connection"), expected);
    let listed = report["flows"].as_array().expect("it is a list");
    let clients: Vec<&Value> = listed.iter().filter(|flow| flow["kind"] == "client").collect();
    assert_eq!(clients.len(), 1, "{report}");
    let backend = expected.iter().next().map(|(_, backend)| backend.as_str());
    assert_eq!((clients[0]["client"].as_str(), clients[0]["backend"].as_str()), (Some("10.1.0.0/24"), backend));
}

#[test]
fn hashed_flows_are_listed_once_they_are_exceptions_over_ipv4() {
    lists_exceptions(service_v4(HTTP));
}

#[test]
fn hashed_flows_are_listed_once_they_are_exceptions_over_ipv6() {
    lists_exceptions(service_v6(HTTP));
}

fn lists_exceptions(service: SocketAddr) {
    let bed = Bed::start(&four_backends(Replies::Direct), &[0, 1]);
    let mut held = hold(&bed, service);
    let before = names(&mut held);
    assert_eq!(flows(&bed, &[])["matching"], 0, "nothing needs a record yet");

    bed.fairway.reload_backends(&bed.lab, &[1, 2, 3]);
    assert_eq!(names(&mut held), before, "connections stay where they are");
    // A flow is recorded when a packet of it comes to a slot that has got another owner: all of the backend that leaves.
    let leaving: BTreeSet<_> = before.iter().filter(|(_, backend)| backend == "b1").cloned().collect();
    let recorded = of_kind(&flows(&bed, &[]), "exception");
    assert!(!leaving.is_empty() && leaving.is_subset(&recorded), "{leaving:?} of {recorded:?}");
    assert!(recorded.is_subset(&before), "{recorded:?} of {before:?}");
    assert_eq!(of_kind(&flows(&bed, &["--backend", "b1"]), "exception"), leaving);
}

#[test]
fn translated_flows_are_listed_as_the_backends_see_them() {
    let bed = Bed::in_lab(lab(&Spec { replies: Replies::ThroughBalancer, ..Spec::default() }), |lab: &Lab| {
        let sources = "[dataplane]\nsource_nat_addresses = [\"10.2.0.11\", \"fd02::11\"]\n";
        usual_config(lab, &[0, 1, 2, 3])
            .replace("forwarding = \"nat\"\n", "forwarding = \"full-nat\"\n")
            .replace("[dataplane]\n", sources)
    });
    for (service, source) in [(service_v4(HTTP), "10.2.0.11"), (service_v6(HTTP), "fd02::11")] {
        let mut held = hold(&bed, service);
        let expected = names(&mut held);
        let report = flows(&bed, &["--service", if service.is_ipv4() { "web" } else { "web6" }]);
        assert_eq!(of_kind(&report, "translation"), expected, "{service}");
        for flow in report["flows"].as_array().expect("it is a list") {
            assert_eq!(flow["source"], source);
            assert_eq!(flow["backend_port"], HTTP);
        }
    }
}

/// Open connections, each with the backend that it has.
fn hold(bed: &Bed, service: SocketAddr) -> Vec<(Connection, String)> {
    let open = |_| {
        let mut connection = Connection::open_from(&bed.lab.client(), service).expect("nginx accepts");
        let backend = connection.ask_name().expect("nginx answers");
        (connection, backend)
    };
    (0..CONNECTIONS).map(open).collect()
}

/// Client and backend of each, asked anew.
fn names(held: &mut [(Connection, String)]) -> BTreeSet<(String, String)> {
    held.iter_mut().map(|(it, _)| (it.local().to_string(), it.ask_name().expect("it answers"))).collect()
}

/// Client and backend of each flow of a kind.
fn of_kind(report: &Value, kind: &str) -> BTreeSet<(String, String)> {
    let flows = report["flows"].as_array().expect("it is a list").iter().filter(|flow| flow["kind"] == kind);
    let pair = |flow: &Value| {
        let address: IpAddr = flow["client"].as_str().expect("it has a client").parse().expect("an address");
        let port = flow["client_port"].as_u64().and_then(|port| u16::try_from(port).ok()).expect("it has a port");
        let client = SocketAddr::new(address, port);
        (client.to_string(), flow["backend"].as_str().unwrap_or("-").to_owned())
    };
    flows.map(pair).collect()
}

/// `fairway show flows -o json` with these filters.
fn flows(bed: &Bed, filters: &[&str]) -> Value {
    let text = said(bed, &[filters, &["-o", "json"]].concat());
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

fn said(bed: &Bed, arguments: &[&str]) -> String {
    let output = bed.fairway.command(&[&["show", "flows"], arguments].concat());
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}
