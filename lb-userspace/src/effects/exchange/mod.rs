//! The exchange's thread: owns [`Exchange`](crate::exchange::Exchange), its two connections to the peer, and descriptors of its own for
//! the tables of records. It tells what this node's tables hold of what it is master of, and puts what the peer tells into them.
//!
//! An OS thread below the VRRP thread and, by its nice value, before the loop: what a master has not told when it dies is lost. Nobody waits for it and it waits for nobody: what it
//! must know (mastership, the [directory](crate::exchange::directory)) are snapshots that others replace, what it has to say
//! (the [view](crate::exchange::view), the standings that a master tells) are snapshots that it replaces.
//!
//! **Finding changes.** The kernel program says of each flow that it records, and of each connection that is established, by a ring buffer that
//! is looked at with every tick: new flows are what a failover must not lose. How else they go on it does not say; a walk over the tables
//! finds what differs from what was told ([`crate::exchange::told`]), and what the ring buffer had no room for. A walk goes some thousands of
//! records at a time and rests many times as long as it worked: it has a sixty-fourth of a core, and up to a tenth if it would take too
//! long else. It begins anew [`crate::exchange::walk::INTERVAL`] after the one before at the earliest.
//! All of a realm is gathered in pieces too ([`crate::exchange::gather`]); no walk goes on meanwhile, which would find everything to be new.
//!
//! **Rehearsing.** Which backend a packet goes to only the daemon's loop can say, which has all tables: it is asked through a channel
//! that has room for little, and answers between two events ([`crate::exchange::rehearsal`]).
//!
//! **Following.** A record of the peer's is put into this node's table under this node's indices, and counted among its backend's
//! connections, by a program in the kernel, many in one call: a call for each costs ten times what storing it does. That happens only while this node is not master: then no packet touches these records. What races all the same (a packet that came
//! to a backup) may leave a count wrong by one, which the census finds.

mod connection;
mod shell;

use std::net::IpAddr;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;
use std::{io, thread};

use arc_swap::ArcSwap;
use tokio::sync::{mpsc, watch};

use crate::effects::dataplane::Records;
use crate::effects::vrrp::be_prompt;
use crate::exchange::directory::Directory;
pub use crate::exchange::party::{Followed, LastSlots};
use crate::exchange::rehearsal::{Answer, Question};
use crate::exchange::view::View;
use crate::exchange::word::{Spoken, Word};
use crate::vrrp::view::Snapshot;

/// What masters say that the loop has not come to yet; a session in which more waits begins anew. Not only the last counts: what was said last
/// before this node became master itself must not be lost by that.
const FOLLOWED: usize = 256;
/// Time between two looks at what changed.
const TICK: Duration = Duration::from_millis(5);
/// Questions to the packet path that wait, and answers.
const QUESTIONS: usize = 4;
/// Messages of the peer's of operators and checks that wait; a session in which more do begins anew, and all is said again.
const HEARD: usize = 1_024;

/// The other node, as configured.
#[derive(Clone, PartialEq, Eq)]
pub struct Link {
    /// Its addresses, and nobody else's: connections from others are not looked at.
    pub addresses: Vec<IpAddr>,
    /// TCP port, here and there.
    pub port: u16,
    /// What both nodes know and nobody else.
    pub key: Vec<u8>,
    /// A node that has not caught up after so long counts as ready all the same.
    pub patience: Duration,
}

/// What the thread is started with.
pub struct Start {
    /// This node's name.
    pub node: Arc<str>,
    /// Tells this run of the daemon from every other.
    pub boot: u64,
    /// The monotonic clock, which is the packet path's too.
    pub clock: fn() -> Duration,
    /// The virtual routers, now.
    pub routers: Box<dyn Fn() -> Arc<Snapshot> + Send>,
}

/// What masters say of tables, in the order in which it is to be taken.
pub enum OfMasters {
    /// What those are made from that this node follows.
    Followed(Followed),
    /// What was still to be said of slots of those that are its own by now.
    LastSlots(LastSlots),
}

/// The thread. It ends when this is dropped.
pub struct ExchangeThread {
    directory: Arc<ArcSwap<Directory>>,
    view: Arc<ArcSwap<View>>,
    link: watch::Sender<Option<Arc<Link>>>,
    records: mpsc::Sender<Records>,
    /// What masters say, as it changes.
    pub followed: mpsc::Receiver<OfMasters>,
    /// Whether the peer's state is all here, as it changes: else what is missing, in words.
    pub caught_up: watch::Receiver<Result<(), String>>,
    /// What the packet path is asked.
    pub questions: mpsc::Receiver<Question>,
    answers: mpsc::Sender<Answer>,
    speak: watch::Sender<Arc<Spoken>>,
    /// What the peer says of operators and checks.
    pub heard: mpsc::Receiver<Vec<Word>>,
    _thread: JoinHandle<()>,
}

impl ExchangeThread {
    /// Starts the thread, in the network namespace of the caller.
    ///
    /// # Errors
    /// When no thread can be started.
    pub fn start(start: Start) -> io::Result<Self> {
        let directory = Arc::new(ArcSwap::from_pointee(Directory::default()));
        let view = Arc::new(ArcSwap::from_pointee(View::default()));
        let (link, linked) = watch::channel(None);
        let (records, recorded) = mpsc::channel(1);
        let (follow, followed) = mpsc::channel(FOLLOWED);
        let (catch_up, caught_up) = watch::channel(Err("the exchange with the peer has not begun".to_owned()));
        let (ask, questions) = mpsc::channel(QUESTIONS);
        let (answers, answered) = mpsc::channel(QUESTIONS);
        let (speak, spoken) = watch::channel(Arc::default());
        let (hear, heard) = mpsc::channel(HEARD);
        let (published, shown) = (Arc::clone(&directory), Arc::clone(&view));
        let wires = shell::Wires {
            directory: published,
            view: shown,
            linked,
            recorded,
            follow,
            catch_up,
            ask,
            answered,
            spoken,
            hear,
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let thread = thread::Builder::new().name("fairway-exchange".to_owned()).spawn(move || {
            be_prompt();
            runtime.block_on(shell::Shell::new(start, wires).run());
        })?;
        Ok(Self {
            directory,
            view,
            link,
            records,
            followed,
            caught_up,
            questions,
            answers,
            speak,
            heard,
            _thread: thread,
        })
    }

    /// This is what the tables mean from now on.
    pub fn publish(&self, directory: Arc<Directory>) {
        self.directory.store(directory);
    }

    /// What they meant last.
    pub fn directory(&self) -> Arc<Directory> {
        self.directory.load_full()
    }

    /// The other node from now on; `None`: there is none.
    pub fn set_link(&self, link: Option<Link>) {
        self.link.send_if_modified(|now| {
            let is_same = now.as_deref() == link.as_ref();
            *now = link.map(Arc::new);
            !is_same
        });
    }

    /// The tables; once, when there are any.
    pub fn set_records(&self, records: Records) {
        // There is room for one, and there are only one data plane's.
        drop(self.records.try_send(records));
    }

    /// This is all that there is to say of operators and checks.
    pub fn speak(&self, spoken: Spoken) {
        self.speak.send_if_modified(|before| {
            let is_other = **before != spoken;
            *before = Arc::new(spoken);
            is_other
        });
    }

    /// The answer to a question. One that the thread has no room for is as good as none.
    pub fn answer(&self, answer: Answer) {
        drop(self.answers.try_send(answer));
    }

    /// What is said of it.
    pub fn view(&self) -> Arc<View> {
        self.view.load_full()
    }
}
