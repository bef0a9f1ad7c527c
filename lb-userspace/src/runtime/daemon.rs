//! The loop: events to the controller, its effects to the kernel, requests answered.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::Context as _;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Interval, MissedTickBehavior, interval};
use tracing::{error, info, warn};

use super::checks::Checks;
use super::claims::Claims;
use super::exchange::StateExchange;
use super::flows::Walks;
use super::forwarding::Forwarding;
use super::layer::RuntimeLayer;
use super::limiter::Limiter;
use super::overrides::Overrides;
use super::own_client::Ourselves;
use super::pools::until;
use super::reload::Candidate;
use super::request::{ConfigText, QUEUE, Request, TraceEvent, TraceQuery};
use super::verdicts::Verdicts;
use super::virtual_routers::VirtualRouters;
use super::{LogFormat, clock, explain, reload};
use crate::config::{Config, Service};
use crate::controller::status::Telemetry;
use crate::controller::view::{ConfigStatus, NodeStatus, PlanReport, Problem, Status};
use crate::controller::{Controller, Effect, Event};
use crate::effects::admin::{self, AdminServers};
use crate::effects::dataplane::object::Sizes;
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
/// How long a reload waits for the next hops of new backends: an ARP request and two more. A backend that does not answer
/// by then is put in force without; its packets are dropped under `next-hop-unknown` until it does.
const NEXT_HOP_PATIENCE: Duration = Duration::from_millis(2500);
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
    source: reload::Source,
    /// The file in force; what was added to it at run time is the layer's.
    pub(super) in_force: ConfigText,
    pub(super) runtime: RuntimeLayer,
    state: ConfigStatus,
    started: f64,
    quiet_ticks: u32,
    /// Large flow tables take a while to count.
    next_census: Duration,
    /// Ticks until what an earlier daemon left attached, and nobody has adopted, is detached.
    disown_in: u32,
    /// By then this daemon's program is to run wherever a dead one's does.
    pub(super) relieve_by: Duration,
    trace: Option<TraceSession>,
    pending: Option<Pending>,
}

/// Whom to tell how a reload ended.
pub(super) type Reply = oneshot::Sender<Result<PlanReport, Problem>>;

/// A configuration that waits for the next hops of its new backends.
struct Pending {
    candidate: Candidate,
    /// It was read from a file, as opposed to an order that changes services: it is reported as a reload.
    is_reload: bool,
    reply: Option<Reply>,
    /// When it is put in force whatever is known.
    until: Duration,
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
        let sizes = sizes(&config);
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

    fn diff(&mut self, text: Option<ConfigText>) -> Result<PlanReport, Problem> {
        let Candidate { config, warnings, .. } = self.read(text)?;
        let plan = self.controller.preview(clock::now(), &config);
        let plan = plan.map_err(|error| Problem { exit: 1, message: error.to_string() })?;
        Ok(reload::report(&plan, warnings, self.controller.overrides()))
    }

    /// Reads another configuration, to be put in force as [`Self::begin`] says.
    fn begin_reload(&mut self, text: Option<ConfigText>, reply: Option<Reply>) {
        self.finish_pending();
        match self.read(text) {
            Ok(candidate) => self.begin(candidate, true, reply),
            Err(problem) => self.report_reload(Err(problem), true, reply),
        }
    }

    /// Puts a configuration in force when the next hops of its new backends are known, so that no packet goes to one that
    /// cannot be reached yet; at once if there are none.
    pub(super) fn begin(&mut self, candidate: Candidate, is_reload: bool, reply: Option<Reply>) {
        let effect = self.controller.destinations_with(&candidate.config).map(Effect::Want);
        self.perform(effect.into_iter().collect());
        self.pending = Some(Pending { candidate, is_reload, reply, until: clock::now() + NEXT_HOP_PATIENCE });
        self.reload_if_ready();
    }

    /// Puts the waiting configuration in force, if there is one: another one is to follow.
    pub(super) fn finish_pending(&mut self) {
        if let Some(earlier) = self.pending.take() {
            self.finish_reload(earlier);
        }
    }

    /// Puts the waiting configuration in force if there is nothing more to wait for.
    fn reload_if_ready(&mut self) {
        let ready = |pending: &Pending| {
            clock::now() >= pending.until || self.controller.knows_next_hops_of(&pending.candidate.config)
        };
        if self.pending.as_ref().is_some_and(ready) {
            self.finish_pending();
        }
    }

