//! Every limit of the tables, in one place: what `check` refuses above, and how large the maps are made.

/// Listeners (address, protocol, port) in one configuration.
pub const MAX_LISTENERS: usize = 4096;
/// Ranges of ports of one address and protocol, of services and of translated backends: a look-up searches them all.
pub const MAX_RANGES: usize = 16;
/// Lists of ranges, all different: of one half of the service tables.
pub const RANGE_LISTS: usize = 1024;
/// Backends in one service.
pub const MAX_BACKENDS_PER_SERVICE: usize = 8192;
/// Rows in all: one for each backend of each listener.
pub const MAX_ROWS: usize = 262_144;
/// Choosers of stateful services: one each, and the first for all others.
pub const CHOOSERS: usize = MAX_LISTENERS + 1;
/// Services whose packets go by QUIC's connection IDs, and one place for all others.
pub const QUIC_SERVICES: usize = MAX_LISTENERS + 1;
/// Server IDs of their backends, in one configuration. The table holds twice as many, since those that change are there twice for a while.
pub const MAX_SERVER_IDS: usize = 65_536;
/// Destinations for which rules of locality remember backends; the least recently used makes room.
pub const DESTINATIONS: usize = 65_536;
/// Services with access rules, and one place for all others.
pub const ACCESS_RULES: usize = MAX_LISTENERS + 1;
/// Prefixes of clients that are let in or refused, in one configuration. The table holds twice as many, since a set that changes is
/// there twice for a while.
pub const MAX_ACCESS_PREFIXES: usize = 65_536;
/// Clients whose new connections are counted at a time, of all services; the least recently used makes room, and begins anew.
pub const CLIENT_BUCKETS: usize = 65_536;
/// Datagrams in fragments that are remembered at a time; the least recently used makes room.
pub const FRAGMENT_ENTRIES: usize = 16_384;
/// Addresses of each family that full NAT gives flows as their source.
pub const SOURCE_ADDRESSES: usize = 16;
/// Source addresses and ports that are tried for a new flow under recorded NAT, before it is dropped.
pub const SOURCE_TRIES: u64 = 16;
/// Smallest and largest size of one lookup table, in slots; always a power of two.
pub const MIN_TABLE_SIZE: u32 = 16;
/// See [`MIN_TABLE_SIZE`].
pub const MAX_TABLE_SIZE: u32 = 1 << 20;
/// Live words: one for each virtual router, and the first for all services that follow none.
pub const LIVE_WORDS: u32 = 1024;
/// Backends that are probed by the way of clients' packets, counting each service's address apart.
pub const PROBE_TARGETS: usize = 65_536;
/// Marks of recent SYNs, by which one that is sent again is known: enough for 10,000 connections a second that are set up within
/// a second or two. A power of two.
pub const SYN_MARKS: u32 = 32_768;
/// Answers that one CPU gives within a second to packets that do not fit into a tunnel; the rest are dropped, counted. A client needs one
/// for each path, so that is many clients; it bounds what a flood of forged packets makes this host send.
pub const ANSWERS_PER_SECOND: u32 = 1000;
/// Slots in one element of the slots map: BPF arrays round each value up to 8 bytes, so a bare `u32` would waste half.
pub const SLOTS_PER_ELEMENT: usize = 16;
/// Rows whose counters are one element of the counters map. The kernel finds a CPU's copy of an element through a pointer,
/// one for each element: with one a row, these pointers would be a cache miss of their own as soon as there are many rows.
pub const COUNTERS_PER_ELEMENT: usize = 16;
/// Records of another node's that the kernel stores in one call. Their frame has to fit a page beside what the kernel puts there.
pub const TRANSFERS: usize = 48;
