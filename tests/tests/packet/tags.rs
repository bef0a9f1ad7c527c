//! VLAN tags: a packet may come with none, one or two, and leaves with its row's.

use fairway_tests::packet::Frame;
use lb_common::counters::Reason;

use super::build::{Change as _, to_client};
use super::check::{Case, Want, case, check};
use super::world::{FLAVOURS, Flavour, INNER, LAN, OUTER, WAN, client, port};

#[test]
fn a_packet_leaves_with_the_tags_of_its_row() {
    check(cases());
}

/// Tags of a packet that comes in: another VLAN's, and with a priority.
const CUSTOMER: (u16, u16) = (0x8100, 0x6007);
const PROVIDER: (u16, u16) = (0x88a8, 0x0fff);

pub fn cases() -> Vec<Case> {
    FLAVOURS.into_iter().flat_map(|f| requests(f).into_iter().chain(others(f))).collect()
}

fn requests(f: Flavour) -> Vec<Case> {
    let mut cases = vec![];
    for (service, leaves, text) in [
        (port::DIRECT, vec![], "none"),
        (port::TAGGED, vec![INNER], "one"),
        (port::QINQ, vec![OUTER, INNER], "two"),
        (port::NAT_TAGGED, vec![INNER], "one, translated"),
    ] {
        let row = f.row(service, 0);
        for comes in [vec![], vec![CUSTOMER], vec![PROVIDER, CUSTOMER], vec![CUSTOMER, CUSTOMER]] {
            let sent = f.request(service).tagged(&comes);
            let got =
                if service == port::NAT_TAGGED { sent.destined(f.backend(row), port::BACKEND) } else { sent.clone() };
            let name = format!("{f}: a packet that comes with the tags {comes:04x?} leaves with {text}");
            cases.push(case(name).forwards(&sent, &got.tagged(&leaves).at(row), row));
        }
    }
    cases
}

fn others(f: Flavour) -> Vec<Case> {
    let sent = f.request(port::DIRECT);
    let reply = f.reply(f.row(port::NAT, 0), port::BACKEND, client::NEAR);
    let unresolved = f.reply(f.row(port::NAT, 0), port::BACKEND, client::UNRESOLVED).tagged(&[PROVIDER, CUSTOMER]);
    let waiting = unresolved.sourced(f.vip(), port::NAT).with(|frame| frame.ip.ttl -= 1);
    let row = f.row(port::DIRECT, 0);
    vec![
        case(format!("{f}: a packet with three tags is the host's"))
            .passes(&sent.tagged(&[PROVIDER, CUSTOMER, CUSTOMER]), Reason::TooDeep),
        case(format!("{f}: a tagged packet of no service is the host's, tag and all"))
            .passes(&f.to(f.stranger(), 80).tagged(&[CUSTOMER]), Reason::NotService)
            .passes(&f.to(f.stranger(), 80).tagged(&[PROVIDER, CUSTOMER]), Reason::NotService),
        case(format!("{f}: a tagged packet for a backend that is this host keeps its tag"))
            .passes(&f.request(port::LOCAL).tagged(&[CUSTOMER]), Reason::LocalBackend),
        case(format!("{f}: a reply loses the tag that it came with")).returns(
            &reply.tagged(&[CUSTOMER]),
            &to_client(&reply.sourced(f.vip(), port::NAT)),
            WAN,
        ),
        case(format!("{f}: a reply that waits for its neighbour keeps the tags that it came with"))
            .ends(&unresolved, Want::HandedOver { network: 22, frame: waiting.octets() }),
        case(format!("{f}: popping tags of the shortest packet leaves the shortest packet"))
            .ends(short(&sent.tagged(&[CUSTOMER])), short_want(f, &sent, row)),
    ]
}

/// Without data: the frame ends with its transport header.
fn short(frame: &Frame) -> Vec<u8> {
    frame.clone().with(|frame| frame.ip.payload.data().clear()).octets()
}

fn short_want(f: Flavour, sent: &Frame, row: u32) -> Want {
    let bytes = if f.v4 { 20 } else { 40 } + if f.tcp { 20 } else { 8 };
    Want::Sent { interface: LAN, frame: short(&sent.at(row)), count: Want::sent(LAN, sent, row, bytes, 0).count() }
}
