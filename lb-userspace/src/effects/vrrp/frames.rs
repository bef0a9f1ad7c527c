//! Ethernet frames that VRRP needs, as octets: advertisements, gratuitous ARP, neighbour advertisements and
//! solicitations. And the other way round: what an ARP packet or a neighbour message says.
//!
//! Pure. They are built whole and sent by packet socket, because an advertisement's source MAC address is not the
//! interface's (RFC 9568 section 7.3), and because no firewall rule of the host may stop them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A MAC address.
pub type Mac = [u8; 6];

/// To everybody on the link.
pub const BROADCAST: Mac = [0xff; 6];
/// VRRP's protocol number (RFC 9568 section 5.1.1.4).
pub const PROTOCOL_VRRP: u8 = 112;
/// TTL and hop limit of whatever must not come from beyond the link.
pub const TTL: u8 = 255;
/// DSCP CS6, network control, as the octet that is TOS or traffic class.
pub const TRAFFIC_CLASS: u8 = 0xc0;
/// `EtherType` of ARP.
pub const ETHERTYPE_ARP: u16 = 0x0806;
/// `EtherType` of IPv6.
pub const ETHERTYPE_IPV6: u16 = 0x86dd;

const ETHERTYPE_IPV4: u16 = 0x0800;
const PROTOCOL_ICMPV6: u8 = 58;
const ETHERNET: usize = 14;
const IPV4_HEADER: usize = 20;
const IPV6_HEADER: usize = 40;
const ARP: usize = 28;
/// A neighbour message: type, code, checksum, flags, target.
const NEIGHBOUR: usize = 24;
/// A link-layer address option.
const LINK_OPTION: usize = 8;
/// Shorter frames are padded: not every driver does it for us.
const LEAST_FRAME: usize = 60;
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);

const ARP_REQUEST: u16 = 1;
const ARP_REPLY: u16 = 2;
const NEIGHBOUR_SOLICITATION: u8 = 135;
const NEIGHBOUR_ADVERTISEMENT: u8 = 136;
/// Router, not solicited, override (RFC 9568 section 6.4.1, RFC 4861 section 4.4).
const UNSOLICITED: u8 = 0xa0;
/// Router, solicited, override.
const SOLICITED: u8 = 0xe0;
const SOURCE_LINK_ADDRESS: u8 = 1;
const TARGET_LINK_ADDRESS: u8 = 2;

/// A VRRP message to a multicast group, as a frame. `None` when the addresses are of different families or too long.
pub fn advertisement(source_mac: Mac, source: IpAddr, group: IpAddr, payload: &[u8]) -> Option<Vec<u8>> {
    let to = group_mac(group);
    match (source, group) {
        (IpAddr::V4(source), IpAddr::V4(group)) => {
            let mut frame = ethernet(to, source_mac, ETHERTYPE_IPV4);
            frame.extend(ipv4_header(source, group, payload.len())?);
            frame.extend_from_slice(payload);
            Some(padded(frame))
        }
        (IpAddr::V6(source), IpAddr::V6(group)) => {
            let mut frame = ethernet(to, source_mac, ETHERTYPE_IPV6);
            frame.extend(ipv6_header(source, group, PROTOCOL_VRRP, payload.len())?);
            frame.extend_from_slice(payload);
            Some(padded(frame))
        }
        _ => None,
    }
}

/// The frames that tell a link where an address is: ARP as request and as reply, since some hosts heed only one of them;
/// one neighbour advertisement for IPv6.
pub fn announcements(mac: Mac, address: IpAddr) -> Vec<Vec<u8>> {
    match address {
        IpAddr::V4(address) => vec![
            arp(
                BROADCAST,
                mac,
                &Arp { is_reply: false, sender_mac: mac, sender: address, target_mac: [0; 6], target: address },
            ),
            // As RFC 5227 section 3 has it, the target of the reply form is the address itself, and everybody's.
            arp(
                BROADCAST,
                mac,
                &Arp { is_reply: true, sender_mac: mac, sender: address, target_mac: BROADCAST, target: address },
            ),
        ],
        IpAddr::V6(address) => vec![neighbour_advertisement(mac, address, None)],
    }
}

