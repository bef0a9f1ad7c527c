//! The pure heart of the daemon: events in, effects out. It holds what is configured and what is known, and decides what
//! must be done about it; the runtime does it and reports back. No clock, socket or map inside: `now` is an argument, the
//! monotonic time since boot, which is the packet path's clock too.

pub mod checks;
pub mod claims;
pub mod events;
pub mod flows;
mod interfaces;
pub mod outliers;
mod pools;
mod shared;
pub mod status;
pub mod steering;
pub mod view;
pub mod vrrp;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use lb_common::abi::{Root, root_flags};

pub use interfaces::{Interface, Interfaces};

use crate::config::{AttachMode, Config, Service};
use crate::happening::Happening;
use crate::health::outlier::Outliers;
use crate::health::pool::{Changes, Pools};
use crate::health::spec::Spec;
use crate::health::verdict::Verdict;
use crate::nexthop::ProgramMode;
use crate::nexthop::tracker::Event as Network;
use crate::reconcile::census::Census;
use crate::reconcile::changes::Unchanged;
use crate::reconcile::image::Image;
use crate::reconcile::placed::FromMaster;
use crate::reconcile::plan::{Plan, PlanError};
use crate::reconcile::planner::Planner;
use crate::reconcile::recount::Recount;
use crate::reconcile::tables::TableError;
use crate::reconcile::write::Write;
use crate::scheduler::seed::Seed;
use crate::scheduler::slots::SweepReport;

/// Something that happened.
#[derive(Debug)]
pub enum Event {
    /// The network changed.
    Network(Network),
    /// An attempt to attach has ended.
    Attached {
        /// The interface's index.
        interface: u32,
        /// How it is attached, or why not.
        outcome: Result<ProgramMode, String>,
    },
    /// What was forwarded was counted, for services whose backends are watched.
    Counted(outliers::Counted),
    /// Backends were asked whether they answer ARP for a service's address.
    Claims(claims::Answers),
    /// The flow tables were counted.
    Census(Box<Census>),
    /// Checks have other verdicts. Told once, when they change.
    Verdicts(Vec<(Arc<Spec>, Verdict)>),
    /// The time of [`Controller::deadline`] has come; harmless at any other.
    Tick,
}

/// Something to be done.
#[derive(Debug)]
pub enum Effect {
    /// Carry out these writes, in this order.
    Write(Vec<Write>),
    /// Rows have other owners now.
    AssignRows,
    /// Find out how to reach these, and no others.
    Want(BTreeSet<IpAddr>),
    /// Attach the program.
    Attach {
        /// Name of the interface.
        name: String,
        /// Its index.
        interface: u32,
        /// How.
        mode: AttachMode,
        /// VLAN interfaces stand on it: its receive-side tag offload must be off.
        carries_vlans: bool,
    },
    /// Detach the program.
    Detach {
        /// The interface's index.
        interface: u32,
    },
    /// Probes are steered differently.
    Steer(Vec<steering::Change>),
    /// Have these checks made at once, besides their timetable.
    CheckNow(Vec<Arc<Spec>>),
    /// Tell these, in their order.
    Tell(Vec<Happening>),
    /// The program is attached to these, and no others.
    AttachedTo(BTreeSet<u32>),
    /// A VLAN interface and what it stands for: replies that the host routes by it leave by the one below.
    Vlan {
        /// The VLAN interface.
        interface: u32,
        /// The interface that transmits.
        below: u32,
        /// Tags, outer first, as they lie in a frame.
        tags_wire: [u32; 2],
    },
}

/// See the module's description.
pub struct Controller {
    config: Config,
    planner: Planner,
    image: Image,
    interfaces: Interfaces,
    steering: steering::Steering,
    outliers: Outliers,
    local: BTreeSet<IpAddr>,
    listed: bool,
    census: Census,
    forced_slots: u64,
    recount: Recount,
    pools: Pools,
    /// Services that shall have other weights than there is room for, and what is missing.
    cramped: BTreeMap<String, TableError>,
    /// Backends that answer ARP for a service's address.
    claims: BTreeSet<steering::Pair>,
    /// What masters on the other node make their tables from, by service.
    followed: BTreeMap<Arc<str>, Arc<FromMaster>>,
    /// Followed services whose slots are not all as the master says, since the tables were not the same yet.
    owed: BTreeSet<Arc<str>>,
}

impl Controller {
    /// A controller with nothing in force, for tables of these sizes. `config` is the first configuration; put it in force
    /// with [`Self::configure`].
    pub fn new(config: Config, slots: u32, rows: u32) -> Self {
        let seed = Seed::from_text(&config.dataplane.hash_seed);
        Self {
            planner: Planner::new(seed, slots, rows),
            image: Image::new(slots as usize, rows as usize),
            interfaces: Interfaces::default(),
            steering: steering::Steering::default(),
            outliers: Outliers::default(),
            local: BTreeSet::new(),
            listed: false,
            census: Census::default(),
            forced_slots: 0,
            recount: Recount::default(),
            pools: Pools::default(),
            cramped: BTreeMap::new(),
            claims: BTreeSet::new(),
            followed: BTreeMap::new(),
            owed: BTreeSet::new(),
            config,
        }
    }

