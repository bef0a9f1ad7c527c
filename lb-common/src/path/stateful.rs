//! Which backend has a flow of a stateful service? Its record says; a new flow is given one by the service's rule, and recorded.
//!
//! These services have a flow table, and the counts of their connections, apart from all others: however many flows they have, no
//! exception of another service is refused a record for it.
//!
//! What has no record and does not begin a connection is dropped while records may be on their way from the node that was master; else it, and what could not be recorded for want of room, is left to the
//! lookup table, as if the service were a stateless one: it stays with what the table says, unrecorded. Datagrams always begin
//! one; of those that found no room the next may find some, and another backend with it.
//!
//! A service may remember its clients too (*persistence*; IPVS: templates): who comes back gets the backend that it had, by any
//! listener, whatever the rule says and however full that backend is; unless it is gone or without weight (IPVS does the latter with
//! `expire_quiescent_template`). A new flow makes its client young again. Who is remembered is so for as long as the table has
//! it: user space forgets a client that was silent for too long and has no connection.
//!
//! Flows of other services pay one test of a bit for this. The kernel runs it as a function that the verifier walks once, whatever the
//! path before has been ([`Tables::owner`]), and in parts that follow one another: a program has 512 octets of stack, of which
//! the path before has taken most.

use super::{Inserted, Step, Tables, access, is_alive};
use crate::abi::{Chooser, ClientKey, Destination, Load, Record, Service, connection_state, service_flags};
use crate::address::Address;
use crate::connection::{self, Counted, Timeouts};
use crate::counters::Reason;
use crate::flow::Flow;
use crate::packet::protocol;
use crate::packet::transport::{Flags, Signal};
use crate::scheduler::least::Least;
use crate::scheduler::locality::{self, Plain, Servers, Steps};
use crate::scheduler::thresholds::Thresholds;
use crate::scheduler::turns::Passes;
use crate::scheduler::{self, Candidate, Candidates, Go, Pool, Rule, Visitor, show};
use crate::slot::NONE;

/// The lookup table decides.
pub const BY_TABLE: u32 = u32::MAX;
/// The same, since there was no room for a record.
pub const UNRECORDED: u32 = u32::MAX - 1;
/// The client may not come to the service.
pub const DENIED: u32 = u32::MAX - 2;
/// Added to the index of a backend: it was recorded just now.
const NEW: u32 = 1 << 16;
/// Added to the index of a backend: it has this datagram, and no other.
const ALONE: u32 = 1 << 17;
/// A backend is to be chosen by a rule, whose number is added to this.
const BY_RULE: u32 = 1 << 18;
/// Added to that: unless the client has one.
const OF_CLIENT: u32 = 1 << 8;

/// The index of the backend that a packet goes to, [`NONE`] if there is none that takes it; or `None`: the lookup table says.
#[inline(always)]
pub fn backend<T: Tables>(tables: &T, service: &Service, flow: &Flow, flags: Flags) -> Option<u16> {
    let owner = tables.owner(service, flow, Some(flags));
    let backend = owner as u16;
    match owner {
        BY_TABLE => return None,
        UNRECORDED => {
            tables.trace(Step::Refused);
            return None;
        }
        ALONE.. => tables.trace(Step::Chosen(backend)),
        NEW.. => tables.trace(Step::NewRecord(backend)),
        _ if backend != NONE => tables.trace(Step::Recorded(backend)),
        _ => {}
    }
    Some(backend)
}

/// The same of the flow that an ICMP error quotes, if its client may come to the service at all; a service without state is asked too.
#[inline(always)]
pub fn backend_of_quoted<T: Tables>(tables: &T, service: &Service, flow: &Flow) -> Result<Option<u16>, Reason> {
    match tables.owner(service, flow, None) {
        DENIED => {
            tables.trace(Step::Admission(access::DENIED));
            Err(Reason::Denied)
        }
        BY_TABLE => Ok(None),
        owner => {
            tables.trace(Step::Recorded(owner as u16));
            Ok(Some(owner as u16))
        }
    }
}

/// See [`backend`]; as a number. `flags` are `None` for the packet that an ICMP error quotes: looked up, never changed.
#[inline(always)]
pub fn owner<T: Tables>(tables: &T, service: &Service, flow: &Flow, flags: Option<Flags>) -> u32 {
    let Some(flags) = flags else {
        return if access::admits_quoted(tables, service, flow) { recorded(tables, service, flow) } else { DENIED };
    };
    let known = known(tables, service, flow, flags.signal());
    if !(BY_RULE..UNRECORDED).contains(&known) {
        return known;
    }
    let chosen = match known & OF_CLIENT {
        0 => by_rule(tables, service, known),
        _ => by_client(tables, service, flow, known),
    };
    if chosen == NONE as u32 || chosen == UNRECORDED {
        chosen
    } else if is_alone(service, flow) {
        ALONE | chosen
    } else {
        begin(tables, service, flow, chosen)
    }
}

