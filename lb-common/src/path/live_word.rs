//! Is this node live for the virtual router that a service follows? If not, the packet is the host's.
//!
//! Tables are filled on every node all the time; of two nodes that share an address the one that is its master forwards.
//! One word a virtual router says so, written by the VRRP thread alone, so that mastership moves by one store and no
//! table. Word 0 is always 1: services that follow no virtual router name it, and need no branch of their own.
//!
//! The rule is one: *while its word is 0, a node forwards, translates and drops nothing of a service*. It passes the
//! packet, because the node may be a `direct` backend of that very service, with the address on its loopback
//! interface: then its own stack must get the packet. What that means for packets that are not plain requests:
//!
//! - A first fragment is passed and remembered as the host's, so that the later ones follow it into the same stack. A
//!   later fragment of a datagram that was begun while the node was live is passed once it is not: the entry names the word.
//! - What is addressed to a service and not understood (cut short, unreadable, a later fragment of an unknown datagram) is
//!   passed too, by the word of its address.
//! - ICMP errors follow the flow that they quote, so its word decides.
//! - Replies of translated backends are passed untranslated. Backends reply by the router that the master is: a reply
//!   here is none of ours, and a node that leaves keeps its word for a while, so that replies still on their way are
//!   translated.

use super::{Step, Tables};
use crate::counters::Reason;
use crate::packet::transport::Signal;

/// Goes on only while the word says that this node is live.
#[inline(always)]
pub fn check<T: Tables>(tables: &T, index: u32) -> Result<(), Reason> {
    let live = tables.is_live(index);
    tables.trace(Step::Live(index, live));
    if live { Ok(()) } else { Err(Reason::NotMaster) }
}

/// Whether the record of a packet's flow may be on its way from the node that was master until just now: the flow began there. A packet
/// that may begin a flow is never kept waiting.
#[inline(always)]
pub fn awaits_record_of<T: Tables>(tables: &T, index: u32, protocol: u8, signal: Signal) -> bool {
    signal.goes_on(protocol) && tables.awaits_records(index)
}
