//! The prober's thread: a [`Checker`], a clock, and the probes under way.
//!
//! An OS thread of its own, at normal priority: below the VRRP thread, beside the runtime. Neither waits for the other. What
//! is configured is a value that the thread looks at when it comes to it, questions wait in a bounded channel, and changes
//! of verdicts stay with the checker, the latest of each check, until there is room to tell them.

use std::collections::HashMap;
use std::future::Future;
use std::io;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::time::{ClockId, clock_gettime};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::{JoinError, JoinSet, yield_now};
use tokio::time::{sleep, timeout};
use tracing::{error, warn};

use super::diagnosis;
use super::probe::Prepared;
use super::{Changes, Command, FindRoute, Snapshot, Wanted};
use crate::config::check::Probe;
use crate::health::checker::{Checker, ProbeId, Start};
use crate::health::spec::Spec;
use crate::health::verdict::{Failure, FailureKind, Outcome};
use crate::health::view::CheckView;

/// Probes that may be under way: of 40,000 silent backends with a timeout of a second and an interval of five, 8,000 are.
const MOST_PROBES: usize = 16_384;
/// Descriptors that are left to the rest of the daemon.
const OTHER_DESCRIPTORS: u64 = 1024;
/// With fewer descriptors than this nothing useful can be probed, and the limit is of no use.
const LEAST_PROBES: usize = 32;
/// A probe has its own deadline. One that is still there after so many of them never ends by itself.
const DEADLINES: u32 = 2;
/// Checks whose view is made at a time; probes go on in between.
const VIEWS: usize = 1024;

/// Runs until nobody is left who could command it.
pub(super) fn run(mut prober: Prober) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(prober.serve());
    Ok(())
}

/// How many probes may be under way, by the descriptors that this process may have: as many as it may have are asked for.
pub(super) fn most_probes() -> usize {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap_or((OTHER_DESCRIPTORS, OTHER_DESCRIPTORS));
    let wanted = hard.min(MOST_PROBES as u64 + OTHER_DESCRIPTORS).max(soft);
    let granted = if setrlimit(Resource::RLIMIT_NOFILE, wanted, hard).is_ok() { wanted } else { soft };
    let most = usize::try_from(granted.saturating_sub(OTHER_DESCRIPTORS)).unwrap_or(MOST_PROBES);
    if most < MOST_PROBES {
        warn!(
            descriptors = granted,
            "few descriptors: at most {} probes run at a time; systemd: LimitNOFILE=65536",
            most.max(LEAST_PROBES)
        );
    }
    most.clamp(LEAST_PROBES, MOST_PROBES)
}

/// See the module's description.
pub(super) struct Prober {
    pub checker: Checker,
    pub find_route: FindRoute,
    pub wanted: watch::Receiver<Wanted>,
    pub commands: mpsc::Receiver<Command>,
    pub changes: mpsc::Sender<Changes>,
    /// Of what is configured.
    pub generation: u64,
    /// Compiled once for all specs that ask the same.
    pub prepared: HashMap<Probe, Result<Arc<Prepared>, String>>,
    pub under_way: JoinSet<(ProbeId, Ended)>,
    /// Probes that did not end by themselves.
    pub faults: u64,
    pub asked: Option<Question>,
}

/// Why the thread goes on.
enum Woken {
    /// A probe has ended.
    Ended(Result<(ProbeId, Ended), JoinError>),
    /// Something else is configured.
    Configured,
    /// A command has come.
    Told(Command),
    /// There is room to tell what changed.
    Room,
    /// A probe is due.
    Due,
    /// Nobody is left to work for.
    Alone,
}

/// A snapshot in the making.
#[derive(Default)]
pub(super) struct Question {
    replies: Vec<oneshot::Sender<Arc<Snapshot>>>,
    views: Vec<CheckView>,
    next: usize,
}

impl Prober {
    async fn serve(&mut self) {
        loop {
            self.begin_those_due();
            self.answer_in_part();
            match self.wait().await {
                Woken::Ended(ended) => self.end(ended),
                Woken::Configured => self.configure(),
                Woken::Told(command) => self.obey(command),
                Woken::Room => self.tell(),
                Woken::Due => {}
                Woken::Alone => return,
            }
            while let Some(ended) = self.under_way.try_join_next() {
                self.end(ended);
            }
        }
    }

    /// Waits until there is something to do.
    async fn wait(&mut self) -> Woken {
        let rest = match self.asked {
            Some(_) => Some(Duration::ZERO),
            None => self.checker.next(now()).map(|moment| moment.saturating_sub(now())),
        };
        tokio::select! {
            Some(ended) = self.under_way.join_next() => Woken::Ended(ended),
            changed = self.wanted.changed() => changed.map_or(Woken::Alone, |()| Woken::Configured),
            Some(command) = self.commands.recv() => Woken::Told(command),
            room = self.changes.reserve(), if self.checker.has_changes() => room.map_or(Woken::Alone, |_| Woken::Room),
            () = self.changes.closed() => Woken::Alone,
            () = wake_after(rest) => Woken::Due,
        }
    }

