//! One random history of clients, servers and sweeps. Everything follows from the seed.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use fairway::config;
use fairway::native::{NativePacket, NativeTables, process};
use fairway::nexthop::{Frame, Mac, NextHop};
use fairway::reconcile::census::{Census, TranslationFate};
use fairway::reconcile::image::Image;
use fairway::reconcile::planner::Planner;
use fairway::scheduler::seed::Seed;
use lb_common::abi::{FlowKey6, Translation};
use lb_common::counters::Reason;
use lb_common::packet::ethernet::Exit;
use lb_common::path::translation::{Ends, turned};
use lb_common::path::{Route, Verdict};

use crate::frames::{ACK, End, FIN_ACK, SYN, ends, frame};
use crate::rng::Rng;

const RST: u8 = 4;
const TCP: u32 = 6;
const UDP: u32 = 17;
/// What a flow may be silent for at least, unless its client has reset it; and then.
const IDLE: Duration = Duration::from_secs(60);
const CLOSED: Duration = Duration::from_secs(10);
/// After so long without a packet a flow has been forgotten, whatever its state: a FIN's timeout.
const LONGEST: Duration = Duration::from_secs(120);
const START: Duration = Duration::from_secs(1000);
const STEPS: u32 = 250;
const CLIENTS: u8 = 4;
const CLIENT_PORTS: u64 = 5;
/// Frames of clients come in by this interface, and those of servers by another.
const CLIENT_SIDE: u32 = 1;
const SERVER_SIDE: u32 = 2;
/// Source ports of full NAT: fewer than flows.
const PORTS: (u16, u16) = (5000, 5007);

/// A sweep that does something else.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    None,
    /// A flow is forgotten although its server is heard of.
    ClientsAlone,
    /// Of a flow that is forgotten one record stays.
    LeaveReplies,
    /// The record of a flow's replies is forgotten when they are silent.
    RepliesAlone,
}

/// How much of what matters a history had in it.
#[derive(Clone, Copy, Default, Debug)]
pub struct Coverage {
    pub begun: u64,
    pub refused: u64,
    pub replies: u64,
    pub late_replies: u64,
    pub renamed: u64,
    pub used_again: u64,
    pub swept: u64,
    pub kept_by_reply: u64,
}

impl Coverage {
    pub fn add(&mut self, other: Self) {
        self.begun += other.begun;
        self.refused += other.refused;
        self.replies += other.replies;
        self.late_replies += other.late_replies;
        self.renamed += other.renamed;
        self.used_again += other.used_again;
        self.swept += other.swept;
        self.kept_by_reply += other.kept_by_reply;
    }
}

/// The history of this seed; `Err` says what broke the promise.
pub fn run(seed: u64, fault: Fault) -> Result<Coverage, String> {
    let mut world = World::new(seed, fault);
    (0..STEPS).try_for_each(|_| world.step())?;
    world.now += LONGEST + Duration::from_secs(1);
    world.sweep()?;
    match world.tables.translations.borrow().len() {
        0 => Ok(world.coverage),
        left => Err(format!("{left} records are left when nobody was heard of for {LONGEST:?}")),
    }
}

/// A flow: the protocol, its client's end, and the service's.
type Flow = (u32, End, End);
/// The same as a server sees it: the protocol, the end that asks, and its own.
type Asked = (u32, End, End);

/// What is known of a flow.
struct Known {
    asked: Asked,
    /// When either end was last heard of by way of the balancer.
    heard: Duration,
    heard_client: Duration,
    was_reset: bool,
}

struct World {
    rng: Rng,
    fault: Fault,
    now: Duration,
    tables: NativeTables,
    flows: BTreeMap<Flow, Known>,
    /// Whose packets a server took an asking end's for, last.
    askers: BTreeMap<Asked, Flow>,
    coverage: Coverage,
}

