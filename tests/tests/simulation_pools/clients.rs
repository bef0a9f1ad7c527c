//! Clients that open flows, send, and judge which server answers.

use std::net::IpAddr;
use std::time::Duration;

use fairway::native::{NativePacket, process};
use lb_common::hash;
use lb_common::path::Verdict;
use lb_common::slot::{Slot, SlotState};

use crate::frames::{self, ACK, End, FIN_ACK, SYN};
use crate::model::{IDLE_TIMEOUT, SERVICES, server};
use crate::world::{World, tell};

/// Frames come in here, and leave by the next one.
const CLIENT_SIDE: u32 = 1;
const SERVER_SIDE: u32 = 2;
/// A record whose flow has sent only a SYN, or has sent a FIN, lives this long without packets.
const SHORT_IDLE: Duration = Duration::from_secs(60);

/// What a packet says about its flow.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    Opens,
    Data,
    Closes,
}

/// A flow as its client sees it.
pub struct Flow {
    id: u16,
    pub service: usize,
    /// The server's number.
    pub server: u8,
    last: Kind,
    last_packet: Duration,
}

impl World {
    /// A client connects; at times from a port that an earlier flow had.
    pub fn open(&mut self) -> Result<(), String> {
        let (mut id, mut service) = (self.next_flow, self.rng.below(SERVICES.len() as u64) as usize);
        if self.rng.one_in(2) && !self.closed.is_empty() {
            (id, service) = self.closed.swap_remove(self.rng.below(self.closed.len() as u64) as usize);
        } else {
            self.next_flow += 1;
        }
        match self.answer(id, service, Kind::Opens)? {
            Some(server) => {
                tell!(self, "flow {id} of {} opens to {server}", SERVICES[service].0);
                self.flows.push(Flow { id, service, server, last: Kind::Opens, last_packet: self.now });
            }
            None => self.closed.push((id, service)),
        }
        Ok(())
    }

    /// A packet of some flow goes where its first one went.
    pub fn packet(&mut self, kind: Kind) -> Result<(), String> {
        self.forget_idle();
        // Those that were opened to what was on its way out: the plan was not carried out yet.
        self.forget_services();
        self.give_up_on_the_dead();
        if self.flows.is_empty() {
            return Ok(());
        }
        let at = self.rng.below(self.flows.len() as u64) as usize;
        let Flow { id, service, server, .. } = self.flows[at];
        let answer = self.answer(id, service, kind)?;
        self.coverage.packets += 1;
        self.coverage.unsettled += u64::from(self.is_unsettled(id, service));
        tell!(self, "flow {id} {kind:?} to {answer:?}");
        if answer != Some(server) {
            return Err(format!("flow {id} of {} moved from {server} to {answer:?}", SERVICES[service].0));
        }
        (self.flows[at].last, self.flows[at].last_packet) = (kind, self.now);
        if kind == Kind::Closes && self.rng.one_in(2) {
            let Flow { id, service, .. } = self.flows.swap_remove(at);
            self.closed.push((id, service));
        }
        Ok(())
    }

    /// Ends flows to servers that are cut off from theirs; their clients come back from the same ports.
    pub fn give_up_on_the_dead(&mut self) {
        let Self { controller, flows, closed, coverage, .. } = self;
        flows.retain(|flow| {
            let pool = controller.pools().get(SERVICES[flow.service].0);
            let address = server(flow.server);
            let member = pool.and_then(|pool| pool.members().iter().find(|member| member.address == address));
            let dead = member.is_some_and(|member| !member.part.standing.up);
            if dead {
                closed.push((flow.id, flow.service));
                coverage.reset_flows += 1;
            }
            !dead
        });
    }

    /// Ends flows of services that are there no more.
    pub fn forget_services(&mut self) {
        let desired = &self.model.desired;
        self.flows.retain(|flow| desired[flow.service].exists);
    }

    fn forget_idle(&mut self) {
        let now = self.now;
        self.flows.retain(|flow| {
            let limit = if flow.last == Kind::Data { Duration::from_secs(IDLE_TIMEOUT) } else { SHORT_IDLE };
            now <= flow.last_packet + limit
        });
    }

    /// The server that gets a packet of a flow.
    fn answer(&mut self, id: u16, service: usize, kind: Kind) -> Result<Option<u8>, String> {
        let flags = match kind {
            Kind::Opens => SYN,
            Kind::Data => ACK,
            Kind::Closes => FIN_ACK,
        };
        let (from, to) = ends(id, service);
        let mut packet = NativePacket::new(&frames::frame(from, to, Some(flags)), CLIENT_SIDE);
        match process(&mut packet, &self.tables) {
            Verdict::Redirect(SERVER_SIDE) => match frames::destination_mac(packet.frame()) {
                [2, 0xbb, 0, 0, 0, server] => Ok(Some(server)),
                other => Err(format!("a packet of {} left for {other:?}", SERVICES[service].0)),
            },
            Verdict::Pass(_) | Verdict::Drop(_) => Ok(None),
            other => Err(format!("{from:?} → {to:?}: {other:?}")),
        }
    }

    fn is_unsettled(&self, id: u16, service: usize) -> bool {
        let (from, to) = ends(id, service);
        let Some(entry) = self.tables.image.listener(to.address.into(), to.port.to_be(), 6) else { return false };
        let ports_wire = u32::from(to.port.to_be()) << 16 | u32::from(from.port.to_be());
        let hash = hash::flow(entry.seed, from.address.into(), ports_wire);
        let slot = entry.first_slot + u32::try_from(hash >> entry.shift).expect("tables are small");
        Slot(self.tables.image.slots[slot as usize]).state() != SlotState::Settled
    }
}

/// The client's end of a flow, and the service's.
fn ends(id: u16, service: usize) -> (End, End) {
    let client = End { address: IpAddr::from([198, 18, 0, 1]), port: 1024 + id };
    (client, End { address: IpAddr::from(SERVICES[service].1), port: 80 })
}
