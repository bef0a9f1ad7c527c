//! A state with something of everything, for tests of what is made from it.

mod checks;
mod exchange;
mod vrrp;

pub use checks::{check, prober};
pub use exchange::exchange;
pub use vrrp::{quiet, vrrp};

use std::collections::BTreeMap;

use crate::controller::view::{
    API_VERSION, BackendStatus, ConfigStatus, Connections, FlowsStatus, InterfaceStatus, NeighbourStatus, NodeStatus,
    QuicTotals, ServiceStatus, Status, Totals,
};

/// "Now" in tests that show the sample.
pub const NOW: f64 = 1_700_010_000.0;

/// Two interfaces, one service; a backend that is up, one without a next hop, and one that was replaced and leaves.
pub fn status() -> Status {
    Status {
        api: API_VERSION.to_owned(),
        node: NodeStatus {
            name: "lb1".to_owned(),
            version: "0.1.0".to_owned(),
            kernel: "6.12.0".to_owned(),
            pid: 4242,
            started: NOW - 10_000.0,
            ready: true,
            not_ready: None,
        },
        config: ConfigStatus {
            file: "/etc/fairway/fairway.toml".to_owned(),
            hash: "00112233aabbccdd".to_owned(),
            loaded: NOW - 9_000.0,
            last_reload_successful: true,
            last_reload: NOW - 9_000.0,
            last_reload_error: None,
        },
        interfaces: vec![
            interface("eth0", "native", None),
            interface("eth1", "generic", Some("the driver has no native XDP")),
        ],
        services: vec![service()],
        flows: FlowsStatus {
            translations: 7,
            translation_capacity: 2048,
            tcp: 12,
            udp: 0,
            capacity: 1_048_576,
            refusals: 3,
            forced_slots: 0,
            stateful: 13,
            stateful_capacity: 4096,
            clients: 5,
            unrecorded: 2,
        },
        passes: BTreeMap::from([("not-a-service".to_owned(), 77)]),
        drops: BTreeMap::from([("no-backend".to_owned(), 0), ("truncated".to_owned(), 5)]),
        neighbours: vec![
            NeighbourStatus { destination: "10.0.0.11".to_owned(), resolved: true, detail: "via eth0".to_owned() },
            NeighbourStatus {
                destination: "10.0.0.12".to_owned(),
                resolved: false,
                detail: "no answer to ARP on eth0".to_owned(),
            },
        ],
        warnings: vec!["eth1: XDP runs in generic mode, at a tenth of the speed".to_owned()],
        flows_at_risk: 12,
        overrides: Vec::new(),
        vrrp: Some(vrrp()),
        prober: Some(prober()),
        exchange: Some(exchange()),
    }
}

fn interface(name: &str, mode: &str, why: Option<&str>) -> InterfaceStatus {
    InterfaceStatus {
        name: name.to_owned(),
        index: Some(2),
        mode: mode.to_owned(),
        mtu: Some(1500),
        since: NOW - 10_000.0,
        why: why.map(str::to_owned),
    }
}

fn service() -> ServiceStatus {
    ServiceStatus {
        name: "we\"b".to_owned(),
        runtime: false,
        listeners: vec!["tcp://203.0.113.10:80".to_owned(), "tcp://203.0.113.10:443".to_owned()],
        forwarding: "direct".to_owned(),
        scheduler: "maglev".to_owned(),
        access: "deny 1".to_owned(),
        lookup_table_size: 16_384,
        lookup_table_hash: "ffffffffffffffff".to_owned(),
        unsettled_slots: 12,
        exception_slots: 3,
        quorum_ok: true,
        totals: totals(1200, 1_500_000, 120),
        quic: Some(QuicTotals { connection_id: 800, beginning: 30, unknown: 2 }),
        quorum_why: "2 of 2 enabled backends are up, quorum is 1".to_owned(),
        quorum_since: NOW - 125.0,
        backends: vec![
            BackendStatus {
                checks: vec![check()],
                connections: Some(Connections { active: 5, inactive: 7, full: true }),
                ..backend("web1", "10.0.0.11", "up", totals(700, 900_000, 70))
            },
            BackendStatus {
                reachable: false,
                next_hop: "no answer to ARP on eth0".to_owned(),
                why: "answers its check".to_owned(),
                ..backend("web2", "10.0.0.12", "unchecked", totals(300, 400_000, 30))
            },
            BackendStatus {
                leaving: true,
                why: "removed from the configuration".to_owned(),
                ..backend("web2", "10.0.0.13", "drain", totals(200, 200_000, 20))
            },
        ],
    }
}

fn totals(packets: u64, bytes: u64, connections: u64) -> Totals {
    Totals { packets, bytes, connections, syn_retransmissions: 3, resets: 2, unreachables: 1 }
}

fn backend(name: &str, address: &str, state: &str, totals: Totals) -> BackendStatus {
    BackendStatus {
        name: name.to_owned(),
        address: address.to_owned(),
        port: None,
        forwarding: "direct".to_owned(),
        weight: 100,
        effective_weight: 100.0,
        priority: 0,
        state: state.to_owned(),
        leaving: false,
        since: NOW - 125.0,
        why: "no check is configured".to_owned(),
        slots: 8192,
        remaining: None,
        next_hop: "02:00:00:00:00:0b on eth0".to_owned(),
        reachable: true,
        connections: None,
        totals,
        checks: Vec::new(),
    }
}
