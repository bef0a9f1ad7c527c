//! The daemon's side of the exchange: starts the thread when a peer is configured, publishes what the tables mean whenever that may
//! have changed, and takes to the controller what the masters of the other node make their tables from.
//!
//! Without `[peer]` nothing of it runs.

use std::sync::{Arc, OnceLock};

use anyhow::Context as _;
use tracing::{error, info};

use super::clock;
use super::daemon::Daemon;
use super::rehearsal::fates;
use super::virtual_routers::{boot, key};
use crate::config::Config;
use crate::controller::view::Status;
use crate::effects::dataplane::Dataplane;
use crate::effects::exchange::{ExchangeThread, Link, OfMasters, Start};
use crate::effects::vrrp::VrrpHandle;
use crate::exchange::directory::Directory;
use crate::exchange::rehearsal::{Answer, Question};
use crate::exchange::view::View;
use crate::exchange::word::Word;
use crate::reconcile::planner::Planner;
use crate::reconcile::sources;
use crate::reconcile::write::Write;
use crate::vrrp::view::Snapshot;

/// See the module's description.
#[derive(Default)]
pub(super) struct StateExchange {
    running: Option<ExchangeThread>,
    /// It has the tables.
    has_records: bool,
    /// What the tables mean may have changed since it was published.
    is_stale: bool,
    /// What operators and checks say may have changed since it was said.
    is_unspoken: bool,
}

/// What the thread has to say.
pub(super) enum Heard {
    /// What masters say of tables.
    OfMasters(OfMasters),
    /// Whether the peer's state is all here.
    Readiness,
    /// Where packets go.
    Asked(Question),
    /// What operators and checks say on the other node.
    Words(Vec<Word>),
}

impl StateExchange {
    /// Puts a configuration's peer in force.
    ///
    /// # Errors
    /// When the key cannot be read or the thread cannot be started.
    pub(super) fn configure(&mut self, config: &Config, routers: &Arc<OnceLock<VrrpHandle>>) -> anyhow::Result<()> {
        let link = key(config)?.map(|(peer, key)| Link {
            addresses: peer.addresses,
            port: peer.port,
            key,
            patience: config.dataplane.ready_timeout,
        });
        if self.running.is_none() && link.is_some() {
            let routers = Arc::clone(routers);
            let snapshot = move || routers.get().map_or_else(Arc::<Snapshot>::default, VrrpHandle::snapshot);
            let start = Start {
                node: config.node.name.as_str().into(),
                boot: boot(),
                clock: clock::now,
                routers: Box::new(snapshot),
            };
            self.running = Some(ExchangeThread::start(start).context("starting the exchange's thread")?);
            info!("sharing the state of flows with the peer");
        }
        if let Some(thread) = &self.running {
            thread.set_link(link);
        }
        (self.is_stale, self.is_unspoken) = (true, true);
        Ok(())
    }

    /// Gives the thread the tables, once there are any.
    pub(super) fn take_records(&mut self, dataplane: Option<&mut Dataplane>) {
        let (Some(thread), Some(dataplane), false) = (&self.running, dataplane, self.has_records) else { return };
        self.has_records = true;
        match dataplane.records() {
            Ok(records) => thread.set_records(records),
            Err(error) => error!(error = format!("{error:#}"), "records of flows are not shared with the peer"),
        }
    }

    /// Takes note of writes that are carried out.
    pub(super) fn note(&mut self, writes: &[Write]) {
        // How backends are reached says nothing of who they are.
        let is_of_rows = |write: &Write| {
            matches!(
                write,
                Write::RowMac(..)
                    | Write::RowState(..)
                    | Write::RowMethod(..)
                    | Write::TunnelRoom(..)
                    | Write::Recount(..)
            )
        };
        self.is_stale |= !writes.iter().all(is_of_rows);
    }

    /// Tables were swept: since when slots have waited may be another time, though no word of theirs is another.
    pub(super) fn note_sweep(&mut self) {
        self.is_stale = true;
    }

    /// Checks or operators have said something.
    pub(super) fn note_words(&mut self) {
        self.is_unspoken = true;
    }

    /// Publishes what the tables mean, if that may have changed.
    pub(super) fn publish(&mut self, config: &Config, hash: &str, planner: &Planner) {
        let Some(thread) = &self.running else { return };
        if std::mem::take(&mut self.is_stale) {
            thread.publish(Arc::new(Directory::new(config, hash, planner, &thread.directory())));
        }
    }

