//! Who has to know of which flows, as docs/exchange.md promises it: while all of a master's state is at the other node, that knows of every
//! flow a moment after it began, whatever becomes of the master. What is beyond that promise is forgiven here, and nowhere else.

use std::time::Duration;

use crate::clients::Flow;
use crate::desired::{IDLE_TIMEOUT, REALM};
use crate::link::LONGEST_DELAY;
use crate::node::TICK;
use crate::world::{World, tell};

/// A flow that is younger than this when its master dies may be lost: the exchange's interval of 10 ms, and the network's time.
const YOUNG: Duration = Duration::from_millis(2 * TICK.as_millis() as u64 + LONGEST_DELAY.as_millis() as u64);
/// Between two walks: the product's interval, and what a thread of the simulation that has nothing to do may rest after it.
const LONGEST_WITHOUT_WALK: Duration = Duration::from_millis(700);
/// By then both nodes know of what an operator has said to one.
const SOON: Duration = Duration::from_secs(1);
/// So long last words are said and taken, a little less.
const LAST_WORDS: Duration = Duration::from_millis(900);

/// Why a flow may move.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Forgiven {
    /// Its master died, or was cut off, before the other node could hear of it.
    Young,
    /// Its master died, was cut off or gave up before the other node had all of its state, so there was no pair yet.
    Alone,
    /// The file of the node that it came to does not know its backend, or only since a moment ago.
    NoPlace,
    /// It has no record, and the node that it came to makes its table from another file than the other: for longer than slots have two owners
    /// at either, or ever since it was started or began to follow; or a backend has died meanwhile, whose slots have no two owners but another one on
    /// each node.
    FilesDiffer,
    /// It had been silent for longer than the quarter of its timeout that need not be told, and had spoken again a moment before its master
    /// died, by a walk that would have been told; or since the nodes did not hear each other. The other counts its silence from before.
    SpokeAgain,
    /// It began on the ports of an earlier one around a hand-over, and one of the nodes knew the earlier one's record then and not that this one had
    /// begun.
    PortsAgain,
    /// It began at the master before in a slot with two owners, and went on at the new one before that had heard of it and after a change of its
    /// pool there had given the slot back to its previous owner: whose flows are not waited for in such slots.
    GivenBack,
}

impl Forgiven {
    pub const ALL: [Self; 7] = [
        Self::Young,
        Self::Alone,
        Self::NoPlace,
        Self::FilesDiffer,
        Self::SpokeAgain,
        Self::PortsAgain,
        Self::GivenBack,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::Young => "forgiven: young",
            Self::Alone => "forgiven: alone",
            Self::NoPlace => "forgiven: no place",
            Self::FilesDiffer => "forgiven: files differ",
            Self::SpokeAgain => "forgiven: spoke again",
            Self::PortsAgain => "forgiven: ports again",
            Self::GivenBack => "forgiven: given back",
        }
    }
}

impl World {
    /// Looks whether what a node is master of is shared, and notes what the other has to know when it is no more.
    pub fn note_shares(&mut self) {
        for teller in 0..2 {
            let is = self.shares(teller);
            match (self.shared_since[teller], is) {
                (None, true) => {
                    tell!(self, "all that node {teller} knows is shared from now on");
                    self.shared_since[teller] = Some(self.now);
                    self.note_other_files(1 - teller);
                }
                (Some(since), false) => {
                    tell!(self, "what node {teller} knows is not shared any more");
                    self.shared_since[teller] = None;
                    self.note_known(teller, since);
                }
                (None, false) | (Some(_), true) => {}
            }
        }
        // Who shares tells the owners of slots at once.
        let is_shared = self.shared_since.iter().any(Option::is_some);
        for (until, differ_since) in
            self.lacks_owners.iter_mut().flat_map(|of_node| of_node.iter_mut().zip(&self.differ_since))
        {
            *until = match (*until > self.now, is_shared && differ_since.is_none()) {
                (true, true) => (*until).min(self.now + YOUNG),
                (true, false) => Duration::MAX,
                (false, _) => *until,
            };
        }
    }

