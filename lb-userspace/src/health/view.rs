//! What is said of checks: for status, metrics and tests. Times are monotonic.

use std::sync::Arc;
use std::time::Duration;

use super::spec::Spec;
use super::verdict::{AgentWish, CheckState, FailureKind};

/// Upper bounds of the histograms of how long probes took. Few, because every check has one.
pub const DURATION_BOUNDS: [Duration; 5] = [
    Duration::from_millis(1),
    Duration::from_millis(10),
    Duration::from_millis(100),
    Duration::from_secs(1),
    Duration::from_secs(10),
];

/// Upper bounds of the histogram of how late probes began.
pub const LATENESS_BOUNDS: [Duration; 8] = [
    Duration::from_millis(1),
    Duration::from_micros(2_500),
    Duration::from_millis(5),
    Duration::from_millis(10),
    Duration::from_millis(25),
    Duration::from_millis(100),
    Duration::from_millis(500),
    Duration::from_millis(2_500),
];

/// How long probes took.
pub type Durations = Histogram<{ DURATION_BOUNDS.len() }>;
/// How late probes began.
pub type Lateness = Histogram<{ LATENESS_BOUNDS.len() }>;

/// What is said of one check.
#[derive(Clone, Debug, PartialEq)]
pub struct CheckView {
    /// What it asks of whom, and when.
    pub spec: Arc<Spec>,
    /// Its state.
    pub state: CheckState,
    /// When it got into this state; while unknown, when it was configured.
    pub since: Duration,
    /// Why, in words. Where the last probes say otherwise than the state, they are in it: how many, and what.
    pub why: String,
    /// When the next probe is due; `None`: one is under way, or waits for others to end.
    pub next: Option<Duration>,
    /// Times it went from up to down, or back.
    pub flaps: u64,
    /// Successes in a row that it needs at present to come up: more than configured after many changes.
    pub rise: u32,
    /// What an agent asks for.
    pub agent: AgentWish,
    /// Its probes.
    pub record: Record,
}

/// The probes of a check.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Record {
    /// Probes with a right answer.
    pub successes: u64,
    /// Others, by the place of their kind in [`FailureKind::ALL`].
    pub failures: [u64; FailureKind::ALL.len()],
    /// How long they took; those that could not be made are left out.
    pub durations: Durations,
    /// The last one that ended.
    pub last: Option<LastProbe>,
    /// Until when the server's certificate is valid, in seconds since the Unix epoch, as the last probe that saw it says.
    pub certificate_expires: Option<i64>,
    /// The latest of all its beginnings: time between when a probe was due and when it began.
    pub worst_lateness: Duration,
}

/// The last probe of a check.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LastProbe {
    /// When it began.
    pub began: Duration,
    /// How long it took.
    pub took: Duration,
    /// How it ended.
    pub result: Result<(), FailureKind>,
}

/// What is said of all checks together.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Summary {
    /// Checks.
    pub checks: usize,
    /// Probes under way.
    pub running: usize,
    /// Probes that may be under way at a time.
    pub limit: usize,
    /// Checks whose very first probe has not begun.
    pub waiting: usize,
    /// Probes that were begun.
    pub started: u64,
    /// How late those of the timetable began.
    pub lateness: Lateness,
    /// The latest of them.
    pub worst_lateness: Duration,
    /// The same as a share of the interval, the worst of all: 0.1 is a tenth of it.
    pub worst_share: f64,
    /// The last probe that began a tenth of its interval late, or more.
    pub late: Option<Late>,
}

/// A probe that began late.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Late {
    /// When it began.
    pub at: Duration,
    /// By so much.
    pub by: Duration,
}

/// Observations by upper bounds.
#[derive(Clone, Debug, PartialEq)]
pub struct Histogram<const N: usize> {
    /// Up to each bound, not cumulative.
    pub counts: [u64; N],
    /// Beyond the last bound.
    pub beyond: u64,
    /// Sum of all.
    pub sum: Duration,
}

impl<const N: usize> Default for Histogram<N> {
    fn default() -> Self {
        Self { counts: [0; N], beyond: 0, sum: Duration::ZERO }
    }
}

impl<const N: usize> Histogram<N> {
    /// Takes note of one; `bounds` rise.
    pub fn observe(&mut self, bounds: &[Duration; N], value: Duration) {
        match bounds.iter().position(|bound| value <= *bound) {
            Some(place) => self.counts[place] += 1,
            None => self.beyond += 1,
        }
        self.sum = self.sum.saturating_add(value);
    }

    /// All of them.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum::<u64>() + self.beyond
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_histogram_counts_each_observation_once_under_the_least_bound_that_holds_it() {
        let mut durations = Durations::default();
        for micros in [0, 1_000, 1_001, 10_000_000, 10_000_001] {
            durations.observe(&DURATION_BOUNDS, Duration::from_micros(micros));
        }
        assert_eq!((durations.counts, durations.beyond, durations.count()), ([2, 1, 0, 0, 1], 1, 5));
        assert_eq!(durations.sum, Duration::from_micros(20_002_002));
    }
}