    fn finish_reload(&mut self, pending: Pending) {
        let Pending { candidate: Candidate { config, warnings, source, layer }, is_reload, reply, .. } = pending;
        let hash = config.hash();
        let prepared = VirtualRouters::check(&config).and_then(|()| self.dataplane.prepare_for(&config));
        let configured =
            prepared.and_then(|()| self.controller.configure(clock::now(), config).map_err(anyhow::Error::from));
        let result = match configured {
            Ok((plan, effects)) => {
                self.perform(effects);
                self.note_leaving();
                self.state.hash = hash;
                self.state.loaded = clock::wall();
                self.in_force = source;
                let remembered = self.runtime.put_in_force(layer);
                let checked = self.checks.configure(self.controller.config(), &plan.unchanged);
                let partly = |message| Problem { exit: 5, message };
                match checked.and_then(|()| self.configure_virtual_routers()) {
                    Ok(()) => remembered
                        .map(|()| reload::report(&plan, warnings, self.controller.overrides()))
                        .map_err(|error| partly(format!("{error:#}"))),
                    Err(error) => {
                        Err(partly(format!("services are reloaded, checks or virtual routers are not: {error:#}")))
                    }
                }
            }
            Err(error) => {
                let effect = Effect::Want(self.controller.planner().destinations().clone());
                self.perform(vec![effect]);
                Err(Problem { exit: 1, message: format!("{error:#}") })
            }
        };
        self.attend_to_ourselves();
        self.report_reload(result, is_reload, reply);
    }

    fn configure_virtual_routers(&mut self) -> anyhow::Result<()> {
        self.exchange.configure(self.controller.config(), self.virtual_routers.handle_to_be())?;
        self.exchange.take_records(self.dataplane.get_mut());
        let caught_up = self.exchange.readiness();
        self.virtual_routers.configure(self.controller.config(), &self.controller, self.dataplane.get(), caught_up)
    }

    /// Tells how it ended. A change of services that is refused is its asker's matter: only what `is_reload` is noted.
    fn report_reload(&mut self, result: Result<PlanReport, Problem>, is_reload: bool, reply: Option<Reply>) {
        if is_reload {
            self.state.last_reload = clock::wall();
            self.state.last_reload_successful = result.is_ok();
            self.state.last_reload_error = result.as_ref().err().map(|problem| problem.message.clone());
        }
        match &result {
            Ok(report) if report.changes.is_empty() => info!("configuration reloaded: nothing changed"),
            Ok(report) => info!(changes = report.changes.join("; "), "configuration reloaded"),
            Err(problem) => error!(why = problem.message, "configuration not reloaded; the old one stays in force"),
        }
        if let Some(reply) = reply {
            drop(reply.send(result));
        }
    }

    /// The configuration in a text, or else in the daemon's own file, with what was added at run time.
    fn read(&self, text: Option<ConfigText>) -> Result<Candidate, Problem> {
        let text = text.map_or_else(|| self.source.read(), Ok).map_err(reload::problem)?;
        let (layer, file) = (&self.runtime.layer, self.runtime.file());
        if !layer.is_empty() {
            // A daemon that starts will read it by itself first.
            reload::parse(&text).map_err(reload::problem)?;
        }
        let candidate = reload::parse_layered(&text, layer, &file).map_err(reload::problem)?;
        self.fit(candidate)
    }

    /// Refuses what only a restart can put in force.
    pub(super) fn fit(&self, mut candidate: Candidate) -> Result<Candidate, Problem> {
        let Config { node, .. } = self.controller.config();
        candidate.config.node.state_dir.clone_from(&node.state_dir);
        match reload::needs_restart(self.controller.config(), &candidate.config) {
            Some(problem) => Err(problem),
            None => Ok(candidate),
        }
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
    fn note_leaving(&mut self) {
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

/// Room for a configuration and its successors.
fn sizes(config: &Config) -> Sizes {
    let slots = config.services.iter().map(|service| u64::from(service.lookup_table_size)).sum();
    let members = |service: &Service| service.backends.len() + usize::from(service.sorry.is_some());
    let rows = config.services.iter().map(|service| (service.listeners.len() * members(service)) as u64).sum();
    let dataplane = &config.dataplane;
    let connections = dataplane.stateful_table_capacity;
    let translations = dataplane.translation_table_capacity;
    Sizes { connections, translations, ..Sizes::for_need(slots, rows, dataplane.flow_table_capacity) }
}
