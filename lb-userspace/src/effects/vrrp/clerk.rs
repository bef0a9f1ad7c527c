//! Has orders to the kernel carried out, one after the other, on a thread of their own.
//!
//! The kernel changes addresses and routes under one lock for the whole machine (RTNL), and whoever makes or removes
//! interfaces anywhere on it, in another container say, holds it for tens of milliseconds, at times for seconds. A master
//! that waited for it would advertise nothing meanwhile: another node would take over, or the supervisor take it for hung.
//! So the VRRP thread waits for an order for [`PATIENCE`] only, which is hundreds of times what an undisturbed kernel
//! needs: then addresses are there before the link is told of them. Beyond that it goes on, and hears the outcome later.

use std::collections::BTreeSet;
use std::io;
use std::net::IpAddr;
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::orders::{Kernel, Order, Refused};
use super::realtime;
use super::watch::Watch;

/// How long an order is waited for. A tenth of what the supervisor takes for a hang.
const PATIENCE: Duration = Duration::from_millis(4);
/// Tasks that may wait. Then whoever orders waits, too: so many are only behind if the kernel does nothing at all.
const MOST_WAITING: usize = 256;

/// What is done.
pub enum Done {
    /// Orders, and those of them that failed.
    Orders { orders: Vec<Order>, refused: Vec<Refused> },
    /// The addresses that there are after all orders before, each with the index of its interface.
    Listed(io::Result<BTreeSet<(u32, IpAddr)>>),
}

/// What is to be done.
enum Task {
    Orders(Vec<Order>),
    List,
}

/// Who carries out. Dropped, it does what it was told, and ends.
pub struct Clerk {
    /// None when it is to end.
    tasks: Option<SyncSender<Task>>,
    done: Receiver<Done>,
    open: usize,
    thread: Option<JoinHandle<()>>,
}

impl Clerk {
    /// Starts the thread.
    ///
    /// # Errors
    /// When the system has no room for it.
    pub fn employ(kernel: Kernel) -> io::Result<Self> {
        let (tasks, given) = sync_channel(MOST_WAITING);
        let (report, done) = channel();
        let thread =
            thread::Builder::new().name("vrrp-orders".to_owned()).spawn(move || work(kernel, &given, &report))?;
        Ok(Self { tasks: Some(tasks), done, open: 0, thread: Some(thread) })
    }

    /// Has orders carried out, in the order of the calls. Returns what is done by now, of earlier calls too.
    pub fn carry_out(&mut self, orders: Vec<Order>) -> Vec<Done> {
        self.give(Task::Orders(orders))
    }

    /// Has all addresses listed when all that was ordered before is carried out.
    pub fn list(&mut self) -> Vec<Done> {
        self.give(Task::List)
    }

    /// Does not wait while earlier tasks are not done: they wait for the same.
    fn give(&mut self, task: Task) -> Vec<Done> {
        let is_idle = self.open == 0;
        let taken = self.tasks.as_ref().is_some_and(|to| to.send(task).is_ok());
        // It ends before us only by a panic; then nothing is carried out any more, and we must not go on as if it were.
        assert!(taken, "the thread that carries out orders has died");
        self.open += 1;
        let mut all = Vec::new();
        if is_idle && let Ok(done) = self.done.recv_timeout(PATIENCE) {
            self.open -= 1;
            all.push(done);
        }
        all.extend(self.done());
        all
    }

    /// What else is done by now.
    pub fn done(&mut self) -> Vec<Done> {
        let all: Vec<Done> = self.done.try_iter().collect();
        self.open -= all.len();
        all
    }
}

impl Drop for Clerk {
    fn drop(&mut self) {
        self.tasks = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join(); // a panic has been printed already
        }
    }
}

fn work(mut kernel: Kernel, given: &Receiver<Task>, report: &Sender<Done>) {
    // As punctual as the thread that waits for it. What was not granted that one has told.
    let _ = realtime::be_punctual();
    for task in given {
        let done = match task {
            Task::Orders(orders) => {
                let refused = kernel.carry_out(&orders);
                Done::Orders { orders, refused }
            }
            Task::List => Done::Listed(Watch::list_addresses()),
        };
        // Nobody listens any more when the thread is about to end; the rest is to be done all the same.
        let _ = report.send(done);
    }
}
