//! Packets for tests: built whole, every checksum computed over everything it covers, by code that shares nothing with
//! the packet path. An expected packet is the same description with the fields changed that forwarding changes.

mod sum;
pub mod verify;

use std::net::IpAddr;

pub use sum::{crc32c, internet};

/// TCP flags.
pub mod flag {
    /// Last data from the sender.
    pub const FIN: u8 = 1;
    /// Opens a connection.
    pub const SYN: u8 = 2;
    /// Ends a connection at once.
    pub const RST: u8 = 4;
    /// Acknowledges.
    pub const ACK: u8 = 16;
}

/// Types of SCTP chunks (RFC 9260 section 3.2).
pub mod chunk {
    /// Data.
    pub const DATA: u8 = 0;
    /// Opens an association.
    pub const INIT: u8 = 1;
    /// Ends an association at once.
    pub const ABORT: u8 = 6;
    /// No more data from the sender.
    pub const SHUTDOWN: u8 = 7;
    /// The answer to that.
    pub const SHUTDOWN_ACK: u8 = 8;
    /// The client's second message.
    pub const COOKIE_ECHO: u8 = 10;
    /// The answer to that answer.
    pub const SHUTDOWN_COMPLETE: u8 = 14;
}

/// IPv6 extension header numbers.
pub mod extension {
    /// Hop-by-hop options.
    pub const HOP_BY_HOP: u8 = 0;
    /// Routing.
    pub const ROUTING: u8 = 43;
    /// Authentication.
    pub const AUTHENTICATION: u8 = 51;
    /// Destination options.
    pub const DESTINATION: u8 = 60;
}

/// An Ethernet frame that carries an IP packet.
#[derive(Clone, Debug)]
pub struct Frame {
    /// Destination MAC address.
    pub to: [u8; 6],
    /// Source MAC address.
    pub from: [u8; 6],
    /// VLAN tags, outer first: TPID and TCI.
    pub tags: Vec<(u16, u16)>,
    /// What it carries.
    pub ip: Ip,
    /// Octets after the IP packet, as short frames are padded.
    pub padding: usize,
}

/// An IP packet of either family.
#[derive(Clone, Debug)]
pub struct Ip {
    /// Source address.
    pub source: IpAddr,
    /// Destination address, of the same family.
    pub destination: IpAddr,
    /// Time to live, or hop limit.
    pub ttl: u8,
    /// IPv4 options, a multiple of four octets.
    pub options: Vec<u8>,
    /// IPv6 extension headers, in order: number and everything after the first octet.
    pub extensions: Vec<(u8, Vec<u8>)>,
    /// Which part of the payload this packet carries, if it is a fragment.
    pub fragment: Option<Fragment>,
    /// What the datagram carries.
    pub payload: Payload,
}

/// One fragment of a datagram.
#[derive(Clone, Copy, Debug)]
pub struct Fragment {
    /// What the fragments of a datagram share.
    pub identification: u32,
    /// Where in the datagram's payload this one begins, a multiple of eight.
    pub start: usize,
    /// Where it ends; the last one ends with the payload.
    pub end: usize,
    /// Whether more follow.
    pub more: bool,
}

/// What a datagram carries.
#[derive(Clone, Debug)]
pub enum Payload {
    /// TCP.
    Tcp {
        /// Source and destination port.
        ports: (u16, u16),
        /// Bits of [`flag`].
        flags: u8,
        /// What follows the header.
        data: Vec<u8>,
    },
    /// UDP.
    Udp {
        /// Source and destination port.
        ports: (u16, u16),
        /// Whether there is a checksum.
        summed: bool,
        /// What follows the header.
        data: Vec<u8>,
    },
    /// SCTP, with one chunk.
    Sctp {
        /// Source and destination port.
        ports: (u16, u16),
        /// Verification tag.
        tag: u32,
        /// Type of the chunk; one of [`chunk`].
        chunk: u8,
        /// What follows the chunk's header.
        data: Vec<u8>,
    },
    /// ICMP or ICMPv6, by the packet's family.
    Icmp {
        /// Type and code.
        kind: (u8, u8),
        /// What follows the eight octets of the header.
        data: Vec<u8>,
    },
    /// A request for an echo, or one, of ICMP or ICMPv6.
    Echo {
        /// Type; the code is 0.
        kind: u8,
        /// Identifier; the sequence number is 7.
        identifier: u16,
        /// What follows the header.
        data: Vec<u8>,
    },
    /// Any other protocol, without a checksum that we know.
    Other(u8, Vec<u8>),
}

