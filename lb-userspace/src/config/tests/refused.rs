//! Tables of (file → codes and places).

use super::{HEAD, ONE, WEB, check, problems};
use std::net::Ipv4Addr;

#[test]
fn one_bad_value_is_told_at_its_place() {
    check_cases(&[
        // Syntax.
        ("[node", "FW0001 2:6"),
        ("[node]\nname = ", "FW0001 3:8"),
        ("[node]\nname = \"a\"\nname = \"b\"", "FW0001 4:1"),
        // Keys.
        ("[dataplan]", "FW0002 2:2"),
        ("[[services]]", "FW0002 2:3"),
        ("[node]\nnam = \"a\"", "FW0002 3:1"),
        ("[admin]\nlisten = 1", "FW0003 3:10"),
        ("[node]\nname = [\"a\"]", "FW0003 3:8"),
        ("node = 3", "FW0003 2:8"),
        ("[service]\nname = \"a\"", "FW0003 2:1"),
        ("service = [7]", "FW0003 2:12"),
        ("[[service]]", "FW0004 2:1 FW0004 2:1 FW0202 2:1"),
        ("$one[[service.backend]]", "FW0004 7:1"),
        // Values.
        ("[node]\nname = \"\"", "FW0009 3:8"),
        ("[node]\nname = \"a/b\"", "FW0009 3:8"),
        ("[node]\nname = \"a\\u001b[31m\"", "FW0009 3:8"),
        ("[node]\nname = \" a\"", "FW0009 3:8"),
        ("[node]\nname = \"0123456789012345678901234567890123456789012345678901234567890123x\"", "FW0009 3:8"),
        ("[node]\nstate_dir = \"var\"", "FW0005 3:13"),
        ("[admin]\nsocket = \"admin.sock\"", "FW0005 3:10"),
        ("[admin]\nlisten = \"localhost:80\"", "FW0005 3:10"),
        ("[admin]\nlisten = \"0.0.0.0:9910\"", "FW0204 3:10"),
        ("$one[[service]]\nname = 1\nlisten = [2]\nbackend = [{ address = \"10.0.0.9\" }]", "FW0003 8:8 FW0003 9:11"),
        ("$mode = 1", "FW0202 3:8 FW0002 5:1"),
        ("$idle_timeout = 900\n$one", "FW0003 5:16"),
        ("$idle_timeout = \"15\"\n$one", "FW0005 5:16"),
        ("$idle_timeout = \"999ms\"\n$one", "FW0006 5:16"),
        ("$idle_timeout = \"25h\"\n$one", "FW0006 5:16"),
        ("$scheduler = \"magleff\"\n$one", "FW0008 5:13"),
        ("$scheduler = \"locality-based-least-connection\"\n$one", ""),
        ("$scheduler = \"lblcr\"\n$one", ""),
        ("$scheduler = \"rr\"\nudp = \"one-packet\"\n$one", "FW0205 6:7"),
        ("$scheduler = \"wlc\"\n$one", ""),
        ("$fin_timeout = \"999ms\"\n$one", "FW0006 5:15"),
        ("$syn_timeout = \"999ms\"\n$one", "FW0006 5:15"),
        ("$closed_timeout = \"25h\"\n$one", "FW0006 5:18"),
        ("$scheduler = \"lc\"\n$oneupper_threshold = 4\nlower_threshold = 3", ""),
        ("$scheduler = \"lc\"\n$oneupper_threshold = 4\nlower_threshold = 4", "FW0137 9:19"),
        ("$scheduler = \"lc\"\n$onelower_threshold = 4", "FW0137 8:19"),
        ("$oneupper_threshold = 4", "FW0205 7:19"),
        ("$scheduler = \"lc\"\npersistence = {}\n$one", ""),
        ("$scheduler = \"lc\"\npersistence = { timeout = \"5m\", prefix_v4 = 24 }\n$one", ""),
        ("$scheduler = \"sh\"\npersistence = {}\n$one", "FW0136 6:15"),
        ("$scheduler = \"SH\"\n$one", "FW0008 5:13"),
        ("$source_prefix_v4 = 0\nscheduler = \"sh\"\n$one", "FW0006 5:20"),
        ("$source_prefix_v6 = 129\nscheduler = \"sh\"\n$one", "FW0006 5:20"),
        ("$source_prefix_v4 = 24\n$one", "FW0205 5:20"),
        ("$source_port = true\nscheduler = \"dh\"\n$one", "FW0205 5:15"),
        ("$source_port = false\n$one", ""),
        ("$persistence = { prefix_v4 = 24 }\n$one", ""),
        ("$persistence = { prefix_v4 = 33 }\n$one", "FW0006 5:29"),
        ("$persistence = { prefix = 24 }\n$one", "FW0002 5:17"),
        ("$persistence = { timeout = \"5m\" }\n$one", "FW0205 5:27"),
        ("$persistence = { timeout = \"5 meters\" }\n$one", "FW0005 5:27"),
        ("$scheduler = \"sh\"\npersistence = {}\n$one", "FW0136 6:15"),
        ("$scheduler = \"dh\"\npersistence = {}\n$one", "FW0136 6:15"),
        ("$forwarding = \"tunnel\"\n$one", ""),
        ("$forwarding = \"tunnel\"\nencapsulation = \"vxlan\"\n$one", "FW0008 6:17"),
        ("$forwarding = \"tunnel\"\nencapsulation_port = 6080\n$one", "FW0205 6:22"),
        ("$forwarding = \"tunnel\"\nencapsulation = \"gue\"\nencapsulation_port = 0\n$one", "FW0006 7:22"),
        ("$encapsulation = \"gue\"\n$one", "FW0205 5:17"),
        ("$oneencapsulation = \"gue\"", "FW0205 7:17"),
        ("$oneforwarding = \"tunnel\"\nport = 80", "FW0107 8:8"),
        ("$udp = \"flow\"\n$one", "FW0008 5:7"),
        ("$on_no_backend = true\n$one", "FW0003 5:17"),
        ("$lookup_table_size = 1000\n$one", "FW0005 5:21"),
        ("$lookup_table_size = 8\n$one", "FW0006 5:21"),
        ("$lookup_table_size = 2_097_152\n$one", "FW0006 5:21"),
        ("$lookup_table_size = -16\n$one", "FW0006 5:21"),
        ("$lookup_table_size = \"16\"\n$one", "FW0003 5:21"),
        ("$nat_exclude = \"10.0.0.0/8\"\n$one", "FW0003 5:15"),
        ("$nat_exclude = [\"10.0.0.1/8\"]\nforwarding = \"nat\"\n$one", "FW0005 5:16"),
        ("$nat_exclude = [\"ten\"]\nforwarding = \"nat\"\n$one", "FW0005 5:16"),
        ("$one", ""),
        ("$[[service.backend]]\naddress = \"web1\"", "FW0005 6:11"),
        ("$[[service.backend]]\naddress = \"10.0.0.0/8\"", "FW0005 6:11"),
        ("$[[service.backend]]\naddress = \"10.0.0.1:80\"", "FW0005 6:11"),
        ("$[[service.backend]]\naddress = \"127.0.0.1\"", "FW0010 6:11"),
        ("$oneweight = 10001", "FW0006 7:10"),
        ("$oneweight = -1", "FW0006 7:10"),
        ("$oneport = 0", "FW0006 7:8"),
        ("$oneforwarding = \"natt\"\nport = 80", "FW0008 7:14"),
    ]);
}

