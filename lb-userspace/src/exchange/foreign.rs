//! What the teller's indices stand for: it says which identity each has before it uses it, and here that is remembered, by realm and
//! service, so that its records can be put into our tables and its weights into ours.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::item::{Backend, SLOTS_PER_BLOCK, SlotNote};
use crate::reconcile::placed::{Standing, Standings};

/// See the module's description.
#[derive(Debug, Default)]
pub struct Foreign {
    realms: BTreeMap<Arc<str>, BTreeMap<Arc<str>, Service>>,
}

/// A service, as its teller has it: blocks of backends.
#[derive(Debug, Default)]
struct Service {
    blocks: BTreeMap<u32, Vec<Backend>>,
    identities: BTreeMap<u16, Arc<str>>,
    table: Option<u64>,
    /// Slots that are not settled, once anything was told of slots.
    slots: Option<Slots>,
}

/// By slot: whom flows without a record belong to, and since when, by our clock.
type Slots = Arc<BTreeMap<u32, (Arc<str>, Duration)>>;

/// Slots that a lookup table can have.
const MOST_SLOTS: u32 = 1 << 20;

impl Foreign {
    /// A block of backends of a service is so now, or gone.
    pub fn note(&mut self, realm: &Arc<str>, service: &Arc<str>, block: u32, backends: Option<Vec<Backend>>) {
        let services = self.realms.entry(Arc::clone(realm)).or_default();
        let it = services.entry(Arc::clone(service)).or_default();
        for old in it.blocks.remove(&block).into_iter().flatten() {
            it.identities.remove(&old.index);
        }
        if let Some(backends) = backends {
            it.identities.extend(backends.iter().map(|backend| (backend.index, Arc::clone(&backend.identity))));
            it.blocks.insert(block, backends);
        }
        if it.blocks.is_empty() {
            services.remove(service);
        }
    }

    /// The lookup table of a service is so now.
    pub fn note_table(&mut self, realm: &Arc<str>, service: &Arc<str>, hash: Option<u64>) {
        let services = self.realms.entry(Arc::clone(realm)).or_default();
        if let Some(it) = services.get_mut(service) {
            it.table = hash;
        }
    }

    /// A block of slots of a service is so now; `since` says what a time of the teller's is here. Whether it was taken: of a service of
    /// which nothing else was told it is not.
    pub fn note_slots(
        &mut self,
        realm: &str,
        service: &str,
        block: u32,
        notes: &[SlotNote],
        since: impl Fn(u64) -> Duration,
    ) -> bool {
        let it = self.realms.get_mut(realm).and_then(|services| services.get_mut(service));
        let (Some(it), true) = (it, block < MOST_SLOTS / SLOTS_PER_BLOCK) else { return false };
        let (first, last) = (block * SLOTS_PER_BLOCK, (block + 1) * SLOTS_PER_BLOCK - 1);
        let slots = Arc::make_mut(it.slots.get_or_insert_default());
        slots.retain(|slot, _| !(first..=last).contains(slot));
        for note in notes.iter().filter(|note| (first..=last).contains(&note.slot)) {
            if let Some(identity) = it.identities.get(&note.previous) {
                slots.insert(note.slot, (Arc::clone(identity), since(note.since)));
            }
        }
        true
    }

    /// Such slots of a service, by their number; those whose previous owner nobody has explained are left out.
    pub fn slots_of(
        &self,
        realm: &str,
        service: &str,
        notes: &[SlotNote],
        since: impl Fn(u64) -> Duration,
    ) -> BTreeMap<u32, (Arc<str>, Duration)> {
        let owner = |note: &SlotNote| self.identity(realm, service, note.previous).cloned();
        notes.iter().filter_map(|note| Some((note.slot, (owner(note)?, since(note.since))))).collect()
    }

    /// What was told of slots of a realm counts no more: another claim was made.
    pub fn forget_slots(&mut self, realm: &str) {
        let told = self.realms.get_mut(realm).into_iter().flat_map(BTreeMap::values_mut);
        told.filter_map(|it| it.slots.as_mut()).for_each(|slots| *slots = Slots::default());
    }

