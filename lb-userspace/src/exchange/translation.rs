//! Recorded translations between two nodes: what is told of a flow is one item under its client's key; here that becomes the two records
//! that the packet path keeps ([`lb_common::path::translation`]), or is refused.
//!
//! What a record says, packets are rewritten to, and replies are taken for: so nothing is taken from the peer that this node would not
//! have recorded itself. The server must be a backend of the service, by its address and port; the source one that the service
//! gets here, and its port one that is configured, or the client's own where only the service is to be told.
//!
//! Source addresses of a service that follows a virtual router are the same on both nodes and tried in the same order, so a flow whose
//! record was lost is given the same source again, unless that is taken by then.

use lb_common::abi::{FlowKey6, Translation};
use lb_common::address::Address;
use lb_common::packet::transport::{destination_port_wire, ports_wire, source_port_wire};
use lb_common::path::translation::{Ends, FIRST_FREE_PORT, turned};

use super::directory::is_state;
use super::item::{FlowId, TranslationRecord};
use crate::config::{Backend, Config, Forwarding};
use crate::reconcile::placed::Placed;
use crate::reconcile::sources;

/// What a service may translate to, on this node.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Translating {
    live: u16,
    servers: Vec<Server>,
    sources: Vec<Address>,
    /// The first and the last that is given with one of these.
    ports: (u16, u16),
}

/// A backend that packets are translated for.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Server {
    address: Address,
    /// `None`: packets keep theirs.
    port: Option<u16>,
    /// It sees a source of ours, not the client's.
    full: bool,
}

/// Both records of a flow, by their keys.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Pair {
    /// The client's packets.
    pub request: (FlowKey6, Translation),
    /// The backend's.
    pub reply: (FlowKey6, Translation),
}

impl Translating {
    /// What a service may translate to that has this live word; `None`: none of its backends is translated.
    pub fn new(config: &Config, placed: &Placed, live: u32) -> Option<Self> {
        let members = placed.members().chain(placed.leaving.values());
        let server = |backend: &Backend| Server {
            address: backend.address.into(),
            port: backend.port,
            full: backend.forwarding == Forwarding::FullNat,
        };
        let servers: Vec<Server> = members.filter(|it| it.forwarding.translates()).map(server).collect();
        let is_ipv4 = servers.first()?.address.is_v4();
        let sources = sources::of_service(config, &placed.config, is_ipv4).into_iter().map(Address::from).collect();
        Some(Self { live: live as u16, servers, sources, ports: config.dataplane.source_nat_ports })
    }

    /// The records of a flow of the peer's, both heard of last at `last_seen` of our clock.
    ///
    /// # Errors
    /// Why it has no place here.
    pub fn place(&self, flow: &FlowKey6, it: &TranslationRecord, last_seen: u64) -> Result<Pair, &'static str> {
        let becomes = it.becomes.key();
        if !is_state(it.state, true) || becomes.protocol != flow.protocol {
            return Err("other-kind");
        }
        let (port, own_port) =
            (port_of(destination_port_wire(flow.ports_wire)), port_of(source_port_wire(flow.ports_wire)));
        let (server_port, source_port) =
            (port_of(destination_port_wire(becomes.ports_wire)), port_of(source_port_wire(becomes.ports_wire)));
        let is_at =
            |server: &&Server| server.address == becomes.destination && server.port.unwrap_or(port) == server_port;
        let gives = |server: &Server| match server.full {
            true => self.sources.contains(&becomes.source) && (self.ports.0..=self.ports.1).contains(&source_port),
            false => {
                let is_free = u32::from(source_port) >= FIRST_FREE_PORT;
                becomes.source == flow.source && (source_port == own_port || is_free)
            }
        };
        let mut servers = self.servers.iter().filter(is_at).peekable();
        servers.peek().ok_or("no-backend")?;
        if !servers.any(gives) {
            return Err("no-source");
        }
        Ok(pair(flow, &becomes, it.state, self.live, last_seen))
    }
}

fn port_of(wire: u16) -> u16 {
    u16::from_be(wire)
}

fn pair(flow: &FlowKey6, becomes: &FlowKey6, state: u16, live: u16, last_seen: u64) -> Pair {
    let FlowKey6 { source, destination, ports_wire, .. } = *becomes;
    let request = Translation { last_seen, source, destination, ports_wire, live, state };
    Pair { request: (*flow, request), reply: (other_key(flow, &request), reply(flow, live, last_seen)) }
}

/// What a backend's packets of a flow become.
fn reply(flow: &FlowKey6, live: u16, last_seen: u64) -> Translation {
    let ports_wire = ports_wire(destination_port_wire(flow.ports_wire), source_port_wire(flow.ports_wire));
    Translation { last_seen, source: flow.destination, destination: flow.source, ports_wire, live, state: 0 }
}

