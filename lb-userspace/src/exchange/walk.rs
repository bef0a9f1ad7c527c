//! The walk over the tables that finds what differs from what was told. Some thousands of records at a time; after each piece it rests
//! many times as long as that took.

use std::ops::ControlFlow;
use std::time::Duration;

use super::changes::{Changes, Noted};
use super::directory::{Directory, Kind};
use super::item::Key;
use super::store::Store;
use super::tables::{Tables, all, client_key, client_value, value};
use super::translations;

/// Time between the beginnings of two walks, at least.
pub const INTERVAL: Duration = Duration::from_millis(250);
/// A walk rests so many times as long as it works at most, and has one sixty-fourth of a core;
const MOST_REST: u32 = 63;
/// and so many times at least: it never has more than a tenth.
const LEAST_REST: u32 = 9;
/// In between it rests so long that it takes about this time in all, or half of what a SYN may wait for what follows, where that is less:
/// the other node, which was told of the SYN, is to hear that the connection is established before it forgets it, though the packet path had
/// no room to say so.
const AIM: Duration = Duration::from_secs(20);
/// Once a realm is given up a walk begins at once, and for so long it goes on whenever it may: what it does not find by the time that the next
/// master has claimed the realm is not told. Some tens of thousands of records have that time.
const HURRY: Duration = Duration::from_millis(100);
/// Work is done in pieces of about so long.
const PIECE: Duration = Duration::from_millis(1);

/// What is walked over.
#[derive(Clone, Copy)]
pub(super) enum Table {
    /// Records of one kind, of IPv4 or not.
    Flows(Kind, bool),
    /// Clients that are remembered.
    Clients,
    /// Translations, of IPv4 or not.
    Translations(bool),
}

/// See the module's description.
pub struct Walker<S: Store> {
    /// Tables that are to be walked still, the next one last; empty: none is under way.
    left: Vec<Table>,
    /// Whether the walk over that one has begun.
    is_entered: bool,
    walks: S::Walks,
    translation_walks: translations::Walks<S>,
    began: Duration,
    /// Without rests: this walk so far, and the one before.
    worked: Duration,
    worked_before: Duration,
    /// About how long it should take.
    aim: Duration,
    rest_until: Duration,
    hurries_until: Duration,
    took: Option<Duration>,
    count: u64,
}

impl<S: Store> Default for Walker<S> {
    fn default() -> Self {
        Self {
            left: Vec::new(),
            is_entered: false,
            walks: S::Walks::default(),
            translation_walks: translations::Walks::<S>::default(),
            began: Duration::ZERO,
            worked: Duration::ZERO,
            worked_before: Duration::ZERO,
            aim: Duration::ZERO,
            rest_until: Duration::ZERO,
            hurries_until: Duration::ZERO,
            took: None,
            count: 0,
        }
    }
}

impl<S: Store> Walker<S> {
    /// Walks that were completed.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// How long the last walk took, rests included.
    pub fn took(&self) -> Option<Duration> {
        self.took
    }

    /// What was walked over of the walk under way was in vain: it begins anew.
    pub fn restart(&mut self) {
        self.left.clear();
    }

    /// A realm is given up: what was heard of its flows last is to be known before it is another's.
    pub fn hurry(&mut self, now: Duration) {
        self.restart();
        (self.began, self.rest_until, self.hurries_until) = (Duration::ZERO, now, now + HURRY);
    }

    /// Goes on for a piece, if it is time; what it found.
    ///
    /// # Errors
    /// When the store refuses; the walk begins anew.
    pub fn go_on(
        &mut self,
        clock: impl Fn() -> Duration,
        tables: &mut Tables<S>,
        mut noted: Noted<'_, impl Fn(&str) -> bool>,
    ) -> anyhow::Result<Changes> {
        let began = clock();
        let mut found = Changes::default();
        if began < self.rest_until || self.left.is_empty() && !self.begin(began, tables, noted.directory()) {
            return Ok(found);
        }
        let mut now = began;
        while now < began + PIECE && !self.left.is_empty() {
            if let Err(error) = self.step(now, tables, &mut noted, &mut found) {
                let (count, worked_before) = (self.count, self.worked_before);
                *self = Self { rest_until: began + INTERVAL, count, worked_before, ..Self::default() };
                return Err(error);
            }
            now = clock();
        }
        self.worked += now - began;
        let rests = if now < self.hurries_until { 0 } else { rest(self.worked.max(self.worked_before), self.aim) };
        self.rest_until = now + (now - began) * rests;
        if self.left.is_empty() {
            self.worked_before = std::mem::take(&mut self.worked);
            self.took = Some(now - self.began);
            self.count += 1;
        }
        Ok(found)
    }

