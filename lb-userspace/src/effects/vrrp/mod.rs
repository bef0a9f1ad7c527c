//! The VRRP thread: owns the engine, feeds it what happens and does what it says.
//!
//! An OS thread of its own with real-time priority, so that no probe, reload or scrape delays an advertisement. Whoever
//! talks to it uses [`VrrpHandle`], which never makes it wait: commands go through a bounded channel, what it has to tell
//! goes out through another ([`Output`]) and is dropped and counted where nobody takes it, and its state is read from a
//! snapshot that it replaces. It writes no log and takes no lock that others hold.
//!
//! Everything is about the network namespace of the thread that calls [`VrrpThread::start`].

mod advertisements;
mod clerk;
mod companions;
mod datagram;
pub(super) mod frames;
mod hands;
mod host_frames;
mod leftovers;
pub(super) mod link_layer;
mod orders;
mod realtime;
mod shell;
pub(super) mod sys;
mod troubles;
mod view;
mod virtual_mac;
mod watch;

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use arc_swap::ArcSwap;
use nix::sys::eventfd::{EfdFlags, EventFd};
use thiserror::Error;
use tokio::sync::mpsc;

pub use realtime::{PRIORITY, be_prompt};
pub use view::ThreadView;

use crate::happening::Happening;
use crate::vrrp::effect::{Effect, Testament};
use crate::vrrp::engine::Engine;
use crate::vrrp::event::{Event, Settings, Verdict};
use crate::vrrp::view::Snapshot;

/// A wake-up so long after its deadline is a late one, and is told to the engine as a stall.
pub const LATE: Duration = Duration::from_millis(5);
/// Commands that may wait. They are rare: tracks change a few times a second at most.
const COMMANDS: usize = 1024;
/// Outputs that may wait for the runtime.
const OUTPUTS: usize = 4096;

/// What the thread drives: the engine, or in tests something simpler. Times are monotonic.
pub trait Machine: Send + 'static {
    /// Something happened.
    fn handle(&mut self, now: Duration, event: Event<'_>) -> Vec<Effect>;
    /// When to wake it up by [`Event::Tick`].
    fn deadline(&self) -> Option<Duration>;
    /// Everything, at a moment.
    fn snapshot(&self, now: Duration) -> Snapshot;
}

impl Machine for Engine {
    fn handle(&mut self, now: Duration, event: Event<'_>) -> Vec<Effect> {
        self.handle(now, event)
    }

    fn deadline(&self) -> Option<Duration> {
        self.deadline()
    }

    fn snapshot(&self, now: Duration) -> Snapshot {
        self.snapshot(now)
    }
}

/// Stores into a live word: its index, and whether this node serves.
pub type SetLive = Box<dyn Fn(u32, bool) + Send>;
/// Takes a testament without waiting.
pub type TakeTestament = Box<dyn FnMut(&Testament) + Send>;

/// What the thread is started with.
pub struct Start<M> {
    /// What it drives.
    pub machine: M,
    /// Stores into live words (index, live). `None`: there are none.
    pub live: Option<SetLive>,
    /// Takes each testament at once; called on the thread, so it must not wait.
    pub testament: Option<TakeTestament>,
    /// The supervisor, if there is one.
    pub supervision: Option<Supervision>,
}

/// Words shared with the supervisor. Both are called on the thread, every [`Supervision::BEAT`] and more often.
pub struct Supervision {
    /// Takes the monotonic time: the thread lives.
    pub beat: Box<dyn Fn(Duration) + Send>,
    /// Takes the word by which the supervisor says that it released everything in our name, and clears it.
    pub deposed: Box<dyn Fn() -> bool + Send>,
}

impl Supervision {
    /// The longest time between two beats while the thread is well.
    pub const BEAT: Duration = Duration::from_millis(10);
}

