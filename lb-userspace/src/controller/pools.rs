//! The controller's part about pools: other standings become writes, operators' orders are carried out, and VRRP learns
//! which services have a quorum and which interfaces are to blame.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use super::view::{Override, Problem};
use super::{Controller, Effect};
use crate::config::{Condition, Config, Consequence, Track};
use crate::exchange::party::LastSlots;
use crate::happening::Happening;
use crate::health::pool::decide::Quorum;
use crate::health::pool::intent::Intents;
use crate::health::pool::memory::Memory;
use crate::health::pool::service::Pool;
use crate::health::pool::{Changes, Order, Pools};
use crate::nexthop::NextHop;
use crate::reconcile::entries::Hop;
use crate::reconcile::placed::{Extent, FromMaster, Standings, ToldSlots};
use crate::reconcile::planner::Reweighed;
use crate::vrrp::event::Verdict;

/// What a virtual router's priority loses while an interface that it needs is to blame: as much as that of another track.
const UPLINK_WEIGHT: i16 = -50;

impl Controller {
    /// What operators wanted and checks said before this daemon. To be called before the first configuration is put in force. `epoch`:
    /// seconds since the Unix epoch at monotonic time 0.
    pub fn restore(&mut self, intents: Intents, memory: Memory, epoch: f64) {
        self.pools = Pools::new(intents, memory, epoch);
    }

    /// The pools: what each backend gets, and why.
    pub fn pools(&self) -> &Pools {
        &self.pools
    }

    /// When [`Event::Tick`](super::Event::Tick) is due.
    pub fn deadline(&self) -> Option<Duration> {
        self.pools.deadline()
    }

    /// Carries out an operator's order, given at `now` and `wall` seconds since the Unix epoch: how it stands now, in words,
    /// and what is to be done. What operators want from now on is [`Pools::intents`], to be remembered.
    ///
    /// # Errors
    /// When the order makes no sense; nothing is changed then.
    pub fn operate(&mut self, now: Duration, wall: f64, order: &Order) -> Result<(Vec<String>, Vec<Effect>), Problem> {
        let told = self.pools.operate(now, wall, order);
        let told = told.map_err(|refused| Problem { exit: 2, message: refused.to_string() })?;
        Ok((told.lines, self.follow(now, told.changes)))
    }

    /// Whether the gateways that virtual routers track answer, by interface.
    pub fn set_gateways(&mut self, gateways: BTreeMap<Arc<str>, bool>) {
        self.pools.set_gateways(gateways);
    }

    /// Whether a service has its quorum, for tracks. Of backends without a check at least the next hop must be known.
    pub fn quorum(&self, service: &str) -> Verdict {
        let Some(pool) = self.pools.get(service) else {
            return Verdict { holds: Some(false), factor: 1, detail: format!("there is no service {service}") };
        };
        let summary = pool.summary();
        let unreachable = self.unreachable(pool);
        let detail = match unreachable {
            0 => pool.in_words(summary),
            count => format!("{}, of which {count} cannot be reached", pool.in_words(summary)),
        };
        let reachable = summary.up.saturating_sub(unreachable);
        let holds = match summary.quorum {
            Quorum::Held => Some(reachable >= pool.quorum() as usize),
            Quorum::Lost => Some(false),
            Quorum::Unknown => None,
        };
        Verdict { holds, factor: 1, detail }
    }

    /// Backends that count as up because nobody asks them, and to whom no packet gets.
    fn unreachable(&self, pool: &Pool) -> usize {
        let lost = pool.members().iter().filter(|member| {
            let hop = self.planner.hops().get(&member.address);
            member.specs.is_empty() && member.part.standing.weight > 0 && !matches!(hop, Some(Ok(_)))
        });
        lost.count()
    }

    /// The tracks that every virtual router has without being told: interfaces that may be to blame for the silence behind
    /// them. None where nothing is checked.
    pub fn uplink_tracks(config: &Config) -> Vec<Track> {
        if config.services.iter().all(|service| service.checks.is_empty()) {
            return Vec::new();
        }
        let track = |interface: &String| Track {
            name: format!("uplink {interface}"),
            condition: Condition::Uplink { interface: interface.clone() },
            consequence: Consequence::Weight(UPLINK_WEIGHT),
        };
        config.dataplane.interfaces.iter().map(track).collect()
    }

