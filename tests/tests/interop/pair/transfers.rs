//! The program that stores what the other node tells, over the kernel's own tables: records and counts of connections.

use fairway::effects::dataplane::object::Sizes;
use fairway::effects::dataplane::preallocated::Preallocated;
use fairway::effects::dataplane::{Dataplane, Records};
use fairway::exchange::directory::Kind;
use fairway::exchange::store::Store as _;
use lb_common::abi::{FlowKey6, NO_LOADS, Record, Transfer, connection_state, transfer};
use lb_common::address::Address;
use lb_common::limits::TRANSFERS;
use lb_common::packet::protocol;

const FIRST_LOAD: u32 = 16;
const POOL: u32 = 7;
/// Connections that there is room for.
const ROOM: u32 = 64;
const SYN: u16 = connection_state::SYN_RECEIVED;
const OPEN: u16 = connection_state::ESTABLISHED;

struct Kernel {
    dataplane: Dataplane,
    records: Records,
}

impl Kernel {
    fn new() -> Self {
        let preallocated = Preallocated { v4: true, v6: true };
        let sizes = Sizes { slots: 1 << 16, preallocated, ..Sizes::for_need(0, 0, ROOM) };
        let mut dataplane = Dataplane::open(sizes).expect("the object loads");
        let records = dataplane.records().expect("descriptors");
        Self { dataplane, records }
    }

    fn tell(&mut self, it: Transfer) {
        self.records.transfer(&it).expect("there is room to wait");
        self.records.settle().expect("there is room in the table");
    }

    /// By the program, or step by step, as what it cannot store is stored.
    fn tell_by(&mut self, is_by_program: bool, it: Transfer) {
        if is_by_program { self.tell(it) } else { self.records.store(&it).expect("there is room in the table") }
    }

    /// Active and inactive connections of the first three backends.
    fn counts(&self) -> [[i32; 2]; 3] {
        [0, 1, 2].map(|backend| {
            let load = self.dataplane.choosers().load(FIRST_LOAD + backend).expect("there is such a load");
            [load.active_count, load.inactive_count]
        })
    }

    fn backend(&self, kind: Kind, key: &FlowKey6) -> Option<(u16, u16)> {
        self.records.get(kind, key).expect("the table is read").map(|record| (record.backend, record.state))
    }
}

fn key(is_v4: bool, number: u32, protocol: u8) -> FlowKey6 {
    let address = |last: u32| match is_v4 {
        true => Address::from_v4_wire(last),
        false => Address { high: 1, low: last.into() },
    };
    FlowKey6 { source: address(number), destination: address(9), ports_wire: 5, protocol: protocol.into() }
}

fn told(key: FlowKey6, backend: u16, state: u16, action: u32) -> Transfer {
    Transfer { key, record: Record { last_seen: 1, pool: POOL, backend, state }, first_load: FIRST_LOAD, action }
}

#[test]
fn a_connection_is_counted_by_what_was_recorded_of_it_before() {
    let mut kernel = Kernel::new();
    for (is_v4, is_by_program) in [(true, true), (true, false), (false, true), (false, false)] {
        let key = key(is_v4, 1, protocol::TCP);
        for (backend, state, action, there, counts) in [
            (0, SYN, transfer::PUT, Some((0, SYN)), [[0, 1], [0, 0], [0, 0]]),
            (0, SYN, transfer::PUT, Some((0, SYN)), [[0, 1], [0, 0], [0, 0]]),
            (0, OPEN, transfer::PUT, Some((0, OPEN)), [[1, 0], [0, 0], [0, 0]]),
            (1, OPEN, transfer::PUT, Some((1, OPEN)), [[0, 0], [1, 0], [0, 0]]),
            (2, SYN, transfer::ADD, Some((1, OPEN)), [[0, 0], [1, 0], [0, 0]]),
            (0, 0, transfer::REMOVE, None, [[0, 0]; 3]),
            (0, 0, transfer::REMOVE, None, [[0, 0]; 3]),
            (2, SYN, transfer::ADD, Some((2, SYN)), [[0, 0], [0, 0], [0, 1]]),
            (0, 0, transfer::REMOVE, None, [[0, 0]; 3]),
        ] {
            kernel.tell_by(is_by_program, told(key, backend, state, action));
            let case =
                format!("backend {backend}, state {state}, action {action}, IPv4 {is_v4}, program {is_by_program}");
            assert_eq!(kernel.backend(Kind::Connection, &key), there, "{case}");
            assert_eq!(kernel.counts(), counts, "{case}");
        }
    }
}

