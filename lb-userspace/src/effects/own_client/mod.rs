//! The kernel's side of this host as a client of its own services: the pair of interfaces, policy rules, routes. What there is to be, the
//! pure [`crate::own_client`] says.
//!
//! All of it is of one network namespace, and so is whoever sees to it: [`OwnClient::open`] takes a name there that only one daemon has.
//! What a dead one left is found and gone on with, not made anew: connections of this host go on by it.

mod routing;

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::net::IpAddr;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixListener};

use anyhow::{Context as _, bail};
use lb_common::own_client::MAC;

use crate::controller::steering::Pair;
use crate::effects::netlink::ethtool::{self, Offload};
use crate::effects::netlink::read_links;
use crate::effects::netlink::veth::{self, End};
use crate::effects::steering::source_towards;
use crate::nexthop::Mac;
use crate::own_client::routes::{self, Way};
use crate::own_client::{INNER, OUTER, rules};

/// A name among abstract sockets, which each network namespace has for itself. The kernel takes it back whatever becomes of its owner.
const NAME: &[u8] = b"fairway-own-client";

/// See the module's description.
#[derive(Debug)]
pub struct OwnClient {
    /// Held, not listened to.
    _name: UnixListener,
}

/// How large the packets are that the pair takes, and those that leave by it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Room {
    /// Of answers: as of the widest interface that they come in by.
    pub widest: u32,
    /// Of requests: as of the narrowest.
    pub narrowest: u32,
}

impl OwnClient {
    /// The right to see to it in the calling thread's network namespace.
    ///
    /// # Errors
    /// When another daemon has it, or the kernel refuses.
    pub fn open() -> anyhow::Result<Self> {
        let name = SocketAddr::from_abstract_name(NAME).context("naming a socket")?;
        match UnixListener::bind_addr(&name) {
            Ok(_name) => Ok(Self { _name }),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                bail!("another Fairway in this network namespace sees to that already")
            }
            Err(error) => Err(error).context("taking the name for it"),
        }
    }

    /// Whether a daemon that is no more has left anything.
    pub fn is_left() -> bool {
        let pair = read_links().is_ok_and(|links| links.by_name(OUTER).is_some_and(|link| is_ours(link.mac)));
        let is_moved = |is_ipv4| {
            let present = routing::rules(is_ipv4).unwrap_or_default();
            rules::plan(&present, false).is_ok_and(|steps| !steps.is_empty())
        };
        pair || is_moved(true) || is_moved(false)
    }

    /// What an operator has to put right first, by family, in words; and whether it is an interface of the pair's name.
    pub fn obstacles() -> (Vec<(bool, String)>, bool) {
        let of_family = |is_ipv4| Some((is_ipv4, rules::plan(&routing::rules(is_ipv4).ok()?, true).err()?));
        let is_foreign = read_links().is_ok_and(|links| links.by_name(OUTER).is_some_and(|it| !is_ours(it.mac)));
        ([true, false].into_iter().filter_map(of_family).collect(), is_foreign)
    }

    /// Sees that the pair is there and as it should be; the index of its outer end.
    ///
    /// # Errors
    /// When somebody else has made one of that name, or the kernel refuses.
    pub fn ensure_pair(&self, room: Room) -> anyhow::Result<u32> {
        let links = read_links().context("listing interfaces")?;
        match links.by_name(OUTER) {
            Some(link) if !is_ours(link.mac) => {
                bail!("there is an interface {OUTER} that Fairway has not made: ip link del {OUTER}")
            }
            Some(link) if links.veth_peer(link.index).is_some_and(|it| it.name == INNER && is_ours(it.mac)) => {
                for end in [link, links.by_name(INNER).context("it was there just now")?] {
                    if end.mtu != room.widest {
                        veth::set_mtu(&end.name, room.widest)?;
                    }
                }
                if link.is_up() {
                    see_to_settings()?;
                    return Ok(link.index);
                }
            }
            Some(_) => {
                veth::remove(OUTER).with_context(|| format!("removing what was left of {OUTER}"))?;
                make(room)?;
            }
            None => make(room)?,
        }
        set_up()?;
        veth::index_of(OUTER)
    }

    /// Moves the rules of both families, or puts them back.
    ///
    /// # Errors
    /// When an operator's rules are in the way, or the kernel refuses. The other family is seen to all the same.
    pub fn set_rules(&self, wanted: [bool; 2]) -> anyhow::Result<()> {
        let set = |is_ipv4: bool, wanted: bool| -> anyhow::Result<()> {
            let present = routing::rules(is_ipv4).context("listing policy rules")?;
            let steps = rules::plan(&present, wanted).map_err(anyhow::Error::msg)?;
            steps.into_iter().try_for_each(|step| routing::change_rule(is_ipv4, step))
        };
        let [v4, v6] = wanted;
        set(true, v4).context("IPv4").and(set(false, v6).context("IPv6"))
    }

    /// Routes these addresses, and no others, by the pair whose outer end this is. Those that connections can have no source for are
    /// not routed: which, and why.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn set_routes(
        &self,
        addresses: &BTreeMap<IpAddr, Option<IpAddr>>,
        interface: u32,
        room: Room,
    ) -> anyhow::Result<Vec<String>> {
        let mut missed = Vec::new();
        let mut wanted = BTreeMap::new();
        for (&service, &backend) in addresses {
            let pair = Pair { backend: backend.unwrap_or(service), service, wrapping: None };
            match source_towards(&pair) {
                Ok(source) if source != service => {
                    wanted.insert(service, Way { interface, source: Some(source), mtu: room.narrowest });
                }
                Ok(_) => missed.push(format!("{service}: this host has no other address to ask it from")),
                Err(error) => missed.push(format!("{service}: no address to ask it from: {error}")),
            }
        }
        for is_ipv4 in [true, false] {
            let present = routing::routes(is_ipv4).context("listing routes")?;
            let wanted = wanted.iter().filter(|(to, _)| to.is_ipv4() == is_ipv4).map(|(to, way)| (*to, *way)).collect();
            routes::plan(&present, &wanted).into_iter().try_for_each(routing::change_route)?;
        }
        Ok(missed)
    }

    /// Takes everything away that is ours, and puts back what was moved.
    ///
    /// # Errors
    /// When the kernel refuses; the rest is done all the same.
    pub fn withdraw(&self) -> anyhow::Result<()> {
        let rules = self.set_rules([false; 2]);
        let routes = self.set_routes(&BTreeMap::new(), 0, Room { widest: 0, narrowest: 0 });
        let is_there = read_links().context("listing interfaces")?.by_name(OUTER).is_some_and(|link| is_ours(link.mac));
        let pair = if is_there { veth::remove(OUTER).context("removing the pair") } else { Ok(()) };
        rules.and(routes.map(drop)).and(pair)
    }
}

