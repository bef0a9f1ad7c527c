//! The clients of a history: they open flows, send, and judge which server answers.

use std::net::IpAddr;
use std::time::Duration;

use fairway::native::{NativePacket, process};
use lb_common::abi::Service;
use lb_common::address::Address;
use lb_common::counters::Reason;
use lb_common::hash;
use lb_common::limits::SLOTS_PER_ELEMENT;
use lb_common::path::{self, Verdict};
use lb_common::slot::{Slot, SlotState};

use super::{CLIENT_SIDE, RECORDS, SHORT_IDLE, World, interface};
use crate::desired::{SERVICES, server};
use crate::frames::{self, ACK, End, FIN_ACK, SYN};
use crate::in_flight::InFlight;

/// What a packet says about its flow.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    Opens,
    Data,
    Closes,
}

/// A server as a flow knows it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Backend {
    pub number: u8,
    pub nat: bool,
}

/// A flow as its client sees it.
pub struct Flow {
    id: u64,
    pub service: usize,
    pub listener: usize,
    backend: Backend,
    last: Kind,
    /// It has sent a FIN. A stateful scheduler does not take that back, whatever comes after.
    has_ended: bool,
    last_packet: Duration,
    /// Writes that had been carried out at its last packet: later ones cannot overtake earlier ones.
    writes: u64,
}

impl Flow {
    fn is_udp(&self) -> bool {
        is_udp(self.service, self.listener)
    }
}

impl World {
    /// Clients do not expect a flow to live for ever.
    pub fn forget_idle(&mut self) {
        let (now, before, after) = (self.now, &self.in_force, &self.desired);
        self.flows.retain(|flow| {
            let idle_timeout =
                Duration::from_secs(before[flow.service].idle_timeout.min(after[flow.service].idle_timeout));
            let limit = if flow.last == Kind::Data && !flow.has_ended { idle_timeout } else { SHORT_IDLE };
            now <= flow.last_packet + limit
        });
    }

    /// SYNs from everywhere.
    pub fn flood(&mut self) {
        let service = self.rng.below(SERVICES.len() as u64) as usize;
        let before = self.tables.refusals.borrow().clone();
        for _ in 0..RECORDS / 2 {
            let id = 50_000 + self.rng.below(1 << 24);
            let (from, to) = ends_of(id, service, 0);
            let flags = (!is_udp(service, 0)).then_some(SYN);
            let mut packet = NativePacket::new(&frames::frame(from, to, flags), CLIENT_SIDE);
            process(&mut packet, &self.tables);
        }
        self.coverage.refusals += u64::from(*self.tables.refusals.borrow() != before);
    }

    /// A client connects; at times from addresses and ports that an earlier flow had.
    pub fn open(&mut self) -> Result<(), String> {
        let service = self.rng.below(SERVICES.len() as u64) as usize;
        let (mut id, mut at) = (self.ids, (service, self.rng.below(2) as usize));
        self.ids += 1;
        if self.rng.one_in(2) && !self.closed.is_empty() {
            let again = self.closed.swap_remove(self.rng.below(self.closed.len() as u64) as usize);
            (id, at) = (again.0, (again.1, again.2));
        }
        let (service, listener) = at;
        let is_udp = is_udp(service, listener);
        let kind = if is_udp { Kind::Data } else { Kind::Opens };
        let expected = self.expected_if_stateless(service, listener, id);
        let earlier = self.tables.refusals.take();
        let answer = self.answer(service, listener, id, kind, 0);
        let was_refused = !self.tables.refusals.borrow().is_empty();
        let later = self.tables.refusals.replace(earlier);
        self.tables.refusals.borrow_mut().extend(later);
        let Some(backend) = answer? else { return Ok(()) };
        if was_refused && (self.sweeping || !self.replaced.is_empty()) {
            // Known limit: a flow that is refused its record in these milliseconds may be moved by the stores.
            return Ok(());
        }
        if is_udp && !self.keeps_udp_flows(service) {
            let settled_on = self.in_force.get(service).is_some_and(|before| *before == self.desired[service]);
            return if settled_on { self.judge_stateless(id, expected, backend) } else { Ok(()) };
        }
        if is_udp && expected.is_none() {
            // No backend has a weight. Whom the slot drained from may answer, until the slot settles.
            return Ok(());
        }
        if self.tell {
            let (name, slot) = (SERVICES[service].0, self.place(service, listener, id).map(|(slot, _)| slot));
            self.story.push(format!("          flow {id} of {name} (slot {slot:?}) opens to {backend:?}"));
        }
        self.flows.push(Flow {
            id,
            service,
            listener,
            backend,
            last: kind,
            has_ended: false,
            last_packet: self.now,
            writes: self.writes,
        });
        Ok(())
    }

