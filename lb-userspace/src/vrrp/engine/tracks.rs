//! Tracks: verdicts from elsewhere, and those the engine finds by itself (interfaces, gateways).

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use super::Engine;
use crate::config::Condition;
use crate::happening::Happening;
use crate::vrrp::effect::Effect;
use crate::vrrp::event::Verdict;
use crate::vrrp::router::Router;

/// Who asks for what.
#[derive(Debug, Default)]
pub(super) struct Watched {
    /// Routers by the interface they are on.
    on: BTreeMap<String, Vec<usize>>,
    /// Interface tracks by the interface they look at: router and track.
    interfaces: BTreeMap<String, Vec<(usize, usize)>>,
    gateways: Vec<Gateway>,
}

/// A gateway that is asked. Routers that ask the same in the same way share the questions.
#[derive(Debug)]
struct Gateway {
    interface: String,
    address: IpAddr,
    interval: Duration,
    misses: u32,
    /// Router and track.
    users: Vec<(usize, usize)>,
    /// When to ask next.
    next: Duration,
    unanswered: u32,
    answered: Option<Duration>,
}

impl Watched {
    /// From what is configured. Gateways that were asked before go on as they are.
    pub(super) fn new(routers: &[Router], before: Self, now: Duration) -> Self {
        let mut watched = Self::default();
        for (index, router) in routers.iter().enumerate() {
            watched.on.entry(router.config().interface.clone()).or_default().push(index);
            for (track, condition) in router.config().tracks.iter().map(|track| &track.condition).enumerate() {
                watched.add(index, track, condition, &router.config().interface, now);
            }
        }
        for gateway in &mut watched.gateways {
            if let Some(known) = before.gateways.iter().find(|known| known.is_like(gateway)) {
                (gateway.next, gateway.unanswered, gateway.answered) = (known.next, known.unanswered, known.answered);
            }
        }
        watched
    }

    fn add(&mut self, router: usize, track: usize, condition: &Condition, interface: &str, now: Duration) {
        match condition {
            Condition::Interface { interface } => {
                self.interfaces.entry(interface.clone()).or_default().push((router, track));
            }
            Condition::Gateway { address, interval, misses } => {
                let mut gateway = Gateway {
                    interface: interface.to_string(),
                    address: *address,
                    interval: *interval,
                    misses: *misses,
                    users: Vec::new(),
                    next: now,
                    unanswered: 0,
                    answered: None,
                };
                let known = self.gateways.iter().position(|known| known.is_like(&gateway));
                let place = known.unwrap_or(self.gateways.len());
                if known.is_none() {
                    self.gateways.push(gateway);
                } else {
                    gateway.users.clear();
                }
                self.gateways[place].users.push((router, track));
            }
            Condition::Bfd { .. }
            | Condition::Service { .. }
            | Condition::Uplink { .. }
            | Condition::Script { .. }
            | Condition::Process { .. }
            | Condition::File { .. }
            | Condition::Load { .. } => {}
        }
    }

    /// Routers on an interface.
    pub(super) fn routers_on(&self, interface: &str) -> Vec<usize> {
        self.on.get(interface).cloned().unwrap_or_default()
    }

    /// When a gateway must be asked.
    pub(super) fn deadline(&self) -> Option<Duration> {
        self.gateways.iter().map(|gateway| gateway.next).min()
    }
}

impl Gateway {
    fn is_like(&self, other: &Self) -> bool {
        let key = |gateway: &Self| (gateway.address, gateway.interval, gateway.misses);
        key(self) == key(other) && self.interface == other.interface
    }

    fn verdict(&self) -> Verdict {
        let (holds, detail) = match self.answered {
            _ if self.unanswered > self.misses => {
                (Some(false), format!("{} left {} questions unanswered", self.address, self.misses))
            }
            Some(_) => (Some(true), format!("{} answers", self.address)),
            None => (None, format!("{} was asked", self.address)),
        };
        Verdict { holds, factor: 1, detail }
    }
}

