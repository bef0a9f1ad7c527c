//! The daemon's side of VRRP: starts the thread and the supervisor, tells the thread what changed, and takes what it has to
//! tell to the log and the event stream. Decides nothing about mastership: that is the engine's, on its own thread.
//!
//! Without `[[vrrp]]` in the configuration nothing of it runs.

mod memory;
mod settings;

use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use anyhow::Context as _;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tracing::{error, info, warn};

use super::{LogFormat, clock};
use crate::config::{Condition, Config, Hook, OnCrash, Track, VirtualRouter};
use crate::controller::Controller;
use crate::controller::view::Problem;
use crate::effects::dataplane::{Dataplane, LiveWords};
use crate::effects::events::EventStream;
use crate::effects::hook::HookRunner;
use crate::effects::program::own_binary;
use crate::effects::supervisor;
use crate::effects::track::Runners;
use crate::effects::vrrp::{Command, Output, PRIORITY, SendError, Start, Supervision, VrrpHandle, VrrpThread};
use crate::happening::{Happening, Severity};
use crate::vrrp::engine::Engine;
use crate::vrrp::event::Verdict;

pub(super) use memory::Memory;
pub(super) use settings::key;

/// How long a planned stop may take: four seconds are the engine's own limit for handing over.
const HAND_OVER: Duration = Duration::from_secs(6);
/// Commands that wait because the thread has many to do already; more are dropped, oldest first, and said.
const WAITING: usize = 4096;

/// See the module's description.
pub(super) struct VirtualRouters {
    /// What happened, in order.
    pub(super) events: EventStream,
    running: Option<Running>,
    runners: Runners,
    hook: Option<(Hook, HookRunner)>,
    live: Arc<OnceLock<LiveWords>>,
    handle: Arc<OnceLock<VrrpHandle>>,
    memory: Memory,
    log_format: LogFormat,
    ready: Option<Result<(), String>>,
    services: BTreeMap<String, Verdict>,
}

/// The thread and who watches it.
struct Running {
    thread: VrrpThread,
    supervisor: Arc<supervisor::Handle>,
    waiting: VecDeque<Command>,
}

impl VirtualRouters {
    /// Nothing runs yet. `state_dir` holds which routers were told to resign.
    pub(super) fn new(state_dir: PathBuf, log_format: LogFormat) -> Self {
        let handle: Arc<OnceLock<VrrpHandle>> = Arc::default();
        let to = Arc::clone(&handle);
        let report = Arc::new(move |router, track, verdict| {
            // A verdict that is not taken is reported again after a while.
            if let Some(handle) = to.get() {
                drop(handle.send(Command::Track { router, track, verdict }));
            }
        });
        Self {
            events: EventStream::default(),
            running: None,
            runners: Runners::new(own_binary(), report),
            hook: None,
            live: Arc::default(),
            handle,
            memory: Memory::load(state_dir),
            log_format,
            ready: None,
            services: BTreeMap::new(),
        }
    }

    /// Whether this configuration can be put in force, as far as its key file goes.
    ///
    /// # Errors
    /// When the key cannot be read.
    pub(super) fn check(config: &Config) -> anyhow::Result<()> {
        key(config).map(drop)
    }

    /// Puts a configuration in force. The services' tables are filled already.
    ///
    /// # Errors
    /// When the key cannot be read or the thread cannot be started.
    pub(super) fn configure(
        &mut self,
        config: &Config,
        controller: &Controller,
        dataplane: Option<&Dataplane>,
        caught_up: Result<(), String>,
    ) -> anyhow::Result<()> {
        self.configure_hook(config.hook.as_ref());
        let settings = settings::settings(config, controller)?;
        if self.running.is_none() && settings.routers.is_empty() {
            return Ok(());
        }
        let started = self.running.is_none();
        if started {
            self.start(&config.node.name)?;
        }
        self.take_live_words(dataplane)?;
        self.send(Command::Configure(Box::new(settings)));
        if started {
            for name in self.memory.resigned() {
                self.send(Command::Resign(Some(name.as_str().into())));
            }
        }
        self.runners.configure(&config.virtual_routers);
        self.hold(config, dataplane);
        (self.ready, self.services) = (None, BTreeMap::new());
        self.observe(controller, caught_up);
        Ok(())
    }

    fn configure_hook(&mut self, wanted: Option<&Hook>) {
        if self.hook.as_ref().map(|(hook, _)| hook) == wanted {
            return;
        }
        self.hook = wanted.map(|hook| {
            let runner = HookRunner::start(hook.clone(), own_binary(), &self.events, self.events.last(), clock::wall);
            (hook.clone(), runner)
        });
    }

