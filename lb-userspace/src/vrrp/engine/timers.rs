//! Timers that have fired, and what their routers intend then.

use std::time::Duration;

use super::Engine;
use crate::vrrp::router::{Intent, Phase};

impl Engine {
    /// Everything that is due.
    pub(super) fn tick(&mut self, now: Duration) {
        self.peer_timeout(now);
        self.bfd_timeout(now);
        self.probe_gateways(now);
        for router in self.schedule.due(now) {
            self.fire(now, router);
        }
    }

    /// One router's timers.
    pub(super) fn fire(&mut self, now: Duration, index: usize) {
        self.touched.insert(index);
        let router = &mut self.routers[index];
        if router.lingers_until.is_some_and(|until| until <= now) {
            router.lingers_until = None;
            router.moved = true;
        }
        if router.standing.pending.is_some() && router.patient_until <= now {
            self.unsettled.insert(router.unit);
        }
        let intent = match &router.phase {
            Phase::Init | Phase::Fault => None,
            Phase::Backup(_) => router.backup_timeout(now, &self.node, &mut self.out),
            Phase::Master(_) => router.master_timeout(now, &mut self.out),
        };
        if let Some(intent) = intent {
            self.carry_out(now, index, intent);
        }
    }

    /// What one router intends, for its whole unit.
    pub(super) fn carry_out(&mut self, now: Duration, index: usize, intent: Intent) {
        match intent {
            Intent::TakeOver { why, preempting } => self.take_over(now, index, &why, preempting),
            Intent::Yield { why } => self.step_down(now, index, &why),
            Intent::Relieved { why } => self.leave(now, index, why),
            Intent::NobodyTookOver => self.nobody_took_over(now, index),
        }
    }
}