    /// What an uplink's track says to a virtual router: it does not hold while the interface is to blame and the router is
    /// on it, or has a service whose backends are behind it.
    pub fn uplink(&self, router: &str, interface: &str) -> Verdict {
        let blamed = self.pools.uplinks().held().find(|(held, _)| parent(held) == interface);
        let Some((held, why)) = blamed else {
            return Verdict {
                holds: Some(true),
                factor: 1,
                detail: format!("{interface} is not to blame for anything"),
            };
        };
        let is_on = |config: &Config| config.virtual_routers.iter().any(|it| it.name == router && it.interface == held);
        let needs =
            self.config.services.iter().filter(|service| service.vrrp.as_deref() == Some(router)).any(|service| {
                let behind =
                    |address: IpAddr| self.pools.uplinks().interface_of(address).is_some_and(|it| **it == *held);
                service.backends.iter().any(|backend| behind(backend.address))
            });
        let holds = !(is_on(&self.config) || needs);
        Verdict { holds: Some(holds), factor: 1, detail: why.to_owned() }
    }

    /// What operators want beside the configuration.
    pub fn overrides(&self) -> Vec<Override> {
        let is_there = |service: &str, backend: &str| {
            self.pools.get(service).is_some_and(|pool| pool.members().iter().any(|member| member.name == backend))
        };
        let backends = self.pools.intents().backends().map(|((service, backend), intent)| Override {
            service: Some(service.clone()),
            backend: backend.clone(),
            what: intent.to_string(),
            since: intent.since,
            configured: is_there(service, backend),
        });
        let addresses = self.pools.intents().addresses().map(|(address, since)| Override {
            service: None,
            backend: address.to_string(),
            what: "drained everywhere".to_owned(),
            since,
            configured: self.planner.destinations().contains(&address),
        });
        backends.chain(addresses).collect()
    }

    /// What an operator should know about pools.
    pub(super) fn pool_warnings(&self, warnings: &mut Vec<String>) {
        warnings.extend(self.pools.uplinks().held().map(|(interface, why)| format!("interface {interface}: {why}")));
        for service in &self.config.services {
            let Some(pool) = self.pools.get(&service.name) else { continue };
            let (summary, name) = (pool.summary(), &service.name);
            if summary.quorum == Quorum::Lost && summary.enabled > 0 {
                warnings.push(format!("service {name} has no quorum: {}", pool.in_words(summary)));
            }
            if summary.distrusts {
                let (up, enabled) = (summary.up, summary.enabled);
                warnings.push(format!(
                    "service {name}: only {up} of {enabled} backends are up, fewer than minimum_healthy: all that are \
                     enabled keep traffic"
                ));
            }
        }
        for (service, error) in &self.cramped {
            warnings.push(format!("service {service} keeps its old weights: {error}"));
        }
    }

    /// What masters on the other node make their tables from has changed: of services that are followed, these standings are in
    /// force instead of our own, so that both nodes' tables are the same whatever each has found out of the backends; and slots are as the
    /// master says. Who is master follows nobody.
    pub fn follow_masters(&mut self, now: Duration, followed: BTreeMap<Arc<str>, Arc<FromMaster>>) -> Vec<Effect> {
        let before = std::mem::replace(&mut self.followed, followed);
        let names: BTreeSet<&Arc<str>> = before.keys().chain(self.followed.keys()).collect();
        let others: Vec<&Arc<str>> =
            names.into_iter().filter(|name| before.get(*name) != self.followed.get(*name)).collect();
        let standings_of = |followed: &BTreeMap<Arc<str>, Arc<FromMaster>>, name: &Arc<str>| {
            followed.get(name).map(|it| it.standings.clone())
        };
        let reweighed = others.iter().filter(|name| standings_of(&before, name) != standings_of(&self.followed, name));
        let own = |name: &&Arc<str>| Some((name.to_string(), self.pools.standings_of(name)?));
        let standings = reweighed.filter_map(own).collect();
        let others: Vec<Arc<str>> = others.into_iter().cloned().collect();
        let is_told = |(name, it): (&Arc<str>, &Arc<FromMaster>)| it.slots.is_some().then(|| name.clone());
        let told: BTreeSet<Arc<str>> = self.followed.iter().filter_map(is_told).collect();
        let taken_back = before.iter().filter(|(name, _)| !told.contains(*name));
        let taken_back = taken_back.filter_map(|(name, it)| Some((name.clone(), it.slots.clone()?)));
        self.planner.settle_again(now, &taken_back.collect());
        self.planner.leave_settling(told);
        let mut effects = self.follow(now, Changes { standings, ..Changes::default() });
        effects.extend(self.adopt_slots(now, others));
        effects
    }

