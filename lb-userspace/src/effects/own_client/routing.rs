//! Policy rules and routes, as the kernel lists and takes them.

use std::io;
use std::net::IpAddr;

use anyhow::Context as _;
use rtnetlink::packet_core::{NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE};
use rtnetlink::packet_route::route::{
    RouteAddress, RouteAttribute, RouteMessage, RouteMetric, RouteProtocol, RouteScope, RouteType,
};
use rtnetlink::packet_route::rule::{RuleAction, RuleAttribute, RuleFlags, RuleMessage};
use rtnetlink::packet_route::{AddressFamily, RouteNetlinkMessage};

use crate::effects::netlink::order::{list, order};
use crate::own_client::routes::{self, Route, Way};
use crate::own_client::rules::{self, Rule, Whom};
use crate::own_client::{PROTOCOL, TABLE};

/// The name by which rules know what this host's own sockets send.
const LOOPBACK: &str = "lo";
/// No prefix length, no group: that a rule suppresses nothing.
const NOTHING: u32 = u32::MAX;

/// The rules of a family; none in a kernel without it.
pub fn rules(is_ipv4: bool) -> io::Result<Vec<Rule>> {
    let mut question = RuleMessage::default();
    question.header.family = family(is_ipv4);
    let of_family = |message: &RouteNetlinkMessage| match message {
        RouteNetlinkMessage::NewRule(message) if message.header.family == family(is_ipv4) => Some(rule(message)),
        _ => None,
    };
    Ok(known(list(RouteNetlinkMessage::GetRule(question)))?.iter().filter_map(of_family).collect())
}

/// Carries out a step.
pub fn change_rule(is_ipv4: bool, step: rules::Step) -> anyhow::Result<()> {
    let (what, result) = match step {
        rules::Step::Add(rule) => {
            let message = RouteNetlinkMessage::NewRule(rule_message(is_ipv4, &rule));
            (format!("adding the rule {rule}"), order(message, NLM_F_CREATE | NLM_F_EXCL))
        }
        rules::Step::Remove(rule) => {
            let message = RouteNetlinkMessage::DelRule(rule_message(is_ipv4, &rule));
            (format!("removing the rule {rule}"), order(message, 0))
        }
    };
    tracing::info!(is_ipv4, "{what}");
    result.context(what)
}

/// The routes of a family in our table; none in a kernel without it.
pub fn routes(is_ipv4: bool) -> io::Result<Vec<Route>> {
    let mut question = RouteMessage::default();
    question.header.address_family = family(is_ipv4);
    question.attributes.push(RouteAttribute::Table(TABLE));
    let of_table = |message: &RouteNetlinkMessage| match message {
        RouteNetlinkMessage::NewRoute(message) => route(message),
        _ => None,
    };
    Ok(known(list(RouteNetlinkMessage::GetRoute(question)))?.iter().filter_map(of_table).collect())
}

/// Carries out a step.
pub fn change_route(step: routes::Step) -> anyhow::Result<()> {
    let (what, result) = match step {
        routes::Step::Put(route) => {
            let message = RouteNetlinkMessage::NewRoute(route_message(&route));
            (format!("routing {} to the pair", route.destination), order(message, NLM_F_CREATE | NLM_F_REPLACE))
        }
        routes::Step::Remove(route) => {
            let result = order(RouteNetlinkMessage::DelRoute(route_message(&route)), 0);
            // The kernel may have been first: with the interface, or the source address, its routes go.
            let result = if is(&result, libc::ESRCH) { Ok(()) } else { result };
            (format!("routing {} to the pair no more", route.destination), result)
        }
    };
    tracing::debug!("{what}");
    result.context(what)
}

/// What a kernel without the family lists, and a table that nobody has put anything into.
fn known(listed: io::Result<Vec<RouteNetlinkMessage>>) -> io::Result<Vec<RouteNetlinkMessage>> {
    let nothing = [libc::ENOENT, libc::EAFNOSUPPORT, libc::EOPNOTSUPP];
    if nothing.iter().any(|code| is(&listed, *code)) { Ok(Vec::new()) } else { listed }
}

fn is<T>(result: &io::Result<T>, code: i32) -> bool {
    result.as_ref().is_err_and(|error| error.raw_os_error() == Some(code))
}

