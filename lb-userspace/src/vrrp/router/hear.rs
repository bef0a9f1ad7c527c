//! An advertisement was heard: the table of RFC 9568 section 6.4.2 (backup) and 6.4.3 (master).

use std::net::IpAddr;
use std::time::Duration;

use super::advertise::LOWEST;
use super::{Cause, Duty, Heard, Intent, Node, PeerStanding, Phase, Router, Timer};
use crate::happening::Happening;
use crate::vrrp::codec::Advertisement;
use crate::vrrp::outbox::Outbox;
use crate::vrrp::words::span;

/// What comes so soon after we began to hand over may be the parting word of one who had just yielded to us.
const ON_ITS_WAY: Duration = Duration::from_millis(10);

impl Router {
    /// Takes an advertisement that was admitted. The intent, if any, concerns the whole group.
    pub fn hear(
        &mut self,
        now: Duration,
        node: &Node,
        advertisement: &Advertisement,
        source: IpAddr,
        out: &mut Outbox,
    ) -> Option<Intent> {
        let heard = Heard { address: source, priority: advertisement.priority, at: now };
        if heard.priority > 0 {
            self.heard_at = Some(now);
            self.moved |= self.footprint.is_inherited();
        }
        match &self.phase {
            Phase::Init | Phase::Fault => {
                self.master = (heard.priority > 0).then_some(heard);
                None
            }
            Phase::Backup(_) if heard.priority == 0 => {
                self.backup_hears_farewell(now, node, source);
                None
            }
            Phase::Backup(_) => {
                self.backup_hears(now, node, heard, advertisement.interval);
                None
            }
            Phase::Master(master) => match master.duty {
                Duty::HandingOver { .. } if heard.priority == LOWEST && now < master.advertised + ON_ITS_WAY => None,
                Duty::HandingOver { .. } => self.leaver_hears(heard, advertisement.interval),
                Duty::Serving { .. } if self.has_just_taken_over_from_peer(now, node) => {
                    self.assert_master(now, out);
                    None
                }
                Duty::Serving { .. } => self.master_hears(now, heard, advertisement.interval, out),
            },
        }
    }

    /// The master leaves: Skew_Time is all that is left to wait (from the learned interval). It lets the best of several
    /// backups be first; where the peer link says that the two of us are all there are, and that the peer was the master,
    /// there is nobody to wait for.
    fn backup_hears_farewell(&mut self, now: Duration, node: &Node, source: IpAddr) {
        let is_pair = node.peer.as_ref().is_some_and(|peer| peer.pair);
        let peer_served = self.remote.as_ref().is_some_and(|remote| remote.serves);
        let wait = if is_pair && peer_served && !self.resigned { Duration::ZERO } else { self.skew(self.interval()) };
        let Phase::Backup(backup) = &mut self.phase else { return };
        backup.timer = Timer { at: now + wait, cause: Cause::Leaving(source) };
        backup.suspicion = None;
        if self.master.is_some_and(|master| master.address == source) {
            self.master = None;
        }
    }

    fn backup_hears(&mut self, now: Duration, node: &Node, heard: Heard, interval: Duration) {
        let is_worse = heard.priority < self.priority;
        let permitted = if is_worse { self.may_preempt(now, node) } else { Ok(()) };
        let delay = self.config().preempt_delay;
        let down = self.down(interval);
        let Phase::Backup(backup) = &mut self.phase else { return };
        self.master = Some(heard);
        backup.suspicion = None;
        backup.overdue = false;
        backup.deaf = false;
        backup.preempts_from = match (is_worse, &permitted) {
            (true, Ok(())) => Some(backup.preempts_from.unwrap_or(now + delay)),
            (true, Err(_)) | (false, _) => None,
        };
        backup.held_back = permitted.err();
        if backup.preempts_from.is_some_and(|from| from <= now) {
            // Discarded, and the timer runs on: when it fires we take over from a master that lives.
            return;
        }
        if let Some(from) = backup.preempts_from {
            backup.held_back = Some(format!("preempt_delay, for {} more", span(from - now)));
        }
        backup.interval = interval;
        backup.timer = Timer { at: now + down, cause: Cause::Silence };
    }

    /// We are handing over, and somebody has taken it.
    fn leaver_hears(&mut self, heard: Heard, interval: Duration) -> Option<Intent> {
        if heard.priority == 0 {
            return None;
        }
        self.learn(heard, interval);
        Some(Intent::Relieved { why: format!("{} has taken over", heard.address) })
    }

    /// The peer link was faster than an advertisement that the peer had sent before it handed over to us: it serves no more,
    /// or offers to serve no more. If it has changed its mind meanwhile, our answer makes it say so again.
    fn has_just_taken_over_from_peer(&self, now: Duration, node: &Node) -> bool {
        let leaves = self.remote.as_ref().is_some_and(|remote| !remote.serves);
        let heard = |peer: &&PeerStanding| peer.alive && peer.pair && now < self.since + peer.heartbeat;
        leaves && node.peer.as_ref().filter(heard).is_some()
    }

    fn master_hears(&mut self, now: Duration, heard: Heard, interval: Duration, out: &mut Outbox) -> Option<Intent> {
        if heard.priority > 0 && (self.resigned || self.is_better(heard)) {
            self.learn(heard, interval);
            return Some(Intent::Yield { why: self.why_better(heard) });
        }
        self.assert_master(now, out);
        let lasts = self.down(interval);
        // What we have just relieved of its mastership says so, or has not heard us yet.
        let is_settled = now > self.since + interval;
        let Phase::Master(master) = &mut self.phase else { return None };
        // Switches and clients may have learned the other one.
        master.announcements.restart(now);
        if heard.priority > 0 && is_settled {
            let is_new = master.foreign.is_none_or(|foreign| foreign.at + lasts < now);
            master.foreign = Some(heard);
            if is_new {
                let router = self.name.to_string();
                out.tell(Happening::ForeignMaster { router, address: heard.address, priority: heard.priority });
            }
        }
        None
    }

    /// Between two masters the higher priority wins, then the higher address (RFC 9568 section 6.4.3).
    fn is_better(&self, heard: Heard) -> bool {
        let ours = self.place.as_ref().and_then(|place| place.source);
        heard.priority > self.priority || heard.priority == self.priority && Some(heard.address) > ours
    }

    fn why_better(&self, heard: Heard) -> String {
        let Heard { address, priority, .. } = heard;
        let ours = self.priority;
        if self.resigned {
            format!("{address} has taken over what was resigned")
        } else if priority == ours {
            format!("{address} advertises priority {priority} as we do, and has the higher address")
        } else {
            format!("{address} advertises priority {priority}, ours is {ours}")
        }
    }

    /// Notes the better master, for the backup that we are about to be.
    fn learn(&mut self, heard: Heard, interval: Duration) {
        self.master = Some(heard);
        self.learned = Some(interval);
    }
}
