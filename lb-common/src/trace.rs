//! The layouts that the tracing program and user space share, and nothing that the forwarding program uses.
//!
//! The steps themselves travel as lines of aya-log; only the filter, its budget and captured frames need a layout.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::address::Address;

/// Which packets are traced, and how many. One element, written before the tracing program is put in place.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct TraceFilter {
    /// An address of either end, if `terms` says so.
    pub address: Address,
    /// A port of either end, if `terms` says so.
    pub port_wire: u16,
    /// An IP protocol number, if `terms` says so.
    pub protocol: u8,
    /// Bits of [`terms`]; none takes every packet.
    pub terms: u8,
    /// Packets that each CPU may trace in a second.
    pub budget: u32,
}

/// Bits of [`TraceFilter::terms`].
pub mod terms {
    /// The address counts.
    pub const ADDRESS: u8 = 1;
    /// The port counts.
    pub const PORT: u8 = 1 << 1;
    /// The protocol counts.
    pub const PROTOCOL: u8 = 1 << 2;
    /// The packets' octets are wanted too.
    pub const OCTETS: u8 = 1 << 3;
}

/// What one CPU has traced.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct TraceBudget {
    /// The second of coarse monotonic time that `spent` is of.
    pub second: u64,
    /// Packets traced in it.
    pub spent: u64,
    /// Packets traced, ever.
    pub traced: u64,
    /// Packets that matched and were not traced, for want of budget or of room in the log, ever.
    pub skipped: u64,
    /// Captured frames that the ring buffer had no room for, ever.
    pub uncaptured: u64,
}

/// What precedes the octets of a captured frame.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct CaptureHeader {
    /// Monotonic time in nanoseconds.
    pub time: u64,
    /// Octets of the frame.
    pub length: u32,
    /// Octets of it that follow.
    pub captured: u32,
    /// The interface that it came in by.
    pub interface: u32,
    /// One of [`direction`].
    pub direction: u32,
}

/// Values of [`CaptureHeader::direction`].
pub mod direction {
    /// As it came in.
    pub const IN: u32 = 0;
    /// As it was sent on.
    pub const OUT: u32 = 1;
}

/// Octets captured of a frame at most. A power of two.
pub const CAPTURE_MAX: usize = 2048;

/// A captured frame. In the ring buffer only as much of `octets` as was captured.
#[repr(C)]
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Capture {
    /// About the frame.
    pub header: CaptureHeader,
    /// The frame.
    pub octets: [u8; CAPTURE_MAX],
}

const _: () = {
    assert!(size_of::<TraceFilter>() == 24);
    assert!(size_of::<TraceBudget>() == 40);
    assert!(size_of::<CaptureHeader>() == 24);
    assert!(size_of::<Capture>() == 24 + CAPTURE_MAX);
    assert!(CAPTURE_MAX.is_power_of_two());
};
