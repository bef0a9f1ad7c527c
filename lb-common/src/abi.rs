//! The layouts that the kernel program and user space share. Plain bytes, no padding, sizes asserted.
//!
//! Fields named `…_wire` lie in network byte order, as loaded from a packet; all others are host order. The tables are
//! little-endian (the object is built for `bpfel`).

mod access;
pub mod addressed;
mod chooser;
mod counters;
mod flow;
mod fragment;
mod probe;
mod quic;
mod reverse;
mod translation;
mod unresolved;

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::address::Address;

pub use self::access::{Access, BucketKey, PrefixKey, admission};
pub use self::chooser::{Chooser, ClientKey, Destination, Load};
pub use self::counters::{Counters, Signs};
pub use self::flow::{
    FlowKey4, FlowKey6, NO_LOADS, Record, Recorded, Transfer, connection_state, record_state, transfer,
};
pub use self::fragment::{FragmentEntry, FragmentKey, fragment_kind};
pub use self::probe::ProbeTarget;
pub use self::quic::{ConnectionIds, QuicCounters, ServerKey};
pub use self::reverse::{Ranges, Reverse, reverse_flags};
pub use self::translation::{SourceShare, Sources, Translated, Translation};
pub use self::unresolved::{UNRESOLVED_FRAME_MAX, UnresolvedFrame};

/// Where a look-up starts: which half of the service tables is live, and what it holds. One element.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Root {
    /// Bit 0: the live half; the bits of [`root_flags`] above it. One store publishes a rebuilt half.
    pub word: u64,
    /// The hash seed of each half's service table.
    pub service_seed: [u64; 2],
    /// The hash seed of each half's reverse table.
    pub reverse_seed: [u64; 2],
    /// The interface that what this host itself sends to services comes in by, and answers are sent in by (see
    /// [`crate::own_client`]); 0: there is none. Stored by itself.
    pub own_client: u64,
    /// Reserved, zero.
    pub reserved: [u64; 2],
}

/// Bits of [`Root::word`].
pub mod root_flags {
    /// Which half of the tables is live.
    pub const HALF: u64 = 1;
    /// Some listener takes several ports of its address, or every port.
    pub const WILDCARD: u64 = 1 << 1;
    /// Some service translates addresses, so replies must be looked for.
    pub const NAT: u64 = 1 << 2;
    /// Some translated service takes several ports, or every port.
    pub const NAT_WILDCARD: u64 = 1 << 3;
    /// Some reply leaves through a VLAN interface: the egress table must be asked.
    pub const VLAN: u64 = 1 << 4;
    /// Some service has destinations whose replies are left alone.
    pub const NAT_EXCLUDE: u64 = 1 << 5;
    /// Some backend is probed by the way of its packets: answers must be looked for.
    pub const PROBES: u64 = 1 << 6;
    /// Another node is to know of flows: user space is told of each that is recorded.
    pub const EXCHANGE: u64 = 1 << 7;
}

/// Buckets of a perfect hash: one displacement each.
pub const BUCKETS: usize = 4096;
/// Entries of one half of the service table, and of the reverse table: four for each listener, since every address has
/// an entry besides its listeners.
pub const HALF_ENTRIES: usize = 16_384;

/// The displacements of one half: what a bucket's keys are shifted by so that none collide.
#[repr(C)]
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Displacements {
    /// Of the service table.
    pub services: [u16; BUCKETS],
    /// Of the reverse table.
    pub reverse: [u16; BUCKETS],
}

