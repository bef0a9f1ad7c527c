//! Tracing in the kernel: the program is swapped on a veth interface in a namespace of its own, real packets come in, and
//! what is told of them is compared.
//!
//! Needs root. Each test runs on a thread with network namespaces that nothing else sees and that go with the thread.

use std::fs::File;
use std::net::UdpSocket;
use std::os::fd::AsRawFd as _;
use std::process::Command;
use std::thread;
use std::time::Duration;

use aya::maps::MapInfo;
use aya::programs::{ProgramInfo, loaded_programs};
use fairway::config::{self, AttachMode};
use fairway::effects::dataplane::object::{self, Sizes};
use fairway::effects::dataplane::{Dataplane, FORWARDING, TRACING};
use fairway::nexthop::{Frame, Mac, NextHop};
use fairway::reconcile::image::Image;
use fairway::reconcile::planner::Planner;
use fairway::runtime::request::{TraceEvent, TraceQuery};
use fairway::scheduler::seed::Seed;
use nix::net::if_::if_nametoindex;
use nix::sched::{CloneFlags, unshare};
use tokio::sync::mpsc::Receiver;
use tokio::time::timeout;

const CONFIG: &str = r#"
[dataplane]
interfaces = ["fwa"]

[[service]]
name = "names"
listen = ["udp://192.0.2.1:53"]

[[service.backend]]
address = "10.0.0.11"

[[service]]
name = "quic"
listen = ["udp://192.0.2.1:443"]
udp = "quic"

[[service.backend]]
address = "10.0.0.11"
server_id = "5e01"

[[service]]
name = "translated"
listen = ["udp://192.0.2.9:53"]
forwarding = "nat"

[[service.backend]]
address = "10.0.0.2"
port = 40000
"#;
const BACKEND_MAC: [u8; 6] = [2, 0, 0, 0, 0, 0x11];
/// Long enough for anything that happens at all, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(10);

fn sizes() -> Sizes {
    Sizes { slots: 1 << 16, rows: 64, ..Sizes::for_need(0, 0, 1024) }
}

#[test]
fn the_steps_of_matching_packets_are_told_and_those_of_no_others() {
    lab(async |mut lab| {
        let query = TraceQuery { port: Some(40000), seconds: 60, packets: true, ..TraceQuery::default() };
        let (_session, mut events) = lab.dataplane.start_trace(&query, lab.planner.rows()).expect("it starts");
        lab.send(40001, "192.0.2.1:53");
        lab.send(40000, "192.0.2.1:53");
        let told = story(&mut events, 4).await;
        assert!(
            told[0].starts_with("10.0.0.2:40000 > 192.0.2.1:53, udp, 33 octets, time to live 64, in by fwa"),
            "{told:?}"
        );
        assert!(told[1].starts_with("slot ") && told[1].ends_with(": 10.0.0.11 direct (settled)"), "{told:?}");
        assert!(told[2].starts_with("to 10.0.0.11 direct of names, udp://192.0.2.1:53 (row "), "{told:?}");
        assert_eq!(told[3], "sent back out of fwa");

        let (came, left) = (captured(&mut events).await, captured(&mut events).await);
        assert_eq!((came.len(), left.len()), (47, 47));
        assert_eq!((came[22], left[22]), (64, 63), "the time to live");
        assert_eq!(left[..6], BACKEND_MAC);
        assert!(came.ends_with(b"hello") && left.ends_with(b"hello"));
    });
}

#[test]
fn that_a_connection_id_says_who_gets_a_packet_is_told() {
    lab(async |mut lab| {
        let query = TraceQuery { port: Some(443), seconds: 60, ..TraceQuery::default() };
        let (_session, mut events) = lab.dataplane.start_trace(&query, lab.planner.rows()).expect("it starts");
        // A short header, configuration 0, the server ID, and what must follow.
        let packet = [&[0x40, 0x15, 0x5e, 0x01], [7; 24].as_slice()].concat();
        lab.send_octets(40000, "192.0.2.1:443", &packet);
        let told = story(&mut events, 4).await;
        assert_eq!(told[1], "its connection ID names its backend");
        assert!(told[2].starts_with("to 10.0.0.11 direct of quic, udp://192.0.2.1:443 (row "), "{told:?}");
        assert_eq!(told[3], "sent back out of fwa");
    });
}

#[test]
fn every_term_of_the_filter_must_hold() {
    lab(async |mut lab| {
        let query = TraceQuery {
            address: "10.0.0.11".parse().ok(),
            port: Some(40002),
            protocol: Some(17),
            seconds: 60,
            ..TraceQuery::default()
        };
        let (_session, mut events) = lab.dataplane.start_trace(&query, lab.planner.rows()).expect("it starts");
        lab.send(40002, "10.0.0.1:53");
        lab.send(40001, "192.0.2.1:53");
        lab.send(40002, "192.0.2.1:53");
        let told = story(&mut events, 4).await;
        assert!(told[0].starts_with("10.0.0.2:40002 > 192.0.2.1:53"), "{told:?}");
    });
}

