//! Translations that a pair shares: connections and flows of datagrams under full NAT, and connections to servers that services share under
//! `nat`, live on when the master dies, when it returns, and when it hands over.
//!
//! A flow's source is chosen by a hash that both nodes share, so that a flow which nobody told of would often get the same one
//! again. Here sources are so few that most flows had to take another one than their first, and after each change of master those
//! that came last are the first to speak.

use std::fs;
use std::net::UdpSocket;
use std::thread;
use std::time::Duration;

use fairway::playground::topology::{GATEWAY_V4, GATEWAY_V6, Replies, SERVICE_V4, Spec, backend_v4};
use fairway::playground::{KEY_FILE, node_configuration};
use fairway_tests::harness::{
    Connection, ECHO, Echo, Fairway, HTTP, HTTP_TOO, Nginx, admin_socket, await_that, flow, ip, lab, service_v4,
    service_v6,
};
use serde_json::Value;

use super::{FIRST, Pair, SECOND};

const KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n";
const BACKENDS: [usize; 4] = [0, 1, 2, 3];
/// Where one of the services that share their servers is asked from, and the other one too.
const CLIENT_PORTS: [u16; 4] = [15_001, 15_002, 15_003, 15_004];

/// The pair and its servers. Fields are in the order in which they have to end.
struct Shared {
    pair: Pair,
    config: fn(String) -> String,
    _servers: [Nginx; 4],
}

impl Shared {
    /// Both nodes, with what `config` makes of the usual configuration.
    fn start(config: fn(String) -> String) -> Self {
        let spec =
            Spec { balancers: 2, backends: 4, floating: true, replies: Replies::ThroughBalancer, ..Spec::default() };
        let lab = lab(&spec);
        let servers = BACKENDS.map(|index| Nginx::start(&lab, index));
        fs::write(lab.directory().join(KEY_FILE), KEY).expect("the lab's directory is writable");
        let mut shared = Self { pair: Pair::in_lab(lab), config, _servers: servers };
        for node in [FIRST, SECOND] {
            shared.start_node(node);
        }
        shared.await_master(FIRST);
        shared.await_sync(FIRST);
        shared
    }

    fn start_node(&mut self, node: usize) {
        let lab = &self.pair.lab;
        let config = node_configuration(lab, node, &admin_socket(lab, node), &BACKENDS)
            .replace("hold = \"5s\"", "hold = \"100ms\"")
            .replace("\nforwarding = ", "\nscheduler = \"round-robin\"\nforwarding = ");
        self.pair.nodes[node] = Some(Fairway::start_on(lab, node, &(self.config)(config)));
    }

    fn await_master(&self, node: usize) {
        self.pair.await_holder("the node is master", &SERVICE_V4.to_string(), node);
    }

    fn await_sync(&mut self, master: usize) {
        for node in [FIRST, SECOND] {
            await_that("the pair is in sync", || {
                let status = self.pair.node(node).status();
                let realms = status["exchange"]["realms"].as_array().cloned().unwrap_or_default();
                let is_so = |it: &Value| it["master"] == (node == master) && it["in_sync"] == true;
                realms.len() == 2 && realms.iter().all(is_so)
            });
        }
    }

    /// Waits until the peer has confirmed what the node has at this moment.
    fn await_told(&mut self, node: usize) {
        let walks = self.metric(node, "fairway_exchange_walks_total");
        // The first that begins from now on is the second that ends from now on.
        await_that("all is told", || {
            self.metric(node, "fairway_exchange_walks_total") >= walks + 2.0
                && self.metric(node, "fairway_exchange_unconfirmed_items") == 0.0
        });
    }

    fn kill(&mut self, node: usize) {
        self.pair.node(node).kill();
        self.pair.nodes[node] = None;
    }

    fn metric(&mut self, node: usize, series: &str) -> f64 {
        self.pair.node(node).metric(series).unwrap_or(-1.0)
    }

