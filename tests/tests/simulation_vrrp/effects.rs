//! What becomes of an engine's effects: the host's part, and what goes out to the network.

use std::net::IpAddr;
use std::rc::Rc;
use std::time::Duration;

use fairway::happening::Happening;
use fairway::vrrp::effect::{Advertise, Effect};
use fairway::vrrp::view::State;

use crate::fault::Fault;
use crate::network::{Lane, SLOW};
use crate::node::Packet;
use crate::scenario::{FIRST_INTERFACE, SEGMENTS, address, interface_index, path_address};
use crate::world::{Promise, What, World, tell};

/// Offsets in a VRRP message.
const VRID: usize = 1;
const PRIORITY: usize = 2;

/// How late sabotage lets an announcement out.
const HELD_BACK: Duration = Duration::from_millis(2);

impl World {
    pub fn perform(&mut self, node: usize, effects: Vec<Effect>) -> Promise {
        self.nodes[node].advertised.fill(false);
        for effect in effects {
            self.sabotage(node, &effect);
            self.nodes[node].host.perform(&effect, self.fault);
            match effect {
                Effect::Advertise(advertise) => self.advertise(node, &advertise)?,
                Effect::Announce { interface, mac, addresses } => self.announce(node, interface, mac, addresses)?,
                Effect::Heartbeat { to, octets } => self.beat(node, to, octets.into()),
                Effect::Happened(happening) => self.take_note(node, happening)?,
                Effect::AddAddresses { addresses, .. } | Effect::RemoveAddresses { addresses, .. } => {
                    for router in 0..self.scenario.routers.len() {
                        let concerned = self.scenario.routers[router].addresses.iter().any(|a| addresses.contains(a));
                        self.nodes[node].inherited[router] &= !concerned;
                        self.nodes[node].robbed[router] &= !concerned;
                    }
                }
                Effect::Listen(_)
                | Effect::SetLive { .. }
                | Effect::VirtualMac { .. }
                | Effect::Routes { .. }
                | Effect::BfdSessions(_)
                | Effect::Bfd { .. }
                | Effect::ProbeGateway { .. }
                | Effect::Testament(_)
                | Effect::HandedOver => {}
            }
        }
        Ok(())
    }

    /// Which router a message on an interface is about.
    pub fn router_of(&self, interface: u32, is_ipv4: bool, octets: &[u8]) -> Option<usize> {
        let vrid = *octets.get(VRID)?;
        self.scenario.routers.iter().position(|router| {
            router.vrid == vrid && router.is_ipv4 == is_ipv4 && interface_index(router.segment) == interface
        })
    }

    pub fn advertise(&mut self, node: usize, advertise: &Advertise) -> Promise {
        let router = self.router_of(advertise.interface, advertise.source.is_ipv4(), &advertise.payload);
        let Some(router) = router else { return Err(format!("n{node} advertises for no router of its own")) };
        let priority = advertise.payload[PRIORITY];
        self.judge_advertisement(node, router, priority)?;
        self.nodes[node].advertised[router] = true;
        if priority == 0 {
            tell!(self, "n{node} says priority 0 for {}", self.scenario.routers[router].name);
        }
        let since = self.nodes[node].since[router];
        if self.fault == Fault::FallSilent && self.nodes[node].is_master(router) && priority > 0 && self.now > since {
            return Ok(());
        }
        self.transmit(node, advertise);
        Ok(())
    }

    /// Puts an advertisement on its segment.
    pub fn transmit(&mut self, node: usize, advertise: &Advertise) {
        let Some(segment) = segment(advertise.interface) else { return };
        if !self.nodes[node].links[segment] {
            return;
        }
        let arrival = self.rng.up_to(self.scenario.delay);
        self.plan(arrival, What::Frame { mac: advertise.source_mac, node });
        let octets: Rc<[u8]> = advertise.payload.as_slice().into();
        for destination in &advertise.destinations {
            for to in (0..self.nodes.len()).filter(|to| *to != node) {
                let (source, destination, octets) = (advertise.source, *destination, octets.clone());
                if self.takes(to, segment, destination) {
                    let interface = advertise.interface;
                    self.send(Lane::Vrrp(segment), node, to, Packet::Vrrp { interface, source, destination, octets });
                }
            }
        }
    }

    /// Whether a node's sockets take packets to this destination.
    fn takes(&self, node: usize, segment: usize, destination: IpAddr) -> bool {
        let (interface, is_ipv4) = (interface_index(segment), destination.is_ipv4());
        let multicast = destination.is_multicast();
        let to_it = multicast || destination == address(segment, node, is_ipv4);
        to_it && self.nodes[node].host.hears(interface, is_ipv4, multicast)
    }

    fn send(&mut self, lane: Lane, from: usize, to: usize, packet: Packet) {
        if let Some(segment) = lane.segment()
            && !(self.nodes[from].links[segment] && self.nodes[to].links[segment])
        {
            return;
        }
        let way = (lane, from, to);
        if let Some(arrival) = self.network.carry(&mut self.rng, self.now, self.scenario.delay, way) {
            let boots = self.nodes[to].boots;
            self.plan(arrival - self.now, What::Packet { node: to, boots, packet });
        }
    }

