//! Forwarding method `nat` (LVS: masquerading): the destination of requests becomes the backend, the source of its
//! replies becomes the service again. Neither needs a record of the flow: the backend of a request is selected like any
//! other, and a reply names its backend, which only one service may translate (the configuration check sees to that).
//!
//! Where neither suffices, the translation of each flow is recorded: see [`super::translation`].
//!
//! Replies pass through the balancer because it is the backends' default gateway. They are left alone when their
//! destination is this host (its own connections to a backend) or one of the service's excluded prefixes.

use super::classify::Live;
use super::{Route, RouteQuery, Step, Tables, exit, fragment, live_word, signs};
use crate::abi::{Reverse, Row, root_flags};
use crate::address::Address;
use crate::checksum::Difference;
use crate::counters::Reason;
use crate::packet::ethernet::{self, Exit, Frame};
use crate::packet::transport::{self, destination_port_wire, ports_wire as both, source_port_wire};
use crate::packet::{Datagram, Packet, Part, ipv4, ipv6, protocol};

/// Which end of a packet a translation rewrites.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The source: a reply.
    Source,
    /// The destination: a request.
    Destination,
}

/// How a reply leaves. Not an `Option<Exit>`: the kernel's verifier refuses to copy what one variant leaves undefined.
#[derive(Clone, Copy, Debug)]
pub struct WayBack {
    /// The link layer; all zero while the neighbour is unknown.
    pub exit: Exit,
    /// Whether the neighbour is known.
    pub neighbour_known: bool,
}

/// Sends a request to the backend of `row`; the interface it leaves by.
#[inline(always)]
pub fn request<P: Packet>(
    packet: &mut P,
    frame: &Frame,
    datagram: &Datagram,
    row: &Row,
    ports_wire: Option<u32>,
) -> Result<u32, Reason> {
    request_by(packet, frame, datagram, row, ports_wire, exit(row)?)
}

/// The same, where it is known how the row's frames leave.
#[inline(always)]
pub fn request_by<P: Packet>(
    packet: &mut P,
    frame: &Frame,
    datagram: &Datagram,
    row: &Row,
    ports_wire: Option<u32>,
    exit: Exit,
) -> Result<u32, Reason> {
    if datagram.time_to_live <= 1 {
        return Err(Reason::TimeToLive);
    }
    let ports = ports_wire.map(|old| (old, to_backend_port(old, row.port_wire)));
    translate(packet, datagram, End::Destination, row.address, ports).ok_or(Reason::Truncated)?;
    ethernet::rewrite(packet, frame, &exit).ok_or(Reason::NoHeadroom)?;
    Ok(exit.interface)
}

/// Ports of a request after translation; a row without a port leaves them as they are.
#[inline(always)]
pub fn to_backend_port(ports_wire: u32, port_wire: u16) -> u32 {
    if port_wire == 0 { ports_wire } else { both(source_port_wire(ports_wire), port_wire) }
}

/// Sends a backend's reply on to the client; the interface it leaves by.
#[inline(always)]
pub fn reply<P: Packet, T: Tables>(
    packet: &mut P,
    tables: &T,
    live: &Live,
    frame: &Frame,
    datagram: &Datagram,
    reverse: &Reverse,
    ports_wire: u32,
) -> Result<u32, Reason> {
    live_word::check(tables, reverse.live)?;
    let new = if reverse.service_port_wire == 0 {
        ports_wire
    } else {
        both(reverse.service_port_wire, destination_port_wire(ports_wire))
    };
    let way = way_back(packet, tables, live, datagram, reverse, new)?;
    if datagram.protocol == protocol::TCP {
        signs::reply(packet, tables, datagram.transport, reverse.row);
    }
    if datagram.part == Part::First {
        fragment::remember_reply(tables, datagram, reverse);
    }
    translate(packet, datagram, End::Source, reverse.service, Some((ports_wire, new))).ok_or(Reason::Truncated)?;
    leave(packet, tables, live, frame, datagram, way)
}

/// Where a reply goes after translation, or why it is left alone or dropped.
#[inline(always)]
pub fn way_back<P: Packet, T: Tables>(
    packet: &P,
    tables: &T,
    live: &Live,
    datagram: &Datagram,
    reverse: &Reverse,
    ports_wire: u32,
) -> Result<WayBack, Reason> {
    if live.has(root_flags::NAT_EXCLUDE)
        && reverse.exclude != 0
        && tables.is_excluded(reverse.exclude, datagram.destination)
    {
        return Err(Reason::NotTranslated);
    }
    tables.trace(Step::Reply(reverse));
    route(packet, tables, datagram, reverse.service, ports_wire)
}

