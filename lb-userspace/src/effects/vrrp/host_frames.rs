//! Makes the host's own stack take frames that are addressed to a virtual MAC address.
//!
//! The kernel marks a frame for another MAC address than the interface's as somebody else's, and the IP layer drops it,
//! although the network card's filter let it in. A rule at the interface's ingress hook of nf_tables puts the mark right:
//! `ether daddr 00:00:5e:00:01:33 meta pkttype set host`. It needs CAP_NET_ADMIN and no BPF, and XDP programs before it
//! see the frame as it came. The table is owned by our socket: the kernel removes it when we end, however we end.

use std::collections::BTreeMap;
use std::io;

use rtnetlink::sys::Socket;

use super::frames::Mac;

const NETLINK_NETFILTER: isize = 12;
const SUBSYSTEM: u16 = 10;
const BATCH_BEGIN: u16 = 0x10;
const BATCH_END: u16 = 0x11;
const NEW_TABLE: u16 = SUBSYSTEM << 8;
const DELETE_TABLE: u16 = SUBSYSTEM << 8 | 2;
const NEW_CHAIN: u16 = SUBSYSTEM << 8 | 3;
const NEW_RULE: u16 = SUBSYSTEM << 8 | 6;

const REQUEST: u16 = 0x1;
const ACKNOWLEDGE: u16 = 0x4;
const CREATE: u16 = 0x400;
const APPEND: u16 = 0x800;

const FAMILY_NETDEV: u8 = 5;
const TABLE_OWNED: u32 = 0x2;
const NESTED: u16 = 0x8000;
const REGISTER: u32 = 1;
const META_PKTTYPE: u32 = 19;
const PACKET_HOST: u8 = 0;
const HOOK_INGRESS: u32 = 0;
/// Before other chains: what they look at should look as on any other interface.
const HOOK_PRIORITY: i32 = -500;
const POLICY_ACCEPT: u32 = 1;
const NETLINK_HEADER: usize = 16;
/// Where the error number lies in an answer, and its type.
const TYPE_ERROR: u16 = 2;

/// The table.
pub struct HostFrames {
    socket: Socket,
    table: String,
    exists: bool,
}

impl HostFrames {
    /// Opens the socket that will own the table.
    ///
    /// # Errors
    /// When the kernel has no nf_tables.
    pub fn open() -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_NETFILTER)?;
        socket.bind_auto()?;
        socket.set_non_blocking(true)?;
        Ok(Self { socket, table: format!("fairway-vrrp-{}", std::process::id()), exists: false })
    }

    /// Takes frames for these MAC addresses by these interfaces, and no others: in one transaction.
    ///
    /// # Errors
    /// The kernel's; then it is as it was.
    pub fn set(&mut self, wanted: &BTreeMap<&str, Vec<Mac>>) -> io::Result<()> {
        let mut batch = Batch::default();
        if self.exists {
            batch.message(DELETE_TABLE, 0, |body| text(body, 1, &self.table));
        }
        if !wanted.is_empty() {
            batch.message(NEW_TABLE, CREATE, |body| {
                text(body, 1, &self.table);
                number(body, 2, TABLE_OWNED);
            });
        }
        for (interface, macs) in wanted {
            batch.message(NEW_CHAIN, CREATE, |body| self.chain(body, interface));
            for mac in macs {
                batch.message(NEW_RULE, CREATE | APPEND, |body| self.rule(body, interface, *mac));
            }
        }
        if batch.messages == 0 {
            return Ok(());
        }
        self.socket.send(&batch.finish(), 0)?;
        self.answers()?;
        self.exists = !wanted.is_empty();
        Ok(())
    }

    fn chain(&self, body: &mut Vec<u8>, interface: &str) {
        text(body, 1, &self.table);
        text(body, 3, interface);
        nested(body, 4, |hook| {
            number(hook, 1, HOOK_INGRESS);
            number(hook, 2, HOOK_PRIORITY.cast_unsigned());
            text(hook, 3, interface);
        });
        number(body, 5, POLICY_ACCEPT);
        text(body, 7, "filter");
    }

    fn rule(&self, body: &mut Vec<u8>, interface: &str, mac: Mac) {
        text(body, 1, &self.table);
        text(body, 2, interface);
        nested(body, 4, |list| {
            expression(list, "payload", |data| {
                number(data, 1, REGISTER);
                number(data, 2, 0); // from the link-layer header
                number(data, 3, 0); // at its beginning: the destination
                number(data, 4, 6);
            });
            expression(list, "cmp", |data| {
                number(data, 1, REGISTER);
                number(data, 2, 0); // equal
                nested(data, 3, |value| attribute(value, 1, &mac));
            });
            expression(list, "immediate", |data| {
                number(data, 1, REGISTER);
                nested(data, 2, |value| attribute(value, 1, &[PACKET_HOST]));
            });
            expression(list, "meta", |data| {
                number(data, 2, META_PKTTYPE);
                number(data, 3, REGISTER);
            });
        });
    }

    /// The first error among the answers, all of which are there when `send` returns.
    fn answers(&self) -> io::Result<()> {
        let mut failure = None;
        let mut datagram = Vec::with_capacity(32 << 10);
        loop {
            datagram.clear();
            match self.socket.recv(&mut datagram, 0) {
                Ok(_) => failure = failure.or(first_error(&datagram)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return failure.map_or(Ok(()), Err),
                Err(error) => return Err(error),
            }
        }
    }
}

