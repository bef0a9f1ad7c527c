//! What the judge knows. It sees what no node sees: all states, all hosts and the whole network. Of the engine it knows the
//! effects only. What it demands at every moment is in `moments`, and of a world at rest in `rest`.

use std::time::Duration;

use crate::network::Lane;
use crate::node::{Life, Node};
use crate::scenario::{SEGMENTS, Scenario};
use crate::world::{Coverage, LATENESS, What, World};

/// What arithmetic to the microsecond leaves open.
pub const SLACK: Duration = Duration::from_millis(10);
/// Time that a live word outlives mastership.
pub const LINGER: Duration = Duration::from_secs(60);

/// What the judge keeps in mind.
pub struct Judge {
    /// For each router and pair of nodes: since when both are masters and hear each other.
    pub overlaps: Vec<Vec<Option<Duration>>>,
    /// For each router and ordered pair of nodes: since when the one might preempt the other.
    pub better: Vec<Vec<Option<Duration>>>,
    /// For each segment and ordered pair of nodes: since when the one hears the other without a flaw.
    pub hearing: Vec<Vec<Option<Duration>>>,
    /// Who served last, for each router.
    servers: Vec<Option<usize>>,
    /// Routers that the node whose turn it is may not serve on without having stepped back.
    pub to_step_back: Vec<bool>,
    /// Who advertised a router and has yet to say that it is master of it.
    pub unproven: Option<(usize, usize)>,
    /// Nobody may be without a forwarding node.
    pub watches: bool,
    /// When something happened to the peer link's paths: the last time but one, and the last time.
    pub paths_changed: [Duration; 2],
    /// Whether packets may be late or lost there, before the last change and now.
    pub was_spoiled: bool,
    pub is_spoiled: bool,
    /// A master went while there was another that had no way to know of it: what clients learned of it stays until the other
    /// refreshes its announcements.
    pub went_unnoticed: bool,
    /// When a state changed last.
    pub last_change: Duration,
}

impl Judge {
    pub fn new(scenario: &Scenario) -> Self {
        let (nodes, routers) = (scenario.nodes, scenario.routers.len());
        Self {
            overlaps: vec![vec![None; nodes * nodes]; routers],
            better: vec![vec![None; nodes * nodes]; routers],
            hearing: vec![vec![None; nodes * nodes]; SEGMENTS],
            servers: vec![None; routers],
            to_step_back: vec![false; routers],
            unproven: None,
            watches: false,
            was_spoiled: false,
            is_spoiled: false,
            paths_changed: [Duration::ZERO; 2],
            went_unnoticed: false,
            last_change: Duration::ZERO,
        }
    }

    /// Somebody advertised who was not master.
    pub fn doubts(&self) -> bool {
        self.unproven.is_some()
    }

    /// Counts failovers: another node than the last serves. A group counts once.
    pub fn serves(&mut self, router: usize, node: usize, scenario: &Scenario, coverage: &mut Coverage) {
        let counts = !scenario.routers[router].grouped || router == 0;
        let before = self.servers[router].replace(node);
        if counts && before.is_some_and(|before| before != node) {
            *coverage.entry("failovers").or_default() += 1;
        }
    }

    /// A node that did not run for so long that others may have taken over must step back before anything else.
    pub fn expect_step_back(&mut self, scenario: &Scenario, node: &Node, late: Duration) {
        for (router, expected) in self.to_step_back.iter_mut().enumerate() {
            let vrrp = scenario.routers[router].longest_down();
            let peer = scenario.peer.as_ref().filter(|_| scenario.has_peer(node.number));
            let patience = peer.map_or(vrrp, |peer| vrrp.min(peer.heartbeat * (peer.misses + 1)));
            *expected = node.is_master(router) && late > patience + SLACK;
        }
    }
}

impl World {
    /// Takes note of something that happened to the peer link's paths.
    pub fn review_paths(&mut self) {
        if self.judge.paths_changed[1] < self.now {
            self.judge.paths_changed = [self.judge.paths_changed[1], self.now];
            self.judge.was_spoiled = self.judge.is_spoiled;
        }
        self.judge.is_spoiled = self.spoils_paths();
    }

