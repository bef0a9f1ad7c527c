//! ICMP errors about flows (RFC 792, RFC 4443): they go where the flow goes, so that path MTU discovery works for the
//! backend that sends. The quoted packet tells the flow; eight octets of its transport header suffice.
//!
//! Under `nat` the quote is translated too: it must name the packet as the receiver of the error knows it. So are those
//! of our own probes (see [`probe`]).

use super::nat::{self, End};
use super::translation::Work;
use super::{Step, Tables, classify, forward, is_own, live_word, probe, select, signs, translation};
use crate::abi::{Reverse, Row, method, reverse_flags, root_flags};
use crate::address::Address;
use crate::checksum::Difference;
use crate::counters::Reason;
use crate::flow::Flow;
use crate::packet::ethernet::Frame;
use crate::packet::transport::{destination_port_wire, ports_wire as both, source_port_wire};
use crate::packet::{Datagram, Packet, Part, ipv4, ipv6, protocol};

/// Length of an ICMP header; the quote follows.
const HEADER: usize = 8;

/// The packet that an error quotes.
struct Quote {
    datagram: Datagram,
    /// Its ports, as they lie in it.
    ports_wire: u32,
}

/// Decides an ICMP packet.
#[inline(always)]
pub fn steer<P: Packet, T: Tables>(
    packet: &mut P,
    tables: &T,
    frame: &Frame,
    datagram: &Datagram,
) -> Result<u32, Reason> {
    // Type and code together: the kernel's verifier cannot follow a check for a single octet.
    let Some([kind, _code]) = packet.load::<[u8; 2]>(datagram.transport) else { return Err(Reason::NotService) };
    if kind == echo_reply(datagram.v4) && classify::live(tables)?.has(root_flags::PROBES) {
        return probe::echo_reply(packet, tables, frame, datagram);
    }
    if !is_error(datagram.v4, kind) {
        return Err(Reason::NotService);
    }
    let Some(quote) = quote(packet, tables, datagram) else {
        return Err(classify::not_understood(tables, datagram.destination, Reason::QuoteTruncated));
    };
    let Quote { datagram: about, ports_wire } = quote;
    let live = classify::live(tables)?;
    let is_of_flow = matches!(about.protocol, protocol::TCP | protocol::UDP | protocol::SCTP);
    if !is_of_flow && !protocol::is_portless(about.protocol) {
        return about_echo(packet, tables, &live, frame, datagram, &about);
    }
    // The quote is of a packet from the service to its client: the flow is the other way round.
    let flow = Flow {
        source: about.destination,
        destination: about.source,
        ports_wire: both(destination_port_wire(ports_wire), source_port_wire(ports_wire)),
        protocol: about.protocol,
    };
    tables.trace(Step::Quote(&flow));
    if about.source == datagram.destination
        && let Some(service) = live.service(tables, &flow)
    {
        live_word::check(tables, service.live)?;
        let row = select::row_of_quoted(tables, service, &flow)?;
        return to_backend(packet, tables, frame, datagram, &quote, &flow, row);
    }
    if let Some(reverse) = live.reverse_of_source(tables, &flow) {
        if reverse.flags & reverse_flags::RECORDED != 0 && about.source == datagram.destination {
            return translation::error_for_client(packet, tables, frame, datagram, &about, reverse, &flow);
        }
        live_word::check(tables, reverse.live)?;
        return to_client(packet, tables, &live, frame, datagram, &quote, reverse);
    }
    if live.has(root_flags::PROBES)
        && matches!(about.protocol, protocol::TCP | protocol::UDP)
        && let Some(asked) = probe::quoted(tables, &about, ports_wire)
    {
        let inner = translate_quote(packet, &quote, End::Destination, asked.reserved, ports_wire);
        let inner = inner.ok_or(Reason::QuoteTruncated)?;
        return to_prober(packet, tables, frame, datagram, &about, inner, asked);
    }
    Err(Reason::NotService)
}

/// An error about something that is not balanced: about an echo request of ours, or nothing to us.
#[inline(always)]
fn about_echo<P: Packet, T: Tables>(
    packet: &mut P,
    tables: &T,
    live: &classify::Live,
    frame: &Frame,
    datagram: &Datagram,
    about: &Datagram,
) -> Result<u32, Reason> {
    let is_echo = about.protocol == if about.v4 { protocol::ICMP } else { protocol::ICMPV6 };
    if !is_echo || !live.has(root_flags::PROBES) {
        return Err(Reason::NotService);
    }
    let Some(asked) = probe::quoted_echo(packet, tables, about) else { return Err(Reason::NotService) };
    let inner = translate_quoted_echo(packet, about, asked.reserved).ok_or(Reason::QuoteTruncated)?;
    to_prober(packet, tables, frame, datagram, about, inner, asked)
}

