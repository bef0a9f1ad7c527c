//! What the packet path writes, in both homes: counters, records, fragments. Read, seeded and cleared between cases.

use std::collections::BTreeMap;

use fairway::effects::dataplane::FlowTable;
use fairway::native::NativeTables;
use fairway::reconcile::image::Image;
use fairway::reconcile::write::Write;
use lb_common::abi::{Counters, FlowKey4, FlowKey6, Load, Record, Signs, record_state};
use lb_common::address::Address;
use lb_common::connection::Counted;
use lb_common::counters::Reason;
use lb_common::flow::SECOND;
use lb_common::limits::SLOTS_PER_ELEMENT;
use lb_common::path::signs::Sign;
use lb_common::probe::place;
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
    let clients: Vec<_> = maps.buckets.keys().collect::<Result<_, _>>().expect("nobody else writes");
    clients.iter().for_each(|key| maps.buckets.remove(key).expect("it was there"));
    let fragments: Vec<_> = kernel.fragments.keys().collect::<Result<_, _>>().expect("nobody else writes");
    for key in fragments {
        kernel.fragments.remove(&key).expect("it was there");
    }
}

fn clear<const K: usize>(table: &mut FlowTable<K>)
where
    [u8; K]: aya::Pod,
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
}

impl Totals {
    /// What the kernel has counted so far.
    pub fn read(kernel: &Kernel) -> Self {
        let row = |index| (index, kernel.maps.counters(index).expect("a row"));
        let reason = |reason: &Reason| (*reason, kernel.maps.reason(*reason).expect("a reason"));
        let signs = |index| (index, kernel.maps.signs(index).expect("a row"));
        Self {
            rows: (0..world::ROWS).map(row).collect(),
            reasons: Reason::ALL.iter().map(reason).collect(),
            signs: (0..world::ROWS).map(signs).collect(),
        }
        .trimmed()
    }

    /// What was counted natively.
    pub fn of(native: &NativeTables) -> Self {
        Self {
            rows: native.counters.borrow().clone(),
            reasons: native.reasons.borrow().clone(),
            signs: native.signs.borrow().clone(),
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

    fn trimmed(mut self) -> Self {
        self.rows.retain(|_, counters| *counters != Counters::default());
        self.reasons.retain(|_, count| *count != 0);
        self.signs.values_mut().for_each(|signs| signs.syn_retransmissions = 0);
        self.signs.retain(|_, signs| *signs != Signs::default());
        self
    }
}