    fn begin(&mut self, now: Duration, tables: &Tables<S>, directory: &Directory) -> bool {
        if now < self.began + INTERVAL {
            return false;
        }
        (self.began, self.aim) = (now, directory.syn_timeout().map_or(AIM, |timeout| AIM.min(timeout / 2)));
        let is_used = |&(kind, is_v4): &(Kind, bool)| directory.uses(kind, is_v4) || !tables.told.is_empty(kind, is_v4);
        self.left = all().filter(is_used).map(|(kind, is_v4)| Table::Flows(kind, is_v4)).collect();
        if directory.remembers_clients() || !tables.told.clients.is_empty() {
            self.left.push(Table::Clients);
        }
        let is_used = |&is_v4: &bool| directory.translates(is_v4) || !tables.translations.is_empty(is_v4);
        self.left.extend([true, false].into_iter().filter(is_used).map(Table::Translations));
        self.is_entered = false;
        !self.left.is_empty()
    }

    /// The next records of the table that is walked.
    fn step(
        &mut self,
        now: Duration,
        tables: &mut Tables<S>,
        noted: &mut Noted<'_, impl Fn(&str) -> bool>,
        found: &mut Changes,
    ) -> anyhow::Result<()> {
        let Some(&table) = self.left.last() else { return Ok(()) };
        let is_first = !std::mem::replace(&mut self.is_entered, true);
        let more = match table {
            Table::Flows(kind, is_v4) => self.step_flows(kind, is_v4, is_first, tables, noted, found)?,
            Table::Clients => self.step_clients(is_first, tables, noted, found)?,
            Table::Translations(is_v4) => {
                let walks = &mut self.translation_walks;
                tables.step_translations(is_v4, is_first, walks, noted, now, found)?
            }
        };
        if more.is_break() {
            self.left.pop();
            self.is_entered = false;
        }
        Ok(())
    }

    fn step_flows(
        &mut self,
        kind: Kind,
        is_v4: bool,
        is_first: bool,
        tables: &mut Tables<S>,
        noted: &mut Noted<'_, impl Fn(&str) -> bool>,
        found: &mut Changes,
    ) -> anyhow::Result<ControlFlow<()>> {
        let stateful = kind == Kind::Connection;
        if is_first {
            tables.told.begin(kind, is_v4);
        }
        let more = tables.step_flows(kind, is_v4, &mut self.walks, |told, sampler, flow, record| {
            let Some(entry) = noted.of_pool(record.pool) else { return };
            sampler.offer(&entry.realm, flow, stateful);
            if told.shows(kind, flow, record, entry.timeout(flow, record.state, stateful)) {
                found.push(&entry.realm, Key::Flow(flow.into(), stateful), Some(value(record)));
            }
        })?;
        if more.is_break() {
            for (flow, pool) in tables.told.end(kind, is_v4) {
                let Some(entry) = noted.directory().of_pool(pool) else { continue };
                found.push(&entry.realm, Key::Flow((&flow).into(), stateful), None);
            }
        }
        Ok(more)
    }

    fn step_clients(
        &mut self,
        is_first: bool,
        tables: &mut Tables<S>,
        noted: &mut Noted<'_, impl Fn(&str) -> bool>,
        found: &mut Changes,
    ) -> anyhow::Result<ControlFlow<()>> {
        let Tables { records, told, .. } = tables;
        if is_first {
            told.clients.begin();
        }
        let more = records.step_clients(&mut self.walks, |client, record| {
            let Some(entry) = noted.of_pool(record.pool) else { return };
            if told.clients.shows(client, record, entry.persistence) {
                found.push(&entry.realm, client_key(entry, client), Some(client_value(record)));
            }
        })?;
        if more.is_break() {
            for (client, pool) in told.clients.end() {
                let Some(entry) = noted.directory().of_pool(pool) else { continue };
                found.push(&entry.realm, client_key(entry, &client), None);
            }
        }
        Ok(more)
    }
}

/// How many times as long as a piece took a walk rests after it that works so long in all.
fn rest(worked: Duration, aim: Duration) -> u32 {
    let aim = aim.as_micros() / worked.as_micros().max(1);
    u32::try_from(aim.saturating_sub(1)).unwrap_or(u32::MAX).clamp(LEAST_REST, MOST_REST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_walk_has_little_of_a_core_unless_it_would_take_too_long() {
        for (worked, aim, share) in [
            (0, 20, 64),
            (100, 20, 64),
            (312, 20, 64),
            (1_000, 20, 20),
            (2_000, 20, 10),
            (60_000, 20, 10),
            (100, 2, 20),
        ] {
            let rests = rest(Duration::from_millis(worked), Duration::from_secs(aim));
            assert_eq!(rests + 1, share, "{worked} ms of work in {aim} s");
        }
    }
}
