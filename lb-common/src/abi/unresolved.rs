//! Replies that user space sends.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// A reply frame, already translated, for which the kernel had no neighbour: user space sends it.
#[repr(C)]
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct UnresolvedFrame {
    /// Octets of the frame in `frame`.
    pub length: u32,
    /// Where its IP header starts.
    pub network: u32,
    /// The frame.
    pub frame: [u8; UNRESOLVED_FRAME_MAX],
}

/// Longest reply frame handed to user space for want of a neighbour; longer ones are dropped, counted.
/// A power of two.
pub const UNRESOLVED_FRAME_MAX: usize = 2048;

const _: () = {
    assert!(size_of::<UnresolvedFrame>() == 2056);
    assert!(UNRESOLVED_FRAME_MAX.is_power_of_two());
};