#[test]
fn what_is_passed_to_the_host_is_told_with_its_reason() {
    lab(async |mut lab| {
        let query = TraceQuery { port: Some(9), seconds: 60, ..TraceQuery::default() };
        let (_session, mut events) = lab.dataplane.start_trace(&query, lab.planner.rows()).expect("it starts");
        lab.send(40001, "192.0.2.1:9");
        let told = story(&mut events, 2).await;
        assert_eq!(told[1], "passed to this host: not-a-service");
    });
}

#[test]
fn a_translated_reply_is_found_by_the_address_that_its_client_knows() {
    lab(async |mut lab| {
        run("sysctl -qw net.ipv4.ip_forward=1");
        run("ip addr add 10.0.0.1/24 dev fwa");
        run("ip route add 198.51.100.0/24 via 10.0.0.3");
        run("ip neigh add 10.0.0.3 lladdr 02:00:00:00:00:03 dev fwa nud permanent");
        let query =
            TraceQuery { address: "192.0.2.9".parse().ok(), port: Some(53), seconds: 60, ..TraceQuery::default() };
        let (_session, mut events) = lab.dataplane.start_trace(&query, lab.planner.rows()).expect("it starts");
        lab.send(40001, "198.51.100.7:4711");
        lab.send(40000, "198.51.100.7:4711");
        let told = story(&mut events, 3).await;
        assert!(told[0].starts_with("10.0.0.2:40000 > 198.51.100.7:4711, udp, "), "{told:?}");
        assert_eq!(told[1], "a reply of backend 10.0.0.2, turned back to come from 192.0.2.9:53");
        assert_eq!(told[2], "sent back out of fwa");
    });
}

#[test]
fn the_forwarding_program_is_back_when_nobody_listens_any_more() {
    lab(async |mut lab| {
        let before = attached();
        assert_eq!(name(&before), FORWARDING);
        for _ in 0..2 {
            let query = TraceQuery { seconds: 60, ..TraceQuery::default() };
            let (mut session, events) = lab.dataplane.start_trace(&query, lab.planner.rows()).expect("it starts");
            assert_eq!(name(&attached()), TRACING);
            let second = lab.dataplane.start_trace(&query, lab.planner.rows()).err().expect("refused");
            assert_eq!(second.message, "a trace is running already; there can be only one at a time");

            drop(events);
            timeout(PATIENCE, session.ended()).await.expect("in time").expect("without an error");
            lab.dataplane.stop_trace().expect("the program is put back");
            assert_eq!(attached().id(), before.id());
        }
    });
}

#[test]
fn a_trace_ends_when_its_time_is_over() {
    lab(async |mut lab| {
        let query = TraceQuery { seconds: 1, ..TraceQuery::default() };
        let (mut session, mut events) = lab.dataplane.start_trace(&query, lab.planner.rows()).expect("it starts");
        timeout(PATIENCE, session.ended()).await.expect("in time").expect("without an error");
        lab.dataplane.stop_trace().expect("the program is put back");
        while timeout(PATIENCE, events.recv()).await.expect("the stream ends").is_some() {}
    });
}

#[test]
fn packets_beyond_the_budget_are_counted_and_not_told() {
    lab(async |mut lab| {
        let query = TraceQuery { port: Some(40000), seconds: 60, ..TraceQuery::default() };
        let (_session, mut events) = lab.dataplane.start_trace(&query, lab.planner.rows()).expect("it starts");
        for _ in 0..3000 {
            lab.send(40000, "192.0.2.1:53");
        }
        let counted = async {
            while let Some(event) = events.recv().await {
                if matches!(event, TraceEvent::Step(step) if step.contains("more packets matched: too many")) {
                    return;
                }
            }
            panic!("the trace ended");
        };
        timeout(PATIENCE, counted).await.expect("the surplus is told");
    });
}

/// The tracing program may cost what it likes; the forwarding one must not even know its maps.
#[test]
fn the_forwarding_program_has_no_trace_of_tracing() {
    let mut ebpf = object::load(sizes()).expect("maps are made");
    for program in [FORWARDING, TRACING] {
        let info = object::program(&mut ebpf, program).expect("the verifier takes it").info().expect("loaded");
        let traces =
            maps(&info).into_iter().filter(|map| map.starts_with("TRACE_") || map.starts_with("AYA_LOG")).count();
        println!(
            "{program}: {:?} octets, {:?} instructions verified",
            info.size_translated(),
            info.verified_instruction_count()
        );
        assert_eq!(traces > 0, program == TRACING, "{program}: {:?}", maps(&info));
    }
}

fn maps(program: &ProgramInfo) -> Vec<String> {
    let ids = program.map_ids().expect("told").expect("this kernel tells");
    let name = |id| MapInfo::from_id(id).ok().and_then(|map| map.name_as_str().map(str::to_owned));
    ids.into_iter().filter_map(name).collect()
}

