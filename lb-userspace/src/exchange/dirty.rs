//! What has changed of a realm and is not told yet, by key: what changes a thousand times waits once.

use std::collections::BTreeMap;

use foldhash::fast::RandomState;
use indexmap::IndexMap;

use super::item::{Key, Value};
use super::message::Item;

/// See the module's description.
#[derive(Debug, Default)]
pub(super) struct Dirty {
    /// Who the backends are, which comes before what names them, in the order in which it is told.
    others: BTreeMap<Key, Option<Value>>,
    /// Records; those that changed last are told first, since they are what a failover must not lose.
    records: IndexMap<Key, Option<Value>, RandomState>,
}

impl Dirty {
    /// This is so now, or gone.
    pub fn insert(&mut self, key: Key, value: Option<Value>) {
        if key.is_record() {
            self.records.insert(key, value);
        } else {
            self.others.insert(key, value);
        }
    }

    /// This is so now, if it waits; else what is so.
    pub fn replace(&mut self, key: &Key, value: Value) -> Option<Value> {
        let waiting = if key.is_record() { self.records.get_mut(key) } else { self.others.get_mut(key) };
        match waiting {
            Some(waiting) => {
                *waiting = Some(value);
                None
            }
            None => Some(value),
        }
    }

    /// The next to be told.
    pub fn pop(&mut self) -> Option<Item> {
        self.others.pop_first().or_else(|| self.records.pop())
    }

    /// How many wait.
    pub fn len(&self) -> usize {
        self.others.len() + self.records.len()
    }

    /// Whether none does.
    pub fn is_empty(&self) -> bool {
        self.others.is_empty() && self.records.is_empty()
    }

    /// Forgets all.
    pub fn clear(&mut self) {
        self.others.clear();
        self.records.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::super::item::{FlowId, FlowRecord};
    use super::*;

    fn flow(number: u8) -> Key {
        Key::Flow(FlowId([number; 40]), true)
    }

    fn record(state: u16) -> Option<Value> {
        Some(Value::Flow(FlowRecord { backend: 1, state, last_seen: 1 }))
    }

    #[test]
    fn what_explains_goes_first_and_each_flow_is_told_once_as_it_is_now() {
        let mut dirty = Dirty::default();
        let backends = |block| Key::Backends("web".into(), block);
        for (key, value) in [
            (flow(1), record(1)),
            (backends(1), None),
            (flow(2), record(1)),
            (flow(1), record(2)),
            (backends(0), None),
            (flow(2), None),
        ] {
            dirty.insert(key, value);
        }
        assert_eq!(dirty.len(), 4);
        let told: Vec<Item> = std::iter::from_fn(|| dirty.pop()).collect();
        assert_eq!(told, [(backends(0), None), (backends(1), None), (flow(2), None), (flow(1), record(2))]);
        assert!(dirty.is_empty());
        let Some(new) = record(3) else { unreachable!("it is one") };
        assert_eq!(dirty.replace(&flow(1), new.clone()), record(3), "it does not wait");
        dirty.insert(flow(1), None);
        assert_eq!(dirty.replace(&flow(1), new), None);
        assert_eq!(dirty.pop(), Some((flow(1), record(3))));
        dirty.insert(flow(1), None);
        dirty.clear();
        assert_eq!(dirty.pop(), None);
    }
}
