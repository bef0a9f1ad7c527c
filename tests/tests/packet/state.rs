//! What the packet path writes, in both homes: counters, records, fragments. Read, seeded and cleared between cases.

use std::collections::BTreeMap;

use fairway::effects::dataplane::FlowTable;
use fairway::native::NativeTables;
use fairway::reconcile::image::Image;
use fairway::reconcile::write::Write;
use lb_common::abi::{
    ClientKey, Counters, FlowKey4, FlowKey6, Load, QuicCounters, Record, Signs, Translation, record_state,
};
use lb_common::address::Address;
use lb_common::connection::Counted;
use lb_common::counters::Reason;
use lb_common::flow::SECOND;
use lb_common::limits::SLOTS_PER_ELEMENT;
use lb_common::path::quic::By;
use lb_common::path::signs::Sign;
use lb_common::probe::place;
use lb_common::scheduler::locality::Servers;
use zerocopy::{FromBytes as _, IntoBytes as _};

use super::kernel::{FLOWS, Kernel};
use super::world::{self, Flavour};

/// A record that is there before: of a pool, backend, state, and age in seconds.
#[derive(Clone, Copy)]
pub struct Seed {
    pub pool: u32,
    pub backend: u16,
    pub state: u16,
    pub age: u64,
}

/// What a record says afterwards: pool, backend, state.
pub type Kept = (u32, u16, u16);

/// See [`Kept`].
pub fn kept(record: &Record) -> Kept {
    (record.pool, record.backend, record.state)
}

/// Slots that the tests' tables have at most.
pub const SLOTS: u32 = 1 << 12;

/// Native tables with the host's routes and the time of the kernel.
pub fn native_tables(image: Image) -> NativeTables {
    let mut native = NativeTables::new(image, FLOWS as usize);
    native.routes = world::routes();
    native.vlans.insert(world::VLAN, (world::WAN, [world::tag_wire(world::INNER), 0]));
    for (kind, number, index, target) in world::probes() {
        native.probes.insert(place(kind, number), index);
        native.probe_targets.insert(index, target);
    }
    native.clock.set(coarse_now());
    native.live.insert(world::ROUTER);
    native
}

/// Says in both homes whether this node is live for [`world::ROUTER`].
pub fn set_live(kernel: &Kernel, native: &mut NativeTables, live: bool) {
    kernel.maps.live_words.set(world::ROUTER, live).expect("a live word");
    match live {
        true => native.live.insert(world::ROUTER),
        false => native.live.remove(&world::ROUTER),
    };
}

/// Says in both homes whether records of flows of services that follow [`world::ROUTER`] may be on their way.
pub fn set_awaiting(kernel: &Kernel, native: &mut NativeTables, awaits: bool) {
    kernel.maps.live_words.await_records(world::ROUTER, awaits).expect("a live word");
    match awaits {
        true => native.awaiting.insert(world::ROUTER),
        false => native.awaiting.remove(&world::ROUTER),
    };
}

/// The clock that the kernel's program reads.
pub fn coarse_now() -> u64 {
    let time = nix::time::clock_gettime(nix::time::ClockId::CLOCK_MONOTONIC_COARSE).expect("a clock every Linux has");
    time.tv_sec() as u64 * SECOND + time.tv_nsec() as u64
}

/// Records of so many strangers.
pub fn crowd(flavour: Flavour, count: usize) -> Vec<(FlowKey6, Seed)> {
    let stranger = |n: u32| FlowKey6 {
        source: flavour.stranger().into(),
        destination: flavour.stranger().into(),
        ports_wire: n,
        protocol: flavour.protocol().into(),
    };
    let seed = Seed { pool: u32::MAX, backend: 0, state: record_state::OPEN, age: 0 };
    (0u32..).map(|n| (stranger(n), seed)).take(count).collect()
}

/// Makes a record in both homes.
pub fn seed_record(kernel: &mut Kernel, native: &NativeTables, key: &FlowKey6, record: Record) {
    native.flows.borrow_mut().insert(*key, record);
    let octets: [u8; 16] = zerocopy::transmute!(record);
    let maps = &mut kernel.maps;
    let done = match (key.source.is_v4(), key.protocol == 17) {
        (true, false) => maps.flows_v4.insert(&key4(key), octets),
        (true, true) => maps.udp_flows_v4.insert(&key4(key), octets),
        (false, false) => maps.flows_v6.insert(&octets_of(key), octets),
        (false, true) => maps.udp_flows_v6.insert(&octets_of(key), octets),
    };
    done.expect("room for a record");
}

