//! One BFD session: its state, its timers, what it sends (RFC 5880 section 6.8).

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use super::jitter::part;
use super::{BfdState, Change, Diagnostic, Discard, Jitter, Packet, Settings};
use crate::vrrp::view::BfdView;

/// While a session is not up, packets are at least so far apart (RFC 5880 section 6.8.3).
const SLOW: Duration = Duration::from_secs(1);

/// What is assumed of the neighbour's RequiredMinRxInterval until it is heard (RFC 5880 section 6.8.1).
const UNHEARD_RECEIVE: Duration = Duration::from_micros(1);

/// TTL or hop limit of packets from one hop away (RFC 5881 section 5).
const TTL: u8 = 255;

/// A session with one neighbour. It takes the active role: it sends from the beginning.
#[derive(Debug)]
pub struct Session {
    settings: Settings,
    /// Settings that wait for the present poll sequence to end.
    pending: Option<Settings>,
    /// The transmit interval that goes on, and the receive interval that is counted on, until the neighbour knows the new
    /// ones (RFC 5880 section 6.8.3).
    transmit: Duration,
    receive: Duration,
    discriminator: u32,
    state: BfdState,
    diagnostic: Diagnostic,
    since: Duration,
    polling: bool,
    final_due: bool,
    /// Something is to be said before the next periodic packet.
    urgent: bool,
    last_sent: Option<Duration>,
    /// Share of the interval until the next periodic packet, in thousandths.
    share: u32,
    jitter: Jitter,
    remote: Remote,
    losses: u64,
    discarded: BTreeMap<Discard, u64>,
}

/// What the neighbour said last.
#[derive(Debug)]
struct Remote {
    discriminator: u32,
    state: BfdState,
    diagnostic: Diagnostic,
    desired_transmit: Duration,
    required_receive: Duration,
    multiplier: u8,
    demand: bool,
    /// When; `None`: not for the last detection time.
    heard: Option<Duration>,
}

impl Session {
    /// A session that is Down; its first packet is due at once. `discriminator` is ours for it, unique on this node and not
    /// 0; `seed` is for the jitter.
    pub fn new(settings: Settings, discriminator: u32, seed: u64, now: Duration) -> Self {
        let settings = usable(settings);
        let mut jitter = Jitter::new(seed);
        Self {
            pending: None,
            transmit: settings.transmit_interval.max(SLOW),
            receive: settings.receive_interval,
            discriminator: discriminator.max(1),
            state: BfdState::Down,
            diagnostic: Diagnostic::None,
            since: now,
            polling: false,
            final_due: false,
            urgent: true,
            last_sent: None,
            share: jitter.share(settings.multiplier),
            jitter,
            remote: Remote::unheard(),
            losses: 0,
            discarded: BTreeMap::new(),
            settings,
        }
    }

    /// Follows changed settings, by a poll sequence if the session is up (RFC 5880 section 6.8.3).
    pub fn configure(&mut self, settings: Settings) {
        let settings = usable(settings);
        if self.polling {
            // The answer under way is to the present poll; a second one would be taken for answered too early.
            self.pending = Some(settings);
        } else if settings != self.settings {
            self.apply(settings);
        }
    }

    /// Takes in a packet from the neighbour. Whatever is wrong with it is counted.
    pub fn receive(&mut self, now: Duration, ttl: u8, octets: &[u8]) -> Option<Change> {
        match read(ttl, octets) {
            Ok(packet) => self.take(now, &packet),
            Err(discard) => self.discard(discard),
        }
    }

    /// Takes in a packet that passed the tests that need no session (RFC 5880 section 6.8.6).
    pub(super) fn take(&mut self, now: Duration, packet: &Packet) -> Option<Change> {
        if packet.your_discriminator != 0 && packet.your_discriminator != self.discriminator {
            return self.discard(Discard::Session);
        }
        if self.state == BfdState::AdminDown {
            return self.discard(Discard::AdminDown);
        }
        self.remote = Remote::of(packet, now);
        if packet.is_final && self.polling {
            self.end_poll();
        }
        let change = self.step(now, packet.state);
        self.final_due |= packet.poll;
        change
    }

    pub(super) fn discard(&mut self, discard: Discard) -> Option<Change> {
        *self.discarded.entry(discard).or_default() += 1;
        None
    }

