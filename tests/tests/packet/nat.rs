//! Forwarding method `nat`: requests to the backend's address and port, replies back to the service's.

use fairway_tests::packet::{Fragment, Frame, Payload};
use lb_common::counters::Reason;

use super::build::{Change as _, to_client};
use super::check::{Case, Want, case, check};
use super::kernel::{self, action};
use super::world::{DEAF, FLAVOURS, Flavour, INNER, VLAN, WAN, client, neighbour_mac, own_mac, port};

#[test]
fn addresses_are_translated_both_ways() {
    check(cases());
}

pub fn cases() -> Vec<Case> {
    FLAVOURS
        .into_iter()
        .flat_map(|f| requests(f).into_iter().chain(replies(f)).chain(routes(f)).chain(sums(f)))
        .collect()
}

fn requests(f: Flavour) -> Vec<Case> {
    let (row, wild) = (f.row(port::NAT, 0), f.row(port::OTHERS, 2));
    let sent = f.request(port::NAT);
    let got = sent.destined(f.backend(row), port::BACKEND);
    let any = f.to(f.wild_nat(), 7777);
    vec![
        case(format!("{f}: a request is translated to its backend's address and port")).forwards(
            &sent,
            &got.at(row),
            row,
        ),
        case(format!("{f}: without a backend's port a request keeps its own")).forwards(
            &any,
            &any.destined(f.backend(wild), 7777).at(wild),
            wild,
        ),
        case(format!("{f}: a request with a time to live of 1 goes no further, with 2 it does"))
            .drops(&sent.ttl(1), Reason::TimeToLive)
            .forwards(&sent.ttl(2), &got.ttl(2).at(row), row),
        case(format!("{f}: a request from this side to a translated backend itself is the host's"))
            .passes(&f.to(f.backend(row), port::BACKEND), Reason::NotService),
    ]
}

fn replies(f: Flavour) -> Vec<Case> {
    let (row, wild, excluded) = (f.row(port::NAT, 0), f.row(port::OTHERS, 2), f.row(port::NAT_EXCLUDED, 0));
    let reply = f.reply(row, port::BACKEND, client::NEAR);
    let any = f.reply(wild, 7777, client::NEAR);
    let to_excluded = |row| f.reply(row, port::BACKEND, client::NEAR).destined(f.excluded_client(), 40_000);
    let ours = f.reply(excluded, port::BACKEND, client::NEAR);
    vec![
        case(format!("{f}: a reply gets the service's address and port back")).returns(
            &reply,
            &to_client(&reply.sourced(f.vip(), port::NAT)),
            WAN,
        ),
        case(format!("{f}: each backend's reply gets its own service's address back")).returns(
            &f.reply(f.row(port::NAT_TAGGED, 3), port::BACKEND, client::NEAR),
            &to_client(&reply.sourced(f.vip(), port::NAT_TAGGED)),
            WAN,
        ),
        case(format!("{f}: a reply of a wildcard service keeps its port")).returns(
            &any,
            &to_client(&any.sourced(f.wild_nat(), 7777)),
            WAN,
        ),
        case(format!("{f}: what a backend sends from another port is the host's"))
            .passes(&f.reply(row, port::NONE, client::NEAR), Reason::NotService),
        case(format!("{f}: what a stranger sends from a backend's port is the host's"))
            .passes(&reply.sourced(f.stranger(), port::BACKEND), Reason::NotService),
        case(format!("{f}: a direct backend's packets are the host's"))
            .passes(&f.reply(f.row(port::DIRECT, 0), port::BACKEND, client::NEAR), Reason::NotService),
        case(format!("{f}: a reply to an excluded prefix is left alone"))
            .passes(&to_excluded(excluded), Reason::NotTranslated),
        case(format!("{f}: a reply to another prefix than the excluded ones is translated")).returns(
            &ours,
            &to_client(&ours.sourced(f.vip(), port::NAT_EXCLUDED)),
            WAN,
        ),
        case(format!("{f}: another service's replies to an excluded prefix are translated")).returns(
            &to_excluded(row),
            &to_excluded(row).sourced(f.vip(), port::NAT).sent_to(client::GATEWAY, WAN),
            WAN,
        ),
        case(format!("{f}: a reply with a time to live of 1 goes no further, unless it is the host's"))
            .drops(&reply.ttl(1), Reason::TimeToLive)
            .passes(&f.reply(row, port::BACKEND, client::SELF).ttl(1), Reason::NotTranslated),
    ]
}