impl Frame {
    /// The octets of the frame.
    pub fn octets(&self) -> Vec<u8> {
        let mut out = [self.to, self.from].concat();
        for (tpid, tci) in &self.tags {
            out.extend([tpid.to_be_bytes(), tci.to_be_bytes()].concat());
        }
        let ethertype: u16 = if self.ip.source.is_ipv4() { 0x0800 } else { 0x86dd };
        out.extend(ethertype.to_be_bytes());
        out.extend(self.ip.octets());
        out.extend(vec![0; self.padding]);
        out
    }

    /// The frame, changed.
    #[must_use]
    pub fn with(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }
}

impl Ip {
    /// A packet without options.
    pub fn new(source: IpAddr, destination: IpAddr, payload: Payload) -> Self {
        Self { source, destination, ttl: 64, options: vec![], extensions: vec![], fragment: None, payload }
    }

    /// The octets of the packet.
    pub fn octets(&self) -> Vec<u8> {
        let whole = self.transport();
        let body = self.fragment.map_or(&whole[..], |fragment| &whole[fragment.start..fragment.end]);
        match (self.source, self.destination) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => self.v4(source.octets(), destination.octets(), body),
            (IpAddr::V6(source), IpAddr::V6(destination)) => self.v6(source.octets(), destination.octets(), body),
            _ => panic!("addresses of two families"),
        }
    }

    /// The transport header and data of the whole datagram.
    fn transport(&self) -> Vec<u8> {
        if matches!(self.payload, Payload::Sctp { .. }) {
            return self.payload.sealed();
        }
        let (mut out, at) = self.payload.unsummed();
        let Some(at) = at else { return out };
        let pseudo = match &self.payload {
            Payload::Icmp { .. } | Payload::Echo { .. } if self.source.is_ipv4() => vec![],
            _ => self.pseudo_header(out.len()),
        };
        let mut sum = internet(&[&pseudo[..], &out[..]].concat());
        if matches!(self.payload, Payload::Udp { .. }) && sum == 0 {
            sum = 0xffff; // RFC 768: zero says that there is none
        }
        out[at..at + 2].copy_from_slice(&sum.to_be_bytes());
        out
    }

    fn pseudo_header(&self, length: usize) -> Vec<u8> {
        let length = u32::try_from(length).expect("a packet is short").to_be_bytes();
        let protocol = self.payload.protocol(self.source.is_ipv4());
        let mut out = [address_octets(self.source), address_octets(self.destination)].concat();
        if self.source.is_ipv4() {
            out.extend([0, protocol, length[2], length[3]]);
        } else {
            out.extend(length);
            out.extend([0, 0, 0, protocol]);
        }
        out
    }

    fn v4(&self, source: [u8; 4], destination: [u8; 4], body: &[u8]) -> Vec<u8> {
        let header = 20 + self.options.len();
        let length = u16::try_from(header + body.len()).expect("a packet is short");
        let (identification, part) = match self.fragment {
            None => (0x1234, 0x4000),
            Some(fragment) => {
                let offset = u16::try_from(fragment.start / 8).expect("a packet is short");
                (fragment.identification as u16, offset | if fragment.more { 0x2000 } else { 0 })
            }
        };
        let mut out = vec![0x40 | u8::try_from(header / 4).expect("at most 60 octets"), 0];
        out.extend(length.to_be_bytes());
        out.extend(u16::to_be_bytes(identification));
        out.extend(u16::to_be_bytes(part));
        out.extend([self.ttl, self.payload.protocol(true), 0, 0]);
        out.extend(source);
        out.extend(destination);
        out.extend(&self.options);
        let sum = internet(&out);
        out[10..12].copy_from_slice(&sum.to_be_bytes());
        out.extend(body);
        out
    }

    fn v6(&self, source: [u8; 16], destination: [u8; 16], body: &[u8]) -> Vec<u8> {
        let mut chain: Vec<(u8, Vec<u8>)> = self.extensions.clone();
        if let Some(fragment) = self.fragment {
            let offset = u16::try_from(fragment.start).expect("a packet is short") | u16::from(fragment.more);
            let rest = [&[0][..], &offset.to_be_bytes(), &fragment.identification.to_be_bytes()].concat();
            chain.push((44, rest));
        }
        let extensions: usize = chain.iter().map(|(_, rest)| 1 + rest.len()).sum();
        let length = u16::try_from(extensions + body.len()).expect("a packet is short");
        let last = self.payload.protocol(false);
        let number = |i: usize| chain.get(i).map_or(last, |(number, _)| *number);
        let mut out = vec![0x60, 0, 0, 0];
        out.extend(length.to_be_bytes());
        out.extend([number(0), self.ttl]);
        out.extend(source);
        out.extend(destination);
        for (i, (_, rest)) in chain.iter().enumerate() {
            out.push(number(i + 1));
            out.extend(rest);
        }
        out.extend(body);
        out
    }
}

