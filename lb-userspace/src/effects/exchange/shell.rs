//! The thread's loop: events to the exchange, its effects to the connections and the tables.

mod awaited;
mod links;
mod rehearsal;
mod shown;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};
use tracing::info;

use super::connection::{Connection, Failure, Greeted, News};
use super::{Link, OfMasters, Start, TICK};
use crate::effects::dataplane::Records;
use crate::exchange::agreement::Agreement;
use crate::exchange::directory::Directory;
use crate::exchange::machine::Limits;
use crate::exchange::party::{Deed, Party};
use crate::exchange::readiness::Readiness;
use crate::exchange::rehearsal::{Answer, Comparison, Question};
use crate::exchange::tables::Tables;
use crate::exchange::view::View;
use crate::exchange::word::{Spoken, Word};
use crate::exchange::{Direction, Event};
use crate::vrrp::view::State;

/// Messages of the peer's that wait.
const NEWS: usize = 32;
/// Limits of the protocol: changes that wait, of 100 octets or so; and records of one virtual router, four times as many as the tables
/// have room for by default.
const LIMITS: Limits = Limits { waiting: 1 << 18, items: 1 << 22 };

/// What connects the thread with its handle.
pub(super) struct Wires {
    pub directory: Arc<ArcSwap<Directory>>,
    pub view: Arc<ArcSwap<View>>,
    pub linked: watch::Receiver<Option<Arc<Link>>>,
    pub recorded: mpsc::Receiver<Records>,
    pub follow: mpsc::Sender<OfMasters>,
    pub catch_up: watch::Sender<Result<(), String>>,
    pub ask: mpsc::Sender<Question>,
    pub answered: mpsc::Receiver<Answer>,
    pub spoken: watch::Receiver<Arc<Spoken>>,
    pub hear: mpsc::Sender<Vec<Word>>,
}

/// See the module's description.
pub(super) struct Shell {
    start: Start,
    wires: Wires,
    party: Party<Records>,
    link: Option<Arc<Link>>,
    listener: Option<TcpListener>,
    listen_at: Duration,
    telling: Option<Connection>,
    following: Option<Connection>,
    /// Attempts to connect, and who has connected, until both have greeted.
    greeting: JoinSet<(Direction, IpAddr, Result<Box<Greeted>, Failure>)>,
    is_connecting: bool,
    connect_at: Duration,
    /// Which of the peer's addresses is tried next.
    next_address: usize,
    connections: u64,
    tell: mpsc::Sender<News>,
    news: mpsc::Receiver<News>,
    refused: BTreeMap<String, u64>,
    logged: BTreeMap<String, Duration>,
    problems: BTreeMap<&'static str, String>,
    sessions: u64,
    view_at: Duration,
    readiness: Readiness,
    agreement: Agreement,
    /// Live words of which the packet path knows that records may be on their way.
    awaited: BTreeSet<u32>,
    comparison: Comparison,
    rehearse_at: Duration,
    rehearsals: u64,
}

/// Why the loop goes on.
enum Woken {
    Ticked,
    Told(News),
    Greeted(Direction, IpAddr, Result<Box<Greeted>, Failure>),
    Accepted(TcpStream, IpAddr),
    Linked,
    Recorded(Box<Records>),
    Answered(Answer),
    Alone,
}

impl Shell {
    pub(super) fn new(start: Start, wires: Wires) -> Self {
        let (tell, news) = mpsc::channel(NEWS);
        Self {
            party: Party::new(start.boot, LIMITS),
            link: None,
            listener: None,
            listen_at: Duration::ZERO,
            telling: None,
            following: None,
            greeting: JoinSet::new(),
            is_connecting: false,
            connect_at: Duration::ZERO,
            next_address: 0,
            connections: 0,
            tell,
            news,
            refused: BTreeMap::new(),
            logged: BTreeMap::new(),
            problems: BTreeMap::new(),
            sessions: 0,
            view_at: Duration::ZERO,
            readiness: Readiness::new((start.clock)()),
            agreement: Agreement::default(),
            awaited: BTreeSet::new(),
            comparison: Comparison::default(),
            rehearse_at: Duration::ZERO,
            rehearsals: 0,
            start,
            wires,
        }
    }

