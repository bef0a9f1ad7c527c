//! SCTP services: an association has one backend from its INIT to its end, through a drain of that backend too, and its packets arrive
//! as they were sent.
//!
//! The kernel under test may lack SCTP, so clients and servers speak as much of it as a balancer sees, by raw sockets.

use std::collections::BTreeMap;
use std::net::IpAddr;

use fairway::playground::topology::{Replies, SERVICE_V4, SERVICE_V6, backend_v4, backend_v6};
use fairway_tests::packet::{Payload, chunk, crc32c};

use crate::harness::{Fairway, RawClient, RawServer, four_backends, lab, usual_config};

const SCTP: u8 = 132;
const PORT: u16 = 2905;
const FIRST_CLIENT_PORT: u16 = 40_000;
const ASSOCIATIONS: u16 = 60;
const TAG: u32 = 0x0102_0304;

#[test]
fn an_association_has_one_backend_from_its_init_to_its_end() {
    let lab = lab(&four_backends(Replies::Direct));
    let _servers: Vec<RawServer> = (0..4).map(|index| RawServer::start(&lab, index, SCTP, answer)).collect();
    let usual = usual_config(&lab, &[]);
    let beginning = &usual[..usual.find("[[service]]").expect("it has services")];
    let service = |name: &str, address: String, backend: fn(usize) -> IpAddr| {
        let mut text = format!("\n[[service]]\nname = \"{name}\"\nlisten = [\"sctp://{address}:{PORT}\"]\n");
        for index in 0..4 {
            text += &format!("[[service.backend]]\nname = \"b{index}\"\naddress = \"{}\"\n", backend(index));
        }
        text
    };
    let four = service("four", SERVICE_V4.to_string(), |index| backend_v4(index).into());
    let six = service("six", format!("[{SERVICE_V6}]"), |index| backend_v6(index).into());
    let fairway = Fairway::start_with(&lab, &format!("{beginning}{four}{six}"));
    fairway.wait_until_ready();

    for (name, service) in [("four", IpAddr::from(SERVICE_V4)), ("six", IpAddr::from(SERVICE_V6))] {
        let mut client = RawClient::new(&lab.client(), service, SCTP);
        let mut ask = |port: u16, kind: u8| {
            let tag = if kind == chunk::INIT { 0 } else { TAG };
            let packet = packet((port, PORT), tag, kind, vec![0x77; 32]);
            let answered = client.ask(&packet, |answer| answer[2..4] == port.to_be_bytes());
            served_by(&answered.unwrap_or_else(|error| panic!("{name}, port {port}: {error}\n{}", fairway.fates())))
        };
        let mut homes: BTreeMap<u16, usize> = BTreeMap::new();
        for port in (FIRST_CLIENT_PORT..).take(ASSOCIATIONS.into()) {
            let home = ask(port, chunk::INIT);
            for kind in [chunk::COOKIE_ECHO, chunk::DATA, chunk::DATA] {
                assert_eq!(ask(port, kind), home, "{name}, port {port}, chunk {kind}");
            }
            homes.insert(port, home);
        }
        assert!((0..4).all(|index| homes.values().any(|home| *home == index)), "{name}: a backend got none: {homes:?}");

        let output = fairway.command(&["backend", "drain", name, "b0"]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        for (port, home) in &homes {
            assert_eq!(ask(*port, chunk::DATA), *home, "{name}, port {port}: established before the drain");
        }
        for port in (FIRST_CLIENT_PORT + ASSOCIATIONS..).take(ASSOCIATIONS.into()) {
            let home = ask(port, chunk::INIT);
            assert_ne!(home, 0, "{name}, port {port}: a new association");
            assert_eq!(ask(port, chunk::DATA), home, "{name}, port {port}");
        }
        for (port, home) in &homes {
            assert_eq!(ask(*port, chunk::SHUTDOWN), *home, "{name}, port {port}: its end");
        }
        explained(&fairway, service);
    }
    let begun = fairway.metric_sum("fairway_service_connections_total");
    assert_eq!(begun, f64::from(2 * 2 * ASSOCIATIONS), "INITs are new connections");
}

/// `explain` speaks of SCTP too.
fn explained(fairway: &Fairway, service: IpAddr) {
    let (from, to) = match service {
        IpAddr::V4(v4) => ("10.1.0.1:4711", format!("sctp://{v4}:{PORT}")),
        IpAddr::V6(v6) => ("[fd01::1]:4711", format!("sctp://[{v6}]:{PORT}")),
    };
    let said = fairway.command(&["explain", "--from", from, &to]);
    let said = String::from_utf8_lossy(&said.stdout).into_owned();
    assert!(said.contains(", sctp, ") && said.contains("forwarded"), "{said}");
}

/// The octets of an SCTP packet with one chunk.
fn packet(ports: (u16, u16), tag: u32, chunk: u8, data: Vec<u8>) -> Vec<u8> {
    Payload::Sctp { ports, tag, chunk, data }.sealed()
}

/// What a server says to a packet that arrived as it was sent: its own number, back to the client's port.
fn answer(packet: &[u8], index: usize) -> Vec<u8> {
    assert!(is_sound(packet), "backend {index} got {packet:02x?}");
    let port = |at: usize| u16::from_be_bytes([packet[at], packet[at + 1]]);
    self::packet((port(2), port(0)), TAG, chunk::DATA, vec![index as u8; 4])
}

fn served_by(answer: &[u8]) -> usize {
    assert!(is_sound(answer), "the client got {answer:02x?}");
    answer[16].into()
}

/// Whether the checksum is right.
fn is_sound(packet: &[u8]) -> bool {
    let zeroed = [&packet[..8], &[0; 4], &packet[12..]].concat();
    packet[8..12] == crc32c(&zeroed).to_le_bytes()
}