/// Asks who has `address`. The source is one of the interface's addresses, or unspecified.
pub fn question(mac: Mac, source: IpAddr, address: IpAddr) -> Option<Vec<u8>> {
    match (source, address) {
        (IpAddr::V4(sender), IpAddr::V4(target)) => {
            Some(arp(BROADCAST, mac, &Arp { is_reply: false, sender_mac: mac, sender, target_mac: [0; 6], target }))
        }
        (IpAddr::V6(source), IpAddr::V6(target)) => {
            let group = solicited_node(target);
            let message = neighbour_message(NEIGHBOUR_SOLICITATION, 0, target, (SOURCE_LINK_ADDRESS, mac));
            Some(icmpv6(group_mac(IpAddr::V6(group)), mac, source, group, message))
        }
        _ => None,
    }
}

/// Answers an ARP request for an address of ours.
pub fn arp_answer(mac: Mac, asked: &Arp) -> Vec<u8> {
    let answer = Arp {
        is_reply: true,
        sender_mac: mac,
        sender: asked.target,
        target_mac: asked.sender_mac,
        target: asked.sender,
    };
    arp(asked.sender_mac, mac, &answer)
}

/// Says where an address of ours is: to whoever asked (its MAC and IP address), or to all nodes.
pub fn neighbour_advertisement(mac: Mac, address: Ipv6Addr, asked_by: Option<(Mac, Ipv6Addr)>) -> Vec<u8> {
    let (to_mac, to, flags) = match asked_by {
        // Who asks without an address is doing duplicate address detection and listens to all nodes (RFC 4861 7.2.4).
        Some((_, asker)) if asker.is_unspecified() => (group_mac(ALL_NODES.into()), ALL_NODES, UNSOLICITED),
        Some((asker_mac, asker)) => (asker_mac, asker, SOLICITED),
        None => (group_mac(ALL_NODES.into()), ALL_NODES, UNSOLICITED),
    };
    let message = neighbour_message(NEIGHBOUR_ADVERTISEMENT, flags, address, (TARGET_LINK_ADDRESS, mac));
    icmpv6(to_mac, mac, address, to, message)
}

/// What an ARP packet says, over Ethernet and IPv4.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arp {
    /// An answer, not a question.
    pub is_reply: bool,
    /// Who speaks.
    pub sender_mac: Mac,
    /// Who speaks.
    pub sender: Ipv4Addr,
    /// Who is meant; zeros in a question.
    pub target_mac: Mac,
    /// Who is meant.
    pub target: Ipv4Addr,
}

/// What a neighbour solicitation or advertisement says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Neighbour {
    /// An advertisement, not a solicitation.
    pub is_advertisement: bool,
    /// Source address of the packet.
    pub source: Ipv6Addr,
    /// The address that is asked for or told.
    pub target: Ipv6Addr,
    /// The link-layer address in its options, if any.
    pub mac: Option<Mac>,
}

/// What a frame says, if it is an ARP packet or a neighbour message that is well formed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Said {
    /// ARP.
    Arp(Arp),
    /// Neighbour discovery.
    Neighbour(Neighbour),
}

/// Reads a frame, with its Ethernet header. Tags are taken off by the kernel before a packet socket sees it.
pub fn read(frame: &[u8]) -> Option<Said> {
    let payload = frame.get(ETHERNET..)?;
    match u16::from_be_bytes([frame[12], frame[13]]) {
        ETHERTYPE_ARP => read_arp(payload).map(Said::Arp),
        ETHERTYPE_IPV6 => read_neighbour(payload).map(Said::Neighbour),
        _ => None,
    }
}

