//! What was said: the file, the verdicts, and what operators and agents want. And who is permitted by it.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use fairway::config::check::{Check, Initial, OnDown, Outlier, Probe, Sorry, Timing, Via};
use fairway::config::{self, Config, Forwarding};
use fairway::health::spec::Spec;
use fairway::health::verdict::{AgentWish, CheckState, FailureKind, Verdict};

use crate::rng::Rng;
use crate::silence::Silence;

/// Names and addresses of the services. Two share servers and checks, so that they share tables too.
pub const SERVICES: [(&str, [u8; 4]); 3] =
    [("red", [203, 0, 113, 1]), ("green", [203, 0, 113, 2]), ("blue", [203, 0, 113, 3])];
/// Servers there are.
pub const SERVERS: u8 = 7;
/// The sorry server's number.
pub const SORRY: u8 = 99;
pub const IDLE_TIMEOUT: u64 = 120;

/// One service of the file.
#[derive(Clone, PartialEq, Debug)]
pub struct Desired {
    pub exists: bool,
    pub checked: bool,
    pub interval: u64,
    pub initial_up: bool,
    pub quorum: u32,
    pub hysteresis: u32,
    /// In tenths.
    pub minimum_healthy: u8,
    pub reset: bool,
    pub slow_start: u64,
    pub drain_timeout: Option<u64>,
    pub sorry: bool,
    /// Server, weight, tier.
    pub backends: Vec<(u8, u16, u8)>,
}

/// What an operator wants of a backend.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Wanted {
    pub drained: bool,
    pub disabled: bool,
    pub weight: Option<u16>,
    /// When something was last said.
    pub since: Duration,
}

/// Everything that was said until now.
#[derive(Default)]
pub struct Model {
    pub desired: Vec<Desired>,
    /// The last verdict of each spec of the configuration.
    pub verdicts: BTreeMap<Arc<Spec>, Verdict>,
    /// Which of them do not count.
    pub silence: Silence,
    /// By service and server.
    pub wanted: BTreeMap<(usize, u8), Wanted>,
    pub everywhere: BTreeMap<u8, Duration>,
    /// What was known of a backend when its check last said anything.
    known: BTreeMap<(usize, u8), bool>,
    /// Whether the quorum was lost, by service.
    pub lost: BTreeMap<usize, bool>,
    /// Since when a backend is drained.
    drained: BTreeMap<(usize, u8), Duration>,
}

/// What a backend is by what was said of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Condition {
    Up,
    Unknown,
    Down,
}

pub fn server(number: u8) -> IpAddr {
    [10, 0, 0, number].into()
}

impl Desired {
    pub fn random(rng: &mut Rng) -> Self {
        let mut desired = Self {
            exists: true,
            checked: true,
            interval: 2,
            initial_up: false,
            quorum: 1,
            hysteresis: 0,
            minimum_healthy: 0,
            reset: false,
            slow_start: 0,
            drain_timeout: None,
            sorry: false,
            backends: (1..=3 + rng.below(3) as u8).map(|number| (number, 1, 0)).collect(),
        };
        (0..6).for_each(|_| desired.change(rng));
        desired.exists = true;
        desired
    }

    pub fn change(&mut self, rng: &mut Rng) {
        match rng.below(28) {
            0 => self.exists = !self.exists,
            1 => self.checked = !self.checked,
            2 => self.interval = if self.interval == 2 { 5 } else { 2 },
            3 => self.initial_up = !self.initial_up,
            4..7 => self.quorum = rng.below(4) as u32,
            7 => self.hysteresis = rng.below(3) as u32,
            8..10 => self.minimum_healthy = [0, 0, 3, 6][rng.below(4) as usize],
            10..12 => self.reset = !self.reset,
            12..14 => self.slow_start = [0, 10, 100][rng.below(3) as usize],
            14..16 => self.drain_timeout = [None, Some(5), Some(60)][rng.below(3) as usize],
            16..18 => self.sorry = !self.sorry,
            18..21 => {
                if let Some(at) = self.any(rng) {
                    self.backends[at].1 = [0, 1, 2, 5][rng.below(4) as usize];
                }
            }
            21..24 => {
                if let Some(at) = self.any(rng) {
                    self.backends[at].2 = rng.below(3) as u8;
                }
            }
            _ => {
                let number = 1 + rng.below(u64::from(SERVERS)) as u8;
                let before = self.backends.len();
                self.backends.retain(|backend| backend.0 != number);
                if self.backends.len() == before {
                    self.backends.push((number, 1, 0));
                }
            }
        }
    }

    fn any(&self, rng: &mut Rng) -> Option<usize> {
        (!self.backends.is_empty()).then(|| rng.below(self.backends.len() as u64) as usize)
    }

