//! `fairway explain`: sends a packet of the flow asked about down the packet path, natively, over a copy of the tables as
//! they are, and says what it met.

use std::net::IpAddr;

use lb_common::abi::{ClientKey, Destination, FlowKey6, Load};
use lb_common::connection::Counted;
use lb_common::limits::LIVE_WORDS;
use lb_common::packet::protocol;
use lb_common::packet::transport::ports_wire;
use lb_common::path::Verdict;

use super::request::ExplainQuery;
use crate::controller::Controller;
use crate::controller::view::{API_VERSION, Explanation, Problem};
use crate::effects::dataplane::Dataplane;
use crate::native::{NativePacket, NativeTables, process};

/// What happens to a packet of the flow.
pub fn explain(
    controller: &Controller,
    dataplane: Option<&Dataplane>,
    now: u64,
    query: &ExplainQuery,
) -> Result<Explanation, Problem> {
    if query.from.is_ipv4() != query.to.is_ipv4() {
        return Err(Problem { exit: 2, message: "client and service must be of one address family".to_owned() });
    }
    let mut tables = NativeTables::new(controller.image().clone(), usize::MAX);
    tables.translation_capacity = usize::MAX;
    tables.clock.set(now);
    tables.traced = true;
    tables.routers = controller.planner().live().iter().map(|(name, index)| (index, name.to_owned())).collect();
    tables.live = (0..LIVE_WORDS).filter(|&index| dataplane.is_none_or(|dataplane| dataplane.is_live(index))).collect();
    let awaits = |index: &u32| dataplane.is_some_and(|dataplane| dataplane.awaits_records(*index));
    tables.awaiting = (0..LIVE_WORDS).filter(awaits).collect();
    let portless = protocol::is_portless(query.protocol);
    let key = FlowKey6 {
        source: query.from.ip().into(),
        destination: query.to.ip().into(),
        ports_wire: if portless { 0 } else { ports_wire(query.from.port().to_be(), query.to.port().to_be()) },
        protocol: u32::from(query.protocol),
    };
    if let Some(record) = dataplane.and_then(|dataplane| dataplane.record(&key, query.protocol == protocol::UDP)) {
        tables.flows.borrow_mut().insert(key, record);
    }
    if let Some(dataplane) = dataplane {
        tables.connections.get_mut().extend(dataplane.connection(&key).map(|record| (key, record)));
        if let Some(service) = tables.image.listener(key.destination, query.to.port().to_be(), query.protocol) {
            let client = ClientKey::of(service, key.source);
            let destination = Destination { address: service.address, pool: u64::from(service.pool) };
            tables.clients.get_mut().extend(dataplane.client(&client).map(|record| (client, record)));
            tables.destinations.get_mut().extend(dataplane.servers(&destination).map(|it| (destination, it)));
        }
        tables.translations.get_mut().extend(dataplane.translation(&key));
        for (_, load) in controller.planner().loads() {
            let Ok(Load { active_count, inactive_count, full, .. }) = dataplane.choosers().load(load) else { continue };
            let counted = Counted { active: active_count, inactive: inactive_count };
            tables.loads.get_mut().insert(load, (counted, full != 0));
        }
        for place in controller.planner().services().values().filter_map(|placed| placed.access) {
            let due = dataplane.service_bucket(place.index).unwrap_or(0);
            tables.service_buckets.get_mut().insert(place.index.into(), due);
        }
        tables.client_buckets.get_mut().extend(controller.image().access.iter().filter_map(|access| {
            let client = access.client_key(query.from.ip().into());
            (!access.client_limit.is_none()).then_some((client, dataplane.client_bucket(&client)?))
        }));
        for seat in controller.planner().services().values().filter_map(|placed| placed.seat) {
            let turn = dataplane.choosers().turn(seat.chooser).unwrap_or(0);
            tables.turns.get_mut().insert(seat.chooser, turn);
        }
    }
    let interface = controller.interfaces().outer().find_map(|(_, interface)| interface.index).unwrap_or(1);
    let mut packet = NativePacket::new(&frame(query), interface);
    let verdict = process(&mut packet, &tables);
    let row = tables.counters.borrow().keys().next().copied();
    let owner = row.and_then(|row| controller.planner().rows().get(row).cloned());
    let mut steps = tables.steps.into_inner();
    let backend = owner.as_ref().and_then(|owner| {
        controller
            .planner()
            .services()
            .get(&*owner.service)?
            .backend(&owner.identity)
            .map(|backend| backend.name.clone())
    });
    if let Some((owner, name)) = owner.as_ref().zip(backend.as_ref()) {
        steps.push(format!(
            "row belongs to service {}, {}, backend {name} ({})",
            owner.service, owner.listener, owner.identity
        ));
    }
    Ok(Explanation {
        api: API_VERSION.to_owned(),
        service: owner.map(|owner| owner.service.to_string()),
        backend,
        verdict: words(controller, verdict),
        steps,
    })
}

