//! The shape of a lab as plain values: which namespaces, links, addresses, routes and sysctls it has, written as the
//! lines that `ip -batch` reads. Touches nothing; [`super::lab`] carries it out.
//!
//! ```text
//!  client 10.1.0.1 ── 10.1.0.254 router (br0 10.2.0.254) ─┬─ lb1 .11, lb2 .12      service 10.2.0.100
//!         fd01::1  ── fd01::fe          (br0 fd02::fe)    └─ b1 .21, b2 .22, …             fd02::100
//! ```
//! IPv6 addresses repeat the decimal digits of the IPv4 ones (`.21` is `fd02::21`), so that a dump reads itself.

use std::fmt::Write as _;
use std::net::{Ipv4Addr, Ipv6Addr};

/// The address of the virtual services of a lab.
pub const SERVICE_V4: Ipv4Addr = Ipv4Addr::new(10, 2, 0, 100);
/// See [`SERVICE_V4`].
pub const SERVICE_V6: Ipv6Addr = Ipv6Addr::new(0xfd02, 0, 0, 0, 0, 0, 0, 0x100);

/// The backends' default route where answers go through whichever balancer is master.
pub const GATEWAY_V4: Ipv4Addr = Ipv4Addr::new(10, 2, 0, 99);
/// See [`GATEWAY_V4`].
pub const GATEWAY_V6: Ipv6Addr = Ipv6Addr::new(0xfd02, 0, 0, 0, 0, 0, 0, 0x99);

const ROUTER_V4: &str = "10.2.0.254";
const ROUTER_V6: &str = "fd02::fe";
const FIRST_BALANCER_HOST: usize = 11;
const FIRST_BACKEND_HOST: usize = 21;
/// Keeps backends (.21 to .90) clear of the service's address (.100) and balancers (.11 to .19) clear of backends.
const MOST_BACKENDS: usize = 70;
const MOST_BALANCERS: usize = 9;

/// What a lab is asked to look like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spec {
    /// Balancers, 1 to 9.
    pub balancers: usize,
    /// Whether the service's addresses, and the backends' default route if it leads through a balancer, are left to a
    /// virtual router. Otherwise they are the first balancer's for good.
    pub floating: bool,
    /// Backends, 1 to 70.
    pub backends: usize,
    /// MTU of every link.
    pub mtu: u32,
    /// Which way the backends' answers go.
    pub replies: Replies,
}

/// Which way the backends' answers go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Replies {
    /// Straight to the client, for the `direct` method: the backends hold the service's addresses themselves, on `lo`,
    /// and never answer ARP or neighbour solicitations for them.
    Direct,
    /// Through a balancer, for the `nat` method: it is the backends' default route.
    ThroughBalancer,
}

impl Default for Spec {
    fn default() -> Self {
        Self { balancers: 1, floating: false, backends: 4, mtu: 1500, replies: Replies::Direct }
    }
}

/// What a namespace is in the lab.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Sends requests, one hop away from everything else.
    Client,
    /// Routes between client and servers, and bridges the servers.
    Router,
    /// Runs Fairway; counted from 0.
    Balancer(usize),
    /// Serves; counted from 0.
    Backend(usize),
}

impl Role {
    /// The short name: `client`, `router`, `lb1`, `b1`.
    pub fn name(self) -> String {
        match self {
            Role::Client => "client".into(),
            Role::Router => "router".into(),
            Role::Balancer(index) => format!("lb{}", index + 1),
            Role::Backend(index) => format!("b{}", index + 1),
        }
    }
}

/// IPv4 address of the balancer, counted from 0.
pub fn balancer_v4(index: usize) -> Ipv4Addr {
    server_v4(FIRST_BALANCER_HOST + index)
}

/// IPv6 address of the balancer, counted from 0.
pub fn balancer_v6(index: usize) -> Ipv6Addr {
    server_v6(FIRST_BALANCER_HOST + index)
}

/// IPv4 address of the backend, counted from 0.
pub fn backend_v4(index: usize) -> Ipv4Addr {
    server_v4(FIRST_BACKEND_HOST + index)
}

/// IPv6 address of the backend, counted from 0.
pub fn backend_v6(index: usize) -> Ipv6Addr {
    server_v6(FIRST_BACKEND_HOST + index)
}

/// The router's end of the link to a server.
pub fn router_port(role: Role) -> String {
    format!("p-{}", role.name())
}

/// The line for `ip -batch`, run inside the router, that hangs a server on its bridge.
pub fn bridge_line(server: Role) -> String {
    format!("link set {} master br0 up\n", router_port(server))
}