    fn set(&self, service: &mut config::Service) {
        let seconds = Duration::from_secs;
        service.outlier = Some(Outlier { percent: 20, minimum_connections: 10, window: seconds(10) });
        let timing = Timing {
            interval: seconds(self.interval),
            fast_interval: seconds(1),
            timeout: seconds(1),
            rise: 2,
            fall: 3,
        };
        let initial = if self.initial_up { Initial::Up } else { Initial::Down };
        let check = Check { probe: Probe::Tcp, port: Some(80), via: Via::Address, timing, initial };
        service.checks = if self.checked { vec![check] } else { Vec::new() };
        (service.quorum, service.quorum_hysteresis) = (self.quorum, self.hysteresis);
        service.minimum_healthy = f64::from(self.minimum_healthy) / 10.0;
        service.on_down = if self.reset { OnDown::Reset } else { OnDown::Keep };
        service.slow_start = seconds(self.slow_start);
        service.drain_timeout = self.drain_timeout.map(seconds);
        let sorry = Sorry { address: server(SORRY), port: None, forwarding: Forwarding::Direct };
        service.sorry = self.sorry.then_some(sorry);
        for (backend, (_, weight, tier)) in service.backends.iter_mut().zip(&self.backends) {
            (backend.weight, backend.priority) = (*weight, *tier);
        }
    }
}

/// The file, read, and what of it has no key here set besides.
pub fn read(desired: &[Desired]) -> Config {
    let mut text = String::from("dataplane.interfaces = [\"eth0\"]\n");
    for (service, (name, [a, b, c, d])) in desired.iter().zip(SERVICES) {
        if !service.exists {
            continue;
        }
        text += &format!(
            "[[service]]\nname = \"{name}\"\nlisten = [\"tcp://{a}.{b}.{c}.{d}:80\"]\nlookup_table_size = 32\n\
             idle_timeout = \"{IDLE_TIMEOUT}s\"\n"
        );
        for (number, ..) in &service.backends {
            text += &format!("[[service.backend]]\nname = \"b{number}\"\naddress = \"{}\"\n", server(*number));
        }
    }
    let mut config = config::parse(&text, "host").unwrap_or_else(|problems| panic!("{problems:?}\n{text}")).0;
    for service in &mut config.services {
        let at = SERVICES.iter().position(|(name, _)| *name == service.name).expect("it was written above");
        desired[at].set(service);
    }
    config
}

impl Model {
    pub fn new(desired: Vec<Desired>) -> Self {
        Self { desired, ..Self::default() }
    }

    /// A new file is in force.
    pub fn configured(&mut self, now: Duration, config: &Config) {
        let specs: Vec<Spec> = config.services.iter().flat_map(specs).map(|(_, spec)| spec).collect();
        self.verdicts.retain(|spec, _| specs.contains(spec));
        self.silence.retain(|spec| specs.contains(spec));
        let (desired, before) = (self.desired.clone(), std::mem::take(&mut self.known));
        for (at, service) in desired.iter().enumerate() {
            if !service.exists {
                self.lost.remove(&at);
                self.drained.retain(|(other, _), _| *other != at);
                continue;
            }
            for (number, ..) in &service.backends {
                let key = (at, *number);
                if let Some(known) = before.get(&key) {
                    self.known.insert(key, *known);
                }
            }
            self.drained.retain(|(other, number), _| *other != at || service.backends.iter().any(|it| it.0 == *number));
        }
        self.settle(now);
    }

    /// Checks say something.
    pub fn say(&mut self, now: Duration, said: &[(Arc<Spec>, Verdict)]) {
        for (spec, verdict) in said {
            self.silence.note(now, spec, self.verdicts.get(spec), verdict);
            self.verdicts.insert(spec.clone(), verdict.clone());
        }
        let touched: Vec<Arc<Spec>> = said.iter().map(|(spec, _)| spec.clone()).collect();
        self.silence.judge(now, &touched, &self.verdicts);
        self.settle(now);
    }

    /// Works out anew what follows with time: quorums, drains, what is known.
    pub fn settle(&mut self, now: Duration) {
        self.silence.pass(now);
        for (at, service) in self.desired.clone().iter().enumerate().filter(|(_, service)| service.exists) {
            for (number, ..) in &service.backends {
                match self.verdict(at, *number) {
                    _ if !service.checked => drop(self.known.insert((at, *number), true)),
                    Some(verdict) => drop(self.known.insert((at, *number), verdict.state == CheckState::Up)),
                    None => {}
                }
                if self.is_enabled(at, *number) {
                    self.drained.remove(&(at, *number));
                } else {
                    let since = self.said(at, *number).unwrap_or(now);
                    self.drained.entry((at, *number)).or_insert(since);
                }
            }
            let (up, unknown, enabled) = self.counts(at);
            let quorum = service.quorum as usize;
            let lost = match self.lost.get(&at) {
                Some(true) => up < quorum.max(enabled.min(quorum + service.hysteresis as usize)),
                Some(false) => up < quorum,
                None if up >= quorum => false,
                None if up + unknown >= quorum => continue,
                None => true,
            };
            self.lost.insert(at, lost);
        }
    }

