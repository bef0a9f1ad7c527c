//! What the configuration promises. Here: what a file means; `refused`: tables of (file → codes and places); `shown`:
//! how problems read; `vrrp`: virtual routers, the peer link and the hook; `mutated`: properties over broken files.

mod checks;
mod mutated;
mod quic;
mod refused;
mod shown;
mod vrrp;

use super::check::OnDown;
use super::*;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

/// The example of the reference interface, without the keys of later versions.
const EXAMPLE: &str = r#"
[node]
name = "lb1"
state_dir = "/var/lib/fairway"

[dataplane]
interfaces = ["eth0"]
mode = "auto"
flow_table_capacity = 1_048_576
hash_seed = "fairway"

[admin]
socket = "/run/fairway/admin.sock"
listen = "127.0.0.1:9910"

[[service]]
name = "web"
listen = ["tcp://203.0.113.10:80", "tcp://203.0.113.10:443"]
forwarding = "direct"
scheduler = "maglev"
vrrp = ""
idle_timeout = "15m"
lookup_table_size = 16_384
udp = "stateless"
nat_exclude = []
on_no_backend = "pass"

[[service.backend]]
name = "web1"
address = "10.0.0.11"
weight = 100
"#;

/// Line 1 of the files that [`check_cases`] makes, and what `$` and `$one` stand for there.
const HEAD: &str = "dataplane.interfaces = [\"eth0\"]\n";
const WEB: &str = "[[service]]\nname = \"web\"\nlisten = [\"tcp://203.0.113.10:80\"]\n";
const ONE: &str = "[[service.backend]]\naddress = \"10.0.0.1\"\n";

#[test]
fn the_example_means_what_it_says() {
    let (config, warnings) = parse(EXAMPLE, "host").unwrap();
    assert_eq!(warnings, []);
    assert_eq!(config.node, Node { name: "lb1".into(), state_dir: "/var/lib/fairway".into() });
    assert_eq!(config.dataplane, default_dataplane());
    assert_eq!(config.admin, default_admin());
    let address = IpAddr::from([203, 0, 113, 10]);
    let listener = |port| Listener { protocol: Protocol::Tcp, address, ports: Ports::One(port) };
    let backend = Backend {
        name: "web1".into(),
        address: IpAddr::from([10, 0, 0, 11]),
        port: None,
        weight: 100,
        upper_threshold: 0,
        lower_threshold: 0,
        server_id: None,
        priority: 0,
        forwarding: Forwarding::Direct,
        wrapping: IPIP,
    };
    let expected = Service {
        name: "web".into(),
        listeners: vec![listener(80), listener(443)],
        idle_timeout: Some(Duration::from_secs(900)),
        backends: vec![backend],
        ..default_service()
    };
    assert_eq!(config.services, [expected]);
}

#[test]
fn what_is_left_out_has_the_documented_default() {
    let config = accepted(
        "dataplane.interfaces = [\"eth0\"]\nservice = [{ name = \"web\", listen = [\"udp://203.0.113.10:*\"], backend = [{ address = \"10.0.0.1\" }] }]",
    );
    assert_eq!(config.node, Node { name: "host".into(), state_dir: "/var/lib/fairway".into() });
    assert_eq!(config.dataplane, default_dataplane());
    assert_eq!(config.admin, default_admin());
    let service = &config.services[0];
    assert_eq!(
        Service { name: "web".into(), listeners: vec![], backends: vec![], ..service.clone() },
        default_service()
    );
    assert_eq!(service.listeners[0].to_string(), "udp://203.0.113.10:*");
    assert_eq!(service.idle_timeout(Protocol::Tcp), Duration::from_secs(900));
    assert_eq!(service.idle_timeout(Protocol::Udp), Duration::from_secs(60));
    assert_eq!((service.backends[0].name.as_str(), service.backends[0].weight), ("10.0.0.1", 100));
}

#[test]
fn an_empty_file_is_a_node_without_services() {
    let config = accepted("");
    assert_eq!((config.node.name.as_str(), config.services.len()), ("host", 0));
}

