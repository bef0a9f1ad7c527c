//! A node: a real engine, its clock, its host, and the packets that wait to be read.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::rc::Rc;
use std::time::Duration;

use fairway::vrrp::engine::Engine;
use fairway::vrrp::event::{Event, Link, Received};
use fairway::vrrp::view::State;

use crate::host::Host;
use crate::scenario::{SEGMENTS, address, interface_index, interface_name, mac};

/// Packets that wait to be read, at most: a socket's buffer. What comes then is lost.
const MOST_WAITING: usize = 200;

/// A packet that reaches a node.
#[derive(Clone)]
pub enum Packet {
    Vrrp { interface: u32, source: IpAddr, destination: IpAddr, octets: Rc<[u8]> },
    Heartbeat { source: IpAddr, octets: Rc<[u8]> },
}

impl Packet {
    pub fn as_event(&self) -> Event<'_> {
        match self {
            Self::Vrrp { interface, source, destination, octets } => Event::Received(Received {
                interface: *interface,
                source: *source,
                destination: *destination,
                ttl: 255,
                payload: octets,
            }),
            Self::Heartbeat { source, octets } => Event::Heartbeat { source: *source, octets },
        }
    }
}

/// How a node is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Life {
    /// No power, or no daemon.
    Off,
    Runs,
    /// The process gets no CPU; the kernel does.
    Paused,
}

pub struct Node {
    pub number: usize,
    pub life: Life,
    pub engine: Option<Engine>,
    pub host: Host,
    /// The node's monotonic clock is so far ahead of the world's.
    ahead: Duration,
    /// By so much it jumped since the world was last at rest.
    pub jumped: Duration,
    /// When it last jumped by more than can be noticed.
    pub disturbed: Duration,
    /// Boots so far: packets and wake-ups of an earlier life are not for this one.
    pub boots: u64,
    pub inbox: VecDeque<Packet>,
    /// Which wake-up is the valid one.
    pub wake: u64,
    /// Whether the interfaces have carrier.
    pub links: [bool; SEGMENTS],
    pub ready: bool,
    pub resigned: bool,
    /// It was told to stop.
    pub stops: bool,
    /// An address of each router was taken from it and is not back yet.
    pub robbed: Vec<bool>,
    /// The engine says that the peer lives.
    pub hears_peer: bool,
    /// Whether the routers' conditions hold.
    pub conditions: Vec<bool>,
    /// State of each router as the engine told it.
    pub states: Vec<State>,
    /// Routers that the present event made it advertise.
    pub advertised: Vec<bool>,
    /// Since when each router is in its state, in the world's time.
    pub since: Vec<Duration>,
    /// When each router's priority, or what it may do, changed last.
    pub changed: Vec<Duration>,
    /// When each router last stepped down, or the node booted.
    pub stepped_down: Vec<Duration>,
    /// Each router's addresses may be there from an earlier life, not yet taken in hand.
    pub inherited: Vec<bool>,
    /// When the daemon was started.
    pub booted: Duration,
}

impl Node {
    pub fn new(number: usize, routers: usize, ahead: Duration) -> Self {
        Self {
            number,
            life: Life::Off,
            engine: None,
            host: Host::default(),
            ahead,
            jumped: Duration::ZERO,
            disturbed: Duration::ZERO,
            boots: 0,
            inbox: VecDeque::new(),
            wake: 0,
            links: [true; SEGMENTS],
            ready: true,
            resigned: false,
            stops: false,
            robbed: vec![false; routers],
            hears_peer: false,
            conditions: vec![true; routers],
            states: vec![State::Init; routers],
            advertised: vec![false; routers],
            since: vec![Duration::ZERO; routers],
            changed: vec![Duration::ZERO; routers],
            stepped_down: vec![Duration::ZERO; routers],
            inherited: vec![false; routers],
            booted: Duration::ZERO,
        }
    }

    /// Everything goes but the configuration.
    pub fn lose_power(&mut self) {
        self.lose_process();
        self.host = Host::default();
        self.inherited.fill(false);
    }

    /// The daemon is gone; what it left in the kernel stays.
    pub fn lose_process(&mut self) {
        self.life = Life::Off;
        self.engine = None;
        self.host.lose_process();
        self.states.fill(State::Init);
        self.inherited.fill(true);
        self.robbed.fill(false);
        (self.stops, self.resigned, self.hears_peer) = (false, false, false);
    }

    /// The daemon has handed over and ends: the data plane goes with it.
    pub fn end(&mut self) {
        self.lose_power();
    }

    /// The node's monotonic clock.
    pub fn clock(&self, now: Duration) -> Duration {
        now + self.ahead
    }

    /// The clock jumps forward, as when a virtual machine is resumed.
    pub fn jump(&mut self, by: Duration) {
        self.ahead += by;
        self.jumped += by;
    }

    /// In the world's time.
    pub fn deadline(&self) -> Option<Duration> {
        let deadline = self.engine.as_ref()?.deadline()?;
        Some(deadline.saturating_sub(self.ahead))
    }

    pub fn queue(&mut self, packet: Packet) {
        if self.inbox.len() < MOST_WAITING {
            self.inbox.push_back(packet);
        }
    }

    pub fn is_master(&self, router: usize) -> bool {
        self.states[router] == State::Master
    }

    pub fn link(&self, segment: usize) -> Link {
        let width = |is_ipv4| if is_ipv4 { "24" } else { "64" };
        let on = |is_ipv4| format!("{}/{}", address(segment, self.number, is_ipv4), width(is_ipv4)).parse();
        Link {
            name: interface_name(segment).into(),
            index: interface_index(segment),
            running: self.links[segment],
            mac: mac(segment, self.number),
            addresses: [on(true), on(false)].map(|address| address.expect("an address")).into(),
        }
    }
}
