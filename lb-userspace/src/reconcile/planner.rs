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
//! 4. rows of backends that died, and then, after another grace period, the records that name them.

mod access;
mod layout;
mod quic;
mod reweigh;
mod seats;
mod told;
mod wanted;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use lb_common::abi::{Reverse, ServerKey, Service, Sources};
use lb_common::limits::{ACCESS_RULES, CHOOSERS, QUIC_SERVICES};

use super::census::Census;
use super::changes::{self, Unchanged};
use super::entries::Hop;
use super::image::Image;
use super::live::LiveIndices;
use super::placed::{Placed, Standings, excluded};
use super::plan::{Plan, PlanError};
use super::ranges::Ranges;
use super::rows::RowIndex;
use super::sharing::Sharing;
use super::sources;
use super::tables::{Moved, TableError, TableSet, Wish};
use super::write::Write;
use crate::config::{Backend, Config, Forwarding, Service as ServiceConfig, TunnelSources};
use crate::scheduler::seed::Seed;
use crate::scheduler::slots::SweepReport;

pub use reweigh::Reweighed;
use seats::GivenUp;
use wanted::Wanted;

/// See the module's description.
#[derive(Clone, Debug)]
pub struct Planner {
    seed: Seed,
    /// By name.
    services: BTreeMap<String, Placed>,
    tables: TableSet,
    row_ranges: Ranges,
    chooser_ranges: Ranges,
    load_ranges: Ranges,
    access_ranges: Ranges,
    access_given_up: Vec<u32>,
    quic_ranges: Ranges,
    quic_given_up: Vec<u32>,
    /// Whose the server IDs in the table are.
    server_ids: BTreeMap<ServerKey, u16>,
    /// The number given last to a set of access rules.
    next_set: u32,
    /// Places of stateful services that none has any more, while packets in flight may know of them.
    given_up: Vec<GivenUp>,
    hops: BTreeMap<IpAddr, Hop>,
    tunnel_sources: TunnelSources,
    own_client: bool,
    next_pool: u32,
    live: LiveIndices,
    published: (Vec<Service>, Vec<Reverse>, Sources),
    /// Services whose slots another node's master settles.
    settled_elsewhere: BTreeSet<Arc<str>>,
    sharing: Sharing,
    sources: Sources,
    index: Arc<RowIndex>,
    /// With tens of thousands of them they are not gathered anew for each question.
    destinations: Arc<BTreeSet<IpAddr>>,
}

/// The table of each service, in the configuration's order; the words of live tables that change; and of each service that
/// has flows the indices of the backends that died.
struct Assigned {
    tables: Vec<u32>,
    live: Vec<Write>,
    died: BTreeMap<usize, Vec<u16>>,
}

/// Rows are given out in multiples of this.
const ROW_GRAIN: u32 = 8;

impl Planner {
    /// Nothing configured, and room for so many slots and rows.
    pub fn new(seed: Seed, slots: u32, rows: u32) -> Self {
        Self {
            seed,
            services: BTreeMap::new(),
            tables: TableSet::new(slots, seed),
            row_ranges: Ranges::new(rows, ROW_GRAIN),
            chooser_ranges: all_but_the_first(CHOOSERS as u32),
            load_ranges: Ranges::new(rows, seats::LOAD_GRAIN),
            access_ranges: all_but_the_first(ACCESS_RULES as u32),
            access_given_up: Vec::new(),
            quic_ranges: all_but_the_first(QUIC_SERVICES as u32),
            quic_given_up: Vec::new(),
            server_ids: BTreeMap::new(),
            next_set: 0,
            given_up: Vec::new(),
            hops: BTreeMap::new(),
            tunnel_sources: TunnelSources::default(),
            own_client: false,
            next_pool: 0,
            live: LiveIndices::default(),
            published: Default::default(),
            settled_elsewhere: BTreeSet::new(),
            sharing: Sharing::default(),
            sources: Sources::default(),
            index: Arc::default(),
            destinations: Arc::default(),
        }
    }