    /// Takes note of who hears whom, after anything that may have changed it.
    pub fn review(&mut self) {
        for segment in 0..SEGMENTS {
            for from in 0..self.nodes.len() {
                for to in 0..self.nodes.len() {
                    let hears = self.hears(segment, from, to);
                    let since = &mut self.judge.hearing[segment][from * self.nodes.len() + to];
                    *since = hears.then(|| since.unwrap_or(self.now));
                }
            }
        }
        (0..self.scenario.routers.len()).for_each(|router| self.review_router(router));
    }

    /// Takes note of who might preempt whom, after anything that may have changed it.
    pub fn review_order(&mut self) {
        for router in 0..self.scenario.routers.len() {
            for node in 0..self.nodes.len() {
                let ready = self.nodes[node].ready || self.scenario.routers[router].live.is_none();
                let may = ready && !self.nodes[node].resigned;
                for other in 0..self.nodes.len() {
                    let better = may && self.priority(node, router) > self.priority(other, router);
                    let since = &mut self.judge.better[router][node * self.nodes.len() + other];
                    *since = better.then(|| since.unwrap_or(self.now));
                }
            }
        }
    }

    pub fn hears(&self, segment: usize, from: usize, to: usize) -> bool {
        let takes_part = |node: usize| self.nodes[node].life == Life::Runs && self.nodes[node].links[segment];
        takes_part(from) && takes_part(to) && self.network.way(Lane::Vrrp(segment), from, to).is_clean()
    }

    /// Takes note of masters that hear each other.
    pub fn review_router(&mut self, router: usize) {
        let count = self.nodes.len();
        for a in 0..count {
            for b in a + 1..count {
                let pair = a * count + b;
                // Who hands over says nothing, so that two who both do it do not hear each other.
                let leaves = |node: usize| self.nodes[node].stops || self.nodes[node].resigned;
                let both =
                    self.nodes[a].is_master(router) && self.nodes[b].is_master(router) && !(leaves(a) && leaves(b));
                let segment = self.scenario.routers[router].segment;
                let overlap = both && self.hears(segment, a, b) && self.hears(segment, b, a);
                let since = self.judge.overlaps[router][pair];
                self.judge.overlaps[router][pair] = overlap.then(|| since.unwrap_or(self.now));
                if overlap && since.is_none() {
                    let allowed = self.scenario.routers[router].longest_interval() + self.trip() * 2 + SLACK;
                    self.plan(allowed, What::Overlap { router, pair, since: self.now });
                }
            }
        }
    }

    /// From one engine to the other, at most, if all is well.
    pub fn trip(&self) -> Duration {
        self.scenario.delay + LATENESS
    }

    /// The routers that move with this one.
    pub fn move_together(&self, router: usize) -> Vec<usize> {
        let routers = &self.scenario.routers;
        (0..routers.len()).filter(|at| *at == router || routers[*at].grouped && routers[router].grouped).collect()
    }

    /// Whether packets of the peer link may be late, or lost one by one.
    fn spoils_paths(&self) -> bool {
        let spoils = |lane, from, to| {
            let way = self.network.way(lane, from, to);
            !way.cut && !way.is_clean()
        };
        (0..2).any(|path| spoils(Lane::Path(path), 0, 1) || spoils(Lane::Path(path), 1, 0))
    }

    /// Effective priority: the least of what moves together.
    pub fn priority(&self, node: usize, router: usize) -> u8 {
        let each = self.move_together(router).into_iter();
        each.map(|at| self.scenario.routers[at].priority(node, self.nodes[node].conditions[at])).min().expect("itself")
    }

    /// Takes note of a master that goes while there is another: does that one learn of it?
    pub fn review_departure(&mut self, node: usize, router: usize, says_so: bool) {
        let segment = self.scenario.routers[router].segment;
        for other in (0..self.nodes.len()).filter(|other| *other != node) {
            let learns = says_so && self.hears(segment, node, other);
            self.judge.went_unnoticed |= self.nodes[other].is_master(router) && !learns;
        }
    }
}