/// The index of the backend that a rule names, [`NONE`] if there is none.
#[inline(always)]
fn by_rule<T: Tables>(tables: &T, service: &Service, known: u32) -> u32 {
    let rule = BY_RULE + (known & 0xff);
    match Rule::from_number(rule as u8) {
        Some(Rule::RoundRobin | Rule::WeightedRoundRobin) => by_turns(tables, service, rule),
        Some(Rule::WeightedRandomTwos) => by_lot(tables, service),
        Some(Rule::Locality) => by_locality(tables, service, false),
        Some(Rule::ReplicatedLocality) => by_locality(tables, service, true),
        _ => by_load(tables, service, rule),
    }
}

/// The same, or the backend that the client has had; [`UNRECORDED`] if it could not be remembered.
#[inline(always)]
fn by_client<T: Tables>(tables: &T, service: &Service, flow: &Flow, known: u32) -> u32 {
    let had = had(tables, service, flow);
    if had != NONE as u32 {
        return had;
    }
    let chosen = by_rule(tables, service, known);
    if chosen == NONE as u32 { chosen } else { keep(tables, service, flow, chosen) }
}

/// The index of the backend that a client has had, and that may have more of it; else [`NONE`].
#[inline(never)]
fn had<T: Tables>(tables: &T, service: &Service, flow: &Flow) -> u32 {
    let Some(chooser) = &tables.chooser(service.chooser) else { return NONE as u32 };
    let now = tables.now();
    let had = tables.with_client(&ClientKey::of(service, flow.source), |record| {
        record.last_seen = now;
        record.backend
    });
    match had {
        Some(backend) if takes_clients(tables, service, chooser, backend) => backend as u32,
        _ => NONE as u32,
    }
}

/// Remembers the backend of a client. Whose it is then: another CPU may have been first.
#[inline(never)]
fn keep<T: Tables>(tables: &T, service: &Service, flow: &Flow, chosen: u32) -> u32 {
    let Some(chooser) = &tables.chooser(service.chooser) else { return BY_TABLE };
    let client = ClientKey::of(service, flow.source);
    let record = Record { last_seen: tables.now(), pool: service.pool, backend: chosen as u16, state: 0 };
    match tables.insert_client(&client, record) {
        Inserted::Done => chosen,
        Inserted::Exists => {
            let other = tables.with_client(&client, |old| old.backend).unwrap_or(NONE);
            if takes_clients(tables, service, chooser, other) {
                return other as u32;
            }
            tables.with_client(&client, |old| *old = record);
            chosen
        }
        Inserted::Full => {
            tables.note_unrecorded();
            UNRECORDED
        }
    }
}

/// Whether a backend gets new flows of clients that it has had: full or not, while it has weight and is not dead.
#[inline(always)]
fn takes_clients<T: Tables>(tables: &T, service: &Service, chooser: &Chooser, backend: u16) -> bool {
    tables.load(chooser.first_load().wrapping_add(backend as u32)).is_some_and(|load| load.weight > 0)
        && tables.row(service.first_row.wrapping_add(backend as u32)).is_some_and(is_alive)
}

/// Whether every datagram of a flow is a flow of its own, for which a backend is chosen and nothing recorded.
#[inline(always)]
fn is_alone(service: &Service, flow: &Flow) -> bool {
    service.flags & service_flags::ONE_PACKET != 0 && flow.protocol == protocol::UDP
}

