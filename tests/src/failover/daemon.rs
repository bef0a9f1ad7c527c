//! A node of a cluster: how Fairway and keepalived are configured for the bench, and what can be done to each.

use std::net::IpAddr;
use std::ops::Range;

use anyhow::{Result, bail, ensure};
use fairway::playground::Lab;
use fairway::playground::topology::{GATEWAY_V4, SERVICE_V4, backend_v4, balancer_v4};
use nix::sys::signal::Signal;

use super::cluster::BACKENDS;
use super::offer::{Offer, offers};
use super::plan::{Peer, Setup};
use crate::harness::Fairway;
use crate::vrrp::{Family, Keepalived, Node as _, PeerLink, Router, preamble};

/// Those of the first and second node; keepalived's figures in the literature, and ours, are for these.
const PRIORITIES: [u8; 2] = [200, 100];
const VRID: u8 = 51;
/// How long a node that stepped down or restarted leaves the other alone: as short as a bench can wait.
const HOLD: &str = "1s";
/// Heartbeats missed until a node is taken for dead.
const MISSES: u32 = 3;

/// A running daemon.
pub enum Daemon {
    /// keepalived, or its remains after a signal.
    Keepalived(Keepalived),
    /// Fairway.
    Fairway(Fairway),
}

impl Daemon {
    /// Starts that of a node, counted from 0, and waits until it has read its configuration.
    pub fn start(lab: &Lab, setup: Setup, index: usize) -> Self {
        let router = router(setup, index);
        match setup.peer {
            Peer::Keepalived => Self::Keepalived(Keepalived::start(lab, index, &[router])),
            Peer::Fairway => {
                let fairway = Fairway::start_on(lab, index, &configuration(lab, setup, index, 0..BACKENDS));
                fairway.wait_until_ready();
                Self::Fairway(fairway)
            }
        }
    }

    /// Puts another backend in the place of the first.
    pub fn replace_backend(&self, lab: &Lab, setup: Setup, index: usize) -> Result<()> {
        let Self::Fairway(fairway) = self else { bail!("keepalived has no backends here") };
        let output = fairway.reload(&configuration(lab, setup, index, 1..BACKENDS + 1));
        let errors = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "fairway reload ({}): {errors}", output.status);
        Ok(())
    }

    /// Takes a backend of each service out of the choice for new flows.
    pub fn drain(&self, offers: &[Offer]) -> Result<()> {
        let Self::Fairway(fairway) = self else { bail!("keepalived has no backends here") };
        for offer in offers {
            let backend = backend_v4(0).to_string();
            let output = fairway.command(&["backend", "drain", offer.name, &backend]);
            let errors = String::from_utf8_lossy(&output.stderr);
            ensure!(output.status.success(), "fairway backend drain ({}): {errors}", output.status);
        }
        Ok(())
    }

    /// SIGTERM; returns when it has ended.
    pub fn stop(&mut self) {
        match self {
            Self::Keepalived(keepalived) => keepalived.stop(),
            Self::Fairway(fairway) => drop(fairway.stop()),
        }
    }

    /// SIGKILL for all of its processes.
    pub fn power_off(&mut self) {
        match self {
            Self::Keepalived(keepalived) => keepalived.kill(),
            Self::Fairway(fairway) => {
                Family::of(fairway.pid()).kill();
                fairway.kill();
            }
        }
    }

    /// SIGKILL for what speaks VRRP, and not for what watches over it, if that outlives it: keepalived's parent would
    /// only start another.
    pub fn kill(&mut self) {
        match self {
            Self::Keepalived(keepalived) => keepalived.kill(),
            Self::Fairway(fairway) => speaker(fairway).signal(Signal::SIGKILL),
        }
    }

    /// SIGSTOP for what speaks VRRP.
    pub fn freeze(&mut self) {
        self.signal_speaker(Signal::SIGSTOP);
    }

    /// Undoes [`Self::freeze`] and says whether the daemon still runs.
    pub fn thaw(&mut self) -> bool {
        self.signal_speaker(Signal::SIGCONT);
        match self {
            Self::Keepalived(_) => true,
            Self::Fairway(fairway) => speaker(fairway).is_alive(),
        }
    }

    /// A planned hand-over.
    pub fn resign(&mut self) -> Result<()> {
        self.order("resign")
    }

    /// Undoes [`Self::resign`].
    pub fn resume(&mut self) -> Result<()> {
        self.order("resume")
    }

    /// How often it has become master, by its log.
    pub fn takeovers(&self) -> usize {
        let said = match self {
            Self::Keepalived(_) => "Entering MASTER STATE",
            Self::Fairway(_) => "→ master",
        };
        self.log().matches(said).count()
    }

    /// What it has logged.
    pub fn log(&self) -> String {
        match self {
            Self::Keepalived(keepalived) => keepalived.log(),
            Self::Fairway(fairway) => fairway.log(),
        }
    }

    fn signal_speaker(&self, signal: Signal) {
        match self {
            Self::Keepalived(keepalived) => keepalived.speaker().signal(signal),
            Self::Fairway(fairway) => speaker(fairway).signal(signal),
        }
    }

    fn order(&self, what: &str) -> Result<()> {
        let Self::Fairway(fairway) = self else { bail!("keepalived cannot {what}") };
        let output = fairway.command(&["vrrp", what, "--all"]);
        let errors = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "fairway vrrp {what} --all ({}): {errors}", output.status);
        Ok(())
    }
}

/// The daemon without its supervisor.
fn speaker(fairway: &Fairway) -> Family {
    Family::only(fairway.pid())
}

fn router(setup: Setup, index: usize) -> Router {
    let mut addresses = vec![IpAddr::V4(SERVICE_V4)];
    if setup.translates() {
        addresses.push(GATEWAY_V4.into());
    }
    Router::new(VRID, setup.interval, PRIORITIES[index], addresses)
}

fn configuration(lab: &Lab, setup: Setup, index: usize, backends: Range<usize>) -> String {
    let router = router(setup, index);
    let mut text = preamble(lab, index);
    text += "\n[dataplane]\ninterfaces = [\"eth0\"]\nhash_seed = \"bench\"\n";
    if setup.variant.mix {
        text += &format!("source_nat_addresses = [\"{GATEWAY_V4}\"]\n");
    }
    text += &router.for_fairway();
    if let Some(heartbeat) = setup.variant.heartbeat {
        let other = balancer_v4(1 - index).into();
        let link = PeerLink { other, heartbeat: Some((heartbeat, MISSES)), hold: HOLD };
        text += &link.for_fairway(lab).expect("the lab's directory is writable");
    }
    offers(setup).iter().for_each(|offer| text += &offer.configuration(&router.name(), backends.clone()));
    text
}
