//! Asking a service's rule which backend a new flow gets, each rule with a stack of its own.

use super::BY_RULE;
use crate::abi::{Chooser, Destination, Load, Service};
use crate::address::Address;
use crate::path::Tables;
use crate::scheduler::least::Least;
use crate::scheduler::locality::{self, Plain, Servers, Steps};
use crate::scheduler::turns::Passes;
use crate::scheduler::{self, Candidate, Candidates, Go, Pool, Rule, Visitor, show};
use crate::slot::NONE;

/// The index of the backend that a rule names, [`NONE`] if there is none.
#[inline(always)]
pub(super) fn by_rule<T: Tables>(tables: &T, service: &Service, known: u32) -> u32 {
    let rule = BY_RULE + (known & 0xff);
    match Rule::from_number(rule as u8) {
        Some(Rule::RoundRobin | Rule::WeightedRoundRobin) => by_turns(tables, service, rule),
        Some(Rule::WeightedRandomTwos) => by_lot(tables, service),
        Some(Rule::Locality) => by_locality(tables, service, false),
        Some(Rule::ReplicatedLocality) => by_locality(tables, service, true),
        _ => by_load(tables, service, rule),
    }
}

#[inline(never)]
fn by_turns<T: Tables>(tables: &T, service: &Service, rule: u32) -> u32 {
    let all = rule != BY_RULE + Rule::WeightedRoundRobin as u32;
    choose(tables, service, if all { Rule::RoundRobin } else { Rule::WeightedRoundRobin })
}

#[inline(never)]
fn by_lot<T: Tables>(tables: &T, service: &Service) -> u32 {
    choose(tables, service, Rule::WeightedRandomTwos)
}

#[inline(always)]
fn by_locality<T: Tables>(tables: &T, service: &Service, replicated: bool) -> u32 {
    locality::pick(&Locality { tables, service, replicated }, replicated).unwrap_or(NONE as u32)
}

/// The steps of the rules of locality, each with a stack of its own.
struct Locality<'a, T> {
    tables: &'a T,
    service: &'a Service,
    replicated: bool,
}

impl<T: Tables> Steps for Locality<'_, T> {
    #[inline(always)]
    fn remembered(&self) -> Option<u32> {
        match self.replicated {
            true => some(remembered_replicated(self.tables, self.service)),
            false => some(remembered(self.tables, self.service)),
        }
    }

    #[inline(always)]
    fn shrink(&self) {
        shrink(self.tables, self.service);
    }

    #[inline(always)]
    fn is_crowded(&self, index: u32) -> bool {
        is_crowded(self.tables, self.service, index) != 0
    }

    #[inline(always)]
    fn lightest(&self) -> Option<u32> {
        some(by_load(self.tables, self.service, BY_RULE + Rule::WeightedLeastConnection as u32))
    }

    #[inline(always)]
    fn remember(&self, index: u32) {
        match self.replicated {
            true => remember_replicated(self.tables, self.service, index),
            false => remember(self.tables, self.service, index),
        };
    }
}

#[inline(always)]
const fn some(index: u32) -> Option<u32> {
    if index == NONE as u32 { None } else { Some(index) }
}

#[inline(always)]
fn plainly<T: Tables, R>(
    tables: &T,
    service: &Service,
    replicated: bool,
    act: impl FnOnce(&Plain<'_, Backends<'_, T>>) -> R,
) -> Option<R> {
    let pool = &Backends::of(tables, service)?;
    Some(act(&Plain { pool, destination: service.address, replicated }))
}

#[inline(never)]
fn remembered<T: Tables>(tables: &T, service: &Service) -> u32 {
    plainly(tables, service, false, |steps| steps.remembered()).flatten().unwrap_or(NONE as u32)
}

#[inline(never)]
fn remembered_replicated<T: Tables>(tables: &T, service: &Service) -> u32 {
    plainly(tables, service, true, |steps| steps.remembered()).flatten().unwrap_or(NONE as u32)
}

#[inline(never)]
fn shrink<T: Tables>(tables: &T, service: &Service) -> u32 {
    plainly(tables, service, true, |steps| steps.shrink()).map_or(0, |()| 1)
}

#[inline(never)]
fn is_crowded<T: Tables>(tables: &T, service: &Service, index: u32) -> u32 {
    plainly(tables, service, true, |steps| steps.is_crowded(index)).map_or(0, u32::from)
}

