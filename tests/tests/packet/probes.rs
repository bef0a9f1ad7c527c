//! Answers to probes of direct backends: their source becomes the reserved address that was asked, and the host gets them.

use std::net::IpAddr;

use fairway_tests::packet::{Fragment, Frame, Ip, Payload, flag};
use lb_common::counters::Reason;
use lb_common::probe::{DEVICE_MAC, OTHER_MAC};

use super::build::{CLIENT_PORT, Change as _, frame};
use super::check::{Case, case, check};
use super::quotes::{WHOLE, too_big};
use super::world::{FLAVOURS, Flavour, INNER, OUTER, client, port};

#[test]
fn answers_to_probes_come_from_the_address_that_was_asked() {
    check(cases());
}

pub fn cases() -> Vec<Case> {
    FLAVOURS
        .into_iter()
        .flat_map(|f| answers(f).into_iter().chain(errors(f)).chain(not_ours(f)).chain(echoes(f)))
        .collect()
}

/// The first number that probes of a flavour's family are under way from, and the reserved address asked from there. From the
/// next number the other target of the same service's address is asked. See [`super::world::probes`].
fn asked(f: Flavour, which: u16) -> (u16, IpAddr) {
    let (number, reserved) = match (f.v4, which) {
        (true, 0) => (50_000, "198.18.0.1"),
        (true, _) => (50_001, "198.18.1.1"),
        (false, 0) => (50_002, "2001:2::2"),
        (false, _) => (50_003, "2001:2::102"),
    };
    (number, reserved.parse().expect("literal"))
}

/// What the service's address answers to a local port of this host.
fn answer(f: Flavour, to: u16) -> Frame {
    frame(Ip::new(f.vip(), f.client(client::SELF), f.payload(port::DIRECT, to)))
}

fn turned(answer: &Frame, reserved: IpAddr) -> Frame {
    handed_in(&answer.clone().with(|frame| frame.ip.source = reserved))
}

/// As it is sent in by the steering device: without tags.
fn handed_in(frame: &Frame) -> Frame {
    frame.clone().with(|frame| (frame.to, frame.from, frame.tags) = (DEVICE_MAC, OTHER_MAC, vec![]))
}

fn answers(f: Flavour) -> Vec<Case> {
    let mut cases = vec![];
    for which in [0, 1] {
        let (number, reserved) = asked(f, which);
        let plain = answer(f, number);
        cases.push(
            case(format!("{f}: an answer to a probe of target {which} comes from its reserved address"))
                .answers(&plain, &turned(&plain, reserved)),
        );
    }
    let (number, reserved) = asked(f, 0);
    let plain = answer(f, number);
    if f.tcp {
        let mut signals = case(format!("{f}: a handshake and a refusal are answers"));
        for flags in [flag::SYN | flag::ACK, flag::RST | flag::ACK, flag::FIN | flag::ACK] {
            signals = signals.answers(&plain.flags(flags), &turned(&plain.flags(flags), reserved));
        }
        cases.push(signals);
    } else {
        let unsummed = plain.clone().with(|frame| {
            if let Payload::Udp { summed, .. } = &mut frame.ip.payload {
                *summed = false;
            }
        });
        cases.push(case(format!("{f}: no checksum stays none")).answers(&unsummed, &turned(&unsummed, reserved)));
    }
    for tags in [&[INNER][..], &[OUTER, INNER]] {
        let tagged = plain.tagged(tags);
        cases.push(
            case(format!("{f}: an answer with {} tags loses them: it is for the host", tags.len()))
                .answers(&tagged, &turned(&tagged, reserved)),
        );
    }
    let last = plain.ttl(1);
    cases.push(
        case(format!("{f}: an answer has arrived: its time to live is nobody's business"))
            .answers(&last, &turned(&last, reserved)),
    );
    cases
}

/// Errors about the probe that was sent.
fn errors(f: Flavour) -> Vec<Case> {
    let (number, reserved) = asked(f, 0);
    let sent = Ip::new(f.client(client::SELF), f.vip(), f.payload(number, port::DIRECT));
    let known = Ip { destination: reserved, ..sent.clone() };
    let mut cases = vec![];
    for octets in [WHOLE, if f.v4 { 28 } else { 48 }] {
        let from_server = error(f, &sent, f.vip(), octets);
        cases.push(
            case(format!("{f}: an error of the backend quoting {octets} octets comes from the reserved address too"))
                .answers(&from_server, &handed_in(&error(f, &known, reserved, octets))),
        );
        let from_router = error(f, &sent, f.client(50), octets);
        cases.push(
            case(format!("{f}: an error of a router quoting {octets} octets stays the router's"))
                .answers(&from_router, &handed_in(&error(f, &known, f.client(50), octets))),
        );
    }
    cases
}

