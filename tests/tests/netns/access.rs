//! Access rules: who may not come gets no answer, also in the midst of a connection; and of a burst of SYNs as many pass as the limit
//! says, while connections that have begun are served.

use std::net::SocketAddr;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::process::{Command, Stdio};
use std::time::Instant;

use fairway::playground::Lab;
use fairway::playground::topology::Replies;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, SockaddrStorage, connect, socket};

use crate::harness::{Bed, Connection, HTTP, await_that, four_backends, service_v4, service_v6, usual_config};

/// Networks that hold the lab's client.
const NETWORKS: [&str; 2] = ["10.1.0.0/16", "fd01::/16"];

#[test]
fn clients_come_only_where_they_may_under_direct() {
    prefixes(Replies::Direct);
}

#[test]
fn clients_come_only_where_they_may_under_nat() {
    prefixes(Replies::ThroughBalancer);
}

fn prefixes(replies: Replies) {
    let open = |lab: &Lab| usual_config(lab, &[0, 1, 2, 3]);
    let bed =
        Bed::in_lab(lab_of(replies), |lab| config(lab, ["deny = [\"203.0.113.0/24\"]", "deny = [\"2001:db8::/32\"]"]));
    let services = [service_v4(HTTP), service_v6(HTTP)];
    let mut held: Vec<Connection> = Vec::new();
    for service in services {
        assert!(curl(&bed, service), "{service} is open to this client: {}", bed.fairway.fates());
        held.push(Connection::open_from(&bed.lab.client(), service).expect("nginx accepts"));
    }
    let denied = || bed.fairway.packets("drops", "denied");
    assert_eq!(denied(), 0.0);

    // The client's network is denied: new connections and those there are.
    let deny = NETWORKS.map(|network| format!("deny = [\"{network}\"]"));
    reload(&bed, &config(&bed.lab, [&deny[0], &deny[1]]));
    for service in services {
        let before = denied();
        assert!(!curl(&bed, service), "{service} is closed to this client");
        assert!(denied() > before, "{}", bed.fairway.fates());
    }
    let explained = bed.fairway.command(&["explain", "--from", "10.1.0.1:4711", &services[0].to_string()]);
    let said = String::from_utf8_lossy(&explained.stdout).into_owned();
    assert!(said.contains("drop (denied)") && said.contains("do not let this client in"), "{said}");
    assert!(bed.fairway.show("services").to_string().contains("deny 1"), "{}", bed.fairway.show("services"));

    // Others may not come, but the client's network may; its connections of before go on.
    let allow = NETWORKS.map(|network| format!("allow = [\"{network}\"]"));
    reload(&bed, &config(&bed.lab, [&allow[0], &allow[1]]));
    for (service, connection) in services.into_iter().zip(&mut held) {
        assert!(curl(&bed, service), "{service} is open to this client again: {}", bed.fairway.fates());
        connection.ask_name().unwrap_or_else(|error| panic!("a connection of before, {service}: {error}"));
    }
    reload(&bed, &open(&bed.lab));
    assert!(services.into_iter().all(|service| curl(&bed, service)));
}

/// Connections that a client begins at once.
const BURST: usize = 300;
/// Of these so many are let in, and then one a second.
const ALLOWED: usize = 20;

#[test]
#[expect(clippy::disallowed_methods, reason = "how many are let in depends on how long it takes")]
fn a_burst_of_syns_passes_as_far_as_the_limit_says_and_who_is_connected_stays() {
    let limit = format!("rate_limit = {{ client_connections = 1, client_burst = {ALLOWED} }}");
    let bed = Bed::in_lab(lab_of(Replies::Direct), |lab| config(lab, [&limit, &limit]));
    for service in [service_v4(HTTP), service_v6(HTTP)] {
        let connections = || bed.fairway.metric_sum("fairway_service_connections_total");
        let (begun, refused) = (connections(), bed.fairway.packets("drops", "client-rate"));
        let since = Instant::now();
        let mut held = Connection::open_from(&bed.lab.client(), service).expect("the first is let in");
        let sockets = bed.lab.client().run(|| burst(service)).expect("the namespace is there");
        // Every SYN is either forwarded or refused; those refused come again after a second.
        let passed = || connections() - begun;
        let kept_out = || bed.fairway.packets("drops", "client-rate") - refused;
        await_that("all SYNs have come", || passed() + kept_out() > BURST as f64);
        let (passed, most) = (passed(), (ALLOWED + 1) as f64 + since.elapsed().as_secs_f64());
        assert!(passed >= ALLOWED as f64 && passed <= most, "{passed} of {BURST} passed, at most {most} should");
        held.ask_name().unwrap_or_else(|error| panic!("who is connected stays, {service}: {error}"));
        drop(sockets);
    }
}

/// Begins connections without waiting for any: the kernel sends a SYN for each.
fn burst(service: SocketAddr) -> Vec<OwnedFd> {
    let family = if service.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    let begin = |_| {
        let socket = socket(family, SockType::Stream, SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC, None);
        let socket = socket.expect("a socket");
        // It says that the connection is in progress.
        let _ = connect(socket.as_raw_fd(), &SockaddrStorage::from(service));
        socket
    };
    (0..BURST).map(begin).collect()
}

fn lab_of(replies: Replies) -> Lab {
    crate::harness::lab(&four_backends(replies))
}

/// The usual configuration without UDP, with these keys for each service.
fn config(lab: &Lab, keys: [&str; 2]) -> String {
    let text = usual_config(lab, &[0, 1, 2, 3]);
    let mut keys = keys.into_iter();
    let line = |line: &str| match line {
        _ if line.starts_with("listen = [\"tcp") => {
            let tcp = line.split(',').next().expect("a first part");
            format!("{tcp}]\n{}\n", keys.next().expect("two services"))
        }
        _ => format!("{line}\n"),
    };
    text.lines().map(line).collect()
}

fn reload(bed: &Bed, config: &str) {
    let output = bed.fairway.reload(config);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// Whether a client is served within two seconds.
fn curl(bed: &Bed, service: SocketAddr) -> bool {
    let mut command = Command::new("curl");
    command.args(["--silent", "--fail", "--globoff", "--max-time", "2", &format!("http://{service}/")]);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let status = bed.lab.client().run(move || command.status()).expect("the namespace is there");
    status.expect("curl is installed").success()
}