/// The index of the backend that a record names, [`BY_TABLE`], or [`BY_RULE`] and more for a flow that begins here.
#[inline(never)]
fn known<T: Tables>(tables: &T, service: &Service, flow: &Flow, signal: Signal) -> u32 {
    let Some(chooser) = &tables.chooser(service.chooser) else { return BY_TABLE };
    if !is_alone(service, flow) {
        let now = tables.now();
        let known = tables.with_connection(flow, |record| follow(tables, service, chooser, record, signal, now));
        if let Some(Some((backend, change))) = known {
            if change != Counted::default() {
                count(tables, chooser, backend, change);
                // How else a connection goes on, the other node may hear of later.
                if change.active > 0 {
                    let (pool, state) = (service.pool, connection_state::ESTABLISHED);
                    tables.tell_record(flow, Record { last_seen: now, pool, backend, state }, true);
                }
            }
            return backend as u32;
        }
    }
    if chooser.rule == 0 {
        return BY_TABLE;
    }
    if protocol::has_openings(flow.protocol) && !matches!(signal, Signal::Opens) {
        return if tables.awaits_records(service.live) { NONE as u32 } else { BY_TABLE };
    }
    let of_client = if chooser.persistence != 0 { OF_CLIENT } else { 0 };
    BY_RULE + (chooser.rule & 0xff) + of_client
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

/// The index of the backend of the flow that an ICMP error quotes, or [`BY_TABLE`]: looked up, never changed.
#[inline(never)]
fn recorded<T: Tables>(tables: &T, service: &Service, flow: &Flow) -> u32 {
    if service.chooser == 0 {
        return BY_TABLE;
    }
    let Some(chooser) = &tables.chooser(service.chooser) else { return BY_TABLE };
    let now = tables.now();
    let known = tables.with_connection(flow, |it| holds(tables, service, chooser, it, now).then_some(it.backend));
    known.flatten().map_or(BY_TABLE, |backend| backend as u32)
}

/// Notes a packet of a recorded flow: its backend and what changes of the counts; `None` if the record holds no longer.
#[inline(always)]
fn follow<T: Tables>(
    tables: &T,
    service: &Service,
    chooser: &Chooser,
    record: &mut Record,
    signal: Signal,
    now: u64,
) -> Option<(u16, Counted)> {
    // Without a rule nothing would take the place of the record, and data after the SYN would find it again.
    let begins_anew = chooser.rule != 0 && matches!(signal, Signal::Opens) && connection::is_over(record.state);
    if begins_anew || !holds(tables, service, chooser, record, now) {
        return None;
    }
    let before = record.state;
    record.last_seen = now;
    record.state = connection::next_state(before, signal);
    Some((record.backend, Counted::change(before, record.state)))
}

/// Whether a record still says whose the flow is: of this pool, not silent for too long, and its backend not dead.
#[inline(always)]
fn holds<T: Tables>(tables: &T, service: &Service, chooser: &Chooser, record: &Record, now: u64) -> bool {
    let timeouts = Timeouts::new(service.idle_timeout, chooser);
    record.pool == service.pool
        && connection::is_fresh(record, now, timeouts)
        && tables.row(service.first_row.wrapping_add(record.backend as u32)).is_some_and(is_alive)
}

/// Records a new flow for a backend; whose it is then, as [`owner`] says it.
#[inline(never)]
fn begin<T: Tables>(tables: &T, service: &Service, flow: &Flow, chosen: u32) -> u32 {
    let Some(chooser) = &tables.chooser(service.chooser) else { return BY_TABLE };
    let (now, backend) = (tables.now(), chosen as u16);
    let state = connection::first_state(protocol::has_openings(flow.protocol));
    let record = Record { last_seen: now, pool: service.pool, backend, state };
    match tables.insert_connection(flow, record) {
        Inserted::Done => {}
        Inserted::Exists => {
            let other = tables.with_connection(flow, |old| replace(tables, service, chooser, old, record));
            if let Some(Some(other)) = other {
                return other as u32;
            }
            tables.tell_record(flow, record, true);
        }
        Inserted::Full => {
            tables.note_unrecorded();
            return UNRECORDED;
        }
    }
    count(tables, chooser, backend, Counted::one(state));
    fill(tables, chooser, backend);
    NEW | backend as u32
}

/// Puts a record in the place of one that holds no longer. If it does, another CPU had a packet of the same flow a moment
/// earlier: its decision stands.
#[inline(always)]
fn replace<T: Tables>(
    tables: &T,
    service: &Service,
    chooser: &Chooser,
    old: &mut Record,
    record: Record,
) -> Option<u16> {
    if !connection::is_over(old.state) && holds(tables, service, chooser, old, record.last_seen) {
        return Some(old.backend);
    }
    // Of another pool, it was counted where nobody counts any more.
    if old.pool == service.pool {
        count(tables, chooser, old.backend, Counted::one(old.state).ended());
    }
    *old = record;
    None
}

#[inline(always)]
fn count<T: Tables>(tables: &T, chooser: &Chooser, backend: u16, change: Counted) {
    if change != Counted::default() {
        tables.count_connections(chooser.first_load().wrapping_add(backend as u32), change);
    }
}

/// Closes a backend that has reached its upper threshold with a new flow.
#[inline(always)]
fn fill<T: Tables>(tables: &T, chooser: &Chooser, backend: u16) {
    let index = chooser.first_load().wrapping_add(backend as u32);
    let Some(load) = tables.load(index) else { return };
    let Load { upper, lower, .. } = load;
    if upper != 0 && load.full == 0 && (Thresholds { upper, lower }).is_full(false, load.connections()) {
        tables.close(index);
    }
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
