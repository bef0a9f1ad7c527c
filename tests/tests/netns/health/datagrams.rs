//! `udp` against an echo server, `icmp` against the backend's kernel, over both families.

use super::{Checked, await_down, await_up, fairway, one_backend};
use crate::harness::{ECHO, Echo};

#[test]
fn udp_answers_and_an_icmp_error_counts_where_silence_does_not() {
    let lab = one_backend();
    let echo = Echo::start(&lab, 0);
    let services = [
        Checked::new("asked", ECHO, "type = \"udp\"\nsend = 'ping\\x00'\nexpect = 'g\\x00'"),
        Checked::new("told", 8, "type = \"udp\"\nport = 7\nsend = 'ping'"),
        Checked { v6: true, ..Checked::new("v6", ECHO, "type = \"udp\"\nsend = 'ping'\nexpect = 'pong'") },
    ];
    let fairway = fairway(&lab, &services);
    await_up(&fairway, "asked", r#"answered with "g\x00""#);
    await_up(&fairway, "told", "answered");
    await_down(&fairway, "v6", r#"answer "ping", expected "pong""#);
    drop(echo);
    for service in ["asked", "told"] {
        await_down(&fairway, service, "connection refused by 10.2.0.21:7 (ICMP port unreachable from 10.2.0.21)");
    }
    await_down(&fairway, "v6", "connection refused by [fd02::21]:7 (ICMP port unreachable from fd02::21)");
    let _echo = Echo::start(&lab, 0);
    await_up(&fairway, "asked", r#"answered with "g\x00""#);
}

#[test]
fn icmp_answers_over_both_families_unless_the_host_ignores_echoes() {
    let lab = one_backend();
    let services =
        [Checked::new("v4", 80, "type = \"icmp\""), Checked { v6: true, ..Checked::new("v6", 80, "type = \"icmp\"") }];
    let fairway = fairway(&lab, &services);
    let ignore = |value: &str| {
        let settings = [("net/ipv4/icmp_echo_ignore_all", value), ("net/ipv6/icmp/echo_ignore_all", value)];
        lab.backend(0).set_sysctls(&settings).expect("the kernel has these settings");
    };
    for service in ["v4", "v6"] {
        await_up(&fairway, service, "echo answered");
    }
    ignore("1");
    for service in ["v4", "v6"] {
        await_down(&fairway, service, "no answer within 500 ms");
    }
    ignore("0");
    for service in ["v4", "v6"] {
        await_up(&fairway, service, "echo answered");
    }
}
