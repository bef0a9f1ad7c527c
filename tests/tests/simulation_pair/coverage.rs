//! How much of what matters histories had in them.

use std::collections::BTreeMap;

/// Counts by what was counted.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Coverage(BTreeMap<&'static str, u64>);

impl Coverage {
    pub fn note(&mut self, what: &'static str) {
        self.more(what, 1);
    }

    pub fn more(&mut self, what: &'static str, count: u64) {
        *self.0.entry(what).or_default() += count;
    }

    pub fn add(&mut self, other: &Self) {
        other.0.iter().for_each(|(what, count)| self.more(what, *count));
    }

    pub fn of(&self, what: &str) -> u64 {
        self.0.get(what).copied().unwrap_or(0)
    }
}
