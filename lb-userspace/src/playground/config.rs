//! The configuration that Fairway runs with in a lab: an ordinary one, worth reading, because the demo prints it.

use std::fmt::Write as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;

use super::lab::Lab;
use super::topology::{GATEWAY_V4, GATEWAY_V6, Replies, SERVICE_V4, SERVICE_V6, backend_v4, backend_v6, balancer_v4};

/// Where the admin interface listens, inside the balancer's namespace.
pub fn admin_address() -> SocketAddr {
    SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 9910)
}

/// What a backend is called, counted from 0.
pub fn backend_name(index: usize) -> String {
    format!("b{}", index + 1)
}

/// Web and UDP echo over both families, with these backends of the lab, counted from 0: the configuration of the first
/// balancer, which holds the addresses without VRRP.
pub fn configuration(lab: &Lab, socket: &Path, backends: &[usize]) -> String {
    node_configuration(lab, 0, socket, backends)
}

/// The same for a balancer of the lab, counted from 0. Where the lab leaves the addresses to VRRP, so does this.
pub fn node_configuration(lab: &Lab, node: usize, socket: &Path, backends: &[usize]) -> String {
    let mut text = format!(
        "[node]
name = \"lb{number}\"
state_dir = \"{state}\"

[dataplane]
interfaces = [\"eth0\"]

[admin]
socket = \"{socket}\"
listen = \"{admin}\"
",
        number = node + 1,
        state = lab.directory().join(format!("state{}", node + 1)).display(),
        socket = socket.display(),
        admin = admin_address(),
    );
    let pair = lab.spec().floating;
    if pair {
        vrrp_lines(&mut text, lab, node);
    }
    let forwarding = match lab.spec().replies {
        Replies::Direct => "direct",
        Replies::ThroughBalancer => "nat",
    };
    // A service is of one family, as its backends are.
    for (name, router, service, backend) in FAMILIES {
        let service = service();
        service_lines(&mut text, name, &service, forwarding);
        if pair {
            writeln!(text, "vrrp = \"{router}\"").expect("writing to a string cannot fail");
        }
        for &index in backends {
            let (name, address) = (backend_name(index), backend(index));
            writeln!(text, "\n[[service.backend]]\nname = \"{name}\"\naddress = \"{address}\"")
                .expect("writing to a string cannot fail");
        }
    }
    text
}

type Family = (&'static str, &'static str, fn() -> String, fn(usize) -> String);
const FAMILIES: [Family; 2] = [
    ("web", "public", || SERVICE_V4.to_string(), |index| backend_v4(index).to_string()),
    ("web6", "public6", || format!("[{SERVICE_V6}]"), |index| backend_v6(index).to_string()),
];

fn service_lines(text: &mut String, name: &str, service: &str, forwarding: &str) {
    writeln!(
        text,
        "
[[service]]
name = \"{name}\"
listen = [\"tcp://{service}:80\", \"udp://{service}:7\"]
forwarding = \"{forwarding}\""
    )
    .expect("writing to a string cannot fail");
}

/// File in the lab's directory that holds the key of the peer link.
pub const KEY_FILE: &str = "peer.key";

/// Both families move together; each node watches the other by the peer link. Under nat the master is the backends'
/// gateway as well.
fn vrrp_lines(text: &mut String, lab: &Lab, node: usize) {
    let priority = if node == 0 { 254 } else { 250 };
    let routers = [
        ("public", SERVICE_V4.to_string(), GATEWAY_V4.to_string(), 32),
        ("public6", SERVICE_V6.to_string(), GATEWAY_V6.to_string(), 128),
    ];
    for (name, address, gateway, length) in routers {
        let excluded = match lab.spec().replies {
            Replies::Direct => String::new(),
            Replies::ThroughBalancer => format!("\nexcluded_addresses = [\"{gateway}/{length}\"]"),
        };
        writeln!(
            text,
            "
[[vrrp]]
name = \"{name}\"
interface = \"eth0\"
vrid = 51
priority = {priority}
addresses = [\"{address}/{length}\"]{excluded}
group = \"both\""
        )
        .expect("writing to a string cannot fail");
    }
    let peer = balancer_v4(1 - node.min(1));
    let key = lab.directory().join(KEY_FILE);
    writeln!(
        text,
        "
[peer]
addresses = [\"{peer}\"]
key_file = \"{}\"
hold = \"5s\"",
        key.display()
    )
    .expect("writing to a string cannot fail");
}
