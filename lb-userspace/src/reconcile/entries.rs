//! The values that go into the tables, made from the configuration and the next hops.

use std::net::IpAddr;

use ipnet::IpNet;
use lb_common::abi::{
    ProbeTarget, Reverse, Row, Service, Tunnel, encapsulation, method, reverse_flags, row_state, selection_key,
    service_flags,
};
use lb_common::address::Address;
use lb_common::outer::Outer;
use lb_common::packet::ethernet::Exit;
use lb_common::packet::protocol;
use lb_common::path::tunnel::{FIRST_PORT, constant_sum, overhead};

use super::quic;
use crate::config::Service as ServiceConfig;
use crate::config::{
    Backend, Encapsulation, Forwarding, Listener, OnNoBackend, Ports, Protocol, SelectionKey, TunnelSources, UdpMode,
    Wrapping,
};
use crate::nexthop::{Frame, NextHop, Unresolved, VlanTag};
use crate::scheduler::seed::Seed;

/// The frame that reaches a destination, or why there is none.
pub type Hop = Result<NextHop, Unresolved>;

/// Purpose of [`Seed`] for the selection hash of a listener.
const SELECTION: u8 = 16;
/// Purpose of [`Seed`] for selection hashes of clients, or of services' addresses.
const ADDRESS_SELECTION: u8 = 17;

/// IP protocol number.
pub fn number(protocol: Protocol) -> u8 {
    match protocol {
        Protocol::Tcp => protocol::TCP,
        Protocol::Udp => protocol::UDP,
        Protocol::Sctp => protocol::SCTP,
        Protocol::Esp => protocol::ESP,
        Protocol::Ah => protocol::AH,
    }
}

/// The protocol of a number, if services can have it.
pub fn protocol_of(number: u32) -> Option<Protocol> {
    use Protocol::{Ah, Esp, Sctp, Tcp, Udp};
    [Tcp, Udp, Sctp, Esp, Ah].into_iter().find(|protocol| u32::from(self::number(*protocol)) == number)
}

/// The service table's entry of a listener.
pub fn service(config: &ServiceConfig, listener: &Listener, place: Place, seed: &Seed) -> Service {
    let flag = |condition: bool, flag: u8| if condition { flag } else { 0 };
    let selection_key = config.selection_key();
    let (key, key_prefix) = hashed_part(selection_key, listener);
    Service {
        address: listener.address.into(),
        port_wire: listener.ports.first().to_be(),
        protocol: number(listener.protocol),
        flags: service_flags::USED
            | flag(config.udp == UdpMode::Flows && listener.protocol == Protocol::Udp, service_flags::UDP_FLOWS)
            | flag(config.udp == UdpMode::OnePacket && listener.protocol == Protocol::Udp, service_flags::ONE_PACKET)
            | flag(config.on_no_backend == OnNoBackend::Drop, service_flags::DROP_WITHOUT_BACKEND)
            | flag(selection_key != SelectionKey::Flow, service_flags::KEYED),
        first_slot: place.first_slot,
        first_row: place.first_row,
        pool: place.pool,
        seed: selection_seed(selection_key, listener, seed),
        shift: 64 - config.lookup_table_size.trailing_zeros(),
        idle_timeout: u32::try_from(config.idle_timeout(listener.protocol).as_secs()).unwrap_or(u32::MAX),
        live: place.live,
        key,
        key_prefix,
        access: place.access.unwrap_or(0),
        chooser: match place.quic.filter(|_| listener.protocol == Protocol::Udp) {
            Some(place) => quic::connection_ids(config, place).0,
            None => place.chooser.unwrap_or(0),
        },
        ranges: 0,
        last_port: last_port(listener.ports),
    }
}

/// How entries tell a range from one port.
fn last_port(ports: Ports) -> u16 {
    match ports {
        Ports::Range(_, last) => last,
        Ports::One(_) | Ports::Every => 0,
    }
}

/// How the packet path is told which part of a flow is hashed.
fn hashed_part(key: SelectionKey, listener: &Listener) -> (u8, u8) {
    match key {
        SelectionKey::Flow => (0, 0),
        SelectionKey::Source { prefixes, port } => {
            (if port { selection_key::PORT } else { 0 }, prefixes.of(listener.address))
        }
        SelectionKey::Destination => (selection_key::DESTINATION, 128),
    }
}

