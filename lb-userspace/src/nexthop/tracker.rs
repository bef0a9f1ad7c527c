//! Keeps the frame for every wanted destination up to date, by asking the kernel as little as possible.
//!
//! It is told what the kernel announces and what the controller wants; it says what to ask ([`Tracker::next_route`],
//! [`Tracker::next_upkeep`]) and what has changed ([`Tracker::next_event`]). Changes are held as sets of what differs
//! from the last report, not as a queue: a slow reader gets the latest state, and memory is bounded by what exists.
//! Routes are asked again only where a change can matter to them. It reads no clock: the shell calls
//! [`Tracker::tick`] once a second.

mod report;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{
    Link, Links, Neighbour, NeighbourKey, Neighbours, NextHop, Reachability, RouteAnswer, Unresolved, Way, find_way,
};

/// Every so many ticks all routes are asked again, because the kernel does not announce every change of its mind
/// (IPv4 routes that go with their interface, learned path MTUs that expire).
const REFRESH_TICKS: u64 = 30;
/// Where the kernel cannot manage entries (before 5.16), each neighbour is probed every so many ticks: the interval
/// managed entries have by default (`interval_probe_time_ms`).
const PROBE_TICKS: u64 = 5;

/// What the kernel announces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Observation {
    /// An interface is new or changed.
    Link(Link),
    /// An interface is gone.
    LinkGone(u32),
    /// A neighbour entry is new or changed.
    Neighbour(NeighbourKey, Neighbour),
    /// The kernel dropped a neighbour entry.
    NeighbourGone(NeighbourKey),
    /// This host has the address, on the interface with this index.
    Address(u32, IpAddr),
    /// It has it there no more.
    AddressGone(u32, IpAddr),
    /// A route to this prefix came, went or changed.
    Route(IpAddr, u8),
    /// Routing changed in a way that can concern any destination (rules, next-hop objects).
    Routing,
}

/// Everything the kernel holds at one moment: the start, and after announcements were lost.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    /// All interfaces.
    pub links: Links,
    /// All neighbour entries of IPv4 and IPv6.
    pub neighbours: Vec<(NeighbourKey, Neighbour)>,
    /// All local addresses, with the interface they are on.
    pub addresses: BTreeSet<(u32, IpAddr)>,
}

/// What is to be done to a neighbour entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Upkeep {
    /// Have the kernel keep it fresh.
    Manage(NeighbourKey),
    /// Have the kernel ask for it now.
    Probe {
        /// The neighbour.
        key: NeighbourKey,
        /// It is managed, and is to stay so.
        managed: bool,
    },
    /// Remove it: it is ours and nobody wants it any more.
    Release(NeighbourKey),
}

/// What the controller and the attacher are told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// An interface exists that did not before, or under this name.
    LinkAppeared(Link),
    /// An interface changed: up or down, MTU, MAC address, master.
    LinkChanged(Link),
    /// An interface is gone, or has another name now.
    LinkRemoved {
        /// Its index.
        index: u32,
        /// The name it had.
        name: String,
    },
    /// The addresses of this host.
    LocalAddresses(BTreeSet<IpAddr>),
    /// All interfaces and addresses that existed at the start have been reported. Sent once.
    Listed,
    /// The frame for a wanted destination, or why there is none, is new.
    NextHop {
        /// The destination.
        destination: IpAddr,
        /// The answer.
        result: Result<NextHop, Unresolved>,
    },
}

#[derive(Debug, Default)]
struct Destination {
    route: Option<RouteAnswer>,
    neighbour: Option<NeighbourKey>,
    reported: Option<Result<NextHop, Unresolved>>,
}

/// See the module's description.
#[derive(Debug, Default)]
pub struct Tracker {
    links: Links,
    neighbours: Neighbours,
    addresses: BTreeSet<(u32, IpAddr)>,
    attached: Option<BTreeSet<u32>>,
    destinations: Option<BTreeMap<IpAddr, Destination>>,

