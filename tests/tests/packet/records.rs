//! Slots that changed hands, and the records of flows that remember.

use fairway_tests::packet::{Frame, flag};
use lb_common::abi::record_state::{CLOSING, OPEN, OPENING};
use lb_common::counters::Reason;

use super::build::Change as _;
use super::check::{Case, case, check};
use super::state::Seed;
use super::world::{FLAVOURS, Flavour, IDLE_TIMEOUT, port};

#[test]
fn flows_stay_where_they_were_opened() {
    check(cases());
}

pub fn cases() -> Vec<Case> {
    let (tcp, udp): (Vec<_>, Vec<_>) = FLAVOURS.into_iter().partition(|f| f.tcp);
    let tcp = tcp
        .into_iter()
        .flat_map(|f| unsettled(f).into_iter().chain(known(f)).chain(states(f)).chain(full(f)).chain(exceptions(f)));
    tcp.chain(udp.into_iter().flat_map(datagrams)).chain(FLAVOURS.into_iter().flat_map(spread)).collect()
}

/// A record of the flow's own pool.
fn seed(f: Flavour, service: u16, backend: u16, state: u16) -> Seed {
    Seed { pool: f.row(service, 0), backend, state, age: 0 }
}

fn syn(f: Flavour, service: u16) -> Frame {
    f.request(service).flags(flag::SYN)
}

/// Forwards a packet of a service to one of its backends.
trait To {
    fn to(self, f: Flavour, service: u16, packet: &Frame, backend: u16) -> Self;
    fn opens_to(self, f: Flavour, service: u16, packet: &Frame, backend: u16) -> Self;
}

impl To for Case {
    fn to(self, f: Flavour, service: u16, packet: &Frame, backend: u16) -> Self {
        let row = f.row(service, backend);
        self.forwards(packet, &packet.at(row), row)
    }

    fn opens_to(self, f: Flavour, service: u16, packet: &Frame, backend: u16) -> Self {
        let row = f.row(service, backend);
        self.opens(packet, &packet.at(row), row)
    }
}

fn unsettled(f: Flavour) -> Vec<Case> {
    let s = port::UNSETTLED;
    let pool = f.row(s, 0);
    let data = f.request(s);
    let nat = f.row(port::NAT_UNSETTLED, 0);
    let translated = f.request(port::NAT_UNSETTLED).destined(f.backend(nat), port::BACKEND).at(nat);
    vec![
        case(format!("{f}: in an unsettled slot a SYN goes to the current owner, recorded"))
            .opens_to(f, s, &syn(f, s), 1)
            .leaves([(pool, 1, OPENING)]),
        case(format!("{f}: in an unsettled slot data goes to the previous owner, recorded"))
            .to(f, s, &data, 0)
            .leaves([(pool, 0, OPEN)]),
        case(format!("{f}: in an unsettled slot a FIN goes to the previous owner, recorded"))
            .to(f, s, &data.flags(flag::FIN | flag::ACK), 0)
            .leaves([(pool, 0, CLOSING)]),
        case(format!("{f}: a flow opened in an unsettled slot stays with its backend"))
            .opens_to(f, s, &syn(f, s), 1)
            .to(f, s, &data, 1)
            .to(f, s, &data.flags(flag::RST), 1)
            .leaves([(pool, 1, CLOSING)]),
        case(format!("{f}: under translation too, data in an unsettled slot goes to the previous owner"))
            .forwards(&f.request(port::NAT_UNSETTLED), &translated, nat)
            .leaves([(nat, 0, OPEN)]),
        case(format!("{f}: with no current owner a SYN finds no backend and leaves no record"))
            .passes(&syn(f, port::DRAINED), Reason::NoBackendPassed)
            .leaves([]),
        case(format!("{f}: with no current owner data goes to the previous owner"))
            .to(f, port::DRAINED, &f.request(port::DRAINED), 0)
            .leaves([(f.row(port::DRAINED, 0), 0, OPEN)]),
    ]
}

