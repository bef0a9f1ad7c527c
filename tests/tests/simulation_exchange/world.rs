//! Two nodes, the network between them, and what happens to them.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use fairway::exchange::item::{FlowId, FlowRecord};
use fairway::exchange::machine::{Counters, Limits};
use fairway::exchange::{Answer, Body, Direction, Effect, Event, Exchange, Key, Message, Value};

use crate::fault::Fault;
use crate::rng::Rng;

const STEP: Duration = Duration::from_millis(10);
const STEPS: u64 = 150;
/// Steps after healing in which all must come right: deadlines of both sides, and some turns more.
const HEALING: u64 = 1_500;
const REALMS: [&str; 2] = ["inside", "public"];
const FLOWS: u64 = 12;
/// Few, so that they are reached.
const LIMITS: Limits = Limits { waiting: 6, items: 1_000 };

/// What the histories have seen.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Coverage {
    pub taken: u64,
    pub bulks: u64,
    pub lost: u64,
    pub repeated: u64,
    pub gaps: u64,
    pub refused: u64,
    pub overflows: u64,
    pub restarts: u64,
    pub restarts_in_bulk: u64,
    pub two_masters: u64,
    pub dropped: u64,
    pub late: u64,
}

impl Coverage {
    pub fn add(&mut self, other: &Self) {
        self.taken += other.taken;
        self.bulks += other.bulks;
        self.lost += other.lost;
        self.repeated += other.repeated;
        self.gaps += other.gaps;
        self.refused += other.refused;
        self.overflows += other.overflows;
        self.restarts += other.restarts;
        self.restarts_in_bulk += other.restarts_in_bulk;
        self.two_masters += other.two_masters;
        self.dropped += other.dropped;
        self.late += other.late;
    }

    fn count(&mut self, counters: Counters) {
        self.taken += counters.taken;
        self.bulks += counters.bulks;
        self.repeated += counters.repeated;
        self.gaps += counters.gaps;
        self.refused += counters.refused;
        self.overflows += counters.overflows;
    }
}

type Items = BTreeMap<Key, Value>;

struct Node {
    exchange: Exchange,
    boot: u64,
    /// What its tables hold, by realm.
    tables: BTreeMap<Arc<str>, Items>,
    /// The same before the last change.
    before: BTreeMap<Arc<str>, Items>,
    masters: BTreeMap<Arc<str>, bool>,
    /// Realms that are being gathered, and the last record that was.
    gathering: BTreeMap<Arc<str>, Option<Key>>,
}

/// What one node tells the other, and the answers.
#[derive(Default)]
struct Connection {
    /// Each side knows of it.
    up: [bool; 2],
    there: VecDeque<Message>,
    back: VecDeque<Answer>,
}

struct World {
    rng: Rng,
    fault: Fault,
    now: Duration,
    nodes: [Node; 2],
    /// By who tells.
    connections: [Connection; 2],
    cut: bool,
    healed: bool,
    boots: u64,
    values: u64,
    coverage: Coverage,
}

/// Runs a history; what it has seen, or what went wrong.
pub fn run(seed: u64, fault: Fault) -> Result<Coverage, String> {
    let mut world = World::new(seed, fault);
    for _ in 0..STEPS {
        world.disturb();
        world.step()?;
    }
    world.heal();
    for step in 0..HEALING {
        world.step()?;
        // Once all is said there is nothing more to come but signs of life.
        if step % 50 == 49 && world.is_healthy().is_ok() && step > 100 {
            break;
        }
    }
    world.is_healthy()?;
    for node in &world.nodes {
        world.coverage.count(node.exchange.counters());
    }
    Ok(world.coverage)
}

impl Node {
    fn new(boot: u64, now: Duration) -> Self {
        let mut exchange = Exchange::new(boot, LIMITS);
        let names: Vec<Arc<str>> = REALMS.map(Arc::from).into();
        let none = exchange.handle(now, Event::Realms(names.clone()));
        assert!(none.is_empty());
        let empty: BTreeMap<Arc<str>, Items> = names.iter().map(|name| (name.clone(), Items::new())).collect();
        let masters = names.into_iter().map(|name| (name, false)).collect();
        Self { exchange, boot, before: empty.clone(), tables: empty, masters, gathering: BTreeMap::new() }
    }
}

