//! Recomputes every checksum of a frame in full, as its receiver would.

use super::{crc32c, internet};

/// What is wrong with the checksums of a frame; nothing for what cannot be checked: fragments, cut packets, other
/// protocols.
pub fn wrong_checksum(frame: &[u8]) -> Option<&'static str> {
    let mut at = 12;
    while matches!(frame.get(at..at + 2)?, [0x81, 0x00] | [0x88, 0xa8]) {
        at += 4;
    }
    let packet = frame.get(at + 2..)?;
    match frame[at..at + 2] {
        [0x08, 0x00] => v4(packet),
        [0x86, 0xdd] => v6(packet),
        _ => None,
    }
}

fn v4(packet: &[u8]) -> Option<&'static str> {
    let header = usize::from(packet.first()? & 15) * 4;
    if packet.len() < header || header < 20 {
        return None;
    }
    if internet(&packet[..header]) != 0 {
        return Some("IPv4 header");
    }
    let length = usize::from(u16::from_be_bytes([packet[2], packet[3]]));
    let is_fragment = u16::from_be_bytes([packet[6], packet[7]]) & 0x3fff != 0;
    if is_fragment || length > packet.len() || length < header {
        return None;
    }
    transport(&packet[12..20], packet[9], &packet[header..length])
}

fn v6(packet: &[u8]) -> Option<&'static str> {
    let length = 40 + usize::from(u16::from_be_bytes([*packet.get(4)?, *packet.get(5)?]));
    if length > packet.len() {
        return None;
    }
    let (mut next, mut at) = (packet[6], 40);
    while matches!(next, 0 | 43 | 44 | 51 | 60) {
        let header = packet.get(at..at + 8)?;
        if next == 44 && u16::from_be_bytes([header[2], header[3]]) & 0xfff9 != 0 {
            return None;
        }
        let size = match next {
            44 => 8,
            51 => (usize::from(header[1]) + 2) * 4,
            _ => (usize::from(header[1]) + 1) * 8,
        };
        (next, at) = (header[0], at + size);
    }
    transport(&packet[8..40], next, packet.get(at..length)?)
}

fn transport(addresses: &[u8], protocol: u8, body: &[u8]) -> Option<&'static str> {
    let length = u32::try_from(body.len()).expect("a packet is short").to_be_bytes();
    let pseudo = [addresses, &length, &[0, 0, 0, protocol]].concat();
    let summed = |octets: &[&[u8]]| internet(&octets.concat()) == 0;
    match protocol {
        6 if body.len() >= 20 => (!summed(&[&pseudo, body])).then_some("TCP"),
        17 if body.len() >= 8 && body[6..8] != [0, 0] => (!summed(&[&pseudo, body])).then_some("UDP"),
        132 if body.len() >= 12 => {
            let zeroed = [&body[..8], &[0; 4], &body[12..]].concat();
            (crc32c(&zeroed).to_le_bytes() != body[8..12]).then_some("SCTP")
        }
        1 if body.len() >= 8 => (!summed(&[body])).then_some("ICMP").or_else(|| quoted(body)),
        58 if body.len() >= 8 => (!summed(&[&pseudo, body])).then_some("ICMPv6").or_else(|| quoted(body)),
        _ => None,
    }
}

/// The packet that an ICMP error quotes, where all of it is quoted.
fn quoted(body: &[u8]) -> Option<&'static str> {
    let quote = &body[8..];
    match (quote.first()? >> 4, body[0]) {
        (4, 3 | 4 | 11 | 12) => v4(quote).map(|_| "the quoted IPv4 packet"),
        (6, 1..=4) => v6(quote).map(|_| "the quoted IPv6 packet"),
        _ => None,
    }
}