    /// The plan that puts `config` in force with the weights that it gives, all backends up. `image` is what the maps hold.
    /// On an error nothing is changed.
    ///
    /// # Errors
    /// When it does not fit into the tables.
    pub fn configure(&mut self, now: Duration, image: &Image, config: &Config) -> Result<Plan, PlanError> {
        self.configure_with(now, image, config, &BTreeMap::new(), &Unchanged::default())
    }

    /// The plan that puts `config` in force with these standings, by service. On an error nothing is changed.
    ///
    /// Services that are `unchanged` and not among the standings keep the weights that they have, and cost next to nothing.
    /// Others that are not among them get the weights that `config` gives, all backends up.
    ///
    /// # Errors
    /// When it does not fit into the tables.
    pub fn configure_with(
        &mut self,
        now: Duration,
        image: &Image,
        config: &Config,
        standings: &BTreeMap<String, Standings>,
        unchanged: &Unchanged,
    ) -> Result<Plan, PlanError> {
        let mut next = self.clone();
        let plan = next.replace(now, image, config, standings, unchanged)?;
        *self = next;
        Ok(plan)
    }

    /// Notes how a destination is reached. The writes for every row that leads there.
    pub fn next_hop(&mut self, image: &Image, destination: IpAddr, hop: Hop) -> Vec<Write> {
        self.hops.insert(destination, hop);
        let index = self.index.clone();
        let wanted = index.to(destination).iter().filter_map(|&number| Some((number, self.row(index.get(number)?)?)));
        let mut dying = Vec::new();
        let mut writes = self.store_rows(image, wanted, &mut dying);
        writes.append(&mut dying);
        writes
    }

    /// Moves slots on whose time has come, and lets backends go that nothing names any more.
    pub fn sweep(&mut self, now: Duration, image: &Image, census: &Census) -> (Vec<Write>, SweepReport) {
        let mut writes = Vec::new();
        let mut total = SweepReport::default();
        let elsewhere = self.settled_elsewhere();
        for number in self.tables.iter().map(|(number, _)| number).collect::<Vec<_>>() {
            if self.tables.get(number).pool.slots().is_settled() || elsewhere.contains(&number) {
                continue;
            }
            let table = self.tables.get_mut(number);
            let (changes, report) = table.pool.sweep(now, table.settle, &census.of_table(table.first_slot));
            writes.extend(table.writes(&changes));
            total.forced += report.forced;
            total.held_by_refusals += report.held_by_refusals;
            total.settled += report.settled;
        }
        let (released, emptied) = self.release(now, census);
        writes.extend(emptied);
        let unshared = self.sharing.end(census);
        if released {
            self.sharing = self.sharing.of(now, self.services.values());
        }
        if unshared || released {
            for placed in self.services.values() {
                writes.extend(self.store_rows(image, self.rows_of(placed), &mut Vec::new()));
            }
        }
        if self.retire(now, census) || released || unshared {
            writes.push(Write::Grace);
            writes.extend(self.publish(image).unwrap_or_default());
            self.gather();
        }
        (writes, total)
    }

    /// Whether [`Self::sweep`] has anything to wait for.
    pub fn is_settled(&self) -> bool {
        self.tables.iter().all(|(_, table)| table.pool.slots().is_settled())
            && self.services.values().all(|placed| placed.leaving.is_empty() && placed.retiring.is_none())
            && !self.sharing.is_ending()
    }

    /// Every address that packets are sent to.
    pub fn destinations(&self) -> &BTreeSet<IpAddr> {
        &self.destinations
    }

    /// Of how many destinations it is not known yet how they are reached, or that they cannot be. Both lists are in order, so
    /// one walk tells.
    pub fn pending_hops(&self) -> usize {
        let mut hops = self.hops.iter().peekable();
        let is_pending = |destination: &&IpAddr| {
            while hops.next_if(|(known, _)| known < destination).is_some() {}
            match hops.peek() {
                Some((known, hop)) if known == destination => {
                    hop.as_ref().is_err_and(|unresolved| unresolved.is_pending())
                }
                Some(_) | None => true,
            }
        };
        self.destinations.iter().filter(is_pending).count()
    }

    /// The services that `config` leaves as they are in force.
    pub fn unchanged_by(&self, config: &Config) -> Unchanged {
        Unchanged::between(&self.services, config)
    }

