//! ESP and AH, by address alone: all that a client sends goes to one backend, the one that its IKE goes to. Over IPv6 AH is an extension
//! header, and stepped over unless the address has a listener of it.

use std::net::IpAddr;

use fairway_tests::packet::{Frame, Ip, Payload, extension};
use lb_common::abi::Counters;
use lb_common::counters::Reason;
use lb_common::hash;

use super::build::{Change as _, frame};
use super::check::{Case, Want, case, check};
use super::cuts::{Drop, END, Pass, Sent, Whole, cut};
use super::fragments::part;
use super::quotes::{WHOLE, error, too_big};
use super::world::{FLAVOURS, Flavour, LAN, client, port};

#[test]
fn what_a_client_secures_goes_where_its_keys_are() {
    check(cases());
}

pub fn cases() -> Vec<Case> {
    let families = [FLAVOURS[0], FLAVOURS[2]];
    families
        .into_iter()
        .flat_map(|f| together(f).into_iter().chain(lengths(f)).chain(others(f)).chain(parts(f)).chain(errors(f)))
        .chain(stepped_over(FLAVOURS[2]))
        .collect()
}

/// As the cases are called; the flavour itself says TCP.
fn name(f: Flavour) -> &'static str {
    if f.v4 { "IPv4" } else { "IPv6" }
}

/// The row of the backend that a client's packets go to: the slot is the hash of its address alone.
pub fn row(f: Flavour, n: u8) -> u32 {
    const SLOTS: u32 = 16;
    let slot = hash::flow(7, f.client(n).into(), 0) >> (64 - SLOTS.ilog2());
    f.row(port::BY_CLIENT, slot as u16)
}

fn secured(f: Flavour, n: u8, protocol: u8, octets: Vec<u8>) -> Frame {
    frame(Ip::new(f.client(n), f.secured(), Payload::Other(protocol, octets)))
}

/// ESP: its SPI, sequence number, and what nobody can read.
pub fn esp(f: Flavour, n: u8, spi: u32) -> Frame {
    secured(f, n, 50, [&spi.to_be_bytes()[..], &[0, 0, 0, 1], &[0xe5; 61]].concat())
}

/// AH in front of what is nobody's business: next header (none), length, SPI, sequence number, and what proves it.
pub fn ah(f: Flavour, n: u8, spi: u32) -> Frame {
    let [a, b, c, d] = spi.to_be_bytes();
    secured(f, n, 51, [&[59, 4, 0, 0, a, b, c, d, 0, 0, 0, 1][..], &[0xa5; 12], &[7; 41]].concat())
}

fn together(f: Flavour) -> Vec<Case> {
    let n = name(f);
    let udp = Flavour { tcp: false, ..f };
    let clients = [client::NEAR, client::SAME_SIDE, client::FAR, client::GATEWAY, client::NARROW, client::ON_VLAN];
    let each = |n: u8, packets: [Frame; 4]| {
        packets
            .into_iter()
            .fold(case(format!("{}: ESP and AH of client {n} go to one backend", name(f))), |case, it| {
                case.forwards(&it, &it.at(row(f, n)), row(f, n))
            })
    };
    let mut cases: Vec<Case> =
        clients.map(|n| each(n, [esp(f, n, 1), esp(f, n, 0xffff_fffe), ah(f, n, 1), ah(f, n, 99)])).into();
    let mut with_ike = case(format!("{n}: IKE of a client goes where its ESP goes"));
    for client in clients {
        let ike = udp.to(f.secured(), port::IKE).sourced(f.client(client), port::IKE);
        let same = udp.row(port::BY_CLIENT, (row(f, client) - f.row(port::BY_CLIENT, 0)) as u16);
        with_ike = with_ike.forwards(&ike, &ike.at(same), same);
    }
    let different = clients.map(|n| row(f, n)).into_iter().collect::<std::collections::BTreeSet<_>>();
    assert!(different.len() > 2, "the clients of these cases are of several backends");
    cases.push(with_ike);
    cases.push(
        case(format!("{n}: with a time to live of 1 ESP goes no further"))
            .drops(&esp(f, client::NEAR, 1).ttl(1), Reason::TimeToLive),
    );
    cases
}

fn lengths(f: Flavour) -> Vec<Case> {
    let ip = 14 + if f.v4 { 20 } else { 40 };
    let row = row(f, client::NEAR);
    let fates = [(ip, Pass(Reason::Malformed)), (ip + 8, Drop(Reason::Truncated)), (END, Sent)];
    [("ESP", esp(f, client::NEAR, 1)), ("AH", ah(f, client::NEAR, 1))]
        .map(|(what, sent)| {
            let whole = Whole { want: sent.at(row), sent, interface: LAN, row: Some(row) };
            cut(format!("{} {what}: cut at every length", name(f)), &whole, &fates)
        })
        .into()
}

