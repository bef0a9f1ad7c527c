//! This node took over a moment ago, and records of connections that began at the other may still be on their way: what only such a
//! record could tell the backend of is dropped, and nothing else.

use fairway_tests::packet::{Frame, flag};
use lb_common::abi::connection_state::ESTABLISHED;
use lb_common::abi::record_state::{OPEN, OPENING};
use lb_common::counters::Reason;

use super::build::Change as _;
use super::check::{Case, case, check};
use super::state::Seed;
use super::world::{FLAVOURS, Flavour, port};

#[test]
fn what_only_a_record_on_its_way_could_tell_is_dropped() {
    check(cases());
}

pub fn cases() -> Vec<Case> {
    let (tcp, udp): (Vec<_>, Vec<_>) = FLAVOURS.into_iter().partition(|f| f.tcp);
    let tcp = tcp.into_iter().flat_map(|f| stateful(f).into_iter().chain(hashed(f)));
    tcp.chain(udp.into_iter().flat_map(datagrams)).collect()
}

const AWAITED: Reason = Reason::RecordAwaited;

fn to(f: Flavour, service: u16, packet: &Frame, backend: u16) -> (Frame, u32) {
    let row = f.row(service, backend);
    (packet.at(row), row)
}

fn stateful(f: Flavour) -> Vec<Case> {
    let s = port::TURNS;
    let (data, syn) = (f.request(s), f.request(s).flags(flag::SYN));
    let (by_table, table) = to(f, s, &data, 1);
    let (known, recorded) = to(f, s, &data, 3);
    let (first, opened) = to(f, s, &syn, 0);
    let (of_first, _) = to(f, s, &data, 0);
    let seed = Seed { pool: f.row(s, 0), backend: 3, state: ESTABLISHED, age: 0 };
    let no_rule = port::NO_RULE;
    let (ruleless, old) = to(f, no_rule, &f.request(no_rule), 1);
    vec![
        case(format!("{f}: data of an unknown connection waits for its record"))
            .awaits(true)
            .drops(&data, AWAITED)
            .drops(&data.flags(flag::FIN | flag::ACK), AWAITED)
            .drops(&data.flags(flag::RST), AWAITED)
            .awaits(false)
            .forwards(&data, &by_table, table),
        case(format!("{f}: a recorded connection waits for nothing"))
            .connected(f.flow(s), seed, f.load(s, 3))
            .awaits(true)
            .forwards(&data, &known, recorded),
        case(format!("{f}: a new connection waits for nothing"))
            .awaits(true)
            .opens(&syn, &first, opened)
            .forwards(&data, &of_first, opened),
        case(format!("{f}: without a rule nothing that is new is recorded, so nothing is waited for"))
            .awaits(true)
            .forwards(&f.request(no_rule), &ruleless, old),
        case(format!("{f}: a node that is not live waits for nothing"))
            .awaits(true)
            .live(false)
            .passes(&data, Reason::NotMaster),
    ]
}

fn hashed(f: Flavour) -> Vec<Case> {
    let s = port::UNSETTLED;
    let (data, syn) = (f.request(s), f.request(s).flags(flag::SYN));
    let pool = f.row(s, 0);
    let seed = |state| Seed { pool, backend: 1, state, age: 0 };
    let (current, row) = to(f, s, &data, 1);
    let (opened, _) = to(f, s, &syn, 1);
    let settled = f.request(port::FOLLOWS_MIXED);
    let (settled_out, settled_row) = to(f, port::FOLLOWS_MIXED, &settled, 0);
    let exceptions = f.request(port::EXCEPTIONS);
    let (exceptions_out, exceptions_row) = to(f, port::EXCEPTIONS, &exceptions, 1);
    vec![
        case(format!("{f}: in an unsettled slot data without a record waits, and leaves none"))
            .awaits(true)
            .drops(&data, AWAITED)
            .leaves([]),
        case(format!("{f}: in an unsettled slot a recorded flow waits for nothing"))
            .knowing(f.flow(s), seed(OPENING))
            .awaits(true)
            .forwards(&data, &current, row)
            .leaves([(pool, 1, OPEN)]),
        case(format!("{f}: in an unsettled slot a new flow waits for nothing"))
            .awaits(true)
            .opens(&syn, &opened, row)
            .forwards(&data, &current, row)
            .leaves([(pool, 1, OPEN)]),
        case(format!("{f}: in a settled slot there is nothing to wait for")).awaits(true).forwards(
            &settled,
            &settled_out,
            settled_row,
        ),
        case(format!("{f}: in a slot with exceptions nothing that is new is recorded, so nothing is waited for"))
            .awaits(true)
            .forwards(&exceptions, &exceptions_out, exceptions_row),
    ]
}

/// Each may be the first of its flow.
fn datagrams(f: Flavour) -> Vec<Case> {
    let kept = f.request(port::KEPT);
    let (previous, row) = to(f, port::KEPT, &kept, 0);
    let stateful = f.request(port::TURNS);
    let (first, turn) = to(f, port::TURNS, &stateful, 0);
    vec![
        case(format!("{f}: datagrams wait for nothing, where flows are kept"))
            .awaits(true)
            .forwards(&kept, &previous, row),
        case(format!("{f}: datagrams of a stateful service wait for nothing"))
            .awaits(true)
            .forwards(&stateful, &first, turn),
    ]
}
