//! All BFD sessions of the node: which packet is for which (RFC 5880 section 6.3).

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use super::session::read;
use super::{BfdState, Change, Discard, Jitter, Packet, Session, Settings};
use crate::vrrp::effect::BfdEnds;
use crate::vrrp::view::BfdView;

/// Sessions by their ends.
#[derive(Debug)]
pub struct Sessions {
    sessions: BTreeMap<BfdEnds, Session>,
    chance: Jitter,
    stray: BTreeMap<Discard, u64>,
}

/// What is to be done after time has passed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Due {
    /// Packets to send.
    pub packets: Vec<(BfdEnds, Vec<u8>)>,
    /// Sessions that were lost.
    pub changes: Vec<(BfdEnds, Change)>,
}

impl Sessions {
    /// No sessions yet. `seed` is for discriminators, which others should not guess, and jitter.
    pub fn new(seed: u64) -> Self {
        Self { sessions: BTreeMap::new(), chance: Jitter::new(seed), stray: BTreeMap::new() }
    }

    /// These sessions and no others. Those that stay keep their state; the result is the last packets of those that go.
    pub fn configure(&mut self, wanted: &BTreeMap<BfdEnds, Settings>, now: Duration) -> Vec<(BfdEnds, Vec<u8>)> {
        let gone: Vec<BfdEnds> = self.sessions.keys().filter(|ends| !wanted.contains_key(ends)).cloned().collect();
        let farewells = gone.into_iter().filter_map(|ends| {
            let mut session = self.sessions.remove(&ends)?;
            session.admin_down(now);
            Some((ends, session.handle_timeout(now).0?))
        });
        let farewells = farewells.collect();
        for (ends, settings) in wanted {
            match self.sessions.get_mut(ends) {
                Some(session) => session.configure(*settings),
                None => self.open(ends.clone(), *settings, now),
            }
        }
        farewells
    }

    /// Takes in a packet: for the session it names, or if it names none for the one with its source. Of several with one
    /// neighbour (over two interfaces) it is the first that has not heard it yet. Whatever is wrong is counted, with the
    /// neighbour's session if it is from one.
    pub fn receive(&mut self, now: Duration, source: IpAddr, ttl: u8, octets: &[u8]) -> Option<(BfdEnds, Change)> {
        let source = source.to_canonical();
        let found =
            read(ttl, octets).and_then(|packet| Ok((self.find(source, &packet).ok_or(Discard::Session)?, packet)));
        match found {
            Ok((ends, packet)) => {
                let change = self.sessions.get_mut(&ends)?.take(now, &packet)?;
                Some((ends, change))
            }
            Err(discard) => {
                self.discard(source, discard);
                None
            }
        }
    }

    /// Lets the time pass in all of them.
    pub fn handle_timeout(&mut self, now: Duration) -> Due {
        let mut due = Due::default();
        for (ends, session) in self.sessions.iter_mut().filter(|(_, session)| session.deadline() <= now) {
            let (packet, change) = session.handle_timeout(now);
            due.packets.extend(packet.map(|packet| (ends.clone(), packet)));
            due.changes.extend(change.map(|change| (ends.clone(), change)));
        }
        due
    }

    /// When [`handle_timeout`](Self::handle_timeout) is due; `None`: there is nothing to wait for.
    pub fn deadline(&self) -> Option<Duration> {
        self.sessions.values().map(Session::deadline).min().filter(|at| *at < Duration::MAX)
    }

    /// Shuts all of them down; [`handle_timeout`](Self::handle_timeout) is due at once.
    pub fn admin_down(&mut self, now: Duration) {
        self.sessions.values_mut().for_each(|session| session.admin_down(now));
    }

    /// See [`Session::forgive`].
    pub fn forgive(&mut self, now: Duration) {
        self.sessions.values_mut().for_each(|session| session.forgive(now));
    }

    /// The session between these ends.
    pub fn get(&self, ends: &BfdEnds) -> Option<&Session> {
        self.sessions.get(ends)
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = (&BfdEnds, &Session)> {
        self.sessions.iter()
    }

    /// For status and metrics.
    pub fn view(&self) -> Vec<BfdView> {
        self.sessions.iter().map(|(ends, session)| session.view(ends.neighbour)).collect()
    }

    /// Packets discarded that are from no neighbour, by reason.
    pub fn stray(&self) -> BTreeMap<String, u64> {
        self.stray.iter().map(|(discard, count)| (discard.name().to_owned(), *count)).collect()
    }

    fn open(&mut self, ends: BfdEnds, settings: Settings, now: Duration) {
        let is_taken = |name: u32| name == 0 || self.sessions.values().any(|session| session.discriminator() == name);
        let discriminator = loop {
            let name = self.chance.next() as u32;
            if !is_taken(name) {
                break name;
            }
        };
        let session = Session::new(settings, discriminator, self.chance.next(), now);
        self.sessions.insert(ends, session);
    }

    fn find(&self, source: IpAddr, packet: &Packet) -> Option<BfdEnds> {
        let named = |session: &Session| session.discriminator() == packet.your_discriminator;
        if packet.your_discriminator != 0 {
            return self.sessions.iter().find(|(_, session)| named(session)).map(|(ends, _)| ends.clone());
        }
        let from = |(ends, _): &(&BfdEnds, &Session)| ends.neighbour.to_canonical() == source;
        let not_heard = |(_, session): &(&BfdEnds, &Session)| session.state() == BfdState::Down;
        let first = self.sessions.iter().filter(from).find(not_heard).or_else(|| self.sessions.iter().find(from));
        first.map(|(ends, _)| ends.clone())
    }

    fn discard(&mut self, source: IpAddr, discard: Discard) {
        let from = self.sessions.iter_mut().find(|(ends, _)| ends.neighbour.to_canonical() == source);
        match from {
            Some((_, session)) => {
                session.discard(discard);
            }
            None => *self.stray.entry(discard).or_default() += 1,
        }
    }
}
