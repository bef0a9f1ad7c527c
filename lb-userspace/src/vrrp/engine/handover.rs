//! Make before break: leaving on purpose, without a moment in which nobody serves.

use std::time::Duration;

use super::Engine;
use crate::vrrp::effect::Effect;
use crate::vrrp::router::{Duty, Phase, Purpose};
use crate::vrrp::view::State;

/// With services, the packet path stays this long after the addresses are gone: what clients have on the way arrives.
const AFTERGLOW: Duration = Duration::from_millis(200);

/// The daemon stops.
#[derive(Debug, PartialEq)]
pub(super) enum Stopping {
    /// Masters wait to be relieved.
    HandingOver,
    /// All addresses are gone; what is on its way is still forwarded.
    Lingering { until: Duration },
    /// Nothing is left to do.
    Done,
}

impl Stopping {
    pub(super) fn deadline(&self) -> Option<Duration> {
        match self {
            Self::Lingering { until } => Some(*until),
            Self::HandingOver | Self::Done => None,
        }
    }
}

impl Engine {
    /// An operator wants others to serve.
    pub(super) fn resign(&mut self, now: Duration, name: Option<&str>) {
        if self.stopping.is_some() {
            // Handed over already, and for good.
            return;
        }
        for index in self.units_of(name) {
            self.touched.insert(index);
            let router = &mut self.routers[index];
            router.resigned = true;
            self.reports_are_stale = true;
            router.hand_over(now, Purpose::Resign, &mut self.out);
        }
    }

    /// An operator wants this node to take part again.
    pub(super) fn resume(&mut self, now: Duration, name: Option<&str>) {
        for index in self.units_of(name) {
            self.touched.insert(index);
            let is_whole = self.has_whole_group(index);
            let router = &mut self.routers[index];
            router.resigned = false;
            self.reports_are_stale = true;
            if !router.hands_over() || self.stopping.is_some() {
                continue;
            }
            if is_whole {
                router.serve_on(now, "resumed".into(), &mut self.out);
            } else {
                self.leave(now, index, "resumed when a part of its group was gone already".into());
            }
        }
    }

    /// The routers meant by a name, with their groups; all of them without a name.
    fn units_of(&mut self, name: Option<&str>) -> Vec<usize> {
        let Some(name) = name else { return (0..self.routers.len()).collect() };
        let Some(named) = self.routers.iter().find(|router| &*router.name == name) else {
            self.out.warn(name, "there is no such virtual router".into());
            return Vec::new();
        };
        self.units[named.unit].members.clone()
    }

    /// Hands over everything for good.
    pub(super) fn stop(&mut self, now: Duration) {
        if self.stopping.is_some() {
            return;
        }
        self.stopping = Some(Stopping::HandingOver);
        self.reports_are_stale = true;
        for index in 0..self.routers.len() {
            self.touched.insert(index);
            let router = &mut self.routers[index];
            if !router.hand_over(now, Purpose::Stop, &mut self.out) {
                router.end(now, "the daemon stops".into(), &mut self.out);
            }
        }
    }

    /// Somebody has taken over, or is not waited for any longer.
    pub(super) fn leave(&mut self, now: Duration, index: usize, why: String) {
        let router = &mut self.routers[index];
        self.touched.insert(index);
        let Phase::Master(master) = &router.phase else { return };
        match master.duty {
            Duty::HandingOver { purpose: Purpose::Stop, .. } => router.end(now, why, &mut self.out),
            Duty::HandingOver { purpose: Purpose::Resign, .. } | Duty::Serving { .. } => {
                router.become_backup(now, &self.node, why, &mut self.out);
            }
        }
    }

    /// Nobody is there to take over. A daemon that stops goes all the same; a resigned router serves on, unless a part of
    /// its group is gone already.
    pub(super) fn nobody_took_over(&mut self, now: Duration, index: usize) {
        if self.stopping.is_some() || !self.has_whole_group(index) {
            return self.leave(now, index, "nobody took over in time".into());
        }
        let router = &mut self.routers[index];
        self.out.warn(&router.name, "nobody took over: serves on although resigned".into());
        router.serve_on(now, "resigned, but nobody took over".into(), &mut self.out);
    }

    /// Whether all of a router's group are master.
    fn has_whole_group(&self, index: usize) -> bool {
        let members = &self.units[self.routers[index].unit].members;
        members.iter().all(|member| self.routers[*member].state() == State::Master)
    }

    /// Ends the stop when its time has come.
    pub(super) fn conclude(&mut self, now: Duration) {
        match &self.stopping {
            None | Some(Stopping::Done) => {}
            Some(Stopping::HandingOver) => {
                if self.routers.iter().any(|router| router.state() == State::Master) {
                    return;
                }
                if self.routers.iter().any(|router| router.lingers_until.is_some()) {
                    self.stopping = Some(Stopping::Lingering { until: now + AFTERGLOW });
                } else {
                    self.finish(now);
                }
            }
            Some(Stopping::Lingering { until }) if now < *until => {}
            Some(Stopping::Lingering { .. }) => self.finish(now),
        }
    }

    fn finish(&mut self, now: Duration) {
        for router in &mut self.routers {
            router.lingers_until = None;
            router.reconcile(&mut self.out);
        }
        self.schedule.clear();
        self.bfd.admin_down(now);
        self.bfd_timeout(now);
        self.stopping = Some(Stopping::Done);
        self.out.push(Effect::HandedOver);
    }
}
