//! What the outside holds in a virtual router's name: live word, addresses, virtual MAC address, routes.
//!
//! It is not told step by step. What there should be follows from the state, what there is was noted, and the difference is
//! done: so no way out of master can forget a part, a reload changes what differs and nothing else, and an interface that
//! came back under another index is no special case.

use std::net::IpAddr;

use ipnet::IpNet;

use super::place::LOOPBACK;
use super::{Place, Router, virtual_mac};
use crate::config::{OnCrash, VirtualRoute, VirtualRouter, VirtualRule};
use crate::vrrp::effect::Effect;
use crate::vrrp::event::RouterSettings;
use crate::vrrp::outbox::Outbox;
use crate::vrrp::view::State;

/// What there is.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Footprint {
    /// What an earlier run may have left behind is there still.
    inherited: bool,
    /// Of what was left behind, the services are forwarded on.
    kept: bool,
    live: Option<u32>,
    holding: Option<Holding>,
}

/// What only a master has.
#[derive(Clone, Debug, PartialEq)]
struct Holding {
    /// Index of the interface that has the addresses.
    on: u32,
    addresses: Vec<IpNet>,
    virtual_mac: Option<VirtualMac>,
    routing: Routing,
}

#[derive(Clone, Debug, PartialEq)]
struct VirtualMac {
    interface: u32,
    mac: [u8; 6],
    addresses: Vec<IpAddr>,
}

#[derive(Clone, Debug, PartialEq)]
struct Routing {
    interface: u32,
    routes: Vec<VirtualRoute>,
    rules: Vec<VirtualRule>,
}

impl Footprint {
    /// Before the first look: an earlier run may have died as master.
    pub fn left_behind(settings: &RouterSettings) -> Self {
        Self { inherited: true, kept: false, live: settings.live, holding: None }
    }

    /// Whether what an earlier run may have left behind was not looked at yet.
    pub fn is_inherited(&self) -> bool {
        self.inherited
    }

    /// The addresses held, each with the index of its interface.
    pub fn addresses(&self) -> Vec<(u32, IpNet)> {
        let pairs = |holding: &Holding| holding.addresses.iter().map(|address| (holding.on, *address)).collect();
        self.holding.as_ref().map(pairs).unwrap_or_default()
    }

    /// Whether this address is held there.
    pub fn holds(&self, interface: u32, address: IpAddr) -> bool {
        let held = |holding: &Holding| holding.on == interface && holding.addresses.iter().any(|a| a.addr() == address);
        self.holding.as_ref().is_some_and(held)
    }

    /// Asks again for the addresses that are held, of which one was taken away.
    pub fn restore(&self, out: &mut Outbox) {
        if let Some(Holding { on, addresses, .. }) = &self.holding {
            out.push(Effect::AddAddresses { interface: *on, addresses: addresses.clone() });
        }
    }
}

impl Router {
    /// Makes the outside what it should be. Whether addresses came that must be announced.
    pub fn reconcile(&mut self, out: &mut Outbox) -> bool {
        if self.footprint.inherited && !self.take_stock() {
            self.keep(out);
            return false;
        }
        let wanted = self.wanted();
        let present = std::mem::replace(&mut self.footprint, wanted);
        change_live(present.live, self.footprint.live, out);
        change_holding(self, present.holding.as_ref(), self.footprint.holding.as_ref(), out)
    }

    /// What should be there.
    fn wanted(&self) -> Footprint {
        let is_master = self.state() == State::Master;
        let forwards = is_master || self.lingers_until.is_some();
        let place = self.place.as_ref().filter(|_| is_master);
        Footprint {
            inherited: false,
            kept: false,
            live: self.settings.live.filter(|_| forwards),
            holding: place.map(|place| holding(self.config(), place)),
        }
    }

    /// Addresses that survive a crash are no use without the services behind them: the live word of a new daemon's own map
    /// begins as 0.
    fn keep(&mut self, out: &mut Outbox) {
        if self.config().on_crash == OnCrash::Keep && !self.footprint.kept {
            self.footprint.kept = true;
            change_live(None, self.settings.live, out);
        }
    }

    /// Takes what an earlier run may have left for present, so that what should not be there is removed. Where addresses are
    /// to survive a crash, they stay until it is clear who is master. Whether the time has come.
    fn take_stock(&mut self) -> bool {
        let Some(place) = &self.place else { return false };
        let undecided = matches!(self.state(), State::Init | State::Backup) && self.master.is_none();
        if self.config().on_crash == OnCrash::Keep && undecided && !self.ended {
            return false;
        }
        let holding = holding(self.config(), place);
        // What is to be held anyway is asked for again: the virtual MAC address and its answers died with the process.
        let stale = self.state() != State::Master;
        self.footprint.live = self.settings.live.filter(|_| stale);
        self.footprint.holding = stale.then_some(Holding { virtual_mac: None, ..holding });
        true
    }

