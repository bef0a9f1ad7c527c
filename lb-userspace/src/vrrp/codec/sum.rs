//! The checksum of a message, with and without pseudo-header.

use std::net::IpAddr;

use lb_common::checksum::full;

/// VRRP's IP protocol number.
const PROTOCOL: u8 = 112;

/// The checksum over the message alone, as it lies on the wire; 0 if one in place is right.
pub fn plain(message: &[u8]) -> [u8; 2] {
    full(0, message).to_ne_bytes()
}

/// The checksum over pseudo-header and message, as it lies on the wire; 0 if one in place is right.
///
/// RFC 8200 section 8.1 and its IPv4 likeness: both addresses, then length and protocol, whose widths do not matter to
/// the sum. Source and destination are of one family.
pub fn with_pseudo_header(source: IpAddr, destination: IpAddr, message: &[u8]) -> [u8; 2] {
    let length = u16::try_from(message.len()).expect("255 addresses of 16 octets and a header fit in 16 bits");
    let sum = octets(source) + octets(destination) + words(&length.to_be_bytes()) + words(&[0, PROTOCOL]);
    full(sum, message).to_ne_bytes()
}

fn octets(address: IpAddr) -> u64 {
    match address {
        IpAddr::V4(address) => words(&address.octets()),
        IpAddr::V6(address) => words(&address.octets()),
    }
}

/// The sum of 16-bit words as they lie in memory, not folded.
fn words(octets: &[u8]) -> u64 {
    octets.chunks_exact(2).map(|pair| u64::from(u16::from_ne_bytes([pair[0], pair[1]]))).sum()
}
