//! A service that is in force: its configuration, its lookup table, its rows, and who is still leaving it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;

use super::tables::Wish;
use crate::config::{Backend, Listener, Protocol, Service as ServiceConfig, UdpMode};

/// A service and where it lies.
#[derive(Clone, Debug)]
pub struct Placed {
    /// As configured.
    pub config: Arc<ServiceConfig>,
    /// Its lookup table.
    pub table: u32,
    /// What its flows' records name, and its excluded prefixes: never used for another service.
    pub pool: u32,
    /// First row and room of each listener.
    pub rows: BTreeMap<Listener, (u32, u32)>,
    /// Removed backends whose flows are still served, by identity.
    pub leaving: BTreeMap<String, Backend>,
    /// Where each identity stands among the configured backends.
    identities: Arc<BTreeMap<String, usize>>,
}

impl Placed {
    /// A service without rows, and with these backends still leaving it.
    pub fn new(config: &ServiceConfig, table: u32, pool: u32, leaving: BTreeMap<String, Backend>) -> Self {
        let identities = config.backends.iter().enumerate().map(|(at, backend)| (identity_of(backend), at)).collect();
        Self {
            config: Arc::new(config.clone()),
            table,
            pool,
            rows: BTreeMap::new(),
            leaving,
            identities: Arc::new(identities),
        }
    }

    /// The backend of an identity, configured or leaving.
    pub fn backend(&self, identity: &str) -> Option<&Backend> {
        let configured = self.identities.get(identity).and_then(|&at| self.config.backends.get(at));
        configured.or_else(|| self.leaving.get(identity))
    }
}

/// Who a backend is to the lookup table, whatever it is called: nodes that agree on this agree on every flow.
pub fn identity_of(backend: &Backend) -> String {
    let port = backend.port.map_or(String::new(), |port| format!(" port {port}"));
    format!("{} {}{port}", backend.address, backend.forwarding.name())
}

/// What a service wants of its lookup table.
pub fn wish(service: &ServiceConfig) -> Wish {
    let mut members: Vec<(String, u32)> =
        service.backends.iter().map(|backend| (identity_of(backend), u32::from(backend.weight))).collect();
    members.sort();
    Wish { size: service.lookup_table_size, settle: settle(service), members }
}

/// The longest that a flow of the service which a record could be made for may be silent.
fn settle(service: &ServiceConfig) -> Duration {
    let recorded = |listener: &&Listener| listener.protocol == Protocol::Tcp || service.udp == UdpMode::Flows;
    let longest =
        service.listeners.iter().filter(recorded).map(|listener| service.idle_timeout(listener.protocol)).max();
    longest.unwrap_or(Duration::ZERO)
}

/// Destinations whose replies are left alone, with the number of their service's pool.
pub fn excluded(services: &BTreeMap<String, Placed>) -> BTreeSet<(u32, IpNet)> {
    let prefixes = |placed: &Placed| placed.config.nat_exclude.iter().map(|&p| (placed.pool, p)).collect::<Vec<_>>();
    services.values().flat_map(prefixes).collect()
}
