//! Which clients may come to a service, and how often.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::access::Limit;
use crate::address::Address;

/// The key of the longest-prefix tables: of destinations whose replies are left alone, and of clients that may come or not.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct PrefixKey {
    /// Whose prefixes: [`Reverse::exclude`](super::Reverse::exclude), or [`Access::set`]. Big-endian, since the prefix starts with it.
    pub set: [u8; 4],
    /// The octets of the address.
    pub address: [u8; 16],
}

/// Which clients may come to a service, and how often, for all of its listeners. One cache line.
///
/// Each field is stored by itself, while packets flow. A new set of prefixes, or of buckets of clients, has a new number, so that
/// one store replaces the whole of it.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Access {
    /// When the bucket of the whole service is full again: see [`crate::access::Limit`]. Written by the packet path.
    pub due: u64,
    /// The number of its set of prefixes, 0 = none (low half), and whether clients that none names are refused (high half).
    pub prefixes: u64,
    /// The limit of new connections of the whole service.
    pub limit: Limit,
    /// The number of its set of clients' buckets (low half), and the leading bits of a client's sixteen octets that make it one
    /// client (high half).
    pub clients: u64,
    /// The limit of new connections of each client.
    pub client_limit: Limit,
    /// Reserved, zero.
    pub reserved: u64,
}

impl Access {
    /// A word of two halves, as `prefixes` and `clients` are.
    pub const fn pair(low: u32, high: u32) -> u64 {
        (high as u64) << 32 | low as u64
    }

    /// The number of its set of prefixes; 0: it has none.
    #[inline(always)]
    pub const fn set(&self) -> u32 {
        self.prefixes as u32
    }

    /// Whether a client is refused that no prefix names.
    #[inline(always)]
    pub const fn refuses_others(&self) -> bool {
        self.prefixes >> 32 != 0
    }

    /// What the bucket of a client is found by.
    #[inline(always)]
    pub fn client_key(&self, address: Address) -> BucketKey {
        BucketKey { address: address.prefix((self.clients >> 32) as u8), clients: self.clients as u32, reserved: 0 }
    }
}

/// Values of the longest-prefix table of clients.
pub mod admission {
    /// They may come.
    pub const ALLOWED: u32 = 1;
    /// They are refused.
    pub const DENIED: u32 = 2;
}

/// The key of a client's bucket.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct BucketKey {
    /// The leading bits of its address.
    pub address: Address,
    /// The number of the set.
    pub clients: u32,
    /// Reserved, zero.
    pub reserved: u32,
}

const _: () = {
    assert!(size_of::<PrefixKey>() == 20);
    assert!(size_of::<Access>() == 64);
    assert!(size_of::<BucketKey>() == 24);
};
