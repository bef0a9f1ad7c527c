//! Both ends of the exchange on one node, as a plain state machine: it is told who is master of what, what has changed, what the peer
//! says and the time; it says what to send, to ask for, to store. The module's description says how it works.

mod follower;
mod teller;

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use self::follower::Follower;
use self::teller::Teller;
use super::item::{Key, Keys, Value};
use super::message::{Answer, Item, MOST_REALMS, Message};
use super::realm::{Realm, Telling};
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
    /// Items of a realm that this node is master of are so now, or gone.
    Changed(Arc<str>, Vec<Item>),
    /// Items of a realm as they are now, as [`Effect::Gather`] asked for, and whether there are more to come. All that are no records
    /// come first of all, at once.
    Gathered(Arc<str>, Vec<(Key, Value)>, bool),
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
    /// Tell all items of this realm: [`Event::Gathered`], of which the first is to come at once, and the others as
    /// [`Exchange::gathers`] asks for them. What changes meanwhile is to be told by [`Event::Changed`].
    Gather(Arc<str>),
    /// Items of a realm that this node follows are so now. `now`: the teller's clock.
    Store {
        /// The realm.
        realm: Arc<str>,
        /// In this order.
        items: Vec<Item>,
        /// The teller's clock, in nanoseconds.
        now: u64,
        /// This node is master by now, and these are the last words of the one before: nothing is removed, and nothing is replaced of which
        /// packets have come here.
        late: bool,
    },
    /// Of a realm all is told from here on, under a new claim.
    Begin(Arc<str>),
    /// Of a realm that this node follows there is nothing but these.
    Keep(Arc<str>, Keys),
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
            Event::Changed(name, items) => self.changed(&name, items),
            Event::Gathered(name, items, more) => self.gathered(now, &name, items, more, &mut out),
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

    /// Whether more of a realm is to be gathered: `None` if not, or no more; else whether it is time for it.
    pub fn gathers(&self, realm: &str, now: Duration) -> Option<bool> {
        self.realms.get(realm)?.gathers(now)
    }

    /// The same of changes that a walk over the tables finds.
    pub fn walks_for_changes(&self, realm: &str) -> bool {
        self.teller.is_some() && self.realms.get(realm).is_some_and(Realm::walks_for_changes)
    }

    /// Whether this node is master of a realm, as it was told.
    pub fn is_master(&self, realm: &str) -> bool {
        self.realms.get(realm).is_some_and(|realm| realm.master)
    }

    /// Since when this node is master of a realm that it has followed until then.
    pub fn master_since(&self, realm: &str) -> Option<Duration> {
        self.realms.get(realm)?.before.map(|before| before.since)
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
            realm.leave();
        }
        if let Some(follower) = &mut self.follower {
            // It took over while this node was master still.
            let claim = follower.stands.as_ref().and_then(|stands| stands.get(name)).filter(|stand| stand.master);
            claim.into_iter().for_each(|stand| realm.is_elsewhere(now, stand.epoch));
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

    fn tick(&mut self, now: Duration, out: &mut Vec<Effect>) {
        if self.follower.as_ref().is_some_and(|follower| now > follower.heard + DEADLINE) {
            self.end_following();
            out.push(Effect::Close(Direction::Following, "nothing was heard for too long"));
        }
        if self.teller.as_ref().is_some_and(|teller| now > teller.heard + DEADLINE) {
            self.end_telling();
            out.push(Effect::Close(Direction::Telling, "nothing was answered for too long"));
        }
        self.tick_telling(now, out);
    }
}
