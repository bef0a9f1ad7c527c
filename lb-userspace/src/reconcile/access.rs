//! Where the access rules of a service lie, and what the tables shall hold of them.

use lb_common::abi::Access as Entry;
use lb_common::access::Limit;

use crate::config::{Access, Rate, Service as ServiceConfig};

/// Where a service's access rules lie.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Place {
    /// Index of the entry.
    pub index: u16,
    /// The number of its set of prefixes; 0: it has none.
    pub set: u32,
    /// The number of its set of clients' buckets.
    pub clients: u32,
}

/// What the entry of a service shall hold.
pub fn entry(config: &ServiceConfig, place: Place) -> Entry {
    let Access { allow, rate_limit, .. } = &config.access;
    let limit = |rate: Option<Rate>| rate.map_or(Limit::default(), |rate| Limit::new(rate.per_second, rate.burst));
    let address = config.listeners.first().map(|listener| listener.address);
    let length = rate_limit.zip(address).map_or(0, |(limit, address)| limit.prefixes.of(address));
    Entry {
        prefixes: Entry::pair(place.set, u32::from(!allow.is_empty())),
        limit: limit(rate_limit.and_then(|it| it.service)),
        clients: Entry::pair(place.clients, u32::from(length)),
        client_limit: limit(rate_limit.and_then(|it| it.client)),
        ..Entry::default()
    }
}
