//! The takeover, rehearsed: draws packets whose fate is told to the peer, and has what the peer says compared with this node's own. The
//! packet path is the daemon's to ask; it is asked one question of each kind at a time, and what comes while it is busy is passed over.

use std::sync::Arc;

use tracing::warn;

use super::Shell;
use crate::exchange::directory::{Entry, Kind};
use crate::exchange::item::FlowId;
use crate::exchange::rehearsal::{Answer, Decision, INTERVAL, MOST, MOST_OF_REALM, Packet, Purpose, Question, draw};
use crate::exchange::store::Store as _;
use crate::exchange::view::RehearsalView;
use crate::exchange::{Direction, Event, Word};

impl Shell {
    /// Draws packets, if it is time: of what the peer has all of.
    pub(super) fn rehearse(&mut self) {
        let now = self.now();
        self.comparison.pass(now);
        if now < self.rehearse_at || self.party.tables.is_none() {
            return;
        }
        self.rehearse_at = now + INTERVAL;
        self.rehearsals = self.rehearsals.wrapping_add(1);
        let directory = Arc::clone(&self.party.directory);
        let told: Vec<&Arc<str>> = directory.realms.iter().filter(|realm| self.party.exchange.is_told(realm)).collect();
        let turns = MOST / MOST_OF_REALM;
        let first = if told.len() > turns { self.rehearsals as usize * turns } else { 0 };
        let mut packets = Vec::new();
        for at in 0..told.len().min(turns) {
            let realm = told[(first + at) % told.len()];
            let mut drawn = self.known_flows(realm);
            let services: Vec<&Arc<Entry>> = directory.of_realm(realm).collect();
            let count = MOST_OF_REALM - drawn.len();
            drawn.extend(draw(&services, count, self.rehearsals ^ self.start.boot));
            packets.append(&mut drawn);
        }
        if !packets.is_empty() {
            self.ask(Question { purpose: Purpose::Tell, packets });
        }
    }

    /// Packets of flows of a realm that have records.
    fn known_flows(&mut self, realm: &str) -> Vec<Packet> {
        let Some(tables) = &mut self.party.tables else { return Vec::new() };
        let flows = tables.sampler.take(realm);
        let packet = |(flow, stateful)| {
            let record = tables.records.get(Kind::of(&flow, stateful), &flow).ok().flatten()?;
            Some(Packet { flow, opens: false, record: Some((record, stateful)) })
        };
        flows.into_iter().filter_map(packet).collect()
    }

    /// Whoever is busy is not asked.
    fn ask(&mut self, question: Question) {
        drop(self.wires.ask.try_send(question));
    }

    /// The packet path has answered.
    pub(super) fn answered(&mut self, answer: Answer) {
        let Answer { question: Question { purpose, packets }, fates } = answer;
        match purpose {
            Purpose::Tell => {
                let decisions =
                    packets.iter().zip(fates).filter_map(|(packet, fate)| self.decision(packet, fate.ok()?));
                let words: Vec<Word> = decisions.map(Word::Decision).collect();
                if !words.is_empty() {
                    self.happened(Event::Say(words));
                }
            }
            Purpose::Compare(said) => {
                let now = self.now();
                let was_right = self.comparison.problem(now).is_none();
                self.comparison.note(now, &said, &fates);
                if let Some(problem) = self.comparison.problem(now).filter(|_| was_right) {
                    warn!("{problem}");
                }
            }
        }
    }

    /// What is told of a packet; nothing, if its flow has changed since, or not all is told by now.
    fn decision(&self, packet: &Packet, (service, backend): (Arc<str>, Arc<str>)) -> Option<Decision> {
        let entry = self.party.directory.service(&service).filter(|entry| self.party.exchange.is_told(&entry.realm))?;
        if let Some((record, stateful)) = packet.record {
            let tables = self.party.tables.as_ref()?;
            let now = tables.records.get(Kind::of(&packet.flow, stateful), &packet.flow).ok().flatten()?;
            let is_same = (now.pool, now.backend, now.state) == (record.pool, record.backend, record.state);
            return is_same.then(|| decision(&entry.name, packet, backend));
        }
        Some(decision(&entry.name, packet, backend))
    }

    /// The peer has said something.
    pub(super) fn heard(&mut self, words: Vec<Word>) {
        let (mut decisions, mut others) = (Vec::new(), Vec::new());
        for word in words {
            match word {
                Word::Decision(decision) => decisions.push(decision),
                Word::Intent(_) | Word::Verdict(_) => others.push(word),
            }
        }
        self.compare(decisions);
        if !others.is_empty() && self.wires.hear.try_send(others).is_err() {
            self.close(Direction::Following, "it says more than can be heard");
        }
    }

    /// Has what the peer says of realms that are followed compared with what this node would do.
    fn compare(&mut self, mut decisions: Vec<Decision>) {
        let follows = |service: &str| {
            self.party.directory.service(service).is_some_and(|entry| self.party.exchange.follows(&entry.realm))
        };
        decisions.retain(|decision| follows(&decision.service));
        decisions.truncate(MOST);
        let Some(tables) = self.party.tables.as_ref().filter(|_| !decisions.is_empty()) else { return };
        let packet = |decision: &Decision| {
            let flow = decision.flow.key();
            let stateful = self.party.directory.service(&decision.service).is_some_and(|it| it.first_load.is_some());
            let record = tables.records.get(Kind::of(&flow, stateful), &flow).ok().flatten();
            Packet { flow, opens: decision.opens, record: record.map(|record| (record, stateful)) }
        };
        let packets = decisions.iter().map(packet).collect();
        self.ask(Question { purpose: Purpose::Compare(decisions), packets });
    }

    pub(super) fn look_at_rehearsal(&self) -> RehearsalView {
        let (agreed, differed) = self.comparison.counts();
        let examples = self.comparison.examples().map(str::to_owned).collect();
        RehearsalView { ratio: self.comparison.ratio(), agreed, differed, examples }
    }
}

fn decision(service: &Arc<str>, packet: &Packet, backend: Arc<str>) -> Decision {
    Decision { service: Arc::clone(service), flow: FlowId::from(&packet.flow), opens: packet.opens, backend }
}
