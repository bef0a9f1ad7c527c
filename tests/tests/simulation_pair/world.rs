//! One random history of a pair: time, what happens in it, and what is due when.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use fairway::exchange::{Body, Key, Message};
use fairway::health::pool::intent::Intents;
use fairway::health::pool::{Action as Operation, Order};
use lb_common::abi::FlowKey6;

use crate::clients::{Flow, Kind};
use crate::coverage::Coverage;
use crate::desired::{Desired, GREEN, SERVERS, SERVICES, name_of};
use crate::fault::Fault;
use crate::link::Link;
use crate::mastership::{Action, Route};
use crate::node::{Disk, Node, TICK};
use crate::remembered::{CLIENTS, Memory};
use crate::rng::Rng;

const START: Duration = Duration::from_secs(1000);
const STEPS: u32 = 120;
/// Time between two censuses.
const SWEEP_EVERY: Duration = Duration::from_secs(1);
/// After healing all must come right in so many rounds of this length.
const ROUNDS: u32 = 80;
const ROUND: Duration = Duration::from_millis(100);
/// So many rounds pass at least: two walks over the tables.
const LEAST_ROUNDS: u32 = 7;

/// Adds a line to the story, if somebody reads it.
macro_rules! tell {
    ($world:expr, $($words:tt)*) => {
        if $world.tell {
            let line = format!($($words)*);
            $world.story.push(format!("{:9.4} {line}", $world.now.as_secs_f64()));
        }
    };
}
pub(crate) use tell;

pub struct World {
    pub fault: Fault,
    pub rng: Rng,
    pub now: Duration,
    pub nodes: [Node; 2],
    pub boots: u64,
    pub link: Link,
    pub route: Route,
    pub agenda: BTreeMap<(Duration, u64), Action>,
    pub planned: u64,
    pub master_since: [Duration; 2],
    pub left_at: [Duration; 2],
    /// Since when all that a node knows is at the other, by who tells.
    pub shared_since: [Option<Duration>; 2],
    /// The file that both nodes get, and when they have got the last one.
    pub file: Desired,
    pub reloads_at: [Duration; 2],
    /// Since when the nodes have other files of a service.
    pub differ_since: [Option<Duration>; SERVICES.len()],
    /// Until when a node that was started, or began to follow, with another file of a service than the other had may lack owners of slots that the
    /// other knows.
    pub lacks_owners: [[Duration; SERVICES.len()]; 2],
    /// When a backend of a service died last.
    pub died_at: [Duration; SERVICES.len()],
    /// What the bulk under way has mentioned, by who is told.
    pub mentioned: [Option<BTreeSet<Key>>; 2],
    /// Flows whose packets have come to a node that was not master, since the last bulk that it was told.
    pub strays: [BTreeSet<FlowKey6>; 2],
    pub flows: Vec<Flow>,
    /// Flows that have ended, whose ports are used again: number and service.
    pub closed: Vec<(u16, usize)>,
    pub next_flow: u16,
    /// What the service that remembers clients owes them.
    pub memories: [Option<Memory>; CLIENTS],
    /// Clients that came to a node that was not master, since the last bulk that it was told.
    pub strange_clients: [BTreeSet<usize>; 2],
    pub is_healed: bool,
    /// Threads that have nothing to do look for something to do this much later.
    rest: Duration,
    pub coverage: Coverage,
    pub tell: bool,
    pub story: Vec<String>,
}

impl World {
    pub fn new(seed: u64, fault: Fault, tell: bool) -> Self {
        let mut rng = Rng(seed);
        let disk = Disk { desired: Desired::random(&mut rng), intents: Intents::default() };
        let node = |number: usize| {
            let (ahead, disk) = (Duration::from_secs(number as u64 * 500_000), disk.clone());
            Node::start(number, fault, 1 + number as u64, START, ahead, Duration::from_millis(1), disk)
        };
        let nodes = [node(0), node(1)];
        let mut link = Link::default();
        link.is_rough = rng.one_in(4);
        let mut world = Self {
            fault,
            rng,
            now: START,
            nodes,
            boots: 2,
            link,
            route: Route { to: 0, from: None, since: START },
            agenda: BTreeMap::new(),
            planned: 0,
            master_since: [START; 2],
            left_at: [START; 2],
            shared_since: [None; 2],
            file: disk.desired,
            reloads_at: [START; 2],
            died_at: [Duration::ZERO; SERVICES.len()],
            differ_since: [None; SERVICES.len()],
            lacks_owners: [[Duration::ZERO; SERVICES.len()]; 2],
            mentioned: [None, None],
            strays: Default::default(),
            flows: Vec::new(),
            closed: Vec::new(),
            next_flow: 0,
            memories: [None; CLIENTS],
            strange_clients: Default::default(),
            is_healed: false,
            rest: TICK,
            coverage: Coverage::default(),
            tell,
            story: Vec::new(),
        };
        world.become_master(0);
        world
    }

