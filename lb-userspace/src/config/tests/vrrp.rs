//! Virtual routers, the peer link and the hook: what they mean, and what is refused. The cases that keepalived's own
//! checker repairs or overlooks are among those that are refused here.

use super::{ONE, WEB, accepted, check, problems};
use crate::config::{
    ChecksumForm, Condition, Config, Consequence, Hook, OnCrash, Peer, Track, VirtualRoute, VirtualRouter, VirtualRule,
    VrrpVersion,
};
use std::net::IpAddr;
use std::time::Duration;

/// Two routers of one group with every key, [peer] and [hook].
pub(super) const EVERY_KEY: &str = r#"
[peer]
addresses = ["10.9.0.2", "2001:db8:9::2"]
port = 10112
key_file = "/etc/fairway/peer.key"
heartbeat = "10ms"
misses = 4
hold = "2m"
nodes = 3

[hook]
command = ["/usr/local/bin/tell", "--cloud"]
timeout = "30s"
user = "fairway"

[[vrrp]]
name = "public"
interface = "eth0"
vrid = 51
version = 2
priority = 254
advertisement_interval = "2s"
missed_advertisements = 5
preempt = true
preempt_delay = "5m"
addresses = ["192.0.2.7/32", "192.0.2.8"]
excluded_addresses = ["192.0.2.9", "2001:db8::9"]
on_crash = "keep"
virtual_mac = true
unicast_source = "192.0.2.1"
unicast_peers = ["192.0.2.2"]
unicast_minimum_ttl = 64
authentication = "secret"
group = "edge"

[[vrrp.track]]
type = "interface"
interface = "eth1"
fault = true

[[vrrp.track]]
type = "service"
service = "web"
name = "pool"
weight = -50

[[vrrp.track]]
type = "script"
command = ["/usr/local/bin/check", "-v"]
interval = "500ms"
timeout = "200ms"
rise = 3
fall = 4
user = "check"
weight = -1

[[vrrp.track]]
type = "process"
process = "haproxy"
minimum = 2
fault = true

[[vrrp.track]]
type = "file"
path = "/run/drain"
weight = 1

[[vrrp.track]]
type = "load"
maximum = 7.5
weight = -10

[[vrrp.track]]
type = "gateway"
address = "192.0.2.254"
interval = "100ms"
misses = 5
fault = true

[[vrrp.track]]
type = "bfd"
neighbour = "192.0.2.2"
source = "192.0.2.1"
transmit_interval = "10ms"
receive_interval = "20ms"
multiplier = 5
weight = -254

[[vrrp.route]]
destination = "0.0.0.0/0"
via = "192.0.2.254"
interface = "eth0"
source = "192.0.2.7"
table = 100
metric = 10

[[vrrp.rule]]
from = "192.0.2.7"
to = "198.51.100.0/24"
table = 100
priority = 1000

[[vrrp]]
name = "public six"
interface = "eth0"
vrid = 51
addresses = ["fe80::7", "2001:db8::7"]
group = "edge"
"#;

/// A router on line 1 to 5; what follows goes into it.
const ROUTER: &str = "[[vrrp]]\nname = \"public\"\ninterface = \"eth0\"\nvrid = 51\naddresses = [\"203.0.113.10\"]\n";

