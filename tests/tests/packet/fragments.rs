//! Fragments: all of a datagram go where its first went.

use fairway_tests::packet::{Fragment, Frame, Ip, Payload};
use lb_common::counters::Reason;

use super::build::{Change as _, frame, to_client};
use super::check::{Case, Want, case, check};
use super::world::{FLAVOURS, Flavour, WAN, client, port};

#[test]
fn fragments_go_where_their_first_goes() {
    check(cases());
}

pub fn cases() -> Vec<Case> {
    FLAVOURS
        .into_iter()
        .flat_map(|f| requests(f).into_iter().chain(replies(f)).chain(unknown(f)).chain(host(f)))
        .collect()
}

/// The three fragments of the usual datagram.
pub fn parts(whole: &Frame) -> [Frame; 3] {
    let end =
        whole.ip.clone().payload.data().len() + if matches!(whole.ip.payload, Payload::Tcp { .. }) { 20 } else { 8 };
    [part(whole, 0, 32, true), part(whole, 32, 48, true), part(whole, 48, end, false)]
}

pub fn part(whole: &Frame, start: usize, end: usize, more: bool) -> Frame {
    whole.clone().with(|frame| frame.ip.fragment = Some(Fragment { identification: 0x5a17, start, end, more }))
}

fn requests(f: Flavour) -> Vec<Case> {
    let (direct, nat, tagged) = (f.row(port::DIRECT, 0), f.row(port::NAT, 0), f.row(port::TAGGED, 0));
    let [first, second, third] = parts(&f.request(port::DIRECT));
    let translated = |frame: &Frame| frame.destined(f.backend(nat), port::BACKEND).at(nat);
    let nat_parts = parts(&f.request(port::NAT));
    let tag_parts = parts(&f.request(port::TAGGED));
    let mut by_nat = case(format!("{f}: all fragments of a request are translated to one backend"));
    let mut by_tag = case(format!("{f}: all fragments of a request get the tag"));
    for frame in &nat_parts {
        by_nat = by_nat.forwards(frame, &translated(frame), nat);
    }
    for frame in &tag_parts {
        by_tag = by_tag.forwards(frame, &frame.tagged(&[super::world::INNER]).at(tagged), tagged);
    }
    let mut in_pieces = case(format!("{f}: later fragments may come in any order and twice"));
    for frame in [&first, &third, &second, &third] {
        in_pieces = in_pieces.forwards(frame, &frame.at(direct), direct);
    }
    vec![
        by_nat,
        by_tag,
        in_pieces,
        case(format!("{f}: a later fragment with a time to live of 1 goes no further"))
            .forwards(&first, &first.at(direct), direct)
            .drops(&second.ttl(1), Reason::TimeToLive),
        case(format!("{f}: all fragments to an unknown next hop drop as such"))
            .drops(&parts(&f.request(port::NO_HOP))[0], Reason::NextHopUnknown)
            .drops(&parts(&f.request(port::NO_HOP))[1], Reason::NextHopUnknown),
    ]
}

fn replies(f: Flavour) -> Vec<Case> {
    let row = f.row(port::NAT, 0);
    let whole = f.reply(row, port::BACKEND, client::NEAR);
    let back = |frame: &Frame| frame.sourced(f.vip(), port::NAT);
    let mut all = case(format!("{f}: all fragments of a reply are translated back"));
    for frame in &parts(&whole) {
        all = all.returns(frame, &to_client(&back(frame)), WAN);
    }
    let waiting = parts(&f.reply(row, port::BACKEND, client::UNRESOLVED));
    let mut unresolved = case(format!("{f}: all fragments of a reply wait for the neighbour"));
    for frame in &waiting {
        let after = back(frame).with(|frame| frame.ip.ttl -= 1);
        unresolved = unresolved.ends(frame, Want::HandedOver { network: 14, frame: after.octets() });
    }
    let own = parts(&f.reply(row, port::BACKEND, client::SELF));
    vec![
        all,
        unresolved,
        case(format!("{f}: fragments of a reply to this host are left alone"))
            .passes(&own[0], Reason::NotTranslated)
            .passes(&own[1], Reason::NotService),
    ]
}

fn unknown(f: Flavour) -> Vec<Case> {
    let row = f.row(port::DIRECT, 0);
    let sent = f.request(port::DIRECT);
    let [first, second, third] = parts(&sent);
    let other_datagram = second.clone().with(|frame| {
        frame.ip.fragment.iter_mut().for_each(|fragment| fragment.identification += 1);
    });
    let tiny = part(&sent, 0, 8, true);
    let tiny_fate = if f.tcp {
        case(format!("{f}: a first fragment without all of the header drops, and so do the others"))
            .drops(&tiny, Reason::Truncated)
            .drops(&second, Reason::UnknownFragment)
    } else {
        case(format!("{f}: a first fragment with the header alone is enough"))
            .forwards(&tiny, &tiny.at(row), row)
            .forwards(&second, &second.at(row), row)
    };
    vec![
        tiny_fate,
        case(format!("{f}: a later fragment that overtakes the first drops, until the first is there"))
            .drops(&third, Reason::UnknownFragment)
            .forwards(&first, &first.at(row), row)
            .forwards(&third, &third.at(row), row),
        case(format!("{f}: a fragment of another datagram does not follow"))
            .forwards(&first, &first.at(row), row)
            .drops(&other_datagram, Reason::UnknownFragment),
        case(format!("{f}: a fragment of another client does not follow"))
            .forwards(&first, &first.at(row), row)
            .drops(&second.sourced(f.stranger(), 0), Reason::UnknownFragment),
        case(format!("{f}: later fragments to another address are the host's"))
            .passes(&part(&f.to(f.stranger(), 80), 32, 48, true), Reason::NotService),
    ]
}

/// What the host is to get, it gets whole.
fn host(f: Flavour) -> Vec<Case> {
    let passed = |name: &str, whole: Frame, reason, then| {
        let [first, second] = [part(&whole, 0, 32, true), part(&whole, 32, 48, true)];
        case(format!("{f}: {name}")).passes(&first, reason).passes(&second, then)
    };
    let carrying = |payload| frame(Ip::new(f.client(client::NEAR), f.vip(), payload));
    let ping = Payload::Icmp { kind: (if f.v4 { 8 } else { 128 }, 0), data: vec![5; 64] };
    let local = Reason::LocalBackend;
    let mut cases = vec![
        passed("fragments to a port of no service", f.request(port::NONE), Reason::NotService, Reason::HostFragment),
        passed("fragments to a backend that is this host", f.request(port::LOCAL), local, local),
        passed(
            "fragments to a service without a backend that leaves them to the host",
            f.request(port::EMPTY_PASS),
            Reason::NoBackendPassed,
            Reason::HostFragment,
        ),
    ];
    if f.tcp {
        cases.push(passed(
            "fragments of a long ping to a service's address",
            carrying(ping),
            Reason::NotService,
            Reason::HostFragment,
        ));
        let sctp = Payload::Other(132, vec![3; 64]);
        cases.push(passed("fragments of another protocol", carrying(sctp), Reason::NotService, Reason::HostFragment));
    }
    let empty = f.request(port::EMPTY_DROP);
    cases.push(
        case(format!("{f}: fragments to a service without a backend that drops them"))
            .drops(&part(&empty, 0, 32, true), Reason::NoBackend)
            .drops(&part(&empty, 32, 48, true), Reason::UnknownFragment),
    );
    cases
}