fn family(is_ipv4: bool) -> AddressFamily {
    if is_ipv4 { AddressFamily::Inet } else { AddressFamily::Inet6 }
}

fn rule(message: &RuleMessage) -> Rule {
    let header = &message.header;
    let mut rule = Rule { priority: 0, whom: Whom::All, table: header.table.into(), protocol: 0 };
    let is_narrow = header.src_len != 0 || header.dst_len != 0 || header.tos != 0;
    if is_narrow || header.flags.contains(RuleFlags::Invert) {
        rule.whom = Whom::Others;
    }
    if header.action != RuleAction::ToTable {
        rule.table = 0;
    }
    for attribute in &message.attributes {
        match attribute {
            RuleAttribute::Priority(priority) => rule.priority = *priority,
            RuleAttribute::Table(table) if header.action == RuleAction::ToTable => rule.table = *table,
            RuleAttribute::Protocol(protocol) => rule.protocol = u8::from(*protocol),
            RuleAttribute::Iifname(name) if name == LOOPBACK && rule.whom == Whom::All => rule.whom = Whom::Own,
            RuleAttribute::Table(_)
            | RuleAttribute::SuppressPrefixLen(NOTHING)
            | RuleAttribute::SuppressIfGroup(NOTHING) => {}
            _ => rule.whom = Whom::Others,
        }
    }
    rule
}

fn rule_message(is_ipv4: bool, rule: &Rule) -> RuleMessage {
    let mut message = RuleMessage::default();
    message.header.family = family(is_ipv4);
    message.header.action = RuleAction::ToTable;
    message.header.table = u8::try_from(rule.table).expect("the tables of our rules have small numbers");
    let attributes = &mut message.attributes;
    attributes.push(RuleAttribute::Table(rule.table));
    attributes.push(RuleAttribute::Priority(rule.priority));
    attributes.push(RuleAttribute::Protocol(RouteProtocol::from(rule.protocol)));
    attributes.extend((rule.whom == Whom::Own).then(|| RuleAttribute::Iifname(LOOPBACK.to_owned())));
    message
}

fn route(message: &RouteMessage) -> Option<Route> {
    let mut way = Way { interface: 0, source: None, mtu: 0 };
    let (mut destination, mut table) = (None, u32::from(message.header.table));
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::Destination(address) => destination = ip(address),
            RouteAttribute::PrefSource(address) => way.source = ip(address),
            RouteAttribute::Oif(interface) => way.interface = *interface,
            RouteAttribute::Table(number) => table = *number,
            RouteAttribute::Metrics(metrics) => {
                let mtu = metrics
                    .iter()
                    .find_map(|metric| if let RouteMetric::Mtu(mtu) = metric { Some(*mtu) } else { None });
                way.mtu = mtu.unwrap_or(0);
            }
            _ => {}
        }
    }
    let destination = destination.filter(|to: &IpAddr| message.header.destination_prefix_length == whole(to))?;
    (table == TABLE).then_some(Route { destination, way, protocol: u8::from(message.header.protocol) })
}

fn route_message(route: &Route) -> RouteMessage {
    let Route { destination, way, .. } = *route;
    let mut message = RouteMessage::default();
    message.header.address_family = family(destination.is_ipv4());
    message.header.destination_prefix_length = whole(&destination);
    message.header.protocol = RouteProtocol::from(PROTOCOL);
    message.header.kind = RouteType::Unicast;
    message.header.scope = RouteScope::Link;
    message.header.table = u8::try_from(TABLE).expect("a small number");
    let attributes = &mut message.attributes;
    attributes.push(RouteAttribute::Table(TABLE));
    attributes.push(RouteAttribute::Destination(destination.into()));
    attributes.push(RouteAttribute::Oif(way.interface));
    attributes.extend(way.source.map(|source| RouteAttribute::PrefSource(source.into())));
    attributes.push(RouteAttribute::Metrics(vec![RouteMetric::Mtu(way.mtu)]));
    message
}

fn ip(address: &RouteAddress) -> Option<IpAddr> {
    match address {
        RouteAddress::Inet(address) => Some((*address).into()),
        RouteAddress::Inet6(address) => Some((*address).into()),
        _ => None,
    }
}

fn whole(address: &IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}
