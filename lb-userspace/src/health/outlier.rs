//! `[service.outlier]`: packets say that a backend may have failed before its check does. Pure: sums and the time come in,
//! suspects go out, whose checks are then made at once. What the checks find decides; a suspicion alone takes no traffic away.
//!
//! A window is as long as the rule says. It is judged every time sums come in, so a backend that fails all at once is
//! suspected within a moment, and begins anew when it is over or led to a suspicion.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::config::check::Outlier;
use crate::controller::view::Totals;

/// A backend of a service, by names that stay.
pub type Backend = (String, String);

/// Why a backend is suspected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Suspect {
    /// Whom.
    pub backend: Backend,
    /// In words with numbers.
    pub why: String,
}

/// The windows of all backends that a rule watches.
#[derive(Clone, Debug, Default)]
pub struct Outliers {
    windows: BTreeMap<Backend, Window>,
}

#[derive(Clone, Copy, Debug)]
struct Window {
    began: Duration,
    base: Totals,
}

impl Outliers {
    /// Takes note of what was counted up to `now` for every backend that a rule watches, and of no other. Those that are
    /// suspected now.
    pub fn observe(
        &mut self,
        now: Duration,
        counted: impl IntoIterator<Item = (Backend, Outlier, Totals)>,
    ) -> Vec<Suspect> {
        let mut before = std::mem::take(&mut self.windows);
        let mut suspects = Vec::new();
        for (backend, rule, totals) in counted {
            let mut window = before.remove(&backend).unwrap_or(Window { began: now, base: totals });
            let why = judge(&rule, &window.base, &totals);
            let over = now.saturating_sub(window.began) >= rule.window;
            if why.is_some() || over {
                window = Window { began: now, base: totals };
            }
            suspects.extend(why.map(|why| Suspect { backend: backend.clone(), why }));
            self.windows.insert(backend, window);
        }
        suspects
    }
}

/// Why a window is suspicious, if it is.
fn judge(rule: &Outlier, base: &Totals, totals: &Totals) -> Option<String> {
    // A row that was given up takes nothing along, so sums never go back; should they, nothing is known.
    let since = |pick: fn(&Totals) -> u64| pick(totals).saturating_sub(pick(base));
    let again = since(|sum| sum.syn_retransmissions);
    let (resets, unreachables) = (since(|sum| sum.resets), since(|sum| sum.unreachables));
    // SYNs that are sent again are among those counted.
    let connections = since(|sum| sum.connections).saturating_sub(again);
    if connections < u64::from(rule.minimum_connections) {
        return None;
    }
    let bad = again + resets + unreachables;
    let is_suspicious = bad > 0 && bad.saturating_mul(100) >= connections.saturating_mul(u64::from(rule.percent));
    is_suspicious.then(|| {
        format!(
            "of {connections} new connections {again} had to ask again, {resets} were reset and {unreachables} found it \
             unreachable"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULE: Outlier = Outlier { percent: 10, minimum_connections: 20, window: Duration::from_secs(10) };

    fn totals(connections: u64, syn_retransmissions: u64, resets: u64) -> Totals {
        Totals { connections: connections + syn_retransmissions, syn_retransmissions, resets, ..Totals::default() }
    }

    fn backend() -> Backend {
        ("web".to_owned(), "web1".to_owned())
    }

    /// Sums that come in, each at its second; when there was a suspicion.
    fn suspected(counted: &[(u64, Totals)]) -> Vec<u64> {
        let mut outliers = Outliers::default();
        let mut at = Vec::new();
        for (second, totals) in counted {
            let suspects = outliers.observe(Duration::from_secs(*second), [(backend(), RULE, *totals)]);
            at.extend(suspects.iter().map(|_| *second));
        }
        at
    }

    #[test]
    fn a_share_of_connections_that_ask_again_or_are_refused_is_suspicious() {
        assert_eq!(
            suspected(&[(0, totals(0, 0, 0)), (1, totals(100, 9, 0))]),
            [0; 0],
            "9 of 100 are fewer than 10 per cent"
        );
        assert_eq!(suspected(&[(0, totals(0, 0, 0)), (1, totals(100, 10, 0))]), [1]);
        assert_eq!(suspected(&[(0, totals(0, 0, 0)), (1, totals(100, 5, 5))]), [1]);
    }

    #[test]
    fn a_few_connections_say_nothing() {
        assert_eq!(suspected(&[(0, totals(0, 0, 0)), (1, totals(19, 19, 19))]), [0; 0]);
        assert_eq!(suspected(&[(0, totals(0, 0, 0)), (1, totals(19, 19, 0)), (2, totals(20, 19, 0))]), [2]);
    }

    #[test]
    fn what_was_counted_before_the_window_does_not_count() {
        assert_eq!(suspected(&[(0, totals(1000, 900, 0)), (1, totals(1100, 900, 0))]), [0; 0]);
    }

    #[test]
    fn a_window_ends_with_its_time_and_with_a_suspicion() {
        let quiet = [(0, totals(0, 0, 0)), (9, totals(19, 19, 0)), (10, totals(19, 19, 0)), (11, totals(38, 19, 0))];
        assert_eq!(suspected(&quiet), [0; 0], "the nineteen that asked again were of the window before");
        let loud = [(0, totals(0, 0, 0)), (1, totals(20, 20, 0)), (2, totals(40, 20, 0)), (3, totals(60, 40, 0))];
        assert_eq!(suspected(&loud), [1, 3]);
    }

    #[test]
    fn a_suspicion_says_in_numbers_why() {
        let mut outliers = Outliers::default();
        outliers.observe(Duration::ZERO, [(backend(), RULE, Totals::default())]);
        let bad = Totals { unreachables: 3, ..totals(60, 10, 2) };
        let suspects = outliers.observe(Duration::from_secs(1), [(backend(), RULE, bad)]);
        let why = "of 60 new connections 10 had to ask again, 2 were reset and 3 found it unreachable".to_owned();
        assert_eq!(suspects, [Suspect { backend: backend(), why }]);
    }

    #[test]
    fn a_backend_that_is_not_watched_any_more_is_forgotten() {
        let mut outliers = Outliers::default();
        outliers.observe(Duration::ZERO, [(backend(), RULE, totals(0, 0, 0))]);
        outliers.observe(Duration::from_secs(1), []);
        let suspects = outliers.observe(Duration::from_secs(2), [(backend(), RULE, totals(100, 100, 0))]);
        assert_eq!(suspects, [], "what happened in between was nobody's window");
    }
}
