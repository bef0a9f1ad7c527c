//! The loop: events to the controller, its effects to the kernel, requests answered.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::Context as _;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;
use tokio::time::{Interval, MissedTickBehavior, interval};
use tracing::{error, info, warn};

use super::checks::Checks;
use super::claims::Claims;
use super::exchange::StateExchange;
use super::flows::Walks;
use super::forwarding::Forwarding;
use super::in_force::Pending;
use super::layer::RuntimeLayer;
use super::limiter::Limiter;
use super::overrides::Overrides;
use super::own_client::Ourselves;
use super::pools::until;
use super::request::{ConfigText, QUEUE, Request, TraceEvent, TraceQuery};
use super::verdicts::Verdicts;
use super::virtual_routers::VirtualRouters;
use super::{LogFormat, clock, explain, reload, sizes};
use crate::config::Config;
use crate::controller::status::Telemetry;
use crate::controller::view::{ConfigStatus, NodeStatus, Problem, Status};
use crate::controller::{Controller, Event};
use crate::effects::admin::{self, AdminServers};
use crate::effects::dataplane::{Dataplane, TraceSession};
use crate::effects::netlink::{Leave, Resolver, forwards};
use crate::effects::prober::route::Route;
use crate::effects::steering::Steering;
use crate::health::spec::Target;
use crate::nexthop::tracker::Event as Network;

/// Time between two rounds of housekeeping.
const TICK: Duration = Duration::from_secs(1);
/// Events of the network that are taken one after the other before anything else has its turn.
const MOST_AT_ONCE: usize = 256;
/// While every slot is settled, the flow tables are counted only every so many ticks, to delete old records.
const QUIET_TICKS: u32 = 10;
/// After a census there is none for so many times as long as it took.
const CENSUS_REST: u32 = 9;
/// By then every interface that is there was attached to.
const DISOWN_TICKS: u32 = 10;

/// The daemon's parts.
pub(super) struct Daemon {
    pub(super) controller: Controller,
    pub(super) dataplane: Forwarding,
    pub(super) telemetry: Telemetry,
    pub(super) virtual_routers: VirtualRouters,
    pub(super) steering: Steering,
    pub(super) checks: Checks,
    pub(super) overrides: Overrides,
    pub(super) limiter: Limiter,
    pub(super) claims: Claims,
    pub(super) exchange: StateExchange,
    pub(super) verdicts: Verdicts,
    pub(super) walks: Walks,
    pub(super) ourselves: Ourselves,
    resolver: Option<Resolver>,
    network: mpsc::Receiver<Network>,
    requests: mpsc::Receiver<Request>,
    admin: Option<AdminServers>,
    pub(super) source: reload::Source,
    /// The file in force; what was added to it at run time is the layer's.
    pub(super) in_force: ConfigText,
    pub(super) runtime: RuntimeLayer,
    pub(super) state: ConfigStatus,
    started: f64,
    quiet_ticks: u32,
    /// Large flow tables take a while to count.
    next_census: Duration,
    /// Ticks until what an earlier daemon left attached, and nobody has adopted, is detached.
    disown_in: u32,
    /// By then this daemon's program is to run wherever a dead one's does.
    pub(super) relieve_by: Duration,
    trace: Option<TraceSession>,
    pub(super) pending: Option<Pending>,
}

impl Daemon {
    /// Loads the program, puts the configuration in force, and begins to listen. Attaching follows when the interfaces are
    /// known.
    pub(super) async fn start(
        source: reload::Source,
        in_force: ConfigText,
        runtime: RuntimeLayer,
        config: Config,
        log_format: LogFormat,
    ) -> anyhow::Result<Self> {
        let sizes = sizes::of(&config);
        let mut dataplane = Forwarding::new(sizes);
        dataplane.prepare_for(&config)?;
        let (resolver, network) = Resolver::start().context("asking the kernel about the network")?;
        let (sender, requests) = mpsc::channel(QUEUE);
        let admin = admin::serve(&config.admin.socket, config.admin.listen, sender).await?;
        let (overrides, intents) = Overrides::load(&config.node.state_dir);
        let mut controller = Controller::new(config.clone(), sizes.slots, sizes.rows);
        let (verdicts, memory) = Verdicts::load(&config.node.state_dir);
        controller.restore(intents, memory, clock::epoch());
        let now = clock::wall();
        let state = ConfigStatus {
            file: source.name(),
            hash: config.hash(),
            loaded: now,
            last_reload_successful: true,
            last_reload: now,
            last_reload_error: None,
        };
        let steering = Steering::default();
        let ways = steering.clone();
        let find_route = Box::new(move |target: &Target| Route::find(&ways, target));
        let mut daemon = Self {
            controller,
            dataplane,
            telemetry: Telemetry::default(),
            virtual_routers: VirtualRouters::new(config.node.state_dir.clone(), log_format),
            checks: Checks::new(&config.node.name, find_route),
            overrides,
            limiter: Limiter::default(),
            claims: Claims::new(),
            exchange: StateExchange::default(),
            verdicts,
            walks: Walks::default(),
            ourselves: Ourselves::default(),
            steering,
            resolver: Some(resolver),
            network,
            requests,
            admin: Some(admin),
            source,
            in_force,
            runtime,
            state,
            started: now,
            quiet_ticks: 0,
            next_census: Duration::ZERO,
            disown_in: DISOWN_TICKS,
            relieve_by: Duration::ZERO,
            trace: None,
            pending: None,
        };
        let (plan, effects) = daemon.controller.configure(clock::now(), config)?;
        daemon.perform(effects);
        daemon.note_leaving();
        daemon.checks.configure(daemon.controller.config(), &plan.unchanged)?;
        daemon.configure_virtual_routers()?;
        daemon.attend_to_ourselves();
        info!(
            services = daemon.controller.config().services.len(),
            writes = plan.writes.len(),
            "configuration in force"
        );
        Ok(daemon)
    }

