//! What the first fragment of a datagram leaves behind for the others.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::address::Address;
use crate::limits::LIVE_WORDS;

/// The fragment table's key: what all fragments of one datagram share (RFC 791, RFC 8200 section 4.5).
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct FragmentKey {
    /// Source address.
    pub source: Address,
    /// Destination address.
    pub destination: Address,
    /// Identification as it lies in the packet.
    pub identification_wire: u32,
    /// IP protocol number.
    pub protocol: u32,
}

/// What the first fragment decided for the others.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct FragmentEntry {
    /// The address that its source becomes (all but `REQUEST`).
    pub address: Address,
    /// The address that its destination becomes (`RECORDED_…`).
    pub destination: Address,
    /// The row that a request goes to (`REQUEST`, `RECORDED_REQUEST`).
    pub row: u32,
    /// One of [`fragment_kind`].
    pub kind: u16,
    /// The live word of its service; see [`Service::live`](super::Service::live).
    pub live: u16,
}

/// Values of [`FragmentEntry::kind`].
pub mod fragment_kind {
    /// The datagram is the host's.
    pub const PASS: u16 = 1;
    /// The datagram goes to a backend.
    pub const REQUEST: u16 = 2;
    /// The datagram is a translated backend's reply.
    pub const REPLY: u16 = 3;
    /// As `REQUEST`, and both ends are rewritten.
    pub const RECORDED_REQUEST: u16 = 4;
    /// As `REPLY`, and both ends are rewritten.
    pub const RECORDED_REPLY: u16 = 5;
}

const _: () = {
    assert!(size_of::<FragmentKey>() == 40);
    assert!(size_of::<FragmentEntry>() == 40);
    assert!(LIVE_WORDS <= 1 << 16, "FragmentEntry::live holds every index");
};
