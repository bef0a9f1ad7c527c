//! Where the tables of a stateful service lie, and what they shall hold: who chooses, and what each backend may take.

use std::time::Duration;

use lb_common::abi::{Chooser, Load};
use lb_common::scheduler::Rule;
use lb_common::scheduler::turns::Passes;

use crate::config::PERSISTENCE_TIMEOUT;

use super::placed::{Placed, WEIGHT_SCALE};
use super::tables::Table;
use crate::config::{Scheduler, Service as ServiceConfig};
use crate::scheduler::pool::PoolMember;

/// Where a stateful service's tables lie.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Seat {
    /// Index of its chooser.
    pub chooser: u32,
    /// The load of the pool's backend 0.
    pub first_load: u32,
    /// Loads that there is room for.
    pub room: u32,
}

impl Seat {
    /// The load of a backend, by its index in the pool.
    pub fn load(&self, backend: u16) -> u32 {
        self.first_load + u32::from(backend)
    }
}

/// The rule of a scheduler that keeps state; `None` for one that asks the lookup table.
pub fn rule_of(scheduler: Scheduler) -> Option<Rule> {
    match scheduler {
        Scheduler::Maglev | Scheduler::SourceHash | Scheduler::DestinationHash => None,
        Scheduler::RoundRobin => Some(Rule::RoundRobin),
        Scheduler::WeightedRoundRobin => Some(Rule::WeightedRoundRobin),
        Scheduler::LeastConnection => Some(Rule::LeastConnection),
        Scheduler::WeightedLeastConnection => Some(Rule::WeightedLeastConnection),
        Scheduler::ShortestExpectedDelay => Some(Rule::ShortestExpectedDelay),
        Scheduler::NeverQueue => Some(Rule::NeverQueue),
        Scheduler::WeightedFailover => Some(Rule::WeightedFailover),
        Scheduler::WeightedOverflow => Some(Rule::WeightedOverflow),
        Scheduler::WeightedRandomTwos => Some(Rule::WeightedRandomTwos),
        Scheduler::LocalityLeastConnection => Some(Rule::Locality),
        Scheduler::ReplicatedLocalityLeastConnection => Some(Rule::ReplicatedLocality),
    }
}

/// What the chooser of a service shall be, but for whose turn it is. Of a service that keeps no state any more, it leaves new flows
/// to the lookup table, and those that are recorded to their records.
pub fn chooser(config: &ServiceConfig, seat: &Seat, loads: &[(u16, Load)]) -> Chooser {
    let count = loads.iter().map(|(index, _)| u32::from(*index) + 1).max().unwrap_or(0);
    let Passes { step, top, .. } = Passes::of(loads.iter().map(|(_, load)| load.weight).filter(|&weight| weight > 0));
    Chooser {
        places: Chooser::pair(seat.first_load, count),
        passes: Chooser::pair(top, step),
        rule: rule_of(config.scheduler).map_or(0, |rule| rule as u32),
        persistence: persistence(config),
        fin_timeout: seconds(config.fin_timeout),
        syn_timeout: seconds(config.syn_timeout),
        closed_timeout: seconds(config.closed_timeout),
        ..Chooser::default()
    }
}

fn seconds(time: Duration) -> u32 {
    u32::try_from(time.as_secs()).unwrap_or(u32::MAX)
}

/// For how long clients are remembered, in seconds; 0: they are not, or need not be.
pub fn persistence(config: &ServiceConfig) -> u32 {
    match config.persistence {
        Some(persistence) if rule_of(config.scheduler).is_some() => {
            seconds(persistence.timeout.unwrap_or(PERSISTENCE_TIMEOUT))
        }
        Some(_) | None => 0,
    }
}

/// What each member of the pool may take, by index; counts are zero.
///
/// Rules count in whole weights. Effective ones are finer: a backend that has a part of its weight has the next whole one.
pub fn loads(placed: &Placed, table: &Table) -> Vec<(u16, Load)> {
    let load = |(identity, member): (&str, &PoolMember)| {
        let weight = if member.up && !member.leaving { member.weight.div_ceil(WEIGHT_SCALE) } else { 0 };
        let (upper, lower) = placed.backend(identity).map_or((0, 0), |it| (it.upper_threshold, it.lower_threshold));
        (member.index, Load { weight, upper, lower, ..Load::default() })
    };
    table.pool.members().map(load).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chooser_has_the_timeouts_of_its_service_or_those_of_ipvs() {
        let timeouts = |keys: &str| {
            let head =
                "dataplane.interfaces = [\"eth0\"]\n[[service]]\nname = \"a\"\nlisten = [\"tcp://203.0.113.10:80\"]\n";
            let text = format!("{head}scheduler = \"rr\"\nbackend = [{{ address = \"10.0.0.1\" }}]\n{keys}");
            let (config, _) = crate::config::parse(&text, "host").unwrap();
            let it = chooser(&config.services[0], &Seat { chooser: 1, first_load: 0, room: 8 }, &[]);
            [it.fin_timeout, it.syn_timeout, it.closed_timeout, it.persistence]
        };
        assert_eq!(timeouts(""), [120, 60, 10, 0]);
        let keys = "fin_timeout = \"7s\"\nsyn_timeout = \"8s\"\nclosed_timeout = \"9s\"\npersistence = { timeout = \"10s\" }\n";
        assert_eq!(timeouts(keys), [7, 8, 9, 10]);
    }
}
