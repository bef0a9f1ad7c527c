//! What must hold at every moment, whatever happens.

use std::net::IpAddr;
use std::time::Duration;

use fairway::vrrp::view::State;

use crate::fault::Fault;
use crate::judge::SLACK;
use crate::scenario::PeerLink;
use crate::world::{Promise, World};

impl World {
    /// Never two masters that hear each other longer than one interval.
    pub fn judge_overlap(&mut self, router: usize, pair: usize, since: Duration) -> Promise {
        self.count("masters that heard each other");
        if self.judge.overlaps[router][pair] != Some(since) {
            return Ok(());
        }
        let (a, b) = (pair / self.nodes.len(), pair % self.nodes.len());
        let name = &self.scenario.routers[router].name;
        Err(format!("n{a} and n{b} are both masters of {name} and hear each other since {:.6}", since.as_secs_f64()))
    }

    /// Only a master advertises, and none that should step back first.
    pub fn judge_advertisement(&mut self, node: usize, router: usize, priority: u8) -> Promise {
        if priority > 0 && self.judge.to_step_back[router] {
            return Err(format!("n{node} advertises after a stall instead of stepping back"));
        }
        if priority > 0 && !self.nodes[node].is_master(router) {
            self.judge.unproven = Some((node, router));
        }
        Ok(())
    }

    /// A queued announcement is never sent once mastership is lost.
    pub fn judge_announcement(&mut self, node: usize, addresses: &[IpAddr]) -> Promise {
        self.count("announcements");
        for address in addresses {
            if !self.nodes[node].host.is_told_of(*address) && !self.nodes[node].robbed.contains(&true) {
                return Err(format!("n{node} announces {address} and does not hold it"));
            }
        }
        Ok(())
    }

    /// After a stall in which others may have taken over, nobody serves on.
    pub fn judge_step_back(&mut self, node: usize) -> Promise {
        if self.judge.to_step_back.contains(&true) {
            return Err(format!("n{node} stalled and is master all the same"));
        }
        Ok(())
    }

    /// Who steps back after a stall forwards nothing more, in the same moment.
    pub fn judge_stepping_back(&mut self, node: usize, router: usize) -> Promise {
        if !std::mem::take(&mut self.judge.to_step_back[router]) {
            return Ok(());
        }
        self.count("masters that stalled");
        let live = self.scenario.routers[router].live;
        if live.is_some_and(|live| self.nodes[node].host.is_live(live)) && self.fault != Fault::LiveWordStays {
            return Err(format!("n{node} stalled, stepped back and forwards on"));
        }
        Ok(())
    }

    /// A master holds its addresses, nobody else does, and a group is of one mind.
    pub fn judge_host(&mut self, number: usize) -> Promise {
        let node = &self.nodes[number];
        if let Some((node, router)) = self.judge.unproven.take()
            && !self.nodes[node].is_master(router)
        {
            return Err(format!("n{node} advertised {} and is not master", self.scenario.routers[router].name));
        }
        for (at, router) in self.scenario.routers.iter().enumerate() {
            let held = router.addresses.iter().filter(|address| node.host.holds(address)).count();
            let (is_master, name) = (node.is_master(at), &router.name);
            if is_master && held < router.addresses.len() && !node.robbed[at] {
                return Err(format!("n{number} is master of {name} and lacks addresses of it"));
            }
            if !is_master && held > 0 && !node.inherited[at] {
                return Err(format!("n{number} is {} for {name} and holds addresses of it", node.states[at]));
            }
        }
        let grouped = self.scenario.routers.iter().zip(&node.states).filter(|(router, _)| router.grouped);
        let masters = grouped.clone().filter(|(_, state)| **state == State::Master).count();
        let leaves = node.stops || node.resigned;
        if masters != 0 && masters != grouped.count() && !leaves {
            return Err(format!("n{number} is master of a part of the group: {:?}", node.states));
        }
        Ok(())
    }