    /// Backends of a service that are up, unknown, and enabled at all.
    pub fn counts(&self, at: usize) -> (usize, usize, usize) {
        let enabled: Vec<u8> = self.numbers(at).filter(|number| self.is_enabled(at, *number)).collect();
        let of = |condition| enabled.iter().filter(|number| self.condition(at, **number) == condition).count();
        (of(Condition::Up), of(Condition::Unknown), enabled.len())
    }

    pub fn numbers(&self, at: usize) -> impl Iterator<Item = u8> {
        self.desired[at].backends.iter().map(|(number, ..)| *number)
    }

    pub fn tier(&self, at: usize, number: u8) -> u8 {
        self.desired[at].backends.iter().find(|backend| backend.0 == number).expect("it is configured").2
    }

    pub fn is_enabled(&self, at: usize, number: u8) -> bool {
        let backend = self.desired[at].backends.iter().find(|backend| backend.0 == number);
        let wanted = self.wanted.get(&(at, number)).copied().unwrap_or_default();
        let weight = wanted.weight.or(backend.map(|backend| backend.1)).unwrap_or(0);
        let agent = self.verdict(at, number).map(|verdict| verdict.agent).unwrap_or_default();
        let asks = agent.drain != Some(true) && agent.percent != Some(0);
        weight > 0 && asks && !wanted.drained && !wanted.disabled && !self.everywhere.contains_key(&number)
    }

    pub fn condition(&self, at: usize, number: u8) -> Condition {
        let service = &self.desired[at];
        match (self.verdict(at, number), self.known.get(&(at, number))) {
            _ if !service.checked => Condition::Up,
            (Some(verdict), _) if verdict.state == CheckState::Up => Condition::Up,
            (Some(_), _) | (None, Some(false)) => Condition::Down,
            (None, Some(true)) => Condition::Up,
            (None, None) if service.initial_up => Condition::Up,
            (None, None) => Condition::Unknown,
        }
    }

    /// Too few are up for the checks to be believed.
    pub fn distrusts(&self, at: usize) -> bool {
        let (up, unknown, enabled) = self.counts(at);
        let sorry = self.desired[at].sorry && self.lost.get(&at) == Some(&true);
        !sorry && ((up + unknown) * 10) < enabled * usize::from(self.desired[at].minimum_healthy)
    }

    /// Whether a backend may be cut off from its flows.
    pub fn may_be_cut_off(&self, now: Duration, at: usize, number: u8) -> bool {
        let service = &self.desired[at];
        let wanted = self.wanted.get(&(at, number)).copied().unwrap_or_default();
        let drained = self.drained.get(&(at, number)).zip(service.drain_timeout);
        wanted.disabled
            || service.reset && self.condition(at, number) == Condition::Down
            || drained.is_some_and(|(since, timeout)| now >= *since + Duration::from_secs(timeout))
    }

    /// When an operator took a backend out, if one did: it may have been before there was one of that name.
    fn said(&self, at: usize, number: u8) -> Option<Duration> {
        let own = self.wanted.get(&(at, number)).filter(|wanted| wanted.drained || wanted.disabled);
        own.map(|wanted| wanted.since).or_else(|| self.everywhere.get(&number).copied())
    }

    fn verdict(&self, at: usize, number: u8) -> Option<&Verdict> {
        let service = &self.desired[at];
        let mut verdicts = self.verdicts.iter().filter(|_| service.checked);
        let is_its = |spec: &Spec| {
            spec.target.address == server(number) && spec.timing.interval == Duration::from_secs(service.interval)
        };
        let (spec, verdict) = verdicts.find(|(spec, _)| is_its(spec))?;
        Some(self.silence.held(spec).unwrap_or(verdict))
    }
}

/// The specs of a service, with the number of the backend.
pub fn specs(service: &config::Service) -> Vec<(usize, Spec)> {
    let of = |(at, backend)| service.checks.iter().map(move |check| (at, Spec::of(service, backend, check)));
    service.backends.iter().enumerate().flat_map(of).collect()
}

/// What a check says of a server of which no frame comes back.
pub fn silent() -> Verdict {
    Verdict { state: CheckState::Down, why: "cut off".into(), failure: Some(FailureKind::Silent), ..Verdict::default() }
}

/// What a check says of a server.
pub fn verdict(rng: &mut Rng, up: bool) -> Verdict {
    let kinds = [FailureKind::Refused, FailureKind::Silent, FailureKind::Hung, FailureKind::Wrong];
    let failure = (!up).then(|| kinds[rng.below(4) as usize]);
    let agent = if up && rng.one_in(6) {
        AgentWish { percent: [None, Some(0), Some(30), Some(75)][rng.below(4) as usize], drain: Some(rng.one_in(3)) }
    } else {
        AgentWish::default()
    };
    Verdict { state: if up { CheckState::Up } else { CheckState::Down }, why: "as drawn".into(), failure, agent }
}