#[test]
fn every_key_of_a_virtual_router_means_what_it_says() {
    let config = accepted(&with_web(EVERY_KEY));
    let address = |text: &str| text.parse::<IpAddr>().unwrap();
    let [router, six] = config.virtual_routers.as_slice() else { panic!("{:?}", config.virtual_routers) };
    let expected = VirtualRouter {
        name: "public".into(),
        interface: "eth0".into(),
        vrid: 51,
        version: VrrpVersion::V2,
        priority: 254,
        advertisement_interval: Duration::from_secs(2),
        missed_advertisements: 5,
        preempt: true,
        preempt_delay: Duration::from_secs(300),
        addresses: vec!["192.0.2.7/32".parse().unwrap(), "192.0.2.8/32".parse().unwrap()],
        excluded_addresses: vec!["192.0.2.9/32".parse().unwrap(), "2001:db8::9/128".parse().unwrap()],
        on_crash: OnCrash::Keep,
        virtual_mac: true,
        unicast_source: Some(address("192.0.2.1")),
        unicast_peers: vec![address("192.0.2.2")],
        unicast_minimum_ttl: 64,
        authentication: Some(*b"secret\0\0"),
        checksum: ChecksumForm::Auto,
        group: Some("edge".into()),
        tracks: every_track(),
        routes: vec![VirtualRoute {
            destination: "0.0.0.0/0".parse().unwrap(),
            via: Some(address("192.0.2.254")),
            interface: Some("eth0".into()),
            source: Some(address("192.0.2.7")),
            table: 100,
            metric: Some(10),
        }],
        rules: vec![VirtualRule {
            from: Some("192.0.2.7/32".parse().unwrap()),
            to: Some("198.51.100.0/24".parse().unwrap()),
            table: 100,
            priority: Some(1000),
        }],
    };
    assert_eq!(*router, expected);
    assert_eq!((six.is_ipv4(), six.group.as_deref()), (false, Some("edge")));
}

fn every_track() -> Vec<Track> {
    let millis = Duration::from_millis;
    let track = |name: &str, condition, consequence| Track { name: name.into(), condition, consequence };
    let address = |text: &str| text.parse::<IpAddr>().unwrap();
    let script = Condition::Script {
        command: vec!["/usr/local/bin/check".into(), "-v".into()],
        interval: millis(500),
        timeout: millis(200),
        rise: 3,
        fall: 4,
        user: "check".into(),
    };
    let gateway = Condition::Gateway { address: address("192.0.2.254"), interval: millis(100), misses: 5 };
    let bfd = Condition::Bfd {
        neighbour: address("192.0.2.2"),
        source: Some(address("192.0.2.1")),
        transmit_interval: millis(10),
        receive_interval: millis(20),
        multiplier: 5,
    };
    vec![
        track("interface eth1", Condition::Interface { interface: "eth1".into() }, Consequence::Fault),
        track("pool", Condition::Service { service: "web".into() }, Consequence::Weight(-50)),
        track("script check", script, Consequence::Weight(-1)),
        track("process haproxy", Condition::Process { process: "haproxy".into(), minimum: 2 }, Consequence::Fault),
        track("file /run/drain", Condition::File { path: "/run/drain".into() }, Consequence::Weight(1)),
        track("load", Condition::Load { maximum: 7.5 }, Consequence::Weight(-10)),
        track("gateway 192.0.2.254", gateway, Consequence::Fault),
        track("bfd 192.0.2.2", bfd, Consequence::Weight(-254)),
    ]
}

#[test]
fn every_key_of_the_peer_link_and_the_hook_means_what_it_says() {
    let config = accepted(&with_web(EVERY_KEY));
    let peer = Peer {
        addresses: vec!["10.9.0.2".parse().unwrap(), "2001:db8:9::2".parse().unwrap()],
        port: 10112,
        key_file: "/etc/fairway/peer.key".into(),
        heartbeat: Duration::from_millis(10),
        misses: 4,
        hold: Duration::from_secs(120),
        nodes: 3,
    };
    assert_eq!(config.peer, Some(peer));
    let hook = Hook {
        command: vec!["/usr/local/bin/tell".into(), "--cloud".into()],
        timeout: Duration::from_secs(30),
        user: "fairway".into(),
    };
    assert_eq!(config.hook, Some(hook));
}

