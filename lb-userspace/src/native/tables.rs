//! The tables in plain memory, behind the trait that the packet path asks.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::IpAddr;

use ipnet::{IpNet, Ipv4Net};
use lb_common::abi::{
    ALWAYS_LIVE, Access, BucketKey, Chooser, ClientKey, Counters, Destination, Displacements, FlowKey6, FragmentEntry,
    FragmentKey, Load, ProbeTarget, QuicCounters, Ranges, Record, Recorded, Reverse, Root, Row, ServerKey, Service,
    Signs, Sources, Translated, Translation, Tunnel, admission, root_flags,
};
use lb_common::access::Limit;
use lb_common::address::Address;
use lb_common::connection::Counted;
use lb_common::counters::Reason;
use lb_common::flow::Flow;
use lb_common::limits::{ANSWERS_PER_SECOND, LIVE_WORDS, SLOTS_PER_ELEMENT};
use lb_common::packet::Packet;
use lb_common::path::quic::By;
use lb_common::path::signs::Sign;
use lb_common::path::translation::{self, Work};
use lb_common::path::{Inserted, Route, RouteQuery, Step, Tables, own_client};
use lb_common::scheduler::Go;
use lb_common::scheduler::locality::Servers;
use lb_common::scheduler::thresholds::Thresholds;
use lb_common::scheduler::turns::{Passes, Turn};
use lb_common::slot::Slot;

use super::words::words;
use crate::exchange::store::Fresh;
use crate::reconcile::image::Image;
use crate::reconcile::write::Write;

/// Identifies a flow of either family.
pub type FlowId = FlowKey6;

/// A step of a packet, in words.
pub type TraceLine = String;

/// The tables user space writes (an [`Image`]), and those the packet path writes.
pub struct NativeTables {
    /// What the maps hold.
    pub image: Image,
    /// Indices of the live words that are 1.
    pub live: BTreeSet<u32>,
    /// Those of which records may still be on their way.
    pub awaiting: BTreeSet<u32>,
    /// Names of virtual routers by the index of their live word, for `steps`.
    pub routers: BTreeMap<u32, String>,
    /// Records of flows, of all protocols together, since their keys differ.
    pub flows: RefCell<BTreeMap<FlowId, Record>>,
    /// Records that fit.
    pub flow_capacity: usize,
    /// Records of flows of stateful services.
    pub connections: RefCell<BTreeMap<FlowId, Record>>,
    /// Of these, so many fit.
    pub connection_capacity: usize,
    /// What backends of stateful services have, and whether they are full, by load.
    pub loads: RefCell<BTreeMap<u32, (Counted, bool)>>,
    /// What is remembered of clients; as many fit as records of connections.
    pub clients: RefCell<BTreeMap<ClientKey, Record>>,
    /// Who is remembered for destinations, under rules of locality.
    pub destinations: RefCell<BTreeMap<Destination, Servers>>,
    /// Whose turn it is, by chooser.
    pub turns: RefCell<BTreeMap<u32, u64>>,
    /// When the buckets of services are full again, by their access rules.
    pub service_buckets: RefCell<BTreeMap<u32, u64>>,
    /// When those of clients are.
    pub client_buckets: RefCell<BTreeMap<BucketKey, u64>>,
    /// Where the random numbers have come to.
    pub random: Cell<u64>,
    /// Flows of stateful services that could not be recorded.
    pub unrecorded: Cell<u64>,
    /// What packets of translated flows become.
    pub translations: RefCell<BTreeMap<FlowId, Translation>>,
    /// Of these, so many fit.
    pub translation_capacity: usize,
    /// What was recorded while the root says that another node is to know.
    pub recorded: RefCell<VecDeque<Fresh>>,
    /// What is to be translated.
    pub work: Cell<Work>,
    /// Packets that do not fit into a tunnel and will be answered yet.
    pub answers: Cell<u32>,
    /// Per row.
    pub counters: RefCell<BTreeMap<u32, Counters>>,
    /// What packets went by, per place of services that go by connection IDs.
    pub quic_counters: RefCell<BTreeMap<u32, QuicCounters>>,
    /// Signs that backends do not do well, per row.
    pub signs: RefCell<BTreeMap<u32, Signs>>,
    /// Marks of SYNs, by place.
    pub syn_marks: RefCell<BTreeMap<u32, u64>>,
    /// Per reason.
    pub reasons: RefCell<BTreeMap<Reason, u64>>,
    /// The time that the packet path sees, in nanoseconds.
    pub clock: Cell<u64>,
    /// Time of the last refusal, per slot element.
    pub refusals: RefCell<BTreeMap<u32, u64>>,
    /// First fragments.
    pub fragments: RefCell<BTreeMap<FragmentKey, FragmentEntry>>,
    /// The host's routes: by destination. To all others it has none, which reads as [`Route::Local`].
    pub routes: BTreeMap<IpAddr, Route>,
    /// VLAN interfaces: the interface below and the tags.
    pub vlans: BTreeMap<u32, (u32, [u32; 2])>,
    /// Targets of probes under way, by [`lb_common::probe::place`].
    pub probes: BTreeMap<u32, u32>,
    /// Whom probes ask, by number.
    pub probe_targets: BTreeMap<u32, ProbeTarget>,
    /// Room for frames handed to user space, and where the IP header of each one handed over starts.
    pub hand_over_capacity: usize,
    /// See [`Self::hand_over_capacity`].
    pub handed_over: RefCell<Vec<usize>>,
    /// Whether `steps` is kept.
    pub traced: bool,
    /// What the packets went through.
    pub steps: RefCell<Vec<TraceLine>>,
}

