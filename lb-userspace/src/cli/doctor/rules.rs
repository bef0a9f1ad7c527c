//! What of a host is wrong for Fairway. Pure: facts and configuration in, findings out.

mod own_client;
mod vrrp;

use std::collections::BTreeSet;
use std::net::IpAddr;

use serde::Serialize;

use super::host::{Host, Interface};
use super::host_prefix;
use crate::config::{Config, Forwarding, OnNoBackend};
use crate::reconcile::entries;

/// The oldest kernel that Fairway is tested on.
const OLDEST_KERNEL: (u32, u32) = (6, 1);
/// Bits of the capabilities that the daemon needs, and their names. `CAP_SYS_ADMIN` stands for the last two as well.
const CAP_NET_ADMIN: u64 = 1 << 12;
const CAP_SYS_ADMIN: u64 = 1 << 21;
const CAP_BPF: u64 = 1 << 39;

/// The largest packet that most networks take, hence that most clients send.
const ORDINARY_MTU: u32 = 1500;

/// Something to put right.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Which check found it.
    pub check: &'static str,
    /// What is wrong, and what that does.
    pub what: String,
    /// The command that fixes it.
    pub fix: String,
}

fn finding(check: &'static str, what: impl Into<String>, fix: impl Into<String>) -> Finding {
    Finding { check, what: what.into(), fix: fix.into() }
}

/// Everything that is wrong.
pub fn findings(host: &Host, config: Option<&Config>) -> Vec<Finding> {
    let mut all: Vec<Finding> =
        [kernel(host), capabilities(host, config), jit(host), grace(host)].into_iter().flatten().collect();
    if let Some(config) = config {
        for (name, interface) in &host.interfaces {
            all.extend(interface_findings(name, interface, config));
        }
        all.extend(service_addresses(host, config));
        all.extend(sources(host, config));
        all.extend(own_client::findings(host, config));
        all.extend(vrrp::findings(host, &host.vrrp, config));
    }
    all
}

fn kernel(host: &Host) -> Option<Finding> {
    let release = host.kernel.as_deref()?;
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(str::parse::<u32>);
    let version = (numbers.next()?.ok()?, numbers.next()?.ok()?);
    let what = || format!("Linux {release} is older than {}.{}", OLDEST_KERNEL.0, OLDEST_KERNEL.1);
    (version < OLDEST_KERNEL).then(|| finding("kernel", what(), "apt-get install linux-image-amd64 && reboot"))
}

/// Virtual routers alone need no XDP program.
fn capabilities(host: &Host, config: Option<&Config>) -> Option<Finding> {
    let held = host.capabilities?;
    let without_xdp = config.is_some_and(|config| config.services.is_empty() && !config.virtual_routers.is_empty());
    let enough = held & CAP_NET_ADMIN != 0 && (without_xdp || held & (CAP_BPF | CAP_SYS_ADMIN) != 0);
    let what = "CAP_NET_ADMIN or CAP_BPF is missing: no XDP program can be loaded, and not everything can be looked at";
    (!enough).then(|| finding("capabilities", what, "sudo fairway doctor"))
}

fn jit(host: &Host) -> Option<Finding> {
    let what = "BPF programs are interpreted, many times slower than compiled";
    (host.jit.as_deref()? == "0").then(|| finding("jit", what, "sysctl -w net.core.bpf_jit_enable=1"))
}

