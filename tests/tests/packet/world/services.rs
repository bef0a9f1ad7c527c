//! The services of one copy, written into the tables, and what is special about each by its port.

use std::net::IpAddr;

use fairway::reconcile::write::Write;
use ipnet::IpNet;
use lb_common::abi::{
    ALWAYS_LIVE, Access, Chooser, ConnectionIds, Load, Reverse, Row, ServerKey, Service, method, reverse_flags,
    row_state, selection_key, service_flags,
};
use lb_common::access::Limit;
use lb_common::flow::SECOND;
use lb_common::limits::LIVE_WORDS;
use lb_common::packet::protocol;
use lb_common::scheduler::Rule;
use lb_common::scheduler::turns::Passes;
use lb_common::slot::{NONE, Slot};

use super::{
    CLOSED_TIMEOUT, FIN_TIMEOUT, Flavour, IDLE_TIMEOUT, INNER, LAN, OUTER, PERSISTENCE, ROUTER, SYN_TIMEOUT, WAN,
    WEIGHTS, client, exit, port, row_mac, tag_wire,
};

const SLOTS_EACH: u32 = 16;

/// What makes the tables, gathered service by service.
#[derive(Default)]
pub struct Builder {
    pub writes: Vec<Write>,
    pub services: Vec<Service>,
    pub reverse: Vec<Reverse>,
}

impl Builder {
    /// All services of a copy.
    pub fn flavour(&mut self, flavour: Flavour) {
        let settled = |backend| vec![Slot::settled(backend); SLOTS_EACH as usize];
        let of_its_protocol = |port: &u16| if flavour.tcp { !is_quic(*port) } else { !is_sctp(*port) };
        let is_there = |port: &u16| !is_special(*port) && of_its_protocol(port);
        for port in (port::DIRECT..port::END).filter(is_there) {
            let words = match port {
                port::EMPTY_PASS | port::EMPTY_DROP | port::QUIC_EMPTY => settled(NONE),
                port::UNSETTLED | port::KEPT | port::NAT_UNSETTLED | port::SCTP_UNSETTLED => {
                    vec![Slot::new(1, 0); SLOTS_EACH as usize]
                }
                port::EXCEPTIONS | port::SCTP_EXCEPTIONS => vec![Slot::new(1, 1); SLOTS_EACH as usize],
                port::DRAINED => vec![Slot::new(NONE, 0); SLOTS_EACH as usize],
                port::STATEFUL..port::STATEFUL_END | port::SCTP_TURNS => settled(1),
                _ => settled(0),
            };
            self.rows(flavour, port, 4);
            self.service(flavour, address_of(flavour, port), port, flavour.row(port, 0), &words);
        }
        self.rows(flavour, port::SPREAD, 16);
        let spread: Vec<Slot> = (0..SLOTS_EACH as u16).map(Slot::settled).collect();
        self.service(flavour, flavour.vip(), port::SPREAD, flavour.row(port::SPREAD, 0), &spread);
        for (port, rows) in [
            (port::BY_CLIENT, port::BY_CLIENT),
            (port::BY_CLIENT_TOO, port::BY_CLIENT),
            (port::BY_CLIENT_AND_PORT, port::BY_CLIENT_AND_PORT),
        ] {
            self.rows(flavour, rows, 16);
            self.service(flavour, flavour.vip(), port, flavour.row(rows, 0), &spread);
        }
        self.rows(flavour, port::OTHERS, 4);
        self.service(flavour, flavour.wild(), port::EXACT, flavour.row(port::OTHERS, 0), &settled(0));
        self.service(flavour, flavour.wild(), 0, flavour.row(port::OTHERS, 1), &settled(0));
        self.service(flavour, flavour.wild_nat(), 0, flavour.row(port::OTHERS, 2), &settled(0));
        self.reverse_entry(flavour, flavour.row(port::OTHERS, 2), 0, flavour.wild_nat(), 0, 0);
        self.ranges(flavour);
        let by_client: &[(u8, u16)] =
            if flavour.tcp { &[(protocol::ESP, 0), (protocol::AH, 0)] } else { &[(protocol::UDP, port::IKE)] };
        for &(protocol, port) in by_client {
            self.service(flavour, flavour.secured(), port, flavour.row(port::BY_CLIENT, 0), &spread);
            let service = self.services.last_mut().expect("it was pushed just now");
            (service.protocol, service.key_prefix) = (protocol, 128);
            service.flags |= service_flags::KEYED;
        }
    }

