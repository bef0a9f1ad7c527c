//! One realm: who has claimed it, what is still to be told of it, and how far it is followed.

use std::collections::{BTreeMap, HashSet};

use super::item::{Key, Value};
use super::message::Item;

/// A realm, on this node.
#[derive(Debug, Default)]
pub(super) struct Realm {
    /// Of the claim that this node makes or follows.
    pub epoch: u64,
    /// The node that made the claim, by its boot; 0: nobody.
    pub owner: u64,
    /// The highest epoch heard of.
    pub highest: u64,
    /// This node is its master.
    pub master: bool,
    /// How far it is told.
    pub telling: Telling,
    /// What has changed and is not told yet.
    pub dirty: BTreeMap<Key, Option<Value>>,
    /// How far it is followed, in the session that there is.
    pub following: Option<Following>,
}

/// How far a realm is told.
#[derive(Debug, Default)]
pub(super) enum Telling {
    /// Not at all: we are not its master, or nobody listens.
    #[default]
    No,
    /// All of it is to be told; it was not asked for yet.
    Due,
    /// It was asked for.
    Asked,
    /// It is being told: what is left, last first.
    Bulk(Vec<(Key, Value)>),
    /// All was told; changes are.
    Live,
    /// The other node does not follow, before this moment at least.
    Refused {
        /// When to try again.
        again: std::time::Duration,
    },
}

/// How far a realm is followed.
#[derive(Debug)]
pub(super) struct Following {
    /// While all of it is being told: what was mentioned.
    pub mentioned: Option<HashSet<Key>>,
}

impl Realm {
    /// This node becomes its master: a claim above all others.
    pub fn claim(&mut self, boot: u64) {
        self.epoch = self.epoch.max(self.highest).saturating_add(1);
        (self.highest, self.owner) = (self.epoch, boot);
        self.master = true;
        self.following = None;
        self.tell_anew(Telling::Due);
    }

    /// This node is no longer its master.
    pub fn leave(&mut self) {
        self.master = false;
        self.tell_anew(Telling::No);
    }

    /// Begins anew with telling.
    pub fn tell_anew(&mut self, telling: Telling) {
        self.telling = telling;
        self.dirty.clear();
    }

    /// Whether changes are worth noting: else all is going to be told anyway, or nothing.
    pub fn notes_changes(&self) -> bool {
        match self.telling {
            Telling::Bulk(_) | Telling::Live => true,
            Telling::No | Telling::Due | Telling::Asked | Telling::Refused { .. } => false,
        }
    }

    /// Items that are to be told still.
    pub fn untold(&self) -> usize {
        let bulk = if let Telling::Bulk(left) = &self.telling { left.len() } else { 0 };
        bulk + self.dirty.len()
    }

    /// The next items to tell, about so many octets.
    pub fn next_items(&mut self, octets: usize) -> Vec<Item> {
        let mut items = Vec::new();
        let mut sum = 0;
        while sum < octets && items.len() < usize::from(u16::MAX) {
            let next = match &mut self.telling {
                Telling::Bulk(left) => left.pop().map(|(key, value)| (key, Some(value))),
                Telling::Live => self.dirty.pop_first(),
                Telling::No | Telling::Due | Telling::Asked | Telling::Refused { .. } => None,
            };
            let Some((key, value)) = next else { break };
            sum += weight(value.as_ref());
            items.push((key, value));
        }
        items
    }

    /// Whether all of it has been told by the node that claims it, in this session.
    pub fn is_followed(&self) -> bool {
        self.following.as_ref().is_some_and(|following| following.mentioned.is_none())
    }
}

/// Octets that an item takes, about.
fn weight(value: Option<&Value>) -> usize {
    48 + match value {
        Some(Value::Backends(backends)) => backends.iter().map(|backend| 8 + backend.identity.len()).sum(),
        Some(Value::Slots(notes)) => 14 * notes.len(),
        Some(Value::Table(_) | Value::Flow(_)) | None => 0,
    }
}
