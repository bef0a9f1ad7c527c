//! From state to state.

use std::time::Duration;

use super::{Backup, Cause, Master, Node, Obstacle, Phase, Router, Timer};
use crate::happening::Happening;
use crate::vrrp::outbox::Outbox;
use crate::vrrp::view::State;

/// A node that is master no more goes on forwarding for so long what still reaches its MAC address.
const LINGER: Duration = Duration::from_secs(60);

impl Router {
    /// Becomes master: says so first. Live word, addresses and announcements follow from the state.
    pub fn become_master(&mut self, now: Duration, why: String, out: &mut Outbox) {
        self.say_master(out);
        self.master = None;
        self.lingers_until = None;
        let interval = self.config().advertisement_interval;
        self.enter(now, Phase::Master(Master::new(now, interval)), why, out);
    }

    /// Becomes backup, of the master that was heard if one was.
    pub fn become_backup(&mut self, now: Duration, node: &Node, why: String, out: &mut Outbox) {
        let interval = self.learned.take().unwrap_or(self.config().advertisement_interval);
        let timer = Timer { at: now + self.down(interval), cause: Cause::Silence };
        self.hold(now, node);
        self.enter(now, Phase::Backup(Backup::new(interval, timer)), why, out);
    }

    /// Steps down because others may have taken us for dead: nothing is forwarded any more, nothing is said, and if nobody
    /// is heard after `least`, we are back. Skew_Time orders those who come back where there may be more than two nodes.
    pub fn step_back(&mut self, now: Duration, node: &Node, why: String, least: Duration, out: &mut Outbox) {
        let interval = self.config().advertisement_interval;
        let is_pair = node.peer.as_ref().is_some_and(|peer| peer.pair);
        let wait = if is_pair { least } else { self.skew(interval).max(least) };
        self.become_backup(now, node, why, out);
        self.lingers_until = None;
        if let Phase::Backup(backup) = &mut self.phase {
            backup.timer = Timer { at: now + wait, cause: Cause::SteppedDown };
        }
    }

    /// Stops taking part. A master says so with priority 0, if it can.
    pub fn stop_taking_part(&mut self, now: Duration, node: &Node, obstacle: &Obstacle, out: &mut Outbox) {
        let was = self.state();
        if self.serves() {
            self.say_farewell(out);
        }
        if was == State::Master {
            self.hold(now, node);
        }
        let phase = if obstacle.absent && was == State::Init { Phase::Init } else { Phase::Fault };
        self.enter(now, phase, obstacle.why.clone(), out);
    }

    /// Init for good: the daemon stops, or the virtual router is removed.
    pub fn end(&mut self, now: Duration, why: String, out: &mut Outbox) {
        if self.serves() {
            self.say_farewell(out);
        }
        self.ended = true;
        self.enter(now, Phase::Init, why, out);
    }

    /// A node that stepped down or has just started does not preempt for a while.
    fn hold(&mut self, now: Duration, node: &Node) {
        self.hold_until = node.peer.as_ref().map(|peer| now + peer.hold);
    }

    fn enter(&mut self, now: Duration, phase: Phase, why: String, out: &mut Outbox) {
        let from = self.state();
        self.phase = phase;
        let to = self.state();
        self.why.clone_from(&why);
        self.moved = true;
        if from == to {
            return;
        }
        if from == State::Master {
            self.lingers_until = self.settings.live.map(|_| now + LINGER);
        }
        self.since = now;
        *self.counters.transitions.entry(to.name().to_string()).or_default() += 1;
        out.tell(Happening::Transition {
            router: self.name.to_string(),
            from,
            to,
            reason: why,
            addresses: self.all_addresses(),
        });
    }
}
