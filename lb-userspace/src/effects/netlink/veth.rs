//! Pairs of interfaces of our own: made, set up, removed. No host but this one is behind them, so they have neither link-local addresses
//! nor neighbours that would have to be asked for.

use std::io;

use anyhow::Context as _;
use rtnetlink::packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use rtnetlink::packet_route::RouteNetlinkMessage;
use rtnetlink::packet_route::link::{
    AfSpecInet6, AfSpecUnspec, In6AddrGenMode, InfoData, InfoKind, InfoVeth, LinkAttribute, LinkFlags, LinkInfo,
    LinkMessage,
};

use super::order::order;

/// One end.
#[derive(Clone, Copy, Debug)]
pub struct End {
    /// Its name.
    pub name: &'static str,
    /// Its MAC address.
    pub mac: [u8; 6],
}

/// Makes a pair that is not there.
///
/// # Errors
/// When the kernel refuses.
pub fn make(one: End, other: End, mtu: u32) -> anyhow::Result<()> {
    let end = |end: End| {
        let mut message = named(end.name);
        message.attributes.extend([LinkAttribute::Mtu(mtu), LinkAttribute::Address(end.mac.to_vec())]);
        message
    };
    let mut message = end(one);
    message.attributes.push(LinkAttribute::LinkInfo(vec![
        LinkInfo::Kind(InfoKind::Veth),
        LinkInfo::Data(InfoData::Veth(InfoVeth::Peer(end(other)))),
    ]));
    order(RouteNetlinkMessage::NewLink(message), NLM_F_CREATE | NLM_F_EXCL)
        .with_context(|| format!("making the devices {} and {}", one.name, other.name))
}

/// Sets an end up.
///
/// # Errors
/// When the kernel refuses.
pub fn set_up(name: &str) -> anyhow::Result<()> {
    let mut without_addresses = named(name);
    let inet6 = AfSpecUnspec::Inet6(vec![AfSpecInet6::AddrGenMode(In6AddrGenMode::None)]);
    without_addresses.attributes.push(LinkAttribute::AfSpecUnspec(vec![inet6]));
    // A kernel without IPv6 knows no such setting; it has no addresses of it either.
    let _ = order(RouteNetlinkMessage::SetLink(without_addresses), 0);
    let mut up = named(name);
    up.header.flags = LinkFlags::Up | LinkFlags::Noarp;
    up.header.change_mask = LinkFlags::Up | LinkFlags::Noarp;
    order(RouteNetlinkMessage::SetLink(up), 0).with_context(|| format!("setting {name} up"))
}

/// Sets how much an end takes.
///
/// # Errors
/// When the kernel refuses.
pub fn set_mtu(name: &str, mtu: u32) -> anyhow::Result<()> {
    let mut message = named(name);
    message.attributes.push(LinkAttribute::Mtu(mtu));
    order(RouteNetlinkMessage::SetLink(message), 0).with_context(|| format!("setting the MTU of {name} to {mtu}"))
}

/// Removes the pair that an end belongs to, if there is one.
///
/// # Errors
/// When the kernel refuses.
pub fn remove(name: &str) -> io::Result<()> {
    match order(RouteNetlinkMessage::DelLink(named(name)), 0) {
        Err(error) if error.raw_os_error() == Some(libc::ENODEV) => Ok(()),
        result => result,
    }
}

/// The index of an end.
///
/// # Errors
/// When there is none.
pub fn index_of(name: &str) -> anyhow::Result<u32> {
    nix::net::if_::if_nametoindex(name).with_context(|| format!("looking for {name}"))
}

fn named(name: &str) -> LinkMessage {
    let mut message = LinkMessage::default();
    message.attributes.push(LinkAttribute::IfName(name.to_owned()));
    message
}