    /// Puts a configuration in force: the plan, for the record, and what is to be done.
    ///
    /// # Errors
    /// When it does not fit; then nothing is changed.
    pub fn configure(&mut self, now: Duration, config: Config) -> Result<(Plan, Vec<Effect>), PlanError> {
        let unchanged = self.planner.unchanged_by(&config);
        let (pools, Changes { standings, happenings }) = self.pools_under(now, &config, &unchanged);
        let rows = self.planner.rows().clone();
        let mut plan = self.planner.configure_with(now, &self.image, &config, &standings, &unchanged)?;
        self.pools = pools;
        self.cramped.clear();
        let mut effects = self.write(plan.writes.clone());
        effects.extend(pools::tell(happenings));
        if !Arc::ptr_eq(&rows, self.planner.rows()) {
            effects.push(Effect::AssignRows);
            effects.push(Effect::Want(self.planner.destinations().clone()));
        }
        let is_steered_alike = steering::steer_alike(&self.config, &config, &unchanged);
        self.config = config;
        if !is_steered_alike {
            effects.extend(self.steer());
        }
        effects.extend(self.share());
        // The tables may be the master's by now, also again, whose slots count then: until they do this node should not have to take over.
        let mut owed = std::mem::take(&mut self.owed);
        owed.extend(self.followed.keys().filter(|name| !unchanged.contains(name)).cloned());
        effects.extend(self.adopt_slots(now, owed));
        effects.extend(self.interfaces.configure(&self.config.dataplane));
        effects.extend(self.serve_ourselves());
        plan.unchanged = unchanged;
        Ok((plan, effects))
    }

    /// What [`Self::configure`] would do, without doing it.
    ///
    /// # Errors
    /// When it does not fit.
    pub fn preview(&self, now: Duration, config: &Config) -> Result<Plan, PlanError> {
        let unchanged = self.planner.unchanged_by(config);
        let (_, Changes { standings, .. }) = self.pools_under(now, config, &unchanged);
        self.planner.clone().configure_with(now, &self.image, config, &standings, &unchanged)
    }

    /// The pools as another configuration has them, the standings of those whose tables must follow, and what is to be told.
    fn pools_under(&self, now: Duration, config: &Config, unchanged: &Unchanged) -> (Pools, Changes) {
        let mut pools = self.pools.clone();
        let mut changes = pools.configure(now, config, unchanged);
        for service in self.cramped.keys() {
            if let Some(standings) = pools.standings_of(service) {
                changes.standings.entry(service.clone()).or_insert(standings);
            }
        }
        self.yield_to_masters(&mut changes.standings);
        (pools, changes)
    }

    /// Every address that packets are sent to, now or under another configuration; `None` if that brings none.
    pub fn destinations_with(&self, config: &Config) -> Option<BTreeSet<IpAddr>> {
        let present = self.planner.destinations();
        let new: Vec<IpAddr> = addresses(config).filter(|address| !present.contains(address)).collect();
        (!new.is_empty()).then(|| present.iter().copied().chain(new).collect())
    }

    /// Whether for every backend that a configuration brings it is known how to reach it, or that it cannot be reached.
    pub fn knows_next_hops_of(&self, config: &Config) -> bool {
        let present = self.planner.destinations();
        addresses(config).filter(|address| !present.contains(address)).all(|address| {
            match self.planner.hops().get(&address) {
                Some(Err(unresolved)) => !unresolved.is_pending(),
                Some(Ok(_)) => true,
                None => false,
            }
        })
    }

    /// Takes note of an event; what is to be done about it.
    pub fn handle(&mut self, now: Duration, event: Event) -> Vec<Effect> {
        match event {
            Event::Network(Network::NextHop { destination, result }) => {
                let changes = self.steering.next_hop(destination, &result);
                self.note_egress(destination, &result);
                let writes = self.planner.next_hop(&self.image, destination, result);
                let mut effects = self.write(writes);
                effects.extend((!changes.is_empty()).then_some(Effect::Steer(changes)));
                effects
            }
            Event::Network(Network::LocalAddresses(addresses)) => {
                self.local = addresses;
                Vec::new()
            }
            Event::Network(Network::Listed) => {
                self.listed = true;
                Vec::new()
            }
            Event::Network(Network::LinkAppeared(link) | Network::LinkChanged(link)) => {
                let mut effects = self.interfaces.link(link, &self.config.dataplane);
                if effects.iter().any(|effect| matches!(effect, Effect::Vlan { .. })) {
                    effects.extend(self.ask_for_vlans());
                }
                effects
            }
            Event::Network(Network::LinkRemoved { index, .. }) => {
                let mut effects = self.interfaces.gone(index);
                effects.extend(self.serve_ourselves());
                effects
            }
            Event::Attached { interface, outcome } => {
                let mut effects = self.interfaces.attached(interface, outcome);
                effects.extend(self.serve_ourselves());
                effects
            }
            Event::Counted(counted) => self.suspect(now, &counted),
            Event::Claims(answers) => self.claimed(answers),
            Event::Census(census) => {
                let mut effects = self.sweep(now, *census);
                // Whoever found no room for a table of his own may find it now.
                effects.extend(self.follow(now, Changes::default()));
                let owed = std::mem::take(&mut self.owed);
                effects.extend(self.adopt_slots(now, owed));
                effects
            }
            Event::Verdicts(verdicts) => {
                let changes = self.pools.verdicts(now, verdicts);
                self.follow(now, changes)
            }
            Event::Tick => {
                let changes = self.pools.tick(now);
                self.follow(now, changes)
            }
        }
    }