fn routes(f: Flavour) -> Vec<Case> {
    let row = f.row(port::NAT, 0);
    let reply = |n| f.reply(row, port::BACKEND, n);
    let back = |n| reply(n).sourced(f.vip(), port::NAT);
    let long = f.reply(row, port::BACKEND, client::NARROW).with(|frame| *frame.ip.payload.data() = vec![1; 1300]);
    let piece = long.clone().with(|frame| {
        frame.ip.fragment = Some(Fragment { identification: 0x70b1, start: 0, end: 1304, more: true });
    });
    let waiting = |tags: &[(u16, u16)]| back(client::UNRESOLVED).tagged(tags).with(|frame| frame.ip.ttl -= 1).octets();
    vec![
        case(format!("{f}: a reply to a client on the backend's side goes back out of the same interface")).returns(
            &reply(client::SAME_SIDE),
            &back(client::SAME_SIDE).sent_to(client::SAME_SIDE, super::world::LAN),
            super::world::LAN,
        ),
        case(format!("{f}: a reply to a client behind a gateway goes to the gateway's MAC address")).returns(
            &reply(client::FAR),
            &back(client::FAR).sent_to(client::GATEWAY, WAN),
            WAN,
        ),
        case(format!("{f}: a reply to a client in a VLAN gets its tag")).returns(
            &reply(client::ON_VLAN),
            &back(client::ON_VLAN).tagged(&[INNER]).sent_to(client::ON_VLAN, WAN).with(|frame| {
                (frame.to, frame.from) = (neighbour_mac(client::ON_VLAN), own_mac(VLAN));
            }),
            WAN,
        ),
        case(format!("{f}: a reply whose neighbour is unknown is translated and handed to user space"))
            .ends(&reply(client::UNRESOLVED), Want::HandedOver { network: 14, frame: waiting(&[]) })
            .ends(
                &reply(client::UNRESOLVED).tagged(&[INNER]),
                Want::HandedOver { network: 18, frame: waiting(&[INNER]) },
            ),
        case(format!("{f}: a reply to this host is left alone")).passes(&reply(client::SELF), Reason::NotTranslated),
        case(format!("{f}: a reply without a route is left alone: the host tells the backend"))
            .passes(&reply(client::NOWHERE), Reason::NotTranslated),
        case(format!("{f}: a reply into a black hole is dropped")).drops(&reply(client::BLACKHOLE), Reason::NoRoute),
        case(format!("{f}: a reply larger than its route takes is left to the host, which tells the backend"))
            .passes(&long, Reason::TooBigForRoute),
        match f.v4 {
            true => case(format!("{f}: one that may be fragmented is dropped")).drops(&piece, Reason::TooBig),
            false => case(format!("{f}: and so is a fragment")).passes(&piece, Reason::TooBigForRoute),
        },
        case(format!("{f}: a reply that came in where the host does not forward is dropped"))
            .by(DEAF)
            .drops(&reply(client::NEAR), Reason::ForwardingDisabled),
    ]
}

/// UDP's zero: none stays none, and a sum that comes out as zero is sent as all ones.
fn sums(f: Flavour) -> Vec<Case> {
    let row = f.row(port::NAT, 0);
    let unsummed = |frame: Frame| {
        frame.with(|frame| {
            if let Payload::Udp { summed, .. } = &mut frame.ip.payload {
                *summed = false;
            }
        })
    };
    let translated = |sent: &Frame| sent.destined(f.backend(row), port::BACKEND).at(row);
    let with_word =
        |word: u16| f.request(port::NAT).with(|frame| *frame.ip.payload.data() = word.to_be_bytes().to_vec());
    let start = if f.v4 { 34 } else { 54 };
    let at = start + if f.tcp { 16 } else { 6 };
    let checksum = |frame: &Frame| u16::from_be_bytes([frame.octets()[at], frame.octets()[at + 1]]);
    // TCP's comes out as zero, UDP's is sent as all ones instead.
    let edge = if f.tcp { 0 } else { 0xffff };
    let to_edge =
        (0..=0xffff).map(with_word).find(|sent| checksum(&translated(sent)) == edge).expect("one word does it");
    let from_edge = (0..=0xffff).map(with_word).find(|sent| checksum(sent) == edge).expect("one word does it");
    let reply = unsummed(f.reply(row, port::BACKEND, client::NEAR));
    let mut cases = vec![
        case(format!("{f}: a checksum that comes out as zero is right")).forwards(&to_edge, &translated(&to_edge), row),
        case(format!("{f}: a checksum that was zero or all ones comes out right")).forwards(
            &from_edge,
            &translated(&from_edge),
            row,
        ),
    ];
    if !f.tcp {
        let request = unsummed(f.request(port::NAT));
        cases.push(
            case(format!("{f}: without a checksum none is made"))
                .forwards(&request, &translated(&request), row)
                .returns(&reply, &to_client(&reply.sourced(f.vip(), port::NAT)), WAN),
        );
    }
    cases
}

/// Kernel only: memory has no ring that fills.
#[test]
fn a_reply_that_user_space_has_no_room_for_is_dropped_and_counted() {
    let f = FLAVOURS[0];
    let mut kernel = kernel::shared();
    super::state::reset(&mut kernel);
    let reason = |kernel: &kernel::Kernel, reason| kernel.maps.reason(reason).expect("a reason");
    let unresolved = reason(&kernel, Reason::NeighbourUnresolved);

    let reply = f.reply(f.row(port::NAT, 0), port::BACKEND, client::UNRESOLVED);
    let long = reply.clone().with(|frame| *frame.ip.payload.data() = vec![1; 2048]);
    assert_eq!(kernel.run(&long.octets(), super::world::LAN).0, action::DROP);
    assert_eq!(reason(&kernel, Reason::NeighbourUnresolved) - unresolved, 1, "too long to hand over");
    assert_eq!(kernel.handed_over().len(), 0);

    let sent = 200;
    (0..sent).for_each(|_| assert_eq!(kernel.run(&reply.octets(), super::world::LAN).0, action::DROP));
    let refused = reason(&kernel, Reason::NeighbourUnresolved) - unresolved - 1;
    let waiting = kernel.handed_over().len() as u64;
    assert!(refused > 0 && waiting > 100, "{waiting} wait, {refused} were refused");
    assert_eq!(waiting + refused, sent);
}
