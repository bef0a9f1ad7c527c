//! Two engines that talk to each other over wires that a test may cut.

use std::net::IpAddr;
use std::time::Duration;

use super::bench::{ip, link, ms, nets, settings};
use crate::config::{Peer, VirtualRouter};
use crate::happening::Happening;
use crate::vrrp::effect::Effect;
use crate::vrrp::engine::Engine;
use crate::vrrp::event::{Event, Link, Received, Settings};
use crate::vrrp::view::{RouterView, State};

/// One way, on every wire.
const LATENCY: Duration = Duration::from_micros(100);

/// Two nodes, 0 and 1, with addresses ending in 1 and 2.
pub struct Pair {
    pub now: Duration,
    nodes: Vec<Node>,
    flight: Vec<(Duration, usize, Packet)>,
    /// Nothing that this node sends arrives: by VRRP, by the peer link.
    pub vrrp_cut: [bool; 2],
    pub heartbeats_cut: [bool; 2],
    /// The gateway answers this node.
    pub gateway: [bool; 2],
    /// Both were master at once for so long in all.
    pub both: Duration,
    /// What was done, by whom and when.
    pub done: Vec<(Duration, usize, Effect)>,
}

struct Node {
    engine: Engine,
    alive: bool,
}

enum Packet {
    Vrrp { source: IpAddr, destination: IpAddr, payload: Vec<u8> },
    Heartbeat { source: IpAddr, octets: Vec<u8> },
    Bfd { source: IpAddr, octets: Vec<u8> },
    Answer { interface: u32, address: IpAddr },
}

/// The peer link of node `index`.
pub fn peer(index: usize) -> Peer {
    Peer {
        addresses: vec![path(1 - index)],
        port: 112,
        key_file: "/dev/null".into(),
        heartbeat: ms(50),
        misses: 3,
        hold: ms(60_000),
        nodes: 2,
    }
}

fn path(index: usize) -> IpAddr {
    ip(&format!("10.9.0.{}", index + 1))
}

/// eth0 of node `index`.
pub fn eth0(index: usize) -> Link {
    let own = nets(&[&format!("10.0.0.{}/24", index + 1), &format!("fe80::{}/64", index + 1)]);
    Link { addresses: own, mac: [2, 0, 0, 0, 0, index as u8], ..link("eth0", 2) }
}

impl Pair {
    /// Both nodes start now with these routers each.
    pub fn new(first: &[VirtualRouter], second: &[VirtualRouter]) -> Self {
        let with_peer = |index: usize, routers: &[VirtualRouter]| Settings {
            peer: Some((peer(index), vec![7; 32])),
            ..settings(routers, false)
        };
        Self::with([with_peer(0, first), with_peer(1, second)])
    }

    /// Both nodes start now, with these settings each.
    pub fn with(both: [Settings; 2]) -> Self {
        let mut pair = Self {
            now: Duration::from_secs(100),
            nodes: Vec::new(),
            flight: Vec::new(),
            vrrp_cut: [false; 2],
            heartbeats_cut: [false; 2],
            gateway: [true; 2],
            both: Duration::ZERO,
            done: Vec::new(),
        };
        for (index, settings) in both.into_iter().enumerate() {
            pair.nodes.push(Node { engine: engine(index, 1, pair.now), alive: true });
            pair.configure(index, settings);
        }
        pair
    }

    /// Node 0, priority 254, is master and node 1, priority 250, backup; announcements are over, and the hold of the start.
    pub fn settled(router: &VirtualRouter) -> Self {
        let of = |priority| VirtualRouter { priority, ..router.clone() };
        let mut pair = Self::new(&[of(254)], &[of(250)]);
        pair.pass(ms(70_000));
        assert_eq!(pair.states(), [State::Master, State::Backup]);
        pair.done.clear();
        pair.both = Duration::ZERO;
        pair
    }

    /// A new process takes the place of a node's.
    pub fn restart(&mut self, index: usize, routers: &[VirtualRouter]) {
        let boot = self.now.as_nanos() as u64;
        self.nodes[index] = Node { engine: engine(index, boot, self.now), alive: true };
        let peer = Some((peer(index), vec![7; 32]));
        self.configure(index, Settings { peer, ..settings(routers, false) });
    }

    fn configure(&mut self, index: usize, settings: Settings) {
        self.give(index, Event::Configure(Box::new(settings)));
        self.give(index, Event::Link(eth0(index)));
    }

    /// The node is gone without a word.
    pub fn kill(&mut self, index: usize) {
        self.nodes[index].alive = false;
    }

    /// Whether it was killed or has stopped.
    pub fn is_dead(&self, index: usize) -> bool {
        !self.nodes[index].alive
    }

