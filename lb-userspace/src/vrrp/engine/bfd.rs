//! BFD sessions: which there are follows from the tracks and the interfaces; a lost one is a track that does not hold, and
//! if it was the one with the present master the backup does not wait for more than Skew_Time.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use super::Engine;
use crate::config::Condition;
use crate::happening::Happening;
use crate::vrrp::bfd::{Change, Diagnostic, Settings};
use crate::vrrp::effect::{BfdEnds, Effect};
use crate::vrrp::event::Verdict;
use crate::vrrp::router::{PATIENCE, Place, is_link_local};

/// Who asks for which session: router and track.
pub(super) type Users = BTreeMap<BfdEnds, Vec<(usize, usize)>>;

impl Engine {
    /// The sessions that are wanted, where interfaces or tracks may have changed.
    pub(super) fn arrange_bfd(&mut self, now: Duration) {
        if !std::mem::take(&mut self.bfd_is_stale) {
            return;
        }
        let mut wanted: BTreeMap<BfdEnds, Settings> = BTreeMap::new();
        let mut users = Users::new();
        for (index, router) in self.routers.iter().enumerate() {
            let Some(place) = &router.place else { continue };
            for (track, condition) in router.config().tracks.iter().map(|track| &track.condition).enumerate() {
                if let Some((ends, settings)) = session(place, condition) {
                    users.entry(ends.clone()).or_default().push((index, track));
                    wanted.entry(ends).or_insert(settings);
                }
            }
        }
        for (ends, octets) in self.bfd.configure(&wanted, now) {
            self.out.push(Effect::Bfd { ends, octets });
        }
        let ends = |users: &Users| users.keys().cloned().collect::<BTreeSet<BfdEnds>>();
        if ends(&users) != ends(&self.bfd_users) {
            self.out.push(Effect::BfdSessions(ends(&users)));
        }
        let before = std::mem::replace(&mut self.bfd_users, users.clone());
        for (ends, users) in users.iter().filter(|(ends, _)| !before.contains_key(ends)) {
            self.await_session(now, ends, users);
        }
    }

    /// A session that has just begun has no verdict, and gets some time to come up.
    fn await_session(&mut self, now: Duration, ends: &BfdEnds, users: &[(usize, usize)]) {
        for (index, track) in users {
            let detail = format!("session with {} is not up yet", ends.neighbour);
            self.routers[*index].patient_until = now + PATIENCE;
            self.note(*index, *track, Verdict { holds: None, factor: 1, detail });
        }
    }

    /// A packet came in.
    pub(super) fn bfd(&mut self, now: Duration, source: IpAddr, ttl: u8, octets: &[u8]) {
        if let Some((ends, change)) = self.bfd.receive(now, source, ttl, octets) {
            self.bfd_changed(now, &ends, change);
        }
    }

    /// Packets that are due, and sessions that were lost.
    pub(super) fn bfd_timeout(&mut self, now: Duration) {
        if self.bfd.deadline().is_none_or(|deadline| deadline > now) {
            return;
        }
        let due = self.bfd.handle_timeout(now);
        due.packets.into_iter().for_each(|(ends, octets)| self.out.push(Effect::Bfd { ends, octets }));
        due.changes.into_iter().for_each(|(ends, change)| self.bfd_changed(now, &ends, change));
    }

    fn bfd_changed(&mut self, now: Duration, ends: &BfdEnds, change: Change) {
        let neighbour = ends.neighbour;
        let (state, holds, detail) = match change {
            Change::Up => ("up", true, format!("session with {neighbour} is up")),
            Change::Down(diagnostic) => {
                ("down", false, format!("session with {neighbour} lost: {}", diagnostic.about()))
            }
            // Somebody shut it down on purpose: no sign that anything is broken (RFC 5882 section 4.2).
            Change::AdminDown => ("admin-down", true, format!("{neighbour} has shut the session down")),
        };
        let reason = detail.clone();
        self.out.tell(Happening::Bfd { neighbour, state: state.into(), reason });
        for (index, track) in self.bfd_users.get(ends).cloned().unwrap_or_default() {
            self.note(index, track, Verdict { holds: Some(holds), factor: 1, detail: detail.clone() });
            // A neighbour that says itself that it lost us lives, and its advertisements decide.
            if change == Change::Down(Diagnostic::DetectionTimeExpired) {
                self.touched.insert(index);
                self.routers[index].lost_sight_of(now, neighbour);
            }
        }
    }
}

fn session(place: &Place, condition: &Condition) -> Option<(BfdEnds, Settings)> {
    let Condition::Bfd { neighbour, source, transmit_interval, receive_interval, multiplier } = condition else {
        return None;
    };
    let source = source.or_else(|| source_for(place, *neighbour))?;
    let settings = Settings {
        transmit_interval: *transmit_interval,
        receive_interval: *receive_interval,
        multiplier: *multiplier,
    };
    Some((BfdEnds { interface: place.index, source, neighbour: *neighbour }, settings))
}

/// The interface's own address of the neighbour's family, and in IPv6 of its scope.
fn source_for(place: &Place, neighbour: IpAddr) -> Option<IpAddr> {
    let scope = |address: IpAddr| match address {
        IpAddr::V4(_) => (true, false),
        IpAddr::V6(address) => (false, is_link_local(address)),
    };
    place.own.iter().map(|own| own.addr()).find(|own| scope(*own) == scope(neighbour))
}