#[test]
fn what_a_virtual_router_leaves_out_has_the_documented_default() {
    let config =
        accepted(&format!("{ROUTER}[peer]\naddresses = [\"10.9.0.2\"]\nkey_file = \"/k\"\n[hook]\ncommand = [\"/h\"]"));
    let expected = VirtualRouter {
        name: "public".into(),
        interface: "eth0".into(),
        vrid: 51,
        version: VrrpVersion::V3,
        priority: 250,
        advertisement_interval: Duration::from_secs(1),
        missed_advertisements: 3,
        preempt: true,
        preempt_delay: Duration::ZERO,
        addresses: vec!["203.0.113.10/32".parse().unwrap()],
        excluded_addresses: vec![],
        on_crash: OnCrash::Release,
        virtual_mac: false,
        unicast_source: None,
        unicast_peers: vec![],
        unicast_minimum_ttl: 255,
        authentication: None,
        checksum: ChecksumForm::Auto,
        group: None,
        tracks: vec![],
        routes: vec![],
        rules: vec![],
    };
    assert_eq!(config.virtual_routers, [expected]);
    let peer = config.peer.unwrap();
    assert_eq!((peer.port, peer.heartbeat, peer.misses), (9912, Duration::from_millis(50), 3));
    assert_eq!((peer.hold, peer.nodes), (Duration::from_secs(60), 2));
    let hook = config.hook.unwrap();
    assert_eq!((hook.timeout, hook.user.as_str()), (Duration::from_secs(10), "nobody"));
}

#[test]
fn virtual_routers_need_neither_services_nor_interfaces_of_the_data_plane() {
    let config = accepted(ROUTER);
    assert_eq!((config.virtual_routers.len(), config.dataplane.interfaces.len()), (1, 0));
    assert_eq!((config.peer, config.hook), (None, None));
}

#[test]
fn a_wrong_value_of_a_virtual_router_is_told_at_its_place() {
    check_router_cases(&[
        ("", ""),
        // What keepalived's checker finds, but the daemon repairs or ignores.
        ("prioritty = 150", "FW0002 6:1"),
        ("priority = 300", "FW0006 6:12"),
        ("priority = 0", "FW0006 6:12"),
        ("advertisement_interval = \"1ms\"", "FW0006 6:26"),
        ("advertisement_interval = \"100s\"", "FW0120 6:26 FW0208 6:26"),
        ("version = 2\nauthentication = \"longer than 8\"", "FW0006 7:18"),
        ("authentication = \"secret\"", "FW0120 6:18"),
        ("version = 2\nadvertisement_interval = \"500ms\"", "FW0120 7:26"),
        // And some more.
        ("version = 4", "FW0006 6:11"),
        ("version = \"3\"", "FW0003 6:11"),
        ("missed_advertisements = 1", "FW0006 6:25"),
        ("preempt = \"no\"", "FW0003 6:11"),
        ("preempt_delay = 5", "FW0003 6:17"),
        ("excluded_addresses = \"203.0.113.11\"", "FW0003 6:22"),
        ("excluded_addresses = [\"203.0.113.300\"]", "FW0005 6:23"),
        ("excluded_addresses = [\"203.0.113.11/64\"]", "FW0005 6:23"),
        ("excluded_addresses = [\"203.0.113.11/0\"]", "FW0005 6:23"),
        ("excluded_addresses = [\"224.0.0.18\"]", "FW0010 6:23"),
        ("excluded_addresses = [\"::ffff:203.0.113.11\"]", "FW0010 6:23"),
        ("on_crash = \"stay\"", "FW0008 6:12"),
        ("unicast_peers = [\"peer\"]", "FW0005 6:18"),
        ("unicast_source = \"203.0.113.1\"\nunicast_peers = [\"203.0.113.2\"]\nunicast_minimum_ttl = 0", "FW0006 8:23"),
        ("checksum = \"none\"", "FW0008 6:12"),
        ("group = \" edge\"", "FW0009 6:9"),
        ("track = 3", "FW0003 6:9"),
    ]);
    check("[[vrrp]]", "FW0004 1:1 FW0004 1:1 FW0004 1:1 FW0004 1:1");
    check(&ROUTER.replace("51", "999"), "FW0006 4:8");
    check(&ROUTER.replace("51", "0"), "FW0006 4:8");
    check(&ROUTER.replace("eth0", "a name too long"), "FW0009 3:13");
    check(&ROUTER.replace("203.0.113.10", "203.0.113.300"), "FW0005 5:14");
    check(&ROUTER.replace("203.0.113.10", "203.0.113.10/64"), "FW0005 5:14");
    check("[[vrrp_instanse]]\nname = \"public\"", "FW0002 1:3");
    check("[[vrrp]\nname = \"public\"", "FW0001 1:8");
}

