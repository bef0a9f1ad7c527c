//! What the engine wants done. The shell does it, in order, and decides nothing.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::config::{VirtualRoute, VirtualRule};
use crate::happening::Happening;

/// Something to be done.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Listen for VRRP by these and no others: sockets, multicast groups.
    Listen(BTreeSet<Subscription>),
    /// Send an advertisement.
    Advertise(Advertise),
    /// One store into a live word.
    SetLive {
        /// Its index.
        index: u32,
        /// Whether this node serves.
        live: bool,
    },
    /// Hold these addresses: without prefix route, without duplicate address detection. Those already there are kept.
    AddAddresses {
        /// Index of the interface they go to (the loopback interface with a virtual MAC).
        interface: u32,
        /// The addresses.
        addresses: Vec<IpNet>,
    },
    /// Hold these no longer. Those not there are no error.
    RemoveAddresses {
        /// Index of the interface.
        interface: u32,
        /// The addresses.
        addresses: Vec<IpNet>,
    },
    /// Tell the link where these addresses are: gratuitous ARP as request and as reply, unsolicited neighbour
    /// advertisements (RFC 9568 section 6.4.1).
    Announce {
        /// Index of the interface.
        interface: u32,
        /// The MAC address that is announced, and the frames' source.
        mac: [u8; 6],
        /// The addresses.
        addresses: Vec<IpAddr>,
    },
    /// Answer to a virtual MAC address, or stop it: take its frames, answer ARP and neighbour solicitations.
    VirtualMac {
        /// Index of the interface.
        interface: u32,
        /// The MAC address.
        mac: [u8; 6],
        /// For these; empty: stop.
        addresses: Vec<IpAddr>,
    },
    /// Routes and rules that follow mastership: put in place or taken away.
    Routes {
        /// The virtual router.
        router: Arc<str>,
        /// Index of its interface, for routes that name none.
        interface: u32,
        /// The routes.
        routes: Vec<VirtualRoute>,
        /// The rules.
        rules: Vec<VirtualRule>,
        /// In place, or taken away.
        present: bool,
    },
    /// Send a datagram on the peer link.
    Heartbeat {
        /// The peer's address: the path.
        to: IpAddr,
        /// The payload.
        octets: Vec<u8>,
    },
    /// Sessions for which BFD packets are wanted, and no others.
    BfdSessions(BTreeSet<BfdEnds>),
    /// Send a BFD control packet with TTL 255.
    Bfd {
        /// Where.
        ends: BfdEnds,
        /// The payload.
        octets: Vec<u8>,
    },
    /// Ask a gateway for its MAC address, by ARP or neighbour solicitation.
    ProbeGateway {
        /// Index of the interface.
        interface: u32,
        /// The gateway.
        address: IpAddr,
    },
    /// What to do in our name should we die: it replaces what was said before.
    Testament(Testament),
    /// For the event stream and the log.
    Happened(Happening),
    /// After [`Event::Stop`](super::event::Event::Stop): nothing is left to do.
    HandedOver,
}

/// Where VRRP is spoken.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Subscription {
    /// Index of the interface.
    pub interface: u32,
    /// The family.
    pub is_ipv4: bool,
    /// Whether the multicast group is to be joined.
    pub multicast: bool,
}

/// An advertisement on its way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Advertise {
    /// Index of the interface.
    pub interface: u32,
    /// Source address.
    pub source: IpAddr,
    /// The multicast group, or the unicast peers one by one.
    pub destinations: Vec<IpAddr>,
    /// Source MAC address with multicast: the virtual router's (RFC 9568 section 7.3) or the interface's.
    pub source_mac: [u8; 6],
    /// The VRRP message, checksum included.
    pub payload: Vec<u8>,
}

/// The two ends of a BFD session.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct BfdEnds {
    /// Index of the interface.
    pub interface: u32,
    /// Ours.
    pub source: IpAddr,
    /// The other.
    pub neighbour: IpAddr,
}

/// What the supervisor does when the daemon dies or hangs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Testament {
    /// For each virtual router that we are master of and that is not to be kept.
    pub release: Vec<Bequest>,
}

/// What there is to release of one virtual router, in this order: priority 0 goes out, addresses, live word.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bequest {
    /// The virtual router.
    pub router: String,
    /// The advertisement of priority 0.
    pub farewell: Advertise,
    /// Addresses to remove, with the index of the interface they are on.
    pub addresses: Vec<(u32, IpNet)>,
    /// Its live word.
    pub live: Option<u32>,
}
