//! QUIC: the backend that a packet's connection ID names, whatever address and port its client has by now.
//!
//! Servers choose the connection IDs that clients send to them, and write into them who they are, by the plain-text form of QUIC-LB
//! (draft-ietf-quic-load-balancers): an octet whose first three bits are a configuration ID, the server ID, and a nonce of at
//! least four octets. Where a connection ID lies is the same in every version of QUIC (RFC 8999): behind the first octet under a
//! short header, which does not tell its length; behind version and length under a long one.
//!
//! The first packets of a connection have a connection ID that the client has chosen, of random octets. Nothing tells these from a
//! server's but that they name a server only by chance: then the server gets the connection, and keeps it, since the client goes on with that
//! ID until it has one of the server's. What names no server that is alive goes by the lookup table, like a UDP packet of any
//! other service, all packets of a client's port alike. So does what is no QUIC at all.
//!
//! Other services pay nothing for this: it hangs on the test for a chooser, which they have not. The kernel runs it as a function of its
//! own ([`Tables::by_connection_id`]).

use super::stateful::BY_TABLE;
use super::{Step, Tables, is_alive};
use crate::abi::{ConnectionIds, ServerKey, Service};
use crate::address::Address;
use crate::packet::Packet;
use crate::packet::transport::UDP_HEADER;

/// Octets of a nonce, at least.
const NONCE: u32 = 4;
/// Octets of the longest connection ID that a server gives.
const LONGEST: u32 = 20;
/// The bit of the first octet that says that the header is a long one.
const LONG: u8 = 0x80;
/// Where a long header tells the length of the connection ID that follows.
const LENGTH: usize = 5;

/// What is asked of [`find`], as numbers: in the kernel it is a function of its own.
#[derive(Clone, Copy)]
pub struct Question {
    /// Where the UDP header starts.
    pub transport: usize,
    /// What the service says of connection IDs.
    pub ids: ConnectionIds,
    /// Its pool.
    pub pool: u32,
    /// The row of the pool's backend 0.
    pub first_row: u32,
}

/// By what a packet went.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum By {
    /// Its connection ID.
    ConnectionId,
    /// The lookup table, with a long header.
    TableAtBeginning,
    /// The lookup table, with a short header or none.
    Table,
}

/// The index of the backend that a packet's connection ID names; `None`: the lookup table says.
#[inline(always)]
pub fn backend<P: Packet, T: Tables>(
    packet: &P,
    tables: &T,
    service: &Service,
    ids: ConnectionIds,
    transport: usize,
) -> Option<u16> {
    let Service { pool, first_row, .. } = *service;
    let named = tables.by_connection_id(packet, Question { transport, ids, pool, first_row });
    let backend = if named == BY_TABLE { None } else { Some(named as u16) };
    tables.trace(Step::Named(backend));
    backend
}

/// The same as a number, or [`BY_TABLE`]. The packet is counted.
#[inline(always)]
pub fn find<P: Packet, T: Tables>(packet: &P, tables: &T, question: Question) -> u32 {
    let Question { ids, pool, first_row, .. } = question;
    let Some((id, is_long)) = named(packet, question) else {
        tables.count_quic(ids.place(), By::Table);
        return BY_TABLE;
    };
    let owner = id.and_then(|id| tables.server(&ServerKey { id, pool: pool as u64 }));
    if let Some(backend) = owner
        && tables.row(first_row.wrapping_add(backend)).is_some_and(is_alive)
    {
        tables.count_quic(ids.place(), By::ConnectionId);
        return backend;
    }
    tables.count_quic(ids.place(), if is_long { By::TableAtBeginning } else { By::Table });
    BY_TABLE
}

/// The server ID that a packet names, if it does, and whether its header is a long one; `None` if it has none at all.
#[inline(always)]
pub fn named<P: Packet>(packet: &P, question: Question) -> Option<(Option<Address>, bool)> {
    let transport = packet.forget(question.transport)?;
    let start = transport + UDP_HEADER;
    // Octets in pairs: the kernel's verifier cannot follow single ones.
    let [first, next]: [u8; 2] = packet.load(start)?;
    if first & LONG == 0 {
        return Some((short(packet, transport, start + 1, question.ids, next), false));
    }
    Some((long(packet, transport, start + LENGTH, question.ids), true))
}

/// Of a short header, whose connection ID is here and begins with this octet.
#[inline(always)]
fn short<P: Packet>(packet: &P, transport: usize, at: usize, ids: ConnectionIds, first: u8) -> Option<Address> {
    if ids.takes(first) { server_id(packet, transport, at + 1, ids.length()) } else { None }
}

/// Of a long header, whose connection ID's length is here.
#[inline(always)]
fn long<P: Packet>(packet: &P, transport: usize, at: usize, ids: ConnectionIds) -> Option<Address> {
    let [length, first]: [u8; 2] = packet.load(at)?;
    let (least, length) = (1 + ids.length() + NONCE, length as u32);
    if length >= least && length <= LONGEST && ids.takes(first) {
        server_id(packet, transport, at + 2, ids.length())
    } else {
        None
    }
}

/// So many octets from here on, if they are the datagram's and not only the frame's.
///
/// They are read eight at a time, although the datagram may end before: whatever follows them is so long in all that QUIC sends, nonce,
/// packet number and at least sixteen octets that are encrypted. What is shorter has no server ID.
#[inline(always)]
fn server_id<P: Packet>(packet: &P, transport: usize, at: usize, length: u32) -> Option<Address> {
    let [_, _, datagram, _]: [u16; UDP_HEADER / 2] = packet.load(transport)?;
    let least = at - transport + (length + NONCE) as usize;
    if (u16::from_be(datagram) as usize) < least {
        return None;
    }
    let high = packet.load(at)?;
    let low = if length > 8 { packet.load(at + 8)? } else { 0 };
    Some(Address { high, low }.prefix((8 * length) as u8))
}
