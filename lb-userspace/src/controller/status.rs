//! Puts together what the daemon says of itself, from what the controller knows and what the data plane counted.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::Controller;
use super::view::{
    API_VERSION, BackendStatus, Connections, FlowsStatus, InterfaceStatus, NeighbourStatus, QuicTotals, Remaining,
    ServiceStatus, Status, Totals,
};
use super::view::{ConfigStatus, NodeStatus};
use lb_common::abi::Load;

use crate::config::{Backend, OnNoBackend, VirtualRouter};
use crate::health::pool::decide::Quorum;
use crate::health::pool::state::State;
use crate::nexthop::{NextHop, ProgramMode};
use crate::reconcile::entries;
use crate::reconcile::placed::{Placed, WEIGHT_SCALE, identity_of};

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
    /// Flows of stateful services that could not be recorded.
    pub unrecorded: u64,
    /// What backends of stateful services have, by service and backend identity.
    pub loads: BTreeMap<(String, String), Load>,
    /// What packets went by, by the place of services that go by connection IDs.
    pub quic: BTreeMap<u16, QuicTotals>,
    /// When each interface's mode last changed, seconds since the Unix epoch.
    pub interfaces_since: BTreeMap<String, f64>,
    /// Interfaces from which the host does not forward, with the family, `ipv4` or `ipv6`.
    pub not_forwarding: BTreeSet<(String, &'static str)>,
    /// When each removed backend was removed, by service and identity.
    pub leaving_since: BTreeMap<(String, String), f64>,
    /// Seconds since the Unix epoch at monotonic time 0.
    pub epoch: f64,
}

/// How a backend belongs to a service.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Member {
    /// The configuration names it.
    Configured,
    /// As the sorry server.
    Sorry,
    /// It did.
    Leaving,
}

/// What tables know of a backend.
#[derive(Clone, Copy, Default)]
struct Owned {
    /// Slots that it owns.
    current: u32,
    /// Slots that it owned before another.
    previous: u32,
    /// Records that name it.
    recorded: u64,
}