    fn command(&mut self, words: &[&str]) {
        let output = self.pair.node(FIRST).command(words);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    /// So many of each family.
    fn open(&self, count: usize) -> Vec<Connection> {
        let client = self.pair.lab.client();
        let services = [service_v4(HTTP), service_v6(HTTP)].into_iter();
        let all = services.flat_map(|service| std::iter::repeat_n(service, count));
        all.map(|service| Connection::open_from(&client, service).expect("it is accepted")).collect()
    }

    /// The first dies, returns, hands over and takes over again: every connection goes on, those opened meanwhile too. `open`: more
    /// of them, while the second is master.
    fn survive<T: Ask>(&mut self, mut all: Vec<T>, open: impl FnOnce(&Self) -> Vec<T>) {
        let mut before = answers(&mut all);
        self.await_told(FIRST);
        self.kill(FIRST);
        self.await_master(SECOND);
        all.extend(open(self));
        let later = answers_of_last(&mut all, before.len());
        before.extend(later);
        assert_eq!(answers(&mut all), before, "after the master's death");

        self.start_node(FIRST);
        self.await_master(FIRST);
        assert_eq!(answers(&mut all), before, "after its return");
        self.await_sync(FIRST);

        self.command(&["vrrp", "resign", "--all"]);
        self.await_master(SECOND);
        assert_eq!(answers(&mut all), before, "after a planned hand-over");
        self.await_sync(SECOND);

        self.command(&["vrrp", "resume", "--all"]);
        self.await_master(FIRST);
        assert_eq!(answers(&mut all), before, "after it took over again");
        self.await_sync(FIRST);
    }
}

/// A flow whose server can be asked who it is.
trait Ask {
    /// What it says.
    fn ask(&mut self) -> String;
}

impl Ask for Connection {
    fn ask(&mut self) -> String {
        self.ask_name().unwrap_or_else(|error| format!("broken: {error}"))
    }
}

/// Of datagrams, which may be lost while a node takes over.
struct Datagrams(UdpSocket);

impl Datagrams {
    const TRIES: u32 = 5;

