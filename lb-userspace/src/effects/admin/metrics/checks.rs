//! The metrics of checks and of the prober. A backend's check has the label `check`, its kind, numbered from the second of a
//! kind on.

use std::collections::BTreeSet;
use std::fmt::Result;

use super::Families;
use crate::controller::checks::{CheckStatus, HistogramStatus, ProberStatus};
use crate::controller::view::{ServiceStatus, Status};
use crate::health::verdict::CheckState;

/// Every state of a check.
const STATES: [CheckState; 3] = [CheckState::Unknown, CheckState::Up, CheckState::Down];

pub(super) fn encode(out: &mut Families<'_>, status: &Status) -> Result {
    let Some(prober) = &status.prober else { return Ok(()) };
    checks(out, &checked(&status.services))?;
    self::prober(out, prober)
}

/// A check, and the labels of its series.
struct Checked<'a> {
    labels: [(&'static str, &'a str); 3],
    check: &'a CheckStatus,
}

/// Each once: a name may stand twice in a service, but those that leave have no checks.
fn checked(services: &[ServiceStatus]) -> Vec<Checked<'_>> {
    let mut seen = BTreeSet::new();
    let backends = services.iter().flat_map(|service| service.backends.iter().map(move |backend| (service, backend)));
    let all = backends.flat_map(|(service, backend)| {
        backend.checks.iter().map(move |check| {
            let labels = [("service", &*service.name), ("backend", &*backend.name), ("check", &*check.check)];
            Checked { labels, check }
        })
    });
    all.filter(|checked| seen.insert(checked.labels)).collect()
}

fn checks(out: &mut Families<'_>, checks: &[Checked<'_>]) -> Result {
    let states = checks.iter().flat_map(|it| {
        let [service, backend, check] = it.labels;
        STATES.map(|state| ([service, backend, check, ("state", name(state))], u32::from(it.check.state == state)))
    });
    out.gauges("backend_check_state", "Whether the check is in this state", states)?;
    let since = checks.iter().map(|it| (it.labels, it.check.since));
    out.gauges("backend_check_last_change_timestamp_seconds", "When the state of the check last changed", since)?;
    let durations = checks.iter().map(|it| (it.labels, buckets(&it.check.durations)));
    out.histograms("backend_check_duration_seconds", "How long the probes of the check took", durations)?;
    let successes = checks.iter().map(|it| (it.labels, it.check.successes));
    out.counters("backend_check_successes", "Probes with a right answer", successes)?;
    let failures = checks.iter().flat_map(|it| {
        let [service, backend, check] = it.labels;
        let kinds = it.check.failures.iter();
        kinds.map(move |(kind, count)| ([service, backend, check, ("reason", kind.as_str())], *count))
    });
    out.counters("backend_check_failures", "Probes without, by what they found", failures)?;
    let flaps = checks.iter().map(|it| (it.labels, it.check.flaps));
    out.counters("backend_check_flaps", "Times the check went from up to down, or back", flaps)?;
    let expiries = checks.iter().filter_map(|it| Some((it.labels, it.check.certificate_expires?)));
    out.gauges("certificate_expiry_timestamp_seconds", "Until when the server's certificate is valid", expiries)
}

fn name(state: CheckState) -> &'static str {
    match state {
        CheckState::Unknown => "unknown",
        CheckState::Up => "up",
        CheckState::Down => "down",
    }
}

fn prober(out: &mut Families<'_>, prober: &ProberStatus) -> Result {
    out.histogram("check_lateness_seconds", "How late probes began", buckets(&prober.lateness))?;
    out.gauge("check_worst_lateness_seconds", "The latest of them", prober.worst_lateness_seconds)?;
    out.gauge("checks", "Checks; those that ask the same of the same backend are one", prober.checks)?;
    out.gauge("checks_waiting", "Checks whose first probe has not begun", prober.waiting)?;
    out.gauge("probes_running", "Probes under way", prober.running)?;
    out.gauge("probes_limit", "Probes that may be under way at a time", prober.limit)?;
    out.counter("probes_started", "Probes that were begun", prober.started)?;
    out.counter("probe_faults", "Probes that did not end by themselves; must be 0", prober.faults)
}

/// Sum, and the count of each bucket by its upper bound; the encoder adds them up.
fn buckets(histogram: &HistogramStatus) -> (f64, Vec<(f64, u64)>) {
    let bounds = histogram.bounds.iter().copied().chain([f64::INFINITY]);
    (histogram.sum, bounds.zip(histogram.counts.iter().copied()).collect())
}
