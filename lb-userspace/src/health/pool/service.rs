//! The pool of one service over time: what each backend was, since when, and when the next thing is due.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use super::decide::{self, Candidate, Decision, Health, Part, Quorum, Rules, STEPS, SorryServer, Wanted};
use super::intent::Intents;
use super::state::State;
use crate::config::Service;
use crate::config::check::Initial;
use crate::happening::Happening;
use crate::health::spec::Spec;
use crate::health::verdict::{AgentWish, CheckState, Verdict};
use crate::reconcile::placed::{SORRY, Standing, Standings, WEIGHT_SCALE, identity_of, sorry_of};

/// While first verdicts come in one by one, each would make the table anew: with thousands of services that takes a start
/// minutes. So whoever comes up first gets traffic at once, and those after it together, so often at most.
const GATHERING: Duration = Duration::from_secs(1);

/// See the module's description.
#[derive(Clone, Debug)]
pub struct Pool {
    name: Arc<str>,
    rules: Rules,
    slow_start: Duration,
    drain_timeout: Option<Duration>,
    members: Vec<Member>,
    /// Identity of the sorry server, if it is a member of its own.
    sorry: Option<String>,
    summary: Summary,
    quorum_since: Duration,
    /// When time alone makes a difference next.
    next: Option<Duration>,
    /// Backends have come up for the first time and wait for others to do so, until then at the latest.
    gathering: Option<Duration>,
}

/// What is said of a service.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Whether enough backends are up.
    pub quorum: Quorum,
    /// The sorry server serves.
    pub sorry: bool,
    /// Too few are up for the checks to be believed.
    pub distrusts: bool,
    /// Backends that are up.
    pub up: usize,
    /// Backends that are enabled.
    pub enabled: usize,
}

/// A backend.
#[derive(Clone, Debug)]
pub struct Member {
    /// Its name.
    pub name: String,
    /// Who it is to the lookup table.
    pub identity: String,
    /// Its address.
    pub address: IpAddr,
    weight: u16,
    priority: u8,
    /// Its checks.
    pub specs: Vec<Arc<Spec>>,
    presumed_up: bool,
    /// What it gets, and why.
    pub part: Part,
    /// Since when it is in its state.
    pub since: Duration,
    /// Whether it was up when its checks last said anything.
    known: Option<bool>,
    /// Its checks have said something for the first time just now.
    is_first_word: bool,
    /// Something was decided before.
    is_decided: bool,
    came_up: Option<Duration>,
    drained: Option<Duration>,
}

/// What a decision means for the tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Change {
    /// Nothing.
    None,
    /// Backends have come up for the first time.
    FirstComers,
    /// Anything else.
    Urgent,
}

/// Answers what the checks of a spec say at present.
pub type Verdicts<'a> = &'a dyn Fn(&Arc<Spec>) -> Option<Verdict>;

/// Where a pool stands while it decides.
pub struct Setting<'a> {
    /// The time.
    pub now: Duration,
    /// What the checks say.
    pub verdicts: Verdicts<'a>,
    /// What operators want.
    pub intents: &'a Intents,
    /// The monotonic time of a moment of the wall clock, for drains that began before the daemon.
    pub moment: &'a dyn Fn(f64) -> Duration,
}

