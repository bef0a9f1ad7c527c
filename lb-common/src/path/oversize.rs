//! Answers to packets that do not fit into a tunnel: "fragmentation needed" (RFC 1191) and "packet too big" (RFC 8201), so that path MTU
//! discovery works for clients. The sender is told what fits without the outer headers.
//!
//! They come from the service's address: that is whom the client spoke to, what firewalls on the way let pass, and it says
//! nothing of the network behind. They go back to where the packet came from, with no question to the routing table. IPv4 senders are
//! told whether or not they set don't-fragment: nobody here would fragment, and one that is told can. Not answered are later
//! fragments and ICMP messages (RFC 1122 section 3.2.2), and more than [`crate::limits::ANSWERS_PER_SECOND`] on one CPU.

use super::Tables;
use crate::checksum;
use crate::counters::Reason;
use crate::packet::ethernet::{self, Exit, ethertype};
use crate::packet::{Packet, ipv4, ipv6, protocol};

/// Octets that are quoted of the packet: past an IPv4 header with all options and eight octets of what it carries (RFC 792).
const QUOTE_V4: usize = 72;
/// Past an IPv6 header, some extension headers, and a TCP header.
const QUOTE_V6: usize = 128;
/// Length of an ICMP header.
const ICMP: usize = 8;
/// Type and code, as they lie in a header.
const FRAGMENTATION_NEEDED: u32 = 3 | 4 << 8;
const PACKET_TOO_BIG: u32 = 2;
const TIME_TO_LIVE: u32 = 64;

/// Turns the packet into an answer to its sender, and says so by [`Reason::TooBigAnswered`]; or why not.
#[inline(always)]
pub fn answer<P: Packet, T: Tables>(
    packet: &mut P,
    tables: &T,
    network: usize,
    v4: bool,
    room: u32,
) -> Result<u32, Reason> {
    if !tables.may_answer() {
        return Err(Reason::TooBigForTunnel);
    }
    let made = if v4 { v4_answer(packet, network, room) } else { v6_answer(packet, network, room) };
    Err(made.map_or(Reason::TooBigForTunnel, |()| Reason::TooBigAnswered))
}

#[inline(always)]
fn v4_answer<P: Packet>(packet: &mut P, network: usize, room: u32) -> Option<()> {
    let [client, service]: [u32; 2] = packet.load(network + ipv4::SOURCE)?;
    let quoted = quoted(packet, network, QUOTE_V4)?;
    let next_hop_mtu = ((room as u16).to_be() as u32) << 16;
    let icmp = FRAGMENTATION_NEEDED as u64 + next_hop_mtu as u64;
    let icmp_checksum = !checksum::fold(icmp + quoted) as u32;
    let start = give_back(packet, network, QUOTE_V4, ipv4::HEADER + ICMP, ethertype::IPV4)?;
    const LENGTH: u32 = ((ipv4::HEADER + ICMP + QUOTE_V4) as u16).to_be() as u32;
    const FIRST: u32 = 0x45 | LENGTH << 16;
    const DONT_FRAGMENT: u32 = 0x0040_0000;
    const THIRD: u32 = TIME_TO_LIVE | (protocol::ICMP as u32) << 8;
    let sum = FIRST as u64 + DONT_FRAGMENT as u64 + THIRD as u64 + client as u64 + service as u64;
    let checksum = !checksum::fold(sum) as u32;
    packet.store(start, [FIRST, DONT_FRAGMENT, THIRD | checksum << 16, service, client])?;
    packet.store(start + ipv4::HEADER, [FRAGMENTATION_NEEDED | icmp_checksum << 16, next_hop_mtu])
}

#[inline(always)]
fn v6_answer<P: Packet>(packet: &mut P, network: usize, room: u32) -> Option<()> {
    let [a, b, c, d]: [u64; 4] = packet.load(network + ipv6::SOURCE)?;
    let quoted = quoted(packet, network, QUOTE_V6)?;
    const PAYLOAD: u64 = ((ICMP + QUOTE_V6) as u16).to_be() as u64;
    let addresses = [a, b, c, d].iter().fold(0, |sum, &word| sum + (word >> 32) + (word & 0xffff_ffff));
    let pseudo = addresses + PAYLOAD + ((protocol::ICMPV6 as u64) << 8);
    let mtu = room.to_be();
    let icmp_checksum = !checksum::fold(pseudo + PACKET_TOO_BIG as u64 + mtu as u64 + quoted) as u32;
    let start = give_back(packet, network, QUOTE_V6, ipv6::HEADER + ICMP, ethertype::IPV6)?;
    const FIRST: u64 = 0x60 | PAYLOAD << 32 | (protocol::ICMPV6 as u64) << 48 | (TIME_TO_LIVE as u64) << 56;
    packet.store(start, [FIRST, c, d, a, b])?;
    packet.store(start + ipv6::HEADER, [PACKET_TOO_BIG | icmp_checksum << 16, mtu])
}

/// The sum of the octets that are quoted; `None` if there are not as many.
#[inline(always)]
fn quoted<P: Packet>(packet: &P, network: usize, octets: usize) -> Option<u64> {
    let mut sum = 0u64;
    for at in (0..octets).step_by(size_of::<u64>()) {
        // Forgotten each time, or the compiler would join the checks into one that the kernel's verifier cannot follow.
        let word: u64 = packet.load(packet.forget(network + at)?)?;
        sum += (word >> 32) + (word & 0xffff_ffff);
    }
    Some(sum)
}

/// Cuts the packet off behind what is quoted, makes room for headers in front of it, and turns the frame back to where it came from.
/// Where the headers begin.
#[inline(always)]
fn give_back<P: Packet>(
    packet: &mut P,
    network: usize,
    quote: usize,
    headers: usize,
    ethertype_wire: u16,
) -> Option<usize> {
    // Forgotten, or the compiler would leave out checks that follow from others, where the kernel's verifier cannot.
    let front = packet.forget(0)?;
    let to: u64 = packet.load(front)?;
    let from_tail: u32 = packet.load(front + 8)?;
    let mut tags_wire = [0; 2];
    if network > ethernet::HEADER {
        tags_wire[0] = packet.load(front + 12)?;
    }
    if network > ethernet::HEADER + ethernet::TAG {
        tags_wire[1] = packet.load(front + 16)?;
    }
    let exit = Exit {
        mac_head: to >> 48 | (from_tail as u64) << 16 | to << 48,
        mac_tail: (to >> 16) as u32,
        interface: packet.interface(),
        tags_wire,
    };
    packet.truncate(network + quote)?;
    let start = ethernet::wrap(packet, network, headers, ethertype_wire, &exit)?;
    packet.forget(start)
}