/// Whole flows are hashed by listener, so that those of one client to several spread. Addresses are hashed everywhere alike: a
/// client finds the same backend by every listener of a service, also when listeners come and go or the service is
/// called otherwise; and in every service whose backends are the same.
fn selection_seed(key: SelectionKey, listener: &Listener, seed: &Seed) -> u64 {
    match key {
        SelectionKey::Flow => seed.hash(SELECTION, listener.to_string().as_bytes()).0,
        SelectionKey::Source { .. } | SelectionKey::Destination => seed.hash(ADDRESS_SELECTION, b"").0,
    }
}

/// Where a listener's tables lie.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    /// First slot of its lookup table.
    pub first_slot: u32,
    /// Row of its pool's backend 0.
    pub first_row: u32,
    /// What its flows' records name.
    pub pool: u32,
    /// The live word of the virtual router that its service follows.
    pub live: u32,
    /// Who chooses, if its service keeps state.
    pub chooser: Option<u32>,
    /// Its access rules, if it has any.
    pub access: Option<u16>,
    /// Where its packets are counted, if its service goes by connection IDs.
    pub quic: Option<u16>,
}

/// Whose translations under `nat` are recorded.
#[derive(Clone, Copy, Debug)]
pub struct Recording {
    /// Everybody's: others reach the same server.
    pub shared: bool,
    /// This host's own: it is a client of its services.
    pub own_client: bool,
}

impl Recording {
    /// The method of rows under `nat`.
    fn method(self) -> u8 {
        match (self.shared, self.own_client) {
            (false, false) => method::NAT,
            (false, true) => method::NAT_OR_OWN,
            (true, false) => method::RECORDED_NAT,
            (true, true) => method::RECORDED_NAT_OR_OWN,
        }
    }
}

/// The row of a backend for a listener. `up`: whether the backend is up to the flows that it has.
pub fn row(backend: &Backend, listener: &Listener, hop: Option<&Hop>, up: bool, recording: Recording) -> Row {
    let nat = backend.forwarding.translates();
    let row = Row {
        address: backend.address.into(),
        state: if up { row_state::ALIVE } else { 0 },
        method: match backend.forwarding {
            Forwarding::Direct => method::DIRECT,
            Forwarding::Nat => recording.method(),
            Forwarding::FullNat => method::FULL_NAT,
            Forwarding::Tunnel => method::TUNNEL,
        },
        port_wire: if nat { backend.target_ports(listener).one().unwrap_or(0).to_be() } else { 0 },
        encapsulation: if backend.forwarding == Forwarding::Tunnel { encapsulation_of(backend) } else { 0 },
        ..Row::default()
    };
    match hop {
        Some(Ok(NextHop::Local)) if !nat => Row { method: method::LOCAL, ..row },
        Some(Ok(NextHop::Frame(frame))) => {
            let Exit { mac_head, mac_tail, interface, tags_wire } = exit(frame);
            Row { mac_head, mac_tail, interface, tags_wire, ..row }
        }
        Some(Ok(NextHop::Local) | Err(_)) | None => row,
    }
}

/// How the row says what a `tunnel` backend's packets are put into.
fn encapsulation_of(backend: &Backend) -> u8 {
    encapsulation(backend.wrapping, backend.address)
}

/// The bits of what is put into an outer packet for `address`.
fn encapsulation(wrapping: Wrapping, address: IpAddr) -> u8 {
    let kind = match wrapping.encapsulation {
        Encapsulation::Ipip => encapsulation::IPIP,
        Encapsulation::Gue => encapsulation::GUE,
        Encapsulation::Fou => encapsulation::FOU,
        Encapsulation::Gre => encapsulation::GRE,
    };
    kind | if address.is_ipv4() { encapsulation::V4 } else { 0 }
}

/// Octets that a `tunnel` backend's packets are longer by.
pub fn added_by_tunnel(backend: &Backend) -> u32 {
    overhead(encapsulation_of(backend))
}