/// MAC address of a multicast group (RFC 1112 section 6.4, RFC 2464 section 7).
pub fn group_mac(group: IpAddr) -> Mac {
    match group {
        IpAddr::V4(group) => {
            let [_, b, c, d] = group.octets();
            [0x01, 0x00, 0x5e, b & 0x7f, c, d]
        }
        IpAddr::V6(group) => {
            let octets = group.octets();
            [0x33, 0x33, octets[12], octets[13], octets[14], octets[15]]
        }
    }
}

/// The group at which an address is asked for (RFC 4291 section 2.7.1).
pub fn solicited_node(address: Ipv6Addr) -> Ipv6Addr {
    let low = address.octets();
    Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff00 | u16::from(low[13]), u16::from_be_bytes([low[14], low[15]]))
}

fn ethernet(to: Mac, from: Mac, ethertype: u16) -> Vec<u8> {
    let mut frame = Vec::with_capacity(128);
    frame.extend(to);
    frame.extend(from);
    frame.extend(ethertype.to_be_bytes());
    frame
}

fn padded(mut frame: Vec<u8>) -> Vec<u8> {
    if frame.len() < LEAST_FRAME {
        frame.resize(LEAST_FRAME, 0);
    }
    frame
}

fn ipv4_header(source: Ipv4Addr, destination: Ipv4Addr, payload: usize) -> Option<[u8; IPV4_HEADER]> {
    let length = u16::try_from(IPV4_HEADER + payload).ok()?;
    let mut header = [0; IPV4_HEADER];
    header[0] = 0x45;
    header[1] = TRAFFIC_CLASS;
    header[2..4].copy_from_slice(&length.to_be_bytes());
    header[8] = TTL;
    header[9] = PROTOCOL_VRRP;
    header[12..16].copy_from_slice(&source.octets());
    header[16..20].copy_from_slice(&destination.octets());
    let checksum = finish(sum(0, &header));
    header[10..12].copy_from_slice(&checksum.to_be_bytes());
    Some(header)
}

fn ipv6_header(source: Ipv6Addr, to: Ipv6Addr, next: u8, payload: usize) -> Option<[u8; IPV6_HEADER]> {
    let length = u16::try_from(payload).ok()?;
    let mut header = [0; IPV6_HEADER];
    header[0] = 0x60 | (TRAFFIC_CLASS >> 4);
    header[1] = TRAFFIC_CLASS << 4;
    header[4..6].copy_from_slice(&length.to_be_bytes());
    header[6] = next;
    header[7] = TTL;
    header[8..24].copy_from_slice(&source.octets());
    header[24..40].copy_from_slice(&to.octets());
    Some(header)
}

fn arp(to: Mac, from: Mac, packet: &Arp) -> Vec<u8> {
    let mut frame = ethernet(to, from, ETHERTYPE_ARP);
    frame.extend([0, 1, 8, 0, 6, 4]);
    frame.extend(if packet.is_reply { ARP_REPLY } else { ARP_REQUEST }.to_be_bytes());
    frame.extend(packet.sender_mac);
    frame.extend(packet.sender.octets());
    frame.extend(packet.target_mac);
    frame.extend(packet.target.octets());
    padded(frame)
}

fn neighbour_message(kind: u8, flags: u8, target: Ipv6Addr, option: (u8, Mac)) -> [u8; NEIGHBOUR + LINK_OPTION] {
    let mut message = [0; NEIGHBOUR + LINK_OPTION];
    message[0] = kind;
    message[4] = flags;
    message[8..24].copy_from_slice(&target.octets());
    message[24] = option.0;
    message[25] = 1; // in units of 8 octets
    message[26..32].copy_from_slice(&option.1);
    message
}

