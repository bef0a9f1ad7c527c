//! Both ends of the exchange on one node, as a plain state machine: it is told who is master of what, what has changed, what the peer
//! says and the time; it says what to send, to ask for, to store. The module's description says how it works.

use std::collections::{BTreeMap, BTreeSet, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use super::item::{Key, Value};
use super::message::{Answer, Body, ITEM_OCTETS, Item, MOST_REALMS, Message, Stand};
use super::realm::{Bulk, Following, LAST_WORDS, Realm, Telling};
use super::word::Word;

/// A session on which nothing was heard for so long is given up.
pub const DEADLINE: Duration = Duration::from_secs(3);
/// Time between signs of life.
pub const KEEPALIVE: Duration = Duration::from_millis(500);
/// After a change of how this node stands it says so again after so long, then after twice that, up to [`KEEPALIVE`]. What a
/// follower answered a moment before it changed its mind goes another way than how it stands now, and may come later.
pub const REPEAT: Duration = Duration::from_millis(10);
/// A realm that the other node refused to follow is offered again after so long.
pub const AGAIN: Duration = Duration::from_secs(2);
/// Messages with items under way at most.
pub const WINDOW: usize = 32;
/// Messages with items that begin between two [`Event::Tick`]s at most.
pub const BURST: usize = 8;
/// Words in one message.
const WORDS: usize = 128;
/// Words that wait to be said; a session in which more do is given up.
pub const MOST_WORDS: usize = 1 << 18;
/// Epochs never leap so far: a peer that says so is not believed.
const LEAP: u64 = 1 << 32;

/// Which connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Direction {
    /// The one on which this node tells.
    Telling,
    /// The one on which this node follows.
    Following,
}

/// Something that happened.
#[derive(Clone, Debug)]
pub enum Event {
    /// The realms that there are.
    Realms(Vec<Arc<str>>),
    /// The hash of the configuration in force.
    Config(Arc<str>),
    /// Whether this node is master of a realm.
    Mastership(Arc<str>, bool),
    /// A connection is there, to this run of the peer. One that was there before is over.
    Connected(Direction, u64),
    /// A connection is gone.
    Lost(Direction),
    /// The peer tells.
    Told(Message),
    /// The peer answers.
    Answered(Answer),
    /// An item of a realm that this node is master of is so now, or gone.
    Changed(Arc<str>, Key, Option<Value>),
    /// All items of a realm, as [`Effect::Gather`] asked for. Changes told before are in them.
    Gathered(Arc<str>, Vec<(Key, Value)>),
    /// Time passes. To be told once an interval.
    Tick,
    /// This is to be said, if anybody listens.
    Say(Vec<Word>),
}

/// Something to be done.
#[derive(Clone, PartialEq, Debug)]
pub enum Effect {
    /// Send this to who follows.
    Tell(Message),
    /// Send this to who tells.
    Answer(Answer),
    /// Tell all items of this realm: [`Event::Gathered`].
    Gather(Arc<str>),
    /// Items of a realm that this node follows are so now. `now`: the teller's clock.
    Store {
        /// The realm.
        realm: Arc<str>,
        /// In this order.
        items: Vec<Item>,
        /// The teller's clock, in nanoseconds.
        now: u64,
        /// This node is master by now, and these are the last words of the one before: only what is not there is stored, and
        /// nothing is removed or replaced.
        late: bool,
    },
    /// Of a realm all is told from here on, under a new claim.
    Begin(Arc<str>),
    /// Of a realm that this node follows there is nothing but these.
    Keep(Arc<str>, HashSet<Key>),
    /// End this connection.
    Close(Direction, &'static str),
    /// The peer has said this.
    Hear(Vec<Word>),
}

/// Limits of one node.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Changes of one realm that wait to be told; beyond, all of it is told anew.
    pub waiting: usize,
    /// Items of one realm that are taken from the peer.
    pub items: usize,
}

