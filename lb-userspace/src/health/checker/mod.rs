//! All checks of a node: when each probe begins, and what the outcomes say. Pure: [`Checker::poll`] says which probes begin
//! now, [`Checker::finished`] takes how one ended, [`Checker::take_changes`] says which verdicts changed.
//!
//! - A check is due at fixed moments of its own (`timetable`), at once when it is new, and sooner while its verdict is in
//!   doubt (`judge`). A probe that lasts longer than the period has the next one follow right after it; two probes of one
//!   check never overlap.
//! - Many probes may be under way, up to a limit. Those that are due then wait in the order in which they were due. The first
//!   probes of new checks have no due time, only "at once": they go behind those that have one, and take up half of
//!   the limit at most, so that a reload which brings many checks delays none that is there; an eighth is theirs alone.
//! - What has changed is kept until it is taken, the latest of each check: whoever takes it may be slow.

mod check;
mod damping;
mod judge;
mod queue;
#[cfg(test)]
pub(super) mod tests;
mod timetable;

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use super::spec::Spec;
use super::verdict::{Outcome, Verdict};
use super::view::{CheckView, LATENESS_BOUNDS, Late, Summary};
use check::{Check, Due};
use queue::Queue;
use timetable::LEAST_PERIOD;

/// Probes begun by one [`Checker::poll`]: what they need done must not keep those waiting that are under way.
const BATCH: usize = 256;

/// A probe that begins this share of its interval after it was due is a late one.
const LATE_SHARE: f64 = 0.1;
/// Entries of the queue that hold no more and are no reason to tidy it.
const IDLE_ENTRIES: usize = 1024;

/// A probe that begins now.
#[derive(Clone, Debug)]
pub struct Start {
    /// To say how it ended.
    pub id: ProbeId,
    /// What to ask of whom.
    pub spec: Arc<Spec>,
}

/// One probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ProbeId {
    place: u32,
    number: u64,
    is_first: bool,
}

/// See the module's description.
#[derive(Debug)]
pub struct Checker {
    seed: u64,
    limit: usize,
    /// Places of those that are gone are empty, and used again.
    checks: Vec<Option<Check>>,
    free: Vec<u32>,
    places: HashMap<Arc<Spec>, u32>,
    queue: Queue,
    /// New checks, in the order in which they came.
    newcomers: VecDeque<u32>,
    changed: Vec<u32>,
    running: usize,
    running_first: usize,
    summary: Summary,
}

impl Checker {
    /// Without checks. `seed` is the node's; `limit` is how many probes may be under way.
    pub fn new(seed: u64, limit: usize) -> Self {
        Self {
            seed,
            limit: limit.max(2),
            checks: Vec::new(),
            free: Vec::new(),
            places: HashMap::new(),
            queue: Queue::default(),
            newcomers: VecDeque::new(),
            changed: Vec::new(),
            running: 0,
            running_first: 0,
            summary: Summary::default(),
        }
    }

    /// These are the checks from now on. Those that stay keep everything, their probes under way included; those that go are
    /// forgotten. One that differs from a check that goes only in its timing takes over what that one knew.
    pub fn configure(&mut self, now: Duration, specs: impl IntoIterator<Item = Arc<Spec>>) {
        let mut stays = vec![false; self.checks.len()];
        let mut added = Vec::new();
        for spec in specs {
            match self.places.get(&spec) {
                Some(&place) => stays[place as usize] = true,
                None => added.push(spec),
            }
        }
        let mut leaving = self.remove_all_but(&stays);
        for spec in added {
            if !self.places.contains_key(&spec) {
                let heritage = leaving.remove(&without_timing(&spec));
                self.add(now, spec, heritage);
            }
        }
        if self.queue.len() > 2 * self.places.len() + IDLE_ENTRIES {
            self.queue.tidy(due_by(&self.checks));
        }
    }

    /// Those that go, by what they have in common with those that may come in their place.
    fn remove_all_but(&mut self, stays: &[bool]) -> HashMap<Spec, Check> {
        let mut leaving = HashMap::new();
        for (place, _) in stays.iter().enumerate().filter(|(_, stays)| !**stays) {
            if let Some(check) = self.checks[place].take() {
                self.places.remove(&check.spec);
                self.free.push(place as u32);
                leaving.insert(without_timing(&check.spec), check);
            }
        }
        leaving
    }

    fn add(&mut self, now: Duration, spec: Arc<Spec>, heritage: Option<Check>) {
        let place = self.free.pop().unwrap_or_else(|| {
            self.checks.push(None);
            u32::try_from(self.checks.len() - 1).expect("the tables hold fewer backends")
        });
        self.places.insert(Arc::clone(&spec), place);
        let check = Check::new(now, self.seed, spec, heritage);
        match check.due {
            Due::At(moment) => self.queue.push(moment, place),
            Due::AtOnce => self.newcomers.push_back(place),
            Due::Not => {}
        }
        self.checks[place as usize] = Some(check);
        self.note_change(place);
    }

