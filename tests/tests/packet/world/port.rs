//! Ports of the services, by what is special about each.

pub const DIRECT: u16 = 80;
/// Translated to [`BACKEND`].
pub const NAT: u16 = 81;
pub const TAGGED: u16 = 82;
pub const QINQ: u16 = 83;
pub const NAT_TAGGED: u16 = 84;
/// The backend is on `WAN`.
pub const ELSEWHERE: u16 = 85;
pub const NO_HOP: u16 = 86;
pub const LOCAL: u16 = 87;
pub const EMPTY_PASS: u16 = 88;
pub const EMPTY_DROP: u16 = 89;
/// Current owner 1, previous owner 0; backend 2 is dead.
pub const UNSETTLED: u16 = 90;
/// Current owner 1, exceptions; backend 2 is dead.
pub const EXCEPTIONS: u16 = 91;
/// As `UNSETTLED`, and UDP flows are kept too.
pub const KEPT: u16 = 92;
pub const NO_METHOD: u16 = 93;
/// Translated, but replies to some prefixes are left alone.
pub const NAT_EXCLUDED: u16 = 94;
/// Rows of the other addresses' services.
pub const OTHERS: u16 = 95;
/// Sixteen slots, each with a backend of its own.
pub const SPREAD: u16 = 96;
/// No current owner, previous owner 0.
pub const DRAINED: u16 = 100;
pub const NAT_UNSETTLED: u16 = 101;
/// On [`Flavour::followed`], which follows [`ROUTER`].
pub const FOLLOWS_DIRECT: u16 = 102;
/// The same, translated to [`BACKEND`].
pub const FOLLOWS_NAT: u16 = 103;
/// Follows [`ROUTER`] too, on the address whose other services follow none.
pub const FOLLOWS_MIXED: u16 = 104;
/// Its live word is beyond the words.
pub const FOLLOWS_BEYOND: u16 = 105;
/// Sixteen slots, each with a backend of its own; asked for the client's network: /24 or /64.
pub const BY_CLIENT: u16 = 106;
/// Another listener of the same service.
pub const BY_CLIENT_TOO: u16 = 107;
/// Sixteen slots, each with a backend of its own; asked for the client's address and port.
pub const BY_CLIENT_AND_PORT: u16 = 110;
/// Clients of `198.51.100.0/24` or `2001:db8:1::/64` may come, but not [`super::client::SAME_SIDE`], and no others.
pub const ALLOWS: u16 = 114;
/// Translated to [`BACKEND`]; all but clients of these networks may come, and of these [`super::client::FAR`].
pub const DENIES: u16 = 115;
/// Two connections may begin, and no more for hours.
pub const LIMITED: u16 = 116;
/// The same, of each client, which is a network as above.
pub const CLIENT_LIMITED: u16 = 117;
/// Those from here on choose by a rule; their lookup tables say backend 1, and backend 2 is dead.
pub const STATEFUL: u16 = 118;
pub const TURNS: u16 = 118;
pub const WEIGHTED_TURNS: u16 = 119;
pub const LEAST: u16 = 120;
pub const WEIGHTED_LEAST: u16 = 121;
pub const DELAY: u16 = 122;
pub const NEVER_QUEUE: u16 = 123;
pub const FAILOVER: u16 = 124;
pub const OVERFLOW: u16 = 125;
/// It had a rule and has none any more.
pub const NO_RULE: u16 = 126;
/// Translated to [`BACKEND`].
pub const NAT_TURNS: u16 = 127;
pub const LOCALITY: u16 = 128;
pub const REPLICATED_LOCALITY: u16 = 129;
/// Each datagram is a flow of its own.
pub const ONE_PACKET: u16 = 130;
/// In turn, but clients, which are networks of /24 or /64, are remembered.
pub const PERSISTENT: u16 = 131;
/// The same, and each datagram is a flow of its own.
pub const PERSISTENT_ONE_PACKET: u16 = 132;
/// By turns; two connections of a client may begin, three of all.
pub const LIMITED_TURNS: u16 = 133;
/// Those before keep connections.
pub const STATEFUL_END: u16 = 134;
/// Translated to [`BACKEND`] from [`super::Flavour::source`], at [`SOURCE`].
pub const FULL_NAT: u16 = 134;
/// Translated to [`BACKEND`], and recorded, since `SHARED_TOO` has the same servers.
pub const SHARED: u16 = 135;
pub const SHARED_TOO: u16 = 136;
/// Those from here on are SCTP's, with the rows of the copies for TCP; those for UDP have none.
pub const SCTP: u16 = 137;
pub const SCTP_DIRECT: u16 = 137;
/// As `UNSETTLED`.
pub const SCTP_UNSETTLED: u16 = 138;
/// As `EXCEPTIONS`.
pub const SCTP_EXCEPTIONS: u16 = 139;
/// As `LIMITED`.
pub const SCTP_LIMITED: u16 = 140;
/// As `TURNS`.
pub const SCTP_TURNS: u16 = 141;
pub const SCTP_END: u16 = 142;
/// Rows of ranges: of [`RANGE`] under `direct` and, the third, under translation that keeps the port; of [`UPPER_RANGE`]; and of
/// [`EXACT`] beside them.
pub const RANGES: u16 = 142;
/// Those from here on are UDP's alone, and go by connection ID: their lookup tables say backend 0, and backend 2 is dead. See
/// [`super::server_id`].
pub const QUIC: u16 = 143;
/// Translated to [`BACKEND`]; its server IDs are long.
pub const QUIC_NAT: u16 = 144;
/// Translated to [`BACKEND`] from [`super::Flavour::source`], at [`SOURCE`].
pub const QUIC_FULL_NAT: u16 = 145;
/// Its first backends are not alive, and its lookup table is empty.
pub const QUIC_EMPTY: u16 = 146;
pub const QUIC_END: u16 = 147;
pub const END: u16 = 147;
pub const RANGE: (u16, u16) = (8000, 8099);
pub const UPPER_RANGE: (u16, u16) = (65_000, 65_535);
/// The one port that full NAT may give.
pub const SOURCE: u16 = 5000;
/// The exact port of an address that has a wildcard listener too.
pub const EXACT: u16 = 443;
/// Where keys are exchanged.
pub const IKE: u16 = 500;
/// What translated backends listen on.
pub const BACKEND: u16 = 8080;
/// Nobody's.
pub const NONE: u16 = 9999;
