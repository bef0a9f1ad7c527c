//! Forwarding method `tunnel`: the packet inside another, for every pair of families and every encapsulation.
//!
//! What is expected is put together here octet by octet, from the packet descriptions of the other cases and headers as the
//! documents have them, not by the code under test.

use std::net::IpAddr;

use fairway::reconcile::write::Write;
use fairway_tests::packet::{Frame, Ip, Payload, chunk, extension, flag, internet};
use lb_common::abi::{Counters, Row, Tunnel, encapsulation, method, row_state};
use lb_common::address::Address;
use lb_common::counters::Reason;
use lb_common::path::tunnel::constant_sum;

use super::build::{CLIENT_PORT, Change as _};
use super::check::{Case, Want, case, check};
use super::fragments::{part, parts};
use super::quotes::{WHOLE, error, too_big};
use super::world::{FLAVOURS, Flavour, INNER, LAN, OUTER, client, mac_head, own_mac, port, row_mac, tag_wire};

#[test]
fn packets_are_wrapped_whole() {
    check(plain());
}

#[test]
fn packets_of_every_protocol_are_wrapped() {
    check(protocols());
}

#[test]
fn all_parts_of_a_datagram_are_wrapped_alike() {
    check(in_parts());
}

#[test]
fn what_is_odd_about_a_packet_stays_inside() {
    check(odd());
}

#[test]
fn what_does_not_fit_is_answered() {
    check(oversize());
}

#[test]
fn tags_are_outside() {
    check(tags());
}

pub fn cases() -> Vec<Case> {
    [plain(), protocols(), in_parts(), odd(), oversize(), tags()].into_iter().flatten().collect()
}

/// The UDP port that wrapped packets go to.
const PORT: u16 = 6080;
/// More than any packet here has.
const ROOMY: u32 = 1480;

/// One way to wrap one kind of packet.
#[derive(Clone, Copy)]
pub struct Cell {
    pub flavour: Flavour,
    pub outer_v4: bool,
    pub kind: u8,
    /// The service whose backends are tunnels.
    pub service: u16,
}

fn cells() -> Vec<Cell> {
    let kinds = [encapsulation::IPIP, encapsulation::GUE, encapsulation::FOU, encapsulation::GRE];
    let all = FLAVOURS.into_iter().flat_map(|flavour| [true, false].map(|outer_v4| (flavour, outer_v4)));
    all.flat_map(|(flavour, outer_v4)| kinds.map(|kind| Cell { flavour, outer_v4, kind, service: port::DIRECT }))
        .collect()
}

impl std::fmt::Display for Cell {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let family = if self.outer_v4 { "IPv4" } else { "IPv6" };
        write!(f, "{} in {family} by {}", self.flavour, ["ipip", "gue", "fou", "gre"][usize::from(self.kind)])
    }
}

impl Cell {
    fn row(self) -> u32 {
        self.flavour.row(self.service, 0)
    }

    fn outer(self) -> Flavour {
        Flavour { v4: self.outer_v4, tcp: true }
    }

    fn source(self) -> IpAddr {
        self.outer().client(250)
    }

    fn backend(self, row: u32) -> IpAddr {
        self.outer().backend(row)
    }

    /// The service's first row becomes a tunnel's.
    fn writes(self, room: u32, tags: &[(u16, u16)], spread: u64) -> [Write; 2] {
        self.writes_of(self.row(), room, tags, spread)
    }

    pub fn writes_of(self, index: u32, room: u32, tags: &[(u16, u16)], spread: u64) -> [Write; 2] {
        let bits = self.kind | if self.outer_v4 { encapsulation::V4 } else { 0 };
        let (source, destination) = (Address::from(self.source()), Address::from(self.backend(index)));
        let source = Address { low: source.low & !spread, ..source };
        let from = own_mac(LAN);
        let tag = |i: usize| tags.get(i).map_or(0, |tag| tag_wire(*tag));
        let row = Row {
            mac_head: mac_head(row_mac(index), from),
            mac_tail: u32::from_ne_bytes([from[2], from[3], from[4], from[5]]),
            interface: LAN,
            address: destination,
            tags_wire: [tag(0), tag(1)],
            state: row_state::ALIVE,
            method: method::TUNNEL,
            encapsulation: bits,
            ..Row::default()
        };
        let sum = constant_sum(bits, self.flavour.v4, source.v4_wire(), destination.v4_wire());
        let tunnel = Tunnel { source, spread, room, sum, port_wire: PORT.to_be() };
        [Write::Tunnel(index, tunnel), Write::Row(index, row)]
    }