    pub fn run(&mut self) -> Result<(), String> {
        for _ in 0..STEPS {
            self.step()?;
        }
        self.heal()
    }

    fn step(&mut self) -> Result<(), String> {
        let limit = [0, 2_000, 5_000, 10_000, 25_000][self.rng.below(5) as usize];
        let passes = Duration::from_micros(self.rng.below(limit + 1));
        self.pass(passes)?;
        match self.rng.below(200) {
            0..70 => self.open(),
            70..84 => self.packet(Kind::Closes),
            84..90 => self.packet(Kind::Resets),
            90..94 => {
                self.hand_over();
                Ok(())
            }
            94..98 => {
                self.preempt();
                Ok(())
            }
            98..103 => {
                let node = self.rng.below(2) as usize;
                self.die(node);
                Ok(())
            }
            103..105 => {
                self.cut();
                Ok(())
            }
            105..107 => {
                let stall = Duration::from_millis(10 + self.rng.below(500));
                tell!(self, "the link stalls for {stall:?}");
                self.link.stalled_until = self.link.stalled_until.max(self.now + stall);
                self.coverage.note("stalls");
                Ok(())
            }
            107..114 => self.rest_for_a_while(),
            114..120 => {
                self.order();
                Ok(())
            }
            120..125 => {
                self.reload();
                Ok(())
            }
            125..130 => self.all_go_on(),
            _ => self.packet(Kind::Data),
        }
    }

    /// Nothing happens but that time passes.
    fn rest_for_a_while(&mut self) -> Result<(), String> {
        let seconds = [1, 1, 3, 9][self.rng.below(4) as usize];
        self.rest = Duration::from_millis(400);
        let passes = Duration::from_millis(self.rng.below(seconds * 1_000));
        let mut passed = self.pass(passes);
        if passed.is_ok() && seconds > 3 {
            // Clients that are there stay.
            passed = self.all_go_on();
        }
        self.rest = TICK;
        let soon = self.now + TICK;
        self.nodes.iter_mut().for_each(|node| node.tick_at = node.tick_at.min(soon));
        passed
    }

    /// Time passes, and what is due in it is done.
    pub fn pass(&mut self, passes: Duration) -> Result<(), String> {
        let end = self.now + passes;
        loop {
            let due = self.due();
            if due > end {
                break;
            }
            self.now = self.now.max(due);
            self.happen()?;
        }
        self.now = end;
        Ok(())
    }

    fn due(&self) -> Duration {
        let up = self.nodes.iter().filter(|node| node.is_up);
        let of_nodes = up.flat_map(|node| {
            let deadline = node.controller.deadline().map(|at| at.saturating_sub(node.clock(Duration::ZERO)));
            [Some(node.tick_at), Some(node.sweep_at), node.waits_until(), deadline].into_iter().flatten()
        });
        let planned = self.agenda.keys().next().map(|(at, _)| *at);
        of_nodes.chain(self.link.due()).chain(planned).min().expect("a node is up")
    }

    fn happen(&mut self) -> Result<(), String> {
        let now = self.now;
        self.act();
        self.carry()?;
        for node in 0..2 {
            if !self.nodes[node].is_up {
                continue;
            }
            self.nodes[node].attend(now);
            if self.nodes[node].sweep_at <= now {
                self.nodes[node].sweep_at = now + SWEEP_EVERY;
                self.sweep(node)?;
            }
            self.nodes[node].pass(now);
            if self.nodes[node].tick_at <= now {
                self.tick(node);
                self.judge_walks(node)?;
            }
            self.judge_node(node)?;
        }
        self.bury();
        self.note_shares();
        Ok(())
    }

