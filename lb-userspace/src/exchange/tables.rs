//! The tables of records as the exchange uses them: what was told of them, and what is to be told of a record.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use lb_common::abi::{ClientKey, FlowKey4, FlowKey6, Record, Recorded};
use lb_common::address::Address;
use lb_common::flow::Flow;

use super::changes::{Changes, Noted};
use super::directory::{Entry, Kind};
use super::item::{FlowRecord, Key, Value};
use super::linear_table::AHEAD;
use super::nanoseconds;
use super::rehearsal::Sampler;
use super::store::{Fresh, Store};
use super::told::Told;
use super::translations::ToldTranslations;

/// See the module's description.
#[derive(Debug)]
pub struct Tables<S> {
    /// The tables themselves.
    pub records: S,
    /// What was told of them.
    pub told: ToldTables,
    /// Some of the records that were walked over.
    pub sampler: Sampler,
    /// The same of translations.
    pub translations: ToldTranslations,
    /// Records of a step.
    seen: Vec<(FlowKey6, Record)>,
    unplaced: BTreeMap<&'static str, u64>,
    lacks_backends: bool,
}

/// What was told of each table.
#[derive(Debug, Default)]
pub struct ToldTables {
    v4: [Told<FlowKey4>; 3],
    v6: [Told<FlowKey6>; 3],
    /// Clients that are remembered.
    pub clients: Told<ClientKey>,
}

impl ToldTables {
    /// See [`Told::shows`].
    pub fn shows(&mut self, kind: Kind, flow: &FlowKey6, record: &Record, timeout: u64) -> bool {
        if flow.source.is_v4() {
            self.v4[kind as usize].shows(&Flow::from(*flow).key4(), record, timeout)
        } else {
            self.v6[kind as usize].shows(flow, record, timeout)
        }
    }

    /// See [`Told::touch`]; all of one kind, of IPv4 or not.
    pub fn touch<'a>(&self, kind: Kind, is_v4: bool, flows: impl Iterator<Item = &'a FlowKey6>) {
        if is_v4 {
            self.v4[kind as usize].touch(flows.map(|flow| Flow::from(*flow).key4()));
        } else {
            self.v6[kind as usize].touch(flows.copied());
        }
    }

    /// See [`Told::begin`].
    pub fn begin(&mut self, kind: Kind, is_v4: bool) {
        if is_v4 { self.v4[kind as usize].begin() } else { self.v6[kind as usize].begin() }
    }

    /// See [`Told::end`].
    pub fn end(&mut self, kind: Kind, is_v4: bool) -> Vec<(FlowKey6, u32)> {
        if is_v4 {
            self.v4[kind as usize].end().into_iter().map(|(key, pool)| (widen(&key), pool)).collect()
        } else {
            self.v6[kind as usize].end()
        }
    }

    /// Whether nothing of a table was told.
    pub fn is_empty(&self, kind: Kind, is_v4: bool) -> bool {
        if is_v4 { self.v4[kind as usize].is_empty() } else { self.v6[kind as usize].is_empty() }
    }

    /// Records that were told.
    pub(crate) fn len(&self) -> usize {
        let flows = self.v4.iter().map(Told::len).chain(self.v6.iter().map(Told::len));
        flows.sum::<usize>() + self.clients.len()
    }

    /// See [`Told::set_clock`].
    fn set_clock(&mut self, now: u64) {
        self.v4.iter_mut().for_each(|told| told.set_clock(now));
        self.v6.iter_mut().for_each(|told| told.set_clock(now));
        self.clients.set_clock(now);
    }

    /// See [`Told::forget`].
    pub fn forget(&mut self, is_of: impl Fn(u32) -> bool) {
        self.v4.iter_mut().for_each(|told| told.forget(&is_of));
        self.v6.iter_mut().for_each(|told| told.forget(&is_of));
        self.clients.forget(&is_of);
    }
}

impl<S: Store> Tables<S> {
    /// Nothing was told yet.
    pub fn new(records: S) -> Self {
        let (told, sampler, unplaced) = (ToldTables::default(), Sampler::default(), BTreeMap::new());
        let translations = ToldTranslations::default();
        Self { records, told, translations, sampler, seen: Vec::new(), unplaced, lacks_backends: false }
    }

    /// It is so late: what is told from now on is told at this time.
    pub(super) fn set_clock(&mut self, now: Duration) {
        let now = nanoseconds(now);
        self.told.set_clock(now);
        self.translations.set_clock(now);
    }

