//! Local ports, and identifiers of echo requests, that probes are under way from. The packet path looks here whose probe a packet
//! answers; several targets may share one service's address, so a number belongs to one probe at a time.
//!
//! The map is the register: a number is claimed by one compare-and-exchange, from any thread.

use std::sync::Arc;

use lb_common::limits::SLOTS_PER_ELEMENT;
use lb_common::probe::{self, Kind};

use crate::effects::dataplane::MappedArray;

/// The map, mapped.
pub struct Ports(MappedArray<[u32; SLOTS_PER_ELEMENT]>);

/// A number that is claimed; given back when dropped. Keep it for as long as the socket.
pub struct Claim {
    ports: Arc<Ports>,
    place: u32,
}

impl Ports {
    /// Over the map `PROBES` of the object.
    pub fn new(array: MappedArray<[u32; SLOTS_PER_ELEMENT]>) -> Self {
        Self(array)
    }

    /// Notes that a target is asked from a local number; `None` when a probe is under way from there already.
    pub fn claim(self: &Arc<Self>, kind: Kind, number: u16, target: u32) -> Option<Claim> {
        let place = probe::place(kind, number);
        self.exchange(place, 0, target + 1).then(|| Claim { ports: self.clone(), place })
    }

    fn exchange(&self, place: u32, old: u32, new: u32) -> bool {
        let (element, offset) = (place as usize / SLOTS_PER_ELEMENT, place as usize % SLOTS_PER_ELEMENT * 4);
        self.0.exchange_u32(element, offset, old, new).expect("the map has every place")
    }

    fn clear(&self, place: u32) {
        let (element, offset) = (place as usize / SLOTS_PER_ELEMENT, place as usize % SLOTS_PER_ELEMENT * 4);
        self.0.store_u32(element, offset, 0).expect("the map has every place");
    }
}

impl Claim {
    /// The number.
    pub fn number(&self) -> u16 {
        self.place as u16
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.ports.clear(self.place);
    }
}

impl std::fmt::Debug for Ports {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Ports")
    }
}

impl std::fmt::Debug for Claim {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Claim({:#x})", self.place)
    }
}
