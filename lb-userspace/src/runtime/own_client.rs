//! Sees that this host can use the services that are live on it, while the configuration wants that. Looked at anew with every change
//! of what it depends on, and now and then, since others change rules and routes too.

use tracing::{error, info};

use super::daemon::Daemon;
use crate::config::Config;
use crate::effects::own_client::{OwnClient, Room};
use crate::own_client::{addresses_here, families};
use crate::vrrp::view::State;

/// Ticks between two looks at what nobody announces.
const ROUND: u32 = 5;
/// While no interface is known.
const ORDINARY_MTU: u32 = 1500;

/// See the module's description.
#[derive(Default)]
pub(super) struct Ourselves {
    /// While it is wanted.
    open: Option<OwnClient>,
    /// What a daemon before this one left was looked for.
    is_clean: bool,
    due_in: u32,
    /// What is wrong at present, in words.
    problem: Option<String>,
}

impl Ourselves {
    /// What an operator should know.
    pub(super) fn warning(&self) -> Option<String> {
        self.problem
            .as_ref()
            .map(|problem| format!("this host cannot use its own services (dataplane.own_client): {problem}"))
    }

    /// Takes note of how it went; each problem is told once.
    fn note(&mut self, problem: Option<String>) {
        if self.problem == problem {
            return;
        }
        match &problem {
            Some(problem) => error!(problem, "this host cannot use its own services (dataplane.own_client)"),
            None => info!("this host can use its own services"),
        }
        self.problem = problem;
    }

    fn withdraw(&mut self) {
        let own = self.open.take().map_or_else(OwnClient::open, Ok);
        match own.and_then(|own| own.withdraw()) {
            Ok(()) => {}
            Err(error) => error!(error = format!("{error:#}"), "rules and routes of this host's own packets stay"),
        }
        self.problem = None;
    }
}

impl Daemon {
    /// To be called with every tick.
    pub(super) fn look_after_ourselves(&mut self) {
        self.ourselves.due_in = self.ourselves.due_in.saturating_sub(1);
        if self.ourselves.due_in == 0 {
            self.attend_to_ourselves();
        }
    }

    /// Makes it so. To be called when configuration, mastership or interfaces have changed.
    pub(super) fn attend_to_ourselves(&mut self) {
        self.ourselves.due_in = ROUND;
        let config = self.controller.config();
        if !config.dataplane.own_client {
            // Another daemon's is none of ours to take away.
            let is_left = !std::mem::replace(&mut self.ourselves.is_clean, true);
            if self.ourselves.open.is_some() || is_left && OwnClient::is_left() {
                self.ourselves.withdraw();
            }
            return;
        }
        self.ourselves.is_clean = true;
        let problem = match self.use_own_services() {
            Ok(missed) => (!missed.is_empty()).then(|| missed.join("; ")),
            Err(error) => Some(format!("{error:#}")),
        };
        self.ourselves.note(problem);
    }

    /// Takes back what only a node has that services are live on: nothing that this host sends goes by this node any more.
    pub(super) fn leave_ourselves(&mut self) {
        if self.ourselves.open.is_some() {
            self.ourselves.withdraw();
        }
    }

    fn use_own_services(&mut self) -> anyhow::Result<Vec<String>> {
        if self.ourselves.open.is_none() {
            self.ourselves.open = Some(OwnClient::open()?);
        }
        let Some(own) = &self.ourselves.open else { return Ok(Vec::new()) };
        let (config, room) = (self.controller.config(), self.room());
        let outer = own.ensure_pair(room)?;
        let routers = self.virtual_routers.handle().map(|handle| handle.snapshot());
        let is_master = |name: &str| {
            let of_name = routers.iter().flat_map(|it| &it.routers).find(|router| *router.name == *name);
            of_name.is_some_and(|router| router.state == State::Master)
        };
        // Without the program the host would answer by itself, as it does without all of this.
        let has_program = self.controller.interfaces().own().is_some();
        let addresses = if has_program { addresses_here(config, is_master) } else { Default::default() };
        let missed = own.set_routes(&addresses, outer, room)?;
        own.set_rules(families(config))?;
        Ok(missed)
    }

    /// As the interfaces of the configuration are.
    fn room(&self) -> Room {
        let Config { dataplane, .. } = self.controller.config();
        let links = self.controller.interfaces().links();
        let mtus = || dataplane.interfaces.iter().filter_map(|name| links.by_name(name)).map(|link| link.mtu);
        Room { widest: mtus().max().unwrap_or(ORDINARY_MTU), narrowest: mtus().min().unwrap_or(ORDINARY_MTU) }
    }
}