#[test]
fn values_of_a_virtual_router_that_do_not_go_together_are_told() {
    check_router_cases(&[
        ("advertisement_interval = \"40950ms\"", "FW0208 6:26"),
        ("advertisement_interval = \"40951ms\"", "FW0120 6:26 FW0208 6:26"),
        ("advertisement_interval = \"105ms\"", "FW0120 6:26"),
        ("advertisement_interval = \"100ms\"", ""),
        ("advertisement_interval = \"90ms\"", "FW0207 6:26"),
        ("advertisement_interval = \"10ms\"\nmissed_advertisements = 29", "FW0207 6:26"),
        ("advertisement_interval = \"10ms\"\nmissed_advertisements = 30", ""),
        ("version = 2\nadvertisement_interval = \"255s\"", ""),
        ("priority = 230", "FW0208 6:12"),
        ("priority = 231", ""),
        ("version = 2\npriority = 100", "FW0208 7:12"),
        ("priority = 255", "FW0209 6:12"),
        ("preempt = false\npreempt_delay = \"1s\"", "FW0205 7:17"),
        ("excluded_addresses = [\"203.0.113.10\"]", "FW0121 6:23"),
        ("excluded_addresses = [\"203.0.113.11/24\"]", "FW0206 6:23"),
        ("excluded_addresses = [\"2001:db8::1\"]", ""),
        ("unicast_source = \"203.0.113.1\"", "FW0205 6:18"),
        ("unicast_minimum_ttl = 64", "FW0205 6:23"),
        ("unicast_peers = [\"203.0.113.2\"]", "FW0213 6:18"),
        ("unicast_source = \"203.0.113.1\"\nunicast_peers = [\"203.0.113.2\"]", ""),
        ("unicast_source = \"203.0.113.1\"\nunicast_peers = [\"203.0.113.1\"]", "FW0129 7:18"),
        ("unicast_source = \"203.0.113.1\"\nunicast_peers = [\"203.0.113.10\"]", "FW0129 7:18"),
        ("unicast_source = \"203.0.113.1\"\nunicast_peers = [\"203.0.113.2\", \"203.0.113.2\"]", "FW0121 7:33"),
        ("unicast_source = \"203.0.113.1\"\nunicast_peers = [\"fe80::2\"]", "FW0119 7:18"),
        ("unicast_source = \"fe80::1\"\nunicast_peers = [\"203.0.113.2\"]", "FW0119 6:18"),
        ("version = 2\nchecksum = \"plain\"", "FW0205 7:12"),
        ("group = \"edge\"", "FW0205 6:9"),
        ("[[vrrp.route]]\ndestination = \"0.0.0.0/0\"\nvia = \"fe80::1\"", "FW0119 8:7"),
        ("[[vrrp.route]]\ndestination = \"203.0.113.1/24\"", "FW0005 7:15"),
        ("[[vrrp.route]]\nvia = \"203.0.113.1\"", "FW0004 6:1"),
        ("[[vrrp.rule]]\ntable = 100", "FW0130 6:1"),
        ("[[vrrp.rule]]\ntable = 100\nfrom = \"203.0.113.10\"\nto = \"fd00::/8\"", "FW0119 9:6"),
        ("[[vrrp.rule]]\nfrom = \"203.0.113.10\"", "FW0004 6:1"),
    ]);
    let addresses = |list: &str| ROUTER.replace("\"203.0.113.10\"", list);
    check(&addresses(""), "FW0122 5:13");
    check(&addresses("\"203.0.113.10\", \"2001:db8::1\""), "FW0119 5:30");
    check(&addresses("\"203.0.113.10/24\""), "FW0206 5:14");
    check(&addresses("\"2001:db8::1\", \"fe80::1\""), "FW0215 5:29");
    check(&format!("{}version = 2", addresses("\"2001:db8::1\"")), "FW0120 6:11");
    check(&format!("{}checksum = \"plain\"", addresses("\"2001:db8::1\"")), "FW0205 6:12");
}

