//! Other effective weights, and nothing else: what happens when a backend fails, recovers, ramps or is drained. Touches the
//! services that are named and no others, because with thousands of them one fails every other second.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::{Planner, bury};
use crate::reconcile::image::Image;
use crate::reconcile::placed::{Standings, wish};
use crate::reconcile::stateful::Seat;
use crate::reconcile::tables::{Moved, TableError, Wish};
use crate::reconcile::write::Write;

/// What [`Planner::reweigh`] comes to.
#[derive(Debug, Default)]
pub struct Reweighed {
    /// In this order.
    pub writes: Vec<Write>,
    /// Services that kept their old weights, because a table of their own does not fit. To be tried again.
    pub failed: Vec<(String, TableError)>,
}

/// Users of one table who want the same from now on.
struct Group {
    wish: Wish,
    services: Vec<String>,
    /// The table itself becomes that.
    keeps_table: bool,
}

impl Planner {
    /// Puts other standings in force for these services. `image` is what the maps hold. Services without a lookup table of
    /// that name are passed over.
    ///
    /// A table whose users all want the same is changed in place. Otherwise those who want something else leave it for a
    /// copy, or for a table that is just like the copy ([`TableSet::settle_down`](crate::reconcile::tables::TableSet::settle_down)).
    pub fn reweigh(&mut self, now: Duration, image: &Image, changed: &BTreeMap<String, Standings>) -> Reweighed {
        let mut done = Reweighed::default();
        let (mut stays, mut departures) = (Vec::new(), Vec::new());
        for (number, groups) in self.changes_by_table(changed) {
            for Group { wish, services, keeps_table } in groups {
                let mut table = self.tables.get(number).clone();
                match table.become_wish(now, &wish) {
                    Ok(moved) if keeps_table => {
                        *self.tables.get_mut(number) = table;
                        stays.push((number, moved, services));
                    }
                    Ok(Moved { forget, .. }) => departures.push((table, forget, services)),
                    Err(full) => done.failed.extend(services.into_iter().map(|name| (name, full.into()))),
                }
            }
        }
        // Nobody joins a table that changes in place: its words are stored after the flip.
        let barred: BTreeSet<u32> = stays.iter().map(|(number, ..)| *number).collect();
        let (mut live, mut forget, mut touched) = (Vec::new(), BTreeSet::new(), BTreeSet::new());
        let mut left = BTreeSet::new();
        for (table, died, services) in departures {
            match self.tables.settle_down(now, table, &barred) {
                Ok((number, fill)) => {
                    done.writes.extend(fill);
                    left.extend(self.move_to(number, &services));
                    self.forget(&services, &died, &mut forget);
                    touched.extend(services);
                }
                Err(error) => done.failed.extend(services.into_iter().map(|name| (name, error))),
            }
        }
        for (number, moved, services) in stays {
            match self.tables.join_twin(now, number, &barred) {
                Some(twin) => left.extend(self.move_to(twin, &services)),
                None => live.extend(moved.words),
            }
            self.forget(&services, &moved.forget, &mut forget);
            touched.extend(services);
        }
        let mut dying = Vec::new();
        for name in &touched {
            let placed = &self.services[name];
            done.writes.extend(self.store_rows(image, self.rows_of(placed), &mut dying));
            live.extend(self.store_loads(image, placed, placed.seat));
        }
        if !left.is_empty() {
            done.writes.extend(self.publish(image).expect("the same keys as before have the same perfect hash"));
            let used: BTreeSet<u32> = self.services.values().map(|placed| placed.table).collect();
            left.difference(&used).for_each(|&number| self.tables.remove(number));
        }
        done.writes.append(&mut live);
        let emptied = self.loads_of(&forget);
        done.writes.extend(bury(dying, forget));
        done.writes.extend(emptied.into_iter().map(|load| Write::ClearLoads(load, 1)));
        done
    }

    /// Has services use another table; the ones that they used.
    pub(super) fn move_to(&mut self, number: u32, services: &[String]) -> BTreeSet<u32> {
        let mut left = BTreeSet::new();
        for name in services {
            let placed = self.services.get_mut(name).expect("it was found by its name");
            left.insert(std::mem::replace(&mut placed.table, number));
        }
        left
    }

    /// By table: what those of its users want from now on who want something else.
    fn changes_by_table(&self, changed: &BTreeMap<String, Standings>) -> BTreeMap<u32, Vec<Group>> {
        let mut by_table: BTreeMap<u32, BTreeMap<Wish, Vec<String>>> = BTreeMap::new();
        for (name, standings) in changed {
            let Some(placed) = self.services.get(name) else { continue };
            let wish = wish(&placed.config, Some(standings));
            if wish != self.tables.get(placed.table).wish() {
                by_table.entry(placed.table).or_default().entry(wish).or_default().push(name.clone());
            }
        }
        let mut users: BTreeMap<u32, usize> = BTreeMap::new();
        for placed in self.services.values().filter(|placed| by_table.contains_key(&placed.table)) {
            *users.entry(placed.table).or_default() += 1;
        }
        let grouped = |(number, wishes): (u32, BTreeMap<Wish, Vec<String>>)| {
            let changing: usize = wishes.values().map(Vec::len).sum();
            let group = |(wish, services)| Group { wish, services, keeps_table: false };
            let mut groups: Vec<Group> = wishes.into_iter().map(group).collect();
            // The most users keep the table, unless others stay with it as it is. They come last: it must be what it was
            // while it is copied.
            groups.sort_by_key(|group| group.services.len());
            if let Some(last) = groups.last_mut().filter(|_| users[&number] == changing) {
                last.keeps_table = true;
            }
            (number, groups)
        };
        by_table.into_iter().map(grouped).collect()
    }

    /// The loads of backends of pools.
    fn loads_of(&self, backends: &BTreeSet<(u32, u16)>) -> Vec<u32> {
        let seats: BTreeMap<u32, Seat> =
            self.services.values().filter_map(|placed| Some((placed.pool, placed.seat?))).collect();
        backends.iter().filter_map(|(pool, index)| Some(seats.get(pool)?.load(*index))).collect()
    }

    fn forget(&self, services: &[String], died: &[u16], forget: &mut BTreeSet<(u32, u16)>) {
        for name in services {
            forget.extend(died.iter().map(|&index| (self.services[name].pool, index)));
        }
    }
}

#[cfg(test)]
#[path = "reweigh_tests.rs"]
mod tests;
