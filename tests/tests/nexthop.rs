//! Next hops against the real kernel: the resolver in a namespace of its own, its backends in another one.
//!
//! Needs root. Each test runs on a thread with a network namespace that nothing else sees and that goes with the
//! thread, so tests run side by side and leave nothing behind.

#![expect(clippy::disallowed_methods, reason = "these tests measure how soon the kernel's changes arrive")]

use std::collections::BTreeSet;
use std::future::Future;
use std::net::IpAddr;
use std::process::Command;
use std::rc::Rc;
use std::sync::mpsc as blocking;
use std::thread;
use std::time::{Duration, Instant};

use fairway::effects::netlink::ethtool::{Offload, offload, set_offload};
use fairway::effects::netlink::{Leave, Resolver, read_links};
use fairway::nexthop::tracker::Event;
use fairway::nexthop::{Frame, LinkKind, NextHop, Unresolved};
use nix::sched::{CloneFlags, unshare};
use tokio::sync::mpsc;
use tokio::time::timeout;

const BACKEND: &str = "10.0.0.11";
const FIRST_MAC: &str = "02:00:00:00:00:11";
const SECOND_MAC: &str = "02:00:00:00:00:22";

/// What the product promises from the kernel's change to the tables; here from the end of the command that changed it.
const FRESH: Duration = Duration::from_millis(100);
/// Long enough for anything that happens at all, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(10);

#[test]
fn a_backend_on_the_link_resolves_and_its_new_mac_arrives_at_once() {
    lab(|mut lab| async move {
        lab.want(&[BACKEND]);
        let frame = lab.frame_to(BACKEND, FIRST_MAC).await;
        assert_eq!((frame.interface, frame.mtu, frame.tags.len()), (index("eth0"), 1500, 0));
        assert_eq!(frame.source_mac.to_string(), mac("eth0"));

        lab.backends.run("sysctl -qw net.ipv4.conf.eth0.arp_notify=1");
        lab.backends.run(&format!("ip link set eth0 address {SECOND_MAC}"));
        let changed = Instant::now();
        lab.frame_to(BACKEND, SECOND_MAC).await;
        assert!(changed.elapsed() < FRESH, "took {:?}", changed.elapsed());
    });
}

#[test]
fn an_ipv6_backend_resolves_too() {
    lab(|mut lab| async move {
        run("ip addr add 2001:db8::1/64 dev eth0 nodad");
        lab.backends.run("ip addr add 2001:db8::11/64 dev eth0 nodad");
        lab.want(&["2001:db8::11"]);
        lab.frame_to("2001:db8::11", FIRST_MAC).await;
    });
}

#[test]
fn the_neighbour_is_managed_while_wanted_and_removed_afterwards() {
    lab(|mut lab| async move {
        lab.want(&[BACKEND]);
        lab.frame_to(BACKEND, FIRST_MAC).await;
        assert!(neighbours().contains("managed") && neighbours().contains("proto 250"), "{}", neighbours());
        lab.want(&[]);
        until("the entry is removed", || neighbours().is_empty()).await;

        lab.want(&[BACKEND]);
        until("it is managed again", || neighbours().contains("managed")).await;
        lab.resolver.stop(Leave::Nothing).await;
        assert_eq!(neighbours(), "");
    });
}

#[test]
fn a_restart_keeps_the_managed_entries_and_the_next_process_takes_them_over() {
    lab(|mut lab| async move {
        lab.want(&[BACKEND]);
        lab.frame_to(BACKEND, FIRST_MAC).await;
        lab.resolver.stop(Leave::Neighbours).await;
        assert!(neighbours().contains("managed"), "{}", neighbours());

        (lab.resolver, lab.events) = Resolver::start().expect("netlink sockets open");
        lab.resolver.set_attached(BTreeSet::from([index("eth0")]));
        lab.want(&[BACKEND]);
        lab.frame_to(BACKEND, FIRST_MAC).await;
        lab.want(&[]);
        until("the successor removes it", || neighbours().is_empty()).await;
    });
}

#[test]
fn flushed_neighbours_are_asked_for_again_without_a_gap() {
    lab(|mut lab| async move {
        lab.want(&[BACKEND]);
        lab.frame_to(BACKEND, FIRST_MAC).await;
        run("ip neigh flush dev eth0");
        until("the entry is back", || neighbours().contains("REACHABLE")).await;
        // What is heard of the host's own addresses (a link-local one comes a while after its link) is not of that.
        let told: Vec<Event> = std::iter::from_fn(|| lab.events.try_recv().ok()).collect();
        let others: Vec<&Event> = told.iter().filter(|event| !matches!(event, Event::LocalAddresses(_))).collect();
        assert!(others.is_empty(), "nothing changed for the tables: {others:?}");
    });
}

