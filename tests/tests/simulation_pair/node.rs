//! One node of the pair: what decides (the real controller), what tells and follows (the real party of the exchange), and the tables of
//! both in plain memory, as the packet path has them. Around them what the daemon does, dull: who hears what, when.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::mem;
use std::sync::Arc;
use std::time::Duration;

use fairway::controller::{Controller, Effect, Event as Happened};
use fairway::exchange::directory::Directory;
use fairway::exchange::machine::Limits;
use fairway::exchange::party::{Deed, Followed, LastSlots, Party};
use fairway::exchange::readiness::Readiness;
use fairway::exchange::tables::Tables;
use fairway::exchange::word::{Spoken, Word};
use fairway::exchange::{Body, Direction, Event, Message};
use fairway::health::pool::Order;
use fairway::health::pool::intent::Intents;
use fairway::health::pool::memory::Memory;
use fairway::native::NativeTables;
use fairway::nexthop::tracker::Event as Network;
use fairway::nexthop::{Frame, Mac, NextHop};
use fairway::reconcile::image::Image;
use fairway::reconcile::write::Write;

use crate::desired::{self, Desired, REALM, SERVERS, SERVICES, server};
use crate::fault::Fault;

const SLOTS: u32 = 512;
const ROWS: u32 = 128;
/// More than any history makes.
const RECORDS: usize = 10_000;
const LIMITS: Limits = Limits { waiting: 1_000, items: 10_000 };
/// Time between two looks at what changed.
pub const TICK: Duration = Duration::from_millis(5);
/// For how long a node that has not caught up waits before it counts as ready all the same.
const PATIENCE: Duration = Duration::from_secs(30);
/// Frames to servers leave by this interface.
pub const SERVER_SIDE: u32 = 2;

/// What outlives a node's memory.
#[derive(Clone)]
pub struct Disk {
    /// The file.
    pub desired: Desired,
    /// What operators want.
    pub intents: Intents,
}

/// Something that the loop has not come to yet.
enum Waiting {
    Followed(Followed),
    LastSlots(LastSlots),
    Words(Vec<Word>),
}

/// See the module's description.
pub struct Node {
    pub number: usize,
    pub fault: Fault,
    pub is_up: bool,
    /// Tells this run from every other.
    pub boot: u64,
    pub started_at: Duration,
    /// How far its clock is ahead of ours.
    ahead: Duration,
    pub disk: Disk,
    pub controller: Controller,
    pub party: Party<NativeTables>,
    published: Arc<Directory>,
    spoken: Arc<Spoken>,
    readiness: Readiness,
    /// Whether it may preempt.
    pub is_ready: bool,
    /// What VRRP says.
    pub is_master: bool,
    /// Whether heartbeats of the peer are heard.
    pub hears_peer: bool,
    /// The peer tells it what it is master of.
    pub is_told: bool,
    waiting: VecDeque<(Duration, Waiting)>,
    /// How long the loop takes to come to something.
    lag: Duration,
    pub tick_at: Duration,
    pub sweep_at: Duration,
    /// When it walked over its tables last to find what is to be told, and before that.
    pub walked_at: [Duration; 2],
    /// When it began last to tell all that it is master of, and before that.
    pub gathered_at: [Duration; 2],
    /// For the peer, and for the connections to it.
    pub outbox: Vec<Deed>,
    /// All that its master has is here, just now.
    pub has_completed: bool,
    /// What could not be done.
    pub failure: Option<String>,
    /// Since when it can place the records of a backend, by service and server.
    pub places: BTreeMap<(usize, u8), Duration>,
    /// Backends that it takes for dead to their flows.
    dead: BTreeSet<(usize, u8)>,
    /// Of these, those that died since this was last looked at.
    pub deaths: Vec<(usize, u8)>,
}

impl Node {
    /// A node that has just been started. `ahead`: how far its clock is ahead of ours.
    pub fn start(
        number: usize,
        fault: Fault,
        boot: u64,
        now: Duration,
        ahead: Duration,
        lag: Duration,
        disk: Disk,
    ) -> Self {
        let config = desired::read(&disk.desired);
        let mut controller = Controller::new(config, SLOTS, ROWS);
        controller.restore(disk.intents.clone(), Memory::default(), -ahead.as_secs_f64());
        let image = controller.lend_image(|_, image| (image, Image::hollow()));
        let mut party = Party::new(boot, LIMITS);
        party.tables = Some(Tables::new(NativeTables::new(image, RECORDS)));
        let mut node = Self {
            number,
            fault,
            is_up: true,
            boot,
            started_at: now,
            ahead,
            disk,
            controller,
            party,
            published: Arc::default(),
            spoken: Arc::default(),
            readiness: Readiness::new(now + ahead),
            is_ready: false,
            is_master: false,
            hears_peer: true,
            is_told: false,
            waiting: VecDeque::new(),
            lag,
            tick_at: now + TICK,
            sweep_at: now + Duration::from_secs(1),
            walked_at: [Duration::ZERO; 2],
            gathered_at: [Duration::ZERO; 2],
            outbox: Vec::new(),
            has_completed: false,
            failure: None,
            places: BTreeMap::new(),
            dead: BTreeSet::new(),
            deaths: Vec::new(),
        };
        node.configure(now);
        node
    }