impl NativeTables {
    /// The packet path's tables are empty.
    pub fn new(image: Image, flow_capacity: usize) -> Self {
        Self {
            image,
            live: BTreeSet::from([ALWAYS_LIVE]),
            awaiting: BTreeSet::new(),
            routers: BTreeMap::new(),
            flows: RefCell::default(),
            flow_capacity,
            connections: RefCell::default(),
            connection_capacity: flow_capacity,
            loads: RefCell::default(),
            clients: RefCell::default(),
            destinations: RefCell::default(),
            turns: RefCell::default(),
            service_buckets: RefCell::default(),
            client_buckets: RefCell::default(),
            random: Cell::new(1),
            unrecorded: Cell::new(0),
            translations: RefCell::default(),
            translation_capacity: flow_capacity.saturating_mul(2),
            recorded: RefCell::default(),
            work: Cell::default(),
            answers: Cell::new(ANSWERS_PER_SECOND),
            counters: RefCell::default(),
            quic_counters: RefCell::default(),
            signs: RefCell::default(),
            syn_marks: RefCell::default(),
            reasons: RefCell::default(),
            clock: Cell::new(0),
            refusals: RefCell::default(),
            fragments: RefCell::default(),
            routes: BTreeMap::new(),
            vlans: BTreeMap::new(),
            probes: BTreeMap::new(),
            probe_targets: BTreeMap::new(),
            hand_over_capacity: usize::MAX,
            handed_over: RefCell::default(),
            traced: false,
            steps: RefCell::default(),
        }
    }

    /// Carries out one write, also on the records of flows.
    pub fn apply(&mut self, write: &Write) {
        if let Write::ChangeAccess(index, access) = write
            && self.image.access[*index as usize].limit != access.limit
        {
            self.service_buckets.get_mut().remove(index);
        }
        self.image.apply(write);
        let loads = self.loads.get_mut();
        match write {
            Write::Forget(dead) => {
                let is_alive = |record: &Record| !dead.contains(&(record.pool, record.backend));
                self.flows.get_mut().retain(|_, record| is_alive(record));
                self.connections.get_mut().retain(|_, record| is_alive(record));
                self.clients.get_mut().retain(|_, record| is_alive(record));
                self.destinations.get_mut().retain(|destination, servers| {
                    !servers.members.iter().any(|member| dead.contains(&(destination.pool as u32, *member)))
                });
            }
            Write::ClearLoads(first, count) => loads.retain(|load, _| !(*first..first + count).contains(load)),
            Write::MoveLoads { from, to, count } => {
                for index in 0..*count {
                    if let Some(load) = loads.get(&(from + index)).copied() {
                        loads.insert(to + index, load);
                    }
                }
            }
            Write::Recount(load, change) => {
                add(loads, *load, *change);
                self.judge(*load);
            }
            Write::Load(load, _) => self.judge(*load),
            Write::Chooser(chooser, _) => drop(self.turns.get_mut().remove(chooser)),
            Write::Access(index, _) => drop(self.service_buckets.get_mut().remove(index)),
            Write::ClearQuic(place) => drop(self.quic_counters.get_mut().remove(&u32::from(*place))),
            Write::RestartTurns(chooser) => {
                let settings = self.image.choosers[*chooser as usize];
                let passes = Passes { step: settings.step(), top: settings.top(), level: false };
                let turn = self.turns.get_mut().entry(*chooser).or_default();
                *turn = Turn::from_word(*turn).restarted(passes).word();
            }
            Write::Row(..)
            | Write::Tunnel(..)
            | Write::TunnelRoom(..)
            | Write::RowMac(..)
            | Write::RowState(..)
            | Write::RowMethod(..)
            | Write::Slots(..)
            | Write::Slot(..)
            | Write::Half(_)
            | Write::Flip(_)
            | Write::Exclude(..)
            | Write::Include(..)
            | Write::Admit(..)
            | Write::Unadmit(..)
            | Write::ChangeAccess(..)
            | Write::ChangeChooser(..)
            | Write::ServerId(..)
            | Write::ForgetServerId(_)
            | Write::Grace => {}
        }
    }
}

