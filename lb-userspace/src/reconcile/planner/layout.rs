//! What the rows and the service tables shall hold for the services in force, and the writes that make them so.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use lb_common::abi::{ALWAYS_LIVE, Reverse, Row, Service};

use super::Planner;
use crate::config::{Backend, Service as ServiceConfig};
use crate::reconcile::entries::{self, Place};
use crate::reconcile::half;
use crate::reconcile::image::Image;
use crate::reconcile::placed::{Placed, identity_of};
use crate::reconcile::plan::PlanError;
use crate::reconcile::rows::{RowIndex, RowOwner};
use crate::reconcile::write::Write;
use crate::scheduler::pool::PoolMember;

impl Planner {
    /// What the rows of a service shall hold.
    pub(super) fn rows_of(&self, placed: &Placed) -> Vec<(u32, Row)> {
        let members = self.tables.get(placed.table).pool.members();
        let backends = members.filter_map(|(identity, member)| Some((*member, placed.backend(identity)?)));
        let listeners = |(member, backend): (PoolMember, &Backend)| {
            let row = |listener| entries::row(backend, listener, self.hops.get(&backend.address), member.up);
            placed.rows.iter().map(|(at, &(first, _))| (first + u32::from(member.index), row(at))).collect::<Vec<_>>()
        };
        backends.flat_map(listeners).collect()
    }

    /// The writes that make rows what is wanted, whether or not packets may be reading them. Those that only say of a
    /// backend that it is dead are put into `dying`: they are due when no slot names it any more.
    pub(super) fn store_rows(
        &self,
        image: &Image,
        rows: impl IntoIterator<Item = (u32, Row)>,
        dying: &mut Vec<Write>,
    ) -> Vec<Write> {
        let mut writes = Vec::new();
        let mut moved = Vec::new();
        for (number, wanted) in rows {
            let mut present = image.rows[number as usize];
            let is_in_use = self.index.get(number).is_some();
            if is_in_use && present.state != wanted.state {
                let list = if wanted.state == 0 { &mut *dying } else { &mut writes };
                list.push(Write::RowState(number, wanted.state));
                present.state = wanted.state;
            }
            if present == wanted {
                continue;
            }
            if !is_in_use {
                writes.push(Write::Row(number, wanted));
            } else if (Row { mac_head: wanted.mac_head, ..present }) == wanted {
                writes.push(Write::RowMac(number, wanted.mac_head));
            } else if present == without_next_hop(wanted) {
                // Since a grace period at least no packet has read more of it than that there is none.
                writes.push(Write::Row(number, Row { mac_head: 0, ..wanted }));
                writes.push(Write::RowMac(number, wanted.mac_head));
            } else {
                writes.push(Write::RowMac(number, 0));
                moved.push((number, wanted));
            }
        }
        if !moved.is_empty() {
            // More than the MAC address changes: nothing may read the row while it does.
            writes.push(Write::Grace);
            for (number, wanted) in moved {
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
        let writes = half::publish(&image.root, &entries.0, &entries.1)?;
        self.published = entries;
        Some(writes.into())
    }

    fn entries(&self) -> (Vec<Service>, Vec<Reverse>) {
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
                let place = Place { first_slot: table.first_slot, first_row, pool: placed.pool, live, chooser, access };
                services.push(entries::service(&placed.config, listener, place, &self.seed));
                // A backend of which the table knows nothing has no row, and no signs are counted for it.
                let row = |backend: &Backend| {
                    let member = table.pool.member(&identity_of(backend));
                    member.map_or(u32::MAX, |member| first_row + u32::from(member.index))
                };
                let translate = |backend: &Backend| entries::reverse(backend, listener, row(backend), exclude, live);
                reverse.extend(placed.members().filter_map(translate));
                leaving.extend(placed.leaving.values().filter_map(translate));
            }
        }
        // A server that left one service and serves another is the other's; one that left both is whose it was last.
        let key = |entry: &Reverse| (entry.backend, entry.backend_port_wire, entry.protocol);
        let every_port: BTreeSet<_> = reverse.iter().map(key).filter(|&(_, port, _)| port == 0).collect();
        leaving.retain(|entry| !every_port.contains(&(entry.backend, 0, entry.protocol)));
        let present: BTreeMap<_, &Reverse> = self.published.1.iter().map(|entry| (key(entry), entry)).collect();
        let is_present = |entry: &Reverse| present.get(&key(entry)).is_some_and(|&it| translates_alike(it, entry));
        leaving.sort_by_key(|entry| !is_present(entry));
        let mut taken = BTreeSet::new();
        reverse.extend(leaving);
        reverse.retain(|entry| taken.insert(key(entry)));
        (services, reverse)
    }

    fn live_word(&self, service: &ServiceConfig) -> u32 {
        let index =
            |router: &String| self.live.get(router).expect("every router that a service names was given a word");
        service.vrrp.as_ref().map_or(ALWAYS_LIVE, index)
    }

    pub(super) fn no_perfect_hash(&self) -> PlanError {
        let (services, reverse) = self.entries();
        PlanError::NoPerfectHash { listeners: services.len(), translated: reverse.len() }
    }

    pub(super) fn row(&self, owner: &RowOwner) -> Option<Row> {
        let placed = self.services.get(&*owner.service)?;
        let backend = placed.backend(&owner.identity)?;
        let up = self.tables.get(placed.table).pool.member(&owner.identity)?.up;
        Some(entries::row(backend, &owner.listener, self.hops.get(&backend.address), up))
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

/// The row as it is while nobody knows how to reach the backend.
fn without_next_hop(row: Row) -> Row {
    Row { mac_head: 0, mac_tail: 0, interface: 0, tags_wire: [0; 2], ..row }
}