    fn tell(&mut self) {
        // Nobody else sends, so the room is still there; and should the receiver be gone, the next round finds it so.
        if let Ok(room) = self.changes.try_reserve() {
            room.send(Changes { generation: self.generation, verdicts: self.checker.take_changes() });
        }
    }

    fn configure(&mut self) {
        let (generation, specs) = self.wanted.borrow_and_update().clone();
        self.generation = generation;
        self.checker.configure(now(), specs.iter().cloned());
        let mut before = std::mem::take(&mut self.prepared);
        for spec in specs.iter() {
            if !self.prepared.contains_key(&spec.probe) {
                let prepared = before.remove(&spec.probe).unwrap_or_else(|| Prepared::new(&spec.probe).map(Arc::new));
                self.prepared.insert(spec.probe.clone(), prepared);
            }
        }
    }

    fn obey(&mut self, command: Command) {
        match command {
            Command::CheckNow(specs) => self.checker.check_now(now(), specs.iter().map(|spec| &**spec)),
            Command::Snapshot(reply) => self.asked.get_or_insert_default().replies.push(reply),
        }
    }

    fn begin_those_due(&mut self) {
        let mut failed_at_once = true;
        while failed_at_once {
            failed_at_once = false;
            for start in self.checker.poll(now()) {
                failed_at_once |= !self.begin(start);
            }
        }
    }

    /// Begins a probe; `false` if it could not even begin, and has ended already.
    fn begin(&mut self, Start { id, spec }: Start) -> bool {
        let prepared = match self.prepared.get(&spec.probe) {
            Some(Ok(prepared)) => Ok(Arc::clone(prepared)),
            Some(Err(why)) => Err(Failure::new(FailureKind::Local, why.clone())),
            None => Err(Failure::new(FailureKind::Local, "the probe is not prepared")),
        };
        match prepared.and_then(|prepared| Ok((prepared, (self.find_route)(&spec.target)?))) {
            Ok((prepared, route)) => {
                self.under_way.spawn(async move {
                    let ended = watched(&spec, diagnosis::run(&prepared, &spec, &route)).await;
                    (id, ended)
                });
                true
            }
            Err(failure) => {
                self.checker.finished(now(), id, &Outcome { result: Err(failure), took: Duration::ZERO });
                false
            }
        }
    }

    fn end(&mut self, ended: Result<(ProbeId, Ended), JoinError>) {
        // None is aborted, and panics are caught inside.
        let (id, ended) = ended.expect("probes end by a value");
        let outcome = match ended {
            Ended::ByItself(outcome) => outcome,
            Ended::Fault { why, took } => {
                self.faults += 1;
                Outcome { result: Err(Failure::new(FailureKind::Local, why)), took }
            }
        };
        self.checker.finished(now(), id, &outcome);
    }

    /// Goes on with a snapshot that somebody waits for.
    fn answer_in_part(&mut self) {
        let Some(question) = &mut self.asked else { return };
        let (views, next) = self.checker.views(now(), question.next, VIEWS);
        question.views.extend(views);
        match next {
            Some(next) => question.next = next,
            None => self.answer(),
        }
    }

    fn answer(&mut self) {
        let Some(question) = self.asked.take() else { return };
        let snapshot = Arc::new(Snapshot {
            at: now(),
            summary: self.checker.summary(),
            checks: question.views,
            faults: self.faults,
        });
        // An asker that has gone away misses its answer; nothing is wrong with that.
        question.replies.into_iter().for_each(|reply| drop(reply.send(Arc::clone(&snapshot))));
    }
}

/// How a probe's task ended.
pub(super) enum Ended {
    /// As it should.
    ByItself(Outcome),
    /// By a panic, or long after its deadline. Must never happen.
    Fault { why: &'static str, took: Duration },
}

/// Sees to it that a probe ends, whatever it does: one that panics or never ends must not take its check with it.
async fn watched(spec: &Spec, probe: impl Future<Output = Outcome>) -> Ended {
    let began = now();
    let limit = spec.timing.timeout.saturating_mul(DEADLINES);
    let why = match timeout(limit, AssertUnwindSafe(probe).catch_unwind()).await {
        Ok(Ok(outcome)) => return Ended::ByItself(outcome),
        Ok(Err(_)) => "the probe broke down",
        Err(_) => "the probe did not keep its deadline and was cancelled",
    };
    error!(target = %spec.target, probe = spec.probe.name(), "{why}: this is a fault of Fairway's");
    Ended::Fault { why, took: now().saturating_sub(began) }
}

async fn wake_after(rest: Option<Duration>) {
    match rest {
        Some(Duration::ZERO) => yield_now().await,
        Some(rest) => sleep(rest).await,
        None => std::future::pending().await,
    }
}

/// Monotonic time since boot, the runtime's clock too.
fn now() -> Duration {
    Duration::from(clock_gettime(ClockId::CLOCK_MONOTONIC).expect("Linux has a monotonic clock"))
}

#[cfg(test)]
#[path = "thread_tests.rs"]
mod tests;