#[test]
fn a_data_plane_value_is_told_at_its_place() {
    let cases = [
        ("mode = \"skb\"", "FW0008 2:8"),
        ("flow_table_capacity = 1023", "FW0006 2:23"),
        ("flow_table_capacity = 67_108_865", "FW0006 2:23"),
        ("hash_seed = \"\"", "FW0005 2:13"),
        ("interfaces = [\"eth0\", \"eth0\"]", "FW0102 2:23"),
        ("interfaces = [\"a name\"]", "FW0009 2:15"),
        ("interfaces = [\"0123456789abcdef\"]", "FW0009 2:15"),
        ("interfaces = \"eth0\"", "FW0003 2:14"),
        ("tunnel_source_v4 = \"fd00::/64\"", "FW0106 2:20"),
        ("tunnel_source_v6 = \"10.9.0.0\"", "FW0106 2:20"),
        ("tunnel_source_v4 = \"10.9.0.1/16\"", "FW0005 2:20"),
        // What follows a bracket left open is not told: it is no mistake of its own.
        ("interfaces = [\"eth0\"\nmode = \"auto\"\n[admin]\nlisten = \"\"", "FW0001 3:1"),
    ];
    for (line, expected) in cases {
        check(&format!("[dataplane]\n{line}\n"), expected);
    }
}