fn others(f: Flavour) -> Vec<Case> {
    let n = name(f);
    let away = |packet: Frame, to: IpAddr| packet.with(|frame| frame.ip.destination = to);
    let back = esp(f, client::NEAR, 1)
        .with(|frame| (frame.ip.source, frame.ip.destination) = (frame.ip.destination, frame.ip.source));
    vec![
        case(format!("{n}: ESP to an address without such a listener is the host's"))
            .passes(&away(esp(f, client::NEAR, 1), f.vip()), Reason::NotService)
            .passes(&away(esp(f, client::NEAR, 1), f.wild()), Reason::NotService)
            .passes(&away(esp(f, client::NEAR, 1), f.stranger()), Reason::NotService),
        case(format!("{n}: TCP to an address of ESP alone is the host's"))
            .passes(&f.to(f.secured(), 80), Reason::NotService),
        case(format!("{n}: ESP from a service to a client is the host's")).passes(&back, Reason::NotService),
    ]
}

fn parts(f: Flavour) -> Vec<Case> {
    let row = row(f, client::NEAR);
    let whole = esp(f, client::NEAR, 1);
    let [first, second] = [part(&whole, 0, 32, true), part(&whole, 32, 69, false)];
    vec![
        case(format!("{}: fragments of ESP go where their first goes", name(f)))
            .forwards(&first, &first.at(row), row)
            .forwards(&second, &second.at(row), row),
    ]
}

fn errors(f: Flavour) -> Vec<Case> {
    let n = name(f);
    let least = if f.v4 { 28 } else { 48 };
    let row = row(f, client::NEAR);
    let turned = |packet: Frame| Ip { source: f.secured(), destination: f.client(client::NEAR), ..packet.ip };
    let answers = [turned(esp(f, client::NEAR, 5)), turned(ah(f, client::NEAR, 5))];
    let mut to_backend = case(format!("{n}: an error about what a backend secured goes to it"));
    for about in &answers {
        for octets in [WHOLE, least] {
            let error = error(f, too_big(f), about, octets);
            to_backend = to_backend.forwards(&error, &error.at(row), row);
        }
    }
    let elsewhere = Ip { source: f.vip(), ..answers[0].clone() };
    vec![
        to_backend,
        case(format!("{n}: one about ESP of an address without such a listener is the host's"))
            .passes(&error(f, too_big(f), &elsewhere, WHOLE), Reason::NotService),
    ]
}

/// An AH extension header of 24 octets.
fn ah_header() -> (u8, Vec<u8>) {
    (extension::AUTHENTICATION, [&[4, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1][..], &[0xa5; 12]].concat())
}

fn stepped_over(f: Flavour) -> Vec<Case> {
    let direct = f.row(port::DIRECT, 0);
    let options = (extension::DESTINATION, vec![0; 7]);
    let with = |packet: Frame, chain: Vec<(u8, Vec<u8>)>| packet.with(|frame| frame.ip.extensions = chain);
    let tcp = with(f.request(port::DIRECT), vec![ah_header()]);
    let about = |ip: &Ip| error(f, too_big(f), ip, WHOLE);
    let turned = |packet: &Frame| {
        let mut ip = Ip { source: packet.ip.destination, destination: packet.ip.source, ..packet.ip.clone() };
        if let Some(ports) = ip.payload.ports() {
            *ports = (ports.1, ports.0);
        }
        ip
    };
    let row = row(f, client::NEAR);
    let chains = [
        vec![ah_header()],
        vec![options.clone(), ah_header()],
        vec![ah_header(), options.clone()],
        vec![options.clone(), options.clone(), options.clone(), options.clone(), ah_header()],
        vec![ah_header(), options.clone(), options.clone(), options.clone(), options.clone(), options.clone()],
    ];
    let mut kept = case("IPv6: where AH has a listener it is not stepped over, whatever is around it");
    for chain in chains {
        let packet = with(f.to(f.secured(), port::DIRECT), chain);
        kept = kept.forwards(&packet, &packet.at(row), row);
    }
    let twice = with(f.to(f.secured(), port::DIRECT), vec![ah_header(), ah_header()]);
    let fragmented =
        with(f.to(f.secured(), port::DIRECT), vec![]).with(|frame| frame.ip.extensions = vec![options.clone()]);
    let beyond = with(f.to(f.secured(), port::DIRECT), vec![options.clone(); 6]);
    vec![
        kept.forwards(&twice, &twice.at(row), row),
        case("IPv6: where AH has no listener it is stepped over").forwards(&tcp, &tcp.at(direct), direct).forwards(
            &about(&turned(&tcp)),
            &about(&turned(&tcp)).at(direct),
            direct,
        ),
        case("IPv6: an error about TCP behind AH of an address with a listener of AH goes to its backend").forwards(
            &about(&turned(&twice)),
            &about(&turned(&twice)).at(row),
            row,
        ),
        case("IPv6: other extension headers are stepped over there too")
            .passes(&fragmented, Reason::NotService)
            .drops(&beyond, Reason::Unreadable),
        long(f, row),
    ]
}

/// AH whose length leads behind the end of the packet: that is its reader's business.
fn long(f: Flavour, row: u32) -> Case {
    let packet = with_length(ah(f, client::NEAR, 1), 255);
    let count = Counters { packets: 1, bytes: packet.ip.octets().len() as u64, connections: 0 };
    let want = Want::Sent { interface: LAN, frame: packet.at(row).octets(), count: Some((row, count)) };
    case("IPv6: AH with a length beyond the packet goes where AH goes").ends(&packet, want)
}

fn with_length(packet: Frame, length: u8) -> Frame {
    packet.with(|frame| frame.ip.payload.data()[1] = length)
}
