//! When who must be looked at next: the timers of all virtual routers in one queue, so that a thousand of them cost one look
//! at its head.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Deadlines by router.
#[derive(Debug, Default)]
pub struct Schedule {
    queue: BTreeSet<(Duration, usize)>,
    at: BTreeMap<usize, Duration>,
}

impl Schedule {
    /// The router's deadline from now on.
    pub fn set(&mut self, router: usize, deadline: Option<Duration>) {
        if self.at.get(&router).copied() == deadline {
            return;
        }
        if let Some(before) = self.at.remove(&router) {
            self.queue.remove(&(before, router));
        }
        if let Some(deadline) = deadline {
            self.at.insert(router, deadline);
            self.queue.insert((deadline, router));
        }
    }

    /// The earliest deadline.
    pub fn first(&self) -> Option<Duration> {
        self.queue.first().map(|(deadline, _)| *deadline)
    }

    /// Routers whose deadline has come, the earliest first.
    pub fn due(&self, now: Duration) -> Vec<usize> {
        self.queue.range(..=(now, usize::MAX)).map(|(_, router)| *router).collect()
    }

    /// No deadlines at all.
    pub fn clear(&mut self) {
        self.queue.clear();
        self.at.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_deadline_that_was_set_counts() {
        let second = Duration::from_secs;
        let mut schedule = Schedule::default();
        schedule.set(7, Some(second(3)));
        schedule.set(8, Some(second(2)));
        schedule.set(7, Some(second(1)));
        assert_eq!(schedule.first(), Some(second(1)));
        assert_eq!(schedule.due(second(2)), [7, 8]);
        schedule.set(7, None);
        assert_eq!(schedule.due(second(9)), [8]);
    }
}
