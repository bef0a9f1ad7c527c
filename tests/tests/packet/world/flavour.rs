//! The four copies of everything: IPv4 and IPv6, TCP and UDP, with the addresses, rows and places of each.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

use super::services::is_quic;
use super::{WEIGHTS, port};

/// One of the four copies of everything.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Flavour {
    pub v4: bool,
    pub tcp: bool,
}

pub const FLAVOURS: [Flavour; 4] = [
    Flavour { v4: true, tcp: true },
    Flavour { v4: true, tcp: false },
    Flavour { v4: false, tcp: true },
    Flavour { v4: false, tcp: false },
];

impl std::fmt::Display for Flavour {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let family = if self.v4 { "IPv4" } else { "IPv6" };
        write!(f, "{family} {}", if self.tcp { "TCP" } else { "UDP" })
    }
}

impl Flavour {
    fn address(self, v4: [u8; 4], v6: [u16; 8]) -> IpAddr {
        if self.v4 { Ipv4Addr::from(v4).into() } else { Ipv6Addr::from(v6).into() }
    }

    /// The services' address.
    pub fn vip(self) -> IpAddr {
        self.address([192, 0, 2, 10], [0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x10])
    }

    /// An address with a listener for every port and one for [`port::EXACT`].
    pub fn wild(self) -> IpAddr {
        self.address([192, 0, 2, 20], [0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x20])
    }

    /// An address all of whose ports are translated to one backend's.
    pub fn wild_nat(self) -> IpAddr {
        self.address([192, 0, 2, 30], [0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x30])
    }

    /// An address all of whose services follow [`ROUTER`].
    pub fn followed(self) -> IpAddr {
        self.address([192, 0, 2, 40], [0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x40])
    }

    /// An address where ESP, AH and IKE go by their client: to sixteen backends, in the rows of [`port::BY_CLIENT`].
    pub fn secured(self) -> IpAddr {
        self.address([192, 0, 2, 60], [0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x60])
    }

    /// An address with two ranges of ports and one port besides. [`Flavour::wild`] has the first of the ranges too.
    pub fn ranged(self) -> IpAddr {
        self.address([192, 0, 2, 70], [0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x70])
    }

    /// An address with a range of ports that is translated, each to the same of one backend.
    pub fn ranged_nat(self) -> IpAddr {
        self.address([192, 0, 2, 71], [0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x71])
    }

    /// An address of no service.
    pub fn stranger(self) -> IpAddr {
        self.address([192, 0, 2, 99], [0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x99])
    }

    /// The address that full NAT gives as source.
    pub fn source(self) -> IpAddr {
        self.address([192, 0, 2, 50], [0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x50])
    }

    /// The client `n`, see [`routes`].
    pub fn client(self, n: u8) -> IpAddr {
        self.address([198, 51, 100, n], [0x2001, 0xdb8, 1, 0, 0, 0, 0, n.into()])
    }

    /// A client in a prefix that translation leaves alone.
    pub fn excluded_client(self) -> IpAddr {
        self.address([203, 0, 113, 5], [0x2001, 0xdb8, 0xee, 0, 0, 0, 0, 5])
    }

    /// The address of the backend of a row.
    pub fn backend(self, row: u32) -> IpAddr {
        let shared_too = self.row(port::SHARED_TOO, 0);
        let row = if (shared_too..shared_too + 4).contains(&row) { row - 4 } else { row };
        let [_, _, high, low] = row.to_be_bytes();
        self.address([10, 77, high, low], [0xfd77, 0, 0, 0, 0, 0, 0, row as u16])
    }

    pub fn protocol(self) -> u8 {
        if self.tcp { 6 } else { 17 }
    }

    /// Who chooses for the stateful service at `port`; nobody, 0, for others.
    pub fn chooser(self, port: u16) -> u32 {
        let copy = u32::from(!self.v4) * 2 + u32::from(!self.tcp);
        let each = u32::from(port::STATEFUL_END - port::STATEFUL);
        let first = copy * each + 1;
        if port == port::SCTP_TURNS {
            return 4 * each + 1 + copy;
        }
        if (port::STATEFUL..port::STATEFUL_END).contains(&port) { first + u32::from(port - port::STATEFUL) } else { 0 }
    }

    /// Where the packets of the service at `port` are counted that go by connection ID; 0 for others.
    pub fn quic_place(self, port: u16) -> u16 {
        let each = port::QUIC_END - port::QUIC;
        if is_quic(port) { 1 + u16::from(!self.v4) * each + (port - port::QUIC) } else { 0 }
    }

    /// The load of a backend of the stateful service at `port`.
    pub fn load(self, port: u16, backend: u16) -> u32 {
        self.chooser(port) * WEIGHTS.len() as u32 + u32::from(backend)
    }

    /// The access rules of the service at `port`; none, 0, for others.
    pub fn access(self, port: u16) -> u16 {
        let copy = u16::from(!self.v4) * 2 + u16::from(!self.tcp);
        match port {
            port::ALLOWS..=port::CLIENT_LIMITED => copy * 5 + 1 + (port - port::ALLOWS),
            port::LIMITED_TURNS => copy * 5 + 5,
            port::SCTP_LIMITED => 4 * 5 + 1 + copy,
            _ => 0,
        }
    }

    /// The network of all clients but a few.
    pub fn clients(self) -> IpNet {
        let prefix = if self.v4 { 24 } else { 64 };
        IpNet::new(self.client(0), prefix).expect("a length of the family")
    }

    /// The row of a backend of the service at `port`.
    pub fn row(self, port: u16, backend: u16) -> u32 {
        let copy = u32::from(!self.v4) * 2 + u32::from(!self.tcp);
        (copy * u32::from(port::END - port::DIRECT) + u32::from(port - port::DIRECT)) * 4 + u32::from(backend)
    }
}
