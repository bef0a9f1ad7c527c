//! From a configuration to the writes that put it in force: which service uses which lookup table, where its rows lie,
//! and what must be stored in which order.
//!
//! Nothing here touches a map. [`Planner::configure`] works on a copy of itself and keeps it only if the whole plan could be
//! made, so a configuration that does not fit changes nothing. Order of a plan:
//!
//! 1. tables and rows that no packet can reach yet;
//! 2. the other half of the service tables, the flip, and a grace period: from here every service reads its own tables;
//! 3. slot words of live tables, each right by itself. Not earlier, for two reasons: a word may name a backend whose row
//!    only the new entries lead to, and it may belong to a table that others are just leaving, whose packets would find
//!    backends there that they do not have.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use lb_common::abi::{HALF_ENTRIES, Reverse, Row, Service};
use lb_common::limits::MAX_LISTENERS;

use super::census::Census;
use super::changes;
use super::entries::{self, Hop, Place};
use super::half;
use super::image::Image;
use super::ranges::Ranges;
use super::rows::{RowIndex, RowOwner};
use super::tables::{TableError, TableSet, Wish};
use super::write::Write;
use crate::config::{Backend, Config, Listener, Protocol, Service as ServiceConfig, UdpMode};
use crate::scheduler::seed::Seed;
use crate::scheduler::slots::SweepReport;

/// Writes, and what they mean.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    /// In this order.
    pub writes: Vec<Write>,
    /// One line for each thing that an operator would call a change.
    pub changes: Vec<String>,
    /// Slots of live tables that get another owner.
    pub slots_moved: u64,
    /// Slots of the tables that are touched.
    pub slots: u64,
    /// Services whose flows are re-homed, because their table changes size.
    pub rehomed: Vec<String>,
}

/// Why a configuration cannot be put in force here and now.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum PlanError {
    /// The lookup tables do not fit.
    #[error("service `{service}`: {error}")]
    Table {
        /// The service.
        service: String,
        /// What is missing.
        error: TableError,
    },
    /// The rows do not fit.
    #[error("service `{service}`: no room for {rows} rows; restart Fairway to size its tables anew")]
    NoRows {
        /// The service.
        service: String,
        /// What was asked for.
        rows: u32,
    },
    /// More keys than the perfect hash takes. (Or one twice, which the configuration check refuses.)
    #[error(
        "the service tables are full: {listeners} listeners (room for {MAX_LISTENERS}) and {translated} pairs of a listener and a translated backend, those that still drain among them (room for {})",
        HALF_ENTRIES / 2
    )]
    NoPerfectHash {
        /// Listeners asked for.
        listeners: usize,
        /// Reverse entries asked for.
        translated: usize,
    },
}

/// A service and where it lies.
#[derive(Clone, Debug)]
pub struct Placed {
    /// As configured.
    pub config: Arc<ServiceConfig>,
    /// Its lookup table.
    pub table: u32,
    /// What its flows' records name, and its excluded prefixes: never used for another service.
    pub pool: u32,
    /// First row and room of each listener.
    pub rows: BTreeMap<Listener, (u32, u32)>,
    /// Removed backends whose flows are still served, by identity.
    pub leaving: BTreeMap<String, Backend>,
}

impl Placed {
    /// The backend of an identity, configured or leaving.
    pub fn backend(&self, identity: &str) -> Option<&Backend> {
        self.config.backends.iter().find(|backend| identity_of(backend) == identity).or(self.leaving.get(identity))
    }
}

/// See the module's description.
#[derive(Clone, Debug)]
pub struct Planner {
    seed: Seed,
    /// By name.
    services: BTreeMap<String, Placed>,
    tables: TableSet,
    row_ranges: Ranges,
    hops: BTreeMap<IpAddr, Hop>,
    next_pool: u32,
    published: (Vec<Service>, Vec<Reverse>),
    index: Arc<RowIndex>,
}

/// The table of each service, in the configuration's order, and the words of live tables that change.
struct Assigned {
    tables: Vec<u32>,
    live: Vec<Write>,
}

/// Rows are given out in multiples of this.
const ROW_GRAIN: u32 = 8;

/// Who a backend is to the lookup table, whatever it is called: nodes that agree on this agree on every flow.
pub fn identity_of(backend: &Backend) -> String {
    let port = backend.port.map_or(String::new(), |port| format!(" port {port}"));
    format!("{} {}{port}", backend.address, backend.forwarding.name())
}

impl Planner {
    /// Nothing configured, and room for so many slots and rows.
    pub fn new(seed: Seed, slots: u32, rows: u32) -> Self {
        Self {
            seed,
            services: BTreeMap::new(),
            tables: TableSet::new(slots, seed),
            row_ranges: Ranges::new(rows, ROW_GRAIN),
            hops: BTreeMap::new(),
            next_pool: 0,
            published: Default::default(),
            index: Arc::default(),
        }
    }

