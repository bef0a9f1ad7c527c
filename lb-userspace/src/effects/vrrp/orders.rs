//! Orders to the kernel: addresses, routes and rules, there or away.
//!
//! One socket of the thread's own. The kernel carries out what is sent to it within the system call, so when `send`
//! returns all answers lie in the socket's queue: they are read without waiting. What holds the routing lock elsewhere
//! holds the call up, too, which is why [`super::clerk`] makes it.

use std::collections::VecDeque;
use std::io;
use std::net::IpAddr;

use ipnet::IpNet;
use rtnetlink::packet_core::{
    NLM_F_ACK, NLM_F_CREATE, NLM_F_EXCL, NLM_F_REQUEST, NetlinkBuffer, NetlinkMessage, NetlinkPayload,
};
use rtnetlink::packet_route::address::{AddressAttribute, AddressFlags, AddressMessage};
use rtnetlink::packet_route::route::{RouteAttribute, RouteMessage, RouteProtocol, RouteScope, RouteType, RouteVia};
use rtnetlink::packet_route::rule::{RuleAction, RuleAttribute, RuleMessage};
use rtnetlink::packet_route::{AddressFamily, RouteNetlinkMessage};
use rtnetlink::sys::Socket;
use rtnetlink::sys::protocols::NETLINK_ROUTE;

use crate::config::{VirtualRoute, VirtualRule};

/// Routes and rules bear it (`ip route` shows `proto 112`), and only those that do are taken away.
const ROUTE_PROTOCOL: RouteProtocol = RouteProtocol::Other(112);
/// Orders sent at a time: their answers fit the smallest receive buffer a socket is given.
const BATCH: usize = 64;
/// Larger than any answer: it quotes the order.
const ANSWER_OCTETS: usize = 16 << 10;
/// The table number where it does not fit its octet.
const TABLE_COMPAT: u8 = 252;

/// Something to be carried out.
#[derive(Clone, Debug)]
pub struct Order {
    /// In words, should it fail: `add 203.0.113.10/32`.
    pub what: String,
    /// The address that is held by it, and the index of its interface.
    pub adds: Option<(u32, IpAddr)>,
    message: RouteNetlinkMessage,
    flags: u16,
    /// Refusals that mean that there was nothing to do.
    harmless: &'static [i32],
}

/// An order that the kernel did not carry out.
#[derive(Debug)]
pub struct Refused {
    /// Which, in words.
    pub what: String,
    /// Why.
    pub error: io::Error,
}

/// The socket.
pub struct Kernel {
    socket: Socket,
    sequence: u32,
    answers: Vec<u8>,
}

impl Kernel {
    /// Opens the socket, in the calling thread's network namespace.
    ///
    /// # Errors
    /// When there is no netlink.
    pub fn connect() -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        socket.bind_auto()?;
        socket.set_non_blocking(true)?;
        // Answers quote the header of the order only, so that many fit.
        socket.set_cap_ack(true)?;
        Ok(Self { socket, sequence: 0, answers: Vec::with_capacity(ANSWER_OCTETS) })
    }

    /// Carries out orders one after the other; returns those that failed.
    pub fn carry_out(&mut self, orders: &[Order]) -> Vec<Refused> {
        orders.chunks(BATCH).flat_map(|batch| self.carry_out_batch(batch)).collect()
    }

    fn carry_out_batch(&mut self, batch: &[Order]) -> Vec<Refused> {
        let first = self.sequence.wrapping_add(1);
        self.sequence = self.sequence.wrapping_add(u32::try_from(batch.len()).expect("a batch is small"));
        let mut octets = Vec::new();
        for (order, sequence) in batch.iter().zip(first..) {
            serialize(order, sequence, &mut octets);
        }
        if let Err(error) = self.socket.send(&octets, 0) {
            return batch.iter().map(|order| refused(order, again(&error))).collect();
        }
        self.failures(batch, first)
    }

    fn failures(&mut self, batch: &[Order], first: u32) -> Vec<Refused> {
        let mut open: VecDeque<usize> = (0..batch.len()).collect();
        let mut failed = Vec::new();
        while !open.is_empty() {
            self.answers.clear();
            if let Err(error) = self.socket.recv(&mut self.answers, 0) {
                // Answers were lost: whether it was done is not known, and is seen by the watch.
                failed.extend(open.iter().map(|index| refused(&batch[*index], again(&error))));
                break;
            }
            for (sequence, code) in answers(&self.answers) {
                let index = sequence.wrapping_sub(first) as usize;
                open.retain(|other| *other != index);
                let Some(order) = batch.get(index) else { continue };
                if code != 0 && !order.harmless.contains(&-code) {
                    failed.push(refused(order, io::Error::from_raw_os_error(-code)));
                }
            }
        }
        failed
    }
}

