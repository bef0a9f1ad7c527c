//! The daemon's side: starts the supervisor, hands it the testament whenever it changes, and starts another when it dies.
//!
//! A thread of its own, so that the VRRP thread never waits: it leaves the testament in one place, where the next one
//! replaces it, and rings.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use arc_swap::ArcSwap;
use clap::ValueEnum as _;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::eventfd::{EfdFlags, EventFd};
use nix::unistd::Pid;
use tracing::{error, info, warn};

use super::pulse::Pulse;
use super::{apart, message};
use crate::effects::dataplane::Held;
use crate::effects::pidfd;
use crate::runtime::LogFormat;
use crate::vrrp::effect::Testament;

/// A supervisor that reads nothing for so long is no use.
const PATIENCE: Duration = Duration::from_secs(1);
/// One that has lived for so long is followed at once when it dies; otherwise there is a pause,
const LONG_LIFE: Duration = Duration::from_secs(10);
/// at first this one, then twice as long each time,
const SHORTEST_PAUSE: Duration = Duration::from_secs(1);
/// up to this.
const LONGEST_PAUSE: Duration = Duration::from_secs(32);
/// After goodbye it ends within microseconds.
const STOP_POLL: Duration = Duration::from_millis(1);

/// How to start it.
#[derive(Clone, Debug)]
pub struct Options {
    /// The binary that knows `supervise`: [`crate::effects::program::own_binary`].
    pub fairway: PathBuf,
    /// Realtime priority: one above the VRRP thread's.
    pub priority: i32,
    /// How it logs, to our standard error.
    pub log_format: LogFormat,
    /// Name of the node, by which the next daemon finds what this one left.
    pub node: String,
}

/// The running supervisor. When it is dropped without [`Self::clean_stop`] nothing ends: a daemon that ends like that
/// has died, and that is what the supervisor is for.
#[derive(Debug)]
pub struct Handle {
    pulse: Pulse,
    shared: Arc<Shared>,
    thread: JoinHandle<()>,
}

#[derive(Debug)]
struct Shared {
    testament: ArcSwap<Testament>,
    live_words: Mutex<Option<OwnedFd>>,
    held: ArcSwap<Attachments>,
    stop: AtomicBool,
    started: AtomicU64,
    /// Number of the testament.
    written: AtomicU64,
    /// Number of the last one that the supervisor has taken in.
    confirmed: AtomicU64,
    bell: EventFd,
}

/// Starts it, in the network namespace of the calling thread. It is not waited for.
///
/// # Errors
/// When the kernel has no memory, descriptor or thread left.
pub fn start(options: Options) -> Result<Handle> {
    let pulse = Pulse::new().context("making the memory for the pulse")?;
    let process = pidfd::open(Pid::this()).context("opening a descriptor of this process")?;
    let bell =
        EventFd::from_flags(EfdFlags::EFD_NONBLOCK | EfdFlags::EFD_CLOEXEC).context("making an event descriptor")?;
    let shared = Arc::new(Shared {
        testament: ArcSwap::default(),
        live_words: Mutex::default(),
        held: ArcSwap::default(),
        stop: AtomicBool::new(false),
        started: AtomicU64::new(0),
        written: AtomicU64::new(1), // the empty one
        confirmed: AtomicU64::new(0),
        bell,
    });
    let keeper = Keeper { options, pulse: pulse.clone(), process, shared: Arc::clone(&shared) };
    let thread = thread::Builder::new().name("supervisor".to_owned()).spawn(move || keeper.run());
    Ok(Handle { pulse, shared, thread: thread.context("starting the supervisor's thread")? })
}

impl Handle {
    /// The pulse, for the VRRP thread.
    pub fn pulse(&self) -> Pulse {
        self.pulse.clone()
    }

    /// What is to be done in our name from now on. Never waits.
    pub fn set_testament(&self, testament: Testament) {
        self.shared.set_testament(testament);
    }

