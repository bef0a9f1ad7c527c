//! The daemon's answers about VRRP: its part of the status, orders of operators, the event store.

use super::clock;
use super::daemon::Daemon;
use super::request::{Order, OrderAction};
use crate::controller::view::{API_VERSION, OrderReport, Problem, Status};
use crate::controller::vrrp::{Epoch, ThreadStatus, VrrpStatus};
use crate::effects::events::EventStream;
use crate::effects::vrrp::ThreadView;

impl Daemon {
    /// The status, with VRRP's part if it runs, and its warnings, which come first.
    pub(super) fn with_vrrp(&self, mut status: Status) -> Status {
        let Some(handle) = self.virtual_routers.handle() else { return status };
        let epoch = Epoch::new(clock::now(), clock::wall());
        let vrrp = VrrpStatus::new(&handle.snapshot(), thread_status(&handle.thread()), epoch);
        status.warnings.splice(0..0, vrrp.warnings());
        status.vrrp = Some(vrrp);
        status
    }

    /// Carries out an operator's order.
    ///
    /// # Errors
    /// When there is no virtual router of that name, or the order is in force but will not survive a restart.
    pub(super) fn order(&mut self, order: &Order) -> Result<OrderReport, Problem> {
        let (config, name) = (self.controller.config(), order.router.as_deref());
        let routers = match order.action {
            OrderAction::Resign => self.virtual_routers.resign(config, name),
            OrderAction::Resume => self.virtual_routers.resume(config, name),
        }?;
        Ok(OrderReport { api: API_VERSION.to_owned(), routers })
    }

    /// The event store.
    pub(super) fn events(&self) -> EventStream {
        self.virtual_routers.events.clone()
    }
}

fn thread_status(view: &ThreadView) -> ThreadStatus {
    ThreadStatus {
        no_realtime: view.realtime.clone().err(),
        not_locked: view.locked.clone().err(),
        wakeups: view.wakeups,
        late_wakeups: view.late_wakeups,
        worst_lateness_seconds: view.worst_lateness.as_secs_f64(),
        failures: view.failures.clone(),
        problems: view.problems.clone(),
        outputs_dropped: view.outputs_dropped,
        receive_floods: view.floods,
        announcement_overruns: view.overruns,
    }
}
