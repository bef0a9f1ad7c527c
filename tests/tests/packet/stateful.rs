//! Services that choose by a rule: who gets a new flow, what is recorded of it, and what backends then count.

use std::collections::BTreeMap;

use fairway::reconcile::write::Write;
use fairway_tests::packet::{Frame, Ip, flag};
use lb_common::abi::connection_state::{CLOSED, DATAGRAMS, ESTABLISHED, FIN_WAIT, SYN_RECEIVED, TIME_WAIT};
use lb_common::abi::{ClientKey, FlowKey6, Load};
use lb_common::address::Address;
use lb_common::connection::Counted;
use lb_common::counters::Reason;

use super::build::{CLIENT_PORT, Change as _};
use super::check::{Case, case, check};
use super::quotes;
use super::state::{Kept, Seed};
use super::world::{CLOSED_TIMEOUT, FIN_TIMEOUT, FLAVOURS, Flavour, IDLE_TIMEOUT, SYN_TIMEOUT, WEIGHTS, client, port};

#[test]
fn new_flows_are_given_by_the_rule_and_stay_where_they_were_given() {
    check(cases());
}

pub fn cases() -> Vec<Case> {
    let (tcp, udp): (Vec<_>, Vec<_>) = FLAVOURS.into_iter().partition(|f| f.tcp);
    let tcp = tcp.into_iter().flat_map(|f| {
        rules(f)
            .into_iter()
            .chain(locality(f))
            .chain(states(f))
            .chain(unrecorded(f))
            .chain(void(f))
            .chain(thresholds(f))
            .chain(persistence(f))
            .chain(others(f))
    });
    tcp.chain(udp.into_iter().flat_map(datagrams)).collect()
}

/// What flows count as in the end, from what is kept of them.
fn counted(f: Flavour, service: u16, kept: &[Kept]) -> Vec<(u32, (i32, i32, bool))> {
    let mut loads: BTreeMap<u32, Counted> = BTreeMap::new();
    for (_, backend, state) in kept {
        let load = loads.entry(f.load(service, *backend)).or_default();
        *load = load.plus(Counted::one(*state));
    }
    loads.into_iter().map(|(load, Counted { active, inactive })| (load, (active, inactive, false))).collect()
}

/// A packet of the usual client, from the n-th of its ports.
fn from(f: Flavour, service: u16, n: u16) -> Frame {
    f.request(service).with(|frame| frame.ip.payload.ports().expect("it has ports").0 = CLIENT_PORT + n)
}

fn syn(f: Flavour, service: u16, n: u16) -> Frame {
    from(f, service, n).flags(flag::SYN)
}

/// The flow from the n-th port.
fn flow(f: Flavour, service: u16, n: u16) -> FlowKey6 {
    let ports = f.flow(service).ports_wire.to_ne_bytes();
    let [a, b] = (CLIENT_PORT + n).to_be_bytes();
    FlowKey6 { ports_wire: u32::from_ne_bytes([a, b, ports[2], ports[3]]), ..f.flow(service) }
}

trait Steps {
    /// A new flow from the n-th port goes to a backend.
    fn opens_at(self, f: Flavour, service: u16, n: u16, backend: u16) -> Self;
    /// A packet of it does.
    fn follows(self, f: Flavour, service: u16, packet: &Frame, backend: u16) -> Self;
    /// These records are kept, and counted.
    fn keeps_counted(self, f: Flavour, service: u16, kept: &[Kept]) -> Self;
}

impl Steps for Case {
    fn opens_at(self, f: Flavour, service: u16, n: u16, backend: u16) -> Self {
        let (packet, row) = (syn(f, service, n), f.row(service, backend));
        self.opens(&packet, &packet.at(row), row)
    }

    fn follows(self, f: Flavour, service: u16, packet: &Frame, backend: u16) -> Self {
        let row = f.row(service, backend);
        self.forwards(packet, &packet.at(row), row)
    }

    fn keeps_counted(self, f: Flavour, service: u16, kept: &[Kept]) -> Self {
        self.keeps(kept.to_vec()).counts(counted(f, service, kept))
    }
}

