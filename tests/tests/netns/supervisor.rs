//! What a daemon leaves behind when it dies or hangs: nothing. The daemon is a stand-in that only has a supervisor started
//! and releases nothing itself, in a network namespace with one cable, whose other end is listened to.
//!
//! Times are printed, not asserted (`--nocapture`).

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufReader, Write as _};
use std::net::IpAddr;
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};
use std::{fs, thread};

use fairway::effects::dataplane::object::Sizes;
use fairway::effects::dataplane::{Dataplane, LiveWords};
use fairway::vrrp::effect::{Advertise, Bequest, Testament};
use nix::ifaddrs::getifaddrs;
use nix::net::if_::if_nametoindex;
use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::{Signal, kill};
use nix::sys::socket::{AddressFamily, LinkAddr, SockFlag, SockProtocol, SockType, recvfrom, socket};
use nix::unistd::Pid;

use crate::harness::{fairway_binary, tool};

const NEAR: &str = "fwsuper0";
const FAR: &str = "fwsuper1";
const MAC: [u8; 6] = [0, 0, 0x5e, 0, 1, 51];
const PEER: &str = "198.51.100.9";
const PEER_MAC: &str = "02:00:00:00:00:09";
/// What takes longer does not come.
const PATIENCE: Duration = Duration::from_secs(15);
/// Each farewell is sent so often.
const TIMES: usize = 3;
/// VRIDs of the testament's virtual routers.
const ROUTERS: [u8; 3] = [51, 52, 53];
const LIVE: u32 = 7;

#[test]
fn a_daemon_that_is_killed_leaves_nothing_behind() {
    in_a_namespace(|| {
        let bed = Bed::start();
        let supervisor = bed.supervisor();
        // What ends a daemon by its group or its service is sent to the supervisor too.
        for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP] {
            kill(supervisor, signal).expect("the supervisor runs");
        }
        bed.signal_and_see(Signal::SIGKILL, "killed");
        wait_until("the supervisor ends", || !is_running(supervisor));
    });
}

#[test]
fn a_daemon_that_hangs_leaves_nothing_behind_and_learns_of_it() {
    in_a_namespace(|| {
        let mut bed = Bed::start();
        for round in 1..=3 {
            bed.signal_and_see(Signal::SIGSTOP, "stopped");
            bed.signal(Signal::SIGCONT);
            bed.expect(&format!("deposed {round}"));
            bed.take_up();
        }
        assert!(is_running(bed.supervisor()), "the same supervisor goes on");
        bed.order("wait", "supervisor 1");
    });
}

#[test]
fn a_daemon_that_stops_cleanly_is_left_alone() {
    in_a_namespace(|| {
        let mut bed = Bed::start();
        let supervisor = bed.supervisor();
        bed.order("stop", "stopped");
        wait_until("the supervisor ends", || !is_running(supervisor));
        assert!(bed.stand_in.wait().expect("it has ended").success());
        assert_eq!(bed.farewells_within(Duration::from_millis(300)).len(), 0);
        assert_eq!(held(), addresses(), "what a daemon holds it releases itself, or keeps");
        assert!(bed.live.is_live(LIVE));
    });
}

#[test]
fn a_supervisor_that_dies_is_followed_by_another_with_the_same_testament() {
    in_a_namespace(|| {
        let mut bed = Bed::start();
        let first = bed.supervisor();
        kill(first, Signal::SIGKILL).expect("the supervisor runs");
        wait_until("another follows", || {
            bed.order_any("wait");
            bed.said() == "supervisor 2"
        });
        assert_eq!(held(), addresses(), "nothing was released meanwhile");
        bed.signal_and_see(Signal::SIGKILL, "killed, second supervisor");
    });
}

/// A fresh network namespace for one thread and what it starts; it goes with them.
fn in_a_namespace(test: impl FnOnce() + Send) {
    let inside = || {
        unshare(CloneFlags::CLONE_NEWNET).expect("these tests run as root");
        ip(&format!("link add {NEAR} type veth peer name {FAR}"));
        ip(&format!("link set {NEAR} up"));
        ip(&format!("link set {FAR} up"));
        ip(&format!("address add 198.51.100.1/24 dev {NEAR}"));
        ip(&format!("neighbour add {PEER} lladdr {PEER_MAC} dev {NEAR}"));
        test();
    };
    thread::scope(|scope| scope.spawn(inside).join()).unwrap_or_else(|panic| std::panic::resume_unwind(panic));
}