/// One listener of a virtual service, or (port 0, protocol 0) the fact that an address belongs to one, or (port 0) what ranges of ports
/// an address has, if no listener takes every port.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Service {
    /// The service's address.
    pub address: Address,
    /// Its port, the first of them if it is a range; 0 takes every port.
    pub port_wire: u16,
    /// IP protocol number; 0 in an address entry and in an empty one.
    pub protocol: u8,
    /// Bits of [`service_flags`].
    pub flags: u8,
    /// The lookup table's first slot, a multiple of 16.
    pub first_slot: u32,
    /// The row of the pool's backend 0 for this listener.
    pub first_row: u32,
    /// Which pool the records of this listener's flows must name.
    pub pool: u32,
    /// Keys the selection hash.
    pub seed: u64,
    /// 64 minus the logarithm of the table's size: the slot is the top bits of the hash.
    pub shift: u32,
    /// Idle timeout of an open flow, in seconds.
    pub idle_timeout: u32,
    /// The live word of the virtual router that the service follows, [`ALWAYS_LIVE`] if none. In an address entry that of
    /// all of its listeners, [`ALWAYS_LIVE`] if they differ.
    pub live: u32,
    /// Which part of a flow is hashed, where [`service_flags::KEYED`] says so: bits of [`selection_key`].
    pub key: u8,
    /// Leading bits of the hashed address that count, of its sixteen octets: 96 more than an IPv4 prefix has.
    pub key_prefix: u8,
    /// Which clients may come, and how often: the index of an [`Access`]; 0: all, always.
    pub access: u16,
    /// Who chooses backends for new flows, which are recorded: the index of a [`Chooser`]; 0: the lookup table says. Or that packets
    /// go by their connection ID: [`ConnectionIds`].
    pub chooser: u32,
    /// In an entry of port 0: the ranges that its address and protocol have, by their [`Ranges`], plus one; 0: none.
    pub ranges: u16,
    /// The last port of a range, in host order; 0 in other entries.
    pub last_port: u16,
}

impl Service {
    /// The last four octets of the address, port, protocol and flags, as they lie in memory.
    #[inline(always)]
    pub fn end(&self) -> u64 {
        let octets: &[u8; size_of::<Self>()] = zerocopy::transmute_ref!(self);
        let [_, _, _, _, _, _, _, _, _, _, _, _, a, b, c, d, e, f, g, h, ..] = *octets;
        u64::from_ne_bytes([a, b, c, d, e, f, g, h])
    }

    /// Whether an IPv4 listener asks for nothing besides its lookup table, and for the whole flow: what [`service_flags::PLAIN`] says.
    pub const fn is_plain(&self) -> bool {
        self.address.is_v4()
            && self.flags & (service_flags::USED | service_flags::KEYED) == service_flags::USED
            && self.chooser == 0
            && self.access == 0
    }

    /// The index of its chooser, if it is a stateful service.
    pub const fn stateful(&self) -> Option<u32> {
        match ConnectionIds::of(self.chooser) {
            None if self.chooser != 0 => Some(self.chooser),
            _ => None,
        }
    }
}

/// The live word that is 1 and stays 1: what follows no virtual router has it.
pub const ALWAYS_LIVE: u32 = 0;

/// What packets of the services that follow a virtual router need to know of it. Each word is one thread's to write.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct LiveWord {
    /// 1 while this node is live for it.
    pub live: u32,
    /// 1 while records of connections that began at the node that was its master may be on their way; also before this node is live.
    pub awaits_records: u32,
}

/// Bits of [`Service::flags`].
pub mod service_flags {
    /// The entry is in use.
    pub const USED: u8 = 1;
    /// UDP flows keep their backend by records, like TCP's.
    pub const UDP_FLOWS: u8 = 1 << 1;
    /// With no backend packets are dropped, not passed to the host.
    pub const DROP_WITHOUT_BACKEND: u8 = 1 << 2;
    /// This entry stands for an address that some listener has.
    pub const ADDRESS: u8 = 1 << 3;
    /// Not the whole flow is hashed: see [`super::Service::key`].
    pub const KEYED: u8 = 1 << 4;
    /// A backend is chosen for each UDP datagram by itself, and nothing recorded.
    pub const ONE_PACKET: u8 = 1 << 5;
    /// This entry stands for the ranges of its address and protocol, and is no listener itself: without [`USED`], so that what is sent to
    /// port 0 does not find it.
    pub const DIRECTORY: u8 = 1 << 6;
    /// An IPv4 listener that asks for nothing besides its lookup table: see [`super::Service::is_plain`]. Said once more here so that one
    /// comparison tells it.
    pub const PLAIN: u8 = 1 << 7;
}

/// Bits of [`Service::key`].
pub mod selection_key {
    /// The service's address is hashed instead of the client's.
    pub const DESTINATION: u8 = 1;
    /// The client's port is hashed too.
    pub const PORT: u8 = 1 << 1;
}

