//! What is measured, against what, and what it may cost.

use lb_common::abi::encapsulation::{GRE, GUE, IPIP, V4};
use lb_common::counters::Reason;
use lb_common::scheduler::Rule;

use super::fixture::Fixture;
use super::traffic::{SERVICE4, STRANGER4, Segment, Traffic};

/// Packets in a round.
pub const PACKETS: u32 = 1_000_000;
/// Packets in a round that makes a record for each.
const INSERTED: u32 = 1 << 17;
/// As many flows as the "many flows" rows have.
const MANY: u32 = 1 << 19;
/// Services in the rows with many.
const SERVICES: u32 = 1000;

/// One row of the bench.
pub struct Row {
    /// Its name in the output.
    pub name: &'static str,
    /// The tables it is measured over.
    pub fixture: Fixture,
    /// Its packets.
    pub traffic: Traffic,
    /// Packets in a round.
    pub packets: u32,
    /// The row that its ratio is taken against.
    pub floor: Option<&'static str>,
    /// The highest ratio that is good enough.
    pub target: Option<f64>,
    /// What must become of every packet.
    pub fate: Fate,
    /// Records that must be there after a round.
    pub records: u32,
}

/// What becomes of a packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fate {
    /// It is sent back out.
    Transmitted,
    /// The host gets it, for this reason (floors have none).
    Passed(Option<Reason>),
}

impl Row {
    /// Whether every packet makes a record, so that the flow table is emptied before each round.
    pub const fn starts_empty(&self) -> bool {
        self.packets == self.records
    }
}

/// All rows, in the order of the table. A floor stands before what is held against it.
pub fn all() -> Vec<Row> {
    let ack = |flows| Traffic::v4(Segment::TcpAck, flows, SERVICE4, 1);
    let syn = |flows| Traffic::v4(Segment::TcpSyn, flows, SERVICE4, 1);
    let udp = |flows| Traffic::v4(Segment::Udp, flows, SERVICE4, 1);
    let spread = || Traffic::v4(Segment::TcpAck, MANY, SERVICE4, SERVICES);
    let stranger = || Traffic::v4(Segment::TcpAck, MANY, STRANGER4, 1);
    let ack6 = |flows| Traffic::v6(Segment::TcpAck, flows);
    let hit = "direct-tcp-hit";
    let passed = Fate::Passed(Some(Reason::NotService));
    vec![
        floor("floor-transmit", "floor_tx", ack(1)),
        Row { fate: Fate::Passed(None), ..floor("floor-pass", "floor_pass", ack(1)) },
        floor("floor-mac-swap", "floor_mac_swap", ack(1)),
        floor("floor-mac-swap-6", "floor_mac_swap", ack6(1)),
        floor("floor-encapsulate", "floor_encapsulate", ack(1)),
        row(hit, Fixture::Direct, ack(1)).at_most("floor-mac-swap", 2.5),
        row("direct-512k-flows", Fixture::Direct, ack(MANY)).at_most(hit, 1.25),
        row("direct-syn", Fixture::Direct, syn(MANY)).at_most(hit, 1.25),
        row("direct-udp", Fixture::Direct, udp(1)).at_most(hit, 1.1),
        row("direct-quic", Fixture::Quic, Traffic::v4(Segment::Quic, 1, SERVICE4, 1)).against("direct-udp"),
        row("direct-allowed-hit", Fixture::Allowing, ack(1)).against(hit),
        row("direct-limited-hit", Fixture::Limited, ack(1)).against(hit),
        row("direct-limited-syn", Fixture::Limited, syn(MANY)).against(hit),
        row("direct-tcp6-hit", Fixture::Direct, ack6(1)).against("floor-mac-swap-6"),
        row("direct-unsettled-hit", Fixture::Unsettled, ack(1)).recording(1).at_most("floor-mac-swap", 5.0),
        row("direct-unsettled-512k-flows", Fixture::Unsettled, ack(MANY)).recording(MANY).against(hit),
        Row { packets: INSERTED, ..row("direct-unsettled-syn", Fixture::Unsettled, syn(INSERTED)) }
            .recording(INSERTED)
            .against(hit),
        row("direct-1000-services-shared", Fixture::SharedTable(SERVICES), spread()).at_most(hit, 2.5),
        row("direct-1000-services-distinct", Fixture::DistinctTables(SERVICES), spread()).at_most(hit, 6.0),
        floor("floor-lru-hit", "floor_lru", udp(1)),
        floor("floor-lru-insert", "floor_lru", udp(MANY)),
        row("stateful-hit", Fixture::Stateful(Rule::RoundRobin), udp(1)).recording(1).against("floor-lru-hit"),
        Row { packets: INSERTED, ..row("stateful-insert", Fixture::Stateful(Rule::RoundRobin), udp(INSERTED)) }
            .recording(INSERTED)
            .against("floor-lru-insert"),
        Row {
            packets: INSERTED,
            ..row("stateful-insert-least", Fixture::Stateful(Rule::WeightedLeastConnection), udp(INSERTED))
        }
        .recording(INSERTED)
        .against("floor-lru-insert"),
        Row { fate: passed, ..row("pass", Fixture::Direct, stranger()).at_most("floor-pass", 2.0) },
        Row { fate: passed, ..row("pass-with-nat", Fixture::Nat, stranger()).at_most("floor-pass", 2.5) },
        row("nat-tcp", Fixture::Nat, ack(1)).at_most(hit, 1.5),
        row("nat-udp", Fixture::Nat, udp(1)).against(hit),
        row("nat-full-tcp", Fixture::FullNat, ack(1)).against("nat-tcp"),
        row("nat-tcp6", Fixture::Nat, ack6(1)).against("direct-tcp6-hit"),
        row("tunnel-ipip", Fixture::Tunnel(IPIP | V4), ack(1)).at_most("floor-encapsulate", 1.6),
        row("tunnel-gue", Fixture::Tunnel(GUE | V4), ack(1)).at_most("tunnel-ipip", 1.3),
        row("tunnel-gre", Fixture::Tunnel(GRE | V4), ack(1)).against("tunnel-ipip"),
        row("tunnel-512k-flows", Fixture::Tunnel(IPIP | V4), ack(MANY)).against("tunnel-ipip"),
        row("tunnel-4in6", Fixture::Tunnel(IPIP), ack(1)).against("tunnel-ipip"),
        row("tunnel-6in6", Fixture::Tunnel(IPIP), ack6(1)).against("tunnel-ipip"),
        row("tunnel-6in4", Fixture::Tunnel(IPIP | V4), ack6(1)).against("tunnel-ipip"),
    ]
}

fn row(name: &'static str, fixture: Fixture, traffic: Traffic) -> Row {
    Row { name, fixture, traffic, packets: PACKETS, floor: None, target: None, fate: Fate::Transmitted, records: 0 }
}

fn floor(name: &'static str, program: &'static str, traffic: Traffic) -> Row {
    row(name, Fixture::Floor(program), traffic)
}

impl Row {
    fn against(self, floor: &'static str) -> Self {
        Self { floor: Some(floor), ..self }
    }

    fn at_most(self, floor: &'static str, target: f64) -> Self {
        Self { floor: Some(floor), target: Some(target), ..self }
    }

    fn recording(self, records: u32) -> Self {
        Self { records, ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_floor_stands_before_what_is_held_against_it() {
        let rows = all();
        for (index, row) in rows.iter().enumerate() {
            if let Some(floor) = row.floor {
                assert!(rows[..index].iter().any(|other| other.name == floor), "{} has no {floor}", row.name);
            }
        }
    }
}
