//! A node's kernel: what the engine's effects leave behind there. It outlives the daemon unless power fails.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use fairway::vrrp::effect::{Effect, Subscription, Testament};
use ipnet::IpNet;

use crate::fault::Fault;

#[derive(Default)]
pub struct Host {
    addresses: BTreeSet<(u32, IpNet)>,
    live: BTreeMap<u32, bool>,
    /// Routers whose routes are in place.
    routes: BTreeSet<String>,
    /// Interfaces that answer to a virtual MAC address.
    virtual_macs: BTreeSet<(u32, [u8; 6])>,
    listens: BTreeSet<Subscription>,
    pub testament: Testament,
    pub handed_over: bool,
}

impl Host {
    /// Carries out what concerns the host itself.
    pub fn perform(&mut self, effect: &Effect, fault: Fault) {
        match effect {
            Effect::Listen(subscriptions) => self.listens.clone_from(subscriptions),
            Effect::SetLive { index, live } => {
                if *live || fault != Fault::LiveWordStays {
                    self.live.insert(*index, *live);
                }
            }
            Effect::AddAddresses { interface, addresses } => {
                self.addresses.extend(addresses.iter().map(|address| (*interface, *address)));
            }
            Effect::RemoveAddresses { interface, addresses } => self.remove(*interface, addresses, fault),
            Effect::VirtualMac { interface, mac, addresses } if addresses.is_empty() => {
                self.virtual_macs.remove(&(*interface, *mac));
            }
            Effect::VirtualMac { interface, mac, .. } => _ = self.virtual_macs.insert((*interface, *mac)),
            Effect::Routes { router, present: true, .. } => _ = self.routes.insert(router.to_string()),
            Effect::Routes { router, present: false, .. } => _ = self.routes.remove(&**router),
            Effect::Testament(testament) => self.testament = testament.clone(),
            Effect::HandedOver => self.handed_over = true,
            Effect::Advertise(_)
            | Effect::Announce { .. }
            | Effect::Heartbeat { .. }
            | Effect::BfdSessions(_)
            | Effect::Bfd { .. }
            | Effect::ProbeGateway { .. }
            | Effect::Happened(_) => {}
        }
    }

    fn remove(&mut self, interface: u32, addresses: &[IpNet], fault: Fault) {
        if fault == Fault::KeepAddresses {
            return;
        }
        for address in addresses {
            self.addresses.remove(&(interface, *address));
        }
    }

    /// Somebody takes an address away: from which interface.
    pub fn lose(&mut self, address: &IpNet) -> Option<u32> {
        let (interface, _) = self.addresses.extract_if(.., |(_, held)| held == address).next()?;
        Some(interface)
    }

    /// What the supervisor does when the daemon died or hangs, apart from the farewells.
    pub fn release(&mut self) -> Testament {
        let testament = std::mem::take(&mut self.testament);
        for bequest in &testament.release {
            for address in &bequest.addresses {
                self.addresses.remove(address);
            }
            if let Some(live) = bequest.live {
                self.live.insert(live, false);
            }
        }
        testament
    }

    /// What goes with the process, whoever ends it: sockets, and the frames of virtual MAC addresses.
    pub fn lose_process(&mut self) {
        self.listens.clear();
        self.virtual_macs.clear();
        self.handed_over = false;
    }

    pub fn holds(&self, address: &IpNet) -> bool {
        self.addresses.iter().any(|(_, held)| held == address)
    }

    pub fn holds_any(&self) -> bool {
        !self.addresses.is_empty()
    }

    pub fn is_told_of(&self, address: IpAddr) -> bool {
        self.addresses.iter().any(|(_, held)| held.addr() == address)
    }

    pub fn has_routes_of(&self, router: &str) -> bool {
        self.routes.contains(router)
    }

    pub fn answers_to(&self, mac: [u8; 6]) -> bool {
        self.virtual_macs.iter().any(|(_, answered)| *answered == mac)
    }

    pub fn clear_live(&mut self, index: u32) {
        self.live.insert(index, false);
    }

    pub fn is_live(&self, index: u32) -> bool {
        self.live.get(&index).copied().unwrap_or(false)
    }

    pub fn hears(&self, interface: u32, is_ipv4: bool, multicast: bool) -> bool {
        let fits = |on: &Subscription| on.interface == interface && on.is_ipv4 == is_ipv4;
        self.listens.iter().any(|on| fits(on) && (on.multicast || !multicast))
    }
}