    /// A packet of some flow, and the judgement: it goes where the flow's first one went, and the answer comes back.
    pub fn packet(&mut self, kind: Kind) -> Result<(), String> {
        self.forget_lost();
        self.forget_idle();
        if self.flows.is_empty() {
            return Ok(());
        }
        let at = self.rng.below(self.flows.len() as u64) as usize;
        let Flow { id, service, listener, backend, writes, .. } = self.flows[at];
        let kind = if self.flows[at].is_udp() { Kind::Data } else { kind };
        let Some(answer) = self.answer(service, listener, id, kind, writes)? else {
            return self.judge_silence(at);
        };
        self.cover(service, listener, id);
        if self.tell {
            let slot = self.place(service, listener, id).map(|(slot, _)| slot);
            self.story.push(format!("          flow {id} (slot {slot:?}) {kind:?} to {answer:?}"));
        }
        if answer != backend {
            return Err(format!("flow {id} of {} moved from {backend:?} to {answer:?}", SERVICES[service].0));
        }
        if backend.nat {
            self.judge_reply(service, listener, id, backend)?;
        }
        let flow = &mut self.flows[at];
        (flow.last, flow.last_packet, flow.writes) = (kind, self.now, self.writes);
        flow.has_ended |= kind == Kind::Closes;
        if kind == Kind::Closes && self.rng.one_in(2) {
            self.flows.swap_remove(at);
            self.closed.push((id, service, listener));
        }
        Ok(())
    }

    /// The slot of a flow, by its place in the map.
    pub fn slot_of(&self, flow: &Flow) -> Option<u32> {
        self.place(flow.service, flow.listener, flow.id).map(|(slot, _)| slot)
    }

    /// No server got a packet of a flow: right only while nobody knows the way to it.
    fn judge_silence(&mut self, at: usize) -> Result<(), String> {
        let flow = &self.flows[at];
        let (v4, number) = (SERVICES[flow.service].1.is_ipv4(), u64::from(flow.backend.number));
        let to_server: Address = server(v4, number).into();
        let away = |row: &lb_common::abi::Row| row.address == to_server && row.mac_head == 0;
        if self.tables.image.rows.iter().any(away) {
            return Ok(());
        }
        Err(format!("a packet of flow {} of {} was lost", flow.id, SERVICES[flow.service].0))
    }

    fn judge_stateless(&self, id: u64, expected: Option<IpAddr>, backend: Backend) -> Result<(), String> {
        let got = server(true, u64::from(backend.number));
        if !self.replaced.is_empty() || expected.is_none_or(|expected| expected == got) {
            return Ok(());
        }
        Err(format!("stateless flow {id} went to {got}, not to the current owner {expected:?}"))
    }

    /// Where a packet of this flow goes that nobody keeps a record of.
    fn expected_if_stateless(&self, service: usize, listener: usize, id: u64) -> Option<IpAddr> {
        let (slot, entry) = self.place(service, listener, id)?;
        let owner = Slot(self.tables.image.slots[slot as usize]).current();
        let row = entry.first_row.checked_add(owner.into()).filter(|_| owner != lb_common::slot::NONE)?;
        Some(self.tables.image.rows[row as usize].address.into())
    }

    fn keeps_udp_flows(&self, service: usize) -> bool {
        self.in_force.get(service).is_some_and(|service| service.udp_flows) && self.desired[service].udp_flows
    }

    fn judge_reply(&mut self, service: usize, listener: usize, id: u64, backend: Backend) -> Result<(), String> {
        let (client, listener_end) = ends_of(id, service, listener);
        let from = End { address: server(client.address.is_ipv4(), backend.number.into()), port: listener_end.port };
        let flags = (!is_udp(service, listener)).then_some(ACK);
        let (verdict, frame) = self.send(&frames::frame(from, client, flags), 0);
        self.coverage.replies_judged += 1;
        if verdict != Verdict::Transmit || frames::ends(&frame) != (listener_end, client) {
            return Err(format!("a reply to flow {id} was not turned back: {verdict:?}, {:?}", frames::ends(&frame)));
        }
        Ok(())
    }