impl World {
    fn new(seed: u64, fault: Fault) -> Self {
        let nodes = [Node::new(1, Duration::ZERO), Node::new(2, Duration::ZERO)];
        Self {
            rng: Rng(seed),
            fault,
            now: Duration::from_secs(1),
            nodes,
            connections: Default::default(),
            cut: false,
            healed: false,
            boots: 2,
            values: 0,
            coverage: Coverage::default(),
        }
    }

    /// Something happens to the nodes or the network.
    fn disturb(&mut self) {
        let node = self.rng.below(2) as usize;
        let realm: Arc<str> = REALMS[self.rng.below(2) as usize].into();
        match self.rng.below(60) {
            0..6 => self.change_master(node, &realm),
            6 => self.restart(node),
            7 => self.cut = !self.cut,
            8..10 => self.break_off(node),
            10 if self.rng.one_in(4) => self.now += Duration::from_secs(4),
            11..40 => {
                for _ in 0..=self.rng.below(8) {
                    self.change_item(&realm);
                }
            }
            _ => {}
        }
    }

    /// VRRP has another opinion: mostly one master, sometimes none, and two while the nodes do not hear each other.
    fn change_master(&mut self, node: usize, realm: &Arc<str>) {
        if self.nodes[node].masters[realm] {
            return self.set_master(node, realm, false);
        }
        if !self.cut && !self.rng.one_in(5) {
            self.set_master(1 - node, realm, false);
        }
        self.set_master(node, realm, true);
        self.coverage.two_masters += u64::from(self.nodes[1 - node].masters[realm]);
    }

    fn set_master(&mut self, node: usize, realm: &Arc<str>, master: bool) {
        self.nodes[node].masters.insert(realm.clone(), master);
        self.event(node, Event::Mastership(realm.clone(), master)).expect("becoming master stores nothing");
    }

    fn restart(&mut self, node: usize) {
        self.coverage.restarts += 1;
        let half = |it: &usize| {
            REALMS.iter().any(|realm| {
                let stands = &self.nodes[1 - *it].masters[*realm];
                *stands && self.connections[1 - *it].up[*it] && !self.nodes[*it].exchange.follows(realm)
            })
        };
        self.coverage.restarts_in_bulk += u64::from(half(&node));
        self.coverage.count(self.nodes[node].exchange.counters());
        self.boots += 1;
        self.nodes[node] = Node::new(self.boots, self.now);
        // Its kernel resets what it had; whether the other side hears of that is another question.
        for teller in 0..2 {
            self.connections[teller].up[node] = false;
            let (there, back) = (teller == node, teller != node);
            if there && self.rng.one_in(2) {
                self.connections[teller].there.clear();
            }
            if back {
                self.connections[teller].there.clear();
            }
        }
        if self.rng.one_in(2) {
            self.lose(1 - node);
        }
    }

    /// A side loses its connections.
    fn break_off(&mut self, node: usize) {
        self.lose(node);
        if self.rng.one_in(2) {
            self.lose(1 - node);
        }
    }

    fn lose(&mut self, node: usize) {
        for teller in 0..2 {
            if std::mem::take(&mut self.connections[teller].up[node]) {
                let direction = if teller == node { Direction::Telling } else { Direction::Following };
                self.event(node, Event::Lost(direction)).expect("a loss stores nothing");
            }
        }
    }

    /// A flow of a realm begins, changes or ends, wherever somebody is master.
    fn change_item(&mut self, realm: &Arc<str>) {
        let which = self.rng.below(FLOWS);
        let key = match which {
            0 => Key::Table(realm.clone()),
            1 => Key::Slots(realm.clone(), 0),
            flow => Key::Flow(flow_id(flow as u8), flow % 2 == 0),
        };
        self.values += 1;
        let value = (!self.rng.one_in(3)).then(|| match which {
            0 => Value::Table(self.values),
            1 => Value::Slots(Vec::new()),
            _ => Value::Flow(FlowRecord { backend: self.values as u16, state: 2, last_seen: self.values }),
        });
        for node in 0..2 {
            if !self.nodes[node].masters[realm] {
                continue;
            }
            let it = &mut self.nodes[node];
            it.before.insert(realm.clone(), it.tables[realm].clone());
            let table = it.tables.get_mut(realm).expect("there is one for each realm");
            match value.clone() {
                Some(value) => drop(table.insert(key.clone(), value)),
                None => drop(table.remove(&key)),
            }
            self.event(node, Event::Changed(realm.clone(), vec![(key.clone(), value.clone())]))
                .expect("it is the master's own");
        }
    }