/// Holds an address: no route to its prefix, no duplicate address detection.
pub fn add_address(interface: u32, address: IpNet) -> Order {
    Order {
        what: format!("add {address}"),
        adds: Some((interface, address.addr())),
        message: RouteNetlinkMessage::NewAddress(address_message(interface, address)),
        flags: NLM_F_CREATE | NLM_F_EXCL,
        harmless: &[libc::EEXIST],
    }
}

/// Holds it no longer.
pub fn remove_address(interface: u32, address: IpNet) -> Order {
    Order {
        what: format!("remove {address}"),
        adds: None,
        message: RouteNetlinkMessage::DelAddress(address_message(interface, address)),
        flags: 0,
        harmless: &[libc::EADDRNOTAVAIL, libc::ENODEV],
    }
}

/// A route of ours, there or away. Should one of an earlier run be there, it makes room; one of somebody else's does not.
pub fn route(interface: u32, route: &VirtualRoute, present: bool) -> Vec<Order> {
    let message = route_message(interface, route);
    let away = Order {
        what: format!("remove the route to {}", route.destination),
        adds: None,
        message: RouteNetlinkMessage::DelRoute(message.clone()),
        flags: 0,
        harmless: &[libc::ESRCH, libc::ENODEV, libc::ENETUNREACH],
    };
    let there = Order {
        what: format!("add the route to {}", route.destination),
        adds: None,
        message: RouteNetlinkMessage::NewRoute(message),
        flags: NLM_F_CREATE | NLM_F_EXCL,
        harmless: &[],
    };
    if present { vec![away, there] } else { vec![away] }
}

/// A policy rule of ours, there or away.
pub fn rule(rule: &VirtualRule, present: bool) -> Order {
    let prefix = |prefix: Option<IpNet>| prefix.map_or_else(|| "all".to_owned(), |prefix| prefix.to_string());
    let name = format!("the rule from {} to {} table {}", prefix(rule.from), prefix(rule.to), rule.table);
    let message = rule_message(rule);
    if present {
        Order {
            what: format!("add {name}"),
            adds: None,
            message: RouteNetlinkMessage::NewRule(message),
            flags: NLM_F_CREATE | NLM_F_EXCL,
            harmless: &[libc::EEXIST],
        }
    } else {
        Order {
            what: format!("remove {name}"),
            adds: None,
            message: RouteNetlinkMessage::DelRule(message),
            flags: 0,
            harmless: &[libc::ENOENT],
        }
    }
}

fn address_message(interface: u32, address: IpNet) -> AddressMessage {
    let mut message = AddressMessage::default();
    message.header.family = family(address.addr());
    message.header.prefix_len = address.prefix_len();
    message.header.index = interface;
    message.attributes.push(AddressAttribute::Local(address.addr()));
    message.attributes.push(AddressAttribute::Address(address.addr()));
    message.attributes.push(AddressAttribute::Flags(AddressFlags::Noprefixroute | AddressFlags::Nodad));
    message
}