/// Makes a record of a stateful service's flow in both homes, which its load counts.
pub fn seed_connection(
    kernel: &mut Kernel,
    native: &mut NativeTables,
    key: &FlowKey6,
    record: Record,
    load: Option<u32>,
) {
    native.connections.borrow_mut().insert(*key, record);
    let octets: [u8; 16] = zerocopy::transmute!(record);
    let maps = &mut kernel.maps;
    let done = match key.source.is_v4() {
        true => maps.connections_v4.insert(&key4(key), octets),
        false => maps.connections_v6.insert(&octets_of(key), octets),
    };
    done.expect("room for a record");
    if let Some(load) = load {
        let counted = Write::Recount(load, Counted::one(record.state));
        native.apply(&counted);
        maps.apply(&counted).expect("a load");
    }
}

/// Forgets the record of a stateful service's flow in both homes.
pub fn remove_connection(kernel: &mut Kernel, native: &NativeTables, key: &FlowKey6) {
    native.connections.borrow_mut().remove(key).expect("it was there");
    let maps = &mut kernel.maps;
    let done = match key.source.is_v4() {
        true => maps.connections_v4.remove(&key4(key)),
        false => maps.connections_v6.remove(&octets_of(key)),
    };
    done.expect("it was there");
}

/// Calls a backend by another index where it is remembered for a destination, in both homes.
pub fn rename_destinations(kernel: &mut Kernel, native: &NativeTables, before: u16, after: u16) {
    let rename = |servers: &mut Servers| {
        servers.members.iter_mut().filter(|member| **member == before).for_each(|member| *member = after);
    };
    native.destinations.borrow_mut().values_mut().for_each(rename);
    let table = &mut kernel.maps.destinations;
    let all: Vec<_> = table.iter().collect::<Result<_, _>>().expect("nobody else writes");
    for (key, octets) in all {
        let mut servers = Servers::read_from_bytes(&octets).expect("40 octets");
        rename(&mut servers);
        table.insert(key, <[u8; 40]>::try_from(servers.as_bytes()).expect("40 octets"), 0).expect("it is there");
    }
}

/// Remembers a client in both homes.
pub fn seed_client(kernel: &mut Kernel, native: &NativeTables, client: &ClientKey, record: Record) {
    native.clients.borrow_mut().insert(*client, record);
    let key = client.as_bytes().try_into().expect("24 octets");
    kernel.maps.clients.insert(key, zerocopy::transmute!(record)).expect("room for a client");
}

/// The clients that the kernel's tables remember, in order, with their backends.
pub fn kernel_clients(kernel: &Kernel) -> Vec<(ClientKey, u16)> {
    let mut clients = Vec::new();
    let client = |key: &[u8; 24]| ClientKey::read_from_bytes(key).expect("24 octets");
    let backend = |record: &[u8; 16]| Record::read_from_bytes(record).expect("16 octets").backend;
    kernel.maps.clients.for_each(|key, record| clients.push((client(key), backend(record)))).expect("it can be read");
    clients.sort_unstable();
    clients
}

/// The kernel's records of stateful services, in the order of their keys.
pub fn kernel_connections(kernel: &Kernel) -> Vec<(FlowKey6, Kept)> {
    let record = |octets: &[u8; 16]| kept(&Record::read_from_bytes(octets).expect("16 octets"));
    let mut records = Vec::new();
    let v4 = &kernel.maps.connections_v4;
    v4.for_each(|key, octets| records.push((key6(*key), record(octets)))).expect("nobody else writes");
    let v6 = &kernel.maps.connections_v6;
    let key = |key: &[u8; 40]| FlowKey6::read_from_bytes(key).expect("40 octets");
    v6.for_each(|octets, value| records.push((key(octets), record(value)))).expect("nobody else writes");
    records.sort();
    records
}

/// Makes a record of a translated flow's direction in both homes.
pub fn seed_translation(kernel: &mut Kernel, native: &NativeTables, key: &FlowKey6, translation: Translation) {
    native.translations.borrow_mut().insert(*key, translation);
    let octets: [u8; 48] = zerocopy::transmute!(translation);
    let maps = &mut kernel.maps;
    let done = match key.source.is_v4() {
        true => maps.translations_v4.insert(&key4(key), octets),
        false => maps.translations_v6.insert(&octets_of(key), octets),
    };
    done.expect("room for a record");
}