    /// Something happens to a node, if it is alive.
    pub fn give(&mut self, index: usize, event: Event<'_>) {
        if !self.nodes[index].alive {
            return;
        }
        let effects = self.nodes[index].engine.handle(self.now, event);
        for effect in effects {
            self.carry(index, &effect);
            self.done.push((self.now, index, effect));
        }
    }

    fn carry(&mut self, from: usize, effect: &Effect) {
        let other = 1 - from;
        let packet = match effect.clone() {
            Effect::Advertise(packet) if !self.vrrp_cut[from] => {
                let destination = packet.destinations[0];
                (other, Packet::Vrrp { source: packet.source, destination, payload: packet.payload })
            }
            Effect::Heartbeat { octets, .. } if !self.heartbeats_cut[from] => {
                (other, Packet::Heartbeat { source: path(from), octets })
            }
            Effect::Bfd { ends, octets } => (other, Packet::Bfd { source: ends.source, octets }),
            Effect::ProbeGateway { interface, address } if self.gateway[from] => {
                (from, Packet::Answer { interface, address })
            }
            Effect::HandedOver => {
                self.nodes[from].alive = false;
                return;
            }
            _ => return,
        };
        self.flight.push((self.now + LATENCY, packet.0, packet.1));
    }

    /// Time passes.
    pub fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(next) = self.next().filter(|next| *next <= end) {
            self.advance(next);
            self.step();
        }
        self.advance(end);
    }

    /// Time passes until this node is in this state; how long that took. Fails after ten minutes.
    pub fn until(&mut self, index: usize, state: State) -> Duration {
        let start = self.now;
        while self.states()[index] != state {
            let next = self.next().expect("something will happen");
            assert!(next < start + Duration::from_secs(600), "node {index} did not become {state}: {:?}", self.views());
            self.advance(next);
            self.step();
        }
        self.now - start
    }

    fn next(&self) -> Option<Duration> {
        let deadlines = self.nodes.iter().filter(|node| node.alive).filter_map(|node| node.engine.deadline());
        deadlines.chain(self.flight.iter().map(|(at, ..)| *at)).min()
    }

    fn advance(&mut self, to: Duration) {
        let masters = self.nodes.iter().filter(|node| node.alive && state(node, self.now) == State::Master).count();
        if masters == 2 {
            self.both += to.saturating_sub(self.now);
        }
        self.now = self.now.max(to);
    }

    /// What has arrived is read before any timer fires.
    fn step(&mut self) {
        let now = self.now;
        let (arrived, flying) = std::mem::take(&mut self.flight).into_iter().partition(|(at, ..)| *at <= now);
        self.flight = flying;
        let arrived: Vec<(Duration, usize, Packet)> = arrived;
        for (_, to, packet) in arrived {
            if self.nodes[to].alive {
                self.deliver(to, &packet);
            }
        }
        for index in 0..self.nodes.len() {
            let node = &self.nodes[index];
            if node.alive && node.engine.deadline().is_some_and(|deadline| deadline <= now) {
                self.give(index, Event::Tick);
            }
        }
    }

    fn deliver(&mut self, to: usize, packet: &Packet) {
        match packet {
            Packet::Vrrp { source, destination, payload } => {
                let (source, destination) = (*source, *destination);
                self.give(to, Event::Received(Received { interface: 2, source, destination, ttl: 255, payload }));
            }
            Packet::Heartbeat { source, octets } => self.give(to, Event::Heartbeat { source: *source, octets }),
            Packet::Bfd { source, octets } => self.give(to, Event::Bfd { source: *source, ttl: 255, octets }),
            Packet::Answer { interface, address } => {
                self.give(to, Event::GatewayAnswered { interface: *interface, address: *address });
            }
        }
    }

    /// What both say of their first router.
    pub fn views(&self) -> Vec<RouterView> {
        self.nodes.iter().map(|node| node.engine.snapshot(self.now).routers[0].clone()).collect()
    }

    /// Both states of the first router.
    pub fn states(&self) -> Vec<State> {
        self.nodes.iter().map(|node| state(node, self.now)).collect()
    }

    /// Warnings of a node.
    pub fn warnings(&self, index: usize) -> Vec<String> {
        let warning = |(_, from, effect): &(Duration, usize, Effect)| match effect {
            Effect::Happened(Happening::Warning { message, .. }) if *from == index => Some(message.clone()),
            _ => None,
        };
        self.done.iter().filter_map(warning).collect()
    }

    /// When a node first did this.
    pub fn when(&self, index: usize, wanted: impl Fn(&Effect) -> bool) -> Option<Duration> {
        self.done.iter().find(|(_, from, effect)| *from == index && wanted(effect)).map(|(at, ..)| *at)
    }
}

fn engine(index: usize, boot: u64, now: Duration) -> Engine {
    Engine::new(format!("lb{}", index + 1).into(), boot * 2 + index as u64, now)
}

fn state(node: &Node, now: Duration) -> State {
    node.engine.snapshot(now).routers[0].state
}
