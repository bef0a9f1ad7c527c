//! The loop of the VRRP thread: sleep until a deadline or a packet, read all that has arrived, then tick.
//!
//! What has arrived is read before the tick, so that an advertisement that lay in the queue while the thread did not run
//! still counts. That it did not run is told even before: [`Event::Stalled`].

mod intake;

use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::AsFd as _;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, TryRecvError};
use std::time::Duration;

use arc_swap::ArcSwap;
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::eventfd::EventFd;
use nix::time::{ClockId, clock_gettime};
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;

use super::advertisements::Place;
use super::companions::Use;
use super::hands::Hands;
use super::leftovers::{self, Inherited};
use super::{Command, LATE, Machine, Output, SetLive, Start, Supervision, TakeTestament, ThreadView, realtime};
use crate::config::{Condition, VirtualRouter};
use crate::happening::Happening;
use crate::vrrp::effect::Effect;
use crate::vrrp::event::{Event, Link, Settings};
use crate::vrrp::view::Snapshot;

/// Packets read of one socket before the tick has its turn: more than its queue holds, so that a flood cannot hide the
/// master's advertisement, and few enough to be read within an advertisement interval.
const MOST_PACKETS: usize = 2048;
/// The oldest a snapshot gets while things happen.
const SNAPSHOT_AGE: Duration = Duration::from_millis(250);
/// Until another attempt at what could not be opened.
const MEND_AFTER: Duration = Duration::from_secs(1);
/// Until another attempt at what a full device queue or channel refused.
const RETRY_AFTER: Duration = Duration::from_millis(1);
/// Larger than any UDP datagram or VRRP packet.
const BUFFER_OCTETS: usize = 64 << 10;

/// The thread's ends of everything that leads out of it.
pub struct Wires {
    pub commanded: Receiver<Command>,
    pub wake: Arc<EventFd>,
    pub tell: mpsc::Sender<Output>,
    pub snapshot: Arc<ArcSwap<Snapshot>>,
    pub view: Arc<ArcSwap<ThreadView>>,
}

/// Where something has arrived.
#[derive(Clone, Copy, Debug)]
enum Arrival {
    Command,
    Kernel,
    Advertisement(Place),
    Companion(Use),
    Arp,
    Neighbour,
}

/// The thread's state.
pub struct Shell<M> {
    machine: M,
    hands: Hands,
    wires: Wires,
    live: Option<SetLive>,
    testament: Option<TakeTestament>,
    supervision: Option<Supervision>,
    view: ThreadView,
    buffer: Vec<u8>,
    /// Interfaces that the settings name, and what the engine was told of them.
    links: BTreeMap<Arc<str>, Option<Link>>,
    routers: Vec<VirtualRouter>,
    inherited: Inherited,
    /// When the engine was last called: a stall is told once, and none began before.
    ran: Duration,
    suspended: Duration,
    /// When it was last looked for arrivals: whatever came before that has been read, once a round is over.
    looked: Duration,
    mend_at: Option<Duration>,
    retry_at: Option<Duration>,
    /// When the snapshot is to be replaced, if anything has happened since the last.
    publish_at: Option<Duration>,
    published: Duration,
    /// The engine has handed everything over, and it remains to be told.
    handed_over: bool,
    orphaned: bool,
}

impl<M: Machine> Shell<M> {
    /// Ready to run.
    pub fn new(start: Start<M>, hands: Hands, wires: Wires) -> Self {
        Self {
            machine: start.machine,
            hands,
            wires,
            live: start.live,
            testament: start.testament,
            supervision: start.supervision,
            view: ThreadView::new(Ok(()), Ok(())),
            buffer: vec![0; BUFFER_OCTETS],
            links: BTreeMap::new(),
            routers: Vec::new(),
            inherited: Inherited::default(),
            ran: Duration::ZERO,
            suspended: suspended(),
            looked: Duration::ZERO,
            mend_at: None,
            retry_at: None,
            publish_at: Some(Duration::ZERO),
            published: Duration::ZERO,
            handed_over: false,
            orphaned: false,
        }
    }

