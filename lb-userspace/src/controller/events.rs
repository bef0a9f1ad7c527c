//! The event store: the last ten thousand things worth telling, numbered in the one order in which they happened.
//!
//! Pure; `effects::events` lets others follow it. Numbers are without gaps, so whoever knows the last one it has seen gets
//! everything after it, or is told how much it has missed. They begin anew with each daemon.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use crate::happening::Happening;

/// Events that are kept; the oldest goes first. At a few hundred octets each this is some megabytes, and a day of an
/// unquiet network.
pub const CAPACITY: usize = 10_000;

/// Something that happened, and when.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// Its number; the first is 1.
    pub sequence: u64,
    /// Seconds since the Unix epoch.
    pub time: f64,
    /// What it was.
    #[serde(flatten)]
    pub happening: Happening,
}

/// Events after a given number.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Page {
    /// Events in between that are not kept any more.
    pub missed: u64,
    /// In order.
    pub events: Vec<Event>,
}

/// A line of the event stream.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Line {
    /// An event.
    Event(Event),
    /// What a reader that is too slow has lost.
    Missed {
        /// So many events before the next line are not kept any more.
        missed: u64,
    },
}

impl Page {
    /// As lines: what was missed, if anything, then the events.
    pub fn lines(self) -> impl Iterator<Item = Line> {
        let missed = (self.missed > 0).then_some(Line::Missed { missed: self.missed });
        missed.into_iter().chain(self.events.into_iter().map(Line::Event))
    }

    /// The number to ask for what comes next, after a question for what came after `asked`.
    pub fn position(&self, asked: u64) -> u64 {
        self.events.last().map_or(asked, |event| event.sequence)
    }
}

/// See the module's description.
#[derive(Clone, Debug, Default)]
pub struct Events {
    kept: VecDeque<Event>,
    last: u64,
    dropped: u64,
}

impl Events {
    /// Takes note of something that happened at `time`, in seconds since the Unix epoch.
    pub fn record(&mut self, time: f64, happening: Happening) -> &Event {
        if self.kept.len() == CAPACITY {
            self.kept.pop_front();
            self.dropped += 1;
        }
        self.last += 1;
        self.kept.push_back(Event { sequence: self.last, time, happening });
        self.kept.back().expect("an event was just added")
    }

    /// At most `limit` of the events after number `sequence`; 0 asks from the oldest that is kept on without calling the
    /// older ones missed. A number that was not given yet is of a daemon before this one: the answer then begins anew.
    pub fn since(&self, sequence: u64, limit: usize) -> Page {
        let known = if sequence > self.last { 0 } else { sequence };
        let missed = if known == 0 { 0 } else { self.dropped.saturating_sub(known) };
        let skipped = usize::try_from(known.saturating_sub(self.dropped)).expect("no more than are kept");
        Page { missed, events: self.kept.range(skipped..).take(limit).cloned().collect() }
    }

    /// The number of the last event; 0: there was none.
    pub fn last(&self) -> u64 {
        self.last
    }

    /// Events that are not kept any more.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;
    use crate::vrrp::view::State;

    #[test]
    fn events_are_numbered_from_one_without_gaps() {
        let events = filled(3);
        assert_eq!(numbers(&events.since(0, 10)), [1, 2, 3]);
        assert_eq!(numbers(&events.since(2, 10)), [3]);
        assert_eq!(events.since(3, 10), Page::default());
        assert_eq!(events.last(), 3);
    }

    #[test]
    fn a_page_says_where_the_next_begins() {
        let events = filled(5);
        let first = events.since(1, 2);
        assert_eq!((numbers(&first), first.position(1)), (vec![2, 3], 3));
        let rest = events.since(3, 2);
        assert_eq!((numbers(&rest), rest.position(3)), (vec![4, 5], 5));
        assert_eq!(events.since(5, 2).position(5), 5, "nothing new: ask again from the same place");
    }

    #[test]
    fn a_line_says_what_was_missed_before_the_events_after_it() {
        let lines: Vec<Line> = Page { missed: 4, ..filled(1).since(0, 1) }.lines().collect();
        let json = lines.iter().map(|line| serde_json::to_string(line).unwrap()).collect::<Vec<_>>();
        assert_eq!(json, [r#"{"missed":4}"#, r#"{"sequence":1,"time":0.0,"kind":"stalled","seconds":0.5}"#]);
        let read = json.iter().map(|line| serde_json::from_str::<Line>(line).unwrap()).collect::<Vec<_>>();
        assert_eq!(read, lines);
    }

    #[test]
    fn the_oldest_go_first_and_who_is_late_learns_how_many() {
        let events = filled(CAPACITY as u64 + 7);
        assert_eq!(events.dropped(), 7);
        let late = events.since(3, 2);
        assert_eq!((late.missed, numbers(&late)), (4, vec![8, 9]));
        let just_in_time = events.since(7, 1);
        assert_eq!((just_in_time.missed, numbers(&just_in_time)), (0, vec![8]));
        let from_the_beginning = events.since(0, CAPACITY + 1);
        assert_eq!((from_the_beginning.missed, from_the_beginning.events.len()), (0, CAPACITY));
    }

    #[test]
    fn a_number_of_an_earlier_daemon_begins_anew() {
        assert_eq!(numbers(&filled(2).since(4_000, 10)), [1, 2]);
    }

    #[test]
    fn an_event_is_one_flat_object() {
        let mut events = Events::default();
        let address: IpAddr = "203.0.113.10".parse().expect("an address");
        let event = events.record(
            1_700_000_000.25,
            Happening::Transition {
                router: "public".into(),
                from: State::Backup,
                to: State::Master,
                reason: "no advertisement for 3.6 s".into(),
                addresses: vec![address],
            },
        );
        let json = r#"{"sequence":1,"time":1700000000.25,"kind":"transition","router":"public","from":"backup","to":"master","reason":"no advertisement for 3.6 s","addresses":["203.0.113.10"]}"#;
        assert_eq!(serde_json::to_string(event).unwrap(), json);
        assert_eq!(&serde_json::from_str::<Event>(json).unwrap(), event);
    }

    fn filled(count: u64) -> Events {
        let mut events = Events::default();
        for number in 0..count {
            events.record(number as f64, Happening::Stalled { seconds: 0.5 });
        }
        events
    }

    fn numbers(page: &Page) -> Vec<u64> {
        page.events.iter().map(|event| event.sequence).collect()
    }
}