/// The sequences of backends for SYNs alone, with weights 2, 1, 0 and 3.
fn rules(f: Flavour) -> Vec<Case> {
    let opened = |service: u16, backends: &[u16]| {
        let mut opened = case(format!("{f}: new flows at port {service} go to {backends:?}"));
        for (n, backend) in (0..).zip(backends) {
            opened = opened.opens_at(f, service, n, *backend);
        }
        let kept: Vec<Kept> = backends.iter().map(|&backend| (f.row(service, 0), backend, SYN_RECEIVED)).collect();
        opened.keeps_counted(f, service, &kept).leaves([])
    };
    let ack = |n| from(f, port::DELAY, n);
    let pool = f.row(port::DELAY, 0);
    let crowded = Write::Recount(f.load(port::OVERFLOW, 3), Counted { active: 4, inactive: 0 });
    vec![
        opened(port::TURNS, &[0, 1, 3, 0, 1, 3, 0]),
        opened(port::WEIGHTED_TURNS, &[3, 0, 3, 0, 1, 3, 3, 0]),
        opened(port::LEAST, &[0, 1, 3, 0, 1, 3]),
        opened(port::WEIGHTED_LEAST, &[0, 1, 3, 3, 0, 3]),
        opened(port::DELAY, &[3, 3, 3]),
        opened(port::NEVER_QUEUE, &[0, 0]),
        opened(port::FAILOVER, &[3, 3, 3]),
        opened(port::OVERFLOW, &[3, 3]),
        case(format!("{f}: by expected delay, established connections count"))
            .opens_at(f, port::DELAY, 0, 3)
            .follows(f, port::DELAY, &ack(0), 3)
            .opens_at(f, port::DELAY, 1, 0)
            .follows(f, port::DELAY, &ack(1), 0)
            .opens_at(f, port::DELAY, 2, 3)
            .keeps_counted(f, port::DELAY, &[(pool, 0, ESTABLISHED), (pool, 3, ESTABLISHED), (pool, 3, SYN_RECEIVED)]),
        case(format!("{f}: an idle backend is not kept waiting"))
            .opens_at(f, port::NEVER_QUEUE, 0, 0)
            .follows(f, port::NEVER_QUEUE, &from(f, port::NEVER_QUEUE, 0), 0)
            .opens_at(f, port::NEVER_QUEUE, 1, 1)
            .follows(f, port::NEVER_QUEUE, &from(f, port::NEVER_QUEUE, 1), 1)
            .opens_at(f, port::NEVER_QUEUE, 2, 3)
            .follows(f, port::NEVER_QUEUE, &from(f, port::NEVER_QUEUE, 2), 3)
            .opens_at(f, port::NEVER_QUEUE, 3, 3),
        case(format!("{f}: the heaviest overflows to the next")).counted_before(crowded).opens_at(
            f,
            port::OVERFLOW,
            0,
            0,
        ),
    ]
}

/// The rules that keep the flows to one address together.
fn locality(f: Flavour) -> Vec<Case> {
    let established = |service: u16, backend: u16, active: i32| {
        Write::Recount(f.load(service, backend), Counted { active, inactive: 0 })
    };
    let (single, several) = (port::LOCALITY, port::REPLICATED_LOCALITY);
    let drained = |service: u16, backend: u16| Write::Load(f.load(service, backend), Load::default());
    let crowded = |service: u16| established(service, 3, 4);
    // At first nobody is loaded, and the first of these equals is remembered: backend 0, of weight 2.
    let settled = |service: u16| {
        case(format!("{f}: at port {service} an address keeps its backend while that is not crowded"))
            .opens_at(f, service, 0, 0)
            .opens_at(f, service, 1, 0)
            .opens_at(f, service, 2, 0)
            .opens_at(f, service, 3, 0)
    };
    vec![
        settled(single),
        settled(several),
        case(format!("{f}: who is crowded while another has much room loses the address"))
            .counted_before(established(single, 0, 1))
            .counted_before(established(single, 1, 1))
            .opens_at(f, single, 0, 3)
            .opens_at(f, single, 1, 3),
        case(format!("{f}: an address without a backend gets the least loaded, and keeps it though others have less"))
            .counted_before(established(single, 0, 2))
            .counted_before(established(single, 1, 2))
            .counted_before(established(single, 3, 2))
            .opens_at(f, single, 0, 3)
            .opens_at(f, single, 1, 3),
        case(format!("{f}: of several that an address has, the least loaded gets the flow"))
            .counted_before(crowded(several))
            .opens_at(f, several, 0, 0)
            .opens_at(f, several, 1, 0),
        case(format!("{f}: when all are without weight an address finds nobody"))
            .with([drained(single, 0), drained(single, 1), drained(single, 3)])
            .passes(&syn(f, single, 0), Reason::NoBackendPassed)
            .keeps([]),
    ]
}