    /// Until all is handed over.
    pub fn run(mut self) {
        let _guard = EndProcessOnPanic;
        let granted = realtime::settle();
        for problem in [&granted.realtime, &granted.locked] {
            if let Err(message) = problem {
                self.tell(Happening::Warning { router: None, message: message.clone() });
            }
        }
        (self.view.realtime, self.view.locked) = (granted.realtime, granted.locked);
        self.ran = now();
        while !self.has_ended() {
            let arrivals = self.sleep();
            self.round(&arrivals);
        }
        self.publish(now());
    }

    /// One round: what has arrived, then what is due.
    fn round(&mut self, arrivals: &[Arrival]) {
        let now = self.attend();
        if self.retry_at.is_some_and(|at| at <= now) {
            self.hands.transmitter.retry(&mut self.hands.troubles);
        }
        for arrival in arrivals {
            self.take_in(*arrival);
        }
        self.pass_kernel_news_on();
        // Not by the present time: of what has arrived since the sleep we know nothing yet.
        if self.machine.deadline().is_some_and(|deadline| deadline <= self.looked) {
            self.feed(Event::Tick);
        }
        self.tidy();
    }

    /// What is due besides the engine.
    fn tidy(&mut self) {
        let now = now();
        if self.mend_at.is_some_and(|at| at <= now) {
            self.hands.mend();
            self.mend_at = None;
        }
        for happening in self.hands.troubles.news() {
            self.tell(happening);
        }
        if self.mend_at.is_none() && self.hands.troubles.persist() {
            self.mend_at = Some(now + MEND_AFTER);
        }
        self.retry_at = self.hands.transmitter.has_waiting().then_some(now + RETRY_AFTER);
        if self.publish_at.is_some_and(|at| at <= now) {
            self.publish(now);
        }
    }

    /// Sleeps until something arrives or is due. Returns where something has arrived.
    fn sleep(&mut self) -> Vec<Arrival> {
        let due = self.due();
        self.looked = now();
        let mut timeout = due.map(|due| due.saturating_sub(self.looked));
        if self.supervision.is_some() {
            timeout = Some(timeout.unwrap_or(Supervision::BEAT).min(Supervision::BEAT));
        }
        let mut arrivals = Vec::new();
        let mut descriptors = Vec::new();
        for (arrival, descriptor) in self.descriptors() {
            arrivals.push(arrival);
            descriptors.push(PollFd::new(descriptor, PollFlags::POLLIN));
        }
        // An interrupted sleep is a short one. Signals are for other threads anyway.
        let _ = ppoll(&mut descriptors, timeout.map(Into::into), None);
        let ready: Vec<bool> = descriptors.iter().map(|descriptor| descriptor.any().unwrap_or(true)).collect();
        drop(descriptors);
        let arrivals =
            arrivals.into_iter().zip(ready).filter(|(_, ready)| *ready).map(|(arrival, _)| arrival).collect();
        self.note_lateness(due);
        arrivals
    }

    fn due(&self) -> Option<Duration> {
        let handed_over = self.handed_over.then(|| now() + RETRY_AFTER);
        [self.machine.deadline(), self.mend_at, self.retry_at, self.publish_at, handed_over].into_iter().flatten().min()
    }

    fn descriptors(&self) -> impl Iterator<Item = (Arrival, std::os::fd::BorrowedFd<'_>)> {
        let hands = &self.hands;
        let kernel = [(Arrival::Kernel, hands.watch.descriptor()), (Arrival::Command, self.wires.wake.as_fd())];
        let advertisements = hands.advertisements.descriptors().map(|(place, fd)| (Arrival::Advertisement(place), fd));
        let companions = hands.companions.descriptors().map(|(purpose, fd)| (Arrival::Companion(purpose), fd));
        let links = hands.listener.iter().flat_map(|listener| {
            [(Arrival::Arp, listener.arp.as_fd()), (Arrival::Neighbour, listener.neighbours.as_fd())]
        });
        // Advertisements first: they decide what the rest means.
        advertisements.chain(companions).chain(kernel).chain(links)
    }