impl Pool {
    /// The pool of a service, with what is remembered of its backends from before. Nothing is decided yet.
    pub fn new(
        service: &Service,
        before: Option<&Pool>,
        now: Duration,
        intern: &mut dyn FnMut(Spec) -> Arc<Spec>,
    ) -> Self {
        let earlier: BTreeMap<&str, &Member> =
            before.iter().flat_map(|pool| &pool.members).map(|member| (member.identity.as_str(), member)).collect();
        let member = |backend: &crate::config::Backend| {
            let identity = identity_of(backend);
            let specs: Vec<Arc<Spec>> =
                service.checks.iter().map(|check| intern(Spec::of(service, backend, check))).collect();
            let earlier = earlier.get(identity.as_str());
            let unchecked = |member: &&&Member| member.specs.is_empty().then_some(true);
            Member {
                name: backend.name.clone(),
                address: backend.address,
                weight: backend.weight,
                priority: backend.priority,
                presumed_up: service.checks.iter().all(|check| check.initial == Initial::Up),
                part: earlier.map_or_else(Part::before_any, |member| member.part.clone()),
                since: earlier.map_or(now, |member| member.since),
                // Who served unchecked goes on until the new check says otherwise.
                known: earlier.and_then(|member| unchecked(&member).or(member.known)),
                is_first_word: false,
                is_decided: earlier.is_some_and(|member| member.is_decided),
                came_up: earlier.and_then(|member| member.came_up),
                drained: earlier.and_then(|member| member.drained),
                specs,
                identity,
            }
        };
        let members: Vec<Member> = service.backends.iter().map(member).collect();
        let sorry = sorry_of(service).as_ref().map(identity_of);
        let backend = service.sorry.as_ref().and_then(|sorry| {
            let is_sorry = |backend: &crate::config::Backend| {
                (backend.address, backend.port, backend.forwarding) == (sorry.address, sorry.port, sorry.forwarding)
            };
            service.backends.iter().position(is_sorry)
        });
        let rules = Rules {
            quorum: service.quorum,
            quorum_hysteresis: service.quorum_hysteresis,
            minimum_healthy: service.minimum_healthy,
            on_down: service.on_down,
            sorry: match (backend, &sorry) {
                (Some(at), _) => SorryServer::Backend(at),
                (None, Some(_)) => SorryServer::Apart,
                (None, None) => SorryServer::None,
            },
        };
        Self {
            name: service.name.as_str().into(),
            rules,
            slow_start: service.slow_start,
            drain_timeout: service.drain_timeout,
            members,
            sorry,
            summary: before.map(|pool| pool.summary.clone()).unwrap_or_default(),
            quorum_since: before.map_or(now, |pool| pool.quorum_since),
            next: None,
            gathering: None,
        }
    }

    /// Decides anew; whether any standing changed. What is worth telling is added to `happenings`.
    pub fn decide(&mut self, setting: &Setting, happenings: &mut Vec<Happening>) -> bool {
        let health: Vec<Health> = self.members.iter().map(|member| member.health(setting.verdicts)).collect();
        for (member, health) in self.members.iter_mut().zip(&health) {
            member.note_health(setting.now, health, self.slow_start);
        }
        let candidates: Vec<Candidate> =
            self.members.iter().zip(&health).map(|(member, health)| self.candidate(member, health, setting)).collect();
        let drained: Vec<Option<Duration>> = self
            .members
            .iter()
            .zip(&candidates)
            .map(|(member, it)| member.drained_since(it, &self.name, setting))
            .collect();
        let candidates: Vec<Candidate> = candidates
            .into_iter()
            .zip(&drained)
            .map(|(candidate, since)| Candidate { drain_is_over: self.is_over(*since, setting.now), ..candidate })
            .collect();
        let decision = decide::decide(&self.rules, self.summary.quorum, &candidates);
        for (member, since) in self.members.iter_mut().zip(drained) {
            member.drained = since;
        }
        let served = self.members.iter().any(|member| member.part.standing.weight > 0);
        let undecided = health.iter().any(|health| matches!(health, Health::Unknown { .. }));
        let change = self.take(setting.now, decision, happenings);
        let is_due = self.gather(setting.now, change, served && undecided);
        self.next = self.next_after(setting.now);
        is_due
    }

    /// Whether the tables are to follow now.
    fn gather(&mut self, now: Duration, change: Change, may_wait: bool) -> bool {
        match (change, self.gathering) {
            (Change::FirstComers, None) if may_wait => {
                self.gathering = Some(now + GATHERING);
                false
            }
            (Change::FirstComers | Change::None, Some(until)) if may_wait && now < until => false,
            (Change::None, None) => false,
            (Change::FirstComers | Change::Urgent, _) | (Change::None, Some(_)) => {
                self.gathering = None;
                true
            }
        }
    }

    /// Whether tables are behind, because first verdicts are still coming in.
    pub fn is_gathering(&self) -> bool {
        self.gathering.is_some()
    }

    /// When time alone makes a difference next: then it must decide anew.
    pub fn deadline(&self) -> Option<Duration> {
        self.next
    }

    fn next_after(&self, now: Duration) -> Option<Duration> {
        let ramps = self.members.iter().filter_map(|member| {
            let since = member.came_up?;
            Some(since + self.slow_start * (self.reached(since, now) + 1).min(STEPS) / STEPS)
        });
        let timeout = |timeout: Duration| {
            self.members.iter().filter_map(move |member| Some(member.drained? + timeout)).filter(|&over| over > now)
        };
        ramps.chain(self.drain_timeout.into_iter().flat_map(timeout)).chain(self.gathering).min()
    }

