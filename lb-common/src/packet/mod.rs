//! Reading a packet: what a frame holds, layer by layer. Nothing here knows services.

pub mod ethernet;
pub mod ipv4;
pub mod ipv6;
pub mod transport;

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::address::Address;

/// The octets of a frame. In the kernel every access is checked against the end of the frame's first buffer, which
/// holds all headers; natively it is a byte vector.
pub trait Packet {
    /// The value at `offset`, or `None` past the end. Unaligned.
    fn load<T: FromBytes + Copy>(&self, offset: usize) -> Option<T>;
    /// Writes the value at `offset`, or does nothing and says `None` past the end. Unaligned.
    fn store<T: IntoBytes + Immutable + Copy>(&mut self, offset: usize, value: T) -> Option<()>;
    /// What lies at the front of the frame, to be read and written in place; `None` if the frame is shorter. One check for all of it.
    fn front<T: FromBytes + IntoBytes + Immutable + KnownLayout + Unaligned>(&mut self) -> Option<&mut T>;
    /// Takes `delta` octets from the front of the frame, or adds as many when negative. Contents in front are undefined.
    fn adjust_head(&mut self, delta: i32) -> Option<()>;
    /// Shortens the frame to `length` octets; `None` if it is no longer than that.
    fn truncate(&mut self, length: usize) -> Option<()>;
    /// The interface that the frame came in by.
    fn interface(&self) -> u32;
    /// `offset`, or `None` beyond [`FARTHEST`]. The kernel's verifier walks every path to the end and remembers how each
    /// offset came about; in the kernel this makes it forget, so that paths that met here are walked once.
    #[inline(always)]
    fn forget(&self, offset: usize) -> Option<usize> {
        (offset <= FARTHEST).then_some(offset)
    }
    /// 0. In the kernel the verifier does not know that, so that a path with it is like those that have read some number.
    #[inline(always)]
    fn nothing(&self) -> u32 {
        0
    }
}

/// The farthest that a header may start from the front of a frame: past two tags, an IPv6 header and five extension
/// headers of ordinary length. One less than a power of two.
pub const FARTHEST: usize = 2047;

/// IP protocol numbers (IANA) that the packet path names.
pub mod protocol {
    /// ICMP for IPv4.
    pub const ICMP: u8 = 1;
    /// TCP.
    pub const TCP: u8 = 6;
    /// IPv4 in an IP packet (RFC 2003).
    pub const IPIP: u8 = 4;
    /// UDP.
    pub const UDP: u8 = 17;
    /// IPv6 in an IP packet (RFC 2473, RFC 4213).
    pub const IPV6: u8 = 41;
    /// GRE (RFC 2784).
    pub const GRE: u8 = 47;
    /// ESP (RFC 4303).
    pub const ESP: u8 = 50;
    /// AH (RFC 4302).
    pub const AH: u8 = 51;
    /// ICMPv6.
    pub const ICMPV6: u8 = 58;
    /// SCTP (RFC 9260).
    pub const SCTP: u8 = 132;
    /// Not a protocol (255 is reserved): the chain of extension headers could not be read to its end.
    pub const UNREADABLE: u8 = 255;

    /// Whether flows of a protocol, of those that are balanced, have no ports: the addresses are all that tells them apart.
    #[inline(always)]
    pub const fn is_portless(number: u8) -> bool {
        matches!(number, ESP | AH)
    }

    /// Whether flows of a protocol begin with a packet that says so, as those of TCP and SCTP do.
    #[inline(always)]
    pub const fn has_openings(number: u8) -> bool {
        matches!(number, TCP | SCTP)
    }
}

/// Which part of a datagram a packet carries.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Part {
    /// All of it.
    Whole,
    /// The first fragment of several: it has the transport header.
    First,
    /// A later fragment: no transport header.
    Later,
}

/// An IP packet, either family. What is asked of few packets is not in here but read again, since all of this lies on the stack.
#[derive(Clone, Copy, Debug)]
pub struct Datagram {
    /// Who sent it.
    pub source: Address,
    /// Whom it is for.
    pub destination: Address,
    /// Where its IP header starts.
    pub network: usize,
    /// Where its transport header starts (or a later fragment's payload).
    pub transport: usize,
    /// Octets from the IP header on, as the header tells.
    pub length: u32,
    /// Identification of a fragment, as it lies in the packet.
    pub identification_wire: u32,
    /// Whether it is IPv4.
    pub v4: bool,
    /// Transport protocol number, or [`protocol::UNREADABLE`].
    pub protocol: u8,
    /// Time to live, or hop limit.
    pub time_to_live: u8,
    /// Which part of a fragmented datagram this is.
    pub part: Part,
}
