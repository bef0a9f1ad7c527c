//! Pools: from what is configured, what checks say, what operators and agents want, and the time, to what each backend
//! gets: an effective weight, and whether it is up to its flows. Tables are made from that by `reconcile::planner`.
//!
//! - [`decide`]: the rules for one service at one moment; no memory.
//! - [`service`]: one service over time: slow start, drains, quorum, since when and why.
//! - [`intent`]: what operators want; it outlives the daemon.
//! - [`memory`]: what checks said last; a daemon that starts again begins with it.
//! - [`uplink`]: when everything behind an interface is silent at once.
//! - [`state`]: the words.
//!
//! [`Pools`] holds all of it. Each of its methods says which services' standings changed, so that nobody else is touched.

pub mod decide;
pub mod intent;
pub mod memory;
mod order;
pub mod service;
pub mod state;
pub mod uplink;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::config::Config;
use crate::happening::Happening;
use crate::health::spec::Spec;
use crate::health::verdict::{CheckState, Verdict};
use crate::reconcile::changes::Unchanged;
use crate::reconcile::placed::Standings;
use intent::Intents;
use memory::Memory;
use service::{Pool, Setting};
use uplink::{Change, Checks, Interface, Uplinks};

pub use order::{Action, Order, Refused, Told};

/// All pools. See the module's description. A reload works on a copy, and there may be tens of thousands of backends: a copy shares
/// what neither of the two has changed.
#[derive(Clone, Debug, Default)]
pub struct Pools {
    services: BTreeMap<Arc<str>, Arc<Pool>>,
    verdicts: Arc<HashMap<Arc<Spec>, Verdict>>,
    users: Arc<Users>,
    /// Checks that have not said anything yet, and until when that is waited for.
    pending: HashMap<Arc<Spec>, Duration>,
    /// When one of these is not waited for any more; none earlier.
    patience: Option<Duration>,
    intents: Intents,
    uplinks: Arc<Uplinks>,
    /// What checks said before this daemon, until the first configuration is there.
    memory: Memory,
    /// Seconds since the Unix epoch at monotonic time 0.
    epoch: f64,
}

/// Who is concerned by which check, and which there are of an address.
#[derive(Debug, Default)]
struct Users {
    of_spec: HashMap<Arc<Spec>, Vec<Arc<str>>>,
    of_address: HashMap<IpAddr, Vec<Arc<Spec>>>,
}

/// What follows from something.
#[derive(Debug, Default)]
pub struct Changes {
    /// Of services whose backends stand otherwise now: all of their standings.
    pub standings: BTreeMap<String, Standings>,
    /// What is worth telling, in order.
    pub happenings: Vec<Happening>,
}

impl Pools {
    /// Pools without services, with what operators wanted and what checks said before.
    pub fn new(intents: Intents, memory: Memory, epoch: f64) -> Self {
        Self { intents, memory, epoch, ..Self::default() }
    }

    /// Makes these services the ones there are. What is known of backends and checks that stay is kept, and services that are
    /// `unchanged` are left alone. The standings of those whose tables must follow, and what is worth telling.
    pub fn configure(&mut self, now: Duration, config: &Config, unchanged: &Unchanged) -> Changes {
        let before = std::mem::take(&mut self.services);
        let mut touched: Vec<Arc<str>> = Vec::new();
        let mut new: HashSet<Arc<Spec>> = HashSet::new();
        for service in &config.services {
            if let Some((name, pool)) =
                before.get_key_value(&*service.name).filter(|_| unchanged.contains(&service.name))
            {
                self.services.insert(name.clone(), pool.clone());
                continue;
            }
            let name: Arc<str> = service.name.as_str().into();
            let users = &self.users;
            let mut intern = |spec: Spec| match users.of_spec.get_key_value(&spec) {
                Some((known, _)) => known.clone(),
                None => new.get(&spec).cloned().unwrap_or_else(|| {
                    let spec = Arc::new(spec);
                    new.insert(spec.clone());
                    spec
                }),
            };
            let pool = Pool::new(service, before.get(&name).map(|pool| &**pool), now, &mut intern);
            self.services.insert(name.clone(), Arc::new(pool));
            touched.push(name);
        }
        let is_alike =
            |name: &Arc<str>| before.get(name).is_some_and(|pool| pool.specs().eq(self.services[name].specs()));
        if before.len() != self.services.len() || !touched.iter().all(is_alike) {
            self.note_users(now);
        }
        let mut changes = self.decide(now, touched.iter().cloned());
        let is_behind = |(_, pool): &(&Arc<str>, &Arc<Pool>)| pool.is_gathering();
        let behind = self.services.iter().filter(is_behind).map(|(name, _)| name).chain(&touched);
        changes.standings = behind.map(|name| (name.to_string(), self.services[name].standings())).collect();
        changes
    }

