//! One random history: nodes with real engines on a network that fails, and a judge who sees everything.
//!
//! Everything follows from the seed, so a history that breaks a promise can be told again, line by line.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use fairway::vrrp::effect::Effect;
use fairway::vrrp::engine::Engine;
use fairway::vrrp::event::{Event, Verdict};

use crate::client::Client;
use crate::fault::Fault;
use crate::judge::Judge;
use crate::network::Network;
use crate::node::{Life, Node, Packet};
use crate::rng::Rng;
use crate::scenario::{Scenario, TRACK};

/// What a broken promise is told with.
pub type Promise = Result<(), String>;

/// How often what was of interest.
pub type Coverage = BTreeMap<&'static str, u64>;

/// A wake-up is late by so much at most while nothing is wrong.
pub const LATENESS: Duration = Duration::from_micros(300);
/// What the shell reports as a stall.
pub const STALL: Duration = Duration::from_millis(5);
/// A history with more of them runs in circles.
const MOST_EVENTS: u64 = 3_000_000;

pub struct World {
    pub fault: Fault,
    pub rng: Rng,
    pub now: Duration,
    pub scenario: Scenario,
    pub network: Network,
    pub nodes: Vec<Node>,
    pub client: Client,
    /// In percent.
    pub announcements_lost: u64,
    /// Announcements take up to twenty times as long.
    pub announcements_slow: bool,
    pub judge: Judge,
    pub coverage: Coverage,
    agenda: BTreeMap<(Duration, u64), What>,
    entries: u64,
    tells: bool,
    story: Vec<String>,
}

/// What is going to happen.
pub enum What {
    Wake {
        node: usize,
        wake: u64,
    },
    Packet {
        node: usize,
        boots: u64,
        packet: Packet,
    },
    /// The switches see a frame.
    Frame {
        mac: [u8; 6],
        node: usize,
    },
    Announced {
        mac: [u8; 6],
        addresses: Vec<IpAddr>,
        node: usize,
    },
    /// Two masters that hear each other have had their time.
    Overlap {
        router: usize,
        pair: usize,
        since: Duration,
    },
    /// An effect that sabotage held back.
    Late {
        node: usize,
        effect: Effect,
    },
}

/// Tells something, if the story is wanted.
macro_rules! tell {
    ($world:expr, $($words:tt)*) => {
        if $world.tells() {
            $world.add_to_story(format!($($words)*));
        }
    };
}
pub(crate) use tell;

/// The history of this seed; `Err` says which promise was broken.
pub fn run(seed: u64, fault: Fault) -> Result<Coverage, String> {
    let mut world = World::new(seed, fault, false);
    world.history()?;
    Ok(world.coverage)
}

/// The history of this seed in words, up to its end or to the promise that was broken.
pub fn story(seed: u64, fault: Fault) -> Vec<String> {
    let mut world = World::new(seed, fault, true);
    let end = world.history();
    (0..world.nodes.len()).for_each(|node| world.tell_views(node));
    let mut story = world.story;
    story.extend(end.err());
    story
}

impl World {
    fn new(seed: u64, fault: Fault, tells: bool) -> Self {
        let mut rng = Rng(seed);
        let scenario = Scenario::draw(&mut rng);
        let routers = scenario.routers.len();
        let nodes = (0..scenario.nodes)
            .map(|n| Node::new(n, routers, Duration::from_millis(10_000 + rng.below(1_000_000))))
            .collect();
        let mut world = Self {
            fault,
            rng,
            now: Duration::from_secs(100),
            network: Network::new(scenario.nodes),
            nodes,
            client: Client::default(),
            announcements_lost: 0,
            announcements_slow: false,
            judge: Judge::new(&scenario),
            scenario,
            coverage: Coverage::new(),
            agenda: BTreeMap::new(),
            entries: 0,
            tells,
            story: Vec::new(),
        };
        tell!(world, "seed {seed}: {}", world.scenario.in_words());
        world
    }

    pub fn tells(&self) -> bool {
        self.tells
    }

    pub fn add_to_story(&mut self, words: String) {
        self.story.push(format!("{:11.6} {words}", self.now.as_secs_f64()));
    }

    /// What a node says of its routers at the end.
    fn tell_views(&mut self, node: usize) {
        let clock = self.nodes[node].clock(self.now);
        let Some(engine) = &self.nodes[node].engine else { return };
        for view in engine.snapshot(clock).routers {
            let (name, state, why) = (view.name, view.state, view.why);
            let (master, held, hold) =
                (view.master, view.held_back, view.hold_until.map(|until| until.saturating_sub(clock)));
            let errors = view.counters.errors;
            self.add_to_story(format!(
                "n{node} {name} is {state} ({why}), master {master:?}, held back {held:?}, hold {hold:?}, errors {errors:?}"
            ));
        }
    }

    pub fn count(&mut self, what: &'static str) {
        *self.coverage.entry(what).or_default() += 1;
    }

    pub fn plan(&mut self, after: Duration, what: What) {
        self.entries += 1;
        self.agenda.insert((self.now + after, self.entries), what);
    }

