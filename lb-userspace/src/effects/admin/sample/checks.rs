//! Checks, for tests of what is made from the status.

use std::collections::BTreeMap;

use super::NOW;
use crate::controller::checks::{CheckStatus, HistogramStatus, ProbeStatus, ProberStatus};
use crate::health::verdict::{CheckState, FailureKind};

/// A check that is up and failed once, and once before.
pub fn check() -> CheckStatus {
    let failures = FailureKind::ALL.map(|kind| (kind.name().to_owned(), u64::from(kind == FailureKind::Wrong)));
    CheckStatus {
        check: "http".to_owned(),
        target: "203.0.113.10:80".to_owned(),
        via: "service".to_owned(),
        interval_seconds: 2.0,
        state: CheckState::Up,
        since: NOW - 125.0,
        why: "HTTP 200; then 1 of 3: HTTP 503, expected 200-299".to_owned(),
        last: Some(ProbeStatus { began: NOW - 0.5, latency_seconds: 0.0123, result: "wrong".to_owned() }),
        next: Some(NOW + 1.5),
        flaps: 2,
        rise: 2,
        agent_percent: None,
        agent_drain: None,
        successes: 61,
        failures: BTreeMap::from(failures),
        durations: HistogramStatus { bounds: vec![0.001, 0.01], counts: vec![60, 1, 1], sum: 0.25 },
        certificate_expires: Some(1_701_000_000),
        worst_lateness_seconds: 0.002,
    }
}

/// The prober, with nothing to complain of.
pub fn prober() -> ProberStatus {
    ProberStatus {
        checks: 1,
        running: 0,
        limit: 16_384,
        waiting: 0,
        started: 62,
        lateness: HistogramStatus { bounds: vec![0.001, 0.0025], counts: vec![50, 11, 0], sum: 0.05 },
        worst_lateness_seconds: 0.002,
        worst_lateness_share: 0.001,
        late_seconds: None,
        faults: 0,
    }
}
