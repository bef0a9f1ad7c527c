//! The checks: starts the prober when there are any, tells it what to probe, and takes what it finds to the controller, the
//! event stream and the log.

use std::collections::HashMap;
use std::hash::{Hash as _, Hasher as _};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use siphasher::sip::SipHasher13;
use tokio::sync::oneshot;
use tokio::time::timeout;
use tracing::{error, info, warn};

use super::clock;
use super::daemon::Daemon;
use crate::config::Config;
use crate::controller::Event;
use crate::controller::checks::{ProberStatus, put};
use crate::controller::view::Status;
use crate::controller::vrrp::Epoch;
use crate::effects::prober::{Changes, FindRoute, ProberThread, Snapshot};
use crate::happening::Happening;
use crate::health::spec::Spec;
use crate::health::uses::Uses;
use crate::health::verdict::{CheckState, Verdict};
use crate::reconcile::changes::Unchanged;

/// How long a question waits for the prober, which answers in milliseconds.
const PATIENCE: Duration = Duration::from_secs(2);

/// See the module's description.
pub(super) struct Checks {
    seed: u64,
    find_route: Option<FindRoute>,
    running: Option<ProberThread>,
    generation: u64,
    uses: Arc<Uses>,
    known: HashMap<Arc<Spec>, Known>,
}

/// What is known of a spec.
struct Known {
    /// The configuration that brought it.
    since: u64,
    state: CheckState,
}

impl Checks {
    /// Nothing is probed yet. `find_route` says how probes reach their targets.
    pub(super) fn new(node: &str, find_route: FindRoute) -> Self {
        let mut hasher = SipHasher13::new();
        node.hash(&mut hasher);
        Self {
            seed: hasher.finish(),
            find_route: Some(find_route),
            running: None,
            generation: 0,
            uses: Arc::default(),
            known: HashMap::new(),
        }
    }

    /// What a configuration wants checked is, from now on. Services that are `unchanged` are not looked at.
    ///
    /// # Errors
    /// When the prober's thread cannot be started.
    pub(super) fn configure(&mut self, config: &Config, unchanged: &Unchanged) -> anyhow::Result<()> {
        let uses = Uses::new(&config.services, &self.uses, unchanged);
        let is_as_before = uses.are_those_of(&self.uses);
        self.uses = Arc::new(uses);
        let uses = &self.uses;
        if is_as_before || uses.is_empty() && self.running.is_none() {
            return Ok(());
        }
        if let Some(find_route) = self.find_route.take() {
            let thread = ProberThread::start(self.seed, find_route).context("starting the prober's thread")?;
            info!("checking backends");
            self.running = Some(thread);
        }
        self.generation += 1;
        self.known.retain(|spec, _| uses.contains(spec));
        for spec in uses.specs() {
            let new = || Known { since: self.generation, state: CheckState::Unknown };
            self.known.entry(Arc::clone(spec)).or_insert_with(new);
        }
        let specs: Vec<Arc<Spec>> = uses.specs().cloned().collect();
        if let Some(thread) = &self.running {
            thread.handle.configure(self.generation, specs);
        }
        Ok(())
    }

    /// Whether anything is checked.
    pub(super) fn are_made(&self) -> bool {
        self.running.is_some()
    }

    /// Verdicts that changed next, all that wait at once; never, while nothing is checked. `None`: the thread has ended.
    pub(super) async fn next(&mut self) -> Option<Vec<Changes>> {
        let Some(thread) = &mut self.running else { return std::future::pending().await };
        let mut all = vec![thread.changes.recv().await?];
        while let Ok(more) = thread.changes.try_recv() {
            all.push(more);
        }
        Some(all)
    }

