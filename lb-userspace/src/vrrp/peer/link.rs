//! The link itself: who is heard, on which paths, and what to send when.
//!
//! A *session* is one life of the peer, known by its boot. It begins when a datagram names our own boot, which takes one
//! datagram each way; until then the peer's boot is a *candidate* that gets an answer and changes nothing else.

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use super::message::{self, Header, Key, Refusal};
use super::outbox::Outbox;
use super::path::Path;
use super::remote::Remote;
use super::{PeerNews, RouterReport};
use crate::config::Peer;
use crate::vrrp::view::PeerView;

/// Past lives of the peer that are remembered, so that nothing heard of them is heard again; the oldest goes.
const MAX_RETIRED: usize = 1_024;

/// Whatever is configured, so that time passes between two.
const SHORTEST_HEARTBEAT: Duration = Duration::from_millis(1);

/// Longest heartbeat interval that is believed of the peer.
const LONGEST_HEARTBEAT: Duration = Duration::from_secs(60);

/// Differences that [`PeerLink::view`] names one by one.
const MAX_DIFFERENCES: usize = 20;

/// One end of the peer link.
///
/// The shell hands over the datagrams that wait before it lets the time pass ([`handle_timeout`](Self::handle_timeout)), so
/// that a late wake-up does not take queued heartbeats for silence. After a stall of its own process it calls
/// [`forgive`](Self::forgive) before either.
#[derive(Debug)]
pub struct PeerLink {
    key: Key,
    node: Arc<str>,
    boot: u64,
    heartbeat: Duration,
    misses: u32,
    /// Of the last datagram sent.
    number: u64,
    next_heartbeat: Duration,
    urgent: bool,
    outbox: Outbox,
    paths: Vec<Path>,
    session: Option<Session>,
    /// Each with the newest number that was heard of it.
    retired: VecDeque<(u64, u64)>,
    since: Duration,
    refused: BTreeMap<Refusal, u64>,
}

/// A life of the peer.
#[derive(Debug)]
struct Session {
    boot: u64,
    node: Arc<str>,
    heartbeat: Duration,
    /// The newest number by the peer's number of the path: at most 256.
    numbers: BTreeMap<u8, u64>,
    /// Whether it hears us on any path, and which datagram said so.
    hears_us: (bool, u64),
    remote: Remote,
}

impl PeerLink {
    /// A link on which nothing was heard yet; the first heartbeats are due at once. `node` is our name (its first 255
    /// octets are sent), `boot` a random number of this process: the same one for each link the process makes.
    pub fn new(settings: &Peer, key: &[u8], node: &str, boot: u64, now: Duration) -> Self {
        let node = &node[..node.floor_char_boundary(255)];
        Self {
            key: message::prepare(key),
            node: node.into(),
            // 0 stands for "nobody heard".
            boot: boot.max(1),
            heartbeat: settings.heartbeat.max(SHORTEST_HEARTBEAT),
            misses: settings.misses.max(1),
            // Numbers rise over all links of a process: a link made anew would otherwise look like a replay.
            number: u64::try_from(now.as_nanos()).unwrap_or(u64::MAX / 2),
            next_heartbeat: now,
            urgent: false,
            outbox: Outbox::default(),
            paths: paths(settings, Vec::new()),
            session: None,
            retired: VecDeque::new(),
            since: now,
            refused: BTreeMap::new(),
        }
    }

    /// Follows a changed configuration without losing what is known. Paths that stay keep their state; a path that goes
    /// says nothing more, and if it was the last one that was heard the answer is [`PeerNews::Silent`].
    pub fn configure(&mut self, settings: &Peer, key: &[u8], now: Duration) -> Vec<PeerNews> {
        let was_alive = self.is_alive();
        self.key = message::prepare(key);
        self.heartbeat = settings.heartbeat.max(SHORTEST_HEARTBEAT);
        self.misses = settings.misses.max(1);
        self.paths = paths(settings, std::mem::take(&mut self.paths));
        self.next_heartbeat = now;
        self.forgive(now);
        self.note_silence(was_alive, now).into_iter().collect()
    }

