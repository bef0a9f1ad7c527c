//! Slots of tables that another node's master settles: what it tells of them is taken over, and this node settles none by itself.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use lb_common::slot::{NONE, SlotState};

use super::Planner;
use crate::reconcile::image::Image;
use crate::reconcile::placed::{Extent, ToldSlots};
use crate::reconcile::write::Write;
use crate::scheduler::slots::told::History;

/// What a table is to take over, under its own indices.
type Adoption = (BTreeMap<u32, History>, bool);

impl Planner {
    /// The slots of these services are settled when the other node's master says so, and of no others.
    pub fn leave_settling(&mut self, services: BTreeSet<Arc<str>>) {
        self.settled_elsewhere = services;
    }

    /// The slots of these services, of which this was told last, are settled here from now on. Where not all of it was told of a table
    /// like ours, slots have had two owners here and not at the master, who has made no records of their flows: they begin to be seen only now.
    pub fn settle_again(&mut self, now: Duration, told: &BTreeMap<Arc<str>, Arc<ToldSlots>>) {
        for (name, told) in told {
            let Some(number) = self.services.get(&**name).map(|placed| placed.table) else { continue };
            let table = self.tables.get(number);
            if !table.pool.slots().is_settled() && told.extent != Extent::Whole(Some(table.pool.lookup_table_hash())) {
                self.tables.get_mut(number).pool.restart_clocks(now);
            }
        }
    }

    /// Tables that are not swept: those that some service has whose slots are settled elsewhere. Whoever shares one waits with it.
    pub(super) fn settled_elsewhere(&self) -> BTreeSet<u32> {
        self.settled_elsewhere.iter().filter_map(|name| Some(self.services.get(&**name)?.table)).collect()
    }

    /// Takes over what is told of slots, by service. The writes, and the services of which not all was taken over since the tables are
    /// not the same yet.
    ///
    /// Services of one table that are told different things part; whoever finds no room for a table of its own keeps what it has.
    pub fn adopt(
        &mut self,
        now: Duration,
        image: &Image,
        told: &BTreeMap<Arc<str>, Arc<ToldSlots>>,
    ) -> (Vec<Write>, BTreeSet<Arc<str>>) {
        let (mut by_table, mut owed) = (BTreeMap::<u32, BTreeMap<Adoption, Vec<String>>>::new(), BTreeSet::new());
        for (name, told) in told {
            let Some(number) = self.services.get(&**name).map(|placed| placed.table) else { continue };
            let Some(adoption) = self.adoption(number, told) else { continue };
            if matches!(told.extent, Extent::Whole(_)) && !adoption.1 {
                owed.insert(name.clone());
            }
            by_table.entry(number).or_default().entry(adoption).or_default().push(name.to_string());
        }
        let (mut writes, mut live, mut left) = (Vec::new(), Vec::new(), BTreeSet::new());
        let (together, apart): (Vec<_>, Vec<_>) = by_table.into_iter().partition(|(number, groups)| {
            let users = self.services.values().filter(|placed| placed.table == *number).count();
            groups.len() == 1 && groups.values().all(|services| services.len() == users)
        });
        let barred: BTreeSet<u32> = together.iter().map(|(number, _)| *number).collect();
        for (number, groups) in together {
            for (history, settles) in groups.into_keys() {
                let table = self.tables.get_mut(number);
                let changes = table.pool.adopt(now, &history, settles);
                live.extend(table.writes(&changes));
            }
        }
        for (number, groups) in apart {
            for ((history, settles), services) in groups {
                let mut table = self.tables.get(number).clone();
                if table.pool.adopt(now, &history, settles).is_empty() {
                    continue;
                }
                if let Ok((to, fill)) = self.tables.settle_down(now, table, &barred) {
                    writes.extend(fill);
                    left.extend(self.move_to(to, &services));
                }
            }
        }
        if !left.is_empty() {
            writes.extend(self.publish(image).expect("the same keys as before have the same perfect hash"));
            let used: BTreeSet<u32> = self.services.values().map(|placed| placed.table).collect();
            left.difference(&used).for_each(|&number| self.tables.remove(number));
        }
        writes.append(&mut live);
        (writes, owed)
    }

    /// What is told, under a table's indices; `None`: nothing is known. All of it counts only if the owners are the same: else flows of
    /// whom the teller has in a slot would be lost that is settled there.
    fn adoption(&self, number: u32, told: &ToldSlots) -> Option<Adoption> {
        let pool = &self.tables.get(number).pool;
        let settles = match told.extent {
            Extent::Unknown => return None,
            Extent::Part | Extent::LastWords => false,
            Extent::Whole(hash) => hash == Some(pool.lookup_table_hash()),
        };
        let word = |slot: u32| pool.slots().words().get(slot as usize);
        let history = told.slots.iter().filter_map(|(&slot, (identity, since))| {
            let (member, word) = (pool.member(identity).map(|member| member.index), word(slot)?);
            let previous = match (told.extent, word.current()) {
                (Extent::LastWords, _) if word.state() != SlotState::Settled => return None,
                (Extent::LastWords, NONE) => member?,
                // Flows without a record are its own already, some of them since it is master here; but of others there are records.
                (Extent::LastWords, current) => current,
                // Of a previous owner that nobody is here there are no flows to keep, but records of others may be.
                (Extent::Unknown | Extent::Part | Extent::Whole(_), current) => member.unwrap_or(current),
            };
            Some((slot, History { previous, since: *since }))
        });
        Some((history.collect(), settles))
    }
}

#[cfg(test)]
#[path = "told_tests.rs"]
mod tests;
