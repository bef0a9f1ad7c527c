//! Clients that open flows, send, and judge which server answers.

use std::net::IpAddr;
use std::time::Duration;

use fairway::native::{NativePacket, NativeTables, process};
use lb_common::abi::Service;
use lb_common::counters::Reason;
use lb_common::flow::Flow as TableFlow;
use lb_common::packet::protocol::TCP;
use lb_common::packet::transport::ports_wire;
use lb_common::path::Verdict;
use lb_common::selection;
use lb_common::slot::{NONE, Slot, SlotState};

use crate::desired::{ADDRESS, GREEN, IDLE_TIMEOUT, SERVICES};
use crate::frames::{self, ACK, End, FIN_ACK, SYN};
use crate::node::{Node, SERVER_SIDE};
use crate::remembered::CLIENTS;
use crate::world::{World, tell};

/// Frames of clients come in here.
const CLIENT_SIDE: u32 = 1;
const RST: u8 = 4;
/// After a change of master some clients' packets go to the node before for so many milliseconds.
const LONGEST_WAY: u64 = 20;

/// What a packet says about its flow.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    Opens,
    Data,
    Closes,
    Resets,
}

/// A flow as its client sees it.
#[derive(Clone, Debug)]
pub struct Flow {
    pub id: u16,
    pub service: usize,
    /// The server's number.
    pub backend: u8,
    last_packet: Duration,
    /// The node that had its last packet, and has lived since.
    pub holder: Option<usize>,
    /// Since when it is there.
    pub since: Duration,
    /// Nodes that have to know of it besides.
    pub known_to: [bool; 2],
    /// It was so when its holder was cut off.
    pub is_young: bool,
    /// It had a record at the node that had its last packet.
    pub has_record: bool,
    /// The other node made its table from another file then.
    pub is_at_odds: bool,
    /// When it spoke again after a silence that the other node has to be told the end of, and when it had spoken before.
    pub spoke_again: Option<(Duration, Duration)>,
    /// From when on a node that was not told counts its silence.
    pub counts_from: Option<Duration>,
    /// An earlier flow had its ports.
    pub has_used_ports: bool,
    /// And one node was about to take over from the other when it began, or a moment later.
    pub is_of_hand_over: bool,
}

/// What comes of a packet.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Answer {
    Server(u8),
    /// The client has to send again.
    Nothing,
    /// No server gets it.
    Refused(String),
}

impl World {
    /// A client connects; at times from a port that an earlier flow had.
    pub fn open(&mut self) -> Result<(), String> {
        let (mut id, mut service) = (self.next_flow, self.rng.below(SERVICES.len() as u64) as usize);
        let has_used_ports = self.rng.one_in(2) && !self.closed.is_empty();
        if has_used_ports {
            (id, service) = self.closed.swap_remove(self.rng.below(self.closed.len() as u64) as usize);
        } else {
            self.next_flow += 1;
        }
        let Some(node) = self.reaches(id) else {
            self.closed.push((id, service));
            return Ok(());
        };
        let made = self.nodes[node].tables().recorded.borrow().len();
        let Answer::Server(backend) = self.answer(node, id, service, Kind::Opens)? else {
            self.closed.push((id, service));
            return Ok(());
        };
        tell!(self, "flow {id} of {} opens to {backend} by node {node}", SERVICES[service].name);
        self.tell_owners(id, service);
        self.coverage.note("flows");
        // Who comes again on the ports of a connection that is known goes on with that.
        if service == GREEN && self.nodes[node].tables().recorded.borrow().len() > made {
            self.note_client(usize::from(id) % CLIENTS, node, backend)?;
        }
        let (now, holder) = (self.now, self.holder(node, service, backend));
        self.flows.push(Flow {
            id,
            service,
            backend,
            last_packet: now,
            holder,
            since: now,
            known_to: [false; 2],
            is_young: false,
            has_record: self.has_record(node, id, service),
            is_at_odds: self.has_another_table(1 - node, service),
            spoke_again: None,
            counts_from: None,
            has_used_ports,
            is_of_hand_over: has_used_ports && self.is_handed_over(node),
        });
        if self.rng.one_in(4) { Ok(()) } else { self.packet_of(self.flows.len() - 1, Kind::Data) }
    }

    /// Some flow goes on.
    pub fn packet(&mut self, kind: Kind) -> Result<(), String> {
        self.release();
        if self.flows.is_empty() {
            return Ok(());
        }
        let at = self.rng.below(self.flows.len() as u64) as usize;
        self.packet_of(at, kind)
    }