impl Spec {
    /// The reason why no lab can look like this.
    pub fn problem(&self) -> Option<String> {
        if !(1..=MOST_BALANCERS).contains(&self.balancers) {
            return Some(format!("{} balancers: a lab has 1 to {MOST_BALANCERS}", self.balancers));
        }
        if !(1..=MOST_BACKENDS).contains(&self.backends) {
            return Some(format!("{} backends: a lab has 1 to {MOST_BACKENDS}", self.backends));
        }
        None
    }

    /// Every namespace of the lab.
    pub fn roles(&self) -> Vec<Role> {
        let mut roles = vec![Role::Client, Role::Router];
        roles.extend(self.servers());
        roles
    }

    /// What hangs on the router's bridge.
    fn servers(&self) -> impl Iterator<Item = Role> {
        (0..self.balancers).map(Role::Balancer).chain((0..self.backends).map(Role::Backend))
    }

    /// Kernel settings of a namespace, as paths below `/proc/sys` and values. They go in before the links, because new
    /// interfaces copy the `default` ones.
    pub fn sysctls(&self, role: Role) -> Vec<(&'static str, &'static str)> {
        let mut settings = EVERYWHERE.to_vec();
        match role {
            Role::Client => settings.extend(CLIENT),
            Role::Router | Role::Balancer(_) => settings.extend(FORWARDS),
            Role::Backend(_) => settings.extend(BACKEND),
        }
        settings
    }

    /// Lines for `ip -batch`, run outside, that join the namespaces by veth pairs.
    pub fn link_lines(&self, prefix: &str) -> String {
        self.roles().into_iter().map(|role| self.link_line(prefix, role)).collect()
    }

    /// The one of these lines that joins the namespace of that role to the router's.
    pub fn link_line(&self, prefix: &str, role: Role) -> String {
        let mtu = self.mtu;
        let (mac, port) = match role {
            Role::Router => return String::new(),
            Role::Client => ("02:00:00:00:01:01".into(), "client".into()),
            Role::Balancer(_) | Role::Backend(_) => (server_mac(role), router_port(role)),
        };
        let name = role.name();
        format!(
            "link add eth0 netns {prefix}-{name} mtu {mtu} address {mac} type veth peer name {port} netns {prefix}-router mtu {mtu}\n"
        )
    }

    /// Lines for `ip -batch`, run inside the namespace, that set addresses and routes.
    pub fn namespace_lines(&self, role: Role) -> String {
        match role {
            Role::Client => client_lines(),
            Role::Router => self.router_lines(),
            Role::Balancer(index) => self.balancer_lines(index),
            Role::Backend(index) => self.backend_lines(index),
        }
    }

    fn router_lines(&self) -> String {
        let mtu = self.mtu;
        // No snooping: with it the bridge holds back neighbour solicitations until it has seen who listens.
        let mut lines = format!(
            "link set lo up
link add br0 address 02:00:00:00:02:fe mtu {mtu} type bridge stp_state 0 forward_delay 0 mcast_snooping 0
link set br0 up
address add {ROUTER_V4}/24 dev br0
address add {ROUTER_V6}/64 dev br0 nodad
link set client up
address add 10.1.0.254/24 dev client
address add fd01::fe/64 dev client nodad
"
        );
        for server in self.servers() {
            lines += &bridge_line(server);
        }
        lines
    }

    fn backend_lines(&self, index: usize) -> String {
        let mut lines = server_lines(FIRST_BACKEND_HOST + index);
        match self.replies {
            Replies::Direct => {
                line(&mut lines, format_args!("address add {SERVICE_V4}/32 dev lo"));
                line(&mut lines, format_args!("address add {SERVICE_V6}/128 dev lo nodad"));
                default_routes(&mut lines, ROUTER_V4, ROUTER_V6);
            }
            Replies::ThroughBalancer => {
                let (v4, v6) = if self.floating { (GATEWAY_V4, GATEWAY_V6) } else { (balancer_v4(0), balancer_v6(0)) };
                default_routes(&mut lines, &v4.to_string(), &v6.to_string());
            }
        }
        lines
    }

    /// What does not float the first balancer holds, as /32 and /128: so it answers for it without any daemon.
    fn balancer_lines(&self, index: usize) -> String {
        let mut lines = server_lines(FIRST_BALANCER_HOST + index);
        default_routes(&mut lines, ROUTER_V4, ROUTER_V6);
        if index == 0 && !self.floating {
            line(&mut lines, format_args!("address add {SERVICE_V4}/32 dev eth0"));
            // Deprecated, so that the balancer never speaks from it of its own accord: the backends hold it too.
            line(&mut lines, format_args!("address add {SERVICE_V6}/128 dev eth0 nodad preferred_lft 0"));
        }
        lines
    }
}

