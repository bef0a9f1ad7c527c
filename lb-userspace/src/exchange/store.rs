//! Where records of flows are kept: the tables that the packet path asks, as the exchange uses them. The kernel's maps are one
//! (`effects::dataplane`), plain memory is another (`native`).

use std::ops::ControlFlow;

use anyhow::Result;
use lb_common::abi::{ClientKey, FlowKey6, NO_LOADS, Record, Recorded, Transfer, Translated, Translation, transfer};
use lb_common::connection::Counted;

use super::directory::Kind;
use super::pairs::Table;

/// What was recorded just now.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fresh {
    /// The record of a flow, or of a connection that is established now.
    Flow(Recorded),
    /// What a flow becomes.
    Translation(Translated),
}

/// All tables of records. Every method fails when the store refuses, those that make something also when the table is full.
pub trait Store {
    /// How far a walk is.
    type Walks: Default;
    /// What the packets of translated flows become.
    type Translations: Translations;

    /// The next flow that was recorded since this was last asked, as it was then. Some may be missed.
    fn recorded(&mut self) -> Option<Fresh>;
    /// The record of a flow.
    fn get(&self, kind: Kind, flow: &FlowKey6) -> Result<Option<Record>>;
    /// Makes or replaces a record.
    fn put(&mut self, kind: Kind, flow: &FlowKey6, record: &Record) -> Result<()>;
    /// Makes a record where there is none; whether it did.
    fn add(&mut self, kind: Kind, flow: &FlowKey6, record: &Record) -> Result<bool>;
    /// Deletes a record, and returns what it last said.
    fn take(&mut self, kind: Kind, flow: &FlowKey6) -> Result<Option<Record>>;
    /// Puts what another node tells of a flow on its way into our tables, and into the counts; it may not be there before
    /// [`Self::settle`] says so. Fails when this or others that were on their way could not be stored.
    fn transfer(&mut self, it: &Transfer) -> Result<()> {
        self.store(it)
    }
    /// All that was on its way is there now. All that could be stored was.
    fn settle(&mut self) -> Result<()> {
        Ok(())
    }
    /// Stores what another node tells of a flow, step by step.
    fn store(&mut self, it: &Transfer) -> Result<()> {
        let Transfer { key, record, first_load, action } = it;
        let kind = Kind::of(key, *first_load != NO_LOADS);
        if *action == transfer::REMOVE {
            let Some(last) = self.take(kind, key)? else { return Ok(()) };
            return self.count_of(it, &last, Counted::one(last.state).ended());
        }
        if self.add(kind, key, record)? {
            return self.count_of(it, record, Counted::one(record.state));
        }
        let before = self.get(kind, key)?;
        if *action == transfer::ADD {
            return match before.filter(|before| it.is_later_than(before)) {
                Some(before) => self.put(kind, key, &Record { last_seen: record.last_seen, ..before }),
                None => Ok(()),
            };
        }
        self.put(kind, key, record)?;
        if let Some(before) = before {
            self.count_of(it, &before, Counted::one(before.state).ended())?;
        }
        self.count_of(it, record, Counted::one(record.state))
    }
    /// Changes what the backend has that a record names, if it is of the service that this is told of and that keeps counts.
    fn count_of(&mut self, it: &Transfer, record: &Record, change: Counted) -> Result<()> {
        match it.first_load != NO_LOADS && record.pool == it.record.pool {
            true => self.count(it.first_load + u32::from(record.backend), change),
            false => Ok(()),
        }
    }
    /// Runs `visit` on the next records of one kind, of IPv4 or not; whether there are more.
    fn step(
        &self,
        kind: Kind,
        is_v4: bool,
        walks: &mut Self::Walks,
        visit: impl FnMut(&FlowKey6, &Record),
    ) -> Result<ControlFlow<()>>;
    /// What is remembered of a client.
    fn client(&self, client: &ClientKey) -> Result<Option<Record>>;
    /// Remembers a client, or another backend for it.
    fn put_client(&mut self, client: &ClientKey, record: &Record) -> Result<()>;
    /// Remembers a client that is not remembered.
    fn add_client(&mut self, client: &ClientKey, record: &Record) -> Result<()>;
    /// Forgets a client.
    fn remove_client(&mut self, client: &ClientKey) -> Result<()>;
    /// Runs `visit` on the next clients of a walk; whether there are more.
    fn step_clients(&self, walks: &mut Self::Walks, visit: impl FnMut(&ClientKey, &Record)) -> Result<ControlFlow<()>>;
    /// Changes what a backend of a stateful service has.
    fn count(&mut self, load: u32, change: Counted) -> Result<()>;
    /// What translated flows become.
    fn translations(&self) -> &Self::Translations;
    /// The same, to be changed.
    fn translations_mut(&mut self) -> &mut Self::Translations;
}

/// Both tables of translations.
pub trait Translations: Table {
    /// How far a walk is.
    type Walks: Default;

    /// Runs `visit` on the next records of clients' packets, of IPv4 or not; whether there are more.
    ///
    /// # Errors
    /// When the store refuses.
    fn step_translations(
        &self,
        is_v4: bool,
        walks: &mut Self::Walks,
        visit: impl FnMut(&FlowKey6, &Translation),
    ) -> Result<ControlFlow<()>>;
}