fn known(f: Flavour) -> Vec<Case> {
    let s = port::UNSETTLED;
    let pool = f.row(s, 0);
    let flow = f.flow(s);
    let data = f.request(s);
    let old = Seed { age: u64::from(IDLE_TIMEOUT) + 1, ..seed(f, s, 3, OPEN) };
    let foreign = Seed { pool: pool + 1, ..seed(f, s, 3, OPEN) };
    vec![
        case(format!("{f}: a recorded flow goes to its backend"))
            .knowing(flow, seed(f, s, 3, OPEN))
            .to(f, s, &data, 3)
            .leaves([(pool, 3, OPEN)]),
        case(format!("{f}: a stale record counts as none: data"))
            .knowing(flow, old)
            .to(f, s, &data, 0)
            .leaves([(pool, 0, OPEN)]),
        case(format!("{f}: a stale record counts as none: a SYN"))
            .knowing(flow, old)
            .opens_to(f, s, &syn(f, s), 1)
            .leaves([(pool, 1, OPENING)]),
        case(format!("{f}: a record of another pool counts as none"))
            .knowing(flow, foreign)
            .to(f, s, &data, 0)
            .leaves([(pool, 0, OPEN)]),
        case(format!("{f}: a record of a dead backend counts as none"))
            .knowing(flow, seed(f, s, 2, OPEN))
            .to(f, s, &data, 0)
            .leaves([(pool, 0, OPEN)]),
        case(format!("{f}: another client's record is not this flow's"))
            .knowing(lb_common::abi::FlowKey6 { ports_wire: 1, ..flow }, seed(f, s, 3, OPEN))
            .to(f, s, &data, 0),
        case(format!("{f}: in a settled slot records are not looked up"))
            .knowing(f.flow(port::DIRECT), seed(f, port::DIRECT, 3, OPEN))
            .to(f, port::DIRECT, &f.request(port::DIRECT).flags(flag::FIN), 0)
            .leaves([(f.row(port::DIRECT, 0), 3, OPEN)]),
    ]
}

fn states(f: Flavour) -> Vec<Case> {
    let s = port::UNSETTLED;
    let pool = f.row(s, 0);
    let data = f.request(s);
    let moves = |name: &str, before, packet: &Frame, after| {
        case(format!("{f}: {name}"))
            .knowing(f.flow(s), seed(f, s, 3, before))
            .to(f, s, packet, 3)
            .leaves([(pool, 3, after)])
    };
    vec![
        moves("data opens an opening record", OPENING, &data, OPEN),
        moves("a FIN closes an open record", OPEN, &data.flags(flag::FIN), CLOSING),
        moves("a RST closes an opening record", OPENING, &data.flags(flag::RST), CLOSING),
        moves("data reopens a closing record", CLOSING, &data, OPEN),
        case(format!("{f}: a late SYN does not make an open record young"))
            .knowing(f.flow(s), seed(f, s, 3, OPEN))
            .opens_to(f, s, &syn(f, s), 3)
            .leaves([(pool, 3, OPEN)]),
        case(format!("{f}: a SYN on a closing record opens it anew on its backend"))
            .knowing(f.flow(s), seed(f, s, 3, CLOSING))
            .opens_to(f, s, &syn(f, s), 3)
            .leaves([(pool, 3, OPENING)]),
    ]
}

fn full(f: Flavour) -> Vec<Case> {
    let s = port::UNSETTLED;
    vec![
        case(format!("{f}: with a full flow table data goes to the previous owner, and the refusal is noted"))
            .with_full_table(f)
            .to(f, s, &f.request(s), 0)
            .leaves([])
            .refuses(),
        case(format!("{f}: with a full flow table a SYN goes to the previous owner, and the refusal is noted"))
            .with_full_table(f)
            .opens_to(f, s, &syn(f, s), 0)
            .leaves([])
            .refuses(),
        case(format!("{f}: with a full flow table a recorded flow keeps its backend"))
            .with_full_table(f)
            .knowing(f.flow(s), seed(f, s, 3, OPEN))
            .to(f, s, &f.request(s), 3)
            .leaves([(f.row(s, 0), 3, OPEN)]),
        case(format!("{f}: with a full flow table a slot with exceptions refuses nothing"))
            .with_full_table(f)
            .opens_to(f, port::EXCEPTIONS, &syn(f, port::EXCEPTIONS), 1)
            .leaves([]),
    ]
}