    /// What of these concerns checks that are configured, and what is to be told of it.
    fn take(&mut self, changes: Vec<Changes>) -> (Vec<(Arc<Spec>, Verdict)>, Vec<Happening>) {
        let (mut verdicts, mut happenings) = (Vec::new(), Vec::new());
        for Changes { generation, verdicts: changed } in changes {
            for (spec, verdict) in changed {
                // One that was gone for a while is new: what was found before is of another time.
                let Some(known) = self.known.get_mut(&spec).filter(|known| known.since <= generation) else { continue };
                let from = std::mem::replace(&mut known.state, verdict.state);
                if from != verdict.state {
                    happenings.extend(happened(&self.uses, &spec, from, &verdict));
                }
                verdicts.push((spec, verdict));
            }
        }
        (verdicts, happenings)
    }

    /// Asks the prober what is to be said of the checks. The answer is waited for elsewhere: nothing here may.
    pub(super) fn ask(&self) -> Asked {
        let asked = self.running.as_ref().map(|thread| thread.handle.ask());
        Asked { uses: Arc::clone(&self.uses), answer: asked }
    }

    /// Has these checked at once, besides their timetable.
    pub(super) fn check_now(&self, specs: Vec<Arc<Spec>>) {
        if let Some(thread) = &self.running
            && !thread.handle.check_now(specs)
        {
            warn!("the prober is busy: checks that should have been made at once wait for their time");
        }
    }

    /// Ends the thread.
    pub(super) async fn stop(&mut self) {
        let Some(thread) = self.running.take() else { return };
        match tokio::task::spawn_blocking(|| thread.stop()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => error!(%error, "the prober did not run"),
            Err(error) => error!(%error, "the prober did not end well"),
        }
    }
}

fn happened(uses: &Uses, spec: &Spec, from: CheckState, verdict: &Verdict) -> Vec<Happening> {
    let told = uses.users(spec).iter().map(|user| Happening::Check {
        service: user.service.to_string(),
        backend: user.backend.to_string(),
        check: user.check.to_string(),
        from,
        to: verdict.state,
        why: verdict.why.clone(),
    });
    told.collect()
}

/// A question that the prober was asked.
pub(super) struct Asked {
    uses: Arc<Uses>,
    /// `None`: it does not run; within: the answer, if the question was taken.
    answer: Option<Option<oneshot::Receiver<Arc<Snapshot>>>>,
}

impl Asked {
    /// The status, with what the prober says.
    pub(super) async fn put_into(self, mut status: Box<Status>) -> Box<Status> {
        let Some(answer) = self.answer else { return status };
        let answered = async { answer?.await.ok() };
        match timeout(PATIENCE, answered).await.ok().flatten() {
            Some(snapshot) => {
                let epoch = Epoch::new(clock::now(), clock::wall());
                let prober = ProberStatus::new(snapshot.at, &snapshot.summary, snapshot.faults);
                put(&mut status, &self.uses, prober, &snapshot.checks, epoch);
            }
            None => status.warnings.insert(0, "the prober does not answer: checks may not be made".to_owned()),
        }
        status
    }
}

impl Daemon {
    /// Takes what the prober found to whom it concerns.
    pub(super) fn take_verdicts(&mut self, changes: Vec<Changes>) {
        let (verdicts, happenings) = self.checks.take(changes);
        self.tell(happenings);
        if !verdicts.is_empty() {
            self.verdicts.changed();
            self.exchange.note_words();
            let effects = self.controller.handle(clock::now(), Event::Verdicts(verdicts));
            self.perform(effects);
            self.observe();
        }
    }

    /// Takes to the event stream and the log what is told one by one.
    pub(super) fn tell(&mut self, happenings: Vec<Happening>) {
        let told = self.limiter.admit(clock::now(), happenings);
        told.into_iter().for_each(|one| self.virtual_routers.happened(one));
    }

    /// Says how much was not told one by one. To be called now and then.
    pub(super) fn tell_untold(&mut self) {
        self.tell(Vec::new());
    }
}

#[cfg(test)]
#[path = "checks_tests.rs"]
mod tests;