    fn beat(&mut self, node: usize, to: IpAddr, octets: Rc<[u8]>) {
        let Some(peer) = &self.scenario.peer else { return };
        let other = 1 - node;
        let Some(path) = (0..peer.paths).find(|path| path_address(*path, other) == to) else { return };
        self.send(Lane::Path(path), node, other, Packet::Heartbeat { source: path_address(path, node), octets });
    }

    fn announce(&mut self, node: usize, interface: u32, mac: [u8; 6], addresses: Vec<IpAddr>) -> Promise {
        self.judge_announcement(node, &addresses)?;
        let Some(segment) = segment(interface) else { return Ok(()) };
        tell!(self, "n{node} announces {addresses:?}");
        let silenced = self.fault == Fault::AnnounceOnce && !self.is_first_announcement(node, &addresses);
        let chance = self.rng.percent(self.announcements_lost);
        if !self.nodes[node].links[segment] || silenced || self.client.loses(chance, &addresses) {
            return Ok(());
        }
        let longest = if self.announcements_slow { self.scenario.delay * SLOW } else { self.scenario.delay };
        let after = self.rng.up_to(longest);
        self.plan(after, What::Announced { mac, addresses, node });
        Ok(())
    }

    fn is_first_announcement(&self, node: usize, addresses: &[IpAddr]) -> bool {
        let routers = self.scenario.routers.iter().zip(&self.nodes[node].since);
        let mut of = routers.filter(|(router, _)| router.addresses.iter().any(|a| addresses.contains(&a.addr())));
        of.all(|(_, since)| self.now < *since + Duration::from_millis(5))
    }

    fn take_note(&mut self, node: usize, happening: Happening) -> Promise {
        match happening {
            Happening::Transition { router, from, to, reason, .. } => {
                tell!(self, "n{node} {router}: {from} -> {to} ({reason})");
                let at = self.scenario.routers.iter().position(|other| other.name == router);
                let router = at.ok_or_else(|| format!("n{node} has a router {router} that nobody configured"))?;
                self.change(node, router, to)?;
            }
            Happening::Peer { alive, reason } => {
                tell!(self, "n{node}: peer alive: {alive} ({reason})");
                self.nodes[node].hears_peer = alive;
            }
            Happening::PeerPath { .. } => {}
            other => tell!(self, "n{node}: {other:?}"),
        }
        Ok(())
    }

    /// A router's state on a node is another now.
    fn change(&mut self, node: usize, router: usize, to: State) -> Promise {
        if to == State::Master {
            self.judge_takeover(node, router)?;
            self.judge.serves(router, node, &self.scenario, &mut self.coverage);
        }
        let now = self.now;
        if self.nodes[node].is_master(router) {
            self.judge_stepping_back(node, router)?;
            self.review_departure(node, router, self.nodes[node].advertised[router]);
        }
        let changed = &mut self.nodes[node];
        if changed.states[router] == State::Master {
            changed.stepped_down[router] = now;
        }
        changed.states[router] = to;
        changed.since[router] = now;
        self.judge.last_change = now;
        self.review_router(router);
        Ok(())
    }

    /// What a fault does beside what the effect does.
    fn sabotage(&mut self, node: usize, effect: &Effect) {
        match (self.fault, effect) {
            (Fault::AnnounceLate, Effect::RemoveAddresses { addresses, .. }) => {
                let addresses = addresses.iter().map(|address| address.addr()).collect();
                let late = Effect::Announce { interface: FIRST_INTERFACE, mac: [2; 6], addresses };
                self.plan(HELD_BACK, What::Late { node, effect: late });
            }
            (Fault::LiveWordGoesAtOnce, Effect::RemoveAddresses { addresses, .. }) => {
                let left = self.scenario.routers.iter().filter(|router| addresses.contains(&router.addresses[0]));
                left.filter_map(|router| router.live).for_each(|live| self.nodes[node].host.clear_live(live));
            }
            (Fault::BreakBeforeMake, Effect::Advertise(advertise)) if advertise.payload[PRIORITY] == 0 => {
                self.nodes[node].host.release();
            }
            (_, _) => {}
        }
    }

    /// Whoever hears priority 0 may take over (RFC 9568 section 6.4.2), though it be from one of two masters.
    pub fn note_farewell(&mut self, node: usize, packet: &Packet) {
        let Packet::Vrrp { interface, source, octets, .. } = packet else { return };
        if octets.get(PRIORITY) == Some(&0)
            && let Some(router) = self.router_of(*interface, source.is_ipv4(), octets)
        {
            self.note_change(node, router);
        }
    }

    /// Whether a fault keeps this packet from the engine.
    pub fn is_censored(&self, node: usize, packet: &Packet) -> bool {
        let Packet::Vrrp { interface, source, octets, .. } = packet else { return false };
        match self.fault {
            Fault::IgnoreBetterMasters => {
                let Some(router) = self.router_of(*interface, source.is_ipv4(), octets) else { return false };
                self.nodes[node].is_master(router)
            }
            Fault::SkipPeerWait => self.scenario.has_peer(node) && !self.nodes[node].hears_peer,
            _ => false,
        }
    }
}

fn segment(interface: u32) -> Option<usize> {
    (0..SEGMENTS).find(|segment| interface_index(*segment) == interface)
}
