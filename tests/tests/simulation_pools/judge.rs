//! What packets find, held against what was said.

use std::collections::BTreeSet;

use fairway::health::pool::service::Pool;
use fairway::reconcile::placed::Placed;
use fairway::scheduler::maglev;
use lb_common::abi::{Service, row_state};
use lb_common::packet::protocol::TCP;
use lb_common::slot::{NONE, Slot};

use crate::model::{Condition, SERVICES, SORRY, server};
use crate::world::{Hashes, World};

impl World {
    /// Looks at the tables of all services.
    pub fn judge_tables(&mut self, hashes: &mut Hashes) -> Result<(), String> {
        for (at, (name, address)) in SERVICES.iter().enumerate().filter(|(at, _)| self.model.desired[*at].exists) {
            let address = std::net::IpAddr::from(*address);
            let entry = *self.tables.image.listener(address.into(), 80u16.to_be(), TCP).ok_or("it has no entry")?;
            let placed = &self.controller.planner().services()[*name];
            let pool = self.controller.pools().get(name).ok_or("it has no pool")?;
            let judged = self
                .judge_owners(at, &entry, pool)
                .and_then(|()| self.judge_rows(&entry, placed))
                .and_then(|()| self.judge_cuts(at, pool));
            judged.map_err(|violation| format!("service {name}: {violation}"))?;
            if pool.is_gathering() {
                continue;
            }
            let known = self.judge_hash(&entry, placed, pool, hashes).map_err(|it| format!("service {name}: {it}"))?;
            self.coverage.looks += 1;
            self.coverage.found_again += u64::from(known);
        }
        Ok(())
    }

    /// Who owns slots is permitted to, and somebody does if anybody is.
    fn judge_owners(&self, at: usize, entry: &Service, pool: &Pool) -> Result<(), String> {
        let owners: BTreeSet<Option<u8>> = self.owners(entry).into_iter().collect();
        let (up, ..) = self.model.counts(at);
        let service = &self.model.desired[at];
        if service.sorry && self.model.lost.get(&at) == Some(&true) {
            let sorry = BTreeSet::from([Some(SORRY)]);
            return if owners == sorry {
                Ok(())
            } else {
                Err(format!("there is a sorry server, and {owners:?} serve"))
            };
        }
        let distrusts = self.model.distrusts(at);
        let condition = |number| self.model.condition(at, number);
        for owner in owners.iter().flatten() {
            if !self.model.numbers(at).any(|number| number == *owner) || !self.model.is_enabled(at, *owner) {
                return Err(format!("{owner} is not to have new flows"));
            }
            if condition(*owner) != Condition::Up && !(distrusts && condition(*owner) == Condition::Down) {
                return Err(format!("{owner} is {:?}", condition(*owner)));
            }
        }
        if owners.contains(&None) != (up == 0) && !distrusts {
            return Err(format!("{up} backends are up, and owners are {owners:?}"));
        }
        if pool.is_gathering() {
            // Some have come up for the first time, and will have traffic in a moment.
            return Ok(());
        }
        let enabled: Vec<u8> = self.model.numbers(at).filter(|number| self.model.is_enabled(at, *number)).collect();
        if distrusts {
            let served = enabled.iter().filter(|number| condition(**number) != Condition::Unknown);
            let missing: Vec<&u8> = served.filter(|number| !is_served(pool, **number, &owners)).collect();
            return if missing.is_empty() { Ok(()) } else { Err(format!("{missing:?} do not keep traffic")) };
        }
        // Tiers: one is needed if those before it do not make the quorum.
        let needed = (service.quorum as usize).max(1);
        for number in enabled.iter().filter(|number| condition(**number) == Condition::Up) {
            let tier = self.model.tier(at, *number);
            let before =
                enabled.iter().filter(|it| self.model.tier(at, **it) < tier && condition(**it) == Condition::Up);
            let is_needed = before.count() < needed;
            if is_needed && !is_served(pool, *number, &owners) || !is_needed && owners.contains(&Some(*number)) {
                return Err(format!("{number} of tier {tier} is needed: {is_needed}; owners are {owners:?}"));
            }
        }
        Ok(())
    }

