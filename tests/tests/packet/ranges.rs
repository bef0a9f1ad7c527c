//! Listeners of a range of ports: all of its ports, and no other; one port that has an entry of its own comes first, and every port last. Under
//! translation ports are kept, both ways, and other ports of the server are not touched.

use fairway_tests::packet::{Frame, Ip, flag};
use lb_common::counters::Reason;

use super::build::{CLIENT_PORT, Change as _, to_client};
use super::check::{Case, case, check};
use super::fragments::parts;
use super::quotes::{WHOLE, error, too_big};
use super::world::{FLAVOURS, Flavour, LAN, WAN, client, port};

#[test]
fn a_range_has_all_of_its_ports_and_no_other() {
    check(cases());
}

pub fn cases() -> Vec<Case> {
    FLAVOURS.into_iter().flat_map(|f| plain(f).into_iter().chain(translated(f)).chain(errors(f))).collect()
}

const FIRST: u16 = port::RANGE.0;
const LAST: u16 = port::RANGE.1;

fn plain(f: Flavour) -> Vec<Case> {
    let [range, upper, exact] = [0, 1, 3].map(|backend| f.row(port::RANGES, backend));
    let all = |what: &str, to: std::net::IpAddr, ports: &[u16], row: u32| {
        ports.iter().fold(case(format!("{f}: {what}")), |case, port| {
            let packet = f.to(to, *port);
            case.forwards(&packet, &packet.at(row), row)
        })
    };
    let (wild, wild_exact) = (f.row(port::OTHERS, 1), f.row(port::OTHERS, 0));
    let opening = f.to(f.ranged(), FIRST + 7).flags(flag::SYN);
    let mut cases = vec![
        all("every port of a range is of its listener", f.ranged(), &[FIRST, FIRST + 1, 8050, LAST - 1, LAST], range),
        all("and so of the next one, up to the last port", f.ranged(), &[65_000, 65_001, 65_535], upper),
        all("a port beside ranges is of its own", f.ranged(), &[port::EXACT], exact),
        [0, 1, port::EXACT + 1, FIRST - 1, LAST + 1, 64_999]
            .into_iter()
            .fold(case(format!("{f}: ports that no range has are the host's")), |case, port| {
                case.passes(&f.to(f.ranged(), port), Reason::NotService)
            }),
        all("a range comes before every port", f.wild(), &[FIRST, 8050, LAST], range),
        all("every port is what ranges leave", f.wild(), &[0, 1, FIRST - 1, LAST + 1, 65_535], wild),
        all("one port comes before all", f.wild(), &[port::EXACT], wild_exact),
        case(format!("{f}: a packet from a port of a range is the host's")).passes(
            &opening.sourced(f.ranged(), FIRST).destined(f.client(client::NEAR), CLIENT_PORT),
            Reason::NotService,
        ),
    ];
    if f.tcp {
        cases.push(case(format!("{f}: a SYN to a port of a range is counted as a new connection")).opens(
            &opening,
            &opening.at(range),
            range,
        ));
    }
    cases
}

fn translated(f: Flavour) -> Vec<Case> {
    let row = f.row(port::RANGES, 2);
    let inside = |packet: &Frame, port: u16| packet.destined(f.backend(row), port).at(row);
    let mut keeps = case(format!("{f}: under translation each port of a range is kept"));
    let mut back = case(format!("{f}: a reply from a port of a range gets the service's address, and keeps its port"));
    for port in [FIRST, 8050, LAST] {
        let request = f.to(f.ranged_nat(), port);
        keeps = keeps.forwards(&request, &inside(&request, port), row);
        let reply = f.reply(row, port, client::NEAR);
        back = back.returns(&reply, &to_client(&reply.sourced(f.ranged_nat(), port)), WAN);
    }
    let mut others = case(format!("{f}: what a server sends from other ports is not touched"));
    for port in [0, 1, FIRST - 1, LAST + 1, 65_535] {
        others = others.passes(&f.reply(row, port, client::NEAR), Reason::NotService);
    }
    let request = f.to(f.ranged_nat(), 8050);
    let fragments =
        parts(&request).iter().fold(case(format!("{f}: fragments of a range are translated")), |case, part| {
            case.forwards(part, &inside(part, 8050), row)
        });
    let reply = f.reply(row, 8050, client::SAME_SIDE);
    let replies = parts(&reply).iter().fold(case(format!("{f}: fragments of its replies too")), |case, part| {
        case.returns(part, &part.sourced(f.ranged_nat(), 8050).sent_to(client::SAME_SIDE, LAN), LAN)
    });
    vec![keeps, back, others, fragments, replies]
}

fn errors(f: Flavour) -> Vec<Case> {
    let (direct, row) = (f.row(port::RANGES, 0), f.row(port::RANGES, 2));
    let near = f.client(client::NEAR);
    let from = |source| Ip::new(source, near, f.payload(8050, CLIENT_PORT));
    let to = |destination| Ip::new(near, destination, f.payload(CLIENT_PORT, 8050));
    let about = |ip: &Ip| error(f, too_big(f), ip, WHOLE);
    let plain = about(&from(f.ranged()));
    let (outside, inside) = (about(&from(f.ranged_nat())), about(&from(f.backend(row))));
    let (sent, asked) = (about(&to(f.backend(row))), about(&to(f.ranged_nat())));
    vec![
        case(format!("{f}: an error about a flow of a range goes to its backend")).forwards(
            &plain,
            &plain.at(direct),
            direct,
        ),
        case(format!("{f}: under translation its quote keeps the port")).forwards(&outside, &inside.at(row), row),
        case(format!("{f}: and so does that of one for the client")).returns(&sent, &to_client(&asked), WAN),
    ]
}