    /// The plan that puts `config` in force. `image` is what the maps hold. On an error nothing is changed.
    ///
    /// # Errors
    /// When it does not fit into the tables.
    pub fn configure(&mut self, now: Duration, image: &Image, config: &Config) -> Result<Plan, PlanError> {
        let mut next = self.clone();
        let plan = next.replace(now, image, config)?;
        *self = next;
        Ok(plan)
    }

    /// Notes how a destination is reached. The writes for every row that leads there.
    pub fn next_hop(&mut self, image: &Image, destination: IpAddr, hop: Hop) -> Vec<Write> {
        self.hops.insert(destination, hop);
        let index = self.index.clone();
        let wanted = index.to(destination).iter().filter_map(|&number| Some((number, self.row(index.get(number)?)?)));
        self.store_rows(image, wanted)
    }

    /// Moves slots on whose time has come, and lets backends go that nothing names any more.
    pub fn sweep(&mut self, now: Duration, image: &Image, census: &Census) -> (Vec<Write>, SweepReport) {
        let mut writes = Vec::new();
        let mut total = SweepReport::default();
        for number in self.tables.iter().map(|(number, _)| number).collect::<Vec<_>>() {
            if self.tables.get(number).pool.slots().is_settled() {
                continue;
            }
            let table = self.tables.get_mut(number);
            let (changes, report) = table.pool.sweep(now, table.settle, &census.of_table(table.first_slot));
            writes.extend(table.writes(&changes));
            total.forced += report.forced;
            total.held_by_refusals += report.held_by_refusals;
            total.settled += report.settled;
        }
        if self.release(now, census) {
            writes.push(Write::Grace);
            writes.extend(self.publish(image).unwrap_or_default());
            self.index = Arc::new(self.build_index());
        }
        (writes, total)
    }

    /// Whether [`Self::sweep`] has anything to wait for.
    pub fn is_settled(&self) -> bool {
        self.tables.iter().all(|(_, table)| table.pool.slots().is_settled())
            && self.services.values().all(|placed| placed.leaving.is_empty())
    }

    /// Every address that packets are sent to.
    pub fn destinations(&self) -> BTreeSet<IpAddr> {
        let backends =
            self.services.values().flat_map(|placed| placed.config.backends.iter().chain(placed.leaving.values()));
        backends.map(|backend| backend.address).collect()
    }

    /// Services by name.
    pub fn services(&self) -> &BTreeMap<String, Placed> {
        &self.services
    }

    /// Lookup tables.
    pub fn tables(&self) -> &TableSet {
        &self.tables
    }

    /// What is known of next hops.
    pub fn hops(&self) -> &BTreeMap<IpAddr, Hop> {
        &self.hops
    }

    /// Who has which row.
    pub fn rows(&self) -> &Arc<RowIndex> {
        &self.index
    }

    fn replace(&mut self, now: Duration, image: &Image, config: &Config) -> Result<Plan, PlanError> {
        let mut plan = Plan { changes: changes::between(&self.services, config), ..Plan::default() };
        let before = std::mem::take(&mut self.services);
        let excluded_before = excluded(&before);
        let tables_before: BTreeSet<u32> = before.values().map(|placed| placed.table).collect();
        let mut rows_before: BTreeSet<(u32, u32)> =
            before.values().flat_map(|placed| placed.rows.values().copied()).collect();

        let Assigned { tables, live } = self.assign_tables(now, &before, config, &mut plan)?;
        for (service, table) in config.services.iter().zip(tables) {
            let placed = self.place(before.get(&service.name), service, table)?;
            plan.writes.extend(self.store_rows(image, self.rows_of(&placed)));
            for rows in placed.rows.values() {
                rows_before.remove(rows);
            }
            self.services.insert(service.name.clone(), placed);
        }
        let excluded_after = excluded(&self.services);
        let exclude = excluded_after.difference(&excluded_before).map(|&(pool, prefix)| Write::Exclude(pool, prefix));
        plan.writes.extend(exclude);
        plan.writes.extend(self.publish(image).ok_or_else(|| self.no_perfect_hash())?);
        plan.writes.extend(live);
        let include = excluded_before.difference(&excluded_after).map(|&(pool, prefix)| Write::Include(pool, prefix));
        plan.writes.extend(include);

        let tables_after: BTreeSet<u32> = self.services.values().map(|placed| placed.table).collect();
        tables_before.difference(&tables_after).for_each(|&number| self.tables.remove(number));
        rows_before.into_iter().for_each(|(first, length)| self.row_ranges.give(first, length));
        let destinations = self.destinations();
        self.hops.retain(|destination, _| destinations.contains(destination));
        self.index = Arc::new(self.build_index());
        Ok(plan)
    }