#[test]
fn a_listener_is_refused_for_what_is_wrong_with_it() {
    let cases = [
        ("203.0.113.10:80", "FW0005"),
        ("http://203.0.113.10:80", "FW0005"),
        ("TCP://203.0.113.10:80", "FW0005"),
        ("tcp://203.0.113.10", "FW0005"),
        ("tcp://203.0.113.10:", "FW0005"),
        ("tcp://203.0.113.10:0", "FW0005"),
        ("tcp://203.0.113.10:65536", "FW0005"),
        ("tcp://203.0.113.10:+80", "FW0005"),
        ("tcp://[203.0.113.10]:80", "FW0005"),
        ("tcp://2001:db8::1:80", "FW0005"),
        ("tcp://2001:db8::1", "FW0005"),
        ("tcp://[2001:db8::1%eth0]:80", "FW0005"),
        ("tcp://[2001:db8::1]", "FW0005"),
        ("tcp://www.example.net:80", "FW0005"),
        ("tcp://0.0.0.0:80", "FW0010"),
        ("tcp://[::]:80", "FW0010"),
        ("udp://224.0.0.18:80", "FW0010"),
        ("udp://[ff02::1]:80", "FW0010"),
        ("tcp://127.0.0.1:80", "FW0010"),
        ("tcp://[::1]:80", "FW0010"),
        ("udp://255.255.255.255:80", "FW0010"),
        ("tcp://[fe80::1]:80", "FW0010"),
        ("tcp://[::ffff:192.0.2.1]:80", "FW0010"),
        ("sctp://203.0.113.10", "FW0005"),
        ("dccp://203.0.113.10:80", "FW0005"),
        ("tcp://203.0.113.10:80-", "FW0005"),
        ("tcp://203.0.113.10:-80", "FW0005"),
        ("tcp://203.0.113.10:80-80", "FW0005"),
        ("tcp://203.0.113.10:90-80", "FW0005"),
        ("tcp://203.0.113.10:0-80", "FW0005"),
        ("tcp://203.0.113.10:80-65536", "FW0005"),
        ("tcp://203.0.113.10:80-90-100", "FW0005"),
        ("tcp://203.0.113.10:80-*", "FW0005"),
        ("esp://203.0.113.10:500", "FW0005"),
        ("esp://203.0.113.10:*", "FW0005"),
        ("ah://2001:db8::1", "FW0005"),
        ("ah://[2001:db8::1]:500", "FW0005"),
        ("esp://[203.0.113.10]", "FW0005"),
        ("esp://127.0.0.1", "FW0010"),
    ];
    for (listener, code) in cases {
        let text = format!("{HEAD}[[service]]\nname = \"a\"\nlisten = [\"{listener}\"]\n{ONE}");
        check(&text, &format!("{code} 4:11"));
        assert!(problems(&text)[0].help.is_some(), "{listener} has no advice");
    }
}

#[test]
fn keys_of_later_versions_are_refused_and_never_ignored() {
    check("[dataplane]\npin_path = \"/sys/fs/bpf/fairway\"", "FW0007 2:1");
}

