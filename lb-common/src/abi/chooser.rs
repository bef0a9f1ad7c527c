//! How stateful services choose: whose turn it is, what backends have, and which are remembered for whom.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::Service;
use crate::address::Address;

/// How the backend of a new flow is chosen in a stateful service, for all of its listeners. One cache line.
///
/// Each field is stored by itself, while packets flow.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Chooser {
    /// Whose turn it is, under rules that take turns: [`crate::scheduler::turns::Turn`]. Written by the packet path.
    pub turn: u64,
    /// The [`Load`] of the pool's backend 0 (low half), and how many there are (high half).
    pub places: u64,
    /// The passes of turns: what the first asks for (low half), and by how much each asks for less (high half).
    pub passes: u64,
    /// The number of a [`crate::scheduler::Rule`]; 0: the lookup table says, and nothing new is recorded.
    pub rule: u32,
    /// For how long a connection is remembered that the client has ended, in seconds.
    pub fin_timeout: u32,
    /// For how long a client is remembered that has no connection any more, in seconds; 0: clients are not.
    pub persistence: u32,
    /// For how long a SYN is remembered that nothing follows, in seconds.
    pub syn_timeout: u32,
    /// For how long a connection is remembered that the client has reset, in seconds.
    pub closed_timeout: u32,
    /// Reserved, zero.
    pub reserved: [u32; 5],
}

impl Chooser {
    /// A word of two halves, as `places` and `passes` are.
    pub const fn pair(low: u32, high: u32) -> u64 {
        (high as u64) << 32 | low as u64
    }

    /// The low half of such a word.
    #[inline(always)]
    pub const fn low(pair: u64) -> u32 {
        pair as u32
    }

    /// The high half of such a word.
    #[inline(always)]
    pub const fn high(pair: u64) -> u32 {
        (pair >> 32) as u32
    }

    /// The load of the pool's backend 0.
    #[inline(always)]
    pub const fn first_load(&self) -> u32 {
        Self::low(self.places)
    }

    /// How many loads there are.
    #[inline(always)]
    pub const fn loads(&self) -> u32 {
        Self::high(self.places)
    }

    /// What the first pass asks for.
    #[inline(always)]
    pub const fn top(&self) -> u32 {
        Self::low(self.passes)
    }

    /// By how much each pass asks for less.
    #[inline(always)]
    pub const fn step(&self) -> u32 {
        Self::high(self.passes)
    }
}

/// What a backend of a stateful service may take, and what it has. Two to a cache line.
///
/// Each field is stored by itself, while packets flow; the counts are added to by all CPUs, and by user space when it forgets
/// connections.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Load {
    /// Its weight; 0 gets no new flow.
    pub weight: u32,
    /// It gets no new flow until user space says that it has room again.
    pub full: u32,
    /// Connections from which on it is full; 0 = never.
    pub upper: u32,
    /// Connections below which it has room again; 0 = three quarters of `upper`.
    pub lower: u32,
    /// Established connections. Below 0, for a moment, when CPUs race.
    pub active_count: i32,
    /// All other connections.
    pub inactive_count: i32,
    /// Reserved, zero.
    pub reserved: [u32; 2],
}

impl Load {
    /// Established connections.
    #[inline(always)]
    pub const fn active(&self) -> u32 {
        if self.active_count < 0 { 0 } else { self.active_count as u32 }
    }

    /// All other connections.
    #[inline(always)]
    pub const fn inactive(&self) -> u32 {
        if self.inactive_count < 0 { 0 } else { self.inactive_count as u32 }
    }

    /// All connections.
    #[inline(always)]
    pub const fn connections(&self) -> u32 {
        self.active().saturating_add(self.inactive())
    }
}

/// A destination of a pool, for which rules of locality remember backends ([`crate::scheduler::locality::Servers`]).
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Destination {
    /// The service's address that flows go to.
    pub address: Address,
    /// The pool whose backends these are.
    pub pool: u64,
}

/// A client of a pool, for which a backend is remembered: one address, or the network that counts as one client.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct ClientKey {
    /// The leading bits of its address, the others zero.
    pub address: Address,
    /// The pool whose backend this is.
    pub pool: u64,
}

impl ClientKey {
    /// Of a client of a service.
    #[inline(always)]
    pub fn of(service: &Service, address: Address) -> Self {
        Self { address: address.prefix(service.key_prefix), pool: service.pool as u64 }
    }
}

const _: () = {
    assert!(size_of::<Chooser>() == 64);
    assert!(size_of::<Load>() == 32);
    assert!(size_of::<Destination>() == 24);
    assert!(size_of::<ClientKey>() == 24);
};
