//! Kernel messages (rtnetlink) to what the tracker understands. No I/O.

use std::net::IpAddr;

use rtnetlink::packet_route::address::{AddressAttribute, AddressMessage};
use rtnetlink::packet_route::link::{
    InfoData, InfoKind, InfoVlan, LinkAttribute, LinkFlags, LinkInfo, LinkLayerType, LinkMessage, LinkXdp, XdpAttached,
};
use rtnetlink::packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourExtFlags, NeighbourFlags, NeighbourMessage, NeighbourState,
};
use rtnetlink::packet_route::route::{
    RouteAddress, RouteAttribute, RouteMessage, RouteMetric, RouteProtocol, RouteType, RouteVia,
};
use rtnetlink::packet_route::{AddressFamily, RouteNetlinkMessage};

use crate::nexthop::tracker::Observation;
use crate::nexthop::{
    AttachedProgram, Link, LinkKind, Mac, NEIGHBOUR_PROTOCOL, Neighbour, NeighbourKey, ProgramMode, Reachability,
    RouteAnswer,
};

/// 802.1Q, for a kernel that does not say.
const ETHERTYPE_VLAN: u16 = 0x8100;

/// What an announcement says; none for those that do not concern us.
pub fn observation(message: RouteNetlinkMessage) -> Option<Observation> {
    Some(match message {
        RouteNetlinkMessage::NewLink(message) => Observation::Link(link(&message)?),
        RouteNetlinkMessage::DelLink(message) if concerns_device(&message) => {
            Observation::LinkGone(message.header.index)
        }
        RouteNetlinkMessage::NewNeighbour(message) => {
            let (key, neighbour) = neighbour(&message)?;
            Observation::Neighbour(key, neighbour)
        }
        RouteNetlinkMessage::DelNeighbour(message) => Observation::NeighbourGone(neighbour_key(&message)?),
        RouteNetlinkMessage::NewAddress(message) => {
            let (interface, address) = address(&message)?;
            Observation::Address(interface, address)
        }
        RouteNetlinkMessage::DelAddress(message) => {
            let (interface, address) = address(&message)?;
            Observation::AddressGone(interface, address)
        }
        RouteNetlinkMessage::NewRoute(message) | RouteNetlinkMessage::DelRoute(message) => route_prefix(&message),
        RouteNetlinkMessage::NewRule(_) | RouteNetlinkMessage::DelRule(_) => Observation::Routing,
        _ => return None,
    })
}

/// The interface a message describes. None for what only looks like one: a bridge speaking of its ports (deleting a
/// port from a bridge arrives as "link deleted"), and wireless events, which carry a name and nothing else.
pub fn link(message: &LinkMessage) -> Option<Link> {
    if !concerns_device(message) {
        return None;
    }
    let mut link = Link {
        index: message.header.index,
        name: String::new(),
        kind: LinkKind::Plain,
        mac: None,
        mtu: 0,
        master: None,
        lower: None,
        enabled: message.header.flags.contains(LinkFlags::Up),
        carrier: message.header.flags.contains(LinkFlags::LowerUp),
        program: None,
    };
    let mut elsewhere = false;
    for attribute in &message.attributes {
        match attribute {
            LinkAttribute::IfName(name) => link.name.clone_from(name),
            LinkAttribute::Mtu(mtu) => link.mtu = *mtu,
            LinkAttribute::Address(address) if message.header.link_layer_type == LinkLayerType::Ether => {
                link.mac = mac(address);
            }
            LinkAttribute::Controller(master) if *master != 0 => link.master = Some(*master),
            LinkAttribute::Link(lower) if *lower != 0 => link.lower = Some(*lower),
            LinkAttribute::LinkNetNsId(_) => elsewhere = true,
            LinkAttribute::LinkInfo(info) => link.kind = kind(info),
            LinkAttribute::Xdp(xdp) => link.program = program(xdp),
            _ => {}
        }
    }
    if elsewhere {
        link.lower = None;
    }
    (!link.name.is_empty() && link.mtu != 0).then_some(link)
}

