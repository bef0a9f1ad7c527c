//! What goes wrong with any server: it is dead, its host is, it hangs, it drips.

use std::fs;
use std::io::Write as _;
use std::net::TcpStream;
use std::thread;
use std::time::Duration;

use fairway::config::check::{Probe, Timing};
use fairway::effects::prober::probe::Prepared;
use fairway::effects::prober::route::Route;
use fairway::health::spec::{Spec as HealthSpec, Target, Way};
use fairway::health::verdict::FailureKind;
use fairway::playground::topology::{Role, backend_v4, router_port};
use nix::sys::signal::Signal;

use super::servers::{Treating, nginx};
use super::{Checked, await_down, await_up, fairway, one_backend};
use crate::harness::ip;

#[test]
fn a_dead_process_a_hung_one_and_a_dead_host_are_told_apart() {
    let lab = one_backend();
    let files = tempfile::tempdir().expect("a directory can be made");
    fs::write(files.path().join("index.html"), "ok\n").expect("it is writable");
    let lines = "server { listen 10.2.0.21:80; }";
    let mut server = nginx(&lab, files.path(), lines, 80);
    let services = [Checked::new("web", 80, "type = \"http\""), Checked::new("port", 81, "type = \"tcp\"\nport = 80")];
    let fairway = fairway(&lab, &services);
    let both_up = || {
        await_up(&fairway, "web", "HTTP 200");
        await_up(&fairway, "port", "connected");
    };
    both_up();

    // The kernel goes on accepting for a process that hangs: only a question finds it.
    server.signal(Signal::SIGSTOP).expect("nginx runs");
    await_down(&fairway, "web", "no answer within 500 ms after connecting");
    await_up(&fairway, "port", "connected");
    server.signal(Signal::SIGCONT).expect("nginx runs");
    both_up();

    server.stop().expect("nginx can be waited for");
    for service in ["web", "port"] {
        await_down(&fairway, service, "connection refused by 10.2.0.21:80");
    }
    let _server = nginx(&lab, files.path(), lines, 80);
    both_up();

    let port = router_port(Role::Backend(0));
    ip(&lab.router(), &format!("link set {port} down\n"));
    for service in ["web", "port"] {
        await_down(&fairway, service, "connect timed out after 500 ms");
    }
    ip(&lab.router(), &format!("link set {port} up\n"));
    both_up();
}

/// Whoever waits that long learns from the kernel that nobody answers its questions.
#[test]
fn an_address_that_nobody_has_is_silence_with_a_reason() {
    let lab = one_backend();
    let address = backend_v4(9).into();
    let second = Duration::from_secs(1);
    let timing = Timing { interval: second, fast_interval: second, timeout: 20 * second, rise: 1, fall: 1 };
    for probe in [Probe::Tcp, Probe::Icmp] {
        let target = Target { address, port: if probe == Probe::Tcp { 80 } else { 0 }, way: Way::Plain };
        let spec = HealthSpec { probe, target, timing, named: None };
        let ask = || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime starts");
            let prepared = Prepared::new(&spec.probe).expect("there is nothing to prepare");
            runtime.block_on(prepared.run(&spec, &Route::plain(&spec.target))).result
        };
        let failure = lab.balancer(0).run(ask).expect("the namespace is there").expect_err("nobody answers");
        let why = format!("host unreachable: nobody answers for {target} on the link");
        assert_eq!((failure.kind, failure.why), (FailureKind::Silent, why));
    }
}

#[test]
fn a_slow_drip_is_as_late_as_no_answer() {
    let lab = one_backend();
    let _dripping = Treating::start(&lab, 80, |mut client: TcpStream| {
        for octet in b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok" {
            if client.write_all(&[*octet]).is_err() {
                return;
            }
            thread::sleep(Duration::from_millis(100));
        }
    });
    // Every octet comes in time; all of them take four seconds.
    let fairway = fairway(&lab, &[Checked::new("web", 80, "type = \"http\"")]);
    await_down(&fairway, "web", "no answer within 500 ms after connecting");
}
