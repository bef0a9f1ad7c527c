//! Translations that are recorded: full NAT, and servers that several services share.

use std::net::IpAddr;

use fairway_tests::packet::{Frame, Ip, Payload, flag};
use lb_common::abi::FlowKey6;
use lb_common::counters::Reason;
use lb_common::path::signs::Sign;

use super::build::{CLIENT_PORT, Change as _, frame, to_client};
use super::check::{Case, Want, case, check};
use super::fragments::parts;
use super::quotes::{WHOLE, error, too_big};
use super::world::{FLAVOURS, Flavour, LAN, WAN, client, port};

#[test]
fn flows_with_a_record_are_translated_by_it_both_ways() {
    check(cases());
}

pub fn cases() -> Vec<Case> {
    FLAVOURS
        .into_iter()
        .flat_map(|f| {
            full_nat(f)
                .into_iter()
                .chain(awaited(f))
                .chain(shared(f))
                .chain(no_room(f))
                .chain(pieces(f))
                .chain(errors(f))
                .chain(edges(f))
        })
        .collect()
}

/// A client's packet as the backend of full NAT gets it.
fn inside(f: Flavour, sent: &Frame) -> Frame {
    let row = f.row(port::FULL_NAT, 0);
    sent.sourced(f.source(), port::SOURCE).destined(f.backend(row), port::BACKEND).at(row)
}

/// What that backend answers to the source that it knows.
fn answer(f: Flavour) -> Frame {
    let from = f.backend(f.row(port::FULL_NAT, 0));
    frame(Ip::new(from, f.source(), f.payload(port::BACKEND, port::SOURCE)))
}

/// As the client gets it.
fn outside(f: Flavour, answer: &Frame) -> Frame {
    to_client(&answer.sourced(f.vip(), port::FULL_NAT).destined(f.client(client::NEAR), CLIENT_PORT))
}

/// The usual client's packet to a service, from another port.
fn from_port(f: Flavour, service: u16, from: u16) -> Frame {
    f.request(service).sourced(f.client(client::NEAR), from)
}

/// Records may be on their way from the node that was master.
fn awaited(f: Flavour) -> Vec<Case> {
    let row = f.row(port::FULL_NAT, 0);
    let sent = f.request(port::FULL_NAT);
    if !f.tcp {
        return vec![
            case(format!("{f}: full NAT: datagrams wait for no record"))
                .awaits(true)
                .forwards(&sent, &inside(f, &sent), row)
                .translates(2),
            case(format!("{f}: full NAT: datagrams that come back without a record are the host's all the same"))
                .awaits(true)
                .passes(&answer(f), Reason::NotTranslated),
        ];
    }
    let syn = sent.flags(flag::SYN);
    vec![
        case(format!("{f}: full NAT: what goes on without a record waits for it, both ways"))
            .awaits(true)
            .drops(&sent, Reason::RecordAwaited)
            .drops(&sent.flags(flag::RST), Reason::RecordAwaited)
            .drops(&answer(f), Reason::RecordAwaited)
            .drops(&answer(f).flags(flag::SYN | flag::ACK), Reason::RecordAwaited)
            .passes(&answer(f).destined(f.source(), 40_000), Reason::NotTranslated)
            .translates(0),
        case(format!("{f}: full NAT: what has a record waits for nothing"))
            .forwards(&sent, &inside(f, &sent), row)
            .awaits(true)
            .forwards(&sent, &inside(f, &sent), row)
            .returns(&answer(f), &outside(f, &answer(f)), WAN),
        case(format!("{f}: full NAT: what begins waits for nothing"))
            .awaits(true)
            .opens(&syn, &inside(f, &syn), row)
            .forwards(&sent, &inside(f, &sent), row)
            .translates(2),
        case(format!("{f}: a shared server: what goes on without a record waits for it"))
            .awaits(true)
            .drops(&f.request(port::SHARED), Reason::RecordAwaited)
            .translates(0),
        case(format!("{f}: full NAT: when all is here, what goes on without a record gets one"))
            .awaits(true)
            .drops(&sent, Reason::RecordAwaited)
            .awaits(false)
            .forwards(&sent, &inside(f, &sent), row)
            .translates(2),
    ]
}