fn states(f: Flavour) -> Vec<Case> {
    let s = port::TURNS;
    let pool = f.row(s, 0);
    let packet = |flags| from(f, s, 0).flags(flags);
    let (data, fin, rst) = (packet(flag::ACK), packet(flag::FIN | flag::ACK), packet(flag::RST));
    let after = |name: &str, before, packet: &Frame, state| {
        let seed = Seed { pool, backend: 3, state: before, age: 0 };
        case(format!("{f}: {name}"))
            .connected(flow(f, s, 0), seed, f.load(s, 3))
            .follows(f, s, packet, 3)
            .keeps_counted(f, s, &[(pool, 3, state)])
    };
    let again = |name: &str, before, backend, state| {
        let seed = Seed { pool, backend: 3, state: before, age: 0 };
        case(format!("{f}: {name}"))
            .connected(flow(f, s, 0), seed, f.load(s, 3))
            .opens_at(f, s, 0, backend)
            .keeps_counted(f, s, &[(pool, backend, state)])
    };
    vec![
        after("data establishes a connection", SYN_RECEIVED, &data, ESTABLISHED),
        after("a FIN ends it", ESTABLISHED, &fin, FIN_WAIT),
        after("data does not take a FIN back", FIN_WAIT, &data, FIN_WAIT),
        after("a RST closes it", ESTABLISHED, &rst, CLOSED),
        after("a RST does not hasten an opening one", SYN_RECEIVED, &rst, SYN_RECEIVED),
        after("a FIN without data is the end", SYN_RECEIVED, &fin, TIME_WAIT),
        again("a SYN sent again goes where the first went", SYN_RECEIVED, 3, SYN_RECEIVED),
        again("a stray SYN does not reopen an established connection", ESTABLISHED, 3, ESTABLISHED),
        again("a SYN after a FIN stays with the backend, which knows the connection", FIN_WAIT, 3, SYN_RECEIVED),
        again("a SYN after the end begins anew", TIME_WAIT, 0, SYN_RECEIVED),
        again("a SYN after a reset begins anew", CLOSED, 0, SYN_RECEIVED),
    ]
}

