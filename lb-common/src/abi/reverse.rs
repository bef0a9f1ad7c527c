//! Replies of translated backends, and ranges of ports.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::address::Address;
use crate::limits::MAX_RANGES;

/// What a reply from a translated backend is turned back into.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Reverse {
    /// The backend's address: the reply's source.
    pub backend: Address,
    /// The service's address: what the client knows.
    pub service: Address,
    /// The backend's port, the first of them if it is a range; 0 takes every port.
    pub backend_port_wire: u16,
    /// The service's port; 0 leaves the port as it is.
    pub service_port_wire: u16,
    /// IP protocol number.
    pub protocol: u8,
    /// Bits of [`reverse_flags`].
    pub flags: u8,
    /// As [`Service::ranges`](super::Service::ranges).
    pub ranges: u16,
    /// Names the excluded prefixes of its service; 0 = none.
    pub exclude: u32,
    /// The live word of its service; see [`Service::live`](super::Service::live).
    pub live: u32,
    /// The row that signs of this backend are counted for; beyond all rows: for none.
    pub row: u32,
    /// As [`Service::last_port`](super::Service::last_port).
    pub last_port: u16,
    /// Reserved, zero.
    pub reserved0: u16,
    /// Reserved, zero.
    pub reserved: [u32; 2],
}

/// Bits of [`Reverse::flags`].
pub mod reverse_flags {
    /// The entry is in use.
    pub const USED: u8 = 1;
    /// Whose a reply is, its flow's [`Translation`](crate::abi::Translation) says.
    pub const RECORDED: u8 = 1 << 1;
    /// What has none is not translated. Without it that is turned back into `service`.
    pub const RECORDED_ONLY: u8 = 1 << 2;
    /// As [`service_flags::DIRECTORY`](crate::abi::service_flags::DIRECTORY).
    pub const DIRECTORY: u8 = 1 << 6;
}

/// The ranges of ports that an address and protocol have, in order: a cache line. Addresses whose ranges are the same share it.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Ranges {
    /// First port (low half) and last port (high half) of each, in host order; [`Ranges::NONE`] where there is none.
    pub ranges: [u32; MAX_RANGES],
}

impl Ranges {
    /// No port is in it.
    pub const NONE: u32 = 0xffff;
    /// No range at all.
    pub const EMPTY: Self = Self { ranges: [Self::NONE; MAX_RANGES] };

    /// A range.
    pub const fn pair(first: u16, last: u16) -> u32 {
        first as u32 | (last as u32) << 16
    }

    /// The first port of the range that holds a port, both as they lie in a packet.
    #[inline(always)]
    pub fn first_of(&self, port_wire: u16) -> Option<u16> {
        let port = u16::from_be(port_wire) as u32;
        let range = self.ranges.iter().find(|&&range| port >= range & 0xffff && port <= range >> 16)?;
        Some((*range as u16).to_be())
    }
}

const _: () = {
    assert!(size_of::<Reverse>() == 64);
    assert!(size_of::<Ranges>() == 64);
};
