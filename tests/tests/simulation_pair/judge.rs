//! What nodes have, held against what they were told, and against each other.

use std::collections::BTreeMap;

use fairway::exchange::Key;
use fairway::exchange::item::FlowId;
use fairway::reconcile::placed::Placed;
use fairway::reconcile::tables::Table;
use lb_common::abi::{FlowKey6, Record};
use lb_common::connection::Counted;
use lb_common::slot::{Slot, SlotState};

use crate::desired::SERVICES;
use crate::link::id_of;
use crate::node::Node;
use crate::world::World;

/// The records of a service: whose each flow is, and each client. In which state a flow is its next packet says on either node.
#[derive(PartialEq, Eq, Debug, Default)]
struct Records {
    flows: BTreeMap<(bool, FlowKey6), String>,
    clients: BTreeMap<[u8; 16], String>,
}

impl Records {
    /// What one has otherwise than another, in words.
    fn difference(&self, other: &Self) -> String {
        let mut words = String::new();
        for key in self.flows.keys().chain(other.flows.keys()) {
            let (mine, yours) = (self.flows.get(key), other.flows.get(key));
            if mine != yours {
                words += &format!("flow {}: {mine:?}, not {yours:?}; ", id_of(&FlowId::from(&key.1)));
            }
        }
        if self.clients != other.clients {
            words += &format!("clients {:?}, not {:?}", self.clients, other.clients);
        }
        words
    }
}

impl World {
    /// What is so at any time.
    pub fn judge_node(&mut self, node: usize) -> Result<(), String> {
        if let Some(failure) = self.nodes[node].failure.take() {
            return Err(format!("node {node}: {failure}"));
        }
        if std::mem::take(&mut self.nodes[node].has_completed) {
            self.judge_bulk(node).map_err(|it| format!("node {node}, at the end of a bulk: {it}"))?;
        }
        Ok(())
    }

    /// All of its master's state is here: nothing of an older claim is left, and counts are what records say.
    fn judge_bulk(&mut self, node: usize) -> Result<(), String> {
        self.coverage.note("bulks");
        let mentioned = self.mentioned[node].take().ok_or("it ends before it has begun")?;
        let tables = self.nodes[node].tables();
        let (flows, connections) = (tables.flows.borrow(), tables.connections.borrow());
        let all = flows.keys().map(|key| (key, false)).chain(connections.keys().map(|key| (key, true)));
        for (key, stateful) in all {
            if !mentioned.contains(&Key::Flow(FlowId::from(key), stateful)) {
                return Err(format!("{key:?} is there, and was not mentioned"));
            }
        }
        judge_counts(&self.nodes[node])
    }

    /// A census is taken. Who follows settles nothing by that which its master has not settled.
    pub fn sweep(&mut self, node: usize) -> Result<(), String> {
        let (now, master) = (self.now, 1 - node);
        let is_still = self.link.is_quiet() && self.nodes.iter().all(|node| node.is_up && !node.is_busy());
        let follows =
            self.shared_since[master].is_some() && self.nodes[master].is_master && !self.nodes[node].is_master;
        if !is_still || !follows {
            self.nodes[node].sweep(now);
            return Ok(());
        }
        let before = self.nodes[node].tables().image.slots.clone();
        self.nodes[node].sweep(now);
        let open = before.iter().filter(|word| Slot(**word).state() != SlotState::Settled).count();
        self.coverage.more("slots that a follower left alone", open as u64);
        if before == self.nodes[node].tables().image.slots {
            return Ok(());
        }
        for offer in &SERVICES {
            let [mine, theirs] = [node, master].map(|node| slots(&self.nodes[node], offer.name));
            let (name, (_, table)) = (offer.name, placed(&self.nodes[node], offer.name));
            let first = table.first_slot as usize;
            let after = &self.nodes[node].tables().image.slots[first..];
            let changed = mine.iter().zip(&theirs).zip(before[first..].iter().zip(after));
            let mut changed = changed.filter(|(_, (before, after))| before != after).map(|(owners, _)| owners);
            // A previous owner that is nobody here has no flows here.
            let is_known = |owners: &Owners<'_>| owners.1.is_none_or(|previous| table.pool.member(previous).is_some());
            let is_early = |mine, theirs| is_known(theirs) && is_settled(mine) > is_settled(theirs);
            if let Some((mine, theirs)) = changed.find(|(mine, theirs)| is_early(mine, theirs)) {
                return Err(format!("node {node} settles a slot of {name}: {mine:?}, at its master {theirs:?}"));
            }
        }
        Ok(())
    }