    fn note_lateness(&mut self, due: Option<Duration>) {
        self.view.wakeups += 1;
        let Some(lateness) = due.and_then(|due| now().checked_sub(due)) else { return };
        self.view.worst_lateness = self.view.worst_lateness.max(lateness);
        if lateness > LATE {
            self.view.late_wakeups += 1;
        }
    }

    fn take_commands(&mut self) {
        let _ = self.wires.wake.read();
        loop {
            match self.wires.commanded.try_recv() {
                Ok(command) => self.obey(command),
                Err(TryRecvError::Empty) => return,
                Err(TryRecvError::Disconnected) => {
                    // Nobody could ever stop us.
                    if !std::mem::replace(&mut self.orphaned, true) {
                        self.feed(Event::Stop);
                    }
                    return;
                }
            }
        }
    }

    fn obey(&mut self, command: Command) {
        match command {
            Command::Configure(settings) => self.configure(settings),
            Command::Track { router, track, verdict } => self.feed(Event::Track { router, track, verdict }),
            Command::Ready(ready) => self.feed(Event::Ready(ready)),
            Command::Resign(router) => self.feed(Event::Resign(router)),
            Command::Resume(router) => self.feed(Event::Resume(router)),
            Command::Stop => self.feed(Event::Stop),
        }
    }

    fn configure(&mut self, settings: Box<Settings>) {
        let peer = settings.peer.as_ref().map(|(peer, _)| (peer.port, peer.addresses.as_slice()));
        self.hands.companions.set_peer(peer, &mut self.hands.troubles);
        let new: Vec<VirtualRouter> = settings.routers.iter().map(|settings| settings.router.clone()).collect();
        let before = std::mem::replace(&mut self.routers, new);
        let inherited = leftovers::clear(&self.routers, &before, &mut self.hands);
        self.inherited.extend(inherited);

        let wanted = names(&self.routers);
        self.links.retain(|name, _| wanted.contains(name));
        self.feed(Event::Configure(settings));
        // To an engine that is configured anew, every interface is news.
        for name in wanted {
            let link = self.hands.watch.link(&name);
            self.links.insert(name.clone(), link.clone());
            self.feed(link.map_or(Event::LinkGone { name }, Event::Link));
        }
    }

    /// One event through the engine, and what it wants done.
    fn feed(&mut self, event: Event<'_>) {
        let now = self.attend();
        self.handle(now, event);
    }

    /// Before anything happens: whether the supervisor has released everything, and whether the thread was held up.
    fn attend(&mut self) -> Duration {
        let mut now = now();
        if let Some(supervision) = &self.supervision {
            (supervision.beat)(now);
            if (supervision.deposed)() {
                self.handle(now, Event::Deposed);
                now = self::now();
            }
        }
        if let Some(gap) = self.stall(now) {
            self.handle(now, Event::Stalled { gap });
            now = self::now();
        }
        now
    }

    /// How long ago a deadline was due, or for how long the machine was suspended. The engine may ask to be called at once by
    /// a deadline long past: we were not late for that before it asked.
    fn stall(&mut self, now: Duration) -> Option<Duration> {
        // Two clocks, one after the other: the difference is at times too small, never too large.
        let asleep = suspended().max(self.suspended);
        let slept = asleep - std::mem::replace(&mut self.suspended, asleep);
        let overdue = self.machine.deadline().and_then(|deadline| now.checked_sub(deadline.max(self.ran)));
        let gap = overdue.unwrap_or_default() + slept;
        (gap > LATE).then_some(gap)
    }

    fn handle(&mut self, now: Duration, event: Event<'_>) {
        self.ran = now;
        let effects = self.machine.handle(now, event);
        let mut moved = false;
        for effect in effects {
            moved |= matches!(effect, Effect::Happened(Happening::Transition { .. }) | Effect::HandedOver);
            self.perform(effect);
        }
        if moved {
            self.publish(now);
        } else if self.publish_at.is_none() {
            self.publish_at = Some(self.published + SNAPSHOT_AGE);
        }
    }

