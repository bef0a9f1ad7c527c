//! What the peer link says, and what follows for the virtual routers.
//!
//! The link tells within a few heartbeats what VRRP tells after three intervals. It is believed when the peer says of itself
//! that it serves no more. When it only falls silent, its port may be blocked: both sides advertise at once, and a backup
//! takes over when one heartbeat later it has heard nothing on the virtual router's own interface either.

use std::net::IpAddr;
use std::time::Duration;

use super::Engine;
use crate::config::Peer;
use crate::happening::Happening;
use crate::vrrp::effect::Effect;
use crate::vrrp::peer::{PeerLink, PeerNews, RouterReport};
use crate::vrrp::router::{Node, PeerStanding, Remote, Router};
use crate::vrrp::view::State;
use crate::vrrp::words::span;

/// The peer link with what it was made from.
#[derive(Debug)]
pub(super) struct Link {
    settings: (Peer, Vec<u8>),
    pub(super) line: PeerLink,
    said: Vec<RouterReport>,
}

impl Engine {
    /// The peer link as configured. One that is only changed keeps what it knows.
    pub(super) fn configure_peer(&mut self, now: Duration, wanted: Option<(Peer, Vec<u8>)>) {
        let Some((peer, key)) = wanted else {
            self.peer = None;
            self.node.peer = None;
            return;
        };
        match &mut self.peer {
            None => {
                let line = PeerLink::new(&peer, &key, &self.node_name, self.boot, now);
                self.node.peer = Some(standing(&peer, false, now));
                self.peer = Some(Link { settings: (peer, key), line, said: Vec::new() });
            }
            Some(link) if link.settings == (peer.clone(), key.clone()) => {}
            Some(link) => {
                let news = link.line.configure(&peer, &key, now);
                let (alive, since) = self.node.peer.as_ref().map_or((false, now), |known| (known.alive, known.since));
                self.node.peer = Some(standing(&peer, alive, since));
                link.settings = (peer, key);
                self.follow(now, news);
            }
        }
    }

    /// A datagram came in.
    pub(super) fn heartbeat(&mut self, now: Duration, source: IpAddr, octets: &[u8]) {
        let Some(link) = &mut self.peer else { return };
        let news = link.line.receive(now, source, octets);
        self.follow(now, news);
    }

    /// Heartbeats that are due, and silence.
    pub(super) fn peer_timeout(&mut self, now: Duration) {
        let Some(link) = self.peer.as_mut().filter(|link| link.line.deadline() <= now) else { return };
        let (datagrams, news) = link.line.handle_timeout(now);
        datagrams.into_iter().for_each(|(to, octets)| self.out.push(Effect::Heartbeat { to, octets }));
        self.follow(now, news);
    }

    /// Tells the peer at once if there is anything new to say of ourselves.
    pub(super) fn report(&mut self, now: Duration) {
        if !std::mem::take(&mut self.reports_are_stale) {
            return;
        }
        let Some(link) = &mut self.peer else { return };
        let stopping = self.stopping.is_some();
        let reports = self.routers.iter().map(|router| report(router, &self.node, stopping));
        let reports: Vec<RouterReport> = reports.collect();
        if link.said != reports {
            link.said.clone_from(&reports);
            link.line.set_local(reports, true);
            self.peer_timeout(now);
        }
    }

    fn follow(&mut self, now: Duration, news: Vec<PeerNews>) {
        for news in news {
            match news {
                PeerNews::Alive => self.peer_alive(now),
                PeerNews::Silent => self.peer_silent(now),
                PeerNews::PathAlive(address) => self.out.tell(Happening::PeerPath { address, alive: true }),
                PeerNews::PathSilent(address) => self.out.tell(Happening::PeerPath { address, alive: false }),
                PeerNews::Unheard => self.assert_all(now),
                PeerNews::Reports => self.peer_reports(now),
                PeerNews::Restarted => {
                    self.out.tell(Happening::Peer { alive: true, reason: "the peer has restarted".into() });
                    self.peer_reports(now);
                }
            }
        }
    }

    fn peer_alive(&mut self, now: Duration) {
        let Some(peer) = &mut self.node.peer else { return };
        let reason = format!("heard again after {}", span(now.saturating_sub(peer.since)));
        (peer.alive, peer.since) = (true, now);
        self.out.tell(Happening::Peer { alive: true, reason });
        self.trust_vrrp(now);
    }

    /// Silent on every path.
    fn peer_silent(&mut self, now: Duration) {
        let Some(peer) = &mut self.node.peer else { return };
        (peer.alive, peer.since) = (false, now);
        let (heartbeat, detection, pair) = (peer.heartbeat, peer.detection, peer.pair);
        let reason = format!("no heartbeat on any path for {}", span(peer.detection));
        self.out.tell(Happening::Peer { alive: false, reason });
        self.assert_all(now);
        if self.peer_was_deaf() || self.was_heard_since(now.saturating_sub(detection) + heartbeat * 3 / 2) {
            self.peer_lives_unheard(now);
        } else {
            self.suspect_peer(now, heartbeat, pair);
        }
        self.ask_gateways_now(now);
        self.unsettled.extend(0..self.units.len());
    }

