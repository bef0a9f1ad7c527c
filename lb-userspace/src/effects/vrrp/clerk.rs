//! Has orders to the kernel carried out, one after the other, on a thread of their own.
//!
//! The kernel changes addresses and routes under one lock for the whole machine (RTNL), and whoever makes or removes
//! interfaces anywhere on it, in another container say, holds it for tens of milliseconds, at times for seconds. A master
//! that waited for it would advertise nothing meanwhile: another node would take over, or the supervisor take it for hung.
//! So the VRRP thread waits for an order for [`PATIENCE`] only, which is hundreds of times what an undisturbed kernel
//! needs: then addresses are there before the link is told of them. Beyond that it goes on, and hears the outcome later.

use std::io;
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::orders::{Kernel, Order, Refused};
use super::realtime;

/// How long an order is waited for. A tenth of what the supervisor takes for a hang.
const PATIENCE: Duration = Duration::from_millis(4);
/// Lots of orders that may wait. Then whoever orders waits, too: so many are only behind if the kernel does nothing at all.
const MOST_WAITING: usize = 256;

/// What became of a lot of orders.
pub struct Done {
    /// The orders.
    pub orders: Vec<Order>,
    /// Those of them that failed.
    pub refused: Vec<Refused>,
}

/// Who carries out. Dropped, it does what it was told, and ends.
pub struct Clerk {
    /// None when it is to end.
    orders: Option<SyncSender<Vec<Order>>>,
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
        let (orders, ordered) = sync_channel(MOST_WAITING);
        let (report, done) = channel();
        let thread =
            thread::Builder::new().name("vrrp-orders".to_owned()).spawn(move || work(kernel, &ordered, &report))?;
        Ok(Self { orders: Some(orders), done, open: 0, thread: Some(thread) })
    }

    /// Has orders carried out, in the order of the calls. Returns those that are done by now, of earlier calls too. Does
    /// not wait while earlier ones are not: they wait for the same.
    pub fn carry_out(&mut self, orders: Vec<Order>) -> Vec<Done> {
        let is_idle = self.open == 0;
        let taken = self.orders.as_ref().is_some_and(|to| to.send(orders).is_ok());
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
        self.orders = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join(); // a panic has been printed already
        }
    }
}

fn work(mut kernel: Kernel, ordered: &Receiver<Vec<Order>>, report: &Sender<Done>) {
    // As punctual as the thread that waits for it. What was not granted that one has told.
    let _ = realtime::settle();
    for orders in ordered {
        let refused = kernel.carry_out(&orders);
        // Nobody listens any more when the thread is about to end; the rest is to be done all the same.
        let _ = report.send(Done { orders, refused });
    }
}
