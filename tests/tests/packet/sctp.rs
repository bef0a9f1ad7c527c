//! SCTP: packets of `direct` and `tunnel` services go where TCP's would, untouched. An INIT is what a SYN is, other chunks end an
//! association; and nothing of TCP or UDP is SCTP's, though the ports lie in the same place.

use std::thread::sleep;
use std::time::Duration;

use fairway::native::{NativePacket, process};
use fairway::reconcile::image::Image;
use fairway_tests::packet::{Frame, Ip, Payload, chunk};
use lb_common::abi::FlowKey6;
use lb_common::abi::connection_state::{CLOSED, ESTABLISHED, FIN_WAIT, SYN_RECEIVED};
use lb_common::abi::record_state::{CLOSING, OPEN, OPENING};
use lb_common::counters::Reason;

use super::build::{CLIENT_PORT, Change as _, frame};
use super::check::{Case, case, check};
use super::cuts::{Drop, END, Pass, Sent, Whole, cut};
use super::fragments::part;
use super::kernel;
use super::quotes::{WHOLE, error, too_big};
use super::state::{SLOTS, Seed, coarse_now, native_tables, reset};
use super::world::{self, FLAVOURS, Flavour, LAN, client, port};

#[test]
fn associations_are_balanced() {
    check(cases());
}

pub fn cases() -> Vec<Case> {
    let families = [FLAVOURS[0], FLAVOURS[2]];
    families
        .into_iter()
        .flat_map(|f| {
            let plain = plain(f).into_iter().chain(chunks(f)).chain(others(f));
            plain.chain(records(f)).chain(turns(f)).chain(limits(f)).chain(parts(f)).chain(errors(f))
        })
        .collect()
}

/// As the cases are called; the flavour itself says TCP.
fn name(f: Flavour) -> &'static str {
    if f.v4 { "IPv4 SCTP" } else { "IPv6 SCTP" }
}

fn payload(ports: (u16, u16), kind: u8) -> Payload {
    let tag = if kind == chunk::INIT { 0 } else { 0x1357_9bdf };
    Payload::Sctp { ports, tag, chunk: kind, data: vec![0x5c; 45] }
}

/// A packet of the usual client with one chunk.
pub fn with(f: Flavour, service: u16, kind: u8) -> Frame {
    frame(Ip::new(f.client(client::NEAR), f.vip(), payload((CLIENT_PORT, service), kind)))
}

fn plain(f: Flavour) -> Vec<Case> {
    let (n, row) = (name(f), f.row(port::SCTP_DIRECT, 0));
    let data = with(f, port::SCTP_DIRECT, chunk::DATA);
    let ip = 14 + if f.v4 { 20 } else { 40 };
    let whole = Whole { want: data.at(row), sent: data.clone(), interface: LAN, row: Some(row) };
    let fates = [(ip, Pass(Reason::Malformed)), (ip + 16, Drop(Reason::Truncated)), (END, Sent)];
    let odd = data.clone().with(|frame| match f.v4 {
        true => frame.ip.options = vec![1; 8],
        false => frame.ip.extensions = vec![(60, vec![0; 7])],
    });
    vec![
        case(format!("{n}: a packet is sent to its backend's MAC address, one hop older")).forwards(
            &data,
            &data.at(row),
            row,
        ),
        case(format!("{n}: options and extension headers are stepped over")).forwards(&odd, &odd.at(row), row),
        case(format!("{n}: with a time to live of 1 it goes no further")).drops(&data.ttl(1), Reason::TimeToLive),
        cut(format!("{n}: cut at every length"), &whole, &fates),
    ]
}

