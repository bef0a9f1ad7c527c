//! Which listener a flow goes to, found as the packet path finds it: that of its port, else of a range that has it, else of every
//! port.

use std::collections::HashMap;
use std::net::IpAddr;

use foldhash::fast::RandomState;

use crate::config::{Listener, Ports, Protocol};

/// Listeners, each with something of its own.
#[derive(Clone, Debug)]
pub struct Listening<V> {
    listeners: HashMap<Listener, V, RandomState>,
    /// The ranges of an address.
    ranges: HashMap<(Protocol, IpAddr), Vec<Ports>, RandomState>,
}

impl<V> Default for Listening<V> {
    fn default() -> Self {
        Self { listeners: HashMap::default(), ranges: HashMap::default() }
    }
}

impl<V> Listening<V> {
    /// Adds a listener.
    pub fn insert(&mut self, listener: Listener, value: V) {
        let Listener { protocol, address, ports } = listener;
        if matches!(ports, Ports::Range(..)) {
            self.ranges.entry((protocol, address)).or_default().push(ports);
        }
        self.listeners.insert(listener, value);
    }

    /// The listener of a flow.
    pub fn find(&self, protocol: Protocol, address: IpAddr, port: u16) -> Option<(Listener, &V)> {
        let of = |ports| {
            let listener = Listener { protocol, address, ports };
            Some((listener, self.listeners.get(&listener)?))
        };
        let range = || {
            let ranges = self.ranges.get(&(protocol, address))?;
            of(ranges.iter().copied().find(|range| range.meets(Ports::One(port)))?)
        };
        of(Ports::One(port)).or_else(range).or_else(|| of(Ports::Every))
    }
}

impl<V> FromIterator<(Listener, V)> for Listening<V> {
    fn from_iter<I: IntoIterator<Item = (Listener, V)>>(listeners: I) -> Self {
        let mut all = Self::default();
        listeners.into_iter().for_each(|(listener, value)| all.insert(listener, value));
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_counts_before_a_range_and_a_range_before_every_port() {
        let address: IpAddr = [203, 0, 113, 10].into();
        let listener = |ports| Listener { protocol: Protocol::Tcp, address, ports };
        let all = [Ports::Every, Ports::Range(8000, 8099), Ports::One(80)].map(|ports| (listener(ports), ports));
        let all: Listening<Ports> = all.into_iter().collect();
        let found = |protocol, port| all.find(protocol, address, port).map(|(_, ports)| *ports);
        for (port, ports) in [
            (80, Ports::One(80)),
            (8000, Ports::Range(8000, 8099)),
            (8099, Ports::Range(8000, 8099)),
            (8100, Ports::Every),
        ] {
            assert_eq!(found(Protocol::Tcp, port), Some(ports), "{port}");
        }
        assert_eq!(found(Protocol::Udp, 80), None);
    }
}
