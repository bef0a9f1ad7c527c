//! A lab with servers and a running Fairway in it, and what the tests do to them.

mod daemon;
mod echo;
mod load;
mod nginx;

use std::env;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use fairway::playground::topology::{Replies, SERVICE_V4, SERVICE_V6, Spec};
use fairway::playground::{Lab, Namespace};

pub use daemon::Fairway;
pub use echo::Echo;
pub use load::{KeptConnections, fetch, requests};
pub use nginx::Nginx;

/// The port of the web service of [`fairway::playground::configuration`].
pub const HTTP: u16 = 80;
/// The port of its UDP echo service.
pub const ECHO: u16 = 7;

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
        let _nginx = (0..spec.backends).map(|index| Nginx::start(&lab, index)).collect();
        let fairway = Fairway::start(&lab, backends);
        Self { fairway, _nginx, lab }
    }
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

/// A program that the tests run, from the places named at the top of this crate.
fn tool(name: &str, package: &str) -> PathBuf {
    let places = ["FAIRWAY_TOOLS_PATH", "PATH"].map(|variable| env::var_os(variable).unwrap_or_default());
    places
        .iter()
        .flat_map(env::split_paths)
        .chain(["/usr/sbin", "/sbin"].map(PathBuf::from))
        .map(|directory| directory.join(name))
        .find(|path| path.is_file())
        .unwrap_or_else(|| panic!("the namespace tests need {name}; on Debian and Ubuntu: apt-get install {package}"))
}

/// What `ip -json -details link show` says of one interface.
pub fn link(namespace: &Namespace, interface: &str) -> serde_json::Value {
    let output = std::process::Command::new(tool("ip", "iproute2"))
        .args(["-netns", namespace.name(), "-json", "-details", "link", "show", interface])
        .output()
        .expect("ip starts");
    let mut links: serde_json::Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)));
    links[0].take()
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
