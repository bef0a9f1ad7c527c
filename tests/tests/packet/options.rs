//! IPv4 options and IPv6 extension headers: stepped over, bounded.

use fairway_tests::packet::{Fragment, Frame, Ip, Payload, extension};
use lb_common::counters::Reason;

use super::build::{Change as _, frame, to_client};
use super::check::{Case, case, check};
use super::world::{FLAVOURS, Flavour, WAN, client, port};

#[test]
fn options_and_extension_headers_are_stepped_over() {
    check(cases());
}

pub fn cases() -> Vec<Case> {
    FLAVOURS.into_iter().flat_map(|f| if f.v4 { options(f) } else { extensions(f) }).collect()
}

fn options(f: Flavour) -> Vec<Case> {
    let mut cases = vec![];
    let router_alert = vec![0x94, 4, 0, 0];
    for (name, options) in [("the router alert", router_alert), ("12 octets", vec![1; 12]), ("40 octets", vec![1; 40])]
    {
        let with = |frame: &Frame| frame.clone().with(|frame| frame.ip.options = options.clone());
        cases.extend(forwarded(f, &format!("with {name} of options"), with));
    }
    let mut lying = f.request(port::DIRECT).octets();
    lying[14] = 0x4f;
    lying.truncate(60);
    cases.push(case(format!("{f}: options that reach beyond the packet drop")).drops(lying, Reason::Truncated));
    cases
}

/// The three ways through, with a change to the packet that forwarding keeps.
fn forwarded(f: Flavour, how: &str, with: impl Fn(&Frame) -> Frame) -> Vec<Case> {
    let (direct, nat) = (f.row(port::DIRECT, 0), f.row(port::NAT, 0));
    let request = f.request(port::NAT);
    let reply = f.reply(nat, port::BACKEND, client::NEAR);
    vec![
        case(format!("{f}: a packet {how} is forwarded")).forwards(
            &with(&f.request(port::DIRECT)),
            &with(&f.request(port::DIRECT)).at(direct),
            direct,
        ),
        case(format!("{f}: a packet {how} is translated")).forwards(
            &with(&request),
            &with(&request).destined(f.backend(nat), port::BACKEND).at(nat),
            nat,
        ),
        case(format!("{f}: a reply {how} is translated back")).returns(
            &with(&reply),
            &to_client(&with(&reply).sourced(f.vip(), port::NAT)),
            WAN,
        ),
        case(format!("{f}: a packet {how} to another port is the host's"))
            .passes(&with(&f.request(port::NONE)), Reason::NotService),
    ]
}

/// An extension header of eight octets, or `8 * (1 + more)`.
fn header(number: u8, more: u8) -> (u8, Vec<u8>) {
    let octets =
        if number == extension::AUTHENTICATION { (usize::from(more) + 2) * 4 } else { (usize::from(more) + 1) * 8 };
    // Padding options: PadN over the rest.
    let mut rest = vec![0; octets - 1];
    rest[0] = more;
    (number, rest)
}

fn extensions(f: Flavour) -> Vec<Case> {
    use extension::{AUTHENTICATION, DESTINATION, HOP_BY_HOP, ROUTING};
    let mut cases = vec![];
    for (name, chain) in [
        ("with a hop-by-hop header", vec![header(HOP_BY_HOP, 0)]),
        ("with a destination header", vec![header(DESTINATION, 0)]),
        ("with a long destination header", vec![header(DESTINATION, 30)]),
        ("with a routing header at its end", vec![header(ROUTING, 2)]),
        ("with an authentication header", vec![header(AUTHENTICATION, 4)]),
        (
            "with five extension headers",
            vec![
                header(HOP_BY_HOP, 0),
                header(DESTINATION, 1),
                header(ROUTING, 2),
                header(AUTHENTICATION, 4),
                header(DESTINATION, 0),
            ],
        ),
    ] {
        cases.extend(forwarded(f, name, |frame| frame.clone().with(|frame| frame.ip.extensions = chain.clone())));
    }
    cases.extend(forwarded(f, "that is an atomic fragment", |frame| {
        let end = if f.tcp { 69 } else { 57 };
        let fragment = Fragment { identification: 9, start: 0, end, more: false };
        frame.clone().with(|frame| frame.ip.fragment = Some(fragment))
    }));
    cases.extend(unreadable(f));
    cases
}

fn unreadable(f: Flavour) -> Vec<Case> {
    let chain = |n: usize| vec![header(extension::DESTINATION, 0); n];
    let with = |frame: Frame, chain: Vec<_>| frame.with(|frame| frame.ip.extensions = chain);
    let sent = f.request(port::DIRECT);
    let cut = |octets: usize| with(sent.clone(), chain(2)).octets()[..octets].to_vec();
    let nothing = frame(Ip::new(f.client(client::NEAR), f.vip(), Payload::Other(59, vec![])));
    let no_next = with(nothing, chain(1));
    vec![
        case(format!("{f}: six extension headers to a service drop"))
            .drops(&with(sent.clone(), chain(6)), Reason::Unreadable),
        case(format!("{f}: six extension headers to another address are the host's"))
            .passes(&with(f.to(f.stranger(), 80), chain(6)), Reason::NotService),
        case(format!("{f}: an extension header of 2,048 octets to a service drops"))
            .drops(&with(sent.clone(), vec![header(extension::DESTINATION, 255)]), Reason::Unreadable),
        case(format!("{f}: a chain cut inside its first header drops"))
            .drops(cut(54), Reason::Unreadable)
            .drops(cut(55), Reason::Unreadable),
        case(format!("{f}: a chain cut inside its second header drops"))
            .drops(cut(62), Reason::Unreadable)
            .drops(cut(63), Reason::Unreadable),
        case(format!("{f}: a chain cut before the transport header drops")).drops(cut(70), Reason::Truncated),
        case(format!("{f}: a chain that ends in no next header is the host's")).passes(&no_next, Reason::NotService),
    ]
}
