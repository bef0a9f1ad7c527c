//! Blows: what happens to the world in a time of trouble.

use std::time::Duration;

use fairway::vrrp::event::Event;

use crate::network::{LANES, Lane};
use crate::node::Life;
use crate::scenario::{Router, SEGMENTS, interface_name};
use crate::world::{Promise, STALL, World, tell};

/// After so long without a sign of life the supervisor releases what a hanging daemon holds.
const SUPERVISION: Duration = Duration::from_millis(200);

impl World {
    pub fn blow(&mut self) -> Promise {
        let node = self.rng.index(self.nodes.len());
        match self.rng.below(100) {
            0..10 => self.cut(),
            10..16 => self.isolate(node),
            16..22 => self.spoil(),
            22..30 => self.network_heals(),
            30..40 => self.turn_link(node)?,
            40..50 => self.pause(node)?,
            50..53 => self.jump(node)?,
            53..59 => self.power_off(node),
            59..65 => self.crash(node),
            65..77 => self.start_or_stop(node)?,
            77..83 => self.resign_or_resume(node)?,
            83..89 => self.turn_condition(node)?,
            89..92 => self.turn_ready(node)?,
            92..96 => self.rob(node)?,
            _ => self.trouble_announcements(),
        }
        self.review();
        Ok(())
    }

    /// One lane between two nodes, in one direction or in both.
    fn cut(&mut self) {
        let (lane, from, to) = self.pick_way();
        let both = self.rng.percent(50);
        tell!(self, "{lane:?} is cut from n{from} to n{to}{}", if both { " and back" } else { "" });
        self.network.way_mut(lane, from, to).cut = true;
        self.network.way_mut(lane, to, from).cut |= both;
        self.review_paths();
        self.count("cuts");
    }

    fn pick_way(&mut self) -> (Lane, usize, usize) {
        let (from, distance) = (self.rng.index(self.nodes.len()), 1 + self.rng.index(self.nodes.len() - 1));
        (self.rng.pick(&LANES), from, (from + distance) % self.nodes.len())
    }

    /// All lanes to and from a node, or those of the peer link only.
    fn isolate(&mut self, node: usize) {
        let lanes = if self.rng.percent(60) { &LANES[..] } else { &LANES[SEGMENTS..] };
        tell!(self, "{lanes:?} of n{node} are cut");
        for lane in lanes {
            for other in 0..self.nodes.len() {
                self.network.way_mut(*lane, node, other).cut = true;
                self.network.way_mut(*lane, other, node).cut = true;
            }
        }
        self.review_paths();
        self.count("isolations");
    }

    fn spoil(&mut self) {
        let (lane, from, to) = self.pick_way();
        let (loss, slow) = (self.rng.pick(&[5, 30, 60]), self.rng.percent(40));
        tell!(self, "{lane:?} from n{from} to n{to} loses {loss} %, slow: {slow}");
        let way = self.network.way_mut(lane, from, to);
        (way.loss, way.slow) = (loss, slow);
        self.review_paths();
        self.count("lossy ways");
    }

    fn network_heals(&mut self) {
        tell!(self, "the network heals");
        self.network.heal();
        self.review_paths();
    }

    fn turn_link(&mut self, node: usize) -> Promise {
        let down = self.nodes[node].links.iter().position(|running| !running);
        let segment = down.unwrap_or(self.rng.index(SEGMENTS));
        let running = !self.nodes[node].links[segment];
        tell!(self, "n{node} {} running: {running}", interface_name(segment));
        self.nodes[node].links[segment] = running;
        self.review_paths();
        self.count("links that changed");
        self.tell_link(node, segment)
    }

    pub fn tell_link(&mut self, node: usize, segment: usize) -> Promise {
        // A paused process learns of it from its queue; what matters is what it finds in the end.
        if self.nodes[node].life != Life::Runs {
            return Ok(());
        }
        let link = self.nodes[node].link(segment);
        self.inform(node, Event::Link(link))
    }

    /// The process gets no CPU for a while; perhaps the supervisor loses patience.
    fn pause(&mut self, node: usize) -> Promise {
        if self.nodes[node].life == Life::Runs {
            let longest = self.scenario.convergence() * 3 / 2;
            let pause = self.rng.up_to(longest);
            tell!(self, "n{node} is paused for {pause:?}");
            self.nodes[node].life = Life::Paused;
            self.review();
            let deposed = pause > SUPERVISION && self.rng.percent(40);
            if deposed {
                self.advance(SUPERVISION)?;
                self.release(node);
            }
            self.advance(if deposed { pause - SUPERVISION } else { pause })?;
            self.awake(node, deposed)?;
            self.count(if deposed { "depositions" } else { "pauses" });
        }
        Ok(())
    }

    fn awake(&mut self, node: usize, deposed: bool) -> Promise {
        tell!(self, "n{node} goes on, deposed: {deposed}");
        self.nodes[node].life = Life::Runs;
        if deposed {
            self.inform(node, Event::Deposed)?;
        }
        self.wake_up(node)?;
        for segment in 0..SEGMENTS {
            self.tell_link(node, segment)?;
        }
        self.review();
        Ok(())
    }

