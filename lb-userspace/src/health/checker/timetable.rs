//! When a check's probes begin: at fixed moments, a period apart, with a phase of its own.
//!
//! The phase is drawn from the seed and the spec, so that the checks of a node are spread over the period, two nodes (whose
//! seeds differ) do not ask at the same moment, and a reload finds every check where it was. The period itself is exact:
//! whatever made a probe late moves no later one.

use std::hash::{Hash as _, Hasher as _};
use std::time::Duration;

use siphasher::sip::SipHasher13;

use crate::health::spec::Spec;

/// The shortest period: shorter ones would be below what timers resolve.
pub(super) const LEAST_PERIOD: Duration = Duration::from_millis(1);

/// The moments at which a check is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Timetable {
    phase: u64,
    period: u64,
}

impl Timetable {
    /// That of a check, for a node's seed.
    pub fn new(seed: u64, spec: &Spec) -> Self {
        let mut hasher = SipHasher13::new_with_keys(seed, 0);
        spec.hash(&mut hasher);
        let period = nanos(spec.timing.interval.max(LEAST_PERIOD));
        Self { phase: hasher.finish() % period, period }
    }

    /// The first moment after another.
    pub fn after(&self, moment: Duration) -> Duration {
        let moment = nanos(moment);
        let periods = match moment.checked_sub(self.phase) {
            Some(since) => since / self.period + 1,
            None => 0,
        };
        Duration::from_nanos(self.phase.saturating_add(periods.saturating_mul(self.period)))
    }
}

/// Five hundred years of them.
fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::health::checker::tests::spec;

    proptest! {
        #[test]
        fn moments_are_exactly_a_period_apart_from_any_moment_on(seed: u64, host: u16, millis in 1u64..100_000, from in 0u64..1 << 50) {
            let interval = Duration::from_millis(millis);
            let timetable = Timetable::new(seed, &spec(host, interval));
            let first = timetable.after(Duration::from_nanos(from));
            prop_assert!(first > Duration::from_nanos(from) && first <= Duration::from_nanos(from) + interval);
            prop_assert_eq!(timetable.after(first), first + interval);
            prop_assert_eq!(timetable.after(first - Duration::from_nanos(1)), first);
        }
    }

    #[test]
    fn the_phases_of_many_checks_are_spread_evenly_over_the_period() {
        let mut tenths = [0; 10];
        for host in 0..10_000 {
            let timetable = Timetable::new(7, &spec(host, Duration::from_secs(5)));
            tenths[(timetable.phase * 10 / timetable.period) as usize] += 1;
        }
        assert!(tenths.iter().all(|count| (900..1100).contains(count)), "{tenths:?}");
    }

    #[test]
    fn two_nodes_ask_at_different_moments_and_a_reload_finds_the_same() {
        let spec = spec(1, Duration::from_secs(5));
        assert_eq!(Timetable::new(1, &spec), Timetable::new(1, &spec));
        assert_ne!(Timetable::new(1, &spec), Timetable::new(2, &spec));
    }
}
