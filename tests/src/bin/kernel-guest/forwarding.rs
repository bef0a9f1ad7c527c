//! Packets through the program on native attachments.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use fairway_tests::guest::balancer::Balancer;

use crate::frame::{Frame, SYN};
use crate::network::{self, CLIENT, CLIENT_MAC, LB, NOBODY, NOBODY_MAC, NOBODY6, SERVER, address, inside, ip};
use crate::wire::Wire;

/// Where frames that are made by hand come from.
const SOME_MAC: [u8; 6] = [2, 0xc1, 0, 0, 0, 2];
/// The service's address, and its IPv6 namesake. Nobody has them: the program must be what answers for them.
const VIP: &str = "198.51.100.10";
const VIP6: &str = "2001:db8:100::10";

pub fn virtio_net_forwards_natively() {
    let services = [
        service(&[("tcp", VIP, 80), ("udp", VIP, 80)], NOBODY, "direct"),
        service(&[("tcp", VIP6, 80), ("udp", VIP6, 80)], NOBODY6, "direct"),
    ];
    let balancer = Balancer::start("lb", &services.concat());
    let wire = inside("client", || Wire::open("client"));
    for (tcp, v4) in [(true, true), (false, true), (true, false), (false, false)] {
        let mut sent = request(&network::mac("lb"), 80);
        sent.tcp = tcp;
        if !v4 {
            (sent.source, sent.destination) = (address("2001:db8::2"), address(VIP6));
        }
        wire.send(&sent.octets());
        wire.expect(&forwarded(&sent, "lb", NOBODY_MAC, &[]).octets());
    }
    assert_eq!(balancer.packets(), 4);
}

pub fn tags_are_pushed_replaced_and_popped() {
    // Backends are on one VLAN, clients on the other: a card lets only the tags in of which it has been told.
    for id in [100, 200] {
        ip(&format!("link add link lb name lb.{id} type vlan id {id}"));
        ip(&format!("link set lb.{id} up"));
    }
    ip("address add 10.100.0.1/24 dev lb.100");
    ip("neighbour add 10.100.0.9 lladdr 02:be:00:00:01:00 dev lb.100 nud permanent");
    let services =
        [service(&[("tcp", VIP, 80)], NOBODY, "direct"), service(&[("tcp", VIP, 81)], "10.100.0.9", "direct")];
    let balancer = Balancer::start("lb", &services.concat());
    let wire = inside("client", || Wire::open("client"));
    let cases: &[(&[u16], u16, &[u16])] = &[
        (&[], 81, &[100]),
        (&[200], 81, &[100]),
        (&[200, 300], 81, &[100]),
        (&[200], 80, &[]),
        (&[200, 300], 80, &[]),
    ];
    for &(before, port, after) in cases {
        println!("  tags {before:?} become {after:?}");
        let sent = Frame { tags: before.to_vec(), ..request(&network::mac("lb"), port) };
        let backend = if port == 80 { NOBODY_MAC } else { [2, 0xbe, 0, 0, 1, 0] };
        wire.send(&sent.octets());
        wire.expect(&forwarded(&sent, "lb", backend, after).octets());
    }
    assert_eq!(balancer.packets(), cases.len() as u64);
    ip("link del lb.100");
    ip("link del lb.200");
}

pub fn connections_are_made_through_direct_and_nat() {
    ip(&format!("-n server address add {VIP}/32 dev lo"));
    // The balancer is the way to the service for the client, and back for what is translated.
    ip(&format!("-n client route add 198.51.100.0/24 via {LB}"));
    ip(&format!("-n server route add {CLIENT}/32 via {LB}"));
    // Replies ask the host's tables for their neighbour; there is no daemon here to resolve what is not there.
    ip(&format!("neighbour replace {CLIENT} lladdr {CLIENT_MAC} dev lb nud permanent"));
    let services =
        [service(&[("tcp", VIP, 80)], SERVER, "direct"), service(&[("tcp", "198.51.100.11", 81)], SERVER, "nat")];
    let balancer = Balancer::start("lb", &services.concat());

    for (service, listener) in
        [(format!("{VIP}:80"), format!("{VIP}:80")), ("198.51.100.11:81".to_owned(), format!("{SERVER}:81"))]
    {
        let before = balancer.packets();
        let listener = inside("server", || TcpListener::bind(&listener).expect("the address is the server's"));
        let server = thread::spawn(move || {
            let (mut connection, client) = listener.accept().expect("a client comes");
            connection.write_all(client.ip().to_string().as_bytes()).expect("it listens");
        });
        let seen = inside("client", || greeting(service.parse().expect("a literal")));
        assert_eq!(seen, CLIENT, "the backend behind {service} sees the client");
        server.join().expect("the server has answered");
        println!("  {service}: {} packets to the backend", balancer.packets() - before);
        assert!(balancer.packets() - before >= 3, "SYN, ACK, FIN");
    }
}

