//! Hands out contiguous places in a table: slots to lookup tables, rows to listeners. First fit, in multiples of a grain.

use std::collections::BTreeMap;

/// Free places of one table.
#[derive(Clone, Debug)]
pub struct Ranges {
    grain: u32,
    /// Start → length, never adjacent.
    free: BTreeMap<u32, u32>,
}

impl Ranges {
    /// All of `size` places are free; every range starts at a multiple of `grain`.
    pub fn new(size: u32, grain: u32) -> Self {
        Self { grain, free: BTreeMap::from([(0, size / grain * grain)]) }
    }

    /// Takes `length` places; where they start, or `None` when no gap is as long.
    pub fn take(&mut self, length: u32) -> Option<u32> {
        let length = self.rounded(length);
        let (start, gap) = self.free.iter().map(|(&start, &gap)| (start, gap)).find(|&(_, gap)| gap >= length)?;
        self.free.remove(&start);
        if gap > length {
            self.free.insert(start + length, gap - length);
        }
        Some(start)
    }

    /// Gives back what [`Self::take`] gave for this length.
    pub fn give(&mut self, start: u32, length: u32) {
        let mut start = start;
        let mut length = self.rounded(length);
        if let Some(after) = self.free.remove(&(start + length)) {
            length += after;
        }
        if let Some((&before, &gap)) = self.free.range(..start).next_back()
            && before + gap == start
        {
            start = before;
            length += gap;
        }
        self.free.insert(start, length);
    }

    /// Places that are free, in all gaps together.
    pub fn available(&self) -> u64 {
        self.free.values().map(|&gap| u64::from(gap)).sum()
    }

    fn rounded(&self, length: u32) -> u32 {
        length.next_multiple_of(self.grain).max(self.grain)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn ranges_never_overlap_and_all_places_come_back(steps in prop::collection::vec((any::<bool>(), 1u32..100), 0..200)) {
            let mut ranges = Ranges::new(1000, 8);
            let all = ranges.available();
            let mut taken: Vec<(u32, u32)> = Vec::new();
            for (give, length) in steps {
                if give && !taken.is_empty() {
                    let (start, length) = taken.swap_remove(length as usize % taken.len());
                    ranges.give(start, length);
                } else if let Some(start) = ranges.take(length) {
                    prop_assert!(start % 8 == 0 && start + length <= 1000);
                    let apart = |&(other, its): &(u32, u32)| start + length <= other || other + its <= start;
                    prop_assert!(taken.iter().all(apart));
                    taken.push((start, length));
                }
            }
            for (start, length) in taken {
                ranges.give(start, length);
            }
            prop_assert_eq!(ranges.available(), all);
            prop_assert_eq!(ranges.take(1000), Some(0), "all gaps have joined");
        }
    }

    #[test]
    fn what_is_given_back_joins_its_neighbours() {
        let mut ranges = Ranges::new(64, 16);
        let taken: Vec<u32> = (0..4).map(|_| ranges.take(10).expect("room for four")).collect();
        assert_eq!(taken, [0, 16, 32, 48]);
        assert_eq!(ranges.take(1), None);
        ranges.give(16, 10);
        ranges.give(48, 10);
        ranges.give(32, 10);
        assert_eq!(ranges.take(48), Some(16));
        assert_eq!(ranges.available(), 0);
    }
}
