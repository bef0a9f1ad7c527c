//! The figures as a table for people and as JSON for what watches them over time.

use serde_json::{Value, json};

use super::harness::{Measured, ProgramSize};

/// The row that costs nothing but the harness.
pub const HARNESS_FLOOR: &str = "floor-transmit";

/// A row's figures, held against its floor.
pub struct Figures<'a> {
    measured: &'a Measured,
    minimum: Option<u32>,
    median: Option<u32>,
    floor_minimum: Option<u32>,
    /// What test loop and trampoline cost by themselves.
    harness_minimum: Option<u32>,
}

/// Figures of all rows.
pub fn figures(measured: &[Measured]) -> Vec<Figures<'_>> {
    let minimum = |name: &str| {
        measured.iter().find(|other| other.row.name == name).and_then(|other| other.rounds.iter().min().copied())
    };
    measured
        .iter()
        .map(|measured| Figures {
            measured,
            minimum: measured.rounds.iter().min().copied(),
            median: median(&measured.rounds),
            floor_minimum: measured.row.floor.and_then(minimum),
            harness_minimum: minimum(HARNESS_FLOOR),
        })
        .collect()
}

fn median(rounds: &[u32]) -> Option<u32> {
    let mut sorted = rounds.to_vec();
    sorted.sort_unstable();
    sorted.get(sorted.len() / 2).copied()
}

impl Figures<'_> {
    /// The row's minimum against its floor's.
    pub fn ratio(&self) -> Option<f64> {
        Some(f64::from(self.minimum?) / f64::from(self.floor_minimum?))
    }

    /// Whether the row is an error, or above its target.
    pub fn is_missed(&self) -> bool {
        self.measured.error.is_some()
            || self.measured.row.target.is_some_and(|target| self.ratio().is_none_or(|ratio| ratio > target))
    }

    fn json(&self) -> Value {
        let row = &self.measured.row;
        let mut value = json!({
            "name": row.name,
            "ns_min": self.minimum,
            "ns_median": self.median,
            "floor": row.floor,
            "floor_ns_min": self.floor_minimum,
            "ratio": self.ratio().map(|ratio| (ratio * 100.0).round() / 100.0),
            "target": row.target,
        });
        if let Some(error) = &self.measured.error {
            value["error"] = json!(format!("{error:#}"));
        }
        value
    }

    fn line(&self) -> String {
        let row = &self.measured.row;
        if let Some(error) = &self.measured.error {
            return format!("{:<30} error: {error:#}", row.name);
        }
        let number = |value: Option<u32>| value.map_or(String::from("-"), |value| value.to_string());
        let ratio = self.ratio().map_or(String::from("-"), |ratio| format!("{ratio:.2}"));
        let target = row.target.map_or(String::from("-"), |target| format!("{target:.2}"));
        let verdict = match (row.target, self.is_missed()) {
            (None, _) => "",
            (Some(_), false) => "met",
            (Some(_), true) => "MISSED",
        };
        let net = self.minimum.zip(self.harness_minimum).map(|(minimum, harness)| minimum.saturating_sub(harness));
        format!(
            "{:<30} {:>6} {:>6} {:>5}  {:<16} {:>6} {:>7}  {verdict}",
            row.name,
            number(self.minimum),
            number(self.median),
            number(net),
            row.floor.unwrap_or("-"),
            ratio,
            target
        )
        .trim_end()
        .to_owned()
    }
}

/// The table.
pub fn table(figures: &[Figures<'_>], size: &ProgramSize) -> String {
    let header = format!(
        "{:<30} {:>6} {:>6} {:>5}  {:<16} {:>6} {:>7}",
        "row", "min", "median", "net", "against", "ratio", "target"
    );
    let mut lines = vec![header];
    lines.extend(figures.iter().map(Figures::line));
    lines.push(format!(
        "nanoseconds a packet, whole as the kernel reports them, loop and trampoline included; ratios by minimum;\n\
         net = minimum less {HARNESS_FLOOR}'s\n\
         program: {} instructions verified, {} octets of machine code",
        size.verified, size.machine_code
    ));
    lines.join("\n")
}

/// The JSON document.
pub fn json(figures: &[Figures<'_>], size: &ProgramSize) -> Value {
    let mut machine = machine();
    machine["instructions_verified"] = json!(size.verified);
    machine["machine_code_bytes"] = json!(size.machine_code);
    json!({ "machine": machine, "rows": figures.iter().map(Figures::json).collect::<Vec<_>>() })
}

/// What the figures were taken on.
pub fn machine() -> Value {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let cpuinfo = read("/proc/cpuinfo");
    let cpu = cpuinfo
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(':').map(|(_, name)| name.trim().to_owned()));
    json!({
        "cpu": cpu,
        "cpus": cpuinfo.lines().filter(|line| line.starts_with("processor")).count(),
        "kernel": read("/proc/sys/kernel/osrelease").trim(),
        "load": read("/proc/loadavg").split(' ').next(),
        "bpf_jit_harden": read("/proc/sys/net/core/bpf_jit_harden").trim(),
    })
}
