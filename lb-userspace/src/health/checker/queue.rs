//! Which checks are due when: a binary heap, so that forty thousand of them cost a few comparisons a probe.
//!
//! Entries are never taken out of its middle. One whose check is due at another moment by now, or is gone, is passed over
//! when it comes up; [`Queue::next`] asks the checks.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

/// Checks by when they are due; equal moments by place.
#[derive(Clone, Debug, Default)]
pub(super) struct Queue {
    heap: BinaryHeap<Reverse<(Duration, u32)>>,
}

impl Queue {
    /// A check is due then. What was said of it before holds no more if `due` in [`Self::next`] says so.
    pub fn push(&mut self, moment: Duration, place: u32) {
        self.heap.push(Reverse((moment, place)));
    }

    /// The check that is due first, and when. `due` says when a check is due, if it is.
    pub fn next(&mut self, due: impl Fn(u32) -> Option<Duration>) -> Option<(Duration, u32)> {
        while let Some(Reverse((moment, place))) = self.heap.peek().copied() {
            if due(place) == Some(moment) {
                return Some((moment, place));
            }
            self.heap.pop();
        }
        None
    }

    /// Takes out what [`Self::next`] said.
    pub fn pop(&mut self) {
        self.heap.pop();
    }

    /// Entries, those that hold no more included.
    pub fn len(&self) -> usize {
        self.heap.len()
    }

    /// Drops the entries that hold no more.
    pub fn tidy(&mut self, due: impl Fn(u32) -> Option<Duration>) {
        self.heap.retain(|Reverse((moment, place))| due(*place) == Some(*moment));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_due_first_comes_first_and_what_holds_no_more_is_passed_over() {
        let seconds = Duration::from_secs;
        let mut queue = Queue::default();
        for (moment, place) in [(3, 0), (1, 1), (2, 2), (2, 1)] {
            queue.push(seconds(moment), place);
        }
        let due = |place: u32| [Some(seconds(3)), Some(seconds(2)), None][place as usize];
        let mut order = Vec::new();
        while let Some((moment, place)) = queue.next(due) {
            order.push((moment.as_secs(), place));
            queue.pop();
        }
        assert_eq!(order, [(2, 1), (3, 0)]);
    }
}