/// What was counted.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counters {
    /// Items told.
    pub told: u64,
    /// Items taken.
    pub taken: u64,
    /// Items that came as last words of the master before this one.
    pub late: u64,
    /// Times that all of a realm was told.
    pub bulks: u64,
    /// Times that changes were thrown away since too many waited.
    pub overflows: u64,
    /// Messages and items of claims that are too old, of realms that are not followed, or out of place.
    pub refused: u64,
    /// Messages that had been taken before.
    pub repeated: u64,
    /// Sessions that ended over a message that was missing.
    pub gaps: u64,
    /// Items of kinds that this version does not know.
    pub unknown: u64,
}

/// See the module's description.
#[derive(Debug)]
pub struct Exchange {
    boot: u64,
    limits: Limits,
    config: Arc<str>,
    realms: BTreeMap<Arc<str>, Realm>,
    teller: Option<Teller>,
    follower: Option<Follower>,
    counters: Counters,
}

/// The session on which this node tells.
#[derive(Debug)]
struct Teller {
    said: u64,
    /// Messages that were not answered yet, and how many items they carry.
    under_way: VecDeque<(u64, usize)>,
    heard: Duration,
    /// When a sign of life is due; at once if it stands differently.
    stand_due: Duration,
    /// How long after that the next is.
    stand_gap: Duration,
    begun: usize,
    /// What is still to be said.
    words: VecDeque<Word>,
}

/// The session on which this node follows.
#[derive(Debug)]
struct Follower {
    peer: u64,
    taken: u64,
    heard: Duration,
    /// What the peer said last of how it stands; `None`: nothing yet.
    stands: Option<BTreeMap<Arc<str>, Stand>>,
    /// Realms that this node has given up since then: whether the peer is master of them by now it has not said.
    given_up: BTreeSet<Arc<str>>,
    config: Arc<str>,
}

impl Exchange {
    /// A node of this boot that knows no realm yet.
    pub fn new(boot: u64, limits: Limits) -> Self {
        Self {
            boot,
            limits,
            config: "".into(),
            realms: BTreeMap::new(),
            teller: None,
            follower: None,
            counters: Counters::default(),
        }
    }

    /// Takes note of an event; what is to be done about it.
    pub fn handle(&mut self, now: Duration, event: Event) -> Vec<Effect> {
        let mut out = Vec::new();
        match event {
            Event::Realms(names) => self.set_realms(&names, &mut out),
            Event::Config(hash) => {
                self.config = hash;
                self.stand_again();
            }
            Event::Mastership(name, master) => self.set_master(now, &name, master),
            Event::Connected(Direction::Telling, _) => self.begin_telling(now),
            Event::Connected(Direction::Following, peer) => self.begin_following(now, peer),
            Event::Lost(Direction::Telling) => self.end_telling(),
            Event::Lost(Direction::Following) => self.end_following(),
            Event::Told(message) => self.told(now, message, &mut out),
            Event::Answered(answer) => self.answered(now, answer, &mut out),
            Event::Changed(name, key, value) => self.changed(&name, key, value),
            Event::Gathered(name, items) => self.gathered(now, &name, items, &mut out),
            Event::Tick => self.tick(now, &mut out),
            Event::Say(words) => self.add_words(words, &mut out),
        }
        out
    }

    /// Whether there is a session on which this node tells.
    pub fn tells(&self) -> bool {
        self.teller.is_some()
    }

    /// Whether changes of a realm are to be told to this.
    pub fn notes_changes(&self, realm: &str) -> bool {
        self.teller.is_some() && self.realms.get(realm).is_some_and(Realm::notes_changes)
    }

    /// Whether this node is master of a realm, as it was told.
    pub fn is_master(&self, realm: &str) -> bool {
        self.realms.get(realm).is_some_and(|realm| realm.master)
    }

    /// Whether all that the peer is master of is here: else what is missing.
    ///
    /// # Errors
    /// In words, for an operator.
    pub fn caught_up(&self) -> Result<(), String> {
        let Some(follower) = &self.follower else { return Err("the peer's state is not received yet".into()) };
        let Some(stands) = &follower.stands else {
            return Err("the peer has not said yet what it is master of".into());
        };
        if let Some(name) = follower.given_up.first() {
            return Err(format!("the peer has not said yet whether it is master of {name}"));
        }
        let masters = stands.values().filter(|stand| stand.master);
        let missing =
            masters.filter(|stand| !self.realms.get(&stand.realm).is_none_or(|it| it.master || it.is_followed()));
        match missing.map(|stand| stand.realm.as_ref()).collect::<Vec<_>>().join(", ") {
            none if none.is_empty() => Ok(()),
            names => Err(format!("the state of {names} is being received")),
        }
    }