    fn start(&mut self, node: &str) -> anyhow::Result<()> {
        let options = supervisor::Options {
            fairway: own_binary(),
            priority: PRIORITY + 1,
            log_format: self.log_format,
            node: node.to_owned(),
        };
        let supervisor = Arc::new(supervisor::start(options).context("starting the supervisor")?);
        let (beating, deposing) = (supervisor.pulse(), supervisor.pulse());
        let seen = std::sync::atomic::AtomicU64::new(deposing.deposed());
        let supervision = Supervision {
            beat: Box::new(move |_| beating.beat()),
            deposed: Box::new(move || {
                let now = deposing.deposed();
                seen.swap(now, std::sync::atomic::Ordering::Relaxed) != now
            }),
        };
        let (heirs, words) = (Arc::clone(&supervisor), Arc::clone(&self.live));
        let thread = VrrpThread::start(Start {
            machine: Engine::new(node.into(), boot(), clock::now()),
            live: Some(Box::new(move |index, live| {
                if let Some(words) = words.get() {
                    // An index beyond the words is never given out.
                    drop(words.set(index, live));
                }
            })),
            testament: Some(Box::new(move |testament| heirs.set_testament(testament.clone()))),
            supervision: Some(supervision),
        })
        .context("starting the VRRP thread (it needs root, or CAP_NET_RAW and CAP_NET_ADMIN)")?;
        // Only the first thread is ever started: it lives as long as the daemon.
        drop(self.handle.set(thread.handle.clone()));
        self.running = Some(Running { thread, supervisor, waiting: VecDeque::new() });
        Ok(())
    }

    fn take_live_words(&mut self, dataplane: Option<&Dataplane>) -> anyhow::Result<()> {
        let (Some(dataplane), None) = (dataplane, self.live.get()) else { return Ok(()) };
        let words = dataplane.live_words()?;
        if let Some(running) = &self.running {
            running.supervisor.set_live_words(words.descriptor()?);
        }
        drop(self.live.set(words));
        Ok(())
    }

    /// Has the supervisor hold what the program is attached to, so that the daemon's death does not detach it.
    pub(super) fn hold(&self, config: &Config, dataplane: Option<&Dataplane>) {
        let (Some(running), Some(dataplane)) = (&self.running, dataplane) else { return };
        let kept = config.virtual_routers.iter().any(|router| router.on_crash == OnCrash::Keep);
        let for_ever = kept || config.services.iter().any(|service| service.vrrp.is_none());
        match dataplane.held() {
            Ok(held) => running.supervisor.set_held(held, for_ever),
            Err(error) => error!(%error, "should the daemon die, nothing is forwarded until it is back"),
        }
    }

    /// Tells the thread what is known, if it has changed: whether the data plane could take traffic and has what the peer is
    /// master of, and which tracked services have their quorum. To be called after events.
    pub(super) fn observe(&mut self, controller: &Controller, caught_up: Result<(), String>) {
        if self.running.is_none() {
            return;
        }
        let ready = controller.readiness().and(caught_up);
        if self.ready.as_ref() != Some(&ready) {
            self.send(Command::Ready(ready.clone()));
            self.ready = Some(ready);
        }
        for (router, track, verdict) in verdicts(controller) {
            let key = format!("{router}\0{track}");
            if self.services.get(&key) != Some(&verdict) {
                self.services.insert(key, verdict.clone());
                self.send(Command::Track { router: router.into(), track: track.into(), verdict });
            }
        }
    }

    /// Sends a command, or keeps it until the thread has done others.
    fn send(&mut self, command: Command) {
        let Some(running) = &mut self.running else { return };
        running.waiting.push_back(command);
        if running.waiting.len() > WAITING {
            running.waiting.pop_front();
            error!("the VRRP thread does not take commands; the oldest is dropped");
        }
        self.send_waiting();
    }

    /// Tries again what the thread could not take. To be called now and then.
    pub(super) fn send_waiting(&mut self) {
        let Some(running) = &mut self.running else { return };
        while let Some(command) = running.waiting.pop_front() {
            match running.thread.handle.send(command) {
                Ok(()) => {}
                Err(SendError::Busy(command)) => return running.waiting.push_front(command),
                Err(SendError::Ended(_)) => return running.waiting.clear(),
            }
        }
    }

    /// Resigns a router, or all, until [`Self::resume`].
    ///
    /// # Errors
    /// When there is none of that name, or it cannot be remembered.
    pub(super) fn resign(&mut self, config: &Config, name: Option<&str>) -> Result<Vec<String>, Problem> {
        self.order(config, name, true)
    }