#[test]
fn an_operators_permanent_entry_is_used_and_left_alone() {
    lab(|mut lab| async move {
        run(&format!("ip neigh add {BACKEND} lladdr {SECOND_MAC} dev eth0 nud permanent"));
        lab.want(&[BACKEND]);
        lab.frame_to(BACKEND, SECOND_MAC).await;
        lab.resolver.stop(Leave::Nothing).await;
        assert_eq!(neighbours().trim(), format!("{BACKEND} lladdr {SECOND_MAC} PERMANENT"));
    });
}

#[test]
fn a_host_that_is_not_there_is_named_and_found_when_it_comes() {
    lab(|mut lab| async move {
        lab.want(&["10.0.0.77"]);
        let words = "10.0.0.77 does not answer ARP on eth0";
        lab.until_result("10.0.0.77", |result| matches!(result, Err(why) if why.to_string() == words)).await;
        lab.backends.run("ip addr add 10.0.0.77/24 dev eth0");
        lab.frame_to("10.0.0.77", FIRST_MAC).await;
    });
}

#[test]
fn an_interface_that_goes_down_or_away_takes_its_next_hops_along_until_it_is_back() {
    lab(|mut lab| async move {
        lab.want(&[BACKEND]);
        lab.frame_to(BACKEND, FIRST_MAC).await;

        lab.backends.run("ip link set eth0 down");
        let changed = Instant::now();
        lab.until_result(BACKEND, |result| matches!(result, Err(Unresolved::InterfaceDown { .. }))).await;
        assert!(changed.elapsed() < FRESH, "took {:?}", changed.elapsed());
        lab.backends.run("ip link set eth0 up");
        lab.frame_to(BACKEND, FIRST_MAC).await;

        let before = index("eth0");
        run("ip link del eth0");
        let removed = Event::LinkRemoved { index: before, name: "eth0".to_owned() };
        lab.until(|event| *event == removed).await;
        lab.until_result(BACKEND, |result| matches!(result, Err(Unresolved::NoRoute { .. }))).await;
        connect(&lab.backends);
        lab.until(|event| matches!(event, Event::LinkAppeared(link) if link.name == "eth0")).await;
        assert_ne!(index("eth0"), before);
        lab.resolver.set_attached(BTreeSet::from([index("eth0")]));
        assert_eq!(lab.frame_to(BACKEND, FIRST_MAC).await.interface, index("eth0"));
    });
}

#[test]
fn a_route_through_a_gateway_is_followed_when_it_changes() {
    lab(|mut lab| async move {
        lab.want(&["192.0.2.9"]);
        lab.until_result("192.0.2.9", |result| matches!(result, Err(Unresolved::NoRoute { .. }))).await;
        run(&format!("ip route add 192.0.2.0/24 via {BACKEND} mtu 1400"));
        assert_eq!(lab.frame_to("192.0.2.9", FIRST_MAC).await.mtu, 1400);

        run(&format!("ip neigh add 10.0.0.99 lladdr {SECOND_MAC} dev eth0 nud permanent"));
        run("ip route add 192.0.2.9/32 via 10.0.0.99");
        let changed = Instant::now();
        lab.frame_to("192.0.2.9", SECOND_MAC).await;
        assert!(changed.elapsed() < FRESH, "took {:?}", changed.elapsed());

        run("ip route replace blackhole 192.0.2.9/32");
        lab.until_result("192.0.2.9", |result| matches!(result, Err(Unresolved::Refused { word: "blackhole", .. })))
            .await;
        run("ip rule add to 192.0.2.9 unreachable pref 1");
        lab.until_result("192.0.2.9", |result| matches!(result, Err(Unresolved::NoRoute { .. }))).await;
    });
}

#[test]
fn an_address_of_this_host_is_local_and_reported() {
    lab(|mut lab| async move {
        lab.want(&["10.0.0.50"]);
        run("ip link set lo up");
        run("ip addr add 10.0.0.50/32 dev lo");
        let held = ip("10.0.0.50");
        lab.until(|event| matches!(event, Event::LocalAddresses(addresses) if addresses.contains(&held))).await;
        lab.until_result("10.0.0.50", |result| matches!(result, Ok(NextHop::Local))).await;
    });
}

#[test]
fn an_interface_without_a_program_is_named() {
    lab(|mut lab| async move {
        lab.resolver.set_attached(BTreeSet::new());
        lab.want(&[BACKEND]);
        let words = "route leaves by eth0, which is not in dataplane.interfaces";
        lab.until_result(BACKEND, |result| matches!(result, Err(why) if why.to_string() == words)).await;
        assert_eq!(neighbours(), "", "nobody is asked on a foreign interface");
    });
}