/// What the thread may be told.
#[derive(Debug)]
pub enum Command {
    /// What is configured, now.
    Configure(Box<Settings>),
    /// A verdict of a track that is watched elsewhere.
    Track {
        /// The virtual router.
        router: Arc<str>,
        /// Name of the track.
        track: Arc<str>,
        /// The verdict.
        verdict: Verdict,
    },
    /// Whether the data plane could take traffic now, else why not.
    Ready(Result<(), String>),
    /// Hand over these routers and hold back; `None`: all.
    Resign(Option<Arc<str>>),
    /// Take part again.
    Resume(Option<Arc<str>>),
    /// Hand over everything for good. [`Output::HandedOver`] is the last that is heard of the thread.
    Stop,
}

/// What the thread has to tell.
#[derive(Clone, Debug, PartialEq)]
pub enum Output {
    /// For the event stream and the log.
    Happened(Happening),
    /// All is handed over, and the thread ends. Never dropped.
    HandedOver,
}

/// A command was not taken.
#[derive(Debug, Error)]
pub enum SendError {
    /// The thread is behind by as many commands as may wait. Try again.
    #[error("the VRRP thread has {COMMANDS} commands to do already")]
    Busy(Command),
    /// The thread has ended.
    #[error("the VRRP thread has ended")]
    Ended(Command),
}

/// To talk to the thread, from anywhere and without waiting.
#[derive(Clone)]
pub struct VrrpHandle {
    commands: SyncSender<Command>,
    /// After the commands, so that the thread finds them closed when the last handle's end wakes it up.
    wake: Arc<Wake>,
    snapshot: Arc<ArcSwap<Snapshot>>,
    view: Arc<ArcSwap<ThreadView>>,
}

impl VrrpHandle {
    /// Sends a command.
    ///
    /// # Errors
    /// When it was not taken; it is in the error.
    pub fn send(&self, command: Command) -> Result<(), SendError> {
        self.commands.try_send(command).map_err(|error| match error {
            TrySendError::Full(command) => SendError::Busy(command),
            TrySendError::Disconnected(command) => SendError::Ended(command),
        })?;
        self.wake.up();
        Ok(())
    }

    /// The virtual routers, at most a quarter of a second old, and never older than a change of state.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.snapshot.load_full()
    }

    /// The thread's own state, as old as the snapshot.
    pub fn thread(&self) -> Arc<ThreadView> {
        self.view.load_full()
    }
}

/// Wakes the thread up, at the latest when nobody is left who could.
struct Wake(Arc<EventFd>);

impl Wake {
    fn up(&self) {
        // It fails when the counter is full, and then the thread is about to wake up anyway.
        let _ = self.0.write(1);
    }
}

impl Drop for Wake {
    fn drop(&mut self) {
        self.up();
    }
}

/// The thread. When all handles are gone it stops as by [`Command::Stop`].
pub struct VrrpThread {
    /// To talk to it.
    pub handle: VrrpHandle,
    /// What it has to tell, in order.
    pub outputs: mpsc::Receiver<Output>,
    thread: JoinHandle<()>,
}

impl VrrpThread {
    /// Opens the sockets and starts the thread.
    ///
    /// # Errors
    /// Without CAP_NET_RAW, without netlink, or when no thread can be started.
    pub fn start<M: Machine>(start: Start<M>) -> io::Result<Self> {
        let hands = hands::Hands::open()?;
        let wake = Arc::new(EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?);
        let (commands, commanded) = sync_channel(COMMANDS);
        let (tell, outputs) = mpsc::channel(OUTPUTS);
        let snapshot = Arc::new(ArcSwap::from_pointee(Snapshot::default()));
        let unsettled = Err("the thread has not begun".to_owned());
        let view = Arc::new(ArcSwap::from_pointee(ThreadView::new(unsettled.clone(), unsettled)));
        let handle =
            VrrpHandle { commands, wake: Arc::new(Wake(wake.clone())), snapshot: snapshot.clone(), view: view.clone() };
        let wires = shell::Wires { commanded, wake, tell, snapshot, view };
        let thread = thread::Builder::new()
            .name("fairway-vrrp".to_owned())
            .spawn(move || shell::Shell::new(start, hands, wires).run())?;
        Ok(Self { handle, outputs, thread })
    }

    /// Waits for the thread's end.
    pub fn join(self) {
        drop(self.handle);
        // It never ends by a panic: that ends the process.
        let _ = self.thread.join();
    }
}