    fn heal(&mut self) {
        (self.healed, self.cut) = (true, false);
        for realm in REALMS {
            let realm: Arc<str> = realm.into();
            let master = self.rng.below(2) as usize;
            self.set_master(1 - master, &realm, false);
            self.set_master(master, &realm, true);
        }
    }

    fn step(&mut self) -> Result<(), String> {
        self.now += STEP;
        for teller in 0..2 {
            self.connect(teller)?;
            self.carry(teller)?;
        }
        for node in 0..2 {
            self.gather(node)?;
            self.event(node, Event::Tick)?;
        }
        Ok(())
    }

    /// Who has no connection opens one. The other side learns of it only then, and forgets the one before.
    fn connect(&mut self, teller: usize) -> Result<(), String> {
        if self.cut || self.connections[teller].up[teller] || !self.rng.one_in(4) {
            return Ok(());
        }
        self.connections[teller] = Connection { up: [true, true], ..Connection::default() };
        let [boot, other] = [teller, 1 - teller].map(|node| self.nodes[node].boot);
        self.event(teller, Event::Connected(Direction::Telling, other))?;
        self.event(1 - teller, Event::Connected(Direction::Following, boot))
    }

    fn carry(&mut self, teller: usize) -> Result<(), String> {
        if self.cut {
            return Ok(());
        }
        let follower = 1 - teller;
        for _ in 0..self.rng.below(6) {
            let connection = &mut self.connections[teller];
            let at = if !self.healed && self.rng.one_in(60) { 1 } else { 0 };
            let Some(message) = connection.there.remove(at.min(connection.there.len().saturating_sub(1))) else {
                break;
            };
            if !self.healed && self.rng.one_in(60) {
                self.coverage.lost += 1;
                continue;
            }
            if !self.healed && self.rng.one_in(40) {
                connection.there.push_front(message.clone());
            }
            if connection.up[follower] {
                let message = self.tamper(message);
                let octets = message.encode();
                let message =
                    Message::decode(&octets).map_err(|_| format!("not read as it was written: {message:?}"))?;
                self.event(follower, Event::Told(message))?;
            }
        }
        for _ in 0..self.rng.below(6) {
            let Some(answer) = self.connections[teller].back.pop_front() else { break };
            if !self.healed && self.rng.one_in(40) {
                continue;
            }
            if self.connections[teller].up[teller] {
                self.event(teller, Event::Answered(answer))?;
            }
        }
        Ok(())
    }

    /// What is gathered of a realm now.
    fn gathered(&self, node: usize, realm: &Arc<str>) -> Vec<(Key, Value)> {
        let it = &self.nodes[node];
        let from = if self.fault == Fault::GatherEarly { &it.before } else { &it.tables };
        from[realm].iter().map(|(key, value)| (key.clone(), value.clone())).collect()
    }

    /// The next records of a realm that is gathered; it takes its time.
    fn gather(&mut self, node: usize) -> Result<(), String> {
        let gathering: Vec<_> = self.nodes[node].gathering.clone().into_iter().collect();
        for (realm, last) in gathering {
            match self.nodes[node].exchange.gathers(&realm, self.now) {
                Some(true) if !self.rng.one_in(3) => {}
                Some(_) => continue,
                None => {
                    self.nodes[node].gathering.remove(&realm);
                    continue;
                }
            }
            let is_next = |(key, _): &(Key, Value)| key.is_record() && last.as_ref().is_none_or(|last| key > last);
            let mut items: Vec<_> = self.gathered(node, &realm).into_iter().filter(is_next).collect();
            let more = items.len() > 3;
            items.truncate(3);
            if let Some((key, _)) = items.last() {
                self.nodes[node].gathering.insert(realm.clone(), Some(key.clone()));
            }
            self.event(node, Event::Gathered(realm, items, more))?;
        }
        Ok(())
    }

    /// What a fault makes of a message.
    fn tamper(&mut self, mut message: Message) -> Message {
        match (&mut message.body, self.fault) {
            (Body::Items { items, .. }, Fault::LoseItem) if self.rng.one_in(10) => drop(items.pop()),
            (Body::Begin { epoch, .. } | Body::Items { epoch, .. } | Body::End { epoch, .. }, Fault::RaiseEpochs) => {
                *epoch += 1_000
            }
            _ => {}
        }
        message
    }

