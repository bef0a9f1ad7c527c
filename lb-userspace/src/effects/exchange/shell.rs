//! The thread's loop: events to the exchange, its effects to the connections and the tables.

use std::collections::{BTreeMap, HashSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use socket2::SockRef;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};
use tracing::{error, info, warn};

use super::connection::{self, Connection, Failure, Greeted, News};
use super::tables::{Client, Foreigner, Tables};
use super::walk::Walker;
use super::{Followed, Link, Start, TICK};
use crate::effects::dataplane::Records;
use crate::exchange::agreement::Agreement;
use crate::exchange::directory::{Directory, Entry};
use crate::exchange::foreign::Foreign;
use crate::exchange::item::{BACKENDS_PER_BLOCK, Backend};
use crate::exchange::machine::Limits;
use crate::exchange::message::Item;
use crate::exchange::readiness::Readiness;
use crate::exchange::seal::Who;
use crate::exchange::view::{CountersView, RealmView, SessionView, View};
use crate::exchange::{Direction, Effect, Event, Exchange, Key, Value};
use crate::vrrp::view::State;

/// Flows that were recorded and are told of at one tick, at most: as many as there is room for while they wait.
const MOST_RECORDED: usize = 16_384;
/// Messages of the peer's that wait.
const NEWS: usize = 32;
/// Who has connected and not shown the key yet, at most; more are closed at once.
const STRANGERS: usize = 8;
/// After a connection failed or ended, the next is tried so much later.
const AGAIN: Duration = Duration::from_millis(250);
/// After the port could not be listened on, it is tried again so much later.
const LISTEN_AGAIN: Duration = Duration::from_secs(1);
/// Time between two views.
const VIEW: Duration = Duration::from_millis(100);
/// The same refusal is logged so often at most.
const QUIET: Duration = Duration::from_secs(10);
/// Limits of the protocol: changes that wait, of 100 octets or so; and records of one virtual router, four times as many as the tables
/// have room for by default.
const LIMITS: Limits = Limits { waiting: 1 << 18, items: 1 << 22 };

/// What connects the thread with its handle.
pub(super) struct Wires {
    pub directory: Arc<ArcSwap<Directory>>,
    pub view: Arc<ArcSwap<View>>,
    pub linked: watch::Receiver<Option<Arc<Link>>>,
    pub recorded: mpsc::Receiver<Records>,
    pub follow: watch::Sender<Followed>,
    pub catch_up: watch::Sender<Result<(), String>>,
}

/// See the module's description.
pub(super) struct Shell {
    start: Start,
    wires: Wires,
    exchange: Exchange,
    directory: Arc<Directory>,
    tables: Option<Tables>,
    walker: Walker,
    foreign: Foreign,
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
    recorded: u64,
    view_at: Duration,
    readiness: Readiness,
    agreement: Agreement,
}

/// Why the loop goes on.
enum Woken {
    Ticked,
    Told(News),
    Greeted(Direction, IpAddr, Result<Box<Greeted>, Failure>),
    Accepted(TcpStream, IpAddr),
    Linked,
    Recorded(Box<Records>),
    Alone,
}

