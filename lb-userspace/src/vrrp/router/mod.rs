//! One virtual router: its state machine (RFC 9568 section 6.4) and what it knows of the others.
//!
//! It decides for itself what the RFC leaves to a virtual router alone; what concerns a whole group (becoming master,
//! stepping down) it returns as an [`Intent`], and the engine carries it out for every member.

mod admit;
pub mod advertise;
mod backup;
mod footprint;
mod hear;
mod master;
mod node;
mod phase;
mod place;
mod takeover;
mod transition;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

pub use footprint::Footprint;
pub use node::{Node, PeerStanding};
pub use phase::{Backup, Cause, Duty, Master, Phase, Purpose, Timer};
pub use place::{Place, is_link_local, virtual_mac};
pub use takeover::{HeldBack, HeldBy, Permission};

use super::codec::Form;
use super::event::{RouterSettings, Verdict};
use super::priority::{Effective, OWNER, effective};
use super::timing;
use super::view::{RouterCounters, State};
use crate::config::{ChecksumForm, Condition, VirtualRouter, VrrpVersion};

/// How long the first verdict of a track that may forbid taking part is waited for.
pub const PATIENCE: Duration = Duration::from_secs(5);

/// What a virtual router wants, for itself and its group.
#[derive(Clone, Debug, PartialEq)]
pub enum Intent {
    /// Become master.
    TakeOver {
        /// Why, in words.
        why: String,
        /// From a master that lives, or that nobody is.
        preempting: bool,
    },
    /// Another is the better master: the whole group leaves it to the other.
    Yield {
        /// Why, in words.
        why: String,
    },
    /// Another has taken over what we were handing over.
    Relieved {
        /// Why, in words.
        why: String,
    },
    /// Nobody has taken over what we were handing over.
    NobodyTookOver,
}

/// Another node's claim to be master.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Heard {
    /// Its address.
    pub address: IpAddr,
    /// Its priority.
    pub priority: u8,
    /// When it was heard last.
    pub at: Duration,
}

/// What the peer says of the virtual router that it has under the same name.
#[derive(Clone, Debug, PartialEq)]
pub struct Remote {
    /// Its state there.
    pub state: State,
    /// It is master, and means to stay.
    pub serves: bool,
}

/// What keeps a virtual router from taking part.
#[derive(Clone, Debug, PartialEq)]
pub struct Obstacle {
    /// In words.
    pub why: String,
    /// It is not there yet, rather than broken: a router that never took part stays in Init.
    pub absent: bool,
}

/// A virtual router.
#[derive(Debug)]
pub struct Router {
    /// Never used twice.
    pub id: u64,
    /// Its name.
    pub name: Arc<str>,
    /// As configured.
    pub settings: RouterSettings,
    /// Which unit of routers it moves with.
    pub unit: usize,
    /// Its interface; `None`: not there.
    pub place: Option<Place>,
    /// Where it stands.
    pub phase: Phase,
    /// Since when.
    pub since: Duration,
    /// Why, in words.
    pub why: String,
    /// What its tracks found, in their order.
    pub verdicts: Vec<Verdict>,
    /// Until when tracks without a verdict are waited for.
    pub patient_until: Duration,
    /// What its own tracks make of its priority.
    pub standing: Effective,
    /// The effective priority: the group's least.
    pub priority: u8,
    /// An operator made it resign.
    pub resigned: bool,
    /// It does not preempt until then.
    pub hold_until: Option<Duration>,
    /// Who else is master.
    pub master: Option<Heard>,
    /// When any master was heard last.
    pub heard_at: Option<Duration>,
    /// The interval of the better master that we are about to leave everything to.
    pub learned: Option<Duration>,
    /// What the peer says of its virtual router of this name.
    pub remote: Option<Remote>,
    /// Gateways that are tracked: address, and when each answered last.
    pub gateways: Vec<(IpAddr, Option<Duration>)>,
    /// Not master any more, it goes on forwarding until then.
    pub lingers_until: Option<Duration>,
    /// Form of the checksum that the others send.
    pub form: Form,
    /// How the other's addresses differ from ours, in words.
    pub difference: Option<String>,
    /// What the outside holds in its name.
    pub footprint: Footprint,
    /// It takes part no more, for good.
    pub ended: bool,
    /// The footprint may have to change.
    pub moved: bool,
    /// Counters.
    pub counters: RouterCounters,
}

impl Router {
    /// A virtual router that does not take part yet.
    pub fn new(id: u64, settings: RouterSettings, now: Duration) -> Self {
        let unknown = unknown_verdicts(&settings.router);
        let standing = effective(settings.router.priority, &settings.router.tracks, &unknown, true);
        Self {
            id,
            name: settings.router.name.as_str().into(),
            unit: 0,
            place: None,
            phase: Phase::Init,
            since: now,
            why: "starting".into(),
            verdicts: unknown,
            patient_until: now + PATIENCE,
            priority: standing.priority,
            standing,
            resigned: false,
            hold_until: None,
            master: None,
            heard_at: None,
            learned: None,
            remote: None,
            gateways: Vec::new(),
            lingers_until: None,
            form: Form::PseudoHeader,
            difference: None,
            footprint: Footprint::left_behind(&settings),
            ended: false,
            moved: true,
            counters: RouterCounters::default(),
            settings,
        }
    }

    /// As configured, the protocol's part.
    pub fn config(&self) -> &VirtualRouter {
        &self.settings.router
    }

