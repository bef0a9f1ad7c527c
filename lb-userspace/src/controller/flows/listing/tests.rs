//! What is said of records, and of which. The services are planned for real; the records are made up.

use lb_common::packet::transport::ports_wire;

use super::*;
use crate::config;
use crate::controller::view::Problem;
use crate::reconcile::image::Image;
use crate::reconcile::placed::identity_of;
use crate::reconcile::planner::Planner;
use crate::scheduler::seed::Seed;

const NOW: u64 = 10_000 * SECOND;

const CONFIG: &str = r#"
dataplane.interfaces = ["eth0"]
dataplane.source_nat_addresses = ["10.9.9.9"]

[[service]]
name = "web"
listen = ["tcp://203.0.113.10:80", "udp://203.0.113.10:53"]
udp = "flows"
idle_timeout = "5m"
backend = [{ name = "w1", address = "10.0.0.1" }, { name = "w2", address = "10.0.0.2" }]

[[service]]
name = "counted"
listen = ["tcp://203.0.113.11:*"]
scheduler = "round-robin"
persistence = { timeout = "90s", prefix_v4 = 24 }
fin_timeout = "7s"
syn_timeout = "8s"
closed_timeout = "9s"
backend = [{ name = "c1", address = "10.0.0.1" }]

[[service]]
name = "full"
listen = ["tcp://203.0.113.12:80"]
forwarding = "full-nat"
backend = [{ name = "f1", address = "10.0.1.1", port = 8080 }, { name = "f2", address = "10.0.1.1", port = 8081 }]
"#;

struct Bench {
    planner: Planner,
}

impl Bench {
    fn new() -> Self {
        let mut planner = Planner::new(Seed::from_text("test"), 1 << 20, 1 << 10);
        let (config, _) = config::parse(CONFIG, "host").unwrap();
        planner.configure(Duration::from_secs(1000), &Image::new(1 << 20, 1 << 10), &config).unwrap();
        Self { planner }
    }

    /// A record of this service and backend that is so many seconds old.
    fn record(&self, service: &str, backend: &str, state: u16, age: u64) -> Record {
        let placed = &self.planner.services()[service];
        let backend = placed.config.backends.iter().find(|it| it.name == backend).unwrap();
        let pool = &self.planner.tables().get(placed.table).pool;
        let backend = pool.member(&identity_of(backend)).unwrap().index;
        Record { last_seen: NOW - age * SECOND, pool: placed.pool, backend, state }
    }

    fn listing(&self, query: FlowQuery) -> Listing {
        Listing::new(Roster::new(&self.planner), query, NOW)
    }

    /// Some of everything.
    fn shown(&self, query: FlowQuery) -> FlowsReport {
        let mut listing = self.listing(query);
        listing.exception(&key("192.0.2.1:1000", "203.0.113.10:80", 6), &self.record("web", "w2", 2, 10));
        listing.exception(&key("192.0.2.2:1000", "203.0.113.10:53", 17), &self.record("web", "w1", 2, 10));
        listing.connection(&key("192.0.2.3:1000", "203.0.113.11:8443", 6), &self.record("counted", "c1", 3, 2));
        let client = ClientKey { address: address("192.0.2.0"), pool: u64::from(self.pool("counted")) };
        listing.client(&client, &self.record("counted", "c1", 0, 100));
        let (to_backend, to_client) =
            (becomes("10.9.9.9:2000", "10.0.1.1:8081", 2), becomes("203.0.113.12:80", "198.51.100.4:1000", 0));
        let key = key("198.51.100.4:1000", "203.0.113.12:80", 6);
        listing.translation(&key, &to_backend, |_| Some(Translation { last_seen: NOW - SECOND, ..to_client }));
        listing.translation(&turned(&Ends::from(&to_backend), 6), &to_client, |_| Some(to_backend));
        listing.finish()
    }

    fn pool(&self, service: &str) -> u32 {
        self.planner.services()[service].pool
    }
}

fn address(text: &str) -> Address {
    text.parse::<IpAddr>().unwrap().into()
}

fn key(source: &str, destination: &str, protocol: u32) -> FlowKey6 {
    let [source, destination] = [source, destination].map(|end| end.parse::<std::net::SocketAddr>().unwrap());
    FlowKey6 {
        source: source.ip().into(),
        destination: destination.ip().into(),
        ports_wire: ports_wire(source.port().to_be(), destination.port().to_be()),
        protocol,
    }
}

fn becomes(source: &str, destination: &str, state: u16) -> Translation {
    let FlowKey6 { source, destination, ports_wire, .. } = key(source, destination, 6);
    Translation { last_seen: NOW - 30 * SECOND, source, destination, ports_wire, live: 0, state }
}

fn query() -> FlowQuery {
    FlowQuery::default()
}

fn clients(report: &FlowsReport) -> Vec<&str> {
    report.flows.iter().map(|flow| flow.client.as_str()).collect()
}

#[test]
fn every_kind_of_record_says_whose_it_is_and_when_it_is_forgotten() {
    let report = Bench::new().shown(query());
    let said = |flow: &FlowStatus| {
        let FlowStatus { kind, service, backend, state, idle_seconds, expires_in_seconds, .. } = flow;
        let backend = backend.as_deref().unwrap_or("-");
        format!("{kind} {service} {backend} {state} {idle_seconds} {expires_in_seconds}")
    };
    let expected = [
        ("192.0.2.0/24", None, None, "client counted c1 remembered 100 0"),
        ("192.0.2.1", Some("tcp"), Some(80), "exception web w2 established 10 290"),
        ("192.0.2.2", Some("udp"), Some(53), "exception web w1 datagrams 10 290"),
        ("192.0.2.3", Some("tcp"), Some(8443), "connection counted c1 closing 2 5"),
        ("198.51.100.4", Some("tcp"), Some(80), "translation full f2 established 1 899"),
    ];
    let flows: Vec<_> = report
        .flows
        .iter()
        .map(|flow| (flow.client.as_str(), flow.protocol.as_deref(), flow.port, said(flow)))
        .collect();
    assert_eq!(flows, expected.map(|(client, protocol, port, said)| (client, protocol, port, said.to_owned())));
    assert_eq!((report.matching, report.truncated, &*report.api), (5, false, "v1"));
    let translation = &report.flows[4];
    assert_eq!((translation.source.as_deref(), translation.source_port), (Some("10.9.9.9"), Some(2000)));
    assert_eq!((translation.backend_address.as_deref(), translation.backend_port), (Some("10.0.1.1"), Some(8081)));
}

