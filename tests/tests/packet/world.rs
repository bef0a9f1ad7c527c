//! The tables that all packet tests share: one service for each thing worth testing, the same four times over (IPv4 and
//! IPv6, TCP and UDP). Addresses, ports and rows have names, so that a case can say what it expects without asking the
//! code under test: all slots of a service hold one word, hence its backend does not depend on the hash.

mod flavour;
pub mod port;
mod services;

use std::collections::BTreeMap;
use std::net::IpAddr;

use fairway::reconcile::half::publish;
use fairway::reconcile::write::Write;
use lb_common::abi::{ProbeTarget, Root, SourceShare, Sources, root_flags};
use lb_common::limits::LIVE_WORDS;
use lb_common::packet::ethernet::Exit;
use lb_common::path::Route;
use lb_common::probe::Kind;

pub use flavour::{FLAVOURS, Flavour};
use services::Builder;
pub use services::{CONFIGURATIONS, server_id};

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
