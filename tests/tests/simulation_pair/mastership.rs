//! Who is master, as VRRP would have it: hand-overs, preemption, death and return, and for some moments both or neither. And where
//! clients' packets go.

use std::time::Duration;

use crate::desired::{Desired, REALM};
use crate::node::Node;
use crate::world::{World, tell};

/// A node that is master no more forwards for so long what comes to it still.
const LEAVES: Duration = Duration::from_secs(60);

/// Where clients' packets go.
pub struct Route {
    pub to: usize,
    /// Where they went before.
    pub from: Option<usize>,
    pub since: Duration,
}

/// Something that is to happen.
#[derive(Clone, Copy, Debug)]
pub enum Action {
    /// A node becomes master, if it has lived since.
    Become(usize, u64),
    /// It gives that up.
    Leave(usize, u64),
    /// Heartbeats of its peer are not heard any more.
    Miss(usize, u64),
    /// It is started again.
    Return(usize),
    /// It gets another file.
    Reload(usize, Desired),
    /// Its live word is taken away, if it has left at that moment.
    Withdraw(usize, u64, Duration),
    /// The link is whole again.
    Mend,
}

impl World {
    pub fn plan(&mut self, from: u64, to: u64, action: Action) {
        let at = self.now + Duration::from_millis(from + self.rng.below(to - from + 1));
        self.planned += 1;
        self.agenda.insert((at, self.planned), action);
    }

    fn boot(&self, node: usize) -> u64 {
        self.nodes[node].boot
    }

    fn is_planned(&self, is: impl Fn(&Action) -> bool) -> bool {
        self.agenda.values().any(is)
    }

    /// The one master, if there is one.
    pub fn master(&self) -> Option<usize> {
        let masters: Vec<usize> =
            (0..2).filter(|node| self.nodes[*node].is_up && self.nodes[*node].is_master).collect();
        if let [master] = masters[..] { Some(master) } else { None }
    }

    /// Whether the other node could be master in a moment.
    fn relief(&self) -> Option<(usize, usize)> {
        let master = self.master()?;
        let other = &self.nodes[1 - master];
        let is_free = !self.is_planned(|it| matches!(it, Action::Become(..) | Action::Leave(..)));
        (is_free && other.is_up && other.is_ready).then_some((master, 1 - master))
    }

    /// The master hands over in good order.
    pub fn hand_over(&mut self) {
        let Some((master, other)) = self.relief() else { return };
        tell!(self, "node {master} hands over");
        self.coverage.note("hand-overs");
        self.leave(master);
        let is_heard = !self.rng.one_in(6);
        self.coverage.more("farewells that were lost", u64::from(!is_heard));
        self.plan(1, if is_heard { 30 } else { 4_000 }, Action::Become(other, self.boot(other)));
    }

    /// The other node is better, and takes over; the master hears of it a moment later.
    pub fn preempt(&mut self) {
        let Some((master, other)) = self.relief() else { return };
        tell!(self, "node {other} preempts");
        self.coverage.note("preemptions");
        self.become_master(other);
        self.plan(1, 8, Action::Leave(master, self.boot(master)));
    }

    /// A node dies, and with it what it knew.
    pub fn die(&mut self, node: usize) {
        if !self.nodes[node].is_up || !self.nodes[1 - node].is_up {
            return;
        }
        let was_master = self.nodes[node].is_master;
        tell!(self, "node {node} dies");
        self.coverage.note(if was_master { "deaths of masters" } else { "deaths of followers" });
        if !was_master && !self.nodes[node].party.exchange.follows(REALM) {
            self.coverage.note("deaths in the middle of a bulk");
        }
        self.nodes[node].is_up = false;
        self.note_shares();
        self.forget_known(node);
        let says_so = self.rng.one_in(2);
        self.cut_off(node, says_so);
        self.plan(10, 600, Action::Miss(1 - node, self.boot(1 - node)));
        self.plan(50, 4_000, Action::Return(node));
    }

    /// Nothing comes through between the nodes; at times the other takes that for the master's death.
    pub fn cut(&mut self) {
        if self.link.is_cut {
            return;
        }
        tell!(self, "the link is cut");
        self.coverage.note("cuts");
        self.link.is_cut = true;
        self.plan(20, 5_000, Action::Mend);
        if let (true, Some((_, other))) = (self.rng.one_in(3), self.relief()) {
            self.coverage.note("masters beside masters");
            self.plan(5, 400, Action::Miss(other, self.boot(other)));
            self.plan(5, 1_000, Action::Become(other, self.boot(other)));
        }
    }