    /// Runs until a signal says to stop.
    pub(super) async fn serve(&mut self) -> anyhow::Result<()> {
        let mut terminate = signal(SignalKind::terminate()).context("listening for SIGTERM")?;
        let mut interrupt = signal(SignalKind::interrupt()).context("listening for SIGINT")?;
        let mut hangup: Signal = signal(SignalKind::hangup()).context("listening for SIGHUP")?;
        let mut ticks: Interval = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            tokio::select! {
                _ = terminate.recv() => return Ok(()),
                _ = interrupt.recv() => return Ok(()),
                _ = hangup.recv() => self.begin_reload(None, None),
                event = self.network.recv() => {
                    let event = event.context("the next-hop resolver has stopped")?;
                    self.learn(event);
                }
                Some(request) = self.requests.recv() => self.answer(request),
                output = self.virtual_routers.next() => {
                    let output = output.context("the VRRP thread has ended")?;
                    self.virtual_routers.tell(output);
                    self.attend_to_ourselves();
                }
                changes = self.checks.next() => {
                    let changes = changes.context("the prober has ended")?;
                    self.take_verdicts(changes);
                }
                heard = self.exchange.next() => {
                    let heard = heard.context("the exchange's thread has ended")?;
                    self.hear_exchange(heard);
                }
                ended = trace_ended(&mut self.trace) => self.end_trace(ended),
                () = until(self.controller.deadline()) => self.tick_pools(),
                _ = ticks.tick() => self.tick(),
            }
            self.exchange.publish(self.controller.config(), &self.state.hash, self.controller.planner());
        }
    }

    /// Hands over what other nodes can take, stops what listens, then detaches.
    pub(super) async fn stop(mut self) {
        info!("stopping");
        self.virtual_routers.stop().await;
        self.leave_ourselves();
        self.checks.stop().await;
        self.steering.close();
        if let Some(admin) = self.admin.take() {
            admin.stop().await;
        }
        if let Some(resolver) = self.resolver.take() {
            resolver.stop(Leave::Nothing).await;
        }
    }

    pub(super) fn resolver(&self) -> anyhow::Result<&Resolver> {
        self.resolver.as_ref().context("the next-hop resolver was stopped")
    }

    /// Whether an earlier daemon may have left something that is not adopted yet.
    pub(super) fn is_starting(&self) -> bool {
        self.disown_in > 0
    }

    /// Takes what has become known of the network, all that waits at once: what follows from all of it is looked at once.
    fn learn(&mut self, first: Network) {
        self.event(first);
        for _ in 1..MOST_AT_ONCE {
            let Ok(event) = self.network.try_recv() else { break };
            self.event(event);
        }
        self.relieve();
        self.reload_if_ready();
        self.observe();
    }

    fn event(&mut self, event: Network) {
        if let Network::NextHop { destination, result: Err(unresolved) } = &event
            && !unresolved.is_pending()
        {
            warn!(%destination, why = %unresolved, "no next hop");
        }
        let effects = self.controller.handle(clock::now(), Event::Network(event));
        self.perform(effects);
    }

    fn answer(&mut self, request: Request) {
        // An asker that has gone away misses its answer; nothing is wrong with that.
        match request {
            Request::Status(reply) => {
                let (status, asked) = (Box::new(self.status()), self.checks.ask());
                tokio::spawn(async move { drop(reply.send(asked.put_into(status).await)) });
            }
            Request::Node(reply) => drop(reply.send(self.node())),
            Request::Diff(text, reply) => drop(reply.send(self.diff(text))),
            Request::Reload(text, reply) => self.begin_reload(text, Some(reply)),
            Request::Explain(query, reply) => {
                let now = u64::try_from(clock::now().as_nanos()).unwrap_or(u64::MAX);
                drop(reply.send(explain::explain(&self.controller, self.dataplane.get(), now, &query)));
            }
            Request::Services(order, reply) => self.change_services(&order, reply),
            Request::RuntimeServices(reply) => drop(reply.send(self.runtime_services())),
            Request::Flows(query, reply) => self.list_flows(query, reply),
            Request::Trace(query, reply) => drop(reply.send(self.start_trace(&query))),
            Request::Vrrp(order, reply) => drop(reply.send(self.order(&order))),
            Request::Backend(order, reply) => drop(reply.send(self.operate(&order))),
            Request::Events(reply) => drop(reply.send(self.events())),
        }
    }

    fn start_trace(&mut self, query: &TraceQuery) -> Result<mpsc::Receiver<TraceEvent>, Problem> {
        let (session, events) = self.dataplane.required()?.start_trace(query, self.controller.planner().rows())?;
        info!(?query, "tracing: the tracing program is in the place of the forwarding one");
        self.trace = Some(session);
        Ok(events)
    }

    fn end_trace(&mut self, ended: anyhow::Result<()>) {
        self.trace = None;
        let back = self.dataplane.get_mut().map_or(Ok(()), Dataplane::stop_trace);
        if let Err(error) = ended.and(back) {
            error!(error = format!("{error:#}"), "tracing did not end well");
        }
        info!("tracing ended: the forwarding program is back");
    }

    fn tick(&mut self) {
        self.relieve();
        self.reload_if_ready();
        self.tell_untold();
        self.look_for_outliers();
        self.look_for_claims();
        self.remember_verdicts();
        self.speak();
        self.virtual_routers.send_waiting();
        self.ask_gateways();
        self.look_after_ourselves();
        self.observe();
        self.disown_in = self.disown_in.saturating_sub(1);
        if self.disown_in == 0
            && let Some(dataplane) = self.dataplane.get_mut()
        {
            dataplane.disown();
        }
        self.quiet_ticks += 1;
        let planner = self.controller.planner();
        let is_quiet = self.controller.is_settled() && !planner.keeps_connections() && !planner.keeps_translations();
        let now = clock::now();
        if is_quiet && self.quiet_ticks < QUIET_TICKS || now < self.next_census {
            return;
        }
        self.quiet_ticks = 0;
        let Some(dataplane) = self.dataplane.get_mut() else { return };
        let result = dataplane.census(self.controller.image(), now);
        self.next_census = clock::now() + (clock::now() - now) * CENSUS_REST;
        match result {
            Ok(tally) => {
                self.telemetry.tcp_flows = tally.tcp;
                self.telemetry.udp_flows = tally.udp;
                let effects = self.controller.handle(clock::now(), Event::Census(Box::new(tally.census)));
                if !self.controller.is_settled() {
                    self.exchange.note_sweep();
                }
                self.perform(effects);
            }
            Err(error) => error!(error = format!("{error:#}"), "the flow tables cannot be read"),
        }
    }

    fn look_for_outliers(&mut self) {
        let watched = self.controller.watched_services();
        if watched.is_empty() {
            return;
        }
        if let Some(counted) = self.dataplane.totals(|service| watched.contains(service)) {
            let effects = self.controller.handle(clock::now(), Event::Counted(counted));
            self.perform(effects);
        }
    }

    fn status(&mut self) -> Status {
        let planner = self.controller.planner();
        let places = planner.services().values().filter_map(|placed| placed.quic);
        self.dataplane.count(&mut self.telemetry, planner.loads(), places);
        self.telemetry.not_forwarding = self.not_forwarding();
        self.telemetry.epoch = clock::epoch();
        let mut status = self.controller.status(self.node(), self.state.clone(), &self.telemetry);
        status.warnings.extend(self.overrides.warning());
        status.warnings.extend(self.ourselves.warning());
        self.with_exchange(self.with_vrrp(self.with_runtime_services(status)))
    }

    fn not_forwarding(&self) -> BTreeSet<(String, &'static str)> {
        let names = self.controller.interfaces().outer().map(|(name, _)| name);
        names
            .flat_map(|name| ["ipv4", "ipv6"].map(|family| (name, family)))
            .filter(|(name, family)| forwards(name, family) == Some(false))
            .map(|(name, family)| (name.to_owned(), family))
            .collect()
    }

    fn node(&self) -> NodeStatus {
        let readiness = self.controller.readiness();
        NodeStatus {
            name: self.controller.config().node.name.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            kernel: std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default().trim().to_owned(),
            pid: std::process::id(),
            started: self.started,
            ready: readiness.is_ok(),
            not_ready: readiness.err(),
        }
    }

    /// Remembers since when each removed backend is leaving.
    pub(super) fn note_leaving(&mut self) {
        let now = clock::wall();
        let services = self.controller.planner().services().iter();
        let leaving =
            services.flat_map(|(name, placed)| placed.leaving.keys().map(move |it| (name.clone(), it.clone())));
        let before = std::mem::take(&mut self.telemetry.leaving_since);
        self.telemetry.leaving_since =
            leaving.map(|key| (key.clone(), before.get(&key).copied().unwrap_or(now))).collect();
    }
}

/// Resolves when a trace is to end; never while there is none.
async fn trace_ended(trace: &mut Option<TraceSession>) -> anyhow::Result<()> {
    match trace {
        Some(session) => session.ended().await,
        None => std::future::pending().await,
    }
}
