//! What answers this host as a client of a service under `nat` (see [`crate::own_client`]). A backend's packet to this host is left alone, be
//! it the answer to a check, or to whoever else asks that server. Only then, and only on a host that is to be its own client, it is
//! looked at once more: whether its flow has a record.
//!
//! It is read anew for that. The kernel does so in a function of its own, which needs of the path before nothing but the packet, and
//! takes none of its stack.

use super::translation::{Task, Work};
use super::{Tables, classify, icmp, translation};
use crate::abi::{FlowKey6, reverse_flags};
use crate::counters::Reason;
use crate::flow::Flow;
use crate::packet::ethernet::{self, ethertype};
use crate::packet::{Datagram, Packet, Part, ipv4, ipv6, protocol};

/// A packet that is not translated by what its source says; the interface that it leaves by all the same.
#[inline(always)]
pub fn answer<P: Packet, T: Tables>(packet: &mut P, tables: &T) -> Result<u32, Reason> {
    let is_client = classify::live(tables)?.own_client().is_some();
    if is_client && tables.take_up(packet) { tables.carry_out(packet) } else { Err(Reason::NotTranslated) }
}

/// Notes what is to be translated if the packet's flow is recorded; whether there is anything. In the kernel each step is a function.
#[inline(always)]
pub fn take_up<P: Packet, T: Tables>(packet: &P, tables: &T, work: &mut Work) -> bool {
    read(packet, work).is_some() && identify(packet, tables, work).is_some() && find(tables, work).is_some()
}

/// Reads the packet; `None` if it is none that may be an answer.
#[inline(always)]
pub fn read<P: Packet>(packet: &P, work: &mut Work) -> Option<()> {
    work.frame = ethernet::parse(packet)?;
    work.datagram = match work.frame.ethertype_wire {
        ethertype::IPV4 => ipv4::parse(packet, work.frame.network)?,
        ethertype::IPV6 => ipv6::parse(packet, work.frame.network, |_: &Datagram| false)?,
        _ => return None,
    };
    (work.datagram.part != Part::Later).then_some(())
}

/// Says which flow it belongs to: its own, or that of what an error answers.
#[inline(always)]
pub fn identify<P: Packet, T: Tables>(packet: &P, tables: &T, work: &mut Work) -> Option<()> {
    let datagram = translation::checked(packet, &work.datagram)?;
    let own = if datagram.v4 { protocol::ICMP } else { protocol::ICMPV6 };
    if datagram.protocol == own {
        work.task = Task::ErrorForClient;
        return icmp::note_flow_of_replies(packet, tables, &datagram, work);
    }
    work.task = Task::Reply;
    work.key = FlowKey6 {
        source: datagram.source,
        destination: datagram.destination,
        ports_wire: packet.load(datagram.transport)?,
        protocol: datagram.protocol.into(),
    };
    matches!(datagram.protocol, protocol::TCP | protocol::UDP).then_some(())
}

/// Finds whose the flow would be by its source, if flows of that are not recorded in general.
#[inline(always)]
pub fn find<T: Tables>(tables: &T, work: &mut Work) -> Option<()> {
    let FlowKey6 { source, destination, ports_wire, protocol } = work.key;
    let flow = Flow { source, destination, ports_wire, protocol: protocol as u8 };
    let reverse = classify::live(tables).ok()?.reverse_of_source(tables, &flow)?;
    if reverse.flags & reverse_flags::RECORDED != 0 {
        return None;
    }
    work.is_decided = false;
    work.turn_back(reverse);
    work.recorded_only = true;
    Some(())
}
