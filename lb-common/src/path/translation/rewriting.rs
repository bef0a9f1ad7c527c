//! Writing what was found out about a packet into it.

use super::work::turned_ports;
use super::{Ends, Work};
use crate::checksum::Difference;
use crate::packet::{Datagram, Packet, Part, ipv4, ipv6};
use crate::path::nat::{self, End};
use crate::path::probe;

/// Rewrites both ends of a packet, its checksums, and its time to live; `None` when the transport header is cut short: nothing is
/// written then.
#[inline(always)]
pub(super) fn rewrite<P: Packet>(packet: &mut P, datagram: &Datagram, work: &Work) -> Option<()> {
    let outer = Ends { source: work.outer_source(), ..work.becomes };
    let change = addresses(datagram, &outer);
    if work.quotes() {
        let sum = if datagram.v4 { work.inner } else { work.inner.and(change) };
        probe::mend_icmp(packet, datagram.transport, sum)?;
    } else if datagram.part != Part::Later {
        let (old, new) = (work.key.ports_wire, outer.ports_wire);
        nat::mend_transport(packet, datagram.transport, datagram.protocol, change.double(old, new))?;
        packet.store(datagram.transport, new)?;
    }
    write_addresses(packet, datagram, &outer)?;
    if datagram.v4 { ipv4::hop(packet, datagram.network, change) } else { ipv6::hop(packet, datagram.network) }
}

/// Rewrites the packet that an ICMP error quotes; what that adds to a checksum over it.
#[inline(always)]
pub(super) fn translate_quote<P: Packet>(packet: &mut P, work: &Work) -> Option<Difference> {
    let about = checked(packet, &work.about)?;
    // It goes the other way than the flow.
    let (old, ports_wire) = (turned_ports(work.key.ports_wire), turned_ports(work.becomes.ports_wire));
    let quoted = Ends { source: work.becomes.destination, destination: work.becomes.source, ports_wire };
    let change = addresses(&about, &quoted);
    let ports = Difference::NONE.double(old, ports_wire);
    let header = if about.v4 { ipv4::mend(packet, about.network, change)? } else { Difference::NONE };
    write_addresses(packet, &about, &quoted)?;
    packet.store(about.transport, ports_wire)?;
    let transport = nat::mend_transport(packet, about.transport, about.protocol, change.and(ports));
    Some(change.and(ports).and(header).and(transport.unwrap_or(Difference::NONE)))
}

/// What other addresses add to a checksum over a datagram.
#[inline(always)]
fn addresses(datagram: &Datagram, becomes: &Ends) -> Difference {
    Difference::NONE.address(datagram.source, becomes.source).address(datagram.destination, becomes.destination)
}

#[inline(always)]
fn write_addresses<P: Packet>(packet: &mut P, datagram: &Datagram, becomes: &Ends) -> Option<()> {
    nat::write_address(packet, datagram, End::Source, becomes.source)?;
    nat::write_address(packet, datagram, End::Destination, becomes.destination)
}

/// A datagram out of memory, its offsets checked; `None` if one is beyond any header's.
#[inline(always)]
pub fn checked<P: Packet>(packet: &P, datagram: &Datagram) -> Option<Datagram> {
    let network = packet.forget(datagram.network)?;
    let transport = packet.forget(datagram.transport)?;
    Some(Datagram { network, transport, ..*datagram })
}
