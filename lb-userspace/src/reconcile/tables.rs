//! Lookup tables and who uses them. Services whose pools are alike share one; it is copied before they diverge.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use lb_common::slot::Slot;

use super::ranges::Ranges;
use super::write::Write;
use crate::scheduler::pool::{Pool, PoolFull};
use crate::scheduler::seed::Seed;
use crate::scheduler::slots::SlotWrite;

/// Backends of a pool, leaving ones included: indices are 16 bits, of which one value means "none".
const POOL_CAPACITY: u16 = u16::MAX - 1;

/// What decides whether two services can share a table.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Wish {
    /// Slots.
    pub size: u32,
    /// How long unrecorded flows of a previous owner may be silent.
    pub settle: Duration,
    /// Identities with effective weights, and whether they are up to their flows; sorted.
    pub members: Vec<(String, u32, bool)>,
}

impl Wish {
    fn members(&self) -> Vec<(&str, u32, bool)> {
        self.members.iter().map(|(identity, weight, up)| (identity.as_str(), *weight, *up)).collect()
    }
}

/// What becoming another wish means for a table.
#[derive(Clone, Debug, Default)]
pub struct Moved {
    /// Words that change.
    pub words: Vec<Write>,
    /// Indices of backends that went down: records that name them are to be deleted.
    pub forget: Vec<u16>,
}

/// One lookup table.
#[derive(Clone, Debug)]
pub struct Table {
    /// The backends and the slots' words.
    pub pool: Pool,
    /// Where its slots start in the map.
    pub first_slot: u32,
    /// See [`Wish::settle`].
    pub settle: Duration,
}

impl Table {
    /// An empty pool in `size` slots from `first_slot` on, filled for `wish`.
    pub fn new(wish: &Wish, first_slot: u32, seed: Seed) -> Result<Self, PoolFull> {
        let mut pool = Pool::new(wish.size, POOL_CAPACITY, seed);
        // A new table has no flows: its slots are settled from the start, whatever the time.
        pool.set_standings(Duration::ZERO, &wish.members())?;
        Ok(Self { pool, first_slot, settle: wish.settle })
    }

    /// Slots.
    pub fn size(&self) -> u32 {
        u32::try_from(self.pool.slots().words().len()).expect("a table has at most 2^20 slots")
    }

    /// Changes the members, their weights and whether they are up.
    pub fn become_wish(&mut self, now: Duration, wish: &Wish) -> Result<Moved, PoolFull> {
        self.settle = wish.settle;
        let change = self.pool.set_standings(now, &wish.members())?;
        Ok(Moved { words: self.writes(&change.writes), forget: change.forget })
    }

    /// The write that stores all words.
    pub fn store_all(&self) -> Write {
        Write::Slots(self.first_slot, self.pool.slots().words().iter().map(|word: &Slot| word.0).collect())
    }

    /// Slot changes as writes to the map.
    pub fn writes(&self, changes: &[SlotWrite]) -> Vec<Write> {
        changes.iter().map(|change| Write::Slot(self.first_slot + change.slot, change.word.0)).collect()
    }

    /// Whether nothing is left of an earlier membership, so that a newcomer with the same wish may join.
    fn is_plain(&self) -> bool {
        self.pool.slots().is_settled() && self.pool.members().all(|(_, member)| member.up && !member.leaving)
    }

    /// The wish that the table fulfils.
    pub fn wish(&self) -> Wish {
        let active = self.pool.members().filter(|(_, member)| !member.leaving);
        Wish {
            size: self.size(),
            settle: self.settle,
            members: active.map(|(identity, member)| (identity.to_owned(), member.weight, member.up)).collect(),
        }
    }

    /// One past the highest index in use: the rows that a listener needs.
    pub fn rows(&self) -> u32 {
        self.pool.members().map(|(_, member)| u32::from(member.index) + 1).max().unwrap_or(0)
    }
}

/// All tables, by number.
#[derive(Clone, Debug)]
pub struct TableSet {
    tables: BTreeMap<u32, std::sync::Arc<Table>>,
    next: u32,
    ranges: Ranges,
    seed: Seed,
}

/// Why a lookup table cannot be made.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum TableError {
    /// The slots map is full.
    #[error(
        "no room for a lookup table of {size} slots: {available} are free; restart Fairway to size its tables anew, or use a smaller lookup_table_size"
    )]
    NoSlots {
        /// What was asked for.
        size: u32,
        /// What there is, in all gaps.
        available: u64,
    },
    /// The pool has too many backends.
    #[error(transparent)]
    Pool(#[from] PoolFull),
}