fn chunks(f: Flavour) -> Vec<Case> {
    let (n, row) = (name(f), f.row(port::SCTP_DIRECT, 0));
    let init = with(f, port::SCTP_DIRECT, chunk::INIT);
    let tagged = init.clone().with(|frame| {
        if let Payload::Sctp { tag, .. } = &mut frame.ip.payload {
            *tag = 1;
        }
    });
    let mut others = case(format!("{n}: no other chunk is counted as a new association"));
    for kind in (0..=255).filter(|kind| *kind != chunk::INIT) {
        let packet = with(f, port::SCTP_DIRECT, kind);
        others = others.forwards(&packet, &packet.at(row), row);
    }
    vec![
        case(format!("{n}: an INIT is counted as a new association")).opens(&init, &init.at(row), row).leaves([]),
        case(format!("{n}: an INIT with a verification tag is none")).forwards(&tagged, &tagged.at(row), row),
        others,
    ]
}

/// What has the ports of somebody, but not his protocol.
fn others(f: Flavour) -> Vec<Case> {
    let n = name(f);
    let nat = f.row(port::NAT, 0);
    let from = |source, ports| frame(Ip::new(source, f.client(client::NEAR), payload(ports, chunk::DATA)));
    let to_self = from(f.vip(), (port::DIRECT, 50_000)).destined(f.client(client::SELF), 50_000);
    let asked = Ip::new(f.client(client::SELF), f.vip(), payload((50_000, port::DIRECT), chunk::DATA));
    vec![
        case(format!("{n}: ports of TCP's and UDP's services are not SCTP's"))
            .passes(&with(f, port::DIRECT, chunk::DATA), Reason::NotService)
            .passes(&with(f, port::NAT, chunk::INIT), Reason::NotService)
            .passes(&with(f, port::NONE, chunk::INIT).destined(f.wild(), 7), Reason::NotService),
        case(format!("{n}: ports of SCTP's services are not TCP's"))
            .passes(&f.request(port::SCTP_DIRECT), Reason::NotService),
        case(format!("{n}: what a translated server sends by SCTP is no reply"))
            .passes(&from(f.backend(nat), (port::BACKEND, CLIENT_PORT)), Reason::NotService),
        case(format!("{n}: no probe of ours is answered by SCTP"))
            .passes(&to_self, Reason::NotService)
            .passes(&error(f, too_big(f), &asked, WHOLE), Reason::NotService),
    ]
}

fn flow(f: Flavour, service: u16) -> FlowKey6 {
    FlowKey6 { protocol: 132, ..f.flow(service) }
}

fn records(f: Flavour) -> Vec<Case> {
    let n = name(f);
    let s = port::SCTP_UNSETTLED;
    let pool = f.row(s, 0);
    let to = |case: Case, kind, backend| {
        let (packet, row) = (with(f, s, kind), f.row(s, backend));
        if kind == chunk::INIT {
            case.opens(&packet, &packet.at(row), row)
        } else {
            case.forwards(&packet, &packet.at(row), row)
        }
    };
    let first = |what: &str, kind, backend, state| {
        to(case(format!("{n}: in an unsettled slot {what}")), kind, backend).leaves([(pool, backend, state)])
    };
    let after = |what: &str, before, kind, state| {
        let seed = Seed { pool, backend: 3, state: before, age: 0 };
        to(case(format!("{n}: {what}")).knowing(flow(f, s), seed), kind, 3).leaves([(pool, 3, state)])
    };
    let exceptions = port::SCTP_EXCEPTIONS;
    let (known, seed) = (f.row(exceptions, 3), Seed { pool: f.row(exceptions, 0), backend: 3, state: OPEN, age: 0 });
    let (data, init) = (with(f, exceptions, chunk::DATA), with(f, exceptions, chunk::INIT));
    let current = f.row(exceptions, 1);
    vec![
        first("an INIT goes to the current owner, recorded", chunk::INIT, 1, OPENING),
        first("data goes to the previous owner, recorded", chunk::DATA, 0, OPEN),
        first("a SHUTDOWN goes to the previous owner, recorded", chunk::SHUTDOWN, 0, CLOSING),
        to(
            to(case(format!("{n}: an association opened in an unsettled slot stays")), chunk::INIT, 1),
            chunk::COOKIE_ECHO,
            1,
        )
        .leaves([(pool, 1, OPEN)]),
        after("a COOKIE ECHO opens an opening record", OPENING, chunk::COOKIE_ECHO, OPEN),
        after("a SHUTDOWN closes an open record", OPEN, chunk::SHUTDOWN, CLOSING),
        after("a SHUTDOWN ACK closes an open record", OPEN, chunk::SHUTDOWN_ACK, CLOSING),
        after("a SHUTDOWN COMPLETE leaves it closing", CLOSING, chunk::SHUTDOWN_COMPLETE, CLOSING),
        after("an ABORT closes an open record", OPEN, chunk::ABORT, CLOSING),
        after("data reopens a closing record", CLOSING, chunk::DATA, OPEN),
        after("an INIT on an open record does not make it young", OPEN, chunk::INIT, OPEN),
        case(format!("{n}: in a slot with exceptions a recorded association goes to its backend"))
            .knowing(flow(f, exceptions), seed)
            .forwards(&data, &data.at(known), known),
        case(format!("{n}: a record of the same ports by TCP is not the association's"))
            .knowing(f.flow(exceptions), seed)
            .forwards(&data, &data.at(current), current),
        case(format!("{n}: in a slot with exceptions an INIT goes to the current owner, unrecorded"))
            .opens(&init, &init.at(current), current)
            .leaves([]),
        case(format!("{n}: with a full flow table an INIT goes to the previous owner, and the refusal is noted"))
            .with_full_table(f)
            .opens(&with(f, s, chunk::INIT), &with(f, s, chunk::INIT).at(pool), pool)
            .leaves([])
            .refuses(),
    ]
}

