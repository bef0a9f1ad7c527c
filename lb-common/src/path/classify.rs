//! Whose packet is it? The perfect hash (hash and displace) of listeners, and its mirror image for replies.
//!
//! A look-up is two array reads: the displacement of the key's bucket, then the one entry where the key can be. User
//! space builds the tables (`reconcile::perfect_hash`) in the half that is not live, and flips one word.
//!
//! What is not there by its own port may be of a listener that has several: the entry of port 0 names the ranges of the address, each of
//! which has an entry by its first port, and may be a listener of every port itself. The kernel asks all of that by functions of their own
//! ([`Tables::listener`], [`Tables::of_several`]), which its verifier walks once; a plain packet ([`super::plain`]) asks for the one entry.

use super::{Tables, live_word};
use crate::abi::{HALF_ENTRIES, Reverse, Root, Service, reverse_flags, root_flags, service_flags};
use crate::address::Address;
use crate::counters::Reason;
use crate::flow::Flow;
use crate::hash;
use crate::limits::RANGE_LISTS;
use crate::packet::protocol;
use crate::packet::transport::{destination_port_wire, source_port_wire};

/// The half of the tables that is live, from one load of the root word: all look-ups of a packet use the same half.
#[derive(Clone, Copy)]
pub struct Live<'a> {
    root: &'a Root,
    word: u64,
}

/// No entry: beyond all of them.
pub const NO_ENTRY: u32 = u32::MAX;

/// The index of the listener that a port belongs to, over both halves, or [`NO_ENTRY`]: of its own, else of a range with it, else of every
/// port. `word` is the root's, as the packet's look-ups began with it.
#[inline(always)]
pub fn listener<T: Tables>(tables: &T, word: u64, address: Address, port_wire: u16, protocol: u8) -> u32 {
    let Some(root) = tables.root() else { return NO_ENTRY };
    let live = Live { root, word };
    if let Some((index, _)) = live.service_at(tables, address, port_wire, protocol, service_flags::USED) {
        return index;
    }
    if !live.has(root_flags::WILDCARD) {
        return NO_ENTRY;
    }
    live.service_of_several(tables, address, port_wire, protocol).unwrap_or(NO_ENTRY)
}

