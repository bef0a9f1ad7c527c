//! The tables that all packet tests share: one service for each thing worth testing, the same four times over (IPv4 and
//! IPv6, TCP and UDP). Addresses, ports and rows have names, so that a case can say what it expects without asking the
//! code under test: all slots of a service hold one word, hence its backend does not depend on the hash.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use fairway::reconcile::half::publish;
use fairway::reconcile::write::Write;
use ipnet::IpNet;
use lb_common::abi::{
    ALWAYS_LIVE, Access, Chooser, ConnectionIds, Load, ProbeTarget, Reverse, Root, Row, ServerKey, Service,
    SourceShare, Sources, method, reverse_flags, root_flags, row_state, selection_key, service_flags,
};
use lb_common::access::Limit;
use lb_common::flow::SECOND;
use lb_common::limits::LIVE_WORDS;
use lb_common::packet::ethernet::Exit;
use lb_common::packet::protocol;
use lb_common::path::Route;
use lb_common::probe::Kind;
use lb_common::scheduler::Rule;
use lb_common::scheduler::turns::Passes;
use lb_common::slot::{NONE, Slot};

/// The interface that packets come in by; backends are there.
pub const LAN: u32 = 10;
/// Another interface; clients are there.
pub const WAN: u32 = 11;
/// An interface that does not forward.
pub const DEAF: u32 = 12;
/// An interface that stands for a VLAN on `WAN`.
pub const VLAN: u32 = 13;

/// The other end of the steering device, which answers to probes are sent in by.
pub const STEERING: u32 = 14;

/// Tags as the rows push them: TPID and TCI.
pub const INNER: (u16, u16) = (0x8100, 100);
pub const OUTER: (u16, u16) = (0x88a8, 200);

/// Ports of the services, by what is special about each.
pub mod port {
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
}

/// Seconds after which an open flow's record is stale.
pub const IDLE_TIMEOUT: u32 = 5;
/// Seconds after which the record of a stateful service's connection is stale that the client has ended.
pub const FIN_TIMEOUT: u32 = 3;
/// The same of connections of which only a SYN was seen.
pub const SYN_TIMEOUT: u32 = 4;
/// The same of those that the client has reset.
pub const CLOSED_TIMEOUT: u32 = 2;

/// Seconds for which a client is remembered.
pub const PERSISTENCE: u32 = 300;

/// The weights of the backends of a stateful service.
pub const WEIGHTS: [u32; 4] = [2, 1, 0, 3];

/// The live word of the virtual router that some services follow; 1 unless a case says otherwise.
pub const ROUTER: u32 = 5;

/// One of the four copies of everything.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Flavour {
    pub v4: bool,
    pub tcp: bool,
}

pub const FLAVOURS: [Flavour; 4] = [
    Flavour { v4: true, tcp: true },
    Flavour { v4: true, tcp: false },
    Flavour { v4: false, tcp: true },
    Flavour { v4: false, tcp: false },
];

impl std::fmt::Display for Flavour {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let family = if self.v4 { "IPv4" } else { "IPv6" };
        write!(f, "{family} {}", if self.tcp { "TCP" } else { "UDP" })
    }
}

impl Flavour {
    fn address(self, v4: [u8; 4], v6: [u16; 8]) -> IpAddr {
        if self.v4 { Ipv4Addr::from(v4).into() } else { Ipv6Addr::from(v6).into() }
    }

    /// The services' address.
    pub fn vip(self) -> IpAddr {
        self.address([192, 0, 2, 10], [0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x10])
    }

    /// An address with a listener for every port and one for [`port::EXACT`].
    pub fn wild(self) -> IpAddr {
        self.address([192, 0, 2, 20], [0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x20])
    }

    /// An address all of whose ports are translated to one backend's.
    pub fn wild_nat(self) -> IpAddr {
        self.address([192, 0, 2, 30], [0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x30])
    }

    /// An address all of whose services follow [`ROUTER`].
    pub fn followed(self) -> IpAddr {
        self.address([192, 0, 2, 40], [0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x40])
    }

    /// An address where ESP, AH and IKE go by their client: to sixteen backends, in the rows of [`port::BY_CLIENT`].
    pub fn secured(self) -> IpAddr {
        self.address([192, 0, 2, 60], [0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x60])
    }