    fn case(self, what: &str) -> Case {
        case(format!("{self}: {what}")).with(self.writes(ROOMY, &[], 0))
    }

    fn request(self) -> Frame {
        self.flavour.request(port::DIRECT)
    }

    /// The frame that a request leaves in.
    fn wrapped(self, request: &Frame) -> Vec<u8> {
        self.wrapped_with(request, &[], 0)
    }

    fn wrapped_with(self, request: &Frame, tags: &[(u16, u16)], spread: u64) -> Vec<u8> {
        self.wrapped_to(self.row(), request, tags, spread)
    }

    pub fn wrapped_to(self, row: u32, request: &Frame, tags: &[(u16, u16)], spread: u64) -> Vec<u8> {
        let sent = request.clone().with(|frame| frame.ip.ttl -= 1);
        let inner = sent.ip.octets();
        let entropy = entropy(request);
        let [e0, e1, e2, e3] = entropy.to_ne_bytes();
        let body = [self.shim(inner.len(), entropy), inner.clone()].concat();
        let protocol = match (self.kind, self.flavour.v4) {
            (encapsulation::IPIP, true) => 4,
            (encapsulation::IPIP, false) => 41,
            (encapsulation::GRE, _) => 47,
            _ => 17,
        };
        let service = service_of(&inner);
        let mut out = [row_mac(row), own_mac(LAN)].concat();
        for (tpid, tci) in tags {
            out.extend([tpid.to_be_bytes(), tci.to_be_bytes()].concat());
        }
        match (self.source(), self.backend(row)) {
            (IpAddr::V4(source), IpAddr::V4(backend)) => {
                let spread = ((spread >> 32) as u32).to_ne_bytes();
                let mut source = source.octets();
                for (octet, (mask, bits)) in source.iter_mut().zip(spread.into_iter().zip([e0, e1, e2, e3])) {
                    *octet = *octet & !mask | bits & mask;
                }
                out.extend([0x08, 0x00, 0x45, service]);
                let mut header = vec![0x45, service];
                header.extend(u16::to_be_bytes((20 + body.len()) as u16));
                header.extend(if self.flavour.v4 { [inner[4], inner[5], inner[6] & 0x40, 0] } else { [0, 0, 0x40, 0] });
                header.extend([sent.ip.ttl, protocol, 0, 0]);
                header.extend(source);
                header.extend(backend.octets());
                let sum = internet(&header).to_be_bytes();
                header[10..12].copy_from_slice(&sum);
                out.truncate(out.len() - 2);
                out.extend(header);
            }
            (IpAddr::V6(source), IpAddr::V6(backend)) => {
                let mut source = source.octets();
                for (at, mask) in spread.to_ne_bytes().into_iter().enumerate() {
                    source[8 + at] = source[8 + at] & !mask | [e0, e1, e2, e3][at % 4] & mask;
                }
                out.extend([0x86, 0xdd]);
                let first = 6 << 28 | u32::from(service) << 20 | entropy & 0xf_ffff;
                out.extend(first.to_be_bytes());
                out.extend(u16::to_be_bytes(body.len() as u16));
                out.extend([protocol, sent.ip.ttl]);
                out.extend(source);
                out.extend(backend.octets());
            }
            _ => panic!("addresses of two families"),
        }
        out.extend(body);
        out.extend(vec![0; sent.padding]);
        out
    }

    /// What stands between the IP headers.
    fn shim(self, inner: usize, entropy: u32) -> Vec<u8> {
        let udp = |rest: usize| {
            let source = 0xc000 | (entropy >> 18) as u16;
            let words = [source, PORT, (8 + rest + inner) as u16, 0];
            words.into_iter().flat_map(u16::to_be_bytes).collect::<Vec<u8>>()
        };
        match self.kind {
            encapsulation::IPIP => vec![],
            encapsulation::GUE => [udp(4), vec![0, if self.flavour.v4 { 4 } else { 41 }, 0, 0]].concat(),
            encapsulation::FOU => udp(0),
            _ => vec![0, 0, if self.flavour.v4 { 0x08 } else { 0x86 }, if self.flavour.v4 { 0x00 } else { 0xdd }],
        }
    }