/// The kernel's records of translated flows, in the order of their keys, but for when they were last heard of.
pub fn kernel_translations(kernel: &Kernel) -> Vec<(FlowKey6, Translation)> {
    let record = |octets: &[u8; 48]| timeless(&Translation::read_from_bytes(octets).expect("48 octets"));
    let mut records = Vec::new();
    let v4 = &kernel.maps.translations_v4;
    v4.for_each(|key, octets| records.push((key6(*key), record(octets)))).expect("nobody else writes");
    let v6 = &kernel.maps.translations_v6;
    let key = |key: &[u8; 40]| FlowKey6::read_from_bytes(key).expect("40 octets");
    v6.for_each(|octets, value| records.push((key(octets), record(value)))).expect("nobody else writes");
    records.sort_by_key(|(key, _)| *key);
    records
}

/// A record, but for when it was last heard of.
pub fn timeless(translation: &Translation) -> Translation {
    Translation { last_seen: 0, ..*translation }
}

/// What backends of stateful services have, by load, and whether they are full: those that have any, or are.
pub type Loads = Vec<(u32, (i32, i32, bool))>;

/// What the kernel's have.
pub fn kernel_loads(kernel: &Kernel) -> Loads {
    let load = |index: u32| kernel.maps.choosers.load(index).expect("a load");
    let has = |load: Load| (load.active_count, load.inactive_count, load.full != 0);
    (0..world::ROWS).map(|index| (index, has(load(index)))).filter(|(_, has)| *has != (0, 0, false)).collect()
}

/// What the native ones have.
pub fn native_loads(native: &NativeTables) -> Loads {
    let loads = native.loads.borrow();
    let has = loads.iter().map(|(&index, &(Counted { active, inactive }, full))| (index, (active, inactive, full)));
    has.filter(|(_, has)| *has != (0, 0, false)).collect()
}

/// The kernel's records of both families and protocols, in the order of their keys.
pub fn kernel_records(kernel: &Kernel) -> Vec<(FlowKey6, Kept)> {
    let maps = &kernel.maps;
    let record = |octets: [u8; 16]| kept(&Record::read_from_bytes(&octets).expect("16 octets"));
    let v4 = |key: &[u8; 16], octets: &[u8; 16]| (key6(*key), record(*octets));
    let v6 = |key: &[u8; 40], octets: &[u8; 16]| (FlowKey6::read_from_bytes(key).expect("40 octets"), record(*octets));
    let mut records = Vec::new();
    for table in [&maps.flows_v4, &maps.udp_flows_v4] {
        table.for_each(|key, octets| records.push(v4(key, octets))).expect("nobody else writes");
    }
    for table in [&maps.flows_v6, &maps.udp_flows_v6] {
        table.for_each(|key, octets| records.push(v6(key, octets))).expect("nobody else writes");
    }
    records.sort();
    records
}

/// Forgets all flows, fragments and refusals, and puts back the shared tables.
pub fn reset(kernel: &mut Kernel) {
    forget(kernel);
    for write in world::resting() {
        kernel.maps.apply(&write).expect("a write");
    }
    kernel.maps.live_words.set(world::ROUTER, true).expect("a live word");
    kernel.maps.live_words.await_records(world::ROUTER, false).expect("a live word");
    kernel.handed_over();
    // A refusal is told from one of an earlier case by its time.
    while latest_refusal(kernel) >= coarse_now() {
        std::thread::yield_now();
    }
}

/// When a record could last not be made.
pub fn latest_refusal(kernel: &Kernel) -> u64 {
    let elements = 0..SLOTS / SLOTS_PER_ELEMENT as u32;
    elements.map(|element| kernel.maps.refusal(element).expect("an element")).max().expect("some elements")
}

/// Forgets all flows and fragments.
pub fn forget(kernel: &mut Kernel) {
    let maps = &mut kernel.maps;
    clear(&mut maps.flows_v4);
    clear(&mut maps.udp_flows_v4);
    clear(&mut maps.flows_v6);
    clear(&mut maps.udp_flows_v6);
    clear(&mut maps.connections_v4);
    clear(&mut maps.connections_v6);
    clear(&mut maps.clients);
    let destinations: Vec<_> = maps.destinations.keys().collect::<Result<_, _>>().expect("nobody else writes");
    for key in destinations {
        maps.destinations.remove(&key).expect("it was there");
    }
    clear(&mut maps.translations_v4);
    clear(&mut maps.translations_v6);
    let clients: Vec<_> = maps.buckets.keys().collect::<Result<_, _>>().expect("nobody else writes");
    clients.iter().for_each(|key| maps.buckets.remove(key).expect("it was there"));
    let fragments: Vec<_> = kernel.fragments.keys().collect::<Result<_, _>>().expect("nobody else writes");
    for key in fragments {
        kernel.fragments.remove(&key).expect("it was there");
    }
}