    fn suspect_peer(&mut self, now: Duration, heartbeat: Duration, pair: bool) {
        for index in 0..self.routers.len() {
            if self.is_peers(index) {
                self.touched.insert(index);
                self.routers[index].master_is_silent(now, heartbeat, pair);
            }
        }
    }

    /// The peer's last word was that it does not hear us: it would not hear either that we miss it, so that waiting for its
    /// answer proves nothing.
    fn peer_was_deaf(&self) -> bool {
        self.peer.as_ref().is_some_and(|link| !link.line.hears_us())
    }

    /// Whether the peer advertised later than it can have if it died after its last heartbeat. When a cut silences both
    /// sides, the other may notice before us, and has then said already that it lives.
    fn was_heard_since(&self, since: Duration) -> bool {
        let heard = |router: &Router| router.heard_at.is_some_and(|at| at > since);
        (0..self.routers.len()).any(|index| self.is_peers(index) && heard(&self.routers[index]))
    }

    /// Whether the peer is this router's master, as far as anybody has said.
    fn is_peers(&self, index: usize) -> bool {
        let router = &self.routers[index];
        let said = router.remote.as_ref().is_some_and(|remote| remote.state == State::Master);
        let paths = self.peer.as_ref().map_or(&[][..], |link| &link.settings.0.addresses);
        said || router.master.is_some_and(|master| paths.contains(&master.address))
    }

    /// Where we are master we say so, on the virtual routers' own interfaces.
    fn assert_all(&mut self, now: Duration) {
        for (index, router) in self.routers.iter_mut().enumerate() {
            if router.serves() {
                self.touched.insert(index);
                router.assert_master(now, &mut self.out);
            }
        }
    }

    /// An advertisement came while the peer was suspected to be dead: it lives, and the peer link is broken.
    pub(super) fn peer_lives_unheard(&mut self, now: Duration) {
        let message = "advertisements arrive although the peer is silent on every path: the peer link is broken, and \
                       VRRP's own timers decide until it is back";
        self.out.tell(Happening::Warning { router: None, message: message.into() });
        self.trust_vrrp(now);
    }

    /// No suspicion any more, of no router.
    fn trust_vrrp(&mut self, now: Duration) {
        for (index, router) in self.routers.iter_mut().enumerate() {
            if router.trust_vrrp(now) {
                self.touched.insert(index);
            }
        }
    }

    /// The peer says something new of its virtual routers. One that it has no more it does not serve; of one that it has not
    /// told of in a new life yet, what it said last is believed until it does.
    fn peer_reports(&mut self, now: Duration) {
        for index in 0..self.routers.len() {
            let Some(link) = &self.peer else { return };
            let report = link.line.remote_router(&self.routers[index].name);
            if report.is_none() && !link.line.told_all() {
                continue;
            }
            let said = report.map(|RouterReport { state, resigned, .. }| Remote {
                state: *state,
                serves: *state == State::Master && !resigned,
            });
            if self.routers[index].remote != said {
                let before = std::mem::replace(&mut self.routers[index].remote, said.clone());
                self.peer_moved(now, index, before, said);
            }
        }
    }

    /// The peer has another state than before.
    fn peer_moved(&mut self, now: Duration, index: usize, before: Option<Remote>, said: Option<Remote>) {
        let state = said.as_ref().map_or(State::Init, |said| said.state);
        self.touched.insert(index);
        if said.is_some_and(|said| said.serves) && self.routers[index].hands_over() {
            return self.leave(now, index, "the peer has taken over".into());
        }
        let served = before.is_some_and(|before| before.state == State::Master);
        let pair = self.node.peer.as_ref().is_some_and(|peer| peer.pair);
        // With three nodes, one that became backup obeys a third.
        if served && state != State::Master && (pair || state != State::Backup) {
            self.routers[index].peer_stepped_down(now, state, pair);
            if pair {
                self.fire(now, index);
            }
        }
        // It may be offering what it would rather not keep.
        self.unsettled.insert(self.routers[index].unit);
    }
}

fn standing(peer: &Peer, alive: bool, since: Duration) -> PeerStanding {
    PeerStanding {
        heartbeat: peer.heartbeat,
        detection: peer.heartbeat * peer.misses,
        hold: peer.hold,
        pair: peer.nodes <= 2,
        alive,
        since,
    }
}

fn report(router: &Router, node: &Node, stopping: bool) -> RouterReport {
    RouterReport {
        name: router.name.clone(),
        state: router.state(),
        effective_priority: router.priority,
        interval: router.config().advertisement_interval,
        ready: router.is_ready(node),
        resigned: router.resigned || stopping,
    }
}