    /// Neighbours that complete a frame, with the destinations behind each.
    needed: BTreeMap<NeighbourKey, BTreeSet<IpAddr>>,
    /// Destinations whose route must be asked for, and those being asked for now.
    stale: BTreeSet<IpAddr>,
    asking: BTreeSet<IpAddr>,
    /// Destinations the kernel could not be asked about: again with the next tick.
    failed: BTreeSet<IpAddr>,
    /// Neighbours to look after, and those looked after since the last tick.
    attention: BTreeSet<NeighbourKey>,
    attended: BTreeSet<NeighbourKey>,
    /// Set once the kernel has refused to manage an entry.
    unmanaged: bool,
    ticks: u64,

    links_changed: BTreeSet<u32>,
    links_reported: BTreeMap<u32, Link>,
    addresses_reported: Option<BTreeSet<IpAddr>>,
    addresses_changed: bool,
    snapshot_taken: bool,
    listed: bool,
    hops_changed: BTreeSet<IpAddr>,
}

impl Tracker {
    /// From now on these destinations are wanted, and no others.
    pub fn set_wanted(&mut self, wanted: &BTreeSet<IpAddr>) {
        let mut before = self.destinations.take().unwrap_or_default();
        self.destinations =
            Some(wanted.iter().map(|address| (*address, before.remove(address).unwrap_or_default())).collect());
        for address in before.keys() {
            self.stale.remove(address);
            self.hops_changed.remove(address);
        }
        for address in wanted {
            if self.destination(address).is_some_and(|destination| destination.route.is_none()) {
                self.stale.insert(*address);
                self.hops_changed.insert(*address);
            }
        }
        self.find_ways();
    }

    /// From now on an XDP program is attached to the interfaces with these indices, and to no others.
    pub fn set_attached(&mut self, attached: BTreeSet<u32>) {
        if self.attached.as_ref() != Some(&attached) {
            self.attached = Some(attached);
            self.find_ways();
            self.all_hops_changed();
        }
    }

    /// Takes in what the kernel announced.
    pub fn observe(&mut self, observation: Observation) {
        match observation {
            Observation::Link(link) => {
                let index = link.index;
                if self.links.put(link) {
                    self.link_changed(index);
                }
            }
            Observation::LinkGone(index) => {
                if self.links.remove(index) {
                    self.link_changed(index);
                }
            }
            Observation::Neighbour(key, neighbour) => {
                if self.neighbours.announced(key, neighbour) {
                    self.neighbour_changed(&key);
                }
                self.attention.insert(key);
            }
            Observation::NeighbourGone(key) => {
                self.neighbours.dropped(&key);
                self.forget_neighbours();
                self.attention.insert(key);
            }
            Observation::Address(interface, address) => {
                self.addresses_changed |= self.addresses.insert((interface, address));
            }
            Observation::AddressGone(interface, address) => {
                self.addresses_changed |= self.addresses.remove(&(interface, address));
            }
            Observation::Route(prefix, length) => self.routes_changed_within(prefix, length),
            Observation::Routing => self.all_routes_stale(),
        }
    }

    /// Replaces all that was observed before.
    pub fn resynchronise(&mut self, snapshot: Snapshot) {
        self.links_changed.extend(self.links.iter().chain(snapshot.links.iter()).map(|link| link.index));
        self.links = snapshot.links;
        self.addresses = snapshot.addresses;
        self.addresses_changed = true;
        let present: BTreeSet<_> = snapshot.neighbours.iter().map(|(key, _)| *key).collect();
        let gone: Vec<_> = self.neighbours.iter().map(|(key, _)| *key).filter(|key| !present.contains(key)).collect();
        for key in gone {
            self.neighbours.dropped(&key);
        }
        for (key, neighbour) in snapshot.neighbours {
            self.neighbours.found(key, neighbour);
            self.attention.insert(key);
        }
        self.snapshot_taken = true;
        self.all_routes_stale();
        self.find_ways();
        self.all_hops_changed();
    }

