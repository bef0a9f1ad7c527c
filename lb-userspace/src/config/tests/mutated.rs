//! No text makes the parser or the renderings panic.

use super::{
    Condition, Config, EXAMPLE, Forwarding, Service, Severity, VirtualRouter, VrrpVersion, parse, render, reports,
};
use proptest::prelude::*;
use std::collections::HashSet;
use std::fmt::Write;
use std::hash::Hash;

#[test]
fn what_is_mutated_is_valid() {
    let config = super::accepted(&rich());
    assert_eq!((config.services.len(), config.virtual_routers.len()), (2, 2));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn no_mutation_of_a_valid_file_makes_parse_panic(edits in prop::collection::vec(edit(), 1..6)) {
        let mut text: Vec<char> = rich().chars().collect();
        for (at, remove, insert) in edits {
            let at = at.index(text.len() + 1);
            let end = (at + remove).min(text.len());
            text.splice(at..end, insert.chars());
        }
        survives(&text.into_iter().collect::<String>());
    }

    #[test]
    fn a_line_more_or_less_keeps_every_promise(
        lost in any::<prop::sample::Index>(),
        doubled in any::<prop::sample::Index>(),
        at in any::<prop::sample::Index>(),
    ) {
        let rich = rich();
        let mut lines: Vec<&str> = rich.lines().collect();
        let doubled = *doubled.get(&lines);
        lines.remove(lost.index(lines.len()));
        lines.insert(at.index(lines.len()), doubled);
        survives(&lines.join("\n"));
    }

    #[test]
    fn no_text_makes_parse_panic(text in any::<String>()) {
        survives(&text);
    }

    #[test]
    fn whole_lines_may_be_lost_doubled_and_moved(order in prop::collection::vec(any::<prop::sample::Index>(), 0..40)) {
        let rich = rich();
        let lines: Vec<&str> = rich.lines().collect();
        let text = order.iter().fold(String::new(), |mut text, index| {
            writeln!(text, "{}", index.get(&lines)).unwrap();
            text
        });
        survives(&text);
    }
}

/// Place, characters removed, text inserted.
fn edit() -> impl Strategy<Value = (prop::sample::Index, usize, String)> {
    let pieces = prop::sample::select(vec![
        "",
        "\"",
        "[",
        "]",
        "[[service]]\n",
        "[[service.backend]]\n",
        "=",
        "\n",
        "{",
        "0",
        "-1",
        "*",
        "é",
        "\u{0}",
        "port = 8\n",
        "forwarding = \"nat\"\n",
        "\"tcp://[2001:db8::1]:*\",",
        "99999999999999999999999",
        "1979-05-27",
        "true",
        ".",
        "\\u",
        "[[vrrp]]\n",
        "[[vrrp.track]]\n",
        "type = \"script\"\n",
        "version = 2\n",
        "fault = true\n",
        "fe80::1",
        "/0",
    ]);
    (any::<prop::sample::Index>(), 0usize..8, pieces.prop_map(str::to_owned))
}

/// The example, and a service that uses what the example does not.
fn rich() -> String {
    let nat = r#"
[[service]]
name = "dns"
listen = ["udp://[2001:db8::53]:53", "tcp://[2001:db8::53]:53", "tcp://[2001:db8::53]:*"]
forwarding = "nat"
udp = "flows"
nat_exclude = ["fd00::/8"]
allow = ["2001:db8::/32"]
deny = ["2001:db8:bad::/48"]
backend = [{ address = "2001:db8:1::1" }, { name = "b", address = "2001:db8:1::2", weight = 0 }]
"#;
    format!("{EXAMPLE}{nat}{}", super::vrrp::EVERY_KEY)
}

/// Parses, and renders whatever is said; what is accepted keeps the promises of the model.
fn survives(text: &str) {
    let result = parse(text, "host");
    if let Ok((config, warnings)) = &result {
        assert!(warnings.iter().all(|warning| warning.severity() == Severity::Warning));
        keeps_its_promises(config);
    }
    let (Ok((_, said)) | Err(said)) = result;
    render(&said, text, "f.toml", true);
    assert_eq!(reports(&said, text, "f.toml").len(), said.len());
}

fn keeps_its_promises(config: &Config) {
    let services = &config.services;
    assert!(services.is_empty() || !config.dataplane.interfaces.is_empty());
    assert!(all_differ(services.iter().map(|service| &service.name)));
    let held = |service: &Service, router: &VirtualRouter| {
        let mut addresses = service.listeners.iter().map(|listener| listener.address);
        let all = || router.addresses.iter().chain(&router.excluded_addresses);
        addresses.all(|address| all().any(|net| net.addr() == address))
    };
    for (service, followed) in services.iter().filter_map(|service| Some((service, service.vrrp.as_ref()?))) {
        let router = config.virtual_routers.iter().find(|router| router.name == *followed).unwrap();
        assert!(held(service, router));
    }
    assert!(all_differ(config.virtual_routers.iter().map(|router| &router.name)));
    assert!(all_differ(config.virtual_routers.iter().map(|r| (&r.interface, r.vrid, r.is_ipv4()))));
    config.virtual_routers.iter().for_each(router_keeps_its_promises);
    assert!(all_differ(services.iter().flat_map(|service| &service.listeners)));
    for service in services {
        assert!(!service.listeners.is_empty() && service.lookup_table_size.is_power_of_two());
        assert!(all_differ(service.backends.iter().map(|backend| &backend.name)));
        let addresses = service.listeners.iter().map(|listener| listener.address);
        let mut addresses = addresses.chain(service.backends.iter().map(|backend| backend.address));
        let first = addresses.next().unwrap();
        assert!(addresses.all(|address| address.is_ipv4() == first.is_ipv4()));
        for backend in &service.backends {
            assert!(backend.port.is_none() || backend.forwarding == Forwarding::Nat);
        }
    }
}

fn router_keeps_its_promises(router: &VirtualRouter) {
    let interval = router.advertisement_interval;
    let addresses = router.addresses.iter().map(|net| net.addr());
    assert!((1..=255).contains(&router.addresses.len()) && router.vrid > 0 && router.priority > 0);
    assert!(addresses.chain(router.unicast_peers.clone()).all(|address| address.is_ipv4() == router.is_ipv4()));
    match router.version {
        VrrpVersion::V2 => assert!(router.is_ipv4() && interval.subsec_nanos() == 0 && interval.as_secs() <= 255),
        VrrpVersion::V3 => {
            assert!(
                interval.as_millis() <= 40_950 && interval.as_nanos().is_multiple_of(10_000_000) && !interval.is_zero()
            );
            assert_eq!(router.authentication, None);
        }
    }
    assert!(all_differ(router.tracks.iter().map(|track| &track.name)));
    for track in &router.tracks {
        if let Condition::Script { command, .. } = &track.condition {
            assert!(command[0].starts_with('/'));
        }
    }
}

fn all_differ<T: Eq + Hash>(mut values: impl Iterator<Item = T>) -> bool {
    let mut seen = HashSet::new();
    values.all(|value| seen.insert(value))
}
