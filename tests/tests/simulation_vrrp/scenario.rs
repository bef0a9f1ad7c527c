//! What a history plays with: nodes, virtual routers and how they are configured, drawn from the seed.

use std::net::IpAddr;
use std::time::Duration;

use fairway::config::{
    ChecksumForm, Condition, Consequence, OnCrash, Peer, Track, VirtualRoute, VirtualRouter, VrrpVersion,
};
use fairway::vrrp::event::{RouterSettings, Settings};
use fairway::vrrp::timing;
use ipnet::IpNet;

use crate::fault::Fault;
use crate::rng::Rng;

/// Segments on which VRRP is spoken, one interface each on every node.
pub const SEGMENTS: usize = 2;
/// Index of the first segment's interface; the others follow. The loopback interface is 1.
pub const FIRST_INTERFACE: u32 = 2;
/// The one track that routers have; the world decides what it finds.
pub const TRACK: &str = "condition";

pub struct Scenario {
    pub nodes: usize,
    pub routers: Vec<Router>,
    pub peer: Option<PeerLink>,
    /// Longest time that a packet is on its way while all is well.
    pub delay: Duration,
}

/// A virtual router of all nodes; vectors have an element a node.
pub struct Router {
    pub name: String,
    pub segment: usize,
    pub vrid: u8,
    pub version: VrrpVersion,
    pub is_ipv4: bool,
    pub intervals: Vec<Duration>,
    pub priorities: Vec<u8>,
    pub missed_advertisements: u8,
    pub preempt: bool,
    pub preempt_delay: Duration,
    pub grouped: bool,
    pub live: Option<u32>,
    pub virtual_mac: bool,
    pub unicast: bool,
    pub checksums: Vec<ChecksumForm>,
    pub on_crash: OnCrash,
    pub track: Option<Consequence>,
    pub addresses: Vec<IpNet>,
}

/// Between the first two nodes.
pub struct PeerLink {
    pub paths: usize,
    pub heartbeat: Duration,
    pub misses: u32,
    pub hold: Duration,
}

impl Scenario {
    pub fn draw(rng: &mut Rng) -> Self {
        let nodes = if rng.percent(70) { 2 } else { 3 };
        let peer = rng.percent(if nodes == 2 { 65 } else { 35 }).then(|| PeerLink::draw(rng));
        let grouped = rng.percent(25);
        let slowest = rng.pick(&[10, 30, 100, 100, 300, 300, 1000, 1000]);
        let count = if grouped { 2 + rng.index(2) } else { 1 + rng.index(3) };
        let mut routers: Vec<Router> =
            (0..count).map(|number| Router::draw(rng, nodes, number, grouped, slowest)).collect();
        for at in 1..if grouped { count } else { 0 } {
            // A group moves with the first member that may.
            (routers[at].preempt, routers[at].preempt_delay) = (routers[0].preempt, routers[0].preempt_delay);
        }
        let delay = Duration::from_micros(rng.pick(&[200, 1000, 3000]));
        Self { nodes, routers, peer, delay }
    }

    /// What a node's engine is told.
    pub fn settings(&self, node: usize, fault: Fault) -> Settings {
        let link = self.peer.as_ref().filter(|_| node < 2);
        Settings {
            routers: self.routers.iter().map(|router| router.settings(node, self.nodes, fault)).collect(),
            peer: link.map(|link| {
                (link.settings(node, self.nodes, fault), b"a key that all nodes of the world share".to_vec())
            }),
            ready_timeout: Duration::from_secs(30),
        }
    }

    /// Whether a node has a peer link.
    pub fn has_peer(&self, node: usize) -> bool {
        self.peer.is_some() && node < 2
    }

    /// How long a node that stepped down does not preempt.
    pub fn hold(&self, node: usize) -> Duration {
        self.peer.as_ref().filter(|_| node < 2).map_or(Duration::ZERO, |peer| peer.hold)
    }

    /// Time after which a healed network has one master: three intervals and the skew, whichever router is slowest, and
    /// what the packets and wake-ups in between take.
    pub fn convergence(&self) -> Duration {
        let slowest = self.routers.iter().map(Router::longest_down).max().expect("there are routers");
        let peer = self.peer.as_ref().map_or(Duration::ZERO, |peer| peer.heartbeat * (peer.misses + 3));
        slowest + peer + self.delay * 4 + Duration::from_millis(50)
    }