    /// Takes part again.
    ///
    /// # Errors
    /// As for [`Self::resign`].
    pub(super) fn resume(&mut self, config: &Config, name: Option<&str>) -> Result<Vec<String>, Problem> {
        self.order(config, name, false)
    }

    fn order(&mut self, config: &Config, name: Option<&str>, resign: bool) -> Result<Vec<String>, Problem> {
        let names = named(config, name)?;
        for name in &names {
            let router = Some(name.as_str().into());
            self.send(if resign { Command::Resign(router) } else { Command::Resume(router) });
        }
        // In force already; what may fail is only to remember it over a restart.
        self.memory.note(&names, resign).map_err(|error| Problem { exit: 5, message: format!("{error:#}") })?;
        Ok(names)
    }

    /// The thread, to ask for its snapshots.
    pub(super) fn handle(&self) -> Option<&VrrpHandle> {
        self.handle.get()
    }

    /// The same for who is there before it is.
    pub(super) fn handle_to_be(&self) -> &Arc<OnceLock<VrrpHandle>> {
        &self.handle
    }

    /// What the thread has to tell next; never, while it does not run.
    pub(super) async fn next(&mut self) -> Option<Output> {
        match &mut self.running {
            Some(running) => running.thread.outputs.recv().await,
            None => std::future::pending().await,
        }
    }

    /// Takes what the thread told to the log and the event stream.
    pub(super) fn tell(&self, output: Output) {
        let Output::Happened(happening) = output else { return };
        self.happened(happening);
    }

    /// Takes anything to the log and the event stream.
    pub(super) fn happened(&self, happening: Happening) {
        log(&happening);
        self.events.tell(clock::wall(), happening);
    }

    /// Hands everything over, and ends the thread and the supervisor.
    pub(super) async fn stop(&mut self) {
        let Some(Running { mut thread, supervisor, .. }) = self.running.take() else { return };
        if let Err(error) = thread.handle.send(Command::Stop) {
            error!(%error, "cannot hand over; the supervisor releases the addresses");
            return;
        }
        if timeout(HAND_OVER, handed_over(&mut thread.outputs, &self.events)).await.is_err() {
            error!("handing over takes too long; the supervisor releases the addresses");
            return;
        }
        let joined = tokio::task::spawn_blocking(move || thread.join()).await;
        if joined.is_ok()
            && let Some(supervisor) = Arc::into_inner(supervisor)
        {
            supervisor.clean_stop();
        }
    }
}

/// What the controller says to tracks: virtual router, track, verdict.
fn verdicts(controller: &Controller) -> Vec<(String, String, Verdict)> {
    let routers = &controller.config().virtual_routers;
    let uplinks = Controller::uplink_tracks(controller.config());
    let tracks =
        routers.iter().flat_map(|router| router.tracks.iter().chain(&uplinks).map(move |track| (router, track)));
    let verdict = |(router, track): (&VirtualRouter, &Track)| {
        let verdict = match &track.condition {
            Condition::Service { service } => controller.quorum(service),
            Condition::Uplink { interface } => controller.uplink(&router.name, interface),
            Condition::Interface { .. }
            | Condition::Script { .. }
            | Condition::Process { .. }
            | Condition::File { .. }
            | Condition::Load { .. }
            | Condition::Gateway { .. }
            | Condition::Bfd { .. } => return None,
        };
        Some((router.name.clone(), track.name.clone(), verdict))
    };
    tracks.filter_map(verdict).collect()
}

async fn handed_over(outputs: &mut mpsc::Receiver<Output>, events: &EventStream) {
    while let Some(output) = outputs.recv().await {
        match output {
            Output::Happened(happening) => {
                log(&happening);
                events.tell(clock::wall(), happening);
            }
            Output::HandedOver => return,
        }
    }
}

fn named(config: &Config, name: Option<&str>) -> Result<Vec<String>, Problem> {
    let names: Vec<String> = config.virtual_routers.iter().map(|router| router.name.clone()).collect();
    let Some(name) = name else { return Ok(names) };
    if names.iter().any(|known| known == name) {
        return Ok(vec![name.to_owned()]);
    }
    let known = if names.is_empty() { "there are none".to_owned() } else { format!("there are {}", names.join(", ")) };
    Err(Problem { exit: 2, message: format!("no virtual router is called {name}; {known}") })
}

fn log(happening: &Happening) {
    match happening.severity() {
        Severity::Info => info!("{happening}"),
        Severity::Warning => warn!("{happening}"),
    }
}

/// Tells this run of the daemon from every other.
pub(super) fn boot() -> u64 {
    let mut octets = [0; 8];
    getrandom::fill(&mut octets).expect("Linux has random numbers");
    u64::from_ne_bytes(octets)
}