    fn perform(&mut self, effect: Effect) {
        let hands = &mut self.hands;
        match effect {
            Effect::Listen(subscriptions) => hands.advertisements.listen(subscriptions, &mut hands.troubles),
            Effect::Advertise(advertise) => hands.advertise(&advertise),
            Effect::SetLive { index, live } => {
                if let Some(set) = &self.live {
                    set(index, live);
                }
            }
            Effect::AddAddresses { interface, addresses } => hands.add_addresses(interface, &addresses),
            Effect::RemoveAddresses { interface, addresses } => hands.remove_addresses(interface, &addresses),
            Effect::Announce { interface, mac, addresses } => hands.announce(interface, mac, &addresses),
            Effect::VirtualMac { interface, mac, addresses } => hands.set_virtual_mac(interface, mac, &addresses),
            Effect::Routes { router: _, interface, routes, rules, present } => {
                hands.set_routes(interface, &routes, &rules, present);
            }
            Effect::Heartbeat { to, octets } => {
                if let Err(error) = hands.companions.send_heartbeat(to, &octets) {
                    hands.troubles.count("send a heartbeat", &error);
                }
            }
            Effect::BfdSessions(sessions) => hands.companions.set_sessions(sessions, &mut hands.troubles),
            Effect::Bfd { ends, octets } => {
                if let Err(error) = hands.companions.send_bfd(&ends, &octets) {
                    hands.troubles.count("send a BFD packet", &error);
                }
            }
            Effect::ProbeGateway { interface, address } => hands.probe_gateway(interface, address),
            Effect::Testament(testament) => {
                if let Some(take) = &mut self.testament {
                    take(&testament);
                }
            }
            Effect::Happened(happening) => self.tell(happening),
            Effect::HandedOver => self.handed_over = true,
        }
    }

    fn tell(&mut self, happening: Happening) {
        if self.wires.tell.try_send(Output::Happened(happening)).is_err() {
            self.view.outputs_dropped += 1;
        }
    }

    /// True when the last word is said, or nobody is there to hear it.
    fn has_ended(&self) -> bool {
        self.handed_over && !matches!(self.wires.tell.try_send(Output::HandedOver), Err(TrySendError::Full(_)))
    }

    fn publish(&mut self, now: Duration) {
        let snapshot = self.machine.snapshot(now);
        leftovers::settle(&mut self.inherited, &snapshot, &mut self.hands);
        self.wires.snapshot.store(Arc::new(snapshot));
        self.view.failures.clone_from(self.hands.troubles.counts());
        self.view.problems = self.hands.troubles.present();
        self.wires.view.store(Arc::new(self.view.clone()));
        self.published = now;
        self.publish_at = None;
    }
}

/// The engine has met what cannot be. Addresses that are held and not defended would be the worst outcome: so the process
/// ends, and its supervisor releases them.
struct EndProcessOnPanic;

impl Drop for EndProcessOnPanic {
    fn drop(&mut self) {
        if std::thread::panicking() {
            std::process::abort();
        }
    }
}

/// Interfaces that concern virtual routers.
fn names(routers: &[VirtualRouter]) -> BTreeSet<Arc<str>> {
    let tracked = routers.iter().flat_map(|router| &router.tracks).filter_map(|track| match &track.condition {
        Condition::Interface { interface } => Some(interface.as_str()),
        _ => None,
    });
    routers.iter().map(|router| router.interface.as_str()).chain(tracked).map(Arc::from).collect()
}

fn now() -> Duration {
    read(ClockId::CLOCK_MONOTONIC)
}

/// Time that the machine has been suspended, which the monotonic clock does not count.
fn suspended() -> Duration {
    read(ClockId::CLOCK_BOOTTIME).saturating_sub(now())
}

fn read(clock: ClockId) -> Duration {
    Duration::from(clock_gettime(clock).expect("Linux has these clocks"))
}
