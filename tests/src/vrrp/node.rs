//! What all nodes can do.

use std::net::IpAddr;

use fairway::playground::{Lab, Namespace};
use nix::ifaddrs::getifaddrs;
use nix::net::if_::InterfaceFlags;

use super::{FairwayNode, Frr, Keepalived, Router};

/// Which program a node runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The one under test.
    Fairway,
    /// Debian's keepalived.
    Keepalived,
    /// FRR's zebra and vrrpd.
    Frr,
}

/// A balancer of a lab on which a program speaks VRRP. Dropped, it is stopped, and shown is its log if the test failed.
pub trait Node {
    /// Whether it has what floats with this router, as whoever sends a packet there would find.
    fn holds(&self, router: &Router) -> bool;

    /// Gives it the same routers with other settings.
    fn reload(&mut self, routers: &[Router]);

    /// Ends it by SIGTERM and waits for the end.
    fn stop(&mut self);

    /// Ends all of it by SIGKILL, at once: what a power cut does to it.
    fn kill(&mut self);

    /// What it has logged.
    fn log(&self) -> String;
}

impl Kind {
    /// Starts it on a balancer, counted from 0, and waits until it has read its configuration.
    pub fn start(self, lab: &Lab, index: usize, routers: &[Router]) -> Box<dyn Node> {
        match self {
            Self::Fairway => Box::new(FairwayNode::start(lab, index, routers)),
            Self::Keepalived => Box::new(Keepalived::start(lab, index, routers)),
            Self::Frr => Box::new(Frr::start(lab, index, routers)),
        }
    }
}

/// Whether an interface of the namespace that is up has the address.
pub fn has_address(namespace: &Namespace, address: IpAddr) -> bool {
    let look = || {
        let mut all = getifaddrs().expect("the kernel lists addresses");
        all.any(|interface| {
            let held = interface.address.as_ref().and_then(|held| {
                held.as_sockaddr_in()
                    .map(|v4| IpAddr::V4(v4.ip()))
                    .or_else(|| held.as_sockaddr_in6().map(|v6| IpAddr::V6(v6.ip())))
            });
            held == Some(address) && interface.flags.contains(InterfaceFlags::IFF_RUNNING)
        })
    };
    namespace.run(look).expect("the namespace is there")
}
