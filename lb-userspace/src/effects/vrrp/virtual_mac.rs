//! Virtual MAC addresses without interfaces of their own: the addresses are on the loopback interface, and what a macvlan
//! would do is done piece by piece on the interface itself.
//!
//! - Its filter lets the virtual MAC address in: a membership of a packet socket, gone when we end.
//! - The host's stack takes those frames: [`super::host_frames`].
//! - ARP requests and neighbour solicitations for the addresses are answered here, with the virtual MAC address; the
//!   kernel, which would answer with the interface's, is told to be silent about addresses of other interfaces
//!   (`arp_ignore` 1) and not to ask in their name (`arp_announce` 2). IPv6 is silent about them anyway.
//!
//! What the host itself sends, forwarded or its own, bears the interface's MAC address as ever: only advertisements and
//! answers bear the virtual one, and from them switches learn where it is.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::net::{IpAddr, Ipv6Addr};

use socket2::{Domain, Socket, Type};

use super::frames::{self, Mac, Said};
use super::host_frames::HostFrames;
use super::link_layer::packet_socket;
use super::sys;
use super::troubles::Troubles;

/// Settings of an interface below `/proc/sys/net/ipv4/conf`, as they have to be.
const SETTINGS: [(&str, &str); 2] = [("arp_ignore", "1"), ("arp_announce", "2")];

/// All of them.
#[derive(Default)]
pub struct VirtualMacs {
    interfaces: BTreeMap<u32, Interface>,
    membership: Option<Socket>,
    groups: Option<Socket>,
    host_frames: Option<HostFrames>,
}

struct Interface {
    name: String,
    addresses: BTreeMap<Mac, Vec<IpAddr>>,
    /// What the settings were, by place in [`SETTINGS`].
    before: Vec<Option<String>>,
}

impl VirtualMacs {
    /// Answers to `mac` by an interface for these addresses; with none, no more.
    pub fn set(&mut self, (index, name): (u32, &str), mac: Mac, addresses: &[IpAddr], troubles: &mut Troubles) {
        let what = format!("take frames for virtual MAC address {} on {name}", written(mac));
        let outcome = self.change(index, name, mac, addresses, troubles).and_then(|()| self.set_host_frames());
        match outcome {
            Ok(()) => troubles.over(&what),
            Err(error) => troubles.tell(
                &what,
                &error,
                "the host itself does not answer at this MAC address; it takes CAP_NET_ADMIN, and nf_tables with \
                 CONFIG_NF_TABLES_NETDEV",
            ),
        }
    }

    /// Frames that answer a question for an address of ours.
    pub fn answer(&self, interface: u32, sender: Mac, said: &Said) -> Option<Vec<u8>> {
        let asked = match said {
            Said::Arp(arp) if !arp.is_reply => IpAddr::V4(arp.target),
            Said::Neighbour(neighbour) if !neighbour.is_advertisement => IpAddr::V6(neighbour.target),
            Said::Arp(_) | Said::Neighbour(_) => return None,
        };
        let owners = &self.interfaces.get(&interface)?.addresses;
        let mac = *owners.iter().find(|(_, addresses)| addresses.contains(&asked))?.0;
        if sender == mac {
            return None; // the other node's advertisement of it, or our own that came back
        }
        Some(match said {
            Said::Arp(arp) => frames::arp_answer(mac, arp),
            Said::Neighbour(neighbour) => {
                let asker = (neighbour.mac.unwrap_or(sender), neighbour.source);
                frames::neighbour_advertisement(mac, neighbour.target, Some(asker))
            }
        })
    }

