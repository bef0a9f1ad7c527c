//! The tables that a row is measured over.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use anyhow::Context as _;
use fairway::effects::dataplane::preallocated::Preallocated;
use fairway::reconcile::half;
use fairway::reconcile::write::Write;
use ipnet::{IpNet, Ipv4Net};
use lb_common::abi::{
    Access, Chooser, ConnectionIds, Load, Reverse, Root, Row, ServerKey, Service, Sources, Tunnel, encapsulation,
    method, row_state, service_flags,
};
use lb_common::access::Limit;
use lb_common::address::Address;
use lb_common::path::tunnel::constant_sum;
use lb_common::scheduler::Rule;
use lb_common::slot::Slot;

use super::traffic::{SERVER_ID, SERVICE_PORT, SERVICE4, SERVICE6};

/// Backends of each service.
pub const BACKENDS: u32 = 100;
/// Slots of each lookup table: the default of `lookup_table_size`.
pub const TABLE_SIZE: u32 = 16_384;
/// Who chooses in the service that keeps state.
const CHOOSER: u32 = 1;
/// The port that `nat` backends listen on.
const BACKEND_PORT: u16 = 8080;
/// The interface that the kernel pretends a test packet came in by: the loopback interface.
const INTERFACE: u32 = 1;
const TCP: u8 = 6;
const UDP: u8 = 17;

/// Which tables.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fixture {
    /// No program of Fairway's at all: the floor of this name in the bench's object.
    Floor(&'static str),
    /// One service, `direct`, over TCP and UDP and both families, all slots settled.
    Direct,
    /// The same, every slot unsettled.
    Unsettled,
    /// The same by `nat`.
    Nat,
    /// The same as `Direct`, by a rule that keeps state.
    Stateful(Rule),
    /// The same by `full-nat`.
    FullNat,
    /// The same by `tunnel`, with these bits of encapsulation.
    Tunnel(u8),
    /// As `Direct`, and the service lets clients of a thousand networks in, the bench's among them.
    Allowing,
    /// As `Direct`, and the service lets in more new connections of all and of each client than the bench has.
    Limited,
    /// As `Direct`, and the UDP service goes by connection IDs.
    Quic,
    /// So many TCP services, `direct`, whose pools are alike and share a lookup table.
    SharedTable(u32),
    /// So many TCP services, `direct`, each with a lookup table of its own.
    DistinctTables(u32),
}

/// Tables, ready to be written.
#[derive(Default)]
pub struct Tables {
    services: Vec<Service>,
    reverse: Vec<Reverse>,
    rows: Vec<Row>,
    tunnels: Vec<Tunnel>,
    slots: Vec<u32>,
    rule: Option<Rule>,
    access: Vec<Write>,
    server_ids: Vec<Write>,
}

impl Fixture {
    /// The tables.
    pub fn tables(self) -> Tables {
        let mut tables = Tables::default();
        match self {
            Self::Floor(_) => {}
            Self::Direct => tables.one_service(method::DIRECT, settled),
            Self::Quic => {
                tables.one_service(method::DIRECT, settled);
                tables.by_connection_id();
            }
            Self::Unsettled => tables.one_service(method::DIRECT, unsettled),
            Self::Allowing | Self::Limited => {
                tables.one_service(method::DIRECT, settled);
                tables.services.iter_mut().for_each(|service| service.access = 1);
                tables.access = if self == Self::Allowing { allowing() } else { limited() };
            }
            Self::Nat => tables.one_service(method::NAT, settled),
            Self::Stateful(rule) => {
                tables.one_service(method::DIRECT, settled);
                tables.rule = Some(rule);
            }
            Self::FullNat => tables.one_service(method::FULL_NAT, settled),
            Self::Tunnel(bits) => {
                tables.one_service(method::TUNNEL, settled);
                tables.wrap(bits);
            }
            Self::SharedTable(count) => {
                tables.table(settled);
                (0..count).for_each(|i| tables.listener(nth(i), TCP, 0, method::DIRECT));
            }
            Self::DistinctTables(count) => (0..count).for_each(|i| {
                let first_slot = tables.table(settled);
                tables.listener(nth(i), TCP, first_slot, method::DIRECT);
            }),
        }
        tables
    }

