//! Translated flows that are recorded, and the source addresses that full NAT gives.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::FlowKey6;
use crate::address::Address;
use crate::limits::{LIVE_WORDS, SOURCE_ADDRESSES};

/// What the packets of a translated flow become, of one direction; each flow has two, and the other's key is what the packets of
/// this one turned round become.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Translation {
    /// Coarse monotonic time of the last packet of this direction, in nanoseconds.
    pub last_seen: u64,
    /// The source address that they get.
    pub source: Address,
    /// The destination address that they get.
    pub destination: Address,
    /// The ports that they get, source first, as they lie in a packet.
    pub ports_wire: u32,
    /// The live word of the service; see [`Service::live`](super::Service::live).
    pub live: u16,
    /// One of [`connection_state`](super::connection_state), as the client's packets say; 0: this is the way back to the client.
    pub state: u16,
}

/// A translated flow that was recorded just now, as user space is told.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Translated {
    /// The flow, as its client's packets come.
    pub key: FlowKey6,
    /// What they become.
    pub translation: Translation,
}

/// The addresses and ports that full NAT gives flows as their source. Two elements: one for each half of the service tables.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Sources {
    /// The first port that may be given, in host order.
    pub first_port: u32,
    /// How many there are.
    pub ports: u32,
    /// Which of the addresses the flows of a service get, by its live word: those that move with it.
    pub shares: [SourceShare; LIVE_WORDS as usize],
    /// IPv4 addresses.
    pub v4: [Address; SOURCE_ADDRESSES],
    /// IPv6 addresses.
    pub v6: [Address; SOURCE_ADDRESSES],
}

/// Some of the addresses of [`Sources`], of each family those that lie side by side.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct SourceShare {
    /// Where those of `v4` begin.
    pub v4_first: u8,
    /// How many they are.
    pub v4_count: u8,
    /// Where those of `v6` begin.
    pub v6_first: u8,
    /// How many they are.
    pub v6_count: u8,
}

impl Default for Sources {
    fn default() -> Self {
        Self {
            first_port: 0,
            ports: 0,
            shares: [SourceShare::default(); LIVE_WORDS as usize],
            v4: [Address::default(); SOURCE_ADDRESSES],
            v6: [Address::default(); SOURCE_ADDRESSES],
        }
    }
}

const _: () = {
    assert!(size_of::<Translated>() == 88, "user space tells it from `Recorded` by its size");
    assert!(size_of::<Translation>() == 48);
};