    fn change(
        &mut self,
        index: u32,
        name: &str,
        mac: Mac,
        addresses: &[IpAddr],
        troubles: &mut Troubles,
    ) -> io::Result<()> {
        let known = self.interfaces.get(&index).and_then(|interface| interface.addresses.get(&mac));
        let before = known.cloned().unwrap_or_default();
        self.set_groups(index, &before, addresses, troubles)?;
        let member = !addresses.is_empty();
        if member == before.is_empty() {
            sys::set_membership(lazily(&mut self.membership, || packet_socket(None))?, index, mac, member)
                .or_else(|error| if member { Err(error) } else { Ok(()) })?;
        }
        if member {
            let interface = self.interfaces.entry(index).or_insert_with(|| Interface {
                name: name.to_owned(),
                addresses: BTreeMap::new(),
                before: silence(name, troubles),
            });
            interface.addresses.insert(mac, addresses.to_vec());
        } else if let Some(interface) = self.interfaces.get_mut(&index) {
            interface.addresses.remove(&mac);
            if interface.addresses.is_empty() {
                let interface = self.interfaces.remove(&index).expect("it was found above");
                restore(&interface);
            }
        }
        Ok(())
    }

    /// Is in the groups at which the addresses are asked for, so that cards and switches let the questions through.
    fn set_groups(
        &mut self,
        index: u32,
        before: &[IpAddr],
        after: &[IpAddr],
        troubles: &mut Troubles,
    ) -> io::Result<()> {
        let groups = |addresses: &[IpAddr]| -> Vec<Ipv6Addr> { addresses.iter().filter_map(group).collect() };
        let (before, after) = (groups(before), groups(after));
        if before.is_empty() && after.is_empty() {
            return Ok(());
        }
        let socket = lazily(&mut self.groups, || Socket::new(Domain::IPV6, Type::DGRAM.cloexec(), None))?;
        for group in before.iter().filter(|group| !after.contains(group)) {
            let _ = socket.leave_multicast_v6(group, index);
        }
        for group in after.iter().filter(|group| !before.contains(group)) {
            match socket.join_multicast_v6(group, index) {
                // Two addresses may share a group.
                Err(error) if error.raw_os_error() != Some(libc::EADDRINUSE) => {
                    troubles.count("join a solicited-node group", &error);
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn set_host_frames(&mut self) -> io::Result<()> {
        let wanted: BTreeMap<&str, Vec<Mac>> = self
            .interfaces
            .values()
            .map(|interface| (interface.name.as_str(), interface.addresses.keys().copied().collect()))
            .collect();
        if wanted.is_empty() && self.host_frames.is_none() {
            return Ok(());
        }
        lazily(&mut self.host_frames, HostFrames::open)?.set(&wanted)
    }
}

impl Drop for VirtualMacs {
    fn drop(&mut self) {
        self.interfaces.values().for_each(restore);
    }
}

fn lazily<T>(place: &mut Option<T>, open: impl FnOnce() -> io::Result<T>) -> io::Result<&mut T> {
    if place.is_none() {
        *place = Some(open()?);
    }
    Ok(place.as_mut().expect("it was just filled"))
}

fn group(address: &IpAddr) -> Option<Ipv6Addr> {
    match address {
        IpAddr::V4(_) => None,
        IpAddr::V6(address) => Some(frames::solicited_node(*address)),
    }
}

/// Makes the kernel silent about addresses of other interfaces. Returns what the settings were.
fn silence(name: &str, troubles: &mut Troubles) -> Vec<Option<String>> {
    let set = |(setting, value): &(&str, &str)| {
        let path = path(name, setting);
        let before = fs::read_to_string(&path).ok().map(|before| before.trim().to_owned());
        if let Err(error) = fs::write(&path, value) {
            troubles.tell(&format!("set {setting} of {name} to {value}"), &error, "set it yourself, or run as root");
        }
        before
    };
    SETTINGS.iter().map(set).collect()
}

fn restore(interface: &Interface) {
    for ((setting, value), before) in SETTINGS.iter().zip(&interface.before) {
        let path = path(&interface.name, setting);
        // Not over what somebody set meanwhile.
        let untouched = fs::read_to_string(&path).is_ok_and(|now| now.trim() == *value);
        if let Some(before) = before.as_ref().filter(|_| untouched) {
            let _ = fs::write(&path, before);
        }
    }
}

fn path(name: &str, setting: &str) -> String {
    format!("/proc/sys/net/ipv4/conf/{name}/{setting}")
}

fn written(mac: Mac) -> String {
    mac.map(|octet| format!("{octet:02x}")).join(":")
}
