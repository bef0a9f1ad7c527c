//! TCP, UDP and SCTP headers (RFC 9293, RFC 768, RFC 9260), as far as a balancer reads them.

use super::{Packet, protocol};

/// Length of a TCP header without options.
pub const TCP_HEADER: usize = 20;
/// Length of a UDP header.
pub const UDP_HEADER: usize = 8;
/// Length of the SCTP header and of that of a chunk.
pub const SCTP_HEADERS: usize = 16;
/// Offset of TCP's flags.
const TCP_FLAGS: usize = 13;
/// Offset of TCP's checksum.
const TCP_CHECKSUM: usize = 16;
/// Offset of UDP's checksum.
const UDP_CHECKSUM: usize = 6;

/// What a packet means for the state of its flow.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Signal {
    /// A TCP SYN without ACK, an SCTP INIT: the flow begins here.
    Opens,
    /// A TCP FIN, an SCTP SHUTDOWN.
    Closes,
    /// A TCP RST, an SCTP ABORT.
    Resets,
    /// Anything else.
    Continues,
}

impl Signal {
    /// Whether a packet belongs to a flow that has begun with another, as far as its protocol says so.
    #[inline(always)]
    pub const fn goes_on(self, protocol: u8) -> bool {
        protocol::has_openings(protocol) && !matches!(self, Self::Opens)
    }
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

/// The flags of a TCP header; none for UDP. For SCTP those that a TCP header would have where the association is: see [`sctp`].
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
    if protocol == protocol::TCP {
        let header: [u8; TCP_HEADER] = packet.load(offset)?;
        return Some(Flags(header[TCP_FLAGS]));
    }
    if protocol == protocol::SCTP {
        return sctp(packet, offset);
    }
    let _: [u16; UDP_HEADER / 2] = packet.load(offset)?;
    Some(Flags(0))
}

/// What the first chunk of an SCTP packet means, as TCP would say it; `None` when cut short before the end of its header.
///
/// INIT and SHUTDOWN COMPLETE stand alone (RFC 9260 section 6.10). What else ends an association may stand behind other chunks, and
/// is missed there, as IPVS does mostly: the flow is silent from then on, and forgotten when it was so for long enough.
#[inline(always)]
fn sctp<P: Packet>(packet: &P, offset: usize) -> Option<Flags> {
    const INIT: u32 = 1;
    /// By chunk type, four bits each.
    const MEANINGS: u64 = {
        const ABORT: u64 = 6;
        const SHUTDOWN: u64 = 7;
        const SHUTDOWN_ACK: u64 = 8;
        const SHUTDOWN_COMPLETE: u64 = 14;
        (Flags::SYN as u64) << (4 * INIT)
            | (Flags::RST as u64) << (4 * ABORT)
            | (Flags::FIN as u64) << (4 * SHUTDOWN)
            | (Flags::FIN as u64) << (4 * SHUTDOWN_ACK)
            | (Flags::FIN as u64) << (4 * SHUTDOWN_COMPLETE)
    };
    // Ports, verification tag, checksum; type, flags and length of the chunk.
    let [_, tag, _, chunk]: [u32; SCTP_HEADERS / 4] = packet.load(offset)?;
    let kind = chunk & 0xff;
    // Only an INIT has no tag; what has one and calls itself an INIT is none.
    let mask = if kind > 15 || kind == INIT && tag != 0 { 0 } else { 15 };
    // To the kernel's verifier they are any octet, as TCP's are: so what follows is walked once.
    Some(Flags((MEANINGS >> (4 * (kind & 15))) as u8 & (mask | packet.nothing() as u8)))
}

/// Where the checksum of the header at `offset` lies.
#[inline(always)]
pub const fn checksum_offset(offset: usize, protocol: u8) -> usize {
    offset + if protocol == protocol::TCP { TCP_CHECKSUM } else { UDP_CHECKSUM }
}
