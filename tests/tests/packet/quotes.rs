//! ICMP errors: they go where the flow that they quote goes, translated where it is.

use fairway_tests::packet::{Fragment, Frame, Ip, Payload};
use lb_common::abi::record_state::OPEN;
use lb_common::counters::Reason;
use lb_common::path::signs::Sign;

use super::build::{CLIENT_PORT, Change as _, frame, to_client};
use super::check::{Case, Want, case, check};
use super::state::Seed;
use super::world::{FLAVOURS, Flavour, LAN, WAN, client, port};

#[test]
fn icmp_errors_go_where_their_flow_goes() {
    check(cases());
}

pub fn cases() -> Vec<Case> {
    FLAVOURS
        .into_iter()
        .flat_map(|f| {
            to_backends(f).into_iter().chain(to_clients(f)).chain(not_ours(f)).chain(lengths(f)).chain(owners(f))
        })
        .collect()
}

/// A router that the client's packets pass.
const ROUTER: u8 = 50;

/// Fragmentation needed, or packet too big.
pub fn too_big(f: Flavour) -> (u8, u8) {
    if f.v4 { (3, 4) } else { (2, 0) }
}

/// An error from the router to the sender of `about`, quoting its first `octets`.
pub fn error(f: Flavour, kind: (u8, u8), about: &Ip, octets: usize) -> Frame {
    let whole = about.octets();
    let data = whole[..octets.min(whole.len())].to_vec();
    frame(Ip::new(f.client(ROUTER), about.source, Payload::Icmp { kind, data }))
}

/// All that there is.
pub const WHOLE: usize = usize::MAX;

/// The IP header and eight octets, as RFC 792 asks at least.
fn least(f: Flavour) -> usize {
    if f.v4 { 28 } else { 48 }
}

/// A packet that a service sent to the usual client.
fn answer(f: Flavour, service: u16) -> Ip {
    Ip::new(f.vip(), f.client(client::NEAR), f.payload(service, CLIENT_PORT))
}

/// The same as the backend of a translated service sent it.
fn answer_inside(f: Flavour, service: u16) -> Ip {
    Ip { source: f.backend(f.row(service, 0)), ..answer_from(f, port::BACKEND) }
}

fn answer_from(f: Flavour, from: u16) -> Ip {
    Ip::new(f.vip(), f.client(client::NEAR), f.payload(from, CLIENT_PORT))
}

/// What is unusual about a quoted packet.
type Oddity = Box<dyn Fn(Ip) -> Ip>;

fn to_backends(f: Flavour) -> Vec<Case> {
    let mut cases = vec![];
    let (direct, nat) = (f.row(port::DIRECT, 0), f.row(port::NAT, 0));
    let kinds: &[(u8, u8)] =
        if f.v4 { &[(3, 4), (3, 1), (4, 0), (11, 0), (12, 0)] } else { &[(1, 0), (2, 0), (3, 0), (4, 0)] };
    for &kind in kinds {
        let mut both =
            case(format!("{f}: an error of type {kind:?} goes to the backend, translated where its flow is"));
        for octets in [WHOLE, least(f)] {
            let plain = error(f, kind, &answer(f, port::DIRECT), octets);
            let outside = error(f, kind, &answer(f, port::NAT), octets);
            let inside = error(f, kind, &answer_inside(f, port::NAT), octets);
            both = both.forwards(&plain, &plain.at(direct), direct).forwards(&outside, &inside.at(nat), nat);
        }
        cases.push(both);
    }
    let mut odd: Vec<(&str, Oddity)> = vec![(
        "of a first fragment",
        Box::new(|ip| Ip { fragment: Some(Fragment { identification: 3, start: 0, end: 24, more: true }), ..ip }),
    )];
    if f.v4 {
        odd.push(("with options", Box::new(|ip| Ip { options: vec![1; 12], ..ip })));
    } else {
        odd.push((
            "with extension headers",
            Box::new(|ip| Ip { extensions: vec![(60, vec![0; 7]), (0, vec![0; 7])], ..ip }),
        ));
    }
    if !f.tcp {
        odd.push((
            "without a checksum",
            Box::new(|mut ip| {
                if let Payload::Udp { summed, .. } = &mut ip.payload {
                    *summed = false;
                }
                ip
            }),
        ));
    }
    for (name, change) in odd {
        let outside = error(f, too_big(f), &change(answer(f, port::NAT)), WHOLE);
        let inside = error(f, too_big(f), &change(answer_inside(f, port::NAT)), WHOLE);
        cases.push(case(format!("{f}: a quoted packet {name} is translated")).forwards(&outside, &inside.at(nat), nat));
    }
    let wild = f.row(port::OTHERS, 2);
    let outside = error(f, too_big(f), &Ip { source: f.wild_nat(), ..answer_from(f, 7777) }, WHOLE);
    let inside = error(f, too_big(f), &Ip { source: f.backend(wild), ..answer_from(f, 7777) }, WHOLE);
    cases.push(case(format!("{f}: a quoted packet of a wildcard service keeps its port")).forwards(
        &outside,
        &inside.at(wild),
        wild,
    ));
    cases
}

