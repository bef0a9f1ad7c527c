//! Probes of direct backends go by the way of clients' packets: from the node that holds the service's address and from one
//! that does not, over both families, of every kind; and what is wrong with a backend shows.

use std::collections::HashMap;
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::{IpAddr, TcpStream, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use fairway::config::AttachMode;
use fairway::config::check::{Pattern, Probe, Timing, Udp};
use fairway::controller::steering::{Change, Course, Pair};
use fairway::effects::dataplane::{Dataplane, object::Sizes};
use fairway::effects::netlink::read_links;
use fairway::effects::prober::ProberThread;
use fairway::effects::prober::route::Route;
use fairway::effects::steering::{Claim, Steered, Steering};
use fairway::health::spec::{Spec, Target, Way};
use fairway::health::verdict::{CheckState, Verdict};
use fairway::nexthop::{Frame, Mac, NextHop};
use fairway::playground::Lab;
use fairway::playground::topology::{SERVICE_V4, SERVICE_V6, Spec as Network, backend_v4, backend_v6};
use fairway::reconcile::write::Write;
use lb_common::abi::{Root, root_flags};
use lb_common::counters::Fate;
use lb_common::probe::Kind;
use socket2::{Domain, Protocol, Socket, Type};

use crate::harness::{ECHO, Echo, HTTP, Nginx, await_that, ip, ip_says, lab};

/// Longer than any answer takes here.
const PATIENCE: Duration = Duration::from_secs(5);
/// Shorter than a SYN takes to be sent again: what is not answered by then is not answered.
const SILENCE: Duration = Duration::from_millis(700);

#[test]
fn a_backend_is_asked_at_the_services_address_from_the_node_that_holds_it() {
    every_kind_of_probe(0);
}

#[test]
fn a_backend_is_asked_at_the_services_address_from_a_node_that_does_not_hold_it() {
    every_kind_of_probe(1);
}

fn every_kind_of_probe(balancer: usize) {
    let lab = two_balancers();
    let _nginx = [Nginx::start(&lab, 0), Nginx::start(&lab, 1)];
    let echoes = [Echo::start(&lab, 0), Echo::start(&lab, 1)];
    lab.balancer(balancer).set_sysctls(&[("net/ipv4/ping_group_range", "0 0")]).expect("a setting");
    in_balancer(&lab, balancer, |prober| {
        for v4 in [true, false] {
            // At the same time: the answers of both come from the same address.
            let asked = [0, 1].map(|index| connect(&prober.way(index, v4, HTTP), PATIENCE).expect("it listens"));
            let answers = asked.map(|(stream, _claim)| fetch(stream));
            assert_eq!(answers, ["b1\n", "b2\n"], "IPv4: {v4}");
            for index in [0, 1] {
                assert_eq!(datagram(&prober.way(index, v4, ECHO), b"to and fro").expect("an echo"), b"to and fro");
                assert_eq!(ping(&prober.way(index, v4, 0)).expect("a pong"), b"ping");
            }
        }
        assert!(prober.turned() > 0);
    });
    // An echo server counts what it got: the probes were told apart although both hold the same address.
    assert_eq!(echoes.map(|echo| echo.echoed()), [2, 2]);
}

#[test]
fn a_backend_that_refuses_is_known_to_refuse() {
    let lab = two_balancers();
    in_balancer(&lab, 0, |prober| {
        for v4 in [true, false] {
            let refused = connect(&prober.way(0, v4, HTTP), PATIENCE).map(drop).expect_err("nobody listens");
            assert_eq!(refused.kind(), ErrorKind::ConnectionRefused, "IPv4: {v4}");
            let unreachable = datagram(&prober.way(0, v4, ECHO), b"anybody?").expect_err("nobody listens");
            assert_eq!(unreachable.kind(), ErrorKind::ConnectionRefused, "IPv4: {v4}: {unreachable}");
        }
    });
}

#[test]
fn a_backend_without_the_services_address_is_silent_though_its_own_address_answers() {
    let lab = two_balancers();
    let _nginx = Nginx::start(&lab, 0);
    in_balancer(&lab, 0, |prober| {
        for (v4, address) in [(true, SERVICE_V4.into()), (false, IpAddr::from(SERVICE_V6))] {
            connect(&prober.way(0, v4, HTTP), PATIENCE).expect("it holds the address");
            let length = if v4 { 32 } else { 128 };
            ip(&lab.backend(0), &format!("address del {address}/{length} dev lo\n"));
            let silent =
                connect(&prober.way(0, v4, HTTP), SILENCE).map(drop).expect_err("it does not hold the address");
            assert_eq!(silent.kind(), ErrorKind::TimedOut, "IPv4: {v4}: {silent}");
            TcpStream::connect_timeout(&(backend(0, v4), HTTP).into(), PATIENCE).expect("its own address answers");
        }
    });
}

#[test]
fn the_prober_goes_this_way_and_says_what_a_backend_lacks() {
    let lab = two_balancers();
    let _nginx = Nginx::start(&lab, 0);
    let _echo = Echo::start(&lab, 0);
    in_balancer(&lab, 0, |prober| {
        let steering = prober.steering.clone();
        let find_route = Box::new(move |target: &Target| Route::find(&steering, target));
        let mut thread = ProberThread::start(1, find_route).expect("a thread");
        let contains = Some(Pattern::Contains(b"ping".to_vec()));
        let echo = Probe::Udp(Udp { send: b"ping".to_vec(), expect: contains });
        let kinds = [(Probe::Tcp, HTTP), (echo, ECHO), (Probe::Icmp, 0)];
        let specs: Vec<Arc<Spec>> = [true, false]
            .into_iter()
            .flat_map(|v4| kinds.iter().map(move |(probe, port)| spec(probe.clone(), target(0, v4, *port))))
            .collect();
        thread.handle.configure(1, specs.clone());
        let mut verdicts = HashMap::new();
        let mut all_say = |holds: fn(&Verdict) -> bool| {
            await_that("every check says so", || {
                while let Ok(changes) = thread.changes.try_recv() {
                    verdicts.extend(changes.verdicts);
                }
                verdicts.len() == specs.len() && verdicts.values().all(holds)
            });
        };
        all_say(|verdict| verdict.state == CheckState::Up);
        ip(&lab.backend(0), &format!("address del {SERVICE_V4}/32 dev lo\naddress del {SERVICE_V6}/128 dev lo\n"));
        all_say(|verdict| {
            let named = |address: &str| verdict.why.contains(&format!("(ip addr add {address} dev lo)"));
            verdict.state == CheckState::Down && (named("10.2.0.100/32") || named("fd02::100/128"))
        });
        ip(
            &lab.backend(0),
            &format!("address add {SERVICE_V4}/32 dev lo\naddress add {SERVICE_V6}/128 dev lo nodad\n"),
        );
        all_say(|verdict| verdict.state == CheckState::Up);
        ip(&lab.backend(0), "link set eth0 down\n");
        all_say(|verdict| verdict.state == CheckState::Down && verdict.why.contains("nor does"));
        thread.stop().expect("it ends");
    });
}

/// Asked often, and decided by one answer.
fn spec(probe: Probe, target: Target) -> Arc<Spec> {
    let timing = Timing {
        interval: Duration::from_millis(300),
        fast_interval: Duration::from_millis(300),
        timeout: SILENCE,
        rise: 1,
        fall: 1,
    };
    Arc::new(Spec { probe, target, timing, named: None })
}

#[test]
fn answers_pass_every_reverse_path_filter() {
    let lab = two_balancers();
    let _nginx = Nginx::start(&lab, 0);
    in_balancer(&lab, 0, |prober| {
        for setting in ["0", "2", "1"] {
            // The larger of an interface's and of this counts.
            std::fs::write("/proc/sys/net/ipv4/conf/all/rp_filter", setting).expect("a setting");
            let asked = connect(&prober.way(0, true, HTTP), PATIENCE);
            assert!(asked.is_ok(), "rp_filter={setting}: {asked:?}");
        }
    });
}

#[test]
fn a_port_belongs_to_one_probe_until_that_has_ended() {
    let lab = two_balancers();
    in_balancer(&lab, 0, |prober| {
        let (one, other) = (prober.way(0, true, HTTP), prober.way(1, true, HTTP));
        let claim = one.claim(Kind::Tcp, 40_000).expect("a free port");
        assert!(other.claim(Kind::Tcp, 40_000).is_none());
        assert!(other.claim(Kind::Udp, 40_000).is_some(), "ports of TCP and UDP are apart");
        drop(claim);
        assert!(other.claim(Kind::Tcp, 40_000).is_some());
    });
}

#[test]
fn what_a_killed_daemon_left_is_replaced_and_what_a_stopped_one_had_is_gone() {
    let lab = two_balancers();
    let _nginx = Nginx::start(&lab, 0);
    let devices = || {
        let links = ip_says(&lab.balancer(0), &["link", "show"]);
        links.to_string().matches("fwprobe").count()
    };
    in_balancer(&lab, 0, |prober| std::mem::forget(prober.steering.clone()));
    assert!(devices() > 0, "a killed daemon does not clean up");
    in_balancer(&lab, 0, |prober| {
        connect(&prober.way(0, true, HTTP), PATIENCE).expect("it listens");
        prober.steering.close();
        await_that("the device is gone", || devices() == 0);
    });
}

/// Two balancers, of which the first holds the service's addresses, and two backends.
fn two_balancers() -> Lab {
    lab(&Network { balancers: 2, backends: 2, ..Network::default() })
}

fn backend(index: usize, v4: bool) -> IpAddr {
    if v4 { backend_v4(index).into() } else { backend_v6(index).into() }
}

/// The program on a balancer's interface, and both backends to be probed.
struct Prober {
    dataplane: Dataplane,
    steering: Steering,
}

/// Runs `work` in a balancer, where the program is attached.
fn in_balancer(lab: &Lab, index: usize, work: impl FnOnce(&mut Prober) + Send) {
    lab.balancer(index).run(|| work(&mut Prober::begin(index))).expect("the namespace is there");
}

impl Prober {
    fn begin(balancer: usize) -> Self {
        let mut dataplane = Dataplane::open(Sizes::for_need(0, 0, 1024)).expect("the program loads");
        let interface = read_links().expect("links").by_name("eth0").expect("every balancer has it").index;
        dataplane.attach(interface, AttachMode::Native).expect("the program attaches");
        dataplane.write(&[Write::Flip(Root { word: root_flags::PROBES, ..Root::default() })]).expect("a write");
        let steering = Steering::default();
        let put = |(index, v4)| Change::Put {
            pair: pair(index, v4),
            course: Course {
                hop: Ok(NextHop::Frame(Frame {
                    interface,
                    source_mac: mac(11 + balancer),
                    destination_mac: mac(21 + index),
                    tags: vec![],
                    mtu: 1500,
                    source: None,
                })),
                tunnel_source: None,
            },
        };
        let changes = [(0, true), (0, false), (1, true), (1, false)].map(put);
        steering.apply(changes.into(), Some(&mut dataplane));
        Self { dataplane, steering }
    }

    fn way(&self, index: usize, v4: bool, port: u16) -> Steered {
        self.steering.way(&target(index, v4, port)).expect("it has a frame").expect("it is steered")
    }

    /// Answers that were turned back.
    fn turned(&self) -> u64 {
        self.dataplane.reasons(Fate::Pass).expect("counters")["probe-answer"]
    }
}

fn target(index: usize, v4: bool, port: u16) -> Target {
    let Pair { backend, service, wrapping } = pair(index, v4);
    Target { address: backend, port, way: Way::Steered { service, wrapping } }
}

fn pair(index: usize, v4: bool) -> Pair {
    let service = if v4 { SERVICE_V4.into() } else { IpAddr::from(SERVICE_V6) };
    Pair { backend: backend(index, v4), service, wrapping: None }
}

/// Of the lab's host `.11`, `.21` and so on: the decimal digits of the address.
fn mac(host: usize) -> Mac {
    let digits = u8::from_str_radix(&host.to_string(), 16).expect("decimal digits are hexadecimal digits");
    Mac([2, 0, 0, 0, 2, digits])
}

/// A socket that is bound as a probe's has to be, and its claim.
fn bound(way: &Steered, kind: Kind, of: Type, protocol: Protocol) -> (Socket, Claim) {
    let socket = Socket::new(Domain::for_address(way.destination), of, Some(protocol)).expect("a socket");
    socket.bind(&(way.source, 0).into_address()).expect("an address of this host");
    let number = socket.local_addr().expect("it is bound").as_socket().expect("of a family with ports").port();
    (socket, way.claim(kind, number).expect("no other probe is under way"))
}

trait IntoAddress {
    fn into_address(self) -> socket2::SockAddr;
}

impl IntoAddress for (IpAddr, u16) {
    fn into_address(self) -> socket2::SockAddr {
        std::net::SocketAddr::from(self).into()
    }
}

fn connect(way: &Steered, patience: Duration) -> io::Result<(TcpStream, Claim)> {
    let (socket, claim) = bound(way, Kind::Tcp, Type::STREAM, Protocol::TCP);
    socket.set_linger(Some(Duration::ZERO))?;
    socket.connect_timeout(&way.destination.into(), patience)?;
    Ok((socket.into(), claim))
}

/// More than one segment goes out, and comes back.
fn fetch(mut stream: TcpStream) -> String {
    stream.set_read_timeout(Some(PATIENCE)).expect("a valid timeout");
    let filler = "x".repeat(3000);
    write!(stream, "GET / HTTP/1.0\r\nX-Filler: {filler}\r\n\r\n").expect("it takes a request");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("it answers");
    answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned()).unwrap_or(answer)
}

fn datagram(way: &Steered, octets: &[u8]) -> io::Result<Vec<u8>> {
    let (socket, _claim) = bound(way, Kind::Udp, Type::DGRAM, Protocol::UDP);
    socket.connect(&way.destination.into())?;
    let socket: UdpSocket = socket.into();
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.send(octets)?;
    let mut answer = vec![0; 2048];
    let length = socket.recv(&mut answer)?;
    answer.truncate(length);
    Ok(answer)
}

/// Sends an echo request; the octets that come back.
fn ping(way: &Steered) -> io::Result<Vec<u8>> {
    let (protocol, request) = if way.destination.is_ipv4() { (Protocol::ICMPV4, 8) } else { (Protocol::ICMPV6, 128) };
    let (socket, _claim) = bound(way, Kind::Echo, Type::DGRAM, protocol);
    socket.connect(&way.destination.into())?;
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.send(&[&[request, 0, 0, 0, 0, 0, 0, 1][..], b"ping"].concat())?;
    let mut answer = [0; 64];
    let mut socket: &Socket = &socket;
    let length = socket.read(&mut answer)?;
    Ok(answer[8..length].to_vec())
}
