//! The device that reserved addresses are routed to: one end of a veth pair of our own, on whose way out the steering program
//! sits. It sends each packet elsewhere or drops it; answers are sent in by the other end, by the packet path. Not
//! `lo`: the kernel makes a route to `lo` a rejecting one for IPv6.
//!
//! What an earlier daemon left is removed first; a device that nobody steers from only drops what is sent to reserved
//! addresses.

use std::io;
use std::net::IpAddr;

use anyhow::Context as _;
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use lb_common::outer::LONGEST;
use lb_common::probe::{DEVICE_MAC, OTHER_MAC, V4, V6};
use rtnetlink::packet_core::{NLM_F_ACK, NLM_F_CREATE, NLM_F_EXCL, NLM_F_REQUEST, NetlinkMessage, NetlinkPayload};
use rtnetlink::packet_route::link::{
    AfSpecInet6, AfSpecUnspec, In6AddrGenMode, InfoData, InfoKind, InfoVeth, LinkAttribute, LinkFlags, LinkInfo,
    LinkMessage,
};
use rtnetlink::packet_route::route::{RouteAttribute, RouteMessage, RouteMetric, RouteProtocol, RouteScope, RouteType};
use rtnetlink::packet_route::{AddressFamily, RouteNetlinkMessage};
use rtnetlink::sys::protocols::NETLINK_ROUTE;
use rtnetlink::sys::{Socket, SocketAddr};

use crate::effects::netlink::ethtool::{self, Offload};

/// The end that reserved addresses are routed to.
pub const NAME: &str = "fwprobe0";
/// The end that answers are sent in by.
const OTHER: &str = "fwprobe1";
/// As on the networks that probes leave by. Answers come in by this device, as long as these networks take them.
const MTU: u32 = 1500;
/// Octets of a probe: what an outer header is put in front of must still fit.
const PROBE_MTU: u32 = MTU - LONGEST as u32;
/// Routes of ours; `ip route` shows `proto 112`.
const ROUTE_PROTOCOL: RouteProtocol = RouteProtocol::Other(112);

/// The device; dropping it removes it.
#[derive(Debug)]
pub struct Device {
    back: u32,
}

impl Device {
    /// Makes the device, up and routed to, in the calling thread's network namespace.
    ///
    /// # Errors
    /// When the kernel refuses; then nothing is left of it.
    pub fn make() -> anyhow::Result<Self> {
        remove().with_context(|| format!("removing what was left of {NAME}"))?;
        order(RouteNetlinkMessage::NewLink(pair()), NLM_F_CREATE | NLM_F_EXCL)
            .with_context(|| format!("making the devices {NAME} and {OTHER}"))?;
        let device = Self { back: index_of(OTHER)? };
        for name in [NAME, OTHER] {
            // A kernel without IPv6 knows no such setting; it has no IPv6 to steer either.
            let _ = order(RouteNetlinkMessage::SetLink(without_addresses(name)), 0);
            order(RouteNetlinkMessage::SetLink(up(name)), 0).with_context(|| format!("setting {name} up"))?;
        }
        // Without it the kernel takes no redirected frames for the device.
        ethtool::set_offload(NAME, Offload::GenericReceive, true)
            .with_context(|| format!("turning on GRO of {NAME}"))?;
        let index = index_of(NAME)?;
        for range in ranges() {
            match order(RouteNetlinkMessage::NewRoute(route(index, range)), NLM_F_CREATE | NLM_F_EXCL) {
                Err(error) if range.addr().is_ipv6() && without_ipv6(&error) => {}
                result => result.with_context(|| {
                    format!("routing {range} to {NAME}; probes of direct and tunnel backends need that range, which is reserved for benchmarks")
                })?,
            }
        }
        Ok(device)
    }

    /// Index of the end that answers are sent in by.
    pub fn back(&self) -> u32 {
        self.back
    }
}

fn index_of(name: &str) -> anyhow::Result<u32> {
    nix::net::if_::if_nametoindex(name).with_context(|| format!("looking for {name}"))
}