    /// Lets time pass, with all that happens meanwhile.
    pub fn advance(&mut self, by: Duration) -> Promise {
        let until = self.now + by;
        while let Some(entry) = self.agenda.first_entry()
            && entry.key().0 <= until
        {
            let ((at, _), what) = entry.remove_entry();
            self.now = at;
            self.happen(what)?;
            self.judge_forwarding()?;
        }
        self.now = until;
        if self.entries > MOST_EVENTS { Err("the engines run in circles".into()) } else { Ok(()) }
    }

    fn happen(&mut self, what: What) -> Promise {
        match what {
            What::Wake { node, wake } if self.nodes[node].wake == wake => self.wake_up(node),
            What::Wake { .. } => Ok(()),
            What::Packet { node, boots, packet } => self.arrive(node, boots, packet),
            What::Frame { mac, node } => {
                self.client.frame(mac, node);
                Ok(())
            }
            What::Announced { mac, addresses, node } => {
                self.client.announced(mac, &addresses, node);
                Ok(())
            }
            What::Overlap { router, pair, since } => self.judge_overlap(router, pair, since),
            What::Late { node, effect } => self.perform(node, vec![effect]),
        }
    }

    fn arrive(&mut self, node: usize, boots: u64, packet: Packet) -> Promise {
        if self.nodes[node].boots != boots || self.nodes[node].life == Life::Off {
            return Ok(());
        }
        self.note_farewell(node, &packet);
        self.nodes[node].queue(packet);
        self.wake_up(node)
    }

    /// A turn of the shell's loop: what it missed, what has arrived, what is due.
    pub fn wake_up(&mut self, node: usize) -> Promise {
        if self.nodes[node].life != Life::Runs {
            return Ok(());
        }
        let late = self.lateness(node);
        self.judge.expect_step_back(&self.scenario, &self.nodes[node], late);
        if late > STALL && self.fault != Fault::IgnoreStalls {
            tell!(self, "n{node} finds that it stalled for {late:?}");
            self.handle(node, Event::Stalled { gap: late })?;
        }
        while let Some(packet) = self.nodes[node].inbox.pop_front() {
            if !self.is_censored(node, &packet) {
                self.handle(node, packet.as_event())?;
            }
        }
        if self.nodes[node].deadline().is_some_and(|deadline| deadline <= self.now) {
            self.handle(node, Event::Tick)?;
        }
        self.judge_step_back(node)?;
        self.schedule(node);
        Ok(())
    }

    /// How late a node's engine gets its turn.
    pub fn lateness(&self, node: usize) -> Duration {
        self.nodes[node].deadline().map_or(Duration::ZERO, |deadline| self.now.saturating_sub(deadline))
    }

    fn schedule(&mut self, node: usize) {
        self.nodes[node].wake += 1;
        let Some(deadline) = self.nodes[node].deadline() else { return };
        let lateness = Duration::from_micros(1) + self.rng.up_to(LATENESS);
        let wake = self.nodes[node].wake;
        self.plan(deadline.saturating_sub(self.now) + lateness, What::Wake { node, wake });
    }

    /// Tells a node's engine something from the outside, and looks at what it plans next.
    pub fn inform(&mut self, node: usize, event: Event<'_>) -> Promise {
        self.handle(node, event)?;
        self.schedule(node);
        Ok(())
    }

    pub fn handle(&mut self, number: usize, event: Event<'_>) -> Promise {
        let node = &mut self.nodes[number];
        let clock = node.clock(self.now);
        let Some(engine) = node.engine.as_mut() else { return Ok(()) };
        let effects = engine.handle(clock, event);
        let matters = |effect: &Effect| !matches!(effect, Effect::Advertise(_) | Effect::Heartbeat { .. });
        let changes = effects.iter().any(matters);
        self.perform(number, effects)?;
        if changes || self.judge.doubts() { self.judge_host(number) } else { Ok(()) }
    }

    /// Power comes, or the daemon is started.
    pub fn boot(&mut self, number: usize) -> Promise {
        tell!(self, "n{number} starts");
        let now = self.now;
        let node = &mut self.nodes[number];
        node.boots += 1;
        node.life = Life::Runs;
        node.booted = now;
        node.stepped_down.fill(now);
        node.inbox.clear();
        node.engine = Some(Engine::new(
            format!("n{number}").into(),
            node.boots * 16 + u64::from(node.number == 1),
            node.clock(now),
        ));
        let links = [node.link(0), node.link(1)];
        self.handle(number, Event::Configure(Box::new(self.scenario.settings(number, self.fault))))?;
        for link in links {
            self.handle(number, Event::Link(link))?;
        }
        for router in 0..self.scenario.routers.len() {
            self.tell_condition(number, router)?;
        }
        self.tell_ready(number)?;
        self.review();
        self.review_order();
        Ok(())
    }

    pub fn tell_ready(&mut self, node: usize) -> Promise {
        let ready = if self.nodes[node].ready { Ok(()) } else { Err("2 next hops are not known yet".into()) };
        self.inform(node, Event::Ready(ready))
    }

    pub fn tell_condition(&mut self, node: usize, router: usize) -> Promise {
        if self.scenario.routers[router].track.is_none() {
            return Ok(());
        }
        let holds = self.nodes[node].conditions[router];
        let verdict = Verdict { holds: Some(holds), factor: 1, detail: "as drawn".into() };
        let router = self.scenario.routers[router].name.as_str().into();
        self.inform(node, Event::Track { router, track: TRACK.into(), verdict })
    }
}
