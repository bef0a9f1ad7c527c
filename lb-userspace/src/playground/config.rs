//! The configuration that Fairway runs with in a lab: an ordinary one, worth reading, because the demo prints it.

use std::fmt::Write as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;

use super::lab::Lab;
use super::topology::{Replies, SERVICE_V4, SERVICE_V6, backend_v4, backend_v6};

/// Where the admin interface listens, inside the balancer's namespace.
pub fn admin_address() -> SocketAddr {
    SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 9910)
}

/// What a backend is called, counted from 0.
pub fn backend_name(index: usize) -> String {
    format!("b{}", index + 1)
}

/// Web and UDP echo over both families, with these backends of the lab, counted from 0.
pub fn configuration(lab: &Lab, socket: &Path, backends: &[usize]) -> String {
    let mut text = format!(
        "[node]
name = \"lb1\"
state_dir = \"{state}\"

[dataplane]
interfaces = [\"eth0\"]

[admin]
socket = \"{socket}\"
listen = \"{admin}\"
",
        state = lab.directory().join("state").display(),
        socket = socket.display(),
        admin = admin_address(),
    );
    let forwarding = match lab.spec().replies {
        Replies::Direct => "direct",
        Replies::ThroughBalancer => "nat",
    };
    // A service is of one family, as its backends are.
    for (family, service, backend) in FAMILIES {
        let service = service();
        service_lines(&mut text, family, &service, forwarding);
        for &index in backends {
            let (name, address) = (backend_name(index), backend(index));
            writeln!(text, "\n[[service.backend]]\nname = \"{name}\"\naddress = \"{address}\"")
                .expect("writing to a string cannot fail");
        }
    }
    text
}

type Family = (&'static str, fn() -> String, fn(usize) -> String);
const FAMILIES: [Family; 2] = [
    ("web", || SERVICE_V4.to_string(), |index| backend_v4(index).to_string()),
    ("web6", || format!("[{SERVICE_V6}]"), |index| backend_v6(index).to_string()),
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
