//! What the engine wants done, done: one method for each effect, in terms of the rooms beside this one.
//!
//! Nothing here waits or decides. What fails is counted, and told where it persists; none of it is fatal.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{IpAddr, Ipv4Addr};

use ipnet::IpNet;

use super::advertisements::Advertisements;
use super::clerk::{Clerk, Done};
use super::companions::Companions;
use super::frames::{self, Mac, Said};
use super::link_layer::{Listener, Purpose, Transmitter};
use super::orders::{self, Kernel, Order, Refused};
use super::troubles::Troubles;
use super::virtual_mac::VirtualMacs;
use super::watch::Watch;
use crate::config::{VirtualRoute, VirtualRule};
use crate::vrrp::effect::Advertise;

/// Gateways that are being asked at a time.
const MOST_GATEWAYS: usize = 256;
/// Where the priority is in an advertisement of any version (RFC 9568 section 5.1, RFC 3768 section 5.1).
const PRIORITY_OCTET: usize = 2;
/// What is attempted when the kernel's announcements are read.
pub const FOLLOW: &str = "follow the kernel's interfaces";
/// The loopback interface's index in every network namespace.
pub const LOOPBACK: u32 = 1;

/// The rooms.
pub struct Hands {
    /// Frames out.
    pub transmitter: Transmitter,
    /// VRRP in, and unicast out.
    pub advertisements: Advertisements,
    /// Heartbeats and BFD.
    pub companions: Companions,
    /// Interfaces and addresses.
    pub watch: Watch,
    /// ARP and neighbour messages in; opened when something needs them.
    pub listener: Option<Listener>,
    /// What went wrong.
    pub troubles: Troubles,
    clerk: Clerk,
    virtual_macs: VirtualMacs,
    held: BTreeMap<(u32, IpAddr), IpNet>,
    /// Of those held, the ones that the kernel said are gone, until a list decides.
    suspects: BTreeSet<(u32, IpAddr)>,
    /// Those found to be gone, until they are told.
    lost: Vec<(u32, IpAddr)>,
    gateways: BTreeSet<(u32, IpAddr)>,
}

impl Hands {
    /// Opens what every virtual router needs, in the calling thread's network namespace.
    ///
    /// # Errors
    /// Without CAP_NET_RAW, or without netlink.
    pub fn open() -> io::Result<Self> {
        Ok(Self {
            transmitter: Transmitter::open()?,
            advertisements: Advertisements::default(),
            companions: Companions::default(),
            watch: Watch::start()?,
            listener: None,
            troubles: Troubles::default(),
            clerk: Clerk::employ(Kernel::connect()?)?,
            virtual_macs: VirtualMacs::default(),
            held: BTreeMap::new(),
            suspects: BTreeSet::new(),
            lost: Vec::new(),
            gateways: BTreeSet::new(),
        })
    }

    /// Sends an advertisement: as a frame to the group, by the host's routing to unicast peers.
    pub fn advertise(&mut self, advertise: &Advertise) {
        for destination in &advertise.destinations {
            let outcome = if destination.is_multicast() {
                self.advertise_to_group(advertise, *destination)
            } else {
                self.advertisements.send(advertise, *destination)
            };
            if let Err(error) = outcome {
                self.troubles.count("send an advertisement", &error);
            }
        }
    }

    fn advertise_to_group(&mut self, advertise: &Advertise, group: IpAddr) -> io::Result<()> {
        if self.watch.mac(advertise.interface).is_none() {
            return self.advertisements.send(advertise, group);
        }
        let frame = frames::advertisement(advertise.source_mac, advertise.source, group, &advertise.payload)
            .ok_or(io::ErrorKind::InvalidInput)?;
        let is_farewell = advertise.payload.get(PRIORITY_OCTET) == Some(&0);
        let purpose = if is_farewell { Purpose::Lasting } else { Purpose::AsMaster };
        match self.transmitter.send(advertise.interface, frame, purpose, &mut self.troubles) {
            // A hundred IPv6 addresses and more do not fit a frame: the kernel cuts it up, with the interface's MAC.
            Err(error) if error.raw_os_error() == Some(libc::EMSGSIZE) => self.advertisements.send(advertise, group),
            other => other,
        }
    }