    /// Takes over what the master before this node had still to say of slots of services that this node is master of by now.
    pub fn hear_last_slots(&mut self, now: Duration, last: LastSlots) -> Vec<Effect> {
        let is_ours = |(name, _): &(Arc<str>, _)| !self.followed.contains_key(name);
        let told = |(name, slots)| (name, Arc::new(ToldSlots { slots: Arc::new(slots), extent: Extent::LastWords }));
        let (writes, _) = self.planner.adopt(now, &self.image, &last.into_iter().filter(is_ours).map(told).collect());
        self.write(writes)
    }

    /// Takes over what masters say of the slots of these services.
    pub(super) fn adopt_slots(&mut self, now: Duration, names: impl IntoIterator<Item = Arc<str>>) -> Vec<Effect> {
        let told = names.into_iter().filter_map(|name| Some((name.clone(), self.followed.get(&name)?.slots.clone()?)));
        let (writes, owed) = self.planner.adopt(now, &self.image, &told.collect());
        self.owed.extend(owed);
        self.write(writes)
    }

    /// Replaces what this node has found out by what the master says. Backends of which it says nothing are left as they are.
    pub(super) fn yield_to_masters(&self, standings: &mut BTreeMap<String, Standings>) {
        for (service, own) in standings {
            let Some(master) = self.followed.get(service.as_str()) else { continue };
            for (identity, standing) in own {
                if let Some(said) = master.standings.get(identity) {
                    *standing = *said;
                }
            }
        }
    }

    /// What follows from other standings.
    pub(super) fn follow(&mut self, now: Duration, changes: Changes) -> Vec<Effect> {
        let Changes { mut standings, happenings } = changes;
        for service in std::mem::take(&mut self.cramped).into_keys() {
            if let Some(again) = self.pools.standings_of(&service) {
                standings.entry(service).or_insert(again);
            }
        }
        self.yield_to_masters(&mut standings);
        let mut effects = Vec::new();
        if !standings.is_empty() {
            let Reweighed { writes, failed } = self.planner.reweigh(now, &self.image, &standings);
            self.cramped.extend(failed);
            effects.extend(self.write(writes));
        }
        effects.extend(tell(happenings));
        effects
    }

    /// Notes which interface a destination is reached by, as its name is.
    pub(super) fn note_egress(&mut self, destination: IpAddr, hop: &Hop) {
        let interface = match hop {
            Ok(NextHop::Frame(frame)) => {
                let tags: String = frame.tags.iter().map(|tag| format!(" vlan {}", tag.tci & 0xfff)).collect();
                Some(format!("{}{tags}", self.interfaces.links().name_of(frame.interface)).into())
            }
            Ok(NextHop::Local) => None,
            // Where it was last: an interface that is to blame is one by which nobody is reached.
            Err(_) => return,
        };
        self.pools.reached_by(destination, interface);
    }
}

/// The interface that transmits, of a name with tags.
fn parent(interface: &str) -> &str {
    interface.split_once(" vlan ").map_or(interface, |(parent, _)| parent)
}

/// What is worth telling, if anything is.
pub(super) fn tell(happenings: Vec<Happening>) -> Option<Effect> {
    (!happenings.is_empty()).then_some(Effect::Tell(happenings))
}

#[cfg(test)]
#[path = "pools_tests.rs"]
mod tests;
