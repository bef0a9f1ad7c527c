//! What the file of a node says: the services, and which of the servers each of them has. Written as text and read by the real reader,
//! once for each that there can be: thousands of histories have the same few.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::net::IpAddr;

use fairway::config::{self, Config};
use fairway::reconcile::placed::identity_of;

use crate::rng::Rng;

/// Servers that there are.
pub const SERVERS: u8 = 5;
/// For how long a flow may be silent, in seconds.
pub const IDLE_TIMEOUT: u64 = 10;
/// Where all services listen.
pub const ADDRESS: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(203, 0, 113, 10));
/// The virtual router that they follow.
pub const REALM: &str = "public";

/// A service of the file.
#[derive(Debug)]
pub struct Offer {
    pub name: &'static str,
    pub port: u16,
    keys: &'static str,
}

/// All services.
pub const SERVICES: [Offer; 3] = [
    Offer { name: "red", port: 80, keys: "scheduler = \"maglev\"\nlookup_table_size = 64" },
    Offer { name: "blue", port: 81, keys: "scheduler = \"weighted-least-connection\"\nlookup_table_size = 16" },
    Offer {
        name: "green",
        port: 82,
        keys: "scheduler = \"round-robin\"\nlookup_table_size = 16\npersistence = { timeout = \"60s\" }",
    },
];

/// The service that remembers its clients, for longer than histories are.
pub const GREEN: usize = 2;

/// Sets of servers that files differ in; the services after the last share its.
const SETS: usize = 2;

/// Which servers services have: one bit for each.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Desired([u8; SETS]);

impl Desired {
    pub fn random(rng: &mut Rng) -> Self {
        Self([(); SETS].map(|()| some_servers(rng)))
    }

    pub fn change(&mut self, rng: &mut Rng) {
        let at = rng.below(SETS as u64) as usize;
        let other = self.0[at] ^ 1 << rng.below(SERVERS.into());
        // A service without servers serves nobody, and there is nothing to judge.
        self.0[at] = if other.count_ones() < 2 { some_servers(rng) } else { other };
    }

    /// The servers of a service.
    pub fn servers(&self, service: usize) -> u8 {
        self.0[service.min(SETS - 1)]
    }

    pub fn has(&self, service: usize, server: u8) -> bool {
        self.servers(service) & 1 << server != 0
    }
}

fn some_servers(rng: &mut Rng) -> u8 {
    loop {
        let servers = rng.below(1 << SERVERS) as u8;
        if servers.count_ones() >= 2 {
            return servers;
        }
    }
}

/// The address of a server.
pub fn server(number: u8) -> IpAddr {
    [10, 0, 0, 1 + number].into()
}

/// What a server is called.
pub fn name_of(number: u8) -> String {
    format!("b{number}")
}

thread_local! {
    static FILES: RefCell<BTreeMap<Desired, Config>> = RefCell::default();
    static IDENTITIES: RefCell<BTreeMap<(usize, u8), String>> = RefCell::default();
}

/// The file, read.
pub fn read(desired: &Desired) -> Config {
    FILES.with_borrow_mut(|files| files.entry(*desired).or_insert_with(|| parse(&text(desired))).clone())
}

/// Who a server is to the lookup table of a service.
pub fn identity(service: usize, number: u8) -> String {
    let find = || {
        let all = Desired([u8::MAX >> (8 - SERVERS); SETS]);
        identity_of(&read(&all).services[service].backends[usize::from(number)])
    };
    IDENTITIES.with_borrow_mut(|known| known.entry((service, number)).or_insert_with(find).clone())
}

fn parse(text: &str) -> Config {
    config::parse(text, "host").unwrap_or_else(|problems| panic!("{problems:#?}\n{text}")).0
}

fn text(desired: &Desired) -> String {
    let mut text = format!(
        "[dataplane]\ninterfaces = [\"eth0\"]\n[peer]\naddresses = [\"192.0.2.2\"]\nkey_file = \"/key\"\n[[vrrp]]\n\
         name = \"{REALM}\"\ninterface = \"eth0\"\nvrid = 51\naddresses = [\"{ADDRESS}/32\"]\n"
    );
    for (at, Offer { name, port, keys }) in SERVICES.iter().enumerate() {
        text += &format!(
            "[[service]]\nname = \"{name}\"\nlisten = [\"tcp://{ADDRESS}:{port}\"]\nvrrp = \"{REALM}\"\n\
             idle_timeout = \"{IDLE_TIMEOUT}s\"\n{keys}\n"
        );
        for number in (0..SERVERS).filter(|number| desired.has(at, *number)) {
            let (name, address, weight) = (name_of(number), server(number), 1 + number % 3);
            text += &format!("[[service.backend]]\nname = \"{name}\"\naddress = \"{address}\"\nweight = {weight}\n");
        }
    }
    text
}