fn route_message(interface: u32, route: &VirtualRoute) -> RouteMessage {
    let mut message = RouteMessage::default();
    message.header.address_family = family(route.destination.addr());
    message.header.destination_prefix_length = route.destination.prefix_len();
    message.header.protocol = ROUTE_PROTOCOL;
    message.header.kind = RouteType::Unicast;
    message.header.scope = if route.via.is_some() { RouteScope::Universe } else { RouteScope::Link };
    message.header.table = u8::try_from(route.table).unwrap_or(TABLE_COMPAT);
    let attributes = &mut message.attributes;
    attributes.push(RouteAttribute::Table(route.table));
    attributes.push(RouteAttribute::Destination(route.destination.network().into()));
    attributes.push(RouteAttribute::Oif(interface));
    attributes.extend(route.via.map(|via| next_hop(route.destination.addr(), via)));
    attributes.extend(route.source.map(|source| RouteAttribute::PrefSource(source.into())));
    attributes.extend(route.metric.map(RouteAttribute::Priority));
    message
}

/// A next hop of the other family has an attribute of its own (RFC 5549 routes).
fn next_hop(destination: IpAddr, via: IpAddr) -> RouteAttribute {
    match (destination, via) {
        (IpAddr::V4(_), IpAddr::V6(via)) => RouteAttribute::Via(RouteVia::Inet6(via)),
        _ => RouteAttribute::Gateway(via.into()),
    }
}

fn rule_message(rule: &VirtualRule) -> RuleMessage {
    let mut message = RuleMessage::default();
    let of = rule.from.or(rule.to).map(|prefix| prefix.addr());
    message.header.family = of.map_or(AddressFamily::Inet, family);
    message.header.action = RuleAction::ToTable;
    message.header.table = u8::try_from(rule.table).unwrap_or(TABLE_COMPAT);
    let attributes = &mut message.attributes;
    attributes.push(RuleAttribute::Table(rule.table));
    attributes.push(RuleAttribute::Protocol(ROUTE_PROTOCOL));
    attributes.extend(rule.priority.map(RuleAttribute::Priority));
    if let Some(from) = rule.from {
        message.header.src_len = from.prefix_len();
        attributes.push(RuleAttribute::Source(from.network()));
    }
    if let Some(to) = rule.to {
        message.header.dst_len = to.prefix_len();
        attributes.push(RuleAttribute::Destination(to.network()));
    }
    message
}

fn family(address: IpAddr) -> AddressFamily {
    match address {
        IpAddr::V4(_) => AddressFamily::Inet,
        IpAddr::V6(_) => AddressFamily::Inet6,
    }
}

fn serialize(order: &Order, sequence: u32, octets: &mut Vec<u8>) {
    let mut message = NetlinkMessage::from(order.message.clone());
    message.header.flags = NLM_F_REQUEST | NLM_F_ACK | order.flags;
    message.header.sequence_number = sequence;
    message.finalize();
    let start = octets.len();
    octets.resize(start + message.buffer_len().next_multiple_of(4), 0);
    message.serialize(&mut octets[start..]);
}

/// Sequence number and code of each answer in a datagram; 0: done.
fn answers(mut datagram: &[u8]) -> Vec<(u32, i32)> {
    let mut found = Vec::new();
    while let Ok(header) = NetlinkBuffer::new_checked(datagram) {
        let (length, sequence) = (header.length() as usize, header.sequence_number());
        let message = NetlinkMessage::<RouteNetlinkMessage>::deserialize(&datagram[..length]);
        if let Ok(NetlinkMessage { payload: NetlinkPayload::Error(error), .. }) = message {
            found.push((sequence, error.raw_code()));
        }
        datagram = datagram.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    found
}

fn refused(order: &Order, error: io::Error) -> Refused {
    Refused { what: order.what.clone(), error }
}

/// The same error once more: each order that it concerns needs one.
fn again(error: &io::Error) -> io::Error {
    error.raw_os_error().map_or_else(|| error.kind().into(), io::Error::from_raw_os_error)
}