    /// The same as a function of its own, for the VRRP thread.
    pub fn testament_writer(&self) -> impl FnMut(&Testament) + Send + 'static {
        let shared = Arc::clone(&self.shared);
        move |testament| shared.set_testament(testament.clone())
    }

    /// The map of live words (`LiveWords::descriptor`), as soon as there is one.
    pub fn set_live_words(&self, map: OwnedFd) {
        *self.shared.live_words.lock().unwrap_or_else(PoisonError::into_inner) = Some(map);
        self.shared.ring();
    }

    /// Whether a supervisor is there and has the present testament.
    pub fn is_confirmed(&self) -> bool {
        self.shared.confirmed.load(Ordering::Acquire) == self.shared.written.load(Ordering::Acquire)
    }

    /// Where the program is attached: there it stays when this process dies, until another daemon asks for it, or, unless
    /// `for_ever`, for a minute.
    pub fn set_held(&self, held: Vec<Held>, for_ever: bool) {
        self.shared.held.store(Arc::new(Attachments { held, for_ever }));
        self.shared.ring();
    }

    /// How many supervisors were started: 1 unless some have died.
    pub fn started(&self) -> u64 {
        self.shared.started.load(Ordering::Relaxed)
    }

    /// After everything was released: the supervisor ends without doing anything. Waits for that, a second at most.
    pub fn clean_stop(self) {
        self.shared.stop.store(true, Ordering::Release);
        self.shared.ring();
        if self.thread.join().is_err() {
            error!("the supervisor's thread has panicked");
        }
    }
}

impl Shared {
    fn set_testament(&self, testament: Testament) {
        self.testament.store(Arc::new(testament));
        self.written.fetch_add(1, Ordering::AcqRel);
        self.ring();
    }

    fn ring(&self) {
        // It fails only when it has rung 2^64 times unheard: then it rings already.
        let _ = self.bell.write(1);
    }

    fn is_stopping(&self) -> bool {
        self.stop.load(Ordering::Acquire)
    }
}

/// What the supervisor shall keep attached.
#[derive(Debug, Default)]
struct Attachments {
    held: Vec<Held>,
    for_ever: bool,
}

struct Keeper {
    options: Options,
    pulse: Pulse,
    /// Of this process.
    process: OwnedFd,
    shared: Arc<Shared>,
}

/// A supervisor and the way to it. Dropped, it is killed.
struct Supervisor {
    child: Child,
    socket: UnixStream,
    /// What it was told last.
    testament: Option<Arc<Testament>>,
    /// Numbers of those that it has not confirmed yet.
    unconfirmed: VecDeque<u64>,
    has_live_words: bool,
    held: Option<Arc<Attachments>>,
}