    /// Which tables take all their memory at once, as they do in a daemon that has such services.
    pub fn preallocated(self) -> Preallocated {
        match self {
            Self::Stateful(_) => Preallocated { v4: true, v6: true },
            _ => Preallocated::default(),
        }
    }
}

impl Tables {
    /// Slots in all lookup tables.
    pub fn slots(&self) -> u64 {
        self.slots.len() as u64
    }

    /// Rows in use.
    pub fn rows(&self) -> u32 {
        self.rows.len() as u32
    }

    /// The writes that fill empty maps.
    ///
    /// # Errors
    /// When there are more services than the service table holds.
    pub fn writes(mut self) -> anyhow::Result<Vec<Write>> {
        if self.rule.is_some() {
            self.services.iter_mut().for_each(|service| service.chooser = CHOOSER);
        }
        let half =
            half::publish(&Root::default(), &self.services, &self.reverse, &sources()).context("too many services")?;
        let mut writes = vec![Write::Slots(0, self.slots)];
        writes.extend((0..).zip(self.tunnels).map(|(index, tunnel)| Write::Tunnel(index, tunnel)));
        writes.extend((0..).zip(self.rows).map(|(index, row)| Write::Row(index, row)));
        if let Some(rule) = self.rule {
            let load = Load { weight: 1, ..Load::default() };
            writes.extend((0..BACKENDS).map(|backend| Write::Load(backend, load)));
            let places = Chooser::pair(0, BACKENDS);
            let passes = Chooser::pair(1, 1);
            let chooser = Chooser {
                places,
                passes,
                rule: rule as u32,
                fin_timeout: 120,
                syn_timeout: 60,
                closed_timeout: 10,
                ..Chooser::default()
            };
            writes.push(Write::Chooser(CHOOSER, chooser));
        }
        writes.extend(self.access);
        writes.extend(self.server_ids);
        writes.extend(half);
        Ok(writes)
    }

    /// Wraps what goes to the rows.
    fn wrap(&mut self, bits: u8) {
        let v4 = bits & encapsulation::V4 != 0;
        let source = Address::from(if v4 { IpAddr::from(Ipv4Addr::new(10, 1, 0, 1)) } else { SERVICE6.into() });
        for (index, row) in (0..).zip(&mut self.rows) {
            let inner_v4 = row.address.is_v4();
            let service = if v4 { IpAddr::from(SERVICE4) } else { SERVICE6.into() };
            (row.address, row.encapsulation) = (backend_address(service, index % BACKENDS).into(), bits);
            let sum = constant_sum(bits, inner_v4, source.v4_wire(), row.address.v4_wire());
            self.tunnels.push(Tunnel { source, spread: 0, room: 1480, sum, port_wire: 6080u16.to_be() });
        }
    }

    /// Packets of UDP services go by connection IDs, and all backends have server IDs.
    fn by_connection_id(&mut self) {
        let length = SERVER_ID.len() as u8;
        let udp = self.services.iter_mut().filter(|service| service.protocol == UDP);
        udp.for_each(|service| service.chooser = ConnectionIds::new(1, 1, length).0);
        self.server_ids = (0..BACKENDS as u16)
            .map(|backend| {
                let mut id = [0; 16];
                id[..SERVER_ID.len()].copy_from_slice(&SERVER_ID);
                // The last of them is the bench's.
                id[0] = id[0].wrapping_add((BACKENDS as u16 - 1 - backend) as u8);
                Write::ServerId(ServerKey { id: zerocopy::transmute!(id), pool: 1 }, backend)
            })
            .collect();
    }

    fn one_service(&mut self, method: u8, word: fn(u32) -> Slot) {
        let first_slot = self.table(word);
        for address in [IpAddr::from(SERVICE4), IpAddr::from(SERVICE6)] {
            for protocol in [TCP, UDP] {
                self.listener(address, protocol, first_slot, method);
            }
        }
    }

