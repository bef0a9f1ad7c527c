//! What the probes of a round say about an outage: pure arithmetic.

use super::prober::{Answer, Probe};

/// Probes this long before the event belong to the picture: whether the service was there is seen from them.
const BEFORE: u64 = 50_000_000;

/// What an event did to a service.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Outage {
    /// The longest time between two answers, in milliseconds. By when they came and not by when the probes were sent:
    /// a host that looks for the new master keeps packets, and delivers them late and all at once.
    pub gap_ms: f64,
    /// Probes that were not answered.
    pub lost: usize,
    /// How often another host answered than before.
    pub changes: usize,
}

impl Outage {
    /// Of the probes around an event. A service that does not come back is away until the last probe.
    pub fn of(probes: &[Probe], event: u64) -> Self {
        let window: Vec<Probe> = probes.iter().filter(|probe| probe.sent + BEFORE >= event).copied().collect();
        let mut answers: Vec<Answer> = window.iter().filter_map(|probe| probe.answer).collect();
        answers.sort_unstable_by_key(|answer| answer.at);
        let ends = [window.first(), window.last()].into_iter().flatten().map(|probe| probe.sent);
        let mut times: Vec<u64> = answers.iter().map(|answer| answer.at).chain(ends).collect();
        times.sort_unstable();
        let gap = times.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap_or_default();
        let changes = answers.windows(2).filter(|pair| pair[0].by != pair[1].by).count();
        Self { gap_ms: gap as f64 / 1e6, lost: window.len() - answers.len(), changes }
    }
}

/// Probes sent before the event belongs to the picture that were not answered.
pub fn lost_before(probes: &[Probe], event: u64) -> usize {
    probes.iter().filter(|probe| probe.sent + BEFORE < event && probe.answer.is_none()).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MILLISECOND: u64 = 1_000_000;

    #[test]
    fn the_gap_is_between_two_answered_probes_around_what_was_lost() {
        let outage = Outage::of(&probes("aaaa....bbb"), 3 * MILLISECOND);
        assert_eq!(outage, Outage { gap_ms: 5.0, lost: 4, changes: 1 });
    }

    #[test]
    fn without_loss_the_gap_is_the_pace() {
        assert_eq!(Outage::of(&probes("aaabbb"), 0), Outage { gap_ms: 1.0, lost: 0, changes: 1 });
    }

    #[test]
    fn a_service_that_never_comes_back_is_away_to_the_end() {
        assert_eq!(Outage::of(&probes("aa....."), 0), Outage { gap_ms: 5.0, lost: 5, changes: 0 });
        assert_eq!(Outage::of(&probes("....."), 0), Outage { gap_ms: 4.0, lost: 5, changes: 0 });
    }

    #[test]
    fn what_was_long_before_the_event_is_not_its_doing() {
        let mut early = probes("a..a");
        early.extend(probes("aaaa").into_iter().map(|probe| later(probe, 100 * MILLISECOND)));
        assert_eq!(Outage::of(&early, 101 * MILLISECOND), Outage { gap_ms: 1.0, lost: 0, changes: 0 });
    }

    #[test]
    fn a_service_that_was_not_there_before_is_noticed() {
        assert_eq!(
            lost_before(&probes("...aa."), 54 * MILLISECOND),
            3,
            "the fifth probe and all after it belong to the event"
        );
        assert_eq!(lost_before(&probes("......"), 50 * MILLISECOND), 0, "all of them belong to the event");
    }

    #[test]
    fn answers_that_come_late_and_all_at_once_are_an_outage() {
        let mut late = probes("aaaaaaaa");
        for probe in &mut late[2..6] {
            probe.answer = Some(Answer { at: 6 * MILLISECOND, by: b'a' });
        }
        assert_eq!(Outage::of(&late, 0), Outage { gap_ms: 5.0, lost: 0, changes: 0 });
    }

    fn later(probe: Probe, by: u64) -> Probe {
        Probe { sent: probe.sent + by, answer: probe.answer.map(|answer| Answer { at: answer.at + by, ..answer }) }
    }

    /// One probe a millisecond, answered at once: a letter is the host that answered, a dot nobody.
    fn probes(story: &str) -> Vec<Probe> {
        let probe = |(number, host): (usize, u8)| {
            let sent = number as u64 * MILLISECOND;
            Probe { sent, answer: (host != b'.').then_some(Answer { at: sent, by: host }) }
        };
        story.bytes().enumerate().map(probe).collect()
    }
}