    /// An address with two ranges of ports and one port besides. [`Flavour::wild`] has the first of the ranges too.
    pub fn ranged(self) -> IpAddr {
        self.address([192, 0, 2, 70], [0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x70])
    }

    /// An address with a range of ports that is translated, each to the same of one backend.
    pub fn ranged_nat(self) -> IpAddr {
        self.address([192, 0, 2, 71], [0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x71])
    }

    /// An address of no service.
    pub fn stranger(self) -> IpAddr {
        self.address([192, 0, 2, 99], [0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x99])
    }

    /// The address that full NAT gives as source.
    pub fn source(self) -> IpAddr {
        self.address([192, 0, 2, 50], [0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x50])
    }

    /// The client `n`, see [`routes`].
    pub fn client(self, n: u8) -> IpAddr {
        self.address([198, 51, 100, n], [0x2001, 0xdb8, 1, 0, 0, 0, 0, n.into()])
    }

    /// A client in a prefix that translation leaves alone.
    pub fn excluded_client(self) -> IpAddr {
        self.address([203, 0, 113, 5], [0x2001, 0xdb8, 0xee, 0, 0, 0, 0, 5])
    }

    /// The address of the backend of a row.
    pub fn backend(self, row: u32) -> IpAddr {
        let shared_too = self.row(port::SHARED_TOO, 0);
        let row = if (shared_too..shared_too + 4).contains(&row) { row - 4 } else { row };
        let [_, _, high, low] = row.to_be_bytes();
        self.address([10, 77, high, low], [0xfd77, 0, 0, 0, 0, 0, 0, row as u16])
    }

    pub fn protocol(self) -> u8 {
        if self.tcp { 6 } else { 17 }
    }

    /// Who chooses for the stateful service at `port`; nobody, 0, for others.
    pub fn chooser(self, port: u16) -> u32 {
        let copy = u32::from(!self.v4) * 2 + u32::from(!self.tcp);
        let each = u32::from(port::STATEFUL_END - port::STATEFUL);
        let first = copy * each + 1;
        if port == port::SCTP_TURNS {
            return 4 * each + 1 + copy;
        }
        if (port::STATEFUL..port::STATEFUL_END).contains(&port) { first + u32::from(port - port::STATEFUL) } else { 0 }
    }

    /// Where the packets of the service at `port` are counted that go by connection ID; 0 for others.
    pub fn quic_place(self, port: u16) -> u16 {
        let each = port::QUIC_END - port::QUIC;
        if is_quic(port) { 1 + u16::from(!self.v4) * each + (port - port::QUIC) } else { 0 }
    }

    /// The load of a backend of the stateful service at `port`.
    pub fn load(self, port: u16, backend: u16) -> u32 {
        self.chooser(port) * WEIGHTS.len() as u32 + u32::from(backend)
    }

    /// The access rules of the service at `port`; none, 0, for others.
    pub fn access(self, port: u16) -> u16 {
        let copy = u16::from(!self.v4) * 2 + u16::from(!self.tcp);
        match port {
            port::ALLOWS..=port::CLIENT_LIMITED => copy * 5 + 1 + (port - port::ALLOWS),
            port::LIMITED_TURNS => copy * 5 + 5,
            port::SCTP_LIMITED => 4 * 5 + 1 + copy,
            _ => 0,
        }
    }

    /// The network of all clients but a few.
    pub fn clients(self) -> IpNet {
        let prefix = if self.v4 { 24 } else { 64 };
        IpNet::new(self.client(0), prefix).expect("a length of the family")
    }

    /// The row of a backend of the service at `port`.
    pub fn row(self, port: u16, backend: u16) -> u32 {
        let copy = u32::from(!self.v4) * 2 + u32::from(!self.tcp);
        (copy * u32::from(port::END - port::DIRECT) + u32::from(port - port::DIRECT)) * 4 + u32::from(backend)
    }
}

/// Clients by the last part of their address, and how the host reaches them.
pub mod client {
    /// On `WAN`, neighbour known.
    pub const NEAR: u8 = 7;
    /// On `LAN`, neighbour known.
    pub const SAME_SIDE: u8 = 8;
    /// On `WAN`, neighbour unknown.
    pub const UNRESOLVED: u8 = 9;
    /// Behind a gateway on `WAN`.
    pub const FAR: u8 = 20;
    pub const GATEWAY: u8 = 1;
    /// The route is a black hole.
    pub const BLACKHOLE: u8 = 66;
    /// The route takes 1,300 octets.
    pub const NARROW: u8 = 77;
    /// This host.
    pub const SELF: u8 = 100;
    /// On a VLAN on `WAN`.
    pub const ON_VLAN: u8 = 30;
    /// No route.
    pub const NOWHERE: u8 = 200;
}

