//! Forwarding method `direct` (LVS: direct routing): the packet is sent on as it is, to the backend's MAC address. The
//! backend holds the service's address and answers the client itself.
//!
//! The time to live is decremented, as IPVS does, so that two balancers cannot send a packet in circles.

use super::exit;
use crate::abi::Row;
use crate::checksum::Difference;
use crate::counters::Reason;
use crate::packet::ethernet::{self, Frame};
use crate::packet::{Datagram, Packet, ipv4, ipv6};

/// Sends a packet to the backend of `row`; the interface it leaves by.
#[inline(always)]
pub fn forward<P: Packet>(packet: &mut P, frame: &Frame, datagram: &Datagram, row: &Row) -> Result<u32, Reason> {
    let exit = exit(row)?;
    if datagram.time_to_live <= 1 {
        return Err(Reason::TimeToLive);
    }
    let hop = if datagram.v4 {
        ipv4::hop(packet, datagram.network, Difference::NONE)
    } else {
        ipv6::hop(packet, datagram.network)
    };
    hop.ok_or(Reason::Inconsistent)?;
    ethernet::rewrite(packet, frame, &exit).ok_or(Reason::NoHeadroom)?;
    Ok(exit.interface)
}