#[test]
fn values_that_do_not_go_together_are_told_with_both_places() {
    check_cases(&[
        ("$one$one", "FW0115 8:11"),
        (
            "$oneforwarding = \"nat\"\nname = \"a\"\n[[service.backend]]\nforwarding = \"nat\"\naddress = \"10.0.0.1\"\nport = 80",
            "FW0115 11:11",
        ),
        ("$onename = \"a\"\n[[service.backend]]\nname = \"a\"\naddress = \"10.0.0.2\"", "FW0104 9:8"),
        ("$one[[service]]\nname = \"web\"\nlisten = [\"udp://203.0.113.10:80\"]\n$one", "FW0103 8:8"),
        ("$one[[service]]\nname = \"b\"\nlisten = [\"tcp://203.0.113.10:80\"]\n$one", "FW0105 9:11"),
        ("$one[[service]]\nname = \"b\"\nlisten = [\"tcp://203.0.113.10:*\"]\n$one", ""),
        ("$[[service.backend]]\naddress = \"2001:db8::1\"", "FW0106 6:11"),
        (
            "[[service]]\nname = \"a\"\nlisten = [\"tcp://203.0.113.10:80\", \"tcp://[2001:db8::1]:80\"]\n$one",
            "FW0106 4:36",
        ),
        ("$oneport = 8080", "FW0107 7:8"),
        (
            "[[service]]\nname = \"a\"\nforwarding = \"nat\"\nlisten = [\"tcp://203.0.113.10:*\"]\n$oneport = 80",
            "FW0108 8:8",
        ),
        ("$forwarding = \"nat\"\n[[service.backend]]\naddress = \"203.0.113.10\"", "FW0110 7:11"),
        ("$[[service.backend]]\naddress = \"203.0.113.10\"", ""),
        ("[[service]]\nname = \"a\"\nlisten = []\n$one", "FW0116 4:10"),
        ("$", "FW0202 3:8"),
        ("$oneweight = 0", "FW0203 3:8"),
        ("$lookup_table_size = 64\n$one", "FW0201 5:21"),
        ("$nat_exclude = [\"10.0.0.0/8\"]\n$one", "FW0205 5:16"),
        ("$udp = \"flows\"\n$one", "FW0205 5:7"),
        // Access rules.
        ("$allow = [\"10.0.0.0/8\"]\ndeny = [\"10.6.0.0/16\", \"0.0.0.0/0\"]\n$one", ""),
        ("$allow = [\"10.0.0.0/8\"]\ndeny = [\"10.0.0.0/8\"]\n$one", "FW0142 6:9"),
        ("$deny = [\"10.0.0.1\", \"10.0.0.1/32\"]\n$one", "FW0142 5:21"),
        ("$allow = [\"2001:db8::/32\"]\n$one", "FW0106 5:10"),
        ("$deny = [\"10.0.0.0/8\", \"2001:db8::/32\"]\n$one", "FW0106 5:23"),
        ("$deny = [\"10.0.0.1/8\"]\n$one", "FW0005 5:9"),
        ("$deny = \"10.0.0.0/8\"\n$one", "FW0003 5:8"),
        ("$rate_limit = { connections = 10, client_connections = 5, client_burst = 7, prefix_v4 = 24 }\n$one", ""),
        ("$rate_limit = {}\n$one", "FW0143 5:14"),
        ("$rate_limit = { burst = 10 }\n$one", "FW0143 5:14"),
        ("$rate_limit = { connections = 0 }\n$one", "FW0006 5:30"),
        ("$rate_limit = { connections = 5, client_burst = 10 }\n$one", "FW0205 5:48"),
        ("$rate_limit = { connections = 5, prefix_v6 = 56 }\n$one", "FW0205 5:45"),
        ("$rate_limit = { client_connections = 5, burst = 10 }\n$one", "FW0205 5:48"),
        ("$rate_limit = { rate = 5 }\n$one", "FW0143 5:14 FW0002 5:16"),
        (
            "[[service]]\nname = \"a\"\nlisten = [\"udp://203.0.113.10:53\"]\nrate_limit = { connections = 5 }\n$one",
            "FW0144 5:14",
        ),
        (
            "[[service]]\nname = \"a\"\nlisten = [\"udp://203.0.113.10:53\"]\nrate_limit = { connections = 5 }\nscheduler = \"rr\"\n$one",
            "",
        ),
        // Protocols.
        (
            "[[service]]\nname = \"a\"\nlisten = [\"tcp://203.0.113.10:80\", \"sctp://203.0.113.10:80\"]\nforwarding = \"tunnel\"\n$one",
            "",
        ),
        (
            "[[service]]\nname = \"a\"\nlisten = [\"tcp://203.0.113.10:80\", \"sctp://203.0.113.10:80\"]\nforwarding = \"nat\"\n$one",
            "FW0145 4:36",
        ),
        (
            "[[service]]\nname = \"a\"\nlisten = [\"sctp://203.0.113.10:80\"]\n$one[[service.backend]]\naddress = \"10.0.0.2\"\nforwarding = \"nat\"",
            "FW0145 4:11",
        ),
        (
            "[[service]]\nname = \"a\"\nlisten = [\"sctp://203.0.113.10:80\"]\nsorry = { address = \"10.0.0.9\", forwarding = \"nat\" }\n$one",
            "FW0145 4:11",
        ),
        ("[[service]]\nname = \"a\"\nlisten = [\"sctp://203.0.113.10:80\"]\nudp = \"flows\"\n$one", "FW0205 5:7"),
        (
            "[[service]]\nname = \"a\"\nlisten = [\"sctp://203.0.113.10:80\"]\nrate_limit = { connections = 5 }\nscheduler = \"rr\"\n$one",
            "",
        ),
    ]);
    by_address();
    ranges();
    check(&format!("{WEB}{ONE}"), "FW0101 1:1");
    check(&format!("[dataplane]\ninterfaces = []\n{WEB}{ONE}"), "FW0101 2:14");
    check(&format!("[dataplane]\nmode = \"auto\"\n{WEB}{ONE}"), "FW0101 1:1");
}

