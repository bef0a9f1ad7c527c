//! Which frame reaches a backend: egress interface, both MAC addresses and VLAN tags, from what the kernel told us.
//!
//! The kernel selects the route (`RouteAnswer`); what is left to decide is plain: peel VLAN interfaces off the one the
//! route leaves by, make sure an XDP program may transmit there, and find the neighbour's MAC. Whatever stands in the
//! way becomes an [`Unresolved`] whose words are shown in `fairway status`. Nothing here does I/O; [`tracker`] keeps
//! the answers up to date, and `effects::netlink` talks to the kernel.

mod links;
mod neighbours;
pub mod tracker;
mod unresolved;

use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;

pub use links::{AttachedProgram, Link, LinkKind, Links, ProgramMode};
pub use neighbours::{NEIGHBOUR_PROTOCOL, Neighbour, NeighbourKey, Neighbours, Reachability};
pub use unresolved::Unresolved;

/// At most this many VLAN tags on a frame: an outer and an inner one (802.1ad, "QinQ").
pub const MAX_TAGS: usize = 2;

/// A hardware address.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mac(pub [u8; 6]);

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl fmt::Debug for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// One VLAN tag as it stands in the frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VlanTag {
    /// 0x8100 (802.1Q) or 0x88a8 (802.1ad).
    pub tpid: u16,
    /// Priority, drop eligibility and VLAN id. The priority is 0: we send what the kernel would send unprioritised.
    pub tci: u16,
}

/// Where packets for a destination go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NextHop {
    /// The destination is an address of this host.
    Local,
    /// The destination is reached by this frame.
    Frame(Frame),
}

/// Everything the packet path needs to send to a destination without looking anything up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// Index of the interface that transmits: physical, bond or VLAN parent, never the VLAN interface itself.
    pub interface: u32,
    /// MAC address of the interface the route leaves by (of the VLAN interface, where there is one).
    pub source_mac: Mac,
    /// MAC address of the gateway, or of the destination where it is on the link.
    pub destination_mac: Mac,
    /// VLAN tags, outermost first; at most [`MAX_TAGS`].
    pub tags: Vec<VlanTag>,
    /// Largest IP packet: the smaller of the interface's MTU and the route's.
    pub mtu: u32,
    /// The address that this host would send from.
    pub source: Option<IpAddr>,
}

/// The kernel's answer to "how would you send to this address" (`RTM_GETROUTE`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RouteAnswer {
    /// The address is this host's own.
    Local,
    /// By this interface, through this gateway, or to the destination itself.
    Unicast {
        /// Index of the interface the route leaves by.
        interface: u32,
        /// Next router; may be of the other family (`via inet6`).
        gateway: Option<IpAddr>,
        /// MTU set on the route or learned by path MTU discovery.
        mtu: Option<u32>,
        /// The address that this host would send from.
        source: Option<IpAddr>,
    },
    /// No route matches.
    NoRoute,
    /// A `blackhole`, `unreachable` or `prohibit` route; holds the word.
    Refused(&'static str),
    /// A broadcast, multicast or anycast address.
    NotUnicast,
    /// The route wraps packets (MPLS, seg6, ip tunnel), which a plain frame cannot express.
    Encapsulated,
    /// The kernel could not be asked; holds its error.
    Failed(String),
}

/// The way to a destination, apart from the neighbour's MAC address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Path {
    /// Whose MAC address completes the frame.
    pub neighbour: NeighbourKey,
    /// See [`Frame::interface`].
    pub interface: u32,
    /// See [`Frame::source_mac`].
    pub source_mac: Mac,
    /// See [`Frame::tags`].
    pub tags: Vec<VlanTag>,
    /// See [`Frame::mtu`].
    pub mtu: u32,
    /// See [`Frame::source`].
    pub source: Option<IpAddr>,
}

/// How far a destination gets before neighbours are considered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Way {
    /// To this host.
    Local,
    /// To a neighbour.
    Path(Path),
}

/// The frame for `destination`, or why there is none. `attached` holds the interfaces an XDP program is attached to.
pub fn resolve(
    destination: IpAddr,
    route: &RouteAnswer,
    links: &Links,
    neighbours: &Neighbours,
    attached: &BTreeSet<u32>,
) -> Result<NextHop, Unresolved> {
    let path = match find_way(destination, route, links, attached)? {
        Way::Local => return Ok(NextHop::Local),
        Way::Path(path) => path,
    };
    let destination_mac = neighbour_mac(destination, &path.neighbour, links, neighbours)?;
    Ok(NextHop::Frame(Frame {
        interface: path.interface,
        source_mac: path.source_mac,
        destination_mac,
        tags: path.tags,
        mtu: path.mtu,
        source: path.source,
    }))
}