#[test]
fn the_services_of_a_layer_come_behind_those_of_the_file_which_count_where_both_have_one() {
    let file = format!("{HEAD}{WEB}{ONE}");
    let more = format!("[[service]]\nname = \"more\"\nlisten = [\"tcp://203.0.113.11:80\"]\n{ONE}");
    let names = |parsed: &Parsed| parsed.config.services.iter().map(|it| it.name.clone()).collect::<Vec<_>>();
    let both = parse_layered(&file, &more, "host").unwrap();
    assert_eq!((names(&both), both.warnings.len(), both.superseded.len()), (vec!["web".into(), "more".into()], 0, 0));
    assert_eq!(both.config, parse(&format!("{file}{more}"), "host").unwrap().0);

    // Whatever is wrong with one that does not count, does not count.
    let old = format!("{more}[[service]]\nname = \"web\"\nlisten = [\"no\"]\nno = 1\n");
    let parsed = parse_layered(&file, &old, "host").unwrap();
    assert_eq!((names(&parsed), &parsed.superseded[..]), (names(&both), &["web".to_owned()][..]));
    let [warning] = &parsed.warnings[..] else { panic!("{:?}", parsed.warnings) };
    assert_eq!((warning.code, warning.severity()), (Code::Superseded, Severity::Warning));
    assert_eq!(parsed.config, both.config);
}

#[test]
fn a_layer_has_services_and_nothing_else() {
    let problems = parse_layered(&format!("{HEAD}{WEB}{ONE}"), "[node]\nname = \"x\"\n", "host").unwrap_err();
    assert_eq!(problems.iter().map(|problem| problem.code).collect::<Vec<_>>(), [Code::UnknownKey]);
}

#[test]
fn values_have_the_forms_of_the_reference() {
    let config = accepted(&format!(
        "admin.listen = \"\"\n{HEAD}[[service]]\nname = \"six\"\nlisten = [\"tcp://[2001:db8::1]:80\", \"udp://[2001:db8::1]:*\"]\n\
         forwarding = \"nat\"\nnat_exclude = [\"fd00::/8\", \"2001:db8::9\"]\nidle_timeout = \"1h 30m\"\nlookup_table_size = 0x400\n\
         [[service.backend]]\naddress = \"2001:db8::2\"\nforwarding = \"direct\"\n[[service.backend]]\naddress = \"2001:db8::3\"\n"
    ));
    assert_eq!(config.admin.listen, None);
    let service = &config.services[0];
    assert_eq!(service.listeners[0].to_string(), "tcp://[2001:db8::1]:80");
    assert_eq!(service.listeners[1].ports, Ports::Every);
    assert_eq!(service.nat_exclude, ["fd00::/8".parse().unwrap(), "2001:db8::9/128".parse().unwrap()]);
    assert_eq!(service.idle_timeout, Some(Duration::from_secs(5400)));
    assert_eq!(service.lookup_table_size, 1024);
    let methods: Vec<Forwarding> = service.backends.iter().map(|backend| backend.forwarding).collect();
    assert_eq!(methods, [Forwarding::Direct, Forwarding::Nat]);
}

const IPIP: Wrapping = Wrapping { encapsulation: Encapsulation::Ipip, port: None };

#[test]
fn a_tunnel_may_lead_to_another_family_and_each_backend_be_wrapped_in_its_own_way() {
    let config = accepted(&format!(
        "dataplane.tunnel_source_v6 = \"fd99::/64\"\n{HEAD}[[service]]\nname = \"a\"\nlisten = [\"tcp://203.0.113.1:80\"]\n\
         forwarding = \"tunnel\"\nencapsulation = \"gue\"\nencapsulation_port = 7000\nsorry = {{ address = \"2001:db8::9\" }}\n\
         [[service.backend]]\naddress = \"10.0.0.1\"\n[[service.backend]]\naddress = \"2001:db8::2\"\n\
         [[service.backend]]\naddress = \"2001:db8::3\"\nencapsulation = \"fou\"\n\
         [[service.backend]]\naddress = \"10.0.0.4\"\nencapsulation = \"ipip\"\n\
         [[service.backend]]\naddress = \"10.0.0.5\"\nforwarding = \"direct\"\n"
    ));
    let service = &config.services[0];
    let wrapped = |at: usize| (service.backends[at].forwarding, service.backends[at].wrapping.port());
    assert_eq!(wrapped(0), (Forwarding::Tunnel, Some(7000)));
    assert_eq!(wrapped(1), (Forwarding::Tunnel, Some(7000)));
    assert_eq!(wrapped(2), (Forwarding::Tunnel, Some(5555)));
    assert_eq!(wrapped(3), (Forwarding::Tunnel, None));
    assert_eq!(wrapped(4).0, Forwarding::Direct);
    assert_eq!(config.dataplane.tunnel_sources, TunnelSources { v4: None, v6: Some("fd99::/64".parse().unwrap()) });
}

