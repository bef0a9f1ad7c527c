//! QUIC: packets go to the backend that their connection ID names, whoever sends them; all others by the lookup table.

use fairway_tests::packet::{Frame, Ip, Payload};
use lb_common::abi::{encapsulation, row_state};
use lb_common::counters::Reason;
use lb_common::path::quic::By;

use fairway::reconcile::write::Write;

use super::build::{CLIENT_PORT, Change as _, frame};
use super::check::{Case, Octets, Want, case, check};
use super::fragments::part;
use super::quotes::{WHOLE, error, too_big};
use super::tunnel::Cell;
use super::world::{CONFIGURATIONS, FLAVOURS, Flavour, LAN, client, port, server_id};

#[test]
fn packets_go_to_the_server_that_they_name() {
    check(cases());
}

pub fn cases() -> Vec<Case> {
    let families = [FLAVOURS[1], FLAVOURS[3]];
    families
        .into_iter()
        .flat_map(|f| {
            let headers = headers(f).into_iter().chain(unknown(f)).chain(lengths(f)).chain(cut(f));
            headers.chain(backends(f)).chain(methods(f)).chain(parts(f)).chain(others(f))
        })
        .collect()
}

const VERSION_1: u32 = 1;
const VERSION_2: u32 = 0x6b33_43cf;
/// No version that anybody knows.
const ODD_VERSION: u32 = 0xface_b00c;
/// First octets of long headers, by what the packet is under version 1, and one without the fixed bit (RFC 9287).
const LONG: [(&str, u8); 4] = [("Initial", 0xc3), ("0-RTT", 0xd0), ("Handshake", 0xe1), ("greased", 0x80)];
/// First octets of short headers.
const SHORT: [(&str, u8); 3] = [("1-RTT", 0x40), ("spinning", 0x60), ("greased", 0x01)];
/// What follows the connection ID at least: packet number, and octets that are encrypted.
const REST: usize = 20;

/// A connection ID as a server of the service gives it.
fn id(service: u16, configuration: u8, backend: u16) -> Vec<u8> {
    [&[configuration << 5 | 0x15], server_id(service, backend).as_slice(), &[0x9e; 4]].concat()
}

fn short(first: u8, id: &[u8]) -> Vec<u8> {
    [&[first], id, &[0x55; REST]].concat()
}

fn long(first: u8, version: u32, id: &[u8]) -> Vec<u8> {
    [&[first], version.to_be_bytes().as_slice(), &[id.len() as u8], id, &[4, 1, 2, 3, 4], &[0x55; REST]].concat()
}

/// A packet of a client with this in it.
fn sent(f: Flavour, from: u16, service: u16, data: Vec<u8>) -> Frame {
    frame(Ip::new(f.client(client::NEAR), f.vip(), Payload::Udp { ports: (from, service), summed: true, data }))
}

fn to_quic(f: Flavour, data: Vec<u8>) -> Frame {
    sent(f, CLIENT_PORT, port::QUIC, data)
}

/// It goes to this backend of [`port::QUIC`].
fn goes(case: Case, f: Flavour, data: Vec<u8>, backend: u16, by: By) -> Case {
    let (packet, row) = (to_quic(f, data), f.row(port::QUIC, backend));
    case.forwards(&packet, &packet.at(row), row).went_by(f.quic_place(port::QUIC), by)
}

fn headers(f: Flavour) -> Vec<Case> {
    let mut of_short = case(format!("{f}: a short header's connection ID names a backend"));
    for ((_, first), configuration) in SHORT.into_iter().flat_map(|it| CONFIGURATIONS.map(|c| (it, c))) {
        for backend in [0, 1, 3] {
            let data = short(first, &id(port::QUIC, configuration, backend));
            of_short = goes(of_short, f, data, backend, By::ConnectionId);
        }
    }
    let mut cases = vec![of_short];
    for (kind, first) in LONG {
        let mut of_long = case(format!("{f}: so does that of a long header ({kind})"));
        for version in [VERSION_1, VERSION_2, ODD_VERSION, 0] {
            for backend in [0, 1, 3] {
                let data = long(first, version, &id(port::QUIC, 2, backend));
                of_long = goes(of_long, f, data, backend, By::ConnectionId);
            }
        }
        cases.push(of_long);
    }
    let mut anybody = case(format!("{f}: whatever address and port the client has by now"));
    for (address, from) in [(f.client(client::FAR), 1), (f.client(client::SAME_SIDE), 65_535), (f.stranger(), 443)] {
        let (packet, row) =
            (to_quic(f, short(0x40, &id(port::QUIC, 0, 1))).sourced(address, from), f.row(port::QUIC, 1));
        anybody = anybody.forwards(&packet, &packet.at(row), row).went_by(f.quic_place(port::QUIC), By::ConnectionId);
    }
    cases.push(anybody);
    cases
}

