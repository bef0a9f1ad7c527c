//! Probes on their way to `direct` and `tunnel` backends. A prober connects to the reserved address of its target
//! (`lb_common::probe`), whose route leads to the steering device; here, on the way out of that device, it becomes the
//! service's address, the packet is put into another if the backend unwraps its packets, and it leaves in the frame that the
//! backend's clients' packets leave in.
//!
//! The packets come from this host's own sockets: no tags, no extension headers, and checksums that the network card may
//! yet have to fill in, which the helpers know how to mend. A probe in fragments is not sent.

use aya_ebpf::bindings::bpf_adj_room_mode::BPF_ADJ_ROOM_MAC;
use aya_ebpf::bindings::{
    __sk_buff, BPF_F_ADJ_ROOM_ENCAP_L3_IPV4, BPF_F_ADJ_ROOM_ENCAP_L3_IPV6, BPF_F_ADJ_ROOM_ENCAP_L4_GRE,
    BPF_F_ADJ_ROOM_ENCAP_L4_UDP, BPF_F_MARK_MANGLED_0, BPF_F_PSEUDO_HDR,
};
use aya_ebpf::helpers::bpf_redirect;
use aya_ebpf::helpers::generated::{bpf_csum_diff, bpf_skb_vlan_push};
use aya_ebpf::programs::TcContext;
use lb_common::abi::{ProbeTarget, encapsulation};
use lb_common::address::Address;
use lb_common::outer::{Outer, UDP_LENGTH};
use lb_common::packet::ethernet::{HEADER as NETWORK, ethertype};
use lb_common::packet::{ipv4, ipv6, protocol};
use lb_common::path::tunnel::{SHIM, UDP};
use lb_common::probe;

use crate::tables;

/// Offset of a frame's ethertype.
const ETHERTYPE: usize = 12;
/// The octet that holds IPv4's version and header length: what it is without options.
const PLAIN_IPV4: u8 = 0x45;
/// More-fragments bit and fragment offset, as they lie in a packet.
const FRAGMENT: u16 = 0x3fffu16.to_be();
const IPV4_FRAGMENT: usize = NETWORK + 6;
const IPV4_PROTOCOL: usize = NETWORK + 9;
const IPV4_CHECKSUM: usize = NETWORK + 10;
const IPV6_NEXT_HEADER: usize = NETWORK + 6;

/// What becomes of a packet; `None` if it is no probe, or nobody knows its next hop.
#[inline(always)]
pub fn send(context: &TcContext) -> Option<i32> {
    let target = match context.skb.protocol() as u16 {
        ethertype::IPV4 => to_service_v4(context)?,
        ethertype::IPV6 => to_service_v6(context)?,
        _ => return None,
    };
    wrap(context, &target.outer)?;
    leave(context, target)
}

#[inline(always)]
fn to_service_v4(context: &TcContext) -> Option<&'static ProbeTarget> {
    let old: u32 = context.load(NETWORK + ipv4::DESTINATION).ok()?;
    let target = tables::probe_target(probe::target_v4(old)?)?;
    let fragment: u16 = context.load(IPV4_FRAGMENT).ok()?;
    if context.load::<u8>(NETWORK).ok()? != PLAIN_IPV4 || fragment & FRAGMENT != 0 || !target.service.is_v4() {
        return None;
    }
    let new = target.service.v4_wire();
    if let Some((at, flags)) = checksum(context.load(IPV4_PROTOCOL).ok()?, NETWORK + ipv4::HEADER) {
        context.l4_csum_replace(at, old.into(), new.into(), flags | size_of::<u32>() as u64).ok()?;
    }
    context.l3_csum_replace(IPV4_CHECKSUM, old.into(), new.into(), size_of::<u32>() as u64).ok()?;
    context.store(NETWORK + ipv4::DESTINATION, &new, 0).ok()?;
    Some(target)
}

#[inline(always)]
fn to_service_v6(context: &TcContext) -> Option<&'static ProbeTarget> {
    let mut old: Address = context.load(NETWORK + ipv6::DESTINATION).ok()?;
    let target = tables::probe_target(probe::target_v6(old)?)?;
    if target.service.is_v4() {
        return None;
    }
    let mut new = target.service;
    let (at, flags) = checksum(context.load(IPV6_NEXT_HEADER).ok()?, NETWORK + ipv6::HEADER)?;
    const SIZE: u32 = size_of::<Address>() as u32;
    // SAFETY: both buffers are on the stack and as long as said.
    let change = unsafe { bpf_csum_diff((&raw mut old).cast(), SIZE, (&raw mut new).cast(), SIZE, 0) };
    // A size of zero: the third argument is a difference.
    context.l4_csum_replace(at, 0, u64::try_from(change).ok()?, flags).ok()?;
    context.store(NETWORK + ipv6::DESTINATION, &new, 0).ok()?;
    Some(target)
}

