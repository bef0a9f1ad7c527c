//! Whose packet is it, and `direct` forwarding: the plain cases.

use fairway::reconcile::write::Write;
use fairway_tests::packet::{Ip, Payload, flag};
use lb_common::counters::Reason;
use lb_common::slot::{NONE, Slot};

use super::build::{CLIENT_PORT, Change as _, frame};
use super::check::{Case, Want, case, check};
use super::world::{FLAVOURS, Flavour, LAN, WAN, client, mac_head, port};

#[test]
fn packets_go_to_whom_they_are_for() {
    check(cases());
}

pub fn cases() -> Vec<Case> {
    let mut cases: Vec<Case> = FLAVOURS.into_iter().flat_map(of).collect();
    cases.extend(tcp_flags());
    cases.extend(not_ip());
    cases.push(beyond_the_rows());
    cases
}

fn of(f: Flavour) -> Vec<Case> {
    let (direct, exact, wild) = (f.row(port::DIRECT, 0), f.row(port::OTHERS, 0), f.row(port::OTHERS, 1));
    let sent = f.request(port::DIRECT);
    let elsewhere = f.row(port::ELSEWHERE, 0);
    let leaves_by_wan = sent.destined(f.vip(), port::ELSEWHERE).at(elsewhere).with(|frame| frame.from[5] = WAN as u8);
    let other = Payload::Other(132, vec![7; 40]);
    vec![
        case(format!("{f}: a packet is sent to its backend's MAC address, one hop older")).forwards(
            &sent,
            &sent.at(direct),
            direct,
        ),
        case(format!("{f}: padding behind a short packet stays and is not counted")).forwards(
            &sent.clone().with(|frame| frame.padding = 11),
            &sent.at(direct).with(|frame| frame.padding = 11),
            direct,
        ),
        case(format!("{f}: a backend on another interface is reached by a redirect")).counted(
            &f.request(port::ELSEWHERE),
            &leaves_by_wan,
            elsewhere,
            WAN,
            0,
        ),
        case(format!("{f}: a packet that came in by another interface is redirected"))
            .by(WAN)
            .ends(sent.octets(), Want::sent(LAN, &sent.at(direct), direct, sent.ip.octets().len(), 0)),
        case(format!("{f}: another port of a service's address is the host's"))
            .passes(&f.request(port::NONE), Reason::NotService),
        case(format!("{f}: another address is the host's"))
            .passes(&f.to(f.stranger(), port::DIRECT), Reason::NotService),
        case(format!("{f}: a packet from a service to a client is the host's")).passes(
            &sent.sourced(f.vip(), port::DIRECT).destined(f.client(client::NEAR), CLIENT_PORT),
            Reason::NotService,
        ),
        case(format!("{f}: another protocol to the service's address is the host's"))
            .passes(&frame(Ip::new(f.client(client::NEAR), f.vip(), other)), Reason::NotService),
        case(format!("{f}: a wildcard listener takes any port"))
            .forwards(&f.to(f.wild(), 1), &f.to(f.wild(), 1).at(wild), wild)
            .forwards(&f.to(f.wild(), 65_535), &f.to(f.wild(), 65_535).at(wild), wild),
        case(format!("{f}: an exact listener comes before the wildcard")).forwards(
            &f.to(f.wild(), port::EXACT),
            &f.to(f.wild(), port::EXACT).at(exact),
            exact,
        ),
        case(format!("{f}: port 0 of a service without a wildcard is the host's"))
            .passes(&f.request(0), Reason::NotService),
        case(format!("{f}: without a backend the host gets the packet"))
            .passes(&f.request(port::EMPTY_PASS), Reason::NoBackendPassed),
        case(format!("{f}: without a backend the packet is dropped, where so configured"))
            .drops(&f.request(port::EMPTY_DROP), Reason::NoBackend),
        case(format!("{f}: an unknown next hop drops")).drops(&f.request(port::NO_HOP), Reason::NextHopUnknown),
        case(format!("{f}: a next hop that becomes known is used at once"))
            .with([Write::RowMac(f.row(port::NO_HOP, 0), mac_head([2, 0xbe, 9, 9, 9, 9], [2, 0xaa, 0, 0, 0, 0]))])
            .forwards(
                &f.request(port::NO_HOP),
                &f.request(port::NO_HOP).at(0).with(|frame| frame.to = [2, 0xbe, 9, 9, 9, 9]),
                f.row(port::NO_HOP, 0),
            ),
        case(format!("{f}: a backend that is this host gets the packet untouched"))
            .passes(&f.request(port::LOCAL), Reason::LocalBackend),
        case(format!("{f}: a row without a method drops")).drops(&f.request(port::NO_METHOD), Reason::Inconsistent),
        case(format!("{f}: with a time to live of 0 or 1 it goes no further, with 2 it does"))
            .drops(&sent.ttl(0), Reason::TimeToLive)
            .drops(&sent.ttl(1), Reason::TimeToLive)
            .forwards(&sent.ttl(2), &sent.ttl(2).at(direct), direct)
            .forwards(&sent.ttl(255), &sent.ttl(255).at(direct), direct),
    ]
}

