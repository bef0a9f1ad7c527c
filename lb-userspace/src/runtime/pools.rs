//! The daemon's side of pools: time that passes, operators' orders, and what virtual routers know of gateways.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::clock;
use super::daemon::Daemon;
use crate::config::Condition;
use crate::controller::Event;
use crate::controller::view::{API_VERSION, BackendReport, Problem};
use crate::health::pool::Order;

/// Resolves at a monotonic time; never at none.
pub(super) async fn until(deadline: Option<Duration>) {
    match deadline {
        Some(deadline) => tokio::time::sleep(deadline.saturating_sub(clock::now())).await,
        None => std::future::pending().await,
    }
}

impl Daemon {
    /// Does what is due by time alone.
    pub(super) fn tick_pools(&mut self) {
        let effects = self.controller.handle(clock::now(), Event::Tick);
        self.perform(effects);
        self.observe();
    }

    /// Carries out an operator's order, and remembers what is wanted over restarts.
    ///
    /// # Errors
    /// When the order makes no sense; or it is in force but will not survive a restart.
    pub(super) fn operate(&mut self, order: &Order) -> Result<BackendReport, Problem> {
        let (lines, effects) = self.controller.operate(clock::now(), clock::wall(), order)?;
        self.perform(effects);
        self.observe();
        self.exchange.note_words();
        self.speak();
        let remembered = self.overrides.remember(self.controller.pools().intents());
        remembered.map_err(|error| Problem { exit: 5, message: format!("{error:#}") })?;
        Ok(BackendReport { api: API_VERSION.to_owned(), lines })
    }

    /// Tells the pools which tracked gateways answer: whether it is the interface that is silent, or what is behind it.
    pub(super) fn ask_gateways(&mut self) {
        let routers = &self.controller.config().virtual_routers;
        let Some(handle) = self.virtual_routers.handle() else { return };
        let snapshot = handle.snapshot();
        let mut gateways: BTreeMap<Arc<str>, bool> = BTreeMap::new();
        for router in routers {
            let Some(view) = snapshot.routers.iter().find(|view| view.name == router.name) else { continue };
            let is_gateway = |name: &str| {
                router.tracks.iter().any(|it| it.name == name && matches!(it.condition, Condition::Gateway { .. }))
            };
            for answers in view.terms.iter().filter(|term| is_gateway(&term.name)).filter_map(|term| term.holds) {
                *gateways.entry(router.interface.as_str().into()).or_insert(false) |= answers;
            }
        }
        if !gateways.is_empty() {
            self.controller.set_gateways(gateways);
            self.tick_pools();
        }
    }
}
