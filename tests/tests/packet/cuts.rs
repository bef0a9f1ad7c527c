//! Packets cut short at every length: before the transport header is whole, what is a service's is dropped and all else
//! is the host's; after that it is forwarded as it is.

use fairway_tests::packet::Frame;
use lb_common::abi::Counters;
use lb_common::counters::Reason;

use super::build::{Change as _, to_client};
use super::check::{Case, Want, case, check};
use super::world::{FLAVOURS, Flavour, LAN, WAN, client, port};

#[test]
fn a_packet_cut_at_any_length_gets_a_clear_answer() {
    check(cases());
}

pub fn cases() -> Vec<Case> {
    FLAVOURS.into_iter().flat_map(of).collect()
}

/// What becomes of a cut packet.
#[derive(Clone, Copy)]
pub enum Fate {
    Pass(Reason),
    Drop(Reason),
    Sent,
}
pub use Fate::{Drop, Pass, Sent};

/// A frame, what it is sent on as, by which interface, and for which row.
pub struct Whole {
    pub sent: Frame,
    pub want: Frame,
    pub interface: u32,
    pub row: Option<u32>,
}

/// Cuts at every length; `fates` says up to which length each holds.
pub fn cut(name: String, whole: &Whole, fates: &[(usize, Fate)]) -> Case {
    let (sent, want) = (whole.sent.octets(), whole.want.octets());
    let bytes = whole.sent.ip.octets().len() as u64;
    (0..sent.len()).fold(case(name), |case, length| {
        let (_, fate) = fates.iter().find(|(end, _)| length < *end).expect("a fate for every length");
        case.ends(
            sent[..length].to_vec(),
            match *fate {
                Pass(reason) => Want::Pass(reason),
                Drop(reason) => Want::Drop(reason),
                Sent => Want::Sent {
                    interface: whole.interface,
                    frame: want[..length].to_vec(),
                    count: whole.row.map(|row| (row, Counters { packets: 1, bytes, connections: 0 })),
                },
            },
        )
    })
}

pub const END: usize = usize::MAX;

fn of(f: Flavour) -> Vec<Case> {
    let (direct, nat) = (f.row(port::DIRECT, 0), f.row(port::NAT, 0));
    let header = if f.tcp { 20 } else { 8 };
    let ip = 14 + if f.v4 { 20 } else { 40 };
    let malformed = Pass(Reason::Malformed);
    let to_service = |ip: usize| [(ip, malformed), (ip + header, Drop(Reason::Truncated)), (END, Sent)];
    let plain = |sent: Frame| Whole { want: sent.at(direct), sent, interface: LAN, row: Some(direct) };
    let sent = f.request(port::NAT);
    let request =
        Whole { want: sent.destined(f.backend(nat), port::BACKEND).at(nat), sent, interface: LAN, row: Some(nat) };
    let sent = f.reply(nat, port::BACKEND, client::NEAR);
    let reply = Whole { want: to_client(&sent.sourced(f.vip(), port::NAT)), sent, interface: WAN, row: None };
    let stranger = plain(f.to(f.stranger(), 80));
    // A reply is mended up to its checksum.
    let mended = if f.tcp { 18 } else { 8 };
    let not_service = Pass(Reason::NotService);
    let mut cases = vec![
        cut(format!("{f}: to a direct service, cut at every length"), &plain(f.request(port::DIRECT)), &to_service(ip)),
        cut(format!("{f}: to a translated service, cut at every length"), &request, &to_service(ip)),
        cut(
            format!("{f}: from a translated backend, cut at every length"),
            &reply,
            &[(ip, malformed), (ip + 4, not_service), (ip + mended, Drop(Reason::Truncated)), (END, Sent)],
        ),
        cut(format!("{f}: to another address, cut at every length"), &stranger, &[(ip, malformed), (END, not_service)]),
    ];
    for tags in [vec![super::world::INNER], vec![super::world::OUTER, super::world::INNER]] {
        let n = tags.len();
        let sent = f.to(f.stranger(), 80).tagged(&tags);
        let bounds = [(ip + 4 * n, malformed), (END, not_service)];
        cases.push(cut(format!("{f}: to another address with {n} tags, cut at every length"), &plain(sent), &bounds));
        let service = if n == 1 { port::TAGGED } else { port::QINQ };
        let row = f.row(service, 0);
        let sent = f.request(service).tagged(&tags);
        let whole = Whole { want: sent.at(row), sent, interface: LAN, row: Some(row) };
        cases.push(cut(
            format!("{f}: to a service with {n} tags, cut at every length"),
            &whole,
            &to_service(ip + 4 * n),
        ));
    }
    let change = |frame: Frame| {
        frame.with(|frame| {
            if f.v4 {
                frame.ip.options = vec![1; 12];
            } else {
                frame.ip.extensions = vec![(60, vec![0; 7]), (0, vec![0; 7])];
            }
        })
    };
    let whole = plain(change(f.request(port::DIRECT)));
    let fates = if f.v4 {
        vec![(ip, malformed), (ip + 12 + header, Drop(Reason::Truncated)), (END, Sent)]
    } else {
        let unreadable = Drop(Reason::Unreadable);
        vec![(ip, malformed), (ip + 10, unreadable), (ip + 16 + header, Drop(Reason::Truncated)), (END, Sent)]
    };
    cases.push(cut(format!("{f}: with options or extension headers, cut at every length"), &whole, &fates));
    cases
}