/// How packets reach one backend of one listener: a cache line.
///
/// `mac_head` is stored by itself when a next hop's address changes and is 0 while the next hop is unknown. `state` is
/// stored by itself too. Everything else is written before the row is published and never changed after.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Row {
    /// The destination MAC address and the first two octets of the source's, as they lie in a frame; 0 = unknown.
    pub mac_head: u64,
    /// The last four octets of the source MAC address.
    pub mac_tail: u32,
    /// The interface to leave by.
    pub interface: u32,
    /// The backend's address, which `nat` writes as the destination.
    pub address: Address,
    /// VLAN tags to leave with, outer first: TPID and TCI as they lie in a frame; 0 = none.
    pub tags_wire: [u32; 2],
    /// Bits of [`row_state`].
    pub state: u32,
    /// The backend's port, which `nat` writes; 0 leaves the port as it is.
    pub port_wire: u16,
    /// One of [`method`].
    pub method: u8,
    /// What `tunnel` puts in front of packets: bits of [`encapsulation`].
    pub encapsulation: u8,
    /// Reserved, zero.
    pub reserved: [u8; 16],
}

impl Row {
    /// The method (low octet) and what `tunnel` puts in front of packets.
    #[inline(always)]
    pub fn way(&self) -> u16 {
        // As words, so that it is one load.
        let words: &[u16; size_of::<Self>() / 2] = zerocopy::transmute_ref!(self);
        const { assert!(core::mem::offset_of!(Self, method) == 46 && core::mem::offset_of!(Self, encapsulation) == 47) };
        u16::from_le(words[23])
    }
}

/// Bits of [`Row::state`].
pub mod row_state {
    /// The backend may be sent packets of flows it has. Without it a record that names the row counts as none.
    pub const ALIVE: u32 = 1;
}

/// Values of [`Row::method`].
pub mod method {
    /// No backend has this row.
    pub const NONE: u8 = 0;
    /// Rewrite the MAC addresses (LVS: direct routing).
    pub const DIRECT: u8 = 1;
    /// Rewrite the destination (LVS: masquerading).
    pub const NAT: u8 = 2;
    /// The backend is this host: pass the packet up.
    pub const LOCAL: u8 = 3;
    /// As `NAT`, and the translation of each flow is recorded: replies do not tell by their source alone whose they are.
    pub const RECORDED_NAT: u8 = 5;
    /// Rewrite both ends, and record it: replies come back whatever the backend's routes are.
    pub const FULL_NAT: u8 = 6;
    /// Put the packet into another (LVS: tunnelling): see [`super::Tunnel`].
    pub const TUNNEL: u8 = 4;
    /// As `NAT`, but what this host itself sends to the service is recorded: see [`crate::own_client`].
    pub const NAT_OR_OWN: u8 = 7;
    /// As `RECORDED_NAT`, but what this host itself sends to the service gets another source port.
    pub const RECORDED_NAT_OR_OWN: u8 = 8;
}

/// What a `tunnel` row's packets are put into: half a cache line, at the row's index. The outer destination is the row's address.
///
/// `room` is stored by itself when the path's MTU changes. Everything else is written before the row is published.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Tunnel {
    /// The outer source address; bits that flows differ in are zero.
    pub source: Address,
    /// Bits of the source address's low half that differ from flow to flow.
    pub spread: u64,
    /// Octets of the longest IP packet that fits.
    pub room: u32,
    /// The sum of what is always the same in an outer IPv4 header, folded.
    pub sum: u16,
    /// The outer UDP destination port, of encapsulations that have one.
    pub port_wire: u16,
}

/// Bits of [`Row::encapsulation`].
pub mod encapsulation {
    /// IP in IP: nothing between the headers.
    pub const IPIP: u8 = 0;
    /// UDP, and a GUE header.
    pub const GUE: u8 = 1;
    /// UDP.
    pub const FOU: u8 = 2;
    /// A GRE header.
    pub const GRE: u8 = 3;
    /// Those that say what is between the headers.
    pub const KIND: u8 = 3;
    /// The outer header is IPv4.
    pub const V4: u8 = 1 << 2;
}

const _: () = {
    assert!(size_of::<Root>() == 64);
    assert!(size_of::<LiveWord>() == 8);
    assert!(size_of::<Service>() == 64);
    assert!(size_of::<Row>() == 64);
    assert!(size_of::<Tunnel>() == 32);
};