pub const ROWS: u32 = 4 * (port::END as u32 - port::DIRECT as u32) * 4;
const SLOTS_EACH: u32 = 16;

/// MAC addresses: a row's backend, a neighbour on an interface, and our own on an interface.
pub fn row_mac(row: u32) -> [u8; 6] {
    let [_, _, high, low] = row.to_be_bytes();
    [2, 0xbe, 0, 0, high, low]
}
pub fn neighbour_mac(client: u8) -> [u8; 6] {
    [2, 0xc1, 0, 0, 0, client]
}
pub fn own_mac(interface: u32) -> [u8; 6] {
    [2, 0xaa, 0, 0, 0, interface as u8]
}

/// The first word of a pair of MAC addresses as rows hold it.
pub fn mac_head(to: [u8; 6], from: [u8; 6]) -> u64 {
    u64::from_ne_bytes([to[0], to[1], to[2], to[3], to[4], to[5], from[0], from[1]])
}

fn exit(interface: u32, to: [u8; 6]) -> Exit {
    let from = own_mac(interface);
    let mac_tail = u32::from_ne_bytes([from[2], from[3], from[4], from[5]]);
    Exit { mac_head: mac_head(to, from), mac_tail, interface, tags_wire: [0; 2] }
}

pub fn tag_wire(tag: (u16, u16)) -> u32 {
    let [a, b, c, d] = [tag.0.to_be_bytes(), tag.1.to_be_bytes()].concat()[..] else { unreachable!("four octets") };
    u32::from_ne_bytes([a, b, c, d])
}

/// The writes that make the tables.
pub fn writes() -> Vec<Write> {
    let mut builder = Builder::default();
    FLAVOURS.into_iter().for_each(|flavour| builder.flavour(flavour));
    let Builder { mut writes, services, reverse } = builder;
    for (number, prefix) in [(1, "203.0.113.0/24"), (1, "2001:db8:ee::/48")] {
        writes.push(Write::Exclude(number, prefix.parse().expect("literal")));
    }
    let published = publish(&Root::default(), &services, &reverse, &sources()).expect("few entries, all different");
    writes.extend(published.map(|write| match write {
        Write::Flip(root) => Write::Flip(Root { word: root.word | root_flags::VLAN | root_flags::PROBES, ..root }),
        other => other,
    }));
    writes
}

/// The sources of full NAT: one of each family, so that it needs no guess which a flow gets. Others lie before them.
pub fn sources() -> Sources {
    let mut sources = Sources { first_port: port::SOURCE.into(), ports: 1, ..Sources::default() };
    sources.shares = [SourceShare { v4_first: 1, v4_count: 1, v6_first: 2, v6_count: 1 }; LIVE_WORDS as usize];
    sources.v4[1] = FLAVOURS[0].source().into();
    sources.v6[2] = FLAVOURS[2].source().into();
    sources
}

/// Probes under way, by kind and local number: which target they ask. Two targets of each family share the services' address.
pub fn probes() -> Vec<(Kind, u16, u32, ProbeTarget)> {
    let mut probes = vec![];
    for (flavour, numbers) in [(FLAVOURS[0], [(50_000, 0), (50_001, 256)]), (FLAVOURS[2], [(50_002, 1), (50_003, 257)])]
    {
        let target = ProbeTarget { service: flavour.vip().into(), back: STEERING, ..ProbeTarget::default() };
        for (number, index) in numbers {
            probes.extend([Kind::Tcp, Kind::Udp, Kind::Echo].map(|kind| (kind, number, index, target)));
        }
    }
    probes
}

/// The root, rows and slots as they are between cases.
pub fn resting() -> Vec<Write> {
    let rests = |write: &Write| {
        use Write::{Access, Chooser, ClearLoads, Flip, Load, Row, ServerId, Slots};
        matches!(
            write,
            Row(..) | Slots(..) | Access(..) | Chooser(..) | ClearLoads(..) | Load(..) | ServerId(..) | Flip(..)
        )
    };
    writes().into_iter().filter(rests).collect()
}