    /// Whether a realm is followed, and all of it is here.
    pub fn follows(&self, realm: &str) -> bool {
        self.realms.get(realm).is_some_and(Realm::is_followed)
    }

    /// Whether a packet of a client's may come here before the record of its flow does, of a realm that this node is master of or may be
    /// at any moment.
    pub fn awaits_records(&self, realm: &str, now: Duration) -> bool {
        self.follower.is_some() && self.realms.get(realm).is_some_and(|realm| realm.awaits_records(now))
    }

    /// Whether a realm is followed, and not all of it is here yet.
    pub fn is_being_told(&self, realm: &str) -> bool {
        let begun = |it: &Realm| !it.master && it.following.is_some() && !it.is_followed();
        self.realms.get(realm).is_some_and(begun)
    }

    /// Of a realm that this node is master of: whether the peer has all of it but for what [`Self::at_risk`] counts.
    pub fn is_followed_by_peer(&self, realm: &str) -> bool {
        let live = |it: &Realm| it.master && matches!(it.telling, Telling::Live);
        self.teller.is_some() && self.realms.get(realm).is_some_and(live)
    }

    /// The same, and nothing of it waits to be told either: what is said now is heard after all of it.
    pub fn is_told(&self, realm: &str) -> bool {
        self.is_followed_by_peer(realm) && self.realms.get(realm).is_some_and(|realm| realm.dirty.is_empty())
    }

    /// Items that the peer would lack if this node died now, besides realms that it does not follow at all.
    pub fn at_risk(&self) -> usize {
        let under_way: usize = self.teller.iter().flat_map(|it| &it.under_way).map(|(_, items)| items).sum();
        under_way + self.realms.values().map(Realm::untold).sum::<usize>()
    }

    /// The peer's configuration hash, once it has said so.
    pub fn peer_config(&self) -> Option<&Arc<str>> {
        self.follower.as_ref().filter(|follower| follower.stands.is_some()).map(|follower| &follower.config)
    }