#[inline(never)]
fn remember<T: Tables>(tables: &T, service: &Service, index: u32) -> u32 {
    plainly(tables, service, false, |steps| steps.remember(index)).map_or(0, |()| 1)
}

#[inline(never)]
fn remember_replicated<T: Tables>(tables: &T, service: &Service, index: u32) -> u32 {
    plainly(tables, service, true, |steps| steps.remember(index)).map_or(0, |()| 1)
}

#[inline(never)]
fn by_load<T: Tables>(tables: &T, service: &Service, rule: u32) -> u32 {
    let least = match Rule::from_number((rule - BY_RULE) as u8) {
        Some(Rule::LeastConnection) => Least::Connections,
        Some(Rule::WeightedLeastConnection) => Least::WeightedConnections,
        Some(Rule::ShortestExpectedDelay) => Least::ExpectedDelay,
        Some(Rule::NeverQueue) => Least::NeverQueue,
        Some(Rule::WeightedFailover) => Least::Failover,
        Some(Rule::WeightedOverflow) => Least::Overflow,
        _ => return NONE as u32,
    };
    match Backends::of(tables, service) {
        Some(backends) => least.pick(&backends).unwrap_or(NONE as u32),
        None => NONE as u32,
    }
}

/// The index of the backend that a rule chooses, or [`NONE`].
#[inline(always)]
fn choose<T: Tables>(tables: &T, service: &Service, rule: Rule) -> u32 {
    let Some(backends) = Backends::of(tables, service) else { return NONE as u32 };
    scheduler::pick(rule, &backends, service.address).unwrap_or(NONE as u32)
}

/// The backends of a service, as its rule sees them. Whole words: the compiler joins smaller stores into ones that the verifier
/// calls misaligned.
struct Backends<'a, T> {
    tables: &'a T,
    chooser: u64,
    places: u64,
    pool: u64,
}

impl<'a, T: Tables> Backends<'a, T> {
    #[inline(always)]
    fn of(tables: &'a T, service: &Service) -> Option<Self> {
        let Chooser { places, .. } = tables.chooser(service.chooser)?;
        Some(Self { tables, chooser: service.chooser as u64, places, pool: service.pool as u64 })
    }
}

impl<T: Tables> Candidates for Backends<'_, T> {
    #[inline(always)]
    fn count(&self) -> u32 {
        Chooser::high(self.places)
    }

    #[inline(always)]
    fn candidate(&self, index: u32) -> Option<Candidate> {
        let load = self.tables.load(Chooser::low(self.places).wrapping_add(index))?;
        let Load { weight, full, .. } = load;
        Some(Candidate { weight, active: load.active(), inactive: load.inactive(), overloaded: full != 0 })
    }

    #[inline(always)]
    fn walk<V: Visitor>(&self, first: u32, visitor: &mut V) {
        self.tables.repeat(self.count(), |step| show(self, first, step, visitor));
    }

    #[inline(always)]
    fn repeat<F: FnMut(u32) -> Go>(&self, times: u32, step: F) {
        self.tables.repeat(times, step);
    }
}

impl<T: Tables> Pool for Backends<'_, T> {
    #[inline(always)]
    fn turn(&self) -> u64 {
        self.tables.turn(self.chooser as u32)
    }

    #[inline(always)]
    fn take_turn(&self, before: u64, after: u64) -> bool {
        self.tables.take_turn(self.chooser as u32, before, after)
    }

    #[inline(always)]
    fn passes(&self) -> Passes {
        // Asked again: kept here it would lie on the stack of the rules that do not take turns, too.
        let passes = self.tables.chooser(self.chooser as u32).map_or(0, |chooser| chooser.passes);
        Passes { step: Chooser::high(passes), top: Chooser::low(passes), level: false }
    }

    #[inline(always)]
    fn random(&self) -> u32 {
        self.tables.random()
    }

    #[inline(always)]
    fn now(&self) -> u64 {
        self.tables.now()
    }

    #[inline(always)]
    fn with_servers(&self, destination: Address, act: impl FnOnce(&mut Servers) -> Option<u32>) -> Option<u32> {
        self.tables.with_servers(&Destination { address: destination, pool: self.pool }, act).flatten()
    }
}
