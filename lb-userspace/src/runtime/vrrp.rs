//! The daemon's answers about VRRP: its part of the status, orders of operators, the event store.

use super::clock;
use super::daemon::Daemon;
use super::request::Order;
use crate::controller::view::{OrderReport, Problem, Status};
use crate::controller::vrrp::{Epoch, ThreadStatus, VrrpStatus};
use crate::effects::events::EventStream;
use crate::vrrp::view::Snapshot;

impl Daemon {
    /// The status, with VRRP's part and its warnings, which come first.
    pub(super) fn with_vrrp(&self, mut status: Status) -> Status {
        let Some((snapshot, thread)) = self.vrrp_snapshot() else { return status };
        let vrrp = VrrpStatus::new(&snapshot, thread, Epoch::new(clock::now(), clock::wall()));
        status.warnings.splice(0..0, vrrp.warnings());
        status.vrrp = Some(vrrp);
        status
    }

    /// What the engine and its thread say; `None`: they do not run.
    fn vrrp_snapshot(&self) -> Option<(Snapshot, ThreadStatus)> {
        None
    }

    /// Carries out an operator's order.
    ///
    /// # Errors
    /// When there is no virtual router of that name, or VRRP does not run.
    pub(super) fn order(&mut self, _order: &Order) -> Result<OrderReport, Problem> {
        Err(not_running())
    }

    /// The event store.
    ///
    /// # Errors
    /// When VRRP does not run.
    pub(super) fn events(&self) -> Result<EventStream, Problem> {
        Err(not_running())
    }
}

fn not_running() -> Problem {
    Problem { exit: 1, message: "VRRP is not running: no [[vrrp]] is configured".to_owned() }
}
