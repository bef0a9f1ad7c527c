//! Puts together what the daemon says of itself, from what the controller knows and what the data plane counted.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::Controller;
use super::view::{
    API_VERSION, BackendStatus, FlowsStatus, InterfaceStatus, NeighbourStatus, ServiceStatus, Status, Totals,
};
use super::view::{ConfigStatus, NodeStatus};
use crate::config::{Backend, Forwarding, OnNoBackend, VirtualRouter};
use crate::nexthop::{NextHop, ProgramMode};
use crate::reconcile::entries;
use crate::reconcile::placed::{Placed, identity_of};
use crate::vrrp::event::Verdict;

/// What the data plane counted and the runtime remembers.
#[derive(Clone, Debug, Default)]
pub struct Telemetry {
    /// By service and backend identity.
    pub totals: BTreeMap<(String, String), Totals>,
    /// Passes by reason.
    pub passes: BTreeMap<String, u64>,
    /// Drops by reason.
    pub drops: BTreeMap<String, u64>,
    /// Records of TCP flows.
    pub tcp_flows: u64,
    /// Records of UDP flows.
    pub udp_flows: u64,
    /// Records that could not be made.
    pub refusals: u64,
    /// When each interface's mode last changed, seconds since the Unix epoch.
    pub interfaces_since: BTreeMap<String, f64>,
    /// Interfaces from which the host does not forward, with the family, `ipv4` or `ipv6`.
    pub not_forwarding: BTreeSet<(String, &'static str)>,
    /// When each backend's state last changed, by service and identity.
    pub backends_since: BTreeMap<(String, String), f64>,
}

impl Controller {
    /// Whether everything that can be known before packets come is known; else the reason.
    pub fn readiness(&self) -> Result<(), String> {
        if !self.listed {
            return Err("the interfaces have not been listed yet".to_owned());
        }
        if let Some((name, interface)) = self.interfaces().iter().find(|(_, interface)| interface.mode.is_none()) {
            let why = interface.why.as_deref().unwrap_or("not attached yet");
            return Err(format!("no program on {name}: {why}"));
        }
        let pending =
            self.planner().destinations().into_iter().filter(|address| match self.planner().hops().get(address) {
                Some(Err(unresolved)) => unresolved.is_pending(),
                Some(Ok(_)) => false,
                None => true,
            });
        match pending.count() {
            0 => Ok(()),
            count => Err(format!("{count} next hops are not known yet")),
        }
    }

    /// Whether a service has a backend that could take traffic, for tracks: one with a weight that can be reached.
    pub fn quorum(&self, service: &str) -> Verdict {
        let Some(placed) = self.planner().services().get(service) else {
            return Verdict { holds: Some(false), factor: 1, detail: format!("there is no service {service}") };
        };
        let reachable = |backend: &&Backend| {
            backend.weight > 0 && matches!(self.planner().hops().get(&backend.address), Some(Ok(_)))
        };
        let (usable, all) = (placed.config.backends.iter().filter(reachable).count(), placed.config.backends.len());
        Verdict { holds: Some(usable > 0), factor: 1, detail: format!("{usable} of {all} backends can take traffic") }
    }

    /// Everything, at this moment.
    pub fn status(&self, node: NodeStatus, config: ConfigStatus, telemetry: &Telemetry) -> Status {
        let services = self.config().services.iter();
        let services = services
            .filter_map(|service| self.planner().services().get(&service.name))
            .map(|placed| self.service(placed, telemetry))
            .collect();
        Status {
            api: API_VERSION.to_owned(),
            interfaces: self.interface_states(telemetry),
            services,
            flows: FlowsStatus {
                tcp: telemetry.tcp_flows,
                udp: telemetry.udp_flows,
                capacity: u64::from(self.config().dataplane.flow_table_capacity),
                refusals: telemetry.refusals,
                forced_slots: self.forced_slots,
            },
            passes: telemetry.passes.clone(),
            drops: telemetry.drops.clone(),
            neighbours: self.neighbours(),
            warnings: self.warnings(telemetry),
            flows_at_risk: self.census.exceptions,
            vrrp: None,
            node,
            config,
        }
    }

    fn interface_states(&self, telemetry: &Telemetry) -> Vec<InterfaceStatus> {
        let state = |(name, interface): (&str, &super::Interface)| InterfaceStatus {
            name: name.to_owned(),
            index: interface.index,
            mode: interface.mode.map_or_else(|| "none".to_owned(), |mode| mode.to_string()),
            mtu: interface.index.and_then(|index| self.interfaces().links().get(index)).map(|link| link.mtu),
            since: telemetry.interfaces_since.get(name).copied().unwrap_or_default(),
            why: interface.why.clone(),
        };
        self.interfaces().iter().map(state).collect()
    }