impl Controller {
    /// Whether everything that can be known before packets come is known; else the reason.
    pub fn readiness(&self) -> Result<(), String> {
        if !self.listed {
            return Err("the interfaces have not been listed yet".to_owned());
        }
        if let Some((name, interface)) = self.interfaces().outer().find(|(_, interface)| interface.mode.is_none()) {
            let why = interface.why.as_deref().unwrap_or("not attached yet");
            return Err(format!("no program on {name}: {why}"));
        }
        match (self.planner().pending_hops(), self.pools().pending()) {
            (0, (0, _)) => Ok(()),
            (0, (checks, all)) => Err(format!("{checks} of {all} first checks pending")),
            (count, _) => Err(format!("{count} next hops are not known yet")),
        }
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
                stateful: self.census.connections,
                clients: self.census.clients,
                stateful_capacity: u64::from(self.config().dataplane.stateful_table_capacity),
                unrecorded: telemetry.unrecorded,
                translations: self.census.translations,
                translation_capacity: u64::from(self.config().dataplane.translation_table_capacity),
                forced_slots: self.forced_slots,
            },
            passes: telemetry.passes.clone(),
            drops: telemetry.drops.clone(),
            neighbours: self.neighbours(),
            warnings: self.warnings(telemetry),
            flows_at_risk: self.census.exceptions + self.census.translations,
            overrides: self.overrides(),
            vrrp: None,
            prober: None,
            exchange: None,
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
        let mut owned = vec![Owned::default(); table.rows() as usize];
        for word in slots.words() {
            if let Some(owned) = owned.get_mut(usize::from(word.current())) {
                owned.current += 1;
            }
            if let Some(owned) = owned.get_mut(usize::from(word.previous())) {
                owned.previous += u32::from(word.previous() != word.current());
            }
        }
        let owned = |backend: &Backend| {
            let member = table.pool.member(&identity_of(backend));
            let index = member.map(|member| member.index);
            let slots = index.and_then(|index| owned.get(usize::from(index))).copied().unwrap_or_default();
            Owned { recorded: index.map_or(0, |index| self.census.records_of(placed.pool, index)), ..slots }
        };
        let configured =
            config.backends.iter().map(|it| self.backend(placed, it, Member::Configured, owned(it), telemetry));
        let sorry = placed.sorry.iter().map(|it| self.backend(placed, it, Member::Sorry, owned(it), telemetry));
        let leaving = placed.leaving.values().map(|it| self.backend(placed, it, Member::Leaving, owned(it), telemetry));
        let backends: Vec<BackendStatus> = configured.chain(sorry).chain(leaving).collect();
        let pool = self.pools().get(&config.name);
        let mut totals = Totals::default();
        for backend in &backends {
            totals.add(&backend.totals);
        }
        ServiceStatus {
            name: config.name.clone(),
            // The runtime knows where it comes from.
            runtime: false,
            listeners: config.listeners.iter().map(ToString::to_string).collect(),
            forwarding: config.forwarding.name().to_owned(),
            scheduler: config.scheduler.name().to_owned(),
            access: config.access.to_string(),
            lookup_table_size: config.lookup_table_size,
            lookup_table_hash: format!("{:016x}", table.pool.lookup_table_hash()),
            unsettled_slots: u32::try_from(slots.unsettled()).unwrap_or(u32::MAX),
            exception_slots: u32::try_from(slots.exceptions()).unwrap_or(u32::MAX),
            quorum_ok: pool.is_some_and(|pool| pool.summary().quorum == Quorum::Held),
            quorum_why: pool.map(|pool| pool.in_words(pool.summary())).unwrap_or_default(),
            quorum_since: telemetry.epoch + pool.map_or(0.0, |pool| pool.quorum_since().as_secs_f64()),
            totals,
            quic: placed.quic.map(|place| telemetry.quic.get(&place).copied().unwrap_or_default()),
            backends,
        }
    }

    fn backend(
        &self,
        placed: &Placed,
        backend: &Backend,
        member: Member,
        owned: Owned,
        telemetry: &Telemetry,
    ) -> BackendStatus {
        let key = (placed.config.name.clone(), identity_of(backend));
        let hop = self.planner().hops().get(&backend.address);
        let pool = self.pools().get(&placed.config.name);
        let (state, why, since, weight) = match member {
            Member::Configured => match pool.and_then(|pool| pool.member(&key.1)) {
                Some(it) => (it.part.state, it.part.why.clone(), it.since.as_secs_f64(), it.part.standing.weight),
                None => (State::Down, "nothing is known of it".to_owned(), 0.0, 0),
            },
            Member::Sorry => {
                let serves = pool.is_some_and(|pool| pool.summary().sorry);
                let why = if serves { "serves, since there is no quorum" } else { "serves while there is no quorum" };
                let since = pool.map_or(0.0, |pool| pool.quorum_since().as_secs_f64());
                let weight = if serves { WEIGHT_SCALE } else { 0 };
                (State::Unchecked, format!("the sorry server; {why}"), since, weight)
            }
            Member::Leaving => {
                let since = telemetry.leaving_since.get(&key).copied().unwrap_or(telemetry.epoch) - telemetry.epoch;
                let why = "removed from the configuration; its flows are still served";
                (State::Drain, why.to_owned(), since, 0)
            }
        };
        let (weight, why) = self.as_followed(placed, &key.1, weight, why);
        let drains = weight == 0 && member != Member::Sorry;
        BackendStatus {
            name: backend.name.clone(),
            address: backend.address.to_string(),
            port: backend.port,
            forwarding: backend.forwarding.name().to_owned(),
            weight: u32::from(backend.weight),
            effective_weight: f64::from(weight) / f64::from(WEIGHT_SCALE),
            priority: backend.priority,
            state: state.to_string(),
            leaving: member == Member::Leaving,
            since: telemetry.epoch + since,
            why,
            slots: owned.current,
            remaining: drains.then_some(Remaining { recorded: owned.recorded, slots: owned.previous }),
            next_hop: entries::describe(hop, |index| self.interfaces().links().name_of(index), backend.address),
            reachable: matches!(hop, Some(Ok(_))),
            connections: telemetry.loads.get(&key).map(|load| Connections {
                active: load.active(),
                inactive: load.inactive(),
                full: load.full != 0,
            }),
            totals: telemetry.totals.get(&key).copied().unwrap_or_default(),
            checks: Vec::new(),
        }
    }

    /// The weight in force, which is the master's where that is followed, and why.
    fn as_followed(&self, placed: &Placed, identity: &str, own: u32, why: String) -> (u32, String) {
        let master = self.followed.get(placed.config.name.as_str()).and_then(|master| master.standings.get(identity));
        match master.filter(|standing| standing.weight != own) {
            Some(standing) => (standing.weight, format!("{why}; the master gives it this weight")),
            None => (own, why),
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
        self.pool_warnings(&mut warnings);
        warnings.extend(self.claim_warnings());
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
        backends.any(|backend| backend.forwarding.translates() && backend.address.is_ipv4() == is_v4)
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
                Some(Ok(NextHop::Local)) if backend.forwarding.translates() => warnings.push(format!(
                    "service {name}, backend {}: a nat backend cannot be this host; use forwarding = \"direct\" for it",
                    backend.name
                )),
                Some(_) | None => {}
            }
        }
    }
}