impl World {
    fn new(seed: u64, fault: Fault) -> Self {
        let mut tables = NativeTables::new(Image::new(1 << 12, 1 << 10), 1 << 10);
        let mut planner = Planner::new(Seed::from_text("translations"), 1 << 12, 1 << 10);
        let (config, _) = config::parse(&file(), "host").unwrap_or_else(|problems| panic!("{problems:#?}"));
        let plan = planner.configure(START, &tables.image, &config).expect("room for all of it");
        plan.writes.iter().for_each(|write| tables.apply(write));
        let destinations: BTreeSet<IpAddr> = planner.destinations().clone();
        for destination in destinations {
            let frame = Frame {
                interface: SERVER_SIDE,
                source_mac: Mac([2; 6]),
                destination_mac: Mac([4; 6]),
                tags: vec![],
                mtu: 1500,
                source: None,
            };
            let writes = planner.next_hop(&tables.image, destination, Ok(NextHop::Frame(frame)));
            writes.iter().for_each(|write| tables.apply(write));
        }
        let exit = Exit { mac_head: 1, mac_tail: 1, interface: CLIENT_SIDE, tags_wire: [0; 2] };
        for (v4, number) in [true, false].into_iter().flat_map(|v4| (0..CLIENTS).map(move |number| (v4, number))) {
            tables.routes.insert(client(v4, number), Route::Forward(exit));
        }
        Self {
            rng: Rng(seed),
            fault,
            now: START,
            tables,
            flows: BTreeMap::new(),
            askers: BTreeMap::new(),
            coverage: Coverage::default(),
        }
    }

    fn step(&mut self) -> Result<(), String> {
        match self.rng.below(10) {
            0 => {
                self.now += Duration::from_millis(self.rng.below(30_000));
                self.sweep()
            }
            1..6 => self.ask(),
            _ => self.answer(),
        }?;
        self.are_told_apart()
    }

    /// A client sends something.
    fn ask(&mut self) -> Result<(), String> {
        let services = services();
        let (protocol, service) = services[self.rng.below(services.len() as u64) as usize];
        let number = self.rng.below(CLIENTS.into()) as u8;
        let port = 40_000 + self.rng.below(CLIENT_PORTS) as u16;
        let client = End { address: client(service.address.is_ipv4(), number), port };
        let flags = [SYN, SYN, ACK, ACK, ACK, FIN_ACK, RST][self.rng.below(7) as usize];
        let flow = (protocol, client, service);
        let sent = self.send(client, service, (protocol == TCP).then_some(flags), CLIENT_SIDE);
        let asked = match sent {
            Ok((asker, server)) => (protocol, asker, server),
            Err(Reason::NoSourcePort) => {
                self.coverage.refused += 1;
                return match self.flows.get(&flow).filter(|known| self.is_live(known)) {
                    Some(_) => Err(format!("a live flow was refused: {flow:?}")),
                    None => Ok(()),
                };
            }
            Err(reason) => return Err(format!("{flow:?} was not forwarded: {}", reason.name())),
        };
        let known = self.flows.get(&flow);
        if let Some(known) = known.filter(|known| self.is_live(known) && known.asked != asked) {
            return Err(format!("{flow:?} asked as {:?}, and now as {asked:?}", known.asked));
        }
        let was_reset = known.is_some_and(|known| known.asked == asked && known.was_reset) || flags == RST;
        self.coverage.begun += u64::from(known.is_none_or(|known| known.asked != asked));
        self.coverage.renamed += u64::from(asked.1.address == client.address && asked.1.port != client.port);
        let known = Known { asked, heard: self.now, heard_client: self.now, was_reset: was_reset && protocol == TCP };
        self.flows.insert(flow, known);
        let before = self.askers.insert(asked, flow);
        self.coverage.used_again += u64::from(before.is_some_and(|before| before != flow));
        Ok(())
    }