    /// Nothing has gone wrong for a while, and one node is master: both have the same.
    pub fn judge_pair(&mut self) -> Result<(), String> {
        let master = self.master().ok_or("there is not one master")?;
        let follower = 1 - master;
        self.shared_since[master].ok_or("what the master knows is not shared")?;
        let [one, other] = [master, follower].map(|node| &self.nodes[node]);
        other.party.exchange.caught_up()?;
        if one.is_busy() || other.is_busy() || !self.link.is_quiet() {
            return Err("there is something to say still".to_owned());
        }
        for offer in &SERVICES {
            let name = offer.name;
            let [mut mine, mut yours] = [one, other].map(|node| records(node, name));
            if placed(one, name).1.pool.slots().is_settled() {
                // Nobody looks for such records then, and none is told.
                for records in [&mut mine, &mut yours] {
                    records.flows.retain(|(stateful, _), _| *stateful);
                }
            }
            // What the other's file does not know of has no place there: backends that left before it was started. And records of one that
            // is dead to its flows mean nothing; they are forgotten on each node when it dies there, and last words may bring one back.
            let (mine_known, (_, table)) = (placed(one, name).1, placed(other, name));
            let is_known = |it: &str| {
                [&mine_known.pool, &table.pool].iter().all(|pool| pool.member(it).is_some_and(|member| member.up))
            };
            for records in [&mut mine, &mut yours] {
                records.flows.retain(|_, identity| is_known(identity));
                records.clients.retain(|_, identity| is_known(identity));
            }
            // A node that was master records what still comes to it, by what it has. If its last words are lost, nobody else knows of that.
            let (strays, strange) = (&self.strays[follower], &self.strange_clients[follower]);
            for records in [&mut mine, &mut yours] {
                records.flows.retain(|(_, flow), _| !strays.contains(flow));
                records.clients.retain(|address, _| !strange.contains(&usize::from(address[15])));
            }
            if mine != yours {
                return Err(format!("records of {name} differ: {}", mine.difference(&yours)));
            }
            let [mut mine, yours] = [one, other].map(|node| slots(node, name));
            for (mine, yours) in mine.iter_mut().zip(&yours) {
                if mine.1.is_some_and(|previous| table.pool.member(previous).is_none()) {
                    // Without any owner there is no word for this, and the other's own previous owner stays.
                    *mine = (mine.0, mine.0.or(yours.1));
                }
            }
            if mine != yours {
                return Err(format!("slots of {name} differ: node {master} has {mine:?}, the other {yours:?}"));
            }
            let open = mine.iter().filter(|(_, previous)| previous.is_some()).count();
            self.coverage.more("slots with two owners in the end", open as u64);
            self.coverage.more("records in the end", records(one, name).flows.len() as u64);
        }
        judge_counts(one)?;
        judge_counts(other)
    }
}

/// What backends count is what is recorded.
fn judge_counts(node: &Node) -> Result<(), String> {
    let (records, loads) = (node.tables().connections.borrow(), node.tables().loads.borrow());
    for (name, placed) in node.controller.planner().services() {
        let Some(seat) = placed.seat else { continue };
        for index in 0..seat.room as u16 {
            let of_backend = records.values().filter(|it| it.pool == placed.pool && it.backend == index);
            let recorded = of_backend.fold(Counted::default(), |sum, it| sum.plus(Counted::one(it.state)));
            let (counted, _) = loads.get(&seat.load(index)).copied().unwrap_or_default();
            if counted != recorded {
                let number = node.number;
                return Err(format!(
                    "node {number}: backend {index} of {name} counts {counted:?}, recorded are {recorded:?}"
                ));
            }
        }
    }
    Ok(())
}

fn placed<'a>(node: &'a Node, name: &str) -> (&'a Placed, &'a Table) {
    let planner = node.controller.planner();
    let placed = &planner.services()[name];
    (placed, planner.tables().get(placed.table))
}

fn records(node: &Node, name: &str) -> Records {
    let (placed, table) = placed(node, name);
    let identity = |backend: u16| table.pool.identity(backend).unwrap_or("nobody").to_owned();
    let is_of = |record: &Record| record.pool == placed.pool;
    let tables = node.tables();
    let (flows, connections, clients) = (tables.flows.borrow(), tables.connections.borrow(), tables.clients.borrow());
    let all = flows.iter().map(|it| (false, it)).chain(connections.iter().map(|it| (true, it)));
    let flow = |(stateful, (key, record)): (bool, (&FlowKey6, &Record))| ((stateful, *key), identity(record.backend));
    Records {
        flows: all.filter(|(_, (_, record))| is_of(record)).map(flow).collect(),
        clients: clients
            .iter()
            .filter(|(_, record)| is_of(record))
            .map(|(key, record)| (key.address.octets(), identity(record.backend)))
            .collect(),
    }
}

/// How far a slot is on its way to being settled.
fn is_settled((current, previous): &Owners<'_>) -> u8 {
    match previous {
        None => 2,
        Some(_) if current == previous => 1,
        Some(_) => 0,
    }
}

/// The identities of both owners of a slot.
type Owners<'a> = (Option<&'a str>, Option<&'a str>);

fn slots<'a>(node: &'a Node, name: &str) -> Vec<Owners<'a>> {
    let (_, table) = placed(node, name);
    let words = &node.tables().image.slots[table.first_slot as usize..][..table.size() as usize];
    let identity = |index: u16| table.pool.identity(index);
    words.iter().map(|word| (identity(Slot(*word).current()), identity(Slot(*word).previous()))).collect()
}
