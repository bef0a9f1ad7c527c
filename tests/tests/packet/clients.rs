//! Services that keep a client, or a network of clients, on one backend: what is hashed, and what is not. Which of sixteen
//! backends a client falls on was computed by a second implementation: all nodes of a cluster must agree, whatever their
//! version.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use fairway_tests::packet::{Frame, Ip};

use super::build::{CLIENT_PORT, Change as _, frame};
use super::check::{Case, case, check};
use super::quotes;
use super::world::{FLAVOURS, Flavour, port};

#[test]
fn clients_stay_together_as_the_selection_key_says() {
    check(cases());
}

pub fn cases() -> Vec<Case> {
    let of = |f| [networks(f), listeners(f), ports(f), errors(f)];
    FLAVOURS.into_iter().flat_map(of).collect()
}

fn networks(f: Flavour) -> Case {
    let backends: [u16; 8] = if f.v4 { [14, 0, 4, 8, 4, 1, 3, 10] } else { [11, 8, 0, 12, 6, 0, 7, 4] };
    let mut hashed = case(format!("{f}: all clients of a network go to one backend, by the hash of the network"));
    for (n, backend) in (0u8..).zip(backends) {
        for host in [7, 8, 254] {
            hashed =
                to(hashed, f, &from(f, client(f, n, host), CLIENT_PORT, port::BY_CLIENT), port::BY_CLIENT, backend);
        }
    }
    hashed
}

fn listeners(f: Flavour) -> Case {
    let backend = if f.v4 { 14 } else { 11 };
    let mut hashed = case(format!("{f}: neither the client's port nor the listener's counts"));
    for (from_port, to_port) in [(40_000, port::BY_CLIENT), (40_001, port::BY_CLIENT), (1024, port::BY_CLIENT_TOO)] {
        hashed = to(hashed, f, &from(f, client(f, 0, 7), from_port, to_port), port::BY_CLIENT, backend);
    }
    hashed
}

fn ports(f: Flavour) -> Case {
    let backends: [u16; 6] = if f.v4 { [4, 7, 12, 9, 14, 12] } else { [1, 9, 9, 3, 14, 10] };
    let mut hashed = case(format!("{f}: the client's port counts where it shall"));
    for (n, backend) in (0u16..).zip(backends) {
        let packet = from(f, client(f, 0, 7), CLIENT_PORT + n, port::BY_CLIENT_AND_PORT);
        hashed = to(hashed, f, &packet, port::BY_CLIENT_AND_PORT, backend);
    }
    hashed
}

/// An error about a packet of the service finds the backend by the client that got it, whoever sends the error.
fn errors(f: Flavour) -> Case {
    let backend = if f.v4 { 14 } else { 11 };
    let answer = Ip::new(f.vip(), client(f, 0, 7), f.payload(port::BY_CLIENT, CLIENT_PORT));
    let error = quotes::error(f, quotes::too_big(f), &answer, quotes::WHOLE);
    to(case(format!("{f}: an ICMP error goes where the client's packets go")), f, &error, port::BY_CLIENT, backend)
}

fn to(case: Case, f: Flavour, packet: &Frame, service: u16, backend: u16) -> Case {
    let row = f.row(service, backend);
    case.forwards(packet, &packet.at(row), row)
}

/// A packet of a client.
fn from(f: Flavour, client: IpAddr, from: u16, to: u16) -> Frame {
    frame(Ip::new(client, f.vip(), f.payload(from, to)))
}

/// A host of the n-th network.
fn client(f: Flavour, n: u8, host: u8) -> IpAddr {
    match f.v4 {
        true => Ipv4Addr::new(198, 51, 100 + n, host).into(),
        false => Ipv6Addr::new(0x2001, 0xdb8, 1, n.into(), 0, 0, 0, host.into()).into(),
    }
}