    /// Every flow goes on, one after the other.
    pub fn all_go_on(&mut self) -> Result<(), String> {
        self.release();
        for at in (0..self.flows.len()).rev() {
            self.packet_of(at, Kind::Data)?;
        }
        Ok(())
    }

    /// A packet of a flow goes where its first one went.
    fn packet_of(&mut self, at: usize, kind: Kind) -> Result<(), String> {
        let Flow { id, service, backend, .. } = self.flows[at];
        let Some(node) = self.reaches(id) else { return Ok(()) };
        let made = self.nodes[node].tables().recorded.borrow().len();
        let answer = self.answer(node, id, service, kind)?;
        let is_recorded = self.nodes[node].tables().recorded.borrow().len() > made;
        tell!(self, "flow {id} {kind:?} by node {node}: {answer:?}");
        if answer == Answer::Nothing {
            return Ok(());
        }
        self.coverage.note("judged packets");
        if answer != Answer::Server(backend) {
            let name = SERVICES[service].name;
            let Some(forgiven) = self.forgiveness(&self.flows[at], node) else {
                self.tell_owners(id, service);
                return Err(format!("flow {id} of {name} moved from {backend} to {answer:?} at node {node}"));
            };
            tell!(self, "{}", forgiven.name());
            self.tell_owners(id, service);
            self.coverage.note(forgiven.name());
            self.flows.swap_remove(at);
            return Ok(());
        }
        let (holder, has_record) = (self.holder(node, service, backend), self.has_record(node, id, service));
        let is_at_odds = self.has_another_table(1 - node, service);
        let flow = &mut self.flows[at];
        if self.now > flow.last_packet + Duration::from_secs(IDLE_TIMEOUT) / 4 {
            flow.spoke_again = Some((self.now, flow.last_packet));
        }
        // The other node hears of this packet, or it counts from the last one that it has heard of.
        let counted_from = flow.counts_from.filter(|_| flow.holder == Some(node)).unwrap_or(flow.last_packet);
        flow.counts_from = self.shared_since[node].is_none().then_some(counted_from);
        (flow.last_packet, flow.has_record, flow.is_at_odds) = (self.now, has_record, is_at_odds);
        if flow.holder != holder {
            self.coverage.note("flows that lived on at another node");
            (flow.holder, flow.since, flow.is_young) = (holder, self.now, false);
        }
        if is_recorded {
            // From now on it depends on that, and the other node has to hear of it.
            (flow.since, flow.known_to[1 - node], flow.is_young) = (self.now, false, false);
        }
        if matches!(kind, Kind::Closes | Kind::Resets) {
            self.flows.swap_remove(at);
            self.closed.push((id, service));
        }
        Ok(())
    }

    /// A packet of a flow comes to a node, whoever is master.
    pub fn comes_to(&mut self, node: usize, service: usize, kind: Kind) {
        let answer = self.answer(node, 0, service, kind);
        assert!(matches!(answer, Ok(Answer::Server(_))), "{answer:?}");
    }

    /// Ends flows that were silent for too long, and those whose backend a node cuts off from its flows.
    pub fn release(&mut self) {
        let (now, nodes) = (self.now, &self.nodes);
        let closed = &mut self.closed;
        self.flows.retain(|flow| {
            let is_idle = now > flow.last_packet + Duration::from_secs(IDLE_TIMEOUT);
            let up = nodes.iter().filter(|node| node.is_up);
            let is_dead = up.filter_map(|node| node.standing(flow.service, flow.backend)).any(|is_up| !is_up);
            if is_dead {
                closed.push((flow.id, flow.service));
            }
            !is_idle && !is_dead
        });
    }

    /// The node that holds a flow whose packet came to this one. If that is one that was master before, the new one has to hear of it and to
    /// have a place for it: else it is told to forget it.
    fn holder(&self, node: usize, service: usize, backend: u8) -> Option<usize> {
        let is_heard = node == self.route.to || self.shared_since[node].is_some();
        let has_place = self.nodes[self.route.to].places_since(service, backend).is_some();
        (is_heard && has_place).then_some(node)
    }

    /// The node that a client's packets come to.
    fn reaches(&self, id: u16) -> Option<usize> {
        let way = Duration::from_millis(u64::from(id) * 7 % LONGEST_WAY);
        let node = match self.route.from {
            Some(from) if self.now < self.route.since + way => from,
            _ => self.route.to,
        };
        self.nodes[node].is_up.then_some(node)
    }

