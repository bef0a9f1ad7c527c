//! A master's timers: advertisements, hand-over, addresses that somebody took away.

use std::time::Duration;

use super::{Duty, Intent, Phase, Purpose, Router};
use crate::vrrp::outbox::Outbox;

/// Addresses that are taken away again and again are put back no more often.
const RESTORE_PAUSE: Duration = Duration::from_secs(1);
/// What a hand-over waits for besides the slowest backup's timer: the network, and the other node's kernel.
const HAND_OVER_MARGIN: Duration = Duration::from_millis(100);
/// No hand-over takes longer.
const LONGEST_HAND_OVER: Duration = Duration::from_secs(4);
/// The slowest backup has this priority.
const SLOWEST: u8 = 1;

impl Router {
    /// A master's deadline has come.
    pub fn master_timeout(&mut self, now: Duration, out: &mut Outbox) -> Option<Intent> {
        let Phase::Master(master) = &mut self.phase else { return None };
        if master.restore_at.is_some_and(|at| at <= now) {
            self.restore(now, out);
        }
        let Phase::Master(master) = &mut self.phase else { return None };
        match master.duty {
            Duty::HandingOver { until, .. } => (until <= now).then_some(Intent::NobodyTookOver),
            Duty::Serving { next } if next <= now => {
                self.advertise_on_time(now, next, out);
                None
            }
            Duty::Serving { .. } => None,
        }
    }

    /// The Adver_Timer has fired. The next one keeps the beat, unless a whole interval was missed.
    fn advertise_on_time(&mut self, now: Duration, due: Duration, out: &mut Outbox) {
        let interval = self.config().advertisement_interval;
        let forgotten = self.down(interval);
        self.counters.lateness.observe(now - due);
        let Phase::Master(master) = &mut self.phase else { return };
        let next = due + interval;
        master.duty = Duty::Serving { next: if next > now { next } else { now + interval } };
        master.advertised = now;
        master.foreign = master.foreign.filter(|foreign| now < foreign.at + forgotten);
        self.say_master(out);
    }

    /// Somebody took an address away that we hold.
    pub fn address_lost(&mut self, now: Duration, out: &mut Outbox) {
        let Phase::Master(master) = &mut self.phase else { return };
        match master.restored.map(|restored| restored + RESTORE_PAUSE).filter(|earliest| *earliest > now) {
            Some(earliest) => master.restore_at = Some(earliest),
            None => self.restore(now, out),
        }
    }

    fn restore(&mut self, now: Duration, out: &mut Outbox) {
        let Phase::Master(master) = &mut self.phase else { return };
        master.restore_at = None;
        master.restored = Some(now);
        master.announcements.restart(now);
        self.footprint.restore(out);
        out.warn(&self.name, "an address was taken away by somebody else and is put back".into());
    }

    /// Priority 0 goes out, and we serve on until somebody has taken over. Whether there is something to hand over.
    pub fn hand_over(&mut self, now: Duration, purpose: Purpose, out: &mut Outbox) -> bool {
        let config = self.config();
        let slowest = crate::vrrp::timing::skew_time(config.version, SLOWEST, config.advertisement_interval);
        let wait = (config.advertisement_interval + slowest + HAND_OVER_MARGIN).min(LONGEST_HAND_OVER);
        let Phase::Master(master) = &mut self.phase else { return false };
        if let Duty::HandingOver { purpose: present, .. } = &mut master.duty {
            *present = purpose;
            return true;
        }
        master.duty = Duty::HandingOver { until: now + wait, purpose };
        master.advertised = now;
        self.why = match purpose {
            Purpose::Resign => "handing over: resigned".into(),
            Purpose::Stop => "handing over: the daemon stops".into(),
        };
        self.say_farewell(out);
        true
    }

    /// Serves again what was about to be handed over.
    pub fn serve_on(&mut self, now: Duration, why: String, out: &mut Outbox) {
        let interval = self.config().advertisement_interval;
        let Phase::Master(master) = &mut self.phase else { return };
        master.duty = Duty::Serving { next: now + interval };
        master.advertised = now;
        master.announcements.restart(now);
        self.why = why;
        self.say_master(out);
    }

    /// A burst of announcements, if one is due: the MAC address and the addresses.
    pub fn burst(&mut self, now: Duration) -> Option<(u32, [u8; 6])> {
        let Phase::Master(master) = &mut self.phase else { return None };
        let place = self.place.as_ref()?;
        let serves = matches!(master.duty, Duty::Serving { .. });
        if !serves || now < master.announcements.due() {
            return None;
        }
        master.announcements.advance(now);
        Some((place.index, self.answering_mac(place)))
    }

    /// Announces from the first step on: addresses have come.
    pub fn announce_anew(&mut self, now: Duration) {
        if let Phase::Master(master) = &mut self.phase {
            master.announcements.restart(now);
        }
    }
}