pub fn a_bond_forwards_natively_by_either_port() {
    let _bond = Bond::new();
    let balancer = Balancer::start("trunk", &service(&[("tcp", VIP, 80)], "192.0.3.9", "direct"));
    let sent = request(&network::mac("trunk"), 80);
    for (port, peer) in [("port0", "peer0"), ("port1", "peer1")] {
        ip(&format!("link set trunk type bond active_slave {port}"));
        let wire = Wire::open(peer);
        wire.send(&sent.octets());
        wire.expect(&forwarded(&sent, "trunk", [2, 0xbe, 0, 0, 3, 9], &[]).octets());
    }
    assert_eq!(balancer.packets(), 2);
}

pub fn a_vlan_on_a_bond_is_reached() {
    let _bond = Bond::new();
    ip("link add link trunk name trunk.7 type vlan id 7");
    ip("address add 10.7.0.1/24 dev trunk.7");
    ip("link set trunk.7 up");
    ip("neighbour add 10.7.0.9 lladdr 02:be:00:00:07:09 dev trunk.7 nud permanent");
    let balancer = Balancer::start("trunk", &service(&[("udp", VIP, 80)], "10.7.0.9", "direct"));
    let sent = Frame { tcp: false, ..request(&network::mac("trunk"), 80) };
    let wire = Wire::open("peer0");
    wire.send(&sent.octets());
    wire.expect(&forwarded(&sent, "trunk", [2, 0xbe, 0, 0, 7, 9], &[7]).octets());
    assert_eq!(balancer.packets(), 1);
}

/// `port0` and `port1` as one interface, the first of them active.
struct Bond;

impl Bond {
    fn new() -> Self {
        ip("link add trunk type bond mode active-backup miimon 100");
        for port in ["port0", "port1"] {
            ip(&format!("link set {port} down"));
            ip(&format!("link set {port} master trunk"));
        }
        ip("link set trunk up");
        ip("link set trunk type bond active_slave port0");
        ip("address add 192.0.3.1/24 dev trunk");
        ip("neighbour add 192.0.3.9 lladdr 02:be:00:00:03:09 dev trunk nud permanent");
        Self
    }
}

impl Drop for Bond {
    fn drop(&mut self) {
        ip("link del trunk");
    }
}

fn service(listeners: &[(&str, &str, u16)], backend: &str, forwarding: &str) -> String {
    let listen: Vec<String> = listeners
        .iter()
        .map(|(protocol, address, port)| {
            if address.contains(':') {
                format!("\"{protocol}://[{address}]:{port}\"")
            } else {
                format!("\"{protocol}://{address}:{port}\"")
            }
        })
        .collect();
    let name = listen[0].trim_matches('"').replace(|c: char| !c.is_ascii_alphanumeric(), "-");
    format!(
        "[[service]]\nname = \"{name}\"\nlisten = [{}]\nforwarding = \"{forwarding}\"\n\
         [[service.backend]]\naddress = \"{backend}\"\n",
        listen.join(", ")
    )
}

fn request(to: &[u8; 6], port: u16) -> Frame {
    Frame {
        to: *to,
        from: SOME_MAC,
        tags: Vec::new(),
        source: address("203.0.113.77"),
        destination: address(VIP),
        tcp: true,
        flags: SYN,
        ports: [40_000, port],
        time_to_live: 64,
    }
}

/// What `direct` makes of a frame.
fn forwarded(sent: &Frame, by: &str, backend: [u8; 6], tags: &[u16]) -> Frame {
    let time_to_live = sent.time_to_live - 1;
    Frame { to: backend, from: network::mac(by), tags: tags.to_vec(), time_to_live, ..sent.clone() }
}

fn greeting(service: SocketAddr) -> String {
    let mut connection = TcpStream::connect_timeout(&service, Duration::from_secs(10)).expect("the service answers");
    connection.set_read_timeout(Some(Duration::from_secs(10))).expect("not zero");
    let mut text = String::new();
    connection.read_to_string(&mut text).expect("the backend speaks and closes");
    text
}
