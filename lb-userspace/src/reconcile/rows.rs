//! Who has which row: for counters, for next hops, and for naming a backend that a packet went to.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use crate::config::Listener;

/// The backend of a listener that a row leads to.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct RowOwner {
    /// Name of the service.
    pub service: Arc<str>,
    /// The backend's identity in the lookup table.
    pub identity: Arc<str>,
    /// The listener.
    pub listener: Listener,
}

/// All rows in use.
#[derive(Clone, Debug, Default)]
pub struct RowIndex {
    owners: BTreeMap<u32, RowOwner>,
    by_address: BTreeMap<IpAddr, Vec<u32>>,
}

impl RowIndex {
    /// Adds a row that leads to `address`.
    pub fn insert(&mut self, number: u32, owner: RowOwner, address: IpAddr) {
        self.owners.insert(number, owner);
        self.by_address.entry(address).or_default().push(number);
    }

    /// Who has a row.
    pub fn get(&self, number: u32) -> Option<&RowOwner> {
        self.owners.get(&number)
    }

    /// The rows that lead to an address.
    pub fn to(&self, address: IpAddr) -> &[u32] {
        self.by_address.get(&address).map_or(&[], Vec::as_slice)
    }

    /// All rows in use.
    pub fn iter(&self) -> impl Iterator<Item = (u32, &RowOwner)> {
        self.owners.iter().map(|(&number, owner)| (number, owner))
    }
}
