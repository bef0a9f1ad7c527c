//! One engine on a bench: time passes when the test says so, and what it does is kept.

use std::net::IpAddr;
use std::time::Duration;

use ipnet::IpNet;

use crate::config::{ChecksumForm, OnCrash, VirtualRouter, VrrpVersion};
use crate::happening::Happening;
use crate::vrrp::codec::{Advertisement, Form, encode};
use crate::vrrp::effect::Effect;
use crate::vrrp::engine::Engine;
use crate::vrrp::event::{Event, Link, Received, RouterSettings, Settings};
use crate::vrrp::router::advertise::{GROUP_V4, GROUP_V6};
use crate::vrrp::view::{RouterView, State};

/// Address of the node on the bench.
pub const US: &str = "10.0.0.1";
/// Another node's, higher.
pub const OTHER: &str = "10.0.0.2";
/// Index of the interface.
pub const ETH0: u32 = 2;
/// Its MAC address.
pub const MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];

/// Milliseconds.
pub fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

/// An address.
pub fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// Addresses with prefixes.
pub fn nets(texts: &[&str]) -> Vec<IpNet> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

/// A version 3 router on eth0 with one address, priority 100, 1-second advertisements.
pub fn router(name: &str, vrid: u8) -> VirtualRouter {
    VirtualRouter {
        name: name.into(),
        interface: "eth0".into(),
        vrid,
        version: VrrpVersion::V3,
        priority: 100,
        advertisement_interval: ms(1000),
        missed_advertisements: 3,
        preempt: true,
        preempt_delay: Duration::ZERO,
        addresses: nets(&[&format!("10.0.0.{vrid}/32")]),
        excluded_addresses: Vec::new(),
        on_crash: OnCrash::Release,
        virtual_mac: false,
        unicast_source: None,
        unicast_peers: Vec::new(),
        unicast_minimum_ttl: 255,
        authentication: None,
        checksum: ChecksumForm::Auto,
        group: None,
        tracks: Vec::new(),
        routes: Vec::new(),
        rules: Vec::new(),
    }
}

/// Settings of these routers; those of `live` follow a live word, by their place.
pub fn settings(routers: &[VirtualRouter], live: bool) -> Settings {
    let place =
        |(index, router): (u32, &VirtualRouter)| RouterSettings { router: router.clone(), live: live.then_some(index) };
    Settings { routers: (0..).zip(routers).map(place).collect(), peer: None, ready_timeout: Duration::from_secs(30) }
}

/// The interface, up.
pub fn link(name: &str, index: u32) -> Link {
    let addresses = nets(&["10.0.0.1/24", "fe80::1/64"]);
    Link { name: name.into(), index, running: true, mac: MAC, addresses }
}

/// An advertisement of another node, to be changed and then sent.
pub fn advertisement(router: &VirtualRouter, priority: u8) -> Advertisement {
    Advertisement {
        version: router.version,
        vrid: router.vrid,
        priority,
        interval: router.advertisement_interval,
        addresses: router.addresses.iter().map(|address| address.addr()).collect(),
        authentication: router.authentication,
        checksum: Form::PseudoHeader,
    }
}

/// An engine, its time, and what it did.
pub struct Bench {
    pub engine: Engine,
    pub now: Duration,
    /// What it did, with the time.
    pub done: Vec<(Duration, Effect)>,
}

impl Bench {
    /// Configured, with eth0 up; whatever it did so far is forgotten.
    pub fn new(routers: &[VirtualRouter]) -> Self {
        Self::with(settings(routers, false))
    }

    /// With these settings.
    pub fn with(settings: Settings) -> Self {
        let mut bench = Self::bare();
        bench.give(Event::Configure(Box::new(settings)));
        bench.give(Event::Link(link("eth0", ETH0)));
        bench.done.clear();
        bench
    }

    /// An engine without anything, at 100 s.
    pub fn bare() -> Self {
        let now = Duration::from_secs(100);
        Self { engine: Engine::new("lb1".into(), 1, now), now, done: Vec::new() }
    }

    /// One router that is master already, its first seconds of announcements over.
    pub fn master(router: &VirtualRouter) -> Self {
        let mut bench = Self::new(std::slice::from_ref(router));
        bench.pass(ms(15_500));
        assert_eq!(bench.state(), State::Master);
        bench.done.clear();
        bench
    }

    /// One router that has just heard a master of this priority.
    pub fn backup_of(router: &VirtualRouter, priority: u8) -> Self {
        let mut bench = Self::new(std::slice::from_ref(router));
        bench.hear(&advertisement(router, priority));
        assert_eq!(bench.state(), State::Backup);
        bench.done.clear();
        bench
    }

    /// Hands over an event, and returns what was done at once.
    pub fn give(&mut self, event: Event<'_>) -> Vec<Effect> {
        let effects = self.engine.handle(self.now, event);
        self.done.extend(effects.iter().map(|effect| (self.now, effect.clone())));
        effects
    }