#[derive(Default)]
struct Builder {
    writes: Vec<Write>,
    services: Vec<Service>,
    reverse: Vec<Reverse>,
}

impl Builder {
    fn flavour(&mut self, flavour: Flavour) {
        let settled = |backend| vec![Slot::settled(backend); SLOTS_EACH as usize];
        let of_its_protocol = |port: &u16| if flavour.tcp { !is_quic(*port) } else { !is_sctp(*port) };
        let is_there = |port: &u16| !is_special(*port) && of_its_protocol(port);
        for port in (port::DIRECT..port::END).filter(is_there) {
            let words = match port {
                port::EMPTY_PASS | port::EMPTY_DROP | port::QUIC_EMPTY => settled(NONE),
                port::UNSETTLED | port::KEPT | port::NAT_UNSETTLED | port::SCTP_UNSETTLED => {
                    vec![Slot::new(1, 0); SLOTS_EACH as usize]
                }
                port::EXCEPTIONS | port::SCTP_EXCEPTIONS => vec![Slot::new(1, 1); SLOTS_EACH as usize],
                port::DRAINED => vec![Slot::new(NONE, 0); SLOTS_EACH as usize],
                port::STATEFUL..port::STATEFUL_END | port::SCTP_TURNS => settled(1),
                _ => settled(0),
            };
            self.rows(flavour, port, 4);
            self.service(flavour, address_of(flavour, port), port, flavour.row(port, 0), &words);
        }
        self.rows(flavour, port::SPREAD, 16);
        let spread: Vec<Slot> = (0..SLOTS_EACH as u16).map(Slot::settled).collect();
        self.service(flavour, flavour.vip(), port::SPREAD, flavour.row(port::SPREAD, 0), &spread);
        for (port, rows) in [
            (port::BY_CLIENT, port::BY_CLIENT),
            (port::BY_CLIENT_TOO, port::BY_CLIENT),
            (port::BY_CLIENT_AND_PORT, port::BY_CLIENT_AND_PORT),
        ] {
            self.rows(flavour, rows, 16);
            self.service(flavour, flavour.vip(), port, flavour.row(rows, 0), &spread);
        }
        self.rows(flavour, port::OTHERS, 4);
        self.service(flavour, flavour.wild(), port::EXACT, flavour.row(port::OTHERS, 0), &settled(0));
        self.service(flavour, flavour.wild(), 0, flavour.row(port::OTHERS, 1), &settled(0));
        self.service(flavour, flavour.wild_nat(), 0, flavour.row(port::OTHERS, 2), &settled(0));
        self.reverse_entry(flavour, flavour.row(port::OTHERS, 2), 0, flavour.wild_nat(), 0, 0);
        self.ranges(flavour);
        let by_client: &[(u8, u16)] =
            if flavour.tcp { &[(protocol::ESP, 0), (protocol::AH, 0)] } else { &[(protocol::UDP, port::IKE)] };
        for &(protocol, port) in by_client {
            self.service(flavour, flavour.secured(), port, flavour.row(port::BY_CLIENT, 0), &spread);
            let service = self.services.last_mut().expect("it was pushed just now");
            (service.protocol, service.key_prefix) = (protocol, 128);
            service.flags |= service_flags::KEYED;
        }
    }

    fn ranges(&mut self, flavour: Flavour) {
        self.rows(flavour, port::RANGES, 4);
        let words = vec![Slot::settled(0); SLOTS_EACH as usize];
        let [range, upper, translated, exact] = [0, 1, 2, 3].map(|backend| flavour.row(port::RANGES, backend));
        for (address, (first, last), row) in [
            (flavour.ranged(), port::RANGE, range),
            (flavour.ranged(), port::UPPER_RANGE, upper),
            (flavour.wild(), port::RANGE, range),
            (flavour.ranged_nat(), port::RANGE, translated),
        ] {
            self.service(flavour, address, first, row, &words);
            self.services.last_mut().expect("it was pushed just now").last_port = last;
        }
        self.service(flavour, flavour.ranged(), port::EXACT, exact, &words);
        self.reverse_entry(flavour, translated, port::RANGE.0, flavour.ranged_nat(), 0, 0);
        self.reverse.last_mut().expect("it was pushed just now").last_port = port::RANGE.1;
    }