#[test]
fn an_advertisement_holds_no_more_addresses_than_the_protocol_counts() {
    let router = |items: Vec<String>| ROUTER.replace("\"203.0.113.10\"", &items.join(","));
    let four = |count: u32| router((1..=count).map(|i| format!("\"10.0.{}.{}\"", i / 256, i % 256)).collect());
    let six = |count: u32| router((1..=count).map(|i| format!("\"2001:db8::{i:x}\"")).collect());
    check(&four(255), "");
    check(&four(256), "FW0123 5:13");
    check(&six(90), "");
    check(&six(91), "FW0215 5:13");
    check(&six(256), "FW0123 5:13");
}

#[test]
fn two_virtual_routers_are_told_apart() {
    let second = |name: &str, interface: &str, vrid: &str, addresses: &str| {
        format!(
            "{ROUTER}[[vrrp]]\nname = \"{name}\"\ninterface = \"{interface}\"\nvrid = {vrid}\naddresses = [\"{addresses}\"]\n"
        )
    };
    check(&second("other", "eth0", "52", "203.0.113.11"), "");
    check(&second("public", "eth0", "52", "203.0.113.11"), "FW0117 7:8");
    check(&second("other", "eth0", "51", "203.0.113.11"), "FW0118 9:8");
    check(&second("other", "eth1", "51", "203.0.113.11"), "");
    check(&second("other", "eth0", "51", "2001:db8::1"), "");
    check(&second("other", "eth1", "52", "203.0.113.10/24"), "FW0121 10:14 FW0206 10:14");
    let grouped = second("other", "eth0", "52", "203.0.113.11").replace("vrid", "group = \"edge\"\nvrid");
    check(&grouped, "");
    let link_local = second("other", "eth1", "51", "fe80::1").replace("203.0.113.10", "fe80::1");
    check(&link_local, "");
}