    /// As when a virtual machine is resumed: for the node time has passed, for the others it has not.
    fn jump(&mut self, node: usize) -> Promise {
        let longest = self.scenario.convergence() * 3;
        let by = self.rng.up_to(longest);
        tell!(self, "the clock of n{node} jumps by {by:?}");
        self.nodes[node].jump(by);
        // It is seen only as far as it made a timer late.
        let interval = self.scenario.routers.iter().map(Router::longest_interval).max().expect("there are routers");
        if self.lateness(node) < interval.max(STALL) {
            self.nodes[node].disturbed = self.now;
        }
        self.count("clock jumps");
        self.wake_up(node)
    }

    fn power_off(&mut self, node: usize) {
        if self.nodes[node].life == Life::Off {
            return;
        }
        tell!(self, "n{node} loses power");
        self.depart(node);
        self.nodes[node].lose_power();
        self.count("power losses");
    }

    /// The daemon is killed; its supervisor does what it was told to.
    fn crash(&mut self, node: usize) {
        if self.nodes[node].life == Life::Off {
            return;
        }
        tell!(self, "the daemon of n{node} is killed");
        self.depart(node);
        self.release(node);
        self.nodes[node].lose_process();
        self.count("crashes");
    }

    /// It goes without a word of its own; the farewell of the supervisor gets where it gets.
    fn depart(&mut self, node: usize) {
        for router in 0..self.scenario.routers.len() {
            if self.nodes[node].is_master(router) {
                self.review_departure(node, router, false);
            }
        }
    }

    fn release(&mut self, node: usize) {
        tell!(self, "the supervisor of n{node} releases what it holds");
        for bequest in self.nodes[node].host.release().release {
            self.transmit(node, &bequest.farewell);
        }
    }

    fn start_or_stop(&mut self, node: usize) -> Promise {
        let off = self.nodes.iter().position(|node| node.life == Life::Off);
        let node = off.unwrap_or(node);
        match self.nodes[node].life {
            Life::Off => self.boot(node),
            Life::Runs if self.rng.percent(50) => self.stop(node),
            Life::Runs | Life::Paused => Ok(()),
        }
    }

    pub fn stop(&mut self, node: usize) -> Promise {
        tell!(self, "n{node} is told to stop");
        self.nodes[node].stops = true;
        self.count("stops");
        self.inform(node, Event::Stop)
    }

    fn resign_or_resume(&mut self, node: usize) -> Promise {
        if self.nodes[node].life != Life::Runs {
            return Ok(());
        }
        let resigns = !self.nodes[node].resigned;
        self.set_resigned(node, resigns)
    }

    pub fn set_resigned(&mut self, node: usize, resigns: bool) -> Promise {
        tell!(self, "n{node} is told to {}", if resigns { "resign" } else { "resume" });
        self.nodes[node].resigned = resigns;
        self.review_order();
        self.nodes[node].changed.fill(self.now);
        self.count("resignations and resumptions");
        self.inform(node, if resigns { Event::Resign(None) } else { Event::Resume(None) })?;
        self.review();
        Ok(())
    }

    fn turn_condition(&mut self, node: usize) -> Promise {
        let router = self.rng.index(self.scenario.routers.len());
        let holds = !self.nodes[node].conditions[router];
        self.set_condition(node, router, holds)
    }

    pub fn set_condition(&mut self, node: usize, router: usize, holds: bool) -> Promise {
        if self.nodes[node].conditions[router] == holds {
            return Ok(());
        }
        tell!(self, "n{node} {}: condition holds: {holds}", self.scenario.routers[router].name);
        self.nodes[node].conditions[router] = holds;
        self.review_order();
        self.note_change(node, router);
        if self.nodes[node].life == Life::Runs { self.tell_condition(node, router) } else { Ok(()) }
    }

    /// The priorities of what moves together, or what they mean, are others from now on.
    pub fn note_change(&mut self, node: usize, router: usize) {
        for member in self.move_together(router) {
            self.nodes[node].changed[member] = self.now;
        }
    }

    fn turn_ready(&mut self, node: usize) -> Promise {
        let ready = !self.nodes[node].ready;
        tell!(self, "n{node} is ready: {ready}");
        self.nodes[node].ready = ready;
        self.review_order();
        self.nodes[node].changed.fill(self.now);
        if self.nodes[node].life == Life::Runs { self.tell_ready(node) } else { Ok(()) }
    }

    /// Somebody removes an address by hand.
    fn rob(&mut self, node: usize) -> Promise {
        let router = self.rng.index(self.scenario.routers.len());
        let address = self.scenario.routers[router].addresses[0];
        if self.nodes[node].life != Life::Runs || !self.nodes[node].is_master(router) {
            return Ok(());
        }
        let Some(interface) = self.nodes[node].host.lose(&address) else { return Ok(()) };
        tell!(self, "somebody removes {address} from n{node}");
        self.nodes[node].robbed[router] = true;
        self.count("addresses lost");
        self.inform(node, Event::AddressLost { interface, address: address.addr() })
    }

    fn trouble_announcements(&mut self) {
        self.announcements_lost = self.rng.pick(&[0, 20, 60]);
        self.announcements_slow = self.rng.percent(50);
        let (lost, slow) = (self.announcements_lost, self.announcements_slow);
        tell!(self, "announcements: {lost} % lost, slow: {slow}");
    }
}
