//! What the rows and the service tables shall hold for the services in force, and the writes that make them so.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use lb_common::abi::{ALWAYS_LIVE, Reverse, Row, Service, Sources, Tunnel, method, reverse_flags};

use super::Planner;
use crate::config::{Backend, Forwarding, Listener, Service as ServiceConfig};
use crate::reconcile::entries::{self, Place, Recording};
use crate::reconcile::half;
use crate::reconcile::image::Image;
use crate::reconcile::placed::{Placed, identity_of};
use crate::reconcile::plan::PlanError;
use crate::reconcile::rows::{RowIndex, RowOwner};
use crate::reconcile::write::Write;
use crate::scheduler::pool::PoolMember;

/// What a row shall hold, and what its packets are put into.
pub(super) struct Wanted {
    row: Row,
    tunnel: Option<Tunnel>,
}

impl Planner {
    /// What the rows of a service shall hold.
    pub(super) fn rows_of(&self, placed: &Placed) -> Vec<(u32, Wanted)> {
        let members = self.tables.get(placed.table).pool.members();
        let backends = members.filter_map(|(identity, member)| Some((*member, placed.backend(identity)?)));
        let listeners = |(member, backend): (PoolMember, &Backend)| {
            let row = |listener| self.wanted(backend, listener, member.up);
            placed.rows.iter().map(|(at, &(first, _))| (first + u32::from(member.index), row(at))).collect::<Vec<_>>()
        };
        backends.flat_map(listeners).collect()
    }

    /// The writes that make rows what is wanted, whether or not packets may be reading them. Those that only say of a
    /// backend that it is dead are put into `dying`: they are due when no slot names it any more.
    pub(super) fn store_rows(
        &self,
        image: &Image,
        rows: impl IntoIterator<Item = (u32, Wanted)>,
        dying: &mut Vec<Write>,
    ) -> Vec<Write> {
        let mut writes = Vec::new();
        let mut moved = Vec::new();
        for (number, Wanted { row: wanted, tunnel }) in rows {
            let mut present = image.rows[number as usize];
            let is_in_use = self.index.get(number).is_some();
            let another = tunnel.filter(|tunnel| image.tunnels.get(&number) != Some(tunnel));
            if is_in_use && present.state != wanted.state {
                let list = if wanted.state == 0 { &mut *dying } else { &mut writes };
                list.push(Write::RowState(number, wanted.state));
                present.state = wanted.state;
            }
            if is_in_use && present.method != wanted.method && is_nat(present) && is_nat(wanted) {
                // Packets read no more and no less of it than before.
                writes.push(Write::RowMethod(number, wanted.method));
                present.method = wanted.method;
            }
            // A path's MTU changes under traffic, and nothing else with it.
            let is_known = present.mac_head != 0;
            let another = match (another, image.tunnels.get(&number)) {
                (Some(tunnel), Some(known)) if is_known && (Tunnel { room: tunnel.room, ..*known }) == tunnel => {
                    writes.push(Write::TunnelRoom(number, tunnel.room));
                    None
                }
                (another, _) => another,
            };
            if present == wanted && another.is_none() {
                continue;
            }
            if !is_in_use {
                writes.extend(another.map(|tunnel| Write::Tunnel(number, tunnel)));
                writes.push(Write::Row(number, wanted));
            } else if is_known && another.is_some() {
                writes.push(Write::RowMac(number, 0));
                moved.push((number, wanted, another));
            } else if (Row { mac_head: wanted.mac_head, ..present }) == wanted {
                writes.extend(another.map(|tunnel| Write::Tunnel(number, tunnel)));
                writes.push(Write::RowMac(number, wanted.mac_head));
            } else if present == without_next_hop(wanted) {
                // Since a grace period at least no packet has read more of it than that there is none.
                writes.extend(another.map(|tunnel| Write::Tunnel(number, tunnel)));
                writes.push(Write::Row(number, Row { mac_head: 0, ..wanted }));
                writes.push(Write::RowMac(number, wanted.mac_head));
            } else {
                writes.push(Write::RowMac(number, 0));
                moved.push((number, wanted, another));
            }
        }
        if !moved.is_empty() {
            // More than the MAC address changes: nothing may read the row while it does.
            writes.push(Write::Grace);
            for (number, wanted, another) in moved {
                writes.extend(another.map(|tunnel| Write::Tunnel(number, tunnel)));
                writes.push(Write::Row(number, Row { mac_head: 0, ..wanted }));
                writes.push(Write::RowMac(number, wanted.mac_head));
            }
        }
        writes
    }

    /// The writes that put the entries of all services in force, none if they are; `None` when they have no perfect hash.
    pub(super) fn publish(&mut self, image: &Image) -> Option<Vec<Write>> {
        let entries = self.entries();
        if entries == self.published {
            return Some(Vec::new());
        }
        let writes = half::publish(&image.root, &entries.0, &entries.1, &entries.2)?;
        self.published = entries;
        Some(writes.into())
    }

