//! The figures, as a table for people and as JSON for what watches them over time.

use serde_json::{Value, json};

use super::churn::Broken;
use super::plan::{Fault, Setup};
use super::round::Round;
use crate::bench::report::machine;

/// The rounds of one fault in one cluster.
pub struct Row {
    setup: Setup,
    fault: Fault,
    rounds: Vec<Round>,
    /// Rounds that could not be finished, and why.
    pub failures: Vec<String>,
}

impl Row {
    /// One without rounds yet.
    pub fn new(setup: Setup, fault: Fault) -> Self {
        Self { setup, fault, rounds: Vec::new(), failures: Vec::new() }
    }

    /// Adds a round.
    pub fn add(&mut self, round: Round) {
        self.rounds.push(round);
    }

    /// Whether no round was even tried.
    pub fn is_empty(&self) -> bool {
        self.rounds.is_empty() && self.failures.is_empty()
    }

    /// A line of the table.
    pub fn line(&self) -> String {
        let [min, p50, p90, max] = quantiles(self.rounds.iter().map(|round| round.outage.gap_ms));
        format!(
            "{:<10} {:<14} {:<9} {:>5} {:>3} {min:>8.1} {p50:>8.1} {p90:>8.1} {max:>8.1} {:>7} {:>11} {:>5} {:>6.1}{}",
            self.setup.peer,
            self.setup.variant,
            self.fault,
            self.setup.interval.as_millis(),
            self.rounds.len(),
            self.lost(),
            self.broken_in_words(),
            self.addresses_left(),
            self.stolen(),
            if self.failures.is_empty() { String::new() } else { format!("  {} FAILED", self.failures.len()) },
        )
    }

    fn json(&self) -> Value {
        let [min, p50, p90, max] = quantiles(self.rounds.iter().map(|round| round.outage.gap_ms));
        json!({
            "peer": self.setup.peer.to_string(),
            "variant": self.setup.variant.name,
            "fault": self.fault.to_string(),
            "interval_ms": self.setup.interval.as_millis() as u64,
            "n": self.rounds.len(),
            "gap_ms": { "min": min, "p50": p50, "p90": p90, "max": max },
            "lost_probes": self.lost(),
            "broken_connections": self.broken(),
            "broken_coming_and_going": self.churn().map(|it| json!({ "old": it.old, "young": it.young })),
            "addresses_left": self.addresses_left(),
            "stolen_percent": (self.stolen() * 10.0).round() / 10.0,
            "failures": self.failures,
        })
    }

    fn lost(&self) -> usize {
        self.rounds.iter().map(|round| round.outage.lost).sum()
    }

    fn broken(&self) -> Option<u64> {
        self.rounds.iter().map(|round| round.broken).sum()
    }

    fn churn(&self) -> Option<Broken> {
        self.rounds.iter().map(|round| round.churn).try_fold(Broken::default(), |sum, more| Some(sum + more?))
    }

    fn broken_in_words(&self) -> String {
        let Some(broken) = self.broken() else { return "-".to_owned() };
        self.churn().map_or(broken.to_string(), |churn| format!("{broken}+{}/{}", churn.old, churn.young))
    }

    fn addresses_left(&self) -> usize {
        self.rounds.iter().filter(|round| round.address_left).count()
    }

    fn stolen(&self) -> f64 {
        self.rounds.iter().map(|round| round.stolen).fold(0.0, f64::max)
    }
}

/// What stands above the lines.
pub fn header() -> String {
    format!(
        "{:<10} {:<14} {:<9} {:>5} {:>3} {:>8} {:>8} {:>8} {:>8} {:>7} {:>11} {:>5} {:>6}\n{}",
        "peer",
        "variant",
        "fault",
        "ms",
        "n",
        "gap min",
        "p50",
        "p90",
        "max",
        "lost",
        "broken",
        "left",
        "steal",
        "gap: longest time without an answer, ms; lost: probes of all rounds; broken: connections of all rounds, + of those\n\
         that come and go: older than 20 ms / younger;\n\
         left: rounds in which the node out of service kept the address; steal: most of CPU time stolen in a round, %"
    )
}

/// The JSON document.
pub fn json(rows: &[Row], idle: Vec<Value>) -> Value {
    json!({ "machine": machine(), "rows": rows.iter().map(Row::json).chain(idle).collect::<Vec<_>>() })
}

/// Minimum, median, 90th percentile and maximum, rounded to hundredths: nothing where there are no values.
fn quantiles(values: impl Iterator<Item = f64>) -> [f64; 4] {
    let mut sorted: Vec<f64> = values.collect();
    sorted.sort_by(f64::total_cmp);
    let at = |share: f64| {
        let index = (share * sorted.len().saturating_sub(1) as f64).round() as usize;
        sorted.get(index).map_or(f64::NAN, |value| (value * 100.0).round() / 100.0)
    };
    [0.0, 0.5, 0.9, 1.0].map(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_values_that_were_measured() {
        let values = (1..=10).rev().map(f64::from);
        assert_eq!(quantiles(values), [1.0, 6.0, 9.0, 10.0]);
        assert_eq!(quantiles([7.0].into_iter()), [7.0; 4]);
        assert!(quantiles([].into_iter()).iter().all(|value| value.is_nan()));
    }
}