pub(super) fn words(controller: &Controller, verdict: Verdict) -> String {
    match verdict {
        Verdict::Transmit => "transmit by the interface it came in by".to_owned(),
        Verdict::Redirect(interface) => format!("redirect to {}", controller.interfaces().links().name_of(interface)),
        Verdict::Pass(reason) => format!("pass to the host ({})", reason.name()),
        Verdict::Drop(reason) => format!("drop ({})", reason.name()),
    }
}

/// A minimal frame of the flow; checksums are left zero, nothing on the path reads them.
pub(super) fn frame(query: &ExplainQuery) -> Vec<u8> {
    const TIME_TO_LIVE: u8 = 64;
    let transport = transport(query);
    let mut frame = vec![0u8; 12];
    match (query.from.ip(), query.to.ip()) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            let length = u16::try_from(20 + transport.len()).expect("a short packet").to_be_bytes();
            frame.extend([0x08, 0x00, 0x45, 0, length[0], length[1], 0, 0, 0, 0, TIME_TO_LIVE, query.protocol, 0, 0]);
            frame.extend(from.octets());
            frame.extend(to.octets());
        }
        (from, to) => {
            let length = u16::try_from(transport.len()).expect("a short packet").to_be_bytes();
            frame.extend([0x86, 0xdd, 0x60, 0, 0, 0, length[0], length[1], query.protocol, TIME_TO_LIVE]);
            frame.extend(octets(from));
            frame.extend(octets(to));
        }
    }
    frame.extend(transport);
    frame
}

fn octets(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
        IpAddr::V6(v6) => v6.octets(),
    }
}

/// What follows the ports of a UDP datagram: one of QUIC's, if it has a connection ID.
fn datagram(connection_id: Option<&[u8]>) -> Vec<u8> {
    const HEADER: u16 = 8;
    const SHORT: u8 = 0x40;
    /// Packet number, and octets that are encrypted.
    const REST: [u8; 20] = [0; 20];
    let payload = connection_id.map_or_else(Vec::new, |id| [&[SHORT], id, &REST].concat());
    let length = u16::try_from(payload.len()).expect("a connection ID is short") + HEADER;
    [&length.to_be_bytes(), &[0; 2], payload.as_slice()].concat()
}

/// The header of a packet that opens the flow, or of one in its midst.
fn transport(query: &ExplainQuery) -> Vec<u8> {
    const SYN: u8 = 2;
    const ACK: u8 = 16;
    const INIT: u8 = 1;
    const DATA: u8 = 0;
    let ports = [query.from.port().to_be_bytes(), query.to.port().to_be_bytes()].concat();
    let kind = |opening: u8, other: u8| if query.established { other } else { opening };
    let rest = match query.protocol {
        protocol::TCP => vec![0, 0, 0, 0, 0, 0, 0, 0, 0x50, kind(SYN, ACK), 0xff, 0xff, 0, 0, 0, 0],
        // Verification tag, checksum, and the header of a chunk.
        protocol::SCTP => vec![0, 0, 0, kind(0, 1), 0, 0, 0, 0, kind(INIT, DATA), 0, 0, 4],
        // SPI and sequence number; in front of them, AH's next header (none) and length.
        protocol::ESP => return vec![0, 0, 1, 0, 0, 0, 0, 1],
        protocol::AH => return [[59, 4, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1].as_slice(), &[0; 12]].concat(),
        _ => datagram(query.connection_id.as_deref()),
    };
    [ports, rest].concat()
}