    /// What the lookup table is made from.
    pub fn standings(&self) -> Standings {
        let weight = if self.summary.sorry { WEIGHT_SCALE } else { 0 };
        let sorry = self.sorry.iter().map(|identity| (identity.clone(), Standing { weight, up: true }));
        self.members.iter().map(|member| (member.identity.clone(), member.part.standing)).chain(sorry).collect()
    }

    /// The backends, in the order of the configuration.
    pub fn members(&self) -> &[Member] {
        &self.members
    }

    /// The checks of all backends, in their order.
    pub fn specs(&self) -> impl Iterator<Item = &Arc<Spec>> {
        self.members.iter().flat_map(|member| &member.specs)
    }

    /// The backend of an identity.
    pub fn member(&self, identity: &str) -> Option<&Member> {
        self.members.iter().find(|member| member.identity == identity)
    }

    /// What is said of the service.
    pub fn summary(&self) -> &Summary {
        &self.summary
    }

    /// Since when its quorum is as it is.
    pub fn quorum_since(&self) -> Duration {
        self.quorum_since
    }

    /// Whether the sorry server is a member of its own, and its identity.
    pub fn sorry(&self) -> Option<&str> {
        self.sorry.as_deref()
    }

    /// Backends that must be up.
    pub fn quorum(&self) -> u32 {
        self.rules.quorum
    }

    fn candidate<'a>(&self, member: &Member, health: &'a Health, setting: &Setting) -> Candidate<'a> {
        let intent = setting.intents.of(&self.name, &member.name);
        let weight = intent.and_then(|intent| intent.weight);
        let reached = member.came_up.map(|since| self.reached(since, setting.now));
        Candidate {
            weight: weight.unwrap_or(member.weight),
            overridden: weight.map(|_| member.weight),
            priority: member.priority,
            health,
            wanted: setting.intents.wanted(&self.name, &member.name, member.address).0,
            agent: member.agent(setting.verdicts),
            ramp: reached.filter(|&reached| reached < STEPS),
            drain_is_over: false,
        }
    }

    /// Steps that a ramp has come.
    fn reached(&self, since: Duration, now: Duration) -> u32 {
        if self.slow_start.is_zero() {
            return STEPS;
        }
        let steps = now.saturating_sub(since).as_nanos() * u128::from(STEPS) / self.slow_start.as_nanos();
        u32::try_from(steps).unwrap_or(STEPS).clamp(1, STEPS)
    }

    fn is_over(&self, drained: Option<Duration>, now: Duration) -> bool {
        drained.zip(self.drain_timeout).is_some_and(|(since, timeout)| now >= since + timeout)
    }

    fn take(&mut self, now: Duration, decision: Decision, happenings: &mut Vec<Happening>) -> Change {
        let Decision { quorum, parts, sorry, distrusts, up, enabled } = decision;
        let mut change = if sorry == self.summary.sorry { Change::None } else { Change::Urgent };
        for (member, part) in self.members.iter_mut().zip(parts) {
            if member.part.standing != part.standing {
                let comes = member.is_first_word && member.part.standing.weight == 0 && part.standing.up;
                change = change.max(if comes { Change::FirstComers } else { Change::Urgent });
            }
            if member.came_up.is_some_and(|since| now >= since + self.slow_start) {
                member.came_up = None;
            }
            if member.part.state != part.state {
                // That a check passes for the first time is how things begin, not news.
                if member.is_decided && !(member.is_first_word && part.state == State::Up) {
                    happenings.push(Happening::Backend {
                        service: self.name.to_string(),
                        backend: member.name.clone(),
                        from: member.part.state,
                        to: part.state,
                        why: part.why.clone(),
                    });
                }
                member.since = now;
            }
            (member.part, member.is_decided) = (part, true);
        }
        let summary = Summary { quorum, sorry, distrusts, up, enabled };
        self.tell_summary(now, &summary, happenings);
        self.summary = summary;
        change
    }

    fn tell_summary(&mut self, now: Duration, summary: &Summary, happenings: &mut Vec<Happening>) {
        let before = self.summary.quorum;
        if before != summary.quorum {
            self.quorum_since = now;
            if before != Quorum::Unknown || summary.quorum == Quorum::Lost {
                happenings.push(Happening::Quorum {
                    service: self.name.to_string(),
                    held: summary.quorum == Quorum::Held,
                    reason: self.in_words(summary),
                });
            }
        }
        if self.summary.distrusts != summary.distrusts {
            let (up, enabled) = (summary.up, summary.enabled);
            let message = if summary.distrusts {
                format!(
                    "{up} of {enabled} backends are up, fewer than minimum_healthy: all that are enabled keep traffic"
                )
            } else {
                format!("{up} of {enabled} backends are up: only these get traffic again")
            };
            happenings.push(Happening::Warning { router: None, message: format!("service {}: {message}", self.name) });
        }
    }

    /// How its quorum stands, in words.
    pub fn in_words(&self, summary: &Summary) -> String {
        let (up, needed) = (summary.up, self.rules.quorum);
        let serves = if summary.sorry { format!("; {SORRY} server serves") } else { String::new() };
        let again = self.rules.quorum_hysteresis;
        let again = match summary.quorum {
            Quorum::Lost if again > 0 => format!(" and {again} more after a loss"),
            Quorum::Lost | Quorum::Held | Quorum::Unknown => String::new(),
        };
        format!("{up} of {} enabled backends are up, quorum is {needed}{again}{serves}", summary.enabled)
    }
}

