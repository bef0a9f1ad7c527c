//! All virtual routers of a node: events in, effects out, in the order in which they must be done.
//!
//! It hands each event to the routers it concerns, carries out for whole groups what one member intends, and settles what
//! follows: addresses, announcements, timers, testament. An event costs what the routers it concerns cost, however many
//! there are. The shell (`effects::vrrp`) is the only caller.

mod bfd;
mod configure;
mod group;
mod handover;
mod links;
mod peer;
mod receive;
mod settle;
mod snapshot;
mod stall;
mod timers;
mod tracks;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use super::announcer::Announcer;
use super::bfd::Sessions;
use super::effect::{Effect, Subscription, Testament};
use super::event::{Event, Link};
use super::outbox::Outbox;
use super::router::{Node, Router};
use super::schedule::Schedule;
use handover::Stopping;

/// Virtual routers of a node. The configuration refuses more.
pub const MOST_ROUTERS: usize = 1023;

/// The engine.
#[derive(Debug)]
pub struct Engine {
    node_name: Arc<str>,
    /// A number that no other run has.
    boot: u64,
    node: Node,
    peer: Option<peer::Link>,
    bfd: Sessions,
    bfd_users: bfd::Users,
    /// Which BFD sessions are wanted may have changed.
    bfd_is_stale: bool,
    /// What the peer is told of us may have changed.
    reports_are_stale: bool,
    /// In the order of the file.
    routers: Vec<Router>,
    /// Routers that move together: a group, or one alone.
    units: Vec<Unit>,
    /// By index of the interface, family (IPv4) and VRID.
    by_packet: BTreeMap<(u32, bool, u8), usize>,
    /// Interfaces by name, those that no router is on among them: tracks may ask for them.
    links: BTreeMap<Arc<str>, Link>,
    tracks: tracks::Watched,
    schedule: Schedule,
    announcer: Announcer,
    out: Outbox,
    /// Routers that the present event has concerned.
    touched: BTreeSet<usize>,
    /// Units of which priority or obstacles may have changed.
    unsettled: BTreeSet<usize>,
    listening: BTreeSet<Subscription>,
    testament: Testament,
    testament_is_stale: bool,
    stopping: Option<Stopping>,
    stray: BTreeMap<String, u64>,
    stalls: u64,
    longest_stall: Duration,
    next_id: u64,
}

/// Routers that move together.
#[derive(Debug)]
struct Unit {
    /// The group's name; `None`: a router alone.
    name: Option<String>,
    members: Vec<usize>,
}

impl Engine {
    /// An engine without virtual routers. `node_name` and `boot`, a number never used twice, are what the peer knows this
    /// run by. `now` is monotonic, as everywhere.
    pub fn new(node_name: Arc<str>, boot: u64, now: Duration) -> Self {
        Self {
            node_name,
            boot,
            node: Node::new(now),
            peer: None,
            bfd: Sessions::new(boot),
            bfd_users: bfd::Users::new(),
            bfd_is_stale: false,
            reports_are_stale: false,
            routers: Vec::new(),
            units: Vec::new(),
            by_packet: BTreeMap::new(),
            links: BTreeMap::new(),
            tracks: tracks::Watched::default(),
            schedule: Schedule::default(),
            announcer: Announcer::default(),
            out: Outbox::default(),
            touched: BTreeSet::new(),
            unsettled: BTreeSet::new(),
            listening: BTreeSet::new(),
            testament: Testament::default(),
            testament_is_stale: false,
            stopping: None,
            stray: BTreeMap::new(),
            stalls: 0,
            longest_stall: Duration::ZERO,
            next_id: 0,
        }
    }

    /// Takes what happened at `now`, and says what is to be done, in this order.
    pub fn handle(&mut self, now: Duration, event: Event<'_>) -> Vec<Effect> {
        if self.stopping == Some(Stopping::Done) {
            return Vec::new();
        }
        match event {
            Event::Tick => self.tick(now),
            Event::Stalled { gap } => self.stalled(now, gap),
            Event::Configure(settings) => self.configure(now, *settings),
            Event::Link(link) => self.link(now, link),
            Event::LinkGone { name } => self.link_gone(now, &name),
            Event::AddressLost { interface, address } => self.address_lost(now, interface, address),
            Event::Received(packet) => self.received(now, &packet),
            Event::Heartbeat { source, octets } => self.heartbeat(now, source, octets),
            Event::Bfd { source, ttl, octets } => self.bfd(now, source, ttl, octets),
            Event::GatewayAnswered { interface, address } => self.gateway_answered(now, interface, address),
            Event::Track { router, track, verdict } => self.track(&router, &track, verdict),
            Event::Ready(ready) => self.ready(ready),
            Event::Resign(name) => self.resign(now, name.as_deref()),
            Event::Resume(name) => self.resume(now, name.as_deref()),
            Event::Stop => self.stop(now),
            Event::Deposed => self.deposed(now),
        }
        self.settle(now);
        self.out.take()
    }

    /// When the next [`Event::Tick`] is due. A moment that has passed: at once.
    pub fn deadline(&self) -> Option<Duration> {
        if self.stopping == Some(Stopping::Done) {
            return None;
        }
        let stopping = self.stopping.as_ref().and_then(|stopping| stopping.deadline());
        let peer = self.peer.as_ref().map(|link| link.line.deadline());
        let own = [self.schedule.first(), self.announcer.deadline(), self.tracks.deadline(), stopping];
        let deadlines = own.into_iter().chain([peer, self.bfd.deadline()]);
        deadlines.flatten().min()
    }
}
