//! What an operator's file says, and how it changes from one reload to the next. Written as text and read by the
//! real reader, so that no history has a configuration that could not exist.

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use fairway::config::{self, Config};

use crate::rng::Rng;

/// Backends there are of each family.
const SERVERS: u64 = 14;
/// Names, addresses, ports and protocols of the services: two listeners each, of which the second comes and goes. Ports
/// are all different, so that replies under nat are never ambiguous.
pub const SERVICES: [(&str, IpAddr, Listeners); 4] = [
    ("red", IpAddr::V4(Ipv4Addr::new(203, 0, 113, 1)), [("tcp", 80), ("tcp", 81)]),
    ("green", IpAddr::V4(Ipv4Addr::new(203, 0, 113, 2)), [("tcp", 90), ("tcp", 91)]),
    ("blue", IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1)), [("tcp", 80), ("tcp", 81)]),
    ("white", IpAddr::V4(Ipv4Addr::new(203, 0, 113, 4)), [("udp", 100), ("tcp", 101)]),
];

/// Protocol and port of each.
type Listeners = [(&'static str, u16); 2];

/// Some that keep state, and one that does not.
const SCHEDULERS: [&str; 5] = ["maglev", "maglev", "round-robin", "weighted-round-robin", "weighted-least-connection"];

/// One service of the file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Desired {
    pub exists: bool,
    pub both_listeners: bool,
    pub slots: u32,
    pub idle_timeout: u64,
    pub udp_flows: bool,
    pub scheduler: &'static str,
    /// Server, weight, and whether by nat.
    pub backends: Vec<(u64, u16, bool)>,
}

/// The address of a server.
pub fn server(v4: bool, number: u64) -> IpAddr {
    if v4 {
        IpAddr::from([10, 0, 0, number as u8 + 1])
    } else {
        IpAddr::from([0xfd00, 0, 0, 0, 0, 0, 0, number as u16 + 1])
    }
}

/// The first file of a history.
pub fn first(rng: &mut Rng) -> Vec<Desired> {
    let mut services: Vec<Desired> = SERVICES
        .iter()
        .map(|_| Desired {
            exists: true,
            both_listeners: rng.one_in(2),
            slots: 32,
            idle_timeout: 200,
            udp_flows: rng.one_in(2),
            scheduler: SCHEDULERS[rng.below(SCHEDULERS.len() as u64) as usize],
            backends: (0..2 + rng.below(3)).map(|number| (number, 1, rng.one_in(4))).collect(),
        })
        .collect();
    if rng.one_in(2) {
        services[1] = services[0].clone();
    }
    services
}

/// The next file.
pub fn change(rng: &mut Rng, services: &mut [Desired]) {
    let at = rng.below(SERVICES.len() as u64) as usize;
    let service = &mut services[at];
    match rng.below(40) {
        0..3 => service.exists = !service.exists,
        3..6 => service.both_listeners = !service.both_listeners,
        6 => service.slots = if service.slots == 32 { 64 } else { 32 },
        7..9 => service.idle_timeout = if service.idle_timeout == 200 { 100 } else { 200 },
        9 => service.udp_flows = !service.udp_flows,
        10 => service.scheduler = SCHEDULERS[rng.below(SCHEDULERS.len() as u64) as usize],
        // What two services share, both change alike.
        11..17 => {
            change_backends(rng, service);
            let to = rng.below(SERVICES.len() as u64) as usize;
            services[to].backends = services[at].backends.clone();
            services[to].idle_timeout = services[at].idle_timeout;
        }
        17..20 => {
            let from = rng.below(SERVICES.len() as u64) as usize;
            services[at].backends = services[from].backends.clone();
        }
        _ => change_backends(rng, service),
    }
}

fn change_backends(rng: &mut Rng, service: &mut Desired) {
    let mut changed = Vec::new();
    for number in 0..SERVERS {
        let was = service.backends.iter().find(|backend| backend.0 == number).copied();
        let stays = if was.is_some() { !rng.one_in(5) } else { rng.one_in(7) };
        if !stays {
            continue;
        }
        let (_, weight, nat) = was.unwrap_or((number, 1, rng.one_in(3)));
        let weight = if rng.one_in(4) { [0, 1, 2, 3][rng.below(4) as usize] } else { weight };
        changed.push((number, weight, if rng.one_in(30) { !nat } else { nat }));
    }
    service.backends = changed;
}

/// The file, read.
pub fn read(services: &[Desired]) -> Config {
    let text = text(services);
    config::parse(&text, "host").unwrap_or_else(|problems| panic!("{problems:?}\n{text}")).0
}

fn text(services: &[Desired]) -> String {
    let mut text = String::from("dataplane.interfaces = [\"eth0\"]\n");
    for (service, (name, address, listeners)) in services.iter().zip(SERVICES) {
        if !service.exists {
            continue;
        }
        let listen: Vec<String> = listeners[..if service.both_listeners { 2 } else { 1 }]
            .iter()
            .map(|(protocol, port)| format!("\"{protocol}://{}\"", std::net::SocketAddr::new(address, *port)))
            .collect();
        let udp = if service.udp_flows && name == "white" { "udp = \"flows\"\n" } else { "" };
        // Datagrams that found no room in the table of stateful services may move when there is some.
        let scheduler = if name == "white" { "maglev" } else { service.scheduler };
        let scheduler = format!("scheduler = \"{scheduler}\"\n");
        let (listen, slots, idle) = (listen.join(", "), service.slots, service.idle_timeout);
        write!(
            text,
            "[[service]]\nname = \"{name}\"\nlisten = [{listen}]\nlookup_table_size = {slots}\nidle_timeout = \"{idle}s\"\n{udp}{scheduler}"
        )
        .expect("strings grow");
        for &(number, weight, nat) in &service.backends {
            let (address, method) = (server(address.is_ipv4(), number), if nat { "nat" } else { "direct" });
            let backend = format!("address = \"{address}\"\nweight = {weight}\nforwarding = \"{method}\"\n");
            write!(text, "[[service.backend]]\n{backend}").expect("strings grow");
        }
    }
    text
}