impl NativeTables {
    /// Tells of what was recorded, if another node is to know.
    fn tell(&self, fresh: Fresh) {
        if self.image.root.word & root_flags::EXCHANGE != 0 {
            self.recorded.borrow_mut().push_back(fresh);
        }
    }

    /// Says whether the backend of a load is full as things are now.
    fn judge(&mut self, load: u32) {
        let Load { upper, lower, .. } = self.image.loads[load as usize];
        if let Some((Counted { active, inactive }, full)) = self.loads.get_mut().get_mut(&load) {
            let connections = u32::try_from(*active + *inactive).unwrap_or(0);
            *full = (Thresholds { upper, lower }).is_full(*full, connections);
        }
    }
}

impl Tables for NativeTables {
    fn root(&self) -> Option<&Root> {
        Some(&self.image.root)
    }

    fn displacements(&self, half: u32) -> Option<&Displacements> {
        self.image.displacements.get(half as usize)
    }

    fn service(&self, index: u32) -> Option<&Service> {
        self.image.services.get(index as usize)
    }

    fn reverse(&self, index: u32) -> Option<&Reverse> {
        self.image.reverse.get(index as usize)
    }

    fn ranges(&self, index: u32) -> Option<&Ranges> {
        self.image.ranges.get(index as usize)
    }

    fn is_live(&self, index: u32) -> bool {
        index < LIVE_WORDS && self.live.contains(&index)
    }

    fn awaits_records(&self, index: u32) -> bool {
        index < LIVE_WORDS && self.awaiting.contains(&index)
    }

    fn slot(&self, index: u32) -> Option<Slot> {
        self.image.slots.get(index as usize).copied().map(Slot)
    }

    fn row(&self, index: u32) -> Option<&Row> {
        self.image.rows.get(index as usize)
    }

    fn tunnel(&self, row: u32) -> Option<&Tunnel> {
        self.image.tunnels.get(&row)
    }

    fn may_answer(&self) -> bool {
        let left = self.answers.get();
        self.answers.set(left.saturating_sub(1));
        left > 0
    }

    fn count(&self, row: u32, bytes: u32, opens: bool) {
        let mut counters = self.counters.borrow_mut();
        let counters = counters.entry(row).or_default();
        counters.packets += 1;
        counters.bytes += u64::from(bytes);
        counters.connections += u64::from(opens);
    }

    fn note_sign(&self, row: u32, sign: Sign) {
        let mut signs = self.signs.borrow_mut();
        let signs = signs.entry(row).or_default();
        *match sign {
            Sign::SynRetransmission => &mut signs.syn_retransmissions,
            Sign::Reset => &mut signs.resets,
            Sign::Unreachable => &mut signs.unreachables,
        } += 1;
    }

    fn mark_syn(&self, place: u32, mark: u64) -> u64 {
        self.syn_marks.borrow_mut().insert(place, mark).unwrap_or(0)
    }

    fn count_reason(&self, reason: Reason) {
        *self.reasons.borrow_mut().entry(reason).or_default() += 1;
    }

    fn now(&self) -> u64 {
        self.clock.get()
    }

    fn with_record<R>(&self, flow: &Flow, act: impl FnOnce(&mut Record) -> R) -> Option<R> {
        self.flows.borrow_mut().get_mut(&flow.key6()).map(act)
    }

