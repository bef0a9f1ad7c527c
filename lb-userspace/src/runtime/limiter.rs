//! How much of one kind is told in a second: when a data centre goes, tens of thousands of checks and backends change at once,
//! and must not drive everything else out of the event store and the log. Beyond the limit changes are only counted, each kind
//! by itself; what came of them is in the status.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::happening::{Happening, Severity};

/// Of each kind in a second: a fiftieth of what the event store keeps.
pub(super) const TOLD_A_SECOND: usize = 200;

/// See the module's description.
#[derive(Debug, Default)]
pub(super) struct Limiter {
    second: u64,
    kinds: BTreeMap<&'static str, Count>,
}

/// What came of one kind in this second.
#[derive(Debug, Default)]
struct Count {
    told: usize,
    untold: usize,
    /// Of these.
    warnings: usize,
}

impl Limiter {
    /// Those that are told one by one, behind what is to be said of an earlier second; the others are counted.
    pub(super) fn admit(&mut self, now: Duration, happenings: Vec<Happening>) -> Vec<Happening> {
        let mut told = self.summary(now);
        told.extend(happenings.into_iter().filter(|happening| self.is_within(happening)));
        told
    }

    /// When a new second has begun: how much of the one before was not told one by one. To be asked now and then.
    pub(super) fn summary(&mut self, now: Duration) -> Vec<Happening> {
        if self.second == now.as_secs() {
            return Vec::new();
        }
        self.second = now.as_secs();
        let of_each = std::mem::take(&mut self.kinds).into_iter().filter(|(_, count)| count.untold > 0);
        let warning = |(what, Count { untold, warnings, .. })| Happening::Warning {
            router: None,
            message: format!("too many {what} at once: {untold} are not told one by one, {warnings} of them warnings"),
        };
        of_each.map(warning).collect()
    }

    fn is_within(&mut self, happening: &Happening) -> bool {
        let Some(what) = limited(happening) else { return true };
        let count = self.kinds.entry(what).or_default();
        let is_within = count.told < TOLD_A_SECOND;
        if is_within {
            count.told += 1;
        } else {
            count.untold += 1;
            count.warnings += usize::from(happening.severity() == Severity::Warning);
        }
        is_within
    }
}

/// What a happening is one of, if there may be as many of them as there are backends or services.
fn limited(happening: &Happening) -> Option<&'static str> {
    match happening {
        Happening::Check { .. } => Some("changes of checks"),
        Happening::Backend { .. } => Some("changes of backends"),
        Happening::Quorum { .. } => Some("changes of quorums"),
        Happening::Suspect { .. } => Some("suspicions"),
        Happening::Transition { .. }
        | Happening::Priority { .. }
        | Happening::ForeignMaster { .. }
        | Happening::AddressesDiffer { .. }
        | Happening::Peer { .. }
        | Happening::PeerPath { .. }
        | Happening::Bfd { .. }
        | Happening::NotReady { .. }
        | Happening::Stalled { .. }
        | Happening::Uplink { .. }
        | Happening::Operator { .. }
        | Happening::Warning { .. } => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::health::pool::state::State;
    use crate::health::verdict::CheckState;

    const THEN: Duration = Duration::from_millis(5_000);
    const LATER: Duration = Duration::from_millis(6_100);

    fn check(to: CheckState) -> Happening {
        let (service, backend, check) = ("a".to_owned(), "b".to_owned(), "tcp".to_owned());
        Happening::Check { service, backend, check, from: CheckState::Unknown, to, why: "because".to_owned() }
    }

    fn backend(to: State) -> Happening {
        let (service, backend, why) = ("a".to_owned(), "b".to_owned(), "because".to_owned());
        Happening::Backend { service, backend, from: State::Up, to, why }
    }

    #[test]
    fn when_everything_changes_at_once_some_changes_are_told_and_the_others_counted() {
        let mut limiter = Limiter::default();
        let many = [vec![check(CheckState::Down); TOLD_A_SECOND + 5], vec![check(CheckState::Up); 3]].concat();
        assert_eq!(limiter.admit(THEN, many).len(), TOLD_A_SECOND);
        assert_eq!(limiter.admit(THEN, vec![check(CheckState::Up)]), []);
        let told: Vec<String> = limiter.summary(LATER).iter().map(ToString::to_string).collect();
        assert_eq!(told, ["too many changes of checks at once: 9 are not told one by one, 5 of them warnings"]);
        assert_eq!(limiter.admit(LATER, vec![check(CheckState::Up)]).len(), 1);
    }

    #[test]
    fn one_kind_leaves_the_others_their_share_and_what_is_rare_is_always_told() {
        let mut limiter = Limiter::default();
        limiter.admit(THEN, vec![check(CheckState::Down); TOLD_A_SECOND + 1]);
        assert_eq!(limiter.admit(THEN, vec![backend(State::Down); TOLD_A_SECOND + 1]).len(), TOLD_A_SECOND);
        let rare = vec![Happening::Stalled { seconds: 0.5 }; TOLD_A_SECOND + 1];
        assert_eq!(limiter.admit(THEN, rare.clone()), rare);
        assert_eq!(limiter.summary(LATER).len(), 2, "one line for each kind");
        assert_eq!(limiter.summary(LATER), []);
    }
}
