//! Steps of a packet in words, for `explain`: what the path met, by table and number. Names of services and backends are
//! added by who knows them.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use lb_common::abi::ALWAYS_LIVE;
use lb_common::flow::Flow;
use lb_common::packet::transport::{destination_port_wire, source_port_wire};
use lb_common::packet::{Datagram, Part, protocol};
use lb_common::path::access::{ADMITTED, CLIENT_RATE, DENIED};
use lb_common::path::{Step, Verdict};
use lb_common::slot::{Slot, SlotState};

/// A step in words; `None` for one that says nothing new. `routers` names virtual routers by live word.
pub fn words(step: &Step, routers: &BTreeMap<u32, String>) -> Option<String> {
    Some(match step {
        Step::Datagram(datagram) => packet(datagram),
        Step::Ports(_) => return None,
        Step::Flow(flow) => format!("flow {}", ends(flow)),
        Step::Quote(flow) => format!("quotes a packet of the flow {}", ends(flow)),
        Step::Live(ALWAYS_LIVE, true) => return None,
        Step::Live(index, live) => mastership(*index, *live, routers),
        Step::Admission(ADMITTED) => "the service's access rules let it in".to_owned(),
        Step::Admission(DENIED) => "the service's access rules do not let this client in".to_owned(),
        Step::Admission(CLIENT_RATE) => "the client has begun as many connections as the service lets it".to_owned(),
        Step::Admission(_) => "as many connections have begun as the service lets in".to_owned(),
        Step::Service(service) => format!(
            "listener found: its lookup table starts at slot {} of the map, its rows at {}",
            service.first_slot, service.first_row
        ),
        Step::Slot(number, slot) => format!("slot {number}: {}", owners(*slot)),
        Step::Recorded(backend) => format!("a record says: backend {backend} of the pool"),
        Step::NewRecord(backend) => format!("a record would be made: backend {backend} of the pool"),
        Step::Chosen(backend) => format!("the rule says, for this datagram alone: backend {backend} of the pool"),
        Step::Named(Some(backend)) => format!("its connection ID names backend {backend} of the pool"),
        Step::Named(None) => "its connection ID names no backend that is alive: the lookup table says".to_owned(),
        Step::Refused => "a record is due, but the flow table is full".to_owned(),
        Step::Row(row) => format!("row {row}"),
        Step::Reply(reverse) => format!(
            "a reply of a translated backend: its source becomes {}",
            SocketAddr::new(reverse.service.into(), u16::from_be(reverse.service_port_wire))
        ),
        Step::Translated(ends) => {
            let source = SocketAddr::new(ends.source.into(), u16::from_be(source_port_wire(ends.ports_wire)));
            let destination =
                SocketAddr::new(ends.destination.into(), u16::from_be(destination_port_wire(ends.ports_wire)));
            format!("its translation is recorded: it becomes {source} > {destination}")
        }
        Step::Verdict(verdict) => match verdict {
            Verdict::Transmit | Verdict::Redirect(_) => "forwarded".to_owned(),
            Verdict::Pass(reason) => format!("passed to the host: {}", reason.name()),
            Verdict::Drop(reason) => format!("dropped: {}", reason.name()),
        },
    })
}

/// A node that was master until a moment ago is live for a while longer.
fn mastership(index: u32, live: bool, routers: &BTreeMap<u32, String>) -> String {
    let name = routers.get(&index).map_or_else(|| format!("with live word {index}"), Clone::clone);
    let standing = if live { "this node is its master, or was until just now" } else { "this node is not its master" };
    format!("virtual router {name}: {standing}")
}

fn packet(datagram: &Datagram) -> String {
    let (from, to) = (IpAddr::from(datagram.source), IpAddr::from(datagram.destination));
    let part = match datagram.part {
        Part::Whole => "",
        Part::First => ", first fragment",
        Part::Later => ", later fragment",
    };
    let protocol = match datagram.protocol {
        protocol::TCP => "tcp".to_owned(),
        protocol::UDP => "udp".to_owned(),
        protocol::SCTP => "sctp".to_owned(),
        protocol::ESP => "esp".to_owned(),
        protocol::AH => "ah".to_owned(),
        number => format!("protocol {number}"),
    };
    format!("packet {from} > {to}, {protocol}, {} octets{part}", datagram.length)
}

fn ends(flow: &Flow) -> String {
    if protocol::is_portless(flow.protocol) {
        return format!("{} > {}", IpAddr::from(flow.source), IpAddr::from(flow.destination));
    }
    let client = SocketAddr::new(flow.source.into(), u16::from_be(source_port_wire(flow.ports_wire)));
    let service = SocketAddr::new(flow.destination.into(), u16::from_be(destination_port_wire(flow.ports_wire)));
    format!("{client} > {service}")
}

fn owners(slot: Slot) -> String {
    let (current, previous) = (slot.current(), slot.previous());
    match slot.state() {
        SlotState::Settled if current == lb_common::slot::NONE => "no backend owns it".to_owned(),
        SlotState::Settled => format!("settled, backend {current} of the pool"),
        SlotState::Unsettled => {
            format!(
                "unsettled: new flows to backend {current} of the pool, those without a record to backend {previous}"
            )
        }
        SlotState::Exceptions => format!("backend {current} of the pool, except flows with a record"),
    }
}