    fn insert_record(&self, flow: &Flow, record: Record) -> Inserted {
        let mut flows = self.flows.borrow_mut();
        if flows.contains_key(&flow.key6()) {
            return Inserted::Exists;
        }
        if flows.len() >= self.flow_capacity {
            return Inserted::Full;
        }
        flows.insert(flow.key6(), record);
        self.tell(Fresh::Flow(Recorded { key: flow.key6(), record, stateful: 0 }));
        Inserted::Done
    }

    fn note_refusal(&self, slot: u32, now: u64) {
        self.refusals.borrow_mut().insert(slot / SLOTS_PER_ELEMENT as u32, now);
    }

    fn server(&self, key: &ServerKey) -> Option<u32> {
        self.image.server_ids.get(key).copied().map(u32::from)
    }

    fn count_quic(&self, place: u32, by: By) {
        let mut counters = self.quic_counters.borrow_mut();
        let counters = counters.entry(place).or_default();
        *match by {
            By::ConnectionId => &mut counters.routed,
            By::TableAtBeginning => &mut counters.beginning,
            By::Table => &mut counters.unknown,
        } += 1;
    }

    fn access(&self, index: u32) -> Option<Access> {
        self.image.access.get(index as usize).copied()
    }

    fn prefix_admission(&self, set: u32, client: Address) -> Option<u32> {
        let client = IpAddr::from(client);
        let least = IpNet::V4(Ipv4Net::default());
        let of_set = self.image.admissions.range((set, least)..).take_while(|((number, _), _)| *number == set);
        let holding = of_set.filter(|((_, prefix), _)| prefix.contains(&client));
        let (_, allowed) = holding.max_by_key(|((_, prefix), _)| prefix.prefix_len())?;
        Some(if *allowed { admission::ALLOWED } else { admission::DENIED })
    }

    fn take_of_service(&self, access: u32, limit: Limit, now: u64) -> bool {
        take(self.service_buckets.borrow_mut().entry(access).or_default(), limit, now)
    }

    fn take_of_client(&self, client: &BucketKey, limit: Limit, now: u64) -> bool {
        take(self.client_buckets.borrow_mut().entry(*client).or_default(), limit, now)
    }

    fn chooser(&self, index: u32) -> Option<Chooser> {
        self.image.choosers.get(index as usize).copied()
    }

    fn turn(&self, chooser: u32) -> u64 {
        self.turns.borrow().get(&chooser).copied().unwrap_or(0)
    }

    fn take_turn(&self, chooser: u32, before: u64, after: u64) -> bool {
        let is_still = self.turn(chooser) == before;
        if is_still {
            self.turns.borrow_mut().insert(chooser, after);
        }
        is_still
    }

    fn random(&self) -> u32 {
        // Knuth's linear congruential generator (MMIX); its high half is random enough for a simulation.
        let next = self.random.get().wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.random.set(next);
        (next >> 32) as u32
    }

    fn load(&self, index: u32) -> Option<Load> {
        let settings = *self.image.loads.get(index as usize)?;
        let (counted, full) = self.loads.borrow().get(&index).copied().unwrap_or_default();
        let Counted { active, inactive } = counted;
        Some(Load { full: full.into(), active_count: active, inactive_count: inactive, ..settings })
    }

    fn count_connections(&self, load: u32, change: Counted) {
        add(&mut self.loads.borrow_mut(), load, change);
    }

    fn close(&self, load: u32) {
        self.loads.borrow_mut().entry(load).or_default().1 = true;
    }

    fn with_connection<R>(&self, flow: &Flow, act: impl FnOnce(&mut Record) -> R) -> Option<R> {
        self.connections.borrow_mut().get_mut(&flow.key6()).map(act)
    }

    fn insert_connection(&self, flow: &Flow, record: Record) -> Inserted {
        let mut connections = self.connections.borrow_mut();
        if connections.contains_key(&flow.key6()) {
            return Inserted::Exists;
        }
        if connections.len() >= self.connection_capacity {
            return Inserted::Full;
        }
        connections.insert(flow.key6(), record);
        self.tell(Fresh::Flow(Recorded { key: flow.key6(), record, stateful: 1 }));
        Inserted::Done
    }

    fn tell_record(&self, flow: &Flow, record: Record, stateful: bool) {
        self.tell(Fresh::Flow(Recorded { key: flow.key6(), record, stateful: stateful.into() }));
    }

    fn note_unrecorded(&self) {
        self.unrecorded.set(self.unrecorded.get() + 1);
    }

