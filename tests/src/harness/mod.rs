//! A lab with servers and a running Fairway in it, and what the tests in namespaces do to them.
//!
//! The binary under test is `$FAIRWAY_BIN`, or the `fairway` that lies beside the test's build directory. Other programs
//! are looked for in `$FAIRWAY_TOOLS_PATH` and then in `$PATH`.

mod crowd;
mod daemon;
mod echo;
mod load;
mod nginx;
pub mod paced;
mod raw;
mod turns;

use std::io::Write as _;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::thread;
use std::time::Duration;
use std::{env, fs};

use fairway::playground::topology::{Replies, SERVICE_V4, SERVICE_V6, Spec};
use fairway::playground::{Lab, Namespace, configuration};

pub use crowd::Crowd;
pub use daemon::{Fairway, admin_socket};
pub use echo::{Echo, flow};
pub use load::{Connection, History, KeptConnections, fetch, requests};
pub use nginx::Nginx;
pub use raw::{RawClient, RawServer};

/// The port of the web service of [`fairway::playground::configuration`].
pub const HTTP: u16 = 80;
/// A second port that the web servers listen at, for a second service.
pub const HTTP_TOO: u16 = 81;
/// The port of its UDP echo service.
pub const ECHO: u16 = 7;

const AWAIT_POLL: Duration = Duration::from_millis(20);
/// Fifteen seconds: what takes longer does not come.
const AWAIT_TRIES: u32 = 750;

/// Everything a test needs, in the order in which it has to end.
pub struct Bed {
    /// The daemon on the first balancer, with all backends of the lab unless the test says otherwise.
    pub fairway: Fairway,
    /// Held, not read: a web server in every backend.
    _nginx: Vec<Nginx>,
    /// The network.
    pub lab: Lab,
}

impl Bed {
    /// A lab with web servers, and Fairway balancing over the given backends.
    pub fn start(spec: &Spec, backends: &[usize]) -> Self {
        let lab = lab(spec);
        Self::in_lab(lab, |lab| usual_config(lab, backends))
    }

    /// Web servers in a lab that stands, and Fairway with another configuration, once it is ready.
    pub fn in_lab(lab: Lab, config: impl FnOnce(&Lab) -> String) -> Self {
        let bed = Self::begin(lab, config);
        bed.fairway.wait_until_ready();
        bed
    }

    /// The same for a Fairway that is not expected to become ready.
    pub fn begin(lab: Lab, config: impl FnOnce(&Lab) -> String) -> Self {
        let _nginx = (0..lab.spec().backends).map(|index| Nginx::start(&lab, index)).collect();
        let fairway = Fairway::start_with(&lab, &config(&lab));
        Self { fairway, _nginx, lab }
    }
}

impl Bed {
    /// For whoever wonders why a connection broke: what Fairway passed and dropped, and what each host says of TCP.
    pub fn traces(&self) -> String {
        let mut traces = self.fairway.fates();
        for role in self.lab.spec().roles() {
            let namespace = self.lab.namespace(role);
            for table in ["snmp", "netstat"] {
                // That of the thread, for only the thread is in the namespace.
                let read = || fs::read_to_string(format!("/proc/thread-self/net/{table}"));
                let text = namespace.run(read).expect("the namespace is there").unwrap_or_default();
                traces += &format!("{}: {}\n", role.name(), of_tcp(&text));
            }
        }
        traces
    }
}

/// The counters of TCP that have counted something.
fn of_tcp(table: &str) -> String {
    let rows: Vec<&str> = table.lines().filter(|line| line.starts_with("Tcp")).collect();
    let [names, values] = rows[..] else { return String::new() };
    let counted = names.split_whitespace().zip(values.split_whitespace()).skip(1).filter(|(_, value)| *value != "0");
    counted.map(|(name, value)| format!("{name}={value} ")).collect()
}

/// The usual configuration over these backends, for tests to change.
pub fn usual_config(lab: &Lab, backends: &[usize]) -> String {
    configuration(lab, &admin_socket(lab, 0), backends)
}