/// What names no server goes by the lookup table, which says backend 0.
fn unknown(f: Flavour) -> Vec<Case> {
    let of_nobody = id(port::QUIC, 0, 7);
    let mut by_configuration = case(format!("{f}: a configuration that is not the service's names no backend"));
    for configuration in (0..8).filter(|configuration| !CONFIGURATIONS.contains(configuration)) {
        let id = id(port::QUIC, configuration, 1);
        by_configuration = goes(by_configuration, f, short(0x40, &id), 0, By::Table);
        by_configuration = goes(by_configuration, f, long(0xc0, VERSION_1, &id), 0, By::TableAtBeginning);
    }
    let by_client = [0x0f, 0xd1, 0x22, 0x93, 0x47, 0x58, 0x6b, 0x7c];
    vec![
        by_configuration,
        goes(case(format!("{f}: a server ID that nobody has")), f, short(0x40, &of_nobody), 0, By::Table),
        goes(
            case(format!("{f}: the same under a long header")),
            f,
            long(0xe0, VERSION_1, &of_nobody),
            0,
            By::TableAtBeginning,
        ),
        goes(
            case(format!("{f}: the connection ID that a client has chosen")),
            f,
            long(0xc0, VERSION_1, &by_client),
            0,
            By::TableAtBeginning,
        ),
        goes(case(format!("{f}: what is no QUIC at all")), f, b"\0hello, is anybody there?".to_vec(), 0, By::Table),
    ]
}

fn lengths(f: Flavour) -> Vec<Case> {
    // One octet, a server ID of three, a nonce of four: no server gives less, nor more than twenty.
    let named = [id(port::QUIC, 0, 1), vec![0x9e; 247]].concat();
    let mut of_lengths = case(format!("{f}: a long header's connection ID has a server's length, or names none"));
    for length in [0, 1, 4, 7, 8, 9, 19, 20, 21, 22, 64, 255] {
        let data = long(0xc0, VERSION_1, &named[..length]);
        let (backend, by) = match length {
            8..=20 => (1, By::ConnectionId),
            _ => (0, By::TableAtBeginning),
        };
        of_lengths = goes(of_lengths, f, data, backend, by);
    }
    vec![of_lengths]
}

/// Datagrams that end early, in frames that end with them and in frames that are padded.
fn cut(f: Flavour) -> Vec<Case> {
    let id = id(port::QUIC, 0, 1);
    let mut cases = vec![];
    for (name, whole, header, least) in
        [("short", short(0x40, &id), 2, 10), ("long", long(0xc0, VERSION_1, &id), 2, 15)]
    {
        for padding in [0, 40] {
            let mut cut =
                case(format!("{f}: a {name} header's packet that ends early, {padding} octets before the frame does"));
            for length in 0..=whole.len() {
                // Of an empty one the padding is read, which is zeros: a short header.
                let is_long = name == "long" && (length >= header || length == 1 && padding > 0);
                // The server ID and the nonce must be the datagram's; eight octets from there must be the frame's.
                let ends = if padding > 0 { if name == "short" { 9 } else { 14 } } else { least };
                let (backend, by) = match (length >= ends, is_long) {
                    (true, _) => (1, By::ConnectionId),
                    (false, true) => (0, By::TableAtBeginning),
                    (false, false) => (0, By::Table),
                };
                let packet = to_quic(f, whole[..length].to_vec()).with(|frame| frame.padding = padding);
                let row = f.row(port::QUIC, backend);
                cut = cut.forwards(&packet, &packet.at(row), row).went_by(f.quic_place(port::QUIC), by);
            }
            cases.push(cut);
        }
    }
    cases
}

fn backends(f: Flavour) -> Vec<Case> {
    let dead = short(0x40, &id(port::QUIC, 0, 2));
    let revived = Write::RowState(f.row(port::QUIC, 2), row_state::ALIVE);
    let empty = |backend| sent(f, CLIENT_PORT, port::QUIC_EMPTY, short(0x40, &id(port::QUIC_EMPTY, 0, backend)));
    let (row, place) = (f.row(port::QUIC_EMPTY, 1), f.quic_place(port::QUIC_EMPTY));
    vec![
        goes(case(format!("{f}: a backend that is dead to its flows gets none")), f, dead.clone(), 0, By::Table),
        goes(
            case(format!("{f}: nor under a long header")),
            f,
            long(0xe0, VERSION_1, &id(port::QUIC, 0, 2)),
            0,
            By::TableAtBeginning,
        ),
        goes(case(format!("{f}: until it is not any more")).with([revived]), f, dead, 2, By::ConnectionId),
        case(format!("{f}: a backend that the table does not name keeps its connections"))
            .forwards(&empty(1), &empty(1).at(row), row)
            .went_by(place, By::ConnectionId),
        case(format!("{f}: with no backend in the table and none named"))
            .passes(&empty(2), Reason::NoBackendPassed)
            .went_by(place, By::Table),
    ]
}