    /// The table of each service of `config`, in its order. Tables are changed in place where all of their users want the
    /// same, copied where some want to differ, made where nothing fits.
    fn assign_tables(
        &mut self,
        now: Duration,
        before: &BTreeMap<String, Placed>,
        config: &Config,
        plan: &mut Plan,
    ) -> Result<Assigned, PlanError> {
        let wishes: Vec<Wish> = config.services.iter().map(wish).collect();
        let mut assigned: Vec<Option<u32>> = vec![None; wishes.len()];

        // Who stays with the table that it has: grouped by table, then by what it wants.
        let mut groups: BTreeMap<u32, BTreeMap<&Wish, Vec<usize>>> = BTreeMap::new();
        for (at, service) in config.services.iter().enumerate() {
            if let Some(placed) = before.get(&service.name) {
                if placed.config.lookup_table_size == service.lookup_table_size {
                    groups.entry(placed.table).or_default().entry(&wishes[at]).or_default().push(at);
                } else {
                    plan.rehomed.push(service.name.clone());
                }
            }
        }
        let mut live = Vec::new();
        for (number, group) in groups {
            let mut by_size: Vec<(&Wish, Vec<usize>)> = group.into_iter().collect();
            // The most users keep the original, which comes last: it must be what it was while it is copied.
            by_size.sort_by_key(|(_, users)| users.len());
            let last = by_size.len() - 1;
            for (at, (wish, users)) in by_size.into_iter().enumerate() {
                let error = |error| table_error(&config.services[users[0]], error);
                let target = if at == last { number } else { self.tables.copy(now, number).map_err(error)? };
                let table = self.tables.get_mut(target);
                let moved = table.become_wish(now, wish).map_err(|full| error(full.into()))?;
                if !moved.is_empty() {
                    plan.slots_moved += moved.len() as u64;
                    plan.slots += u64::from(wish.size);
                }
                if at == last {
                    live.extend(moved);
                } else {
                    plan.writes.push(table.store_all());
                }
                users.iter().for_each(|&at| assigned[at] = Some(target));
            }
        }

        let mut plain = self.tables.plain();
        for (at, wish) in wishes.iter().enumerate() {
            if assigned[at].is_some() {
                continue;
            }
            if !plain.contains_key(wish) {
                let error = |error| table_error(&config.services[at], error);
                let (number, write) = self.tables.create(wish).map_err(error)?;
                plan.writes.push(write);
                plain.insert(wish.clone(), number);
            }
            assigned[at] = plain.get(wish).copied();
        }
        let tables = assigned.into_iter().map(|table| table.expect("every service was assigned one")).collect();
        Ok(Assigned { tables, live })
    }

    /// Gives a service its rows.
    fn place(&mut self, before: Option<&Placed>, service: &ServiceConfig, table: u32) -> Result<Placed, PlanError> {
        // A service whose table was made anew has no flows that a record could be right for.
        let kept = before.filter(|placed| placed.config.lookup_table_size == service.lookup_table_size);
        let mut placed = Placed {
            config: Arc::new(service.clone()),
            table,
            pool: kept.map_or_else(|| self.new_pool(), |placed| placed.pool),
            rows: BTreeMap::new(),
            leaving: kept.map_or_else(BTreeMap::new, |placed| self.leaving(placed, table)),
        };
        let needed = self.tables.get(table).rows();
        for listener in &service.listeners {
            let present = kept.and_then(|placed| placed.rows.get(listener)).copied();
            let place = match present.filter(|&(_, room)| room >= needed) {
                Some(place) => place,
                None => self
                    .take_rows(needed)
                    .ok_or_else(|| PlanError::NoRows { service: service.name.clone(), rows: needed })?,
            };
            placed.rows.insert(*listener, place);
        }
        Ok(placed)
    }

    /// First row and room of a place for so many rows, with room to grow if there is.
    fn take_rows(&mut self, needed: u32) -> Option<(u32, u32)> {
        let rooms = [needed + (needed / 4).max(8), needed].map(|room| room.next_multiple_of(ROW_GRAIN));
        rooms.into_iter().find_map(|room| Some((self.row_ranges.take(room)?, room)))
    }

    /// What the rows of a service shall hold.
    fn rows_of(&self, placed: &Placed) -> Vec<(u32, Row)> {
        let members = self.tables.get(placed.table).pool.members();
        let backends = members.filter_map(|(identity, member)| Some((member.index, placed.backend(identity)?)));
        let listeners = |(index, backend): (u16, &Backend)| {
            let row = |listener| entries::row(backend, listener, self.hops.get(&backend.address));
            placed.rows.iter().map(|(at, &(first, _))| (first + u32::from(index), row(at))).collect::<Vec<_>>()
        };
        backends.flat_map(listeners).collect()
    }

