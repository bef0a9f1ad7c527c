//! A service that is in force: its configuration, its lookup table, its rows, and who is still leaving it.
//!
//! What its backends weigh is not the configuration's to say, but `health::pool`'s: their [`Standings`].

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;

use super::access;
use super::stateful::Seat;
use super::tables::Wish;
use crate::config::{Backend, Listener, Service as ServiceConfig, UdpMode};

/// Effective weights are in hundredths of a configured weight, so that a backend of weight 1 can get a tenth of it. Tables
/// depend on the weights' proportions alone.
pub const WEIGHT_SCALE: u32 = 100;

/// What a backend is to a lookup table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Its effective weight, in hundredths of a configured weight.
    pub weight: u32,
    /// Whether it is up to the flows that it has.
    pub up: bool,
}

/// The standings of a service's backends, by identity. Who is not named has the configured weight and is up.
pub type Standings = BTreeMap<String, Standing>;

/// What a service's master on another node makes its table from, and what it says of slots.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FromMaster {
    /// The backends' standings.
    pub standings: Standings,
    /// The slots; `None`: that node tells nothing of slots.
    pub slots: Option<Arc<ToldSlots>>,
}

/// Slots that are not settled at the master.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ToldSlots {
    /// By slot, the identity of whom flows without a record belong to, and since when, by this node's clock.
    pub slots: Arc<BTreeMap<u32, (Arc<str>, Duration)>>,
    /// How much of it is known.
    pub extent: Extent,
}

/// How much is known of a master's slots.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Extent {
    /// Nothing at present.
    #[default]
    Unknown,
    /// Some: others may not be settled either.
    Part,
    /// All, of a lookup table of this hash.
    Whole(Option<u64>),
    /// What their master had still to say when this node took over: of slots of which nothing is known here that counts, and of no others.
    LastWords,
}

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
    /// Where its tables lie, if its scheduler keeps state, or did.
    pub seat: Option<Seat>,
    /// Where its access rules lie, if it has any.
    pub access: Option<access::Place>,
    /// Where its packets are counted, if it goes by connection IDs.
    pub quic: Option<u16>,
    /// Since when its scheduler keeps none any more, as far as censuses know.
    pub retiring: Option<Duration>,
    /// The sorry server as a backend, if it is not one anyway.
    pub sorry: Option<Backend>,
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
            seat: None,
            access: None,
            quic: None,
            retiring: None,
            sorry: sorry_of(config),
            identities: Arc::new(identities),
        }
    }

    /// The backend of an identity, configured, sorry server or leaving.
    pub fn backend(&self, identity: &str) -> Option<&Backend> {
        let configured = self.identities.get(identity).and_then(|&at| self.config.backends.get(at));
        let sorry = || self.sorry.as_ref().filter(|sorry| identity_of(sorry) == identity);
        configured.or_else(sorry).or_else(|| self.leaving.get(identity))
    }

    /// All members of the pool that are configured: the backends, and the sorry server.
    pub fn members(&self) -> impl Iterator<Item = &Backend> {
        self.config.backends.iter().chain(&self.sorry)
    }
}

/// Who a backend is to the lookup table, whatever it is called: nodes that agree on this agree on every flow.
pub fn identity_of(backend: &Backend) -> String {
    let port = backend.port.map_or(String::new(), |port| format!(" port {port}"));
    format!("{} {}{port}", backend.address, backend.forwarding.name())
}

/// What a sorry server is called among the backends.
pub const SORRY: &str = "sorry";

/// The sorry server of a service as a backend: it has rows and a next hop whether it serves or not, so that it can at once.
/// `None` if there is none, or if it is one of the backends anyway.
pub fn sorry_of(service: &ServiceConfig) -> Option<Backend> {
    let sorry = service.sorry.as_ref()?;
    let backend = Backend {
        name: SORRY.to_owned(),
        address: sorry.address,
        port: sorry.port,
        weight: 0,
        priority: u8::MAX,
        forwarding: sorry.forwarding,
        wrapping: service.wrapping,
        upper_threshold: 0,
        lower_threshold: 0,
        server_id: None,
    };
    let identity = identity_of(&backend);
    (!service.backends.iter().any(|known| identity_of(known) == identity)).then_some(backend)
}

/// What a service wants of its lookup table, with these standings.
pub fn wish(service: &ServiceConfig, standings: Option<&Standings>) -> Wish {
    let standing = |backend: &Backend| {
        let identity = identity_of(backend);
        let known = standings.and_then(|standings| standings.get(&identity)).copied();
        let Standing { weight, up } = known.unwrap_or_else(|| configured(backend));
        (identity, weight, up)
    };
    let mut members: Vec<_> = service.backends.iter().chain(&sorry_of(service)).map(standing).collect();
    members.sort();
    Wish { size: service.lookup_table_size, settle: settle(service), members }
}

/// The standing of a backend that nothing is known of.
fn configured(backend: &Backend) -> Standing {
    Standing { weight: u32::from(backend.weight) * WEIGHT_SCALE, up: true }
}

/// The longest that a flow of the service which a record could be made for may be silent.
fn settle(service: &ServiceConfig) -> Duration {
    let recorded = |listener: &&Listener| listener.protocol.has_openings() || service.udp == UdpMode::Flows;
    let longest =
        service.listeners.iter().filter(recorded).map(|listener| service.idle_timeout(listener.protocol)).max();
    longest.unwrap_or(Duration::ZERO)
}

/// Destinations whose replies are left alone, with the number of their service's pool.
pub fn excluded(services: &BTreeMap<String, Placed>) -> BTreeSet<(u32, IpNet)> {
    let prefixes = |placed: &Placed| placed.config.nat_exclude.iter().map(|&p| (placed.pool, p)).collect::<Vec<_>>();
    services.values().flat_map(prefixes).collect()
}