    fn service(&mut self, flavour: Flavour, address: IpAddr, port: u16, first_row: u32, words: &[Slot]) {
        let first_slot = self.services.len() as u32 * SLOTS_EACH;
        self.writes.push(Write::Slots(first_slot, words.iter().map(|slot| slot.0).collect()));
        let kept = if port == port::KEPT { service_flags::UDP_FLOWS } else { 0 };
        let (key, key_prefix) = selection_key(flavour, port);
        let keyed = if key_prefix == 0 { 0 } else { service_flags::KEYED };
        let alone =
            if matches!(port, port::ONE_PACKET | port::PERSISTENT_ONE_PACKET) { service_flags::ONE_PACKET } else { 0 };
        self.chooser(flavour, port);
        self.server_ids(port, first_row);
        self.access(flavour, port);
        let drop = if port == port::EMPTY_DROP { service_flags::DROP_WITHOUT_BACKEND } else { 0 };
        self.services.push(Service {
            address: address.into(),
            port_wire: port.to_be(),
            protocol: if is_sctp(port) { protocol::SCTP } else { flavour.protocol() },
            flags: service_flags::USED | kept | keyed | alone | drop,
            first_slot,
            first_row,
            pool: first_row,
            seed: 7,
            shift: 64 - SLOTS_EACH.ilog2(),
            idle_timeout: IDLE_TIMEOUT,
            live: live_word(port),
            key,
            key_prefix,
            chooser: if is_quic(port) { connection_ids(flavour, port).0 } else { flavour.chooser(port) },
            access: flavour.access(port),
            ..Service::default()
        });
    }

    /// Writes whose server IDs are.
    fn server_ids(&mut self, port: u16, pool: u32) {
        let backends = (0..4).filter(|_| is_quic(port));
        self.writes.extend(backends.map(|backend| {
            let mut id = [0; 16];
            id[..server_id_length(port).into()].copy_from_slice(&server_id(port, backend));
            Write::ServerId(ServerKey { id: zerocopy::transmute!(id), pool: pool.into() }, backend)
        }));
    }

    /// Writes which clients may come, and how often.
    fn access(&mut self, flavour: Flavour, port: u16) {
        let index = u32::from(flavour.access(port));
        if index == 0 {
            return;
        }
        let one = |n| IpNet::from(flavour.client(n));
        let admissions = match port {
            port::ALLOWS => vec![(flavour.clients(), true), (one(client::SAME_SIDE), false)],
            port::DENIES => vec![(flavour.clients(), false), (one(client::FAR), true)],
            _ => vec![],
        };
        let [limit, client_limit] = match port {
            port::LIMITED | port::SCTP_LIMITED => [tokens(2), Limit::default()],
            port::CLIENT_LIMITED => [Limit::default(), tokens(2)],
            port::LIMITED_TURNS => [tokens(3), tokens(2)],
            _ => [Limit::default(); 2],
        };
        let set = if admissions.is_empty() { 0 } else { index };
        let access = Access {
            prefixes: Access::pair(set, u32::from(port == port::ALLOWS)),
            limit,
            clients: Access::pair(index, if flavour.v4 { 96 + 24 } else { 64 }),
            client_limit,
            ..Access::default()
        };
        self.writes.extend(admissions.into_iter().map(|(prefix, allowed)| Write::Admit(set, prefix, allowed)));
        self.writes.push(Write::Access(index, access));
    }

    /// Writes who chooses, and what backends may take.
    fn chooser(&mut self, flavour: Flavour, port: u16) {
        if flavour.chooser(port) == 0 {
            return;
        }
        let first = flavour.load(port, 0);
        for (backend, weight) in (0..).zip(WEIGHTS) {
            let load = Load { weight, ..Load::default() };
            self.writes.extend([Write::ClearLoads(first + backend, 1), Write::Load(first + backend, load)]);
        }
        let Passes { step, top, .. } = Passes::of(WEIGHTS.into_iter().filter(|&weight| weight > 0));
        let chooser = Chooser {
            places: Chooser::pair(first, WEIGHTS.len() as u32),
            passes: Chooser::pair(top, step),
            rule: rule_of(port).map_or(0, |rule| rule as u32),
            fin_timeout: FIN_TIMEOUT,
            syn_timeout: SYN_TIMEOUT,
            closed_timeout: CLOSED_TIMEOUT,
            persistence: if matches!(port, port::PERSISTENT | port::PERSISTENT_ONE_PACKET) { PERSISTENCE } else { 0 },
            ..Chooser::default()
        };
        self.writes.push(Write::Chooser(flavour.chooser(port), chooser));
    }