    /// Addresses that go with mastership, advertised or not.
    pub fn all_addresses(&self) -> Vec<IpAddr> {
        all(self.config()).map(|address| address.addr()).collect()
    }

    /// The MAC address that the addresses answer with.
    pub fn answering_mac(&self, place: &Place) -> [u8; 6] {
        if self.config().virtual_mac { virtual_mac(self.config()) } else { place.mac }
    }
}

fn all(config: &VirtualRouter) -> impl Iterator<Item = &IpNet> {
    config.addresses.iter().chain(&config.excluded_addresses)
}

fn holding(config: &VirtualRouter, place: &Place) -> Holding {
    // The owner's addresses are the interface's own, with its prefix: they are neither ours to add nor to remove.
    let is_ours = |address: &&IpNet| !place.own.iter().any(|own| own.addr() == address.addr() && own != *address);
    let mac = VirtualMac {
        interface: place.index,
        mac: virtual_mac(config),
        addresses: all(config).map(IpNet::addr).collect(),
    };
    Holding {
        on: if config.virtual_mac { LOOPBACK } else { place.index },
        addresses: all(config).filter(is_ours).copied().collect(),
        virtual_mac: config.virtual_mac.then_some(mac),
        routing: Routing { interface: place.index, routes: config.routes.clone(), rules: config.rules.clone() },
    }
}

fn change_live(present: Option<u32>, wanted: Option<u32>, out: &mut Outbox) {
    if present == wanted {
        return;
    }
    if let Some(index) = present {
        out.push(Effect::SetLive { index, live: false });
    }
    if let Some(index) = wanted {
        out.push(Effect::SetLive { index, live: true });
    }
}

fn change_holding(router: &Router, present: Option<&Holding>, wanted: Option<&Holding>, out: &mut Outbox) -> bool {
    let came = change_addresses(present, wanted, out);
    change_virtual_mac(
        present.and_then(|holding| holding.virtual_mac.as_ref()),
        wanted.and_then(|holding| holding.virtual_mac.as_ref()),
        out,
    );
    change_routing(router, present.map(|holding| &holding.routing), wanted.map(|holding| &holding.routing), out);
    came
}

/// Whether addresses came.
fn change_addresses(present: Option<&Holding>, wanted: Option<&Holding>, out: &mut Outbox) -> bool {
    let gone = missing(present, wanted);
    if let Some(holding) = present.filter(|_| !gone.is_empty()) {
        out.push(Effect::RemoveAddresses { interface: holding.on, addresses: gone });
    }
    let came = missing(wanted, present);
    let Some(holding) = wanted.filter(|_| !came.is_empty()) else { return false };
    out.push(Effect::AddAddresses { interface: holding.on, addresses: came });
    true
}

/// Addresses of one that the other does not have on the same interface.
fn missing(of: Option<&Holding>, other: Option<&Holding>) -> Vec<IpNet> {
    let Some(of) = of else { return Vec::new() };
    let theirs: &[IpNet] = other.filter(|other| other.on == of.on).map_or(&[], |other| &other.addresses);
    of.addresses.iter().filter(|address| !theirs.contains(address)).copied().collect()
}

fn change_virtual_mac(present: Option<&VirtualMac>, wanted: Option<&VirtualMac>, out: &mut Outbox) {
    if present == wanted {
        return;
    }
    let moves = |old: &&VirtualMac| wanted.is_none_or(|new| (new.interface, new.mac) != (old.interface, old.mac));
    if let Some(old) = present.filter(moves) {
        out.push(Effect::VirtualMac { interface: old.interface, mac: old.mac, addresses: Vec::new() });
    }
    if let Some(VirtualMac { interface, mac, addresses }) = wanted.cloned() {
        out.push(Effect::VirtualMac { interface, mac, addresses });
    }
}

fn change_routing(router: &Router, present: Option<&Routing>, wanted: Option<&Routing>, out: &mut Outbox) {
    if present == wanted {
        return;
    }
    let mut say = |routing: &Routing, present: bool| {
        let Routing { interface, routes, rules } = routing.clone();
        if !routes.is_empty() || !rules.is_empty() {
            out.push(Effect::Routes { router: router.name.clone(), interface, routes, rules, present });
        }
    };
    if let Some(old) = present {
        say(old, false);
    }
    if let Some(new) = wanted {
        say(new, true);
    }
}