    /// Notes who is concerned by which check, and forgets what is of checks that nobody uses.
    fn note_users(&mut self, now: Duration) {
        let mut users = Users::default();
        for (name, pool) in &self.services {
            for spec in pool.specs() {
                let concerned = users.of_spec.entry(spec.clone()).or_default();
                if concerned.is_empty() {
                    users.of_address.entry(spec.target.address).or_default().push(spec.clone());
                }
                if concerned.last() != Some(name) {
                    concerned.push(name.clone());
                }
            }
        }
        let before = std::mem::replace(&mut self.users, Arc::new(users));
        let users = &self.users.of_spec;
        let verdicts = Arc::make_mut(&mut self.verdicts);
        verdicts.retain(|spec, _| users.contains_key(spec));
        self.pending.retain(|spec, _| users.contains_key(spec));
        Arc::make_mut(&mut self.uplinks).retain(|spec| users.contains_key(spec));
        for spec in users.keys().filter(|spec| !verdicts.contains_key(*spec) && !before.of_spec.contains_key(*spec)) {
            self.pending.insert(spec.clone(), now + patience(spec));
        }
        // What was said before is something to begin with. Their own first word is waited for all the same.
        let memory = std::mem::take(&mut self.memory);
        let remembered = users.keys().filter_map(|spec| Some((spec.clone(), memory.of(spec)?)));
        for (spec, verdict) in remembered {
            verdicts.entry(spec).or_insert(verdict);
        }
        self.patience = self.pending.values().min().copied();
    }

    /// All standings.
    pub fn standings(&self) -> BTreeMap<String, Standings> {
        self.services.iter().map(|(name, pool)| (name.to_string(), pool.standings())).collect()
    }

    /// Those of one service.
    pub fn standings_of(&self, service: &str) -> Option<Standings> {
        Some(self.services.get(service)?.standings())
    }

    /// Checks have other verdicts.
    pub fn verdicts(&mut self, now: Duration, verdicts: Vec<(Arc<Spec>, Verdict)>) -> Changes {
        let mut services = BTreeSet::new();
        let mut touched = Vec::new();
        for (spec, verdict) in verdicts {
            // Of a configuration that is not in force any more.
            let Some(users) = self.users.of_spec.get(&spec) else { continue };
            services.extend(users.iter().cloned());
            if verdict.state != CheckState::Unknown {
                self.pending.remove(&spec);
            }
            Arc::make_mut(&mut self.uplinks).note(now, &spec, self.verdicts.get(&spec), &verdict);
            Arc::make_mut(&mut self.verdicts).insert(spec.clone(), verdict);
            touched.push(spec);
        }
        if self.pending.is_empty() {
            self.patience = None;
        }
        let held = self.with_uplinks(|uplinks, checks| uplinks.judge(now, &touched, checks));
        self.follow(now, services, held)
    }

    /// Checks of another node say this: those of ours that have not said anything yet begin with it. Their own first word is waited for
    /// all the same, and counts.
    pub fn hear_verdicts(&mut self, now: Duration, said: Vec<memory::Opinion>) -> Changes {
        let said = Memory::of_peer(said);
        let is_open = |spec: &&Arc<Spec>| self.verdicts.get(*spec).is_none_or(|it| it.state == CheckState::Unknown);
        let open: Vec<Arc<Spec>> = self.users.of_spec.keys().filter(is_open).cloned().collect();
        let mut services = BTreeSet::new();
        for spec in open {
            let Some(verdict) = said.as_said(&spec) else { continue };
            services.extend(self.users.of_spec[&spec].iter().cloned());
            Arc::make_mut(&mut self.verdicts).insert(spec, verdict.clone());
        }
        self.follow(now, services, Vec::new())
    }

