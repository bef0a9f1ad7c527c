//! The end that follows: which claims it takes, what it has of them, and what it answers.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use super::super::item::Keys;
use super::super::message::{Answer, Body, Item, Message, Stand};
use super::super::realm::{Following, Realm, Telling};
use super::{Direction, Effect, Exchange, LEAP};

/// The session on which this node follows.
#[derive(Debug)]
pub(super) struct Follower {
    pub(super) peer: u64,
    pub(super) taken: u64,
    pub(super) heard: Duration,
    /// What the peer said last of how it stands; `None`: nothing yet.
    pub(super) stands: Option<BTreeMap<Arc<str>, Stand>>,
    /// Realms that this node has given up since then: whether the peer is master of them by now it has not said.
    pub(super) given_up: BTreeSet<Arc<str>>,
    pub(super) config: Arc<str>,
}

impl Exchange {
    pub(super) fn begin_following(&mut self, now: Duration, peer: u64) {
        self.end_following();
        self.follower =
            Some(Follower { peer, taken: 0, heard: now, stands: None, given_up: BTreeSet::new(), config: "".into() });
    }

    pub(super) fn end_following(&mut self) {
        self.follower = None;
        self.realms.values_mut().for_each(|realm| (realm.following, realm.before) = (None, None));
    }

    pub(super) fn told(&mut self, now: Duration, message: Message, out: &mut Vec<Effect>) {
        let Some(follower) = &mut self.follower else { return };
        follower.heard = now;
        if message.number <= follower.taken {
            self.counters.repeated += 1;
            return;
        }
        if message.number > follower.taken + 1 {
            self.counters.gaps += 1;
            self.end_following();
            return out.push(Effect::Close(Direction::Following, "a message is missing"));
        }
        follower.taken = message.number;
        let (taken, peer) = (follower.taken, follower.peer);
        let mut refused = Vec::new();
        match message.body {
            Body::Stand { config, realms } => self.peer_stands(now, config, realms),
            Body::Begin { realm, epoch } => refused.extend(self.begin(now, realm, epoch, peer, out)),
            Body::Items { realm, epoch, items, unknown } => {
                self.counters.unknown += u64::from(unknown);
                refused.extend(self.take(now, realm, epoch, items, message.now, out));
            }
            Body::End { realm, epoch } => refused.extend(self.end(realm, epoch, out)),
            Body::Words { words, unknown } => {
                self.counters.unknown += u64::from(unknown);
                out.push(Effect::Hear(words));
            }
        }
        if self.follower.is_some() {
            out.push(Effect::Answer(Answer { taken, refused }));
        }
    }

    fn peer_stands(&mut self, now: Duration, config: Arc<str>, stands: Vec<Stand>) {
        for stand in &stands {
            let Some(realm) = self.realms.get_mut(&stand.realm) else { continue };
            if stand.epoch > realm.highest.saturating_add(LEAP) {
                self.counters.refused += 1;
                continue;
            }
            realm.highest = realm.highest.max(stand.epoch);
            if stand.master {
                realm.is_elsewhere(now, stand.epoch);
            }
            // It was master beside us, or of another opinion, and is no more.
            if let (Telling::Refused { again }, false) = (&mut realm.telling, stand.master) {
                *again = Duration::ZERO;
            }
            if !stand.master {
                // What it had still to say follows; what it had only half said is of no use.
                if !realm.is_followed() {
                    realm.following = None;
                }
                // It was master after us, and gave it up: what we have told it is not what it has.
                if realm.master && stand.epoch > realm.epoch {
                    realm.claim(now, self.boot);
                }
            }
        }
        let Some(follower) = &mut self.follower else { return };
        follower.given_up.clear();
        let stands = stands.into_iter().filter(|stand| self.realms.contains_key(&stand.realm));
        follower.stands = Some(stands.map(|stand| (Arc::clone(&stand.realm), stand)).collect());
        follower.config = config;
    }

