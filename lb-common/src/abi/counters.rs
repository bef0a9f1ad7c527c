//! What is counted for a row.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// What one CPU has counted for one row.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Counters {
    /// Packets forwarded.
    pub packets: u64,
    /// Their bytes, from the IP length.
    pub bytes: u64,
    /// New connections: TCP SYNs, SCTP INITs.
    pub connections: u64,
}

/// Signs that a backend does not do well, counted for one row by all CPUs together: they are rare, and it does no harm if one of
/// two at the same moment is lost.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Signs {
    /// SYNs for it that clients had sent before.
    pub syn_retransmissions: u64,
    /// TCP resets of it, where it is translated.
    pub resets: u64,
    /// ICMP errors that say that it cannot be reached, where it is translated.
    pub unreachables: u64,
}

const _: () = {
    assert!(size_of::<Counters>() == 24);
    assert!(size_of::<Signs>() == 24);
};