    fn rows(&mut self, flavour: Flavour, port: u16, count: u16) {
        for backend in 0..count {
            let index = flavour.row(port, backend);
            let method = method_of(port, backend);
            self.writes.push(Write::Row(index, row(flavour, port, backend, method)));
            if translates(method) && ![port::OTHERS, port::SHARED_TOO, port::RANGES].contains(&port) {
                let exclude = u32::from(port == port::NAT_EXCLUDED);
                self.reverse_entry(flavour, index, port::BACKEND, address_of(flavour, port), port, exclude);
            }
        }
    }

    fn reverse_entry(&mut self, flavour: Flavour, row: u32, from: u16, service: IpAddr, port: u16, exclude: u32) {
        self.reverse.push(Reverse {
            backend: flavour.backend(row).into(),
            service: service.into(),
            backend_port_wire: from.to_be(),
            service_port_wire: port.to_be(),
            protocol: flavour.protocol(),
            flags: match port {
                port::FULL_NAT | port::QUIC_FULL_NAT => {
                    reverse_flags::USED | reverse_flags::RECORDED | reverse_flags::RECORDED_ONLY
                }
                port::SHARED => reverse_flags::USED | reverse_flags::RECORDED,
                _ => reverse_flags::USED,
            },
            exclude,
            live: live_word(port),
            row,
            ..Reverse::default()
        });
    }
}

/// So many at once, and then one an hour.
fn tokens(count: u64) -> Limit {
    const HOUR: u64 = 3600 * SECOND;
    Limit { interval: HOUR, tolerance: HOUR * (count - 1) }
}

fn rule_of(port: u16) -> Option<Rule> {
    Some(match port {
        port::PERSISTENT | port::PERSISTENT_ONE_PACKET => Rule::RoundRobin,
        port::LOCALITY => Rule::Locality,
        port::REPLICATED_LOCALITY => Rule::ReplicatedLocality,
        port::TURNS | port::NAT_TURNS | port::ONE_PACKET | port::LIMITED_TURNS | port::SCTP_TURNS => Rule::RoundRobin,
        port::WEIGHTED_TURNS => Rule::WeightedRoundRobin,
        port::LEAST => Rule::LeastConnection,
        port::WEIGHTED_LEAST => Rule::WeightedLeastConnection,
        port::DELAY => Rule::ShortestExpectedDelay,
        port::NEVER_QUEUE => Rule::NeverQueue,
        port::FAILOVER => Rule::WeightedFailover,
        port::OVERFLOW => Rule::WeightedOverflow,
        _ => return None,
    })
}

/// What is not one slot's word and four rows.
fn is_special(port: u16) -> bool {
    (port::OTHERS..port::DRAINED).contains(&port)
        || (port::BY_CLIENT..port::ALLOWS).contains(&port)
        || port == port::RANGES
}

/// Which services are SCTP's.
fn is_sctp(port: u16) -> bool {
    (port::SCTP..port::SCTP_END).contains(&port)
}

/// Which services go by connection ID.
fn is_quic(port: u16) -> bool {
    (port::QUIC..port::QUIC_END).contains(&port)
}

/// Configurations whose connection IDs name servers, of services that go by them.
pub const CONFIGURATIONS: [u8; 2] = [0, 2];

fn server_id_length(port: u16) -> u8 {
    if port == port::QUIC_NAT { 15 } else { 3 }
}

/// The server ID of a backend: the same in all services of one length.
pub fn server_id(port: u16, backend: u16) -> Vec<u8> {
    let mut id: Vec<u8> = (0x31..).take(server_id_length(port).into()).collect();
    *id.last_mut().expect("it is not empty") = backend as u8;
    id
}

fn connection_ids(flavour: Flavour, port: u16) -> ConnectionIds {
    let configurations = CONFIGURATIONS.into_iter().map(|configuration| 1 << configuration).sum();
    ConnectionIds::new(flavour.quic_place(port), configurations, server_id_length(port))
}

fn selection_key(flavour: Flavour, port: u16) -> (u8, u8) {
    match port {
        port::BY_CLIENT | port::BY_CLIENT_TOO | port::PERSISTENT | port::PERSISTENT_ONE_PACKET => {
            (0, if flavour.v4 { 96 + 24 } else { 64 })
        }
        port::BY_CLIENT_AND_PORT => (selection_key::PORT, 128),
        _ => (0, 0),
    }
}