    /// Flows of backends that have died on a node end with them, also when one is up again at once.
    fn bury(&mut self) {
        for (service, backend) in self.nodes.iter_mut().flat_map(|node| node.deaths.drain(..)) {
            self.died_at[service] = self.now;
            let of_it = self.flows.extract_if(.., |flow| (flow.service, flow.backend) == (service, backend));
            self.closed.extend(of_it.map(|flow| (flow.id, service)));
            if service == GREEN {
                self.memories = self.memories.map(|memory| memory.filter(|memory| !memory.is_of(backend)));
            }
        }
    }

    fn tick(&mut self, node: usize) {
        let now = self.now;
        self.connect(node);
        self.nodes[node].tick(now);
        self.post(node);
        self.look_after_mastership();
        let is_busy = self.nodes.iter().any(|node| node.is_up && node.is_busy()) || !self.link.is_quiet();
        let rest = match (is_busy, self.link.is_through(now)) {
            (true, true) => TICK,
            (true, false) => self.rest.min(4 * TICK),
            (false, _) => self.rest,
        };
        self.nodes[node].tick_at = now + rest;
    }

    /// Both nodes get another file, one earlier than the other.
    fn reload(&mut self) {
        let first = self.rng.below(2) as usize;
        self.file.change(&mut self.rng);
        self.coverage.note("reloads");
        for (node, longest) in [(first, 1), (1 - first, 3_000)] {
            // One file after the other.
            let at = (self.now + Duration::from_millis(self.rng.below(longest))).max(self.reloads_at[node]);
            self.reloads_at[node] = at;
            self.planned += 1;
            self.agenda.insert((at, self.planned), Action::Reload(node, self.file));
        }
    }

    /// An operator says something to a node.
    fn order(&mut self) {
        let node = self.rng.below(2) as usize;
        if !self.nodes[node].is_up {
            return;
        }
        let at = self.rng.below(SERVICES.len() as u64) as usize;
        let service = SERVICES[at].name.to_owned();
        let backend = name_of(self.rng.below(SERVERS.into()) as u8);
        let action = match self.rng.below(9) {
            0..2 => Operation::Drain,
            2..4 => Operation::Weight([0, 1, 2, 5][self.rng.below(4) as usize]),
            4 => Operation::Disable,
            _ => Operation::Clear,
        };
        let order = Order::Backend { service, backend, action };
        tell!(self, "on node {node}: {order:?}");
        self.coverage.note("orders");
        let now = self.now;
        self.nodes[node].operate(now, &order);
        self.bury();
        self.release();
    }

    /// All is well from now on, and the promises about that are judged.
    fn heal(&mut self) -> Result<(), String> {
        tell!(self, "nothing goes wrong any more");
        (self.is_healed, self.link.is_cut) = (true, false);
        let desired = self.file;
        self.agenda.retain(|_, action| !matches!(action, Action::Reload(..)));
        self.plan(0, 0, Action::Mend);
        for node in 0..2 {
            self.plan(0, 0, Action::Reload(node, desired));
            if !self.nodes[node].is_up {
                self.agenda.retain(|_, action| !matches!(action, Action::Return(it) if *it == node));
                self.plan(0, 0, Action::Return(node));
            }
        }
        self.rest = Duration::from_millis(100);
        let mut well = Ok(());
        for round in 0..ROUNDS {
            self.pass(ROUND)?;
            if round >= LEAST_ROUNDS {
                well = self.judge_pair();
                if well.is_ok() {
                    break;
                }
            }
        }
        well?;
        self.all_go_on()
    }

    /// A message comes to a node.
    pub fn note_message(&mut self, to: usize, message: &Message) {
        match &message.body {
            Body::Begin { .. } => {
                self.mentioned[to] = Some(BTreeSet::new());
                self.strays[to].clear();
                self.strange_clients[to].clear();
            }
            Body::Items { items, .. } => {
                let Some(mentioned) = &mut self.mentioned[to] else { return };
                for (key, value) in items {
                    if value.is_some() {
                        mentioned.insert(key.clone());
                    } else {
                        mentioned.remove(key);
                    }
                }
            }
            _ => {}
        }
    }
}