    fn ranges(&mut self, flavour: Flavour) {
        self.rows(flavour, port::RANGES, 4);
        let words = vec![Slot::settled(0); SLOTS_EACH as usize];
        let [range, upper, translated, exact] = [0, 1, 2, 3].map(|backend| flavour.row(port::RANGES, backend));
        for (address, (first, last), row) in [
            (flavour.ranged(), port::RANGE, range),
            (flavour.ranged(), port::UPPER_RANGE, upper),
            (flavour.wild(), port::RANGE, range),
            (flavour.ranged_nat(), port::RANGE, translated),
        ] {
            self.service(flavour, address, first, row, &words);
            self.services.last_mut().expect("it was pushed just now").last_port = last;
        }
        self.service(flavour, flavour.ranged(), port::EXACT, exact, &words);
        self.reverse_entry(flavour, translated, port::RANGE.0, flavour.ranged_nat(), 0, 0);
        self.reverse.last_mut().expect("it was pushed just now").last_port = port::RANGE.1;
    }

    fn service(&mut self, flavour: Flavour, address: IpAddr, port: u16, first_row: u32, words: &[Slot]) {
        let first_slot = self.services.len() as u32 * SLOTS_EACH;
        self.writes.push(Write::Slots(first_slot, words.iter().map(|slot| slot.0).collect()));
        let kept = if port == port::KEPT { service_flags::UDP_FLOWS } else { 0 };
        let (key, key_prefix) = selection_key(flavour, port);
        let keyed = if key_prefix == 0 { 0 } else { service_flags::KEYED };
        let alone =
            if matches!(port, port::ONE_PACKET | port::PERSISTENT_ONE_PACKET) { service_flags::ONE_PACKET } else { 0 };
        self.chooser(flavour, port);
        self.server_ids(port, first_row);
        self.access(flavour, port);
        let drop = if port == port::EMPTY_DROP { service_flags::DROP_WITHOUT_BACKEND } else { 0 };
        self.services.push(Service {
            address: address.into(),
            port_wire: port.to_be(),
            protocol: if is_sctp(port) { protocol::SCTP } else { flavour.protocol() },
            flags: service_flags::USED | kept | keyed | alone | drop,
            first_slot,
            first_row,
            pool: first_row,
            seed: 7,
            shift: 64 - SLOTS_EACH.ilog2(),
            idle_timeout: IDLE_TIMEOUT,
            live: live_word(port),
            key,
            key_prefix,
            chooser: if is_quic(port) { connection_ids(flavour, port).0 } else { flavour.chooser(port) },
            access: flavour.access(port),
            ..Service::default()
        });
    }

    /// Writes whose server IDs are.
    fn server_ids(&mut self, port: u16, pool: u32) {
        let backends = (0..4).filter(|_| is_quic(port));
        self.writes.extend(backends.map(|backend| {
            let mut id = [0; 16];
            id[..server_id_length(port).into()].copy_from_slice(&server_id(port, backend));
            Write::ServerId(ServerKey { id: zerocopy::transmute!(id), pool: pool.into() }, backend)
        }));
    }

    /// Writes which clients may come, and how often.
    fn access(&mut self, flavour: Flavour, port: u16) {
        let index = u32::from(flavour.access(port));
        if index == 0 {
            return;
        }
        let one = |n| IpNet::from(flavour.client(n));
        let admissions = match port {
            port::ALLOWS => vec![(flavour.clients(), true), (one(client::SAME_SIDE), false)],
            port::DENIES => vec![(flavour.clients(), false), (one(client::FAR), true)],
            _ => vec![],
        };
        let [limit, client_limit] = match port {
            port::LIMITED | port::SCTP_LIMITED => [tokens(2), Limit::default()],
            port::CLIENT_LIMITED => [Limit::default(), tokens(2)],
            port::LIMITED_TURNS => [tokens(3), tokens(2)],
            _ => [Limit::default(); 2],
        };
        let set = if admissions.is_empty() { 0 } else { index };
        let access = Access {
            prefixes: Access::pair(set, u32::from(port == port::ALLOWS)),
            limit,
            clients: Access::pair(index, if flavour.v4 { 96 + 24 } else { 64 }),
            client_limit,
            ..Access::default()
        };
        self.writes.extend(admissions.into_iter().map(|(prefix, allowed)| Write::Admit(set, prefix, allowed)));
        self.writes.push(Write::Access(index, access));
    }