    /// Holds addresses.
    pub fn add_addresses(&mut self, interface: u32, addresses: &[IpNet]) {
        self.held.extend(addresses.iter().map(|address| ((interface, address.addr()), *address)));
        self.order(addresses.iter().map(|address| orders::add_address(interface, *address)).collect());
    }

    /// Holds them no longer. What waits to be announced is forgotten first.
    pub fn remove_addresses(&mut self, interface: u32, addresses: &[IpNet]) {
        self.transmitter.forget_claims();
        for address in addresses {
            self.held.remove(&(interface, address.addr()));
            self.suspects.remove(&(interface, address.addr()));
        }
        self.order(addresses.iter().map(|address| orders::remove_address(interface, *address)).collect());
    }

    /// Whether we hold it.
    pub fn holds(&self, interface: u32, address: IpAddr) -> bool {
        self.held.contains_key(&(interface, address))
    }

    /// Addresses that we hold and that somebody has taken away; each is told once, and held no more.
    ///
    /// That the kernel announces that one is gone raises a suspicion, and no more: it may be back by an order of ours, of
    /// which the kernel tells later (IPv6), or which is not carried out yet. A list that is made after all orders decides.
    pub fn take_lost(&mut self) -> Vec<(u32, IpAddr)> {
        let held = &self.held;
        let suspects: Vec<(u32, IpAddr)> =
            self.watch.take_gone().into_iter().filter(|it| held.contains_key(it)).collect();
        if !suspects.is_empty() {
            self.suspects.extend(suspects);
            let done = self.clerk.list();
            self.note_all(done);
        }
        std::mem::take(&mut self.lost)
    }

    /// Tells the link where addresses are.
    pub fn announce(&mut self, interface: u32, mac: Mac, addresses: &[IpAddr]) {
        if self.watch.mac(interface).is_none() {
            return; // not Ethernet: there is nobody to tell
        }
        for address in addresses {
            for frame in frames::announcements(mac, *address) {
                let outcome = self.transmitter.send(interface, frame, Purpose::AsMaster, &mut self.troubles);
                if let Err(error) = outcome {
                    self.troubles.count("announce an address", &error);
                }
            }
        }
    }

    /// Answers to a virtual MAC address for these addresses, or stops it.
    pub fn set_virtual_mac(&mut self, interface: u32, mac: Mac, addresses: &[IpAddr]) {
        let Some(name) = self.watch.name(interface) else { return };
        if !addresses.is_empty() {
            self.listen();
        }
        self.virtual_macs.set((interface, &name), mac, addresses, &mut self.troubles);
    }

    /// Routes and rules, there or away.
    pub fn set_routes(&mut self, interface: u32, routes: &[VirtualRoute], rules: &[VirtualRule], present: bool) {
        let mut orders = Vec::new();
        for route in routes {
            let named = route.interface.as_deref().map(|name| (name, self.watch.index(name)));
            match named {
                Some((name, None)) => {
                    let missing = io::Error::from_raw_os_error(libc::ENODEV);
                    self.troubles.count(&format!("find interface {name} for a route"), &missing);
                }
                Some((_, Some(index))) => orders.extend(orders::route(index, route, present)),
                None => orders.extend(orders::route(interface, route, present)),
            }
        }
        orders.extend(rules.iter().map(|rule| orders::rule(rule, present)));
        self.order(orders);
    }

    /// Asks a gateway for its MAC address.
    pub fn probe_gateway(&mut self, interface: u32, address: IpAddr) {
        self.listen();
        if self.gateways.len() < MOST_GATEWAYS {
            self.gateways.insert((interface, address));
        }
        let held = &self.held;
        let source = self.watch.source_for(interface, address, |own| held.contains_key(&(interface, own)));
        // Without an address of its own an IPv4 host may ask all the same (RFC 5227 section 1.1); an IPv6 host may not.
        let source = source.or_else(|| address.is_ipv4().then_some(Ipv4Addr::UNSPECIFIED.into()));
        let frame =
            self.watch.mac(interface).zip(source).and_then(|(mac, source)| frames::question(mac, source, address));
        let outcome = match frame {
            Some(frame) => self.transmitter.send(interface, frame, Purpose::Lasting, &mut self.troubles),
            None => Err(io::Error::from_raw_os_error(libc::EADDRNOTAVAIL)),
        };
        if let Err(error) = outcome {
            self.troubles.count("ask a gateway", &error);
        }
    }

