//! The VRRP thread in a namespace with a script in the engine's place: the test says what is to be done, and sees what
//! happens.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use fairway::effects::vrrp::{Command, Machine, Start, Supervision, VrrpThread};
use fairway::playground::Namespace;
use fairway::vrrp::effect::{Effect, Subscription};
use fairway::vrrp::event::{Event, Link};
use fairway::vrrp::view::Snapshot;

/// Longer than anything here takes, on the busiest machine.
const PATIENCE: Duration = Duration::from_secs(10);

/// What happened, as the script was told.
#[derive(Clone, Debug, PartialEq)]
pub enum Seen {
    Received { interface: u32, source: IpAddr, destination: IpAddr, ttl: u8, payload: Vec<u8> },
    Heartbeat { source: IpAddr, octets: Vec<u8> },
    Bfd { source: IpAddr, ttl: u8, octets: Vec<u8> },
    Link(Link),
    LinkGone(String),
    Lost(IpAddr),
    Answered(IpAddr),
    Stalled(Duration),
    Deposed,
    Tick,
}

/// What the script does next.
pub enum Step {
    /// Returns these effects.
    Do(Vec<Effect>),
    /// Wants to be woken up so long from now.
    Wake(Duration),
    /// Does not return for so long.
    Sleep(Duration),
}

struct Script {
    steps: Receiver<Step>,
    seen: Sender<Seen>,
    deadline: Option<Duration>,
}

impl Machine for Script {
    fn handle(&mut self, now: Duration, event: Event<'_>) -> Vec<Effect> {
        let seen = match event {
            // The test has put a step into the channel.
            Event::Resign(_) => return self.step(now),
            Event::Stop => return vec![Effect::HandedOver],
            Event::Received(received) => Seen::Received {
                interface: received.interface,
                source: received.source,
                destination: received.destination,
                ttl: received.ttl,
                payload: received.payload.to_vec(),
            },
            Event::Heartbeat { source, octets } => Seen::Heartbeat { source, octets: octets.to_vec() },
            Event::Bfd { source, ttl, octets } => Seen::Bfd { source, ttl, octets: octets.to_vec() },
            Event::Link(link) => Seen::Link(link),
            Event::LinkGone { name } => Seen::LinkGone(name.to_string()),
            Event::AddressLost { address, .. } => Seen::Lost(address),
            Event::GatewayAnswered { address, .. } => Seen::Answered(address),
            Event::Stalled { gap } => Seen::Stalled(gap),
            Event::Deposed => Seen::Deposed,
            Event::Tick => {
                self.deadline = None;
                Seen::Tick
            }
            Event::Configure(_) | Event::Track { .. } | Event::Ready(_) | Event::Resume(_) => return Vec::new(),
        };
        let _ = self.seen.send(seen);
        Vec::new()
    }

    fn deadline(&self) -> Option<Duration> {
        self.deadline
    }

    fn snapshot(&self, now: Duration) -> Snapshot {
        Snapshot { at: now, ..Snapshot::default() }
    }
}

impl Script {
    fn step(&mut self, now: Duration) -> Vec<Effect> {
        match self.steps.try_recv().expect("a step goes before each command") {
            Step::Do(effects) => return effects,
            Step::Wake(after) => self.deadline = Some(now + after),
            Step::Sleep(time) => std::thread::sleep(time),
        }
        Vec::new()
    }
}

/// A thread in a namespace.
pub struct Node {
    pub thread: VrrpThread,
    pub namespace: Namespace,
    pub interface: u32,
    steps: Sender<Step>,
    seen: Receiver<Seen>,
}

impl Node {
    /// Starts one whose interface is `eth0`.
    pub fn start(namespace: Namespace) -> Self {
        Self::supervised(namespace, None)
    }

    pub fn supervised(namespace: Namespace, supervision: Option<Supervision>) -> Self {
        let (steps, script_steps) = channel();
        let (script_seen, seen) = channel();
        let machine = Script { steps: script_steps, seen: script_seen, deadline: None };
        let start = Start { machine, live: None, testament: None, supervision };
        let (thread, interface) = namespace
            .run(|| {
                let interface = nix::net::if_::if_nametoindex("eth0").expect("a lab's balancer has eth0");
                (VrrpThread::start(start).expect("root may start it"), interface)
            })
            .expect("the namespace is there");
        Self { thread, namespace, interface, steps, seen }
    }

    /// Has effects performed.
    pub fn perform(&self, effects: Vec<Effect>) {
        self.step(Step::Do(effects));
    }

    pub fn step(&self, step: Step) {
        self.steps.send(step).expect("the script listens");
        self.send(Command::Resign(None));
    }

    pub fn send(&self, command: Command) {
        self.thread.handle.send(command).expect("the thread lives and is not that busy");
    }

    /// Listens for advertisements of both families.
    pub fn listen(&self) {
        let on = |is_ipv4| Subscription { interface: self.interface, is_ipv4, multicast: true };
        self.perform(vec![Effect::Listen(BTreeSet::from([on(true), on(false)]))]);
    }

    /// Waits for something to happen that satisfies `wanted`, and returns it. What else happens before is passed over.
    pub fn expect<T>(&self, what: &str, wanted: impl Fn(&Seen) -> Option<T>) -> T {
        let mut others = Vec::new();
        loop {
            let seen = self.seen.recv_timeout(PATIENCE);
            let Ok(seen) = seen else {
                panic!("not seen: {what}; but {others:?}; the thread says {:?}", self.thread.handle.thread())
            };
            match wanted(&seen) {
                Some(found) => return found,
                None => others.push(seen),
            }
        }
    }

    /// All that has happened so far.
    pub fn seen(&self) -> Vec<Seen> {
        self.seen.try_iter().collect()
    }

    /// Stops it and waits for its end.
    pub fn stop(self) {
        self.send(Command::Stop);
        self.thread.join();
    }
}