fn address_of(flavour: Flavour, port: u16) -> IpAddr {
    match port {
        port::FOLLOWS_DIRECT | port::FOLLOWS_NAT => flavour.followed(),
        _ => flavour.vip(),
    }
}

fn live_word(port: u16) -> u32 {
    match port {
        port::FOLLOWS_DIRECT | port::FOLLOWS_NAT | port::FOLLOWS_MIXED => ROUTER,
        // Records of their flows may be awaited.
        port::UNSETTLED | port::KEPT | port::EXCEPTIONS | port::DRAINED => ROUTER,
        port::TURNS | port::NO_RULE | port::FULL_NAT | port::SHARED => ROUTER,
        port::FOLLOWS_BEYOND => LIVE_WORDS,
        _ => ALWAYS_LIVE,
    }
}

fn method_of(port: u16, backend: u16) -> u8 {
    match port {
        port::NAT
        | port::NAT_TAGGED
        | port::NAT_EXCLUDED
        | port::NAT_UNSETTLED
        | port::FOLLOWS_NAT
        | port::NAT_TURNS
        | port::QUIC_NAT
        | port::DENIES => method::NAT,
        port::OTHERS | port::RANGES if backend == 2 => method::NAT,
        port::FULL_NAT | port::QUIC_FULL_NAT => method::FULL_NAT,
        port::SHARED | port::SHARED_TOO => method::RECORDED_NAT,
        port::LOCAL => method::LOCAL,
        port::NO_METHOD => method::NONE,
        _ => method::DIRECT,
    }
}

fn translates(method: u8) -> bool {
    matches!(method, method::NAT | method::RECORDED_NAT | method::FULL_NAT)
}

fn row(flavour: Flavour, port: u16, backend: u16, method: u8) -> Row {
    let index = flavour.row(port, backend);
    let exit = exit(if port == port::ELSEWHERE { WAN } else { LAN }, row_mac(index));
    let keeps_records = matches!(port, port::UNSETTLED | port::KEPT | port::EXCEPTIONS | port::NAT_UNSETTLED)
        || is_sctp(port)
        || is_quic(port)
        || (port::STATEFUL..port::STATEFUL_END).contains(&port);
    Row {
        mac_head: if port == port::NO_HOP { 0 } else { exit.mac_head },
        mac_tail: exit.mac_tail,
        interface: exit.interface,
        address: flavour.backend(index).into(),
        tags_wire: match port {
            port::TAGGED | port::NAT_TAGGED => [tag_wire(INNER), 0],
            port::QINQ => [tag_wire(OUTER), tag_wire(INNER)],
            _ => [0; 2],
        },
        state: if keeps_records && backend == 2 { 0 } else { row_state::ALIVE },
        port_wire: if translates(method) && ![port::OTHERS, port::RANGES].contains(&port) {
            port::BACKEND.to_be()
        } else {
            0
        },
        method,
        encapsulation: 0,
        reserved: [0; 16],
    }
}

/// What the host answers when asked for a client; the same is set up in the kernel's namespace.
pub fn routes() -> BTreeMap<IpAddr, Route> {
    let mut routes = BTreeMap::new();
    for flavour in [FLAVOURS[0], FLAVOURS[2]] {
        let mut add = |n, route| routes.insert(flavour.client(n), route);
        add(client::NEAR, Route::Forward(exit(WAN, neighbour_mac(client::NEAR))));
        add(client::SAME_SIDE, Route::Forward(exit(LAN, neighbour_mac(client::SAME_SIDE))));
        add(client::UNRESOLVED, Route::NeighbourUnknown);
        add(client::FAR, Route::Forward(exit(WAN, neighbour_mac(client::GATEWAY))));
        add(client::GATEWAY, Route::Forward(exit(WAN, neighbour_mac(client::GATEWAY))));
        add(client::BLACKHOLE, Route::None);
        add(client::NARROW, Route::TooBig);
        add(client::SELF, Route::Local);
        add(client::ON_VLAN, Route::Forward(exit(VLAN, neighbour_mac(client::ON_VLAN))));
        routes.insert(flavour.excluded_client(), Route::Forward(exit(WAN, neighbour_mac(client::GATEWAY))));
    }
    routes
}
