//! A test network in namespaces of this machine, as long as its guard lives. `fairway demo` runs in one and so do the
//! namespace tests; [`super::topology`] says what it looks like.

use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Result, bail};

use super::leftovers::{self, ip_batch};
use super::namespace::Namespace;
use super::offload::{self, Offload};
use super::topology::{self, Replies, Role, Spec};
use super::xdp_pass;

/// What was done to the links so that XDP works on veth pairs, for whoever runs a lab to read.
pub const VETH_NOTE: &str = "transmit checksums and segmentation are off at the router's end of each balancer's link \
(veth hands XDP half-done checksums), and a program that passes everything is attached there (veth drops what XDP sends \
to an end without one)";

/// Labs made by this process so far: the second and later ones carry their number in their names.
static LABS: AtomicU32 = AtomicU32::new(0);

/// Namespaces, links, addresses and routes; dropped, they are gone.
#[derive(Debug)]
pub struct Lab {
    prefix: String,
    spec: Spec,
    /// Held, not read: the programs at the router's ends of the balancers' links: they last as long as these.
    passing: Vec<OwnedFd>,
}

impl Lab {
    /// Builds a network like `spec`. Needs root. What a failure leaves half-built is removed.
    pub fn build(spec: &Spec) -> Result<Self> {
        if let Some(problem) = spec.problem() {
            bail!(problem);
        }
        let prefix = next_prefix();
        leftovers::claim(&prefix)?;
        let mut lab = Self { prefix, spec: spec.clone(), passing: Vec::new() };
        lab.create_namespaces()?;
        lab.connect()?;
        lab.make_ready_for_xdp()?;
        Ok(lab)
    }

    /// What it was built to look like.
    pub fn spec(&self) -> &Spec {
        &self.spec
    }

    /// What the names of its namespaces begin with.
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// A directory for files that end with the lab.
    pub fn directory(&self) -> PathBuf {
        leftovers::directory(&self.prefix)
    }

    /// Where daemons of this lab are to pin what they load; it ends with the lab.
    pub fn pin_path(&self) -> PathBuf {
        leftovers::pins(&self.prefix)
    }

    /// The namespace of that role.
    pub fn namespace(&self, role: Role) -> Namespace {
        Namespace::new(format!("{}-{}", self.prefix, role.name()), leftovers::children(&self.prefix))
    }

    /// Where requests come from.
    pub fn client(&self) -> Namespace {
        self.namespace(Role::Client)
    }

    /// What routes between client and servers.
    pub fn router(&self) -> Namespace {
        self.namespace(Role::Router)
    }

    /// A balancer, counted from 0.
    pub fn balancer(&self, index: usize) -> Namespace {
        self.namespace(Role::Balancer(index))
    }

    /// A backend, counted from 0.
    pub fn backend(&self, index: usize) -> Namespace {
        self.namespace(Role::Backend(index))
    }

    /// The addresses at which a backend has to listen on `port`: the service's where answers go straight to the client,
    /// its own where the balancer translates, always both families. A UDP server that listened on the wildcard would
    /// answer from its own address.
    pub fn backend_listeners(&self, index: usize, port: u16) -> Vec<SocketAddr> {
        let own = [topology::backend_v4(index).into(), topology::backend_v6(index).into()];
        let service = [topology::SERVICE_V4.into(), topology::SERVICE_V6.into()];
        let addresses = match self.spec.replies {
            Replies::Direct => [service, own].concat(),
            Replies::ThroughBalancer => own.to_vec(),
        };
        addresses.into_iter().map(|address| SocketAddr::new(address, port)).collect()
    }

    /// Makes a port of the router deliver what an XDP program at its other end sends, as the ports of the balancers'
    /// `eth0` are from the start.
    pub fn ready_port(&mut self, port: &str) -> Result<()> {
        let link = self.router().run(|| ready_port(port))??;
        self.passing.push(link);
        Ok(())
    }

    /// Puts somebody else's XDP program on an interface, natively: one that passes everything, until the result is
    /// dropped.
    pub fn occupy(&self, role: Role, interface: &str) -> Result<OwnedFd> {
        self.namespace(role).run(|| xdp_pass::attach(interface))?
    }

    /// Makes a balancer's `eth0` as it was at the start, after it was deleted.
    pub fn connect_balancer_again(&mut self, index: usize) -> Result<()> {
        let role = Role::Balancer(index);
        ip_batch(None, &self.spec.link_line(&self.prefix, role))?;
        self.ready_port(&topology::router_port(role))?;
        ip_batch(Some(self.router().name()), &topology::bridge_line(role))?;
        ip_batch(Some(self.namespace(role).name()), &self.spec.namespace_lines(role))
    }

    fn create_namespaces(&self) -> Result<()> {
        let mut lines = String::new();
        for role in self.spec.roles() {
            lines += &format!("netns add {}\n", self.namespace(role).name());
        }
        ip_batch(None, &lines)?;
        for role in self.spec.roles() {
            self.namespace(role).set_sysctls(&self.spec.sysctls(role))?;
        }
        Ok(())
    }

    fn connect(&self) -> Result<()> {
        ip_batch(None, &self.spec.link_lines(&self.prefix))?;
        for role in self.spec.roles() {
            ip_batch(Some(self.namespace(role).name()), &self.spec.namespace_lines(role))?;
        }
        Ok(())
    }

    fn make_ready_for_xdp(&mut self) -> Result<()> {
        (0..self.spec.balancers).try_for_each(|index| self.ready_port(&topology::router_port(Role::Balancer(index))))
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        if let Err(error) = leftovers::remove(&self.prefix) {
            eprintln!("{error:#}; `fairway demo --clean` tries again");
        }
    }
}

/// Makes the end of a veth pair that faces an XDP program deliver what the program sends and finish what it receives.
fn ready_port(port: &str) -> Result<OwnedFd> {
    offload::set(port, Offload::TransmitChecksum, false)?;
    offload::set(port, Offload::TcpSegmentation, false)?;
    offload::set(port, Offload::GenericSegmentation, false)?;
    offload::set(port, Offload::GenericReceive, true)?;
    xdp_pass::attach(port)
}

fn next_prefix() -> String {
    let pid = std::process::id();
    match LABS.fetch_add(1, Ordering::Relaxed) {
        0 => format!("fw{pid}"),
        earlier => format!("fw{pid}x{}", earlier + 1),
    }
}