    /// The writes that make rows what is wanted, whether or not packets may be reading them.
    fn store_rows(&self, image: &Image, rows: impl IntoIterator<Item = (u32, Row)>) -> Vec<Write> {
        let mut writes = Vec::new();
        let mut moved = Vec::new();
        for (number, wanted) in rows {
            let present = image.rows[number as usize];
            if present == wanted {
                continue;
            }
            if self.index.get(number).is_none() {
                writes.push(Write::Row(number, wanted));
            } else if (Row { mac_head: wanted.mac_head, ..present }) == wanted {
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

    fn new_pool(&mut self) -> u32 {
        self.next_pool += 1;
        self.next_pool
    }

    /// Backends that a service had and that its table still names though they were removed.
    fn leaving(&self, before: &Placed, table: u32) -> BTreeMap<String, Backend> {
        let leaving = self.tables.get(table).pool.members().filter(|(_, member)| member.leaving);
        leaving.filter_map(|(identity, _)| Some((identity.to_owned(), before.backend(identity)?.clone()))).collect()
    }

    /// Lets leaving backends go that neither a slot nor a record names; whether there were any.
    fn release(&mut self, now: Duration, census: &Census) -> bool {
        let mut any = false;
        for number in self.tables.iter().map(|(number, _)| number).collect::<Vec<_>>() {
            let pool = &self.tables.get(number).pool;
            if pool.members().all(|(_, member)| !member.leaving) {
                continue;
            }
            let pools: Vec<u32> =
                self.services.values().filter(|placed| placed.table == number).map(|placed| placed.pool).collect();
            let recorded = |index: u16| pools.iter().any(|&pool| census.names(pool, index));
            let released = self.tables.get_mut(number).pool.release(now, census.began, recorded);
            any |= !released.is_empty();
            for placed in self.services.values_mut().filter(|placed| placed.table == number) {
                released.iter().for_each(|(identity, _)| drop(placed.leaving.remove(identity)));
            }
        }
        any
    }

    /// The writes that put the entries of all services in force, none if they are; `None` when they have no perfect hash.
    fn publish(&mut self, image: &Image) -> Option<Vec<Write>> {
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
            for (listener, &(first_row, _)) in &placed.rows {
                let place = Place { first_slot: table.first_slot, first_row, pool: placed.pool };
                services.push(entries::service(&placed.config, listener, place, &self.seed));
                let translate = |backend: &Backend| entries::reverse(backend, listener, exclude);
                reverse.extend(placed.config.backends.iter().filter_map(translate));
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

    fn no_perfect_hash(&self) -> PlanError {
        let (services, reverse) = self.entries();
        PlanError::NoPerfectHash { listeners: services.len(), translated: reverse.len() }
    }

    fn row(&self, owner: &RowOwner) -> Option<Row> {
        let backend = self.services.get(&*owner.service)?.backend(&owner.identity)?;
        Some(entries::row(backend, &owner.listener, self.hops.get(&backend.address)))
    }

    fn build_index(&self) -> RowIndex {
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

/// What a service wants of its lookup table.
fn wish(service: &ServiceConfig) -> Wish {
    let mut members: Vec<(String, u32)> =
        service.backends.iter().map(|backend| (identity_of(backend), u32::from(backend.weight))).collect();
    members.sort();
    Wish { size: service.lookup_table_size, settle: settle(service), members }
}

/// The longest that a flow of the service which a record could be made for may be silent.
fn settle(service: &ServiceConfig) -> Duration {
    let recorded = |listener: &&Listener| listener.protocol == Protocol::Tcp || service.udp == UdpMode::Flows;
    let longest =
        service.listeners.iter().filter(recorded).map(|listener| service.idle_timeout(listener.protocol)).max();
    longest.unwrap_or(Duration::ZERO)
}

/// Whether two entries of one backend give its replies the same source.
fn translates_alike(one: &Reverse, other: &Reverse) -> bool {
    (one.service, one.service_port_wire) == (other.service, other.service_port_wire)
}

fn excluded(services: &BTreeMap<String, Placed>) -> BTreeSet<(u32, IpNet)> {
    let prefixes = |placed: &Placed| placed.config.nat_exclude.iter().map(|&p| (placed.pool, p)).collect::<Vec<_>>();
    services.values().flat_map(prefixes).collect()
}

fn table_error(service: &ServiceConfig, error: TableError) -> PlanError {
    PlanError::Table { service: service.name.clone(), error }
}

#[cfg(test)]
#[path = "planner_tests.rs"]
mod tests;