/// The index of the entry of translated backends that has a port with others, over both halves, or [`NO_ENTRY`]. `word` as above.
#[inline(always)]
pub fn of_several<T: Tables>(tables: &T, word: u64, backend: Address, port_wire: u16, protocol: u8) -> u32 {
    let Some(root) = tables.root() else { return NO_ENTRY };
    Live { root, word }.reverse_of_several(tables, backend, port_wire, protocol).unwrap_or(NO_ENTRY)
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

    /// The interface that this host's own packets to services come in by, if it is to be their client.
    #[inline(always)]
    pub fn own_client(&self) -> Option<u32> {
        // SAFETY: a reference is valid for reads. Volatile because user space replaces the word while packets flow.
        let interface = unsafe { core::ptr::read_volatile(&self.root.own_client) } as u32;
        (interface != 0).then_some(interface)
    }

    /// The listener that a flow goes to: of its port, else of a range with it, else of every port.
    #[inline(always)]
    pub fn service<T: Tables>(&self, tables: &'a T, flow: &Flow) -> Option<&'a Service> {
        let port_wire = destination_port_wire(flow.ports_wire);
        tables.service(tables.listener(self.word, flow.destination, port_wire, flow.protocol))
    }

    /// The entry that is a listener's own if there is that listener: whose it is, who asks has to see.
    #[inline(always)]
    pub fn candidate<T: Tables>(
        &self,
        tables: &'a T,
        address: Address,
        port_wire: u16,
        protocol: u8,
    ) -> Option<&'a Service> {
        tables.service_in(self.half(), self.entry(tables, address, port_wire, protocol)?)
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
        tables.reverse(tables.of_several(self.word, backend, port_wire, protocol))
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
        self.service_at(tables, address, port_wire, protocol, service_flags::USED).map(|(_, service)| service)
    }

    /// Where in this half the entry of a listener is, if there is one.
    #[inline(always)]
    fn entry<T: Tables>(&self, tables: &'a T, address: Address, port_wire: u16, protocol: u8) -> Option<u32> {
        let hash = hash::endpoint(self.root.service_seed[self.half() as usize], address, port_wire, protocol);
        let displacement = tables.displacements(self.half())?.services[hash::bucket(hash)];
        Some(hash::entry(hash, displacement) as u32)
    }

    /// The entry, if it has one of these flags, and its index over both halves.
    #[inline(always)]
    fn service_at<T: Tables>(
        &self,
        tables: &'a T,
        address: Address,
        port_wire: u16,
        protocol: u8,
        flags: u8,
    ) -> Option<(u32, &'a Service)> {
        let entry = self.entry(tables, address, port_wire, protocol)?;
        let service = tables.service_in(self.half(), entry)?;
        let matches = service.address == address
            && service.port_wire == port_wire
            && service.protocol == protocol
            && service.flags & flags != 0;
        matches.then_some((over_both(self.half(), entry), service))
    }

    #[inline(always)]
    fn reverse_entry<T: Tables>(
        &self,
        tables: &'a T,
        backend: Address,
        port_wire: u16,
        protocol: u8,
    ) -> Option<&'a Reverse> {
        self.reverse_at(tables, backend, port_wire, protocol, reverse_flags::USED).map(|(_, reverse)| reverse)
    }

    /// The entry, if it has one of these flags, and its index over both halves.
    #[inline(always)]
    fn reverse_at<T: Tables>(
        &self,
        tables: &'a T,
        backend: Address,
        port_wire: u16,
        protocol: u8,
        flags: u8,
    ) -> Option<(u32, &'a Reverse)> {
        let hash = hash::endpoint(self.root.reverse_seed[self.half() as usize], backend, port_wire, protocol);
        let displacement = tables.displacements(self.half())?.reverse[hash::bucket(hash)];
        let index = over_both(self.half(), hash::entry(hash, displacement) as u32);
        let reverse = tables.reverse(index)?;
        let matches = reverse.backend == backend
            && reverse.backend_port_wire == port_wire
            && reverse.protocol == protocol
            && reverse.flags & flags != 0;
        matches.then_some((index, reverse))
    }

    /// The first port of the range of a list that holds a port. `list` is one more than its index in this half; 0: there is none.
    #[inline(always)]
    fn first_of<T: Tables>(&self, tables: &'a T, list: u16, port_wire: u16) -> Option<u16> {
        let index = (list as u32).checked_sub(1)? + self.half() * RANGE_LISTS as u32;
        tables.ranges(index)?.first_of(port_wire)
    }

    #[inline(always)]
    fn service_of_several<T: Tables>(
        &self,
        tables: &'a T,
        address: Address,
        port_wire: u16,
        protocol: u8,
    ) -> Option<u32> {
        use service_flags::{DIRECTORY, USED};
        let (index, every) = self.service_at(tables, address, 0, protocol, USED | DIRECTORY)?;
        if let Some(first) = self.first_of(tables, every.ranges, port_wire) {
            return self.service_at(tables, address, first, protocol, USED).map(|(index, _)| index);
        }
        (every.flags & USED != 0).then_some(index)
    }

    #[inline(always)]
    fn reverse_of_several<T: Tables>(
        &self,
        tables: &'a T,
        backend: Address,
        port_wire: u16,
        protocol: u8,
    ) -> Option<u32> {
        use reverse_flags::{DIRECTORY, USED};
        let (index, every) = self.reverse_at(tables, backend, 0, protocol, USED | DIRECTORY)?;
        if let Some(first) = self.first_of(tables, every.ranges, port_wire) {
            return self.reverse_at(tables, backend, first, protocol, USED).map(|(index, _)| index);
        }
        (every.flags & USED != 0).then_some(index)
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

/// The index of a half's entry over both halves.
#[inline(always)]
pub fn over_both(half: u32, entry: u32) -> u32 {
    half * HALF_ENTRIES as u32 + entry
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