/// Errors about requests that were sent to translated backends.
fn to_clients(f: Flavour) -> Vec<Case> {
    let row = f.row(port::NAT, 0);
    let asked = f.request(port::NAT).ip;
    let got = f.request(port::NAT).destined(f.backend(row), port::BACKEND).ip;
    let unreachable = if f.v4 { (3, 3) } else { (1, 4) };
    let about = |ip: &Ip, from, octets| error(f, unreachable, ip, octets).with(|frame| frame.ip.source = from);
    let mut cases = vec![];
    for (name, octets) in [("all of it", WHOLE), ("the least", least(f))] {
        let sent = about(&got, f.backend(row), octets);
        cases.push(
            case(format!("{f}: a backend's error quoting {name} comes from the service"))
                .returns(&sent, &to_client(&about(&asked, f.vip(), octets)), WAN)
                .signs(row, Sign::Unreachable),
        );
        let sent = about(&got, f.client(ROUTER), octets);
        cases.push(
            case(format!("{f}: a router's error about a request quoting {name} stays the router's"))
                .returns(&sent, &to_client(&about(&asked, f.client(ROUTER), octets)), WAN)
                .signs(row, Sign::Unreachable),
        );
    }
    let own = Ip { source: f.client(client::SELF), ..got.clone() };
    cases.push(
        case(format!("{f}: a backend's error about this host's own packet is left alone"))
            .passes(&about(&own, f.backend(row), WHOLE), Reason::NotTranslated),
    );
    cases
}

fn not_ours(f: Flavour) -> Vec<Case> {
    let (redirect, echo) = if f.v4 { ((5, 1), (8, 0)) } else { ((137, 0), (128, 0)) };
    let icmp = |about: &Ip| error(f, too_big(f), about, WHOLE);
    let answer = answer(f, port::DIRECT);
    let later = Fragment { identification: 3, start: 24, end: 32, more: true };
    vec![
        case(format!("{f}: a ping of a service's address is the host's"))
            .passes(&error(f, echo, &answer, WHOLE), Reason::NotService),
        case(format!("{f}: a redirect is the host's")).passes(&error(f, redirect, &answer, WHOLE), Reason::NotService),
        case(format!("{f}: an error about a port of no service is the host's"))
            .passes(&icmp(&answer_from(f, port::NONE)), Reason::NotService),
        case(format!("{f}: an error about another address is the host's"))
            .passes(&icmp(&Ip { source: f.stranger(), ..answer.clone() }), Reason::NotService),
        case(format!("{f}: an error that quotes a packet which its receiver did not send is the host's")).passes(
            &icmp(&Ip { source: f.stranger(), ..answer.clone() }).with(|frame| frame.ip.destination = f.vip()),
            Reason::NotService,
        ),
        case(format!("{f}: an error about another protocol is the host's"))
            .passes(&icmp(&Ip { payload: Payload::Other(132, vec![0; 32]), ..answer.clone() }), Reason::NotService),
        case(format!("{f}: an error about a later fragment to a service drops: no one can tell whose it is"))
            .drops(&icmp(&Ip { fragment: Some(later), ..answer.clone() }), Reason::QuoteTruncated),
        case(format!("{f}: an error for a backend that is this host is passed untouched"))
            .passes(&icmp(&answer_from(f, port::LOCAL)), Reason::LocalBackend),
        case(format!("{f}: an error with a time to live of 1 goes no further"))
            .drops(&icmp(&answer).ttl(1), Reason::TimeToLive)
            .drops(&icmp(&answer_from(f, port::NAT)).ttl(1), Reason::TimeToLive),
    ]
}