/// What the packets of a `tunnel` backend for a listener are put into; `None` for other backends, and while it is not known by which
/// way they go, or from which address.
pub fn tunnel(backend: &Backend, listener: &Listener, hop: Option<&Hop>, sources: TunnelSources) -> Option<Tunnel> {
    let Some(Ok(NextHop::Frame(frame))) = hop else { return None };
    if backend.forwarding != Forwarding::Tunnel {
        return None;
    }
    let v4 = backend.address.is_ipv4();
    let network = sources
        .towards(backend.address)
        .or_else(|| frame.source.filter(|source| source.is_ipv4() == v4).map(IpNet::from))?;
    let (source, destination) = (Address::from(network.network()), Address::from(backend.address));
    let bits = encapsulation_of(backend);
    Some(Tunnel {
        source,
        spread: Address::from(network.hostmask()).low & if v4 { 0xffff_ffff_0000_0000 } else { u64::MAX },
        room: frame.mtu.saturating_sub(overhead(bits)),
        sum: constant_sum(bits, listener.address.is_ipv4(), source.v4_wire(), destination.v4_wire()),
        port_wire: backend.wrapping.port().unwrap_or(0).to_be(),
    })
}

/// The target of probes that ask a backend at a service's address, and whose answers come in by the interface `back`.
pub fn probe_target(service: IpAddr, frame: &Frame, outer: Outer, back: u32) -> ProbeTarget {
    let Exit { mac_head, mac_tail, interface, tags_wire } = exit(frame);
    let service = service.into();
    ProbeTarget { mac_head, mac_tail, interface, service, tags_wire, back, outer, ..ProbeTarget::default() }
}

/// What the probes of a `tunnel` backend at this address are put into, around packets for a service's address; `number` tells the
/// targets apart to what spreads flows.
pub fn probe_outer(backend: IpAddr, wrapping: Wrapping, service: IpAddr, source: IpAddr, number: u32) -> Outer {
    let source_port = FIRST_PORT | (number as u16 & !FIRST_PORT);
    let ports = (source_port, wrapping.port().unwrap_or(0));
    Outer::new(encapsulation(wrapping, backend), service.is_ipv4(), source.into(), backend.into(), ports)
}

/// The link layer of a frame as the tables hold it.
fn exit(frame: &Frame) -> Exit {
    let [d, s] = [frame.destination_mac.0, frame.source_mac.0];
    let tag = |index: usize| frame.tags.get(index).map_or(0, tag_wire);
    Exit {
        mac_head: u64::from_ne_bytes([d[0], d[1], d[2], d[3], d[4], d[5], s[0], s[1]]),
        mac_tail: u32::from_ne_bytes([s[2], s[3], s[4], s[5]]),
        interface: frame.interface,
        tags_wire: [tag(0), tag(1)],
    }
}

/// A VLAN tag as it lies in a frame.
pub fn tag_wire(tag: &VlanTag) -> u32 {
    let ([t0, t1], [c0, c1]) = (tag.tpid.to_be_bytes(), tag.tci.to_be_bytes());
    u32::from_ne_bytes([t0, t1, c0, c1])
}

/// The reverse table's entry of a translated backend of a listener, whose row is this; `None` when the backend is not translated.
/// `shared`: whether others reach the same server.
pub fn reverse(
    backend: &Backend,
    listener: &Listener,
    row: u32,
    exclude: u32,
    live: u32,
    shared: bool,
) -> Option<Reverse> {
    use reverse_flags::{RECORDED, RECORDED_ONLY, USED};
    let flags = match backend.forwarding {
        Forwarding::Direct | Forwarding::Tunnel => return None,
        Forwarding::Nat if shared => USED | RECORDED,
        Forwarding::Nat => USED,
        Forwarding::FullNat => USED | RECORDED | RECORDED_ONLY,
    };
    Some(Reverse {
        backend: backend.address.into(),
        service: listener.address.into(),
        backend_port_wire: backend.target_ports(listener).first().to_be(),
        service_port_wire: listener.ports.one().unwrap_or(0).to_be(),
        protocol: number(listener.protocol),
        flags,
        exclude,
        live,
        row,
        last_port: last_port(backend.target_ports(listener)),
        ..Reverse::default()
    })
}

/// How a next hop reads in `status`.
pub fn describe(hop: Option<&Hop>, interface_name: impl Fn(u32) -> String, address: IpAddr) -> String {
    match hop {
        None => format!("the next hop of {address} has not been asked for yet"),
        Some(Err(unresolved)) => unresolved.to_string(),
        Some(Ok(NextHop::Local)) => "this host".to_owned(),
        Some(Ok(NextHop::Frame(frame))) => {
            let tags: String = frame.tags.iter().map(|tag| format!(" vlan {}", tag.tci & 0xfff)).collect();
            format!("{} on {}{tags}", frame.destination_mac, interface_name(frame.interface))
        }
    }
}