impl Shell {
    pub(super) fn new(start: Start, wires: Wires) -> Self {
        let (tell, news) = mpsc::channel(NEWS);
        Self {
            exchange: Exchange::new(start.boot, LIMITS),
            directory: Arc::default(),
            tables: None,
            walker: Walker::default(),
            foreign: Foreign::default(),
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
            recorded: 0,
            view_at: Duration::ZERO,
            readiness: Readiness::new((start.clock)()),
            agreement: Agreement::default(),
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
                (stream, address) = accepted(&self.listener) => Woken::Accepted(stream, address),
                changed = self.wires.linked.changed() => changed.map_or(Woken::Alone, |()| Woken::Linked),
                Some(records) = self.wires.recorded.recv() => Woken::Recorded(Box::new(records)),
            };
            match woken {
                Woken::Ticked => self.tick(),
                Woken::Told(news) => self.hear(news),
                Woken::Greeted(direction, address, greeted) => self.greeted(direction, address, greeted),
                Woken::Accepted(stream, address) => self.accept(stream, address),
                Woken::Linked => self.relink(),
                Woken::Recorded(records) => self.take_tables(*records),
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
        self.tell_recorded();
        self.walk();
        self.happened(Event::Tick);
        self.judge_readiness();
        self.show();
    }

    /// Looks at what others have published: what the tables mean, and who is master.
    fn look_up(&mut self) {
        let directory = self.wires.directory.load_full();
        if !Arc::ptr_eq(&directory, &self.directory) {
            self.take_directory(directory);
        }
        let routers = (self.start.routers)();
        let is_master = |name: &str| routers.routers.iter().any(|it| it.name == name && it.state == State::Master);
        for realm in self.directory.realms.clone() {
            let master = is_master(&realm);
            if master != self.exchange.is_master(&realm) {
                self.view_at = Duration::ZERO;
                self.happened(Event::Mastership(realm, master));
                self.follow();
            }
        }
    }

    /// There are tables now. What was told or taken before was nothing.
    fn take_tables(&mut self, records: Records) {
        self.tables = Some(Tables::new(records));
        self.close(Direction::Telling, "the flow tables are there only now");
        self.close(Direction::Following, "the flow tables are there only now");
    }

    fn take_directory(&mut self, directory: Arc<Directory>) {
        let before = std::mem::replace(&mut self.directory, Arc::clone(&directory));
        if before.realms != directory.realms {
            self.happened(Event::Realms(directory.realms.iter().cloned().collect()));
        }
        if before.config != directory.config {
            self.happened(Event::Config(Arc::clone(&directory.config)));
        }
        for (realm, key, value) in directory.changes_since(&before) {
            self.happened(Event::Changed(realm, key, value));
        }
        // What had no place may have one now: all is to be told again.
        if self.tables.as_mut().is_some_and(Tables::take_whether_any_lacked_a_backend) {
            self.close(Direction::Following, "other backends are configured: all is to be told again");
        }
    }

    fn judge_readiness(&mut self) {
        let caught_up = self.following.is_some().then(|| self.exchange.caught_up());
        let patience = self.link.as_ref().map(|link| link.patience);
        let ready = self.readiness.judge(self.now(), patience, caught_up);
        self.wires.catch_up.send_if_modified(|before| {
            let is_other = *before != ready;
            *before = ready;
            is_other
        });
    }

    /// Tells of flows that were recorded since the last tick.
    fn tell_recorded(&mut self) {
        for _ in 0..MOST_RECORDED {
            let Some(tables) = &mut self.tables else { return };
            let Some(recorded) = tables.records.recorded() else { return };
            let exchange = &self.exchange;
            let change = tables.told_of(&self.directory, &recorded, |realm| exchange.notes_changes(realm));
            if let Some((realm, key, value)) = change {
                self.recorded += 1;
                self.happened(Event::Changed(realm, key, value));
            }
        }
    }

    fn walk(&mut self) {
        let Some(tables) = &mut self.tables else { return };
        let exchange = &self.exchange;
        if !self.directory.realms.iter().any(|realm| exchange.notes_changes(realm)) {
            return;
        }
        let found = self.walker.go_on(self.start.clock, tables, &self.directory, |realm| exchange.notes_changes(realm));
        match found {
            Ok(found) => {
                self.problems.remove("walk");
                found.into_iter().for_each(|(realm, key, value)| self.happened(Event::Changed(realm, key, value)));
            }
            Err(error) => self.problem("walk", format!("the flow tables cannot be read: {error:#}")),
        }
    }

    fn happened(&mut self, event: Event) {
        let effects = self.exchange.handle(self.now(), event);
        for effect in effects {
            self.perform(effect);
        }
    }

    fn perform(&mut self, effect: Effect) {
        match effect {
            Effect::Tell(message) => self.say(Direction::Telling, message.encode()),
            Effect::Answer(answer) => self.say(Direction::Following, answer.encode()),
            Effect::Gather(realm) => match self.gather(&realm) {
                Ok(items) => self.happened(Event::Gathered(realm, items)),
                Err(error) => {
                    self.problem("gather", format!("the flow tables cannot be read: {error:#}"));
                    self.close(Direction::Telling, "the flow tables cannot be read");
                }
            },
            Effect::Store { realm, items, now, late } => self.store(&realm, items, now, late),
            Effect::Keep(realm, keys) => self.keep(&realm, &keys),
            Effect::Close(direction, why) => self.close(direction, why),
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

    fn gather(&mut self, realm: &str) -> anyhow::Result<Vec<(Key, Value)>> {
        let mut items: Vec<(Key, Value)> = self.directory.of_realm(realm).flat_map(|entry| entry.items()).collect();
        if let Some(tables) = &mut self.tables {
            items.extend(tables.gather(&self.directory, realm)?);
        }
        self.problems.remove("gather");
        Ok(items)
    }

    fn store(&mut self, realm: &Arc<str>, items: Vec<Item>, teller_now: u64, late: bool) {
        let mut is_reweighed = false;
        for (key, value) in items {
            match (key, value) {
                (Key::Backends(service, block), value) if !late => {
                    is_reweighed |= self.note_backends(realm, &service, block, value);
                }
                (Key::Table(service), Some(Value::Table(hash))) if !late => {
                    self.foreign.note_table(realm, &service, Some(hash));
                }
                (Key::Flow(flow, stateful), Some(Value::Flow(record))) => {
                    let age = teller_now.saturating_sub(record.last_seen);
                    let it = Foreigner { realm, flow: flow.key(), stateful, record, age };
                    let now = self.now();
                    let Some(tables) = &mut self.tables else { continue };
                    let stored = tables.store(&self.directory, &self.foreign, &it, now, late);
                    self.stored(stored);
                }
                (Key::Flow(flow, stateful), None) if !late => {
                    let Some(tables) = &mut self.tables else { continue };
                    let removed = tables.remove(&self.directory, realm, &flow.key(), stateful);
                    self.stored(removed);
                }
                (Key::Client(service, address), value) => {
                    let (backend, age) = match value {
                        Some(Value::Client(backend, last)) => (backend, teller_now.saturating_sub(last)),
                        None if !late => (u16::MAX, 0),
                        _ => continue,
                    };
                    let address = IpAddr::from(address).into();
                    let it = Client { realm, service: &service, address, backend, age };
                    let now = self.now();
                    let Some(tables) = &mut self.tables else { continue };
                    let stored = if value.is_some() {
                        tables.store_client(&self.directory, &self.foreign, &it, now, late)
                    } else {
                        tables.remove_client(&self.directory, &it)
                    };
                    self.stored(stored);
                }
                // Last words about backends are old, and values of another kind than their key are nonsense.
                _ => {}
            }
        }
        if is_reweighed {
            self.follow();
        }
    }

    fn note_backends(&mut self, realm: &Arc<str>, service: &Arc<str>, block: u32, value: Option<Value>) -> bool {
        if self.directory.service(service).is_none_or(|entry| entry.realm != *realm) {
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

    fn keep(&mut self, realm: &Arc<str>, keys: &HashSet<Key>) {
        let is_kept = |service: &Arc<str>, block| keys.contains(&Key::Backends(Arc::clone(service), block));
        self.foreign.keep(realm, is_kept);
        if let Some(tables) = &mut self.tables {
            let kept = tables.keep(&self.directory, realm, keys);
            self.stored(kept);
        }
        self.follow();
        info!(vrrp = %realm, "all of the master's state is here");
    }

    fn stored(&mut self, result: anyhow::Result<()>) {
        match result {
            Ok(()) => drop(self.problems.remove("store")),
            Err(error) => self.problem("store", format!("a record of the peer's cannot be kept: {error:#}")),
        }
    }

    /// Says what masters make their tables from, of what this node is not master of.
    fn follow(&mut self) {
        let mut followed = Followed::new();
        for realm in self.directory.realms.iter().filter(|realm| !self.exchange.is_master(realm)) {
            for entry in self.directory.of_realm(realm) {
                let Some(standings) = self.foreign.standings(realm, &entry.name) else { continue };
                followed.insert(Arc::clone(&entry.name), Arc::new(standings));
            }
        }
        self.wires.follow.send_if_modified(|before| {
            let is_other = *before != followed;
            *before = followed;
            is_other
        });
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

    /// A connection is over, whoever ended it.
    fn close(&mut self, direction: Direction, why: &str) {
        let connection = match direction {
            Direction::Telling => self.telling.take(),
            Direction::Following => self.following.take(),
        };
        let Some(connection) = connection else { return };
        let name = if direction == Direction::Telling { "telling" } else { "following" };
        warn!(peer = %connection.who.node, why, "{name} the peer ended");
        self.connect_at = self.connect_at.max(self.now() + AGAIN);
        drop(connection);
        self.happened(Event::Lost(direction));
    }

    fn relink(&mut self) {
        let link = self.wires.linked.borrow_and_update().clone();
        self.close(Direction::Telling, "the peer is configured differently");
        self.close(Direction::Following, "the peer is configured differently");
        self.greeting.abort_all();
        (self.greeting, self.is_connecting) = (JoinSet::new(), false);
        (self.listener, self.listen_at, self.connect_at) = (None, Duration::ZERO, Duration::ZERO);
        self.problems.clear();
        self.readiness = Readiness::new(self.now());
        self.link = link;
    }

    /// Whether it was published what the tables mean: before that nothing can be told or taken.
    fn knows_tables(&self) -> bool {
        !self.directory.config.is_empty()
    }

    fn listen(&mut self) {
        let (Some(link), None, true) = (&self.link, &self.listener, self.knows_tables()) else { return };
        let now = self.now();
        if now < self.listen_at {
            return;
        }
        match listener(link.port) {
            Ok(listener) => {
                self.problems.remove("listen");
                self.listener = Some(listener);
            }
            Err(error) => {
                self.listen_at = now + LISTEN_AGAIN;
                let why = format!("the peer cannot connect: TCP port {} cannot be listened on: {error}", link.port);
                self.problem("listen", why);
            }
        }
    }

    fn accept(&mut self, stream: TcpStream, address: IpAddr) {
        let Some(link) = &self.link else { return };
        if !link.addresses.contains(&address) {
            return self.refuse("address", Some(address));
        }
        if self.greeting.len() >= STRANGERS {
            return self.refuse("too-many", Some(address));
        }
        let (link, who) = (Arc::clone(link), self.who());
        self.greeting.spawn(async move {
            (Direction::Following, address, connection::accept(link, who, stream, address).await)
        });
    }

    fn connect(&mut self) {
        let (Some(link), true) = (&self.link, self.knows_tables()) else { return };
        if self.telling.is_some() || self.is_connecting || self.now() < self.connect_at {
            return;
        }
        let (link, who) = (Arc::clone(link), self.who());
        let address = link.addresses[self.next_address % link.addresses.len()];
        self.is_connecting = true;
        self.greeting.spawn(async move { (Direction::Telling, address, connection::open(link, who, address).await) });
    }

    fn greeted(&mut self, direction: Direction, address: IpAddr, greeted: Result<Box<Greeted>, Failure>) {
        if direction == Direction::Telling {
            self.is_connecting = false;
            self.connect_at = self.now() + AGAIN;
        }
        match greeted {
            Ok(greeted) => self.begin(direction, greeted),
            Err(failure) => {
                if let Failure::Refused(refusal) = &failure {
                    self.refuse(refusal.name(), Some(address));
                }
                if direction == Direction::Telling {
                    self.next_address += 1;
                    self.problems.insert("connect", format!("the peer at {address} is not reached: {failure}"));
                }
            }
        }
    }

    fn begin(&mut self, direction: Direction, greeted: Box<Greeted>) {
        self.close(direction, "the peer has connected anew");
        self.connections += 1;
        self.sessions += 1;
        let connection = Connection::start(greeted, self.connections, direction, self.now(), self.tell.clone());
        let (boot, peer, address) = (connection.who.boot, Arc::clone(&connection.who.node), connection.address);
        match direction {
            Direction::Telling => {
                self.problems.remove("connect");
                info!(%peer, %address, "telling the peer what this node is master of");
                self.telling = Some(connection);
            }
            Direction::Following => {
                info!(%peer, %address, "the peer tells what it is master of");
                self.following = Some(connection);
            }
        }
        self.happened(Event::Connected(direction, boot));
    }

    fn who(&self) -> Who {
        Who { boot: self.start.boot, node: Arc::clone(&self.start.node) }
    }

    fn refuse(&mut self, reason: &str, address: Option<IpAddr>) {
        *self.refused.entry(reason.to_owned()).or_default() += 1;
        let now = self.now();
        if self.logged.get(reason).is_none_or(|at| now >= *at + QUIET) {
            self.logged.insert(reason.to_owned(), now);
            warn!(reason, ?address, "refused: it does not show to be the peer");
        }
    }

    fn problem(&mut self, what: &'static str, why: String) {
        if self.problems.get(what) != Some(&why) {
            error!("{why}");
            self.problems.insert(what, why);
        }
    }

    fn show(&mut self) {
        let now = self.now();
        if now < self.view_at {
            return;
        }
        self.view_at = now + VIEW;
        let disagreements = self.disagreements();
        self.wires.view.store(Arc::new(self.look(disagreements)));
    }

    /// What differs between the two nodes, in words.
    fn disagreements(&mut self) -> Vec<String> {
        let mut differing = Vec::new();
        if self.exchange.peer_config().is_some_and(|peer| *peer != self.directory.config) {
            differing.push("the configuration".to_owned());
        }
        for realm in self.directory.realms.iter().filter(|realm| self.exchange.follows(realm)) {
            let differs =
                |entry: &&Arc<Entry>| self.foreign.table(realm, &entry.name).is_some_and(|table| table != entry.table);
            let services = self.directory.of_realm(realm).filter(differs);
            differing.extend(services.map(|entry| format!("the lookup table of service {}", entry.name)));
        }
        self.agreement.judge(self.now(), differing)
    }

    fn look(&self, disagreements: Vec<String>) -> View {
        let session = |connection: &Connection| SessionView {
            peer: connection.who.node.to_string(),
            address: connection.address.to_string(),
            since: connection.since.as_secs_f64(),
        };
        let realm = |name: &Arc<str>| {
            let master = self.exchange.is_master(name);
            let in_sync = if master { self.exchange.is_followed_by_peer(name) } else { self.exchange.follows(name) };
            RealmView { vrrp: name.to_string(), master, in_sync }
        };
        let counters = self.exchange.counters();
        let unplaced = self.tables.iter().flat_map(|tables| tables.unplaced());
        View {
            telling: self.telling.as_ref().map(session),
            following: self.following.as_ref().map(session),
            realms: self.directory.realms.iter().map(realm).collect(),
            not_caught_up: self.exchange.caught_up().err(),
            unconfirmed: self.exchange.at_risk() as u64,
            peer_config: self.exchange.peer_config().map(ToString::to_string),
            counters: CountersView {
                told: counters.told,
                taken: counters.taken,
                late: counters.late,
                bulks: counters.bulks,
                overflows: counters.overflows,
                refused: counters.refused,
                gaps: counters.gaps,
                unknown: counters.unknown,
                sessions: self.sessions,
                walks: self.walker.count(),
                recorded: self.recorded,
            },
            refused: self.refused.clone(),
            unplaced: unplaced.map(|(reason, count)| ((*reason).to_owned(), *count)).collect(),
            disagreements,
            problems: self.problems.values().cloned().collect(),
            walk_seconds: self.walker.took().map(|took| took.as_secs_f64()),
            told_records: self.tables.as_ref().map_or(0, |tables| tables.told.len() as u64),
        }
    }
}

/// Who connects next; never, while nobody can. What cannot be accepted (for want of descriptors) is tried again at the next tick.
async fn accepted(listener: &Option<TcpListener>) -> (TcpStream, IpAddr) {
    let Some(listener) = listener else { return std::future::pending().await };
    match listener.accept().await {
        Ok((stream, address)) => (stream, address.ip().to_canonical()),
        Err(_) => std::future::pending().await,
    }
}

fn listener(port: u16) -> std::io::Result<TcpListener> {
    const BACKLOG: u32 = 16;
    let of_both = |socket: TcpSocket| {
        SockRef::from(&socket).set_only_v6(false)?;
        Ok((socket, IpAddr::from(Ipv6Addr::UNSPECIFIED)))
    };
    // A host without IPv6 has no such sockets.
    let (socket, any) = TcpSocket::new_v6()
        .and_then(of_both)
        .or_else(|_: std::io::Error| TcpSocket::new_v4().map(|socket| (socket, IpAddr::from(Ipv4Addr::UNSPECIFIED))))?;
    socket.set_reuseaddr(true)?;
    socket.bind((any, port).into())?;
    socket.listen(BACKLOG)
}