    /// Runs `visit` on the next records of one kind, of IPv4 or not; whether there are more. What was told of them is fetched from memory for
    /// many at once.
    ///
    /// # Errors
    /// When the store refuses.
    pub(super) fn step_flows(
        &mut self,
        kind: Kind,
        is_v4: bool,
        walks: &mut S::Walks,
        mut visit: impl FnMut(&mut ToldTables, &mut Sampler, &FlowKey6, &Record),
    ) -> anyhow::Result<ControlFlow<()>> {
        let Self { records, told, sampler, seen, .. } = self;
        seen.clear();
        let more = records.step(kind, is_v4, walks, |flow, record| seen.push((*flow, *record)))?;
        for seen in seen.chunks(AHEAD) {
            told.touch(kind, is_v4, seen.iter().map(|(flow, _)| flow));
            seen.iter().for_each(|(flow, record)| visit(told, sampler, flow, record));
        }
        Ok(more)
    }

    /// Records of the peer's that have no place here, by reason.
    pub fn unplaced(&self) -> &BTreeMap<&'static str, u64> {
        &self.unplaced
    }

    /// Whether records had no place for want of a backend or a service since this was last asked.
    pub fn take_whether_any_lacked_a_backend(&mut self) -> bool {
        std::mem::take(&mut self.lacks_backends)
    }

    pub(super) fn count_unplaced(&mut self, why: &'static str) {
        *self.unplaced.entry(why).or_default() += 1;
        self.lacks_backends = true;
    }

    /// These are asked about next, at most [`AHEAD`]: what was told of them is fetched from memory at once.
    pub fn touch(&self, fresh: &[Fresh]) {
        let flows = || fresh.iter().filter_map(|it| if let Fresh::Flow(it) = it { Some(it) } else { None });
        let table = |it: &Recorded| (Kind::of(&it.key, it.stateful != 0), it.key.source.is_v4());
        // Most are of one table.
        let Some((kind, is_v4)) = flows().next().map(table) else { return };
        self.told.touch(kind, is_v4, flows().filter(|it| table(it) == (kind, is_v4)).map(|it| &it.key));
    }

    /// A flow was recorded, or is established: whether that is to be told; then it is among the changes.
    pub fn told_of(
        &mut self,
        noted: &mut Noted<'_, impl Fn(&str) -> bool>,
        recorded: &Recorded,
        changes: &mut Changes,
    ) -> bool {
        let Recorded { key, record, stateful } = recorded;
        let Some(entry) = noted.of_pool(record.pool) else { return false };
        let stateful = *stateful != 0;
        let timeout = entry.timeout(key, record.state, stateful);
        let is_new = self.told.shows(Kind::of(key, stateful), key, record, timeout);
        if is_new {
            changes.push(&entry.realm, Key::Flow(key.into(), stateful), Some(value(record)));
        }
        is_new
    }
}

/// What a client is told by.
pub fn client_key(entry: &Entry, client: &ClientKey) -> Key {
    Key::Client(Arc::clone(&entry.name), client.address.octets())
}

/// What is told of it.
pub fn client_value(record: &Record) -> Value {
    Value::Client(record.backend, record.last_seen)
}

/// What is told of a record.
pub fn value(record: &Record) -> Value {
    let Record { last_seen, backend, state, .. } = *record;
    Value::Flow(FlowRecord { backend, state, last_seen })
}

/// Every table: the kind, and whether it is IPv4's.
pub fn all() -> impl Iterator<Item = (Kind, bool)> {
    Kind::ALL.into_iter().flat_map(|kind| [(kind, true), (kind, false)])
}

pub(super) fn walk<S: Store>(
    records: &S,
    kind: Kind,
    is_v4: bool,
    mut visit: impl FnMut(&FlowKey6, &Record),
) -> anyhow::Result<()> {
    let mut walks = S::Walks::default();
    while records.step(kind, is_v4, &mut walks, &mut visit)?.is_continue() {}
    Ok(())
}

pub(super) fn widen(key: &FlowKey4) -> FlowKey6 {
    FlowKey6 {
        source: Address::from_v4_wire(key.source_wire),
        destination: Address::from_v4_wire(key.destination_wire),
        ports_wire: key.ports_wire,
        protocol: key.protocol,
    }
}
