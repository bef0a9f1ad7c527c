//! Checks, and what a service says of its pool: what each key means, and what is refused.

use super::check;
use super::{HEAD, ONE, WEB, accepted};
use crate::config::check::{
    Check, Dns, ExpectStep, Http, HttpVersion, Initial, OnDown, Outlier, Pattern, Probe, Sorry, Timing, Tls, Udp, Via,
};
use crate::config::model::Forwarding;
use std::net::IpAddr;
use std::time::Duration;

const USUAL: Timing = Timing {
    interval: Duration::from_secs(2),
    fast_interval: Duration::from_secs(1),
    timeout: Duration::from_secs(1),
    rise: 2,
    fall: 3,
};
const TWO_WEEKS: Duration = Duration::from_secs(14 * 86_400);

#[test]
fn each_type_of_check_means_its_probe() {
    let http = Http {
        version: HttpVersion::Http1,
        tls: None,
        method: "GET".into(),
        path: "/".into(),
        host: None,
        headers: vec![],
        body: String::new(),
        status: vec![(200, 299)],
        expect: None,
    };
    let tls =
        |name: Option<&str>, verify| Tls { server_name: name.map(str::to_owned), verify, expiry_warning: TWO_WEEKS };
    let cases = [
        (r#"type = "tcp""#, Probe::Tcp),
        (r#"type = "icmp""#, Probe::Icmp),
        (r#"type = "http""#, Probe::Http(http.clone())),
        (
            r#"type = "http"
            version = "2"
            method = "POST"
            path = "/health?x=1"
            headers = ["X-Probe: a: b"]
            body = "hello"
            status = ["204", "300-303"]
            expect_regex = '^ok\s'
            tls = true
            server_name = "www.example.net"
            verify = true"#,
            Probe::Http(Http {
                version: HttpVersion::Http2,
                tls: Some(tls(Some("www.example.net"), true)),
                method: "POST".into(),
                path: "/health?x=1".into(),
                host: Some("www.example.net".into()),
                headers: vec![("X-Probe".into(), "a: b".into())],
                body: "hello".into(),
                status: vec![(204, 204), (300, 303)],
                expect: Some(Pattern::Matches(r"^ok\s".into())),
            }),
        ),
        ("type = \"tls\"\nexpiry_warning = \"14days\"", Probe::Tls(tls(None, false))),
        (
            "type = \"dns\"\nquery = \"example.net\"\nrecord = \"aaaa\"\nexpect = \"2001:db8::1\"",
            Probe::Dns(Dns {
                name: "example.net".into(),
                record: "AAAA".into(),
                expect: Some("2001:db8::1".into()),
                accept_empty: false,
            }),
        ),
        (
            r#"type = "udp"
            send = 'ping\x00\n'
            expect = "pong""#,
            Probe::Udp(Udp { send: b"ping\0\n".to_vec(), expect: Some(Pattern::Contains(b"pong".to_vec())) }),
        ),
        (r#"type = "smtp""#, Probe::Smtp { helo: "localhost".into() }),
        ("type = \"grpc\"\ngrpc_service = \"shop\"", Probe::Grpc { service: "shop".into(), tls: None }),
        (
            r#"type = "expect"
            steps = ['send PING\r\n', 'expect +PONG', 'match ^\+']"#,
            Probe::Expect {
                steps: vec![
                    ExpectStep::Send(b"PING\r\n".to_vec()),
                    ExpectStep::Expect(Pattern::Contains(b"+PONG".to_vec())),
                    ExpectStep::Expect(Pattern::Matches(r"^\+".into())),
                ],
                tls: None,
            },
        ),
        (
            r#"type = "script"
            command = ["/usr/bin/check", "-v"]"#,
            Probe::Script { command: vec!["/usr/bin/check".into(), "-v".into()], user: "nobody".into() },
        ),
        (r#"type = "agent""#, Probe::Agent { send: vec![] }),
    ];
    for (keys, probe) in cases {
        let found = checks(keys);
        let expected = Check { probe, port: None, via: Via::Service, timing: USUAL, initial: Initial::Down };
        assert_eq!(found, [expected], "{keys}");
    }
    assert_eq!(checks(r#"type = "none""#), []);
}

#[test]
fn a_check_has_its_timing_and_its_way() {
    let keys = r#"type = "tcp"
        port = 8080
        via = "address"
        interval = "5s"
        fast_interval = "100ms"
        timeout = "4s"
        rise = 1
        fall = 7
        initial = "up""#;
    let timing = Timing {
        interval: Duration::from_secs(5),
        fast_interval: Duration::from_millis(100),
        timeout: Duration::from_secs(4),
        rise: 1,
        fall: 7,
    };
    let expected = Check { probe: Probe::Tcp, port: Some(8080), via: Via::Address, timing, initial: Initial::Up };
    assert_eq!(checks(keys), [expected]);
}

#[test]
fn a_service_may_have_several_checks() {
    let text =
        format!("{HEAD}{WEB}[[service.check]]\ntype = \"tcp\"\n[[service.check]]\ntype = \"agent\"\nport = 9\n{ONE}");
    let config = accepted(&text);
    let probes: Vec<&Probe> = config.services[0].checks.iter().map(|check| &check.probe).collect();
    assert_eq!(probes, [&Probe::Tcp, &Probe::Agent { send: vec![] }]);
}

#[test]
fn a_service_says_how_its_pool_behaves() {
    let config = accepted(&format!(
        r#"{HEAD}{WEB}quorum = 1
        quorum_hysteresis = 2
        minimum_healthy = 0.5
        on_down = "reset"
        slow_start = "30s"
        drain_timeout = "5m"
        sorry = {{ address = "10.0.0.99", port = 8080 }}
        outlier = {{ percent = 50, window = "10s" }}
        [service.check]
        type = "tcp"
        {ONE}priority = 1"#
    ));
    let service = &config.services[0];
    assert_eq!((service.quorum, service.quorum_hysteresis, service.minimum_healthy), (1, 2, 0.5));
    assert_eq!((service.on_down, service.slow_start), (OnDown::Reset, Duration::from_secs(30)));
    assert_eq!(service.drain_timeout, Some(Duration::from_secs(300)));
    let address = IpAddr::from([10, 0, 0, 99]);
    assert_eq!(service.sorry, Some(Sorry { address, port: Some(8080), forwarding: Forwarding::Nat }));
    let window = Duration::from_secs(10);
    assert_eq!(service.outlier, Some(Outlier { percent: 50, minimum_connections: 10, window }));
    assert_eq!(service.backends[0].priority, 1);
}

#[test]
fn what_makes_no_sense_is_told_at_its_place() {
    let cases = [
        ("$[service.check]\n$one", "FW0004 5:1"),
        ("$[service.check]\ntype = \"ping\"\n$one", "FW0008 6:8"),
        ("$[service.check]\ntype = \"tcp\"\npath = \"/\"\n$one", "FW0132 7:8"),
        ("$[service.check]\ntype = \"http\"\nsend = \"a\"\n$one", "FW0132 7:8"),
        ("$[service.check]\ntype = \"dns\"\n$one", "FW0004 5:1"),
        ("$[service.check]\ntype = \"http\"\nstatus = [\"99\"]\n$one", "FW0005 7:11"),
        ("$[service.check]\ntype = \"http\"\nstatus = [\"299-200\"]\n$one", "FW0005 7:11"),
        ("$[service.check]\ntype = \"http\"\nstatus = []\n$one", "FW0122 7:10"),
        ("$[service.check]\ntype = \"http\"\nheaders = [\"no colon\"]\n$one", "FW0005 7:12"),
        ("$[service.check]\ntype = \"http\"\nexpect_regex = \"(\"\n$one", "FW0005 7:16"),
        ("$[service.check]\ntype = \"http\"\nexpect_regex = '(\\w{900}){900}'\n$one", "FW0006 7:16"),
        ("$[service.check]\ntype = \"http\"\nexpect = \"a\"\nexpect_regex = \"a\"\n$one", "FW0133 8:16"),
        ("$[service.check]\ntype = \"udp\"\nsend = '\\x1'\n$one", "FW0005 7:8"),
        ("$[service.check]\ntype = \"udp\"\nsend = '\\q'\n$one", "FW0005 7:8"),
        ("$[service.check]\ntype = \"expect\"\nsteps = [\"wait\"]\n$one", "FW0005 7:10"),
        ("$[service.check]\ntype = \"expect\"\nsteps = []\n$one", "FW0122 7:9"),
        ("$[service.check]\ntype = \"script\"\ncommand = [\"check\"]\n$one", "FW0131 7:11"),
        ("$[service.check]\ntype = \"script\"\ncommand = [\"/check\"]\nuser = \"root\"\n$one", "FW0212 7:11"),
        ("$[service.check]\ntype = \"tcp\"\ninterval = \"1s\"\ntimeout = \"2s\"\n$one", "FW0216 7:12"),
        ("$quorum = 2\n$one", "FW0135 5:10"),
        ("$quorum = 0\n$one", "FW0006 5:10"),
        ("$minimum_healthy = 1.5\n$one", "FW0006 5:19"),
        ("$slow_start = \"5s\"\n$one", "FW0205 5:14"),
        ("$sorry = { address = \"2001:db8::9\" }\n$one", "FW0106 5:21"),
        ("$sorry = { address = \"10.0.0.1\" }\n$one", "FW0115 5:21"),
        ("$sorry = { address = \"10.0.0.9\", port = 80, forwarding = \"direct\" }\n$one", "FW0107 5:40"),
        ("$sorry = {}\n$one", "FW0004 5:9"),
    ];
    for (text, expected) in cases {
        check(&format!("{HEAD}{}", text.replace("$one", ONE).replace('$', WEB)), expected);
    }
    let wildcard = "[[service]]\nname = \"a\"\nlisten = [\"tcp://203.0.113.10:*\"]\n";
    check(&format!("{HEAD}{wildcard}[service.check]\ntype = \"tcp\"\n{ONE}"), "FW0134 5:1");
    check(&format!("{HEAD}{wildcard}[service.check]\ntype = \"icmp\"\n{ONE}"), "");
    let sctp = "[[service]]\nname = \"a\"\nlisten = [\"sctp://203.0.113.10:2905\"]\n";
    check(&format!("{HEAD}{sctp}[service.check]\ntype = \"tcp\"\n{ONE}"), "FW0134 5:1");
    check(&format!("{HEAD}{sctp}[service.check]\ntype = \"http\"\nport = 8080\n{ONE}"), "");
    check(&format!("{HEAD}{sctp}[service.check]\ntype = \"icmp\"\n{ONE}"), "");
}

fn checks(keys: &str) -> Vec<Check> {
    accepted(&format!("{HEAD}{WEB}[service.check]\n{keys}\n{ONE}")).services.remove(0).checks
}