/// The runtime has one thread and the commands block it, so that the kernel's announcements overflow the socket.
#[test]
fn after_lost_announcements_everything_is_right_again() {
    lab(|mut lab| async move {
        lab.want(&[BACKEND]);
        lab.frame_to(BACKEND, FIRST_MAC).await;
        let addresses = (1..=200).flat_map(|net| (0..250).map(move |host| format!("10.0.{net}.{host}")));
        let commands = addresses.map(|address| format!("neigh add {address} lladdr {SECOND_MAC} dev eth0\n"));
        let file = tempfile::NamedTempFile::new().expect("a temporary file");
        std::fs::write(file.path(), commands.collect::<String>()).expect("written");
        run(&format!("ip -batch {}", file.path().display()));
        // The socket was full before this one.
        run(&format!("ip neigh replace {BACKEND} lladdr {SECOND_MAC} dev eth0 nud permanent"));
        lab.frame_to(BACKEND, SECOND_MAC).await;
    });
}

#[test]
fn eight_thousand_destinations_resolve_within_seconds() {
    lab(|mut lab| async move {
        run(&format!("ip route add 10.80.0.0/16 via {BACKEND}"));
        let wanted: BTreeSet<IpAddr> = (0..8192_u32).map(|n| IpAddr::from((0x0a50_0000 + n).to_be_bytes())).collect();
        let started = Instant::now();
        lab.resolver.set_wanted(wanted.clone());
        let mut resolved = BTreeSet::new();
        while resolved.len() < wanted.len() {
            let event = timeout(PATIENCE, lab.events.recv()).await.expect("in time");
            if let Some(Event::NextHop { destination, result: Ok(_) }) = event {
                resolved.insert(destination);
            }
        }
        println!("{} destinations in {:?}", wanted.len(), started.elapsed());
        assert!(started.elapsed() < PATIENCE);
    });
}

#[test]
fn interfaces_are_listed_with_kind_peer_and_bridge() {
    lab(|_lab| async move {
        run("ip link add br0 type bridge");
        run("ip link add v0 type veth peer name v1");
        run("ip link set v0 master br0");
        let links = read_links().expect("listed");
        let bridge = links.by_name("br0").expect("made above");
        let v0 = links.by_name("v0").expect("made above");
        assert_eq!((&bridge.kind, &v0.kind, v0.master), (&LinkKind::Bridge, &LinkKind::Veth, Some(bridge.index)));
        assert_eq!(links.veth_peer(v0.index).map(|peer| peer.name.as_str()), Some("v1"));
        let eth0 = links.by_name("eth0").expect("part of the lab");
        assert_eq!((links.veth_peer(eth0.index), eth0.program), (None, None), "its peer is in another namespace");
        assert_eq!(links.by_name("lo").expect("always there").mac, None);
    });
}

#[test]
fn a_port_that_leaves_its_bridge_is_not_a_link_removed() {
    lab(|mut lab| async move {
        run("ip link add br0 type bridge");
        run("ip link add v0 type veth peer name v1");
        run("ip link set v0 master br0 up");
        run("ip link set v0 nomaster");
        lab.until(|event| matches!(event, Event::LinkAppeared(link) if link.name == "br0")).await;
        run("ip link del br0");
        let removed = lab.until(|event| matches!(event, Event::LinkRemoved { .. })).await;
        assert!(matches!(removed, Event::LinkRemoved { name, .. } if name == "br0"));
    });
}

#[test]
fn offloads_are_switched_and_read_back() {
    lab(|_lab| async move {
        for which in [Offload::ReceiveVlan, Offload::TransmitVlan, Offload::TransmitChecksum, Offload::GenericReceive] {
            for on in [false, true, false] {
                set_offload("eth0", which, on).unwrap_or_else(|error| panic!("{which:?} {on}: {error}"));
                assert_eq!(offload("eth0", which).expect("readable"), on, "{which:?}");
            }
        }
        assert!(set_offload("lo", Offload::TransmitChecksum, false).is_err(), "loopback's is fixed");
        let error = offload("none", Offload::ReceiveVlan).expect_err("no such interface");
        assert_eq!(error.raw_os_error(), Some(libc::ENODEV));
    });
}

/// A resolver on `eth0`, whose other end is in the backends' namespace.
struct Lab {
    backends: Rc<Namespace>,
    resolver: Resolver,
    events: mpsc::Receiver<Event>,
}