/// Whether an interface has the address of one that this made.
fn is_ours(mac: Option<Mac>) -> bool {
    mac == Some(Mac(MAC))
}

fn make(room: Room) -> anyhow::Result<()> {
    veth::make(End { name: OUTER, mac: MAC }, End { name: INNER, mac: MAC }, room.widest)
}

fn set_up() -> anyhow::Result<()> {
    // The program cannot finish checksums.
    ethtool::set_offload(OUTER, Offload::TransmitChecksum, false)
        .with_context(|| format!("turning off checksum offload of {OUTER}"))?;
    // Without it the kernel takes no redirected frames for the device.
    ethtool::set_offload(OUTER, Offload::GenericReceive, true).with_context(|| format!("turning on GRO of {OUTER}"))?;
    for name in [OUTER, INNER] {
        veth::set_up(name)?;
    }
    see_to_settings()
}

/// What the program leaves to the host comes from an address of its own, and by an interface that leads nowhere. Seen to again and again: a
/// service manager writes its own values when an interface appears.
fn see_to_settings() -> anyhow::Result<()> {
    for (name, key, value) in [(OUTER, "rp_filter", "0"), (INNER, "rp_filter", "0"), (INNER, "accept_local", "1")] {
        setting(name, key, value)?;
    }
    Ok(())
}

fn setting(interface: &str, key: &str, value: &str) -> anyhow::Result<()> {
    let path = format!("/proc/sys/net/ipv4/conf/{interface}/{key}");
    if fs::read_to_string(&path).is_ok_and(|present| present.trim() == value) {
        return Ok(());
    }
    fs::write(&path, value).with_context(|| format!("writing {value} to {path}"))
}