    /// A server answers one that has asked it, at any time.
    fn answer(&mut self) -> Result<(), String> {
        let count = self.askers.len() as u64;
        if count == 0 {
            return Ok(());
        }
        let at = self.rng.below(count) as usize;
        let Some((&asked, &flow)) = self.askers.iter().nth(at) else { return Ok(()) };
        let ((protocol, asker, server), (_, client, service)) = (asked, flow);
        let is_recorded = self.is_recorded(&flow, &asked);
        let sent = self.send(server, asker, (protocol == TCP).then_some(ACK), SERVER_SIDE);
        let is_live = self.flows.get(&flow).is_some_and(|known| known.asked == asked && self.is_live(known));
        match sent {
            Ok(answered) if answered == (service, client) => {
                self.coverage.replies += 1;
                // Of the services that share a server one gets what has no record: that keeps no flow alive.
                if let Some(known) = self.flows.get_mut(&flow).filter(|_| is_recorded) {
                    known.heard = self.now;
                }
                Ok(())
            }
            Ok((from, to)) if is_live || to.address != client.address => {
                Err(format!("the answer to {flow:?}, asked as {asked:?}, went from {from:?} to {to:?}"))
            }
            Err(reason) if is_live => Err(format!("the answer to {flow:?} was not forwarded: {}", reason.name())),
            Ok(_) | Err(_) => {
                self.coverage.late_replies += 1;
                Ok(())
            }
        }
    }

    /// Both ends of the packet as it leaves.
    fn send(&mut self, from: End, to: End, flags: Option<u8>, interface: u32) -> Result<(End, End), Reason> {
        self.tables.clock.set(self.now.as_nanos() as u64);
        let mut packet = NativePacket::new(&frame(from, to, flags), interface);
        match process(&mut packet, &self.tables) {
            Verdict::Transmit | Verdict::Redirect(_) => Ok(ends(packet.frame())),
            Verdict::Pass(reason) | Verdict::Drop(reason) => Err(reason),
        }
    }

    /// Whether a flow is recorded, as one that asks like this.
    fn is_recorded(&self, flow: &Flow, (_, asker, server): &Asked) -> bool {
        let records = self.tables.translations.borrow();
        records.get(&key_of(flow)).is_some_and(|it| {
            let key = FlowKey6 {
                ports_wire: it.ports_wire,
                source: it.source,
                destination: it.destination,
                protocol: flow.0,
            };
            key == key_of(&(flow.0, *asker, *server))
        })
    }

    fn is_live(&self, known: &Known) -> bool {
        self.now - known.heard <= if known.was_reset { CLOSED } else { IDLE }
    }

    /// Every record of a client's packets has one of the answers, and that no other's.
    fn are_told_apart(&self) -> Result<(), String> {
        let records = self.tables.translations.borrow();
        let mut answers = BTreeSet::new();
        for (key, it) in records.iter().filter(|(_, it)| it.state != 0) {
            let answer = turned(&Ends::from(it), key.protocol);
            if !answers.insert(answer) {
                return Err(format!("two flows are {answer:?} to a server"));
            }
            if records.get(&answer).is_none_or(|back| turned(&Ends::from(back), key.protocol) != *key) {
                return Err(format!("what answers {key:?} does not come back to it"));
            }
        }
        Ok(())
    }