    /// Its own clock.
    pub fn clock(&self, now: Duration) -> Duration {
        now + self.ahead
    }

    pub fn tables(&self) -> &NativeTables {
        &self.party.tables.as_ref().expect("it has them from the beginning").records
    }

    pub fn tables_mut(&mut self) -> &mut NativeTables {
        &mut self.party.tables.as_mut().expect("it has them from the beginning").records
    }

    /// Sets the clock that its packets see.
    pub fn set_clock(&mut self, now: Duration) {
        let now = self.clock(now).as_nanos();
        self.tables().clock.set(u64::try_from(now).expect("histories are short"));
    }

    /// Puts the file in force.
    pub fn configure(&mut self, now: Duration) {
        let config = desired::read(&self.disk.desired);
        self.find_ways(now);
        self.decide(now, |controller, now| controller.configure(now, config).expect("there is room for all").1);
        self.publish(now);
        self.remember();
    }

    /// An operator says something.
    pub fn operate(&mut self, now: Duration, order: &Order) {
        let wall = now.as_secs_f64();
        // An order that makes no sense changes nothing.
        self.decide(now, |controller, now| controller.operate(now, wall, order).map_or_else(|_| Vec::new(), |it| it.1));
        self.remember();
    }

    /// Has the controller decide, whose image is that of the tables, and carries out what it decides.
    fn decide(&mut self, now: Duration, act: impl FnOnce(&mut Controller, Duration) -> Vec<Effect>) {
        let now_here = self.clock(now);
        let image = mem::replace(&mut self.tables_mut().image, Image::hollow());
        self.controller.lend_image(|_, _| ((), image));
        let effects = act(&mut self.controller, now_here);
        let image = self.controller.lend_image(|_, image| (image, Image::hollow()));
        let tables = self.tables_mut();
        tables.image = image;
        let mut is_other = false;
        for effect in effects {
            let Effect::Write(writes) = effect else { continue };
            // A half is in the image by now, and means nothing to records.
            writes.iter().filter(|write| !matches!(write, Write::Half(_))).for_each(|write| tables.apply(write));
            is_other |= !writes.iter().all(is_of_rows);
        }
        if is_other {
            self.publish(now);
        }
    }

    /// Says what the tables mean.
    fn publish(&mut self, now: Duration) {
        let (config, planner) = (self.controller.config(), self.controller.planner());
        self.published = Arc::new(Directory::new(config, "the same", planner, &self.published));
        let (mut places, mut dead) = (BTreeMap::new(), BTreeSet::new());
        for (at, number) in (0..SERVICES.len()).flat_map(|at| (0..SERVERS).map(move |number| (at, number))) {
            let Some(is_up) = self.standing(at, number) else { continue };
            places.insert((at, number), self.places.get(&(at, number)).copied().unwrap_or(now));
            dead.extend((!is_up).then_some((at, number)));
        }
        self.deaths.extend(dead.difference(&self.dead));
        (self.places, self.dead) = (places, dead);
        self.wake(now);
    }

    /// The exchange's thread has something to do at its next tick, which is never later than this.
    pub fn wake(&mut self, now: Duration) {
        self.tick_at = self.tick_at.min(now + TICK);
    }

    /// What operators want outlives the node, and is told to the other.
    fn remember(&mut self) {
        self.disk.intents = self.controller.pools().intents().clone();
        let spoken = self.controller.spoken();
        if *self.spoken != spoken {
            self.spoken = Arc::new(spoken);
        }
    }

    fn find_ways(&mut self, now: Duration) {
        for number in 0..SERVERS {
            let destination = server(number);
            if self.controller.planner().hops().contains_key(&destination) {
                continue;
            }
            let mac = |last| Mac([2, 0xbb, 0, 0, 0, last]);
            let (source_mac, destination_mac) = (mac(0xff), mac(number));
            let frame = Frame {
                interface: SERVER_SIDE,
                source_mac,
                destination_mac,
                tags: Vec::new(),
                mtu: 1500,
                source: None,
            };
            let found = Network::NextHop { destination, result: Ok(NextHop::Frame(frame)) };
            self.decide(now, |controller, now| controller.handle(now, Happened::Network(found)));
        }
    }

    /// The exchange's thread looks at what there is to do.
    pub fn tick(&mut self, now: Duration) {
        self.look_up(now);
        let (at, spoken) = (self.clock(now), Arc::clone(&self.spoken));
        let mut deeds = self.party.speak(at, &spoken);
        deeds.extend(self.party.tell_recorded(at));
        deeds.extend(self.party.gather(|| at));
        let walks = self.party.walker.count();
        deeds.extend(self.party.walk(|| at));
        if self.party.walker.count() > walks {
            // No time passes in one, so it is whole.
            self.walked_at = [now, self.walked_at[0]];
        }
        deeds.extend(self.party.handle(at, Event::Tick));
        self.perform(now, deeds);
        self.await_records(now);
        let caught_up = self.is_told.then(|| self.party.exchange.caught_up());
        self.is_ready = self.readiness.judge(at, Some(PATIENCE), caught_up).is_ok();
    }

