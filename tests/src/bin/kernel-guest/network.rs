//! The machine's network: interfaces by their names, and `ip` to shape them.
//!
//! `lb`, `client` and `server` share one Ethernet segment; `port0` and `peer0` another, `port1` and `peer1` a third. A
//! segment is a hub: who listens in promiscuous mode sees every frame. `client` and `server` are in namespaces of their
//! names. `old` is alone on its segment, a device from before virtio 1.0.

use std::fs;
use std::net::IpAddr;
use std::process::Command;

use nix::net::if_::if_nametoindex;
use nix::sched::{CloneFlags, setns};

/// Interfaces by the last octet of their MAC address, which the machine's command line gives.
const INTERFACES: &[&str] = &["lb", "client", "server", "port0", "peer0", "port1", "peer1", "old"];

/// The balancer's address on the first segment, and one beside it where nobody is: frames to it are looked at, not
/// answered.
pub const LB: &str = "192.0.2.1";
pub const NOBODY: &str = "192.0.2.9";
pub const NOBODY6: &str = "2001:db8::9";
pub const NOBODY_MAC: [u8; 6] = [2, 0xbe, 0, 0, 0, 9];
pub const SERVER: &str = "192.0.2.3";
pub const CLIENT: &str = "192.0.2.2";
pub const CLIENT_MAC: &str = "52:54:00:fa:00:01";

pub fn set_up() {
    // `bonding_masters` is a file there.
    let names = fs::read_dir("/sys/class/net").expect("sysfs is mounted").flatten();
    let names: Vec<_> = names.filter(|entry| entry.path().join("address").exists()).collect();
    for old in names.iter().map(|entry| entry.file_name().into_string().expect("the kernel's names are ASCII")) {
        if let [0x52, 0x54, 0, 0xfa, 0, n] = mac(&old) {
            ip(&format!("link set {old} name {}", INTERFACES[usize::from(n)]));
        }
    }
    ip("link set lo up");
    for name in ["client", "server"] {
        ip(&format!("netns add {name}"));
        ip(&format!("link set {name} netns {name}"));
        ip(&format!("-n {name} link set lo up"));
        ip(&format!("-n {name} link set {name} up"));
    }
    for name in ["lb", "peer0", "peer1"] {
        ip(&format!("link set {name} up"));
    }
    ip(&format!("address add {LB}/24 dev lb"));
    ip("address add 2001:db8::1/64 dev lb nodad");
    ip(&format!("neighbour add {NOBODY} lladdr {} dev lb nud permanent", text(NOBODY_MAC)));
    ip(&format!("neighbour add {NOBODY6} lladdr {} dev lb nud permanent", text(NOBODY_MAC)));
    ip(&format!("-n client address add {CLIENT}/24 dev client"));
    ip(&format!("-n server address add {SERVER}/24 dev server"));
    fs::write("/proc/sys/net/ipv4/ip_forward", "1").expect("root writes sysctls");
}

/// Runs `ip` with these words; it must succeed.
pub fn ip(words: &str) {
    let output = Command::new("ip").args(words.split(' ')).output().expect("ip is in the machine");
    assert!(output.status.success(), "ip {words}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Runs `act` in a network namespace, on a thread of its own.
pub fn inside<T: Send>(namespace: &str, act: impl FnOnce() -> T + Send) -> T {
    let file = fs::File::open(format!("/run/netns/{namespace}")).expect("the namespace was made");
    let run = || {
        setns(file, CloneFlags::CLONE_NEWNET).expect("root enters namespaces");
        act()
    };
    std::thread::scope(|scope| scope.spawn(run).join().expect("the thread has its own assertions"))
}

/// The MAC address of an interface of the first namespace, which /sys is of.
pub fn mac(interface: &str) -> [u8; 6] {
    let text = fs::read_to_string(format!("/sys/class/net/{interface}/address")).expect("the interface is here");
    let octets: Vec<u8> = text.trim().split(':').map(|octet| u8::from_str_radix(octet, 16).expect("hex")).collect();
    octets.try_into().expect("six octets")
}

/// The index of an interface of the calling thread's namespace.
pub fn index(interface: &str) -> u32 {
    if_nametoindex(interface).expect("the interface is here")
}

pub fn address(text: &str) -> IpAddr {
    text.parse().expect("a literal")
}

fn text(mac: [u8; 6]) -> String {
    mac.map(|octet| format!("{octet:02x}")).join(":")
}