    fn service(&self, placed: &Placed, telemetry: &Telemetry) -> ServiceStatus {
        let config = &placed.config;
        let table = self.planner().tables().get(placed.table);
        let slots = table.pool.slots();
        let mut owned = vec![0u32; table.rows() as usize];
        for word in slots.words() {
            if let Some(count) = owned.get_mut(usize::from(word.current())) {
                *count += 1;
            }
        }
        let configured = config.backends.iter().map(|backend| (backend, false));
        let leaving = placed.leaving.values().map(|backend| (backend, true));
        let backends: Vec<BackendStatus> = configured
            .chain(leaving)
            .map(|(backend, leaving)| {
                let identity = identity_of(backend);
                let index = table.pool.member(&identity).map(|member| member.index);
                let slots = index.and_then(|index| owned.get(usize::from(index))).copied().unwrap_or(0);
                self.backend(placed, backend, leaving, slots, telemetry)
            })
            .collect();
        let mut totals = Totals::default();
        for backend in &backends {
            totals.add(&backend.totals);
        }
        ServiceStatus {
            name: config.name.clone(),
            listeners: config.listeners.iter().map(ToString::to_string).collect(),
            forwarding: config.forwarding.name().to_owned(),
            scheduler: config.scheduler.name().to_owned(),
            lookup_table_size: config.lookup_table_size,
            lookup_table_hash: format!("{:016x}", table.pool.lookup_table_hash()),
            unsettled_slots: u32::try_from(slots.unsettled()).unwrap_or(u32::MAX),
            exception_slots: u32::try_from(slots.exceptions()).unwrap_or(u32::MAX),
            quorum_ok: config.backends.iter().any(|backend| backend.weight > 0),
            totals,
            backends,
        }
    }

    fn backend(
        &self,
        placed: &Placed,
        backend: &Backend,
        leaving: bool,
        slots: u32,
        telemetry: &Telemetry,
    ) -> BackendStatus {
        let key = (placed.config.name.clone(), identity_of(backend));
        let hop = self.planner().hops().get(&backend.address);
        let (state, why) = if leaving {
            ("drain", "removed from the configuration; its flows are still served".to_owned())
        } else if backend.weight == 0 {
            ("drain", "weight 0 in the configuration".to_owned())
        } else {
            ("unchecked", "no check is configured".to_owned())
        };
        BackendStatus {
            name: backend.name.clone(),
            address: backend.address.to_string(),
            port: backend.port,
            forwarding: backend.forwarding.name().to_owned(),
            weight: u32::from(backend.weight),
            state: state.to_owned(),
            leaving,
            since: telemetry.backends_since.get(&key).copied().unwrap_or_default(),
            why,
            slots,
            next_hop: entries::describe(hop, |index| self.interfaces().links().name_of(index), backend.address),
            reachable: matches!(hop, Some(Ok(_))),
            totals: telemetry.totals.get(&key).copied().unwrap_or_default(),
        }
    }

    fn neighbours(&self) -> Vec<NeighbourStatus> {
        let hops = self.planner().hops().iter();
        hops.map(|(&destination, hop)| NeighbourStatus {
            destination: destination.to_string(),
            resolved: hop.is_ok(),
            detail: entries::describe(Some(hop), |index| self.interfaces().links().name_of(index), destination),
        })
        .collect()
    }

    /// What an operator should know and do.
    fn warnings(&self, telemetry: &Telemetry) -> Vec<String> {
        let mut warnings = Vec::new();
        for (name, interface) in self.interfaces().iter() {
            match (interface.mode, &interface.why) {
                (Some(ProgramMode::Native), _) => {}
                (_, Some(why)) => warnings.push(format!("interface {name}: {why}")),
                (_, None) => {}
            }
        }
        for (interface, family) in &telemetry.not_forwarding {
            if self.translates(*family == "ipv4") {
                warnings.push(format!(
                    "interface {interface} does not forward {family}, so replies of nat backends are dropped: \
                     sysctl -w net/{family}/conf/{interface}/forwarding=1"
                ));
            }
        }
        for service in &self.config().services {
            self.service_warnings(service, &mut warnings);
        }
        if self.forced_slots > 0 {
            warnings.push(format!(
                "{} slots were settled although records were refused: the flow table is too small (dataplane.flow_table_capacity)",
                self.forced_slots
            ));
        }
        warnings
    }

    /// Whether a virtual router holds this address while this node is its master.
    fn is_virtual(&self, address: IpAddr) -> bool {
        let held = |router: &VirtualRouter| {
            router.addresses.iter().chain(&router.excluded_addresses).any(|net| net.addr() == address)
        };
        self.config().virtual_routers.iter().any(held)
    }

    /// Whether any backend of the family is reached by nat.
    fn translates(&self, is_v4: bool) -> bool {
        let mut backends = self.config().services.iter().flat_map(|service| &service.backends);
        backends.any(|backend| backend.forwarding == Forwarding::Nat && backend.address.is_ipv4() == is_v4)
    }

    fn service_warnings(&self, service: &crate::config::Service, warnings: &mut Vec<String>) {
        let name = &service.name;
        for listener in &service.listeners {
            if !self.listed || self.local.contains(&listener.address) || self.is_virtual(listener.address) {
                continue;
            }
            warnings.push(format!(
                "service {name}: {} is not an address of this host, and no virtual router holds it; unless a router sends \
                 its traffic here, add it: ip addr add {0}/{} dev lo",
                listener.address,
                if listener.address.is_ipv4() { 32 } else { 128 }
            ));
            break;
        }
        if service.backends.iter().all(|backend| backend.weight == 0) {
            let fate = if service.on_no_backend == OnNoBackend::Drop { "dropped" } else { "passed to the host" };
            warnings.push(format!("service {name} has no backend with a weight: its packets are {fate}"));
        }
        for backend in &service.backends {
            match self.planner().hops().get(&backend.address) {
                Some(Err(unresolved)) if !unresolved.is_pending() => {
                    warnings.push(format!("service {name}, backend {}: {unresolved}", backend.name));
                }
                Some(Ok(NextHop::Local)) if backend.forwarding == Forwarding::Nat => warnings.push(format!(
                    "service {name}, backend {}: a nat backend cannot be this host; use forwarding = \"direct\" for it",
                    backend.name
                )),
                Some(_) | None => {}
            }
        }
    }
}
