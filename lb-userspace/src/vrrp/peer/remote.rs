//! What the peer says of its virtual routers, put together from many datagrams.
//!
//! Datagrams of different paths overtake each other, so each report keeps the number of the datagram it came in: an older
//! one changes nothing. A router that the peer no longer has is forgotten once all those of its new list are known.

use super::message::Header;
use super::{MAX_REPORTS, RouterReport};

#[derive(Debug, Default)]
pub(super) struct Remote {
    /// Sorted by name.
    reports: Vec<RouterReport>,
    /// Of each report: which datagram and which list it came with.
    marks: Vec<Mark>,
    /// The newest datagram, and the list it told of.
    newest: Mark,
    total: usize,
}

#[derive(Clone, Copy, Debug, Default)]
struct Mark {
    number: u64,
    generation: u32,
}

impl Remote {
    pub fn reports(&self) -> &[RouterReport] {
        &self.reports
    }

    /// Whether every router of the peer's list is known.
    pub fn is_complete(&self) -> bool {
        self.newest.number > 0 && self.current() >= self.total
    }

    /// Takes note of a datagram; whether it changes anything.
    pub fn hear(&mut self, header: &Header, reports: Vec<RouterReport>) -> bool {
        let mark = Mark { number: header.number, generation: header.generation };
        if mark.number > self.newest.number {
            self.newest = mark;
            self.total = header.total.into();
        } else if mark.generation != self.newest.generation {
            return false;
        }
        let mut changed = false;
        for report in reports {
            changed |= self.place(mark, report);
        }
        changed | self.forget()
    }

    fn place(&mut self, mark: Mark, report: RouterReport) -> bool {
        match self.reports.binary_search_by(|known| known.name.cmp(&report.name)) {
            Ok(at) if self.marks[at].number >= mark.number => false,
            Ok(at) => {
                self.marks[at] = mark;
                let changed = self.reports[at] != report;
                self.reports[at] = report;
                changed
            }
            // Twice the limit: while one list replaces another, both are here.
            Err(_) if self.reports.len() >= 2 * MAX_REPORTS => false,
            Err(at) => {
                self.reports.insert(at, report);
                self.marks.insert(at, mark);
                true
            }
        }
    }

    /// Forgets those of earlier lists when the present one is known.
    fn forget(&mut self) -> bool {
        let current = self.current();
        if current < self.total || current == self.reports.len() {
            return false;
        }
        let generation = self.newest.generation;
        let mut marks = self.marks.iter();
        self.reports.retain(|_| marks.next().is_some_and(|mark| mark.generation == generation));
        self.marks.retain(|mark| mark.generation == generation);
        true
    }

    fn current(&self) -> usize {
        self.marks.iter().filter(|mark| mark.generation == self.newest.generation).count()
    }
}
