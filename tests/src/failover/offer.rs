//! The services of a cluster.

use std::net::{Ipv4Addr, SocketAddr};
use std::ops::Range;

use fairway::playground::topology::{SERVICE_V4, backend_v4};

use super::plan::Setup;

/// The port of the first service; the others have those after it.
pub const PORT: u16 = 7000;

/// A service.
#[derive(Clone, Copy, Debug)]
pub struct Offer {
    /// Its name.
    pub name: &'static str,
    port: u16,
    forwarding: &'static str,
    /// How it chooses, in the words of the configuration.
    chooses: &'static str,
}

/// What a cluster serves.
pub fn offers(setup: Setup) -> Vec<Offer> {
    let forwarding = if setup.variant.nat { "nat" } else { "direct" };
    let first = Offer { name: "bench", port: PORT, forwarding, chooses: "" };
    if !setup.variant.mix {
        return vec![first];
    }
    let least = "scheduler = \"weighted-least-connection\"\n";
    let remembers = "scheduler = \"round-robin\"\npersistence = { timeout = \"5m\" }\n";
    vec![
        first,
        Offer { name: "least", port: PORT + 1, chooses: least, ..first },
        Offer { name: "remembers", port: PORT + 2, chooses: remembers, ..first },
        Offer { name: "translated", port: PORT + 3, forwarding: "full-nat", ..first },
    ]
}

impl Offer {
    /// Where clients find it.
    pub fn address(&self) -> SocketAddr {
        SocketAddr::new(SERVICE_V4.into(), self.port)
    }

    /// Where a backend listens for it.
    pub fn address_at(&self, backend: Ipv4Addr) -> SocketAddr {
        if self.forwarding == "direct" { self.address() } else { SocketAddr::new(backend.into(), self.port) }
    }

    /// Its part of the configuration.
    pub fn configuration(&self, router: &str, backends: Range<usize>) -> String {
        let backend = |index| format!("\n[[service.backend]]\naddress = \"{}\"\n", backend_v4(index));
        format!(
            "
[[service]]
name = \"{name}\"
listen = [\"tcp://{address}\", \"udp://{address}\"]
forwarding = \"{forwarding}\"
vrrp = \"{router}\"
{chooses}{backends}",
            name = self.name,
            address = self.address(),
            forwarding = self.forwarding,
            chooses = self.chooses,
            backends = backends.map(backend).collect::<String>(),
        )
    }
}