fn concerns_device(message: &LinkMessage) -> bool {
    message.header.interface_family == AddressFamily::Unspec
}

fn kind(info: &[LinkInfo]) -> LinkKind {
    let kind = info.iter().find_map(|info| if let LinkInfo::Kind(kind) = info { Some(kind) } else { None });
    match kind {
        None => LinkKind::Plain,
        Some(InfoKind::Veth) => LinkKind::Veth,
        Some(InfoKind::Bond) => LinkKind::Bond,
        Some(InfoKind::Bridge) => LinkKind::Bridge,
        Some(InfoKind::MacVlan) => LinkKind::Macvlan,
        Some(InfoKind::Vlan) => vlan(info),
        Some(other) => LinkKind::Other(other.to_string()),
    }
}

fn vlan(info: &[LinkInfo]) -> LinkKind {
    let (mut id, mut tpid) = (0, ETHERTYPE_VLAN);
    for info in info {
        let LinkInfo::Data(InfoData::Vlan(attributes)) = info else { continue };
        for attribute in attributes {
            match attribute {
                InfoVlan::Id(value) => id = *value,
                InfoVlan::Protocol(protocol) => tpid = u16::from(*protocol),
                _ => {}
            }
        }
    }
    LinkKind::Vlan { id, tpid }
}

fn program(xdp: &[LinkXdp]) -> Option<AttachedProgram> {
    let mode = xdp.iter().find_map(|attribute| match attribute {
        LinkXdp::Attached(XdpAttached::Driver) => Some(ProgramMode::Native),
        LinkXdp::Attached(XdpAttached::SocketBuffer) => Some(ProgramMode::Generic),
        LinkXdp::Attached(XdpAttached::Hardware) => Some(ProgramMode::Hardware),
        LinkXdp::Attached(XdpAttached::Multiple) => Some(ProgramMode::Several),
        _ => None,
    })?;
    let id = xdp.iter().find_map(|attribute| if let LinkXdp::ProgId(id) = attribute { Some(*id) } else { None });
    Some(AttachedProgram { id: id.unwrap_or(0), mode })
}

/// A neighbour of IPv4 or IPv6. None for bridge forwarding entries and proxied addresses, which share the messages.
pub fn neighbour(message: &NeighbourMessage) -> Option<(NeighbourKey, Neighbour)> {
    let key = neighbour_key(message)?;
    let mut mac_address = None;
    let mut managed = false;
    let mut ours = false;
    for attribute in &message.attributes {
        match attribute {
            NeighbourAttribute::LinkLayerAddress(bytes) => mac_address = mac(bytes),
            NeighbourAttribute::ExtFlags(flags) => managed = flags.contains(NeighbourExtFlags::Managed),
            NeighbourAttribute::Protocol(protocol) => ours = *protocol == RouteProtocol::Other(NEIGHBOUR_PROTOCOL),
            _ => {}
        }
    }
    let reachability = match (message.header.state, mac_address) {
        (NeighbourState::Permanent | NeighbourState::Noarp, Some(mac)) => Reachability::Fixed(mac),
        (NeighbourState::Failed, _) => Reachability::Silent,
        (NeighbourState::Incomplete | NeighbourState::None, _) | (_, None) => Reachability::Asking,
        // Another control plane's entry (EVPN, say): it keeps it fresh, and our touching it would take the mark away.
        (_, Some(mac)) if message.header.flags.contains(NeighbourFlags::ExtLearned) => Reachability::Fixed(mac),
        (_, Some(mac)) => Reachability::Known(mac),
    };
    let doubtful = !matches!(message.header.state, NeighbourState::Reachable | NeighbourState::Stale);
    Some((key, Neighbour { reachability, managed, ours, doubtful, present: true }))
}

fn neighbour_key(message: &NeighbourMessage) -> Option<NeighbourKey> {
    if message.header.flags.contains(NeighbourFlags::Proxy) {
        return None;
    }
    let address = message.attributes.iter().find_map(|attribute| match attribute {
        NeighbourAttribute::Destination(NeighbourAddress::Inet(address)) => Some(IpAddr::from(*address)),
        NeighbourAttribute::Destination(NeighbourAddress::Inet6(address)) => Some(IpAddr::from(*address)),
        _ => None,
    })?;
    Some(NeighbourKey { interface: message.header.ifindex, address })
}

