//! One node's part in the exchange: the protocol ([`Exchange`]), the tables that it tells of and stores into, and what the peer's indices
//! stand for. It is told what has happened and says what is to be done; the store of records is all that it touches.
//!
//! Who runs it owns the connections, the clock and the timetable: `effects::exchange` in the daemon, the simulation of pairs in tests.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use lb_common::abi::{Recorded, connection_state};

use super::changes::{Changes, Noted};
use super::directory::Directory;
use super::foreign::Foreign;
use super::gather::Gathering;
use super::item::{BACKENDS_PER_BLOCK, Backend, Key, Keys, Value};
use super::linear_table::AHEAD;
use super::machine::{Direction, Effect, Event, Exchange, Limits};
use super::message::{Answer, Item, Message};
use super::store::{Fresh, Store};
use super::stored::{Client, Foreigner, Lookups};
use super::tables::Tables;
use super::translations;
use super::walk::Walker;
use super::word::{Spoken, Word};
use crate::reconcile::placed::{Extent, FromMaster, ToldSlots};

/// Notes of the packet path's that are told of at one tick, at most: as many as there is room for while they wait.
const MOST_RECORDED: usize = 16_384;
/// All of a realm is gathered for about so long at one tick.
const PIECE: Duration = Duration::from_millis(2);

/// That this node is master the packet path knows up to so much earlier than who runs this: twice the time between two looks.
const UNNOTICED: Duration = Duration::from_millis(10);

/// What masters say of tables, by service; of those that this node follows.
pub type Followed = BTreeMap<Arc<str>, Arc<FromMaster>>;

/// What a master had still to say of slots when this node took over, by service and slot, as in [`ToldSlots`].
pub type LastSlots = BTreeMap<Arc<str>, BTreeMap<u32, (Arc<str>, Duration)>>;