/// Ports belong to one listener each, but for `*`.
fn ranges() {
    let service = |listen: &[&str], rest: &str| {
        let listen: Vec<String> = listen.iter().map(|listener| format!("\"{listener}\"")).collect();
        format!("{HEAD}[[service]]\nname = \"a\"\nlisten = [{}]\n{rest}{ONE}", listen.join(", "))
    };
    for (listen, expected) in [
        (["tcp://203.0.113.10:8000-8099", "tcp://203.0.113.10:8100-8199"], ""),
        (["tcp://203.0.113.10:8000-8099", "tcp://203.0.113.10:*"], ""),
        (["tcp://203.0.113.10:8000-8099", "udp://203.0.113.10:8000-8099"], ""),
        (["tcp://203.0.113.10:8000-8099", "tcp://203.0.113.11:8050-8060"], ""),
        (["tcp://203.0.113.10:8000-8099", "tcp://203.0.113.10:8099-8100"], "FW0147 4:43"),
        (["tcp://203.0.113.10:8050", "tcp://203.0.113.10:8000-8099"], "FW0147 4:38"),
        (["tcp://203.0.113.10:1-65535", "tcp://203.0.113.10:443"], "FW0147 4:41"),
        (["sctp://203.0.113.10:10-20", "sctp://203.0.113.10:20-30"], "FW0147 4:40"),
    ] {
        check(&service(&listen, ""), expected);
    }
    let three = ["tcp://203.0.113.10:1-1000", "tcp://203.0.113.10:10-20", "tcp://203.0.113.10:900"];
    check(&service(&three, ""), "FW0147 4:40 FW0147 4:68");
    let many =
        |count: u16| (1..=count).map(|n| format!("tcp://203.0.113.10:{}-{}", n * 10, n * 10 + 5)).collect::<Vec<_>>();
    let of = |count: u16, rest: &str| {
        let many = many(count);
        service(&many.iter().map(String::as_str).collect::<Vec<_>>(), rest)
    };
    check(&of(16, ""), "");
    check(&of(17, ""), "FW0148 4:473");
    check(&of(16, "forwarding = \"nat\"\n"), "");
    let another = service(&["tcp://203.0.113.11:5000-5005"], "forwarding = \"nat\"\n")
        .replace(HEAD, "")
        .replace("\"a\"", "\"b\"");
    check(&format!("{}{another}", of(16, "forwarding = \"nat\"\n")), "FW0148 13:11");
    let port = format!("{}port = 80\n", service(&["tcp://203.0.113.10:8000-8099"], "forwarding = \"nat\"\n"));
    check(&port, "FW0108 8:8");
    let check_of = service(&["tcp://203.0.113.10:8000-8099"], "[service.check]\ntype = \"tcp\"\n");
    check(&check_of, "");
}