impl Member {
    /// What its checks say, all together.
    fn health(&self, verdicts: Verdicts) -> Health {
        if self.specs.is_empty() {
            return Health::Unchecked;
        }
        let all: Vec<Verdict> = self.specs.iter().map(|spec| verdicts(spec).unwrap_or_default()).collect();
        let of = |state: CheckState| all.iter().filter(move |verdict| verdict.state == state);
        let words = |state: CheckState| {
            let mut words: Vec<&str> = of(state).map(|verdict| verdict.why.as_str()).collect();
            words.dedup();
            words.join(", ")
        };
        if of(CheckState::Down).next().is_some() {
            return Health::Down(words(CheckState::Down));
        }
        match (of(CheckState::Unknown).next(), self.known) {
            (None, _) => Health::Up(words(CheckState::Up)),
            // A check that is new, of a backend that was judged by others.
            (Some(_), Some(true)) => Health::Up("its new check has no verdict yet".to_owned()),
            (Some(_), Some(false)) => {
                Health::Down("its new check has no verdict yet, and before it was down".to_owned())
            }
            (Some(_), None) => Health::Unknown { presumed_up: self.presumed_up },
        }
    }

    fn note_health(&mut self, now: Duration, health: &Health, slow_start: Duration) {
        let known = match health {
            Health::Up(_) => Some(true),
            Health::Down(_) => Some(false),
            Health::Unchecked | Health::Unknown { .. } => None,
        };
        match (self.known, known) {
            (Some(false), Some(true)) if !slow_start.is_zero() => self.came_up = Some(now),
            (_, Some(false)) | (_, None) => self.came_up = None,
            (_, Some(true)) => {}
        }
        self.is_first_word = self.known.is_none() && known.is_some();
        if !matches!(health, Health::Unknown { .. }) {
            self.known = known;
        }
    }

    /// What its agents ask for, together: the least.
    fn agent(&self, verdicts: Verdicts) -> AgentWish {
        self.specs.iter().filter_map(verdicts).fold(AgentWish::default(), |wish, verdict| AgentWish {
            percent: wish.percent.into_iter().chain(verdict.agent.percent).min(),
            drain: wish.drain.into_iter().chain(verdict.agent.drain).max(),
        })
    }

    /// Since when it is drained.
    fn drained_since(&self, candidate: &Candidate, service: &str, setting: &Setting) -> Option<Duration> {
        if !candidate.is_drained() {
            return None;
        }
        let said = match candidate.wanted {
            Wanted::Traffic => None,
            _ => setting.intents.wanted(service, &self.name, self.address).1.map(setting.moment),
        };
        self.drained.or(said).or(Some(setting.now))
    }
}

impl Part {
    /// What is said of a backend until anything is decided.
    fn before_any() -> Self {
        Self { standing: Standing { weight: 0, up: true }, state: State::Down, why: String::new() }
    }
}
