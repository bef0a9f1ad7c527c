//! `failover [--json FILE] [--rounds N] [--peer P] [--fault F] [--interval MS] [--variant V]`: how long a service is away
//! when something happens to the balancer that serves it. Needs root, and keepalived to compare with. Ends with failure
//! when a round could not be done.

use std::process::ExitCode;

use anyhow::{Context as _, Result, ensure};
use fairway_tests::failover::cluster::Cluster;
use fairway_tests::failover::idle;
use fairway_tests::failover::plan::{Fault, Plan, Setup};
use fairway_tests::failover::report::{self, Row};
use fairway_tests::failover::{round, servers};
use nix::sys::resource::{Resource, getrlimit, setrlimit};

fn main() -> Result<ExitCode> {
    let mut words = std::env::args().skip(1).peekable();
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE).context("asking how many descriptors there may be")?;
    setrlimit(Resource::RLIMIT_NOFILE, most, most).context("asking for descriptors")?;
    if words.next_if(|word| word == servers::SERVE).is_some() {
        servers::serve_here(words)?;
        return Ok(ExitCode::SUCCESS);
    }
    let plan = Plan::parse(words)?;
    ensure!(nix::unistd::geteuid().is_root(), "the failover bench needs root: `cargo xtask bench failover` sees to it");
    fairway::playground::clean().context("removing what an earlier run left")?;
    println!("{}", report::header());
    let mut rows = Vec::new();
    let mut idle_rows = Vec::new();
    for interval in plan.intervals() {
        if let Some(time) = plan.idle {
            let clusters = plan.setups(interval).into_iter().map(Cluster::start).collect::<Result<Vec<_>>>()?;
            for row in idle::run(&clusters, time) {
                println!("{}", row.line());
                idle_rows.push(row.json().clone());
            }
            continue;
        }
        let mut contest = Contest::start(plan.setups(interval))?;
        for fault in plan.faults() {
            for row in contest.rows(fault, plan.rounds) {
                println!("{}", row.line());
                row.failures.iter().for_each(|failure| eprintln!("{failure}"));
                rows.push(row);
            }
        }
    }
    if let Some(path) = &plan.json {
        std::fs::write(path, format!("{:#}\n", report::json(&rows, idle_rows)))
            .with_context(|| format!("writing {}", path.display()))?;
    }
    let is_whole = rows.iter().all(|row| row.failures.is_empty());
    Ok(if is_whole { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Clusters that are compared: all run all the time, and take turns, so that all see the same machine.
struct Contest {
    clusters: Vec<Option<Cluster>>,
    setups: Vec<Setup>,
}

impl Contest {
    fn start(setups: Vec<Setup>) -> Result<Self> {
        let clusters = setups.iter().map(|setup| Cluster::start(*setup).map(Some)).collect::<Result<_>>()?;
        Ok(Self { clusters, setups })
    }

    /// The rounds of one fault, by turns.
    fn rows(&mut self, fault: Fault, rounds: u32) -> Vec<Row> {
        let mut rows: Vec<Row> = self.setups.iter().map(|setup| Row::new(*setup, fault)).collect();
        for _ in 0..rounds {
            for (index, row) in rows.iter_mut().enumerate() {
                if self.setups[index].allows(fault) {
                    match self.round(index, fault) {
                        Ok(round) => row.add(round),
                        Err(error) => row.failures.push(format!("{error:#}")),
                    }
                }
            }
        }
        rows.retain(|row| !row.is_empty());
        rows
    }

    /// A cluster that fails in a round is replaced in the next.
    fn round(&mut self, index: usize, fault: Fault) -> Result<round::Round> {
        let mut cluster = match self.clusters[index].take() {
            Some(cluster) => cluster,
            None => Cluster::start(self.setups[index])?,
        };
        let round = round::run(&mut cluster, fault)?;
        // What a change of the pool has unsettled would show in later rounds.
        self.clusters[index] = (!matches!(fault, Fault::Replaced | Fault::Changed)).then_some(cluster);
        Ok(round)
    }
}