#[test]
fn last_words_say_when_a_flow_was_heard_of_last_and_nothing_else_of_a_record_that_is_there() {
    let mut kernel = Kernel::new();
    for is_by_program in [true, false] {
        let key = key(true, 1, protocol::TCP);
        kernel.tell(told(key, 1, OPEN, transfer::PUT));
        for (backend, last_seen, heard) in [(1, 5, 5), (1, 3, 5), (2, 9, 5), (1, 7, 7)] {
            let mut it = told(key, backend, SYN, transfer::ADD);
            it.record.last_seen = last_seen;
            kernel.tell_by(is_by_program, it);
            let record = kernel.records.get(Kind::Connection, &key).expect("the table is read").expect("it is there");
            let there = Record { last_seen: heard, pool: POOL, backend: 1, state: OPEN };
            assert_eq!(record, there, "backend {backend}, heard of at {last_seen}, program {is_by_program}");
        }
        kernel.tell(told(key, 1, OPEN, transfer::REMOVE));
    }
}

#[test]
fn records_of_another_pool_and_of_services_without_state_are_not_counted() {
    let mut kernel = Kernel::new();
    for is_v4 in [true, false] {
        for (protocol, kind) in [(protocol::TCP, Kind::Tcp), (protocol::UDP, Kind::Udp)] {
            let key = key(is_v4, 1, protocol);
            let without = |action| Transfer { first_load: NO_LOADS, ..told(key, 1, OPEN, action) };
            kernel.tell(without(transfer::PUT));
            assert_eq!(kernel.backend(kind, &key), Some((1, OPEN)));
            assert_eq!(kernel.backend(Kind::Connection, &key), None);
            kernel.tell(without(transfer::REMOVE));
            assert_eq!(kernel.backend(kind, &key), None);
        }
    }
    assert_eq!(kernel.counts(), [[0, 0]; 3]);
    let flow = key(true, 1, protocol::TCP);
    let mut other = told(flow, 1, OPEN, transfer::PUT);
    (other.record.pool, other.first_load) = (POOL + 1, FIRST_LOAD + 1);
    kernel.tell(other);
    kernel.tell(told(flow, 1, OPEN, transfer::PUT));
    assert_eq!(kernel.counts(), [[0, 0], [1, 0], [1, 0]], "that of another pool stays counted there");
}

#[test]
fn what_fits_is_stored_and_counted_and_the_rest_is_an_error() {
    let mut kernel = Kernel::new();
    let flows = 2 * ROOM;
    assert!(flows as usize > 2 * TRANSFERS, "several calls");
    let told = (0..flows).map(|number| told(key(true, number, protocol::TCP), 0, OPEN, transfer::PUT));
    let results: Vec<_> = told.map(|it| kernel.records.transfer(&it)).collect();
    let last = kernel.records.settle();
    assert!(results.iter().chain([&last]).any(Result::is_err), "the table is full");
    let stored = (0..flows).filter(|&it| kernel.backend(Kind::Connection, &key(true, it, protocol::TCP)).is_some());
    let stored = i32::try_from(stored.count()).expect("not many");
    assert_eq!(stored, ROOM as i32);
    assert_eq!(kernel.counts(), [[stored, 0], [0, 0], [0, 0]]);
}