fn icmpv6(
    to_mac: Mac,
    from_mac: Mac,
    source: Ipv6Addr,
    to: Ipv6Addr,
    mut message: [u8; NEIGHBOUR + LINK_OPTION],
) -> Vec<u8> {
    let checksum = finish(sum(pseudo_header(source, to, message.len()), &message));
    message[2..4].copy_from_slice(&checksum.to_be_bytes());
    let mut frame = ethernet(to_mac, from_mac, ETHERTYPE_IPV6);
    frame.extend(ipv6_header(source, to, PROTOCOL_ICMPV6, message.len()).expect("the message has 32 octets"));
    frame.extend(message);
    padded(frame)
}

/// RFC 8200 section 8.1.
fn pseudo_header(source: Ipv6Addr, to: Ipv6Addr, length: usize) -> u32 {
    let sum = sum(sum(0, &source.octets()), &to.octets());
    sum + u32::try_from(length).expect("a packet is shorter than 64 KiB") + u32::from(PROTOCOL_ICMPV6)
}

fn sum(start: u32, octets: &[u8]) -> u32 {
    octets
        .chunks(2)
        .fold(start, |sum, pair| sum + u32::from(u16::from_be_bytes([pair[0], pair.get(1).copied().unwrap_or(0)])))
}

fn finish(mut sum: u32) -> u16 {
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !u16::try_from(sum).expect("folded to 16 bits")
}

fn read_arp(packet: &[u8]) -> Option<Arp> {
    let packet = packet.get(..ARP)?;
    if packet[..6] != [0, 1, 8, 0, 6, 4] {
        return None;
    }
    let is_reply = match u16::from_be_bytes([packet[6], packet[7]]) {
        ARP_REQUEST => false,
        ARP_REPLY => true,
        _ => return None,
    };
    Some(Arp {
        is_reply,
        sender_mac: array(&packet[8..14]),
        sender: Ipv4Addr::from(array::<4>(&packet[14..18])),
        target_mac: array(&packet[18..24]),
        target: Ipv4Addr::from(array::<4>(&packet[24..28])),
    })
}

/// RFC 4861 section 7.1: hop limit 255, code 0, a checksum that is right.
fn read_neighbour(packet: &[u8]) -> Option<Neighbour> {
    let header = packet.get(..IPV6_HEADER)?;
    let length = usize::from(u16::from_be_bytes([header[4], header[5]]));
    let message = packet.get(IPV6_HEADER..IPV6_HEADER + length)?;
    if header[0] >> 4 != 6 || header[6] != PROTOCOL_ICMPV6 || header[7] != TTL || length < NEIGHBOUR || message[1] != 0
    {
        return None;
    }
    let is_advertisement = match message[0] {
        NEIGHBOUR_SOLICITATION => false,
        NEIGHBOUR_ADVERTISEMENT => true,
        _ => return None,
    };
    let source = Ipv6Addr::from(array::<16>(&header[8..24]));
    let to = Ipv6Addr::from(array::<16>(&header[24..40]));
    if finish(sum(pseudo_header(source, to, length), message)) != 0 {
        return None;
    }
    let target = Ipv6Addr::from(array::<16>(&message[8..24]));
    Some(Neighbour { is_advertisement, source, target, mac: link_address(&message[NEIGHBOUR..]) })
}

/// The first link-layer address among options. An option of length 0 ends them (RFC 4861 section 4.6).
fn link_address(mut options: &[u8]) -> Option<Mac> {
    while let [kind, units, ..] = *options {
        let option = options.get(..usize::from(units) * 8).filter(|option| !option.is_empty())?;
        if matches!(kind, SOURCE_LINK_ADDRESS | TARGET_LINK_ADDRESS) {
            return Some(array(&option[2..8]));
        }
        options = &options[option.len()..];
    }
    None
}

fn array<const N: usize>(octets: &[u8]) -> [u8; N] {
    octets.try_into().expect("the caller cuts to size")
}

#[cfg(test)]
#[path = "frames_tests.rs"]
mod tests;
