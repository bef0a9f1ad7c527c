//! Carries out effects. Dull on purpose: what to do was decided by the controller.

use std::time::Duration;

use anyhow::Context as _;
use tracing::{error, info, warn};

use super::clock;
use super::daemon::Daemon;
use crate::config::AttachMode;
use crate::controller::{Effect, Event};
use crate::effects::netlink::ethtool::{self, Offload};
use crate::effects::netlink::read_links;
use crate::effects::supervisor::heritage;
use crate::nexthop::ProgramMode;
use crate::own_client::INNER;

/// How long the program of a dead daemon goes on while next hops are looked for: as long as a reload waits for them.
const RELIEF_PATIENCE: Duration = Duration::from_millis(2500);
/// How often, and how far apart, a dead daemon's supervisor is asked again: it releases addresses before it listens.
const HERITAGE_TRIES: u32 = 25;
const HERITAGE_POLL: Duration = Duration::from_millis(20);

impl Daemon {
    /// Carries out effects in their order, and those that follow from them.
    pub(super) fn perform(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            if let Err(error) = self.perform_one(effect) {
                error!(error = format!("{error:#}"), "an effect failed");
            }
        }
    }

    fn perform_one(&mut self, effect: Effect) -> anyhow::Result<()> {
        match effect {
            Effect::Write(writes) => {
                self.exchange.note(&writes);
                self.dataplane.write(writes)?;
            }
            Effect::AssignRows => self.dataplane.assign_rows(self.controller.planner().rows())?,
            Effect::Want(destinations) => self.resolver()?.set_wanted(destinations),
            Effect::AttachedTo(interfaces) => {
                tracing::debug!(?interfaces, "the program is attached to these");
                self.resolver()?.set_attached(interfaces);
            }
            Effect::Attach { name, interface, mode, carries_vlans } => {
                if carries_vlans {
                    self.turn_off_tag_offload(&name);
                }
                let outcome = self.attach(interface, mode)?.map_err(|why| name_foreign(interface, why));
                self.relieve_by = clock::now() + RELIEF_PATIENCE;
                self.report_attachment(&name, &outcome);
                self.virtual_routers.hold(self.controller.config(), self.dataplane.get());
                let effects = self.controller.handle(clock::now(), Event::Attached { interface, outcome });
                self.perform(effects);
                if name == INNER {
                    self.attend_to_ourselves();
                }
            }
            Effect::Detach { interface } => {
                if let Some(dataplane) = self.dataplane.get_mut() {
                    dataplane.detach(interface);
                }
                self.virtual_routers.hold(self.controller.config(), self.dataplane.get());
            }
            Effect::Steer(changes) => self.steering.apply(changes, self.dataplane.get_mut()),
            Effect::CheckNow(specs) => self.checks.check_now(specs),
            Effect::Tell(happenings) => self.tell(happenings),
            Effect::Vlan { interface, below, tags_wire } => self.dataplane.set_vlan(interface, below, tags_wire)?,
        }
        Ok(())
    }

    /// Attaches. Whoever died a moment ago may have left its program there, with a supervisor that has not come to its next
    /// question yet.
    fn attach(&mut self, interface: u32, mode: AttachMode) -> anyhow::Result<Result<ProgramMode, String>> {
        let is_starting = self.is_starting();
        let dataplane = self.dataplane.get_mut().context("the data plane is not open")?;
        let mut outcome = dataplane.attach(interface, mode);
        for _ in 0..HERITAGE_TRIES {
            if outcome.is_ok() || !is_starting {
                break;
            }
            std::thread::sleep(HERITAGE_POLL);
            let left = heritage::claim(&self.controller.config().node.name);
            if !left.is_empty() {
                dataplane.inherit(left);
                outcome = dataplane.attach(interface, mode);
            }
        }
        Ok(outcome)
    }

    /// Lets our program take the place of the one that a dead daemon left, which forwards on meanwhile: once it is known how
    /// every backend is reached, so that ours loses no packet of a living connection; and when it has been waited for long
    /// enough.
    pub(super) fn relieve(&mut self) {
        let is_time = clock::now() >= self.relieve_by || self.controller.planner().pending_hops() == 0;
        let Some(dataplane) = self.dataplane.get_mut().filter(|dataplane| is_time && dataplane.is_unrelieved()) else {
            return;
        };
        let anew = dataplane.relieve();
        info!("this daemon's program has relieved that of the one before");
        for (interface, outcome) in anew {
            warn!(interface, ?outcome, "the program could not be replaced: attached anew");
            let effects = self.controller.handle(clock::now(), Event::Attached { interface, outcome });
            self.perform(effects);
        }
    }

    /// With VLAN interfaces on it, an interface must leave tags in the frame: XDP does not see those taken out of it.
    fn turn_off_tag_offload(&self, name: &str) {
        match ethtool::set_offload(name, Offload::ReceiveVlan, false) {
            Ok(()) => info!(interface = name, "receive-side VLAN tag offload turned off, so that XDP sees tags"),
            Err(error) => {
                warn!(interface = name, %error, "receive-side VLAN tag offload stays on: XDP will not see tags")
            }
        }
    }

    fn report_attachment(&mut self, name: &str, outcome: &Result<ProgramMode, String>) {
        self.telemetry.interfaces_since.insert(name.to_owned(), clock::wall());
        match outcome {
            Ok(ProgramMode::Generic) if name == INNER => {
                info!(interface = name, "attached: this host can use its own services");
            }
            Ok(ProgramMode::Generic) => warn!(
                interface = name,
                "attached in GENERIC mode: forwarding works but is several times slower; `fairway status` says why"
            ),
            Ok(mode) => info!(interface = name, %mode, "attached"),
            Err(why) => error!(interface = name, why, "not attached"),
        }
    }
}

/// Names the program that is in the way, if one is.
fn name_foreign(interface: u32, why: String) -> String {
    let links = read_links().unwrap_or_default();
    match links.get(interface).and_then(|link| link.program) {
        Some(program) => format!("{why} (the program there has id {}, mode {})", program.id, program.mode),
        None => why,
    }
}