    pub fn in_words(&self) -> String {
        let peer = self.peer.as_ref().map_or("no peer link".into(), |peer| {
            format!("peer link of {} path(s), {:?} x {}, hold {:?}", peer.paths, peer.heartbeat, peer.misses, peer.hold)
        });
        let routers: Vec<String> = self.routers.iter().map(Router::in_words).collect();
        format!("{} nodes, {peer}, delay up to {:?}\n{}", self.nodes, self.delay, routers.join("\n"))
    }
}

impl PeerLink {
    fn draw(rng: &mut Rng) -> Self {
        let heartbeat = Duration::from_millis(rng.pick(&[10, 50, 50]));
        Self { paths: 1 + rng.index(2), heartbeat, misses: 3, hold: heartbeat * rng.pick(&[6, 20, 40]) }
    }

    fn settings(&self, node: usize, nodes: usize, fault: Fault) -> Peer {
        Peer {
            addresses: (0..self.paths).map(|path| path_address(path, 1 - node)).collect(),
            port: 3784,
            key_file: "/dev/null".into(),
            heartbeat: self.heartbeat,
            misses: self.misses,
            hold: if fault == Fault::HoldNothing { Duration::ZERO } else { self.hold },
            nodes: u8::try_from(nodes).expect("few"),
        }
    }
}

impl Router {
    fn draw(rng: &mut Rng, nodes: usize, number: usize, grouped: bool, slowest: u64) -> Self {
        let version = if slowest == 1000 && rng.percent(50) { VrrpVersion::V2 } else { VrrpVersion::V3 };
        let is_ipv4 = version == VrrpVersion::V2 || rng.percent(70);
        let interval = rng.pick(&[slowest, slowest, slowest, 30]);
        let interval = Duration::from_millis(if version == VrrpVersion::V2 { 1000 } else { interval });
        let differ = version == VrrpVersion::V3 && rng.percent(10);
        let intervals = (0..nodes).map(|node| if differ && node == 0 { interval * 2 } else { interval }).collect();
        let mut priorities: Vec<u8> = [254, 250, 200, 150, 100][rng.index(3)..][..nodes].to_vec();
        for at in 1..nodes {
            priorities.swap(at, rng.index(at + 1));
        }
        if rng.percent(5) {
            priorities.fill(250);
        }
        let virtual_mac = rng.percent(15);
        let prefix = if is_ipv4 { "203.0.113" } else { "2001:db8:" };
        let separator = if is_ipv4 { "." } else { ":" };
        let width = if is_ipv4 { 32 } else { 128 };
        let addresses = (1..=1 + rng.index(3))
            .map(|last| format!("{prefix}{separator}{}/{width}", number * 10 + last).parse().expect("an address"));
        Self {
            name: format!("r{number}"),
            segment: rng.index(SEGMENTS),
            vrid: 51 + u8::try_from(number).expect("few"),
            version,
            is_ipv4,
            intervals,
            priorities,
            missed_advertisements: rng.pick(&[3, 3, 3, 3, 5]),
            preempt: rng.percent(75),
            preempt_delay: interval * rng.pick(&[0, 0, 0, 2, 6]),
            grouped,
            live: rng.percent(60).then(|| u32::try_from(number).expect("few")),
            virtual_mac,
            unicast: !virtual_mac && rng.percent(25),
            checksums: (0..nodes)
                .map(|_| rng.pick(&[ChecksumForm::Auto, ChecksumForm::Plain, ChecksumForm::PseudoHeader]))
                .collect(),
            on_crash: if rng.percent(30) { OnCrash::Keep } else { OnCrash::Release },
            track: rng.percent(60).then(|| match rng.below(3) {
                0 => Consequence::Fault,
                1 => Consequence::Weight(-120),
                _ => Consequence::Weight(-7),
            }),
            addresses: addresses.collect(),
        }
    }

