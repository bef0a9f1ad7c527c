//! What would keep this host from being a client of its own services, where it is to be one.

use super::{Finding, finding};
use crate::cli::doctor::host::Host;
use crate::config::{Config, Forwarding};
use crate::own_client::{INNER, OUTER};

const CHECK: &str = "own-client";
/// Values of `rp_filter`.
const OFF: u8 = 0;
const STRICT: u8 = 1;

pub(super) fn findings(host: &Host, config: &Config) -> Vec<Finding> {
    if !config.dataplane.own_client {
        return Vec::new();
    }
    let mut all = Vec::new();
    if let Some(value) = host.rp_filter.filter(|value| *value != OFF) {
        let what = format!(
            "net.ipv4.conf.all.rp_filter is {value}, on {INNER} too: what this host sends to other ports of services' addresses is \
             dropped there, since it comes from an address of this host"
        );
        all.push(finding(CHECK, what, "sysctl -w net.ipv4.conf.all.rp_filter=0"));
    }
    for (name, interface) in &host.interfaces {
        let strictest = interface.rp_filter.map(|value| value.max(host.rp_filter.unwrap_or(OFF)));
        if strictest == Some(STRICT) && answers_directly(config) {
            let what = format!(
                "{name} takes no packet whose source is routed elsewhere (rp_filter): what direct and tunnel backends answer this \
                 host itself comes from services' addresses, which are routed to {OUTER}"
            );
            all.push(finding(CHECK, what, format!("sysctl -w net/ipv4/conf/{name}/rp_filter=2")));
        }
        if let Some(vrf) = &interface.vrf {
            let what = format!(
                "{name} belongs to the VRF {vrf}: what backends answer this host itself does not reach sockets outside of it"
            );
            all.push(finding(CHECK, what, format!("ip link set {name} nomaster")));
        }
    }
    for (is_ipv4, why) in &host.rules_in_the_way {
        let family = if *is_ipv4 { "-4" } else { "-6" };
        all.push(finding(CHECK, why.clone(), format!("ip {family} rule show")));
    }
    if host.foreign_pair {
        let what = format!("there is an interface {OUTER} that Fairway has not made");
        all.push(finding(CHECK, what, format!("ip link del {OUTER}")));
    }
    all
}

/// Whether this host's own flows get source ports.
pub(super) fn gives_ports(config: &Config) -> bool {
    config.dataplane.own_client && has(config, |method| method == Forwarding::Nat)
}

/// Whether some backend answers clients itself, over IPv4, which alone has the filter.
fn answers_directly(config: &Config) -> bool {
    has(config, |method| matches!(method, Forwarding::Direct | Forwarding::Tunnel))
}

fn has(config: &Config, wanted: impl Fn(Forwarding) -> bool) -> bool {
    let is_v4 = |service: &&crate::config::Service| service.listeners.iter().any(|it| it.address.is_ipv4());
    let services = config.services.iter().filter(is_v4);
    services.flat_map(|service| &service.backends).any(|backend| wanted(backend.forwarding))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::doctor::host::Interface;

    fn config(rest: &str) -> Config {
        let text = format!(
            "[dataplane]\ninterfaces = [\"eth0\"]\nown_client = true\n[[service]]\nname = \"w\"\n\
             listen = [\"tcp://203.0.113.10:80\"]\n{rest}[[service.backend]]\naddress = \"10.0.0.11\"\n"
        );
        crate::config::parse(&text, "lb1").expect("the sample is valid").0
    }

    fn host(all: u8, eth0: u8, vrf: Option<&str>) -> Host {
        let interface = Interface { rp_filter: Some(eth0), vrf: vrf.map(str::to_owned), ..Interface::default() };
        Host { rp_filter: Some(all), interfaces: [("eth0".to_owned(), interface)].into(), ..Host::default() }
    }

    #[test]
    fn what_would_stop_it_is_found_once_with_its_fix() {
        let fixes =
            |host: &Host, config: &Config| findings(host, config).into_iter().map(|it| it.fix).collect::<Vec<_>>();
        let direct = config("");
        let loosened = "sysctl -w net/ipv4/conf/eth0/rp_filter=2";
        let of_all = "sysctl -w net.ipv4.conf.all.rp_filter=0";
        assert_eq!(fixes(&host(0, 2, None), &direct), [""; 0]);
        assert_eq!(fixes(&host(0, 1, None), &direct), [loosened]);
        assert_eq!(fixes(&host(1, 0, None), &direct), [of_all, loosened]);
        assert_eq!(fixes(&host(1, 2, None), &direct), [of_all]);
        assert_eq!(fixes(&host(0, 0, Some("blue")), &direct), ["ip link set eth0 nomaster"]);
        assert_eq!(fixes(&host(0, 1, None), &config("forwarding = \"nat\"\n")), [""; 0], "answers come by the pair");
        let in_the_way =
            Host { rules_in_the_way: vec![(false, "priority 1".to_owned())], foreign_pair: true, ..host(0, 2, None) };
        assert_eq!(fixes(&in_the_way, &direct), ["ip -6 rule show", "ip link del fwself0"]);
        let mut off = direct;
        off.dataplane.own_client = false;
        assert_eq!(fixes(&host(1, 1, Some("blue")), &off), [""; 0]);
    }

    #[test]
    fn ports_are_given_under_nat_alone() {
        assert!(gives_ports(&config("forwarding = \"nat\"\n")) && !gives_ports(&config("")));
    }
}