    fn sent(self, request: &Frame, connections: u64) -> Want {
        let bytes = request.ip.octets().len() as u64;
        let count = Some((self.row(), Counters { packets: 1, bytes, connections }));
        Want::Sent { interface: LAN, frame: self.wrapped(request), count }
    }

    /// How the sender of a packet is told that only so much fits.
    fn answer(self, request: &Frame, room: u16) -> Want {
        let v4 = self.flavour.v4;
        let quote = request.ip.octets()[..if v4 { 72 } else { 128 }].to_vec();
        let kind = too_big(self.flavour);
        let ip = Ip::new(request.ip.destination, request.ip.source, Payload::Icmp { kind, data: quote });
        let answer = Frame { to: request.from, from: request.to, tags: request.tags.clone(), ip, padding: 0 };
        let mut octets = answer.octets();
        let at = 14 + 4 * request.tags.len();
        let icmp = at + if v4 { 20 } else { 40 };
        octets[icmp + 6..icmp + 8].copy_from_slice(&room.to_be_bytes());
        // Both sums again, with the identification that answers have, and the MTU.
        if v4 {
            octets[at + 4..at + 6].fill(0);
            octets[at + 10..at + 12].fill(0);
            let sum = internet(&octets[at..icmp]).to_be_bytes();
            octets[at + 10..at + 12].copy_from_slice(&sum);
        }
        octets[icmp + 2..icmp + 4].fill(0);
        let mut summed = octets[icmp..].to_vec();
        if !v4 {
            summed.extend(&octets[at + 8..at + 40]);
            summed.extend([0, 0, 0, octets[at + 5], 0, 0, 0, 58]);
        }
        let sum = internet(&summed).to_be_bytes();
        octets[icmp + 2..icmp + 4].copy_from_slice(&sum);
        Want::TooBig { frame: octets }
    }
}

/// The outer type of service of an inner packet (RFC 3168 section 9.1.1): "congestion experienced" becomes ECT(0).
fn service_of(inner: &[u8]) -> u8 {
    let service = if inner[0] >> 4 == 4 { inner[1] } else { inner[0] << 4 | inner[1] >> 4 };
    if service & 3 == 3 { service & !1 } else { service }
}

/// What tells flows apart: of whole packets with ports also these.
fn entropy(frame: &Frame) -> u32 {
    let (source, destination) = (Address::from(frame.ip.source), Address::from(frame.ip.destination));
    let mut ip = frame.ip.clone();
    let ports = match (frame.ip.fragment, ip.payload.ports()) {
        (None, Some((from, to))) => u64::from(from.to_be()) | u64::from(to.to_be()) << 16,
        _ => 0,
    };
    let ends = source.low ^ source.high.rotate_left(29) ^ destination.low.rotate_left(17);
    ((ends ^ ports).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) as u32
}

fn plain() -> Vec<Case> {
    cells()
        .into_iter()
        .flat_map(|cell| {
            let sent = cell.request();
            let padded = sent.clone().with(|frame| frame.padding = 11);
            let open = if cell.flavour.tcp { sent.flags(flag::SYN) } else { sent.clone() };
            vec![
                cell.case("a packet is put into another, one hop older").ends(&sent, cell.sent(&sent, 0)),
                cell.case("padding behind a short packet stays").ends(&padded, cell.sent(&padded, 0)),
                cell.case("a SYN is counted as a new connection")
                    .ends(&open, cell.sent(&open, u64::from(cell.flavour.tcp))),
                cell.case("with a time to live of 0 or 1 it goes no further, with 2 and 255 it does")
                    .drops(&sent.ttl(0), Reason::TimeToLive)
                    .drops(&sent.ttl(1), Reason::TimeToLive)
                    .ends(&sent.ttl(2), cell.sent(&sent.ttl(2), 0))
                    .ends(&sent.ttl(255), cell.sent(&sent.ttl(255), 0)),
                cell.case("an unknown next hop drops")
                    .with([Write::RowMac(cell.row(), 0)])
                    .drops(&sent, Reason::NextHopUnknown),
                spread(cell),
            ]
        })
        .collect()
}

