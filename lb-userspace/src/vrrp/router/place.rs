//! Where a virtual router speaks: its interface, and the address it speaks from.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv6Addr};

use ipnet::IpNet;

use crate::config::VirtualRouter;
use crate::vrrp::event::Link;
use crate::vrrp::priority::OWNER;

/// Index of the loopback interface, the same in every network namespace (`LOOPBACK_IFINDEX` of the kernel).
pub const LOOPBACK: u32 = 1;

/// The interface, as one virtual router sees it.
#[derive(Clone, Debug, PartialEq)]
pub struct Place {
    /// Index of the interface.
    pub index: u32,
    /// Up and with carrier.
    pub running: bool,
    /// MAC address of the interface.
    pub mac: [u8; 6],
    /// Source of advertisements; `None`: there is none to be used.
    pub source: Option<IpAddr>,
    /// The interface's own addresses, without those that virtual routers hold.
    pub own: Vec<IpNet>,
    is_ipv4: bool,
}

impl Place {
    /// `held` are the addresses of all virtual routers: they come and go, so nobody speaks from them but their owner.
    pub fn new(config: &VirtualRouter, link: &Link, held: &BTreeSet<IpAddr>) -> Self {
        let is_owner = config.priority == OWNER;
        let is_own = |address: &&IpNet| is_owner || !held.contains(&address.addr());
        let own: Vec<IpNet> = link.addresses.iter().filter(is_own).copied().collect();
        let source = config.unicast_source.or_else(|| primary(&own, config.is_ipv4()));
        Self { index: link.index, running: link.running, mac: link.mac, source, own, is_ipv4: config.is_ipv4() }
    }

    /// What is looked for as source.
    pub fn wanted_source(&self) -> &'static str {
        if self.is_ipv4 { "IPv4 address" } else { "IPv6 link-local address" }
    }

    /// Whether a packet from there is our own.
    pub fn is_own(&self, address: IpAddr) -> bool {
        self.source == Some(address) || self.own.iter().any(|own| own.addr() == address)
    }
}

/// The primary IPv4 address is the first one; IPv6 speaks from a link-local address (RFC 9568 section 5.1.2.1).
fn primary(own: &[IpNet], is_ipv4: bool) -> Option<IpAddr> {
    own.iter().map(IpNet::addr).find(|address| match address {
        IpAddr::V4(_) => is_ipv4,
        IpAddr::V6(address) => !is_ipv4 && is_link_local(*address),
    })
}

/// Within fe80::/10 (RFC 4291 section 2.5.6).
pub fn is_link_local(address: Ipv6Addr) -> bool {
    address.segments()[0] & 0xffc0 == 0xfe80
}

/// The virtual router's MAC address (RFC 9568 section 7.3).
pub fn virtual_mac(config: &VirtualRouter) -> [u8; 6] {
    [0x00, 0x00, 0x5e, 0x00, if config.is_ipv4() { 0x01 } else { 0x02 }, config.vrid]
}