/// A local address and the interface it is on.
pub fn address(message: &AddressMessage) -> Option<(u32, IpAddr)> {
    let (mut local, mut other) = (None, None);
    for attribute in &message.attributes {
        match attribute {
            AddressAttribute::Local(address) => local = Some(*address),
            AddressAttribute::Address(address) => other = Some(*address),
            _ => {}
        }
    }
    // On point-to-point links IFA_ADDRESS is the far end; IPv6 sends no IFA_LOCAL elsewhere.
    Some((message.header.index, local.or(other)?))
}

fn route_prefix(message: &RouteMessage) -> Observation {
    let destination = message.attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::Destination(address) => ip(address),
        _ => None,
    });
    match (destination, message.header.address_family) {
        (Some(prefix), _) => Observation::Route(prefix, message.header.destination_prefix_length),
        (None, AddressFamily::Inet) => Observation::Route(IpAddr::from([0; 4]), 0),
        (None, AddressFamily::Inet6) => Observation::Route(IpAddr::from([0; 16]), 0),
        (None, _) => Observation::Routing,
    }
}

/// The kernel's decision for one destination.
pub fn route_answer(message: &RouteMessage) -> RouteAnswer {
    match message.header.kind {
        RouteType::Local => return RouteAnswer::Local,
        RouteType::Unicast => {}
        RouteType::BlackHole => return RouteAnswer::Refused("blackhole"),
        RouteType::Unreachable => return RouteAnswer::NoRoute,
        RouteType::Prohibit => return RouteAnswer::Refused("prohibit"),
        RouteType::Broadcast | RouteType::Anycast | RouteType::Multicast => return RouteAnswer::NotUnicast,
        other => return RouteAnswer::Failed(format!("unexpected route type {other:?}")),
    }
    let (mut interface, mut gateway, mut mtu, mut source) = (None, None, None, None);
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::Oif(index) => interface = Some(*index),
            RouteAttribute::Gateway(address) => gateway = ip(address),
            RouteAttribute::PrefSource(address) => source = ip(address),
            RouteAttribute::Via(RouteVia::Inet(address)) => gateway = Some(IpAddr::from(*address)),
            RouteAttribute::Via(RouteVia::Inet6(address)) => gateway = Some(IpAddr::from(*address)),
            RouteAttribute::EncapType(_) => return RouteAnswer::Encapsulated,
            RouteAttribute::Metrics(metrics) => mtu = route_mtu(metrics),
            _ => {}
        }
    }
    match interface {
        Some(interface) => RouteAnswer::Unicast { interface, gateway, mtu, source },
        None => RouteAnswer::Failed("the route names no interface".to_owned()),
    }
}

/// The answer behind an error the kernel gave instead of a route.
pub fn route_refusal(errno: i32) -> RouteAnswer {
    match errno {
        libc::ENETUNREACH | libc::EHOSTUNREACH => RouteAnswer::NoRoute,
        libc::EACCES => RouteAnswer::Refused("prohibit"),
        libc::EINVAL => RouteAnswer::Refused("blackhole"),
        other => RouteAnswer::Failed(std::io::Error::from_raw_os_error(other).to_string()),
    }
}

fn route_mtu(metrics: &[RouteMetric]) -> Option<u32> {
    metrics.iter().find_map(|metric| match metric {
        RouteMetric::Mtu(mtu) if *mtu != 0 => Some(*mtu),
        _ => None,
    })
}

fn ip(address: &RouteAddress) -> Option<IpAddr> {
    match address {
        RouteAddress::Inet(address) => Some(IpAddr::from(*address)),
        RouteAddress::Inet6(address) => Some(IpAddr::from(*address)),
        _ => None,
    }
}

fn mac(bytes: &[u8]) -> Option<Mac> {
    bytes.try_into().ok().map(Mac)
}

#[cfg(test)]
mod tests;