/// The host's part of the source address differs from flow to flow.
fn spread(cell: Cell) -> Case {
    let mask = if cell.outer_v4 { [0, 0, 0, 0, 0, 0, 0xff, 0xff] } else { [0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff] };
    let spread = u64::from_ne_bytes(mask);
    let mut case = case(format!("{cell}: the source address may differ from flow to flow"));
    case = case.with(cell.writes(ROOMY, &[], spread));
    for from in [CLIENT_PORT, CLIENT_PORT + 1, 1] {
        let sent = cell.request().sourced(cell.flavour.client(client::NEAR), from);
        let count = Some((cell.row(), Counters { packets: 1, bytes: sent.ip.octets().len() as u64, connections: 0 }));
        let frame = cell.wrapped_with(&sent, &[], spread);
        case = case.ends(&sent, Want::Sent { interface: LAN, frame, count });
    }
    case
}

fn in_parts() -> Vec<Case> {
    cells()
        .into_iter()
        .flat_map(|cell| {
            let mut case = cell.case("all fragments of a request, each wrapped");
            for part in parts(&cell.request()) {
                case = case.ends(&part, cell.sent(&part, 0));
            }
            let about = Ip::new(
                cell.flavour.vip(),
                cell.flavour.client(client::NEAR),
                cell.flavour.payload(port::DIRECT, CLIENT_PORT),
            );
            let about = error(cell.flavour, too_big(cell.flavour), &about, WHOLE);
            vec![
                case,
                cell.case("a later fragment on its last hop drops")
                    .ends(&parts(&cell.request())[0], cell.sent(&parts(&cell.request())[0], 0))
                    .drops(&parts(&cell.request())[1].ttl(1), Reason::TimeToLive),
                cell.case("an ICMP error about a flow goes to its backend, wrapped").ends(&about, cell.sent(&about, 0)),
            ]
        })
        .collect()
}

fn odd() -> Vec<Case> {
    cells()
        .into_iter()
        .flat_map(|cell| {
            let header = cell.request().clone().with(|frame| {
                if cell.flavour.v4 {
                    frame.ip.options = vec![1; 12];
                } else {
                    frame.ip.extensions = vec![(extension::HOP_BY_HOP, vec![0, 1, 4, 0, 0, 0, 0])];
                }
            });
            let mut cases = vec![
                cell.case("IP options and extension headers stay inside").ends(&header, cell.sent(&header, 0)),
                cell.case("a packet cut short in its transport header drops").drops(
                    cell.request().octets()[..if cell.flavour.v4 { 14 + 20 + 4 } else { 14 + 40 + 4 }].to_vec(),
                    Reason::Truncated,
                ),
            ];
            cases.push(services(cell));
            cases
        })
        .collect()
}

/// Type of service and don't-fragment go outward. The descriptions do not have them, so they are written into the octets.
fn services(cell: Cell) -> Case {
    let sent = cell.request();
    let mut case = cell.case("type of service and don't-fragment go outward");
    for (service, may_fragment) in [(0xb8, false), (0xb9, true), (0x03, false), (0x02, true)] {
        let mut packet = sent.octets();
        let mut want = cell.wrapped(&sent);
        let inner = want.len() - sent.ip.octets().len();
        let outward = if service & 3 == 3 { service & !1 } else { service };
        mark(&mut packet, 14, service, may_fragment);
        mark(&mut want, inner, service, may_fragment);
        mark(&mut want, 14, outward, may_fragment && cell.flavour.v4);
        let bytes = sent.ip.octets().len() as u64;
        let count = Some((cell.row(), Counters { packets: 1, bytes, connections: 0 }));
        case = case.ends(packet, Want::Sent { interface: LAN, frame: want, count });
    }
    case
}

/// Writes type of service, and clears don't-fragment, into the header at an offset.
fn mark(octets: &mut [u8], at: usize, service: u8, may_fragment: bool) {
    if octets[at] >> 4 == 6 {
        octets[at] = 0x60 | service >> 4;
        octets[at + 1] = service << 4 | octets[at + 1] & 15;
        return;
    }
    octets[at + 1] = service;
    if may_fragment {
        octets[at + 6] &= !0x40;
    }
    octets[at + 10..at + 12].fill(0);
    let header = usize::from(octets[at] & 15) * 4;
    let sum = internet(&octets[at..at + header]).to_be_bytes();
    octets[at + 10..at + 12].copy_from_slice(&sum);
}

/// With more data than the usual packet.
fn long(frame: &Frame) -> Frame {
    frame.clone().with(|frame| frame.ip.payload.data().extend(vec![0x5a; 301]))
}

