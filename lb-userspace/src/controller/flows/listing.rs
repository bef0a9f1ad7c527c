//! Record by record: is it asked for, and what does it say? Records that have had their time are left out, for the packet path
//! takes them for none; the next census deletes them.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

use lb_common::abi::{ClientKey, FlowKey6, Record, Translation, connection_state, record_state};
use lb_common::address::Address;
use lb_common::connection::Timeouts;
use lb_common::flow::{CLOSING_TIMEOUT, OPENING_TIMEOUT, SECOND};
use lb_common::packet::transport::{destination_port_wire, source_port_wire};
use lb_common::path::translation::{Ends, turned};

use super::roster::is_called;
use super::{FlowQuery, FlowStatus, FlowsReport, Roster, USUAL_LIMIT};
use crate::config::{Backend, Ports, Protocol};
use crate::controller::view::API_VERSION;
use crate::reconcile::entries;
use crate::reconcile::placed::Placed;
use crate::reconcile::stateful::persistence;

/// What was found so far.
pub struct Listing {
    roster: Roster,
    query: FlowQuery,
    /// The packet path's clock, in nanoseconds.
    now: u64,
    /// Backends that get translated packets, by pool and address.
    servers: HashMap<(u32, IpAddr), Vec<Backend>>,
    flows: Vec<FlowStatus>,
    matching: u64,
}

/// How long a flow has been silent, and how long it may be, both in nanoseconds.
#[derive(Clone, Copy)]
struct Age {
    idle: u64,
    timeout: u64,
}

impl Listing {
    /// Nothing yet. `now` in nanoseconds of the packet path's clock.
    pub fn new(roster: Roster, query: FlowQuery, now: u64) -> Self {
        let servers = roster.translated();
        Self { roster, query, now, servers, flows: Vec::new(), matching: 0 }
    }

    /// A record of a flow that the lookup table would get wrong.
    pub fn exception(&mut self, key: &FlowKey6, record: &Record) {
        self.record("exception", key, record, |placed, protocol| {
            let idle = placed.config.idle_timeout(protocol).as_secs() * SECOND;
            match record.state {
                record_state::OPENING => ("opening", OPENING_TIMEOUT),
                record_state::CLOSING => ("closing", CLOSING_TIMEOUT),
                _ if !matches!(protocol, Protocol::Tcp | Protocol::Sctp) => ("datagrams", idle),
                _ => ("established", idle),
            }
        });
    }

    /// A record of a connection of a stateful service.
    pub fn connection(&mut self, key: &FlowKey6, record: &Record) {
        self.record("connection", key, record, |placed, protocol| connection_state_of(placed, protocol, record.state));
    }

    /// A client that is remembered.
    pub fn client(&mut self, key: &ClientKey, record: &Record) {
        let Some(placed) = self.roster.service(record.pool).filter(|placed| u64::from(placed.pool) == key.pool) else {
            return;
        };
        let backend = self.roster.backend(placed, record.backend);
        if !takes(&self.query, placed, backend, key.address) || !counts(&mut self.matching, &self.flows, &self.query) {
            return;
        }
        let timeout = u64::from(persistence(&placed.config)) * SECOND;
        let age = Age { idle: self.now.saturating_sub(record.last_seen), timeout };
        let client = network(placed, key.address.into());
        self.flows.push(FlowStatus { client, ..found("client", placed, backend, "remembered", age) });
    }

    /// What a client's packets become. `other` finds what those of the other direction do.
    pub fn translation(
        &mut self,
        key: &FlowKey6,
        it: &Translation,
        other: impl FnOnce(&FlowKey6) -> Option<Translation>,
    ) {
        // Of a pair the client's record stands for both.
        let Some(protocol) = entries::protocol_of(key.protocol).filter(|_| it.state != 0) else { return };
        let port = ports(key.ports_wire).1;
        let Some((listener, placed)) = self.roster.listener(key.destination.into(), port, protocol) else { return };
        let (source_port, backend_port) = ports(it.ports_wire);
        let servers = self.servers.get(&(placed.pool, it.destination.into())).map_or(&[][..], Vec::as_slice);
        let listens = |backend: &&Backend| backend.target_ports(&listener).meets(Ports::One(backend_port));
        let backend = servers.iter().find(listens);
        if !takes(&self.query, placed, backend, key.source) || !counts(&mut self.matching, &self.flows, &self.query) {
            return;
        }
        let answered = other(&turned(&Ends::from(it), key.protocol)).map_or(0, |other| other.last_seen);
        let (state, timeout) = connection_state_of(placed, protocol, it.state);
        let age = Age { idle: self.now.saturating_sub(it.last_seen.max(answered)), timeout };
        let found = FlowStatus {
            backend_address: Some(IpAddr::from(it.destination).to_string()),
            backend_port: Some(backend_port),
            source: Some(IpAddr::from(it.source).to_string()),
            source_port: Some(source_port),
            ..found("translation", placed, backend, state, age)
        };
        self.flows.push(of_flow(found, key, protocol));
    }

