//! What was found to be different from what was told, on its way to the exchange.

use std::collections::BTreeMap;
use std::collections::btree_map::IntoIter;
use std::sync::Arc;

use super::directory::{Directory, Entry};
use super::item::{Key, Value};
use super::message::Item;

/// Changes, by realm.
#[derive(Default)]
pub struct Changes(BTreeMap<Arc<str>, Vec<Item>>);

impl Changes {
    /// Something of a realm is so now, or gone.
    pub fn push(&mut self, realm: &Arc<str>, key: Key, value: Option<Value>) {
        match self.0.get_mut(realm) {
            Some(items) => items.push((key, value)),
            None => drop(self.0.insert(Arc::clone(realm), vec![(key, value)])),
        }
    }
}

impl IntoIterator for Changes {
    type Item = (Arc<str>, Vec<Item>);
    type IntoIter = IntoIter<Arc<str>, Vec<Item>>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

/// The services of which anything is to be told. Records of one service mostly follow one another, so the last answer is kept.
pub struct Noted<'a, F> {
    directory: &'a Directory,
    notes: F,
    last: Option<(u32, Option<&'a Arc<Entry>>)>,
}

impl<'a, F: Fn(&str) -> bool> Noted<'a, F> {
    /// `notes` says of which realms anything is to be told.
    pub fn new(directory: &'a Directory, notes: F) -> Self {
        Self { directory, notes, last: None }
    }

    /// What the tables mean.
    pub fn directory(&self) -> &'a Directory {
        self.directory
    }

    /// The service whose records name a pool, if anything is to be told of it.
    pub fn of_pool(&mut self, pool: u32) -> Option<&'a Arc<Entry>> {
        if let Some((_, entry)) = self.last.filter(|(last, _)| *last == pool) {
            return entry;
        }
        let entry = self.directory.of_pool(pool).filter(|entry| (self.notes)(&entry.realm));
        self.last = Some((pool, entry));
        entry
    }

    /// Whether anything of this service is to be told.
    pub fn takes(&self, entry: &Entry) -> bool {
        (self.notes)(&entry.realm)
    }
}
