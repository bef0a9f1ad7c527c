//! Which virtual router has which live word: names to indices, the same across reloads.
//!
//! Pure, and part of what a plan is made on. The words themselves are not written here: the VRRP thread alone does that.
//!
//! An index that is given to another name must not be read on behalf of the old one any more. [`LiveIndices::assign`]
//! therefore gives an index back only to the *next* call: by then the plan of this one, which rebuilds the entries that
//! name it and ends with a grace period, was carried out. And it goes round all indices before it gives one again, so that
//! a word which was left at 1 for its last packets has long been cleared.

use std::collections::{BTreeMap, BTreeSet};

use lb_common::limits::LIVE_WORDS;

/// Virtual routers that a configuration can have: every word but the first, which is always 1.
pub const MAX_ROUTERS: usize = LIVE_WORDS as usize - 1;

/// The indices given.
#[derive(Clone, Debug, Default)]
pub struct LiveIndices {
    given: BTreeMap<String, u32>,
    /// The index given last; 0 before the first.
    last: u32,
}

/// More virtual routers than live words.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error(
    "no live word is left for a virtual router: at most {MAX_ROUTERS} can be configured, counting those that this change takes away"
)]
pub struct NoLiveWord;

impl LiveIndices {
    /// Makes these the names that have an index: a name that has one keeps it, one that is gone loses it.
    ///
    /// # Errors
    /// When there are too many; then nothing is changed.
    pub fn assign<'a>(&mut self, names: impl IntoIterator<Item = &'a str>) -> Result<(), NoLiveWord> {
        let names: BTreeSet<&str> = names.into_iter().collect();
        let mut taken: BTreeSet<u32> = self.given.values().copied().collect();
        let mut next = Self { given: BTreeMap::new(), last: self.last };
        for name in names {
            let index = match self.given.get(name) {
                Some(&index) => index,
                None => {
                    next.last = free_after(next.last, &taken).ok_or(NoLiveWord)?;
                    taken.insert(next.last);
                    next.last
                }
            };
            next.given.insert(name.to_owned(), index);
        }
        *self = next;
        Ok(())
    }

    /// The index of a virtual router's word; never 0.
    pub fn get(&self, router: &str) -> Option<u32> {
        self.given.get(router).copied()
    }

    /// Names and their indices, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, u32)> {
        self.given.iter().map(|(name, &index)| (name.as_str(), index))
    }
}

/// The first index after `last`, going round, that is not taken.
fn free_after(last: u32, taken: &BTreeSet<u32>) -> Option<u32> {
    let around = (last + 1..LIVE_WORDS).chain(1..=last);
    around.into_iter().find(|index| !taken.contains(index))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(names: &[&str]) -> LiveIndices {
        let mut indices = LiveIndices::default();
        indices.assign(names.iter().copied()).expect("few");
        indices
    }

    #[test]
    fn every_router_has_a_word_of_its_own_and_none_has_the_first() {
        let indices = with(&["public", "inside", "public", "third"]);
        let given: BTreeSet<u32> = indices.iter().map(|(_, index)| index).collect();
        assert_eq!((given.len(), given.first().copied()), (3, Some(1)));
        assert_eq!(indices.get("fourth"), None);
    }

    #[test]
    fn a_router_keeps_its_word_whatever_comes_and_goes() {
        let mut indices = with(&["b"]);
        let index = indices.get("b");
        for names in [&["a", "b"][..], &["b", "c", "d"], &["b"]] {
            indices.assign(names.iter().copied()).expect("few");
            assert_eq!(indices.get("b"), index, "{names:?}");
        }
    }

    #[test]
    fn a_word_is_not_given_on_by_the_change_that_takes_it_away() {
        let names: Vec<String> = (0..MAX_ROUTERS).map(|n| n.to_string()).collect();
        let mut indices = LiveIndices::default();
        indices.assign(names.iter().map(String::as_str)).expect("just enough");
        let freed = indices.get("7").expect("it has one");
        let others = || names.iter().map(String::as_str).filter(|name| *name != "7");
        assert_eq!(
            indices.assign(others().chain(["new"])),
            Err(NoLiveWord),
            "the plan that frees it is not carried out yet"
        );
        assert_eq!(indices.get("7"), Some(freed), "nothing is changed");
        indices.assign(others()).expect("fewer");
        indices.assign(others().chain(["new"])).expect("just enough");
        assert_eq!(indices.get("new"), Some(freed));
    }

    #[test]
    fn a_word_that_was_taken_away_rests_until_all_others_had_their_turn() {
        let mut indices = LiveIndices::default();
        let mut seen = BTreeSet::new();
        for n in 0..MAX_ROUTERS {
            let name = n.to_string();
            indices.assign([name.as_str()]).expect("one");
            assert!(seen.insert(indices.get(&name)), "given twice after {n} changes");
        }
        indices.assign(["again"]).expect("one");
        assert_eq!(indices.get("again"), Some(1));
    }
}