    /// All of it, by client.
    pub fn finish(mut self) -> FlowsReport {
        self.flows.sort_by(|a, b| a.partial_cmp(b).unwrap_or(std::cmp::Ordering::Equal));
        let truncated = self.matching > self.flows.len() as u64;
        FlowsReport { api: API_VERSION.to_owned(), flows: self.flows, matching: self.matching, truncated }
    }

    /// A record that names a backend; `state` says what state it is in, and how long it may be silent then.
    fn record(
        &mut self,
        kind: &str,
        key: &FlowKey6,
        record: &Record,
        state: impl FnOnce(&Placed, Protocol) -> (&'static str, u64),
    ) {
        let Some(protocol) = entries::protocol_of(key.protocol) else { return };
        let listener = self.roster.listener(key.destination.into(), ports(key.ports_wire).1, protocol);
        let Some((_, placed)) = listener.filter(|(_, placed)| placed.pool == record.pool) else { return };
        let (state, timeout) = state(placed, protocol);
        let age = Age { idle: self.now.saturating_sub(record.last_seen), timeout };
        let backend = self.roster.backend(placed, record.backend);
        if age.idle <= timeout
            && takes(&self.query, placed, backend, key.source)
            && counts(&mut self.matching, &self.flows, &self.query)
        {
            self.flows.push(of_flow(found(kind, placed, backend, state, age), key, protocol));
        }
    }
}

/// Whether a flow is asked for.
fn takes(query: &FlowQuery, placed: &Placed, backend: Option<&Backend>, client: Address) -> bool {
    let FlowQuery { service, backend: wanted, client: network, limit: _ } = query;
    service.as_ref().is_none_or(|name| placed.config.name == *name)
        && wanted.as_ref().is_none_or(|name| backend.is_some_and(|backend| is_called(backend, name)))
        && network.is_none_or(|network| network.contains(&IpAddr::from(client)))
}

/// Counts a flow that is asked for; whether there is room to show it.
fn counts(matching: &mut u64, flows: &[FlowStatus], query: &FlowQuery) -> bool {
    *matching += 1;
    flows.len() < query.limit.unwrap_or(USUAL_LIMIT) as usize
}

/// What every kind says, the client left out.
fn found(kind: &str, placed: &Placed, backend: Option<&Backend>, state: &str, age: Age) -> FlowStatus {
    FlowStatus {
        client: String::new(),
        client_port: None,
        protocol: None,
        address: None,
        port: None,
        kind: kind.to_owned(),
        service: placed.config.name.clone(),
        backend: backend.map(|backend| backend.name.clone()),
        backend_address: backend.map(|backend| backend.address.to_string()),
        backend_port: None,
        source: None,
        source_port: None,
        state: state.to_owned(),
        idle_seconds: seconds(age.idle),
        expires_in_seconds: seconds(age.timeout.saturating_sub(age.idle)),
    }
}

fn of_flow(found: FlowStatus, key: &FlowKey6, protocol: Protocol) -> FlowStatus {
    let (client_port, port) = ports(key.ports_wire);
    FlowStatus {
        client: IpAddr::from(key.source).to_string(),
        client_port: Some(client_port),
        protocol: Some(protocol.name().to_owned()),
        address: Some(IpAddr::from(key.destination).to_string()),
        port: Some(port),
        ..found
    }
}

/// The network of clients that counts as one.
fn network(placed: &Placed, address: IpAddr) -> String {
    let length = placed.config.persistence.map(|it| match address {
        IpAddr::V4(_) => it.prefixes.v4,
        IpAddr::V6(_) => it.prefixes.v6,
    });
    length.map_or_else(|| address.to_string(), |length| format!("{address}/{length}"))
}

/// What the state of a connection is called, and how long it may be silent, in nanoseconds, as the packet path has it.
fn connection_state_of(placed: &Placed, protocol: Protocol, state: u16) -> (&'static str, u64) {
    let whole = |time: Duration| u32::try_from(time.as_secs()).unwrap_or(u32::MAX);
    let idle = whole(placed.config.idle_timeout(protocol));
    let timeouts = match (placed.seat, &*placed.config) {
        (None, _) => Timeouts::usual(idle),
        (Some(_), it) => {
            Timeouts { idle, fin: whole(it.fin_timeout), syn: whole(it.syn_timeout), closed: whole(it.closed_timeout) }
        }
    };
    let name = match state {
        connection_state::SYN_RECEIVED => "opening",
        connection_state::ESTABLISHED => "established",
        connection_state::FIN_WAIT | connection_state::TIME_WAIT => "closing",
        connection_state::CLOSED => "closed",
        _ => "datagrams",
    };
    (name, u64::from(timeouts.of(state)) * SECOND)
}

/// Source and destination port.
fn ports(wire: u32) -> (u16, u16) {
    (u16::from_be(source_port_wire(wire)), u16::from_be(destination_port_wire(wire)))
}

/// To the millisecond: the packet path's clock ticks no faster.
fn seconds(nanoseconds: u64) -> f64 {
    (nanoseconds / 1_000_000) as f64 / 1e3
}

#[cfg(test)]
mod tests;