    /// Time passes, and timers fire when they are due.
    pub fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        let mut ticks = 0;
        while let Some(deadline) = self.engine.deadline().filter(|deadline| *deadline <= end) {
            self.now = self.now.max(deadline);
            self.give(Event::Tick);
            ticks += 1;
            assert!(ticks < 1_000_000, "the engine does not let time pass at {:?}", self.now);
        }
        self.now = end;
    }

    /// Time passes until something of this kind is done; how long that took. Fails after an hour.
    pub fn until(&mut self, wanted: impl Fn(&Effect) -> bool) -> Duration {
        let start = self.now;
        while self.now < start + Duration::from_secs(3600) {
            self.now = self.engine.deadline().expect("a timer runs").max(self.now);
            if self.give(Event::Tick).iter().any(&wanted) {
                return self.now - start;
            }
        }
        panic!("it was not done within an hour");
    }

    /// The other node says this, as everybody does: to the group, with TTL 255.
    pub fn hear(&mut self, advertisement: &Advertisement) -> Vec<Effect> {
        let is_ipv4 = advertisement.addresses[0].is_ipv4();
        let (source, group) = if is_ipv4 { (ip(OTHER), GROUP_V4) } else { (ip("fe80::2"), GROUP_V6) };
        self.hear_from(advertisement, source, group, 255)
    }

    /// Somebody says this.
    pub fn hear_from(&mut self, said: &Advertisement, source: IpAddr, destination: IpAddr, ttl: u8) -> Vec<Effect> {
        let payload = encode(said, source, destination);
        self.receive(&payload, source, destination, ttl)
    }

    /// Octets come in on eth0.
    pub fn receive(&mut self, payload: &[u8], source: IpAddr, destination: IpAddr, ttl: u8) -> Vec<Effect> {
        self.give(Event::Received(Received { interface: ETH0, source, destination, ttl, payload }))
    }

    /// What is said of the only router.
    pub fn view(&self) -> RouterView {
        self.view_of(0)
    }

    /// What is said of a router.
    pub fn view_of(&self, index: usize) -> RouterView {
        self.engine.snapshot(self.now).routers[index].clone()
    }

    /// State of the only router.
    pub fn state(&self) -> State {
        self.view().state
    }

    /// States of all routers.
    pub fn states(&self) -> Vec<State> {
        self.engine.snapshot(self.now).routers.iter().map(|router| router.state).collect()
    }
}

/// Whether it is an advertisement of this priority.
pub fn advertises(effect: &Effect, priority: u8) -> bool {
    matches!(effect, Effect::Advertise(packet) if packet.payload[2] == priority)
}

/// Effects in one word each, for comparing their order.
pub fn words(effects: &[Effect]) -> Vec<&'static str> {
    effects.iter().map(word).collect()
}

fn word(effect: &Effect) -> &'static str {
    match effect {
        Effect::Listen(_) => "listen",
        Effect::Advertise(packet) if packet.payload[2] == 0 => "farewell",
        Effect::Advertise(_) => "advertise",
        Effect::SetLive { live: true, .. } => "live",
        Effect::SetLive { live: false, .. } => "dead",
        Effect::AddAddresses { .. } => "add",
        Effect::RemoveAddresses { .. } => "remove",
        Effect::Announce { .. } => "announce",
        Effect::VirtualMac { addresses, .. } if addresses.is_empty() => "mac off",
        Effect::VirtualMac { .. } => "mac on",
        Effect::Routes { present: true, .. } => "routes",
        Effect::Routes { present: false, .. } => "no routes",
        Effect::Heartbeat { .. } => "heartbeat",
        Effect::BfdSessions(_) => "bfd sessions",
        Effect::Bfd { .. } => "bfd",
        Effect::ProbeGateway { .. } => "probe",
        Effect::Testament(_) => "testament",
        Effect::Happened(Happening::Transition { .. }) => "transition",
        Effect::Happened(Happening::ForeignMaster { .. }) => "foreign",
        Effect::Happened(Happening::Warning { .. }) => "warning",
        Effect::Happened(
            Happening::Check { .. }
            | Happening::Backend { .. }
            | Happening::Quorum { .. }
            | Happening::Uplink { .. }
            | Happening::Suspect { .. }
            | Happening::Operator { .. },
        ) => unreachable!("the engine knows no backends"),
        Effect::Happened(Happening::NotReady { .. }) => "not ready",
        Effect::Happened(Happening::AddressesDiffer { .. }) => "differ",
        Effect::Happened(Happening::Stalled { .. }) => "stalled",
        Effect::Happened(Happening::Priority { .. }) => "priority",
        Effect::Happened(Happening::Peer { .. }) => "peer",
        Effect::Happened(Happening::PeerPath { .. }) => "path",
        Effect::Happened(Happening::Bfd { .. }) => "bfd changed",
        Effect::HandedOver => "handed over",
    }
}