    /// What heartbeats say from now on. Urgent: all that changed is sent on all paths at the next
    /// [`handle_timeout`](Self::handle_timeout), and [`deadline`](Self::deadline) has come.
    pub fn set_local(&mut self, reports: Vec<RouterReport>, urgent: bool) {
        self.outbox.set(reports);
        self.urgent |= urgent;
    }

    /// Takes in a datagram. Whatever is wrong with it is counted.
    pub fn receive(&mut self, now: Duration, source: IpAddr, octets: &[u8]) -> Vec<PeerNews> {
        match self.accept(now, source.to_canonical(), octets) {
            Ok(news) => news,
            Err(refusal) => {
                *self.refused.entry(refusal).or_default() += 1;
                Vec::new()
            }
        }
    }

    /// Lets the time pass: what to send where, and who fell silent. Harmless at any time; what was missed is not made up.
    pub fn handle_timeout(&mut self, now: Duration) -> (Vec<(IpAddr, Vec<u8>)>, Vec<PeerNews>) {
        let news = self.listen_for_silence(now);
        let mut datagrams = Vec::new();
        if self.urgent || self.next_heartbeat <= now {
            self.send_heartbeats(&mut datagrams);
        }
        if self.next_heartbeat <= now {
            // A little late keeps the rhythm; more begins a new one, so that there are no bursts.
            self.next_heartbeat = (self.next_heartbeat + self.heartbeat).max(now + self.heartbeat / 2);
        }
        self.send_answers(now, &mut datagrams);
        (datagrams, news)
    }

    /// When [`handle_timeout`](Self::handle_timeout) is due; at or before now: at once.
    pub fn deadline(&self) -> Duration {
        if self.urgent {
            return Duration::ZERO;
        }
        let silences = self.paths.iter().filter_map(|path| path.silent_at);
        let answers = self.paths.iter().filter_map(Path::answer_at);
        silences.chain(answers).fold(self.next_heartbeat, Duration::min)
    }

    /// After a stall of our own process: nothing was heard because we did not listen, so every path that was alive gets its
    /// full time again.
    pub fn forgive(&mut self, now: Duration) {
        let patience = self.patience();
        for path in self.paths.iter_mut().filter(|path| path.is_alive()) {
            path.silent_at = Some(now + patience);
        }
    }

    /// Whether the peer is heard on some path.
    pub fn is_alive(&self) -> bool {
        self.paths.iter().any(Path::is_alive)
    }

    /// Whether the peer says that it hears us on some path. Holds only as long as [`is_alive`](Self::is_alive).
    pub fn hears_us(&self) -> bool {
        self.session.as_ref().is_some_and(|session| session.hears_us.0)
    }

    /// What the peer says of its virtual routers, sorted by name; its last word if it is silent.
    pub fn remote(&self) -> &[RouterReport] {
        self.session.as_ref().map_or(&[], |session| session.remote.reports())
    }

    /// Whether the peer has told of all its virtual routers in its present life: one it did not tell of it does not have.
    pub fn told_all(&self) -> bool {
        self.session.as_ref().is_some_and(|session| session.remote.is_complete())
    }

    /// What the peer says of the virtual router of this name.
    pub fn remote_router(&self, name: &str) -> Option<&RouterReport> {
        let reports = self.remote();
        reports.binary_search_by(|report| (*report.name).cmp(name)).ok().map(|at| &reports[at])
    }

    /// For status and metrics.
    pub fn view(&self, _now: Duration) -> PeerView {
        PeerView {
            name: self.session.as_ref().map(|session| session.node.to_string()),
            alive: self.is_alive(),
            since: self.since,
            paths: self.paths.iter().map(Path::view).collect(),
            refused: self.refused.iter().map(|(refusal, count)| (refusal.name().to_owned(), *count)).collect(),
            differences: self.differences(),
        }
    }