    fn open(shared: &Shared, count: usize) -> Vec<Self> {
        let client = shared.pair.lab.client();
        let services = [service_v4(ECHO), service_v6(ECHO)].into_iter();
        let all = services.flat_map(|service| std::iter::repeat_n(service, count));
        all.map(|service| {
            let socket = flow(&client, service);
            socket.set_read_timeout(Some(Duration::from_secs(1))).expect("a valid timeout");
            Self(socket)
        })
        .collect()
    }
}

impl Ask for Datagrams {
    fn ask(&mut self) -> String {
        let mut answer = [0; 128];
        for _ in 0..Self::TRIES {
            self.0.send(b"who?").expect("the service has a route");
            if let Ok(length) = self.0.recv(&mut answer) {
                return String::from_utf8_lossy(&answer[..length]).into_owned();
            }
        }
        "broken: no answer".to_owned()
    }
}

/// Who answers on each; the last is asked first.
fn answers(flows: &mut [impl Ask]) -> Vec<String> {
    answers_of_last(flows, 0)
}

/// Who answers on each but so many; the last is asked first.
fn answers_of_last(flows: &mut [impl Ask], but: usize) -> Vec<String> {
    let mut names: Vec<String> = flows[but..].iter_mut().rev().map(Ask::ask).collect();
    names.reverse();
    names
}

/// Three ports for the flows to each backend.
fn full_nat(usual: String) -> String {
    let sources = "[dataplane]\nstateful_table_capacity = 16384\nsource_nat_addresses = [\"10.2.0.150\", \"fd02::150\"]\nsource_nat_first_port = 2000\n\
                   source_nat_last_port = 2002\n";
    let held = |gateway: String, source: &str| {
        let and_source = format!("[\"{gateway}\", \"{source}\"]");
        (format!("[\"{gateway}\"]"), and_source)
    };
    let (v4, with_v4) = held(format!("{GATEWAY_V4}/32"), "10.2.0.150/32");
    let (v6, with_v6) = held(format!("{GATEWAY_V6}/128"), "fd02::150/128");
    usual
        .replace("forwarding = \"nat\"\n", "forwarding = \"full-nat\"\n")
        .replace("[dataplane]\n", sources)
        .replace(&v4, &with_v4)
        .replace(&v6, &with_v6)
}

/// What does not come by the source address does not come back.
fn answer_no_other_way(shared: &Shared) {
    for index in BACKENDS {
        let routes =
            "route replace default via 10.2.0.254\nroute del default via fd02::99\nroute add default via fd02::fe\n";
        ip(&shared.pair.lab.backend(index), routes);
    }
}

#[test]
fn connections_under_full_nat_live_on() {
    let mut shared = Shared::start(full_nat);
    answer_no_other_way(&shared);
    let connections = shared.open(2 * BACKENDS.len());
    // The third port of each backend is left: whoever gives one that is taken breaks the connection that has it.
    shared.survive(connections, |shared| shared.open(BACKENDS.len()));
    let translations = 2.0 * 3.0 * BACKENDS.len() as f64;
    for node in [FIRST, SECOND] {
        let entries = "fairway_translation_table_entries";
        await_that("both nodes have all of them", || shared.metric(node, entries) == translations);
        await_that("none is at risk", || shared.metric(node, "fairway_flows_at_risk") == 0.0);
        assert_eq!(shared.metric(node, "fairway_exchange_disagreements"), 0.0);
        for reason in ["no-backend", "no-service", "no-source", "other-kind"] {
            let series = format!("fairway_exchange_records_unplaced_total{{reason=\"{reason}\"}}");
            assert!(shared.metric(node, &series) <= 0.0, "{reason}");
        }
    }
}

#[test]
fn flows_of_datagrams_under_full_nat_keep_their_servers_and_sources() {
    let mut shared = Shared::start(full_nat);
    answer_no_other_way(&shared);
    let _servers = BACKENDS.map(|index| Echo::naming(&shared.pair.lab, index));
    let flows = Datagrams::open(&shared, 2 * BACKENDS.len());
    shared.survive(flows, |shared| Datagrams::open(shared, BACKENDS.len()));
}

/// Flows that began longer ago than this are known to the other node.
const INTERVAL: Duration = Duration::from_millis(10);

#[test]
fn connections_under_full_nat_that_began_just_before_the_master_died_live_on() {
    let mut shared = Shared::start(full_nat);
    let mut all = shared.open(2 * BACKENDS.len());
    let before = answers(&mut all);
    thread::sleep(2 * INTERVAL);
    shared.kill(FIRST);
    shared.await_master(SECOND);
    assert_eq!(answers(&mut all), before);
}

#[test]
fn connections_under_full_nat_that_are_opened_while_the_master_hands_over_live_on() {
    let mut shared = Shared::start(full_nat);
    let mut all = shared.open(2 * BACKENDS.len());
    shared.command(&["vrrp", "resign", "--all"]);
    all.extend(shared.open(BACKENDS.len()));
    let before = answers(&mut all);
    assert!(before.iter().all(|name| !name.starts_with("broken")), "{before:?}");
    shared.await_master(SECOND);
    assert_eq!(answers(&mut all), before);
    shared.await_sync(SECOND);
}

/// Another service with the same servers, at the same port of theirs.
fn with_a_second_service(usual: String) -> String {
    let mut text = format!(
        "{usual}\n[[service]]\nname = \"again\"\nlisten = [\"tcp://{SERVICE_V4}:{HTTP_TOO}\"]\nvrrp = \"public\"\n\
         scheduler = \"round-robin\"\nforwarding = \"nat\"\n"
    );
    for index in BACKENDS {
        text += &format!("\n[[service.backend]]\naddress = \"{}\"\nport = {HTTP}\n", backend_v4(index));
    }
    text
}

#[test]
fn connections_to_servers_that_services_share_live_on() {
    let mut shared = Shared::start(with_a_second_service);
    let client = shared.pair.lab.client();
    // The second of each two gets another port on its way, since the first has its own towards the same server.
    let open =
        |(port, service)| Connection::open_from_port(&client, port, service_v4(service)).expect("it is accepted");
    let ports = [HTTP, HTTP_TOO].into_iter().flat_map(|service| CLIENT_PORTS.map(|port| (port, service)));
    let mut connections: Vec<Connection> = ports.map(open).collect();
    let names = answers(&mut connections);
    assert_eq!(names[..4], names[4..], "both have their connections at the same servers");
    shared.survive(connections, |_| Vec::new());
}
