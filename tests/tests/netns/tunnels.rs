//! Forwarding method `tunnel`, with ordinary clients and servers: backends that unwrap what they get, by every encapsulation and over
//! both families, and a path that becomes narrow in the middle of a transfer.
//!
//! This kernel may lack tunnel devices, so backends unwrap by a program of the tests' own (`lb-ebpf/src/lab.rs`).

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use aya::Ebpf;
use aya::programs::Xdp;
use aya::programs::xdp::XdpMode;
use fairway::playground::topology::{Replies, Spec, backend_v4, backend_v6};
use fairway::playground::{Lab, Namespace};
use serde_json::Value;

use crate::harness::{Bed, HTTP, await_that, fetch, ip, lab, link, requests, service_v4, service_v6, usual_config};

static UNWRAP: &[u8] = aya::include_bytes_aligned!("../../../lb-userspace/bpf/lab.bpf.o");

/// The servers' network takes what clients send and all that is put in front of it.
const WIDE: Spec = Spec { balancers: 1, floating: false, backends: 4, mtu: 1600, replies: Replies::Direct };
const UPLOAD: usize = 1 << 20;

/// Of 16 MiB each, while the path becomes narrow; with `FAIRWAY_FULL=1` a GiB.
fn uploads() -> usize {
    if std::env::var_os("FAIRWAY_FULL").is_some() { 64 } else { 6 }
}

/// How a backend is reached: the lines that say so, and whether at its IPv4 address.
type Way = (&'static str, bool);
const IPIP: &str = "forwarding = \"tunnel\"\n";
const GUE: &str = "forwarding = \"tunnel\"\nencapsulation = \"gue\"\n";
const FOU: &str = "forwarding = \"tunnel\"\nencapsulation = \"fou\"\n";
const GRE: &str = "forwarding = \"tunnel\"\nencapsulation = \"gre\"\n";
const DIRECT: &str = "";

#[test]
fn requests_reach_backends_by_every_encapsulation_over_ipv4() {
    serves([(IPIP, true), (GUE, true), (FOU, true), (GRE, true)]);
}

#[test]
fn requests_reach_backends_by_every_encapsulation_over_ipv6() {
    serves([(IPIP, false), (GUE, false), (FOU, false), (GRE, false)]);
}

#[test]
fn a_service_has_backends_of_several_methods_and_families() {
    let far = Far::start(|lab| {
        let mut text = beginning(lab);
        text += &service("web", service_v4(HTTP), &[(DIRECT, true), (IPIP, true), (GUE, false), (FOU, true)]);
        text + &service("web6", service_v6(HTTP), &[(DIRECT, false), (IPIP, true), (GUE, false), (GRE, true)])
    });
    far.serves();
}

fn serves(ways: [Way; 4]) {
    let far = Far::start(|lab| {
        beginning(lab) + &service("web", service_v4(HTTP), &ways) + &service("web6", service_v6(HTTP), &ways)
    });
    far.serves();
}

#[test]
fn the_balancer_itself_is_served_by_every_encapsulation() {
    let ways = [(IPIP, true), (GUE, false), (FOU, true), (GRE, false)];
    let far = Far::start(|lab| {
        let beginning = beginning(lab).replace("[dataplane]\n", "[dataplane]\nown_client = true\n");
        beginning + &service("web", service_v4(HTTP), &ways) + &service("web6", service_v6(HTTP), &ways)
    });
    let balancer = far.bed.lab.balancer(0);
    await_that("the program is at the pair's inner end", || !link(&balancer, "fwself1")["xdp"].is_null());
    await_that("it is its own client", || fetch(&balancer, service_v6(HTTP), "/", None).is_ok());
    far.serves_in(&balancer);
    far.serves();
}

#[test]
fn an_upload_goes_on_when_the_path_to_its_backend_becomes_narrow() {
    let ways = [(IPIP, true), (GUE, true), (IPIP, false), (GRE, true)];
    let far = Far::start(|lab| {
        beginning(lab) + &service("web", service_v4(HTTP), &ways) + &service("web6", service_v6(HTTP), &ways)
    });
    for service in [service_v4(HTTP), service_v6(HTTP)] {
        let answered = far.bed.fairway.packets("drops", "too-big-answered");
        let done = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| {
                for number in 0..uploads() {
                    let answer = fetch(&far.bed.lab.client(), service, "/upload", Some(&vec![b'u'; 16 * UPLOAD]))
                        .unwrap_or_else(|error| panic!("upload {number} to {service}: {error}\n{}", far.bed.traces()));
                    assert_eq!(answer, format!("{}\n", 16 * UPLOAD).into_bytes());
                }
                done.store(true, Ordering::Relaxed);
            });
            narrow(&far.bed.lab, 1400);
        });
        assert!(done.load(Ordering::Relaxed));
        await_that("clients were told of the narrow path", || {
            far.bed.fairway.packets("drops", "too-big-answered") > answered
        });
        widen(&far.bed.lab);
        ip(&far.bed.lab.client(), "route flush cache");
    }
}