    /// Writes who chooses, and what backends may take.
    fn chooser(&mut self, flavour: Flavour, port: u16) {
        if flavour.chooser(port) == 0 {
            return;
        }
        let first = flavour.load(port, 0);
        for (backend, weight) in (0..).zip(WEIGHTS) {
            let load = Load { weight, ..Load::default() };
            self.writes.extend([Write::ClearLoads(first + backend, 1), Write::Load(first + backend, load)]);
        }
        let Passes { step, top, .. } = Passes::of(WEIGHTS.into_iter().filter(|&weight| weight > 0));
        let chooser = Chooser {
            places: Chooser::pair(first, WEIGHTS.len() as u32),
            passes: Chooser::pair(top, step),
            rule: rule_of(port).map_or(0, |rule| rule as u32),
            fin_timeout: FIN_TIMEOUT,
            syn_timeout: SYN_TIMEOUT,
            closed_timeout: CLOSED_TIMEOUT,
            persistence: if matches!(port, port::PERSISTENT | port::PERSISTENT_ONE_PACKET) { PERSISTENCE } else { 0 },
            ..Chooser::default()
        };
        self.writes.push(Write::Chooser(flavour.chooser(port), chooser));
    }

    fn rows(&mut self, flavour: Flavour, port: u16, count: u16) {
        for backend in 0..count {
            let index = flavour.row(port, backend);
            let method = method_of(port, backend);
            self.writes.push(Write::Row(index, row(flavour, port, backend, method)));
            if translates(method) && ![port::OTHERS, port::SHARED_TOO, port::RANGES].contains(&port) {
                let exclude = u32::from(port == port::NAT_EXCLUDED);
                self.reverse_entry(flavour, index, port::BACKEND, address_of(flavour, port), port, exclude);
            }
        }
    }

    fn reverse_entry(&mut self, flavour: Flavour, row: u32, from: u16, service: IpAddr, port: u16, exclude: u32) {
        self.reverse.push(Reverse {
            backend: flavour.backend(row).into(),
            service: service.into(),
            backend_port_wire: from.to_be(),
            service_port_wire: port.to_be(),
            protocol: flavour.protocol(),
            flags: match port {
                port::FULL_NAT | port::QUIC_FULL_NAT => {
                    reverse_flags::USED | reverse_flags::RECORDED | reverse_flags::RECORDED_ONLY
                }
                port::SHARED => reverse_flags::USED | reverse_flags::RECORDED,
                _ => reverse_flags::USED,
            },
            exclude,
            live: live_word(port),
            row,
            ..Reverse::default()
        });
    }
}

/// So many at once, and then one an hour.
fn tokens(count: u64) -> Limit {
    const HOUR: u64 = 3600 * SECOND;
    Limit { interval: HOUR, tolerance: HOUR * (count - 1) }
}

fn rule_of(port: u16) -> Option<Rule> {
    Some(match port {
        port::PERSISTENT | port::PERSISTENT_ONE_PACKET => Rule::RoundRobin,
        port::LOCALITY => Rule::Locality,
        port::REPLICATED_LOCALITY => Rule::ReplicatedLocality,
        port::TURNS | port::NAT_TURNS | port::ONE_PACKET | port::LIMITED_TURNS | port::SCTP_TURNS => Rule::RoundRobin,
        port::WEIGHTED_TURNS => Rule::WeightedRoundRobin,
        port::LEAST => Rule::LeastConnection,
        port::WEIGHTED_LEAST => Rule::WeightedLeastConnection,
        port::DELAY => Rule::ShortestExpectedDelay,
        port::NEVER_QUEUE => Rule::NeverQueue,
        port::FAILOVER => Rule::WeightedFailover,
        port::OVERFLOW => Rule::WeightedOverflow,
        _ => return None,
    })
}

/// What is not one slot's word and four rows.
fn is_special(port: u16) -> bool {
    (port::OTHERS..port::DRAINED).contains(&port)
        || (port::BY_CLIENT..port::ALLOWS).contains(&port)
        || port == port::RANGES
}

/// Which services are SCTP's.
fn is_sctp(port: u16) -> bool {
    (port::SCTP..port::SCTP_END).contains(&port)
}