    /// The server that gets a packet of a flow.
    fn answer(
        &mut self,
        service: usize,
        listener: usize,
        id: u64,
        kind: Kind,
        writes: u64,
    ) -> Result<Option<Backend>, String> {
        let (from, to) = ends_of(id, service, listener);
        let flags = match kind {
            Kind::Opens => SYN,
            Kind::Data => ACK,
            Kind::Closes => FIN_ACK,
        };
        let (verdict, frame) =
            self.send(&frames::frame(from, to, (!is_udp(service, listener)).then_some(flags)), writes);
        let out = match verdict {
            Verdict::Redirect(out) => out,
            Verdict::Drop(Reason::Inconsistent) | Verdict::Transmit => {
                return Err(format!("{from:?} → {to:?}: {verdict:?}"));
            }
            Verdict::Pass(_) | Verdict::Drop(_) => return Ok(None),
        };
        let [2, 0xbb, v4, number, m0, m1] = frames::destination_mac(&frame) else {
            return Err(format!("{from:?} → {to:?} went to nobody: {frame:x?}"));
        };
        let path = self.paths[&(v4 == 1, number, u16::from_be_bytes([m0, m1]))];
        let [p0, p1] = path.to_be_bytes();
        if frames::source_mac(&frame) != [2, 0xee, 0, 0, p0, p1] || out != interface(path) {
            return Err(format!("{from:?} → {to:?} left by a torn row: {frame:x?} by {out}"));
        }
        let reached = frames::ends(&frame).1.address;
        let nat = reached != to.address;
        if nat && reached != server(v4 == 1, number.into()) {
            return Err(format!("{from:?} → {to:?} was translated to {reached} and sent to server {number}"));
        }
        Ok(Some(Backend { number, nat }))
    }

    /// Sends a frame through the packet path, at times as one that is on its way while the tables change: one that follows
    /// an earlier one, which came after so many writes.
    fn send(&mut self, frame: &[u8], writes: u64) -> (Verdict, Vec<u8>) {
        let mut packet = NativePacket::new(frame, CLIENT_SIDE);
        let verdict = if !self.replaced.could_be_seen_by(writes) {
            process(&mut packet, &self.tables)
        } else {
            self.coverage.judged_in_flight += 1;
            let (old_root, old_slot) = (self.rng.one_in(2), self.rng.one_in(2));
            let view = InFlight { tables: &self.tables, replaced: &self.replaced, old_root, old_slot };
            path::process(&mut packet, &view)
        };
        (verdict, packet.frame().to_vec())
    }

    fn cover(&mut self, service: usize, listener: usize, id: u64) {
        self.coverage.packets_judged += 1;
        self.coverage.udp_judged += u64::from(is_udp(service, listener));
        let Some((slot, _)) = self.place(service, listener, id) else { return };
        match Slot(self.tables.image.slots[slot as usize]).state() {
            SlotState::Settled => {}
            SlotState::Unsettled => self.coverage.judged_unsettled += 1,
            SlotState::Exceptions => self.coverage.judged_exceptions += 1,
        }
    }

    /// The slot of a flow by its place in the map, and its listener's entry.
    fn place(&self, service: usize, listener: usize, id: u64) -> Option<(u32, &Service)> {
        let (from, to) = ends_of(id, service, listener);
        let protocol = if is_udp(service, listener) { 17 } else { 6 };
        let entry = self.tables.image.listener(to.address.into(), to.port.to_be(), protocol)?;
        let ports_wire = u32::from(to.port.to_be()) << 16 | u32::from(from.port.to_be());
        let hash = hash::flow(entry.seed, from.address.into(), ports_wire);
        let slot = entry.first_slot + u32::try_from(hash >> entry.shift).expect("a table has at most 2^20 slots");
        debug_assert!(entry.first_slot.is_multiple_of(SLOTS_PER_ELEMENT as u32));
        Some((slot, entry))
    }
}

fn is_udp(service: usize, listener: usize) -> bool {
    SERVICES[service].2[listener].0 == "udp"
}

/// The client's end of a flow, and the service's.
fn ends_of(id: u64, service: usize, listener: usize) -> (End, End) {
    let (_, address, listeners) = SERVICES[service];
    (client(address.is_ipv4(), id), End { address, port: listeners[listener].1 })
}

/// The client's end of a flow.
pub fn client(v4: bool, id: u64) -> End {
    let (network, port) = ((id / 50_000) as u16, 1024 + (id % 50_000) as u16);
    let address = if v4 {
        IpAddr::from([198, 18, (network >> 8) as u8, network as u8])
    } else {
        IpAddr::from([0x2001, 0xdb8, 0xffff, 0, 0, 0, 0, network])
    };
    End { address, port }
}