    /// Has these probed now, besides what the timetable says. Unknown ones are passed over; for one whose probe is under way
    /// another follows it.
    pub fn check_now<'a>(&mut self, now: Duration, specs: impl IntoIterator<Item = &'a Spec>) {
        for spec in specs {
            let Some(&place) = self.places.get(spec) else { continue };
            let Some(check) = &mut self.checks[place as usize] else { continue };
            if let Some(moment) = check.hurry(now) {
                self.queue.push(moment, place);
            }
        }
    }

    /// Which probes begin now.
    pub fn poll(&mut self, now: Duration) -> Vec<Start> {
        let mut starts = Vec::new();
        while starts.len() < BATCH && self.has_room() {
            let Some((moment, place)) = self.queue.next(due_by(&self.checks)) else { break };
            if moment > now {
                break;
            }
            self.queue.pop();
            starts.extend(self.begin(now, place));
        }
        while starts.len() < BATCH && self.has_room_for_first() {
            let Some(place) = self.newcomers.pop_front() else { break };
            // Else its place was used again meanwhile, by one that has begun or is not new.
            if self.checks[place as usize].as_ref().is_some_and(|check| check.due == Due::AtOnce) {
                starts.extend(self.begin(now, place));
            }
        }
        starts
    }

    /// When [`Self::poll`] is to be asked next; `None`: not before a probe has ended or something is configured.
    pub fn next(&mut self, now: Duration) -> Option<Duration> {
        if !self.newcomers.is_empty() && self.has_room_for_first() {
            return Some(now);
        }
        if !self.has_room() {
            return None;
        }
        self.queue.next(due_by(&self.checks)).map(|(moment, _)| moment)
    }

    fn has_room(&self) -> bool {
        let shared = self.limit - self.limit.div_ceil(8);
        self.running < self.limit && self.running - self.running_first < shared
    }

    fn has_room_for_first(&self) -> bool {
        self.running < self.limit && self.running_first < self.limit.div_ceil(2)
    }

    fn begin(&mut self, now: Duration, place: u32) -> Option<Start> {
        let check = self.checks[place as usize].as_mut()?;
        let is_first = match check.due {
            Due::At(moment) => {
                let late = now.saturating_sub(moment);
                note_lateness(&mut self.summary, now, late, check.spec.timing.interval);
                check.record.worst_lateness = check.record.worst_lateness.max(late);
                false
            }
            Due::AtOnce => true,
            Due::Not => return None,
        };
        self.summary.started += 1;
        self.running += 1;
        self.running_first += usize::from(is_first);
        let id = ProbeId { place, number: self.summary.started, is_first };
        check.begin(now, id.number);
        Some(Start { id, spec: Arc::clone(&check.spec) })
    }

    /// A probe has ended. Each must be reported once, however it ended; of a check that is gone it says nothing.
    pub fn finished(&mut self, now: Duration, id: ProbeId, outcome: &Outcome) {
        self.running = self.running.saturating_sub(1);
        self.running_first = self.running_first.saturating_sub(usize::from(id.is_first));
        let Some(check) = self.checks.get_mut(id.place as usize).and_then(Option::as_mut) else { return };
        if let Some(moment) = check.finish(now, id.number, outcome) {
            self.queue.push(moment, id.place);
            self.note_change(id.place);
        }
    }

    fn note_change(&mut self, place: u32) {
        if let Some(check) = &mut self.checks[place as usize]
            && check.has_news()
            && !check.is_noted
        {
            check.is_noted = true;
            self.changed.push(place);
        }
    }

    /// Whether [`Self::take_changes`] has something to say.
    pub fn has_changes(&self) -> bool {
        !self.changed.is_empty()
    }

    /// The verdicts that differ from those that were taken before: by state, by what an agent asks for, or, while down, by
    /// the kind of failure. A new check is taken for unknown.
    pub fn take_changes(&mut self) -> Vec<(Arc<Spec>, Verdict)> {
        let places = std::mem::take(&mut self.changed);
        places.into_iter().filter_map(|place| self.checks[place as usize].as_mut()?.take_news()).collect()
    }

    /// What is said of at most `most` checks, from the place `from` on, and where to go on: so that whoever wants all of them
    /// need not have them at once. Checks that come or go in between may be missed.
    pub fn views(&self, now: Duration, from: usize, most: usize) -> (Vec<CheckView>, Option<usize>) {
        let until = from.saturating_add(most).min(self.checks.len());
        let checks = self.checks.get(from..until).unwrap_or_default().iter().flatten();
        (checks.map(|check| check.view(now)).collect(), (until < self.checks.len()).then_some(until))
    }

    /// What is said of all together.
    pub fn summary(&self) -> Summary {
        let waits = |check: &&Check| matches!(check.due, Due::AtOnce);
        Summary {
            checks: self.places.len(),
            running: self.running,
            limit: self.limit,
            waiting: self.checks.iter().flatten().filter(waits).count(),
            ..self.summary.clone()
        }
    }
}

fn due_by(checks: &[Option<Check>]) -> impl Fn(u32) -> Option<Duration> {
    |place| match checks.get(place as usize)?.as_ref()?.due {
        Due::At(moment) => Some(moment),
        Due::AtOnce | Due::Not => None,
    }
}

fn note_lateness(summary: &mut Summary, now: Duration, late: Duration, interval: Duration) {
    summary.lateness.observe(&LATENESS_BOUNDS, late);
    summary.worst_lateness = summary.worst_lateness.max(late);
    let share = late.div_duration_f64(interval.max(LEAST_PERIOD));
    summary.worst_share = summary.worst_share.max(share);
    if share >= LATE_SHARE {
        summary.late = Some(Late { at: now, by: late });
    }
}

/// Who asks the same of the same backend, whenever.
fn without_timing(spec: &Spec) -> Spec {
    let timing = crate::config::check::Timing {
        interval: Duration::ZERO,
        fast_interval: Duration::ZERO,
        timeout: Duration::ZERO,
        rise: 0,
        fall: 0,
    };
    Spec { timing, ..spec.clone() }
}