/// By turns, with weights 2, 1, 0 and 3.
fn turns(f: Flavour) -> Vec<Case> {
    let (n, s) = (name(f), port::SCTP_TURNS);
    let pool = f.row(s, 0);
    let from = |at: u16, kind| with(f, s, kind).sourced(f.client(client::NEAR), CLIENT_PORT + at);
    let opens = |case: Case, at, backend| {
        let (packet, row) = (from(at, chunk::INIT), f.row(s, backend));
        case.opens(&packet, &packet.at(row), row)
    };
    let goes = |case: Case, at, kind, backend| {
        let (packet, row) = (from(at, kind), f.row(s, backend));
        case.forwards(&packet, &packet.at(row), row)
    };
    let begun = |what: &str| goes(opens(case(format!("{n}: {what}")), 0, 0), 0, chunk::COOKIE_ECHO, 0);
    let counts = |backend, active, inactive| [(f.load(s, backend), (active, inactive, false))];
    vec![
        opens(opens(opens(case(format!("{n}: new associations take turns")), 0, 0), 1, 1), 2, 3).keeps([
            (pool, 0, SYN_RECEIVED),
            (pool, 1, SYN_RECEIVED),
            (pool, 3, SYN_RECEIVED),
        ]),
        begun("an association is established by its COOKIE ECHO")
            .keeps([(pool, 0, ESTABLISHED)])
            .counts(counts(0, 1, 0)),
        goes(begun("it is over with the client's SHUTDOWN"), 0, chunk::SHUTDOWN, 0)
            .keeps([(pool, 0, FIN_WAIT)])
            .counts(counts(0, 0, 1)),
        goes(begun("it is over with an ABORT"), 0, chunk::ABORT, 0).keeps([(pool, 0, CLOSED)]).counts(counts(0, 0, 1)),
        goes(case(format!("{n}: what is unknown and no INIT is the lookup table's, unrecorded")), 0, chunk::DATA, 1)
            .keeps([]),
    ]
}