    /// Runs until nobody is left to run for.
    pub(super) async fn run(mut self) {
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let woken = tokio::select! {
                biased;
                _ = ticks.tick() => Woken::Ticked,
                Some(news) = self.news.recv() => Woken::Told(news),
                Some(greeted) = self.greeting.join_next() => match greeted {
                    Ok((direction, address, greeted)) => Woken::Greeted(direction, address, greeted),
                    // None is aborted but all together, and none panics.
                    Err(_) => continue,
                },
                (stream, address) = links::accepted(&self.listener) => Woken::Accepted(stream, address),
                changed = self.wires.linked.changed() => changed.map_or(Woken::Alone, |()| Woken::Linked),
                Some(records) = self.wires.recorded.recv() => Woken::Recorded(Box::new(records)),
                Some(answer) = self.wires.answered.recv() => Woken::Answered(answer),
            };
            match woken {
                Woken::Ticked => self.tick(),
                Woken::Told(news) => self.hear(news),
                Woken::Greeted(direction, address, greeted) => self.greeted(direction, address, greeted),
                Woken::Accepted(stream, address) => self.accept(stream, address),
                Woken::Linked => self.relink(),
                Woken::Recorded(records) => self.take_tables(*records),
                Woken::Answered(answer) => self.answered(answer),
                Woken::Alone => return,
            }
        }
    }

    fn now(&self) -> Duration {
        (self.start.clock)()
    }

    fn tick(&mut self) {
        self.listen();
        self.connect();
        self.look_up();
        self.speak();
        let now = self.now();
        let recorded = self.party.tell_recorded(now);
        self.perform(recorded);
        let gathered = self.party.gather(self.start.clock);
        self.perform(gathered);
        let found = self.party.walk(self.start.clock);
        self.perform(found);
        self.happened(Event::Tick);
        self.await_records();
        self.rehearse();
        self.judge_readiness();
        self.show();
    }

    /// Looks at what others have published: what the tables mean, and who is master.
    fn look_up(&mut self) {
        let directory = self.wires.directory.load_full();
        if !Arc::ptr_eq(&directory, &self.party.directory) {
            let deeds = self.party.take_directory(self.now(), directory);
            self.perform(deeds);
        }
        let routers = (self.start.routers)();
        let is_master = |name: &str| routers.routers.iter().any(|it| it.name == name && it.state == State::Master);
        for (realm, master) in self.party.other_masters(is_master) {
            self.view_at = Duration::ZERO;
            self.happened(Event::Mastership(realm, master));
        }
    }

    /// Says what there is new to say of operators and checks.
    fn speak(&mut self) {
        let spoken = Arc::clone(&self.wires.spoken.borrow());
        let deeds = self.party.speak(self.now(), &spoken);
        self.perform(deeds);
    }

    /// There are tables now. What was told or taken before was nothing.
    fn take_tables(&mut self, records: Records) {
        self.party.tables = Some(Tables::new(records));
        self.awaited.clear();
        self.close(Direction::Telling, "the flow tables are there only now");
        self.close(Direction::Following, "the flow tables are there only now");
    }

    fn judge_readiness(&mut self) {
        let caught_up = self.following.is_some().then(|| self.party.exchange.caught_up());
        let patience = self.link.as_ref().map(|link| link.patience);
        let (now, missing) = (self.now(), caught_up.clone().and_then(Result::err));
        let ready = self.readiness.judge(now, patience, caught_up);
        match missing.filter(|_| patience.is_some_and(|patience| self.readiness.has_given_up(now, patience))) {
            Some(why) => {
                let consequence = "this node counts as ready all the same, since dataplane.ready_timeout is over";
                self.problem("readiness", format!("{why}; {consequence}: a takeover now loses connections"));
            }
            None => drop(self.problems.remove("readiness")),
        }
        self.wires.catch_up.send_if_modified(|before| {
            let is_other = *before != ready;
            *before = ready;
            is_other
        });
    }

    fn happened(&mut self, event: Event) {
        let deeds = self.party.handle(self.now(), event);
        self.perform(deeds);
    }

    fn perform(&mut self, deeds: Vec<Deed>) {
        for deed in deeds {
            match deed {
                Deed::Tell(message) => self.say(Direction::Telling, message.encode()),
                Deed::Answer(answer) => self.say(Direction::Following, answer.encode()),
                Deed::Close(direction, why) => self.close(direction, why),
                Deed::Hear(words) => self.heard(words),
                Deed::Follow(followed) => self.pass_on(OfMasters::Followed(followed)),
                Deed::AddSlots(slots) => self.pass_on(OfMasters::LastSlots(slots)),
                Deed::Complete(realm) => info!(vrrp = %realm, "all of the master's state is here"),
                Deed::Tried(what, Ok(())) => drop(self.problems.remove(what)),
                Deed::Tried(what, Err(why)) => self.problem(what, why),
            }
        }
    }

    fn pass_on(&mut self, said: OfMasters) {
        if self.wires.follow.try_send(said).is_err() {
            self.party.follow_anew();
            self.close(Direction::Following, "it says more of slots and weights than can be followed");
        }
    }

    fn say(&mut self, direction: Direction, payload: Vec<u8>) {
        let connection = match direction {
            Direction::Telling => &mut self.telling,
            Direction::Following => &mut self.following,
        };
        if connection.as_mut().is_some_and(|connection| !connection.say(payload)) {
            self.close(direction, "it does not take what it is told");
        }
    }

    fn hear(&mut self, news: News) {
        // Who is master may have changed since the last tick; whoever is takes nothing.
        self.look_up();
        let is = |connection: &Option<Connection>, number| connection.as_ref().is_some_and(|it| it.number == number);
        match news {
            News::Told(number, message) if is(&self.following, number) => self.happened(Event::Told(message)),
            News::Answered(number, answer) if is(&self.telling, number) => self.happened(Event::Answered(answer)),
            News::Ended(number, failure) => {
                if let Failure::Refused(refusal) = failure {
                    self.refuse(refusal.name(), None);
                }
                let why = failure.to_string();
                if is(&self.following, number) {
                    self.close(Direction::Following, &why);
                } else if is(&self.telling, number) {
                    self.close(Direction::Telling, &why);
                }
            }
            // Of a connection that was given up.
            News::Told(..) | News::Answered(..) => {}
        }
    }
}
