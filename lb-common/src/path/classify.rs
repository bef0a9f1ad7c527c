//! Whose packet is it? The perfect hash (hash and displace) of listeners, and its mirror image for replies.
//!
//! A look-up is two array reads: the displacement of the key's bucket, then the one entry where the key can be. User
//! space builds the tables (`reconcile::perfect_hash`) in the half that is not live, and flips one word.

use super::{Tables, live_word};
use crate::abi::{HALF_ENTRIES, Reverse, Root, Service, root_flags, service_flags};
use crate::address::Address;
use crate::counters::Reason;
use crate::flow::Flow;
use crate::hash;
use crate::packet::protocol;
use crate::packet::transport::{destination_port_wire, source_port_wire};

/// The half of the tables that is live, from one load of the root word: all look-ups of a packet use the same half.
#[derive(Clone, Copy)]
pub struct Live<'a> {
    root: &'a Root,
    word: u64,
}

/// Starts the look-ups of a packet.
#[inline(always)]
pub fn live<T: Tables>(tables: &T) -> Result<Live<'_>, Reason> {
    let root = tables.root().ok_or(Reason::Inconsistent)?;
    // SAFETY: a reference is valid for reads. Volatile because user space flips the word while packets flow.
    let word = unsafe { core::ptr::read_volatile(&root.word) };
    Ok(Live { root, word })
}

impl<'a> Live<'a> {
    /// Whether one of [`root_flags`] is set.
    #[inline(always)]
    pub fn has(&self, flag: u64) -> bool {
        self.word & flag != 0
    }

    /// The listener that a flow goes to: of its port, else of every port.
    #[inline(always)]
    pub fn service<T: Tables>(&self, tables: &'a T, flow: &Flow) -> Option<&'a Service> {
        let port_wire = destination_port_wire(flow.ports_wire);
        let exact = self.service_entry(tables, flow.destination, port_wire, flow.protocol);
        if exact.is_some() || !self.has(root_flags::WILDCARD) {
            return exact;
        }
        self.service_entry(tables, flow.destination, 0, flow.protocol)
    }

    /// What the source of a flow is turned back into, if it is a translated backend.
    #[inline(always)]
    pub fn reverse_of_source<T: Tables>(&self, tables: &'a T, flow: &Flow) -> Option<&'a Reverse> {
        if !self.has(root_flags::NAT) {
            return None;
        }
        self.reverse(tables, flow.source, source_port_wire(flow.ports_wire), flow.protocol)
    }

    /// What a translated backend's address and port are turned back into.
    #[inline(always)]
    pub fn reverse<T: Tables>(
        &self,
        tables: &'a T,
        backend: Address,
        port_wire: u16,
        protocol: u8,
    ) -> Option<&'a Reverse> {
        let exact = self.reverse_entry(tables, backend, port_wire, protocol);
        if exact.is_some() || !self.has(root_flags::NAT_WILDCARD) {
            return exact;
        }
        self.reverse_entry(tables, backend, 0, protocol)
    }

    #[inline(always)]
    fn half(&self) -> u32 {
        (self.word & root_flags::HALF) as u32
    }

    #[inline(always)]
    fn service_entry<T: Tables>(
        &self,
        tables: &'a T,
        address: Address,
        port_wire: u16,
        protocol: u8,
    ) -> Option<&'a Service> {
        let hash = hash::endpoint(self.root.service_seed[self.half() as usize], address, port_wire, protocol);
        let displacement = tables.displacements(self.half())?.services[hash::bucket(hash)];
        let service = tables.service(self.half() * HALF_ENTRIES as u32 + hash::entry(hash, displacement) as u32)?;
        let matches = service.address == address
            && service.port_wire == port_wire
            && service.protocol == protocol
            && service.flags & service_flags::USED != 0;
        matches.then_some(service)
    }

    #[inline(always)]
    fn reverse_entry<T: Tables>(
        &self,
        tables: &'a T,
        backend: Address,
        port_wire: u16,
        protocol: u8,
    ) -> Option<&'a Reverse> {
        let hash = hash::endpoint(self.root.reverse_seed[self.half() as usize], backend, port_wire, protocol);
        let displacement = tables.displacements(self.half())?.reverse[hash::bucket(hash)];
        let reverse = tables.reverse(self.half() * HALF_ENTRIES as u32 + hash::entry(hash, displacement) as u32)?;
        let matches = reverse.backend == backend
            && reverse.backend_port_wire == port_wire
            && reverse.protocol == protocol
            && reverse.flags & service_flags::USED != 0;
        matches.then_some(reverse)
    }

    /// Whether a listener takes AH to an address.
    #[inline(always)]
    pub fn takes_ah<T: Tables>(&self, tables: &'a T, address: Address) -> bool {
        self.service_entry(tables, address, 0, protocol::AH).is_some()
    }

    /// The entry of an address that some listener has.
    #[inline(always)]
    pub fn address<T: Tables>(&self, tables: &'a T, address: Address) -> Option<&'a Service> {
        self.service_entry(tables, address, 0, 0)
    }
}

/// Whether a listener takes AH to an address: then it is not stepped over.
#[inline(always)]
pub fn takes_ah<T: Tables>(tables: &T, address: Address) -> bool {
    live(tables).is_ok_and(|live| live.takes_ah(tables, address))
}

/// The reason for giving up on a packet that was not understood: `reason` if it may be a service's that this node is live
/// for, else the host's.
#[inline(always)]
pub fn not_understood<T: Tables>(tables: &T, destination: Address, reason: Reason) -> Reason {
    let live = match live(tables) {
        Ok(live) => live,
        Err(reason) => return reason,
    };
    let Some(entry) = live.address(tables, destination) else { return Reason::NotService };
    match live_word::check(tables, entry.live) {
        Ok(()) => reason,
        Err(not_live) => not_live,
    }
}