    /// Adds a lookup table; its first slot.
    fn table(&mut self, word: fn(u32) -> Slot) -> u32 {
        let first = self.slots.len() as u32;
        self.slots.extend((0..TABLE_SIZE).map(|slot| word(slot).0));
        first
    }

    fn listener(&mut self, address: IpAddr, protocol: u8, first_slot: u32, method: u8) {
        let first_row = self.rows.len() as u32;
        self.services.push(Service {
            address: address.into(),
            port_wire: SERVICE_PORT.to_be(),
            protocol,
            flags: service_flags::USED,
            first_slot,
            first_row,
            pool: 1,
            seed: 0x0123_4567_89ab_cdef ^ u64::from(first_row),
            shift: 64 - TABLE_SIZE.ilog2(),
            idle_timeout: 3600,
            ..Service::default()
        });
        for backend in 0..BACKENDS {
            self.backend(address, protocol, backend, method);
        }
    }

    fn backend(&mut self, service: IpAddr, protocol: u8, backend: u32, method: u8) {
        let address = backend_address(service, backend).into();
        self.rows.push(Row {
            mac_head: u64::from_le_bytes([2, 0, 0, 1, 0, backend as u8, 2, 0]),
            mac_tail: 0x0200_0000,
            interface: INTERFACE,
            address,
            state: row_state::ALIVE,
            port_wire: if matches!(method, method::NAT | method::FULL_NAT) { BACKEND_PORT.to_be() } else { 0 },
            method,
            ..Row::default()
        });
        if method == method::NAT {
            self.reverse.push(Reverse {
                backend: address,
                service: service.into(),
                backend_port_wire: BACKEND_PORT.to_be(),
                service_port_wire: SERVICE_PORT.to_be(),
                protocol,
                flags: service_flags::USED,
                ..Reverse::default()
            });
        }
    }
}

/// What full NAT gives.
fn sources() -> Sources {
    let mut sources = Sources { first_port: 1024, ports: 31_744, ..Sources::default() };
    sources.shares[0].v4_count = 1;
    sources.v4[0] = Ipv4Addr::new(10, 0, 1, 1).into();
    sources
}

/// Access rules that let in whom the bench sends, whose address many networks share bits with.
fn allowing() -> Vec<Write> {
    let network =
        |n: u32| IpNet::from(Ipv4Net::new(Ipv4Addr::from(0xc612_0000 + n * 64), 26).expect("26 is no more than 32"));
    let entry = Access { prefixes: Access::pair(1, 1), ..Access::default() };
    let everybody = IpNet::from(Ipv4Net::default());
    let admitted = (1..1000).map(network).chain([everybody]).map(|network| Write::Admit(1, network, true));
    admitted.chain([Write::Access(1, entry)]).collect()
}

fn limited() -> Vec<Write> {
    // A token a nanosecond: what is measured is the taking.
    let limit = Limit { interval: 1, tolerance: u64::MAX / 2 };
    let clients = Access::pair(1, 128);
    vec![Write::Access(1, Access { limit, clients, client_limit: limit, ..Access::default() })]
}

fn nth(service: u32) -> IpAddr {
    Ipv4Addr::from(u32::from(SERVICE4) + service).into()
}

fn backend_address(service: IpAddr, backend: u32) -> IpAddr {
    match service {
        IpAddr::V4(_) => Ipv4Addr::from(u32::from(Ipv4Addr::new(10, 0, 0, 1)) + backend).into(),
        IpAddr::V6(_) => Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 1 + backend as u16).into(),
    }
}

fn settled(slot: u32) -> Slot {
    Slot::settled(owner(slot))
}

fn unsettled(slot: u32) -> Slot {
    let current = owner(slot);
    Slot::new(current, (current + 1) % BACKENDS as u16)
}

/// Backends take slots in no order, as with Maglev: neighbours in the table must not be neighbours in memory.
fn owner(slot: u32) -> u16 {
    (slot.wrapping_mul(0x9e37_79b1) >> 8) as u16 % BACKENDS as u16
}
