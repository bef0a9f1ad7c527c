//! Frames of clients and servers, octet by octet, and what can be read off the frames that come out.

use std::net::IpAddr;

pub const SYN: u8 = 2;
pub const FIN_ACK: u8 = 17;
pub const ACK: u8 = 16;

const ETHERNET: usize = 14;
const TCP: u8 = 6;
const UDP: u8 = 17;

/// One end of a flow.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct End {
    pub address: IpAddr,
    pub port: u16,
}

/// A TCP segment with these flags, or a UDP datagram. Checksums are left zero: nobody reads them here.
pub fn frame(from: End, to: End, tcp_flags: Option<u8>) -> Vec<u8> {
    let mut frame = vec![0; 12];
    let transport: u16 = if tcp_flags.is_some() { 20 } else { 8 };
    let protocol = if tcp_flags.is_some() { TCP } else { UDP };
    match (from.address, to.address) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            frame.extend([0x08, 0x00, 0x45, 0]);
            frame.extend((20 + transport).to_be_bytes());
            frame.extend([0, 0, 0, 0, 64, protocol, 0, 0]);
            frame.extend(source.octets().into_iter().chain(destination.octets()));
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            frame.extend([0x86, 0xdd, 0x60, 0, 0, 0]);
            frame.extend(transport.to_be_bytes());
            frame.extend([protocol, 64]);
            frame.extend(source.octets().into_iter().chain(destination.octets()));
        }
        _ => panic!("both ends are of one family"),
    }
    frame.extend(from.port.to_be_bytes().into_iter().chain(to.port.to_be_bytes()));
    match tcp_flags {
        Some(flags) => frame.extend([0, 0, 0, 0, 0, 0, 0, 0, 0x50, flags, 0, 0, 0, 0, 0, 0]),
        None => frame.extend([0, 8, 0, 0]),
    }
    frame
}

/// Destination MAC address of an untagged or tagged frame.
pub fn destination_mac(frame: &[u8]) -> [u8; 6] {
    frame[..6].try_into().expect("six octets")
}

/// Source MAC address.
pub fn source_mac(frame: &[u8]) -> [u8; 6] {
    frame[6..12].try_into().expect("six octets")
}

/// Both ends of the datagram in an untagged frame.
pub fn ends(frame: &[u8]) -> (End, End) {
    let v4 = frame[12..ETHERNET] == [0x08, 0x00];
    let (source, length, transport) = if v4 { (26, 4, 34) } else { (22, 16, 54) };
    let end = |address: usize, port: usize| End {
        address: address_of(&frame[address..address + length]),
        port: u16::from_be_bytes([frame[port], frame[port + 1]]),
    };
    (end(source, transport), end(source + length, transport + 2))
}

fn address_of(octets: &[u8]) -> IpAddr {
    match octets.len() {
        4 => <[u8; 4]>::try_from(octets).expect("four octets").into(),
        _ => <[u8; 16]>::try_from(octets).expect("sixteen octets").into(),
    }
}