    /// The exchange's thread hears of something.
    pub fn hear(&mut self, now: Duration, event: Event) {
        match event {
            Event::Connected(Direction::Following, _) => self.is_told = true,
            Event::Lost(Direction::Following) => self.is_told = false,
            _ => {}
        }
        self.look_up(now);
        let before = self.fault.remembers(self.tables());
        let deeds = self.party.handle(self.clock(now), event);
        self.perform(now, deeds);
        let has_completed = self.has_completed;
        self.fault.brings_back(self.tables_mut(), before, has_completed);
    }

    /// Time alone makes a difference.
    pub fn pass(&mut self, now: Duration) {
        if self.controller.deadline().is_some_and(|at| at <= self.clock(now)) {
            self.decide(now, |controller, now| controller.handle(now, Happened::Tick));
        }
    }

    fn look_up(&mut self, now: Duration) {
        let at = self.clock(now);
        if !Arc::ptr_eq(&self.published, &self.party.directory) {
            let deeds = self.party.take_directory(at, Arc::clone(&self.published));
            self.perform(now, deeds);
        }
        let is_master = self.is_master;
        for (realm, master) in self.party.other_masters(|realm| realm == REALM && is_master) {
            let deeds = self.party.handle(at, Event::Mastership(realm, master));
            self.perform(now, deeds);
        }
    }

    fn await_records(&mut self, now: Duration) {
        let awaited = self.party.awaited(self.clock(now), self.hears_peer);
        self.tables_mut().awaiting = if self.fault == Fault::AwaitNothing { Default::default() } else { awaited };
    }

    fn perform(&mut self, now: Duration, deeds: Vec<Deed>) {
        for deed in deeds {
            if matches!(&deed, Deed::Tell(Message { body: Body::Begin { .. }, .. })) {
                self.gathered_at = [now, self.gathered_at[0]];
            }
            match deed {
                Deed::Tell(_) | Deed::Answer(_) | Deed::Close(..) => self.outbox.push(deed),
                Deed::Hear(words) => self.waiting.push_back((now + self.lag, Waiting::Words(words))),
                Deed::Follow(followed) => {
                    let followed = self.fault.of_followed(followed);
                    self.waiting.push_back((now + self.lag, Waiting::Followed(followed)));
                }
                Deed::AddSlots(slots) => self.waiting.push_back((now + self.lag, Waiting::LastSlots(slots))),
                Deed::Complete(_) => self.has_completed = true,
                Deed::Tried(_, Ok(())) => {}
                Deed::Tried(what, Err(why)) => self.failure = Some(format!("{what}: {why}")),
            }
        }
    }

    /// When the loop comes to the next thing that waits.
    pub fn waits_until(&self) -> Option<Duration> {
        self.waiting.front().map(|(at, _)| *at)
    }

    /// The loop comes to what the exchange's thread has said.
    pub fn attend(&mut self, now: Duration) {
        while let Some((_, next)) = self.waiting.pop_front_if(|(at, _)| *at <= now) {
            match next {
                Waiting::Followed(followed) => {
                    self.decide(now, |controller, now| controller.follow_masters(now, followed));
                }
                Waiting::LastSlots(slots) => self.decide(now, |controller, now| controller.hear_last_slots(now, slots)),
                Waiting::Words(words) => self.hear_words(now, words),
            }
        }
    }

    fn hear_words(&mut self, now: Duration, words: Vec<Word>) {
        let (mut said, mut opinions) = (Vec::new(), Vec::new());
        for word in words {
            match word {
                Word::Intent(it) => said.push(it),
                Word::Verdict(it) => opinions.push(it),
                Word::Decision(_) => {}
            }
        }
        self.decide(now, |controller, now| {
            let (_, mut effects) = controller.hear_intents(now, said);
            effects.extend(controller.hear_verdicts(now, opinions));
            effects
        });
        self.remember();
    }

    /// The flow tables are counted, what has had its time is deleted, and what follows from that is done.
    pub fn sweep(&mut self, now: Duration) {
        self.set_clock(now);
        let census = crate::census::take(self.tables_mut());
        self.decide(now, |controller, now| controller.handle(now, Happened::Census(Box::new(census))));
    }

    /// Whether there is anything to do at once.
    pub fn is_busy(&self) -> bool {
        !self.waiting.is_empty()
            || !self.tables().recorded.borrow().is_empty()
            || self.party.exchange.at_risk() > 0
            || !Arc::ptr_eq(&self.published, &self.party.directory)
            || self.party.exchange.is_master(REALM) != self.is_master
    }
}

/// How backends are reached says nothing of who they are.
fn is_of_rows(write: &Write) -> bool {
    matches!(
        write,
        Write::RowMac(..) | Write::RowState(..) | Write::RowMethod(..) | Write::TunnelRoom(..) | Write::Recount(..)
    )
}
