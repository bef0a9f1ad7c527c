//! Runs a script and writes down the answers.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::ops::RangeInclusive;
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use fairway_ipvs::replay::{END, NOBODY};
use fairway_ipvs::script::{Flows, Line, Script, Step};

use crate::table::{self, Table};
use crate::traffic::{Clients, Flow};
use fairway_ipvs::control::{Service, sysctl};

/// A connection's client port is this and its number.
const FIRST_PORT: u16 = 10_000;
const SERVICE_PORT: u16 = 80;
/// How long a UDP flow lives that shall end, in seconds: less than is waited for.
const UDP_END: i32 = END as i32 - 1;

pub struct Recorder {
    clients: Clients,
    service: Option<Service>,
    listed: BTreeSet<String>,
    connections: BTreeMap<u16, Connection>,
}

struct Connection {
    flow: Flow,
    is_tcp: bool,
    backend: String,
}

impl Recorder {
    pub fn new() -> Result<Self> {
        Ok(Self { clients: Clients::new()?, service: None, listed: BTreeSet::new(), connections: BTreeMap::new() })
    }

    /// The script with new answers.
    pub fn record(&mut self, script: &Script) -> Result<Script> {
        let mut lines = Vec::new();
        for (line, number) in script.0.iter().zip(1..) {
            lines.push(match line {
                Line::Comment(text) => Line::Comment(text.clone()),
                Line::Step(step, _) => {
                    let answer = self.step(step).with_context(|| format!("line {number}: {step}"))?;
                    Line::Step(step.clone(), answer)
                }
            });
        }
        Ok(Script(lines))
    }

    fn step(&mut self, step: &Step) -> Result<Vec<String>> {
        match step {
            Step::Scheduler { name, flags } => self.service = Some(Service::add(name, flags)?),
            Step::Sysctl { name, value } => sysctl(name, *value)?,
            Step::Add(backend) => {
                self.service()?.add_backend(backend)?;
                self.listed.insert(backend.name.clone());
            }
            Step::Edit(backend) => self.service()?.edit_backend(backend)?,
            Step::Remove(name) => {
                self.service()?.remove_backend(name)?;
                self.listed.remove(name);
            }
            Step::Open(flows) => return self.begin(flows, true),
            Step::Send(flows) => return self.begin(flows, false),
            Step::Close(ids) => self.close(ids)?,
            Step::End(ids) => self.end(ids)?,
            Step::Wait(seconds) => sleep(Duration::from_secs(*seconds)),
            Step::Counts => return table::counts(),
        }
        Ok(Vec::new())
    }

    fn service(&self) -> Result<&Service> {
        self.service.as_ref().context("a script begins with a scheduler")
    }

    /// All packets first, for the table is long to read. A connection that nobody got has none of its further packets noticed.
    fn begin(&mut self, flows: &Flows, is_tcp: bool) -> Result<Vec<String>> {
        let flows: Vec<(u16, Flow)> = flows.iter().map(|(id, from, to)| (id, flow(id, from, to))).collect();
        for (_, flow) in &flows {
            if is_tcp {
                self.clients.open(*flow)?;
                self.clients.acknowledge(*flow)?;
            } else {
                self.clients.datagram(*flow)?;
            }
        }
        let table = Table::read()?;
        let mut answer = Vec::new();
        for (id, flow) in flows {
            let backend = table.backend_of(flow);
            answer.push(backend.clone().unwrap_or_else(|| NOBODY.to_owned()));
            self.connections.extend(backend.map(|backend| (id, Connection { flow, is_tcp, backend })));
        }
        Ok(answer)
    }

    fn close(&self, ids: &RangeInclusive<u16>) -> Result<()> {
        self.connections.range(ids.clone()).try_for_each(|(_, connection)| self.clients.close(connection.flow))
    }

    /// IPVS forgets a reset connection after 10 s, and when told to, one to a backend that was removed, whose packets it would
    /// otherwise drop. A datagram to such a backend would begin another flow, so these stay.
    fn end(&mut self, ids: &RangeInclusive<u16>) -> Result<()> {
        let listed = &self.listed;
        let ended: Vec<Connection> = self
            .connections
            .extract_if(ids.clone(), |_, connection| connection.is_tcp || listed.contains(&connection.backend))
            .map(|(_, connection)| connection)
            .collect();
        self.service()?.set_udp_timeout(UDP_END)?;
        sysctl("expire_nodest_conn", 1)?;
        for connection in &ended {
            if connection.is_tcp {
                self.clients.reset(connection.flow)?;
            } else {
                self.clients.datagram(connection.flow)?;
            }
        }
        sysctl("expire_nodest_conn", 0)?;
        self.service()?.reset_udp_timeout()?;
        sleep(Duration::from_secs(END));
        let table = Table::read()?;
        match ended.iter().find_map(|connection| table.backend_of(connection.flow)) {
            Some(backend) => bail!("a connection to {backend} is still there"),
            None => Ok(()),
        }
    }
}

fn flow(id: u16, from: Ipv4Addr, to: Ipv4Addr) -> Flow {
    Flow { client: SocketAddrV4::new(from, FIRST_PORT + id), service: SocketAddrV4::new(to, SERVICE_PORT) }
}
