//! How large the packet path's tables are made for a configuration and its successors.

use crate::config::{Config, Service};
use crate::effects::dataplane::object::Sizes;
use crate::effects::dataplane::preallocated::Preallocated;
use crate::reconcile::stateful;

/// Room for a configuration, and for what it may become.
pub(super) fn of(config: &Config) -> Sizes {
    let slots = config.services.iter().map(|service| u64::from(service.lookup_table_size)).sum();
    let members = |service: &Service| service.backends.len() + usize::from(service.sorry.is_some());
    let rows = config.services.iter().map(|service| (service.listeners.len() * members(service)) as u64).sum();
    let dataplane = &config.dataplane;
    Sizes {
        connections: dataplane.stateful_table_capacity,
        translations: dataplane.translation_table_capacity,
        preallocated: preallocated(config),
        ..Sizes::for_need(slots, rows, dataplane.flow_table_capacity)
    }
}

/// Those of stateful services, in which each of their flows has a record.
fn preallocated(config: &Config) -> Preallocated {
    let mut preallocated = Preallocated::default();
    for service in config.services.iter().filter(|service| stateful::rule_of(service.scheduler).is_some()) {
        let is_v6 = service.listeners.iter().any(|listener| listener.address.is_ipv6());
        preallocated.v4 |= !is_v6;
        preallocated.v6 |= is_v6;
    }
    preallocated
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::parse;

    fn of_file(services: &[(&str, &str)]) -> Preallocated {
        let service = |(at, (listen, keys)): (usize, &(&str, &str))| {
            let backend = if listen.contains('[') { "2001:db8::1" } else { "10.0.0.1" };
            format!(
                "[[service]]\nname = \"s{at}\"\nlisten = [\"{listen}\"]\n{keys}\n[[service.backend]]\naddress = \"{backend}\"\n"
            )
        };
        let services: String = services.iter().enumerate().map(service).collect();
        let text = format!("[dataplane]\ninterfaces = [\"eth0\"]\nsource_nat_addresses = [\"192.0.2.9\"]\n{services}");
        preallocated(&parse(&text, "host").unwrap_or_else(|problems| panic!("{problems:#?}\n{text}")).0)
    }

    #[test]
    fn the_tables_of_stateful_services_take_their_memory_at_once() {
        let none = Preallocated::default();
        let maglev = ("tcp://192.0.2.1:80", "scheduler = \"maglev\"");
        let least = ("tcp://192.0.2.1:81", "scheduler = \"least-connection\"");
        let turns = ("tcp://[2001:db8::80]:80", "scheduler = \"round-robin\"");
        let exceptions = ("udp://192.0.2.1:53", "udp = \"flows\"");
        let full_nat = ("tcp://192.0.2.1:82", "forwarding = \"full-nat\"");
        for (services, expected) in [
            (&[maglev, exceptions, full_nat][..], none),
            (&[maglev, least], Preallocated { v4: true, v6: false }),
            (&[turns], Preallocated { v4: false, v6: true }),
            (&[turns, least], Preallocated { v4: true, v6: true }),
        ] {
            assert_eq!(of_file(services), expected, "{services:?}");
        }
    }
}
