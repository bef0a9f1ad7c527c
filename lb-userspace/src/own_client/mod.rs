//! This host as a client of its own services: what that asks of its policy rules and routes, as desired, observed and the plan between
//! the two. Pure: `effects::own_client` looks and acts.
//!
//! What the host's sockets send to a service's address is routed to a veth pair, [`OUTER`] and [`INNER`], by whose inner end it comes in
//! again, at the program (see `lb_common::own_client` for the packets). A master holds that address, so it is in the table of local
//! addresses, which is asked first: a rule of ours has to come before it, and it is for what this host's own sockets send alone.

pub mod routes;
pub mod rules;

use std::collections::BTreeMap;
use std::net::IpAddr;

use crate::config::Config;

/// The end that services' addresses are routed to.
pub const OUTER: &str = "fwself0";
/// The end that the program is at.
pub const INNER: &str = "fwself1";
/// The table of those routes.
pub const TABLE: u32 = 112;
/// What our rules and routes bear: `ip rule` and `ip route` show `proto 112`. Only those that do are taken away.
pub const PROTOCOL: u8 = 112;
/// The place of the rule that leads there: as far in front as can be.
pub const PRIORITY: u32 = 1;
/// The place that the rule for local addresses is moved to, if it was the first one: right behind, so that none that an operator
/// made comes to be asked before it.
pub const LOCAL_PRIORITY: u32 = 2;

/// The services' addresses that this host is to reach by itself, and of each the first backend, which the source address of its
/// connections is chosen for. `is_master` says so of virtual routers: packets to services that another node has must go there.
pub fn addresses_here(config: &Config, is_master: impl Fn(&str) -> bool) -> BTreeMap<IpAddr, Option<IpAddr>> {
    let mut here = BTreeMap::new();
    if !config.dataplane.own_client {
        return here;
    }
    for service in config.services.iter().filter(|it| it.vrrp.as_deref().is_none_or(&is_master)) {
        let backend = service.backends.first().map(|backend| backend.address);
        for listener in &service.listeners {
            let known: &mut Option<IpAddr> = here.entry(listener.address).or_default();
            *known = known.or(backend);
        }
    }
    here
}

/// The families that the rules are moved for: those of services.
pub fn families(config: &Config) -> [bool; 2] {
    [true, false].map(|is_ipv4| {
        let mut listeners = config.services.iter().flat_map(|service| &service.listeners);
        config.dataplane.own_client && listeners.any(|listener| listener.address.is_ipv4() == is_ipv4)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(own_client: bool) -> Config {
        let service = |name: &str, listen: &str, rest: &str, backend: &str| {
            format!(
                "[[service]]\nname = \"{name}\"\nlisten = [{listen}]\n{rest}[[service.backend]]\naddress = \"{backend}\"\n"
            )
        };
        let text = format!(
            "[dataplane]\ninterfaces = [\"eth0\"]\nhash_seed = \"x\"\nown_client = {own_client}\n[[vrrp]]\nname = \"p\"\n\
             interface = \"eth0\"\nvrid = 5\naddresses = [\"192.0.2.1\", \"192.0.2.3\"]\n{}{}{}",
            service("a", "\"tcp://192.0.2.1:80\"", "vrrp = \"p\"\n", "10.0.0.1"),
            service("b", "\"tcp://192.0.2.2:80\", \"tcp://192.0.2.2:81\"", "", "10.0.0.2"),
            service("c", "\"tcp://192.0.2.3:80\"", "vrrp = \"p\"\n", "10.0.0.3"),
        );
        crate::config::parse(&text, "host").expect("it is valid").0
    }

    #[test]
    fn only_what_is_live_here_is_reached_by_the_pair() {
        let here = |own, master| {
            let addresses = addresses_here(&config(own), |_| master);
            addresses.iter().map(|(to, by)| format!("{to} {}", by.expect("it has one"))).collect::<Vec<_>>()
        };
        assert_eq!(here(true, true), ["192.0.2.1 10.0.0.1", "192.0.2.2 10.0.0.2", "192.0.2.3 10.0.0.3"]);
        assert_eq!(here(true, false), ["192.0.2.2 10.0.0.2"]);
        assert_eq!(here(false, true), [""; 0]);
    }

    #[test]
    fn rules_are_moved_for_families_of_services() {
        assert_eq!(families(&config(true)), [true, false]);
        assert_eq!(families(&config(false)), [false, false]);
    }
}
