//! One round: probes and connections before, during and after a fault.

use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use super::churn::Broken;
use super::clock::now;
use super::cluster::{Cluster, service};
use super::outage::{self, Outage};
use super::plan::Fault;
use super::prober::Prober;
use super::steal::Ticks;

/// Of probing before anything happens.
const LEAD: Duration = Duration::from_millis(300);
/// Between probes: what is to be seen lasts some milliseconds.
const PACE: Duration = Duration::from_micros(200);
/// Of probing after the takeover, and of rest after the healing, at least.
const SETTLE: Duration = Duration::from_millis(1500);

/// Probes that may be lost before anything happens, of some thousand: a receive buffer on a busy machine. A round that
/// begins without the service says nothing about the fault.
const TOLERATED: usize = 50;

/// What one round has shown.
#[derive(Clone, Debug)]
pub struct Round {
    /// Of the probes.
    pub outage: Outage,
    /// Connections that broke; unknown where there are none.
    pub broken: Option<u64>,
    /// The same of those that come and go.
    pub churn: Option<Broken>,
    /// Whether the node that is out of service kept the address.
    pub address_left: bool,
    /// Share of CPU time that the hypervisor gave to others meanwhile, in per cent.
    pub stolen: f64,
}

/// Does a round and makes the cluster whole again.
pub fn run(cluster: &mut Cluster, fault: Fault) -> Result<Round> {
    let setup = cluster.setup();
    let settle = SETTLE.max(2 * setup.interval);
    cluster.prepare(fault)?;
    thread::sleep(settle);
    let broken_before = cluster.broken();
    let ticks = Ticks::now();
    let prober = Prober::start(&cluster.lab().client(), service(), PACE)?;
    thread::sleep(LEAD + random_part_of(setup.interval));
    let struck = cluster.strike(fault).with_context(|| format!("{fault} at {setup:?}"));
    thread::sleep(settle);
    let probes = prober.stop();
    let address_left = fault.leaves_both_reachable() && cluster.is_address_left();
    let broken = broken_before.and_then(|before| {
        cluster.wait_for_answers();
        Some(cluster.broken()? - before)
    });
    let struck = struck?;
    let unanswered = outage::lost_before(&probes, struck);
    ensure!(unanswered <= TOLERATED, "{unanswered} probes were lost before {fault}: the service was not there");
    let churn = cluster.broken_churn(struck);
    let (outage, stolen) = (Outage::of(&probes, struck), Ticks::now().stolen_since(ticks));
    let round = Round { outage, broken, churn, address_left, stolen };
    cluster.heal(fault)?;
    Ok(round)
}

/// So that faults fall anywhere between two advertisements: the clock's last digits are as random as that needs.
fn random_part_of(interval: Duration) -> Duration {
    interval.mul_f64((now() / 1000 % 1009) as f64 / 1009.0)
}
