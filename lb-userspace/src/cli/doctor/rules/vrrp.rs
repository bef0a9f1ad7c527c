//! What of a host is wrong for virtual routers.

use std::collections::BTreeSet;

use super::super::host::{Host, VrrpHost, VrrpInterface};
use super::{Finding, finding};
use crate::config::{Config, VirtualRouter};

/// Bits of the capabilities, besides CAP_NET_ADMIN.
const CAP_NET_RAW: u64 = 1 << 13;
const CAP_IPC_LOCK: u64 = 1 << 14;
const CAP_SYS_NICE: u64 = 1 << 23;
/// The thread's priority and the supervisor's, which is one higher.
const REALTIME_PRIORITY: u64 = 51;
/// What the daemon may need locked.
const LOCKED: u64 = 256 << 20;
/// From this value of `arp_ignore` on the kernel does not answer for addresses as we add them.
const ARP_SILENT: u32 = 3;

/// Everything that is wrong.
pub(super) fn findings(host: &Host, vrrp: &VrrpHost, config: &Config) -> Vec<Finding> {
    if config.virtual_routers.is_empty() {
        return Vec::new();
    }
    let mut all = punctuality(host, vrrp);
    all.extend(memberships(vrrp, config));
    for (name, interface) in &vrrp.interfaces {
        let routers = || config.virtual_routers.iter().filter(|router| router.interface == *name);
        all.extend(interface_findings(name, interface, routers));
    }
    all.extend(nonlocal_bind(vrrp, config));
    for (user, _) in vrrp.users.iter().filter(|(_, exists)| !**exists) {
        let what = format!("there is no user {user}: what it is to run does not run");
        all.push(finding("user", what, format!("useradd --system --no-create-home {user}")));
    }
    all.extend(key_file(vrrp, config));
    all
}

fn punctuality(host: &Host, vrrp: &VrrpHost) -> Vec<Finding> {
    let mut all = Vec::new();
    let has = |bit: u64| host.capabilities.map(|held| held & bit != 0);
    let within = |limit: Option<u64>, least: u64| limit.map(|limit| limit >= least);
    if has(CAP_NET_RAW) == Some(false) {
        let what = "CAP_NET_RAW is missing: VRRP can be neither sent nor received";
        all.push(finding("capabilities", what, "sudo fairway doctor"));
    }
    if has(CAP_SYS_NICE) == Some(false) && within(vrrp.realtime_limit, REALTIME_PRIORITY) == Some(false) {
        let what = "VRRP gets no real-time priority: a busy host sends advertisements late, and the backup takes over";
        all.push(finding("realtime", what, "systemctl edit fairway   # [Service] LimitRTPRIO=51"));
    }
    if vrrp.realtime_runtime == Some(0) {
        let what = "the kernel runs nothing with real-time priority";
        all.push(finding("realtime", what, "sysctl -w kernel.sched_rt_runtime_us=950000"));
    }
    if has(CAP_IPC_LOCK) == Some(false) && within(vrrp.locked_limit, LOCKED) == Some(false) {
        let what = "memory cannot be locked: VRRP waits for the disk when the host is short of memory";
        all.push(finding("memlock", what, "systemctl edit fairway   # [Service] LimitMEMLOCK=infinity"));
    }
    all
}

/// One membership per interface, all of one socket.
fn memberships(vrrp: &VrrpHost, config: &Config) -> Option<Finding> {
    let multicast = config.virtual_routers.iter().filter(|router| router.is_ipv4() && router.unicast_peers.is_empty());
    let interfaces: BTreeSet<&String> = multicast.map(|router| &router.interface).collect();
    let most = vrrp.most_memberships?;
    let what = format!("VRRP needs {} IPv4 multicast memberships, the kernel grants {most}", interfaces.len());
    let fix = || format!("sysctl -w net.ipv4.igmp_max_memberships={}", interfaces.len().next_power_of_two());
    (interfaces.len() > most).then(|| finding("igmp", what, fix()))
}

