//! This host as a client of its own services: its packets come in by an interface of their own, under `nat` they are recorded, and what
//! answers them is sent in by that interface. Here that is the one that all packets of a case come in by.

use fairway::reconcile::write::Write;
use fairway_tests::packet::{Frame, Ip, flag};
use lb_common::abi::{FlowKey6, Root, method};
use lb_common::counters::Reason;
use lb_common::own_client::MAC;

use super::build::{CLIENT_PORT, Change as _, frame, to_client};
use super::check::{Case, case, check};
use super::fragments::parts;
use super::quotes::{WHOLE, error, too_big};
use super::world::{self, FLAVOURS, Flavour, LAN, WAN, client, port};

#[test]
fn what_this_host_sends_is_recorded_and_what_answers_it_comes_in_by_the_pair() {
    check(cases());
}

pub fn cases() -> Vec<Case> {
    let of = |f| nat(f).into_iter().chain(shared(f)).chain(full_nat(f)).chain(pieces(f)).chain(errors(f));
    FLAVOURS.into_iter().flat_map(of).collect()
}

/// A case in which this host's own packets come in by `interface`; 0: it is no client.
fn own(f: Flavour, interface: u32, name: &str) -> Case {
    let root =
        world::writes().into_iter().find_map(|write| if let Write::Flip(root) = write { Some(root) } else { None });
    let root = Root { own_client: interface.into(), ..root.expect("it is flipped") };
    let methods = [(port::NAT, method::NAT_OR_OWN), (port::SHARED, method::RECORDED_NAT_OR_OWN)];
    let methods = methods.map(|(port, method)| Write::RowMethod(f.row(port, 0), method));
    case(format!("{f}: its own client: {name}")).with(methods).with([Write::Flip(root)])
}

/// This host's packet to a service.
fn sent(f: Flavour, service: u16) -> Frame {
    f.request(service).sourced(f.client(client::SELF), CLIENT_PORT)
}

/// As the backend gets it.
fn inside(f: Flavour, sent: &Frame, service: u16) -> Frame {
    let row = f.row(service, 0);
    sent.sourced(f.client(client::SELF), port::SOURCE).destined(f.backend(row), port::BACKEND).at(row)
}

/// What a service's backend sends to a port of this host.
fn from_backend(f: Flavour, service: u16, to: u16) -> Frame {
    let payload = f.payload(port::BACKEND, to);
    frame(Ip::new(f.backend(f.row(service, 0)), f.client(client::SELF), payload))
}

/// An answer as this host gets it.
fn handed_in(f: Flavour, answer: &Frame, service: u16) -> Frame {
    by_the_pair(&answer.sourced(f.vip(), service).destined(f.client(client::SELF), CLIENT_PORT))
}

fn by_the_pair(frame: &Frame) -> Frame {
    frame.clone().with(|frame| {
        (frame.to, frame.from) = (MAC, MAC);
        frame.ip.ttl -= 1;
    })
}

/// What the host's packets to a service become.
fn recorded(f: Flavour, service: u16) -> (FlowKey6, FlowKey6) {
    let key = |(source, from): (std::net::IpAddr, u16), (destination, to): (std::net::IpAddr, u16)| {
        let ([a, b], [c, d]) = (from.to_be_bytes(), to.to_be_bytes());
        let ports_wire = u32::from_ne_bytes([a, b, c, d]);
        FlowKey6 { source: source.into(), destination: destination.into(), ports_wire, protocol: f.protocol().into() }
    };
    let host = f.client(client::SELF);
    let backend = (f.backend(f.row(service, 0)), port::BACKEND);
    (key((host, CLIENT_PORT), (f.vip(), service)), key((host, port::SOURCE), backend))
}

fn nat(f: Flavour) -> Vec<Case> {
    let row = f.row(port::NAT, 0);
    let request = sent(f, port::NAT);
    let answer = from_backend(f, port::NAT, port::SOURCE);
    let straight = from_backend(f, port::NAT, CLIENT_PORT);
    let (key, becomes) = recorded(f, port::NAT);
    let clients = f.request(port::NAT);
    let to_clients = f.reply(row, port::BACKEND, client::NEAR);
    let mut cases = vec![
        own(f, LAN, "nat: it gets another port, and the answer is the service's")
            .forwards(&request, &inside(f, &request, port::NAT), row)
            .returns(&answer, &handed_in(f, &answer, port::NAT), LAN)
            .forwards(&request, &inside(f, &request, port::NAT), row)
            .translates(2),
        own(f, LAN, "nat: what answers a connection straight to the backend is the host's, also from the same port")
            .passes(&straight, Reason::NotTranslated)
            .forwards(&request, &inside(f, &request, port::NAT), row)
            .passes(&straight, Reason::NotTranslated)
            .translates(2),
        own(f, LAN, "nat: what answers nothing is the host's").passes(&answer, Reason::NotTranslated).translates(0),
        own(f, LAN, "nat: an answer with a time to live of 1 goes no further")
            .translating(key, becomes)
            .drops(&answer.ttl(1), Reason::TimeToLive),
        own(f, WAN, "nat: what comes in elsewhere is a client's")
            .forwards(&request, &request.destined(f.backend(row), port::BACKEND).at(row), row)
            .forwards(&clients, &clients.destined(f.backend(row), port::BACKEND).at(row), row)
            .returns(&to_clients, &to_client(&to_clients.sourced(f.vip(), port::NAT)), WAN)
            .translates(0),
        own(f, 0, "nat: switched off, a record of before leads nowhere")
            .translating(key, becomes)
            .forwards(&request, &request.destined(f.backend(row), port::BACKEND).at(row), row)
            .passes(&answer, Reason::NotTranslated),
        own(f, LAN, "direct: nothing is recorded")
            .forwards(&sent(f, port::DIRECT), &sent(f, port::DIRECT).at(f.row(port::DIRECT, 0)), f.row(port::DIRECT, 0))
            .translates(0),
    ];
    if f.tcp {
        let syn = request.flags(flag::SYN);
        cases.push(
            own(f, LAN, "nat: a connection is counted").opens(&syn, &inside(f, &syn, port::NAT), row).translates(2),
        );
    }
    cases
}