    /// Rows say who is up to his flows.
    fn judge_rows(&self, entry: &Service, placed: &Placed) -> Result<(), String> {
        let table = self.controller.planner().tables().get(placed.table);
        for (identity, member) in table.pool.members() {
            let row = &self.tables.image.rows[entry.first_row as usize + usize::from(member.index)];
            if (row.state == row_state::ALIVE) != member.up {
                return Err(format!("the row of {identity} is {}, and it is up: {}", row.state, member.up));
            }
        }
        let words: Vec<u32> = table.pool.slots().words().iter().map(|word| word.0).collect();
        let stored = &self.tables.image.slots[entry.first_slot as usize..][..words.len()];
        if stored == words { Ok(()) } else { Err("the words stored are not those decided".to_owned()) }
    }

    /// Nobody is cut off from his flows without a reason.
    fn judge_cuts(&self, at: usize, pool: &Pool) -> Result<(), String> {
        for member in pool.members().iter().filter(|member| !member.part.standing.up) {
            let number = self.model.numbers(at).find(|number| server(*number) == member.address);
            let number = number.ok_or_else(|| format!("{} is not in the file", member.name))?;
            if !self.model.may_be_cut_off(self.now, at, number) {
                return Err(format!("{} is cut off from its flows: {}", member.name, member.part.why));
            }
        }
        Ok(())
    }

    /// The same weights have given the same table before, if they have given any; whether they have.
    fn judge_hash(&self, entry: &Service, placed: &Placed, pool: &Pool, hashes: &mut Hashes) -> Result<bool, String> {
        let weights: Vec<(String, u32)> = pool
            .standings()
            .into_iter()
            .map(|(identity, standing)| (identity, if standing.up { standing.weight } else { 0 }))
            .filter(|(_, weight)| *weight > 0)
            .collect();
        let table = self.controller.planner().tables().get(placed.table);
        let words = &self.tables.image.slots[entry.first_slot as usize..][..table.size() as usize];
        let owners: Vec<u16> = words.iter().map(|word| Slot(*word).current()).collect();
        let hash = maglev::lookup_table_hash(&owners, |index| table.pool.identity(index));
        let known = hashes.contains_key(&weights);
        let before = *hashes.entry(weights.clone()).or_insert(hash);
        if before == hash { Ok(known) } else { Err(format!("{weights:?} gave another table before")) }
    }

    /// The servers that own slots; `None`: nobody owns some.
    fn owners(&self, entry: &Service) -> Vec<Option<u8>> {
        let size = 1usize << (64 - entry.shift);
        let words = &self.tables.image.slots[entry.first_slot as usize..][..size];
        let number = |word: &u32| {
            let owner = Slot(*word).current();
            let row = &self.tables.image.rows[entry.first_row as usize + usize::from(owner)];
            match std::net::IpAddr::from(row.address) {
                std::net::IpAddr::V4(address) => address.octets()[3],
                std::net::IpAddr::V6(_) => 0,
            }
        };
        words.iter().map(|word| (Slot(*word).current() != NONE).then(|| number(word))).collect()
    }
}

/// Whether a server gets new flows: it owns slots, or has a weight that is too small for one.
fn is_served(pool: &Pool, number: u8, owners: &BTreeSet<Option<u8>>) -> bool {
    let members = || pool.members().iter().map(|member| (member.address, member.part.standing.weight));
    let all: u32 = members().map(|(_, weight)| weight).sum();
    let (_, own) = members().find(|(address, _)| *address == server(number)).expect("it is configured");
    own > 0 && (owners.contains(&Some(number)) || own * SLOTS < all)
}

/// Slots of a table.
const SLOTS: u32 = 32;
