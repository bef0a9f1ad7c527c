//! The balancer as a client of its own services (`[dataplane] own_client`): under every forwarding method, beside its straight connections to
//! backends and its checks; and what it does to the host's rules and routes, which is gone when the daemon is.

use std::net::SocketAddr;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr as UnixAddress, UnixListener};

use fairway::playground::Namespace;
use fairway::playground::topology::{Replies, Spec, backend_v4, backend_v6};
use serde_json::Value;

use crate::harness::{
    Bed, ECHO, Echo, Fairway, HTTP, HTTP_TOO, KeptConnections, Nginx, await_that, fetch, flow, four_backends, ip,
    ip_says, lab, link, requests, service_v4, service_v6, usual_config,
};
use crate::takeover;

const OWN: &str = "own_client = true\n";
const CHECK: &str = "[service.check]\ntype = \"http\"\ninterval = \"300ms\"\ntimeout = \"300ms\"\nrise = 1\nfall = 2\n";
/// Takes two rules of the host to where an operator may want them.
const BY_HAND: &str =
    "rule add pref 100 lookup local\nrule del pref 0 lookup local\nrule add pref 50 from 10.9.0.0/24 lookup 7\n";

#[test]
fn direct_services_serve_the_balancer_itself() {
    serves(&bed(Replies::Direct, |config| config));
}

#[test]
fn nat_services_serve_the_balancer_itself() {
    serves(&bed(Replies::ThroughBalancer, |config| config));
}

#[test]
fn full_nat_services_serve_the_balancer_itself() {
    serves(&bed(Replies::ThroughBalancer, |config| {
        config
            .replace("forwarding = \"nat\"\n", "forwarding = \"full-nat\"\n")
            .replace("[dataplane]\n", "[dataplane]\nsource_nat_addresses = [\"10.2.0.11\", \"fd02::11\"]\n")
    }));
}

#[test]
fn services_that_share_servers_serve_the_balancer_itself_and_straight_connections_stay() {
    let bed = bed(Replies::ThroughBalancer, |config| {
        let mut text = format!(
            "{config}\n[[service]]\nname = \"again\"\nlisten = [\"tcp://10.2.0.100:{HTTP_TOO}\"]\nforwarding = \"nat\"\n"
        );
        for index in 0..4 {
            text += &format!("[[service.backend]]\naddress = \"{}\"\nport = {HTTP}\n", backend_v4(index));
        }
        text
    });
    serves(&bed);
    let answers = requests(&bed.lab.balancer(0), service_v4(HTTP_TOO), 40);
    assert_eq!(answers.failures, [""; 0], "{}", bed.traces());
}

#[test]
fn straight_connections_from_the_port_of_a_flow_of_its_own_go_their_way() {
    let bed = bed(Replies::ThroughBalancer, |config| config);
    let balancer = bed.lab.balancer(0);
    // The kernel may give both the same port: they have different destinations. Here it is made to, with every port that there is.
    few_ports(&balancer);
    let kept = KeptConnections::open(&balancer, service_v4(HTTP), 8);
    let straight: Vec<_> =
        (0..4).map(|index| KeptConnections::open(&balancer, (backend_v4(index), HTTP).into(), 8)).collect();
    kept.wait_for_answers(8);
    straight.iter().for_each(|straight| straight.wait_for_answers(8));
    for history in straight.into_iter().chain([kept]).flat_map(KeptConnections::close) {
        assert_eq!((history.failure, history.backends.len()), (None, 1), "{}", bed.traces());
    }
}

#[test]
fn what_was_moved_is_put_back_at_a_stop_and_found_again_after_a_crash() {
    let mut bed = Bed::start(&four_backends(Replies::ThroughBalancer), &[0, 1, 2, 3]);
    let balancer = bed.lab.balancer(0);
    let before = routing(&balancer);
    let own = with_own(&usual_config(&bed.lab, &[0, 1, 2, 3]));
    let reload = |bed: &Bed, config: &str| {
        let output = bed.fairway.reload(config);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    };
    reload(&bed, &own);
    await_own(&balancer);
    let during = routing(&balancer);
    assert_ne!(before, during);
    reload(&bed, &usual_config(&bed.lab, &[0, 1, 2, 3]));
    assert_eq!(routing(&balancer), before, "a reload that switches it off");
    assert!(devices(&balancer).is_empty());
    reload(&bed, &own);
    await_own(&balancer);

    bed.fairway.kill();
    assert_eq!((routing(&balancer), devices(&balancer).len()), (during.clone(), 2), "a killed daemon removes nothing");
    bed.fairway = Fairway::start_with(&bed.lab, &own);
    bed.fairway.wait_until_ready();
    await_that("the program is there again", || !link(&balancer, "fwself1")["xdp"].is_null());
    assert_eq!(routing(&balancer), during);
    serves(&bed);

    bed.fairway.kill();
    bed.fairway = Fairway::start_with(&bed.lab, &usual_config(&bed.lab, &[0, 1, 2, 3]));
    await_that("one that does not want it puts it back", || routing(&balancer) == before);
    assert!(devices(&balancer).is_empty());
    reload(&bed, &own);
    await_own(&balancer);
    assert!(bed.fairway.stop().success());
    assert_eq!((routing(&balancer), devices(&balancer).len()), (before, 0), "a stop in good order leaves nothing");
}