/// The host's route for a datagram whose source becomes `source`.
#[inline(always)]
pub fn route<P: Packet, T: Tables>(
    packet: &P,
    tables: &T,
    datagram: &Datagram,
    source: Address,
    ports_wire: u32,
) -> Result<WayBack, Reason> {
    let route = tables.route(&RouteQuery {
        source,
        destination: datagram.destination,
        ports_wire,
        length: datagram.length as u16,
        protocol: datagram.protocol,
        v4: datagram.v4,
        interface: packet.interface(),
    });
    judge(packet, route, datagram)
}

/// What the host's route means for a datagram.
#[inline(always)]
pub fn judge<P: Packet>(packet: &P, route: Route, datagram: &Datagram) -> Result<WayBack, Reason> {
    match route {
        Route::Local => Err(Reason::NotTranslated),
        Route::None => Err(Reason::NoRoute),
        Route::Disabled => Err(Reason::ForwardingDisabled),
        // Untranslated, as the backend knows it: that is what the host will quote to it (RFC 1191, RFC 8201).
        Route::TooBig if !datagram.v4 || ipv4::forbids_fragments(packet, datagram.network) => {
            Err(Reason::TooBigForRoute)
        }
        Route::TooBig => Err(Reason::TooBig),
        Route::Forward(_) | Route::NeighbourUnknown if datagram.time_to_live <= 1 => Err(Reason::TimeToLive),
        Route::Forward(exit) => Ok(WayBack { exit, neighbour_known: true }),
        Route::NeighbourUnknown => Ok(WayBack { exit: Exit::default(), neighbour_known: false }),
    }
}

/// Sends a translated reply along its route; the interface it leaves by.
#[inline(always)]
pub fn leave<P: Packet, T: Tables>(
    packet: &mut P,
    tables: &T,
    live: &Live,
    frame: &Frame,
    datagram: &Datagram,
    way: WayBack,
) -> Result<u32, Reason> {
    if !way.neighbour_known {
        return Err(if tables.hand_over(datagram.network) {
            Reason::NeighbourPending
        } else {
            Reason::NeighbourUnresolved
        });
    }
    let mut exit = way.exit;
    if live.has(root_flags::VLAN)
        && let Some((interface, tags_wire)) = tables.vlan(exit.interface)
    {
        exit = Exit { interface, tags_wire, ..exit };
    }
    ethernet::rewrite(packet, frame, &exit).ok_or(Reason::NoHeadroom)?;
    Ok(exit.interface)
}

/// Rewrites one end of a packet, its checksums, and its time to live. `ports` is (old, new) as they lie in the packet;
/// `None` for a later fragment. `None` when the transport header is cut short; nothing is written then.
#[inline(always)]
pub fn translate<P: Packet>(
    packet: &mut P,
    datagram: &Datagram,
    end: End,
    new: Address,
    ports: Option<(u32, u32)>,
) -> Option<()> {
    let old = if end == End::Source { datagram.source } else { datagram.destination };
    let change = Difference::NONE.address(old, new);
    if let Some((old_ports, new_ports)) = ports {
        let sum = change.double(old_ports, new_ports);
        mend_transport(packet, datagram.transport, datagram.protocol, sum)?;
        packet.store(datagram.transport, new_ports)?;
    }
    write_address(packet, datagram, end, new)?;
    if datagram.v4 { ipv4::hop(packet, datagram.network, change) } else { ipv6::hop(packet, datagram.network) }
}

/// Writes an address into the IP header of a datagram.
#[inline(always)]
pub fn write_address<P: Packet>(packet: &mut P, datagram: &Datagram, end: End, new: Address) -> Option<()> {
    match (datagram.v4, end) {
        (true, End::Source) => packet.store(datagram.network + ipv4::SOURCE, new.v4_wire()),
        (true, End::Destination) => packet.store(datagram.network + ipv4::DESTINATION, new.v4_wire()),
        (false, End::Source) => packet.store(datagram.network + ipv6::SOURCE, new),
        (false, End::Destination) => packet.store(datagram.network + ipv6::DESTINATION, new),
    }
}

/// Mends the checksum of the TCP or UDP header at `offset`, and returns what that adds to a checksum over the header.
#[inline(always)]
pub fn mend_transport<P: Packet>(packet: &mut P, offset: usize, protocol: u8, sum: Difference) -> Option<Difference> {
    let at = transport::checksum_offset(offset, protocol);
    let old: u16 = packet.load(at)?;
    let new = if protocol == protocol::UDP { sum.apply_udp(old) } else { sum.apply(old) };
    packet.store(at, new)?;
    Some(Difference::NONE.word(old, new))
}
