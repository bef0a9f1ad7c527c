//! Ethernet II with up to two VLAN tags (IEEE 802.1Q, 802.1ad): reading the way in, and writing the way out.

use super::Packet;

/// Length of an untagged Ethernet header.
pub const HEADER: usize = 14;
/// Length of a VLAN tag.
pub const TAG: usize = 4;
/// Tags that are read; a frame with more is left to the host.
pub const MAX_TAGS: usize = 2;

/// EtherTypes as they lie in a frame.
pub mod ethertype {
    /// IPv4.
    pub const IPV4: u16 = 0x0800u16.to_be();
    /// IPv6.
    pub const IPV6: u16 = 0x86ddu16.to_be();
    /// A customer tag, IEEE 802.1Q.
    pub const VLAN: u16 = 0x8100u16.to_be();
    /// A service tag, IEEE 802.1ad.
    pub const SERVICE_VLAN: u16 = 0x88a8u16.to_be();
}

/// What lies in front of the network header.
#[derive(Clone, Copy, Debug)]
pub struct Frame {
    /// EtherType of the payload, as it lies in the frame.
    pub ethertype_wire: u16,
    /// Where the payload starts.
    pub network: usize,
}

/// Reads the Ethernet header and its tags; `None` when cut short.
#[inline(always)]
pub fn parse<P: Packet>(packet: &P) -> Option<Frame> {
    let mut ethertype_wire: u16 = packet.load(12)?;
    let mut network = HEADER;
    if is_tag(ethertype_wire) {
        ethertype_wire = packet.load(16)?;
        network = HEADER + TAG;
        if is_tag(ethertype_wire) {
            ethertype_wire = packet.load(20)?;
            network = HEADER + 2 * TAG;
        }
        network = packet.forget(network)?;
    }
    Some(Frame { ethertype_wire, network })
}

/// Whether an EtherType announces a VLAN tag.
#[inline(always)]
pub const fn is_tag(ethertype_wire: u16) -> bool {
    ethertype_wire == ethertype::VLAN || ethertype_wire == ethertype::SERVICE_VLAN
}

/// The link layer of the way out.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Exit {
    /// Destination MAC address and the first two octets of the source's, as they lie in a frame.
    pub mac_head: u64,
    /// The last four octets of the source MAC address.
    pub mac_tail: u32,
    /// The interface to leave by.
    pub interface: u32,
    /// Tags to leave with, outer first: TPID and TCI as they lie in a frame; 0 = none.
    pub tags_wire: [u32; 2],
}

/// Gives the frame the link layer of `exit`: pushes, replaces or pops tags and writes the MAC addresses. `None` when the
/// frame cannot be resized; it may then be damaged and must be dropped.
#[inline(always)]
pub fn rewrite<P: Packet>(packet: &mut P, frame: &Frame, exit: &Exit) -> Option<()> {
    if frame.network != HEADER || exit.tags_wire[0] != 0 {
        resize(packet, frame, exit)?;
    }
    packet.store(0, exit.mac_head)?;
    packet.store(8, exit.mac_tail)
}

/// Takes away what lies in front of `network`, and puts the link layer of `exit` there and `room` octets behind it. Where these
/// begin; `None` as for [`rewrite`].
#[inline(always)]
pub fn wrap<P: Packet>(packet: &mut P, network: usize, room: usize, ethertype_wire: u16, exit: &Exit) -> Option<usize> {
    let tags = usize::from(exit.tags_wire[0] != 0) + usize::from(exit.tags_wire[1] != 0);
    let start = HEADER + TAG * tags;
    packet.adjust_head(network as i32 - (start + room) as i32)?;
    packet.store(0, exit.mac_head)?;
    packet.store(8, exit.mac_tail)?;
    tagged(packet, ethertype_wire, exit)?;
    Some(start)
}

/// Writes tags and EtherType.
#[inline(always)]
fn tagged<P: Packet>(packet: &mut P, ethertype_wire: u16, exit: &Exit) -> Option<()> {
    if exit.tags_wire[0] == 0 {
        return packet.store(12, ethertype_wire);
    }
    packet.store(12, exit.tags_wire[0])?;
    if exit.tags_wire[1] == 0 {
        return packet.store(16, ethertype_wire);
    }
    packet.store(16, exit.tags_wire[1])?;
    packet.store(20, ethertype_wire)
}

#[inline(always)]
fn resize<P: Packet>(packet: &mut P, frame: &Frame, exit: &Exit) -> Option<()> {
    let length = HEADER as i32 + TAG as i32 * (i32::from(exit.tags_wire[0] != 0) + i32::from(exit.tags_wire[1] != 0));
    let delta = frame.network as i32 - length;
    if delta != 0 {
        packet.adjust_head(delta)?;
    }
    tagged(packet, frame.ethertype_wire, exit)
}