/// Too big, which quotes `about`, to who sent that.
fn error(f: Flavour, about: &Ip, from: IpAddr, octets: usize) -> Frame {
    let whole = about.octets();
    let data = whole[..octets.min(whole.len())].to_vec();
    frame(Ip::new(from, about.source, Payload::Icmp { kind: too_big(f), data }))
}

fn not_ours(f: Flavour) -> Vec<Case> {
    let (number, _) = asked(f, 0);
    let plain = answer(f, number);
    let quoted =
        |number: u16, destination| Ip::new(f.client(client::SELF), destination, f.payload(number, port::DIRECT));
    let part = |start, end, more| Fragment { identification: 9, start, end, more };
    let first = plain.clone().with(|frame| frame.ip.fragment = Some(part(0, 24, true)));
    let cut = plain.octets();
    let checksum = if f.tcp { 17 } else { 7 };
    let transport = 14 + if f.v4 { 20 } else { 40 };
    vec![
        case(format!("{f}: what a port gets that no probe is under way from is the host's"))
            .passes(&answer(f, CLIENT_PORT), Reason::NotService)
            .passes(&answer(f, number - 1000), Reason::NotService),
        case(format!("{f}: what somebody else sends to a probe's port is the host's"))
            .passes(&plain.sourced(f.stranger(), port::DIRECT), Reason::NotService),
        case(format!("{f}: the answers of one family's service to a probe of the other's are the host's"))
            .passes(&answer(f, asked(Flavour { v4: !f.v4, ..f }, 0).0), Reason::NotService),
        case(format!("{f}: an answer in fragments is left alone")).passes(&first, Reason::NotService),
        case(format!("{f}: an answer cut short before the end of its checksum is left alone"))
            .passes(cut[..transport + checksum].to_vec(), Reason::NotService),
        case(format!("{f}: an error about what no probe sent is the host's"))
            .passes(&error(f, &quoted(CLIENT_PORT, f.vip()), f.vip(), WHOLE), Reason::NotService)
            .passes(&error(f, &quoted(number, f.stranger()), f.vip(), WHOLE), Reason::NotService),
    ]
}

/// Pings do not differ between TCP and UDP: once is enough for each family.
fn echoes(f: Flavour) -> Vec<Case> {
    if !f.tcp {
        return vec![];
    }
    let (number, reserved) = asked(f, 1);
    let (request, reply) = if f.v4 { (8, 0) } else { (128, 129) };
    let echo = |kind, identifier, from, to| {
        frame(Ip::new(from, to, Payload::Echo { kind, identifier, data: b"an odd number of octets".to_vec() }))
    };
    let (host, vip) = (f.client(client::SELF), f.vip());
    let pong = echo(reply, number, vip, host);
    let ping = echo(request, number, host, vip).ip;
    let known = Ip { destination: reserved, ..ping.clone() };
    let family = if f.v4 { "IPv4" } else { "IPv6" };
    vec![
        case(format!("{family}: an echo comes from the reserved address")).answers(&pong, &turned(&pong, reserved)),
        case(format!("{family}: an echo of nobody's probe, or of somebody else, is the host's"))
            .passes(&echo(reply, CLIENT_PORT, vip, host), Reason::NotService)
            .passes(&echo(reply, number, f.stranger(), host), Reason::NotService),
        case(format!("{family}: a request for an echo is no echo"))
            .passes(&echo(request, number, vip, host), Reason::NotService),
        case(format!("{family}: an error about a request for an echo is one about the reserved address"))
            .answers(&error(f, &ping, vip, WHOLE), &handed_in(&error(f, &known, reserved, WHOLE)))
            .answers(&error(f, &ping, f.client(50), WHOLE), &handed_in(&error(f, &known, f.client(50), WHOLE))),
        case(format!("{family}: an error about somebody else's request is the host's"))
            .passes(&error(f, &echo(request, CLIENT_PORT, host, vip).ip, vip, WHOLE), Reason::NotService),
    ]
}
