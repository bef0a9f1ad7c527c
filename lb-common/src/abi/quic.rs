//! How a service that goes by QUIC's connection IDs says so to the packet path, and what the table of server IDs holds.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::address::Address;
use crate::limits::QUIC_SERVICES;

/// In the place of [`super::Service::chooser`]: packets of this listener go by their connection ID. All that the packet path must know is
/// in this one word, which it has loaded anyway.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ConnectionIds(pub u32);

impl ConnectionIds {
    /// What tells it from the index of a chooser.
    const MARK: u32 = 1 << 31;
    const CONFIGURATIONS: u32 = 23;
    const LENGTH: u32 = 19;
    const PLACE: u32 = (1 << Self::LENGTH) - 1;

    /// Of a service whose packets are counted at this place. `configurations` has a bit for each configuration ID whose connection IDs
    /// name servers, of those from 0 to 6; `length` is that of server IDs, 1 to 15 octets.
    pub const fn new(place: u16, configurations: u8, length: u8) -> Self {
        let configurations = (configurations & 0x7f) as u32;
        Self(
            Self::MARK | configurations << Self::CONFIGURATIONS | ((length & 15) as u32) << Self::LENGTH | place as u32,
        )
    }

    /// What a word in the place of a chooser's index says, if it is this.
    #[inline(always)]
    pub const fn of(word: u32) -> Option<Self> {
        if word & Self::MARK == 0 { None } else { Some(Self(word)) }
    }

    /// Where the service's packets are counted.
    #[inline(always)]
    pub const fn place(self) -> u32 {
        self.0 & Self::PLACE
    }

    /// Octets of a server ID.
    #[inline(always)]
    pub const fn length(self) -> u32 {
        self.0 >> Self::LENGTH & 15
    }

    /// Whether connection IDs that begin with this octet name servers. Its first three bits are the configuration ID, of which 7 says
    /// that the connection ID names none.
    #[inline(always)]
    pub const fn takes(self, first: u8) -> bool {
        // Bit 7 is the mark, which is no configuration.
        let bits = self.0 >> Self::CONFIGURATIONS & 0x7f;
        bits >> (first >> 5) & 1 != 0
    }
}

/// The key of the table of server IDs, whose values are indices in the pool.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct ServerKey {
    /// The server ID, zeros behind it.
    pub id: Address,
    /// The pool whose backend it is.
    pub pool: u64,
}

/// How many packets of a service went by what. One CPU's, or all CPUs' together.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct QuicCounters {
    /// By their connection ID.
    pub routed: u64,
    /// By the lookup table, with a long header: above all those that begin a connection, whose connection ID the client has chosen.
    pub beginning: u64,
    /// By the lookup table, with a short header or none: the connection ID is none that a known server gives.
    pub unknown: u64,
}

const _: () = {
    assert!(size_of::<ServerKey>() == 24);
    assert!(size_of::<QuicCounters>() == 24);
    assert!(QUIC_SERVICES <= ConnectionIds::PLACE as usize);
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_word_holds_what_was_put_in() {
        let word = ConnectionIds::new(4096, 0b101_0101, 15);
        let Some(ids) = ConnectionIds::of(word.0) else { panic!("it is marked") };
        assert_eq!((ids.place(), ids.length()), (4096, 15));
        assert!((0..8).filter(|configuration| ids.takes(configuration << 5 | 0x1f)).eq([0, 2, 4, 6]));
    }

    #[test]
    fn configuration_7_is_taken_of_nobody() {
        assert!(!ConnectionIds::new(1, 0xff, 1).takes(0xe0));
    }

    #[test]
    fn the_index_of_a_chooser_is_none() {
        assert_eq!(ConnectionIds::of(0), None);
        assert_eq!(ConnectionIds::of(crate::limits::CHOOSERS as u32), None);
    }
}
