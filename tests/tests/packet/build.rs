//! The packets of the cases, and what forwarding makes of them.

use std::net::IpAddr;

use fairway_tests::packet::{Frame, Ip, Payload, flag};
use lb_common::abi::FlowKey6;

use super::world::{Flavour, LAN, WAN, client, neighbour_mac, own_mac, row_mac};

/// The port that clients use.
pub const CLIENT_PORT: u16 = 40_000;

/// A frame that came in by `LAN`.
pub fn frame(ip: Ip) -> Frame {
    Frame { to: own_mac(LAN), from: [2, 0xc1, 0, 0, 0xff, 1], tags: vec![], ip, padding: 0 }
}

impl Flavour {
    /// What a flow of this protocol carries in the middle: data.
    pub fn payload(self, from: u16, to: u16) -> Payload {
        let data = b"What the client asks, and an odd number of octets.".to_vec();
        let data = data[..49].to_vec();
        if self.tcp {
            Payload::Tcp { ports: (from, to), flags: flag::ACK, data }
        } else {
            Payload::Udp { ports: (from, to), summed: true, data }
        }
    }

    /// A packet of the usual client to an address and port.
    pub fn to(self, destination: IpAddr, port: u16) -> Frame {
        frame(Ip::new(self.client(client::NEAR), destination, self.payload(CLIENT_PORT, port)))
    }

    /// A packet of the usual client to the services' address.
    pub fn request(self, port: u16) -> Frame {
        self.to(self.vip(), port)
    }

    /// The answer of a row's backend to a client.
    pub fn reply(self, row: u32, port: u16, client: u8) -> Frame {
        frame(Ip::new(self.backend(row), self.client(client), self.payload(port, CLIENT_PORT)))
    }

    /// What identifies the usual client's flow to a service.
    pub fn flow(self, port: u16) -> FlowKey6 {
        let [a, b] = CLIENT_PORT.to_be_bytes();
        let [c, d] = port.to_be_bytes();
        FlowKey6 {
            source: self.client(client::NEAR).into(),
            destination: self.vip().into(),
            ports_wire: u32::from_ne_bytes([a, b, c, d]),
            protocol: self.protocol().into(),
        }
    }
}

/// What changes on the way, and what is cut.
pub trait Change {
    /// Sent on to the backend of a row on `LAN`: one hop more.
    #[must_use]
    fn at(&self, row: u32) -> Self;
    /// Sent on to a neighbour on an interface: one hop more.
    #[must_use]
    fn sent_to(&self, neighbour: u8, interface: u32) -> Self;
    /// With another destination.
    #[must_use]
    fn destined(&self, address: IpAddr, port: u16) -> Self;
    /// With another source.
    #[must_use]
    fn sourced(&self, address: IpAddr, port: u16) -> Self;
    /// With TCP flags.
    #[must_use]
    fn flags(&self, flags: u8) -> Self;
    /// With VLAN tags.
    #[must_use]
    fn tagged(&self, tags: &[(u16, u16)]) -> Self;
    /// With a time to live.
    #[must_use]
    fn ttl(&self, ttl: u8) -> Self;
}

impl Change for Frame {
    fn at(&self, row: u32) -> Self {
        let interface = LAN;
        self.clone().with(|frame| {
            (frame.to, frame.from) = (row_mac(row), own_mac(interface));
            frame.ip.ttl -= 1;
        })
    }

    fn sent_to(&self, neighbour: u8, interface: u32) -> Self {
        self.clone().with(|frame| {
            (frame.to, frame.from) = (neighbour_mac(neighbour), own_mac(interface));
            frame.ip.ttl -= 1;
        })
    }

    fn destined(&self, address: IpAddr, port: u16) -> Self {
        self.clone().with(|frame| {
            frame.ip.destination = address;
            if let Some(ports) = frame.ip.payload.ports() {
                ports.1 = port;
            }
        })
    }

    fn sourced(&self, address: IpAddr, port: u16) -> Self {
        self.clone().with(|frame| {
            frame.ip.source = address;
            if let Some(ports) = frame.ip.payload.ports() {
                ports.0 = port;
            }
        })
    }

    fn flags(&self, new: u8) -> Self {
        self.clone().with(|frame| {
            if let Payload::Tcp { flags, .. } = &mut frame.ip.payload {
                *flags = new;
            }
        })
    }

    fn tagged(&self, tags: &[(u16, u16)]) -> Self {
        self.clone().with(|frame| frame.tags = tags.to_vec())
    }

    fn ttl(&self, ttl: u8) -> Self {
        self.clone().with(|frame| frame.ip.ttl = ttl)
    }
}

/// Sent on by `WAN` to the usual client.
pub fn to_client(frame: &Frame) -> Frame {
    frame.sent_to(client::NEAR, WAN)
}