#[test]
fn what_an_operator_did_stays_and_what_is_in_the_way_is_named() {
    let lab = lab(&four_backends(Replies::Direct));
    let balancer = lab.balancer(0);
    ip(&balancer, BY_HAND);
    let before = routing(&balancer);
    let mut bed = Bed::in_lab(lab, |lab| with_own(&usual_config(lab, &[0, 1, 2, 3])));
    await_own(&balancer);
    let of_v4 = &routing(&balancer)[0];
    for rule in before[0].as_array().expect("a list") {
        assert!(of_v4.as_array().is_some_and(|rules| rules.contains(rule)), "{rule} of {of_v4}");
    }
    assert!(fetch(&balancer, service_v4(HTTP), "/", None).is_ok());
    assert!(bed.fairway.stop().success());
    assert_eq!(routing(&balancer), before);

    ip(
        &balancer,
        "rule add pref 0 lookup local\nrule del pref 100 lookup local\nrule add pref 1 to 10.9.0.0/24 lookup 7\n",
    );
    let before = routing(&balancer);
    bed.fairway = Fairway::start_with(&bed.lab, &with_own(&usual_config(&bed.lab, &[0, 1, 2, 3])));
    await_that("it says why it cannot", || bed.fairway.warnings().contains("a rule with priority 1 would come"));
    assert_eq!(routing(&balancer)[0], before[0]);
    let findings = String::from_utf8_lossy(&bed.fairway.doctor().stdout).into_owned();
    assert!(
        findings.contains("a rule with priority 1 would come") && findings.contains("ip -4 rule show"),
        "{findings}"
    );
}

#[test]
fn a_second_daemon_in_the_namespace_leaves_it_to_the_first() {
    let lab = lab(&four_backends(Replies::Direct));
    let balancer = lab.balancer(0);
    // Not a whole second daemon: what only one of them can have.
    let first = balancer.run(|| {
        let name = UnixAddress::from_abstract_name(b"fairway-own-client").expect("a name");
        UnixListener::bind_addr(&name).expect("nobody has it")
    });
    let before = routing(&balancer);
    let bed = Bed::in_lab(lab, |lab| with_own(&usual_config(lab, &[0, 1, 2, 3])));
    await_that("it says so", || bed.fairway.warnings().contains("another Fairway"));
    assert_eq!((routing(&balancer), devices(&balancer).len()), (before, 0));
    drop(first.expect("the namespace is there"));
    await_own(&balancer);
}

#[test]
fn a_backup_reaches_the_services_of_the_master_and_then_its_own() {
    let lab = lab(&Spec { balancers: 2, backends: 2, floating: true, replies: Replies::Direct, ..Spec::default() });
    let _nginx = [Nginx::start(&lab, 0), Nginx::start(&lab, 1)];
    let mut nodes = [0, 1].map(|node| Fairway::start_on(&lab, node, &with_own(&takeover::config(&lab, node))));
    let is_routed = |node: usize| table(&lab.balancer(node), "-4").as_array().is_some_and(|it| it.len() == 1);
    await_that("the better one is master", || takeover::holds(&lab, 0) && !takeover::holds(&lab, 1));
    await_that("it alone has the route", || is_routed(0) && !is_routed(1));
    let served = |node: usize| {
        let answers = requests(&lab.balancer(node), service_v4(HTTP), 40);
        assert_eq!(answers.failures, [""; 0], "of node {node}");
        assert_eq!(answers.answers.keys().collect::<Vec<_>>(), ["b1", "b2"]);
    };
    let counted = |node: &Fairway| node.metric_sum("fairway_service_connections_total");
    let before = counted(&nodes[1]);
    [0, 1].into_iter().for_each(served);
    assert_eq!(counted(&nodes[1]), before, "it was the master's service");

    assert!(nodes[0].stop().success());
    await_that("the other has taken over", || takeover::holds(&lab, 1) && is_routed(1));
    assert!(!is_routed(0));
    [0, 1].into_iter().for_each(served);
    assert!(counted(&nodes[1]) > before, "it is its own");

    nodes[0] = Fairway::start_on(&lab, 0, &with_own(&takeover::config(&lab, 0)));
    await_that("it is master again", || takeover::holds(&lab, 0) && !takeover::holds(&lab, 1));
    await_that("the route has gone with the addresses", || is_routed(0) && !is_routed(1));
    [0, 1].into_iter().for_each(served);
}

