//! What the steering program knows of a target of probes.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::address::Address;
use crate::limits::PROBE_TARGETS;
use crate::outer::Outer;

/// Whom a reserved address stands for (see [`crate::probe`]), the frame that reaches it, and what its packets are put into: two
/// cache lines.
///
/// `service` is written before anybody asks at the address, and stays. `mac_head` is 0 while anything else changes.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct ProbeTarget {
    /// The destination MAC address and the first two octets of the source's, as they lie in a frame; 0 = unknown.
    pub mac_head: u64,
    /// The last four octets of the source MAC address.
    pub mac_tail: u32,
    /// The interface to leave by.
    pub interface: u32,
    /// The service's address.
    pub service: Address,
    /// VLAN tags to leave with, outer first: TPID and TCI as they lie in a frame; 0 = none.
    pub tags_wire: [u32; 2],
    /// The interface that answers are sent in by: the steering device's other end.
    pub back: u32,
    /// Reserved, zero.
    pub reserved: [u32; 5],
    /// What a packet is put into; nothing for `direct` backends.
    pub outer: Outer,
}

const _: () = {
    assert!(size_of::<ProbeTarget>() == 128);
    assert!(PROBE_TARGETS < 1 << 17, "a reserved IPv4 address has 17 bits for them");
};
