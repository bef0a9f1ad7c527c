//! What is said of checks: parts of [`Status`](super::view::Status), put into it from the prober's views.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::view::Status;
use super::vrrp::Epoch;
use crate::health::spec::{Spec, Way};
use crate::health::uses::{Named, Uses};
use crate::health::verdict::{CheckState, FailureKind};
use crate::health::view::{CheckView, DURATION_BOUNDS, Histogram, LATENESS_BOUNDS, Summary};

/// So long a probe that began late is worth a warning.
const RECENT: Duration = Duration::from_secs(60);

/// A check of a backend.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CheckStatus {
    /// The kind of its probe, `http`; the backend's second of a kind is `http-2`, and so on.
    pub check: String,
    /// The address that is asked, with its port.
    pub target: String,
    /// `service`: the service's address, on that backend, by the way of clients' packets; `address`: its own.
    pub via: String,
    /// Time between two probes, in seconds.
    pub interval_seconds: f64,
    /// Its state.
    pub state: CheckState,
    /// When the state last changed, or else the check was configured; seconds since the Unix epoch.
    pub since: f64,
    /// Why, in words.
    pub why: String,
    /// The last probe that ended.
    pub last: Option<ProbeStatus>,
    /// When the next probe is due, seconds since the Unix epoch; `None`: one is under way.
    pub next: Option<f64>,
    /// Times that it went from up to down, or back.
    pub flaps: u64,
    /// Successes in a row that it needs at present to come up.
    pub rise: u32,
    /// Share of the weight that an agent asks for, in per cent.
    pub agent_percent: Option<u8>,
    /// Whether an agent asks for a drain.
    pub agent_drain: Option<bool>,
    /// Probes with a right answer.
    pub successes: u64,
    /// Others, by kind.
    pub failures: BTreeMap<String, u64>,
    /// How long probes took, those left out that could not be made.
    pub durations: HistogramStatus,
    /// Until when the server's certificate is valid, seconds since the Unix epoch.
    pub certificate_expires: Option<i64>,
    /// The latest of all beginnings of its probes.
    pub worst_lateness_seconds: f64,
}

/// A probe that has ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ProbeStatus {
    /// When it began, seconds since the Unix epoch.
    pub began: f64,
    /// How long it took.
    pub latency_seconds: f64,
    /// `success`, or the kind of failure: `silent`, `refused`, `hung`, `wrong`, `local`.
    pub result: String,
}

/// A histogram in seconds.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct HistogramStatus {
    /// Upper bounds; beyond the last there is one more count.
    pub bounds: Vec<f64>,
    /// Observations by bound, not cumulative.
    pub counts: Vec<u64>,
    /// Sum of all.
    pub sum: f64,
}

/// The prober.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ProberStatus {
    /// Checks; those that ask the same of the same backend are one.
    pub checks: u64,
    /// Probes under way.
    pub running: u64,
    /// Probes that may be under way at a time.
    pub limit: u64,
    /// Checks whose first probe has not begun.
    pub waiting: u64,
    /// Probes that were begun.
    pub started: u64,
    /// How late they began.
    pub lateness: HistogramStatus,
    /// The latest of them.
    pub worst_lateness_seconds: f64,
    /// The same as a share of the check's interval, the worst of all.
    pub worst_lateness_share: f64,
    /// How late the last probe began that began a tenth of its interval late or more, if that was within a minute.
    pub late_seconds: Option<f64>,
    /// Probes that did not end by themselves. Must be 0.
    pub faults: u64,
}

/// Puts what is said of checks into a status that was made at the same time.
pub fn put(status: &mut Status, uses: &Uses, prober: ProberStatus, views: &[CheckView], epoch: Epoch) {
    let views: HashMap<&Spec, &CheckView> = views.iter().map(|view| (&*view.spec, view)).collect();
    for service in &mut status.services {
        for backend in service.backends.iter_mut().filter(|backend| !backend.leaving) {
            let checks = uses.of(&service.name, &backend.name).iter();
            let known = checks.filter_map(|named| Some(CheckStatus::new(named, views.get(&*named.spec)?, epoch)));
            backend.checks = known.collect();
        }
    }
    status.warnings.extend(prober.warnings());
    status.prober = Some(prober);
}

impl CheckStatus {
    fn new(named: &Named, view: &CheckView, epoch: Epoch) -> Self {
        let CheckView { spec, record, agent, .. } = view;
        Self {
            check: named.name.to_string(),
            target: spec.target.to_string(),
            via: match spec.target.way {
                Way::Plain => "address".to_owned(),
                Way::Steered { .. } => "service".to_owned(),
            },
            interval_seconds: spec.timing.interval.as_secs_f64(),
            state: view.state,
            since: epoch.wall(view.since),
            why: view.why.clone(),
            last: record.last.map(|last| ProbeStatus {
                began: epoch.wall(last.began),
                latency_seconds: last.took.as_secs_f64(),
                result: last.result.map_or_else(FailureKind::name, |()| "success").to_owned(),
            }),
            next: view.next.map(|next| epoch.wall(next)),
            flaps: view.flaps,
            rise: view.rise,
            agent_percent: agent.percent,
            agent_drain: agent.drain,
            successes: record.successes,
            failures: FailureKind::ALL.iter().map(|kind| kind.name().to_owned()).zip(record.failures).collect(),
            durations: HistogramStatus::new(&DURATION_BOUNDS, &record.durations),
            certificate_expires: record.certificate_expires,
            worst_lateness_seconds: record.worst_lateness.as_secs_f64(),
        }
    }
}

impl ProberStatus {
    /// From what the prober says at a moment, monotonic; `faults` are probes that did not end by themselves.
    pub fn new(at: Duration, summary: &Summary, faults: u64) -> Self {
        let late = summary.late.filter(|late| at.saturating_sub(late.at) < RECENT);
        Self {
            checks: summary.checks as u64,
            running: summary.running as u64,
            limit: summary.limit as u64,
            waiting: summary.waiting as u64,
            started: summary.started,
            lateness: HistogramStatus::new(&LATENESS_BOUNDS, &summary.lateness),
            worst_lateness_seconds: summary.worst_lateness.as_secs_f64(),
            worst_lateness_share: summary.worst_share,
            late_seconds: late.map(|late| late.by.as_secs_f64()),
            faults,
        }
    }

    /// What an operator should know.
    fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        if let Some(late) = self.late_seconds {
            warnings.push(format!(
                "checks begin up to {late:.1} s late: this host is too busy for so many, or too few probes may run at a \
                 time ({})",
                self.limit
            ));
        }
        if self.faults > 0 {
            warnings.push(format!("{} probes did not end by themselves: please report this with the log", self.faults));
        }
        warnings
    }
}

impl HistogramStatus {
    fn new<const N: usize>(bounds: &[Duration; N], histogram: &Histogram<N>) -> Self {
        Self {
            bounds: bounds.iter().map(Duration::as_secs_f64).collect(),
            counts: histogram.counts.iter().copied().chain([histogram.beyond]).collect(),
            sum: histogram.sum.as_secs_f64(),
        }
    }
}
