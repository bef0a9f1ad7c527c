//! Which slot of its service's lookup table does a flow fall on? One hash, of that part of the flow which the service says: its
//! *selection key*.
//!
//! Mostly that is the whole flow (client, both ports), so that the connections of one client spread. A service whose clients
//! shall stay with one backend hashes less: the client's address, or the leading bits of it, over all listeners alike; or the
//! service's own address. No state is kept for this, and every node of a cluster agrees.

use crate::abi::{Service, selection_key, service_flags};
use crate::flow::Flow;
use crate::hash;
use crate::packet::transport::source_port_wire;

/// The slot of a flow, by its place in the slots map.
#[inline(always)]
pub fn slot(service: &Service, flow: &Flow) -> u32 {
    let hash = match service.flags & service_flags::KEYED {
        0 => hash::flow(service.seed, flow.source, flow.ports_wire),
        _ => keyed(service, flow),
    };
    at(service, hash)
}

/// The slot of a flow by all of it, whatever the service's key.
#[inline(always)]
pub fn of_flow(service: &Service, flow: &Flow) -> u32 {
    at(service, hash::flow(service.seed, flow.source, flow.ports_wire))
}

#[inline(always)]
fn at(service: &Service, hash: u64) -> u32 {
    // Masked because a shift of 64 and more is undefined; a shift of 63 is a table of two slots.
    service.first_slot.wrapping_add((hash >> (service.shift & 63)) as u32)
}

/// The hash of a part of the flow.
#[inline(always)]
fn keyed(service: &Service, flow: &Flow) -> u64 {
    let address = match service.key & selection_key::DESTINATION {
        0 => flow.source,
        _ => flow.destination,
    };
    let port = match service.key & selection_key::PORT {
        0 => 0,
        _ => source_port_wire(flow.ports_wire) as u32,
    };
    hash::flow(service.seed, address.prefix(service.key_prefix), port)
}

#[cfg(test)]
mod tests {
    use core::net::IpAddr;

    use super::*;

    const SHIFT: u32 = 64 - 14;

    fn service(key: u8, key_prefix: u8) -> Service {
        let flags = service_flags::USED | service_flags::KEYED;
        Service { flags, key, key_prefix, seed: 7, shift: SHIFT, first_slot: 1 << 20, ..Service::default() }
    }

    fn flow(source: &str, source_port: u16, destination: &str, port: u16) -> Flow {
        let address = |text: &str| text.parse::<IpAddr>().expect("an address").into();
        let ports_wire = crate::packet::transport::ports_wire(source_port.to_be(), port.to_be());
        Flow { source: address(source), destination: address(destination), ports_wire, protocol: 6 }
    }

    #[test]
    fn without_a_key_of_its_own_every_part_of_a_flow_counts() {
        let service = Service { flags: service_flags::USED, ..service(0, 0) };
        let one = slot(&service, &flow("192.0.2.1", 1000, "198.51.100.1", 80));
        assert_ne!(one, slot(&service, &flow("192.0.2.1", 1001, "198.51.100.1", 80)));
        assert_ne!(one, slot(&service, &flow("192.0.2.2", 1000, "198.51.100.1", 80)));
        assert_ne!(one, slot(&service, &flow("192.0.2.1", 1000, "198.51.100.1", 81)));
    }

    #[test]
    fn by_source_only_the_client_counts() {
        let service = service(0, 128);
        let one = slot(&service, &flow("192.0.2.1", 1000, "198.51.100.1", 80));
        assert_eq!(one, slot(&service, &flow("192.0.2.1", 2000, "198.51.100.9", 443)));
        assert_ne!(one, slot(&service, &flow("192.0.2.2", 1000, "198.51.100.1", 80)));
        assert!(one >= service.first_slot);
    }

    #[test]
    fn by_source_and_port_the_service_does_not_count() {
        let service = service(selection_key::PORT, 128);
        let one = slot(&service, &flow("192.0.2.1", 1000, "198.51.100.1", 80));
        assert_eq!(one, slot(&service, &flow("192.0.2.1", 1000, "198.51.100.9", 443)));
        assert_ne!(one, slot(&service, &flow("192.0.2.1", 1001, "198.51.100.1", 80)));
    }

    #[test]
    fn by_prefix_the_clients_of_a_network_are_one() {
        let v4 = service(0, 96 + 24);
        let one = slot(&v4, &flow("192.0.2.1", 1000, "198.51.100.1", 80));
        assert_eq!(one, slot(&v4, &flow("192.0.2.254", 1000, "198.51.100.1", 80)));
        assert_ne!(one, slot(&v4, &flow("192.0.3.1", 1000, "198.51.100.1", 80)));
        let v6 = service(0, 56);
        let one = slot(&v6, &flow("2001:db8:0:100::1", 1000, "2001:db8::1", 80));
        assert_eq!(one, slot(&v6, &flow("2001:db8:0:1ff::2", 1000, "2001:db8::1", 80)));
        assert_ne!(one, slot(&v6, &flow("2001:db8:0:200::1", 1000, "2001:db8::1", 80)));
    }

    #[test]
    fn by_destination_only_the_address_of_the_service_counts() {
        let service = service(selection_key::DESTINATION, 128);
        let one = slot(&service, &flow("192.0.2.1", 1000, "198.51.100.1", 80));
        assert_eq!(one, slot(&service, &flow("192.0.2.2", 2000, "198.51.100.1", 443)));
        assert_ne!(one, slot(&service, &flow("192.0.2.1", 1000, "198.51.100.2", 80)));
    }
}
