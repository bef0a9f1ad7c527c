//! The connections between the nodes, as TCP makes them look: what is said comes later, in order; a connection ends when one side
//! ends it, and the other hears of that, or does not. In rough histories messages are lost, overtaken and doubled besides, which TCP does
//! not do and the exchange survives.

use std::collections::VecDeque;
use std::time::Duration;

use fairway::exchange::item::{Backend, FlowId};
use fairway::exchange::party::Deed;
use fairway::exchange::{Answer, Body, Direction, Event, Key, Message, Value};
use lb_common::packet::transport::source_port_wire;

use crate::world::{World, tell};

/// What is said takes so long at most while nothing is wrong.
pub const LONGEST_DELAY: Duration = Duration::from_millis(3);
/// After a connection failed or ended, the next is tried so much later.
const AGAIN: Duration = Duration::from_millis(250);

/// A connection, by which one node tells and the other answers.
pub struct Session {
    boots: [u64; 2],
    /// Which node takes it for open.
    pub is_open: [bool; 2],
    /// What was told on it will not be heard to the end: something was lost or overtaken.
    is_spoiled: bool,
    there: Way,
    back: Way,
}

/// One direction of it: what is under way, and when it comes; and whether the last of it is there twice.
#[derive(Default)]
struct Way(VecDeque<(Duration, Frame)>, bool);

enum Frame {
    Hello,
    Payload(Vec<u8>),
    End,
}

/// All of it.
#[derive(Default)]
pub struct Link {
    /// By who tells.
    pub sessions: [Option<Session>; 2],
    connect_at: [Duration; 2],
    /// Nothing comes through.
    pub is_cut: bool,
    /// Nothing comes through before.
    pub stalled_until: Duration,
    /// Messages are lost, overtaken and doubled.
    pub is_rough: bool,
}

impl Link {
    pub fn is_through(&self, now: Duration) -> bool {
        !self.is_cut && now >= self.stalled_until
    }

    /// Whether both sides take the connection by which a node tells for open, and nothing is missing on it.
    pub fn tells(&self, teller: usize) -> bool {
        self.sessions[teller].as_ref().is_some_and(|session| session.is_open == [true; 2] && !session.is_spoiled)
    }

    /// When the next thing comes.
    pub fn due(&self) -> Option<Duration> {
        if self.is_cut {
            return None;
        }
        let ways = self.sessions.iter().flatten().flat_map(|session| [&session.there, &session.back]);
        ways.filter_map(|way| Some(way.0.front()?.0)).min().map(|at| at.max(self.stalled_until))
    }

    pub fn is_quiet(&self) -> bool {
        self.sessions.iter().flatten().all(|session| session.there.0.is_empty() && session.back.0.is_empty())
    }
}

impl World {
    /// Who has no connection opens one.
    pub fn connect(&mut self, teller: usize) {
        let is_there = self.link.sessions[teller].as_ref().is_some_and(|session| session.is_open[teller]);
        if is_there || self.now < self.link.connect_at[teller] {
            return;
        }
        self.link.connect_at[teller] = self.now + AGAIN;
        if !self.nodes[1 - teller].is_up || !self.link.is_through(self.now) {
            return;
        }
        let boots = [self.nodes[0].boot, self.nodes[1].boot];
        let (there, back) = (Way::default(), Way::default());
        self.link.sessions[teller] = Some(Session { boots, is_open: [false; 2], is_spoiled: false, there, back });
        self.send(teller, teller, Frame::Hello);
    }

    /// Takes what a node has to say to the network.
    pub fn post(&mut self, node: usize) {
        while !self.nodes[node].outbox.is_empty() {
            for deed in std::mem::take(&mut self.nodes[node].outbox) {
                match deed {
                    Deed::Tell(message) => self.send(node, node, Frame::Payload(message.encode())),
                    Deed::Answer(answer) => self.send(1 - node, node, Frame::Payload(answer.encode())),
                    Deed::Close(direction, why) => {
                        tell!(self, "node {node} ends {direction:?}: {why}");
                        self.close(node, direction);
                    }
                    _ => {}
                }
            }
        }
    }

    fn close(&mut self, node: usize, direction: Direction) {
        let teller = if direction == Direction::Telling { node } else { 1 - node };
        self.link.connect_at[node] = self.link.connect_at[node].max(self.now + AGAIN);
        let session = self.link.sessions[teller].as_mut();
        if session.is_some_and(|session| std::mem::take(&mut session.is_open[node])) {
            self.send(teller, node, Frame::End);
            self.hear(node, Event::Lost(direction));
        }
    }

    /// A node says something on the connection by which `teller` tells.
    fn send(&mut self, teller: usize, node: usize, frame: Frame) {
        let delay = Duration::from_micros(200 + self.rng.below(LONGEST_DELAY.as_micros() as u64 - 200));
        let is_rough = self.link.is_rough && !self.is_healed && matches!(frame, Frame::Payload(_));
        let (is_lost, is_doubled, overtakes) =
            (is_rough && self.rng.one_in(100), is_rough && self.rng.one_in(60), is_rough && self.rng.one_in(100));
        let Some(session) = &mut self.link.sessions[teller] else { return };
        let way = if teller == node { &mut session.there } else { &mut session.back };
        // What overtakes the second of two leaves no gap.
        let overtakes = overtakes && !way.0.is_empty() && !way.1 && !is_doubled;
        session.is_spoiled |= teller == node && (is_lost || overtakes);
        let at = way.0.back().map_or(Duration::ZERO, |(at, _)| *at).max(self.now + delay);
        if is_lost {
            return self.coverage.note("lost messages");
        }
        if is_doubled && let Frame::Payload(payload) = &frame {
            way.0.push_back((at, Frame::Payload(payload.clone())));
        }
        way.0.push_back((at, frame));
        way.1 = is_doubled;
        if overtakes {
            let length = way.0.len();
            way.0.swap(length - 1, length - 2);
            let [first, second] = [way.0[length - 2].0, way.0[length - 1].0];
            (way.0[length - 2].0, way.0[length - 1].0) = (first.min(second), first.max(second));
        }
    }