impl TableSet {
    /// No tables, and room for `slots`.
    pub fn new(slots: u32, seed: Seed) -> Self {
        let grain = u32::try_from(lb_common::limits::SLOTS_PER_ELEMENT).expect("a small number");
        Self { tables: BTreeMap::new(), next: 0, ranges: Ranges::new(slots, grain), seed }
    }

    /// The table of this number.
    pub fn get(&self, number: u32) -> &Table {
        self.tables.get(&number).expect("tables live as long as a service names them")
    }

    /// The same, to be held beside.
    pub fn shared(&self, number: u32) -> &std::sync::Arc<Table> {
        self.tables.get(&number).expect("tables live as long as a service names them")
    }

    /// The table of this number, to change.
    pub fn get_mut(&mut self, number: u32) -> &mut Table {
        let table = self.tables.get_mut(&number).expect("tables live as long as a service names them");
        std::sync::Arc::make_mut(table)
    }

    /// All tables.
    pub fn iter(&self) -> impl Iterator<Item = (u32, &Table)> {
        self.tables.iter().map(|(&number, table)| (number, &**table))
    }

    /// Tables that a newcomer may join, by what they fulfil.
    pub fn plain(&self) -> BTreeMap<Wish, u32> {
        self.iter().filter(|(_, table)| table.is_plain()).map(|(number, table)| (table.wish(), number)).collect()
    }

    /// A new table for `wish`, and the write that fills it.
    pub fn create(&mut self, wish: &Wish) -> Result<(u32, Write), TableError> {
        let first_slot = self.take(wish.size)?;
        let table = Table::new(wish, first_slot, self.seed)?;
        let write = table.store_all();
        Ok((self.insert(table), write))
    }

    /// A copy of a table with all its history. Where it lies nothing has been written yet ([`Table::store_all`]).
    ///
    /// Its clocks start anew: times of refusals are kept by place in the map, and a census that began before the copy
    /// counted the flows of its slots in the original.
    pub fn copy(&mut self, now: Duration, number: u32) -> Result<u32, TableError> {
        let mut table = self.get(number).clone();
        table.first_slot = self.take(table.size())?;
        table.pool.restart_clocks(now);
        Ok(self.insert(table))
    }

    /// Puts a copy of a table, which has become another wish, into a place of its own; or joins it to a table that is just
    /// like it, so that services of one table whom the same happens one after the other share one again. Its number, and
    /// the write that fills it if it is new.
    ///
    /// Not those of `barred` are joined: tables whose words are about to change in the map, because packets of the
    /// newcomers would find the old ones there for a moment.
    ///
    /// Clocks start anew, also those of a table that is joined: none of its slots may settle on account of what it was
    /// before others came. (See [`Self::copy`].)
    pub fn settle_down(
        &mut self,
        now: Duration,
        mut table: Table,
        barred: &BTreeSet<u32>,
    ) -> Result<(u32, Option<Write>), TableError> {
        let alike = |(number, known): &(u32, &Table)| {
            !barred.contains(number) && known.settle == table.settle && known.pool.is_like(&table.pool)
        };
        let known = self.iter().find(alike).map(|(number, _)| number);
        if let Some(known) = known {
            self.get_mut(known).pool.restart_clocks(now);
            return Ok((known, None));
        }
        table.pool.restart_clocks(now);
        table.first_slot = self.take(table.size())?;
        let write = table.store_all();
        Ok((self.insert(table), Some(write)))
    }

    /// Another table that is just like this one now, and not barred: joined as by [`Self::settle_down`].
    pub fn join_twin(&mut self, now: Duration, number: u32, barred: &BTreeSet<u32>) -> Option<u32> {
        let table = self.get(number);
        let is_twin = |(other, known): &(u32, &Table)| {
            *other != number
                && !barred.contains(other)
                && known.settle == table.settle
                && known.pool.is_like(&table.pool)
        };
        let twin = self.iter().find(is_twin).map(|(twin, _)| twin)?;
        self.get_mut(twin).pool.restart_clocks(now);
        Some(twin)
    }

    /// Forgets a table that no service names any more. Its slots are used again by the next plan, not by this one.
    pub fn remove(&mut self, number: u32) {
        if let Some(table) = self.tables.remove(&number) {
            self.ranges.give(table.first_slot, table.size());
        }
    }

    fn take(&mut self, size: u32) -> Result<u32, TableError> {
        self.ranges.take(size).ok_or(TableError::NoSlots { size, available: self.ranges.available() })
    }

    fn insert(&mut self, table: Table) -> u32 {
        self.next += 1;
        self.tables.insert(self.next, std::sync::Arc::new(table));
        self.next
    }
}
