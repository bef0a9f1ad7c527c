//! `dns` against dnsmasq.

use std::fs;
use std::process::Command;

use nix::sys::signal::Signal;

use super::servers::start;
use super::{Checked, await_down, await_up, fairway, one_backend};
use crate::harness::tool;

#[test]
fn dns_is_judged_by_its_answer() {
    let lab = one_backend();
    let hosts = lab.directory().join("hosts");
    fs::write(&hosts, "10.0.0.1 web.example\nfd00::1 web.example\n").expect("the lab's directory is writable");
    let mut command = Command::new(tool("dnsmasq", "dnsmasq-base"));
    command.args(["--keep-in-foreground", "--conf-file=/dev/null", "--no-resolv", "--no-hosts", "--user=root"]);
    command.args(["--listen-address=10.2.0.21", "--bind-interfaces", "--pid-file=", "--local=/example/"]);
    command.arg(format!("--addn-hosts={}", hosts.display()));
    let mut dnsmasq = start(&lab, command, 53);

    let check = |record: &str, expect: &str| {
        format!("type = \"dns\"\nport = 53\nquery = \"web.example\"\nrecord = \"{record}\"\n{expect}")
    };
    let services = [
        Checked::new("a", 53, check("A", "expect = \"10.0.0.1\"")),
        Checked::new("aaaa", 54, check("AAAA", "expect = \"FD00::1\"")),
        Checked::new("any", 55, check("A", "accept_empty = true")),
    ];
    let fairway = fairway(&lab, &services);
    await_up(&fairway, "a", "DNS A 10.0.0.1");
    await_up(&fairway, "aaaa", "DNS AAAA FD00::1");
    await_up(&fairway, "any", "DNS A 10.0.0.1");

    fs::write(&hosts, "10.0.0.2 web.example\n").expect("the lab's directory is writable");
    dnsmasq.signal(Signal::SIGHUP).expect("dnsmasq runs");
    await_down(&fairway, "a", "DNS answer A 10.0.0.2, expected A 10.0.0.1");
    await_down(&fairway, "aaaa", "DNS answer without AAAA, expected AAAA FD00::1");
    await_up(&fairway, "any", "DNS A 10.0.0.2");
    fs::write(&hosts, "").expect("the lab's directory is writable");
    dnsmasq.signal(Signal::SIGHUP).expect("dnsmasq runs");
    await_down(&fairway, "a", "DNS answer NXDOMAIN, expected A 10.0.0.1");
    await_up(&fairway, "any", "DNS NXDOMAIN, no A");
    fs::write(&hosts, "10.0.0.1 web.example\nfd00::1 web.example\n").expect("the lab's directory is writable");
    dnsmasq.signal(Signal::SIGHUP).expect("dnsmasq runs");
    await_up(&fairway, "a", "DNS A 10.0.0.1");
    await_up(&fairway, "aaaa", "DNS AAAA FD00::1");

    dnsmasq.signal(Signal::SIGSTOP).expect("dnsmasq runs");
    await_down(&fairway, "a", "no answer within 500 ms");
    dnsmasq.signal(Signal::SIGCONT).expect("dnsmasq runs");
    await_up(&fairway, "a", "DNS A 10.0.0.1");
    dnsmasq.stop().expect("dnsmasq can be waited for");
    await_down(&fairway, "a", "connection refused by 10.2.0.21:53 (ICMP port unreachable from 10.2.0.21)");
}