/// Rewrites the destination of a quoted echo request; what that adds to a checksum over the quote.
#[inline(always)]
fn translate_quoted_echo<P: Packet>(packet: &mut P, about: &Datagram, reserved: Address) -> Option<Difference> {
    let change = Difference::NONE.address(about.destination, reserved);
    let mended = if about.v4 {
        ipv4::mend(packet, about.network, change)?
    } else {
        let at = about.transport + probe::ICMP_CHECKSUM;
        let old: u16 = packet.load(at)?;
        packet.store(at, change.apply(old))?;
        Difference::NONE.word(old, change.apply(old))
    };
    nat::write_address(packet, about, End::Destination, reserved)?;
    Some(change.and(mended))
}

/// Ends the turn of an error about a probe, whose quote is translated already: if it is the backend that sends it, by the
/// service's address, that address is rewritten too.
#[inline(always)]
fn to_prober<P: Packet, T: Tables>(
    packet: &mut P,
    tables: &T,
    frame: &Frame,
    datagram: &Datagram,
    about: &Datagram,
    inner: Difference,
    asked: probe::Asked,
) -> Result<u32, Reason> {
    let from_backend = datagram.source == about.destination;
    let change = Difference::NONE.address(datagram.source, asked.reserved);
    let sum = if datagram.v4 || !from_backend { inner } else { inner.and(change) };
    probe::mend_icmp(packet, datagram.transport, sum).ok_or(Reason::QuoteTruncated)?;
    if from_backend {
        probe::write_source(packet, datagram, asked.reserved, change).ok_or(Reason::QuoteTruncated)?;
    }
    probe::hand_in(packet, tables, frame, asked)
}

/// The type of an echo reply.
#[inline(always)]
const fn echo_reply(v4: bool) -> u8 {
    if v4 { 0 } else { 129 }
}

/// Whether a message of this type quotes the packet it is about. Redirects are for the host alone.
#[inline(always)]
fn is_error(v4: bool, kind: u8) -> bool {
    if v4 { matches!(kind, 3 | 4 | 11 | 12) } else { matches!(kind, 1..=4) }
}

/// Notes the datagram that an error about a request to a translated backend quotes, and the flow of its replies; see
/// [`super::own_client`].
#[inline(always)]
pub fn note_flow_of_replies<P: Packet, T: Tables>(
    packet: &P,
    tables: &T,
    datagram: &Datagram,
    work: &mut Work,
) -> Option<()> {
    let [kind, _code] = packet.load::<[u8; 2]>(datagram.transport)?;
    if !is_error(datagram.v4, kind) {
        return None;
    }
    let Quote { datagram: about, ports_wire } = quote(packet, tables, datagram)?;
    work.about = about;
    work.key.source = about.destination;
    work.key.destination = about.source;
    work.key.ports_wire = both(destination_port_wire(ports_wire), source_port_wire(ports_wire));
    work.key.protocol = about.protocol as u32;
    let is_of_flow = matches!(about.protocol, protocol::TCP | protocol::UDP);
    (is_of_flow && about.source == datagram.destination).then_some(())
}

/// The quoted packet; `None` when it is cut short before the end of its ports.
#[inline(always)]
fn quote<P: Packet, T: Tables>(packet: &P, tables: &T, datagram: &Datagram) -> Option<Quote> {
    let at = datagram.transport + HEADER;
    // It is a service that sent what is quoted, if anybody here did.
    let ends_at_ah = |about: &Datagram| tables.takes_ah(about.source);
    let about = if datagram.v4 { ipv4::parse(packet, at)? } else { ipv6::parse(packet, at, ends_at_ah)? };
    if about.part == Part::Later || about.protocol == protocol::UNREADABLE {
        return None;
    }
    let first: u32 = packet.load(about.transport)?;
    let ports_wire = if protocol::is_portless(about.protocol) { packet.nothing() } else { first };
    Some(Quote { datagram: about, ports_wire })
}

