//! What was said of silence, worked out anew: whose verdicts are held, from when and until when. All servers are behind one
//! interface, and nobody says anything of a gateway.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use fairway::health::spec::Spec;
use fairway::health::verdict::{CheckState, FailureKind, Verdict};

/// Servers that must fall silent together.
const FEWEST: usize = 3;
/// What was silent before the last of the others fell silent may still turn out to be part of it for so long.
const AFTERWARDS: Duration = Duration::from_secs(10);
/// Without a gateway's testimony it is believed for so long.
const BELIEVED: Duration = Duration::from_secs(60);

#[derive(Default)]
pub struct Silence {
    /// Who fell silent, when, and what it had said.
    fallen: BTreeMap<Arc<Spec>, (Duration, Verdict)>,
    /// What counts instead of what is said, and until when.
    held: Option<Held>,
}

struct Held {
    until: Duration,
    round: Duration,
    verdicts: BTreeMap<Arc<Spec>, Verdict>,
}

impl Silence {
    /// What counts instead of what a check says, if anything does.
    pub fn held(&self, spec: &Spec) -> Option<&Verdict> {
        self.held.as_ref()?.verdicts.get(spec)
    }

    pub fn is_held(&self) -> bool {
        self.held.is_some()
    }

    /// A check says something else than `before`.
    pub fn note(&mut self, now: Duration, spec: &Arc<Spec>, before: Option<&Verdict>, says: &Verdict) {
        let is_silent = |verdict: &Verdict| verdict.failure == Some(FailureKind::Silent);
        match before {
            Some(before) if is_silent(says) && before.state == CheckState::Up => {
                self.fallen.insert(spec.clone(), (now, before.clone()));
            }
            Some(before) if is_silent(says) && is_silent(before) => {}
            Some(_) | None => drop(self.fallen.remove(spec)),
        }
        let Some(held) = &mut self.held else { return };
        if is_silent(says) {
            if let Some((_, before)) = self.fallen.get(spec) {
                held.verdicts.entry(spec.clone()).or_insert_with(|| before.clone());
            }
        } else {
            held.verdicts.remove(spec);
            held.until = held.until.min(now + held.round);
        }
    }

    /// Whether the interface is to blame from now on: nobody answers any more, and enough fell silent together.
    pub fn judge(&mut self, now: Duration, touched: &[Arc<Spec>], verdicts: &BTreeMap<Arc<Spec>, Verdict>) -> bool {
        let somebody_answers = verdicts.values().any(|verdict| verdict.failure != Some(FailureKind::Silent));
        if self.held.is_some() || somebody_answers || !touched.iter().any(|spec| self.fallen.contains_key(spec)) {
            return false;
        }
        let round = self.fallen.keys().map(|spec| spec.timing.interval + spec.timing.timeout).max().unwrap_or_default();
        let last = self.fallen.values().map(|(when, _)| *when).max().unwrap_or_default();
        let together = self.fallen.iter().filter(|(_, (when, _))| *when + round >= last);
        let verdicts: BTreeMap<Arc<Spec>, Verdict> =
            together.map(|(spec, (_, before))| (spec.clone(), before.clone())).collect();
        let servers: BTreeSet<IpAddr> = verdicts.keys().map(|spec| spec.target.address).collect();
        if servers.len() >= FEWEST && now <= last + AFTERWARDS {
            self.held = Some(Held { until: now + BELIEVED, round, verdicts });
        }
        self.held.is_some()
    }

    /// Time has passed.
    pub fn pass(&mut self, now: Duration) {
        if self.held.as_ref().is_some_and(|held| held.until <= now) {
            (self.held, self.fallen) = (None, BTreeMap::new());
        }
    }

    /// Other checks are asked from now on.
    pub fn retain(&mut self, is_asked: impl Fn(&Spec) -> bool) {
        self.fallen.retain(|spec, _| is_asked(spec));
        if let Some(held) = &mut self.held {
            held.verdicts.retain(|spec, _| is_asked(spec));
        }
    }
}