impl Engine {
    /// A verdict from elsewhere. One about a track that is not there any more is too late, and nothing.
    pub(super) fn track(&mut self, router: &str, track: &str, verdict: Verdict) {
        let Some(index) = self.routers.iter().position(|known| &*known.name == router) else { return };
        let tracks = &self.routers[index].config().tracks;
        if let Some(track) = tracks.iter().position(|known| known.name == track) {
            self.note(index, track, verdict);
        }
    }

    /// Takes note of a verdict; what follows for the unit is seen when the event is settled.
    pub(super) fn note(&mut self, index: usize, track: usize, verdict: Verdict) {
        let router = &mut self.routers[index];
        if router.verdicts[track] != verdict {
            router.verdicts[track] = verdict;
            self.unsettled.insert(router.unit);
        }
    }

    /// What tracks of an interface find now. One that was never seen has no verdict until patience ends.
    pub(super) fn interface_verdicts(&mut self, name: &str) {
        let users = self.tracks.interfaces.get(name).cloned().unwrap_or_default();
        for (index, track) in users {
            let (holds, detail) = match self.link_of(name) {
                Some(link) if link.running => (Some(true), format!("{name} is up")),
                Some(_) => (Some(false), format!("{name} is down")),
                None if self.routers[index].verdicts[track].holds.is_some() => (Some(false), format!("{name} is gone")),
                None => (None, format!("{name} is not there")),
            };
            self.note(index, track, Verdict { holds, factor: 1, detail });
        }
    }

    /// Asks the gateways whose time has come, and judges those that did not answer.
    pub(super) fn probe_gateways(&mut self, now: Duration) {
        let mut gateways = std::mem::take(&mut self.tracks.gateways);
        for gateway in gateways.iter_mut().filter(|gateway| gateway.next <= now) {
            self.ask(now, gateway);
        }
        self.tracks.gateways = gateways;
    }

    /// The peer is silent: whether it is we who are cut off is to be known now, and does not count as a miss.
    pub(super) fn ask_gateways_now(&mut self, now: Duration) {
        for gateway in &self.tracks.gateways {
            if gateway.next > now
                && let Some(link) = self.link_of(&gateway.interface)
            {
                let probe = Effect::ProbeGateway { interface: link.index, address: gateway.address };
                self.out.push(probe);
            }
        }
    }

    fn ask(&mut self, now: Duration, gateway: &mut Gateway) {
        let late = now > gateway.next + gateway.interval;
        gateway.next = if late { now + gateway.interval } else { gateway.next + gateway.interval };
        let Some(link) = self.link_of(&gateway.interface) else { return };
        let interface = link.index;
        gateway.unanswered = gateway.unanswered.saturating_add(1);
        self.out.push(Effect::ProbeGateway { interface, address: gateway.address });
        self.tell_users(gateway);
    }

    fn tell_users(&mut self, gateway: &Gateway) {
        for (index, track) in &gateway.users {
            self.routers[*index].gateway_answered(gateway.address, gateway.answered);
            self.note(*index, *track, gateway.verdict());
        }
    }

    /// A gateway has answered.
    pub(super) fn gateway_answered(&mut self, now: Duration, interface: u32, address: IpAddr) {
        let Some(name) = self.name_of(interface) else { return };
        let mut gateways = std::mem::take(&mut self.tracks.gateways);
        let asked = |gateway: &&mut Gateway| gateway.address == address && gateway.interface == *name;
        for gateway in gateways.iter_mut().filter(asked) {
            gateway.unanswered = 0;
            gateway.answered = Some(now);
            self.tell_users(gateway);
            // Somebody may have waited for just this.
            self.unsettled.extend(gateway.users.iter().map(|(index, _)| self.routers[*index].unit));
        }
        self.tracks.gateways = gateways;
    }

    /// Whether the data plane could take traffic.
    pub(super) fn ready(&mut self, ready: Result<(), String>) {
        if self.node.ready == ready {
            return;
        }
        if let (Ok(()), Err(why)) = (&self.node.ready, &ready) {
            let message = format!("not ready any more: {why}; masters stay master");
            self.out.tell(Happening::Warning { router: None, message });
        }
        self.reports_are_stale = true;
        self.node.was_ready |= ready.is_ok();
        self.node.ready = ready;
        self.unsettled.extend(self.routers.iter().filter(|router| router.settings.live.is_some()).map(|r| r.unit));
    }
}