    /// What has come by now is heard.
    pub fn carry(&mut self) -> Result<(), String> {
        if !self.link.is_through(self.now) {
            return Ok(());
        }
        for teller in 0..2 {
            while let Some(frame) = self.next(teller, teller) {
                self.arrive(teller, 1 - teller, frame)?;
            }
            while let Some(frame) = self.next(teller, 1 - teller) {
                self.arrive(teller, teller, frame)?;
            }
        }
        Ok(())
    }

    /// What comes next of what a node said.
    fn next(&mut self, teller: usize, node: usize) -> Option<Frame> {
        let (now, session) = (self.now, self.link.sessions[teller].as_mut()?);
        let way = if teller == node { &mut session.there } else { &mut session.back };
        way.0.pop_front_if(|(at, _)| *at <= now).map(|(_, frame)| frame)
    }

    fn arrive(&mut self, teller: usize, to: usize, frame: Frame) -> Result<(), String> {
        let direction = if teller == to { Direction::Telling } else { Direction::Following };
        let Some(session) = &mut self.link.sessions[teller] else { return Ok(()) };
        if !self.nodes[to].is_up || session.boots[to] != self.nodes[to].boot {
            return Ok(());
        }
        let peer = session.boots[1 - to];
        match frame {
            Frame::Hello => {
                session.is_open[to] = true;
                tell!(self, "node {to} is connected, {direction:?}");
                if direction == Direction::Following {
                    if self.nodes[to].is_told {
                        self.hear(to, Event::Lost(direction));
                    }
                    self.send(teller, to, Frame::Hello);
                }
                self.hear(to, Event::Connected(direction, peer));
            }
            Frame::End if std::mem::take(&mut session.is_open[to]) => {
                tell!(self, "node {to} hears the end of {direction:?}");
                self.link.connect_at[to] = self.link.connect_at[to].max(self.now + AGAIN);
                self.hear(to, Event::Lost(direction));
            }
            Frame::Payload(octets) if session.is_open[to] => self.read(direction, to, &octets)?,
            Frame::End | Frame::Payload(_) => {}
        }
        Ok(())
    }

    fn read(&mut self, direction: Direction, to: usize, octets: &[u8]) -> Result<(), String> {
        let event = if direction == Direction::Telling {
            Event::Answered(
                Answer::decode(octets).map_err(|it| format!("an answer is not read as it was written: {it:?}"))?,
            )
        } else {
            let mut message =
                Message::decode(octets).map_err(|it| format!("a message is not read as it was written: {it:?}"))?;
            self.fault.of_message(&mut message, self.nodes[to].is_master);
            if self.tell {
                tell!(self, "node {to} is told {}", words(&message.body));
            }
            self.note_message(to, &message);
            Event::Told(message)
        };
        self.hear(to, event);
        Ok(())
    }

    /// Something happens to a node's exchange.
    fn hear(&mut self, node: usize, event: Event) {
        let now = self.now;
        self.nodes[node].hear(now, event);
        self.post(node);
    }

    /// A node's memory is lost. Of what it had said the first part still comes; `says_so`: its kernel ends its connections.
    pub fn cut_off(&mut self, node: usize, says_so: bool) {
        for teller in 0..2 {
            let kept = self.rng.below(4) as usize;
            let Some(session) = &mut self.link.sessions[teller] else { continue };
            let was_open = std::mem::take(&mut session.is_open[node]);
            let way = if teller == node { &mut session.there } else { &mut session.back };
            way.0.truncate(kept);
            if was_open && says_so {
                self.send(teller, node, Frame::End);
            }
        }
    }
}

/// What is said, in short.
fn words(body: &Body) -> String {
    let Body::Items { epoch, items, .. } = body else { return format!("{body:?}") };
    let item = |(key, value): &(Key, Option<Value>)| match (key, value) {
        (Key::Flow(flow, _), Some(Value::Flow(record))) => {
            format!("flow {}: {}, state {}", id_of(flow), record.backend, record.state)
        }
        (Key::Flow(flow, _), _) => format!("flow {}: gone", id_of(flow)),
        (Key::Backends(service, _), Some(Value::Backends(backends))) => {
            let backend = |it: &Backend| format!("{} is {} of {}", it.index, it.identity, it.weight);
            format!("{service}: {}", backends.iter().map(backend).collect::<Vec<_>>().join(", "))
        }
        (Key::Slots(service, _), Some(Value::Slots(notes))) => {
            let notes: Vec<String> =
                notes.iter().map(|note| format!("{} before {}", note.slot, note.previous)).collect();
            format!("{service}: slots {}", notes.join(", "))
        }
        (key, value) => format!("{key:?}: {value:?}"),
    };
    format!("under {epoch}: {}", items.iter().map(item).collect::<Vec<_>>().join("; "))
}

/// The number of a flow.
pub fn id_of(flow: &FlowId) -> u16 {
    u16::from_be(source_port_wire(flow.key().ports_wire)).wrapping_sub(1024)
}
