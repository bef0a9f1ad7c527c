//! Which clients may come to a service, and how often: prefixes decide about every packet, limits about new connections.

use fairway_tests::packet::{Frame, Ip, flag};
use lb_common::abi::connection_state::{DATAGRAMS, SYN_RECEIVED};
use lb_common::counters::Reason;

use super::build::{CLIENT_PORT, Change as _};
use super::check::{Case, case, check};
use super::fragments::part;
use super::quotes;
use super::state::Seed;
use super::world::{FLAVOURS, Flavour, WAN, client, port};

#[test]
fn clients_come_only_where_they_may_and_as_often_as_they_may() {
    check(cases());
}

pub fn cases() -> Vec<Case> {
    let (tcp, udp): (Vec<_>, Vec<_>) = FLAVOURS.into_iter().partition(|f| f.tcp);
    let both = FLAVOURS.into_iter().flat_map(|f| prefixes(f).into_iter().chain(fragments(f)).chain(errors(f)));
    both.chain(tcp.into_iter().flat_map(limits)).chain(udp.into_iter().flat_map(datagrams)).collect()
}

/// A packet of a client, in the middle of a connection.
fn of(f: Flavour, service: u16, n: u8) -> Frame {
    f.request(service).sourced(f.client(n), CLIENT_PORT)
}

fn prefixes(f: Flavour) -> Vec<Case> {
    let (allows, denies) = (f.row(port::ALLOWS, 0), f.row(port::DENIES, 0));
    let translated = |packet: &Frame| packet.destined(f.backend(denies), port::BACKEND).at(denies);
    let stranger = |service| f.request(service).sourced(f.excluded_client(), CLIENT_PORT);
    let (near, far) = (of(f, port::ALLOWS, client::NEAR), of(f, port::DENIES, client::FAR));
    let reply = f.reply(denies, port::BACKEND, client::NEAR);
    vec![
        case(format!("{f}: a client in an allowed network may come")).forwards(&near, &near.at(allows), allows),
        case(format!("{f}: one in a denied part of it may not"))
            .drops(&of(f, port::ALLOWS, client::SAME_SIDE), Reason::Denied)
            .drops(&of(f, port::ALLOWS, client::SAME_SIDE).flags(flag::SYN), Reason::Denied),
        case(format!("{f}: where some are allowed, others are denied")).drops(&stranger(port::ALLOWS), Reason::Denied),
        case(format!("{f}: a client in a denied network may not come"))
            .drops(&of(f, port::DENIES, client::NEAR), Reason::Denied),
        case(format!("{f}: one in an allowed part of it may")).forwards(&far, &translated(&far), denies),
        case(format!("{f}: where some are denied, others are allowed")).forwards(
            &stranger(port::DENIES),
            &translated(&stranger(port::DENIES)),
            denies,
        ),
        case(format!("{f}: a denied client's packet is dropped whatever its tags and time to live"))
            .drops(&of(f, port::DENIES, client::NEAR).tagged(&[(0x8100, 9)]).ttl(1), Reason::Denied),
        case(format!("{f}: replies to a denied client are translated, as those to others")).returns(
            &reply,
            &reply.sourced(f.vip(), port::DENIES).sent_to(client::NEAR, WAN),
            WAN,
        ),
        case(format!("{f}: no rule of one service is another's")).forwards(
            &stranger(port::DIRECT),
            &stranger(port::DIRECT).at(f.row(port::DIRECT, 0)),
            f.row(port::DIRECT, 0),
        ),
    ]
}

fn fragments(f: Flavour) -> Vec<Case> {
    let part = |n, start, end, more| part(&of(f, port::ALLOWS, n), start, end, more);
    let row = f.row(port::ALLOWS, 0);
    let end = if f.tcp { 69 } else { 57 };
    let (first, last) = (part(client::NEAR, 0, 32, true), part(client::NEAR, 32, end, false));
    let (denied, rest) = (part(client::SAME_SIDE, 0, 32, true), part(client::SAME_SIDE, 32, end, false));
    vec![
        case(format!("{f}: the fragments of a client that may come go where the first goes"))
            .forwards(&first, &first.at(row), row)
            .forwards(&last, &last.at(row), row),
        case(format!("{f}: the fragments of one that may not are dropped, and none is remembered"))
            .drops(&denied, Reason::Denied)
            .drops(&rest, Reason::UnknownFragment),
    ]
}

fn errors(f: Flavour) -> Vec<Case> {
    let allows = f.row(port::ALLOWS, 0);
    let about = |service: u16, n: u8| {
        let answer = Ip::new(f.vip(), f.client(n), f.payload(service, CLIENT_PORT));
        quotes::error(f, quotes::too_big(f), &answer, quotes::WHOLE)
    };
    let near = about(port::ALLOWS, client::NEAR);
    vec![
        case(format!("{f}: an error about a flow of a client that may come goes to its backend")).forwards(
            &near,
            &near.at(allows),
            allows,
        ),
        case(format!("{f}: one about a flow of a client that may not is dropped"))
            .drops(&about(port::ALLOWS, client::SAME_SIDE), Reason::Denied)
            .drops(&about(port::DENIES, client::NEAR), Reason::Denied),
        case(format!("{f}: an error begins no connection, whatever the limit")).forwards(
            &about(port::LIMITED, client::NEAR),
            &about(port::LIMITED, client::NEAR).at(f.row(port::LIMITED, 0)),
            f.row(port::LIMITED, 0),
        ),
    ]
}