/// Where the checksum lies that covers the addresses, and how it is mended; `None` for a protocol whose does not.
#[inline(always)]
fn checksum(number: u8, transport: usize) -> Option<(usize, u64)> {
    let pseudo = u64::from(BPF_F_PSEUDO_HDR);
    match number {
        protocol::TCP => Some((transport + 16, pseudo)),
        protocol::UDP => Some((transport + 6, pseudo | u64::from(BPF_F_MARK_MANGLED_0))),
        protocol::ICMPV6 => Some((transport + 2, pseudo)),
        _ => None,
    }
}

/// Puts the packet into another, if it is to be. The kernel is told what the new headers are, so that it can still cut a long
/// packet into segments, and fill in the inner checksum, on the way out.
#[inline(always)]
fn wrap(context: &TcContext, outer: &Outer) -> Option<()> {
    if outer.length == 0 {
        return Some(());
    }
    let content = context.len().checked_sub(NETWORK as u32)?;
    let kind = outer.encapsulation & encapsulation::KIND;
    let (l3, ethertype) = if outer.is_v4() {
        (BPF_F_ADJ_ROOM_ENCAP_L3_IPV4, ethertype::IPV4)
    } else {
        (BPF_F_ADJ_ROOM_ENCAP_L3_IPV6, ethertype::IPV6)
    };
    let l4 = match kind {
        encapsulation::IPIP => 0,
        encapsulation::GRE => BPF_F_ADJ_ROOM_ENCAP_L4_GRE,
        _ => BPF_F_ADJ_ROOM_ENCAP_L4_UDP,
    };
    context.adjust_room(outer.length.into(), BPF_ADJ_ROOM_MAC, u64::from(l3 | l4)).ok()?;
    let header = if outer.is_v4() {
        let length_wire = ((content + u32::from(outer.length)) as u16).to_be();
        let octets: &[u8; ipv4::HEADER] = outer.octets.first_chunk()?;
        context.store(NETWORK, octets, 0).ok()?;
        context.store(NETWORK + ipv4::LENGTH, &length_wire, 0).ok()?;
        context.store(IPV4_CHECKSUM, &outer.checksum_wire(length_wire), 0).ok()?;
        between(context, kind, outer.octets.get(ipv4::HEADER..)?, NETWORK + ipv4::HEADER)?;
        ipv4::HEADER
    } else {
        let payload = content + u32::from(outer.length) - ipv6::HEADER as u32;
        let octets: &[u8; ipv6::HEADER] = outer.octets.first_chunk()?;
        context.store(NETWORK, octets, 0).ok()?;
        context.store(NETWORK + ipv6::LENGTH, &(payload as u16).to_be(), 0).ok()?;
        between(context, kind, outer.octets.get(ipv6::HEADER..)?, NETWORK + ipv6::HEADER)?;
        ipv6::HEADER
    };
    if outer.has_udp() {
        let length = content + u32::from(outer.length) - header as u32;
        context.store(NETWORK + header + UDP_LENGTH, &(length as u16).to_be(), 0).ok()?;
    }
    context.store(ETHERTYPE, &ethertype, 0).ok()
}

/// Writes what stands between the outer IP header and the packet: as many octets as the kind of encapsulation has.
#[inline(always)]
fn between(context: &TcContext, kind: u8, octets: &[u8], at: usize) -> Option<()> {
    match kind {
        encapsulation::IPIP => Some(()),
        encapsulation::GRE => context.store::<[u8; SHIM]>(at, octets.first_chunk()?, 0).ok(),
        encapsulation::FOU => context.store::<[u8; UDP]>(at, octets.first_chunk()?, 0).ok(),
        _ => context.store::<[u8; UDP + SHIM]>(at, octets.first_chunk()?, 0).ok(),
    }
}

/// Gives the packet its link layer and sends it.
#[inline(always)]
fn leave(context: &TcContext, target: &ProbeTarget) -> Option<i32> {
    // SAFETY: a reference is valid for reads. Volatile because user space replaces the word while packets flow, and one
    // load must serve both the test and the store.
    let mac_head = unsafe { core::ptr::read_volatile(&target.mac_head) };
    if mac_head == 0 {
        return None;
    }
    context.store(0, &mac_head, 0).ok()?;
    context.store(8, &target.mac_tail, 0).ok()?;
    let [outer, inner] = target.tags_wire;
    push(context.skb.skb, inner)?;
    push(context.skb.skb, outer)?;
    // SAFETY: the helper takes any interface index; it fails by dropping the packet.
    Some(unsafe { bpf_redirect(target.interface, 0) } as i32)
}

/// Pushes a tag as it lies in a frame, unless it is none.
#[inline(always)]
fn push(skb: *mut __sk_buff, tag_wire: u32) -> Option<()> {
    if tag_wire == 0 {
        return Some(());
    }
    // SAFETY: the context is this program's.
    let result = unsafe { bpf_skb_vlan_push(skb, tag_wire as u16, u16::from_be((tag_wire >> 16) as u16)) };
    (result == 0).then_some(())
}