impl Lab {
    fn set_up() -> Self {
        let backends = Rc::new(Namespace::make());
        connect(&backends);
        let (resolver, events) = Resolver::start().expect("netlink sockets open");
        resolver.set_attached(BTreeSet::from([index("eth0")]));
        Self { backends, resolver, events }
    }

    fn want(&self, addresses: &[&str]) {
        self.resolver.set_wanted(addresses.iter().map(|address| ip(address)).collect());
    }

    async fn until(&mut self, wanted: impl Fn(&Event) -> bool) -> Event {
        let mut seen = Vec::new();
        loop {
            match timeout(PATIENCE, self.events.recv()).await {
                Ok(Some(event)) if wanted(&event) => return event,
                Ok(Some(event)) => seen.push(event),
                Ok(None) | Err(_) => panic!("not seen in time; seen: {seen:#?}\n{}", neighbours()),
            }
        }
    }

    async fn until_result(&mut self, address: &str, wanted: impl Fn(&Result<NextHop, Unresolved>) -> bool) -> Event {
        let address = ip(address);
        self.until(|event| {
            matches!(event, Event::NextHop { destination, result } if *destination == address && wanted(result))
        })
        .await
    }

    async fn frame_to(&mut self, address: &str, mac: &str) -> Frame {
        let to_mac = |result: &Result<NextHop, Unresolved>| matches!(result, Ok(NextHop::Frame(frame)) if frame.destination_mac.to_string() == mac);
        match self.until_result(address, to_mac).await {
            Event::NextHop { result: Ok(NextHop::Frame(frame)), .. } => frame,
            other => unreachable!("just matched: {other:?}"),
        }
    }
}

fn connect(backends: &Namespace) {
    run("ip link add eth0 type veth peer name peer0");
    run(&format!("ip link set peer0 address {FIRST_MAC}"));
    run(&format!("ip link set peer0 netns {} name eth0", backends.path));
    run("ip addr add 10.0.0.1/24 dev eth0");
    run("ip link set eth0 up");
    backends.run(&format!("ip addr add {BACKEND}/24 dev eth0"));
    backends.run("ip link set eth0 up");
}

/// Runs a test on a thread in a network namespace of its own.
fn lab<F: Future<Output = ()>>(test: impl FnOnce(Lab) -> F + Send + 'static) {
    let outcome = thread::spawn(move || {
        enter_new_namespace();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let lab = Lab::set_up();
            // A test that names only part of the lab would drop the rest of it before it has begun.
            let _backends = Rc::clone(&lab.backends);
            test(lab).await;
        });
    })
    .join();
    if let Err(panic) = outcome {
        std::panic::resume_unwind(panic);
    }
}

fn enter_new_namespace() {
    unshare(CloneFlags::CLONE_NEWNET).expect("needs root: run through `cargo xtask test netns`");
}

/// A network namespace that lasts as long as this value, kept by a sleeping thread.
struct Namespace {
    path: String,
    _keep: blocking::Sender<()>,
}

impl Namespace {
    fn make() -> Self {
        let (tell, told) = blocking::channel();
        let (keep, kept) = blocking::channel::<()>();
        thread::spawn(move || {
            enter_new_namespace();
            let path = format!("/proc/{}/task/{}/ns/net", std::process::id(), nix::unistd::gettid());
            tell.send(path).expect("the test waits for it");
            // Ends when the other end is dropped.
            let _ = kept.recv();
        });
        Self { path: told.recv().expect("the thread made it"), _keep: keep }
    }

    fn run(&self, line: &str) {
        run(&format!("nsenter --net={} {line}", self.path));
    }
}

/// Runs a command in the calling thread's namespace.
fn run(line: &str) -> String {
    let mut words = line.split_whitespace();
    let program = words.next().expect("a command");
    let output = Command::new(program).args(words).output().unwrap_or_else(|error| panic!("{program}: {error}"));
    assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// The first few entries; there are never more but where a test floods the table.
fn neighbours() -> String {
    let all = run("ip -4 neigh show dev eth0 nud all");
    all.lines().filter(|line| !line.contains("NOARP")).take(20).collect::<Vec<_>>().join("\n")
}

async fn until(what: &str, condition: impl Fn() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < PATIENCE, "{what}: not in time\n{}", neighbours());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

fn index(name: &str) -> u32 {
    read_links().expect("listed").by_name(name).unwrap_or_else(|| panic!("no {name}")).index
}

fn mac(name: &str) -> String {
    let links = read_links().expect("listed");
    links.by_name(name).and_then(|link| link.mac).expect("an Ethernet interface").to_string()
}

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}
