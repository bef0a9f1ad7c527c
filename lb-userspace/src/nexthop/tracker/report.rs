//! What has changed since the last report: the tracker's events, latest state only.

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::{Event, Tracker};
use crate::nexthop::{NextHop, Unresolved, resolve};

impl Tracker {
    /// The next change to report: interfaces gone, then interfaces, addresses, next hops.
    pub fn next_event(&mut self) -> Option<Event> {
        self.next_removal()
            .or_else(|| self.next_link())
            .or_else(|| self.next_addresses())
            .or_else(|| self.next_listed())
            .or_else(|| self.next_hop())
    }

    fn next_removal(&mut self) -> Option<Event> {
        let changed = self.links_changed.iter();
        let gone = changed
            .filter_map(|index| self.links_reported.get(index))
            .find(|reported| self.links.get(reported.index).is_none_or(|link| link.name != reported.name));
        let (index, name) = gone.map(|link| (link.index, link.name.clone()))?;
        self.links_reported.remove(&index);
        Some(Event::LinkRemoved { index, name })
    }

    fn next_link(&mut self) -> Option<Event> {
        while let Some(index) = self.links_changed.pop_first() {
            let Some(link) = self.links.get(index) else { continue };
            match self.links_reported.insert(index, link.clone()) {
                None => return Some(Event::LinkAppeared(link.clone())),
                Some(before) if before != *link => return Some(Event::LinkChanged(link.clone())),
                Some(_) => {}
            }
        }
        None
    }

    fn next_addresses(&mut self) -> Option<Event> {
        if !std::mem::take(&mut self.addresses_changed) {
            return None;
        }
        let addresses: BTreeSet<_> = self.addresses.iter().map(|(_, address)| *address).collect();
        if self.addresses_reported.as_ref() == Some(&addresses) {
            return None;
        }
        self.addresses_reported = Some(addresses.clone());
        Some(Event::LocalAddresses(addresses))
    }

    fn next_listed(&mut self) -> Option<Event> {
        let due = self.snapshot_taken && !self.listed;
        self.listed |= due;
        due.then_some(Event::Listed)
    }

    fn next_hop(&mut self) -> Option<Event> {
        while let Some(address) = self.hops_changed.pop_first() {
            let result = self.result(address);
            let Some(destination) = self.destinations.as_mut().and_then(|all| all.get_mut(&address)) else { continue };
            if destination.reported.as_ref() != Some(&result) {
                destination.reported = Some(result.clone());
                return Some(Event::NextHop { destination: address, result });
            }
        }
        None
    }

    fn result(&self, address: IpAddr) -> Result<NextHop, Unresolved> {
        let route = self.destination(&address).and_then(|destination| destination.route.as_ref());
        let (Some(route), Some(attached)) = (route, &self.attached) else {
            return Err(Unresolved::LookingUp { destination: address });
        };
        resolve(address, route, &self.links, &self.neighbours, attached)
    }
}
