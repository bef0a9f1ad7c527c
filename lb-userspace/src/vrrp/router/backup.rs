//! A backup's timers: the master was not heard, or the peer.

use std::net::IpAddr;
use std::time::Duration;

use super::{Backup, Cause, Heard, Intent, Node, Phase, Router, Timer};
use crate::vrrp::outbox::Outbox;
use crate::vrrp::view::State;
use crate::vrrp::words::span;

impl Router {
    /// A backup's deadline has come.
    pub fn backup_timeout(&mut self, now: Duration, node: &Node, out: &mut Outbox) -> Option<Intent> {
        let Phase::Backup(backup) = &mut self.phase else { return None };
        if backup.suspicion.is_some_and(|until| until <= now) {
            backup.suspicion = None;
            backup.timer = Timer { at: now, cause: Cause::PeerSilent };
        }
        if now < backup.timer.at {
            return None;
        }
        if self.peer_serves_unheard(now, node, out) {
            return None;
        }
        Some(Intent::TakeOver { why: self.why_take_over(now), preempting: self.preempts(now) })
    }

    /// The timer of a backup that discards the advertisements of a worse master is about to fire, and that master lives.
    pub fn preempts(&self, now: Duration) -> bool {
        let Phase::Backup(backup) = &self.phase else { return false };
        let lives = self.master.is_some_and(|master| now < master.at + self.down(backup.interval));
        lives && backup.preempts_from.is_some() && backup.timer.cause == Cause::Silence
    }

    /// Why the timer has fired, in words.
    fn why_take_over(&self, now: Duration) -> String {
        let Phase::Backup(backup) = &self.phase else { return String::new() };
        let silence = match self.master {
            Some(master) => format!("no advertisement of {} for {}", master.address, span(now - master.at)),
            None => format!("no advertisement for {}", span(now - self.since)),
        };
        match (&backup.timer.cause, self.master) {
            (Cause::Silence, Some(master)) if self.preempts(now) => {
                format!("{} advertises priority {}, ours is {}", master.address, master.priority, self.priority)
            }
            (Cause::Silence, _) => silence,
            (Cause::Leaving(address), _) => format!("{address} is leaving: priority 0"),
            (Cause::SteppedDown, _) => "nobody else took over after we had stepped down".into(),
            (Cause::BfdLost(address), _) => format!("BFD session with the master {address} lost"),
            (Cause::PeerSilent, _) => format!("the peer is silent on every path, {silence}"),
            (Cause::PeerSays(what), _) => what.clone(),
        }
    }

    /// The timer fires again when it would have for a master that was heard now, or earlier if something is to be seen then.
    pub fn hold_back(&mut self, now: Duration, why: String, look_again: Option<Duration>) {
        let down = self.down(self.interval());
        let Phase::Backup(backup) = &mut self.phase else { return };
        let at = look_again.filter(|again| *again > now).map_or(now + down, |again| again.min(now + down));
        backup.timer.at = at;
        backup.overdue = true;
        backup.held_back = Some(why);
    }

    /// The timer has fired, but it was not allowed to take over.
    pub fn is_overdue(&self) -> bool {
        matches!(&self.phase, Phase::Backup(backup) if backup.overdue)
    }

    /// What held it back may be gone: a timer that has fired fires again. What the peer offers is taken now.
    pub fn look_again(&mut self, now: Duration, node: &Node) {
        let offered = self.is_offered(node);
        let Phase::Backup(backup) = &mut self.phase else { return };
        if backup.overdue {
            backup.timer.at = now;
        } else if offered {
            backup.timer = Timer { at: now, cause: Cause::PeerSays("the peer hands over".into()) };
        }
    }

    /// The peer, our master, is silent on every path. Its advertisement, asked for just now, is waited for one heartbeat;
    /// with more than two nodes Skew_Time orders them besides. Where two masters are heard, the other one may live: then
    /// VRRP's own timer decides.
    pub fn master_is_silent(&mut self, now: Duration, heartbeat: Duration, pair: bool) {
        // It may notice our silence up to one heartbeat later than we notice its own.
        let wait = heartbeat * 5 / 4;
        let skew = self.skew(self.interval());
        let down = self.down(self.interval());
        let is_recent = |heard: &Heard| heard.at + down > now;
        let master = self.master.filter(is_recent);
        let Phase::Backup(backup) = &mut self.phase else { return };
        let rival = backup.rival.filter(is_recent);
        let are_two = master.zip(rival).is_some_and(|(master, rival)| master.address != rival.address);
        if pair {
            backup.suspicion = Some(now + wait);
        } else if !are_two {
            backup.hasten(now + wait + skew, Cause::PeerSilent);
        }
    }

    /// Waiting for a sign that the silent peer lives.
    pub fn suspects(&self) -> bool {
        matches!(&self.phase, Phase::Backup(Backup { suspicion: Some(_), .. }))
    }

    /// The peer lives: what its silence on the peer link has set going is taken back. Whether there was anything.
    pub fn trust_vrrp(&mut self, now: Duration) -> bool {
        let down = self.down(self.interval());
        let Phase::Backup(backup) = &mut self.phase else { return false };
        let suspected = backup.suspicion.take().is_some();
        let set_going = backup.timer.cause == Cause::PeerSilent;
        if set_going {
            backup.timer = Timer { at: now + down, cause: Cause::Silence };
            backup.overdue = false;
            backup.held_back = None;
        }
        suspected || set_going
    }

    /// The peer was master and says that it is no more. Who has resigned leaves it time to be master again.
    pub fn peer_stepped_down(&mut self, now: Duration, state: State, pair: bool) {
        let at = if pair && !self.resigned { now } else { now + self.skew(self.interval()) };
        let Phase::Backup(backup) = &mut self.phase else { return };
        backup.suspicion = None;
        let why = format!("the peer says that it is master no more but in state {state}");
        backup.hasten(at, Cause::PeerSays(why));
    }

    /// The BFD session with a neighbour was lost. If that is the master, Skew_Time is all that is waited.
    pub fn lost_sight_of(&mut self, now: Duration, neighbour: IpAddr) {
        let skew = self.skew(self.interval());
        let is_master = self.master.is_some_and(|master| master.address == neighbour);
        if let Phase::Backup(backup) = &mut self.phase
            && is_master
        {
            backup.hasten(now + skew, Cause::BfdLost(neighbour));
        }
    }

    /// We did not run for `gap`: no silence of the others follows from that. What they said meanwhile lies in the queue and
    /// is read before any timer fires; but a machine that was paused as a whole had no queue, so a living master gets the
    /// time to be heard again, with one advertisement lost. A short gap costs no more than itself.
    pub fn read_first(&mut self, now: Duration, gap: Duration, least: Duration) {
        let latest = now + (self.interval() * 2).max(least);
        let Phase::Backup(backup) = &mut self.phase else { return };
        for at in [Some(&mut backup.timer.at), backup.suspicion.as_mut()].into_iter().flatten() {
            let excused = if *at <= now { latest } else { (*at + gap).min(latest) };
            *at = excused.max(*at);
        }
    }
}
