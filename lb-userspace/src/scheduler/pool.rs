//! The backends of a service, with indices that stay: who they are, what they weigh, and which slots they own.
//!
//! A slot's word and a flow's record name a backend by a small index, so an index must mean one backend for as long as
//! anything names it. Hence the rules:
//!
//! - A backend keeps its index while it is configured, and when it is removed it stays as a *leaving* member: weight 0,
//!   its row in place, its flows served, until no slot and no record names it ([`Pool::release`]). Coming back before
//!   that it finds its old index.
//! - Draining (weight 0) and leaving are the same to the slots: the backend is *up*, its flows are its own.
//! - Down ([`Pool::set_up`]) is for a backend whose flows are lost anyway (`on_down = "reset"`, or an operator's word).
//!   A failed check under `on_down = "keep"` is weight 0, not down.
//! - New indices are given in the order of identities, lowest free first, so that two nodes, or two pools, that start
//!   from the same configuration agree on them too; tables agree in any case.
//!
//! The pool takes *effective* weights; how health, slow start and operators make them is decided elsewhere.

use std::collections::BTreeMap;
use std::sync::OnceLock;
use std::time::Duration;

use super::maglev::{self, Member};
use super::seed::Seed;
use super::slots::told::History;
use super::slots::{Records, SlotTable, SlotWrite, SweepReport, WRITE_MARGIN};

/// The pool has no index left for the backends asked for; nothing was changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{needed} backends, of which {leaving} are leaving, do not fit into a pool of {capacity}")]
pub struct PoolFull {
    /// How many indices the members would take, leaving ones included.
    pub needed: usize,
    /// How many of them belong to removed backends that still have flows.
    pub leaving: usize,
    /// How many there are.
    pub capacity: u16,
}

/// One backend of a pool.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PoolMember {
    /// What slots and records call it; its row is this many after the pool's first.
    pub index: u16,
    /// Its effective weight.
    pub weight: u32,
    /// False when its flows are lost: slots and records that name it count as naming nobody.
    pub up: bool,
    /// Removed from the configuration, but still named.
    pub leaving: bool,
}

impl PoolMember {
    fn share(&self) -> u32 {
        if self.up && !self.leaving { self.weight } else { 0 }
    }
}

/// What a change of the members means for the maps.
///
/// In this order: rows of `added` are written, then `writes` are stored, then records that name `forget` are deleted.
/// The backend must not be set up again before that is done.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct PoolChange {
    /// Indices that were given out.
    pub added: Vec<u16>,
    /// Slot words that changed.
    pub writes: Vec<SlotWrite>,
    /// The indices of backends that went down.
    pub forget: Vec<u16>,
}

/// The members of one pool and the lookup table they own.
#[derive(Clone, Debug)]
pub struct Pool {
    seed: Seed,
    capacity: u16,
    members: BTreeMap<String, PoolMember>,
    slots: SlotTable,
    /// Shares by index that the slots were last given out for.
    computed_for: Vec<(u16, u32)>,
    /// Since when no slot is known to name a leaving member, by index.
    unnamed: BTreeMap<u16, Duration>,
    /// [`Pool::lookup_table_hash`], once somebody asked for it: it takes a walk over the whole table.
    hash: OnceLock<u64>,
}

impl Pool {
    /// An empty pool: a table of `table_size` slots, and room for `capacity` backends, leaving ones included.
    pub fn new(table_size: u32, capacity: u16, seed: Seed) -> Self {
        Self {
            seed,
            capacity,
            members: BTreeMap::new(),
            slots: SlotTable::new(table_size),
            computed_for: Vec::new(),
            unnamed: BTreeMap::new(),
            hash: OnceLock::new(),
        }
    }

    /// Makes these, by identity and effective weight, the members. Those not named any more are leaving.
    pub fn set_members(&mut self, now: Duration, desired: &[(&str, u32)]) -> Result<PoolChange, PoolFull> {
        let desired: BTreeMap<&str, u32> = desired.iter().copied().collect();
        self.check_room(&desired)?;
        for (identity, member) in &mut self.members {
            member.leaving = !desired.contains_key(identity.as_str());
            if !member.leaving {
                self.unnamed.remove(&member.index);
            }
        }
        let added = desired.iter().filter_map(|(identity, &weight)| self.admit(identity, weight)).collect();
        Ok(PoolChange { added, writes: self.retarget(now), forget: Vec::new() })
    }