fn oversize() -> Vec<Case> {
    cells()
        .into_iter()
        .flat_map(|cell| {
            let sent = long(&cell.request());
            let length = sent.ip.octets().len() as u32;
            let room = |room| cell.writes(room, &[], 0);
            let f = cell.flavour;
            let tagged = sent.tagged(&[INNER]);
            let twice = sent.tagged(&[OUTER, INNER]);
            let options = sent.clone().with(|frame| {
                if f.v4 {
                    frame.ip.options = vec![1; 40];
                }
            });
            let end = length as usize - if f.v4 { 20 } else { 40 };
            let [first, second, third] = [(0, 176), (176, 352), (352, end)].map(|(a, b)| part(&sent, a, b, b < end));
            let about = Ip::new(f.vip(), f.client(client::NEAR), f.payload(port::DIRECT, CLIENT_PORT));
            let about = error(f, too_big(f), &about, WHOLE);
            vec![
                case(format!("{cell}: what just fits is wrapped")).with(room(length)).ends(&sent, cell.sent(&sent, 0)),
                case(format!("{cell}: one octet more is answered, whatever its tags"))
                    .with(room(length - 1))
                    .ends(&sent, cell.answer(&sent, length as u16 - 1))
                    .ends(&tagged, cell.answer(&tagged, length as u16 - 1))
                    .ends(&twice, cell.answer(&twice, length as u16 - 1)),
                case(format!("{cell}: a path that became narrower is answered with what it takes now"))
                    .with(room(length))
                    .with([Write::TunnelRoom(cell.row(), 200)])
                    .ends(&sent, cell.answer(&sent, 200))
                    .ends(&options, cell.answer(&options, 200)),
                case(format!("{cell}: of a datagram the first fragment is answered, no later one"))
                    .with(room(180))
                    .ends(&first, cell.answer(&first, 180))
                    .drops(&second, Reason::TooBigForTunnel)
                    .ends(&third, cell.sent(&third, 0)),
                case(format!("{cell}: an ICMP error that does not fit is not answered"))
                    .with(room(100))
                    .drops(&about, Reason::TooBigForTunnel),
            ]
        })
        .collect()
}

/// Protocols besides TCP and UDP are wrapped as they are.
fn protocols() -> Vec<Case> {
    let cells = cells().into_iter().filter(|cell| cell.flavour.tcp);
    cells
        .flat_map(|cell| {
            let associated = Cell { service: port::SCTP_DIRECT, ..cell };
            let [data, init] =
                [chunk::DATA, chunk::INIT].map(|kind| super::sctp::with(cell.flavour, port::SCTP_DIRECT, kind));
            let secured = Cell { service: port::BY_CLIENT, ..cell };
            let f = cell.flavour;
            let all_to_first = || {
                let rows = f.row(port::BY_CLIENT, 0)..f.row(port::BY_CLIENT, 16);
                rows.flat_map(|row| secured.writes_of(row, ROOMY, &[], 0)).collect::<Vec<_>>()
            };
            let mut by_address = case(format!("{secured}: ESP and AH are wrapped, spread by their addresses alone"));
            by_address = by_address.with(all_to_first());
            for packet in [super::secured::esp(f, client::NEAR, 7), super::secured::ah(f, client::NEAR, 8)] {
                let cell = secured;
                let row = super::secured::row(f, client::NEAR);
                let frame = cell.wrapped_to(row, &packet, &[], 0);
                let count = Counters { packets: 1, bytes: packet.ip.octets().len() as u64, connections: 0 };
                by_address = by_address.ends(&packet, Want::Sent { interface: LAN, frame, count: Some((row, count)) });
            }
            vec![
                associated
                    .case("SCTP is wrapped")
                    .ends(&data, associated.sent(&data, 0))
                    .ends(&init, associated.sent(&init, 1)),
                by_address,
            ]
        })
        .collect()
}

fn tags() -> Vec<Case> {
    cells()
        .into_iter()
        .flat_map(|cell| {
            let sent = cell.request();
            let all: [&[(u16, u16)]; 3] = [&[], &[INNER], &[OUTER, INNER]];
            all.map(|out| {
                let mut case = case(format!("{cell}: {} tags on the way out, whatever came in", out.len()));
                case = case.with(cell.writes(ROOMY, out, 0));
                for tags in all {
                    let bytes = sent.ip.octets().len() as u64;
                    let count = Some((cell.row(), Counters { packets: 1, bytes, connections: 0 }));
                    let frame = cell.wrapped_with(&sent, out, 0);
                    case = case.ends(&sent.tagged(tags), Want::Sent { interface: LAN, frame, count });
                }
                case
            })
        })
        .collect()
}
