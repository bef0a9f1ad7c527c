//! The course of a history: times of trouble, each followed by healing and by quiet in which the judge looks closely. In
//! between, planned hand-overs on a healthy network, which nobody may notice.

use std::time::Duration;

use fairway::vrrp::view::State;

use crate::judge::LINGER;
use crate::node::Life;
use crate::scenario::{SEGMENTS, mac};
use crate::world::{Promise, World, tell};

/// Times of trouble, or planned hand-overs, of one history.
const EPISODES: usize = 8;
/// The last of the announcements that are repeated quickly goes out so long after a change.
const ANNOUNCED: Duration = Duration::from_millis(3_100);
/// Announcements are refreshed after so long at the latest.
const REFRESHED: Duration = Duration::from_secs(61);
/// A hand-over takes no longer than this.
const LONGEST_HAND_OVER: Duration = Duration::from_secs(5);

impl World {
    pub fn history(&mut self) -> Promise {
        for node in 0..self.nodes.len() {
            self.boot(node)?;
            let pause = self.rng.up_to(Duration::from_millis(300));
            self.advance(pause)?;
        }
        self.settle()?;
        for _ in 0..EPISODES {
            if self.rng.percent(25) {
                self.hand_over_and_back()?;
            } else {
                self.trouble()?;
                self.heal()?;
                self.settle()?;
            }
        }
        self.count("histories");
        Ok(())
    }

    /// Some blows, close enough to each other that one falls before the last was got over.
    fn trouble(&mut self) -> Promise {
        let blows = 10 + self.rng.below(30);
        let longest = self.scenario.convergence();
        for _ in 0..blows {
            self.blow()?;
            let pause = self.rng.up_to(longest);
            self.advance(pause)?;
        }
        Ok(())
    }

    /// All that is broken works again, and everybody is there.
    fn heal(&mut self) -> Promise {
        tell!(self, "all heals");
        self.network.heal();
        self.review_paths();
        for node in 0..self.nodes.len() {
            self.nodes[node].links = [true; SEGMENTS];
            if !std::mem::replace(&mut self.nodes[node].ready, true) {
                self.nodes[node].changed.fill(self.now);
            }
            let resigned = std::mem::take(&mut self.nodes[node].resigned);
            if self.nodes[node].life == Life::Runs && !self.nodes[node].stops {
                for segment in 0..SEGMENTS {
                    self.tell_link(node, segment)?;
                }
                self.tell_ready(node)?;
                if resigned {
                    self.set_resigned(node, false)?;
                }
            }
        }
        self.review();
        self.review_order();
        self.let_stop_what_stops()?;
        for node in 0..self.nodes.len() {
            for router in 0..self.scenario.routers.len() {
                let weighs = !self.scenario.routers[router].may_fault();
                let holds = if weighs { self.rng.percent(60) } else { true };
                self.set_condition(node, router, holds)?;
            }
            if self.nodes[node].life == Life::Off {
                self.boot(node)?;
            }
        }
        Ok(())
    }

    fn let_stop_what_stops(&mut self) -> Promise {
        let end = self.now + LONGEST_HAND_OVER;
        while self.nodes.iter().any(|node| node.stops) {
            if self.now > end {
                return Err("a daemon does not end".into());
            }
            self.advance(Duration::from_millis(20))?;
            self.reap()?;
        }
        Ok(())
    }

    /// Daemons that have handed over end.
    fn reap(&mut self) -> Promise {
        for node in 0..self.nodes.len() {
            if self.nodes[node].host.handed_over {
                self.judge_end(node)?;
                self.nodes[node].end();
            }
        }
        self.review();
        Ok(())
    }

    /// Lets a healthy world come to rest, and looks closely.
    fn settle(&mut self) -> Promise {
        let convergence = self.scenario.convergence();
        self.advance(convergence)?;
        self.judge_one_master()?;
        if self.rng.percent(40) {
            return Ok(());
        }
        let delays = self.scenario.routers.iter().map(|router| router.preempt_delay).max().expect("there are routers");
        let holds = (0..self.nodes.len()).map(|node| self.scenario.hold(node)).max().expect("there are nodes");
        self.advance(holds + delays + convergence)?;
        self.judge_best_master()?;
        if self.rng.percent(15) {
            self.come_to_rest()?;
            self.judge_client()?;
        }
        // A minute of a world whose timers are slow costs little.
        if convergence > Duration::from_secs(1) && self.rng.one_in(40) {
            self.advance(LINGER + LONGEST_HAND_OVER)?;
            self.judge_leftovers()?;
        }
        self.nodes.iter_mut().for_each(|node| node.jumped = Duration::ZERO);
        self.judge_best_master()
    }

    /// Until the last announcements of the last change are out.
    fn come_to_rest(&mut self) -> Promise {
        while self.now < self.judge.last_change + ANNOUNCED {
            self.advance(ANNOUNCED)?;
        }
        if std::mem::take(&mut self.judge.went_unnoticed) {
            self.let_client_learn()?;
        }
        Ok(())
    }

    /// Either it is told by the next refresh, or what it sends is not answered and it asks anew.
    fn let_client_learn(&mut self) -> Promise {
        if self.rng.percent(10) {
            // It is one announcement only.
            self.announcements_lost = 0;
            return self.advance(REFRESHED);
        }
        for (at, router) in self.scenario.routers.iter().enumerate() {
            let Some(master) = self.nodes.iter().position(|node| node.is_master(at)) else { continue };
            let mac = if router.virtual_mac { router.mac() } else { mac(router.segment, master) };
            let addresses: Vec<_> = router.addresses.iter().map(|address| address.addr()).collect();
            self.client.announced(mac, &addresses, master);
        }
        Ok(())
    }

    /// On a healthy network, a node resigns or stops and comes back; nobody may notice.
    fn hand_over_and_back(&mut self) -> Promise {
        (self.announcements_lost, self.announcements_slow) = (0, false);
        for node in 0..self.nodes.len() {
            for router in 0..self.scenario.routers.len() {
                self.set_condition(node, router, true)?;
            }
        }
        self.settle()?;
        self.come_to_rest()?;
        self.judge_client()?;
        self.judge.watches = true;
        let node = self.rng.index(self.nodes.len());
        let rest = LONGEST_HAND_OVER.min(self.scenario.convergence() * 2);
        if self.rng.percent(50) {
            self.set_resigned(node, true)?;
            self.advance(rest)?;
            self.judge_left(node)?;
            self.set_resigned(node, false)?;
        } else {
            self.stop(node)?;
            self.let_stop_what_stops()?;
            self.advance(rest)?;
            self.boot(node)?;
        }
        self.count("hand-overs and returns");
        self.settle()?;
        self.judge.watches = false;
        Ok(())
    }

    /// Who resigned is not master any more: there were others to take over.
    fn judge_left(&mut self, node: usize) -> Promise {
        match self.nodes[node].states.contains(&State::Master) {
            true => Err(format!("n{node} has resigned and is master still")),
            false => Ok(()),
        }
    }
}
