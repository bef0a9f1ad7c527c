//! Why a destination has no frame, in words an operator can act on.

use std::net::IpAddr;

/// What keeps a destination from being reached. Its `Display` is what `fairway status` shows.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unresolved {
    /// The routing table has no match.
    #[error("no route to {destination}")]
    NoRoute {
        /// The backend's address.
        destination: IpAddr,
    },
    /// The matching route refuses.
    #[error("the route to {destination} is a {word} route")]
    Refused {
        /// The backend's address.
        destination: IpAddr,
        /// `blackhole`, `unreachable` or `prohibit`.
        word: &'static str,
    },
    /// The address is a broadcast, multicast or anycast address.
    #[error("{destination} is not a unicast address here (broadcast, multicast or anycast)")]
    NotUnicast {
        /// The backend's address.
        destination: IpAddr,
    },
    /// The route wraps packets.
    #[error("the route to {destination} encapsulates packets, which XDP forwarding cannot follow")]
    Encapsulated {
        /// The backend's address.
        destination: IpAddr,
    },
    /// The kernel could not be asked.
    #[error("the kernel did not say how to reach {destination}: {error}")]
    RouteLookup {
        /// The backend's address.
        destination: IpAddr,
        /// What it said instead.
        error: String,
    },
    /// The route has not been looked up yet.
    #[error("the route to {destination} is being looked up")]
    LookingUp {
        /// The backend's address.
        destination: IpAddr,
    },
    /// The route leaves by an interface that is gone.
    #[error("the route leaves by interface {index}, which no longer exists")]
    NoInterface {
        /// Its index.
        index: u32,
    },
    /// The interface is down or has no carrier.
    #[error("interface {interface} is down")]
    InterfaceDown {
        /// Its name.
        interface: String,
    },
    /// No XDP program is attached to the interface.
    #[error("route leaves by {interface}, which is not in dataplane.interfaces")]
    NotAttached {
        /// Its name.
        interface: String,
    },
    /// The interface is a port of a bond.
    #[error(
        "route leaves by {interface}, a port of bond {bond}; put {bond} in dataplane.interfaces and its address on it"
    )]
    BondPort {
        /// The port's name.
        interface: String,
        /// The bond's name.
        bond: String,
    },
    /// The interface stands on others (bridge, macvlan) which would have to transmit.
    #[error("route leaves by {kind} {interface}; XDP sends from the interface beneath, give that one the address")]
    Stacked {
        /// Its name.
        interface: String,
        /// Its kind.
        kind: String,
    },
    /// The interface has no Ethernet address.
    #[error("route leaves by {interface}, which is not an Ethernet interface")]
    NotEthernet {
        /// Its name.
        interface: String,
    },
    /// More VLAN tags than a frame may carry here.
    #[error("{interface} is a VLAN within more than one other; at most two tags are supported")]
    TooManyTags {
        /// The interface the route leaves by.
        interface: String,
    },
    /// The VLAN interface's parent cannot be seen.
    #[error("the parent of VLAN interface {interface} is in another network namespace")]
    ParentElsewhere {
        /// The VLAN interface.
        interface: String,
    },
    /// The neighbour has been asked for and has not answered yet.
    #[error("asking for {} on {interface}", asked(destination, gateway))]
    Asking {
        /// The backend's address.
        destination: IpAddr,
        /// The router on the way, if any.
        gateway: Option<IpAddr>,
        /// The interface asked on.
        interface: String,
    },
    /// The neighbour does not answer.
    #[error("{} does not answer {} on {interface}", asked(destination, gateway), protocol(destination, gateway))]
    Silent {
        /// The backend's address.
        destination: IpAddr,
        /// The router on the way, if any.
        gateway: Option<IpAddr>,
        /// The interface asked on.
        interface: String,
    },
}

impl Unresolved {
    /// Whether this is only a matter of waiting: nothing has failed yet.
    pub fn is_pending(&self) -> bool {
        matches!(self, Self::LookingUp { .. } | Self::Asking { .. })
    }
}

fn asked(destination: &IpAddr, gateway: &Option<IpAddr>) -> String {
    match gateway {
        None => destination.to_string(),
        Some(gateway) => format!("gateway {gateway} (towards {destination})"),
    }
}

fn protocol(destination: &IpAddr, gateway: &Option<IpAddr>) -> &'static str {
    match gateway.unwrap_or(*destination) {
        IpAddr::V4(_) => "ARP",
        IpAddr::V6(_) => "neighbour discovery",
    }
}