fn limits(f: Flavour) -> Vec<Case> {
    let from = |service, n, at| of(f, service, n).sourced(f.client(n), CLIENT_PORT + at);
    let opens = |case: Case, service: u16, packet: &Frame| {
        let row = f.row(service, 0);
        case.opens(packet, &packet.at(row), row)
    };
    let syn = |service, n, at| from(service, n, at).flags(flag::SYN);
    let stranger = |service: u16| f.request(service).sourced(f.excluded_client(), CLIENT_PORT).flags(flag::SYN);
    let data = from(port::LIMITED, client::NEAR, 0);
    let row = f.row(port::LIMITED, 0);
    let all = opens(
        opens(
            case(format!("{f}: as many connections begin as the service lets in, and those that have begun go on")),
            port::LIMITED,
            &syn(port::LIMITED, client::NEAR, 0),
        ),
        port::LIMITED,
        &syn(port::LIMITED, client::FAR, 0),
    );
    let each = opens(
        opens(
            case(format!("{f}: a network of clients begins as many as it may, and another still may")),
            port::CLIENT_LIMITED,
            &syn(port::CLIENT_LIMITED, client::NEAR, 0),
        ),
        port::CLIENT_LIMITED,
        &syn(port::CLIENT_LIMITED, client::FAR, 0),
    );
    let each = each.drops(&syn(port::CLIENT_LIMITED, client::NEAR, 1), Reason::ClientRate);
    let turns = port::LIMITED_TURNS;
    let kept = |backend: u16| (f.row(turns, 0), backend, SYN_RECEIVED);
    let at = |backend: u16| f.row(turns, backend);
    let refused_by_own = case(format!("{f}: what a client has too many of does not use up what there is for all"))
        .opens(&syn(turns, client::NEAR, 0), &syn(turns, client::NEAR, 0).at(at(0)), at(0))
        .opens(&syn(turns, client::NEAR, 1), &syn(turns, client::NEAR, 1).at(at(1)), at(1))
        .drops(&syn(turns, client::NEAR, 2), Reason::ClientRate)
        .drops(&syn(turns, client::NEAR, 3), Reason::ClientRate)
        .opens(&stranger(turns), &stranger(turns).at(at(3)), at(3))
        .drops(&stranger(turns), Reason::ServiceRate)
        .keeps([kept(0), kept(1), kept(3)]);
    vec![
        all.drops(&syn(port::LIMITED, client::NEAR, 1), Reason::ServiceRate)
            .drops(&stranger(port::LIMITED), Reason::ServiceRate)
            .forwards(&data, &data.at(row), row)
            .forwards(&data.flags(flag::FIN | flag::ACK), &data.flags(flag::FIN | flag::ACK).at(row), row)
            .forwards(&data.flags(flag::RST), &data.flags(flag::RST).at(row), row),
        opens(each, port::CLIENT_LIMITED, &stranger(port::CLIENT_LIMITED)),
        refused_by_own,
    ]
}

/// Of UDP the record tells what is new.
fn datagrams(f: Flavour) -> Vec<Case> {
    let service = port::LIMITED_TURNS;
    let from = |at| of(f, service, client::NEAR).sourced(f.client(client::NEAR), CLIENT_PORT + at);
    let at = |backend: u16| f.row(service, backend);
    let kept = |backend: u16| (f.row(service, 0), backend, DATAGRAMS);
    let known = |age| Seed { pool: f.row(service, 0), backend: 3, state: DATAGRAMS, age };
    let stateless = f.request(port::LIMITED);
    let many = case(format!("{f}: without records nothing is known to be new"));
    let many = (0..4).fold(many, |case, _| {
        case.forwards(&stateless, &stateless.at(f.row(port::LIMITED, 0)), f.row(port::LIMITED, 0))
    });
    vec![
        case(format!("{f}: flows begin as many as may, and those that have begun go on"))
            .forwards(&from(0), &from(0).at(at(0)), at(0))
            .forwards(&from(1), &from(1).at(at(1)), at(1))
            .drops(&from(2), Reason::ClientRate)
            .forwards(&from(0), &from(0).at(at(0)), at(0))
            .forwards(&from(1), &from(1).at(at(1)), at(1))
            .keeps([kept(0), kept(1)]),
        case(format!("{f}: a flow that is known takes no token"))
            .connected(f.flow(service), known(0), f.load(service, 3))
            .forwards(&from(0), &from(0).at(at(3)), at(3))
            .forwards(&from(1), &from(1).at(at(0)), at(0))
            .forwards(&from(2), &from(2).at(at(1)), at(1))
            .drops(&from(3), Reason::ClientRate),
        many,
    ]
}