impl Drop for Device {
    fn drop(&mut self) {
        if let Err(error) = remove() {
            tracing::warn!(device = NAME, %error, "the steering device stays; it can be removed by `ip link del {NAME}`");
        }
    }
}

fn remove() -> io::Result<()> {
    match order(RouteNetlinkMessage::DelLink(named(NAME)), 0) {
        Err(error) if error.raw_os_error() == Some(libc::ENODEV) => Ok(()),
        result => result,
    }
}

/// The reserved ranges.
fn ranges() -> [IpNet; 2] {
    let v4 = Ipv4Net::new(V4.0.into(), V4.1).expect("a prefix length below 32");
    let v6 = Ipv6Net::new(V6.0.into(), V6.1).expect("a prefix length below 128");
    [v4.into(), v6.into()]
}

fn without_ipv6(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EAFNOSUPPORT | libc::EOPNOTSUPP | libc::EACCES | libc::EPERM))
}

fn named(name: &str) -> LinkMessage {
    let mut message = LinkMessage::default();
    message.attributes.push(LinkAttribute::IfName(name.to_owned()));
    message
}

fn pair() -> LinkMessage {
    let mut other = named(OTHER);
    other.attributes.extend([LinkAttribute::Mtu(MTU), LinkAttribute::Address(OTHER_MAC.to_vec())]);
    let mut message = named(NAME);
    message.attributes.extend([LinkAttribute::Mtu(MTU), LinkAttribute::Address(DEVICE_MAC.to_vec())]);
    message.attributes.push(LinkAttribute::LinkInfo(vec![
        LinkInfo::Kind(InfoKind::Veth),
        LinkInfo::Data(InfoData::Veth(InfoVeth::Peer(other))),
    ]));
    message
}

/// Neither link-local addresses nor what a host does on a network where it has one.
fn without_addresses(name: &str) -> LinkMessage {
    let mut message = named(name);
    let inet6 = AfSpecUnspec::Inet6(vec![AfSpecInet6::AddrGenMode(In6AddrGenMode::None)]);
    message.attributes.push(LinkAttribute::AfSpecUnspec(vec![inet6]));
    message
}

/// Up, and without neighbours that would have to be asked for.
fn up(name: &str) -> LinkMessage {
    let mut message = named(name);
    message.header.flags = LinkFlags::Up | LinkFlags::Noarp;
    message.header.change_mask = LinkFlags::Up | LinkFlags::Noarp;
    message
}

fn route(interface: u32, range: IpNet) -> RouteMessage {
    let mut message = RouteMessage::default();
    message.header.address_family = match range.addr() {
        IpAddr::V4(_) => AddressFamily::Inet,
        IpAddr::V6(_) => AddressFamily::Inet6,
    };
    message.header.destination_prefix_length = range.prefix_len();
    message.header.protocol = ROUTE_PROTOCOL;
    message.header.kind = RouteType::Unicast;
    message.header.scope = RouteScope::Link;
    message.header.table = libc::RT_TABLE_MAIN;
    message.attributes.push(RouteAttribute::Destination(range.network().into()));
    message.attributes.push(RouteAttribute::Oif(interface));
    message.attributes.push(RouteAttribute::Metrics(vec![RouteMetric::Mtu(PROBE_MTU)]));
    message
}

/// Sends one order and reads the kernel's answer, which lies there when the call returns.
fn order(message: RouteNetlinkMessage, flags: u16) -> io::Result<()> {
    let socket = Socket::new(NETLINK_ROUTE)?;
    let mut request = NetlinkMessage::from(message);
    request.header.flags = NLM_F_REQUEST | NLM_F_ACK | flags;
    request.finalize();
    let mut octets = vec![0; request.buffer_len()];
    request.serialize(&mut octets);
    socket.send_to(&octets, &SocketAddr::new(0, 0), 0)?;
    let (answer, _) = socket.recv_from_full()?;
    let answer = NetlinkMessage::<RouteNetlinkMessage>::deserialize(&answer).map_err(io::Error::other)?;
    match answer.payload {
        NetlinkPayload::Error(error) if error.code.is_some() => Err(error.to_io()),
        _ => Ok(()),
    }
}