#[test]
fn all_that_is_asked_for_must_hold() {
    let bench = Bench::new();
    let text = |text: &str| Some(text.to_owned());
    for (query, expected) in [
        (FlowQuery { service: text("web"), ..query() }, vec!["192.0.2.1", "192.0.2.2"]),
        (FlowQuery { backend: text("w1"), ..query() }, vec!["192.0.2.2"]),
        (FlowQuery { backend: text("10.0.0.1"), ..query() }, vec!["192.0.2.0/24", "192.0.2.2", "192.0.2.3"]),
        (FlowQuery { backend: text("f1"), ..query() }, vec![]),
        (FlowQuery { client: Some("192.0.2.2/31".parse().unwrap()), ..query() }, vec!["192.0.2.2", "192.0.2.3"]),
        (FlowQuery { client: Some("2001:db8::/32".parse().unwrap()), ..query() }, vec![]),
        (
            FlowQuery { service: text("counted"), client: Some("192.0.2.3/32".parse().unwrap()), ..query() },
            vec!["192.0.2.3"],
        ),
    ] {
        let report = bench.shown(query.clone());
        assert_eq!(clients(&report), expected, "{query:?}");
        assert_eq!(report.matching, expected.len() as u64, "{query:?}");
    }
}

#[test]
fn beyond_the_limit_records_are_counted_only() {
    let report = Bench::new().shown(FlowQuery { limit: Some(2), ..query() });
    assert_eq!((report.flows.len(), report.matching, report.truncated), (2, 5, true));
    let report = Bench::new().shown(FlowQuery { limit: Some(5), ..query() });
    assert_eq!((report.flows.len(), report.matching, report.truncated), (5, 5, false));
}

#[test]
fn records_that_count_as_none_are_left_out() {
    let bench = Bench::new();
    let mut listing = bench.listing(query());
    let to_web = key("192.0.2.1:1000", "203.0.113.10:80", 6);
    for record in [
        bench.record("web", "w1", record_state::OPEN, 301),
        bench.record("web", "w1", record_state::CLOSING, 61),
        bench.record("web", "w1", record_state::OPENING, 61),
        bench.record("counted", "c1", record_state::OPEN, 0),
        Record { pool: 77, ..bench.record("web", "w1", record_state::OPEN, 0) },
    ] {
        listing.exception(&to_web, &record);
    }
    listing.exception(&key("192.0.2.1:1000", "203.0.113.10:81", 6), &bench.record("web", "w1", 2, 0));
    let silent = bench.record("counted", "c1", connection_state::FIN_WAIT, 8);
    listing.connection(&key("192.0.2.1:1000", "203.0.113.11:80", 6), &silent);
    assert_eq!(listing.finish().flows, []);
}

#[test]
fn each_state_of_a_connection_has_the_timeout_of_its_service() {
    let bench = Bench::new();
    let left = |state| {
        let mut listing = bench.listing(query());
        listing.connection(&key("192.0.2.1:1", "203.0.113.11:80", 6), &bench.record("counted", "c1", state, 1));
        let flow = listing.finish().flows.remove(0);
        (flow.state, flow.expires_in_seconds)
    };
    use connection_state::{CLOSED, ESTABLISHED, FIN_WAIT, SYN_RECEIVED, TIME_WAIT};
    let expected = [("opening", 7.0), ("established", 899.0), ("closing", 6.0), ("closing", 6.0), ("closed", 8.0)];
    let states = [SYN_RECEIVED, ESTABLISHED, FIN_WAIT, TIME_WAIT, CLOSED];
    assert_eq!(states.map(left), expected.map(|(state, left)| (state.to_owned(), left)));
}

#[test]
fn a_backend_that_nobody_knows_any_more_has_no_name() {
    let bench = Bench::new();
    let mut listing = bench.listing(query());
    let record = Record { backend: 99, ..bench.record("web", "w1", record_state::OPEN, 0) };
    listing.exception(&key("192.0.2.1:1000", "203.0.113.10:80", 6), &record);
    let flows = listing.finish().flows;
    assert_eq!((flows.len(), &flows[0].backend), (1, &None));
}

#[test]
fn a_name_that_nothing_has_is_refused() {
    let roster = Roster::new(&Bench::new().planner);
    let check = |service: Option<&str>, backend: Option<&str>| {
        roster.check(&FlowQuery { service: service.map(Into::into), backend: backend.map(Into::into), ..query() })
    };
    let refused = |message: &str| Err(Problem { exit: 2, message: message.to_owned() });
    assert_eq!(check(None, None), Ok(()));
    assert_eq!(check(Some("web"), Some("10.0.0.2")), Ok(()));
    assert_eq!(check(Some("nosuch"), None), refused("no service is called nosuch"));
    assert_eq!(check(Some("web"), Some("c1")), refused("service web has no backend with the name or address c1"));
    assert_eq!(check(None, Some("x")), refused("no service has a backend with the name or address x"));
}