    /// What was counted.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    fn set_realms(&mut self, names: &[Arc<str>], out: &mut Vec<Effect>) {
        let names: HashSet<&Arc<str>> = names.iter().take(MOST_REALMS).collect();
        // What was told of a realm that was not known is gone: all is to be told again.
        if self.follower.is_some() && names.iter().any(|name| !self.realms.contains_key(*name)) {
            self.end_following();
            out.push(Effect::Close(Direction::Following, "there are other virtual routers now"));
        }
        self.realms.retain(|name, _| names.contains(name));
        for name in names {
            self.realms.entry(Arc::clone(name)).or_default();
        }
        self.stand_again();
    }

    fn set_master(&mut self, now: Duration, name: &Arc<str>, master: bool) {
        let Some(realm) = self.realms.get_mut(name).filter(|realm| realm.master != master) else { return };
        if master {
            realm.claim(now, self.boot);
        } else {
            realm.leave(now);
        }
        if let Some(follower) = &mut self.follower {
            if master {
                follower.given_up.remove(name);
            } else {
                follower.given_up.insert(Arc::clone(name));
            }
        }
        self.stand_again();
    }

    fn stand_again(&mut self) {
        if let Some(teller) = &mut self.teller {
            (teller.stand_due, teller.stand_gap) = (Duration::ZERO, REPEAT);
        }
    }

    fn begin_telling(&mut self, now: Duration) {
        self.end_telling();
        let (under_way, stand_due) = (VecDeque::new(), Duration::ZERO);
        let words = VecDeque::new();
        self.teller = Some(Teller { said: 0, under_way, heard: now, stand_due, stand_gap: REPEAT, begun: 0, words });
    }

    fn end_telling(&mut self) {
        self.teller = None;
        for realm in self.realms.values_mut() {
            realm.tell_anew(if realm.master { Telling::Due } else { Telling::No });
        }
    }

    fn begin_following(&mut self, now: Duration, peer: u64) {
        self.end_following();
        self.follower =
            Some(Follower { peer, taken: 0, heard: now, stands: None, given_up: BTreeSet::new(), config: "".into() });
    }

    fn end_following(&mut self) {
        self.follower = None;
        self.realms.values_mut().for_each(|realm| (realm.following, realm.before) = (None, None));
    }

    fn changed(&mut self, name: &Arc<str>, key: Key, value: Option<Value>) {
        let connected = self.teller.is_some();
        let Some(realm) = self.realms.get_mut(name).filter(|realm| connected && realm.notes_changes()) else { return };
        realm.dirty.insert(key, value);
        if realm.dirty.len() > self.limits.waiting {
            self.counters.overflows += 1;
            realm.tell_anew(if realm.master { Telling::Due } else { Telling::No });
        }
    }

    fn gathered(&mut self, now: Duration, name: &Arc<str>, items: Vec<(Key, Value)>, out: &mut Vec<Effect>) {
        let Some(realm) = self.realms.get_mut(name) else { return };
        if !matches!(realm.telling, Telling::Asked) {
            return;
        }
        let epoch = realm.epoch;
        realm.tell_anew(Telling::Bulk(Bulk::of(items)));
        self.counters.bulks += 1;
        self.say(now, Body::Begin { realm: Arc::clone(name), epoch }, 0, out);
        self.tell_items(now, out);
    }

    fn tick(&mut self, now: Duration, out: &mut Vec<Effect>) {
        if self.follower.as_ref().is_some_and(|follower| now > follower.heard + DEADLINE) {
            self.end_following();
            out.push(Effect::Close(Direction::Following, "nothing was heard for too long"));
        }
        if self.teller.as_ref().is_some_and(|teller| now > teller.heard + DEADLINE) {
            self.end_telling();
            out.push(Effect::Close(Direction::Telling, "nothing was answered for too long"));
        }
        let Some(teller) = &mut self.teller else { return };
        teller.begun = 0;
        if now >= teller.stand_due {
            teller.stand_due = now + teller.stand_gap;
            teller.stand_gap = (teller.stand_gap * 2).min(KEEPALIVE);
            let stand = |(name, realm): (&Arc<str>, &Realm)| Stand {
                realm: Arc::clone(name),
                master: realm.master,
                epoch: realm.epoch,
            };
            let realms = self.realms.iter().map(stand).collect();
            self.say(now, Body::Stand { config: Arc::clone(&self.config), realms }, 0, out);
        }
        let mut gathers = Vec::new();
        for (name, realm) in &mut self.realms {
            match realm.telling {
                Telling::Refused { again } if again <= now => realm.claim(now, self.boot),
                Telling::No if realm.master => realm.tell_anew(Telling::Due),
                Telling::LastWords { since, .. } if since + LAST_WORDS <= now => realm.tell_anew(Telling::No),
                _ => {}
            }
            if matches!(realm.telling, Telling::Due) {
                if realm.epoch < realm.highest {
                    realm.claim(now, self.boot);
                }
                realm.telling = Telling::Asked;
                gathers.push(Effect::Gather(Arc::clone(name)));
            }
        }
        self.tell_items(now, out);
        self.tell_words(now, out);
        self.conclude(now, out);
        // What is gathered is told at once, with later numbers: so nothing may be left to say that has an earlier one.
        out.append(&mut gathers);
    }

    /// Says of realms that this node has given up that all of them was told.
    fn conclude(&mut self, now: Duration, out: &mut Vec<Effect>) {
        let concluded = |(name, realm): (&Arc<str>, &mut Realm)| {
            realm.concludes(now).then(|| Body::End { realm: Arc::clone(name), epoch: realm.epoch })
        };
        let ends: Vec<Body> = self.realms.iter_mut().filter_map(concluded).collect();
        ends.into_iter().for_each(|end| self.say(now, end, 0, out));
    }

    fn add_words(&mut self, words: Vec<Word>, out: &mut Vec<Effect>) {
        let Some(teller) = &mut self.teller else { return };
        teller.words.extend(words);
        if teller.words.len() > MOST_WORDS {
            self.end_telling();
            out.push(Effect::Close(Direction::Telling, "more was to be said than the peer takes"));
        }
    }

    /// As many as may be under way, after the items.
    fn tell_words(&mut self, now: Duration, out: &mut Vec<Effect>) {
        while let Some(teller) = &mut self.teller {
            if teller.words.is_empty() || teller.begun >= BURST || teller.under_way.len() >= WINDOW {
                return;
            }
            let count = teller.words.len().min(WORDS);
            let words = teller.words.drain(..count).collect();
            self.say(now, Body::Words { words, unknown: 0 }, 0, out);
        }
    }

    /// As much as may be under way.
    fn tell_items(&mut self, now: Duration, out: &mut Vec<Effect>) {
        let names: Vec<Arc<str>> =
            self.realms.iter().filter(|(_, realm)| realm.notes_changes()).map(|(name, _)| Arc::clone(name)).collect();
        for name in names {
            while self.teller.as_ref().is_some_and(|it| it.begun < BURST && it.under_way.len() < WINDOW) {
                let Some(realm) = self.realms.get_mut(&name) else { break };
                let (items, epoch) = (realm.next_items(ITEM_OCTETS), realm.epoch);
                let realm_name = Arc::clone(&name);
                if !items.is_empty() {
                    let count = items.len();
                    self.counters.told += count as u64;
                    self.say(now, Body::Items { realm: realm_name, epoch, items, unknown: 0 }, count, out);
                } else if matches!(realm.telling, Telling::Bulk(_)) {
                    realm.telling = Telling::Live;
                    self.say(now, Body::End { realm: realm_name, epoch }, 0, out);
                } else {
                    break;
                }
            }
        }
    }

    fn say(&mut self, now: Duration, body: Body, items: usize, out: &mut Vec<Effect>) {
        let Some(teller) = &mut self.teller else { return };
        teller.said += 1;
        if items > 0 || matches!(body, Body::Words { .. }) {
            teller.begun += 1;
            teller.under_way.push_back((teller.said, items));
        }
        out.push(Effect::Tell(Message { number: teller.said, now: nanoseconds(now), body }));
    }

    fn answered(&mut self, now: Duration, answer: Answer, out: &mut Vec<Effect>) {
        let Some(teller) = &mut self.teller else { return };
        if answer.taken > teller.said {
            self.counters.refused += 1;
            self.end_telling();
            return out.push(Effect::Close(Direction::Telling, "what was never said was answered"));
        }
        teller.heard = now;
        while teller.under_way.front().is_some_and(|(number, _)| *number <= answer.taken) {
            teller.under_way.pop_front();
        }
        for Stand { realm: name, master, epoch } in answer.refused {
            // What is said of an older claim of ours was answered by the newer one.
            let realm = self.realms.get_mut(&name).filter(|realm| realm.master && epoch >= realm.epoch);
            let Some(realm) = realm else { continue };
            if epoch > realm.highest.saturating_add(LEAP) {
                self.counters.refused += 1;
                continue;
            }
            realm.highest = realm.highest.max(epoch);
            // Who is no master only needs to hear a newer claim.
            let again = if master { now + AGAIN } else { now };
            realm.tell_anew(Telling::Refused { again });
        }
        self.tell_items(now, out);
    }

    fn told(&mut self, now: Duration, message: Message, out: &mut Vec<Effect>) {
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
            Body::Begin { realm, epoch } => refused.extend(self.begin(realm, epoch, peer, out)),
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
    fn begin(&mut self, name: Arc<str>, epoch: u64, peer: u64, out: &mut Vec<Effect>) -> Option<Stand> {
        let realm = self.realms.get_mut(&name);
        let leaps = |realm: &Realm| epoch > realm.highest.saturating_add(LEAP);
        let is_new = |realm: &Realm| epoch > realm.epoch || epoch == realm.epoch && realm.owner == peer;
        let Some(realm) = realm.filter(|realm| !realm.master && !leaps(realm) && is_new(realm)) else {
            return self.refuse(name, epoch);
        };
        (realm.epoch, realm.owner) = (epoch, peer);
        realm.highest = realm.highest.max(epoch);
        realm.following = Some(Following { mentioned: Some(HashSet::new()), concluded: false });
        realm.tell_anew(Telling::No);
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

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