/// What has no record and cannot get one goes by the lookup table.
fn unrecorded(f: Flavour) -> Vec<Case> {
    let s = port::TURNS;
    let pool = f.row(s, 0);
    let seed = Seed { pool, backend: 3, state: ESTABLISHED, age: 0 };
    let no_rule = port::NO_RULE;
    let known = Seed { pool: f.row(no_rule, 0), ..seed };
    let over = Seed { state: CLOSED, ..known };
    vec![
        case(format!("{f}: data of an unknown flow goes by the lookup table, unrecorded"))
            .follows(f, s, &from(f, s, 0), 1)
            .keeps_counted(f, s, &[]),
        case(format!("{f}: with a full table new flows go by the lookup table"))
            .with_full_connections(f)
            .opens_at(f, s, 0, 1)
            .follows(f, s, &from(f, s, 0), 1)
            .opens_at(f, s, 1, 1)
            .keeps_counted(f, s, &[])
            .refuses_connections(2),
        case(format!("{f}: with a full table recorded flows stay"))
            .connected(flow(f, s, 0), seed, f.load(s, 3))
            .with_full_connections(f)
            .follows(f, s, &from(f, s, 0), 3)
            .keeps_counted(f, s, &[(pool, 3, ESTABLISHED)]),
        case(format!("{f}: without a rule recorded flows stay, and new ones go by the lookup table"))
            .connected(flow(f, no_rule, 0), known, f.load(no_rule, 3))
            .follows(f, no_rule, &from(f, no_rule, 0), 3)
            .opens_at(f, no_rule, 1, 1)
            .keeps_counted(f, no_rule, &[(known.pool, 3, ESTABLISHED)]),
        case(format!("{f}: without a rule a SYN after the end stays too, since its record does"))
            .connected(flow(f, no_rule, 0), over, f.load(no_rule, 3))
            .opens_at(f, no_rule, 0, 3)
            .follows(f, no_rule, &from(f, no_rule, 0), 3)
            .keeps_counted(f, no_rule, &[(known.pool, 3, ESTABLISHED)]),
    ]
}

/// Records that hold no longer.
fn void(f: Flavour) -> Vec<Case> {
    let s = port::TURNS;
    let pool = f.row(s, 0);
    let mut cases = vec![];
    for (name, state, age) in [
        ("silent for too long", ESTABLISHED, IDLE_TIMEOUT),
        ("ended and silent", FIN_WAIT, FIN_TIMEOUT),
        ("never established", SYN_RECEIVED, SYN_TIMEOUT),
        ("reset and silent", CLOSED, CLOSED_TIMEOUT),
    ] {
        let seed = Seed { pool, backend: 3, state, age: u64::from(age) + 1 };
        let stale = |what: &str| {
            case(format!("{f}: a connection {name} counts as none: {what}")).connected(
                flow(f, s, 0),
                seed,
                f.load(s, 3),
            )
        };
        cases.push(stale("data").follows(f, s, &from(f, s, 0), 1).keeps_counted(f, s, &[(pool, 3, state)]));
        cases.push(stale("a SYN").opens_at(f, s, 0, 0).keeps_counted(f, s, &[(pool, 0, SYN_RECEIVED)]));
    }
    let dead = Seed { pool, backend: 2, state: ESTABLISHED, age: 0 };
    let foreign = Seed { pool: pool + 1, backend: 3, state: ESTABLISHED, age: 0 };
    cases.push(
        case(format!("{f}: a connection to a dead backend counts as none"))
            .connected(flow(f, s, 0), dead, f.load(s, 2))
            .opens_at(f, s, 0, 0)
            .keeps_counted(f, s, &[(pool, 0, SYN_RECEIVED)]),
    );
    cases.push(
        case(format!("{f}: a record of another pool counts as none, and is taken off nobody"))
            .connected(flow(f, s, 0), foreign, f.load(s, 3))
            .opens_at(f, s, 0, 0)
            .keeps([(pool, 0, SYN_RECEIVED)])
            .counts([(f.load(s, 0), (0, 1, false)), (f.load(s, 3), (1, 0, false))]),
    );
    cases
}

fn thresholds(f: Flavour) -> Vec<Case> {
    let s = port::FAILOVER;
    let limit = |backend: u16, upper| {
        Write::Load(f.load(s, backend), Load { weight: WEIGHTS[usize::from(backend)], upper, ..Load::default() })
    };
    let none = |backend| Write::Load(f.load(s, backend), Load::default());
    vec![
        case(format!("{f}: a backend that has as many connections as it may gets no more"))
            .with([limit(3, 2)])
            .opens_at(f, s, 0, 3)
            .opens_at(f, s, 1, 3)
            .opens_at(f, s, 2, 0)
            .follows(f, s, &from(f, s, 0), 3)
            .counts([(f.load(s, 0), (0, 1, false)), (f.load(s, 3), (1, 1, true))]),
        case(format!("{f}: when all are full no new flow finds a backend, and the old ones stay"))
            .with([limit(0, 1), limit(1, 1), limit(3, 1)])
            .opens_at(f, s, 0, 3)
            .opens_at(f, s, 1, 0)
            .opens_at(f, s, 2, 1)
            .passes(&syn(f, s, 3), Reason::NoBackendPassed)
            .follows(f, s, &from(f, s, 2), 1),
        case(format!("{f}: when none has weight no new flow finds a backend"))
            .with([none(0), none(1), none(3)])
            .passes(&syn(f, s, 0), Reason::NoBackendPassed)
            .keeps([]),
    ]
}

