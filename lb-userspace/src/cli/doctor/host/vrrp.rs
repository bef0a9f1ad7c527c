//! What there is to know of this host for virtual routers.

use std::collections::BTreeMap;
use std::fs;
use std::net::IpAddr;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use nix::ifaddrs::getifaddrs;
use nix::net::if_::InterfaceFlags;
use nix::sys::resource::{Resource, getrlimit};
use nix::unistd::User;

use super::word;
use crate::config::{Condition, Config, VirtualRouter};
use crate::nexthop::Links;

/// As far as virtual routers care.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct VrrpHost {
    /// The highest real-time priority that is permitted without CAP_SYS_NICE.
    pub realtime_limit: Option<u64>,
    /// Octets that may be locked without CAP_IPC_LOCK.
    pub locked_limit: Option<u64>,
    /// `kernel.sched_rt_runtime_us`
    pub realtime_runtime: Option<i64>,
    /// `net.ipv4.igmp_max_memberships`
    pub most_memberships: Option<usize>,
    /// `net.ipv4.ip_nonlocal_bind`, `net.ipv6.ip_nonlocal_bind`
    pub nonlocal_bind: [Option<bool>; 2],
    /// The interfaces of the virtual routers.
    pub interfaces: BTreeMap<String, VrrpInterface>,
    /// Users that the configuration names, and whether there are such.
    pub users: BTreeMap<String, bool>,
    /// The permission bits of `peer.key_file`, or why it cannot be looked at.
    pub key_file: Option<Result<u32, String>>,
}

/// An interface of a virtual router.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct VrrpInterface {
    /// Whether there is one of this name.
    pub exists: bool,
    /// Whether it is administratively up.
    pub up: Option<bool>,
    /// Whether it takes multicast.
    pub multicast: Option<bool>,
    /// Its addresses.
    pub addresses: Option<Vec<IpAddr>>,
    /// `net.ipv4.conf.NAME.arp_ignore`, the stricter of it and that of `all`.
    pub arp_ignore: Option<u32>,
    /// `net.ipv6.conf.NAME.disable_ipv6`
    pub no_ipv6: Option<bool>,
}

impl VrrpHost {
    /// Looks around.
    pub fn look(config: &Config, links: Option<&Links>) -> Self {
        let limit = |resource| getrlimit(resource).ok().map(|(soft, _)| soft);
        let number = |path: &str| word(path).and_then(|text| text.parse().ok());
        let bind = |family: &str| word(format!("/proc/sys/net/{family}/ip_nonlocal_bind")).map(|text| text != "0");
        let names = config.virtual_routers.iter().map(|router| router.interface.clone());
        Self {
            realtime_limit: limit(Resource::RLIMIT_RTPRIO),
            locked_limit: limit(Resource::RLIMIT_MEMLOCK),
            realtime_runtime: number("/proc/sys/kernel/sched_rt_runtime_us"),
            most_memberships: word("/proc/sys/net/ipv4/igmp_max_memberships").and_then(|text| text.parse().ok()),
            nonlocal_bind: [bind("ipv4"), bind("ipv6")],
            interfaces: names.map(|name| (name.clone(), interface(&name, links))).collect(),
            users: users(config).into_iter().filter_map(|user| Some((user.clone(), exists(&user)?))).collect(),
            key_file: config.peer.as_ref().map(|peer| mode(&peer.key_file)),
        }
    }
}

fn interface(name: &str, links: Option<&Links>) -> VrrpInterface {
    let link = links.and_then(|links| links.by_name(name));
    let entries: Option<Vec<_>> =
        getifaddrs().ok().map(|all| all.filter(|entry| entry.interface_name == name).collect());
    let multicast = entries.as_ref().and_then(|entries| entries.first());
    let multicast = multicast.map(|entry| entry.flags.contains(InterfaceFlags::IFF_MULTICAST));
    let addresses = entries.map(|entries| entries.iter().filter_map(|entry| super::address(&entry.address)).collect());
    let ignore = |name: &str| {
        word(format!("/proc/sys/net/ipv4/conf/{name}/arp_ignore")).and_then(|text| text.parse::<u32>().ok())
    };
    VrrpInterface {
        exists: links.is_none() || link.is_some(),
        up: link.map(|link| link.enabled),
        multicast,
        addresses,
        arp_ignore: ignore(name).zip(ignore("all")).map(|(own, all)| own.max(all)),
        no_ipv6: word(format!("/proc/sys/net/ipv6/conf/{name}/disable_ipv6")).map(|text| text != "0"),
    }
}

/// Who runs scripts and the hook.
fn users(config: &Config) -> Vec<String> {
    let scripts = |router: &VirtualRouter| {
        let users = router.tracks.iter().filter_map(|track| match &track.condition {
            Condition::Script { user, .. } => Some(user.clone()),
            Condition::Interface { .. }
            | Condition::Uplink { .. }
            | Condition::Service { .. }
            | Condition::Process { .. }
            | Condition::File { .. }
            | Condition::Load { .. }
            | Condition::Gateway { .. }
            | Condition::Bfd { .. } => None,
        });
        users.collect::<Vec<_>>()
    };
    let hook = config.hook.iter().map(|hook| hook.user.clone());
    config.virtual_routers.iter().flat_map(scripts).chain(hook).collect()
}

fn exists(user: &str) -> Option<bool> {
    User::from_name(user).ok().map(|found| found.is_some())
}

fn mode(path: &Path) -> Result<u32, String> {
    fs::metadata(path).map(|file| file.mode() & 0o777).map_err(|error| error.to_string())
}