/// Both families, every backend: for the balancer itself and for a client, by service and straight; and the checks never flap.
fn serves(bed: &Bed) {
    let balancer = bed.lab.balancer(0);
    await_own(&balancer);
    await_that("the checks are over", || verdicts(bed).iter().all(|check| check["state"] == "up"));
    let _echoes: Vec<Echo> = (0..4).map(|index| Echo::start(&bed.lab, index)).collect();
    for service in [service_v4(HTTP), service_v6(HTTP)] {
        for from in [&balancer, &bed.lab.client()] {
            let answers = requests(from, service, 60);
            assert_eq!(answers.failures, [""; 0], "{service} of {}\n{}", from.name(), bed.traces());
            assert_eq!(answers.answers.keys().collect::<Vec<_>>(), ["b1", "b2", "b3", "b4"], "{service}");
        }
        // More than one packet in either direction.
        let upload = vec![b'u'; 1 << 20];
        let answer = fetch(&balancer, service, "/upload", Some(&upload));
        assert_eq!(answer.expect("it is taken"), format!("{}\n", upload.len()).into_bytes());
    }
    for index in 0..4 {
        for backend in [SocketAddr::from((backend_v4(index), HTTP)), (backend_v6(index), HTTP).into()] {
            let answer = fetch(&balancer, backend, "/", None).unwrap_or_else(|error| panic!("{backend}: {error}"));
            assert_eq!(String::from_utf8_lossy(&answer).trim(), format!("b{}", index + 1));
        }
    }
    for service in [service_v4(ECHO), service_v6(ECHO)] {
        let socket = flow(&balancer, service);
        let mut buffer = [0; 64];
        socket.send(b"anybody?").expect("there is a route");
        let length = socket.recv(&mut buffer).unwrap_or_else(|error| panic!("{service}: {error}\n{}", bed.traces()));
        assert!(buffer[..length].ends_with(b"anybody?"), "{:?}", &buffer[..length]);
    }
    let refused = fetch(&balancer, service_v4(4444), "/", None).expect_err("nothing listens there");
    assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused, "ports of no service are the host's");
    for check in verdicts(bed) {
        assert!(check["state"] == "up" && check["flaps"] == 0, "{check}");
    }
    assert_eq!(bed.fairway.metric("fairway_xdp_attached{interface=\"fwself1\",mode=\"generic\"}"), Some(1.0));
    assert!(!bed.fairway.warnings().contains("fwself"), "{}", bed.fairway.warnings());
}

fn bed(replies: Replies, change: impl FnOnce(String) -> String) -> Bed {
    Bed::in_lab(lab(&four_backends(replies)), |lab| {
        let checked = usual_config(lab, &[0, 1, 2, 3]).replacen(
            "\n[[service.backend]]",
            &format!("{CHECK}\n[[service.backend]]"),
            1,
        );
        with_own(&change(checked))
    })
}

fn with_own(config: &str) -> String {
    config.replace("[dataplane]\n", &format!("[dataplane]\n{OWN}"))
}

/// The program is at the pair's inner end, and both addresses are routed to the other.
fn await_own(balancer: &Namespace) {
    await_that("the balancer is its own client", || {
        let routes = ["-4", "-6"].map(|family| table(balancer, family).as_array().map_or(0, Vec::len));
        routes == [1, 1] && !link(balancer, "fwself1")["xdp"].is_null()
    });
}

/// Rules of both families, and the routes of the pair.
fn routing(balancer: &Namespace) -> [Value; 4] {
    let rules = |family| ip_says(balancer, &[family, "rule", "show"]);
    [rules("-4"), rules("-6"), table(balancer, "-4"), table(balancer, "-6")]
}

/// The routes of the pair's table. Not asked for by itself: of a table without routes `ip` says only that there is none.
fn table(balancer: &Namespace, family: &str) -> Value {
    let all = ip_says(balancer, &[family, "route", "show", "table", "all"]);
    let all = all.as_array().cloned().unwrap_or_default();
    Value::Array(all.into_iter().filter(|route| route["table"] == "112").collect())
}

fn devices(balancer: &Namespace) -> Vec<String> {
    let links = ip_says(balancer, &["link", "show"]);
    let names = links.as_array().expect("a list").iter().filter_map(|link| link["ifname"].as_str());
    names.filter(|name| name.starts_with("fwself")).map(str::to_owned).collect()
}

fn verdicts(bed: &Bed) -> Vec<Value> {
    bed.fairway.show("checks")["checks"].as_array().cloned().unwrap_or_default()
}

/// The kernel has so few ports to give that it gives the same to connections with different destinations.
fn few_ports(namespace: &Namespace) {
    let write = || std::fs::write("/proc/sys/net/ipv4/ip_local_port_range", "40000 40015");
    namespace.run(write).expect("the namespace is there").expect("root may");
}