    fn event(&mut self, node: usize, event: Event) -> Result<(), String> {
        let effects = self.nodes[node].exchange.handle(self.now, event);
        for effect in effects {
            self.perform(node, effect)?;
        }
        Ok(())
    }

    fn perform(&mut self, node: usize, effect: Effect) -> Result<(), String> {
        match effect {
            Effect::Tell(message) => self.connections[node].there.push_back(message),
            Effect::Answer(answer) => self.connections[1 - node].back.push_back(answer),
            Effect::Gather(realm) => {
                self.nodes[node].gathering.insert(realm.clone(), None);
                let is_first = |(key, _): &(Key, Value)| !key.is_record();
                let items = self.gathered(node, &realm).into_iter().filter(is_first).collect();
                self.event(node, Event::Gathered(realm, items, true))?;
            }
            Effect::Store { realm, items, late: true, .. } => {
                let it = &mut self.nodes[node];
                if !it.masters[&realm] {
                    return Err(format!("node {node} is not master of {realm} and takes {items:?} as last words"));
                }
                let is_new = |(key, value): (Key, Option<Value>)| {
                    value.filter(|_| !it.tables[&realm].contains_key(&key)).map(|value| (key, value))
                };
                let added: Vec<(Key, Value)> = items.into_iter().filter_map(is_new).collect();
                self.coverage.late += added.len() as u64;
                for (key, value) in added {
                    self.nodes[node]
                        .tables
                        .get_mut(&realm)
                        .expect("there is one for each realm")
                        .insert(key.clone(), value.clone());
                    self.event(node, Event::Changed(realm.clone(), vec![(key, Some(value))]))?;
                }
            }
            Effect::Store { realm, items, .. } => {
                let it = &mut self.nodes[node];
                if it.masters[&realm] {
                    return Err(format!("node {node} is master of {realm} and takes {items:?}"));
                }
                let table = it.tables.get_mut(&realm).expect("there is one for each realm");
                for (key, value) in items {
                    match value {
                        Some(value) => drop(table.insert(key, value)),
                        None if self.fault == Fault::IgnoreGone => {}
                        None => drop(table.remove(&key)),
                    }
                }
            }
            // Of slots nothing is told here.
            Effect::Begin(_) => {}
            Effect::Keep(realm, keep) => {
                let it = &mut self.nodes[node];
                if it.masters[&realm] {
                    return Err(format!("node {node} is master of {realm} and drops what it has"));
                }
                let table = it.tables.get_mut(&realm).expect("there is one for each realm");
                let before = table.len();
                if self.fault != Fault::KeepAll {
                    table.retain(|key, _| keep.contains(key));
                }
                self.coverage.dropped += (before - table.len()) as u64;
            }
            Effect::Close(direction, _) => {
                let teller = if direction == Direction::Telling { node } else { 1 - node };
                self.connections[teller].up[node] = false;
                // The other side sees the end of the stream, if it is not cut.
                if !self.cut && std::mem::take(&mut self.connections[teller].up[1 - node]) {
                    let direction = if teller == node { Direction::Following } else { Direction::Telling };
                    self.event(1 - node, Event::Lost(direction))?;
                }
            }
            Effect::Hear(words) => return Err(format!("node {node} hears {words:?}, which nobody said")),
        }
        Ok(())
    }

    /// Whether both have the same, and know it.
    fn is_healthy(&self) -> Result<(), String> {
        for realm in REALMS {
            let [one, other] = &self.nodes;
            if one.tables[realm] != other.tables[realm] {
                return Err(format!("{realm}: {:?} differs from {:?}", one.tables[realm], other.tables[realm]));
            }
            let (master, follower) = if one.masters[realm] { (one, other) } else { (other, one) };
            if !follower.exchange.follows(realm) || !master.exchange.is_followed_by_peer(realm) {
                return Err(format!("{realm} is not followed"));
            }
        }
        for (number, node) in self.nodes.iter().enumerate() {
            node.exchange.caught_up().map_err(|why| format!("node {number}: {why}"))?;
            if node.exchange.at_risk() != 0 {
                return Err(format!("node {number} has still to tell {}", node.exchange.at_risk()));
            }
        }
        Ok(())
    }
}

/// A flow of IPv6 whose protocol, the last four octets, is one that there is.
fn flow_id(number: u8) -> FlowId {
    let mut octets = [number; 40];
    octets[37..].fill(0);
    FlowId(octets)
}