fn full_nat(f: Flavour) -> Vec<Case> {
    let row = f.row(port::FULL_NAT, 0);
    let sent = f.request(port::FULL_NAT);
    let mut cases = vec![
        case(format!("{f}: full NAT: both ends are rewritten, and the reply finds its client"))
            .forwards(&sent, &inside(f, &sent), row)
            .returns(&answer(f), &outside(f, &answer(f)), WAN)
            .forwards(&sent, &inside(f, &sent), row)
            .translates(2),
        case(format!("{f}: full NAT: client and backend may be on one side"))
            .forwards(&sent.sourced(f.client(client::SAME_SIDE), CLIENT_PORT), &inside(f, &sent), row)
            .returns(
                &answer(f),
                &answer(f)
                    .sourced(f.vip(), port::FULL_NAT)
                    .destined(f.client(client::SAME_SIDE), CLIENT_PORT)
                    .sent_to(client::SAME_SIDE, LAN),
                LAN,
            ),
        case(format!("{f}: full NAT: another flow must have another source, and there is none"))
            .forwards(&sent, &inside(f, &sent), row)
            .drops(&from_port(f, port::FULL_NAT, 40_001), Reason::NoSourcePort)
            .forwards(&sent, &inside(f, &sent), row)
            .returns(&answer(f), &outside(f, &answer(f)), WAN)
            .translates(2),
        case(format!("{f}: full NAT: what no flow awaits is the host's, and so is what goes elsewhere"))
            .passes(&answer(f), Reason::NotTranslated)
            .forwards(&sent, &inside(f, &sent), row)
            .passes(&answer(f).destined(f.source(), 5001), Reason::NotTranslated)
            .passes(&answer(f).destined(f.client(client::NEAR), CLIENT_PORT), Reason::NotTranslated)
            .translates(2),
        case(format!("{f}: full NAT: a time to live of 1 goes no further and is not recorded"))
            .drops(&sent.ttl(1), Reason::TimeToLive)
            .translates(0)
            .passes(&answer(f).ttl(1), Reason::NotTranslated),
        case(format!("{f}: full NAT: a reply waits for its client's neighbour"))
            .translating(key(f, f.client(client::UNRESOLVED), CLIENT_PORT, f.vip(), port::FULL_NAT), becomes(f))
            .ends(
                &answer(f),
                Want::HandedOver {
                    network: 14,
                    frame: answer(f)
                        .sourced(f.vip(), port::FULL_NAT)
                        .destined(f.client(client::UNRESOLVED), CLIENT_PORT)
                        .with(|frame| frame.ip.ttl -= 1)
                        .octets(),
                },
            ),
        case(format!("{f}: full NAT: a record of another backend is made anew"))
            .translating(
                key(f, f.client(client::NEAR), CLIENT_PORT, f.vip(), port::FULL_NAT),
                key(f, f.source(), 4999, f.backend(row + 1), port::BACKEND),
            )
            .forwards(&sent, &inside(f, &sent), row)
            .returns(&answer(f), &outside(f, &answer(f)), WAN)
            .translates(2),
    ];
    if f.tcp {
        let syn = sent.flags(flag::SYN);
        let reset = answer(f).flags(flag::RST | flag::ACK);
        cases.push(
            case(format!("{f}: full NAT: a connection is counted, and a reset is a sign"))
                .opens(&syn, &inside(f, &syn), row)
                .returns(&reset, &outside(f, &reset), WAN)
                .signs(row, Sign::Reset),
        );
    } else {
        let unsummed = |frame: Frame| {
            frame.with(|frame| {
                if let Payload::Udp { summed, .. } = &mut frame.ip.payload {
                    *summed = false;
                }
            })
        };
        let (request, reply) = (unsummed(sent), unsummed(answer(f)));
        cases.push(
            case(format!("{f}: full NAT: without a checksum none is made"))
                .forwards(&request, &inside(f, &request), row)
                .returns(&reply, &outside(f, &reply), WAN),
        );
    }
    cases
}

fn key(f: Flavour, source: IpAddr, from: u16, destination: IpAddr, to: u16) -> FlowKey6 {
    let ([a, b], [c, d]) = (from.to_be_bytes(), to.to_be_bytes());
    FlowKey6 {
        source: source.into(),
        destination: destination.into(),
        ports_wire: u32::from_ne_bytes([a, b, c, d]),
        protocol: f.protocol().into(),
    }
}

/// What the usual flow becomes under full NAT.
fn becomes(f: Flavour) -> FlowKey6 {
    key(f, f.source(), port::SOURCE, f.backend(f.row(port::FULL_NAT, 0)), port::BACKEND)
}

