//! What virtual routers track outside of VRRP: scripts, processes, files, load. Each track is a task that looks, and reports
//! a verdict when it changes and now and then besides.
//!
//! Not here: interfaces, gateways and BFD sessions, which the VRRP engine follows itself, and the quorum of services, which
//! the controller knows. The tasks run wherever tokio puts them; only verdicts reach the VRRP thread.

mod file;
mod load;
mod process;
mod script;
mod streak;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::task::AbortHandle;
use tokio::time::{Interval, MissedTickBehavior, interval};

use crate::config::{Condition, VirtualRouter};
use crate::vrrp::event::Verdict;

/// A verdict that has not changed is reported again after so long, lest one that was lost stay lost.
const REFRESH: Duration = Duration::from_secs(10);

/// Where verdicts go: virtual router, track, verdict. Called from several tasks; it must not wait.
pub type Report = Arc<dyn Fn(Arc<str>, Arc<str>, Verdict) + Send + Sync>;

/// The running tracks. Dropped, all end.
pub struct Runners {
    report: Report,
    fairway: PathBuf,
    running: BTreeMap<(Arc<str>, Arc<str>), Running>,
}

/// A track and its task.
struct Running {
    condition: Condition,
    reporter: Reporter,
    task: AbortOnDrop,
}

impl Runners {
    /// None yet. `fairway` is the binary that knows `run-as` ([`super::program::own_binary`]). Needs a tokio runtime.
    pub fn new(fairway: PathBuf, report: Report) -> Self {
        Self { report, fairway, running: BTreeMap::new() }
    }

    /// Watches what these routers track, and nothing else. What is tracked as before goes on with its history, and its
    /// verdict is reported again, since the router may be a new one; what is new, or was changed, begins anew.
    pub fn configure(&mut self, routers: &[VirtualRouter]) {
        let mut before = std::mem::take(&mut self.running);
        for router in routers {
            for track in &router.tracks {
                let key: (Arc<str>, Arc<str>) = (router.name.as_str().into(), track.name.as_str().into());
                let running = match before.remove(&key) {
                    Some(same) if same.condition == track.condition && !same.task.0.is_finished() => {
                        same.reporter.repeat();
                        Some(same)
                    }
                    Some(_) | None => self.start(&key, &track.condition),
                };
                if let Some(running) = running {
                    self.running.insert(key, running);
                }
            }
        }
    }

    /// `None`: it is watched elsewhere.
    fn start(&self, (router, track): &(Arc<str>, Arc<str>), condition: &Condition) -> Option<Running> {
        let reporter = Reporter::new(Arc::clone(&self.report), Arc::clone(router), Arc::clone(track));
        let to = reporter.clone();
        let task = match condition.clone() {
            Condition::Script { command, interval, timeout, rise, fall, user } => {
                let program = super::program::Program { command, user, fairway: self.fairway.clone() };
                tokio::spawn(script::watch(program, interval, timeout, streak::Streak::new(rise, fall), to))
            }
            Condition::Process { process, minimum } => tokio::spawn(process::watch(process, minimum, to)),
            Condition::File { path } => tokio::spawn(file::watch(path, to)),
            Condition::Load { maximum } => tokio::spawn(load::watch(maximum, to)),
            Condition::Interface { .. }
            | Condition::Service { .. }
            | Condition::Uplink { .. }
            | Condition::Gateway { .. }
            | Condition::Bfd { .. } => return None,
        };
        Some(Running { condition: condition.clone(), reporter, task: AbortOnDrop(task.abort_handle()) })
    }
}

struct AbortOnDrop(AbortHandle);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Reports one track's verdicts: those that are new, and every ten seconds the one in force.
#[derive(Clone)]
struct Reporter {
    report: Report,
    router: Arc<str>,
    track: Arc<str>,
    last: Arc<Mutex<Option<(Verdict, tokio::time::Instant)>>>,
}

impl Reporter {
    fn new(report: Report, router: Arc<str>, track: Arc<str>) -> Self {
        Self { report, router, track, last: Arc::default() }
    }

    /// To be called at every look, and at least as often as the refresh is to come.
    fn tell(&self, verdict: Verdict) {
        let now = tokio::time::Instant::now();
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if last.as_ref().is_none_or(|(before, at)| *before != verdict || now - *at >= REFRESH) {
            *last = Some((verdict.clone(), now));
            // Under the lock, so that the last one reported is the last one.
            self.send(verdict);
        }
    }

    /// Reports what was reported last.
    fn repeat(&self) {
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((verdict, _)) = &*last {
            self.send(verdict.clone());
        }
    }

    fn send(&self, verdict: Verdict) {
        (self.report)(Arc::clone(&self.router), Arc::clone(&self.track), verdict);
    }
}

/// The first tick at once; after a late one the next follows a full period later, so that looks never pile up.
fn timetable(period: Duration) -> Interval {
    let mut ticks = interval(period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

#[cfg(test)]
mod tests;
