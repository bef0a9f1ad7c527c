//! The task that runs the tracker against the kernel. It decides nothing: `nexthop::tracker` does.

use std::collections::BTreeSet;
use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::time::Duration;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval, sleep_until};
use tracing::{debug, info, warn};

use super::announcements::{Announced, Announcements};
use super::requests::Kernel;
use crate::nexthop::RouteAnswer;
use crate::nexthop::tracker::{Event, Tracker, Upkeep};

/// Events waiting for the reader. When full, changes stay in the tracker, where the latest replaces the former.
const EVENTS: usize = 1024;

/// Requests without an answer yet. The kernel answers at once into the socket's buffer (208 KiB by default, about
/// 1 KiB an answer), which so many can never overflow.
const OUTSTANDING: usize = 64;

/// Route changes come in bursts (a daemon replacing its table): how long to let one pass before asking again.
const ROUTE_SETTLING: Duration = Duration::from_millis(10);

/// Least time between two stock-takings, so that a storm of announcements cannot keep us listing.
const STOCK_PAUSE: Duration = Duration::from_millis(200);

/// Time between upkeep rounds.
const TICK: Duration = Duration::from_secs(1);

/// What becomes of the neighbour entries the resolver had the kernel manage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Leave {
    /// They are removed: the daemon stops.
    Nothing,
    /// They stay for the next process: restart and upgrade.
    Neighbours,
}

/// Resolves destinations in the background. Dropping it stops the task and leaves neighbour entries as they are.
#[derive(Debug)]
pub struct Resolver {
    wanted: watch::Sender<Option<BTreeSet<IpAddr>>>,
    attached: watch::Sender<Option<BTreeSet<u32>>>,
    stop: oneshot::Sender<Leave>,
    task: JoinHandle<()>,
}

impl Resolver {
    /// Starts it in the calling thread's network namespace. Needs a tokio runtime with time and I/O.
    pub fn start() -> io::Result<(Self, mpsc::Receiver<Event>)> {
        let (wanted, wanted_changed) = watch::channel(None);
        let (attached, attached_changed) = watch::channel(None);
        let (stop, stopping) = oneshot::channel();
        let (events, receiver) = mpsc::channel(EVENTS);
        let task = Task {
            tracker: Tracker::default(),
            announcements: Announcements::subscribe()?,
            kernel: Kernel::connect()?,
            wanted: wanted_changed,
            attached: attached_changed,
            events,
            outstanding: FuturesUnordered::new(),
            stock_at: Some(Instant::now()),
            routes_at: None,
            routes_waiting: false,
            held_back: None,
        };
        let task = tokio::spawn(task.run(stopping));
        Ok((Self { wanted, attached, stop, task }, receiver))
    }

    /// From now on these destinations are wanted, and no others. Each gets an event, then one for every change.
    pub fn set_wanted(&self, wanted: BTreeSet<IpAddr>) {
        self.wanted.send_replace(Some(wanted));
    }

    /// From now on XDP programs are attached to the interfaces with these indices, and to no others. Until the first
    /// call every destination is pending.
    pub fn set_attached(&self, attached: BTreeSet<u32>) {
        self.attached.send_replace(Some(attached));
    }

    /// Stops it; returns when the neighbour entries are as `leave` says.
    pub async fn stop(self, leave: Leave) {
        // Fails only where the task is gone already, because the receiver of events is.
        let _ = self.stop.send(leave);
        if let Err(error) = self.task.await {
            warn!(%error, "the next-hop resolver had failed");
        }
    }
}

/// What ended a wait.
enum Woken {
    Stop(Leave),
    ReaderReady,
    Announced(io::Result<Announced>),
    Replied(Reply),
    Wanted,
    Attached,
    Tick,
    TakeStock,
    AskRoutes,
}

enum Reply {
    Route(IpAddr, RouteAnswer),
    Upkeep(Upkeep, io::Result<()>),
}

struct Task {
    tracker: Tracker,
    announcements: Announcements,
    kernel: Kernel,
    wanted: watch::Receiver<Option<BTreeSet<IpAddr>>>,
    attached: watch::Receiver<Option<BTreeSet<u32>>>,
    events: mpsc::Sender<Event>,
    outstanding: FuturesUnordered<Pin<Box<dyn Future<Output = Reply> + Send>>>,
    /// When to take stock of everything, if at all.
    stock_at: Option<Instant>,
    /// When to ask for stale routes, if at all.
    routes_at: Option<Instant>,
    /// Some that were due did not fit among the outstanding requests.
    routes_waiting: bool,
    /// An event the reader had no room for.
    held_back: Option<Event>,
}