#[test]
fn an_unusable_host_name_asks_for_a_name() {
    let refused = parse("", "a/b").unwrap_err();
    assert_eq!(refused[0].code, Code::BadName);
    assert!(parse("node.name = \"x\"", "").is_ok());
}

#[test]
fn the_hash_is_of_the_meaning_and_not_of_the_text() {
    let hash = |text: &str| accepted(text).hash();
    let two = "[[service.backend]]\naddress = \"10.0.0.2\"\n";
    let base = hash(&format!("{HEAD}{WEB}{ONE}{two}"));
    assert_eq!(base.len(), 16);
    assert_eq!(base, hash(&format!("# comment\nnode.name = \"other\"\n{HEAD}{WEB}{two}{ONE}")));
    assert_ne!(base, hash(&format!("{HEAD}{WEB}{ONE}")));
    assert_ne!(base, hash(&format!("{HEAD}{WEB}{ONE}{two}weight = 99\n")));
    assert_ne!(base, hash(&format!("{HEAD}{WEB}idle_timeout = \"16m\"\n{ONE}{two}")));
}

#[test]
fn the_schema_knows_the_keys_of_this_version_only() {
    let schema = schema();
    let service = &schema["properties"]["service"]["items"];
    assert_eq!(schema["additionalProperties"], false);
    assert_eq!(service["required"], serde_json::json!(["name", "listen"]));
    assert_eq!(service["properties"]["lookup_table_size"]["default"], 16_384);
    assert_eq!(service["properties"]["forwarding"]["enum"], serde_json::json!(["direct", "nat", "full-nat", "tunnel"]));
    assert_eq!(service["properties"]["backend"]["items"]["properties"]["weight"]["maximum"], 10_000);
    assert_eq!(service["properties"]["quorum"]["default"], 1);
    let vrrp = &schema["properties"]["vrrp"]["items"];
    assert_eq!(vrrp["required"], serde_json::json!(["name", "interface", "vrid", "addresses"]));
    assert_eq!(vrrp["properties"]["track"]["items"]["properties"]["weight"]["minimum"], -254);
    assert_eq!(service["properties"]["check"]["oneOf"][1]["items"]["required"], serde_json::json!(["type"]));
    assert!(schema["properties"]["dataplane"]["properties"].get("pin_path").is_none());
}