    /// Lets the time pass: a packet to send, and whether the session was lost. Harmless at any time; packets that were
    /// missed are not made up.
    pub fn handle_timeout(&mut self, now: Duration) -> (Option<Vec<u8>>, Option<Change>) {
        let change = self.detect(now);
        let packet = if std::mem::take(&mut self.final_due) {
            self.urgent &= self.polling;
            Some(self.packet(true))
        } else if self.urgent || self.periodic_at().is_some_and(|at| at <= now) {
            self.urgent = false;
            self.last_sent = Some(now);
            self.share = self.jitter.share(self.settings.multiplier);
            Some(self.packet(false))
        } else {
            None
        };
        (packet.map(|packet| packet.encode()), change)
    }

    /// When [`handle_timeout`](Self::handle_timeout) is due; at or before now: at once; [`Duration::MAX`]: never.
    pub fn deadline(&self) -> Duration {
        if self.urgent || self.final_due {
            return Duration::ZERO;
        }
        let times = [self.periodic_at(), self.detected_at()];
        times.into_iter().flatten().min().unwrap_or(Duration::MAX)
    }

    /// Shuts the session down: the neighbour is told at once, so that it does not take this for a failure (RFC 5880 section
    /// 6.8.16). What it sends is discarded from now on. The session should be kept for another
    /// [`detection_time`](Self::detection_time) if that is possible.
    pub fn admin_down(&mut self, now: Duration) {
        self.diagnostic = Diagnostic::AdministrativelyDown;
        self.enter(BfdState::AdminDown, now);
        self.final_due = false;
    }

    /// After a stall of our own process: nothing was heard because we did not listen, so the neighbour gets its full time
    /// again.
    pub fn forgive(&mut self, now: Duration) {
        self.remote.heard = self.remote.heard.and(Some(now));
    }

    /// Our name for the session.
    pub fn discriminator(&self) -> u32 {
        self.discriminator
    }

    /// Its state.
    pub fn state(&self) -> BfdState {
        self.state
    }

    /// Why its state last changed.
    pub fn diagnostic(&self) -> Diagnostic {
        self.diagnostic
    }

    /// Why the neighbour's state last changed, as it says.
    pub fn remote_diagnostic(&self) -> Diagnostic {
        self.remote.diagnostic
    }

    /// Time without a packet until the session is lost (RFC 5880 section 6.8.4); zero before the neighbour is heard.
    pub fn detection_time(&self) -> Duration {
        self.receive.max(self.remote.desired_transmit) * u32::from(self.remote.multiplier)
    }

    /// For status and metrics. The session does not know whom it is with.
    pub fn view(&self, neighbour: IpAddr) -> BfdView {
        BfdView {
            neighbour,
            state: self.state.name().to_owned(),
            since: self.since,
            detection_time: self.detection_time(),
            losses: self.losses,
            discarded: self.discarded.iter().map(|(discard, count)| (discard.name().to_owned(), *count)).collect(),
        }
    }

    /// The state machine (RFC 5880 section 6.8.6, after "If bfd.SessionState is AdminDown").
    fn step(&mut self, now: Duration, heard: BfdState) -> Option<Change> {
        match (self.state, heard) {
            (BfdState::Down, BfdState::Down) => self.enter(BfdState::Init, now),
            (BfdState::Down, BfdState::Init) | (BfdState::Init, BfdState::Init | BfdState::Up) => {
                self.diagnostic = Diagnostic::None;
                self.enter(BfdState::Up, now);
                return Some(Change::Up);
            }
            (BfdState::Init | BfdState::Up, BfdState::AdminDown) => {
                let change = (self.state == BfdState::Up).then_some(Change::AdminDown);
                self.diagnostic = Diagnostic::NeighbourSignaledDown;
                self.enter(BfdState::Down, now);
                return change;
            }
            (BfdState::Up, BfdState::Down) => return Some(self.lose(Diagnostic::NeighbourSignaledDown, now)),
            (BfdState::Down, BfdState::AdminDown | BfdState::Up)
            | (BfdState::Init, BfdState::Down)
            | (BfdState::Up, BfdState::Init | BfdState::Up)
            | (BfdState::AdminDown, _) => {}
        }
        None
    }

    /// Whether the detection time has passed (RFC 5880 sections 6.8.4 and, for the discriminator, 6.8.1).
    fn detect(&mut self, now: Duration) -> Option<Change> {
        self.detected_at().filter(|at| *at <= now)?;
        self.remote = Remote { diagnostic: self.remote.diagnostic, ..Remote::unheard() };
        match self.state {
            BfdState::Up => Some(self.lose(Diagnostic::DetectionTimeExpired, now)),
            BfdState::Init => {
                self.diagnostic = Diagnostic::DetectionTimeExpired;
                self.enter(BfdState::Down, now);
                None
            }
            BfdState::Down | BfdState::AdminDown => None,
        }
    }

