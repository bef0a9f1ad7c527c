//! Probing the backends: when ([`ProberThread`] has the clock for `health::checker`), by which way ([`route`]), and what is
//! asked of them there ([`probe`]).

mod diagnosis;
pub mod probe;
pub mod route;
mod thread;
mod trouble;

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;

use self::route::Route;
use crate::health::checker::Checker;
use crate::health::spec::{Spec, Target};
use crate::health::verdict::{Failure, Verdict};
use crate::health::view::{CheckView, Summary};

/// Questions that may wait for the thread, which answers them between probes.
const COMMANDS: usize = 64;
/// Batches of changes that may wait for the runtime. While they do, later changes wait with the checker, the latest of each
/// check only.
const BATCHES: usize = 4;

/// How to reach a target, or why it cannot be reached now. Called on the thread, before each probe: must not wait.
pub type FindRoute = Box<dyn Fn(&Target) -> Result<Route, Failure> + Send>;

/// What is to be probed, and the number of the configuration that says so.
type Wanted = (u64, Arc<[Arc<Spec>]>);

/// Verdicts that changed.
#[derive(Clone, Debug, PartialEq)]
pub struct Changes {
    /// The latest configuration that the thread knew of: what came later is not yet in it, and what has gone may be.
    pub generation: u64,
    /// The specs and their verdicts now.
    pub verdicts: Vec<(Arc<Spec>, Verdict)>,
}

/// What is said of the checks. Each check is of one moment; from the first to the last some milliseconds may pass.
#[derive(Clone, Debug, PartialEq)]
pub struct Snapshot {
    /// When it was taken, monotonic.
    pub at: Duration,
    /// All together.
    pub summary: Summary,
    /// Each, in no order.
    pub checks: Vec<CheckView>,
    /// Probes that did not end by themselves. Must be 0.
    pub faults: u64,
}

#[derive(Debug)]
enum Command {
    CheckNow(Vec<Arc<Spec>>),
    Snapshot(oneshot::Sender<Arc<Snapshot>>),
}

/// To talk to the thread, from anywhere and without waiting.
#[derive(Clone, Debug)]
pub struct ProberHandle {
    wanted: watch::Sender<Wanted>,
    commands: mpsc::Sender<Command>,
}

impl ProberHandle {
    /// From now on these are probed, and nothing else: the latest counts. `generation` comes back with the changes.
    pub fn configure(&self, generation: u64, specs: impl Into<Arc<[Arc<Spec>]>>) {
        self.wanted.send_replace((generation, specs.into()));
    }

    /// Has these probed at once. `false`: so many questions wait that this one was dropped.
    pub fn check_now(&self, specs: Vec<Arc<Spec>>) -> bool {
        self.commands.try_send(Command::CheckNow(specs)).is_ok()
    }

    /// Asks for a snapshot; the answer may be waited for elsewhere. `None`: so many questions wait that this one was dropped.
    pub fn ask(&self) -> Option<oneshot::Receiver<Arc<Snapshot>>> {
        let (reply, answer) = oneshot::channel();
        self.commands.try_send(Command::Snapshot(reply)).ok().map(|()| answer)
    }
}

/// The thread. It ends when the last handle or the receiver of its changes is gone; probes under way end with it.
#[derive(Debug)]
pub struct ProberThread {
    /// To talk to it.
    pub handle: ProberHandle,
    /// Verdicts that change.
    pub changes: mpsc::Receiver<Changes>,
    thread: JoinHandle<io::Result<()>>,
}

impl ProberThread {
    /// Starts the thread, in the network namespace of the caller. `seed` is the node's: see [`Checker::new`]. Raises the
    /// number of descriptors that the process may have.
    ///
    /// # Errors
    /// When no thread can be started.
    pub fn start(seed: u64, find_route: FindRoute) -> io::Result<Self> {
        let (wanted, configured) = watch::channel((0, Arc::from([])));
        let (commands, commanded) = mpsc::channel(COMMANDS);
        let (tell, changes) = mpsc::channel(BATCHES);
        let prober = thread::Prober {
            checker: Checker::new(seed, thread::most_probes()),
            find_route,
            wanted: configured,
            commands: commanded,
            changes: tell,
            generation: 0,
            prepared: HashMap::new(),
            under_way: JoinSet::new(),
            faults: 0,
            asked: None,
        };
        let thread =
            std::thread::Builder::new().name("fairway-prober".to_owned()).spawn(move || thread::run(prober))?;
        Ok(Self { handle: ProberHandle { wanted, commands }, changes, thread })
    }

    /// Ends the thread, and waits for it. Blocks for some milliseconds.
    ///
    /// # Errors
    /// When its runtime could not be made.
    pub fn stop(self) -> io::Result<()> {
        let Self { handle, changes, thread } = self;
        drop((handle, changes));
        thread.join().expect("the prober's thread does not panic")
    }
}