fn shared(f: Flavour) -> Vec<Case> {
    let (one, other) = (f.row(port::SHARED, 0), f.row(port::SHARED_TOO, 0));
    let to_one = f.request(port::SHARED);
    let to_other = from_port(f, port::SHARED_TOO, 40_001);
    let at_server = |sent: &Frame, row| sent.destined(f.backend(row), port::BACKEND).at(row);
    let reply = f.reply(one, port::BACKEND, client::NEAR);
    let reply_to_other = reply.destined(f.client(client::NEAR), 40_001);
    let as_from = |reply: &Frame, service| to_client(&reply.sourced(f.vip(), service));
    // Its port is another's already, towards the same server: which it gets is not said, only that both come back.
    vec![
        case(format!("{f}: a shared server: each reply is its own service's, and sources stay"))
            .forwards(&to_one, &at_server(&to_one, one), one)
            .forwards(&to_other, &at_server(&to_other, other), other)
            .returns(&reply, &as_from(&reply, port::SHARED), WAN)
            .returns(&reply_to_other, &as_from(&reply_to_other, port::SHARED_TOO), WAN)
            .translates(4),
        case(format!("{f}: a shared server: a reply without a record is one service's"))
            .returns(&reply, &as_from(&reply, port::SHARED), WAN)
            .translates(0),
        case(format!("{f}: a shared server: a reply to this host is left alone"))
            .passes(&f.reply(one, port::BACKEND, client::SELF), Reason::NotTranslated),
        case(format!("{f}: a shared server: a flow that got another port than its own keeps it"))
            .translating(
                key(f, f.client(client::NEAR), CLIENT_PORT, f.vip(), port::SHARED_TOO),
                key(f, f.client(client::NEAR), 1024, f.backend(other), port::BACKEND),
            )
            .forwards(&f.request(port::SHARED_TOO), &at_server(&from_port(f, port::SHARED_TOO, 1024), other), other)
            .returns(
                &reply.destined(f.client(client::NEAR), 1024),
                &to_client(&reply.sourced(f.vip(), port::SHARED_TOO)),
                WAN,
            )
            .translates(2),
    ]
}

fn no_room(f: Flavour) -> Vec<Case> {
    let row = f.row(port::FULL_NAT, 0);
    let sent = f.request(port::FULL_NAT);
    let known = key(f, f.client(client::NEAR), CLIENT_PORT, f.vip(), port::FULL_NAT);
    let room = |room| {
        let records = 128 - room;
        case(format!("{f}: with room for {room} records a new flow is dropped, and nothing is left of it"))
            .with_room_for_translations(f, room)
            .drops(&sent, Reason::TranslationsFull)
            .drops(&f.request(port::SHARED), Reason::TranslationsFull)
            .translates(records)
    };
    vec![
        room(0),
        room(1),
        case(format!("{f}: with a full table a recorded flow goes on"))
            .translating(known, becomes(f))
            .with_room_for_translations(f, 0)
            .forwards(&sent, &inside(f, &sent), row)
            .returns(&answer(f), &outside(f, &answer(f)), WAN)
            .translates(128),
    ]
}

fn pieces(f: Flavour) -> Vec<Case> {
    let row = f.row(port::FULL_NAT, 0);
    let other = f.row(port::SHARED_TOO, 0);
    let mut there = case(format!("{f}: full NAT: all fragments of a request get both ends"));
    for frame in &parts(&f.request(port::FULL_NAT)) {
        there = there.forwards(frame, &inside(f, frame), row);
    }
    let mut back = case(format!("{f}: full NAT: all fragments of a reply go to its client"))
        .translating(key(f, f.client(client::NEAR), CLIENT_PORT, f.vip(), port::FULL_NAT), becomes(f));
    for frame in &parts(&answer(f)) {
        back = back.returns(frame, &outside(f, frame), WAN);
    }
    let mut shared = case(format!("{f}: a shared server: all fragments are translated"));
    for frame in &parts(&f.request(port::SHARED_TOO)) {
        shared = shared.forwards(frame, &frame.destined(f.backend(other), port::BACKEND).at(other), other);
    }
    for frame in &parts(&f.reply(other, port::BACKEND, client::NEAR)) {
        let frame = frame.clone().with(|frame| frame.ip.fragment.as_mut().expect("a fragment").identification = 7);
        shared = shared.returns(&frame, &to_client(&frame.sourced(f.vip(), port::SHARED_TOO)), WAN);
    }
    let [first, later, _] = parts(&f.request(port::FULL_NAT));
    let spent = case(format!("{f}: full NAT: a later fragment with a time to live of 1 goes no further"))
        .forwards(&first, &inside(f, &first), row)
        .drops(&later.ttl(1), Reason::TimeToLive);
    vec![there, back, shared, spent]
}

