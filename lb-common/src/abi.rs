//! The layouts that the kernel program and user space share. Plain bytes, no padding, sizes asserted.
//!
//! Fields named `…_wire` lie in network byte order, as loaded from a packet; all others are host order. The tables are
//! little-endian (the object is built for `bpfel`).

pub mod addressed;
mod probe;
mod quic;

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::access::Limit;
use crate::address::Address;
use crate::limits::{LIVE_WORDS, MAX_RANGES, SOURCE_ADDRESSES};

pub use self::probe::ProbeTarget;
pub use self::quic::{ConnectionIds, QuicCounters, ServerKey};

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
        let octets: &[u8; size_of::<Self>()] = zerocopy::transmute_ref!(self);
        const { assert!(core::mem::offset_of!(Self, method) == 46 && core::mem::offset_of!(Self, encapsulation) == 47) };
        u16::from_le_bytes([octets[46], octets[47]])
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

/// What a reply from a translated backend is turned back into.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Reverse {
    /// The backend's address: the reply's source.
    pub backend: Address,
    /// The service's address: what the client knows.
    pub service: Address,
    /// The backend's port, the first of them if it is a range; 0 takes every port.
    pub backend_port_wire: u16,
    /// The service's port; 0 leaves the port as it is.
    pub service_port_wire: u16,
    /// IP protocol number.
    pub protocol: u8,
    /// Bits of [`reverse_flags`].
    pub flags: u8,
    /// As [`Service::ranges`].
    pub ranges: u16,
    /// Names the excluded prefixes of its service; 0 = none.
    pub exclude: u32,
    /// The live word of its service; see [`Service::live`].
    pub live: u32,
    /// The row that signs of this backend are counted for; beyond all rows: for none.
    pub row: u32,
    /// As [`Service::last_port`].
    pub last_port: u16,
    /// Reserved, zero.
    pub reserved0: u16,
    /// Reserved, zero.
    pub reserved: [u32; 2],
}

/// Bits of [`Reverse::flags`].
pub mod reverse_flags {
    /// The entry is in use.
    pub const USED: u8 = 1;
    /// Whose a reply is, its flow's [`super::Translation`] says.
    pub const RECORDED: u8 = 1 << 1;
    /// What has none is not translated. Without it that is turned back into `service`.
    pub const RECORDED_ONLY: u8 = 1 << 2;
    /// As [`super::service_flags::DIRECTORY`].
    pub const DIRECTORY: u8 = 1 << 6;
}

/// The ranges of ports that an address and protocol have, in order: a cache line. Addresses whose ranges are the same share it.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Ranges {
    /// First port (low half) and last port (high half) of each, in host order; [`Ranges::NONE`] where there is none.
    pub ranges: [u32; MAX_RANGES],
}

impl Ranges {
    /// No port is in it.
    pub const NONE: u32 = 0xffff;
    /// No range at all.
    pub const EMPTY: Self = Self { ranges: [Self::NONE; MAX_RANGES] };

    /// A range.
    pub const fn pair(first: u16, last: u16) -> u32 {
        first as u32 | (last as u32) << 16
    }

    /// The first port of the range that holds a port, both as they lie in a packet.
    #[inline(always)]
    pub fn first_of(&self, port_wire: u16) -> Option<u16> {
        let port = u16::from_be(port_wire) as u32;
        let range = self.ranges.iter().find(|&&range| port >= range & 0xffff && port <= range >> 16)?;
        Some((*range as u16).to_be())
    }
}

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
    /// The live word of the service; see [`Service::live`].
    pub live: u16,
    /// One of [`connection_state`], as the client's packets say; 0: this is the way back to the client.
    pub state: u16,
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

/// A translated flow that was recorded just now, as user space is told.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Translated {
    /// The flow, as its client's packets come.
    pub key: FlowKey6,
    /// What they become.
    pub translation: Translation,
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

/// The fragment table's key: what all fragments of one datagram share (RFC 791, RFC 8200 section 4.5).
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct FragmentKey {
    /// Source address.
    pub source: Address,
    /// Destination address.
    pub destination: Address,
    /// Identification as it lies in the packet.
    pub identification_wire: u32,
    /// IP protocol number.
    pub protocol: u32,
}

/// What the first fragment decided for the others.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct FragmentEntry {
    /// The address that its source becomes (all but `REQUEST`).
    pub address: Address,
    /// The address that its destination becomes (`RECORDED_…`).
    pub destination: Address,
    /// The row that a request goes to (`REQUEST`, `RECORDED_REQUEST`).
    pub row: u32,
    /// One of [`fragment_kind`].
    pub kind: u16,
    /// The live word of its service; see [`Service::live`].
    pub live: u16,
}

/// Values of [`FragmentEntry::kind`].
pub mod fragment_kind {
    /// The datagram is the host's.
    pub const PASS: u16 = 1;
    /// The datagram goes to a backend.
    pub const REQUEST: u16 = 2;
    /// The datagram is a translated backend's reply.
    pub const REPLY: u16 = 3;
    /// As `REQUEST`, and both ends are rewritten.
    pub const RECORDED_REQUEST: u16 = 4;
    /// As `REPLY`, and both ends are rewritten.
    pub const RECORDED_REPLY: u16 = 5;
}

/// The key of the longest-prefix tables: of destinations whose replies are left alone, and of clients that may come or not.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct PrefixKey {
    /// Whose prefixes: [`Reverse::exclude`], or [`Access::set`]. Big-endian, since the prefix starts with it.
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
    assert!(size_of::<Root>() == 64);
    assert!(size_of::<LiveWord>() == 8);
    assert!(size_of::<Service>() == 64);
    assert!(size_of::<Row>() == 64);
    assert!(size_of::<Tunnel>() == 32);
    assert!(size_of::<Chooser>() == 64);
    assert!(size_of::<Load>() == 32);
    assert!(size_of::<Destination>() == 24);
    assert!(size_of::<ClientKey>() == 24);
    assert!(size_of::<Reverse>() == 64);
    assert!(size_of::<Ranges>() == 64);
    assert!(size_of::<Counters>() == 24);
    assert!(size_of::<Signs>() == 24);
    assert!(size_of::<FlowKey4>() == 16);
    assert!(size_of::<FlowKey6>() == 40);
    assert!(size_of::<Record>() == 16);
    assert!(size_of::<Recorded>() == 64);
    assert!(size_of::<Transfer>() == 64);
    assert!(size_of::<Translated>() == 88, "user space tells it from `Recorded` by its size");
    assert!(size_of::<FragmentKey>() == 40);
    assert!(size_of::<FragmentEntry>() == 40);
    assert!(size_of::<Translation>() == 48);
    assert!(size_of::<PrefixKey>() == 20);
    assert!(size_of::<Access>() == 64);
    assert!(size_of::<BucketKey>() == 24);
    assert!(size_of::<UnresolvedFrame>() == 2056);
    assert!(UNRESOLVED_FRAME_MAX.is_power_of_two());
    assert!(LIVE_WORDS <= 1 << 16, "FragmentEntry::live holds every index");
};
