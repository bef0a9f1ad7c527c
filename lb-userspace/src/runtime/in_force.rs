//! How a configuration comes into force: it is read, waits until its backends can be reached, and replaces the one before, or is refused as
//! a whole. What refuses it is in [`super::reload`].

use std::time::Duration;

use tokio::sync::oneshot;
use tracing::{error, info};

use super::clock;
use super::daemon::Daemon;
use super::reload::{self, Candidate};
use super::request::ConfigText;
use super::virtual_routers::VirtualRouters;
use crate::config::Config;
use crate::controller::Effect;
use crate::controller::view::{PlanReport, Problem};

/// How long a reload waits for the next hops of new backends: an ARP request and two more. A backend that does not answer
/// by then is put in force without; its packets are dropped under `next-hop-unknown` until it does.
const NEXT_HOP_PATIENCE: Duration = Duration::from_millis(2500);

/// Whom to tell how a reload ended.
pub(super) type Reply = oneshot::Sender<Result<PlanReport, Problem>>;

/// A configuration that waits for the next hops of its new backends.
pub(super) struct Pending {
    candidate: Candidate,
    /// It was read from a file, as opposed to an order that changes services: it is reported as a reload.
    is_reload: bool,
    reply: Option<Reply>,
    /// When it is put in force whatever is known.
    until: Duration,
}

impl Daemon {
    /// What would change if a configuration were put in force.
    pub(super) fn diff(&mut self, text: Option<ConfigText>) -> Result<PlanReport, Problem> {
        let Candidate { config, warnings, .. } = self.read(text)?;
        let plan = self.controller.preview(clock::now(), &config);
        let plan = plan.map_err(|error| Problem { exit: 1, message: error.to_string() })?;
        Ok(reload::report(&plan, warnings, self.controller.overrides()))
    }

    /// Reads another configuration, to be put in force as [`Self::begin`] says.
    pub(super) fn begin_reload(&mut self, text: Option<ConfigText>, reply: Option<Reply>) {
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
    pub(super) fn reload_if_ready(&mut self) {
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

    /// Virtual routers as the configuration in force has them.
    pub(super) fn configure_virtual_routers(&mut self) -> anyhow::Result<()> {
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
}