    fn entries(&self) -> (Vec<Service>, Vec<Reverse>, Sources) {
        let mut services = Vec::new();
        let mut reverse = Vec::new();
        let mut leaving = Vec::new();
        for placed in self.services.values() {
            let table = self.tables.get(placed.table);
            let exclude = if placed.config.nat_exclude.is_empty() { 0 } else { placed.pool };
            let live = self.live_word(&placed.config);
            for (listener, &(first_row, _)) in &placed.rows {
                let chooser = placed.seat.map(|seat| seat.chooser);
                let access = placed.access.map(|it| it.index);
                let (first_slot, pool, quic) = (table.first_slot, placed.pool, placed.quic);
                let place = Place { first_slot, first_row, pool, live, chooser, access, quic };
                services.push(entries::service(&placed.config, listener, place, &self.seed));
                // A backend of which the table knows nothing has no row, and no signs are counted for it.
                let row = |backend: &Backend| {
                    let member = table.pool.member(&identity_of(backend));
                    member.map_or(u32::MAX, |member| first_row + u32::from(member.index))
                };
                let translate = |backend: &Backend| {
                    let shared = self.sharing.holds(backend, listener);
                    entries::reverse(backend, listener, row(backend), exclude, live, shared)
                };
                reverse.extend(placed.members().filter_map(translate));
                leaving.extend(placed.leaving.values().filter_map(translate));
            }
        }
        reverse.append(&mut leaving);
        (services, self.one_for_each_server(reverse), self.sources)
    }

    /// What a reply becomes that has no record is one service's to say: that which said so before, else whose the server is now, and
    /// only then whose it was. The flows of all others have records.
    fn one_for_each_server(&self, mut all: Vec<Reverse>) -> Vec<Reverse> {
        let key = |entry: &Reverse| (entry.backend, entry.backend_port_wire, entry.protocol);
        let present: BTreeMap<_, &Reverse> = self.published.1.iter().map(|entry| (key(entry), entry)).collect();
        let is_present = |entry: &Reverse| present.get(&key(entry)).is_some_and(|&it| translates_alike(it, entry));
        let recorded_only = |entry: &Reverse| entry.flags & reverse_flags::RECORDED_ONLY != 0;
        let recorded: BTreeSet<_> =
            all.iter().filter(|entry| entry.flags & reverse_flags::RECORDED != 0).map(key).collect();
        // Ranges that begin with the same port share an entry: it has the ports of all of them.
        let mut last_ports = BTreeMap::new();
        for entry in &all {
            let last = last_ports.entry(key(entry)).or_insert(0);
            *last = entry.last_port.max(*last);
        }
        all.sort_by_key(|entry| (recorded_only(entry), !is_present(entry), u16::MAX - entry.last_port));
        let mut taken = BTreeSet::new();
        all.retain(|entry| taken.insert(key(entry)));
        for entry in &mut all {
            entry.last_port = last_ports[&key(entry)];
            if recorded.contains(&key(entry)) {
                entry.flags |= reverse_flags::RECORDED;
            }
        }
        // In an order of their own: what was published before must not look like something else.
        all.sort_by_key(key);
        all
    }

    fn live_word(&self, service: &ServiceConfig) -> u32 {
        let index =
            |router: &String| self.live.get(router).expect("every router that a service names was given a word");
        service.vrrp.as_ref().map_or(ALWAYS_LIVE, index)
    }

    pub(super) fn no_perfect_hash(&self) -> PlanError {
        let (services, reverse, _) = self.entries();
        PlanError::NoPerfectHash { listeners: services.len(), translated: reverse.len() }
    }

    fn wanted(&self, backend: &Backend, listener: &Listener, up: bool) -> Wanted {
        let hop = self.hops.get(&backend.address);
        let tunnel = entries::tunnel(backend, listener, hop, self.tunnel_sources);
        let shared = self.sharing.holds(backend, listener);
        let row = entries::row(backend, listener, hop, up, Recording { shared, own_client: self.own_client });
        match (backend.forwarding, tunnel) {
            // There is a way, but no address to send from.
            (Forwarding::Tunnel, None) if row.method == method::TUNNEL => Wanted { row: without_next_hop(row), tunnel },
            _ => Wanted { row, tunnel },
        }
    }

    pub(super) fn row(&self, owner: &RowOwner) -> Option<Wanted> {
        let placed = self.services.get(&*owner.service)?;
        let backend = placed.backend(&owner.identity)?;
        let up = self.tables.get(placed.table).pool.member(&owner.identity)?.up;
        Some(self.wanted(backend, &owner.listener, up))
    }

    pub(super) fn build_index(&self) -> RowIndex {
        let mut index = RowIndex::default();
        for (name, placed) in &self.services {
            let service: Arc<str> = name.as_str().into();
            let members: Vec<(Arc<str>, u16, &Backend)> = self
                .tables
                .get(placed.table)
                .pool
                .members()
                .filter_map(|(identity, member)| Some((identity.into(), member.index, placed.backend(identity)?)))
                .collect();
            for (listener, &(first, _)) in &placed.rows {
                for (identity, at, backend) in &members {
                    let owner = RowOwner { service: service.clone(), identity: identity.clone(), listener: *listener };
                    index.insert(first + u32::from(*at), owner, backend.address);
                }
            }
        }
        index
    }
}

/// Whether two entries of one backend give its replies the same source.
fn translates_alike(one: &Reverse, other: &Reverse) -> bool {
    (one.service, one.service_port_wire) == (other.service, other.service_port_wire)
}

/// Whether only the destination is rewritten.
fn is_nat(row: Row) -> bool {
    matches!(row.method, method::NAT | method::RECORDED_NAT | method::NAT_OR_OWN | method::RECORDED_NAT_OR_OWN)
}

/// The row as it is while nobody knows how to reach the backend.
fn without_next_hop(row: Row) -> Row {
    Row { mac_head: 0, mac_tail: 0, interface: 0, tags_wire: [0; 2], ..row }
}