#[test]
fn a_track_has_the_keys_of_its_type_and_one_consequence() {
    let track = |rest: &str| format!("{ROUTER}[[vrrp.track]]\n{rest}");
    let cases = [
        ("type = \"load\"\nmaximum = 8\nfault = true", ""),
        ("type = \"interface\"\ninterface = \"eth1\"\nweight = -50", ""),
        ("fault = true", "FW0004 6:1"),
        ("type = \"cpu\"\nfault = true", "FW0008 7:8"),
        ("type = \"interface\"\nfault = true", "FW0205 6:1"),
        ("type = \"interface\"\ninterface = \"eth0\"\nweight = -5", "FW0205 8:13"),
        ("type = \"service\"\nfault = true", "FW0004 6:1"),
        ("type = \"script\"\nfault = true", "FW0004 6:1"),
        ("type = \"process\"\nfault = true", "FW0004 6:1"),
        ("type = \"file\"\nfault = true", "FW0004 6:1"),
        ("type = \"load\"\nfault = true", "FW0004 6:1"),
        ("type = \"gateway\"\nfault = true", "FW0004 6:1"),
        ("type = \"bfd\"\nfault = true", "FW0004 6:1"),
        ("type = \"load\"\nmaximum = 8\nfault = true\npath = \"/x\"", "FW0124 10:8"),
        ("type = \"load\"\nmaximum = 8\nfault = true\ninterval = \"1s\"", "FW0124 10:12"),
        ("type = \"load\"\nmaximum = 8", ""),
        ("type = \"load\"\nmaximum = 8\nfault = false", ""),
        ("type = \"load\"\nmaximum = 8\nfault = true\nweight = -5", "FW0125 10:10"),
        ("type = \"load\"\nmaximum = 8\nweight = 0", "FW0205 9:10"),
        ("type = \"load\"\nmaximum = 8\nweight = 10", "FW0214 9:10"),
        ("type = \"load\"\nmaximum = 8\nweight = -255", "FW0006 9:10"),
        ("type = \"load\"\nmaximum = 0\nfault = true", "FW0006 8:11"),
        ("type = \"load\"\nmaximum = nan\nfault = true", "FW0006 8:11"),
        ("type = \"load\"\nmaximum = \"8\"\nfault = true", "FW0003 8:11"),
        ("type = \"file\"\npath = \"/run/drain\"\nweight = 1", ""),
        ("type = \"file\"\npath = \"run/drain\"\nweight = 1", "FW0005 8:8"),
        ("type = \"script\"\ncommand = [\"check\"]\nfault = true", "FW0131 8:11"),
        ("type = \"script\"\ncommand = []\nfault = true", "FW0122 8:11"),
        ("type = \"script\"\ncommand = \"/bin/check -v\"\nfault = true", "FW0003 8:11"),
        ("type = \"script\"\ncommand = [\"/bin/check\"]\nuser = \"root\"\nfault = true", "FW0212 8:11"),
        ("type = \"script\"\ncommand = [\"/bin/check\"]\nrise = 0\nfault = true", "FW0006 9:8"),
        ("type = \"service\"\nservice = \"nosuch\"\nfault = true", "FW0127 8:11"),
        ("type = \"gateway\"\naddress = \"203.0.113.10\"\nfault = true", "FW0129 8:11"),
        ("type = \"gateway\"\naddress = \"fe80::1\"\nfault = true", ""),
        ("type = \"bfd\"\nneighbour = \"203.0.113.2\"\nsource = \"fe80::1\"\nfault = true", "FW0119 8:13"),
        ("type = \"bfd\"\nneighbour = \"203.0.113.2\"\nsource = \"203.0.113.2\"\nfault = true", "FW0129 8:13"),
        ("type = \"bfd\"\nneighbour = \"203.0.113.2\"\ntransmit_interval = \"1ms\"\nfault = true", "FW0006 9:21"),
    ];
    for (rest, expected) in cases {
        check(&track(rest), expected);
    }
    let twice = "type = \"load\"\nmaximum = 8\nfault = true\n";
    check(&track(&format!("{twice}[[vrrp.track]]\n{twice}")), "FW0126 12:11");
    let config = accepted(&track("type = \"load\"\nmaximum = 8"));
    assert_eq!(config.virtual_routers[0].tracks[0].consequence, Consequence::Weight(-50));
    let owner = format!("{ROUTER}priority = 255\n[[vrrp.track]]\ntype = \"load\"\nmaximum = 8\nweight = -5");
    check(&owner, "FW0209 6:12 FW0205 10:10");
}

#[test]
fn a_wrong_peer_link_or_hook_is_told_at_its_place() {
    let cases = [
        ("[peer]", "FW0004 6:1 FW0004 6:1"),
        ("[peer]\nkey_file = \"/k\"\naddresses = []", "FW0122 8:13"),
        ("[peer]\nkey_file = \"/k\"\naddresses = [\"10.9.0.2\", \"10.9.0.2\"]", "FW0121 8:26"),
        ("[peer]\nkey_file = \"/k\"\naddresses = [\"203.0.113.10\"]", "FW0129 8:14"),
        ("[peer]\nkey_file = \"/k\"\naddresses = [\"fe80::2\"]", "FW0010 8:14"),
        ("[peer]\nkey_file = \"k\"\naddresses = [\"10.9.0.2\"]", "FW0005 7:12"),
        ("[peer]\nkey_file = \"/k\"\naddresses = [\"10.9.0.2\"]\nheartbeat = \"4ms\"", "FW0006 9:13"),
        ("[peer]\nkey_file = \"/k\"\naddresses = [\"10.9.0.2\"]\nheartbeat = \"11s\"", "FW0006 9:13"),
        ("[peer]\nkey_file = \"/k\"\naddresses = [\"10.9.0.2\"]\nmisses = 1", "FW0006 9:10"),
        ("[peer]\nkey_file = \"/k\"\naddresses = [\"10.9.0.2\"]\nmisses = 101", "FW0006 9:10"),
        ("[peer]\nkey_file = \"/k\"\naddresses = [\"10.9.0.2\"]\nnodes = 1", "FW0006 9:9"),
        ("[hook]", "FW0004 6:1"),
        ("[hook]\ncommand = [\"tell\"]", "FW0131 7:11"),
        ("[hook]\ncommand = []", "FW0122 7:11"),
        ("[hook]\ncommand = [\"/tell\"]\nuser = \"root\"", "FW0212 7:11"),
        ("[hook]\ncommand = [\"/tell\"]\ntimeout = \"1h\"", "FW0006 8:11"),
    ];
    for (rest, expected) in cases {
        check(&format!("{ROUTER}{rest}"), expected);
    }
    let nine: Vec<String> = (1..=9).map(|i| format!("\"10.9.0.{i}\"")).collect();
    check(&format!("[peer]\nkey_file = \"/k\"\naddresses = [{}]", nine.join(",")), "FW0123 3:13");
}