    /// Makes these, by identity, the members, with their effective weights and whether they are up to their flows: all at
    /// once, so that no slot goes to a backend that has it only in between.
    pub fn set_standings(&mut self, now: Duration, desired: &[(&str, u32, bool)]) -> Result<PoolChange, PoolFull> {
        let weights: BTreeMap<&str, u32> = desired.iter().map(|&(identity, weight, _)| (identity, weight)).collect();
        self.check_room(&weights)?;
        for (identity, member) in &mut self.members {
            member.leaving = !weights.contains_key(identity.as_str());
            if !member.leaving {
                self.unnamed.remove(&member.index);
            }
        }
        let added = weights.iter().filter_map(|(identity, &weight)| self.admit(identity, weight)).collect();
        let mut forget = Vec::new();
        for &(identity, _, up) in desired {
            let member = self.members.get_mut(identity).expect("whoever is desired was admitted");
            if member.up && !up {
                forget.push(member.index);
            }
            member.up = up;
        }
        let mut writes = self.retarget(now);
        for &index in &forget {
            writes.extend(self.slots.backend_down(now, index));
        }
        Ok(PoolChange { added, writes, forget })
    }

    /// A backend is dead to its flows, or alive again. Unknown identities change nothing.
    pub fn set_up(&mut self, now: Duration, identity: &str, up: bool) -> PoolChange {
        let Some(member) = self.members.get_mut(identity).filter(|member| member.up != up) else {
            return PoolChange::default();
        };
        member.up = up;
        let index = member.index;
        let mut writes = self.retarget(now);
        if !up {
            writes.extend(self.slots.backend_down(now, index));
        }
        PoolChange { added: Vec::new(), writes, forget: if up { Vec::new() } else { vec![index] } }
    }

    /// Moves slots on whose time has come: see [`SlotTable::sweep`].
    pub fn sweep(
        &mut self,
        now: Duration,
        idle_timeout: Duration,
        records: &impl Records,
    ) -> (Vec<SlotWrite>, SweepReport) {
        self.slots.sweep(now, idle_timeout, records)
    }

    /// Takes over the history of another node's table: see [`SlotTable::adopt`].
    pub fn adopt(&mut self, now: Duration, told: &BTreeMap<u32, History>, settles: bool) -> Vec<SlotWrite> {
        self.slots.adopt(now, told, settles)
    }

    /// Lets leaving backends go that nothing names any more, and returns them: their rows may be cleared, their indices
    /// will be given to others.
    ///
    /// `recorded` says whether any flow record that the packet path would follow names an index, by a survey that began
    /// at `surveyed_from`. One that began while a slot still named the index says nothing: the slot's next packet may
    /// have made a record behind its back.
    pub fn release(
        &mut self,
        now: Duration,
        surveyed_from: Duration,
        recorded: impl Fn(u16) -> bool,
    ) -> Vec<(String, u16)> {
        let (slots, unnamed) = (&self.slots, &mut self.unnamed);
        let mut may_go = |index: u16| {
            if slots.names(index) {
                unnamed.remove(&index);
                return false;
            }
            let since = *unnamed.entry(index).or_insert(now);
            since + WRITE_MARGIN <= surveyed_from && !recorded(index)
        };
        let gone: Vec<(String, u16)> = self
            .members
            .extract_if(.., |_, member| member.leaving && may_go(member.index))
            .map(|(identity, member)| (identity, member.index))
            .collect();
        self.unnamed.retain(|at, _| gone.iter().all(|(_, index)| index != at));
        gone
    }

    /// Starts the clocks anew, those of slots ([`SlotTable::restart_clocks`]) and those of leaving members.
    pub fn restart_clocks(&mut self, now: Duration) {
        self.unnamed.clear();
        self.slots.restart_clocks(now);
    }

    /// All members, leaving ones included, in the order of their identities.
    pub fn members(&self) -> impl Iterator<Item = (&str, &PoolMember)> {
        self.members.iter().map(|(identity, member)| (identity.as_str(), member))
    }