    fn settings(&self, node: usize, nodes: usize, fault: Fault) -> RouterSettings {
        let others = (0..nodes).filter(|other| *other != node);
        let router = VirtualRouter {
            name: self.name.clone(),
            interface: interface_name(self.segment),
            vrid: self.vrid,
            version: self.version,
            priority: self.priorities[node],
            advertisement_interval: self.intervals[node],
            missed_advertisements: self.missed_advertisements,
            preempt: self.preempt && fault != Fault::NeverPreempt,
            preempt_delay: self.preempt_delay,
            addresses: self.addresses.clone(),
            excluded_addresses: Vec::new(),
            on_crash: self.on_crash,
            virtual_mac: self.virtual_mac,
            unicast_source: None,
            unicast_peers: others
                .filter(|_| self.unicast)
                .map(|other| address(self.segment, other, self.is_ipv4))
                .collect(),
            unicast_minimum_ttl: 255,
            authentication: (self.version == VrrpVersion::V2).then_some(*b"password"),
            checksum: self.checksums[node],
            group: self.grouped.then(|| "all".to_owned()),
            tracks: self.track.map(track).into_iter().collect(),
            routes: vec![route()],
            rules: Vec::new(),
        };
        RouterSettings { router, live: self.live }
    }

    /// The virtual router's MAC address (RFC 9568 section 7.3).
    pub fn mac(&self) -> [u8; 6] {
        [0, 0, 0x5e, 0, if self.is_ipv4 { 1 } else { 2 }, self.vrid]
    }

    /// Whether its condition faults it.
    pub fn may_fault(&self) -> bool {
        self.track == Some(Consequence::Fault)
    }

    /// Priority with what the track found, apart from the group.
    pub fn priority(&self, node: usize, holds: bool) -> u8 {
        match self.track {
            Some(Consequence::Weight(weight)) if !holds => {
                let priority = i16::from(self.priorities[node]).saturating_add(weight).clamp(1, 254);
                u8::try_from(priority).expect("between 1 and 254")
            }
            Some(_) | None => self.priorities[node],
        }
    }

    pub fn longest_interval(&self) -> Duration {
        *self.intervals.iter().max().expect("there are nodes")
    }

    /// Active_Down_Interval of the lowest priority.
    pub fn longest_down(&self) -> Duration {
        timing::active_down_interval(self.version, 1, self.longest_interval(), self.missed_advertisements)
    }

    fn in_words(&self) -> String {
        let family = if self.is_ipv4 { "IPv4" } else { "IPv6" };
        let mut words = format!(
            "  {}: {family} version {} on {}, intervals {:?} x {}, priorities {:?}, track {:?}",
            self.name,
            self.version.name(),
            interface_name(self.segment),
            self.intervals,
            self.missed_advertisements,
            self.priorities,
            self.track,
        );
        for (holds, what) in [
            (self.preempt, format!(", preempts after {:?}", self.preempt_delay)),
            (self.grouped, ", in the group".into()),
            (self.live.is_some(), ", services follow".into()),
            (self.virtual_mac, ", virtual MAC".into()),
            (self.unicast, ", unicast".into()),
            (self.on_crash == OnCrash::Keep, ", kept on crash".into()),
        ] {
            words.push_str(if holds { &what } else { "" });
        }
        words
    }
}

fn track(consequence: Consequence) -> Track {
    let condition = Condition::Process { process: "haproxy".into(), minimum: 1 };
    Track { name: TRACK.into(), condition, consequence }
}

fn route() -> VirtualRoute {
    let destination = "198.51.100.0/24".parse().expect("a prefix");
    VirtualRoute { destination, via: None, interface: None, source: None, table: 254, metric: None }
}

pub fn interface_name(segment: usize) -> String {
    format!("eth{segment}")
}

pub fn interface_index(segment: usize) -> u32 {
    FIRST_INTERFACE + u32::try_from(segment).expect("few")
}

/// A node's address on a segment: higher for higher nodes, in both families.
pub fn address(segment: usize, node: usize, is_ipv4: bool) -> IpAddr {
    let (segment, node) = (u8::try_from(segment).expect("few"), u8::try_from(node).expect("few"));
    if is_ipv4 {
        [10, 0, segment, node + 1].into()
    } else {
        [0xfe80, 0, 0, 0, 0, 0, u16::from(segment), u16::from(node) + 1].into()
    }
}

/// A node's address on a path of the peer link: the first is the first segment's, the second a link of its own.
pub fn path_address(path: usize, node: usize) -> IpAddr {
    if path == 0 { address(0, node, true) } else { address(9, node, true) }
}

pub fn mac(segment: usize, node: usize) -> [u8; 6] {
    [2, 0, 0, 0, u8::try_from(segment).expect("few"), u8::try_from(node).expect("few")]
}