#[test]
fn a_pair_with_a_peer_link_needs_no_small_skew() {
    let peer = "[peer]\nkey_file = \"/k\"\naddresses = [\"10.9.0.2\"]\n";
    check(&format!("{ROUTER}priority = 100\n{peer}"), "");
    check(&format!("{ROUTER}priority = 100\n{peer}nodes = 3"), "FW0208 6:12");
}

#[test]
fn a_service_follows_a_virtual_router_that_holds_its_addresses() {
    let head = "[dataplane]\ninterfaces = [\"eth0\"]\nhash_seed = \"ours\"\n";
    let case = |router: &str, follows: &str| format!("{head}{router}{WEB}{follows}{ONE}");
    check(&case(ROUTER, "vrrp = \"public\"\n"), "");
    check(&case(ROUTER, ""), "FW0210 11:11");
    check(&case(ROUTER, "vrrp = \"\"\n"), "FW0210 11:11");
    check(&case(ROUTER, "vrrp = \"pubilc\"\n"), "FW0127 12:8");
    check(&case("", "vrrp = \"public\"\n"), "FW0127 7:8");
    let elsewhere = ROUTER.replace("203.0.113.10", "203.0.113.99");
    check(&case(&elsewhere, "vrrp = \"public\"\n"), "FW0128 11:11");
    check(&case(&elsewhere, ""), "");
    let excluded = format!("{elsewhere}excluded_addresses = [\"203.0.113.10\"]\n");
    check(&case(&excluded, "vrrp = \"public\"\n"), "");
    // An address that cannot be read may be the one.
    check(&case(&ROUTER.replace("203.0.113.10", "203.0.113.300"), "vrrp = \"public\"\n"), "FW0005 8:14");
    check(&case(ROUTER, "vrrp = \"public\"\n").replace("hash_seed = \"ours\"\n", ""), "FW0211 4:8");
    let config = accepted(&case(ROUTER, "vrrp = \"public\"\n"));
    assert_eq!(config.services[0].vrrp.as_deref(), Some("public"));
}

#[test]
fn full_nat_of_a_service_that_moves_wants_sources_that_move_with_it() {
    let case = |sources: &str, router: &str, follows: &str| {
        let head =
            format!("[dataplane]\ninterfaces = [\"eth0\"]\nhash_seed = \"ours\"\nsource_nat_addresses = [{sources}]\n");
        format!("{head}{ROUTER}{router}{WEB}{follows}forwarding = \"full-nat\"\n{ONE}")
    };
    let (inside, follows) = ("excluded_addresses = [\"10.0.1.1\"]\n", "vrrp = \"public\"\n");
    let another = |group: &str| {
        format!(
            "{group}[[vrrp]]\nname = \"inside\"\ninterface = \"eth1\"\nvrid = 52\naddresses = [\"10.0.1.1\"]\n{group}"
        )
    };
    check(&case("\"10.0.1.1\"", inside, follows), "");
    check(&case("\"10.0.1.9\", \"10.0.1.1\"", inside, follows), "");
    check(&case("\"10.0.1.9\"", inside, follows), "FW0218 14:8");
    check(&case("\"10.0.1.9\"", "", follows), "FW0218 13:8");
    check(&case("\"10.0.1.1\"", &another(""), follows), "FW0218 18:8");
    check(&case("\"10.0.1.1\"", &another("group = \"both\"\n"), follows), "");
    check(&case("\"10.0.1.9\"", inside, follows).replace("\"full-nat\"", "\"nat\""), "");
    // An address that cannot be read may be the one.
    check(&case("\"10.0.1.9\"", "excluded_addresses = [\"10.0.1.900\"]\n", follows), "FW0005 10:23");
}