/// Messages that take effect together.
struct Batch {
    octets: Vec<u8>,
    messages: u32,
}

impl Default for Batch {
    fn default() -> Self {
        let mut batch = Self { octets: Vec::new(), messages: 0 };
        batch.raw(BATCH_BEGIN, REQUEST, 0, SUBSYSTEM, |_| {});
        batch
    }
}

impl Batch {
    fn message(&mut self, kind: u16, flags: u16, fill: impl FnOnce(&mut Vec<u8>)) {
        self.messages += 1;
        self.raw(kind, REQUEST | ACKNOWLEDGE | flags, FAMILY_NETDEV, 0, fill);
    }

    fn finish(mut self) -> Vec<u8> {
        self.raw(BATCH_END, REQUEST, 0, SUBSYSTEM, |_| {});
        self.octets
    }

    fn raw(&mut self, kind: u16, flags: u16, family: u8, resource: u16, fill: impl FnOnce(&mut Vec<u8>)) {
        let start = self.octets.len();
        self.octets.extend([0; 4]);
        self.octets.extend(kind.to_ne_bytes());
        self.octets.extend(flags.to_ne_bytes());
        self.octets.extend(self.messages.to_ne_bytes());
        self.octets.extend([0; 4]);
        self.octets.extend([family, 0]);
        self.octets.extend(resource.to_be_bytes());
        fill(&mut self.octets);
        let length = u32::try_from(self.octets.len() - start).expect("a message is small");
        self.octets[start..start + 4].copy_from_slice(&length.to_ne_bytes());
    }
}

fn expression(list: &mut Vec<u8>, name: &str, data: impl FnOnce(&mut Vec<u8>)) {
    nested(list, 1, |element| {
        text(element, 1, name);
        nested(element, 2, data);
    });
}

fn nested(body: &mut Vec<u8>, kind: u16, fill: impl FnOnce(&mut Vec<u8>)) {
    let mut inner = Vec::new();
    fill(&mut inner);
    attribute(body, kind | NESTED, &inner);
}

fn text(body: &mut Vec<u8>, kind: u16, value: &str) {
    attribute(body, kind, &[value.as_bytes(), &[0]].concat());
}

fn number(body: &mut Vec<u8>, kind: u16, value: u32) {
    attribute(body, kind, &value.to_be_bytes());
}

fn attribute(body: &mut Vec<u8>, kind: u16, value: &[u8]) {
    let length = u16::try_from(4 + value.len()).expect("an attribute is small");
    body.extend(length.to_ne_bytes());
    body.extend(kind.to_ne_bytes());
    body.extend(value);
    body.resize(body.len().next_multiple_of(4), 0);
}

fn first_error(mut datagram: &[u8]) -> Option<io::Error> {
    while let Some(header) = datagram.get(..NETLINK_HEADER + 4) {
        let length = u32::from_ne_bytes(header[..4].try_into().expect("four octets")) as usize;
        let kind = u16::from_ne_bytes(header[4..6].try_into().expect("two octets"));
        let code = i32::from_ne_bytes(header[NETLINK_HEADER..].try_into().expect("four octets"));
        if kind == TYPE_ERROR && code != 0 {
            return Some(io::Error::from_raw_os_error(-code));
        }
        datagram = datagram.get(length.next_multiple_of(4).max(NETLINK_HEADER)..).unwrap_or_default();
    }
    None
}