fn exceptions(f: Flavour) -> Vec<Case> {
    let s = port::EXCEPTIONS;
    let pool = f.row(s, 0);
    let old = Seed { age: u64::from(IDLE_TIMEOUT) + 1, ..seed(f, s, 3, OPEN) };
    vec![
        case(format!("{f}: in a slot with exceptions a recorded flow goes to its backend"))
            .knowing(f.flow(s), seed(f, s, 3, OPEN))
            .to(f, s, &f.request(s), 3)
            .leaves([(pool, 3, OPEN)]),
        case(format!("{f}: in a slot with exceptions a SYN goes to the current owner, unrecorded"))
            .opens_to(f, s, &syn(f, s), 1)
            .leaves([]),
        case(format!("{f}: in a slot with exceptions data goes to the current owner, unrecorded"))
            .to(f, s, &f.request(s), 1)
            .leaves([]),
        case(format!("{f}: in a slot with exceptions a stale record counts as none and stays stale"))
            .knowing(f.flow(s), old)
            .to(f, s, &f.request(s), 1)
            .leaves([(pool, 3, OPEN)]),
        case(format!("{f}: in a slot with exceptions a record of a dead backend counts as none"))
            .knowing(f.flow(s), seed(f, s, 2, OPEN))
            .to(f, s, &f.request(s), 1),
    ]
}

fn datagrams(f: Flavour) -> Vec<Case> {
    let (free, kept) = (port::UNSETTLED, port::KEPT);
    let pool = f.row(kept, 0);
    vec![
        case(format!("{f}: without records a datagram goes to the current owner"))
            .to(f, free, &f.request(free), 1)
            .leaves([]),
        case(format!("{f}: without records no record is looked up")).knowing(f.flow(free), seed(f, free, 3, OPEN)).to(
            f,
            free,
            &f.request(free),
            1,
        ),
        case(format!("{f}: where flows are kept an unknown one is the previous owner's, recorded"))
            .to(f, kept, &f.request(kept), 0)
            .leaves([(pool, 0, OPEN)]),
        case(format!("{f}: where flows are kept a recorded one goes to its backend"))
            .knowing(f.flow(kept), seed(f, kept, 3, OPEN))
            .to(f, kept, &f.request(kept), 3)
            .leaves([(pool, 3, OPEN)]),
        case(format!("{f}: where flows are kept and the table is full, the previous owner has it"))
            .with_full_table(f)
            .to(f, kept, &f.request(kept), 0)
            .leaves([])
            .refuses(),
        case(format!("{f}: with no current owner a datagram finds no backend"))
            .passes(&f.request(port::DRAINED), Reason::NoBackendPassed)
            .leaves([]),
    ]
}

/// Which of sixteen backends a client's ports fall on. All nodes of a cluster must agree, whatever their version: a
/// change of the hash moves every connection at an upgrade. Computed by a second implementation.
fn spread(f: Flavour) -> Vec<Case> {
    let backends: [u16; 6] = if f.v4 { [11, 9, 3, 4, 10, 6] } else { [0, 0, 7, 11, 11, 15] };
    let mut selected = case(format!("{f}: the slot is the top bits of the hash of ports and client"));
    for (n, backend) in (0u16..).zip(backends) {
        let packet = f.request(port::SPREAD).with(|frame| {
            frame.ip.payload.ports().expect("it has ports").0 = 40_000 + n;
        });
        selected = selected.to(f, port::SPREAD, &packet, backend);
    }
    vec![selected]
}