fn limits(f: Flavour) -> Vec<Case> {
    let (n, s) = (name(f), port::SCTP_LIMITED);
    let row = f.row(s, 0);
    let from = |at: u16, kind| with(f, s, kind).sourced(f.client(client::NEAR), CLIENT_PORT + at);
    let opens = |case: Case, at| case.opens(&from(at, chunk::INIT), &from(at, chunk::INIT).at(row), row);
    let begun = opens(opens(case(format!("{n}: as many associations begin as may, and go on")), 0), 1);
    vec![
        begun
            .drops(&from(2, chunk::INIT), Reason::ServiceRate)
            .forwards(&from(0, chunk::COOKIE_ECHO), &from(0, chunk::COOKIE_ECHO).at(row), row)
            .forwards(&from(3, chunk::DATA), &from(3, chunk::DATA).at(row), row),
    ]
}

fn parts(f: Flavour) -> Vec<Case> {
    let (n, row) = (name(f), f.row(port::SCTP_DIRECT, 0));
    let whole = with(f, port::SCTP_DIRECT, chunk::DATA);
    let [first, second, last] =
        [(0, 32, true), (32, 48, true), (48, 64, false)].map(|(a, b, more)| part(&whole, a, b, more));
    vec![
        case(format!("{n}: fragments go where their first goes"))
            .forwards(&first, &first.at(row), row)
            .forwards(&last, &last.at(row), row)
            .forwards(&second, &second.at(row), row),
        case(format!("{n}: a later fragment that overtakes its first is dropped"))
            .drops(&second, Reason::UnknownFragment),
    ]
}

fn errors(f: Flavour) -> Vec<Case> {
    let n = name(f);
    let answer = |service| Ip::new(f.vip(), f.client(client::NEAR), payload((service, CLIENT_PORT), chunk::DATA));
    let least = if f.v4 { 28 } else { 48 };
    let row = f.row(port::SCTP_DIRECT, 0);
    let [whole, short] = [WHOLE, least].map(|octets| error(f, too_big(f), &answer(port::SCTP_DIRECT), octets));
    let exceptions = port::SCTP_EXCEPTIONS;
    let seed = Seed { pool: f.row(exceptions, 0), backend: 3, state: OPEN, age: 0 };
    let about = error(f, too_big(f), &answer(exceptions), WHOLE);
    let known = f.row(exceptions, 3);
    vec![
        case(format!("{n}: an error goes to the backend of the association that it quotes"))
            .forwards(&whole, &whole.at(row), row)
            .forwards(&short, &short.at(row), row),
        case(format!("{n}: one about a recorded association goes to its backend"))
            .knowing(flow(f, exceptions), seed)
            .forwards(&about, &about.at(known), known),
        case(format!("{n}: one about a port of TCP's is the host's"))
            .passes(&error(f, too_big(f), &answer(port::DIRECT), WHOLE), Reason::NotService),
    ]
}

#[test]
fn an_init_that_comes_again_is_a_sign_and_another_one_is_none() {
    let mut kernel = kernel::shared();
    reset(&mut kernel);
    let mut image = Image::new(SLOTS as usize, world::ROWS as usize);
    world::writes().iter().for_each(|write| image.apply(write));
    let native = native_tables(image);
    let f = FLAVOURS[0];
    let row = f.row(port::SCTP_DIRECT, 0);
    let before = kernel.maps.signs(row).expect("a row").syn_retransmissions;
    // From a port that no other test uses: the kernel keeps marks between tests.
    let init = |octet: u8| {
        with(f, port::SCTP_DIRECT, chunk::INIT).sourced(f.client(client::NEAR), 61_001).with(|frame| {
            frame.ip.payload.data()[0] = octet;
        })
    };
    for (octet, counted) in [(1, 0), (1, 1), (2, 1)] {
        native.clock.set(coarse_now());
        kernel.run(&init(octet).octets(), LAN);
        process(&mut NativePacket::new(&init(octet).octets(), LAN), &native);
        let natively = native.signs.borrow().get(&row).copied().unwrap_or_default().syn_retransmissions;
        let in_kernel = kernel.maps.signs(row).expect("a row").syn_retransmissions - before;
        assert_eq!((natively, in_kernel), (counted, counted), "after the INIT with {octet}");
        sleep(Duration::from_millis(350));
    }
}
