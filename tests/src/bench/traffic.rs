//! The packets that a trampoline makes: one header, and how the flows differ. The layout is `Traffic` of
//! `lb-ebpf/src/bench.rs`, word for word.

use std::net::{Ipv4Addr, Ipv6Addr};

use zerocopy::{FromBytes, Immutable, IntoBytes};

/// First client of IPv4 traffic: 198.18.0.0/15 is for benchmarks (RFC 2544).
pub const CLIENT4: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 1);
/// First service address of IPv4 traffic.
pub const SERVICE4: Ipv4Addr = Ipv4Addr::new(198, 19, 0, 1);
/// An address that no service has.
pub const STRANGER4: Ipv4Addr = Ipv4Addr::new(198, 19, 200, 1);
/// First client of IPv6 traffic: 2001:2::/48 is for benchmarks (RFC 5180).
pub const CLIENT6: Ipv6Addr = Ipv6Addr::new(0x2001, 2, 0, 1, 0, 0, 0, 1);
/// First service address of IPv6 traffic.
pub const SERVICE6: Ipv6Addr = Ipv6Addr::new(0x2001, 2, 0, 2, 0, 0, 0, 1);
/// Who a backend is to packets of QUIC.
pub const SERVER_ID: [u8; 4] = [0x5e, 1, 2, 3];
/// The port of all services.
pub const SERVICE_PORT: u16 = 80;

/// Octets of an IPv4 packet, Ethernet header included: the smallest frame there is.
const LENGTH4: usize = 64;
/// Octets of an IPv6 packet.
const LENGTH6: usize = 80;
/// Odd, so that its multiples visit every flow, and far from a small fraction of 2^32, so that neighbours are far apart.
const MULTIPLIER: u32 = 0x9e37_79b1;

/// The packets of one row.
#[repr(C)]
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable)]
pub struct Traffic {
    template: [u8; LENGTH6],
    sent: u32,
    multiplier: u32,
    flow_mask: u32,
    services: u32,
    source: u32,
    destination: u32,
    sum: u32,
    reserved: u32,
}

/// What kind of segment is sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Segment {
    /// TCP, ACK set.
    TcpAck,
    /// TCP, SYN set.
    TcpSyn,
    /// UDP.
    Udp,
    /// A packet of QUIC with a short header, whose connection ID holds [`SERVER_ID`].
    Quic,
}

impl Segment {
    const fn protocol(self) -> u8 {
        match self {
            Self::TcpAck | Self::TcpSyn => 6,
            Self::Udp | Self::Quic => 17,
        }
    }

    /// The transport header; the source port is the trampoline's to write.
    fn header(self, octets: usize) -> Vec<u8> {
        let mut header = vec![0; octets];
        header[2..4].copy_from_slice(&SERVICE_PORT.to_be_bytes());
        match self {
            Self::TcpAck => header[12..14].copy_from_slice(&[0x50, 0x10]),
            Self::TcpSyn => header[12..14].copy_from_slice(&[0x50, 0x02]),
            Self::Udp | Self::Quic => header[4..6].copy_from_slice(&(octets as u16).to_be_bytes()),
        }
        if self == Self::Quic {
            const HEADERS: [u8; 2] = [0x40, 0];
            header[8..10].copy_from_slice(&HEADERS);
            header[10..10 + SERVER_ID.len()].copy_from_slice(&SERVER_ID);
        }
        header
    }
}

impl Traffic {
    /// IPv4 packets of `flows` (a power of two) flows, spread over so many services from `destination` on.
    pub fn v4(segment: Segment, flows: u32, destination: Ipv4Addr, services: u32) -> Self {
        let mut template = link_layer(0x0800);
        let length = (LENGTH4 - template.len()) as u16;
        let mut ip = [0x45, 0, 0, 0, 0, 0, 0x40, 0, 64, segment.protocol(), 0, 0];
        ip[2..4].copy_from_slice(&length.to_be_bytes());
        let sum = ip.chunks(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]]))).sum();
        template.extend(ip);
        template.extend([0; 8]);
        template.extend(segment.header(LENGTH4 - template.len()));
        Self::new(&template, flows, services, u32::from(CLIENT4), u32::from(destination), sum)
    }

    /// IPv6 packets of `flows` (a power of two) flows to the service.
    pub fn v6(segment: Segment, flows: u32) -> Self {
        let mut template = link_layer(0x86dd);
        let payload = LENGTH6 - template.len() - 40;
        template.extend([0x60, 0, 0, 0, 0, payload as u8, segment.protocol(), 64]);
        template.extend(CLIENT6.octets());
        template.extend(SERVICE6.octets());
        template.extend(segment.header(payload));
        Self::new(&template, flows, 1, last_word(CLIENT6), last_word(SERVICE6), 0)
    }

    fn new(octets: &[u8], flows: u32, services: u32, source: u32, destination: u32, sum: u32) -> Self {
        assert!(flows.is_power_of_two(), "the permutation of flows needs a power of two, not {flows}");
        let mut template = [0; LENGTH6];
        template[..octets.len()].copy_from_slice(octets);
        let flow_mask = flows - 1;
        Self { template, sent: 0, multiplier: MULTIPLIER, flow_mask, services, source, destination, sum, reserved: 0 }
    }

    /// How many different flows there are.
    pub const fn flows(&self) -> u32 {
        self.flow_mask + 1
    }

    /// Whether this is IPv6 traffic.
    pub const fn is_v6(&self) -> bool {
        self.template[12] == 0x86
    }

    /// A packet of the length that the trampoline expects.
    pub fn packet(&self) -> &[u8] {
        &self.template[..if self.is_v6() { LENGTH6 } else { LENGTH4 }]
    }
}

fn link_layer(ethertype: u16) -> Vec<u8> {
    let mut header = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2];
    header.extend(ethertype.to_be_bytes());
    header
}

fn last_word(address: Ipv6Addr) -> u32 {
    u128::from(address) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_are_as_long_as_the_trampolines_make_them() {
        assert_eq!(Traffic::v4(Segment::TcpAck, 1, SERVICE4, 1).packet().len(), LENGTH4);
        assert_eq!(Traffic::v6(Segment::Udp, 1).packet().len(), LENGTH6);
    }

    #[test]
    fn the_permutation_visits_every_flow() {
        let traffic = Traffic::v4(Segment::TcpAck, 1 << 10, SERVICE4, 1);
        let mut flows: Vec<u32> =
            (0..1 << 10).map(|n| traffic.multiplier.wrapping_mul(n) & traffic.flow_mask).collect();
        flows.sort_unstable();
        flows.dedup();
        assert_eq!(flows.len(), 1 << 10);
    }
}