impl Payload {
    /// The protocol number, in a packet of IPv4 or else IPv6.
    pub fn protocol(&self, v4: bool) -> u8 {
        match self {
            Self::Tcp { .. } => 6,
            Self::Udp { .. } => 17,
            Self::Sctp { .. } => 132,
            Self::Icmp { .. } | Self::Echo { .. } if v4 => 1,
            Self::Icmp { .. } | Self::Echo { .. } => 58,
            Self::Other(number, _) => *number,
        }
    }

    /// Source and destination port, of what has them.
    pub fn ports(&mut self) -> Option<&mut (u16, u16)> {
        match self {
            Self::Tcp { ports, .. } | Self::Udp { ports, .. } | Self::Sctp { ports, .. } => Some(ports),
            Self::Icmp { .. } | Self::Echo { .. } | Self::Other(..) => None,
        }
    }

    /// What follows the header.
    pub fn data(&mut self) -> &mut Vec<u8> {
        match self {
            Self::Tcp { data, .. }
            | Self::Udp { data, .. }
            | Self::Sctp { data, .. }
            | Self::Icmp { data, .. }
            | Self::Echo { data, .. }
            | Self::Other(_, data) => data,
        }
    }

    /// The octets of SCTP, whose checksum covers no address.
    pub fn sealed(&self) -> Vec<u8> {
        let (mut out, _) = self.unsummed();
        let sum = crc32c(&out).to_le_bytes(); // RFC 9260 appendix A
        out[8..12].copy_from_slice(&sum);
        out
    }

    /// The octets with a zero checksum, and where the checksum goes.
    fn unsummed(&self) -> (Vec<u8>, Option<usize>) {
        match self {
            Self::Tcp { ports, flags, data } => {
                let mut out = [ports.0.to_be_bytes(), ports.1.to_be_bytes()].concat();
                out.extend([0, 0, 0, 1, 0, 0, 0, 2, 0x50, *flags, 0x20, 0, 0, 0, 0, 0]);
                out.extend(data);
                (out, Some(16))
            }
            Self::Udp { ports, summed, data } => {
                let length = u16::try_from(8 + data.len()).expect("a packet is short");
                let mut out = [ports.0.to_be_bytes(), ports.1.to_be_bytes(), length.to_be_bytes(), [0; 2]].concat();
                out.extend(data);
                (out, summed.then_some(6))
            }
            Self::Sctp { ports, tag, chunk, data } => {
                let length = u16::try_from(4 + data.len()).expect("a packet is short");
                let mut out = [ports.0.to_be_bytes(), ports.1.to_be_bytes()].concat();
                out.extend(tag.to_be_bytes());
                out.extend([0, 0, 0, 0, *chunk, 0]);
                out.extend(length.to_be_bytes());
                out.extend(data);
                out.resize(out.len().next_multiple_of(4), 0);
                (out, None)
            }
            Self::Icmp { kind, data } => {
                let mut out = vec![kind.0, kind.1, 0, 0, 0, 0, 0, 0];
                out.extend(data);
                (out, Some(2))
            }
            Self::Echo { kind, identifier, data } => {
                let [high, low] = identifier.to_be_bytes();
                let mut out = vec![*kind, 0, 0, 0, high, low, 0, 7];
                out.extend(data);
                (out, Some(2))
            }
            Self::Other(_, data) => (data.clone(), None),
        }
    }
}

fn address_octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(v4) => v4.octets().to_vec(),
        IpAddr::V6(v6) => v6.octets().to_vec(),
    }
}