/// The stand-in as master of three virtual routers, with hundreds of addresses.
struct Bed {
    stand_in: Child,
    orders: ChildStdin,
    answers: Receiver<String>,
    frames: Receiver<(Instant, Vec<u8>)>,
    live: LiveWords,
    _dataplane: Dataplane,
}

impl Drop for Bed {
    fn drop(&mut self) {
        let _ = self.stand_in.kill();
        let _ = self.stand_in.wait();
    }
}

impl Bed {
    fn start() -> Self {
        let dataplane = Dataplane::open(Sizes::for_need(1 << 16, 1 << 10, 1 << 10)).expect("it loads");
        let live = dataplane.live_words().expect("they can be mapped");
        let map = live.descriptor().expect("there are descriptors left");
        let mut stand_in = Command::new(env!("CARGO_BIN_EXE_supervised"))
            .arg(fairway_binary())
            .args([std::process::id().to_string(), map.as_raw_fd().to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the stand-in starts");
        let (orders, answers) = (stand_in.stdin.take().expect("piped"), stand_in.stdout.take().expect("piped"));
        let answers = lines_of(BufReader::new(answers));
        let mut bed = Self { stand_in, orders, answers, frames: listen(), live, _dataplane: dataplane };
        bed.take_up();
        drop(map); // the stand-in has its own by now
        bed
    }

    /// Becomes master: live, addresses, testament.
    fn take_up(&mut self) {
        self.live.set(LIVE, true).expect("there is such a word");
        let lines: Vec<String> = addresses()
            .iter()
            .map(|address| match address {
                IpAddr::V4(address) => format!("address add {address}/32 dev {NEAR}"),
                IpAddr::V6(address) => format!("address add {address}/128 dev {NEAR} nodad"),
            })
            .collect();
        ip_batch(&lines);
        assert_eq!(held(), addresses());
        while self.frames.try_recv().is_ok() {}
        let testament = serde_json::to_string(&testament()).expect("plain data");
        self.order(&testament, "supervisor 1");
    }

    fn order(&mut self, order: &str, answer: &str) {
        self.order_any(order);
        self.expect(answer);
    }

    fn order_any(&mut self, order: &str) {
        writeln!(self.orders, "{order}").expect("the stand-in listens");
    }

    fn said(&self) -> String {
        self.answers.recv_timeout(PATIENCE).expect("the stand-in answers")
    }

    fn expect(&self, answer: &str) {
        assert_eq!(self.said(), answer);
    }

    fn signal(&self, signal: Signal) {
        kill(self.pid(), signal).expect("the stand-in runs");
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.stand_in.id()).expect("process numbers fit"))
    }

    /// The stand-in's only child.
    fn supervisor(&self) -> Pid {
        let processes = fs::read_dir("/proc").expect("/proc is there").flatten();
        let numbers = processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        let mut children = numbers.map(Pid::from_raw).filter(|pid| parent(*pid) == Some(self.pid()));
        children.next().expect("it has a child")
    }

    /// Sends the signal; then everything that must happen, and when it did.
    fn signal_and_see(&self, signal: Signal, how: &str) {
        let began = now();
        self.signal(signal);
        wait_until("addresses are released", || held().is_empty());
        let gone = began.elapsed();
        assert!(self.live.is_live(LIVE), "what still comes to this node is forwarded for a while");
        let mut seen: BTreeMap<u8, Vec<Duration>> = BTreeMap::new();
        while seen.len() < ROUTERS.len() || seen.values().any(|times| times.len() < TIMES) {
            let (at, frame) = self.frames.recv_timeout(PATIENCE).expect("farewells of all virtual routers");
            if let Some(vrid) = farewell(&frame) {
                seen.entry(vrid).or_default().push(at.saturating_duration_since(began));
            }
        }
        assert_eq!(seen.keys().copied().collect::<Vec<_>>(), ROUTERS);
        let first = seen.values().map(|times| times[0]).max().expect("there are some");
        println!("{how}: farewells after {first:?}, addresses gone after {gone:?}");
    }

    fn farewells_within(&self, time: Duration) -> Vec<u8> {
        let until = now() + time;
        let mut seen = Vec::new();
        loop {
            match self.frames.recv_timeout(until.saturating_duration_since(now())) {
                Ok((_, frame)) => seen.extend(farewell(&frame)),
                Err(RecvTimeoutError::Timeout) => return seen,
                Err(RecvTimeoutError::Disconnected) => panic!("nobody listens"),
            }
        }
    }
}