#[test]
fn every_alias_stands_for_a_word_there_is() {
    fn below(table: &'static keys::Table) -> Vec<&'static keys::Table> {
        let children = table.keys.iter().filter_map(|key| match key.kind {
            keys::Kind::Table(table) | keys::Kind::Tables(table) => Some(table),
            _ => None,
        });
        children.flat_map(below).chain([table]).collect()
    }
    for key in below(&keys::FILE).into_iter().flat_map(|table| table.keys) {
        let keys::Kind::Choice(choices) = &key.kind else { continue };
        for (alias, word) in choices.aliases {
            let known = (choices.now)().contains(word) || choices.later.contains(word);
            assert!(known, "`{}`: {alias} stands for {word}", key.name);
        }
    }
}

#[test]
fn schedulers_go_by_the_names_of_ipvs_too() {
    for (alias, scheduler) in [
        ("mh", Scheduler::Maglev),
        ("sh", Scheduler::SourceHash),
        ("rr", Scheduler::RoundRobin),
        ("wrr", Scheduler::WeightedRoundRobin),
        ("lc", Scheduler::LeastConnection),
        ("wlc", Scheduler::WeightedLeastConnection),
        ("sed", Scheduler::ShortestExpectedDelay),
        ("nq", Scheduler::NeverQueue),
        ("fo", Scheduler::WeightedFailover),
        ("ovf", Scheduler::WeightedOverflow),
        ("dh", Scheduler::DestinationHash),
    ] {
        let config = accepted(&format!("{HEAD}{WEB}scheduler = \"{alias}\"\n{ONE}"));
        assert_eq!(config.services[0].scheduler, scheduler, "{alias}");
    }
}

#[test]
fn a_service_says_which_part_of_a_flow_is_hashed() {
    let key = |text: &str| accepted(&format!("{HEAD}{WEB}{text}\n{ONE}")).services[0].selection_key();
    let source = |v4, v6, port| SelectionKey::Source { prefixes: Prefixes { v4, v6 }, port };
    for (text, expected) in [
        ("", SelectionKey::Flow),
        ("persistence = {}", source(32, 128, false)),
        ("persistence = { prefix_v4 = 24, prefix_v6 = 56 }", source(24, 56, false)),
        ("scheduler = \"sh\"", source(32, 128, false)),
        ("scheduler = \"sh\"\nsource_port = true", source(32, 128, true)),
        ("scheduler = \"sh\"\nsource_prefix_v4 = 16\nsource_prefix_v6 = 48", source(16, 48, false)),
        ("scheduler = \"dh\"", SelectionKey::Destination),
    ] {
        assert_eq!(key(text), expected, "{text}");
    }
}

#[test]
fn codes_are_unique_and_in_order() {
    let codes: Vec<&str> = Code::ALL.iter().map(|code| code.as_str()).collect();
    assert!(codes.is_sorted_by(|a, b| a < b));
}

fn accepted(text: &str) -> Config {
    match parse(text, "host") {
        Ok((config, warnings)) if warnings.is_empty() => config,
        Ok((_, said)) | Err(said) => panic!("{}", render(&said, text, "f.toml", false)),
    }
}

fn problems(text: &str) -> Vec<Diagnostic> {
    let (Ok((_, said)) | Err(said)) = parse(text, "host");
    said
}

/// `expected`: code and place of every problem, as `FW0002 3:1`.
fn check(text: &str, expected: &str) {
    let said = problems(text);
    let found: Vec<String> = reports(&said, text, "f.toml")
        .iter()
        .map(|report| format!("{} {}:{}", report.code.as_str(), report.line, report.column))
        .collect();
    let rendered = render(&said, text, "f.toml", false);
    assert_eq!(found.join(" "), expected, "\n{text}\n{rendered}");
    for report in reports(&said, text, "f.toml") {
        assert!(rendered.contains(&format!("--> f.toml:{}:{}", report.line, report.column)), "{rendered}");
    }
}

fn default_dataplane() -> Dataplane {
    Dataplane {
        interfaces: vec!["eth0".into()],
        mode: AttachMode::Auto,
        pin_path: PathBuf::from("/sys/fs/bpf/fairway"),
        flow_table_capacity: 1 << 20,
        stateful_table_capacity: 1 << 20,
        translation_table_capacity: 1 << 18,
        source_nat_addresses: vec![],
        source_nat_ports: (1024, 32_767),
        hash_seed: "fairway".into(),
        ready_timeout: std::time::Duration::from_secs(30),
        tunnel_sources: TunnelSources::default(),
        own_client: false,
    }
}

fn default_admin() -> Admin {
    Admin { socket: "/run/fairway/admin.sock".into(), listen: Some("127.0.0.1:9910".parse().unwrap()) }
}

fn default_service() -> Service {
    Service {
        name: "web".into(),
        listeners: vec![],
        forwarding: Forwarding::Direct,
        wrapping: IPIP,
        scheduler: Scheduler::Maglev,
        source_prefix: Prefixes::HOSTS,
        source_port: false,
        persistence: None,
        vrrp: None,
        idle_timeout: None,
        fin_timeout: Duration::from_secs(120),
        syn_timeout: Duration::from_secs(60),
        closed_timeout: Duration::from_secs(10),
        udp: UdpMode::Stateless,
        quic: Configurations::default(),
        on_no_backend: OnNoBackend::Pass,
        nat_exclude: vec![],
        access: Access::default(),
        lookup_table_size: 16_384,
        checks: vec![],
        quorum: 1,
        quorum_hysteresis: 0,
        minimum_healthy: 0.0,
        on_down: OnDown::Keep,
        slow_start: Duration::ZERO,
        drain_timeout: None,
        outlier: None,
        sorry: None,
        backends: vec![],
    }
}