    fn with_client<R>(&self, client: &ClientKey, act: impl FnOnce(&mut Record) -> R) -> Option<R> {
        self.clients.borrow_mut().get_mut(client).map(act)
    }

    fn insert_client(&self, client: &ClientKey, record: Record) -> Inserted {
        let mut clients = self.clients.borrow_mut();
        if clients.contains_key(client) {
            return Inserted::Exists;
        }
        if clients.len() >= self.connection_capacity {
            return Inserted::Full;
        }
        clients.insert(*client, record);
        Inserted::Done
    }

    fn with_servers<R>(&self, destination: &Destination, act: impl FnOnce(&mut Servers) -> R) -> Option<R> {
        Some(act(self.destinations.borrow_mut().entry(*destination).or_default()))
    }

    fn repeat<F: FnMut(u32) -> Go>(&self, times: u32, step: F) {
        (0..times).map(step).find(|go| *go == Go::Stop);
    }

    fn sources(&self) -> Option<&Sources> {
        self.image.sources.get((self.image.root.word & root_flags::HALF) as usize)
    }

    fn with_translation<R>(&self, key: &FlowKey6, act: impl FnOnce(&mut Translation) -> R) -> Option<R> {
        self.translations.borrow_mut().get_mut(key).map(act)
    }

    fn insert_translation(&self, key: &FlowKey6, translation: &Translation) -> Inserted {
        let mut translations = self.translations.borrow_mut();
        if translations.contains_key(key) {
            return Inserted::Exists;
        }
        if translations.len() >= self.translation_capacity {
            return Inserted::Full;
        }
        translations.insert(*key, *translation);
        if translation.state != 0 {
            self.tell(Fresh::Translation(Translated { key: *key, translation: *translation }));
        }
        Inserted::Done
    }

    fn remove_translation(&self, key: &FlowKey6) {
        self.translations.borrow_mut().remove(key);
    }

    fn prepare(&self, note: impl FnOnce(&mut Work)) -> Option<()> {
        let mut work = self.work.get();
        note(&mut work);
        self.work.set(work);
        Some(())
    }

    fn carry_out<P: Packet>(&self, packet: &mut P) -> Result<u32, Reason> {
        translation::carry_out(packet, self, &mut self.work.get())
    }

    fn take_up<P: Packet>(&self, packet: &P) -> bool {
        let mut work = self.work.get();
        let taken_up = own_client::take_up(packet, self, &mut work);
        self.work.set(work);
        taken_up
    }

    fn fragment(&self, key: &FragmentKey) -> Option<FragmentEntry> {
        self.fragments.borrow().get(key).copied()
    }

    fn remember_fragment(&self, key: &FragmentKey, entry: FragmentEntry) {
        self.fragments.borrow_mut().insert(*key, entry);
    }

    fn is_excluded(&self, exclude: u32, destination: Address) -> bool {
        let destination = IpAddr::from(destination);
        self.image.excluded.iter().any(|(number, prefix)| *number == exclude && prefix.contains(&destination))
    }

    fn probed(&self, place: u32) -> Option<u32> {
        self.probes.get(&place).copied()
    }

    fn probe_target(&self, index: u32) -> Option<&ProbeTarget> {
        self.probe_targets.get(&index)
    }

    fn route(&self, query: &RouteQuery) -> Route {
        self.routes.get(&query.destination.into()).copied().unwrap_or(Route::Local)
    }

    fn vlan(&self, interface: u32) -> Option<(u32, [u32; 2])> {
        self.vlans.get(&interface).copied()
    }

    fn hand_over(&self, network: usize) -> bool {
        let mut handed_over = self.handed_over.borrow_mut();
        let fits = handed_over.len() < self.hand_over_capacity;
        if fits {
            handed_over.push(network);
        }
        fits
    }

    fn is_traced(&self) -> bool {
        self.traced
    }

    fn trace(&self, step: Step) {
        if self.traced {
            self.steps.borrow_mut().extend(words(&step, &self.routers));
        }
    }
}

/// Takes a token out of a bucket that is full again when `due`.
fn take(due: &mut u64, limit: Limit, now: u64) -> bool {
    let after = limit.take(*due, now);
    *due = after.unwrap_or(*due);
    after.is_some()
}

fn add(loads: &mut BTreeMap<u32, (Counted, bool)>, load: u32, change: Counted) {
    let (counted, _) = loads.entry(load).or_default();
    *counted = counted.plus(change);
}