/// Services that remember their clients.
fn persistence(f: Flavour) -> Vec<Case> {
    let s = port::PERSISTENT;
    let pool = f.row(s, 0);
    let me = client_of(f, s);
    let had = |backend: u16| Seed { pool, backend, state: 0, age: 7 };
    let neighbour = |n: u16| syn(f, s, n).sourced(f.client(client::SAME_SIDE), CLIENT_PORT + n);
    let stranger = syn(f, s, 9).sourced(f.excluded_client(), CLIENT_PORT);
    let row = |backend| f.row(s, backend);
    let full = Write::Load(f.load(s, 3), Load { weight: 3, upper: 1, ..Load::default() });
    let drained = Write::Load(f.load(s, 3), Load::default());
    vec![
        case(format!("{f}: a client comes back to the backend that it was given, and so does its neighbour"))
            .opens_at(f, s, 0, 0)
            .opens_at(f, s, 1, 0)
            .opens(&neighbour(2), &neighbour(2).at(row(0)), row(0))
            .opens(&stranger, &stranger.at(row(1)), row(1))
            .opens_at(f, s, 3, 0)
            .remembers([
                (me, 0),
                (ClientKey { address: Address::from(f.excluded_client()).prefix(prefix(f)), ..me }, 1),
            ]),
        case(format!("{f}: a client that is remembered goes where it was, whosever turn it is"))
            .remembering(me, had(3))
            .opens_at(f, s, 0, 3)
            .follows(f, s, &from(f, s, 0), 3)
            .keeps_counted(f, s, &[(pool, 3, ESTABLISHED)])
            .remembers([(me, 3)]),
        case(format!("{f}: even when that backend is full"))
            .with([full])
            .remembering(me, had(3))
            .opens_at(f, s, 0, 3)
            .opens_at(f, s, 1, 3),
        case(format!("{f}: but not when it has no weight: then it is another's from now on"))
            .with([drained])
            .remembering(me, had(3))
            .opens_at(f, s, 0, 0)
            .opens_at(f, s, 1, 0)
            .remembers([(me, 0)]),
        case(format!("{f}: nor when it is dead"))
            .with([Write::Load(f.load(s, 2), Load { weight: 1, ..Load::default() })])
            .remembering(me, had(2))
            .opens_at(f, s, 0, 0)
            .remembers([(me, 0)]),
        case(format!("{f}: a client for whom there is no room goes by the lookup table, unrecorded"))
            .with_full_clients()
            .opens_at(f, s, 0, 1)
            .keeps_counted(f, s, &[])
            .refuses_connections(1),
        case(format!("{f}: data of an unknown flow makes nobody remembered"))
            .follows(f, s, &from(f, s, 0), 1)
            .remembers([]),
        case(format!("{f}: a client who finds nobody is not remembered"))
            .with([0, 1, 2, 3].map(|backend| Write::Load(f.load(s, backend), Load::default())))
            .passes(&syn(f, s, 0), Reason::NoBackendPassed)
            .remembers([]),
    ]
}

fn prefix(f: Flavour) -> u8 {
    if f.v4 { 96 + 24 } else { 64 }
}

/// The usual client, as a service remembers it.
fn client_of(f: Flavour, service: u16) -> ClientKey {
    let address = Address::from(f.client(client::NEAR)).prefix(prefix(f));
    ClientKey { address, pool: f.row(service, 0).into() }
}

