//! From the outcomes of a check's probes to its verdict: the state machine of one check.
//!
//! The first outcome decides alone, so that a start takes one round of probes; after that `rise` successes or `fall`
//! failures in a row do. A probe that could not be made says nothing of the backend: it neither counts nor breaks a row.

use std::time::Duration;

use super::damping::Damping;
use crate::config::check::Timing;
use crate::health::verdict::{CheckState, Failure, FailureKind, Success, Verdict};

/// See the module's description.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Judge {
    verdict: Verdict,
    since: Duration,
    /// Outcomes in a row that contradict the verdict.
    against: u32,
    /// The last of them in words.
    doubt: String,
    /// Why the last probe could not be made; empty: it could.
    trouble: String,
    damping: Damping,
    flaps: u64,
}

impl Judge {
    /// Of a check that is configured now.
    pub fn new(now: Duration) -> Self {
        Self {
            verdict: Verdict::default(),
            since: now,
            against: 0,
            doubt: String::new(),
            trouble: String::new(),
            damping: Damping::default(),
            flaps: 0,
        }
    }

    /// Takes note of how a probe ended.
    pub fn hear(&mut self, now: Duration, timing: &Timing, result: &Result<Success, Failure>) {
        self.trouble.clear();
        match result {
            Ok(success) => self.succeeded(now, timing, success),
            Err(Failure { kind: FailureKind::Local, why }) => self.trouble.clone_from(why),
            Err(failure) => self.failed(now, timing, failure),
        }
    }

    fn succeeded(&mut self, now: Duration, timing: &Timing, success: &Success) {
        if let Some(line) = success.agent {
            self.verdict.agent = self.verdict.agent.merged(line);
        }
        self.against = match self.verdict.state {
            CheckState::Up => 0,
            CheckState::Unknown | CheckState::Down => self.against + 1,
        };
        let decides = match self.verdict.state {
            CheckState::Up | CheckState::Unknown => true,
            CheckState::Down => self.against >= self.rise(now, timing),
        };
        if decides {
            self.turn(now, CheckState::Up, &success.detail);
            self.verdict.failure = None;
        } else {
            self.doubt.clone_from(&success.detail);
        }
    }

    fn failed(&mut self, now: Duration, timing: &Timing, failure: &Failure) {
        self.against = match self.verdict.state {
            CheckState::Down => 0,
            CheckState::Unknown | CheckState::Up => self.against + 1,
        };
        let decides = match self.verdict.state {
            CheckState::Down | CheckState::Unknown => true,
            CheckState::Up => self.against >= timing.fall,
        };
        if decides {
            self.turn(now, CheckState::Down, &failure.why);
            self.verdict.failure = Some(failure.kind);
        } else {
            self.doubt.clone_from(&failure.why);
        }
    }

    /// An outcome that agrees with the verdict, or decides about it.
    fn turn(&mut self, now: Duration, state: CheckState, why: &str) {
        self.against = 0;
        self.doubt.clear();
        if self.verdict.why != why {
            why.clone_into(&mut self.verdict.why);
        }
        if self.verdict.state == state {
            return;
        }
        if self.verdict.state != CheckState::Unknown {
            self.damping.note(now);
            self.flaps += 1;
        }
        self.verdict.state = state;
        self.since = now;
    }

    /// Whether the next probe should be made soon: no outcome has decided yet, or the last ones contradict the verdict. A
    /// check that comes back from flapping is in no hurry.
    pub fn is_in_doubt(&self, now: Duration, timing: &Timing) -> bool {
        match self.verdict.state {
            CheckState::Unknown => true,
            CheckState::Up => self.against > 0,
            CheckState::Down => self.against > 0 && self.damping.factor(now, timing.interval) == 1,
        }
    }

    /// Successes in a row that it takes at present to come up.
    pub fn rise(&self, now: Duration, timing: &Timing) -> u32 {
        timing.rise.saturating_mul(self.damping.factor(now, timing.interval))
    }

    /// The verdict.
    pub fn verdict(&self) -> &Verdict {
        &self.verdict
    }

    /// Since when its state is as it is.
    pub fn since(&self) -> Duration {
        self.since
    }

    /// Times it went from up to down, or back.
    pub fn flaps(&self) -> u64 {
        self.flaps
    }

    /// Why the state is as it is, and what speaks against it.
    pub fn why(&self, now: Duration, timing: &Timing) -> String {
        let mut words = match self.verdict.state {
            CheckState::Unknown => "no probe has ended yet".to_owned(),
            CheckState::Up | CheckState::Down => self.verdict.why.clone(),
        };
        if self.against > 0 {
            let needed = if self.verdict.state == CheckState::Up { timing.fall } else { self.rise(now, timing) };
            words.push_str(&format!("; then {} of {needed}: {}", self.against, self.doubt));
        }
        if !self.trouble.is_empty() {
            words.push_str(&format!("; the last probe could not be made: {}", self.trouble));
        }
        words
    }
}
