//! What most pairs are for: a server on each node, listening at an address that moves. No service, no XDP, and so no
//! right to load programs.

use std::fs;
use std::process::{Command, Stdio};

use fairway::playground::Namespace;
use fairway_tests::harness::{await_that, fairway_binary, tool};

use super::servers::{haproxy, nginx};
use super::{FIRST, Pair, SECOND, priority, router};

const OF_NGINX: &str = "10.2.0.151";
const OF_HAPROXY: &str = "10.2.0.152";
const BOTH: [&str; 2] = [OF_NGINX, OF_HAPROXY];
/// Bits of capabilities, as the kernel numbers them.
const CAP_SYS_ADMIN: u64 = 1 << 21;
const CAP_BPF: u64 = 1 << 39;
/// Requests in flight, two at a time, just when the addresses move may meet the other node and be reset.
const MOST_CROSSING: usize = 2;

#[test]
fn nginx_and_haproxy_stay_reachable_without_the_right_to_load_programs() {
    let mut pair = Pair::new();
    let mut servers = Vec::new();
    for node in [FIRST, SECOND] {
        // Both listen before the address is there.
        pair.namespace(node).set_sysctls(&[("net/ipv4/ip_nonlocal_bind", "1")]).expect("root may set it");
        servers.push(nginx(&pair.lab, node, OF_NGINX));
        servers.push(haproxy(&pair.lab, node, OF_HAPROXY));
        start_without_rights(&mut pair, node);
    }
    await_answers(&pair, "lb1");

    let client = pair.lab.client();
    let crossing = std::thread::scope(|scope| {
        let watchers = BOTH.map(|address| {
            let client = &client;
            scope.spawn(move || failures_until_answered_by(client, address, "lb2"))
        });
        pair.stop(FIRST);
        watchers.map(|watcher| watcher.join().expect("it ends")).into_iter().sum::<usize>()
    });
    assert!(crossing <= MOST_CROSSING, "{crossing} requests failed while the master handed over");

    start_without_rights(&mut pair, FIRST);
    await_answers(&pair, "lb1");
    pair.power_off(FIRST);
    await_answers(&pair, "lb2");
}

/// With the two capabilities that floating addresses need, and no other.
fn start_without_rights(pair: &mut Pair, node: usize) {
    let config: String = BOTH
        .into_iter()
        .zip(1..)
        .map(|(address, vrid)| router(&format!("v{vrid}"), vrid, priority(node), address, ""))
        .collect();
    let mut command = Command::new(tool("setpriv", "util-linux"));
    command.args(["--bounding-set", "-all,+net_admin,+net_raw"]).arg(fairway_binary());
    pair.start_through(node, &config, command);
    let status = fs::read_to_string(format!("/proc/{}/status", pair.node(node).pid())).expect("it runs");
    let bits = status.lines().find_map(|line| line.strip_prefix("CapEff:")).expect("the kernel lists them").trim();
    let held = u64::from_str_radix(bits, 16).expect("a hexadecimal number");
    assert_eq!(held & (CAP_BPF | CAP_SYS_ADMIN), 0, "the test has not taken its rights: {bits}");
}

fn await_answers(pair: &Pair, node: &str) {
    let client = pair.lab.client();
    for (address, server) in [(OF_NGINX, "nginx"), (OF_HAPROXY, "haproxy")] {
        let expected = format!("{server}-{node}");
        await_that(&format!("{expected} answers"), || curl(&client, address).as_deref() == Some(&expected));
    }
}

/// Asks one request after the other, each on a connection of its own; how many got no answer before the first from `node`.
fn failures_until_answered_by(client: &Namespace, address: &str, node: &str) -> usize {
    let mut failures = 0;
    await_that(&format!("{node} answers at {address}"), || match curl(client, address) {
        Some(answer) => answer.ends_with(node),
        None => {
            failures += 1;
            false
        }
    });
    failures
}

fn curl(from: &Namespace, address: &str) -> Option<String> {
    let mut command = Command::new(tool("curl", "curl"));
    command.args(["--silent", "--fail", "--max-time", "5"]).arg(format!("http://{address}/"));
    command.stdin(Stdio::null());
    let output = from.run(move || command.output()).expect("the namespace is there").expect("curl starts");
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