/// Something to be done.
#[derive(Clone, PartialEq, Debug)]
pub enum Deed {
    /// Send this to who follows.
    Tell(Message),
    /// Send this to who tells.
    Answer(Answer),
    /// End this connection, and say that it is lost.
    Close(Direction, &'static str),
    /// The peer has said this.
    Hear(Vec<Word>),
    /// Make tables from this.
    Follow(Followed),
    /// Of slots of tables that are this node's own by now, these are not settled.
    AddSlots(LastSlots),
    /// All that the master of this realm has is here.
    Complete(Arc<str>),
    /// How something went that is tried again and again: what, and why it did not.
    Tried(&'static str, Result<(), String>),
}

/// See the module's description.
pub struct Party<S: Store> {
    /// The protocol.
    pub exchange: Exchange,
    /// What our tables mean.
    pub directory: Arc<Directory>,
    /// The tables, once there are any.
    pub tables: Option<Tables<S>>,
    /// What the peer's indices stand for.
    pub foreign: Foreign,
    /// The walk over the tables.
    pub walker: Walker<S>,
    /// Realms that are to be told, one after another.
    gatherings: VecDeque<Gathering<S>>,
    /// What was said last of what this node follows; `None`: it was not heard.
    followed: Option<Followed>,
    /// What was said of operators and checks in this session.
    spoken: Arc<Spoken>,
    recorded: u64,
}

impl<S: Store> Party<S> {
    /// A node of this boot that knows nothing yet.
    pub fn new(boot: u64, limits: Limits) -> Self {
        Self {
            exchange: Exchange::new(boot, limits),
            directory: Arc::default(),
            tables: None,
            foreign: Foreign::default(),
            walker: Walker::default(),
            gatherings: VecDeque::new(),
            followed: Some(Followed::new()),
            spoken: Arc::default(),
            recorded: 0,
        }
    }

    /// Flows that were told of as they were recorded.
    pub fn recorded(&self) -> u64 {
        self.recorded
    }

    /// Takes note of an event of the protocol.
    pub fn handle(&mut self, now: Duration, event: Event) -> Vec<Deed> {
        let mut out = Vec::new();
        self.happened(now, event, &mut out);
        out
    }

    /// This is what our tables mean from now on.
    pub fn take_directory(&mut self, now: Duration, directory: Arc<Directory>) -> Vec<Deed> {
        let mut out = Vec::new();
        let before = std::mem::replace(&mut self.directory, Arc::clone(&directory));
        if before.realms != directory.realms {
            self.happened(now, Event::Realms(directory.realms.iter().cloned().collect()), &mut out);
        }
        if before.config != directory.config {
            self.happened(now, Event::Config(Arc::clone(&directory.config)), &mut out);
        }
        for (realm, key, value) in directory.changes_since(&before) {
            self.happened(now, Event::Changed(realm, vec![(key, value)]), &mut out);
        }
        // What had no place may have one now: all is to be told again.
        if directory.has_more_places_than(&before)
            && self.tables.as_mut().is_some_and(Tables::take_whether_any_lacked_a_backend)
        {
            let why = "other backends are configured: all is to be told again";
            out.push(Deed::Close(Direction::Following, why));
        }
        out
    }

    /// Of which realms mastership is another than was known, and which.
    pub fn other_masters(&self, is_master: impl Fn(&str) -> bool) -> Vec<(Arc<str>, bool)> {
        let now = self.directory.realms.iter().map(|realm| (Arc::clone(realm), is_master(realm)));
        now.filter(|(realm, master)| *master != self.exchange.is_master(realm)).collect()
    }

    /// This is all that there is to say of operators and checks: says what is new; at the beginning of a session, all.
    pub fn speak(&mut self, now: Duration, spoken: &Arc<Spoken>) -> Vec<Deed> {
        let mut out = Vec::new();
        if self.exchange.tells() && !Arc::ptr_eq(spoken, &self.spoken) {
            let words = spoken.since(&self.spoken);
            self.spoken = Arc::clone(spoken);
            self.happened(now, Event::Say(words), &mut out);
        }
        out
    }

    /// Tells of flows that were recorded since the last tick.
    pub fn tell_recorded(&mut self, now: Duration) -> Vec<Deed> {
        let (Some(tables), exchange) = (&mut self.tables, &self.exchange) else { return Vec::new() };
        let mut noted = Noted::new(&self.directory, |realm| exchange.notes_changes(realm));
        tables.set_clock(now);
        let (mut changes, mut left) = (Changes::default(), MOST_RECORDED);
        while left > 0 {
            let fresh: Vec<Fresh> = std::iter::from_fn(|| tables.records.recorded()).take(AHEAD.min(left)).collect();
            if fresh.is_empty() {
                break;
            }
            left -= fresh.len();
            tables.touch(&fresh);
            for recorded in &fresh {
                let is_new = match recorded {
                    Fresh::Flow(flow) => tables.told_of(&mut noted, flow, &mut changes) && is_first_word(flow),
                    Fresh::Translation(it) => tables.told_of_translation(&noted, it, &mut changes),
                };
                self.recorded += u64::from(is_new);
            }
        }
        let mut out = Vec::new();
        self.changed(now, changes, &mut out);
        out
    }

    /// Walks on over the tables, if it is time, and tells what differs from what was told.
    pub fn walk(&mut self, clock: impl Fn() -> Duration) -> Vec<Deed> {
        let mut out = Vec::new();
        let (Some(tables), exchange) = (&mut self.tables, &self.exchange) else { return out };
        let notes = |realm: &str| exchange.walks_for_changes(realm);
        // What is gathered would all be found to be new.
        if !self.gatherings.is_empty() || !self.directory.realms.iter().any(|realm| notes(realm)) {
            return out;
        }
        tables.set_clock(clock());
        let found = self.walker.go_on(&clock, tables, Noted::new(&self.directory, notes));
        out.push(Deed::Tried("walk", outcome(&found, "the flow tables cannot be read")));
        self.changed(clock(), found.unwrap_or_default(), &mut out);
        out
    }

    /// Goes on with realms of which all is to be told, as much as is to be told next.
    pub fn gather(&mut self, clock: impl Fn() -> Duration) -> Vec<Deed> {
        let (mut out, until) = (Vec::new(), clock() + PIECE);
        loop {
            let (now, Some(tables), exchange) = (clock(), &mut self.tables, &self.exchange) else { return out };
            self.gatherings.retain(|it| exchange.gathers(&it.realm, now).is_some());
            let is_due = |it: &Gathering<S>| exchange.gathers(&it.realm, now) == Some(true);
            let due = self.gatherings.iter().position(is_due).filter(|_| now < until);
            let Some((at, gathering)) = due.and_then(|at| Some((at, self.gatherings.get_mut(at)?))) else { break };
            let (realm, more) = (Arc::clone(&gathering.realm), gathering.has_more());
            tables.set_clock(now);
            let items = gathering.step(tables, &self.directory);
            if items.is_err() || !more {
                out.push(Deed::Tried("gather", outcome(&items, "the flow tables cannot be read")));
            }
            let Ok(items) = items else {
                out.push(Deed::Close(Direction::Telling, "the flow tables cannot be read"));
                break;
            };
            if !more {
                self.gatherings.remove(at);
            }
            self.happened(clock(), Event::Gathered(realm, items, more), &mut out);
        }
        out
    }

    fn changed(&mut self, now: Duration, changes: Changes, out: &mut Vec<Deed>) {
        changes.into_iter().for_each(|(realm, items)| self.happened(now, Event::Changed(realm, items), out));
    }

    /// What was said last of what this node follows was not heard: it is said again, whether or not it changes.
    pub fn follow_anew(&mut self) {
        self.followed = None;
    }

    /// Live words of which records may be on their way. From a peer that is not alive none is, whatever its session looks like.
    pub fn awaited(&self, now: Duration, peer_is_alive: bool) -> BTreeSet<u32> {
        let awaits = |realm: &str| peer_is_alive && self.exchange.awaits_records(realm, now);
        let awaited = self.directory.live.iter().filter(|(realm, _)| awaits(realm));
        awaited.map(|(_, index)| *index).collect()
    }

    fn happened(&mut self, now: Duration, event: Event, out: &mut Vec<Deed>) {
        let moves = matches!(event, Event::Mastership(..));
        if matches!(event, Event::Mastership(_, false)) {
            self.walker.hurry(now);
        }
        if matches!(event, Event::Connected(Direction::Telling, _)) {
            self.spoken = Arc::default();
        }
        for effect in self.exchange.handle(now, event) {
            self.perform(now, effect, out);
        }
        if moves {
            self.follow(out);
        }
    }

    fn perform(&mut self, now: Duration, effect: Effect, out: &mut Vec<Deed>) {
        match effect {
            Effect::Tell(message) => out.push(Deed::Tell(message)),
            Effect::Answer(answer) => out.push(Deed::Answer(answer)),
            Effect::Gather(realm) => self.begin_gathering(now, realm, out),
            Effect::Store { realm, items, now: teller_now, late } => {
                self.store(now, &realm, items, teller_now, late, out);
            }
            Effect::Begin(realm) => {
                // What was told of slots under an earlier claim counts no more.
                self.foreign.forget_slots(&realm);
                self.follow(out);
            }
            Effect::Keep(realm, keys) => self.keep(realm, &keys, out),
            Effect::Close(direction, why) => out.push(Deed::Close(direction, why)),
            Effect::Hear(words) => out.push(Deed::Hear(words)),
        }
    }

    /// All of a realm is to be told: begins with what explains its records.
    fn begin_gathering(&mut self, now: Duration, realm: Arc<str>, out: &mut Vec<Deed>) {
        self.walker.restart();
        self.gatherings.retain(|gathering| gathering.realm != realm);
        let items = self.directory.of_realm(&realm).flat_map(|entry| entry.items()).collect();
        if let Some(tables) = &mut self.tables {
            self.gatherings.push_back(Gathering::begin(Arc::clone(&realm), tables, &self.directory));
        }
        let has_records = self.tables.is_some();
        self.happened(now, Event::Gathered(realm, items, has_records), out);
    }

    fn store(
        &mut self,
        now: Duration,
        realm: &Arc<str>,
        items: Vec<Item>,
        teller_now: u64,
        late: bool,
        out: &mut Vec<Deed>,
    ) {
        let (mut is_reweighed, mut has_records, mut stored) = (false, false, Ok(()));
        let since = || self.exchange.master_since(realm).unwrap_or(now).saturating_sub(UNNOTICED);
        let (late, mut last_slots) = (late.then(since), LastSlots::new());
        let added: Vec<Key> =
            if late.is_some() { items.iter().map(|(key, _)| key.clone()).collect() } else { Vec::new() };
        let directory = Arc::clone(&self.directory);
        let mut lookups = Lookups::default();
        for (key, value) in items {
            match (key, value) {
                (Key::Backends(service, block), value) => {
                    // Of last words it counts whom other ones name; what this node makes its tables from is its own matter by then.
                    is_reweighed |= self.note_backends(realm, &service, block, value) && late.is_none();
                    lookups.forget_backends();
                }
                (Key::Table(service), Some(Value::Table(hash))) if late.is_none() => {
                    self.foreign.note_table(realm, &service, Some(hash));
                    is_reweighed = true;
                }
                (Key::Slots(service, block), value) => {
                    let notes = match value {
                        Some(Value::Slots(notes)) => notes,
                        Some(_) => continue,
                        None => Vec::new(),
                    };
                    let ago = |since| Duration::from_nanos(teller_now.saturating_sub(since));
                    let since = |since| now.saturating_sub(ago(since));
                    if late.is_none() {
                        is_reweighed |= self.foreign.note_slots(realm, &service, block, &notes, since);
                    } else {
                        let slots = self.foreign.slots_of(realm, &service, &notes, since);
                        last_slots.entry(service).or_default().extend(slots);
                    }
                }
                (key, value) if key.is_record() => {
                    has_records = true;
                    let (directory, lookups) = (&directory, &mut lookups);
                    stored =
                        stored.and(self.store_record(now, realm, directory, lookups, (key, value), teller_now, late));
                }
                // Last words about tables are old, and values of another kind than their key are nonsense.
                _ => {}
            }
        }
        if has_records {
            let settled = self.tables.as_mut().map_or(Ok(()), |tables| tables.records.settle());
            let told = if late.is_some() { self.tell_late(now, &added, out) } else { Ok(()) };
            let stored = stored.and(settled).and(told);
            out.push(Deed::Tried("store", outcome(&stored, "a record of the peer's cannot be kept")));
        }
        if is_reweighed {
            self.follow(out);
        }
        last_slots.retain(|_, slots| !slots.is_empty());
        if !last_slots.is_empty() {
            out.push(Deed::AddSlots(last_slots));
        }
    }

    /// Tells of what was added to what this node is master of.
    fn tell_late(&mut self, now: Duration, added: &[Key], out: &mut Vec<Deed>) -> anyhow::Result<()> {
        let (Some(tables), exchange) = (&mut self.tables, &self.exchange) else { return Ok(()) };
        tables.set_clock(now);
        let mut changes = Changes::default();
        let mut noted = Noted::new(&self.directory, |realm| exchange.notes_changes(realm));
        let told = tables.told_late(&mut noted, added, &mut changes);
        self.changed(now, changes, out);
        told
    }

    fn store_record<'a>(
        &mut self,
        now: Duration,
        realm: &str,
        directory: &'a Directory,
        lookups: &mut Lookups<'a>,
        item: Item,
        teller_now: u64,
        late: Option<Duration>,
    ) -> anyhow::Result<()> {
        let (Some(tables), foreign) = (&mut self.tables, &self.foreign) else { return Ok(()) };
        let age = |last| teller_now.saturating_sub(last);
        match item {
            (Key::Flow(flow, stateful), Some(Value::Flow(record))) => {
                let it = Foreigner { realm, flow: flow.key(), stateful, record, age: age(record.last_seen) };
                tables.store(directory, foreign, lookups, &it, now, late)
            }
            (Key::Flow(flow, stateful), None) if late.is_none() => {
                tables.remove(directory, realm, &flow.key(), stateful)
            }
            (Key::Client(service, address), Some(Value::Client(backend, last))) => {
                let address = IpAddr::from(address).into();
                let it = Client { realm, service: &service, address, backend, age: age(last) };
                tables.store_client(directory, foreign, &it, now, late)
            }
            (Key::Client(service, address), None) if late.is_none() => {
                let address = IpAddr::from(address).into();
                tables
                    .remove_client(directory, &Client { realm, service: &service, address, backend: u16::MAX, age: 0 })
            }
            (Key::Translation(flow), Some(Value::Translation(record))) => {
                let it = translations::Foreigner { realm, flow: flow.key(), record, age: age(record.last_seen) };
                tables.store_translation(directory, &it, now, late)
            }
            (Key::Translation(flow), None) if late.is_none() => {
                tables.remove_translation(directory, realm, &flow.key())
            }
            // Last words remove nothing, and values of another kind than their key are nonsense.
            _ => Ok(()),
        }
    }

    fn note_backends(&mut self, realm: &Arc<str>, service: &Arc<str>, block: u32, value: Option<Value>) -> bool {
        if self.directory.service(service).is_none_or(|entry| entry.realm != *realm) {
            // Once it is there it has to be told again whom the teller's indices stand for, whether or not records came.
            if let Some(tables) = self.tables.as_mut().filter(|_| value.is_some()) {
                tables.count_unplaced("no-service");
            }
            return false;
        }
        let of_block = |it: &Backend| u32::from(it.index / BACKENDS_PER_BLOCK) == block;
        let backends = match value {
            Some(Value::Backends(backends)) if backends.iter().all(of_block) => Some(backends),
            Some(_) => return false,
            None => None,
        };
        self.foreign.note(realm, service, block, backends);
        true
    }

    /// Of a realm there is nothing but what these are about.
    fn keep(&mut self, realm: Arc<str>, keys: &Keys, out: &mut Vec<Deed>) {
        let is_kept = |service: &Arc<str>, block| keys.contains(&Key::Backends(Arc::clone(service), block));
        self.foreign.keep(&realm, is_kept);
        self.foreign.keep_slots(&realm, |service, block| keys.contains(&Key::Slots(Arc::clone(service), block)));
        if let Some(tables) = &mut self.tables {
            let kept = tables.keep(&self.directory, &realm, keys);
            // Whatever failed, nothing may be left on its way: this node may be master next.
            let kept = kept.and(tables.records.settle());
            out.push(Deed::Tried("store", outcome(&kept, "a record of the peer's cannot be kept")));
        }
        self.follow(out);
        out.push(Deed::Complete(realm));
    }

    /// Says what masters make their tables from, of what this node is not master of, if that is new.
    fn follow(&mut self, out: &mut Vec<Deed>) {
        let mut followed = Followed::new();
        for realm in self.directory.realms.iter().filter(|realm| !self.exchange.is_master(realm)) {
            let (is_whole, is_begun) = (self.exchange.follows(realm), self.exchange.is_being_told(realm));
            for entry in self.directory.of_realm(realm) {
                let Some(standings) = self.foreign.standings(realm, &entry.name) else { continue };
                let extent = match (is_whole, is_begun) {
                    (true, _) => Extent::Whole(self.foreign.table(realm, &entry.name)),
                    (false, true) => Extent::Part,
                    (false, false) => Extent::Unknown,
                };
                let slots = self.foreign.slots(realm, &entry.name);
                let slots = slots.map(|slots| Arc::new(ToldSlots { slots: Arc::clone(slots), extent }));
                followed.insert(Arc::clone(&entry.name), Arc::new(FromMaster { standings, slots }));
            }
        }
        if self.followed.as_ref() != Some(&followed) {
            self.followed = Some(followed.clone());
            out.push(Deed::Follow(followed));
        }
    }
}

/// Whether a flow is told of as it was recorded, and not that it is established.
fn is_first_word(recorded: &Recorded) -> bool {
    recorded.stateful == 0 || recorded.record.state != connection_state::ESTABLISHED
}

/// How something went, in words.
fn outcome<T>(result: &anyhow::Result<T>, what: &str) -> Result<(), String> {
    result.as_ref().map(drop).map_err(|error| format!("{what}: {error:#}"))
}

#[cfg(test)]
#[path = "party_tests.rs"]
mod tests;