fn methods(f: Flavour) -> Vec<Case> {
    let data = |service, backend| short(0x40, &id(service, 2, backend));
    let nat = sent(f, CLIENT_PORT, port::QUIC_NAT, data(port::QUIC_NAT, 3));
    let nat_long =
        sent(f, 50_000, port::QUIC_NAT, [&[0xc0, 0, 0, 0, 1, 20], &id(port::QUIC_NAT, 2, 3)[..], &[0x55; 30]].concat());
    let nat_row = f.row(port::QUIC_NAT, 3);
    let at_backend = |packet: &Frame| packet.destined(f.backend(nat_row), port::BACKEND).at(nat_row);
    let nat_place = f.quic_place(port::QUIC_NAT);
    let full_row = f.row(port::QUIC_FULL_NAT, 1);
    let full_place = f.quic_place(port::QUIC_FULL_NAT);
    let full = sent(f, CLIENT_PORT, port::QUIC_FULL_NAT, data(port::QUIC_FULL_NAT, 1));
    let masked =
        |packet: &Frame, row| packet.destined(f.backend(row), port::BACKEND).sourced(f.source(), port::SOURCE).at(row);
    let other = sent(f, CLIENT_PORT, port::QUIC_FULL_NAT, data(port::QUIC_FULL_NAT, 3));
    let other_row = f.row(port::QUIC_FULL_NAT, 3);
    let mut cases = vec![
        case(format!("{f}: under nat, with server IDs of fifteen octets"))
            .forwards(&nat, &at_backend(&nat), nat_row)
            .went_by(nat_place, By::ConnectionId)
            .forwards(&nat_long, &at_backend(&nat_long), nat_row)
            .went_by(nat_place, By::ConnectionId),
        case(format!("{f}: under full nat, and the same port's other connection to another backend"))
            .forwards(&full, &masked(&full, full_row), full_row)
            .went_by(full_place, By::ConnectionId)
            .forwards(&other, &masked(&other, other_row), other_row)
            .went_by(full_place, By::ConnectionId)
            .translates(2),
    ];
    for outer_v4 in [true, false] {
        let cell = Cell { flavour: f, outer_v4, kind: encapsulation::GUE, service: port::QUIC };
        let row = f.row(port::QUIC, 1);
        let packet = to_quic(f, data(port::QUIC, 1));
        let want = Want::Sent {
            interface: LAN,
            frame: cell.wrapped_to(row, &packet, &[], 0),
            count: Want::sent(LAN, &packet, row, packet.ip.octets().len(), 0).count(),
        };
        let family = if outer_v4 { "IPv4" } else { "IPv6" };
        cases.push(
            case(format!("{f}: through a tunnel in {family}"))
                .with(cell.writes_of(row, 1480, &[], 0))
                .ends(Octets::from(&packet), want)
                .went_by(f.quic_place(port::QUIC), By::ConnectionId),
        );
    }
    cases
}

/// Fragments follow their first; and what an error quotes is a backend's packet, whose connection ID is the client's own.
fn parts(f: Flavour) -> Vec<Case> {
    let (row, place) = (f.row(port::QUIC, 1), f.quic_place(port::QUIC));
    let whole = to_quic(f, short(0x40, &id(port::QUIC, 0, 1)));
    let end = 8 + 1 + 8 + REST;
    let [first, last] = [part(&whole, 0, 32, true), part(&whole, 32, end, false)];
    let headless = part(&whole, 0, 8, true);
    let answer = Payload::Udp {
        ports: (port::QUIC, CLIENT_PORT),
        summed: true,
        data: long(0xe0, VERSION_1, &id(port::QUIC, 0, 1)),
    };
    let quoted = Ip::new(f.vip(), f.client(client::NEAR), answer);
    let told = error(f, too_big(f), &quoted, WHOLE);
    let by_table = f.row(port::QUIC, 0);
    vec![
        case(format!("{f}: later fragments go where their first goes"))
            .forwards(&first, &first.at(row), row)
            .went_by(place, By::ConnectionId)
            .forwards(&last, &last.at(row), row),
        case(format!("{f}: a first fragment without a connection ID goes by the table, and so do the others"))
            .forwards(&headless, &headless.at(by_table), by_table)
            .went_by(place, By::Table)
            .forwards(&last, &last.at(by_table), by_table),
        case(format!("{f}: an ICMP error goes by the table")).forwards(&told, &told.at(by_table), by_table),
    ]
}

/// Connection IDs are no matter of other services.
fn others(f: Flavour) -> Vec<Case> {
    let row = f.row(port::DIRECT, 0);
    let packet = sent(f, CLIENT_PORT, port::DIRECT, short(0x40, &id(port::QUIC, 0, 1)));
    let tcp = Flavour { tcp: true, ..f };
    vec![
        case(format!("{f}: another service does not look at connection IDs")).forwards(&packet, &packet.at(row), row),
        case(format!("{f}: a service of QUIC is not TCP's")).passes(&tcp.request(port::QUIC), Reason::NotService),
    ]
}
