//! A client on all segments: where it sends what it has for a virtual address, by what it was told by ARP and its switch.

use std::collections::BTreeMap;
use std::net::IpAddr;

/// Announcements that are lost in a row, at most: the timetable of announcements is made for a few, not for all.
const MOST_LOST_IN_A_ROW: u32 = 3;

#[derive(Default)]
pub struct Client {
    neighbours: BTreeMap<IpAddr, [u8; 6]>,
    /// Which node the switches learned a MAC address from.
    ports: BTreeMap<[u8; 6], usize>,
    /// Announcements of an address that were lost in a row.
    lost: BTreeMap<IpAddr, u32>,
}

impl Client {
    /// The switches see a frame.
    pub fn frame(&mut self, source: [u8; 6], node: usize) {
        self.ports.insert(source, node);
    }

    /// A gratuitous ARP or a neighbour advertisement.
    pub fn announced(&mut self, mac: [u8; 6], addresses: &[IpAddr], node: usize) {
        self.frame(mac, node);
        for address in addresses {
            self.neighbours.insert(*address, mac);
        }
    }

    /// Which node gets what is sent to the address.
    pub fn sends_to(&self, address: IpAddr) -> Option<usize> {
        self.ports.get(self.neighbours.get(&address)?).copied()
    }

    /// Whether an announcement of these addresses is lost, if it is up to chance.
    pub fn loses(&mut self, chance: bool, addresses: &[IpAddr]) -> bool {
        let in_a_row = addresses.iter().filter_map(|address| self.lost.get(address)).max().copied().unwrap_or(0);
        let lost = chance && in_a_row < MOST_LOST_IN_A_ROW;
        for address in addresses {
            let count = self.lost.entry(*address).or_default();
            *count = if lost { *count + 1 } else { 0 };
        }
        lost
    }
}