/// The first service's slots are the first.
fn beyond_the_rows() -> Case {
    case("a slot that names a row beyond the last drops")
        .with([Write::Slots(0, vec![Slot::settled(NONE - 1).0; 16])])
        .drops(&FLAVOURS[0].request(port::DIRECT), Reason::Inconsistent)
}

fn tcp_flags() -> Vec<Case> {
    let mut cases = vec![];
    for f in FLAVOURS.into_iter().filter(|f| f.tcp) {
        let row = f.row(port::DIRECT, 0);
        let with = |flags| f.request(port::DIRECT).flags(flags);
        cases.push(
            case(format!("{f}: a SYN is counted as a new connection"))
                .opens(&with(flag::SYN), &with(flag::SYN).at(row), row)
                .leaves([]),
        );
        for (name, flags) in [
            ("a SYN with ACK", flag::SYN | flag::ACK),
            ("a FIN", flag::FIN | flag::ACK),
            ("a RST", flag::RST),
            ("a SYN with FIN", flag::SYN | flag::FIN),
            ("a packet without any flag", 0),
        ] {
            cases.push(case(format!("{f}: {name} is no new connection")).forwards(
                &with(flags),
                &with(flags).at(row),
                row,
            ));
        }
    }
    cases
}

fn not_ip() -> Vec<Case> {
    let ethernet =
        |ethertype: [u8; 2], rest: &[u8]| [&[2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2][..], &ethertype, rest].concat();
    let changed = |at: usize, octet: u8| {
        let mut octets = FLAVOURS[0].request(port::DIRECT).octets();
        octets[at] = octet;
        octets
    };
    let changed6 = |at: usize, octet: u8| {
        let mut octets = FLAVOURS[2].request(port::DIRECT).octets();
        octets[at] = octet;
        octets
    };
    vec![
        case("ARP is the host's").passes(ethernet([8, 6], &[0; 28]), Reason::NotIp),
        case("LLDP is the host's").passes(ethernet([0x88, 0xcc], &[0; 40]), Reason::NotIp),
        case("an empty frame is the host's to judge").passes(vec![], Reason::Malformed),
        case("an Ethernet header alone is the host's to judge").passes(ethernet([8, 0], &[]), Reason::Malformed),
        case("IPv4 that says it is another version is the host's to judge")
            .passes(changed(14, 0x65), Reason::Malformed),
        case("an IPv4 header shorter than it can be is the host's to judge")
            .passes(changed(14, 0x44), Reason::Malformed),
        case("an IPv4 packet shorter than its header is the host's to judge").passes(
            changed(16, 0).into_iter().enumerate().map(|(i, o)| if i == 17 { 19 } else { o }).collect::<Vec<_>>(),
            Reason::Malformed,
        ),
        case("IPv6 that says it is another version is the host's to judge")
            .passes(changed6(14, 0x40), Reason::Malformed),
    ]
}