fn clear<const K: usize, const V: usize>(table: &mut FlowTable<K, V>)
where
    [u8; K]: aya::Pod,
    [u8; V]: aya::Pod,
{
    let mut keys = Vec::new();
    table.for_each(|key, _| keys.push(*key)).expect("nobody else writes");
    keys.iter().try_for_each(|key| table.remove(key)).expect("nobody else writes");
}

fn octets_of(key: &FlowKey6) -> [u8; 40] {
    key.as_bytes().try_into().expect("40 octets")
}

fn key4(key: &FlowKey6) -> [u8; 16] {
    let key = FlowKey4 {
        source_wire: key.source.v4_wire(),
        destination_wire: key.destination.v4_wire(),
        ports_wire: key.ports_wire,
        protocol: key.protocol,
    };
    key.as_bytes().try_into().expect("16 octets")
}

fn key6(key: [u8; 16]) -> FlowKey6 {
    let key = FlowKey4::read_from_bytes(&key).expect("16 octets");
    FlowKey6 {
        source: Address::from_v4_wire(key.source_wire),
        destination: Address::from_v4_wire(key.destination_wire),
        ports_wire: key.ports_wire,
        protocol: key.protocol,
    }
}

/// Counters of rows, reasons and signs that are not zero.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Totals {
    pub rows: BTreeMap<u32, Counters>,
    pub reasons: BTreeMap<Reason, u64>,
    /// But for retransmissions, which are a matter of time.
    pub signs: BTreeMap<u32, Signs>,
    /// By the place of services that go by connection IDs.
    pub quic: BTreeMap<u32, QuicCounters>,
}

impl Totals {
    /// What the kernel has counted so far.
    pub fn read(kernel: &Kernel) -> Self {
        let row = |index| (index, kernel.maps.counters(index).expect("a row"));
        let reason = |reason: &Reason| (*reason, kernel.maps.reason(*reason).expect("a reason"));
        let signs = |index| (index, kernel.maps.signs(index).expect("a row"));
        let quic = |place: u16| (place.into(), kernel.maps.quic_counters(place).expect("a place"));
        Self {
            rows: (0..world::ROWS).map(row).collect(),
            reasons: Reason::ALL.iter().map(reason).collect(),
            signs: (0..world::ROWS).map(signs).collect(),
            quic: (0..16).map(quic).collect(),
        }
        .trimmed()
    }

    /// What was counted natively.
    pub fn of(native: &NativeTables) -> Self {
        Self {
            rows: native.counters.borrow().clone(),
            reasons: native.reasons.borrow().clone(),
            signs: native.signs.borrow().clone(),
            quic: native.quic_counters.borrow().clone(),
        }
        .trimmed()
    }

    /// What came since `before`.
    pub fn since(mut self, before: &Self) -> Self {
        for (row, earlier) in &before.rows {
            let now = self.rows.get_mut(row).expect("counters never go back");
            now.packets -= earlier.packets;
            now.bytes -= earlier.bytes;
            now.connections -= earlier.connections;
        }
        for (reason, earlier) in &before.reasons {
            *self.reasons.get_mut(reason).expect("counters never go back") -= earlier;
        }
        for (row, earlier) in &before.signs {
            let now = self.signs.get_mut(row).expect("counters never go back");
            now.resets -= earlier.resets;
            now.unreachables -= earlier.unreachables;
        }
        for (place, earlier) in &before.quic {
            let now = self.quic.get_mut(place).expect("counters never go back");
            now.routed -= earlier.routed;
            now.beginning -= earlier.beginning;
            now.unknown -= earlier.unknown;
        }
        self.trimmed()
    }

    /// The counter of a sign.
    pub fn sign(&mut self, row: u32, sign: Sign) -> &mut u64 {
        let signs = self.signs.entry(row).or_default();
        match sign {
            Sign::SynRetransmission => &mut signs.syn_retransmissions,
            Sign::Reset => &mut signs.resets,
            Sign::Unreachable => &mut signs.unreachables,
        }
    }

    /// The counter of what packets went by.
    pub fn went_by(&mut self, place: u16, by: By) -> &mut u64 {
        let counters = self.quic.entry(place.into()).or_default();
        match by {
            By::ConnectionId => &mut counters.routed,
            By::TableAtBeginning => &mut counters.beginning,
            By::Table => &mut counters.unknown,
        }
    }

    fn trimmed(mut self) -> Self {
        self.rows.retain(|_, counters| *counters != Counters::default());
        self.reasons.retain(|_, count| *count != 0);
        self.signs.values_mut().for_each(|signs| signs.syn_retransmissions = 0);
        self.signs.retain(|_, signs| *signs != Signs::default());
        self.quic.retain(|_, counters| *counters != QuicCounters::default());
        self
    }
}