/// ESP needs a scheduler that keeps a client's packets together.
fn by_address() {
    let ipsec = "[[service]]\nname = \"a\"\nlisten = [\"udp://203.0.113.10:500\", \"udp://203.0.113.10:4500\", \"esp://203.0.113.10\"]\n";
    for (keys, expected) in [
        ("", "FW0146 4:64"),
        ("scheduler = \"sh\"\n", ""),
        ("scheduler = \"sh\"\nsource_prefix_v4 = 24\n", ""),
        ("scheduler = \"sh\"\nsource_port = true\n", "FW0146 4:64"),
        ("scheduler = \"dh\"\n", "FW0146 4:64"),
        ("scheduler = \"rr\"\n", "FW0146 4:64"),
        ("scheduler = \"sh\"\nudp = \"flows\"\n", "FW0146 4:64"),
        ("persistence = {}\n", ""),
        ("scheduler = \"wlc\"\npersistence = {}\n", ""),
        ("scheduler = \"wlc\"\npersistence = {}\nudp = \"flows\"\n", ""),
        ("scheduler = \"sh\"\nforwarding = \"tunnel\"\n", ""),
        ("scheduler = \"sh\"\nforwarding = \"nat\"\n", "FW0145 4:64"),
        ("scheduler = \"sh\"\nrate_limit = { connections = 5 }\n", "FW0144 6:14"),
    ] {
        check(&format!("{HEAD}{ipsec}{keys}{ONE}"), expected);
    }
    let alone = |listen: &str, backend: &str| {
        format!(
            "{HEAD}[[service]]\nname = \"a\"\nscheduler = \"sh\"\nlisten = [\"{listen}\"]\n[[service.backend]]\naddress = \"{backend}\"\n"
        )
    };
    check(&alone("ah://[2001:db8::1]", "2001:db8::9"), "");
    check(&alone("esp://203.0.113.10", "10.0.0.1"), "");
    check(
        &format!(
            "{}{}",
            alone("esp://203.0.113.10", "10.0.0.1"),
            alone("esp://203.0.113.10", "10.0.0.1").replace(HEAD, "").replace("\"a\"", "\"b\"")
        ),
        "FW0105 11:11",
    );
}

#[test]
fn services_may_share_a_server_and_its_port() {
    let service =
        |name, listen| format!("[[service]]\nname = \"{name}\"\nlisten = [{listen}]\nforwarding = \"nat\"\n{ONE}");
    let text = format!(
        "{HEAD}{}{}{}",
        service("a", "\"tcp://192.0.2.1:80\", \"tcp://192.0.2.1:443\""),
        service("b", "\"tcp://192.0.2.2:80\""),
        service("c", "\"tcp://192.0.2.3:*\"")
    );
    check(&text, "");
}

#[test]
fn full_nat_needs_a_source_of_its_own() {
    let text = |dataplane: &str| {
        format!(
            "{HEAD}{dataplane}\n[[service]]\nname = \"a\"\nforwarding = \"full-nat\"\nlisten = [\"tcp://192.0.2.1:80\"]\n{ONE}"
        )
    };
    let sources = |list: &str| text(&format!("dataplane.source_nat_addresses = [{list}]"));
    let many: Vec<String> = (1..=17).map(|n| format!("\"10.0.1.{n}\"")).collect();
    check(&sources("\"10.0.0.5\""), "");
    check(&text(""), "FW0140 8:11");
    check(&sources("\"fd00::5\""), "FW0140 8:11");
    check(&sources("\"10.0.0.5\", \"192.0.2.1\""), "FW0141 2:47");
    check(&sources("\"10.0.0.5/24\""), "FW0005 2:35");
    check(&sources(&many.join(", ")), "FW0123 2:234");
    let ports = "dataplane.source_nat_addresses = [\"10.0.0.5\"]\ndataplane.source_nat_first_port = 40000";
    check(&text(ports), "FW0006 1:1");
}

