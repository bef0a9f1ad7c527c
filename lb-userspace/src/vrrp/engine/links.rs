//! Interfaces come, change and go.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use super::Engine;
use crate::vrrp::effect::{Effect, Subscription};
use crate::vrrp::event::Link;
use crate::vrrp::router::{Phase, Place};

impl Engine {
    /// An interface is there, or has changed.
    pub(super) fn link(&mut self, now: Duration, link: Link) {
        let name = link.name.clone();
        let before = self.links.insert(name.clone(), link);
        if before.as_ref() == self.links.get(&name) {
            return;
        }
        let moved = before.map(|before| before.index) != self.links.get(&name).map(|link| link.index);
        self.link_changed(now, &name, moved);
    }

    /// An interface is gone.
    pub(super) fn link_gone(&mut self, now: Duration, name: &str) {
        if self.links.remove(name).is_some() {
            self.link_changed(now, name, true);
        }
    }

    fn link_changed(&mut self, now: Duration, name: &str, moved: bool) {
        let held = self.held_on(name);
        for index in self.tracks.routers_on(name) {
            self.place(now, index, &held);
        }
        self.interface_verdicts(name);
        if moved {
            self.index_packets();
        }
    }

    /// Addresses that virtual routers hold on an interface: none of its own.
    pub(super) fn held_on(&self, name: &str) -> BTreeSet<IpAddr> {
        self.tracks.routers_on(name).iter().flat_map(|index| self.routers[*index].all_addresses()).collect()
    }

    /// Tells a router where it is.
    pub(super) fn place(&mut self, now: Duration, index: usize, held: &BTreeSet<IpAddr>) {
        let router = &self.routers[index];
        let link = self.link_of(&router.config().interface);
        let place = link.map(|link| Place::new(router.config(), link, held));
        let router = &mut self.routers[index];
        if router.place == place {
            return;
        }
        let before = std::mem::replace(&mut router.place, place);
        router.moved = true;
        self.bfd_is_stale = true;
        self.touched.insert(index);
        self.unsettled.insert(router.unit);
        let mac = |place: &Option<Place>| place.as_ref().map(|place| place.mac);
        if let Phase::Master(master) = &mut router.phase
            && mac(&before) != mac(&router.place)
        {
            master.announcements.restart(now);
        }
    }

    /// Which packet is for which router, and where to listen.
    pub(super) fn index_packets(&mut self) {
        self.by_packet.clear();
        let mut listening = BTreeSet::new();
        for (index, router) in self.routers.iter().enumerate() {
            let Some(place) = &router.place else { continue };
            let config = router.config();
            let is_ipv4 = config.is_ipv4();
            self.by_packet.insert((place.index, is_ipv4, config.vrid), index);
            let multicast = config.unicast_peers.is_empty();
            listening.insert(Subscription { interface: place.index, is_ipv4, multicast });
        }
        if self.listening != listening {
            self.listening.clone_from(&listening);
            self.out.push(Effect::Listen(listening));
        }
    }

    /// Somebody took an address away.
    pub(super) fn address_lost(&mut self, now: Duration, interface: u32, address: IpAddr) {
        let holds = |index: &usize| self.routers[*index].footprint.holds(interface, address);
        if let Some(index) = (0..self.routers.len()).find(holds) {
            self.touched.insert(index);
            self.routers[index].address_lost(now, &mut self.out);
        }
    }

    /// Name of an interface.
    pub(super) fn name_of(&self, interface: u32) -> Option<Arc<str>> {
        self.links.values().find(|link| link.index == interface).map(|link| link.name.clone())
    }
}
