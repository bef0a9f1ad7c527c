//! Routers of one group move together: by the same priority, into fault, to master, and back.
//!
//! A router without a group is a group of one.

use std::time::Duration;

use super::Engine;
use crate::happening::Happening;
use crate::vrrp::event::Link;
use crate::vrrp::priority;
use crate::vrrp::router::{HeldBack, HeldBy, Obstacle, Permission};
use crate::vrrp::view::State;

impl Engine {
    /// Looks again at what the tracks and interfaces say, and lets the unit's members take part or not.
    pub(super) fn assess(&mut self, now: Duration, unit: usize) {
        let members = self.units[unit].members.clone();
        for member in &members {
            self.touched.insert(*member);
            self.routers[*member].assess(now);
        }
        self.level(&members);
        let obstacle = members.iter().find_map(|member| Some((*member, self.routers[*member].obstacle()?)));
        for member in members.iter().copied() {
            let own = self.routers[member].obstacle();
            let groups = obstacle.as_ref().map(|(other, obstacle)| self.as_group_sees(*other, obstacle));
            match own.or(groups) {
                Some(obstacle) => self.bar(now, member, &obstacle),
                None => self.admit_to_service(now, member),
            }
        }
        self.give_up_when_cut_off(now, &members);
        self.retry(now, &members);
    }

    /// The effective priority: the least of the group, so that two nodes order all members alike.
    fn level(&mut self, members: &[usize]) {
        let least =
            members.iter().map(|member| self.routers[*member].standing.priority).min().unwrap_or(priority::OWNER);
        for member in members {
            let router = &mut self.routers[*member];
            let to = if router.is_owner() { priority::OWNER } else { least };
            let from = std::mem::replace(&mut router.priority, to);
            if from != to {
                self.reports_are_stale = true;
                let own = priority::in_words(router.config().priority, &router.standing.terms);
                let reason = if to < router.standing.priority { format!("group: least is {to}") } else { own };
                self.out.tell(Happening::Priority { router: router.name.to_string(), from, to, reason });
            }
        }
    }

    fn as_group_sees(&self, member: usize, obstacle: &Obstacle) -> Obstacle {
        let why = format!("group: {}: {}", self.routers[member].name, obstacle.why);
        Obstacle { why, absent: obstacle.absent }
    }

    /// Something keeps it from taking part.
    fn bar(&mut self, now: Duration, member: usize, obstacle: &Obstacle) {
        let router = &mut self.routers[member];
        if self.stopping.is_some() {
            if router.state() == State::Master {
                router.end(now, obstacle.why.clone(), &mut self.out);
            }
            return;
        }
        match router.state() {
            State::Init if obstacle.absent => router.why.clone_from(&obstacle.why),
            State::Fault => router.why.clone_from(&obstacle.why),
            State::Init | State::Backup | State::Master => {
                router.stop_taking_part(now, &self.node, obstacle, &mut self.out);
            }
        }
    }

    /// Nothing keeps it from taking part: the Startup event of the RFC.
    fn admit_to_service(&mut self, now: Duration, member: usize) {
        let router = &mut self.routers[member];
        if self.stopping.is_some() || !matches!(router.state(), State::Init | State::Fault) {
            return;
        }
        let owns = router.is_owner() && router.may_preempt(now, &self.node).is_ok();
        if owns && router.may_take_over(now, &self.node).is_ok() {
            router.become_master(now, "owner of the addresses: priority 255".into(), &mut self.out);
        } else {
            router.become_backup(now, &self.node, "taking part".into(), &mut self.out);
        }
    }

    /// A master that hears neither the peer nor the gateway is the one that is cut off.
    fn give_up_when_cut_off(&mut self, now: Duration, members: &[usize]) {
        if self.node.silent_since().is_none() || self.stopping.is_some() {
            return;
        }
        let silent = |member: &usize| self.routers[*member].silent_gateway();
        let Some(gateway) = members.iter().find_map(silent) else { return };
        for member in members {
            let router = &mut self.routers[*member];
            if router.state() == State::Master {
                router.say_farewell(&mut self.out);
                let why = format!("the peer is silent and the gateway {gateway} does not answer");
                router.become_backup(now, &self.node, why, &mut self.out);
            }
        }
    }

    /// What held members back may be gone.
    fn retry(&mut self, now: Duration, members: &[usize]) {
        let waits = |member: &&usize| {
            let router = &self.routers[**member];
            router.is_overdue() || router.is_offered(&self.node)
        };
        let Some(member) = members.iter().find(waits).copied() else { return };
        if self.held_back(now, &self.units[self.routers[member].unit].members, false).is_ok() {
            self.routers[member].look_again(now, &self.node);
            self.fire(now, member);
        }
    }

    /// Whether the members may take over.
    fn held_back(&self, now: Duration, members: &[usize], preempting: bool) -> Result<Permission, HeldBack> {
        let mut permission = Permission::default();
        for member in members {
            let router = &self.routers[*member];
            if preempting {
                let held = |why| HeldBack { why, until: None, cause: HeldBy::Other };
                router.may_preempt(now, &self.node).map_err(held)?;
            }
            let found = router.may_take_over(now, &self.node)?;
            permission.unready = permission.unready.or(found.unready);
        }
        Ok(permission)
    }

    /// One member's timer has fired: all become master, or none.
    pub(super) fn take_over(&mut self, now: Duration, initiator: usize, why: &str, preempting: bool) {
        let members = self.units[self.routers[initiator].unit].members.clone();
        let permission = match self.held_back(now, &members, preempting) {
            Ok(permission) => permission,
            Err(held) => return self.wait(now, initiator, held),
        };
        for member in members {
            let router = &mut self.routers[member];
            if router.state() != State::Backup {
                continue;
            }
            self.touched.insert(member);
            if let Some(reason) = permission.unready.clone().filter(|_| router.settings.live.is_some()) {
                let router = router.name.to_string();
                self.out.tell(Happening::NotReady { router, reason, took_over: true });
            }
            if router.resigned {
                self.out.warn(&router.name, "takes over although resigned: nobody else is master".into());
            }
            let why = self.why_of(initiator, member, why);
            self.routers[member].become_master(now, why, &mut self.out);
        }
    }

    fn wait(&mut self, now: Duration, member: usize, held: HeldBack) {
        let router = &mut self.routers[member];
        if held.cause == HeldBy::Readiness && !router.is_overdue() {
            let router = router.name.to_string();
            self.out.tell(Happening::NotReady { router, reason: held.why.clone(), took_over: false });
        }
        router.hold_back(now, held.why, held.until);
        if held.cause == HeldBy::Gateway {
            self.ask_gateways_now(now);
        }
    }

    /// One member has heard a better master: all leave it to the other.
    pub(super) fn step_down(&mut self, now: Duration, initiator: usize, why: &str) {
        for member in self.units[self.routers[initiator].unit].members.clone() {
            if self.routers[member].state() == State::Master {
                self.touched.insert(member);
                let why = self.why_of(initiator, member, why);
                self.routers[member].say_parting(&mut self.out);
                self.routers[member].become_backup(now, &self.node, why, &mut self.out);
            }
        }
    }

    fn why_of(&self, initiator: usize, member: usize, why: &str) -> String {
        if initiator == member { why.to_string() } else { format!("group: {}: {why}", self.routers[initiator].name) }
    }

    /// An interface as it is now, if it is there.
    pub(super) fn link_of(&self, name: &str) -> Option<&Link> {
        self.links.get(name)
    }
}