#[test]
fn what_the_host_as_its_own_client_needs_is_for_it_alone() {
    let text = |interfaces: &str, own: bool, rest: &str| {
        let head = format!("[dataplane]\ninterfaces = [{interfaces}]\nhash_seed = \"x\"\nown_client = {own}\n");
        format!(
            "{head}[[service]]\nname = \"a\"\nlisten = [\"tcp://192.0.2.1:80\"]\nvrrp = \"p\"\n{ONE}[[vrrp]]\nname = \"p\"\n\
                 interface = \"eth0\"\nvrid = 5\naddresses = [\"192.0.2.1\"]\n{rest}"
        )
    };
    let route = |table: u32| format!("[[vrrp.route]]\ndestination = \"10.9.0.0/24\"\ntable = {table}\n");
    let rule = |rest: &str| format!("[[vrrp.rule]]\nfrom = \"10.9.0.0/24\"\n{rest}\n");
    for (own, expected) in
        [(true, ["FW0149 2:23", "FW0150 18:9", "FW0150 18:9", "FW0150 19:12"]), (false, ["", "", "", ""])]
    {
        let fwself = "\"eth0\", \"fwself1\"";
        for (case, expected) in [
            text(fwself, own, ""),
            text("\"eth0\"", own, &route(112)),
            text("\"eth0\"", own, &rule("table = 112")),
            text("\"eth0\"", own, &rule("table = 5\npriority = 2")),
        ]
        .iter()
        .zip(expected)
        {
            check(case, expected);
        }
    }
    check(&text("\"eth0\"", true, &(route(113) + &rule("table = 5\npriority = 3"))), "");
    check("[dataplane]\nown_client = true\n", "FW0219 2:14");
    check("[dataplane]\nown_client = 1\n", "FW0003 2:14");
}

#[test]
fn what_does_not_fit_the_tables_is_refused() {
    let backends = |count: u32| -> String {
        let lines = (0..count)
            .map(|i| format!("[[service.backend]]\naddress = \"{}\"\n", Ipv4Addr::from_bits(0x0a00_0000 + i)));
        lines.collect()
    };
    let listeners = |count: u32| -> String {
        let items = (1..=count).map(|port| format!("\"tcp://192.0.2.1:{port}\","));
        format!("listen = [{}]\n", items.collect::<String>())
    };
    let service =
        |listen: &str, rest: &str, backends: &str| format!("{HEAD}[[service]]\nname = \"a\"\n{listen}{rest}{backends}");
    let codes = |text: &str| problems(text).iter().map(|problem| problem.code.as_str()).collect::<Vec<_>>();
    let large = "lookup_table_size = 1_048_576\n";
    assert_eq!(codes(&service(&listeners(1), large, &backends(8192))), [""; 0]);
    assert_eq!(codes(&service(&listeners(1), large, &backends(8193))), ["FW0113"]);
    assert_eq!(codes(&service(&listeners(4096), "", &backends(64))), [""; 0]);
    assert_eq!(codes(&service(&listeners(4097), "", &backends(1))), ["FW0112"]);
    assert_eq!(codes(&service(&listeners(4096), "", &backends(65))), ["FW0114"]);
    assert_eq!(codes(&service(&listeners(1), "lookup_table_size = 16\n", &backends(17))), ["FW0111"]);
    assert_eq!(codes(&service(&listeners(1), "", &backends(163))), [""; 0]);
    assert_eq!(codes(&service(&listeners(1), "", &backends(164))), ["FW0201"]);
}

#[test]
fn every_problem_of_a_file_is_told_at_once() {
    check(
        r#"[node]
nmae = "lb1"
[dataplane]
mode = "nativ"
pin_path = "/tmp"
[[vrrp]]
vrid = 51
[[service]]
listen = ["tcp://203.0.113.10:80", "tcp://203.0.113.10:http"]
idle_timeout = 900
[[service.backend]]
address = "10.0.0.1"
port = 8080
weight = 20_000
[[service.backend]]
address = "10.0.0.1"
[[service]]
name = "b"
listen = ["tcp://203.0.113.10:80"]
"#,
        "FW0002 2:1 FW0101 3:1 FW0008 4:8 FW0007 5:1 FW0004 6:1 FW0004 6:1 FW0004 6:1 FW0211 6:1 FW0004 8:1 FW0005 9:36 FW0003 10:16 FW0107 13:8 FW0006 14:10 \
         FW0115 16:11 FW0202 18:8 FW0105 19:11",
    );
}

/// Snippets follow [`HEAD`]; a `$` at the beginning stands for [`WEB`], `$one` there for [`WEB`] and [`ONE`], elsewhere
/// for [`ONE`].
fn check_cases(cases: &[(&str, &str)]) {
    for (snippet, expected) in cases {
        let text = match snippet.strip_prefix('$') {
            Some(rest) => {
                format!("{WEB}{}", rest.strip_prefix("one").map_or(rest.to_owned(), |rest| format!("{ONE}{rest}")))
            }
            None => (*snippet).to_owned(),
        };
        check(&format!("{HEAD}{}", text.replace("$one", ONE)), expected);
    }
}