    /// The time has come for something; harmless at any other.
    pub fn tick(&mut self, now: Duration) -> Changes {
        if self.patience.is_some_and(|patience| patience <= now) {
            self.pending.retain(|_, until| now < *until);
            self.patience = self.pending.values().min().copied();
        }
        let held = self.with_uplinks(|uplinks, checks| uplinks.tick(now, checks));
        let due = self.services.iter().filter(|(_, pool)| pool.deadline().is_some_and(|deadline| deadline <= now));
        let services = due.map(|(name, _)| name.clone()).collect();
        self.follow(now, services, held)
    }

    /// When [`Self::tick`] is due.
    pub fn deadline(&self) -> Option<Duration> {
        let services = self.services.values().filter_map(|pool| pool.deadline());
        services.chain(self.patience).chain(self.uplinks.deadline()).min()
    }

    /// An address is reached by this interface, or it is not known by which.
    pub fn reached_by(&mut self, address: IpAddr, interface: Option<Interface>) {
        Arc::make_mut(&mut self.uplinks).reached_by(address, interface);
    }

    /// Whether the gateways that virtual routers track answer, by interface.
    pub fn set_gateways(&mut self, gateways: BTreeMap<Interface, bool>) {
        Arc::make_mut(&mut self.uplinks).set_gateways(gateways);
    }

    /// Checks that have not said anything yet and are still waited for, and all checks.
    pub fn pending(&self) -> (usize, usize) {
        (self.pending.len(), self.users.of_spec.len())
    }

    /// The pool of a service.
    pub fn get(&self, service: &str) -> Option<&Pool> {
        self.services.get(service).map(|pool| &**pool)
    }

    /// What operators want.
    pub fn intents(&self) -> &Intents {
        &self.intents
    }

    /// Interfaces that are blamed for silence.
    pub fn uplinks(&self) -> &Uplinks {
        &self.uplinks
    }

    /// The last verdict of a check, as it is, not as it is held.
    pub fn verdict(&self, spec: &Spec) -> Option<&Verdict> {
        self.verdicts.get(spec)
    }

    /// What all checks say, to be remembered.
    pub fn all_verdicts(&self) -> Vec<(Arc<Spec>, Verdict)> {
        self.verdicts.iter().map(|(spec, verdict)| (spec.clone(), verdict.clone())).collect()
    }

    fn with_uplinks<R>(&mut self, act: impl FnOnce(&mut Uplinks, &Checks) -> R) -> R {
        let Self { uplinks, users, verdicts, .. } = self;
        let of = |address: IpAddr| users.of_address.get(&address).cloned().unwrap_or_default();
        let says = |spec: &Arc<Spec>| verdicts.get(spec).cloned();
        act(Arc::make_mut(uplinks), &Checks { of: &of, says: &says })
    }

    fn follow(&mut self, now: Duration, mut services: BTreeSet<Arc<str>>, held: Vec<Change>) -> Changes {
        let mut happenings = Vec::new();
        for Change { interface, held, why, specs } in held {
            for spec in specs {
                services.extend(self.users.of_spec.get(&spec).into_iter().flatten().cloned());
            }
            happenings.push(Happening::Uplink { interface: interface.to_string(), held, reason: why });
        }
        let mut changes = self.decide(now, services);
        changes.happenings.splice(0..0, happenings);
        changes
    }

    fn decide(&mut self, now: Duration, services: impl IntoIterator<Item = Arc<str>>) -> Changes {
        let Self { services: pools, verdicts, uplinks, intents, epoch, .. } = self;
        let verdict = |spec: &Arc<Spec>| uplinks.verdict(spec).or_else(|| verdicts.get(spec)).cloned();
        let moment = |wall: f64| Duration::try_from_secs_f64(wall - *epoch).unwrap_or(Duration::ZERO).min(now);
        let setting = Setting { now, verdicts: &verdict, intents, moment: &moment };
        let mut changes = Changes::default();
        for name in services {
            let Some(pool) = pools.get_mut(&name) else { continue };
            let pool = Arc::make_mut(pool);
            if pool.decide(&setting, &mut changes.happenings) {
                changes.standings.insert(name.to_string(), pool.standings());
            }
        }
        changes
    }
}

/// How long the first verdict of a check is waited for: as many probes as decide, each to its deadline.
fn patience(spec: &Spec) -> Duration {
    let timing = &spec.timing;
    let probes = timing.rise.max(timing.fall).max(1);
    (timing.timeout.max(timing.fast_interval) + timing.fast_interval).saturating_mul(probes)
}

#[cfg(test)]
mod tests;