    fn accept(&mut self, now: Duration, source: IpAddr, octets: &[u8]) -> Result<Vec<PeerNews>, Refusal> {
        let at = self.paths.iter().position(|path| path.address == source).ok_or(Refusal::Source)?;
        let (header, reports) = message::decode(&self.key, octets)?;
        self.prove(at, &header)?;
        let was_alive = self.is_alive();
        let mut news = Vec::new();
        if self.session.as_ref().is_none_or(|session| session.boot != header.boot) {
            news.extend(self.begin_session(&header));
        }
        let session = self.session.as_mut().expect("it has begun, now or before");
        let unheard = session.note(&header);
        let reported = session.remote.hear(&header, reports);
        let patience = self.patience();
        let path = &mut self.paths[at];
        if path.hear(now, patience) {
            news.push(PeerNews::PathAlive(path.address));
        }
        if !was_alive {
            self.since = now;
            news.push(PeerNews::Alive);
        }
        news.extend(unheard.then_some(PeerNews::Unheard));
        news.extend(reported.then_some(PeerNews::Reports));
        Ok(news)
    }

    /// Whether the datagram is fresh; one that might begin a session gets an answer.
    fn prove(&mut self, at: usize, header: &Header) -> Result<(), Refusal> {
        if header.boot == self.boot {
            return Err(Refusal::Reflection);
        }
        if self.retired.iter().any(|&(boot, newest)| boot == header.boot && newest >= header.number) {
            return Err(Refusal::Replay);
        }
        let session = self.session.as_ref().filter(|session| session.boot == header.boot);
        if header.echo != self.boot {
            if session.is_none() {
                self.paths[at].candidate(header.boot);
            }
            return Err(Refusal::Session);
        }
        let newest = session.and_then(|session| session.numbers.get(&header.path));
        if newest.is_some_and(|newest| *newest >= header.number) { Err(Refusal::Replay) } else { Ok(()) }
    }

    /// The peer has proven itself in this life. It is answered at once, so that it knows the same of us.
    ///
    /// It may be a life that was taken for a past one: on a slower path a datagram of an earlier life can arrive when a later
    /// one has begun already. What is newer than all that was heard of it is no replay, so the later life is back with
    /// its next heartbeat.
    fn begin_session(&mut self, header: &Header) -> Option<PeerNews> {
        self.urgent = true;
        self.outbox.refresh();
        self.retired.retain(|&(boot, _)| boot != header.boot);
        let past = self.session.replace(Session::new(header))?;
        if self.retired.len() == MAX_RETIRED {
            self.retired.pop_front();
        }
        self.retired.push_back((past.boot, past.newest()));
        Some(PeerNews::Restarted)
    }

    fn listen_for_silence(&mut self, now: Duration) -> Vec<PeerNews> {
        let was_alive = self.is_alive();
        let fallen = self.paths.iter_mut().filter_map(|path| path.fall_silent(now).then_some(path.address));
        let mut news: Vec<_> = fallen.map(PeerNews::PathSilent).collect();
        news.extend(self.note_silence(was_alive, now));
        news
    }

    /// When the last path fell silent the peer is told at once, on all paths, that it is not heard.
    fn note_silence(&mut self, was_alive: bool, now: Duration) -> Option<PeerNews> {
        if !was_alive || self.is_alive() {
            return None;
        }
        self.since = now;
        self.urgent = true;
        Some(PeerNews::Silent)
    }

    fn send_heartbeats(&mut self, datagrams: &mut Vec<(IpAddr, Vec<u8>)>) {
        let room = Header::room(&self.node);
        let echo = self.session.as_ref().map_or(0, |session| session.boot);
        for reports in self.outbox.next(room, std::mem::take(&mut self.urgent)) {
            for at in 0..self.paths.len() {
                let header = self.header(at, echo);
                self.send(at, &header, &reports, datagrams);
            }
        }
    }

    /// To each candidate its boot. These carry no reports: whether somebody is there to read them is not known.
    fn send_answers(&mut self, now: Duration, datagrams: &mut Vec<(IpAddr, Vec<u8>)>) {
        for at in 0..self.paths.len() {
            for candidate in self.paths[at].take_candidates(now, self.heartbeat) {
                let header = Header { hears_path: false, hears_any: false, ..self.header(at, candidate) };
                self.send(at, &header, &[], datagrams);
            }
        }
    }

