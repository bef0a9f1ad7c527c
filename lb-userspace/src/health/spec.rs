//! What is asked of whom, and when: the identity of a probe.

use std::collections::HashSet;
use std::fmt;
use std::net::IpAddr;

use crate::config::check::{Check, Probe, Timing, Via};
use crate::config::{Backend, Forwarding, Listener, Service, Wrapping};

/// One check of one backend. Two services whose specs are equal share the probe and its verdict.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Spec {
    /// What is asked.
    pub probe: Probe,
    /// Whom.
    pub target: Target,
    /// When.
    pub timing: Timing,
    /// What a probe that depends on names is told (scripts have it in their environment); `None` for all others, so that
    /// they are shared.
    pub named: Option<Named>,
}

/// Whom a probe is about, by name.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Named {
    /// Name of the service.
    pub service: String,
    /// Name of the backend.
    pub backend: String,
    /// Address of the service's first listener.
    pub service_address: Option<IpAddr>,
}

/// Who is asked, and by which way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Target {
    /// The backend's own address.
    pub address: IpAddr,
    /// The port; 0 where there are none (ICMP, scripts without).
    pub port: u16,
    /// The way.
    pub way: Way,
}

/// How a probe reaches its backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Way {
    /// To the backend's own address, as the host routes it.
    Plain,
    /// To the service's address on that backend, in the frames, and tunnels, that clients' packets go in.
    Steered {
        /// The service's address.
        service: IpAddr,
        /// What they are put into, under `tunnel`.
        wrapping: Option<Wrapping>,
    },
}

impl Spec {
    /// That of one check for one backend of a service.
    pub fn of(service: &Service, backend: &Backend, check: &Check) -> Self {
        let named = matches!(check.probe, Probe::Script { .. }).then(|| Named {
            service: service.name.clone(),
            backend: backend.name.clone(),
            service_address: service.listeners.first().map(|listener| listener.address),
        });
        Self { probe: check.probe.clone(), target: Target::of(service, backend, check), timing: check.timing, named }
    }
}

impl Target {
    /// Whom a check of a service asks about a backend.
    pub fn of(service: &Service, backend: &Backend, check: &Check) -> Self {
        let listener = service.listeners.first();
        let port = match check.probe {
            Probe::Icmp => 0,
            _ => check
                .port
                .or(backend.port)
                .or_else(|| service.listeners.iter().find_map(Listener::probed_port))
                .unwrap_or(0),
        };
        let is_steered = check.via == Via::Service && !matches!(check.probe, Probe::Script { .. });
        let way = match (backend.forwarding, listener) {
            (Forwarding::Direct, Some(listener)) if is_steered => {
                Way::Steered { service: listener.address, wrapping: None }
            }
            (Forwarding::Tunnel, Some(listener)) if is_steered => {
                Way::Steered { service: listener.address, wrapping: Some(backend.wrapping) }
            }
            (Forwarding::Direct | Forwarding::Nat | Forwarding::FullNat | Forwarding::Tunnel, _) => Way::Plain,
        };
        Self { address: backend.address, port, way }
    }
}

/// Every spec of a configuration, each once.
pub fn all(services: &[Service]) -> HashSet<Spec> {
    let backends = services.iter().flat_map(|service| service.backends.iter().map(move |backend| (service, backend)));
    backends
        .flat_map(|(service, backend)| service.checks.iter().map(move |check| Spec::of(service, backend, check)))
        .collect()
}

impl Target {
    /// The address that is asked: the backend's own, or the service's on that backend.
    pub fn asked(&self) -> IpAddr {
        match self.way {
            Way::Plain => self.address,
            Way::Steered { service, .. } => service,
        }
    }
}

/// As reasons name it: the address that is asked, with its port.
impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.asked(), self.port) {
            (address, 0) => write!(f, "{address}"),
            (IpAddr::V4(address), port) => write!(f, "{address}:{port}"),
            (IpAddr::V6(address), port) => write!(f, "[{address}]:{port}"),
        }
    }
}
