//! What there is to know of this host. Whatever cannot be read is `None` and judged by nobody: no findings by guess.

mod vrrp;

pub use vrrp::{VrrpHost, VrrpInterface};

use std::collections::BTreeMap;
use std::fs;
use std::net::IpAddr;
use std::path::Path;

use nix::ifaddrs::getifaddrs;
use nix::sys::socket::SockaddrStorage;

use crate::config::Config;
use crate::effects::dataplane::grace;
use crate::effects::netlink::ethtool::{self, Offload};
use crate::effects::netlink::read_links;
use crate::effects::own_client::OwnClient;
use crate::nexthop::{Link, LinkKind, Links};

/// This host, as far as it matters.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Host {
    /// `6.12.0-1-amd64`
    pub kernel: Option<String>,
    /// The bits of `CapEff`.
    pub capabilities: Option<u64>,
    /// `net.core.bpf_jit_enable`; to be seen in the first network namespace only.
    pub jit: Option<String>,
    /// Why a grace period cannot be waited for.
    pub no_grace: Option<String>,
    /// The interfaces that the configuration names.
    pub interfaces: BTreeMap<String, Interface>,
    /// Addresses of this host.
    pub addresses: Option<Vec<IpAddr>>,
    /// First and last of the ports that the kernel gives of its own accord: `net.ipv4.ip_local_port_range`.
    pub local_ports: Option<(u16, u16)>,
    /// Ports among these that it leaves alone: `net.ipv4.ip_local_reserved_ports`.
    pub reserved_ports: Vec<(u16, u16)>,
    /// `net.ipv4.conf.all.rp_filter`: what holds on every interface at least.
    pub rp_filter: Option<u8>,
    /// Policy rules that are in the way of this host as a client of its services: of which family (IPv4), and why.
    pub rules_in_the_way: Vec<(bool, String)>,
    /// Whether somebody else has an interface of the name of our pair.
    pub foreign_pair: bool,
    /// What virtual routers care about.
    pub vrrp: VrrpHost,
}

/// An interface.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Interface {
    /// Whether there is one of this name.
    pub exists: bool,
    /// Whether it is administratively up.
    pub up: Option<bool>,
    /// Largest IP packet.
    pub mtu: Option<u32>,
    /// Whether IPv4 packets that come in may leave elsewhere.
    pub forwarding_v4: Option<bool>,
    /// The same for IPv6.
    pub forwarding_v6: Option<bool>,
    /// How strictly it looks at whether packets come in where their source is routed to.
    pub rp_filter: Option<u8>,
    /// The VRF that it belongs to.
    pub vrf: Option<String>,
    /// The other end of a veth, where it is in this namespace and leaves checksums for a device to complete that there is
    /// not. In another namespace it cannot be looked at.
    pub unfinished_checksums_of: Option<String>,
}

impl Host {
    /// Looks around.
    pub fn look(config: Option<&Config>) -> Self {
        let names = config.map(|config| config.dataplane.interfaces.as_slice()).unwrap_or_default();
        // By netlink and not by /sys/class/net, which may show another network namespace than the one we are in.
        let links = read_links().ok();
        let is_own_client = config.is_some_and(|config| config.dataplane.own_client);
        let (rules_in_the_way, foreign_pair) = if is_own_client { OwnClient::obstacles() } else { Default::default() };
        Self {
            kernel: word("/proc/sys/kernel/osrelease"),
            capabilities: capabilities(),
            jit: word("/proc/sys/net/core/bpf_jit_enable"),
            no_grace: grace::wait().err().map(|error| format!("{error:#}")),
            interfaces: names.iter().map(|name| (name.clone(), interface(name, links.as_ref()))).collect(),
            addresses: addresses(),
            local_ports: local_ports(),
            reserved_ports: word("/proc/sys/net/ipv4/ip_local_reserved_ports").map_or_else(Vec::new, |it| ranges(&it)),
            rp_filter: word("/proc/sys/net/ipv4/conf/all/rp_filter").and_then(|value| value.parse().ok()),
            rules_in_the_way,
            foreign_pair,
            vrrp: config.map_or_else(VrrpHost::default, |config| VrrpHost::look(config, links.as_ref())),
        }
    }
}

fn word(path: impl AsRef<Path>) -> Option<String> {
    fs::read_to_string(path).ok().map(|text| text.trim().to_owned())
}

fn switch(path: String) -> Option<bool> {
    word(path).map(|value| value != "0")
}

fn local_ports() -> Option<(u16, u16)> {
    let text = word("/proc/sys/net/ipv4/ip_local_port_range")?;
    let mut numbers = text.split_whitespace().map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

/// `8080,9000-9010`
fn ranges(text: &str) -> Vec<(u16, u16)> {
    let range = |part: &str| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        Some((first.parse().ok()?, last.parse().ok()?))
    };
    text.split(',').filter_map(range).collect()
}

fn capabilities() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let bits = status.lines().find_map(|line| line.strip_prefix("CapEff:"))?;
    u64::from_str_radix(bits.trim(), 16).ok()
}

fn interface(name: &str, links: Option<&Links>) -> Interface {
    let link = links.and_then(|links| links.by_name(name));
    Interface {
        exists: links.is_none() || link.is_some(),
        up: link.map(|link| link.enabled),
        mtu: link.map(|link| link.mtu),
        forwarding_v4: switch(format!("/proc/sys/net/ipv4/conf/{name}/forwarding")),
        forwarding_v6: switch(format!("/proc/sys/net/ipv6/conf/{name}/forwarding")),
        rp_filter: word(format!("/proc/sys/net/ipv4/conf/{name}/rp_filter")).and_then(|value| value.parse().ok()),
        vrf: link.zip(links).and_then(|(link, links)| vrf(link, links)),
        unfinished_checksums_of: link.zip(links).and_then(|(link, links)| unfinished_checksums_of(link, links)),
    }
}

fn vrf(link: &Link, links: &Links) -> Option<String> {
    let master = links.get(link.master?)?;
    matches!(&master.kind, LinkKind::Other(kind) if kind == "vrf").then(|| master.name.clone())
}

fn unfinished_checksums_of(link: &Link, links: &Links) -> Option<String> {
    let peer = links.veth_peer(link.index)?;
    let unfinished = ethtool::offload(&peer.name, Offload::TransmitChecksum).ok()?;
    unfinished.then(|| peer.name.clone())
}

fn addresses() -> Option<Vec<IpAddr>> {
    let all = getifaddrs().ok()?.filter_map(|entry| entry.address);
    Some(all.filter_map(|entry| address(&Some(entry))).collect())
}

fn address(entry: &Option<SockaddrStorage>) -> Option<IpAddr> {
    let entry = entry.as_ref()?;
    let v4 = entry.as_sockaddr_in().map(|address| IpAddr::V4(address.ip()));
    v4.or_else(|| entry.as_sockaddr_in6().map(|address| IpAddr::V6(address.ip())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reserved_ports_are_read_as_the_kernel_writes_them() {
        assert_eq!(ranges("8080,9000-9010"), [(8080, 8080), (9000, 9010)]);
        assert_eq!(ranges(""), []);
    }

    #[test]
    fn this_host_has_a_kernel_and_a_loopback_address() {
        let host = Host::look(None);
        assert!(host.kernel.is_some() && host.capabilities.is_some());
        assert!(host.addresses.is_some());
    }
}