    fn sweep(&mut self, now: Duration, census: Census) -> Vec<Effect> {
        let (mut writes, report): (Vec<Write>, SweepReport) = self.planner.sweep(now, &self.image, &census);
        writes.extend(self.recount.observe(self.planner.services().values(), &census));
        self.forced_slots += u64::from(report.forced);
        self.census = census;
        let released = writes.iter().any(|write| matches!(write, Write::Grace));
        let mut effects = self.write(writes);
        if released {
            effects.push(Effect::AssignRows);
            effects.push(Effect::Want(self.planner.destinations().clone()));
        }
        effects
    }

    /// Whom probes are steered to. Only while there is anybody does the packet path look for their answers.
    fn steer(&mut self) -> Vec<Effect> {
        let changes = self.steering.configure(&self.config, self.planner.hops());
        let mut effects = if changes.is_empty() { Vec::new() } else { vec![Effect::Steer(changes)] };
        let probes = if self.steering.is_empty() { 0 } else { root_flags::PROBES };
        effects.extend(self.flip(|root| root.word = root.word & !root_flags::PROBES | probes));
        effects
    }

    /// Whether flows that are recorded are told of as they are: while there is a peer to know.
    fn share(&mut self) -> Vec<Effect> {
        let exchange = if self.config.peer.is_some() { root_flags::EXCHANGE } else { 0 };
        self.flip(|root| root.word = root.word & !root_flags::EXCHANGE | exchange)
    }

    /// By which interface this host's own packets come in, as soon as the program is there.
    fn serve_ourselves(&mut self) -> Vec<Effect> {
        let own_client = self.interfaces.own().unwrap_or(0).into();
        self.flip(|root| root.own_client = own_client)
    }

    /// From the first VLAN interface on, replies are asked whether they leave by one. Looking costs them a few nanoseconds.
    fn ask_for_vlans(&mut self) -> Vec<Effect> {
        self.flip(|root| root.word |= root_flags::VLAN)
    }

    /// Changes what the packet path begins with, if that changes anything.
    fn flip(&mut self, change: impl FnOnce(&mut Root)) -> Vec<Effect> {
        let mut root = self.image.root;
        change(&mut root);
        if root == self.image.root { Vec::new() } else { self.write(vec![Write::Flip(root)]) }
    }

    /// Writes that are decided are in the image from then on: the next decision builds on them.
    fn write(&mut self, writes: Vec<Write>) -> Vec<Effect> {
        writes.iter().for_each(|write| self.image.apply(write));
        if writes.is_empty() { Vec::new() } else { vec![Effect::Write(writes)] }
    }

    /// Whether some slot has two owners, or a removed backend still has flows: then censuses are due more often.
    pub fn is_settled(&self) -> bool {
        self.planner.is_settled()
    }

    /// The live word of a virtual router of the configuration in force; never 0.
    pub fn live_index(&self, router: &str) -> Option<u32> {
        self.planner.live().get(router)
    }

    /// The configuration in force.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Services, tables, rows and next hops.
    pub fn planner(&self) -> &Planner {
        &self.planner
    }

    /// What the maps hold.
    pub fn image(&self) -> &Image {
        &self.image
    }

    /// Lends what the maps hold to somebody who gives it back at once: it is too large to be copied every second.
    pub fn lend_image<R>(&mut self, act: impl FnOnce(&Self, Image) -> (R, Image)) -> R {
        let image = std::mem::replace(&mut self.image, Image::hollow());
        let (result, image) = act(self, image);
        self.image = image;
        result
    }

    /// Interfaces and how the program is attached to them.
    pub fn interfaces(&self) -> &Interfaces {
        &self.interfaces
    }
}

fn addresses(config: &Config) -> impl Iterator<Item = IpAddr> {
    let members = |service: &Service| {
        let sorry = service.sorry.as_ref().map(|sorry| sorry.address);
        service.backends.iter().map(|backend| backend.address).chain(sorry).collect::<Vec<_>>()
    };
    config.services.iter().flat_map(members)
}