/// The key of the packets of the other direction, by a record of either.
pub fn other_key(key: &FlowKey6, it: &Translation) -> FlowKey6 {
    turned(&Ends::from(it), key.protocol)
}

/// What is told of a flow by its client's record, heard of last at some time of ours.
pub fn told(key: &FlowKey6, it: &Translation, last_seen: u64) -> TranslationRecord {
    let Translation { source, destination, ports_wire, state, .. } = *it;
    let becomes = FlowId::from(&FlowKey6 { source, destination, ports_wire, protocol: key.protocol });
    TranslationRecord { becomes, state, last_seen }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::IpAddr;

    fn address(text: &str) -> Address {
        text.parse::<IpAddr>().unwrap().into()
    }

    fn key(source: (&str, u16), destination: (&str, u16)) -> FlowKey6 {
        let ports_wire = ports_wire(source.1.to_be(), destination.1.to_be());
        FlowKey6 { source: address(source.0), destination: address(destination.0), ports_wire, protocol: 6 }
    }

    const CLIENT: (&str, u16) = ("198.51.100.7", 40_000);
    const SERVICE: (&str, u16) = ("203.0.113.10", 80);

    fn translating() -> Translating {
        let server = |text, port, full| Server { address: address(text), port, full };
        Translating {
            live: 3,
            servers: vec![server("10.0.0.1", None, true), server("10.0.0.2", Some(8080), false)],
            sources: vec![address("10.0.1.1")],
            ports: (2000, 2999),
        }
    }

    fn place(source: (&str, u16), server: (&str, u16), state: u16) -> Result<Pair, &'static str> {
        let it = TranslationRecord { becomes: FlowId::from(&key(source, server)), state, last_seen: 0 };
        translating().place(&key(CLIENT, SERVICE), &it, 77)
    }

    #[test]
    fn both_records_are_made_of_what_is_told_and_lead_to_each_other() {
        let pair = place(("10.0.1.1", 2000), ("10.0.0.1", 80), 2).expect("it is what we would give");
        let ((request_key, request), (reply_key, reply)) = (pair.request, pair.reply);
        assert_eq!((request_key, reply_key), (key(CLIENT, SERVICE), key(("10.0.0.1", 80), ("10.0.1.1", 2000))));
        assert_eq!(other_key(&request_key, &request), reply_key);
        assert_eq!(other_key(&reply_key, &reply), request_key);
        assert_eq!((request.state, reply.state, request.live, reply.live), (2, 0, 3, 3));
        assert_eq!((request.last_seen, reply.last_seen), (77, 77));
        let again = told(&request_key, &request, 5);
        assert_eq!(
            (again.becomes.key(), again.state, again.last_seen),
            (key(("10.0.1.1", 2000), ("10.0.0.1", 80)), 2, 5)
        );
    }

    #[test]
    fn what_this_node_would_not_give_has_no_place() {
        let (full, nat) = (("10.0.0.1", 80), ("10.0.0.2", 8080));
        for (source, server, state, why) in [
            (("10.0.1.1", 2999), full, 1, None),
            (("10.0.1.1", 3000), full, 1, Some("no-source")),
            (("10.0.1.1", 1999), full, 1, Some("no-source")),
            (("10.0.1.2", 2000), full, 1, Some("no-source")),
            (CLIENT, full, 1, Some("no-source")),
            (CLIENT, nat, 1, None),
            ((CLIENT.0, 1024), nat, 1, None),
            ((CLIENT.0, 1023), nat, 1, Some("no-source")),
            (("10.0.1.1", 2000), nat, 1, Some("no-source")),
            (CLIENT, ("10.0.0.2", 80), 1, Some("no-backend")),
            (("10.0.1.1", 2000), ("10.0.0.1", 81), 1, Some("no-backend")),
            (("10.0.1.1", 2000), ("10.0.0.3", 80), 1, Some("no-backend")),
            (("10.0.1.1", 2000), full, 0, Some("other-kind")),
            (("10.0.1.1", 2000), full, 7, Some("other-kind")),
        ] {
            assert_eq!(place(source, server, state).err(), why, "{source:?} {server:?} {state}");
        }
        let mut udp = key(("10.0.1.1", 2000), full);
        udp.protocol = 17;
        let it = TranslationRecord { becomes: FlowId::from(&udp), state: 1, last_seen: 0 };
        assert_eq!(translating().place(&key(CLIENT, SERVICE), &it, 77), Err("other-kind"));
    }
}