#[test]
fn every_problem_of_a_virtual_router_comes_with_advice() {
    let text = format!(
        "{ROUTER}priority = 255\nadvertisement_interval = \"15ms\"\nauthentication = \"x\"\nunicast_peers = [\"fe80::1\"]\n\
         excluded_addresses = [\"203.0.113.10/24\"]\ngroup = \"g\"\n[[vrrp.track]]\ntype = \"load\"\npath = \"/x\"\n"
    );
    let said = problems(&text);
    assert!(said.len() >= 10, "{said:?}");
    assert!(said.iter().all(|problem| problem.help.is_some()), "{said:?}");
}

#[test]
fn the_nodes_of_a_pair_have_one_hash() {
    let hash = |text: &str| accepted(&with_web(text)).hash();
    let here = hash(EVERY_KEY);
    let there = EVERY_KEY
        .replace("10.9.0.2", "10.9.0.1")
        .replace("priority = 254", "priority = 250")
        .replace("interface = \"eth0\"", "interface = \"ens3\"")
        .replace("unicast_source = \"192.0.2.1\"", "unicast_source = \"192.0.2.3\"")
        .replace("interface = \"eth1\"", "interface = \"ens4\"");
    assert_eq!(here, hash(&there));
    assert_ne!(here, hash(&EVERY_KEY.replace("192.0.2.8", "192.0.2.18")));
    assert_ne!(here, hash(&EVERY_KEY.replace("vrid = 51", "vrid = 52")));
    assert_ne!(here, hash(&EVERY_KEY.replace("heartbeat = \"10ms\"", "heartbeat = \"20ms\"")));
}

/// Ends with the keys of a table; [`WEB`] is listening elsewhere.
fn with_web(text: &str) -> String {
    format!("[dataplane]\ninterfaces = [\"eth0\"]\nhash_seed = \"ours\"\n{text}{WEB}{ONE}")
}

/// Snippets follow [`ROUTER`], on line 6.
fn check_router_cases(cases: &[(&str, &str)]) {
    for (snippet, expected) in cases {
        check(&format!("{ROUTER}{snippet}"), expected);
    }
}

#[test]
fn the_configurations_of_the_reference_are_accepted() {
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/config.md")).unwrap();
    let blocks: Vec<&str> = page.split("```toml\n").skip(1).map(|rest| rest.split("```").next().unwrap()).collect();
    assert!(blocks.len() >= 2);
    let configs: Vec<Config> = blocks.into_iter().map(accepted).collect();
    assert!(configs.iter().any(|config| config.peer.is_some() && config.services[0].vrrp.is_some()));
}

#[test]
fn f12_no_service_can_be_at_the_address_of_the_group_so_that_its_packets_are_never_forwarded() {
    for group in ["224.0.0.18", "[ff02::12]"] {
        let text = format!(
            "[dataplane]\ninterfaces = [\"eth0\"]\n[[service]]\nname = \"web\"\nlisten = [\"udp://{group}:*\"]\n"
        );
        let problems = crate::config::parse(&text, "lb1").expect_err("only unicast is balanced");
        assert!(problems.iter().any(|problem| problem.message.contains("multicast")), "{problems:?}");
    }
}