    /// What a census does about translations, by the same rule.
    fn sweep(&mut self) -> Result<(), String> {
        let before = self.tables.translations.borrow().len();
        let all: Vec<(FlowKey6, Translation)> =
            self.tables.translations.borrow().iter().map(|(key, it)| (*key, *it)).collect();
        let now = self.now.as_nanos() as u64;
        for (key, it) in all {
            let timeout = Census::translation_timeout(&self.tables.image, &key, &it).unwrap_or(0);
            if now - it.last_seen <= timeout {
                continue;
            }
            let records = self.tables.translations.get_mut();
            let answer = turned(&Ends::from(&it), key.protocol);
            let other = records.get(&answer).copied();
            match self.fault.bend(Census::silent_translation(&key, &it, timeout, other.as_ref(), now), &it) {
                TranslationFate::Keep => {}
                TranslationFate::Forget => drop(records.remove(&key)),
                TranslationFate::ForgetBoth => {
                    records.remove(&key);
                    records.remove(&answer);
                }
            }
        }
        self.coverage.swept += (before - self.tables.translations.borrow().len()) as u64;
        let records = self.tables.translations.borrow();
        for (flow, known) in &self.flows {
            let is_there = records.contains_key(&key_of(flow));
            if self.is_live(known) && !is_there {
                return Err(format!("{flow:?} was forgotten after {:?}", self.now - known.heard));
            }
            if self.now - known.heard > LONGEST && is_there {
                return Err(format!("{flow:?} is there after {:?}", self.now - known.heard));
            }
            let by_reply = self.is_live(known) && self.now - known.heard_client > LONGEST;
            self.coverage.kept_by_reply += u64::from(by_reply);
        }
        drop(records);
        self.are_told_apart()
    }
}

impl Fault {
    fn bend(self, fate: TranslationFate, it: &Translation) -> TranslationFate {
        match (self, fate) {
            (Fault::ClientsAlone, TranslationFate::Keep) if it.state != 0 => TranslationFate::ForgetBoth,
            (Fault::LeaveReplies, TranslationFate::ForgetBoth) => TranslationFate::Forget,
            (Fault::RepliesAlone, TranslationFate::Keep) if it.state == 0 => TranslationFate::Forget,
            _ => fate,
        }
    }
}

fn key_of((protocol, client, service): &Flow) -> FlowKey6 {
    let ([a, b], [c, d]) = (client.port.to_be_bytes(), service.port.to_be_bytes());
    FlowKey6 {
        source: client.address.into(),
        destination: service.address.into(),
        ports_wire: u32::from_ne_bytes([a, b, c, d]),
        protocol: *protocol,
    }
}

fn client(v4: bool, number: u8) -> IpAddr {
    if v4 {
        Ipv4Addr::new(198, 51, 100, number).into()
    } else {
        Ipv6Addr::from((0x2001_0db8 << 96) + 0x100 + u128::from(number)).into()
    }
}

/// Every listener whose flows are recorded.
fn services() -> Vec<(u32, End)> {
    let end = |address: &str, port| End { address: address.parse().expect("literal"), port };
    vec![
        (TCP, end("192.0.2.10", 80)),
        (UDP, end("192.0.2.10", 53)),
        (TCP, end("2001:db8::10", 80)),
        (TCP, end("192.0.2.20", 80)),
        (TCP, end("192.0.2.21", 80)),
    ]
}

fn file() -> String {
    let (first, last) = PORTS;
    format!(
        r#"
[dataplane]
interfaces = ["eth0"]
hash_seed = "translations"
source_nat_addresses = ["10.0.0.1", "fd00::1"]
source_nat_first_port = {first}
source_nat_last_port = {last}

[[service]]
name = "full"
listen = ["tcp://192.0.2.10:80", "udp://192.0.2.10:53"]
forwarding = "full-nat"
idle_timeout = "60s"
lookup_table_size = 16
backend = [{{ address = "10.0.1.1" }}, {{ address = "10.0.1.2" }}]

[[service]]
name = "full6"
listen = ["tcp://[2001:db8::10]:80"]
forwarding = "full-nat"
idle_timeout = "60s"
lookup_table_size = 16
backend = [{{ address = "fd00:1::1" }}]

[[service]]
name = "red"
listen = ["tcp://192.0.2.20:80"]
forwarding = "nat"
idle_timeout = "60s"
lookup_table_size = 16
backend = [{{ address = "10.0.2.1", port = 8080 }}]

[[service]]
name = "blue"
listen = ["tcp://192.0.2.21:80"]
forwarding = "nat"
idle_timeout = "60s"
lookup_table_size = 16
backend = [{{ address = "10.0.2.1", port = 8080 }}]
"#
    )
}
