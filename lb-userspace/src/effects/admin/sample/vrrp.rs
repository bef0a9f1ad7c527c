//! Two virtual routers with something wrong in each, a peer link with a silent path, a BFD session.

use std::collections::{BTreeMap, BTreeSet};

use super::NOW;
use crate::controller::vrrp::{
    BfdStatus, ForeignMaster, MasterStatus, PathStatus, PeerStatus, RouterStatus, ThreadStatus, VrrpStatus,
};
use crate::vrrp::view::{Lateness, RouterCounters, State, Term};

/// See the module's description.
pub fn vrrp() -> VrrpStatus {
    VrrpStatus {
        thread: ThreadStatus {
            not_locked: Some("memory is not locked: grant CAP_IPC_LOCK".to_owned()),
            wakeups: 5000,
            late_wakeups: 2,
            worst_lateness_seconds: 0.0125,
            failures: counts(&[("send an advertisement: ENETDOWN", 1)]),
            problems: BTreeSet::new(),
            ..ThreadStatus::default()
        },
        routers: vec![public(), inside()],
        peer: Some(peer()),
        bfd: vec![BfdStatus {
            neighbour: "192.0.2.2".parse().expect("an address"),
            state: "up".to_owned(),
            since: NOW - 125.0,
            detection_seconds: 0.15,
            losses: 1,
            discarded: counts(&[("ttl", 4)]),
        }],
        not_ready: None,
        stray: counts(&[("vrid", 9)]),
        stalls: 2,
        longest_stall_seconds: 0.12,
    }
}

fn public() -> RouterStatus {
    let mut lateness = Lateness::default();
    lateness.counts[0] = 90;
    lateness.counts[4] = 9;
    lateness.counts[10] = 1;
    lateness.sum = 0.5;
    RouterStatus {
        name: "public".to_owned(),
        interface: "eth0".to_owned(),
        family: "ipv4".to_owned(),
        vrid: 51,
        version: 3,
        group: None,
        state: State::Master,
        since: NOW - 125.0,
        why: "no advertisement for 3.02 s".to_owned(),
        priority: 254,
        effective_priority: 204,
        terms: vec![
            term("interface eth1", Some(false), -50, "no carrier"),
            term("gateway 192.0.2.254", Some(true), 0, "answers"),
        ],
        master: None,
        addresses: vec!["203.0.113.10".parse().expect("an address")],
        excluded_addresses: vec!["2001:db8::10".parse().expect("an address")],
        virtual_mac: None,
        resigned: false,
        hold_until: None,
        held_back: None,
        address_difference: None,
        foreign_master: Some(ForeignMaster { address: "192.0.2.2".parse().expect("an address"), heard: NOW - 1.0 }),
        interval_seconds: 1.0,
        skew_seconds: 0.203,
        counters: RouterCounters {
            transitions: counts(&[("backup", 1), ("master", 2)]),
            sent: 100,
            received: 7,
            priority_zero_received: 1,
            priority_zero_sent: 0,
            checksum_pseudo_header: 6,
            checksum_plain: 1,
            address_list_differs: 0,
            errors: counts(&[("ttl", 3)]),
            lateness,
        },
    }
}

fn inside() -> RouterStatus {
    RouterStatus {
        name: "inside".to_owned(),
        interface: "eth1".to_owned(),
        vrid: 52,
        version: 2,
        group: Some("edge".to_owned()),
        state: State::Backup,
        why: "priority 0 from 10.0.0.3".to_owned(),
        priority: 250,
        effective_priority: 250,
        terms: vec![term("script check", None, 0, "")],
        addresses: vec!["10.0.0.1".parse().expect("an address"), "10.0.0.2".parse().expect("an address")],
        excluded_addresses: vec![],
        resigned: true,
        hold_until: Some(NOW + 30.0),
        held_back: Some("not ready: 2 next hops are not known yet".to_owned()),
        address_difference: Some("missing there: 10.0.0.2".to_owned()),
        foreign_master: None,
        counters: RouterCounters::default(),
        ..public()
    }
}

/// A backup of a master that is heard.
pub fn quiet() -> RouterStatus {
    RouterStatus {
        held_back: None,
        address_difference: None,
        resigned: false,
        hold_until: None,
        terms: vec![],
        master: Some(MasterStatus {
            address: "10.0.0.3".parse().expect("an address"),
            priority: 254,
            heard: NOW - 0.5,
        }),
        ..inside()
    }
}

fn term(name: &str, holds: Option<bool>, contribution: i32, detail: &str) -> Term {
    Term { name: name.to_owned(), holds, contribution, fault: false, detail: detail.to_owned() }
}

fn peer() -> PeerStatus {
    let path = |address: &str, alive| PathStatus {
        address: address.parse().expect("an address"),
        alive,
        heard: alive.then_some(NOW),
        sent: 1000,
        received: if alive { 990 } else { 0 },
    };
    PeerStatus {
        name: Some("lb2".to_owned()),
        alive: true,
        since: NOW - 10_000.0,
        paths: vec![path("10.9.0.2", true), path("192.0.2.2", false)],
        refused: counts(&[("authentication", 3)]),
        differences: vec![],
    }
}

fn counts(pairs: &[(&str, u64)]) -> BTreeMap<String, u64> {
    pairs.iter().map(|(reason, count)| ((*reason).to_owned(), *count)).collect()
}