/// A balancer's namespace with `fwa`, whose other end is a client's.
struct Lab {
    dataplane: Dataplane,
    planner: Planner,
    clients: Vec<(u16, UdpSocket)>,
}

impl Lab {
    fn set_up() -> Self {
        enter_new_namespace();
        run("ip link set lo up");
        let clients =
            [40000, 40001, 40002].map(|port| (port, UdpSocket::bind(("0.0.0.0", port)).expect("a free port")));
        let client = File::open("/proc/thread-self/ns/net").expect("this thread has a namespace");
        let client_path = format!("/proc/{}/fd/{}", std::process::id(), client.as_raw_fd());
        enter_new_namespace();
        run(&format!("ip link add fwa type veth peer name fwb netns {client_path}"));
        run("ip link set fwa up");
        let in_client = |line: &str| run(&format!("nsenter --net={client_path} {line}"));
        in_client("ip link set fwb up");
        in_client("ip addr add 10.0.0.2/24 dev fwb");
        in_client("ip route add 192.0.2.1/32 dev fwb");
        in_client("ip route add default via 10.0.0.1");
        for address in ["192.0.2.1", "10.0.0.1"] {
            in_client(&format!("ip neigh add {address} lladdr 02:00:00:00:00:01 dev fwb nud permanent"));
        }
        let (dataplane, planner) = forward();
        Self { dataplane, planner, clients: clients.into() }
    }

    fn send(&self, from: u16, to: &str) {
        self.send_octets(from, to, b"hello");
    }

    fn send_octets(&self, from: u16, to: &str, octets: &[u8]) {
        let (_, socket) = self.clients.iter().find(|(port, _)| *port == from).expect("one of the lab's");
        socket.send_to(octets, to).expect("sent");
    }
}

fn forward() -> (Dataplane, Planner) {
    let interface = if_nametoindex("fwa").expect("just made");
    let (config, _) = config::parse(CONFIG, "lab").expect("a good configuration");
    let mut image = Image::new(sizes().slots as usize, sizes().rows as usize);
    let mut planner = Planner::new(Seed::from_text(&config.dataplane.hash_seed), sizes().slots, sizes().rows);
    let mut writes = planner.configure(Duration::ZERO, &image, &config).expect("it fits").writes;
    writes.iter().for_each(|write| image.apply(write));
    let frame = Frame {
        interface,
        source_mac: Mac([2, 0, 0, 0, 0, 1]),
        destination_mac: Mac(BACKEND_MAC),
        tags: Vec::new(),
        mtu: 1500,
        source: None,
    };
    writes.extend(planner.next_hop(&image, "10.0.0.11".parse().expect("an address"), Ok(NextHop::Frame(frame))));
    let mut dataplane = Dataplane::open(sizes()).expect("the object loads");
    dataplane.write(&writes).expect("the maps take them");
    dataplane.attach(interface, AttachMode::Native).expect("a veth takes native XDP");
    (dataplane, planner)
}

/// The next `count` steps without the packet's number, all of them of packet 1.
async fn story(events: &mut Receiver<TraceEvent>, count: usize) -> Vec<String> {
    let mut told = Vec::new();
    while told.len() < count {
        match timeout(PATIENCE, events.recv()).await.unwrap_or_else(|_| panic!("only told: {told:?}")) {
            Some(TraceEvent::Step(step)) => {
                told.push(step.strip_prefix("#1 ").unwrap_or_else(|| panic!("{step}")).to_owned())
            }
            Some(TraceEvent::Packet(..)) => panic!("frames come after the lines of their packet here"),
            None => panic!("the trace ended"),
        }
    }
    told
}

async fn captured(events: &mut Receiver<TraceEvent>) -> Vec<u8> {
    match timeout(PATIENCE, events.recv()).await.expect("in time") {
        Some(TraceEvent::Packet(_, octets)) => octets,
        other => panic!("not a frame: {other:?}"),
    }
}

fn attached() -> ProgramInfo {
    let shown = run("ip -d link show dev fwa");
    let id = shown.split("prog/xdp id ").nth(1).and_then(|rest| rest.split(' ').next()).expect("XDP is attached");
    let id: u32 = id.parse().expect("a number");
    loaded_programs().filter_map(Result::ok).find(|program| program.id() == id).expect("it is loaded")
}

fn name(program: &ProgramInfo) -> String {
    program.name_as_str().expect("named").to_owned()
}

fn lab(test: impl AsyncFnOnce(Lab) + Send + 'static) {
    let outcome = thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async { test(Lab::set_up()).await });
    })
    .join();
    if let Err(panic) = outcome {
        std::panic::resume_unwind(panic);
    }
}

fn enter_new_namespace() {
    unshare(CloneFlags::CLONE_NEWNET).expect("needs root: run through `cargo xtask test netns`");
}

/// Runs a command in the calling thread's namespace.
fn run(line: &str) -> String {
    let mut words = line.split_whitespace();
    let program = words.next().expect("a command");
    let output = Command::new(program).args(words).output().unwrap_or_else(|error| panic!("{program}: {error}"));
    assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}