/// Soon decided; the timeout is long enough for a busy machine. The request takes more than one segment.
const CHECKS: &str = "[[service.check]]
type = \"http\"
headers = [\"X-Filler: FILLER\"]
interval = \"300ms\"
timeout = \"300ms\"
rise = 1
fall = 2
[[service.check]]
type = \"icmp\"
interval = \"300ms\"
timeout = \"300ms\"
rise = 1
fall = 2
";

#[test]
fn a_check_goes_through_the_tunnel_by_every_encapsulation_over_ipv4() {
    checks_go_through([(IPIP, true), (GUE, true), (FOU, true), (GRE, true)]);
}

#[test]
fn a_check_goes_through_the_tunnel_by_every_encapsulation_over_ipv6() {
    checks_go_through([(IPIP, false), (GUE, false), (FOU, false), (GRE, false)]);
}

/// Both services' checks hold while their packets are taken out of the tunnel and find the service's address; a backend that lacks
/// either is down, and told what it lacks.
fn checks_go_through(ways: [Way; 4]) {
    let mut far = Far::start(|lab| {
        let checked = |name, address| service(name, address, &ways) + &CHECKS.replace("FILLER", &"x".repeat(3000));
        beginning(lab) + &checked("web", service_v4(HTTP)) + &checked("web6", service_v6(HTTP))
    });
    await_that("all are up", || far.verdicts().iter().all(|verdict| verdict["state"] == "up"));
    assert!(far.bed.fairway.show("checks")["checks"].as_array().is_some_and(|checks| checks.len() == 16));

    let held = [format!("{}/32", service_v4(HTTP).ip()), format!("{}/128", service_v6(HTTP).ip())];
    for address in &held {
        ip(&far.bed.lab.backend(0), &format!("address del {address} dev lo\n"));
    }
    let encapsulation = ["ipip", "gue", "fou", "gre"];
    for unwraps_not in [1, 2, 3] {
        let (kind, lacks) = (encapsulation[unwraps_not], far.unwrapping.remove(1));
        drop(lacks);
        await_that("who does not unwrap is told so", || {
            let words = format!("Does it take packets out of their {kind} tunnel");
            far.verdicts_of(unwraps_not).iter().all(|verdict| down_because(verdict, &words))
        });
    }
    await_that("who lacks the address is told so", || {
        far.verdicts_of(0)
            .iter()
            .all(|verdict| held.iter().any(|address| down_because(verdict, &format!("(ip addr add {address} dev lo)"))))
    });
    ip(&far.bed.lab.backend(0), &format!("address add {} dev lo\naddress add {} dev lo nodad\n", held[0], held[1]));
    await_that("who has it again is up", || far.verdicts_of(0).iter().all(|verdict| verdict["state"] == "up"));
}

fn down_because(verdict: &Value, words: &str) -> bool {
    verdict["state"] == "down" && verdict["why"].as_str().is_some_and(|why| why.contains(words))
}

/// The balancer's routes to the backends take so much from now on.
fn narrow(lab: &Lab, mtu: u32) {
    let lines = (0..4).flat_map(|index| [backend_v4(index).to_string(), backend_v6(index).to_string()]);
    let lines: String = lines.map(|to| format!("route replace {to} dev eth0 mtu {mtu}\n")).collect();
    ip(&lab.balancer(0), &lines);
}

fn widen(lab: &Lab) {
    let lines = (0..4).flat_map(|index| [backend_v4(index).to_string(), backend_v6(index).to_string()]);
    let lines: String = lines.map(|to| format!("route del {to} dev eth0\n")).collect();
    ip(&lab.balancer(0), &lines);
}

/// Servers that unwrap, and Fairway in front of them.
struct Far {
    bed: Bed,
    /// The backends' programs, which end with these.
    unwrapping: Vec<Ebpf>,
}

impl Far {
    fn start(config: impl FnOnce(&Lab) -> String) -> Self {
        let lab = lab(&WIDE);
        ip(&lab.client(), "link set eth0 mtu 1500");
        ip(&lab.router(), "link set client mtu 1500");
        let unwrapping = (0..WIDE.backends).map(|index| lab.backend(index).run(unwrap).expect("a thread")).collect();
        Self { bed: Bed::in_lab(lab, config), unwrapping }
    }

    /// What the checks of both services say; none before the prober knows them.
    fn verdicts(&self) -> Vec<Value> {
        self.bed.fairway.show("checks")["checks"].as_array().cloned().unwrap_or_default()
    }

    /// The same of a backend, counted from 0.
    fn verdicts_of(&self, backend: usize) -> Vec<Value> {
        let name = format!("b{}", backend + 1);
        self.verdicts().into_iter().filter(|verdict| verdict["backend"] == name.as_str()).collect()
    }

    /// Every backend serves, and takes uploads of full packets.
    fn serves(&self) {
        self.serves_in(&self.bed.lab.client());
    }

    /// The same for who is in another namespace.
    fn serves_in(&self, client: &Namespace) {
        for service in [service_v4(HTTP), service_v6(HTTP)] {
            let tally = requests(client, service, 200);
            assert_eq!(tally.failures, [""; 0], "{service}\n{}", self.bed.traces());
            let served: BTreeSet<&str> = tally.answers.keys().map(|name| name.as_str()).collect();
            assert_eq!(served, BTreeSet::from(["b1", "b2", "b3", "b4"]), "{service}");
            for number in 0..8 {
                let answer = fetch(client, service, "/upload", Some(&vec![b'u'; UPLOAD]))
                    .unwrap_or_else(|error| panic!("upload {number} to {service}: {error}\n{}", self.bed.traces()));
                assert_eq!(answer, format!("{UPLOAD}\n").into_bytes());
            }
        }
    }
}

/// The program on the way in of a backend.
pub fn unwrap() -> Ebpf {
    let mut ebpf = Ebpf::load(UNWRAP).expect("the object");
    let program: &mut Xdp = ebpf.program_mut("unwrap").expect("it has the program").try_into().expect("it is XDP");
    program.load().expect("the verifier takes it");
    program.attach("eth0", XdpMode::Driver).expect("a veth takes it");
    ebpf
}

/// What stands in front of the services.
fn beginning(lab: &Lab) -> String {
    let usual = usual_config(lab, &[]);
    usual[..usual.find("[[service]]").expect("it has services")].to_owned()
}

fn service(name: &str, address: SocketAddr, ways: &[Way]) -> String {
    let mut text = format!("\n[[service]]\nname = \"{name}\"\nlisten = [\"tcp://{address}\"]\n");
    for (index, (way, v4)) in ways.iter().enumerate() {
        let to = if *v4 { backend_v4(index).to_string() } else { backend_v6(index).to_string() };
        text += &format!("[[service.backend]]\nname = \"b{}\"\naddress = \"{to}\"\n{way}", index + 1);
    }
    text
}
