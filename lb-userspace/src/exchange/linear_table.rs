//! A hash table by linear probing, for look-ups in an order that the processor cannot foresee: a million of them, one after the other, are a
//! million waits for memory. Here a key lies beside its value, so that a look-up needs one line of memory, and the lines of many can be asked
//! for at once ([`LinearTable::touch`]).
//!
//! It is cut into segments that grow each by itself: to double a table of a million in one go would be a pause of a tenth of a second, in
//! which nothing is told. It does not shrink.

use std::hash::{BuildHasher as _, Hash};
use std::hint::black_box;

use foldhash::fast::RandomState;

/// Keys whose memory is asked for at once: about as many as a core can wait for.
pub const AHEAD: usize = 32;
/// Parts that grow by themselves: one of a million's takes a tenth of a millisecond.
const SEGMENTS: usize = 256;
/// Slots of a segment, if it has any: a power of two.
const FEWEST_SLOTS: usize = 8;

/// See the module's description.
#[derive(Debug)]
pub struct LinearTable<K, V> {
    segments: Vec<Segment<K, V>>,
    /// Fast, under a seed that nobody knows.
    hasher: RandomState,
    len: usize,
}

/// A part of the keys; at most three quarters of its slots are taken.
#[derive(Debug)]
struct Segment<K, V> {
    slots: Vec<Option<(K, V)>>,
    taken: usize,
}

impl<K, V> Default for LinearTable<K, V> {
    fn default() -> Self {
        let segments = (0..SEGMENTS).map(|_| Segment { slots: Vec::new(), taken: 0 }).collect();
        Self { segments, hasher: RandomState::default(), len: 0 }
    }
}

impl<K: Copy + Eq + Hash, V: Copy> LinearTable<K, V> {
    /// Keys that it has.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The value of a key; of one that is not there, this is the value from now on, and `None` is returned.
    pub fn get_or_insert(&mut self, key: &K, value: V) -> Option<&mut V> {
        let hash = self.hasher.hash_one(key);
        let (segment, hasher) = (&mut self.segments[segment_of(hash)], &self.hasher);
        match segment.find(key, hash) {
            Ok(at) => segment.slots[at].as_mut().map(|(_, value)| value),
            Err(_) => {
                segment.insert(key, value, hash, |key| hasher.hash_one(key));
                self.len += 1;
                None
            }
        }
    }

    /// Asks for the memory of at most [`AHEAD`] keys, which are to be looked up next.
    pub fn touch(&self, keys: impl Iterator<Item = K>) {
        let (mut hashes, mut count) = ([0; AHEAD], 0);
        for (hash, key) in hashes.iter_mut().zip(keys) {
            *hash = self.hasher.hash_one(key);
            count += 1;
        }
        // No load waits for another here, so that all are under way at the same time.
        let is_taken = |hash: &&u64| self.segments[segment_of(**hash)].is_taken(**hash);
        black_box(hashes[..count].iter().filter(is_taken).count());
    }

    /// Takes out what `is_out` says, which must say the same of the same.
    pub fn extract(&mut self, is_out: impl Fn(&K, &V) -> bool) -> Vec<(K, V)> {
        let mut out = Vec::new();
        for segment in &mut self.segments {
            let mut at = 0;
            while at < segment.slots.len() {
                if segment.slots[at].as_ref().is_some_and(|(key, value)| is_out(key, value)) {
                    // Another may be in this place afterwards.
                    out.extend(segment.remove(at, |key| self.hasher.hash_one(key)));
                } else {
                    at += 1;
                }
            }
        }
        self.len -= out.len();
        out
    }
}

/// The highest bits of a hash; the lowest say where in the segment.
fn segment_of(hash: u64) -> usize {
    (hash >> (u64::BITS - SEGMENTS.trailing_zeros())) as usize
}