    /// What was said on a link: answered where it asks for an address with a virtual MAC; a gateway that was asked and
    /// has spoken is returned.
    pub fn hear(&mut self, interface: u32, sender: Mac, said: &Said) -> Option<(u32, IpAddr)> {
        if let Some(frame) = self.virtual_macs.answer(interface, sender, said)
            && let Err(error) = self.transmitter.send(interface, frame, Purpose::AsMaster, &mut self.troubles)
        {
            self.troubles.count("answer for a virtual MAC address", &error);
        }
        let speaker = match said {
            Said::Arp(arp) if arp.is_reply => IpAddr::V4(arp.sender),
            Said::Neighbour(neighbour) if neighbour.is_advertisement => IpAddr::V6(neighbour.target),
            Said::Arp(_) | Said::Neighbour(_) => return None,
        };
        self.gateways.contains(&(interface, speaker)).then_some((interface, speaker))
    }

    /// Another attempt at what could not be opened.
    pub fn mend(&mut self) {
        self.advertisements.mend(&mut self.troubles);
        self.companions.mend(&mut self.troubles);
    }

    /// An interface is back, or another bears its name.
    pub fn link_is_back(&mut self, interface: u32) {
        self.advertisements.rejoin(interface, &mut self.troubles);
    }

    fn listen(&mut self) {
        if self.listener.is_some() {
            return;
        }
        const WHAT: &str = "listen for ARP and neighbour messages";
        match Listener::open() {
            Ok(listener) => {
                self.troubles.over(WHAT);
                self.listener = Some(listener);
            }
            Err(error) => self.troubles.tell(WHAT, &error, "CAP_NET_RAW is needed"),
        }
    }

    /// Takes note of what has been carried out since. Whether addresses turned out to be lost.
    pub fn note_orders(&mut self) -> bool {
        let done = self.clerk.done();
        self.note_all(done);
        !self.lost.is_empty()
    }

    fn order(&mut self, orders: Vec<Order>) {
        let done = self.clerk.carry_out(orders);
        self.note_all(done);
    }

    fn note_all(&mut self, all: Vec<Done>) {
        for done in all {
            match done {
                Done::Orders { orders, refused } => self.note(&orders, &refused),
                Done::Listed(Ok(there)) => self.judge(&there),
                Done::Listed(Err(error)) => {
                    self.suspects.clear();
                    self.troubles.count(FOLLOW, &error);
                }
            }
        }
    }

    fn note(&mut self, orders: &[Order], refused: &[Refused]) {
        let by_name: BTreeSet<&str> = refused.iter().map(|refusal| refusal.what.as_str()).collect();
        for order in orders {
            if !by_name.contains(order.what.as_str()) {
                self.troubles.over(&order.what);
            } else if let Some(added) = &order.adds {
                self.held.remove(added);
            }
        }
        for refusal in refused {
            self.troubles.tell(&refusal.what, &refusal.error, advice(&refusal.error));
        }
    }

    fn judge(&mut self, there: &BTreeSet<(u32, IpAddr)>) {
        for suspect in std::mem::take(&mut self.suspects) {
            if !there.contains(&suspect) && self.held.remove(&suspect).is_some() {
                self.lost.push(suspect);
            }
        }
    }
}

fn advice(error: &io::Error) -> &'static str {
    match error.raw_os_error() {
        Some(libc::EPERM) => "CAP_NET_ADMIN is needed",
        Some(libc::EEXIST) => "somebody else's is there already: remove it, or give ours another metric",
        _ => "",
    }
}
