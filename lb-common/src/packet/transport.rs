//! TCP and UDP headers (RFC 9293, RFC 768), as far as a balancer reads them.

use super::{Packet, protocol};

/// Length of a TCP header without options.
pub const TCP_HEADER: usize = 20;
/// Length of a UDP header.
pub const UDP_HEADER: usize = 8;
/// Offset of TCP's flags.
const TCP_FLAGS: usize = 13;
/// Offset of TCP's checksum.
const TCP_CHECKSUM: usize = 16;
/// Offset of UDP's checksum.
const UDP_CHECKSUM: usize = 6;

/// What a packet means for the state of its flow.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Signal {
    /// A TCP SYN without ACK: the flow begins here.
    Opens,
    /// A TCP FIN.
    Closes,
    /// A TCP RST.
    Resets,
    /// Anything else.
    Continues,
}

/// The port a flow comes from, given both as they lie in a packet.
#[inline(always)]
pub const fn source_port_wire(ports_wire: u32) -> u16 {
    ports_wire as u16
}

/// The port a flow goes to, given both as they lie in a packet.
#[inline(always)]
pub const fn destination_port_wire(ports_wire: u32) -> u16 {
    (ports_wire >> 16) as u16
}

/// Both ports as they lie in a packet.
#[inline(always)]
pub const fn ports_wire(source_wire: u16, destination_wire: u16) -> u32 {
    (destination_wire as u32) << 16 | source_wire as u32
}

/// The flags of a TCP header; none for UDP.
///
/// They are carried as they are and read where it matters: a meaning found early would be one more thing that tells apart, for the
/// kernel's verifier, what is alike from then on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Flags(pub u8);

impl Flags {
    const FIN: u8 = 1;
    const SYN: u8 = 2;
    const RST: u8 = 4;
    const ACK: u8 = 16;

    /// Whether the flow begins here: SYN alone.
    #[inline(always)]
    pub const fn opens(self) -> bool {
        self.0 & (Self::FIN | Self::SYN | Self::RST | Self::ACK) == Self::SYN
    }

    /// What they mean for the flow.
    #[inline(always)]
    pub const fn signal(self) -> Signal {
        if self.0 & Self::RST != 0 {
            Signal::Resets
        } else if self.0 & Self::FIN != 0 {
            Signal::Closes
        } else if self.opens() {
            Signal::Opens
        } else {
            Signal::Continues
        }
    }
}

/// The flags of the header at `offset`; `None` when the fixed header is cut short.
#[inline(always)]
pub fn flags<P: Packet>(packet: &P, offset: usize, protocol: u8) -> Option<Flags> {
    if protocol != protocol::TCP {
        let _: [u16; UDP_HEADER / 2] = packet.load(offset)?;
        return Some(Flags(0));
    }
    let header: [u8; TCP_HEADER] = packet.load(offset)?;
    Some(Flags(header[TCP_FLAGS]))
}

/// Where the checksum of the header at `offset` lies.
#[inline(always)]
pub const fn checksum_offset(offset: usize, protocol: u8) -> usize {
    offset + if protocol == protocol::TCP { TCP_CHECKSUM } else { UDP_CHECKSUM }
}