impl Keeper {
    fn run(self) {
        let mut pause = SHORTEST_PAUSE;
        while !self.shared.is_stopping() {
            let began = now();
            match self.attend() {
                Ok(()) => return,
                Err(error) => warn!(error = format!("{error:#}"), "the supervisor has ended; another is started"),
            }
            self.shared.confirmed.store(0, Ordering::Release);
            if began.elapsed() >= LONG_LIFE {
                pause = SHORTEST_PAUSE;
                continue;
            }
            self.rest(pause);
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// From the start of a supervisor to its end, which is an error unless we have said goodbye.
    fn attend(&self) -> Result<()> {
        let mut supervisor = Supervisor::start(&self.options).context("starting it")?;
        message::hello(&supervisor.socket, self.pulse.memory(), self.process.as_fd()).context("saying hello")?;
        self.shared.started.fetch_add(1, Ordering::Relaxed);
        info!(pid = supervisor.child.id(), "the supervisor is running");
        loop {
            self.tell_news(&mut supervisor)?;
            if self.shared.is_stopping() {
                return supervisor.stop();
            }
            self.wait_for_news(&mut supervisor)?;
        }
    }

    fn tell_news(&self, supervisor: &mut Supervisor) -> Result<()> {
        if !supervisor.has_live_words {
            let map = self.shared.live_words.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(map) = &*map {
                message::live_words(&supervisor.socket, map.as_fd()).context("handing over the live words")?;
                supervisor.has_live_words = true;
            }
        }
        // The number first: should another be written in between, it has a higher one and is sent next.
        let number = self.shared.written.load(Ordering::Acquire);
        let held = self.shared.held.load_full();
        if supervisor.held.as_ref().is_none_or(|told| !Arc::ptr_eq(told, &held)) {
            message::held(&supervisor.socket, &held.held, held.for_ever).context("handing over the attachments")?;
            supervisor.held = Some(held);
        }
        let testament = self.shared.testament.load_full();
        if supervisor.testament.as_ref().is_none_or(|told| !Arc::ptr_eq(told, &testament)) {
            message::testament(&supervisor.socket, &testament).context("handing over the testament")?;
            supervisor.testament = Some(testament);
            supervisor.unconfirmed.push_back(number);
        }
        Ok(())
    }

    fn wait_for_news(&self, supervisor: &mut Supervisor) -> Result<()> {
        let socket = PollFd::new(supervisor.socket.as_fd(), PollFlags::POLLIN);
        let bell = PollFd::new(self.shared.bell.as_fd(), PollFlags::POLLIN);
        let mut descriptors = [socket, bell];
        match poll(&mut descriptors, PollTimeout::NONE) {
            Ok(_) | Err(nix::errno::Errno::EINTR) => {}
            Err(error) => return Err(error).context("waiting for news"),
        }
        let _ = self.shared.bell.read(); // it rings no more, or did not
        let confirmations = message::confirmations(&supervisor.socket).context("reading its word")?;
        for _ in 0..confirmations.context("it has closed its socket")? {
            let number = supervisor.unconfirmed.pop_front().context("it confirms what it was not told")?;
            self.shared.confirmed.store(number, Ordering::Release);
        }
        Ok(())
    }

    /// Waits, unless we are stopping.
    fn rest(&self, pause: Duration) {
        let until = now() + pause;
        while !self.shared.is_stopping() {
            let left = until.saturating_duration_since(now());
            if left.is_zero() {
                return;
            }
            let mut bell = [PollFd::new(self.shared.bell.as_fd(), PollFlags::POLLIN)];
            let _ = poll(&mut bell, PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX));
            let _ = self.shared.bell.read();
        }
    }
}

impl Supervisor {
    fn start(options: &Options) -> io::Result<Self> {
        let (ours, theirs) = UnixStream::pair()?;
        ours.set_write_timeout(Some(PATIENCE))?;
        let child = command(options).stdin(Stdio::from(OwnedFd::from(theirs))).spawn()?;
        Ok(Self {
            child,
            socket: ours,
            testament: None,
            unconfirmed: VecDeque::new(),
            has_live_words: false,
            held: None,
        })
    }

    fn stop(mut self) -> Result<()> {
        message::clean_stop(&self.socket).context("saying goodbye")?;
        for _ in 0..PATIENCE.as_millis() / STOP_POLL.as_millis() {
            if self.child.try_wait().context("waiting for its end")?.is_some() {
                apart::tidy();
                return Ok(());
            }
            thread::sleep(STOP_POLL);
        }
        warn!("the supervisor did not end when it was told to, and is killed");
        Ok(())
    }
}

impl Drop for Supervisor {
    fn drop(&mut self) {
        // Both fail when it has ended and was waited for: what we want.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// In a process group of its own, so that a Ctrl-C at the terminal does not reach it.
fn command(options: &Options) -> Command {
    let mut command = Command::new(&options.fairway);
    let log_format = options.log_format.to_possible_value().expect("every format has a name");
    command
        .args(["supervise", "--log-format", log_format.get_name()])
        .arg(options.priority.to_string())
        .arg(&options.node);
    command.process_group(0).stdout(Stdio::null());
    command
}

#[expect(clippy::disallowed_methods, reason = "effects read the clock")]
fn now() -> Instant {
    Instant::now()
}