    /// The kernel's answer for a destination that [`Tracker::next_route`] gave out.
    pub fn route_answered(&mut self, address: IpAddr, answer: RouteAnswer) {
        self.asking.remove(&address);
        let Some(destination) = self.destinations.as_mut().and_then(|all| all.get_mut(&address)) else { return };
        if matches!(answer, RouteAnswer::Failed(_)) {
            self.failed.insert(address);
            if destination.route.is_some() {
                // Better the last answer than none.
                return;
            }
        }
        if destination.route.as_ref() != Some(&answer) {
            destination.route = Some(answer);
            self.find_way_of(address);
            self.hops_changed.insert(address);
        }
    }

    /// The kernel does not know managed entries: from now on neighbours are probed.
    pub fn management_refused(&mut self) {
        self.unmanaged = true;
        self.attend_all();
    }

    /// A second has passed.
    pub fn tick(&mut self) {
        self.ticks += 1;
        if self.ticks.is_multiple_of(REFRESH_TICKS) {
            self.all_routes_stale();
        }
        let mut failed = std::mem::take(&mut self.failed);
        failed.retain(|address| self.destination(address).is_some());
        self.stale.append(&mut failed);
        self.attended.clear();
        self.attend_all();
    }

    /// Whether some route is to be asked for that is not being asked for already.
    pub fn has_stale_routes(&self) -> bool {
        self.stale.iter().any(|address| !self.asking.contains(address))
    }

    /// The next destination to ask the kernel about. Answer with [`Tracker::route_answered`].
    pub fn next_route(&mut self) -> Option<IpAddr> {
        let address = *self.stale.iter().find(|address| !self.asking.contains(address))?;
        self.stale.remove(&address);
        self.asking.insert(address);
        Some(address)
    }

    /// The next thing to do to a neighbour entry.
    pub fn next_upkeep(&mut self) -> Option<Upkeep> {
        while let Some(key) = self.attention.pop_first() {
            if self.attended.contains(&key) {
                continue;
            }
            if let Some(upkeep) = self.upkeep(&key) {
                self.attended.insert(key);
                return Some(upkeep);
            }
        }
        None
    }

    /// The neighbour entries to remove before leaving for good.
    pub fn releases(&self) -> Vec<NeighbourKey> {
        self.neighbours.iter().filter(|(_, entry)| entry.managed && entry.ours).map(|(key, _)| *key).collect()
    }
}

/// Consequences of an observation.
impl Tracker {
    fn destination(&self, address: &IpAddr) -> Option<&Destination> {
        self.destinations.as_ref()?.get(address)
    }

    fn wanted(&self) -> Vec<IpAddr> {
        self.destinations.iter().flat_map(BTreeMap::keys).copied().collect()
    }

    /// The kernel takes IPv4 routes away with their interface without announcing it, hence new questions.
    fn link_changed(&mut self, index: u32) {
        self.links_changed.insert(index);
        for address in self.destinations_over(index) {
            self.find_way_of(address);
            self.stale.insert(address);
            self.hops_changed.insert(address);
        }
    }

    fn destinations_over(&self, index: u32) -> Vec<IpAddr> {
        let over = |destination: &Destination| match destination.route {
            Some(RouteAnswer::Unicast { interface, .. }) => self.links.stands_on(interface, index),
            Some(_) | None => false,
        };
        let all = self.destinations.iter().flatten();
        all.filter(|(_, destination)| over(destination)).map(|(address, _)| *address).collect()
    }

    fn neighbour_changed(&mut self, key: &NeighbourKey) {
        if let Some(behind) = self.needed.get(key) {
            self.hops_changed.extend(behind);
        }
    }

    fn all_hops_changed(&mut self) {
        self.hops_changed.extend(self.destinations.iter().flat_map(BTreeMap::keys));
    }

    fn all_routes_stale(&mut self) {
        self.stale.extend(self.destinations.iter().flat_map(BTreeMap::keys));
    }

    /// A full table's churn elsewhere in the address space costs one range look-up.
    fn routes_changed_within(&mut self, prefix: IpAddr, length: u8) {
        let (first, last) = bounds(prefix, length);
        if let Some(destinations) = &self.destinations {
            self.stale.extend(destinations.range(first..=last).map(|(address, _)| *address));
        }
    }