    /// Whether this node has what the peer is master of: else why not.
    ///
    /// # Errors
    /// In words, for an operator.
    pub(super) fn readiness(&self) -> Result<(), String> {
        self.running.as_ref().map_or(Ok(()), |thread| thread.caught_up.borrow().clone())
    }

    /// What the thread has to say next; never, while it does not run. `None`: it has ended.
    pub(super) async fn next(&mut self) -> Option<Heard> {
        let Some(thread) = &mut self.running else { return std::future::pending().await };
        // What packets are judged by comes first.
        tokio::select! {
            biased;
            followed = thread.followed.recv() => followed.map(Heard::OfMasters),
            changed = thread.caught_up.changed() => {
                changed.ok()?;
                thread.caught_up.borrow_and_update();
                Some(Heard::Readiness)
            }
            words = thread.heard.recv() => words.map(Heard::Words),
            question = thread.questions.recv() => question.map(Heard::Asked),
        }
    }
}

impl Daemon {
    /// Takes what the exchange has to say.
    pub(super) fn hear_exchange(&mut self, heard: Heard) {
        match heard {
            Heard::OfMasters(said) => {
                let now = clock::now();
                let effects = match said {
                    OfMasters::Followed(followed) => self.controller.follow_masters(now, followed),
                    OfMasters::LastSlots(slots) => self.controller.hear_last_slots(now, slots),
                };
                self.perform(effects);
                self.observe();
            }
            Heard::Readiness => self.observe(),
            Heard::Asked(question) => self.rehearse(question),
            Heard::Words(words) => self.hear_words(words),
        }
    }

    /// Takes what operators have said on the other node, and remembers it over restarts as if it had been said here; and what checks say
    /// there.
    fn hear_words(&mut self, words: Vec<Word>) {
        let (mut said, mut opinions) = (Vec::new(), Vec::new());
        for word in words {
            match word {
                Word::Intent(it) => said.push(it),
                Word::Verdict(it) => opinions.push(it),
                // The thread has had these compared.
                Word::Decision(_) => {}
            }
        }
        let (is_new, effects) = self.controller.hear_intents(clock::now(), said);
        self.perform(effects);
        if is_new {
            self.exchange.note_words();
        }
        if is_new && let Err(error) = self.overrides.remember(self.controller.pools().intents()) {
            error!(error = format!("{error:#}"), "what operators said on the peer");
        }
        if !opinions.is_empty() {
            let effects = self.controller.hear_verdicts(clock::now(), opinions);
            self.perform(effects);
        }
        self.observe();
    }

    /// Tells the other node what operators and checks say here, if that is new.
    pub(super) fn speak(&mut self) {
        if let Some(thread) = &self.exchange.running
            && std::mem::take(&mut self.exchange.is_unspoken)
        {
            thread.speak(self.controller.spoken());
        }
    }

    /// Says where packets go.
    fn rehearse(&mut self, question: Question) {
        let now = u64::try_from(clock::now().as_nanos()).unwrap_or(u64::MAX);
        let fates = fates(&mut self.controller, now, &question.packets);
        if let Some(thread) = &self.exchange.running {
            thread.answer(Answer { question, fates });
        }
    }

    /// Tells virtual routers what is known here: see [`VirtualRouters::observe`](super::virtual_routers::VirtualRouters::observe).
    pub(super) fn observe(&mut self) {
        self.virtual_routers.observe(&self.controller, self.exchange.readiness());
    }

    /// The status, with the exchange's part if it runs, and its warnings.
    pub(super) fn with_exchange(&self, mut status: Status) -> Status {
        if let Some(thread) = &self.exchange.running {
            let view = thread.view();
            status.warnings.extend(view.warnings());
            let config = self.controller.config();
            let follow = config.services.iter().all(|service| service.vrrp.is_some());
            let shares_all = follow && sources::all_follow(config);
            if shares_all && view.realms.iter().all(|realm| !realm.master || realm.in_sync) {
                // The peer has all others.
                status.flows_at_risk = status.flows_at_risk.min(view.unconfirmed);
            }
            status.exchange = Some(View::clone(&view).at_epoch(clock::epoch()));
        }
        status
    }
}
