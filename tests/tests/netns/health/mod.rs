//! Each kind of check against a real server, by the daemon: it passes, fails with the right reason, and recovers.
//!
//! These are about the kinds, so all probes go to the backends' own addresses (`via = "address"`).

mod agents;
mod certificates;
mod datagrams;
mod faults;
mod grpc;
mod lines;
mod names;
mod scripts;
mod servers;
mod web;

use std::fmt::Write as _;
use std::process::Command;
use std::thread;
use std::time::Duration;

use fairway::playground::Lab;
use fairway::playground::topology::{SERVICE_V4, SERVICE_V6, Spec, backend_v4, backend_v6};

use crate::harness::{Fairway, fairway_binary, lab, usual_config};

/// Between probes, and of each; short, so that a test of silence is, too.
const TIMEOUT: &str = "500ms";
const POLL: Duration = Duration::from_millis(50);
/// Thirty seconds: longer than flapping is damped.
const TRIES: u32 = 600;

/// A lab with one backend, whose checks are what is tested.
fn one_backend() -> Lab {
    lab(&Spec { backends: 1, ..Spec::default() })
}

/// A service of one backend, named by what is checked.
struct Checked {
    name: &'static str,
    port: u16,
    check: String,
    v6: bool,
}

impl Checked {
    /// A service at this port, with further lines of `[service.check]`.
    fn new(name: &'static str, port: u16, check: impl Into<String>) -> Self {
        Self { name, port, check: check.into(), v6: false }
    }

    fn lines(&self) -> String {
        let (service, backend) = match self.v6 {
            false => (SERVICE_V4.to_string(), backend_v4(0).to_string()),
            true => (format!("[{SERVICE_V6}]"), backend_v6(0).to_string()),
        };
        let Self { name, port, check, .. } = self;
        format!(
            "
[[service]]
name = \"{name}\"
listen = [\"tcp://{service}:{port}\"]
[service.check]
via = \"address\"
interval = \"{TIMEOUT}\"
fast_interval = \"{TIMEOUT}\"
timeout = \"{TIMEOUT}\"
rise = 1
fall = 1
{check}
[[service.backend]]
name = \"b1\"
address = \"{backend}\"
"
        )
    }
}

/// The daemon with these services, whose checks may be up or not.
fn fairway(lab: &Lab, services: &[Checked]) -> Fairway {
    fairway_through(lab, services, Command::new(fairway_binary()))
}

/// The same by a command that becomes it, or has an environment of its own.
fn fairway_through(lab: &Lab, services: &[Checked], command: Command) -> Fairway {
    let usual = usual_config(lab, &[]);
    let (head, _) = usual.split_once("[[service]]").expect("the usual configuration has services");
    let mut config = head.to_owned();
    for service in services {
        write!(config, "{}", service.lines()).expect("writing to a string cannot fail");
    }
    Fairway::start_through(lab, 0, &config, command)
}

/// Waits until the check of a service is up and says this.
fn await_up(fairway: &Fairway, service: &str, detail: &str) {
    await_state(fairway, service, "up", detail);
}

/// Waits until the check of a service is down, for exactly this reason.
fn await_down(fairway: &Fairway, service: &str, why: &str) {
    await_state(fairway, service, "down", why);
}

fn await_state(fairway: &Fairway, service: &str, state: &str, why: &str) {
    let mut found = (String::new(), String::new());
    for _ in 0..TRIES {
        found = check_of(fairway, service);
        if found.0 == state && found.1 == why {
            return;
        }
        thread::sleep(POLL);
    }
    panic!("{service} should be {state}: {why}\nit is {}: {}", found.0, found.1);
}

/// State and reason, as `fairway show checks` has them.
fn check_of(fairway: &Fairway, service: &str) -> (String, String) {
    let checks = fairway.show("checks");
    let of_service = |check: &&serde_json::Value| check["service"] == service;
    let check = checks["checks"].as_array().and_then(|checks| checks.iter().find(of_service));
    let text = |key: &str| check.and_then(|check| check[key].as_str()).unwrap_or_default().to_owned();
    (text("state"), text("why"))
}