fn shared(f: Flavour) -> Vec<Case> {
    let row = f.row(port::SHARED, 0);
    let request = sent(f, port::SHARED);
    let answer = from_backend(f, port::SHARED, port::SOURCE);
    let straight = from_backend(f, port::SHARED, CLIENT_PORT);
    let clients = f.request(port::SHARED);
    vec![
        own(f, LAN, "a shared server: it gets another port")
            .passes(&straight, Reason::NotTranslated)
            .forwards(&request, &inside(f, &request, port::SHARED), row)
            .returns(&answer, &handed_in(f, &answer, port::SHARED), LAN)
            .passes(&straight, Reason::NotTranslated)
            .translates(2),
        own(f, WAN, "a shared server: clients keep theirs")
            .forwards(&clients, &clients.destined(f.backend(row), port::BACKEND).at(row), row)
            .translates(2),
    ]
}

fn full_nat(f: Flavour) -> Vec<Case> {
    let row = f.row(port::FULL_NAT, 0);
    let request = sent(f, port::FULL_NAT);
    let there = request.sourced(f.source(), port::SOURCE).destined(f.backend(row), port::BACKEND).at(row);
    let answer = frame(Ip::new(f.backend(row), f.source(), f.payload(port::BACKEND, port::SOURCE)));
    let to_host = |name, interface| own(f, interface, name).forwards(&request, &there, row);
    vec![
        to_host("full NAT: as a client", LAN)
            .returns(&answer, &handed_in(f, &answer, port::FULL_NAT), LAN)
            .translates(2),
        to_host("full NAT: switched off, it is the host's", 0).passes(&answer, Reason::NotTranslated),
    ]
}

fn pieces(f: Flavour) -> Vec<Case> {
    let row = f.row(port::NAT, 0);
    let mut there = own(f, LAN, "nat: all fragments of a request are translated");
    for frame in &parts(&sent(f, port::NAT)) {
        there = there.forwards(frame, &inside(f, frame, port::NAT), row);
    }
    let (key, becomes) = recorded(f, port::NAT);
    let mut back = own(f, LAN, "nat: all fragments of an answer are handed in").translating(key, becomes);
    for frame in &parts(&from_backend(f, port::NAT, port::SOURCE)) {
        back = back.returns(frame, &handed_in(f, frame, port::NAT), LAN);
    }
    vec![there, back]
}

fn errors(f: Flavour) -> Vec<Case> {
    let row = f.row(port::NAT, 0);
    let (host, backend) = (f.client(client::SELF), f.backend(row));
    let (key, becomes) = recorded(f, port::NAT);
    let ours = |service: u16| Ip::new(host, f.vip(), f.payload(CLIENT_PORT, service));
    let there = |from| Ip::new(host, backend, f.payload(from, port::BACKEND));
    let about_request = error(f, too_big(f), &there(port::SOURCE), WHOLE);
    let about_answer = error(f, too_big(f), &Ip::new(f.vip(), host, f.payload(port::NAT, CLIENT_PORT)), WHOLE);
    let at_backend = error(f, too_big(f), &Ip::new(backend, host, f.payload(port::BACKEND, port::SOURCE)), WHOLE);
    // From the source that the backend knows.
    let at_backend = at_backend.with(|frame| (frame.ip.source, frame.ip.destination) = (host, backend));
    vec![
        own(f, LAN, "nat: an error about a request names the service").translating(key, becomes).returns(
            &about_request,
            &by_the_pair(&error(f, too_big(f), &ours(port::NAT), WHOLE)),
            LAN,
        ),
        own(f, LAN, "nat: an error about a straight connection is the host's")
            .translating(key, becomes)
            .passes(&error(f, too_big(f), &there(CLIENT_PORT), WHOLE), Reason::NotTranslated),
        own(f, LAN, "nat: an error about an answer goes to its backend").translating(key, becomes).forwards(
            &about_answer.with(|frame| frame.ip.source = host),
            &at_backend.at(row),
            row,
        ),
        own(f, LAN, "nat: an error about an answer without a record is the host's").passes(
            &error(f, too_big(f), &Ip::new(f.vip(), host, f.payload(port::NAT, CLIENT_PORT)), WHOLE),
            Reason::NotTranslated,
        ),
    ]
}