impl<K: Copy + Eq, V: Copy> Segment<K, V> {
    /// Where a key is, or the free slot where it would be; if there are any slots.
    fn find(&self, key: &K, hash: u64) -> Result<usize, Option<usize>> {
        let mask = self.slots.len().checked_sub(1).ok_or(None)?;
        let mut at = hash as usize & mask;
        // There is always a free slot.
        loop {
            match &self.slots[at] {
                Some((other, _)) if other == key => return Ok(at),
                Some(_) => at = (at + 1) & mask,
                None => return Err(Some(at)),
            }
        }
    }

    fn is_taken(&self, hash: u64) -> bool {
        let at = hash as usize & self.slots.len().wrapping_sub(1);
        self.slots.get(at).is_some_and(Option::is_some)
    }

    /// Inserts a key that is not there.
    fn insert(&mut self, key: &K, value: V, hash: u64, hash_of: impl Fn(&K) -> u64) {
        if (self.taken + 1) * 4 > self.slots.len() * 3 {
            let more = vec![None; (self.slots.len() * 2).max(FEWEST_SLOTS)];
            for (key, value) in std::mem::replace(&mut self.slots, more).into_iter().flatten() {
                self.place(&key, value, hash_of(&key));
            }
        }
        self.place(key, value, hash);
        self.taken += 1;
    }

    fn place(&mut self, key: &K, value: V, hash: u64) {
        if let Err(Some(at)) = self.find(key, hash) {
            self.slots[at] = Some((*key, value));
        }
    }

    /// Empties a slot. Those behind it that would not be found any more move up.
    fn remove(&mut self, mut hole: usize, hash_of: impl Fn(&K) -> u64) -> Option<(K, V)> {
        let removed = self.slots[hole].take();
        self.taken -= usize::from(removed.is_some());
        let mask = self.slots.len() - 1;
        let mut at = (hole + 1) & mask;
        while let Some((key, _)) = &self.slots[at] {
            let (from_home, from_hole) = (at.wrapping_sub(hash_of(key) as usize) & mask, at.wrapping_sub(hole) & mask);
            if from_home >= from_hole {
                self.slots[hole] = self.slots[at].take();
                hole = at;
            }
            at = (at + 1) & mask;
        }
        removed
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;
    use std::collections::HashMap;

    #[test]
    fn it_has_what_a_map_has_whatever_comes_and_goes() {
        let (mut table, mut map, mut random) = (LinearTable::default(), HashMap::new(), Random(7));
        for round in 0..200 {
            for _ in 0..1_000 {
                let (key, value) = (random.below(20_000), random.next());
                table.touch([key].into_iter());
                let known = table.get_or_insert(&key, value);
                assert_eq!(known.as_deref(), map.get(&key), "{key} in round {round}");
                match known {
                    Some(known) => *known = value,
                    None => assert_eq!(map.insert(key, value), None),
                }
                map.insert(key, value);
            }
            let (part, which) = (random.below(9) + 1, random.below(9));
            let mut out = table.extract(|key, value| (key ^ value) % part == which);
            let mut gone: Vec<(u64, u64)> = map.extract_if(|key, value| (*key ^ *value) % part == which).collect();
            out.sort_unstable();
            gone.sort_unstable();
            assert_eq!(out, gone, "round {round}");
            assert_eq!((table.len(), table.is_empty()), (map.len(), map.is_empty()));
        }
        let mut all = table.extract(|_, _| true);
        all.sort_unstable();
        let mut expected: Vec<(u64, u64)> = map.into_iter().collect();
        expected.sort_unstable();
        assert_eq!(all, expected);
        assert!(table.is_empty());
    }

    #[test]
    fn to_ask_for_keys_that_are_not_there_is_no_harm() {
        let mut table = LinearTable::<u64, u64>::default();
        table.touch(0..100);
        assert_eq!(table.get_or_insert(&1, 1), None);
        table.touch(0..100);
        assert_eq!(table.get_or_insert(&1, 2), Some(&mut 1));
        assert_eq!(table.len(), 1);
    }
}