    /// A claim, with all of its realm to follow. How we stand if we refuse it.
    fn begin(&mut self, now: Duration, name: Arc<str>, epoch: u64, peer: u64, out: &mut Vec<Effect>) -> Option<Stand> {
        let realm = self.realms.get_mut(&name);
        let leaps = |realm: &Realm| epoch > realm.highest.saturating_add(LEAP);
        let is_new = |realm: &Realm| epoch > realm.epoch || epoch == realm.epoch && realm.owner == peer;
        let Some(realm) = realm.filter(|realm| !realm.master && !leaps(realm) && is_new(realm)) else {
            return self.refuse(name, epoch);
        };
        (realm.epoch, realm.owner) = (epoch, peer);
        realm.highest = realm.highest.max(epoch);
        realm.following = Some(Following { mentioned: Some(Keys::default()), concluded: false });
        realm.is_claimed(now);
        out.push(Effect::Begin(name));
        None
    }

    fn take(
        &mut self,
        now: Duration,
        name: Arc<str>,
        epoch: u64,
        items: Vec<Item>,
        teller_now: u64,
        out: &mut Vec<Effect>,
    ) -> Option<Stand> {
        let are_last_words = |realm: &Realm| {
            realm.master && realm.before.is_some_and(|before| before.epoch == epoch && before.takes(now))
        };
        if self.realms.get(&name).is_some_and(are_last_words) {
            self.counters.late += items.len() as u64;
            out.push(Effect::Store { realm: name, items, now: teller_now, late: true });
            return None;
        }
        let realm = self.realms.get_mut(&name).filter(|realm| realm.epoch == epoch && !realm.master);
        let Some(following) = realm.and_then(|realm| realm.following.as_mut()) else {
            return self.refuse(name, epoch);
        };
        if let Some(mentioned) = &mut following.mentioned {
            for (key, value) in &items {
                match value {
                    Some(_) => drop(mentioned.insert(key.clone())),
                    None => drop(mentioned.remove(key)),
                }
            }
            if mentioned.len() > self.limits.items {
                self.counters.refused += 1;
                self.end_following();
                out.push(Effect::Close(Direction::Following, "more items than there can be"));
                return None;
            }
        }
        self.counters.taken += items.len() as u64;
        out.push(Effect::Store { realm: name, items, now: teller_now, late: false });
        None
    }

    /// All of a realm was told; or, of one that was followed, all that its master of before had to say.
    fn end(&mut self, name: Arc<str>, epoch: u64, out: &mut Vec<Effect>) -> Option<Stand> {
        let realm = self.realms.get_mut(&name);
        if let Some(before) = realm.and_then(|realm| realm.before.as_mut()).filter(|before| before.epoch == epoch) {
            before.concluded = true;
            return None;
        }
        let realm = self.realms.get_mut(&name).filter(|realm| realm.epoch == epoch && !realm.master);
        let Some(following) = realm.and_then(|realm| realm.following.as_mut()) else {
            return self.refuse(name, epoch);
        };
        match following.mentioned.take() {
            Some(mentioned) => out.push(Effect::Keep(name, mentioned)),
            None => following.concluded = true,
        }
        None
    }

    /// Refuses what was told of a realm under a claim: how we stand, so that a new claim can be made if that is due.
    fn refuse(&mut self, name: Arc<str>, epoch: u64) -> Option<Stand> {
        self.counters.refused += 1;
        let Some(realm) = self.realms.get_mut(&name) else {
            // As a master would: it may be offered again, after a while.
            return Some(Stand { realm: name, master: true, epoch });
        };
        if epoch <= realm.highest.saturating_add(LEAP) {
            realm.highest = realm.highest.max(epoch);
        }
        if epoch >= realm.epoch {
            realm.following = None;
        }
        Some(Stand { realm: name, master: realm.master, epoch: realm.epoch.max(realm.highest) })
    }
}