    fn send(&mut self, at: usize, header: &Header, reports: &[RouterReport], datagrams: &mut Vec<(IpAddr, Vec<u8>)>) {
        let path = &mut self.paths[at];
        path.sent += 1;
        datagrams.push((path.address, message::encode(&self.key, header, reports)));
    }

    fn header(&mut self, at: usize, echo: u64) -> Header {
        self.number += 1;
        Header {
            hears_path: self.paths[at].is_alive(),
            hears_any: self.is_alive(),
            path: at as u8,
            boot: self.boot,
            echo,
            number: self.number,
            heartbeat: self.heartbeat,
            generation: self.outbox.generation(),
            total: self.outbox.total(),
            node: self.node.clone(),
        }
    }

    /// How long a path may be quiet. Where the two sides are configured differently the longer heartbeat counts, else the
    /// quicker side would find the other silent between any two.
    fn patience(&self) -> Duration {
        let theirs = self.session.as_ref().map_or(Duration::ZERO, |session| session.heartbeat);
        self.heartbeat.max(theirs) * self.misses
    }

    fn differences(&self) -> Vec<String> {
        let Some(session) = &self.session else { return Vec::new() };
        let mut all = Vec::new();
        if session.node == self.node {
            all.push(format!("both nodes are named {}", self.node));
        }
        if session.heartbeat != self.heartbeat {
            let (ours, theirs) = (self.heartbeat, session.heartbeat);
            all.push(format!("the heartbeat is {ours:?} here and {theirs:?} at the peer; the longer one counts"));
        }
        if session.remote.is_complete() {
            all.extend(self.routers_of_one_side(session));
        }
        let more = all.len().saturating_sub(MAX_DIFFERENCES);
        all.truncate(MAX_DIFFERENCES);
        if more > 0 {
            all.push(format!("and {more} more"));
        }
        all
    }

    fn routers_of_one_side(&self, session: &Session) -> Vec<String> {
        let ours: std::collections::BTreeSet<&str> = self.outbox.reports().map(|report| &*report.name).collect();
        let theirs = session.remote.reports();
        let here = ours.iter().filter(|name| self.remote_router(name).is_none());
        let there = theirs.iter().filter(|report| !ours.contains(&*report.name));
        here.map(|name| format!("virtual router {name} is on this node only"))
            .chain(there.map(|report| format!("virtual router {} is on the peer only", report.name)))
            .collect()
    }
}

impl Session {
    fn new(header: &Header) -> Self {
        Self {
            boot: header.boot,
            node: header.node.clone(),
            heartbeat: Duration::ZERO,
            numbers: BTreeMap::new(),
            hears_us: (false, 0),
            remote: Remote::default(),
        }
    }

    /// The newest number that was heard of it, on any path.
    fn newest(&self) -> u64 {
        self.numbers.values().copied().max().unwrap_or_default()
    }

    /// Takes note of a fresh datagram; whether it says that the peer no longer hears us.
    fn note(&mut self, header: &Header) -> bool {
        self.numbers.insert(header.path, header.number);
        let (heard_us, number) = self.hears_us;
        if header.number < number {
            return false;
        }
        self.node = header.node.clone();
        self.heartbeat = header.heartbeat.min(LONGEST_HEARTBEAT);
        self.hears_us = (header.hears_any, header.number);
        heard_us && !header.hears_any
    }
}

/// The configured paths; those there were before are kept. A path's number on the wire is its place, so there are 256.
fn paths(settings: &Peer, mut before: Vec<Path>) -> Vec<Path> {
    let mut paths: Vec<Path> = Vec::new();
    for address in settings.addresses.iter().map(IpAddr::to_canonical).take(256) {
        if paths.iter().all(|path| path.address != address) {
            let known = before.iter().position(|path| path.address == address);
            paths.push(known.map_or_else(|| Path::new(address), |at| before.swap_remove(at)));
        }
    }
    paths
}