fn interface_findings<'a, R>(name: &str, interface: &VrrpInterface, routers: impl Fn() -> R) -> Vec<Finding>
where
    R: Iterator<Item = &'a VirtualRouter>,
{
    if !interface.exists {
        let what = format!("there is no interface {name}, which a virtual router speaks on");
        return vec![finding("interface", what, "ip -brief link")];
    }
    let mut all = Vec::new();
    if interface.up == Some(false) {
        all.push(finding("interface", format!("{name} is down"), format!("ip link set {name} up")));
    }
    if interface.multicast == Some(false) && routers().any(|router| router.unicast_peers.is_empty()) {
        let what = format!("{name} takes no multicast: advertisements of others are not heard");
        all.push(finding("multicast", what, format!("ip link set {name} multicast on")));
    }
    let addresses = interface.addresses.as_deref();
    let lacks = |ipv4: bool| addresses.is_some_and(|all| !all.iter().any(|address| address.is_ipv4() == ipv4));
    if routers().any(VirtualRouter::is_ipv4) {
        if lacks(true) {
            let what = format!("{name} has no IPv4 address of its own to advertise from");
            all.push(finding("address", what, format!("ip address add ADDRESS/LENGTH dev {name}")));
        }
        if interface.arp_ignore.is_some_and(|level| level >= ARP_SILENT) {
            let what = format!("{name} does not answer ARP for the addresses of virtual routers (arp_ignore)");
            let fix = format!("sysctl -w net/ipv4/conf/{name}/arp_ignore=1 net/ipv4/conf/all/arp_ignore=1");
            all.push(finding("arp", what, fix));
        }
    }
    if routers().any(|router| !router.is_ipv4()) && interface.no_ipv6 == Some(true) {
        let what = format!("IPv6 is turned off on {name}");
        all.push(finding("ipv6", what, format!("sysctl -w net/ipv6/conf/{name}/disable_ipv6=0")));
    }
    all
}

/// Programs that serve a floating address themselves, where no service follows the router.
fn nonlocal_bind(vrrp: &VrrpHost, config: &Config) -> Vec<Finding> {
    let followed = |router: &&VirtualRouter| {
        config.services.iter().any(|service| service.vrrp.as_deref() == Some(router.name.as_str()))
    };
    let floating = || config.virtual_routers.iter().filter(|router| !followed(router));
    let families = [("ipv4", true, vrrp.nonlocal_bind[0]), ("ipv6", false, vrrp.nonlocal_bind[1])];
    let lacking = families.into_iter().filter_map(|(family, ipv4, allowed)| {
        let router = floating().find(|router| router.is_ipv4() == ipv4)?;
        let what = format!(
            "a program that listens on an address of virtual router {} by name cannot start while another node holds it",
            router.name
        );
        let fix = format!("sysctl -w net.{family}.ip_nonlocal_bind=1");
        (allowed == Some(false)).then(|| finding("nonlocal-bind", what, fix))
    });
    lacking.collect()
}