    fn find_ways(&mut self) {
        for address in self.wanted() {
            self.find_way_of(address);
        }
        let destinations = self.destinations.as_ref();
        self.needed.retain(|_, behind| {
            behind.retain(|address| destinations.is_some_and(|all| all.contains_key(address)));
            !behind.is_empty()
        });
        self.forget_neighbours();
        self.attend_all();
    }

    /// Notes which neighbour the destination needs now.
    fn find_way_of(&mut self, address: IpAddr) {
        let empty = BTreeSet::new();
        let attached = self.attached.as_ref().unwrap_or(&empty);
        let Some(destination) = self.destinations.as_mut().and_then(|all| all.get_mut(&address)) else { return };
        let way = destination.route.as_ref().map(|route| find_way(address, route, &self.links, attached));
        let key = match way {
            Some(Ok(Way::Path(path))) => Some(path.neighbour),
            Some(Ok(Way::Local) | Err(_)) | None => None,
        };
        let before = std::mem::replace(&mut destination.neighbour, key);
        if before == key {
            return;
        }
        if let Some(before) = before {
            if let Some(behind) = self.needed.get_mut(&before) {
                behind.remove(&address);
                if behind.is_empty() {
                    self.needed.remove(&before);
                }
            }
            self.attention.insert(before);
        }
        if let Some(key) = key {
            self.needed.entry(key).or_default().insert(address);
            self.attention.insert(key);
        }
    }

    fn forget_neighbours(&mut self) {
        let needed = &self.needed;
        self.neighbours.forget(|key| needed.contains_key(key));
    }
}

/// Looking after neighbours.
impl Tracker {
    fn attend_all(&mut self) {
        self.attention.extend(self.needed.keys());
        self.attention.extend(self.neighbours.iter().filter(|(_, entry)| entry.ours).map(|(key, _)| *key));
    }

    fn upkeep(&self, key: &NeighbourKey) -> Option<Upkeep> {
        let entry = self.neighbours.get(key).filter(|entry| entry.present);
        if !self.needed.contains_key(key) {
            let ours = entry.is_some_and(|entry| entry.managed && entry.ours);
            return (ours && self.knows_its_wishes()).then_some(Upkeep::Release(*key));
        }
        match entry.map(|entry| (entry.reachability, entry.managed)) {
            Some((Reachability::Fixed(_), _)) => None,
            // The kernel asks a silent neighbour again every five seconds; a backend that is back should not wait.
            Some((Reachability::Silent, true)) => Some(Upkeep::Probe { key: *key, managed: true }),
            Some((Reachability::Known(_) | Reachability::Asking, true)) => None,
            Some((Reachability::Known(_), false)) if self.unmanaged => {
                self.ticks.is_multiple_of(PROBE_TICKS).then_some(Upkeep::Probe { key: *key, managed: false })
            }
            Some((_, false)) | None if self.unmanaged => Some(Upkeep::Probe { key: *key, managed: false }),
            Some((_, false)) | None => Some(Upkeep::Manage(*key)),
        }
    }

    /// A restarted daemon adopts the entries of its predecessor. Until it has been told what it wants, it must not
    /// take them for abandoned.
    fn knows_its_wishes(&self) -> bool {
        let answered = |destination: &Destination| destination.route.is_some();
        self.attached.is_some() && self.destinations.as_ref().is_some_and(|all| all.values().all(answered))
    }
}

/// First and last address of a prefix.
fn bounds(prefix: IpAddr, length: u8) -> (IpAddr, IpAddr) {
    match prefix {
        IpAddr::V4(prefix) => {
            let host = u32::MAX.checked_shr(length.into()).unwrap_or(0);
            let first = prefix.to_bits() & !host;
            (Ipv4Addr::from_bits(first).into(), Ipv4Addr::from_bits(first | host).into())
        }
        IpAddr::V6(prefix) => {
            let host = u128::MAX.checked_shr(length.into()).unwrap_or(0);
            let first = prefix.to_bits() & !host;
            (Ipv6Addr::from_bits(first).into(), Ipv6Addr::from_bits(first | host).into())
        }
    }
}