    /// A node is started, or begins to follow: what it does not know of slots if it has another file than the other.
    pub fn note_other_files(&mut self, node: usize) {
        for (until, since) in self.lacks_owners[node].iter_mut().zip(&self.differ_since) {
            *until = if since.is_some() { Duration::MAX } else { *until };
        }
    }

    fn shares(&self, teller: usize) -> bool {
        let (one, other) = (&self.nodes[teller], &self.nodes[1 - teller]);
        if !one.is_up || !other.is_up || !self.link.tells(teller) || !self.link.is_through(self.now) {
            return false;
        }
        let (tells, follows) = (&one.party.exchange, other.party.exchange.follows(REALM));
        let was = self.shared_since[teller].is_some();
        if other.is_master {
            // Its last words are still taken.
            return was && self.now < self.master_since[1 - teller] + LAST_WORDS;
        }
        follows && (tells.is_followed_by_peer(REALM) || was && !tells.is_master(REALM))
    }

    /// What a node knows has been shared since then, and is not from now on.
    fn note_known(&mut self, teller: usize, since: Duration) {
        let (now, other, found) = (self.now, 1 - teller, self.found_until(teller, since));
        let gathered = self.gathered_at(teller, since);
        for flow in self.flows.iter_mut().filter(|flow| flow.holder == Some(teller)) {
            flow.is_young = flow.since + YOUNG > now;
            if let Some((at, before)) = flow.spoke_again.take_if(|(at, _)| *at >= found) {
                flow.counts_from = Some(before.min(at));
            }
            let place = self.nodes[other].places_since(flow.service, flow.backend);
            flow.known_to[other] |= !flow.is_young && has_place(flow, place, gathered);
            if self.nodes[other].is_master && !flow.known_to[other] {
                // What the new master has not heard of is forgotten here too.
                flow.holder = None;
            }
        }
        self.note_known_clients(teller, since);
    }

    /// What a node's tables knew by then is at the other, also what only walks find: of a node that has shared all since some time.
    pub fn found_until(&self, teller: usize, since: Duration) -> Duration {
        let is_through = |at: &&Duration| **at + LONGEST_DELAY + TICK <= self.now;
        let walked = self.nodes[teller].walked_at.iter().find(is_through).copied().unwrap_or_default();
        walked.max(self.gathered_at(teller, since))
    }

    /// When a node that has shared all since some time began to tell all of it.
    pub fn gathered_at(&self, teller: usize, since: Duration) -> Duration {
        // What is gathered since is not all there yet.
        self.nodes[teller].gathered_at.iter().find(|at| **at <= since).copied().unwrap_or_default()
    }

    /// Whether a node that shares all walks over its tables as often as it should.
    ///
    /// # Errors
    /// When it does not.
    pub fn judge_walks(&self, node: usize) -> Result<(), String> {
        let ([walked_at, _], master_since) = (self.nodes[node].walked_at, self.master_since[node]);
        match self.shared_since[node].map(|since| since.max(walked_at).max(master_since)) {
            Some(at) if self.nodes[node].is_master && self.now > at + LONGEST_WITHOUT_WALK => {
                Err(format!("node {node} has not walked over its tables since {walked_at:?}"))
            }
            _ => Ok(()),
        }
    }

    /// A node's memory is lost.
    pub fn forget_known(&mut self, node: usize) {
        self.forget_known_clients(node);
        for flow in &mut self.flows {
            flow.known_to[node] = false;
            flow.holder = flow.holder.filter(|holder| *holder != node);
        }
    }

    /// Clients' packets come to this node from now on: what it does not have to know of is at the mercy of its tables, and from then on
    /// of both nodes'.
    pub fn note_takeover(&mut self, node: usize) {
        self.note_takeover_of_clients(node);
        let now = self.now;
        let are_young = self.flows.iter_mut().filter(|flow| flow.has_used_ports && flow.since + YOUNG >= now);
        are_young.for_each(|flow| flow.is_of_hand_over = true);
        for at in 0..self.flows.len() {
            if self.forgiveness(&self.flows[at], node).is_some() {
                (self.flows[at].holder, self.flows[at].known_to) = (None, [false; 2]);
            }
        }
    }