    /// Gathers anew what follows from who is where.
    fn gather(&mut self) {
        let backends = self.services.values().flat_map(|placed| placed.members().chain(placed.leaving.values()));
        self.destinations = Arc::new(backends.map(|backend| backend.address).collect());
        self.index = Arc::new(self.build_index());
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

    /// Whether translations are recorded: then censuses are due more often.
    pub fn keeps_translations(&self) -> bool {
        let records = |backend: &Backend| match backend.forwarding {
            Forwarding::FullNat => true,
            Forwarding::Nat => self.own_client,
            Forwarding::Direct | Forwarding::Tunnel => false,
        };
        self.sharing.any() || self.services.values().any(|it| it.members().chain(it.leaving.values()).any(records))
    }

    /// Which virtual router has which live word.
    pub fn live(&self) -> &LiveIndices {
        &self.live
    }

    /// Who has which row.
    pub fn rows(&self) -> &Arc<RowIndex> {
        &self.index
    }

    fn replace(
        &mut self,
        now: Duration,
        image: &Image,
        config: &Config,
        standings: &BTreeMap<String, Standings>,
        unchanged: &Unchanged,
    ) -> Result<Plan, PlanError> {
        self.give_back();
        let tunnel_sources_before = std::mem::replace(&mut self.tunnel_sources, config.dataplane.tunnel_sources);
        let own_client_before = std::mem::replace(&mut self.own_client, config.dataplane.own_client);
        let mut plan = Plan { changes: changes::between(&self.services, config, unchanged), ..Plan::default() };
        let homes_before = self.homes_but_of(unchanged);
        self.give_back_access();
        self.give_back_quic();
        let before = std::mem::take(&mut self.services);
        let excluded_before = excluded(&before);
        let tables_before: BTreeSet<u32> = before.values().map(|placed| placed.table).collect();
        let mut rows_before: BTreeSet<(u32, u32)> =
            before.values().flat_map(|placed| placed.rows.values().copied()).collect();

        self.live.assign(routers(config))?;
        let wanted = Wanted { config, standings, unchanged };
        let Assigned { tables, mut live, died } = self.assign_tables(now, &before, &wanted, &mut plan)?;
        self.sources = sources::of(config, &self.live);
        let mut stay = BTreeSet::new();
        for (service, table) in config.services.iter().zip(tables) {
            let as_before = before.get(&service.name).filter(|it| it.table == table && wanted.stays(service));
            let placed = match as_before {
                Some(placed) => {
                    stay.insert(service.name.as_str());
                    placed.clone()
                }
                None => self.place(before.get(&service.name), service, table)?,
            };
            self.services.insert(service.name.clone(), placed);
        }
        let sharing = self.sharing.of(now, self.services.values());
        let is_recorded_alike = own_client_before == self.own_client && sharing.records_the_same_as(&self.sharing);
        if !is_recorded_alike || tunnel_sources_before != self.tunnel_sources {
            // Rows say whether translations are recorded, and where tunnels begin, also those of services that stay.
            stay.clear();
        }
        self.sharing = sharing;
        let (mut dying, mut forget, mut emptied) = (Vec::new(), BTreeSet::new(), Vec::new());
        for (at, service) in config.services.iter().enumerate() {
            let placed = &self.services[&service.name];
            if stay.contains(service.name.as_str()) {
                for rows in placed.rows.values() {
                    rows_before.remove(rows);
                }
                continue;
            }
            let died = died.get(&at).into_iter().flatten();
            forget.extend(died.clone().map(|&index| (placed.pool, index)));
            plan.writes.extend(self.store_rows(image, self.rows_of(placed), &mut dying));
            for rows in placed.rows.values() {
                rows_before.remove(rows);
            }
            // A service whose table was made anew begins anew in all.
            let seat_before = before.get(&service.name).filter(|it| it.pool == placed.pool).and_then(|it| it.seat);
            let list = if seat_before.is_some() { &mut live } else { &mut plan.writes };
            list.extend(self.store_loads(image, placed, seat_before));
            let access_before = before.get(&service.name).and_then(|it| it.access);
            let list = if access_before.is_some() { &mut live } else { &mut plan.writes };
            list.extend(self.store_access(image, placed, access_before));
            let seat = placed.seat.into_iter();
            emptied
                .extend(seat.flat_map(|seat| died.clone().map(move |&index| Write::ClearLoads(seat.load(index), 1))));
        }
        let excluded_after = excluded(&self.services);
        let exclude = excluded_after.difference(&excluded_before).map(|&(pool, prefix)| Write::Exclude(pool, prefix));
        plan.writes.extend(exclude);
        let (admitted, unadmitted) = access::sets(&before, &self.services);
        plan.writes.extend(admitted);
        let (named, unnamed) = self.name_servers(&before);
        plan.writes.extend(named);
        plan.writes.extend(self.publish(image).ok_or_else(|| self.no_perfect_hash())?);
        plan.writes.extend(live);
        plan.writes.extend(bury(dying, forget));
        plan.writes.append(&mut emptied);
        self.give_up(&before);
        self.give_up_access(&before);
        plan.writes.extend(unnamed);
        self.give_up_quic(&before);
        if !unadmitted.is_empty() {
            plan.writes.push(Write::Grace);
            plan.writes.extend(unadmitted);
        }
        let include = excluded_before.difference(&excluded_after).map(|&(pool, prefix)| Write::Include(pool, prefix));
        plan.writes.extend(include);

        let tables_after: BTreeSet<u32> = self.services.values().map(|placed| placed.table).collect();
        tables_before.difference(&tables_after).for_each(|&number| self.tables.remove(number));
        rows_before.into_iter().for_each(|(first, length)| self.row_ranges.give(first, length));
        // With nothing kept there is nothing to save.
        if unchanged.is_empty() || homes_before != self.homes_but_of(unchanged) {
            self.gather();
            let destinations = Arc::clone(&self.destinations);
            self.hops.retain(|destination, _| destinations.contains(destination));
        }
        Ok(plan)
    }

    /// The table of each service of `config`, in its order. Tables are changed in place where all of their users want the
    /// same, copied where some want to differ, made where nothing fits.
    fn assign_tables(
        &mut self,
        now: Duration,
        before: &BTreeMap<String, Placed>,
        wanted: &Wanted,
        plan: &mut Plan,
    ) -> Result<Assigned, PlanError> {
        let config = wanted.config;
        let (mut assigned, wishes) = self.wishes(before, wanted);

        // Who stays with the table that it has: grouped by table, then by what it wants.
        let mut groups: BTreeMap<u32, BTreeMap<&Wish, Vec<usize>>> = BTreeMap::new();
        for (at, service) in config.services.iter().enumerate().filter(|(at, _)| assigned[*at].is_none()) {
            if let Some(placed) = before.get(&service.name) {
                if placed.config.selection_key() != service.selection_key() {
                    plan.rehomed.push(service.name.clone());
                }
                if placed.config.lookup_table_size == service.lookup_table_size {
                    groups.entry(placed.table).or_default().entry(&*wishes[at]).or_default().push(at);
                } else if plan.rehomed.last() != Some(&service.name) {
                    plan.rehomed.push(service.name.clone());
                }
            }
        }
        let mut live = Vec::new();
        let mut died = BTreeMap::new();
        for (number, group) in groups {
            let mut by_size: Vec<(&Wish, Vec<usize>)> = group.into_iter().collect();
            // The most users keep the original, which comes last: it must be what it was while it is copied.
            by_size.sort_by_key(|(_, users)| users.len());
            let last = by_size.len() - 1;
            for (at, (wish, users)) in by_size.into_iter().enumerate() {
                if at == last && self.tables.get(number).wish() == *wish {
                    // As most are at a reload; to change a table means to copy it, since a plan is kept only whole.
                    users.iter().for_each(|&at| assigned[at] = Some(number));
                    continue;
                }
                let error = |error| table_error(&config.services[users[0]], error);
                let target = if at == last { number } else { self.tables.copy(now, number).map_err(error)? };
                let table = self.tables.get_mut(target);
                let Moved { words, forget } = table.become_wish(now, wish).map_err(|full| error(full.into()))?;
                if !words.is_empty() {
                    plan.slots_moved += words.len() as u64;
                    plan.slots += u64::from(wish.size);
                }
                if at == last {
                    live.extend(words);
                } else {
                    plan.writes.push(table.store_all());
                }
                for &at in &users {
                    assigned[at] = Some(target);
                    died.insert(at, forget.clone());
                }
            }
        }

        let newcomers: Vec<usize> = (0..wishes.len()).filter(|&at| assigned[at].is_none()).collect();
        let mut plain = if newcomers.is_empty() { BTreeMap::new() } else { self.tables.plain() };
        for at in newcomers {
            let wish = &*wishes[at];
            if !plain.contains_key(wish) {
                let error = |error| table_error(&config.services[at], error);
                let (number, write) = self.tables.create(wish).map_err(error)?;
                plan.writes.push(write);
                plain.insert(wish.clone(), number);
            }
            assigned[at] = plain.get(wish).copied();
        }
        let tables = assigned.into_iter().map(|table| table.expect("every service was assigned one")).collect();
        Ok(Assigned { tables, live, died })
    }

    /// Gives a service its rows.
    fn place(&mut self, before: Option<&Placed>, service: &ServiceConfig, table: u32) -> Result<Placed, PlanError> {
        // A service whose table was made anew has no flows that a record could be right for.
        let kept = before.filter(|placed| placed.config.lookup_table_size == service.lookup_table_size);
        let pool = kept.map_or_else(|| self.new_pool(), |placed| placed.pool);
        let leaving = kept.map_or_else(BTreeMap::new, |placed| self.leaving(placed, table));
        let mut placed = Placed::new(service, table, pool, leaving);
        let needed = self.tables.get(table).rows();
        placed.access = self.access_place(before, service)?;
        placed.quic = self.quic_place(before, service)?;
        placed.seat = self.seat(kept.and_then(|placed| placed.seat), service, needed)?;
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

    fn new_pool(&mut self) -> u32 {
        self.next_pool += 1;
        self.next_pool
    }

    /// Backends that a service had and that its table still names though they were removed.
    fn leaving(&self, before: &Placed, table: u32) -> BTreeMap<String, Backend> {
        let leaving = self.tables.get(table).pool.members().filter(|(_, member)| member.leaving);
        leaving.filter_map(|(identity, _)| Some((identity.to_owned(), before.backend(identity)?.clone()))).collect()
    }

    /// Lets leaving backends go that neither a slot nor a record names: whether there were any, and the writes that empty what
    /// stateful services have counted of them.
    fn release(&mut self, now: Duration, census: &Census) -> (bool, Vec<Write>) {
        let (mut any, mut emptied, mut forgotten) = (false, Vec::new(), BTreeSet::new());
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
                let Some(seat) = placed.seat else { continue };
                emptied.extend(released.iter().map(|(_, at)| Write::ClearLoads(seat.load(*at), 1)));
                forgotten.extend(released.iter().map(|(_, at)| (placed.pool, *at)));
            }
        }
        if !forgotten.is_empty() {
            // No record names them, but what rules remember may.
            emptied.push(Write::Forget(forgotten));
        }
        (any, emptied)
    }
}

/// Places of choosers, of access rules, and of counters: 0 says that there is none.
fn all_but_the_first(places: u32) -> Ranges {
    let mut ranges = Ranges::new(places, 1);
    ranges.take(1).expect("there are some");
    ranges
}

/// Every virtual router that has a live word.
fn routers(config: &Config) -> impl Iterator<Item = &str> {
    config.services.iter().filter_map(|service| service.vrrp.as_deref())
}

/// What is left to do about backends that died, after no slot names them any more: their rows, and their records once no
/// packet in flight can make another.
fn bury(dying: Vec<Write>, forget: BTreeSet<(u32, u16)>) -> Vec<Write> {
    let mut writes = dying;
    if !forget.is_empty() {
        writes.extend([Write::Grace, Write::Forget(forget)]);
    }
    writes
}

fn table_error(service: &ServiceConfig, error: TableError) -> PlanError {
    PlanError::Table { service: service.name.clone(), error }
}

#[cfg(test)]
#[path = "planner_tests.rs"]
mod tests;

#[cfg(test)]
#[path = "planner/quic_tests.rs"]
mod quic_tests;

#[cfg(test)]
#[path = "planner/unchanged_tests.rs"]
mod unchanged_tests;