    /// The member of this identity.
    pub fn member(&self, identity: &str) -> Option<&PoolMember> {
        self.members.get(identity)
    }

    /// Who an index stands for.
    pub fn identity(&self, index: u16) -> Option<&str> {
        self.members().find(|(_, member)| member.index == index).map(|(identity, _)| identity)
    }

    /// The table as it stands.
    pub fn slots(&self) -> &SlotTable {
        &self.slots
    }

    /// What two nodes compare: equal when new flows go to the same backends, whatever indices they have.
    pub fn lookup_table_hash(&self) -> u64 {
        *self.hash.get_or_init(|| self.compute_hash())
    }

    fn compute_hash(&self) -> u64 {
        let identities: BTreeMap<u16, &str> =
            self.members().map(|(identity, member)| (member.index, identity)).collect();
        let owners: Vec<u16> = self.slots.words().iter().map(|word| word.current()).collect();
        maglev::lookup_table_hash(&owners, |index| identities.get(&index).copied())
    }

    /// What makes two pools alike: table size, seed, and members with their indices, shares and states. Two pools that
    /// are alike and both settled have equal tables, and can share one in the maps until either of them changes.
    pub fn fingerprint(&self) -> u64 {
        let mut bytes = self.slots.words().len().to_le_bytes().to_vec();
        for (identity, member) in &self.members {
            bytes.extend_from_slice(&identity.len().to_le_bytes());
            bytes.extend_from_slice(identity.as_bytes());
            bytes.extend_from_slice(&member.index.to_le_bytes());
            bytes.extend_from_slice(&member.weight.to_le_bytes());
            bytes.extend_from_slice(&[u8::from(member.up), u8::from(member.leaving)]);
        }
        self.seed.hash(FINGERPRINT, &bytes).0
    }

    /// Whether another pool has the same members with the same indices, and the same words: what one does with a packet the
    /// other does too. Their clocks may differ.
    pub fn is_like(&self, other: &Self) -> bool {
        self.members == other.members && self.slots.words() == other.slots.words()
    }

    fn check_room(&self, desired: &BTreeMap<&str, u32>) -> Result<(), PoolFull> {
        let leaving = self.members.keys().filter(|identity| !desired.contains_key(identity.as_str())).count();
        let needed = desired.len() + leaving;
        if needed > usize::from(self.capacity) {
            return Err(PoolFull { needed, leaving, capacity: self.capacity });
        }
        Ok(())
    }

    /// Sets the weight of a member; the index if it is a new one.
    fn admit(&mut self, identity: &str, weight: u32) -> Option<u16> {
        if let Some(member) = self.members.get_mut(identity) {
            member.weight = weight;
            return None;
        }
        let index = self.lowest_free_index();
        self.members.insert(identity.to_owned(), PoolMember { index, weight, up: true, leaving: false });
        Some(index)
    }

    fn lowest_free_index(&self) -> u16 {
        let mut taken: Vec<u16> = self.members.values().map(|member| member.index).collect();
        taken.sort_unstable();
        (0..self.capacity)
            .zip(taken.iter().map(Some).chain(std::iter::repeat(None)))
            .find(|(index, taken)| *taken != Some(index))
            .map(|(index, _)| index)
            .expect("room was checked before anyone is admitted")
    }

    /// Gives the slots to whom they belong by the members' shares.
    fn retarget(&mut self, now: Duration) -> Vec<SlotWrite> {
        let shares: Vec<(u16, u32)> = self.members.values().map(|member| (member.index, member.share())).collect();
        if shares == self.computed_for {
            return Vec::new();
        }
        let members: Vec<Member> = self
            .members
            .iter()
            .map(|(identity, member)| Member { identity, index: member.index, weight: member.share() })
            .collect();
        let size = self.slots.words().len() as u32;
        let owners = maglev::table(&members, size, &self.seed);
        let down: Vec<u16> = self.members.values().filter(|member| !member.up).map(|member| member.index).collect();
        self.computed_for = shares;
        self.hash = OnceLock::new();
        self.slots.retarget(now, &owners, |index| !down.contains(&index))
    }
}

/// Purpose of [`Seed::hash`] for fingerprints of pools.
const FINGERPRINT: u8 = 5;

#[cfg(test)]
#[path = "pool_tests.rs"]
mod tests;