/// Which services go by connection ID.
pub(super) fn is_quic(port: u16) -> bool {
    (port::QUIC..port::QUIC_END).contains(&port)
}

/// Configurations whose connection IDs name servers, of services that go by them.
pub const CONFIGURATIONS: [u8; 2] = [0, 2];

fn server_id_length(port: u16) -> u8 {
    if port == port::QUIC_NAT { 15 } else { 3 }
}

/// The server ID of a backend: the same in all services of one length.
pub fn server_id(port: u16, backend: u16) -> Vec<u8> {
    let mut id: Vec<u8> = (0x31..).take(server_id_length(port).into()).collect();
    *id.last_mut().expect("it is not empty") = backend as u8;
    id
}

fn connection_ids(flavour: Flavour, port: u16) -> ConnectionIds {
    let configurations = CONFIGURATIONS.into_iter().map(|configuration| 1 << configuration).sum();
    ConnectionIds::new(flavour.quic_place(port), configurations, server_id_length(port))
}

fn selection_key(flavour: Flavour, port: u16) -> (u8, u8) {
    match port {
        port::BY_CLIENT | port::BY_CLIENT_TOO | port::PERSISTENT | port::PERSISTENT_ONE_PACKET => {
            (0, if flavour.v4 { 96 + 24 } else { 64 })
        }
        port::BY_CLIENT_AND_PORT => (selection_key::PORT, 128),
        _ => (0, 0),
    }
}

fn address_of(flavour: Flavour, port: u16) -> IpAddr {
    match port {
        port::FOLLOWS_DIRECT | port::FOLLOWS_NAT => flavour.followed(),
        _ => flavour.vip(),
    }
}

fn live_word(port: u16) -> u32 {
    match port {
        port::FOLLOWS_DIRECT | port::FOLLOWS_NAT | port::FOLLOWS_MIXED => ROUTER,
        // Records of their flows may be awaited.
        port::UNSETTLED | port::KEPT | port::EXCEPTIONS | port::DRAINED => ROUTER,
        port::TURNS | port::NO_RULE | port::FULL_NAT | port::SHARED => ROUTER,
        port::FOLLOWS_BEYOND => LIVE_WORDS,
        _ => ALWAYS_LIVE,
    }
}

fn method_of(port: u16, backend: u16) -> u8 {
    match port {
        port::NAT
        | port::NAT_TAGGED
        | port::NAT_EXCLUDED
        | port::NAT_UNSETTLED
        | port::FOLLOWS_NAT
        | port::NAT_TURNS
        | port::QUIC_NAT
        | port::DENIES => method::NAT,
        port::OTHERS | port::RANGES if backend == 2 => method::NAT,
        port::FULL_NAT | port::QUIC_FULL_NAT => method::FULL_NAT,
        port::SHARED | port::SHARED_TOO => method::RECORDED_NAT,
        port::LOCAL => method::LOCAL,
        port::NO_METHOD => method::NONE,
        _ => method::DIRECT,
    }
}

fn translates(method: u8) -> bool {
    matches!(method, method::NAT | method::RECORDED_NAT | method::FULL_NAT)
}

fn row(flavour: Flavour, port: u16, backend: u16, method: u8) -> Row {
    let index = flavour.row(port, backend);
    let exit = exit(if port == port::ELSEWHERE { WAN } else { LAN }, row_mac(index));
    let keeps_records = matches!(port, port::UNSETTLED | port::KEPT | port::EXCEPTIONS | port::NAT_UNSETTLED)
        || is_sctp(port)
        || is_quic(port)
        || (port::STATEFUL..port::STATEFUL_END).contains(&port);
    Row {
        mac_head: if port == port::NO_HOP { 0 } else { exit.mac_head },
        mac_tail: exit.mac_tail,
        interface: exit.interface,
        address: flavour.backend(index).into(),
        tags_wire: match port {
            port::TAGGED | port::NAT_TAGGED => [tag_wire(INNER), 0],
            port::QINQ => [tag_wire(OUTER), tag_wire(INNER)],
            _ => [0; 2],
        },
        state: if keeps_records && backend == 2 { 0 } else { row_state::ALIVE },
        port_wire: if translates(method) && ![port::OTHERS, port::RANGES].contains(&port) {
            port::BACKEND.to_be()
        } else {
            0
        },
        method,
        encapsulation: 0,
        reserved: [0; 16],
    }
}