fn key_file(vrrp: &VrrpHost, config: &Config) -> Option<Finding> {
    let path = config.peer.as_ref()?.key_file.display().to_string();
    match vrrp.key_file.as_ref()? {
        Err(error) => {
            let fix =
                format!("(umask 077; head -c 32 /dev/urandom | xxd -p -c 64 > {path})   # then copy it to the peer");
            Some(finding("peer-key", format!("{path} cannot be read: {error}"), fix))
        }
        Ok(mode) if mode & 0o077 != 0 => {
            Some(finding("peer-key", format!("others than its owner may use {path}"), format!("chmod 600 {path}")))
        }
        Ok(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAIR: &str = "\
[[vrrp]]\nname = \"public\"\ninterface = \"eth0\"\nvrid = 51\naddresses = [\"203.0.113.10\"]\n\
[[vrrp.track]]\ntype = \"script\"\ncommand = [\"/bin/check\"]\nuser = \"check\"\n\
[[vrrp]]\nname = \"six\"\ninterface = \"eth0\"\nvrid = 51\naddresses = [\"2001:db8::10\"]\n\
[peer]\naddresses = [\"10.9.0.2\"]\nkey_file = \"/etc/fairway/peer.key\"\n";

    fn config() -> Config {
        crate::config::parse(PAIR, "lb1").expect("the sample is valid").0
    }

    fn healthy() -> (Host, VrrpHost) {
        let eth0 = VrrpInterface {
            exists: true,
            up: Some(true),
            multicast: Some(true),
            addresses: Some(vec!["192.0.2.1".parse().unwrap(), "fe80::1".parse().unwrap()]),
            arp_ignore: Some(1),
            no_ipv6: Some(false),
        };
        let vrrp = VrrpHost {
            realtime_limit: Some(0),
            locked_limit: Some(8 << 20),
            realtime_runtime: Some(950_000),
            most_memberships: Some(20),
            nonlocal_bind: [Some(true), Some(true)],
            interfaces: [("eth0".to_owned(), eth0)].into(),
            users: [("check".to_owned(), true)].into(),
            key_file: Some(Ok(0o600)),
        };
        (Host { capabilities: Some(CAP_NET_RAW | CAP_IPC_LOCK | CAP_SYS_NICE), ..Host::default() }, vrrp)
    }

    #[test]
    fn a_healthy_host_has_no_findings() {
        let (host, vrrp) = healthy();
        assert_eq!(findings(&host, &vrrp, &config()), []);
    }

    #[test]
    fn what_cannot_be_read_is_no_finding() {
        assert_eq!(findings(&Host::default(), &VrrpHost::default(), &config()), []);
    }

    #[test]
    fn limits_do_what_capabilities_do() {
        let (mut host, mut vrrp) = healthy();
        host.capabilities = Some(CAP_NET_RAW);
        (vrrp.realtime_limit, vrrp.locked_limit) = (Some(99), Some(u64::MAX));
        assert_eq!(findings(&host, &vrrp, &config()), []);
    }

    #[test]
    fn each_fault_is_found_once_with_its_fix() {
        type Change = fn(&mut Host, &mut VrrpHost);
        fn eth0(vrrp: &mut VrrpHost) -> &mut VrrpInterface {
            vrrp.interfaces.get_mut("eth0").unwrap()
        }
        let cases: [(Change, &str, &str); 16] = [
            (|host, _| host.capabilities = Some(CAP_IPC_LOCK | CAP_SYS_NICE), "capabilities", "sudo"),
            (|host, _| host.capabilities = Some(CAP_NET_RAW | CAP_IPC_LOCK), "realtime", "LimitRTPRIO=51"),
            (|host, _| host.capabilities = Some(CAP_NET_RAW | CAP_SYS_NICE), "memlock", "LimitMEMLOCK"),
            (|_, vrrp| vrrp.realtime_runtime = Some(0), "realtime", "sched_rt_runtime_us=950000"),
            (|_, vrrp| vrrp.most_memberships = Some(0), "igmp", "igmp_max_memberships=1"),
            (|_, vrrp| eth0(vrrp).exists = false, "interface", "ip -brief link"),
            (|_, vrrp| eth0(vrrp).up = Some(false), "interface", "ip link set eth0 up"),
            (|_, vrrp| eth0(vrrp).multicast = Some(false), "multicast", "multicast on"),
            (|_, vrrp| eth0(vrrp).addresses = Some(vec![]), "address", "dev eth0"),
            (|_, vrrp| eth0(vrrp).arp_ignore = Some(8), "arp", "conf/eth0/arp_ignore=1"),
            (|_, vrrp| eth0(vrrp).no_ipv6 = Some(true), "ipv6", "disable_ipv6=0"),
            (|_, vrrp| vrrp.nonlocal_bind[0] = Some(false), "nonlocal-bind", "net.ipv4.ip_nonlocal_bind=1"),
            (|_, vrrp| vrrp.nonlocal_bind[1] = Some(false), "nonlocal-bind", "net.ipv6.ip_nonlocal_bind=1"),
            (|_, vrrp| vrrp.users = [("check".to_owned(), false)].into(), "user", "useradd --system"),
            (|_, vrrp| vrrp.key_file = Some(Ok(0o644)), "peer-key", "chmod 600 /etc/fairway/peer.key"),
            (|_, vrrp| vrrp.key_file = Some(Err("not found".to_owned())), "peer-key", "urandom"),
        ];
        for (change, check, fix) in cases {
            let (mut host, mut vrrp) = healthy();
            change(&mut host, &mut vrrp);
            let found = findings(&host, &vrrp, &config());
            assert_eq!(found.len(), 1, "{check}: {found:?}");
            assert!(found[0].check == check && found[0].fix.contains(fix), "{found:?}");
        }
    }
}