/// Errors that quote each number of octets.
fn lengths(f: Flavour) -> Vec<Case> {
    // The quoted ports must be there.
    let enough = least(f) - 4;
    let row = f.row(port::NAT, 0);
    let (asked, got) = (f.request(port::NAT).ip, f.request(port::NAT).destined(f.backend(row), port::BACKEND).ip);
    let all = got.octets().len();
    let mut plain = case(format!("{f}: an error to a direct backend may quote any number of octets from the ports on"));
    let mut request =
        case(format!("{f}: an error to a translated backend may quote any number of octets from the ports on"));
    let mut reply =
        case(format!("{f}: an error from a translated backend may quote any number of octets from the ports on"));
    let direct = f.row(port::DIRECT, 0);
    // Half a checksum cannot be mended: it is left as it is.
    let half_a_checksum = enough - 4 + if f.tcp { 17 } else { 7 };
    for octets in (0..all).filter(|octets| *octets != half_a_checksum) {
        let about = |ip: &Ip| error(f, too_big(f), ip, octets);
        let (to_direct, outside) = (about(&answer(f, port::DIRECT)), about(&answer(f, port::NAT)));
        if octets < enough {
            plain = plain.drops(&to_direct, Reason::QuoteTruncated);
            request = request.drops(&outside, Reason::QuoteTruncated);
            reply = reply.passes(&about(&got), Reason::NotService);
            continue;
        }
        plain = plain.forwards(&to_direct, &to_direct.at(direct), direct);
        request = request.forwards(&outside, &about(&answer_inside(f, port::NAT)).at(row), row);
        reply = reply.returns(&about(&got), &to_client(&about(&asked)), WAN);
    }
    vec![plain, request, reply]
}

/// Whose flow it is, in a slot that changed hands: looked up, never recorded.
fn owners(f: Flavour) -> Vec<Case> {
    let service = port::KEPT;
    let icmp = error(f, too_big(f), &answer(f, service), least(f));
    let seed = Seed { pool: f.row(service, 0), backend: 3, state: OPEN, age: 0 };
    let to = |backend| {
        Want::sent(LAN, &icmp.at(f.row(service, backend)), f.row(service, backend), icmp.ip.octets().len(), 0)
    };
    let about = |service| error(f, too_big(f), &answer(f, service), WHOLE);
    vec![
        case(format!("{f}: an error about an unrecorded flow of an unsettled slot is the previous owner's"))
            .ends(&icmp, to(0))
            .leaves([]),
        case(format!("{f}: an error about a recorded flow goes to its backend"))
            .knowing(f.flow(service), seed)
            .ends(&icmp, to(3)),
        case(format!("{f}: an error about a flow of a dead backend is the previous owner's"))
            .knowing(f.flow(service), Seed { backend: 2, ..seed })
            .ends(&icmp, to(0)),
        case(format!("{f}: an error about a service without a backend is the host's or nobody's"))
            .passes(&about(port::EMPTY_PASS), Reason::NoBackendPassed)
            .drops(&about(port::EMPTY_DROP), Reason::NoBackend),
        case(format!("{f}: an error for an unknown next hop drops"))
            .drops(&about(port::NO_HOP), Reason::NextHopUnknown),
    ]
}