fn errors(f: Flavour) -> Vec<Case> {
    let row = f.row(port::FULL_NAT, 0);
    let client_key = key(f, f.client(client::NEAR), CLIENT_PORT, f.vip(), port::FULL_NAT);
    let known = |name: &str| case(format!("{f}: full NAT: {name}")).translating(client_key, becomes(f));
    let with_ends = |frame: &Frame, source, destination| {
        frame.clone().with(|frame| (frame.ip.source, frame.ip.destination) = (source, destination))
    };
    let least = if f.v4 { 28 } else { 48 };
    let mut cases = vec![];
    let mut about_replies = known("an error about a reply goes to its backend, from a source that it can answer");
    let mut about_requests = known("an error about a request goes to its client");
    for octets in [WHOLE, least] {
        let seen = Ip::new(f.vip(), f.client(client::NEAR), f.payload(port::FULL_NAT, CLIENT_PORT));
        let sent = Ip::new(f.backend(row), f.source(), f.payload(port::BACKEND, port::SOURCE));
        let got = error(f, too_big(f), &seen, octets);
        let want = with_ends(&error(f, too_big(f), &sent, octets), f.source(), f.backend(row));
        about_replies = about_replies.forwards(&got, &want.at(row), row);

        let seen = Ip::new(f.source(), f.backend(row), f.payload(port::SOURCE, port::BACKEND));
        let sent = Ip::new(f.client(client::NEAR), f.vip(), f.payload(CLIENT_PORT, port::FULL_NAT));
        let got = error(f, too_big(f), &seen, octets);
        let want = error(f, too_big(f), &sent, octets);
        about_requests = about_requests.returns(&got, &to_client(&want), WAN);
        let refused = if f.v4 { (3, 3) } else { (1, 4) };
        let from_backend = with_ends(&error(f, refused, &seen, octets), f.backend(row), f.source());
        let want = with_ends(&error(f, refused, &sent, octets), f.vip(), f.client(client::NEAR));
        about_requests = about_requests.returns(&from_backend, &to_client(&want), WAN).signs(row, Sign::Unreachable);
    }
    cases.extend([about_replies, about_requests]);
    let seen = Ip::new(f.vip(), f.client(client::NEAR), f.payload(port::FULL_NAT, CLIENT_PORT));
    let unknown = Ip::new(f.source(), f.backend(row), f.payload(port::SOURCE, port::BACKEND));
    cases.push(
        case(format!("{f}: full NAT: an error about a flow that is not recorded is the host's"))
            .passes(&error(f, too_big(f), &seen, WHOLE), Reason::NotTranslated)
            .passes(&error(f, too_big(f), &unknown, WHOLE), Reason::NotTranslated)
            .translates(0),
    );
    let other = f.row(port::SHARED_TOO, 0);
    let seen = Ip::new(f.client(client::NEAR), f.backend(other), f.payload(CLIENT_PORT, port::BACKEND));
    let as_by = |service| Ip::new(f.client(client::NEAR), f.vip(), f.payload(CLIENT_PORT, service));
    let got = error(f, too_big(f), &seen, WHOLE);
    cases.push(
        case(format!("{f}: a shared server: an error about a request names its own service"))
            .returns(&got, &to_client(&error(f, too_big(f), &as_by(port::SHARED), WHOLE)), WAN)
            .forwards(
                &f.request(port::SHARED_TOO),
                &f.request(port::SHARED_TOO).destined(f.backend(other), port::BACKEND).at(other),
                other,
            )
            .returns(&got, &to_client(&error(f, too_big(f), &as_by(port::SHARED_TOO), WHOLE)), WAN),
    );
    cases
}

/// Packets that are odd or cut short.
fn edges(f: Flavour) -> Vec<Case> {
    let row = f.row(port::FULL_NAT, 0);
    let sent = f.request(port::FULL_NAT);
    let odd = |frame: Frame| {
        frame.with(|frame| {
            if f.v4 {
                frame.ip.options = vec![1; 12];
            } else {
                frame.ip.extensions = vec![(60, vec![0; 7])];
            }
        })
    };
    let (odd_request, odd_reply) = (odd(sent.clone()), odd(answer(f)));
    let header = if f.v4 { 34 } else { 54 };
    let short = sent.octets()[..header + if f.tcp { 19 } else { 7 }].to_vec();
    let known = key(f, f.client(client::NEAR), CLIENT_PORT, f.vip(), port::FULL_NAT);
    let mut cases = vec![
        case(format!("{f}: full NAT: options and extension headers are stepped over"))
            .forwards(&odd_request, &inside(f, &odd_request), row)
            .returns(&odd_reply, &outside(f, &odd_reply), WAN),
        case(format!("{f}: full NAT: a tag comes off")).forwards(
            &sent.tagged(&[super::world::INNER]),
            &inside(f, &sent),
            row,
        ),
        case(format!("{f}: full NAT: what is cut short in its header is dropped, and not recorded"))
            .drops(short, Reason::Truncated)
            .translates(0),
    ];
    // Its ports tell whose it is; that its checksum is missing tells only who would change it.
    let cut_reply = answer(f).octets()[..header + 5].to_vec();
    cases.push(
        case(format!("{f}: full NAT: a reply cut short before its checksum is dropped"))
            .translating(known, becomes(f))
            .drops(cut_reply, Reason::Truncated),
    );
    cases
}