/// An error about a packet that the service sent to its client: for the backend that sent it.
#[inline(always)]
fn to_backend<P: Packet, T: Tables>(
    packet: &mut P,
    tables: &T,
    frame: &Frame,
    datagram: &Datagram,
    quote: &Quote,
    flow: &Flow,
    index: u32,
) -> Result<u32, Reason> {
    let row = tables.row(index).ok_or(Reason::Inconsistent)?;
    if matches!(row.method, method::RECORDED_NAT | method::FULL_NAT | method::RECORDED_NAT_OR_OWN)
        || is_own(packet, tables, row)
    {
        tables.trace(Step::Row(index));
        let interface = translation::error_for_backend(packet, tables, frame, datagram, &quote.datagram, flow, index)?;
        tables.count(index, datagram.length, false);
        return Ok(interface);
    }
    if matches!(row.method, method::NAT | method::NAT_OR_OWN) {
        translate_for_backend(packet, datagram, quote, row).ok_or(Reason::QuoteTruncated)?;
    }
    let interface = forward(packet, tables, frame, datagram, index, None, |_, _| Err(Reason::Inconsistent))?;
    tables.count(index, datagram.length, false);
    Ok(interface)
}

/// Translates what `forward` does not: the quote's source, and the ICMP checksum for all of it.
#[inline(always)]
fn translate_for_backend<P: Packet>(packet: &mut P, datagram: &Datagram, quote: &Quote, row: &Row) -> Option<()> {
    let old = quote.ports_wire;
    let new = if row.port_wire == 0 { old } else { both(row.port_wire, destination_port_wire(old)) };
    let inner = translate_quote(packet, quote, End::Source, row.address, new)?;
    let sum = if datagram.v4 { inner } else { inner.address(datagram.destination, row.address) };
    probe::mend_icmp(packet, datagram.transport, sum)
}

/// An error about a packet that was sent to a translated backend: for the client that sent it.
#[inline(always)]
fn to_client<P: Packet, T: Tables>(
    packet: &mut P,
    tables: &T,
    live: &classify::Live,
    frame: &Frame,
    datagram: &Datagram,
    quote: &Quote,
    reverse: &Reverse,
) -> Result<u32, Reason> {
    tables.trace(Step::Reply(reverse));
    let old = quote.ports_wire;
    let new = if reverse.service_port_wire == 0 { old } else { both(source_port_wire(old), reverse.service_port_wire) };
    let from_backend = datagram.source == reverse.backend;
    let source = if from_backend { reverse.service } else { datagram.source };
    let way = nat::way_back(packet, tables, live, datagram, reverse, 0)?;
    let inner = translate_quote(packet, quote, End::Destination, reverse.service, new).ok_or(Reason::QuoteTruncated)?;
    let sum = if datagram.v4 { inner } else { inner.address(datagram.source, source) };
    probe::mend_icmp(packet, datagram.transport, sum).ok_or(Reason::QuoteTruncated)?;
    nat::translate(packet, datagram, End::Source, source, None).ok_or(Reason::Malformed)?;
    // Only now: what is about a packet of this host's own, a probe's above all, says nothing of how clients fare. And the
    // kernel's verifier walks what comes after a branch once for each side of it.
    signs::error(packet, tables, datagram, reverse.row);
    nat::leave(packet, tables, live, frame, datagram, way)
}

/// Translates one end of the quoted packet; what that adds to a checksum over it. The quoted transport checksum is mended
/// where it was quoted.
#[inline(always)]
fn translate_quote<P: Packet>(
    packet: &mut P,
    quote: &Quote,
    end: End,
    new: crate::address::Address,
    new_ports_wire: u32,
) -> Option<Difference> {
    let Quote { datagram: quote, ports_wire: old_ports_wire } = quote;
    let old = if end == End::Source { quote.source } else { quote.destination };
    let address = Difference::NONE.address(old, new);
    let ports = Difference::NONE.double(*old_ports_wire, new_ports_wire);
    let header = if quote.v4 { ipv4::mend(packet, quote.network, address)? } else { Difference::NONE };
    nat::write_address(packet, quote, end, new)?;
    packet.store(quote.transport, new_ports_wire)?;
    let transport = nat::mend_transport(packet, quote.transport, quote.protocol, address.and(ports));
    Some(address.and(ports).and(header).and(transport.unwrap_or(Difference::NONE)))
}
