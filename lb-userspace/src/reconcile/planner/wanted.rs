//! What a configuration wants, and what of it need not be looked at: with thousands of services a reload changes one, and the
//! others must cost next to nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::Duration;

use super::Planner;
use crate::config::{Config, Listener, Service};
use crate::reconcile::changes::Unchanged;
use crate::reconcile::placed::{Placed, Standings, wish};
use crate::reconcile::tables::Wish;

/// What shall be in force.
pub(super) struct Wanted<'a> {
    pub(super) config: &'a Config,
    pub(super) standings: &'a BTreeMap<String, Standings>,
    pub(super) unchanged: &'a Unchanged,
}

/// Where the rows of a service lie, and which of its backends has which.
#[derive(PartialEq, Eq)]
pub(super) struct Home {
    service: String,
    rows: BTreeMap<Listener, (u32, u32)>,
    members: Vec<(String, u16)>,
}

impl Wanted<'_> {
    /// Whether a service keeps what it has, weights included.
    pub(super) fn stays(&self, service: &Service) -> bool {
        self.unchanged.contains(&service.name) && !self.standings.contains_key(&service.name)
    }
}

impl Planner {
    /// The homes of services that are not unchanged: as long as they are the same, everybody has the rows that he had.
    pub(super) fn homes_but_of(&self, unchanged: &Unchanged) -> Vec<Home> {
        let changed = self.services.iter().filter(|(name, _)| !unchanged.contains(name));
        let home = |(name, placed): (&String, &Placed)| {
            let members = self.tables.get(placed.table).pool.members();
            let members = members.map(|(identity, member)| (identity.to_owned(), member.index)).collect();
            Home { service: name.clone(), rows: placed.rows.clone(), members }
        };
        changed.map(home).collect()
    }

    /// What each service wants of its table; and the tables of those that stay where all users do, of which nothing need be
    /// known but that.
    pub(super) fn wishes(
        &self,
        before: &BTreeMap<String, Placed>,
        wanted: &Wanted,
    ) -> (Vec<Option<u32>>, Vec<Rc<Wish>>) {
        let services = &wanted.config.services;
        let is_disturbed: BTreeSet<u32> = services
            .iter()
            .filter(|service| !wanted.stays(service))
            .filter_map(|service| Some(before.get(&service.name)?.table))
            .collect();
        let mut as_they_are: BTreeMap<u32, Rc<Wish>> = BTreeMap::new();
        let nothing = Rc::new(Wish { size: 0, settle: Duration::ZERO, members: Vec::new() });
        let of = |service: &Service| match before.get(&service.name).map(|placed| placed.table) {
            Some(table) if wanted.stays(service) && !is_disturbed.contains(&table) => (Some(table), nothing.clone()),
            Some(table) if wanted.stays(service) => {
                let wish = as_they_are.entry(table).or_insert_with(|| Rc::new(self.tables.get(table).wish()));
                (None, wish.clone())
            }
            Some(_) | None => (None, Rc::new(wish(service, wanted.standings.get(&service.name)))),
        };
        services.iter().map(of).unzip()
    }
}
