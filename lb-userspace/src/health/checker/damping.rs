//! Flap damping: a check that changed its verdict often needs more successes to come up. Never delays going down.
//!
//! Two flaps (down and up again) within a window are free; each further one doubles the successes that are needed, up to
//! sixteen-fold. The window is as long as a hundred intervals, at least a minute and at most an hour. Nothing is ever
//! forgiven by decree: changes leave the window by time, and the factor goes with them.

use std::time::Duration;

/// Changes of verdict in a window that cost nothing.
const FREE: usize = 4;
/// Doublings at most.
const MOST_DOUBLINGS: usize = 4;
/// Changes beyond these make no difference, so they are not kept.
const KEPT: usize = FREE + 2 * MOST_DOUBLINGS;
/// Length of the window, in intervals of the check, and its limits.
const WINDOW_INTERVALS: u32 = 100;
const LEAST_WINDOW: Duration = Duration::from_secs(60);
const MOST_WINDOW: Duration = Duration::from_secs(3600);

/// When a check changed its verdict, the latest few times.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Damping {
    changes: Vec<Duration>,
}

impl Damping {
    /// The check changed its verdict.
    pub fn note(&mut self, now: Duration) {
        if self.changes.len() == KEPT {
            self.changes.remove(0);
        }
        self.changes.push(now);
    }

    /// How many times as many successes are needed at present.
    pub fn factor(&self, now: Duration, interval: Duration) -> u32 {
        let window = interval.saturating_mul(WINDOW_INTERVALS).clamp(LEAST_WINDOW, MOST_WINDOW);
        let recent = self.changes.iter().filter(|at| now.saturating_sub(**at) < window).count();
        let doublings = recent.saturating_sub(FREE).div_ceil(2).min(MOST_DOUBLINGS);
        1 << doublings
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTERVAL: Duration = Duration::from_secs(1);

    #[test]
    fn two_flaps_are_free_and_each_further_one_doubles_up_to_sixteen() {
        let mut damping = Damping::default();
        let mut factors = Vec::new();
        for second in 0..20 {
            factors.push(damping.factor(Duration::from_secs(second), INTERVAL));
            damping.note(Duration::from_secs(second));
        }
        assert_eq!(factors, [1, 1, 1, 1, 1, 2, 2, 4, 4, 8, 8, 16, 16, 16, 16, 16, 16, 16, 16, 16]);
        assert_eq!(damping.changes.len(), KEPT);
    }

    #[test]
    fn the_factor_goes_as_changes_leave_the_window() {
        let mut damping = Damping::default();
        (0..8).for_each(|second| damping.note(Duration::from_secs(second)));
        let factors = [99, 101, 103, 105, 200].map(|second| damping.factor(Duration::from_secs(second), INTERVAL));
        assert_eq!(factors, [4, 2, 1, 1, 1]);
    }

    #[test]
    fn the_window_follows_the_interval_within_a_minute_and_an_hour() {
        let mut damping = Damping::default();
        (0..6).for_each(|_| damping.note(Duration::ZERO));
        let factor = |interval, at| damping.factor(Duration::from_secs(at), interval);
        assert_eq!((factor(Duration::from_millis(100), 59), factor(Duration::from_millis(100), 60)), (2, 1));
        assert_eq!((factor(Duration::from_secs(60), 3599), factor(Duration::from_secs(60), 3600)), (2, 1));
    }
}