    /// Nobody takes over from a living master that it hears, but by preemption: a higher priority, with preemption, when hold
    /// and delay are over, and ready.
    pub fn judge_takeover(&mut self, node: usize, router: usize) -> Promise {
        for other in (0..self.nodes.len()).filter(|other| *other != node) {
            let concerned: Vec<usize> = self.move_together(router);
            if concerned.iter().any(|router| !self.has_long_heard(node, other, *router)) {
                continue;
            }
            self.count("masters that were heard and taken over from");
            // Any member of a group may take the others along.
            let wrongs: Option<Vec<String>> =
                concerned.iter().map(|&member| self.wrong_with_preemption(node, other, member)).collect();
            let Some(wrong) = wrongs.and_then(|wrongs| wrongs.into_iter().next()) else { continue };
            return Err(format!(
                "n{node} takes over {} from n{other}, a living master that it hears, and {wrong}",
                self.scenario.routers[router].name
            ));
        }
        Ok(())
    }

    /// Why a node must not preempt another; `None`: it may.
    fn wrong_with_preemption(&self, node: usize, other: usize, router: usize) -> Option<String> {
        let plan = &self.scenario.routers[router];
        let (ours, theirs) = (self.priority(node, router), self.priority(other, router));
        let since = self.better_than_any_since(node, router).max(self.nodes[node].booted);
        let held = self.nodes[node].stepped_down[router] + self.scenario.hold(node);
        // As the node's own clock has it.
        let now = self.now + self.nodes[node].jumped;
        if !plan.preempt || ours <= theirs {
            Some(format!("has priority {ours} against {theirs}, preempt = {}", plan.preempt))
        } else if self.scenario.has_peer(node) && now < held {
            Some("stepped down or began a moment ago".into())
        } else if now < since + plan.preempt_delay {
            Some(format!("should wait {:?}", plan.preempt_delay))
        } else if self.nodes[node].resigned {
            Some("has resigned".into())
        } else if plan.live.is_some() && !self.nodes[node].ready {
            Some("is not ready".into())
        } else {
            None
        }
    }

    /// Since when a node might preempt somebody.
    fn better_than_any_since(&self, node: usize, router: usize) -> Duration {
        let count = self.nodes.len();
        let row = &self.judge.better[router][node * count..(node + 1) * count];
        row.iter().flatten().min().copied().unwrap_or(self.now)
    }

    /// Whether a node must know that the other is master and means to stay.
    fn has_long_heard(&self, node: usize, other: usize, router: usize) -> bool {
        let plan = &self.scenario.routers[router];
        let Some(hearing) = self.judge.hearing[plan.segment][other * self.nodes.len() + node] else { return false };
        // Who has just stepped back looks only at what its queue holds, and what the peer link says: it was master.
        let is_back = self.nodes[node].stepped_down[router];
        let since = hearing.max(self.steady_since(node, other, router)).max(is_back).max(self.nodes[node].disturbed);
        let peer = self.scenario.peer.as_ref().filter(|_| self.scenario.has_peer(node));
        if peer.is_some_and(|peer| !self.peer_link_is_plain(peer)) {
            return false;
        }
        let down = plan.longest_down() + self.trip() + SLACK;
        let stays = self.nodes[other].is_master(router) && !self.nodes[other].resigned && !self.nodes[other].stops;
        // Of two masters the one that goes leaves a doubt about the other.
        let mut thirds = self.nodes.iter().filter(|third| third.number != node && third.number != other);
        let alone = thirds.all(|third| !third.is_master(router) && self.now > third.since[router] + down);
        stays && alone && self.now > since + down
    }

    /// Whether what the two say to each other on the peer link arrives at once or never, and one thing at a time happened to
    /// it. What arrives late, or is cut one way and a moment later the other, may make one take over by mistake for a
    /// moment: nothing that it could ask gets through, and VRRP then sets it right.
    fn peer_link_is_plain(&self, peer: &PeerLink) -> bool {
        let [before, last] = self.judge.paths_changed;
        let detection = peer.heartbeat * (peer.misses + 1);
        let twice = last < before + detection * 2;
        if (twice || self.judge.was_spoiled) && self.now < last + detection * 3 {
            return false;
        }
        !self.judge.is_spoiled
    }

    /// Since when the other is master with nothing changed about the priorities of both.
    fn steady_since(&self, node: usize, other: usize, router: usize) -> Duration {
        let changed = self.nodes[node].changed[router].max(self.nodes[other].changed[router]);
        self.nodes[other].since[router].max(changed)
    }
}