    /// Its state.
    pub fn state(&self) -> State {
        match self.phase {
            Phase::Init => State::Init,
            Phase::Fault => State::Fault,
            Phase::Backup(_) => State::Backup,
            Phase::Master(_) => State::Master,
        }
    }

    /// Master, and not about to hand over.
    pub fn serves(&self) -> bool {
        matches!(&self.phase, Phase::Master(Master { duty: Duty::Serving { .. }, .. }))
    }

    /// Master, and handing over.
    pub fn hands_over(&self) -> bool {
        matches!(&self.phase, Phase::Master(Master { duty: Duty::HandingOver { .. }, .. }))
    }

    /// Whether the addresses are its own (RFC 9568 section 6.4.1).
    pub fn is_owner(&self) -> bool {
        self.config().priority == OWNER
    }

    /// Skew_Time with this interval.
    pub fn skew(&self, interval: Duration) -> Duration {
        timing::skew_time(self.config().version, self.priority, interval)
    }

    /// Active_Down_Interval with this interval.
    pub fn down(&self, interval: Duration) -> Duration {
        let config = self.config();
        timing::active_down_interval(config.version, self.priority, interval, config.missed_advertisements)
    }

    /// The interval in force: the master's, or our own.
    pub fn interval(&self) -> Duration {
        match &self.phase {
            Phase::Backup(backup) => backup.interval,
            Phase::Init | Phase::Fault | Phase::Master(_) => self.config().advertisement_interval,
        }
    }

    /// Form of the checksum to send.
    pub fn checksum(&self) -> Form {
        match self.config().checksum {
            ChecksumForm::Auto => self.form,
            ChecksumForm::PseudoHeader => Form::PseudoHeader,
            ChecksumForm::Plain => Form::Plain,
        }
    }

    /// When it must be looked at.
    pub fn deadline(&self) -> Option<Duration> {
        let own = match &self.phase {
            Phase::Init | Phase::Fault => None,
            Phase::Backup(backup) => Some(backup.deadline()),
            Phase::Master(master) => Some(master.deadline()),
        };
        let patience = self.standing.pending.as_ref().map(|_| self.patient_until);
        [own, self.lingers_until, patience].into_iter().flatten().min()
    }

    /// The configured interval may have changed: an advertisement that was due later is due by the new one; a version 2
    /// backup has no other interval than the configured one.
    pub fn keep_interval(&mut self, now: Duration) {
        let (interval, version) = (self.config().advertisement_interval, self.config().version);
        match &mut self.phase {
            Phase::Master(Master { duty: Duty::Serving { next }, .. }) => *next = (*next).min(now + interval),
            Phase::Backup(backup) if version == VrrpVersion::V2 => backup.interval = interval,
            Phase::Init | Phase::Fault | Phase::Backup(_) | Phase::Master(_) => {}
        }
    }

    /// What keeps it from taking part, itself and not its group.
    pub fn obstacle(&self) -> Option<Obstacle> {
        let interface = &self.config().interface;
        let Some(place) = &self.place else {
            return Some(Obstacle { why: format!("{interface} is not there"), absent: true });
        };
        if !place.running {
            return Some(Obstacle { why: format!("{interface} is down"), absent: false });
        }
        if place.source.is_none() {
            let why = format!("{interface} has no {} to speak from", place.wanted_source());
            return Some(Obstacle { why, absent: true });
        }
        let fault = self.standing.fault.as_ref()?;
        Some(Obstacle { why: fault.clone(), absent: false })
    }

    /// A tracked gateway that has not answered since the peer fell silent: perhaps it is we who are cut off.
    pub fn unconfirmed_gateway(&self, node: &Node) -> Option<IpAddr> {
        let since = node.silent_since()?;
        let silent = |(_, answered): &&(IpAddr, Option<Duration>)| answered.is_none_or(|answered| answered <= since);
        self.gateways.iter().find(silent).map(|(address, _)| *address)
    }

    /// A tracked gateway that does not answer.
    pub fn silent_gateway(&self) -> Option<IpAddr> {
        let tracks = self.config().tracks.iter().zip(&self.verdicts);
        tracks.filter(|(_, verdict)| verdict.holds == Some(false)).find_map(|(track, _)| match track.condition {
            Condition::Gateway { address, .. } => Some(address),
            Condition::Interface { .. }
            | Condition::Uplink { .. }
            | Condition::Service { .. }
            | Condition::Script { .. }
            | Condition::Process { .. }
            | Condition::File { .. }
            | Condition::Load { .. }
            | Condition::Bfd { .. } => None,
        })
    }

    /// When a tracked gateway answered last.
    pub fn gateway_answered(&mut self, address: IpAddr, answered: Option<Duration>) {
        match self.gateways.iter_mut().find(|(known, _)| *known == address) {
            Some((_, last)) => *last = answered,
            None => self.gateways.push((address, answered)),
        }
    }

    /// Takes note of what the tracks found; the priority follows when the engine has asked the whole group.
    pub fn assess(&mut self, now: Duration) {
        let config = &self.settings.router;
        self.standing = effective(config.priority, &config.tracks, &self.verdicts, now < self.patient_until);
    }
}

/// The verdicts before anything was found.
pub fn unknown_verdicts(config: &VirtualRouter) -> Vec<Verdict> {
    let unknown = Verdict { holds: None, factor: 1, detail: "no verdict yet".into() };
    vec![unknown; config.tracks.len()]
}
