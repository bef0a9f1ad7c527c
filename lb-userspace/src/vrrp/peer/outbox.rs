//! What to say of our own routers in the next datagram: what changed first, then the others in turn.
//!
//! A change is said [`REPEATS`] times before it is an ordinary report again, since datagrams are lost; the turn repeats
//! everything for ever, so that a peer that missed all of them, or restarted, knows everything after one round. 1,023
//! routers with names of 15 octets are a round of 19 datagrams.

use std::cmp::Reverse;

use super::message::size;
use super::{MAX_REPORTS, RouterReport};

/// How often a change is said ahead of the others.
const REPEATS: u8 = 3;

/// A datagram counts its reports in an octet.
const MAX_IN_DATAGRAM: usize = 255;

#[derive(Debug, Default)]
pub(super) struct Outbox {
    entries: Vec<Entry>,
    /// Changes with the set of names.
    generation: u32,
    /// The entry whose turn it is.
    turn: usize,
}

#[derive(Debug)]
struct Entry {
    report: RouterReport,
    /// How often it is still to be said ahead of the others.
    fresh: u8,
}

impl Outbox {
    /// Replaces what there is to say. Those beyond [`MAX_REPORTS`], and names that no datagram holds, are left out; the
    /// configuration allows neither.
    pub fn set(&mut self, reports: Vec<RouterReport>) {
        let reports = reports.into_iter().filter(|report| report.name.len() <= 255).take(MAX_REPORTS);
        let old = std::mem::take(&mut self.entries);
        self.entries = reports.map(|report| Entry { report, fresh: REPEATS }).collect();
        if !self.has_names_of(&old) {
            self.generation = self.generation.wrapping_add(1);
            self.turn = 0;
            return;
        }
        for (new, old) in self.entries.iter_mut().zip(old) {
            new.fresh = if new.report == old.report { old.fresh } else { REPEATS };
        }
    }

    pub fn generation(&self) -> u32 {
        self.generation
    }

    pub fn total(&self) -> u16 {
        self.entries.len() as u16
    }

    pub fn reports(&self) -> impl Iterator<Item = &RouterReport> {
        self.entries.iter().map(|entry| &entry.report)
    }

    /// Says everything as though it were new: to a peer that has just come.
    pub fn refresh(&mut self) {
        self.entries.iter_mut().for_each(|entry| entry.fresh = REPEATS);
    }

    /// The reports of the next moment, one list a datagram of `room` octets: one datagram, or with `urgent` as many as it
    /// takes to say every change.
    pub fn next(&mut self, room: usize, urgent: bool) -> Vec<Vec<RouterReport>> {
        let mut datagrams = self.changed(room, urgent);
        let last = datagrams.last_mut().expect("there is always one, be it empty");
        self.fill(last);
        datagrams.into_iter().map(|datagram| self.reports_at(&datagram.entries)).collect()
    }

    /// The freshest changes, as many as may go.
    fn changed(&mut self, room: usize, urgent: bool) -> Vec<Datagram> {
        let mut order: Vec<usize> = (0..self.entries.len()).filter(|&at| self.entries[at].fresh > 0).collect();
        order.sort_by_key(|&at| Reverse(self.entries[at].fresh));
        let mut datagrams = Vec::new();
        let mut last = Datagram::new(room);
        for at in order {
            let entry = &mut self.entries[at];
            if !last.push(at, &entry.report) {
                if !urgent {
                    break;
                }
                datagrams.push(std::mem::replace(&mut last, Datagram::new(room)));
                last.push(at, &entry.report);
            }
            entry.fresh -= 1;
        }
        datagrams.push(last);
        datagrams
    }

    /// Fills up with those whose turn it is.
    fn fill(&mut self, datagram: &mut Datagram) {
        let mut said = vec![false; self.entries.len()];
        datagram.entries.iter().for_each(|&at| said[at] = true);
        for _ in 0..self.entries.len() {
            if !said[self.turn] && !datagram.push(self.turn, &self.entries[self.turn].report) {
                break;
            }
            self.turn = (self.turn + 1) % self.entries.len();
        }
    }

    fn reports_at(&self, entries: &[usize]) -> Vec<RouterReport> {
        entries.iter().map(|&at| self.entries[at].report.clone()).collect()
    }

    fn has_names_of(&self, old: &[Entry]) -> bool {
        self.entries.len() == old.len()
            && self.entries.iter().zip(old).all(|(new, old)| new.report.name == old.report.name)
    }
}

/// Which entries a datagram says.
struct Datagram {
    entries: Vec<usize>,
    left: usize,
}

impl Datagram {
    fn new(room: usize) -> Self {
        Self { entries: Vec::new(), left: room }
    }

    /// Whether it fits, and then it is in.
    fn push(&mut self, at: usize, report: &RouterReport) -> bool {
        if size(report) > self.left || self.entries.len() == MAX_IN_DATAGRAM {
            return false;
        }
        self.left -= size(report);
        self.entries.push(at);
        true
    }
}
