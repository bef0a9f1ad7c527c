//! Whom records mean: they name services by the number of their pool, and backends by their index in it. A copy that is cheap to
//! make, for what is large in it is shared: whoever walks over a million records need not keep the daemon waiting.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::Arc;

use super::FlowQuery;
use crate::config::{Backend, Listener, Protocol};
use crate::controller::view::Problem;
use crate::reconcile::listening::Listening;
use crate::reconcile::placed::Placed;
use crate::reconcile::planner::Planner;
use crate::reconcile::rows::RowIndex;

/// See the module's description.
#[derive(Clone, Debug, Default)]
pub struct Roster {
    /// Services in force, by pool.
    pools: BTreeMap<u32, Placed>,
    /// The pool of each listener.
    listeners: Listening<u32>,
    rows: Arc<RowIndex>,
}

impl Roster {
    /// Who is there now.
    pub fn new(planner: &Planner) -> Self {
        let services = planner.services().values();
        let listeners = services.clone().flat_map(|it| it.config.listeners.iter().map(|&listener| (listener, it.pool)));
        Self {
            listeners: listeners.collect(),
            pools: services.map(|placed| (placed.pool, placed.clone())).collect(),
            rows: planner.rows().clone(),
        }
    }

    /// Whether a query names only what there is.
    ///
    /// # Errors
    /// The words for whoever asked.
    pub fn check(&self, query: &FlowQuery) -> Result<(), Problem> {
        let refused = |message: String| Err(Problem { exit: 2, message });
        let named = |placed: &&Placed| query.service.as_ref().is_none_or(|name| placed.config.name == *name);
        let mut services = self.pools.values().filter(named).peekable();
        if let (Some(name), None) = (&query.service, services.peek()) {
            return refused(format!("no service is called {name}"));
        }
        if let Some(name) = &query.backend
            && !services.any(|placed| everybody(placed).any(|backend| is_called(backend, name)))
        {
            let place = query.service.as_ref().map_or_else(|| "no service".to_owned(), |it| format!("service {it}"));
            let none = if query.service.is_some() { "no" } else { "a" };
            return refused(format!("{place} has {none} backend with the name or address {name}"));
        }
        Ok(())
    }

    /// The service of a pool.
    pub(super) fn service(&self, pool: u32) -> Option<&Placed> {
        self.pools.get(&pool)
    }

    /// The backend of a service that has an index in its pool.
    pub(super) fn backend<'a>(&self, placed: &'a Placed, index: u16) -> Option<&'a Backend> {
        let (first, room) = *placed.rows.values().next()?;
        let owner = self.rows.get(first + u32::from(index)).filter(|_| u32::from(index) < room)?;
        placed.backend(&owner.identity)
    }

    /// The service that a flow goes to, and the listener.
    pub(super) fn listener(&self, address: IpAddr, port: u16, protocol: Protocol) -> Option<(Listener, &Placed)> {
        let (listener, pool) = self.listeners.find(protocol, address, port)?;
        Some((listener, self.pools.get(pool)?))
    }

    /// The backends of all services that get translated packets, by pool and address.
    pub(super) fn translated(&self) -> HashMap<(u32, IpAddr), Vec<Backend>> {
        let mut found: HashMap<_, Vec<Backend>> = HashMap::new();
        for placed in self.pools.values() {
            for backend in everybody(placed).filter(|it| it.forwarding.translates()) {
                found.entry((placed.pool, backend.address)).or_default().push(backend.clone());
            }
        }
        found
    }
}

/// Whether a backend is meant by a name or address.
pub(super) fn is_called(backend: &Backend, name: &str) -> bool {
    backend.name == name || name.parse() == Ok(backend.address)
}

/// The members of a pool, and those that are leaving it.
fn everybody(placed: &Placed) -> impl Iterator<Item = &Backend> {
    placed.members().chain(placed.leaving.values())
}
