//! The effective priority: a pure function of what is configured and what the tracks found.
//!
//! No step depends on the one before, so it cannot drift, whatever comes and goes in whatever order.

use super::event::Verdict;
use super::view::Term;
use crate::config::{Consequence, Track};

/// Priority of the address owner, which nothing changes (RFC 9568 section 5.2.4).
pub const OWNER: u8 = 255;
/// What a priority of a router that takes part is between; 0 means leaving, 255 owning.
const LEAST: i32 = 1;
const MOST: i32 = 254;

/// Priority with all terms, and what the tracks say besides.
#[derive(Clone, Debug, PartialEq)]
pub struct Effective {
    /// The priority.
    pub priority: u8,
    /// Each track's part in it.
    pub terms: Vec<Term>,
    /// A track forbids taking part: which, and what it found.
    pub fault: Option<String>,
    /// A track that might forbid it has no verdict yet: which.
    pub pending: Option<String>,
}

/// The effective priority. `verdicts` are the tracks' in their order. While `patient`, a track without a verdict does not
/// count as a fault but as pending.
pub fn effective(configured: u8, tracks: &[Track], verdicts: &[Verdict], patient: bool) -> Effective {
    let terms: Vec<Term> = tracks.iter().zip(verdicts).map(|(track, verdict)| term(track, verdict, patient)).collect();
    let fault = terms.iter().find(|term| term.fault).map(|term| format!("{}: {}", term.name, term.detail));
    let undecided = |(track, term): &(&Track, &Term)| track.consequence == Consequence::Fault && term.holds.is_none();
    let pending = tracks.iter().zip(&terms).find(undecided).map(|(track, _)| track.name.clone());
    let sum = terms.iter().fold(i32::from(configured), |sum, term| sum.saturating_add(term.contribution));
    let clamped = u8::try_from(sum.clamp(LEAST, MOST)).expect("the bounds are octets");
    let priority = if configured == OWNER { OWNER } else { clamped };
    Effective { priority, terms, fault, pending: pending.filter(|_| patient) }
}

fn term(track: &Track, verdict: &Verdict, patient: bool) -> Term {
    let (contribution, fault) = match (track.consequence, verdict.holds) {
        (Consequence::Weight(weight), Some(false)) => (i32::from(weight).saturating_mul(verdict.factor), false),
        (Consequence::Weight(_), Some(true) | None) => (0, false),
        (Consequence::Fault, Some(holds)) => (0, !holds),
        (Consequence::Fault, None) => (0, !patient),
    };
    Term { name: track.name.clone(), holds: verdict.holds, contribution, fault, detail: verdict.detail.clone() }
}

/// The terms that count, in words: `250 - 50 (uplink: eth1 is down)`.
pub fn in_words(configured: u8, terms: &[Term]) -> String {
    terms.iter().filter(|term| term.contribution != 0).fold(configured.to_string(), |words, term| {
        let sign = if term.contribution < 0 { '-' } else { '+' };
        format!("{words} {sign} {} ({}: {})", term.contribution.unsigned_abs(), term.name, term.detail)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Condition;

    fn track(name: &str, consequence: Consequence) -> Track {
        Track { name: name.into(), condition: Condition::Interface { interface: name.into() }, consequence }
    }

    fn verdict(holds: Option<bool>, factor: i32) -> Verdict {
        Verdict { holds, factor, detail: "as found".into() }
    }

    /// Weight, verdict, factor.
    type Weighted = (i16, Option<bool>, i32);

    fn priority(configured: u8, weighted: &[Weighted]) -> u8 {
        let tracks: Vec<_> = weighted.iter().map(|(weight, ..)| track("t", Consequence::Weight(*weight))).collect();
        let verdicts: Vec<_> = weighted.iter().map(|(_, holds, factor)| verdict(*holds, *factor)).collect();
        effective(configured, &tracks, &verdicts, true).priority
    }

    #[test]
    fn s15_the_tracked_priority_stays_within_1_and_254_and_the_owners_is_untouched() {
        let no = Some(false);
        let cases: [(u8, &[Weighted], u8); 10] = [
            (250, &[], 250),
            (250, &[(-50, no, 1)], 200),
            (250, &[(-50, Some(true), 1)], 250),
            (250, &[(-50, None, 1)], 250),
            (250, &[(-50, no, 1), (-20, no, 1)], 180),
            (100, &[(-150, no, 1)], 1),
            (100, &[(253, no, 1)], 254),
            (255, &[(-50, no, 1)], 255),
            (100, &[(-2, no, 7)], 86),
            (100, &[(i16::MAX, no, i32::MAX), (-1, no, i32::MAX)], 1),
        ];
        for (configured, weighted, expected) in cases {
            assert_eq!(priority(configured, weighted), expected, "{configured} {weighted:?}");
        }
    }

    #[test]
    fn a_track_without_a_verdict_is_pending_at_first_and_a_fault_when_patience_ends() {
        let tracks = [track("uplink", Consequence::Fault)];
        let unknown = [verdict(None, 1)];
        let patient = effective(250, &tracks, &unknown, true);
        assert_eq!((patient.fault, patient.pending), (None, Some("uplink".into())));
        let impatient = effective(250, &tracks, &unknown, false);
        assert_eq!((impatient.fault, impatient.pending), (Some("uplink: as found".into()), None));
    }

    #[test]
    fn the_terms_are_told_in_words() {
        let tracks = [track("uplink", Consequence::Weight(-50)), track("boost", Consequence::Weight(3))];
        let found = effective(250, &tracks, &[verdict(Some(false), 1), verdict(Some(false), 1)], true);
        assert_eq!(in_words(250, &found.terms), "250 - 50 (uplink: as found) + 3 (boost: as found)");
    }
}