/// Runs lines of `ip -batch` in a namespace; all must succeed.
pub fn ip(namespace: &Namespace, lines: &str) {
    let mut child = Command::new(tool("ip", "iproute2"))
        .args(["-netns", namespace.name(), "-batch", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("ip starts");
    child.stdin.take().expect("it is piped").write_all(lines.as_bytes()).expect("ip reads");
    let output = child.wait_with_output().expect("ip can be waited for");
    assert!(output.status.success(), "{lines}{}", String::from_utf8_lossy(&output.stderr));
}

/// Waits for something that has to come, and panics with `what` when it does not.
pub fn await_that(what: &str, mut holds: impl FnMut() -> bool) {
    for _ in 0..AWAIT_TRIES {
        if holds() {
            return;
        }
        thread::sleep(AWAIT_POLL);
    }
    panic!("not so after {:?}: {what}", AWAIT_POLL * AWAIT_TRIES);
}

/// Held by tests that remove leftovers, of which there are the same for all: two at once would race for them.
pub static CLEANING: Mutex<()> = Mutex::new(());

/// A lab, or a panic that says what is needed.
pub fn lab(spec: &Spec) -> Lab {
    assert!(nix::unistd::geteuid().is_root(), "the namespace tests need root: `cargo xtask test netns` sees to it");
    Lab::build(spec).expect("the lab can be built")
}

/// Four backends whose answers go the given way.
pub fn four_backends(replies: Replies) -> Spec {
    Spec { replies, ..Spec::default() }
}

/// The virtual service's address over IPv4.
pub fn service_v4(port: u16) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(SERVICE_V4), port)
}

/// The virtual service's address over IPv6.
pub fn service_v6(port: u16) -> SocketAddr {
    SocketAddr::new(IpAddr::V6(SERVICE_V6), port)
}

/// A program that the tests run, from the places named at the top of this module.
pub fn tool(name: &str, package: &str) -> PathBuf {
    let places = ["FAIRWAY_TOOLS_PATH", "PATH"].map(|variable| env::var_os(variable).unwrap_or_default());
    places
        .iter()
        .flat_map(env::split_paths)
        .chain(["/usr/sbin", "/sbin"].map(PathBuf::from))
        .map(|directory| directory.join(name))
        .find(|path| path.is_file())
        .unwrap_or_else(|| panic!("{name} is not there; on Debian and Ubuntu: apt-get install {package}"))
}

/// What `ip -json -details link show` says of one interface.
pub fn link(namespace: &Namespace, interface: &str) -> serde_json::Value {
    let output = Command::new(tool("ip", "iproute2"))
        .args(["-netns", namespace.name(), "-json", "-details", "link", "show", interface])
        .output()
        .expect("ip starts");
    let mut links: serde_json::Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)));
    links[0].take()
}

/// What `ip -json` says in a namespace.
pub fn ip_says(namespace: &Namespace, arguments: &[&str]) -> serde_json::Value {
    let output = Command::new(tool("ip", "iproute2"))
        .args(["-netns", namespace.name(), "-json"])
        .args(arguments)
        .output()
        .expect("ip starts");
    let text = if output.stdout.is_empty() { b"[]".as_slice() } else { &output.stdout };
    serde_json::from_slice(text)
        .unwrap_or_else(|error| panic!("{arguments:?}: {error}: {}", String::from_utf8_lossy(&output.stderr)))
}

/// The binary under test.
pub fn fairway_binary() -> PathBuf {
    if let Some(path) = env::var_os("FAIRWAY_BIN") {
        return path.into();
    }
    let this_test = env::current_exe().expect("a running test has a path");
    let beside = this_test.parent().and_then(Path::parent).expect("tests lie in target/PROFILE/deps").join("fairway");
    assert!(beside.is_file(), "no {}: build it (cargo build -p lb-userspace) or set FAIRWAY_BIN", beside.display());
    beside
}