    /// There is to be one master.
    pub fn look_after_mastership(&mut self) {
        let is_moving = self.is_planned(|it| matches!(it, Action::Become(..) | Action::Leave(..)));
        let masters = [0, 1].map(|node| self.nodes[node].is_up && self.nodes[node].is_master);
        match masters {
            _ if is_moving => {}
            [false, false] => {
                let ready = (0..2).find(|node| self.nodes[*node].is_up && self.nodes[*node].is_ready);
                if let Some(node) = ready {
                    self.plan(20, 1_500, Action::Become(node, self.boot(node)));
                }
            }
            [true, true] if !self.link.is_cut => {
                self.plan(1, 50, Action::Leave(1, self.boot(1)));
                self.route_to(0);
            }
            _ => {}
        }
    }

    fn leave(&mut self, node: usize) {
        self.nodes[node].is_master = false;
        self.left_at[node] = self.now;
        self.nodes[node].wake(self.now);
        let withdraw = Action::Withdraw(node, self.boot(node), self.now);
        self.planned += 1;
        self.agenda.insert((self.now + LEAVES, self.planned), withdraw);
    }

    pub fn become_master(&mut self, node: usize) {
        tell!(self, "node {node} is master");
        self.coverage.note("takeovers");
        self.coverage
            .more("moments with two masters", u64::from(self.nodes[1 - node].is_up && self.nodes[1 - node].is_master));
        self.nodes[node].is_master = true;
        self.master_since[node] = self.now;
        self.nodes[node].wake(self.now);
        let live = self.nodes[node].controller.live_index(REALM).expect("services follow it");
        self.nodes[node].tables_mut().live.insert(live);
        self.route_to(node);
    }

    fn route_to(&mut self, node: usize) {
        self.note_shares();
        self.note_takeover(node);
        if self.route.to == node {
            // It has died in the meantime, and knows nothing of before.
            return;
        }
        self.route = Route { to: node, from: Some(self.route.to), since: self.now };
    }

    /// Does what is due.
    pub fn act(&mut self) {
        while let Some(entry) = self.agenda.first_entry().filter(|entry| entry.key().0 <= self.now) {
            let action = entry.remove();
            self.carry_out(action);
        }
    }

    fn carry_out(&mut self, action: Action) {
        let now = self.now;
        let lives = |world: &Self, node: usize, boot| world.nodes[node].is_up && world.boot(node) == boot;
        match action {
            Action::Become(node, boot) if lives(self, node, boot) && !self.nodes[node].is_master => {
                self.become_master(node)
            }
            Action::Leave(node, boot) if lives(self, node, boot) && self.nodes[node].is_master => {
                tell!(self, "node {node} is master no more");
                self.leave(node);
            }
            Action::Miss(node, boot) if lives(self, node, boot) => {
                let is_alive = self.nodes[1 - node].is_up && !self.link.is_cut;
                self.nodes[node].hears_peer = is_alive;
            }
            Action::Return(node) => self.start(node),
            Action::Reload(node, desired) => {
                self.nodes[node].disk.desired = desired;
                self.note_files();
                if self.nodes[node].is_up {
                    tell!(self, "node {node} has {desired:?}");
                    self.nodes[node].configure(now);
                }
            }
            Action::Withdraw(node, boot, since) if lives(self, node, boot) => {
                if !self.nodes[node].is_master && self.left_at[node] == since {
                    self.nodes[node].tables_mut().live.retain(|index| *index == 0);
                }
            }
            Action::Mend => {
                tell!(self, "the link is whole");
                self.link.is_cut = false;
                (0..2).for_each(|node| self.nodes[node].hears_peer = self.nodes[1 - node].is_up);
            }
            Action::Become(..) | Action::Leave(..) | Action::Miss(..) | Action::Withdraw(..) => {}
        }
    }

    fn start(&mut self, node: usize) {
        tell!(self, "node {node} is started");
        self.boots += 1;
        let (ahead, lag) = (Duration::from_secs(self.rng.below(1_000_000)), Duration::from_millis(self.rng.below(3)));
        let disk = self.nodes[node].disk.clone();
        self.nodes[node] = Node::start(node, self.fault, self.boots, self.now, ahead, lag, disk);
        self.note_other_files(node);
        (0..2).for_each(|node| self.nodes[node].hears_peer = !self.link.is_cut);
    }
}