    fn has_record(&self, node: usize, id: u16, service: usize) -> bool {
        let (tables, flow) = (self.nodes[node].tables(), flow_of(id, service));
        let word = word(self.nodes[node].tables(), &flow, service);
        // Those of slots that are settled are of no use any more.
        let is_looked_for = word.is_some_and(|(_, _, word)| word.state() != SlotState::Settled);
        is_looked_for && tables.flows.borrow().contains_key(&flow.key6())
            || tables.connections.borrow().contains_key(&flow.key6())
    }

    /// Whether a node knows nothing of a flow in a slot of which it has records of others, while it awaits records.
    pub fn is_exception(&self, node: usize, id: u16, service: usize) -> bool {
        let (tables, flow) = (self.nodes[node].tables(), flow_of(id, service));
        let state = word(tables, &flow, service).map(|(_, _, word)| word.state());
        let is_known = tables.flows.borrow().contains_key(&flow.key6());
        !tables.awaiting.is_empty() && state == Some(SlotState::Exceptions) && !is_known
    }

    /// Tells whom both nodes take for the owners of a flow's slot.
    fn tell_owners(&mut self, id: u16, service: usize) {
        if self.tell {
            let owners: Vec<String> =
                self.nodes.iter().filter(|node| node.is_up).map(|it| owners(it, id, service)).collect();
            tell!(self, "  {}", owners.join(", "));
        }
    }

    /// What comes of a packet at a node.
    fn answer(&mut self, node: usize, id: u16, service: usize, kind: Kind) -> Result<Answer, String> {
        let flags = match kind {
            Kind::Opens => SYN,
            Kind::Data => ACK,
            Kind::Closes => FIN_ACK,
            Kind::Resets => RST,
        };
        let (from, to) = ends(id, service);
        let mut packet = NativePacket::new(&frames::frame(from, to, Some(flags)), CLIENT_SIDE);
        let now = self.now;
        self.nodes[node].set_clock(now);
        if !self.nodes[node].is_master {
            self.strays[node].insert(flow_of(id, service).key6());
        }
        Ok(match process(&mut packet, self.nodes[node].tables()) {
            Verdict::Redirect(SERVER_SIDE) => match frames::destination_mac(packet.frame()) {
                [2, 0xbb, 0, 0, 0, server] => Answer::Server(server),
                other => return Err(format!("a packet left for {other:?}")),
            },
            Verdict::Drop(Reason::RecordAwaited) => {
                self.coverage.note("packets that awaited records");
                Answer::Nothing
            }
            Verdict::Pass(Reason::NotMaster) => Answer::Nothing,
            other => Answer::Refused(format!("{other:?}")),
        })
    }
}

/// The client's end of a flow, and the service's.
fn ends(id: u16, service: usize) -> (End, End) {
    let client = End { address: IpAddr::from([198, 18, 0, (usize::from(id) % CLIENTS) as u8]), port: 1024 + id };
    (client, End { address: ADDRESS, port: SERVICES[service].port })
}

fn flow_of(id: u16, service: usize) -> TableFlow {
    let (from, to) = ends(id, service);
    let ports_wire = ports_wire(from.port.to_be(), to.port.to_be());
    TableFlow { source: from.address.into(), destination: to.address.into(), ports_wire, protocol: TCP }
}

/// The entry of a flow's service, its slot, and who owns that.
fn word<'a>(tables: &'a NativeTables, flow: &TableFlow, service: usize) -> Option<(&'a Service, u32, Slot)> {
    let image = &tables.image;
    let entry = image.listener(flow.destination, SERVICES[service].port.to_be(), TCP)?;
    let slot = selection::slot(entry, flow);
    Some((entry, slot, Slot(image.slots[slot as usize])))
}

/// Whom a node takes for the owners of a flow's slot, in words.
fn owners(node: &Node, id: u16, service: usize) -> String {
    let (flow, image, number) = (flow_of(id, service), &node.tables().image, node.number);
    let Some((entry, slot, word)) = word(node.tables(), &flow, service) else { return String::new() };
    let address = |owner: u16| match image.rows.get(entry.first_row as usize + usize::from(owner)) {
        Some(row) if owner != NONE => IpAddr::from(row.address).to_string(),
        _ => "nobody".to_owned(),
    };
    let (current, previous, slot) = (address(word.current()), address(word.previous()), slot - entry.first_slot);
    let records = node.tables().flows.borrow().contains_key(&flow.key6());
    format!("at node {number} slot {slot} is {current}'s, before {previous}'s, with a record: {records}")
}