/// The part of [`resolve`] that needs no neighbour; it also says which neighbour is wanted.
pub fn find_way(
    destination: IpAddr,
    route: &RouteAnswer,
    links: &Links,
    attached: &BTreeSet<u32>,
) -> Result<Way, Unresolved> {
    let (interface, gateway, route_mtu, source) = match route {
        RouteAnswer::Local => return Ok(Way::Local),
        RouteAnswer::Unicast { interface, gateway, mtu, source } => (*interface, *gateway, *mtu, *source),
        RouteAnswer::NoRoute => return Err(Unresolved::NoRoute { destination }),
        RouteAnswer::Refused(word) => return Err(Unresolved::Refused { destination, word }),
        RouteAnswer::NotUnicast => return Err(Unresolved::NotUnicast { destination }),
        RouteAnswer::Encapsulated => return Err(Unresolved::Encapsulated { destination }),
        RouteAnswer::Failed(error) => return Err(Unresolved::RouteLookup { destination, error: error.clone() }),
    };
    let leaving = up(interface, links)?;
    let (transmitting, tags) = peel_vlans(leaving, links)?;
    may_transmit(transmitting, links, attached)?;
    let source_mac = leaving.mac.ok_or_else(|| Unresolved::NotEthernet { interface: leaving.name.clone() })?;
    Ok(Way::Path(Path {
        neighbour: NeighbourKey { interface, address: gateway.unwrap_or(destination) },
        interface: transmitting.index,
        source_mac,
        tags,
        mtu: route_mtu.map_or(leaving.mtu, |mtu| mtu.min(leaving.mtu)),
        source,
    }))
}

fn up(index: u32, links: &Links) -> Result<&Link, Unresolved> {
    let link = links.get(index).ok_or(Unresolved::NoInterface { index })?;
    if link.is_up() { Ok(link) } else { Err(Unresolved::InterfaceDown { interface: link.name.clone() }) }
}

/// From the interface the route leaves by down to the one that transmits, collecting a tag at each VLAN interface.
fn peel_vlans<'a>(leaving: &'a Link, links: &'a Links) -> Result<(&'a Link, Vec<VlanTag>), Unresolved> {
    let mut link = leaving;
    let mut tags = Vec::new();
    while let LinkKind::Vlan { id, tpid } = link.kind {
        if tags.len() == MAX_TAGS {
            return Err(Unresolved::TooManyTags { interface: leaving.name.clone() });
        }
        // The interface nearest to the stack carries the innermost tag.
        tags.insert(0, VlanTag { tpid, tci: id });
        let Some(parent) = link.lower else {
            return Err(Unresolved::ParentElsewhere { interface: link.name.clone() });
        };
        link = up(parent, links)?;
    }
    Ok((link, tags))
}

fn may_transmit(link: &Link, links: &Links, attached: &BTreeSet<u32>) -> Result<(), Unresolved> {
    if attached.contains(&link.index) {
        return Ok(());
    }
    let interface = link.name.clone();
    Err(match link.kind {
        LinkKind::Bridge | LinkKind::Macvlan => Unresolved::Stacked { interface, kind: link.kind.to_string() },
        LinkKind::Plain | LinkKind::Veth | LinkKind::Bond | LinkKind::Vlan { .. } | LinkKind::Other(_) => {
            match links.bond_of(link.index) {
                Some(bond) => Unresolved::BondPort { interface, bond: bond.name.clone() },
                None if link.mac.is_none() => Unresolved::NotEthernet { interface },
                None => Unresolved::NotAttached { interface },
            }
        }
    })
}

fn neighbour_mac(
    destination: IpAddr,
    key: &NeighbourKey,
    links: &Links,
    neighbours: &Neighbours,
) -> Result<Mac, Unresolved> {
    let interface = links.name_of(key.interface);
    let gateway = (key.address != destination).then_some(key.address);
    match neighbours.get(key).map(|neighbour| neighbour.reachability) {
        Some(Reachability::Known(mac) | Reachability::Fixed(mac)) => Ok(mac),
        Some(Reachability::Asking) | None => Err(Unresolved::Asking { destination, gateway, interface }),
        Some(Reachability::Silent) => Err(Unresolved::Silent { destination, gateway, interface }),
    }
}

#[cfg(test)]
mod tests;
