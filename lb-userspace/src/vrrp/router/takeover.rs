//! Whether a backup may become master: because nobody is, or although another is.

use std::time::Duration;

use super::{Cause, Node, Phase, Remote, Router, Timer};
use crate::vrrp::outbox::Outbox;
use crate::vrrp::view::State;
use crate::vrrp::words::span;

/// May not take over now.
#[derive(Clone, Debug, PartialEq)]
pub struct HeldBack {
    /// Why, in words.
    pub why: String,
    /// When it may be otherwise though nothing happens; `None`: not before something does.
    pub until: Option<Duration>,
    /// What it waits for.
    pub cause: HeldBy,
}

/// What a takeover waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeldBy {
    /// The data plane.
    Readiness,
    /// An answer of a gateway.
    Gateway,
    /// Anything else.
    Other,
}

/// May take over.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Permission {
    /// Although the node is not ready: why it is not.
    pub unready: Option<String>,
}

impl Router {
    /// Whether it may take over from a worse master that lives.
    ///
    /// # Errors
    /// Why not, in words.
    pub fn may_preempt(&self, now: Duration, node: &Node) -> Result<(), String> {
        if self.resigned {
            return Err("resigned".into());
        }
        if let Some(track) = &self.standing.pending {
            return Err(format!("first verdict of {track} pending"));
        }
        if let (Some(_), Err(why)) = (self.settings.live, &node.ready) {
            return Err(format!("not ready: {why}"));
        }
        if self.is_owner() {
            return Ok(());
        }
        if !self.config().preempt {
            return Err("preempt is off".into());
        }
        match self.hold_until.filter(|until| node.peer.is_some() && *until > now) {
            Some(until) => Err(format!("hold, for {} more", span(until - now))),
            None => Ok(()),
        }
    }

    /// Whether it may take over what nobody serves.
    ///
    /// # Errors
    /// Why not.
    pub fn may_take_over(&self, now: Duration, node: &Node) -> Result<Permission, HeldBack> {
        if let Some(track) = &self.standing.pending {
            let why = format!("first verdict of {track} pending");
            return Err(HeldBack { why, until: Some(self.patient_until), cause: HeldBy::Other });
        }
        let permission = self.check_ready(now, node)?;
        if let (Some(since), Some(gateway)) = (node.silent_since(), self.unconfirmed_gateway(node)) {
            let heartbeat = node.peer.as_ref().map_or(Duration::ZERO, |peer| peer.heartbeat);
            let silent = span(now.saturating_sub(since));
            let why = format!("the peer is silent for {silent}, and the gateway {gateway} has not answered since");
            return Err(HeldBack { why, until: Some(now + heartbeat), cause: HeldBy::Gateway });
        }
        Ok(permission)
    }

    /// What was ready once takes over from a dead master; what never was waits for another node, but not for ever.
    fn check_ready(&self, now: Duration, node: &Node) -> Result<Permission, HeldBack> {
        let (Some(_), Err(why)) = (self.settings.live, &node.ready) else { return Ok(Permission::default()) };
        if node.was_ready {
            return Ok(Permission { unready: Some(why.clone()) });
        }
        let heard = self.heard_at.map_or(node.started, |at| at.max(node.started));
        let until = heard + node.ready_timeout;
        if now >= until {
            return Ok(Permission { unready: Some(why.clone()) });
        }
        Err(HeldBack { why: format!("not ready: {why}"), until: Some(until), cause: HeldBy::Readiness })
    }

    /// Whether it could serve at once.
    pub fn is_ready(&self, node: &Node) -> bool {
        self.settings.live.is_none() || node.ready.is_ok()
    }

    /// The peer serves and would rather not: it is resigned. We could serve as well.
    pub fn is_offered(&self, node: &Node) -> bool {
        let offers = |remote: &Remote| remote.state == State::Master && !remote.serves;
        let heard = node.peer.as_ref().is_some_and(|peer| peer.alive && peer.pair);
        let able = !self.resigned && self.standing.pending.is_none() && self.is_ready(node);
        heard && able && self.state() == State::Backup && self.remote.as_ref().is_some_and(offers)
    }

    /// The peer says that it is master, but its advertisements do not get here: it is left to it, as long as it says so.
    pub(super) fn peer_serves_unheard(&mut self, now: Duration, node: &Node, out: &mut Outbox) -> bool {
        let alive = node.peer.as_ref().is_some_and(|peer| peer.alive && peer.pair);
        let says_master = self.remote.as_ref().is_some_and(|remote| remote.serves);
        let down = self.down(self.interval());
        let preempts = self.preempts(now);
        let Phase::Backup(backup) = &mut self.phase else { return false };
        // What it said by its last heartbeat is older than its farewell: the supervisor of a dead daemon says no more.
        let farewell = matches!(backup.timer.cause, Cause::Leaving(_) | Cause::PeerSays(_));
        if !alive || !says_master || farewell || preempts {
            return false;
        }
        backup.timer = Timer { at: now + down, cause: Cause::Silence };
        let first = !std::mem::replace(&mut backup.deaf, true);
        let why = "advertisements of the master are not heard, the peer link says it is alive";
        backup.held_back = Some(why.into());
        if first {
            out.warn(&self.name, why.into());
        }
        true
    }
}
