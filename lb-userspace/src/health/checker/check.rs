//! One check: its probe under way or the moment of the next, and all that is known of it.

use std::sync::Arc;
use std::time::Duration;

use super::judge::Judge;
use super::timetable::{LEAST_PERIOD, Timetable};
use crate::health::spec::Spec;
use crate::health::verdict::{AgentWish, CheckState, FailureKind, Outcome, Verdict};
use crate::health::view::{CheckView, DURATION_BOUNDS, LastProbe, Record};

/// When its next probe begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Due {
    /// As soon as there is room: it is new.
    AtOnce,
    /// Then; from then on it is late.
    At(Duration),
    /// One is under way.
    Not,
}

/// See the module's description.
#[derive(Debug)]
pub(super) struct Check {
    pub spec: Arc<Spec>,
    pub due: Due,
    pub record: Record,
    /// Somebody will ask what is new of it.
    pub is_noted: bool,
    timetable: Timetable,
    judge: Judge,
    running: Option<Running>,
    /// What was told of it last.
    told: Told,
}

#[derive(Clone, Copy, Debug)]
struct Running {
    number: u64,
    began: Duration,
    /// Another probe is to follow at once.
    again: bool,
}

/// What of a verdict makes a change.
type Told = (CheckState, AgentWish, Option<FailureKind>);

impl Check {
    /// A check that is new, or that goes on from what another knew.
    pub fn new(now: Duration, seed: u64, spec: Arc<Spec>, heritage: Option<Self>) -> Self {
        let timetable = Timetable::new(seed, &spec);
        let (judge, record) = match heritage {
            Some(earlier) => (earlier.judge, earlier.record),
            None => (Judge::new(now), Record::default()),
        };
        let due = match judge.verdict().state {
            CheckState::Unknown => Due::AtOnce,
            CheckState::Up | CheckState::Down => Due::At(timetable.after(now)),
        };
        Self { spec, due, record, is_noted: false, timetable, judge, running: None, told: Told::default() }
    }

    /// Its probe begins.
    pub fn begin(&mut self, now: Duration, number: u64) {
        self.due = Due::Not;
        self.running = Some(Running { number, began: now, again: false });
    }

    /// The next probe is wanted now: the moment, if it is due at another than before.
    pub fn hurry(&mut self, now: Duration) -> Option<Duration> {
        match (&mut self.running, self.due) {
            (Some(running), _) => {
                running.again = true;
                None
            }
            (None, Due::At(moment)) if moment > now => {
                self.due = Due::At(now);
                Some(now)
            }
            (None, Due::At(_) | Due::AtOnce | Due::Not) => None,
        }
    }

    /// A probe has ended: when the next begins, if it was ours.
    pub fn finish(&mut self, now: Duration, number: u64, outcome: &Outcome) -> Option<Duration> {
        let running = self.running.take_if(|running| running.number == number)?;
        self.note(running.began, outcome);
        self.judge.hear(now, &self.spec.timing, &outcome.result);
        let wanted = self.next_after(now, running);
        // What could not begin while the last probe was under way is not late before that has ended.
        let moment = wanted.max(now);
        self.due = Due::At(moment);
        Some(moment)
    }

    fn next_after(&self, now: Duration, Running { began, again, .. }: Running) -> Duration {
        let timing = &self.spec.timing;
        if again {
            now
        } else if self.judge.is_in_doubt(now, timing) {
            began + timing.fast_interval.clamp(LEAST_PERIOD, timing.interval.max(LEAST_PERIOD))
        } else {
            self.timetable.after(began)
        }
    }

    fn note(&mut self, began: Duration, outcome: &Outcome) {
        let Outcome { result, took } = outcome;
        let result = match result {
            Ok(success) => {
                self.record.successes += 1;
                self.record.certificate_expires = success.certificate_expires.or(self.record.certificate_expires);
                Ok(())
            }
            Err(failure) => {
                self.record.failures[failure.kind as usize] += 1;
                Err(failure.kind)
            }
        };
        if result != Err(FailureKind::Local) {
            self.record.durations.observe(&DURATION_BOUNDS, *took);
        }
        self.record.last = Some(LastProbe { began, took: *took, result });
    }

    /// Whether what would be told differs from what was.
    pub fn has_news(&self) -> bool {
        told(self.judge.verdict()) != self.told
    }

    /// What is to be told, if it still differs.
    pub fn take_news(&mut self) -> Option<(Arc<Spec>, Verdict)> {
        self.is_noted = false;
        if !self.has_news() {
            return None;
        }
        let verdict = self.judge.verdict();
        self.told = told(verdict);
        Some((Arc::clone(&self.spec), verdict.clone()))
    }

    /// What is said of it.
    pub fn view(&self, now: Duration) -> CheckView {
        let timing = &self.spec.timing;
        let verdict = self.judge.verdict();
        CheckView {
            spec: Arc::clone(&self.spec),
            state: verdict.state,
            since: self.judge.since(),
            why: self.judge.why(now, timing),
            next: match self.due {
                Due::At(moment) => Some(moment),
                Due::AtOnce | Due::Not => None,
            },
            flaps: self.judge.flaps(),
            rise: self.judge.rise(now, timing),
            agent: verdict.agent,
            record: self.record.clone(),
        }
    }
}

fn told(verdict: &Verdict) -> Told {
    (verdict.state, verdict.agent, verdict.failure)
}
