//! Recorded flows, and what is told of them.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::address::Address;

/// The flow table's key for IPv4.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct FlowKey4 {
    /// Client address, wire order.
    pub source_wire: u32,
    /// Service address, wire order.
    pub destination_wire: u32,
    /// Client port, then service port, wire order.
    pub ports_wire: u32,
    /// IP protocol number.
    pub protocol: u32,
}

/// The flow table's key for IPv6.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct FlowKey6 {
    /// Client address.
    pub source: Address,
    /// Service address.
    pub destination: Address,
    /// Client port, then service port, wire order.
    pub ports_wire: u32,
    /// IP protocol number.
    pub protocol: u32,
}

/// What is remembered of a flow that the lookup table would get wrong.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Record {
    /// Coarse monotonic time of the last packet, in nanoseconds.
    pub last_seen: u64,
    /// The pool whose backend this is; a record of another pool counts as none.
    pub pool: u32,
    /// The backend's index in the pool.
    pub backend: u16,
    /// One of [`record_state`].
    pub state: u16,
}

/// Values of [`Record::state`].
pub mod record_state {
    /// Only a SYN or INIT was seen.
    pub const OPENING: u16 = 1;
    /// Data flows.
    pub const OPEN: u16 = 2;
    /// A FIN, SHUTDOWN, RST or ABORT was seen from the client.
    pub const CLOSING: u16 = 3;
}

/// Values of [`Record::state`] for a flow of a stateful service; [`crate::connection`] says how they follow one another.
pub mod connection_state {
    /// Only a SYN was seen.
    pub const SYN_RECEIVED: u16 = 1;
    /// Data flows.
    pub const ESTABLISHED: u16 = 2;
    /// The client has ended it.
    pub const FIN_WAIT: u16 = 3;
    /// The client has ended it before data flowed.
    pub const TIME_WAIT: u16 = 4;
    /// The client has reset it.
    pub const CLOSED: u16 = 5;
    /// Its protocol does not say when it begins and ends.
    pub const DATAGRAMS: u16 = 6;
}

/// A flow that was recorded just now, as user space is told.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Recorded {
    /// The flow.
    pub key: FlowKey6,
    /// Its record.
    pub record: Record,
    /// 1: of a stateful service.
    pub stateful: u64,
}

/// What another node tells of a flow, as the program that stores it is told: many of them in one frame, one behind the other.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Transfer {
    /// The flow.
    pub key: FlowKey6,
    /// Its record; of one that is removed, only the pool counts.
    pub record: Record,
    /// The load of the pool's backend 0 if the service keeps state, else [`NO_LOADS`].
    pub first_load: u32,
    /// One of [`transfer`].
    pub action: u32,
}

impl Transfer {
    /// Of a record that is there already: whether this says of the same flow and backend that they were heard of later.
    #[inline(always)]
    pub const fn is_later_than(&self, there: &Record) -> bool {
        let Record { pool, backend, last_seen, .. } = self.record;
        there.pool == pool && there.backend == backend && there.last_seen < last_seen
    }
}

/// In the place of a [`Transfer`]'s first load: the service has none.
pub const NO_LOADS: u32 = u32::MAX;

/// Values of [`Transfer::action`].
pub mod transfer {
    /// The record is made, or replaces the one that there is.
    pub const PUT: u32 = 0;
    /// The record is made if there is none; one that is there is heard of later, if this says so.
    pub const ADD: u32 = 1;
    /// There is no such record any more.
    pub const REMOVE: u32 = 2;
}

const _: () = {
    assert!(size_of::<FlowKey4>() == 16);
    assert!(size_of::<FlowKey6>() == 40);
    assert!(size_of::<Record>() == 16);
    assert!(size_of::<Recorded>() == 64);
    assert!(size_of::<Transfer>() == 64);
};