impl Task {
    async fn run(mut self, mut stopping: oneshot::Receiver<Leave>) {
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            self.report();
            self.look_after_neighbours();
            match self.wait(&mut stopping, &mut ticks).await {
                Woken::Stop(Leave::Nothing) => return self.release_all().await,
                Woken::Stop(Leave::Neighbours) => return,
                Woken::ReaderReady => {}
                Woken::Announced(announced) => self.announced(announced),
                Woken::Replied(reply) => self.replied(reply),
                Woken::Wanted => self.wanted_changed(),
                Woken::Attached => self.attached_changed(),
                Woken::Tick => {
                    self.tracker.tick();
                    self.ask_routes_after(Duration::ZERO);
                }
                Woken::TakeStock => self.take_stock().await,
                Woken::AskRoutes => self.ask_routes(),
            }
        }
    }

    async fn wait(&mut self, stopping: &mut oneshot::Receiver<Leave>, ticks: &mut Interval) -> Woken {
        let (stock_at, routes_at) = (self.stock_at, self.routes_at);
        tokio::select! {
            leave = stopping => Woken::Stop(leave.unwrap_or(Leave::Neighbours)),
            () = self.events.closed() => Woken::Stop(Leave::Neighbours),
            Ok(_) = self.events.reserve(), if self.held_back.is_some() => Woken::ReaderReady,
            announced = self.announcements.next() => Woken::Announced(announced),
            Some(reply) = self.outstanding.next(), if !self.outstanding.is_empty() => Woken::Replied(reply),
            Ok(()) = self.wanted.changed() => Woken::Wanted,
            Ok(()) = self.attached.changed() => Woken::Attached,
            _ = ticks.tick() => Woken::Tick,
            () = sleep_until(stock_at.unwrap_or_else(Instant::now)), if stock_at.is_some() => Woken::TakeStock,
            () = sleep_until(routes_at.unwrap_or_else(Instant::now)), if routes_at.is_some() => Woken::AskRoutes,
        }
    }

    /// Hands events to the reader while it takes them; one that it does not take is held back.
    fn report(&mut self) {
        while let Some(event) = self.held_back.take().or_else(|| self.tracker.next_event()) {
            match self.events.try_send(event) {
                Ok(()) => {}
                Err(TrySendError::Full(event)) => {
                    self.held_back = Some(event);
                    return;
                }
                // The next wait ends the task.
                Err(TrySendError::Closed(_)) => return,
            }
        }
    }

    fn announced(&mut self, announced: io::Result<Announced>) {
        match announced {
            Ok(Announced::Changes(observations)) => {
                for observation in observations {
                    self.tracker.observe(observation);
                }
                self.ask_routes_after(ROUTE_SETTLING);
            }
            Ok(Announced::Lost) => {
                info!("kernel announcements were lost in a burst; taking stock of interfaces and neighbours again");
                self.take_stock_after(STOCK_PAUSE);
            }
            Err(error) => {
                warn!(%error, "cannot read kernel announcements; subscribing again");
                match Announcements::subscribe() {
                    Ok(announcements) => self.announcements = announcements,
                    Err(error) => warn!(%error, "cannot subscribe to kernel announcements"),
                }
                self.take_stock_after(STOCK_PAUSE);
            }
        }
    }

    fn wanted_changed(&mut self) {
        if let Some(wanted) = self.wanted.borrow_and_update().as_ref() {
            self.tracker.set_wanted(wanted);
        }
        self.ask_routes_after(Duration::ZERO);
    }

    fn attached_changed(&mut self) {
        let attached = self.attached.borrow_and_update().clone();
        if let Some(attached) = attached {
            self.tracker.set_attached(attached);
        }
    }

    async fn take_stock(&mut self) {
        self.stock_at = None;
        match self.kernel.take_stock().await {
            Ok(snapshot) => {
                self.tracker.resynchronise(snapshot);
                self.ask_routes_after(Duration::ZERO);
            }
            Err(error) => {
                warn!(%error, "cannot list interfaces, addresses and neighbours; trying again");
                match Kernel::connect() {
                    Ok(kernel) => self.kernel = kernel,
                    Err(error) => warn!(%error, "cannot connect to the kernel's routing socket"),
                }
                self.take_stock_after(TICK);
            }
        }
    }

    fn take_stock_after(&mut self, pause: Duration) {
        let at = Instant::now() + pause;
        self.stock_at = Some(self.stock_at.map_or(at, |earlier| earlier.min(at)));
    }

    fn ask_routes_after(&mut self, pause: Duration) {
        if self.tracker.has_stale_routes() {
            let at = Instant::now() + pause;
            self.routes_at = Some(self.routes_at.map_or(at, |earlier| earlier.min(at)));
        }
    }

    fn look_after_neighbours(&mut self) {
        while self.outstanding.len() < OUTSTANDING {
            let Some(upkeep) = self.tracker.next_upkeep() else { return };
            let answer = self.kernel.upkeep(upkeep);
            self.outstanding.push(Box::pin(async move { Reply::Upkeep(upkeep, answer.await) }));
        }
    }

    fn ask_routes(&mut self) {
        self.routes_at = None;
        self.routes_waiting = true;
        while self.outstanding.len() < OUTSTANDING {
            let Some(destination) = self.tracker.next_route() else {
                self.routes_waiting = false;
                return;
            };
            let answer = self.kernel.route(destination);
            self.outstanding.push(Box::pin(async move { Reply::Route(destination, answer.await) }));
        }
    }

    fn replied(&mut self, reply: Reply) {
        if self.routes_waiting {
            self.ask_routes();
        }
        match reply {
            Reply::Route(destination, answer) => {
                self.tracker.route_answered(destination, answer);
                // It may have become doubtful again while the kernel was being asked.
                self.ask_routes_after(ROUTE_SETTLING);
            }
            Reply::Upkeep(_, Ok(())) => {}
            Reply::Upkeep(Upkeep::Manage(_), Err(error)) if refused(&error) => {
                warn!("this kernel does not manage neighbour entries (it is older than 5.16); probing them instead");
                self.tracker.management_refused();
            }
            // The interface may have gone meanwhile; what still matters is done again with the next tick.
            Reply::Upkeep(upkeep, Err(error)) => debug!(?upkeep, %error, "neighbour entry not changed"),
        }
    }

    async fn release_all(&mut self) {
        let releases = self.tracker.releases().into_iter().map(|key| self.kernel.upkeep(Upkeep::Release(key)));
        let mut released = futures::stream::iter(releases).buffered(OUTSTANDING);
        while let Some(result) = released.next().await {
            if let Err(error) = result {
                debug!(%error, "neighbour entry not removed");
            }
        }
    }
}

fn refused(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EINVAL | libc::EOPNOTSUPP))
}