fn grace(host: &Host) -> Option<Finding> {
    let why = host.no_grace.as_ref()?;
    let what = format!("table entries cannot be used again safely: {why} (a kernel without it, or nohz_full=)");
    Some(finding("membarrier", what, r#"sed -i 's/nohz_full=[^ "]*//' /etc/default/grub && update-grub && reboot"#))
}

fn interface_findings(name: &str, interface: &Interface, config: &Config) -> Vec<Finding> {
    if !interface.exists {
        let what = format!("there is no interface {name}, which dataplane.interfaces lists");
        return vec![finding("interface", what, "ip -brief link")];
    }
    let mut all = Vec::new();
    if interface.up == Some(false) {
        all.push(finding("interface", format!("{name} is down"), format!("ip link set {name} up")));
    }
    if let Some(peer) = &interface.unfinished_checksums_of {
        let what = format!(
            "{peer}, the other end of {name}, leaves checksums unfinished, which XDP cannot mend: backends drop what it sends"
        );
        all.push(finding("checksums", what, format!("ethtool -K {peer} tx off")));
    }
    if let (Some(mtu), Some(added)) = (interface.mtu, added_by_tunnels(config))
        && mtu < ORDINARY_MTU + added
    {
        let what = format!(
            "{name} takes packets of {mtu} octets: full ones of clients, {ORDINARY_MTU} and {added} of a tunnel's headers, are \
             answered as too big"
        );
        all.push(finding("mtu", what, format!("ip link set {name} mtu {}", ORDINARY_MTU + added)));
    }
    // Replies of nat backends are routed by the kernel's table on behalf of this interface, which the kernel refuses
    // where it would not route itself. The key is written with slashes: VLAN interfaces have a dot in their names.
    let families = [("ipv4", true, interface.forwarding_v4), ("ipv6", false, interface.forwarding_v6)];
    for (family, is_v4, forwarding) in families {
        if forwarding == Some(false) && translates(config, is_v4) {
            let what = format!("{name} does not forward {family}: replies of nat backends find no route to clients");
            all.push(finding("forwarding", what, format!("sysctl -w net/{family}/conf/{name}/forwarding=1")));
        }
    }
    all
}

/// The most that any tunnel adds to a packet.
fn added_by_tunnels(config: &Config) -> Option<u32> {
    let backends = config.services.iter().flat_map(|service| &service.backends);
    backends.filter(|backend| backend.forwarding == Forwarding::Tunnel).map(entries::added_by_tunnel).max()
}

/// Whether any backend of the family is reached by nat.
fn translates(config: &Config, is_v4: bool) -> bool {
    let backends = config.services.iter().flat_map(|service| &service.backends);
    backends.into_iter().any(|backend| backend.forwarding.translates() && backend.address.is_ipv4() == is_v4)
}

/// What full NAT gives flows as their source must come back to this host, and must not be the host's own for the same server.
fn sources(host: &Host, config: &Config) -> Vec<Finding> {
    let dataplane = &config.dataplane;
    let mut all = Vec::new();
    if let Some(local) = &host.addresses {
        let missing = |address: &&IpAddr| !local.contains(address) && !is_held(config, address);
        for address in dataplane.source_nat_addresses.iter().filter(missing) {
            let what =
                format!("{address}, a source of full NAT, is not an address of this host: nobody answers for it");
            let device = dataplane.interfaces.first().map_or("eth0", String::as_str);
            all.push(finding("source", what, format!("ip addr add {address}/{} dev {device}", host_prefix(*address))));
        }
    }
    let (first, last) = dataplane.source_nat_ports;
    let gives = !dataplane.source_nat_addresses.is_empty() || own_client::gives_ports(config);
    let Some((own_first, own_last)) = host.local_ports.filter(|_| gives) else { return all };
    let is_taken = |port: u16| {
        (own_first..=own_last).contains(&port)
            && !host.reserved_ports.iter().any(|&(first, last)| (first..=last).contains(&port))
    };
    if (first..=last).any(is_taken) {
        let what = format!(
            "this host gives its own connections ports from {own_first} to {own_last}, and flows under NAT get those from \
             {first} to {last}: a backend may see the same twice"
        );
        all.push(finding("source", what, format!("sysctl -w net.ipv4.ip_local_reserved_ports={first}-{last}")));
    }
    all
}

/// Whether a virtual router holds an address, here or on another node.
fn is_held(config: &Config, address: &IpAddr) -> bool {
    let routers = config.virtual_routers.iter();
    let mut all = routers.flat_map(|router| router.addresses.iter().chain(&router.excluded_addresses));
    all.any(|net| net.addr() == *address)
}

fn service_addresses(host: &Host, config: &Config) -> Vec<Finding> {
    let Some(local) = &host.addresses else { return Vec::new() };
    let passing = config.services.iter().filter(|service| service.on_no_backend == OnNoBackend::Pass);
    let addresses: BTreeSet<IpAddr> =
        passing.flat_map(|service| service.listeners.iter().map(|listener| listener.address)).collect();
    let missing = addresses.into_iter().filter(|address| !local.contains(address) && !is_held(config, address));
    missing
        .map(|address| {
            let what = format!(
                "{address} is not an address of this host: nobody answers ARP for it unless a route leads here, and \
             without a backend clients are not reset"
            );
            finding("address", what, format!("ip address add {address}/{} dev lo", host_prefix(address)))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::host::VrrpHost;
    use super::*;

    const NAT: &str = "[dataplane]\ninterfaces = [\"eth0\"]\n[[service]]\nname = \"w\"\nlisten = [\"tcp://203.0.113.10:80\"]\n\
                       forwarding = \"nat\"\n[[service.backend]]\naddress = \"10.0.0.11\"\n";

    fn config() -> Config {
        crate::config::parse(NAT, "lb1").expect("the sample is valid").0
    }

    fn healthy() -> Host {
        let eth0 = Interface {
            exists: true,
            up: Some(true),
            mtu: Some(1500),
            forwarding_v4: Some(true),
            forwarding_v6: Some(false),
            rp_filter: Some(2),
            vrf: None,
            unfinished_checksums_of: None,
        };
        Host {
            kernel: Some("6.1.0-18-amd64".to_owned()),
            capabilities: Some(CAP_NET_ADMIN | CAP_BPF),
            jit: Some("1".to_owned()),
            no_grace: None,
            interfaces: [("eth0".to_owned(), eth0)].into(),
            addresses: Some(vec!["203.0.113.10".parse().unwrap()]),
            local_ports: Some((32_768, 60_999)),
            reserved_ports: vec![],
            rp_filter: Some(0),
            rules_in_the_way: vec![],
            foreign_pair: false,
            vrrp: VrrpHost::default(),
        }
    }

    #[test]
    fn sources_of_full_nat_are_addresses_of_this_host_and_ports_that_it_does_not_use() {
        let with = |keys: &str| {
            let text = format!("dataplane.source_nat_addresses = [\"203.0.113.10\"]\n{keys}");
            crate::config::parse(&text, "host").unwrap().0
        };
        let whats = |host: &Host, keys: &str| {
            findings(host, Some(&with(keys))).into_iter().map(|it| (it.check, it.fix)).collect::<Vec<_>>()
        };
        assert_eq!(whats(&healthy(), ""), []);
        let router = "[[vrrp]]\nname = \"public\"\ninterface = \"eth0\"\nvrid = 51\naddresses = [\"203.0.113.10\"]\n";
        let backup = Host { addresses: Some(vec![]), ..healthy() };
        assert!(whats(&backup, router).iter().all(|(check, _)| *check != "source"), "it comes with mastership");
        let elsewhere = Host { addresses: Some(vec!["203.0.113.11".parse().unwrap()]), ..healthy() };
        assert_eq!(whats(&elsewhere, ""), [("source", "ip addr add 203.0.113.10/32 dev eth0".to_owned())]);
        let wide = "dataplane.source_nat_last_port = 40000";
        let reserve = "sysctl -w net.ipv4.ip_local_reserved_ports=1024-40000".to_owned();
        assert_eq!(whats(&healthy(), wide), [("source", reserve)]);
        let reserved = Host { reserved_ports: vec![(32_768, 40_000)], ..healthy() };
        assert_eq!(whats(&reserved, wide), []);
    }

    #[test]
    fn a_healthy_host_has_no_findings() {
        assert_eq!(findings(&healthy(), Some(&config())), []);
    }

    #[test]
    fn what_cannot_be_read_is_no_finding() {
        assert_eq!(findings(&Host::default(), Some(&config())), []);
    }

    #[test]
    fn an_address_that_moves_between_nodes_need_not_be_here() {
        let router = "[[vrrp]]\nname = \"public\"\ninterface = \"eth0\"\nvrid = 51\naddresses = [\"203.0.113.10\"]\n";
        let (config, _) = crate::config::parse(&format!("{NAT}{router}"), "lb1").expect("the sample is valid");
        let host = Host { addresses: Some(Vec::new()), capabilities: Some(u64::MAX), ..healthy() };
        assert_eq!(findings(&host, Some(&config)), []);
    }

    #[test]
    fn virtual_routers_alone_need_no_bpf() {
        let router = "[[vrrp]]\nname = \"public\"\ninterface = \"eth0\"\nvrid = 51\naddresses = [\"203.0.113.10\"]\n";
        let (config, _) = crate::config::parse(router, "lb1").expect("the sample is valid");
        let host = || Host { capabilities: Some(!CAP_BPF & !CAP_SYS_ADMIN), ..healthy() };
        assert_eq!(findings(&host(), Some(&config)), []);
        assert_eq!(findings(&host(), None).len(), 1);
    }

    #[test]
    fn tunnels_want_room_for_full_packets_and_their_headers() {
        let tunnel = NAT.replace("\"nat\"", "\"tunnel\"\nencapsulation = \"gue\"");
        let (config, _) = crate::config::parse(&tunnel, "lb1").expect("the sample is valid");
        let at = |mtu| {
            let mut host = healthy();
            host.interfaces.get_mut("eth0").expect("it has one").mtu = Some(mtu);
            findings(&host, Some(&config))
        };
        assert_eq!(at(1532), []);
        let found = at(1531);
        assert!(found.len() == 1 && found[0].fix == "ip link set eth0 mtu 1532", "{found:?}");
    }

    #[test]
    fn each_fault_is_found_once_with_its_fix() {
        let eth0 = |change: fn(&mut Interface)| {
            let mut host = healthy();
            change(host.interfaces.get_mut("eth0").unwrap());
            host
        };
        let cases = [
            (Host { kernel: Some("5.15.0".to_owned()), ..healthy() }, "kernel", "linux-image"),
            (Host { capabilities: Some(CAP_BPF), ..healthy() }, "capabilities", "sudo"),
            (Host { jit: Some("0".to_owned()), ..healthy() }, "jit", "bpf_jit_enable=1"),
            (Host { no_grace: Some("EINVAL".to_owned()), ..healthy() }, "membarrier", "nohz_full"),
            (Host { addresses: Some(Vec::new()), ..healthy() }, "address", "add 203.0.113.10/32 dev lo"),
            (eth0(|it| it.exists = false), "interface", "ip -brief link"),
            (eth0(|it| it.up = Some(false)), "interface", "ip link set eth0 up"),
            (
                eth0(|it| it.unfinished_checksums_of = Some("p-eth0".to_owned())),
                "checksums",
                "ethtool -K p-eth0 tx off",
            ),
            (eth0(|it| it.forwarding_v4 = Some(false)), "forwarding", "net/ipv4/conf/eth0/forwarding=1"),
        ];
        for (host, check, fix) in cases {
            let found = findings(&host, Some(&config()));
            assert_eq!(found.len(), 1, "{found:?}");
            assert!(found[0].check == check && found[0].fix.contains(fix), "{found:?}");
        }
    }
}