fn others(f: Flavour) -> Vec<Case> {
    let (s, nat) = (port::TURNS, port::NAT_TURNS);
    let seed = Seed { pool: f.row(s, 0), backend: 3, state: ESTABLISHED, age: 0 };
    let answer = Ip::new(f.vip(), f.client(client::NEAR), f.payload(s, CLIENT_PORT));
    let error = quotes::error(f, quotes::too_big(f), &answer, quotes::WHOLE);
    let translated = |backend: u16| {
        let row = f.row(nat, backend);
        (syn(f, nat, backend).destined(f.backend(row), port::BACKEND).at(row), row)
    };
    let [(first, first_row), (second, second_row)] = [translated(0), translated(1)];
    vec![
        case(format!("{f}: an ICMP error goes where a record says, and changes nothing"))
            .connected(flow(f, s, 0), seed, f.load(s, 3))
            .follows(f, s, &error, 3)
            .keeps_counted(f, s, &[(seed.pool, 3, ESTABLISHED)]),
        case(format!("{f}: an ICMP error about an unknown flow goes by the lookup table")).follows(f, s, &error, 1),
        case(format!("{f}: under translation too, new flows are given in turn"))
            .opens(&syn(f, nat, 0), &first, first_row)
            .opens(&syn(f, nat, 1), &second, second_row),
    ]
}

fn datagrams(f: Flavour) -> Vec<Case> {
    let s = port::TURNS;
    let pool = f.row(s, 0);
    let given = [(pool, 0, DATAGRAMS), (pool, 1, DATAGRAMS)];
    let stale = Seed { pool, backend: 3, state: DATAGRAMS, age: u64::from(IDLE_TIMEOUT) + 1 };
    vec![
        case(format!("{f}: the first datagram of a flow begins it, the others follow"))
            .follows(f, s, &from(f, s, 0), 0)
            .follows(f, s, &from(f, s, 1), 1)
            .follows(f, s, &from(f, s, 0), 0)
            .keeps_counted(f, s, &given),
        case(format!("{f}: after a silence a flow begins anew"))
            .connected(flow(f, s, 0), stale, f.load(s, 3))
            .follows(f, s, &from(f, s, 0), 0)
            .keeps_counted(f, s, &[(pool, 0, DATAGRAMS)]),
        case(format!("{f}: where a datagram is a flow of its own, each is given in turn and none recorded"))
            .follows(f, port::ONE_PACKET, &from(f, port::ONE_PACKET, 0), 0)
            .follows(f, port::ONE_PACKET, &from(f, port::ONE_PACKET, 0), 1)
            .follows(f, port::ONE_PACKET, &from(f, port::ONE_PACKET, 0), 3)
            .follows(f, port::ONE_PACKET, &from(f, port::ONE_PACKET, 0), 0)
            .keeps_counted(f, port::ONE_PACKET, &[])
            .leaves([]),
        case(format!("{f}: and none needs room in a table"))
            .with_full_connections(f)
            .follows(f, port::ONE_PACKET, &from(f, port::ONE_PACKET, 0), 0)
            .follows(f, port::ONE_PACKET, &from(f, port::ONE_PACKET, 0), 1),
        case(format!("{f}: the datagrams of a client that is remembered stay together, none recorded"))
            .follows(f, port::PERSISTENT_ONE_PACKET, &from(f, port::PERSISTENT_ONE_PACKET, 0), 0)
            .follows(f, port::PERSISTENT_ONE_PACKET, &from(f, port::PERSISTENT_ONE_PACKET, 1), 0)
            .follows(f, port::PERSISTENT_ONE_PACKET, &from(f, port::PERSISTENT_ONE_PACKET, 0), 0)
            .keeps_counted(f, port::PERSISTENT_ONE_PACKET, &[])
            .remembers([(client_of(f, port::PERSISTENT_ONE_PACKET), 0)]),
        case(format!("{f}: with a full table datagrams go by the lookup table"))
            .with_full_connections(f)
            .follows(f, s, &from(f, s, 0), 1)
            .refuses_connections(1),
    ]
}