    /// Of the slots of a realm none is unsettled but in blocks that `is_kept` says.
    pub fn keep_slots(&mut self, realm: &str, is_kept: impl Fn(&Arc<str>, u32) -> bool) {
        for (name, it) in self.realms.get_mut(realm).into_iter().flatten() {
            let Some(slots) = &mut it.slots else { continue };
            Arc::make_mut(slots).retain(|slot, _| is_kept(name, slot / SLOTS_PER_BLOCK));
        }
    }

    /// The slots of a service that are not settled; `None`: its teller says nothing of slots.
    pub fn slots(&self, realm: &str, service: &str) -> Option<&Slots> {
        self.realms.get(realm)?.get(service)?.slots.as_ref()
    }

    /// The hash of the lookup table of a service, if it was told.
    pub fn table(&self, realm: &str, service: &str) -> Option<u64> {
        self.realms.get(realm)?.get(service)?.table
    }

    /// Of a realm there is nothing but what `is_kept` says, by service and block. The services that changed.
    pub fn keep(&mut self, realm: &str, is_kept: impl Fn(&Arc<str>, u32) -> bool) -> Vec<Arc<str>> {
        let Some(services) = self.realms.get(realm) else { return Vec::new() };
        let blocks =
            services.iter().flat_map(|(name, it)| it.blocks.keys().map(move |block| (Arc::clone(name), *block)));
        let gone: Vec<(Arc<str>, u32)> = blocks.filter(|(name, block)| !is_kept(name, *block)).collect();
        let realm: Arc<str> = realm.into();
        gone.iter().for_each(|(name, block)| self.note(&realm, name, *block, None));
        let mut names: Vec<Arc<str>> = gone.into_iter().map(|(name, _)| name).collect();
        names.dedup();
        names
    }

    /// Who an index of the teller's stands for.
    pub fn identity(&self, realm: &str, service: &str, index: u16) -> Option<&Arc<str>> {
        self.realms.get(realm)?.get(service)?.identities.get(&index)
    }

    /// What the teller makes its table from; `None`: it has said nothing of the service.
    pub fn standings(&self, realm: &str, service: &str) -> Option<Standings> {
        let it = self.realms.get(realm)?.get(service)?;
        let members = it.blocks.values().flatten().filter(|backend| !backend.leaving);
        let standing = |it: &Backend| (it.identity.to_string(), Standing { weight: it.weight, up: it.up });
        Some(members.map(standing).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn backend(index: u16, identity: &str, leaving: bool) -> Backend {
        Backend { index, weight: 100, up: true, leaving, identity: identity.into() }
    }

    #[test]
    fn an_index_stands_for_who_was_said_last_and_for_nobody_once_its_block_is_gone() {
        let (realm, web): (Arc<str>, Arc<str>) = ("public".into(), "web".into());
        let mut foreign = Foreign::default();
        foreign.note(&realm, &web, 0, Some(vec![backend(0, "a", false), backend(1, "b", true)]));
        foreign.note(&realm, &web, 1, Some(vec![backend(128, "c", false)]));
        let identity = |foreign: &Foreign, index| foreign.identity("public", "web", index).map(ToString::to_string);
        assert_eq!(identity(&foreign, 128).as_deref(), Some("c"));
        let standings = foreign.standings("public", "web").expect("it was told");
        assert_eq!(standings.keys().collect::<Vec<_>>(), ["a", "c"], "who leaves has no standing");
        foreign.note(&realm, &web, 0, Some(vec![backend(0, "d", false)]));
        assert_eq!([0, 1].map(|index| identity(&foreign, index)), [Some("d".to_owned()), None]);
        assert_eq!(foreign.keep("public", |_, block| block == 0), [web]);
        assert_eq!(identity(&foreign, 128), None);
        assert_eq!(foreign.identity("inside", "web", 0), None, "another realm's are another's");
    }
}