const EVERYWHERE: [(&str, &str); 7] = [
    // Answers come back another way than the requests went.
    ("net/ipv4/conf/all/rp_filter", "0"),
    ("net/ipv4/conf/default/rp_filter", "0"),
    // Nobody may teach a server a way around the balancer.
    ("net/ipv4/conf/all/send_redirects", "0"),
    ("net/ipv4/conf/default/send_redirects", "0"),
    ("net/ipv6/conf/default/accept_redirects", "0"),
    // Addresses are usable at once.
    ("net/ipv6/conf/all/accept_dad", "0"),
    ("net/ipv6/conf/default/accept_dad", "0"),
];
const FORWARDS: [(&str, &str); 2] = [("net/ipv4/ip_forward", "1"), ("net/ipv6/conf/all/forwarding", "1")];
// Tens of thousands of short connections from one address.
const CLIENT: [(&str, &str); 2] = [("net/ipv4/ip_local_port_range", "1024 65000"), ("net/ipv4/tcp_tw_reuse", "1")];
const BACKEND: [(&str, &str); 3] =
    [("net/ipv4/conf/all/arp_ignore", "1"), ("net/ipv4/conf/all/arp_announce", "2"), ("net/core/somaxconn", "4096")];

fn client_lines() -> String {
    "link set lo up
link set eth0 up
address add 10.1.0.1/24 dev eth0
address add fd01::1/64 dev eth0 nodad
route add default via 10.1.0.254
route add default via fd01::fe
"
    .into()
}

fn server_lines(host: usize) -> String {
    format!(
        "link set lo up
link set eth0 up
address add {}/24 dev eth0
address add {}/64 dev eth0 nodad
",
        server_v4(host),
        server_v6(host)
    )
}

fn default_routes(lines: &mut String, v4: &str, v6: &str) {
    line(lines, format_args!("route add default via {v4}"));
    line(lines, format_args!("route add default via {v6}"));
}

fn server_v4(host: usize) -> Ipv4Addr {
    Ipv4Addr::new(10, 2, 0, u8::try_from(host).expect("Spec::problem keeps hosts below 100"))
}

/// The decimal digits of `host` read as hexadecimal ones.
fn server_v6(host: usize) -> Ipv6Addr {
    let digits = u16::from_str_radix(&host.to_string(), 16).expect("decimal digits are hexadecimal digits");
    Ipv6Addr::new(0xfd02, 0, 0, 0, 0, 0, 0, digits)
}

fn server_mac(role: Role) -> String {
    match role {
        Role::Client | Role::Router => unreachable!("only servers hang on the bridge"),
        Role::Balancer(index) => format!("02:00:00:00:02:{}", FIRST_BALANCER_HOST + index),
        Role::Backend(index) => format!("02:00:00:00:02:{}", FIRST_BACKEND_HOST + index),
    }
}

fn line(lines: &mut String, text: std::fmt::Arguments<'_>) {
    writeln!(lines, "{text}").expect("writing to a string cannot fail");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ipv6_addresses_repeat_the_digits_of_the_ipv4_ones() {
        assert_eq!(backend_v4(3).to_string(), "10.2.0.24");
        assert_eq!(backend_v6(3).to_string(), "fd02::24");
        assert_eq!(balancer_v6(1).to_string(), "fd02::12");
    }

    #[test]
    fn only_the_first_balancer_holds_the_service() {
        let spec = Spec { balancers: 2, ..Spec::default() };
        assert!(spec.namespace_lines(Role::Balancer(0)).contains("10.2.0.100/32 dev eth0"));
        assert!(!spec.namespace_lines(Role::Balancer(1)).contains("10.2.0.100"));
    }

    #[test]
    fn what_floats_nobody_holds_from_the_start() {
        let spec = Spec { floating: true, replies: Replies::ThroughBalancer, ..Spec::default() };
        assert!(!spec.namespace_lines(Role::Balancer(0)).contains("10.2.0.100"));
        assert!(spec.namespace_lines(Role::Backend(0)).contains("default via 10.2.0.99"));
    }

    #[test]
    fn replies_choose_the_backends_default_route() {
        let direct = Spec::default();
        let nat = Spec { replies: Replies::ThroughBalancer, ..Spec::default() };
        assert!(direct.namespace_lines(Role::Backend(0)).contains("default via 10.2.0.254"));
        assert!(nat.namespace_lines(Role::Backend(0)).contains("default via 10.2.0.11"));
        assert!(!nat.namespace_lines(Role::Backend(0)).contains("10.2.0.100"));
    }

    #[test]
    fn no_backend_can_take_the_services_address() {
        assert!(Spec { backends: 70, ..Spec::default() }.problem().is_none());
        assert!(Spec { backends: 71, ..Spec::default() }.problem().is_some());
        assert!(Spec { balancers: 0, ..Spec::default() }.problem().is_some());
    }
}
