//! The states of a virtual router, each with the timers that it may use and no others.

use std::net::IpAddr;
use std::time::Duration;

use super::Heard;
use crate::vrrp::announcer::Timetable;

/// Where a virtual router stands.
#[derive(Clone, Debug, PartialEq)]
pub enum Phase {
    /// Not taking part yet, or no more.
    Init,
    /// Something forbids taking part.
    Fault,
    /// Another is master, or nobody yet.
    Backup(Backup),
    /// We hold the addresses.
    Master(Master),
}

/// Waiting.
#[derive(Clone, Debug, PartialEq)]
pub struct Backup {
    /// Active_Adver_Interval: the master's, as learned.
    pub interval: Duration,
    /// Active_Down_Timer.
    pub timer: Timer,
    /// A lower priority advertises, and from then on we do not mind it.
    pub preempts_from: Option<Duration>,
    /// The peer went silent: how long we wait for a sign that it lives.
    pub suspicion: Option<Duration>,
    /// The timer has fired, but we were not allowed to take over.
    pub overdue: bool,
    /// Why we are not master though we might be.
    pub held_back: Option<String>,
    /// The peer says that it is master and its advertisements do not get here: said so.
    pub deaf: bool,
    /// Another master than the one heard last, heard before it.
    pub rival: Option<Heard>,
}

/// When a backup takes over, and why then.
#[derive(Clone, Debug, PartialEq)]
pub struct Timer {
    /// When.
    pub at: Duration,
    /// Why.
    pub cause: Cause,
}

/// What made the Active_Down_Timer what it is.
#[derive(Clone, Debug, PartialEq)]
pub enum Cause {
    /// Nothing: it runs since the master was heard.
    Silence,
    /// The master has said that it leaves.
    Leaving(IpAddr),
    /// We have just stepped down because we may have been taken for dead.
    SteppedDown,
    /// The BFD session with the master was lost.
    BfdLost(IpAddr),
    /// The peer is silent on every path.
    PeerSilent,
    /// What the peer said of itself.
    PeerSays(String),
}

/// Holding the addresses.
#[derive(Clone, Debug, PartialEq)]
pub struct Master {
    /// What is done with them.
    pub duty: Duty,
    /// When the link is told of them.
    pub announcements: Timetable,
    /// Somebody took an address away: when it is put back.
    pub restore_at: Option<Duration>,
    /// When one was put back last.
    pub restored: Option<Duration>,
    /// Another that says it is master.
    pub foreign: Option<Heard>,
    /// When an advertisement went out last.
    pub advertised: Duration,
}

/// What a master is about.
#[derive(Clone, Debug, PartialEq)]
pub enum Duty {
    /// Adver_Timer runs.
    Serving {
        /// When the next advertisement is due.
        next: Duration,
    },
    /// Priority 0 is out, and we serve on until somebody takes over.
    HandingOver {
        /// We wait no longer.
        until: Duration,
        /// What for.
        purpose: Purpose,
    },
}

/// What a hand-over is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// An operator wants another node to serve.
    Resign,
    /// The daemon stops.
    Stop,
}

impl Backup {
    /// Waiting for a master to fall silent.
    pub fn new(interval: Duration, timer: Timer) -> Self {
        Self {
            interval,
            timer,
            preempts_from: None,
            suspicion: None,
            overdue: false,
            held_back: None,
            deaf: false,
            rival: None,
        }
    }

    /// When it must be looked at.
    pub fn deadline(&self) -> Duration {
        self.suspicion.map_or(self.timer.at, |until| until.min(self.timer.at))
    }

    /// Takes over no later than then.
    pub fn hasten(&mut self, at: Duration, cause: Cause) {
        if at <= self.timer.at {
            self.timer = Timer { at, cause };
        }
    }
}

impl Master {
    /// A new master: the first advertisement is out, the first announcement due.
    pub fn new(now: Duration, interval: Duration) -> Self {
        Self {
            duty: Duty::Serving { next: now + interval },
            announcements: Timetable::new(now),
            restore_at: None,
            restored: None,
            foreign: None,
            advertised: now,
        }
    }

    /// When it must be looked at.
    pub fn deadline(&self) -> Duration {
        let own = match self.duty {
            Duty::Serving { next } => next.min(self.announcements.due()),
            Duty::HandingOver { until, .. } => until,
        };
        self.restore_at.map_or(own, |at| at.min(own))
    }
}