    fn lose(&mut self, diagnostic: Diagnostic, now: Duration) -> Change {
        self.losses += 1;
        self.diagnostic = diagnostic;
        self.enter(BfdState::Down, now);
        Change::Down(diagnostic)
    }

    /// A new state is told at once (RFC 5880 section 6.8.7). Coming up begins a poll sequence for the quicker transmit
    /// interval; leaving ends any, since the next state's packets carry the parameters and no detection depends on them.
    fn enter(&mut self, state: BfdState, now: Duration) {
        self.state = state;
        self.since = now;
        self.urgent = true;
        self.polling = state == BfdState::Up;
        if let Some(settings) = self.pending.take() {
            self.settings = settings;
        }
        self.transmit = self.advertised_transmit();
        self.receive = self.settings.receive_interval;
    }

    fn apply(&mut self, settings: Settings) {
        let (transmit, receive) = (self.transmit, self.receive);
        self.settings = settings;
        self.urgent = true;
        self.polling = self.state == BfdState::Up;
        self.transmit = self.advertised_transmit();
        self.receive = settings.receive_interval;
        if self.polling {
            // Slower sending and shorter patience only when the neighbour knows.
            self.transmit = self.transmit.min(transmit);
            self.receive = self.receive.max(receive);
        }
    }

    fn end_poll(&mut self) {
        self.polling = false;
        self.transmit = self.advertised_transmit();
        self.receive = self.settings.receive_interval;
        if let Some(settings) = self.pending.take() {
            self.configure(settings);
        }
    }

    /// bfd.DesiredMinTxInterval.
    fn advertised_transmit(&self) -> Duration {
        match self.state {
            BfdState::Up => self.settings.transmit_interval,
            BfdState::AdminDown | BfdState::Down | BfdState::Init => self.settings.transmit_interval.max(SLOW),
        }
    }

    /// When the next periodic packet is due; `None`: the neighbour wants none (RFC 5880 sections 6.8.7 and 6.6).
    fn periodic_at(&self) -> Option<Duration> {
        let remote = &self.remote;
        let both_up = self.state == BfdState::Up && remote.state == BfdState::Up;
        if remote.required_receive.is_zero() || remote.demand && both_up && !self.polling {
            return None;
        }
        let interval = self.transmit.max(remote.required_receive);
        Some(self.last_sent.map_or(Duration::ZERO, |sent| sent + part(interval, self.share)))
    }

    fn detected_at(&self) -> Option<Duration> {
        self.remote.heard.map(|heard| heard + self.detection_time())
    }

    fn packet(&self, is_final: bool) -> Packet {
        Packet {
            diagnostic: self.diagnostic,
            state: self.state,
            // Never both (RFC 5880 section 6.5).
            poll: self.polling && !is_final,
            is_final,
            demand: false,
            multiplier: self.settings.multiplier,
            my_discriminator: self.discriminator,
            your_discriminator: self.remote.discriminator,
            desired_transmit: self.advertised_transmit(),
            required_receive: self.settings.receive_interval,
        }
    }
}

impl Remote {
    fn unheard() -> Self {
        Self {
            discriminator: 0,
            state: BfdState::Down,
            diagnostic: Diagnostic::None,
            desired_transmit: Duration::ZERO,
            required_receive: UNHEARD_RECEIVE,
            multiplier: 0,
            demand: false,
            heard: None,
        }
    }

    fn of(packet: &Packet, now: Duration) -> Self {
        Self {
            discriminator: packet.my_discriminator,
            state: packet.state,
            diagnostic: packet.diagnostic,
            desired_transmit: packet.desired_transmit,
            required_receive: packet.required_receive,
            multiplier: packet.multiplier,
            demand: packet.demand,
            heard: Some(now),
        }
    }
}

/// The packet, if it passes the tests that need no session.
pub(super) fn read(ttl: u8, octets: &[u8]) -> Result<Packet, Discard> {
    if ttl == TTL { Packet::decode(octets) } else { Err(Discard::Ttl) }
}

/// What the wire can say: 1 ms at least, so that time passes between two packets, and a multiplier that is not 0.
fn usable(settings: Settings) -> Settings {
    let range = (Duration::from_millis(1), Duration::from_micros(u32::MAX.into()));
    Settings {
        transmit_interval: settings.transmit_interval.clamp(range.0, range.1),
        receive_interval: settings.receive_interval.clamp(range.0, range.1),
        multiplier: settings.multiplier.max(1),
    }
}