    /// Whether a node makes the table of a service from another file than the other, and not only since a while ago; or did so, and has not been
    /// told the owners of slots since.
    pub fn has_another_table(&self, node: usize, service: usize) -> bool {
        if self.lacks_owners.iter().any(|until| self.now < until[service]) {
            return true;
        }
        let (longest, node) = (Duration::from_secs(IDLE_TIMEOUT), &self.nodes[node]);
        let Some(since) = self.differ_since[service] else { return false };
        let has_lost_owners = self.died_at[service] + SOON >= since;
        self.now > since + longest || !node.is_up || node.started_at >= since || has_lost_owners
    }

    /// Notes of which services the nodes have other files.
    pub fn note_files(&mut self) {
        let [one, other] = [&self.nodes[0].disk.desired, &self.nodes[1].disk.desired];
        for (at, since) in self.differ_since.iter_mut().enumerate() {
            *since = (one.servers(at) != other.servers(at)).then(|| since.unwrap_or(self.now));
        }
    }

    /// Why a flow may move at this node; `None`: it may not.
    pub fn forgiveness(&self, flow: &Flow, node: usize) -> Option<Forgiven> {
        let place = self.nodes[node].places_since(flow.service, flow.backend);
        if place.is_none() {
            return Some(Forgiven::NoPlace);
        }
        if !flow.has_record && (flow.is_at_odds || self.has_another_table(node, flow.service)) {
            return Some(Forgiven::FilesDiffer);
        }
        let counts_from = flow.counts_from.filter(|_| flow.holder != Some(node));
        if counts_from.is_some_and(|from| self.now > from + Duration::from_secs(IDLE_TIMEOUT)) {
            return Some(Forgiven::SpokeAgain);
        }
        if flow.has_used_ports && self.is_of_hand_over(flow, node) {
            return Some(Forgiven::PortsAgain);
        }
        let began_there = flow.since + YOUNG >= self.master_since[node] && flow.has_record;
        if began_there && self.nodes[node].is_master && self.is_exception(node, flow.id, flow.service) {
            return Some(Forgiven::GivenBack);
        }
        // Whatever comes of an earlier hand-over is known as that only if nothing else explains it.
        self.ignorance(flow, node, place).or_else(|| flow.is_of_hand_over.then_some(Forgiven::PortsAgain))
    }

    /// Why a node does not have to know of a flow whose backend has a place there since then; `None`: it has to.
    fn ignorance(&self, flow: &Flow, node: usize, place: Option<Duration>) -> Option<Forgiven> {
        if flow.known_to[node] || flow.holder == Some(node) {
            return None;
        }
        let gathered = |holder: usize| self.shared_since[holder].map(|since| self.gathered_at(holder, since));
        match flow.holder.and_then(gathered) {
            Some(since) if has_place(flow, place, since) => None,
            Some(_) => Some(Forgiven::NoPlace),
            None if flow.is_young => Some(Forgiven::Young),
            None => Some(Forgiven::Alone),
        }
    }

    /// Whether one node is taking over from the other, by what this one is when a packet comes to it.
    pub fn is_handed_over(&self, node: usize) -> bool {
        let (one, other) = (&self.nodes[node], &self.nodes[1 - node]);
        !one.is_master || other.is_up && other.is_master || !one.tables().awaiting.is_empty()
    }

    /// Whether a flow began while this node took over: at the other while that might be waited for still, or here.
    fn is_of_hand_over(&self, flow: &Flow, node: usize) -> bool {
        let (since, node) = (self.master_since[node], &self.nodes[node]);
        let is_awaited = !node.tables().awaiting.is_empty();
        let (began_there, began_here) = (since <= flow.since + YOUNG && is_awaited, since <= flow.since);
        node.is_master && (began_there || began_here && flow.since < since + LAST_WORDS && !flow.has_record)
    }
}

/// Whether a flow, of a node that told all then and what came later, has had a place from the moment when it was told.
fn has_place(flow: &Flow, place: Option<Duration>, gathered: Duration) -> bool {
    place.is_some_and(|place| place <= gathered.max(flow.since))
}