fn testament() -> Testament {
    let interface = if_nametoindex(NEAR).expect("the cable is there");
    let bequest = |vrid: u8, source: &str, destination: &str, addresses: Vec<IpAddr>, live| Bequest {
        router: format!("router-{vrid}"),
        farewell: Advertise {
            interface,
            source: source.parse().expect("an address"),
            destinations: vec![destination.parse().expect("an address")],
            source_mac: MAC,
            payload: vec![0x31, vrid, 0, 1, 0, 100, 0, 0],
        },
        addresses: addresses.into_iter().map(|address| (interface, address.into())).collect(),
        live,
    };
    let (v4, v6) = addresses().into_iter().partition(IpAddr::is_ipv4);
    Testament {
        release: vec![
            bequest(ROUTERS[0], "198.51.100.1", "224.0.0.18", v4, Some(LIVE)),
            bequest(ROUTERS[1], "fe80::1", "ff02::12", v6, None),
            bequest(ROUTERS[2], "198.51.100.1", PEER, Vec::new(), None),
        ],
    }
}

fn addresses() -> BTreeSet<IpAddr> {
    let v4 = (0..300_u16).map(|number| IpAddr::from([203, 0, (number >> 8) as u8 + 113, number as u8]));
    let v6 = (1..=100_u16).map(|number| IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, number]));
    v4.chain(v6).collect()
}

/// Of the testament's addresses, those that the interface has.
fn held() -> BTreeSet<IpAddr> {
    let wanted = addresses();
    let present = getifaddrs().expect("the kernel tells addresses").filter_map(|interface| {
        let address = interface.address?;
        let v4 = address.as_sockaddr_in().map(|address| IpAddr::from(address.ip()));
        v4.or_else(|| address.as_sockaddr_in6().map(|address| IpAddr::from(address.ip())))
    });
    present.filter(|address| wanted.contains(address)).collect()
}

/// The VRID, if it is an advertisement of priority 0.
fn farewell(frame: &[u8]) -> Option<u8> {
    let message = match (frame.get(12..14)?, frame.get(14..)?) {
        ([0x08, 0x00], packet) if packet.get(9) == Some(&112) && packet[8] == 255 => packet.get(20..)?,
        ([0x86, 0xdd], packet) if packet.get(6) == Some(&112) && packet[7] == 255 => packet.get(40..)?,
        _ => return None,
    };
    (message.get(2) == Some(&0)).then(|| message[1])
}

/// What arrives at the far end of the cable.
fn listen() -> Receiver<(Instant, Vec<u8>)> {
    let everything = SockProtocol::EthAll;
    let packets: OwnedFd =
        socket(AddressFamily::Packet, SockType::Raw, SockFlag::SOCK_CLOEXEC, everything).expect("root");
    let far = if_nametoindex(FAR).expect("the cable is there") as usize;
    let (sender, frames) = channel();
    thread::spawn(move || {
        let mut frame = [0; 2048];
        loop {
            let (length, from) = recvfrom::<LinkAddr>(packets.as_fd().as_raw_fd(), &mut frame).expect("it is open");
            let is_there = from.is_some_and(|from| from.ifindex() == far);
            if is_there && sender.send((now(), frame[..length].to_vec())).is_err() {
                return;
            }
        }
    });
    frames
}

fn lines_of(reader: impl std::io::BufRead + Send + 'static) -> Receiver<String> {
    let (sender, lines) = channel();
    thread::spawn(move || reader.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
    lines
}

fn parent(pid: Pid) -> Option<Pid> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let parent = stat.get(stat.rfind(')')? + 1..)?.split_ascii_whitespace().nth(1)?;
    parent.parse().ok().map(Pid::from_raw)
}

fn is_running(pid: Pid) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    !stat.is_empty() && !stat.contains(") Z ")
}

fn ip(arguments: &str) {
    let status = Command::new(tool("ip", "iproute2")).args(arguments.split(' ')).status().expect("ip starts");
    assert!(status.success(), "ip {arguments}");
}

fn ip_batch(lines: &[String]) {
    let mut command = Command::new(tool("ip", "iproute2"));
    let mut child = command.args(["-batch", "-"]).stdin(Stdio::piped()).spawn().expect("ip starts");
    let mut stdin = child.stdin.take().expect("piped");
    stdin.write_all(lines.join("\n").as_bytes()).expect("ip reads");
    drop(stdin);
    assert!(child.wait().expect("ip ends").success());
}

fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let until = now() + PATIENCE;
    while !condition() {
        assert!(now() < until, "{what}: not within fifteen seconds");
        thread::sleep(Duration::from_micros(200));
    }
}

#[expect(clippy::disallowed_methods, reason = "the tests measure")]
fn now() -> Instant {
    Instant::now()
}
