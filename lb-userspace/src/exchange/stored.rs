//! What the peer tells, put into our tables under our indices, or why it has no place there.

use std::sync::Arc;
use std::time::Duration;

use lb_common::abi::{ClientKey, FlowKey6, NO_LOADS, Record, Transfer, transfer};
use lb_common::address::Address;
use lb_common::flow::SECOND;

use super::directory::{Directory, Entry, Kind, is_state};
use super::foreign::Foreign;
use super::item::{FlowId, FlowRecord, Key, Keys};
use super::nanoseconds;
use super::store::Store;
use super::tables::{Tables, all, client_key, walk};
use super::told::REFRESH;

/// A record of the peer's.
pub struct Foreigner<'a> {
    /// Whose it is.
    pub realm: &'a str,
    /// The flow.
    pub flow: FlowKey6,
    /// Whether it is one of a stateful service.
    pub stateful: bool,
    /// What is said of it.
    pub record: FlowRecord,
    /// How long ago its last packet was, in nanoseconds.
    pub age: u64,
}

/// A client that the peer remembers.
pub struct Client<'a> {
    /// Whose it is.
    pub realm: &'a str,
    /// Of which service.
    pub service: &'a str,
    /// What counts of its address.
    pub address: Address,
    /// Its backend, by the peer's index.
    pub backend: u16,
    /// How long ago it began something, in nanoseconds.
    pub age: u64,
}

impl<S: Store> Tables<S> {
    /// Remembers a client of the peer's. `age`: how long ago it began something, in nanoseconds; `late`: only if it is not remembered.
    ///
    /// # Errors
    /// When the store refuses.
    pub fn store_client(
        &mut self,
        directory: &Directory,
        foreign: &Foreign,
        it: &Client<'_>,
        now: Duration,
        late: bool,
    ) -> anyhow::Result<()> {
        let Some(entry) = client_entry(directory, it) else { return Ok(()) };
        let identity = foreign.identity(it.realm, &entry.name, it.backend);
        let Some(backend) = identity.and_then(|identity| entry.index_of(identity)) else {
            self.count_unplaced("no-backend");
            return Ok(());
        };
        let record = Record { last_seen: since(now, it.age, entry.persistence), pool: entry.pool, backend, state: 0 };
        let key = ClientKey { address: it.address, pool: entry.pool.into() };
        if late { self.records.add_client(&key, &record) } else { self.records.put_client(&key, &record) }
    }

    /// Forgets a client.
    ///
    /// # Errors
    /// When the store refuses.
    pub fn remove_client(&mut self, directory: &Directory, it: &Client<'_>) -> anyhow::Result<()> {
        let Some(entry) = client_entry(directory, it) else { return Ok(()) };
        self.records.remove_client(&ClientKey { address: it.address, pool: entry.pool.into() })
    }

    /// Puts a record of the peer's on its way into our table, under our indices. `late`: only if there is none; of one that is there only when
    /// its flow was heard of counts, if that is later: a packet that went to the master before this node is not sent again by its client.
    ///
    /// # Errors
    /// When the store refuses this or others. A record that has no place is counted, and no error.
    pub fn store(
        &mut self,
        directory: &Directory,
        foreign: &Foreign,
        it: &Foreigner<'_>,
        now: Duration,
        late: bool,
    ) -> anyhow::Result<()> {
        match place(directory, foreign, it, now) {
            Ok((entry, record)) => {
                let action = if late { transfer::ADD } else { transfer::PUT };
                self.records.transfer(&of(entry, it.flow, record, action))
            }
            Err(why) => {
                self.count_unplaced(why);
                Ok(())
            }
        }
    }

    /// Puts on its way that there is no such record any more, if it is of a service of the realm.
    ///
    /// # Errors
    /// When the store refuses this or others.
    pub fn remove(
        &mut self,
        directory: &Directory,
        realm: &str,
        flow: &FlowKey6,
        stateful: bool,
    ) -> anyhow::Result<()> {
        let is_of = |entry: &&Arc<Entry>| &*entry.realm == realm && entry.first_load.is_some() == stateful;
        let Some(entry) = directory.of_flow(flow).filter(is_of) else { return Ok(()) };
        let record = Record { pool: entry.pool, ..Record::default() };
        self.records.transfer(&of(entry, *flow, record, transfer::REMOVE))
    }

    /// Forgets all records of a realm but these.
    ///
    /// # Errors
    /// When the store refuses.
    pub fn keep(&mut self, directory: &Directory, realm: &str, keys: &Keys) -> anyhow::Result<()> {
        for (kind, is_v4) in all() {
            let stateful = kind == Kind::Connection;
            let mut strangers = Vec::new();
            walk(&self.records, kind, is_v4, |flow, record| {
                let is_of = directory.of_pool(record.pool).is_some_and(|entry| &*entry.realm == realm);
                if is_of && !keys.contains(&Key::Flow(FlowId::from(flow), stateful)) {
                    strangers.push(*flow);
                }
            })?;
            strangers.iter().try_for_each(|flow| self.remove(directory, realm, flow, stateful))?;
        }
        let mut strangers = Vec::new();
        let mut walks = S::Walks::default();
        let mut visit = |client: &ClientKey, record: &Record| {
            let entry = directory.of_pool(record.pool).filter(|entry| &*entry.realm == realm);
            if entry.is_some_and(|entry| !keys.contains(&client_key(entry, client))) {
                strangers.push(*client);
            }
        };
        while self.records.step_clients(&mut walks, &mut visit)?.is_continue() {}
        strangers.iter().try_for_each(|client| self.records.remove_client(client))?;
        self.keep_translations(directory, realm, keys)
    }
}

fn of(entry: &Entry, key: FlowKey6, record: Record, action: u32) -> Transfer {
    Transfer { key, record, first_load: entry.first_load.unwrap_or(NO_LOADS), action }
}

/// The record that another's is here, or why it has no place.
fn place<'a>(
    directory: &'a Directory,
    foreign: &Foreign,
    it: &Foreigner<'_>,
    now: Duration,
) -> Result<(&'a Arc<Entry>, Record), &'static str> {
    let entry = directory.of_flow(&it.flow).filter(|entry| &*entry.realm == it.realm).ok_or("no-service")?;
    if entry.first_load.is_some() != it.stateful || !is_state(it.record.state, it.stateful) {
        return Err("other-kind");
    }
    let identity = foreign.identity(it.realm, &entry.name, it.record.backend).ok_or("unknown-index")?;
    let backend = entry.index_of(identity).ok_or("no-backend")?;
    let last_seen = since(now, it.age, entry.timeout(&it.flow, it.record.state, it.stateful));
    Ok((entry, Record { last_seen, pool: entry.pool, backend, state: it.record.state }))
}

/// Until when a flow counts as heard of by our clock whose last packet that was told was so long ago by the teller's. There may have been
/// later ones: see the description of [`crate::exchange::told`]. So this may be in the future.
pub(super) fn since(now: Duration, age: u64, timeout: u64) -> u64 {
    nanoseconds(now).saturating_add(timeout / REFRESH + SECOND).saturating_sub(age).max(1)
}

/// The service that a client is of, if it remembers any.
fn client_entry<'a>(directory: &'a Directory, it: &Client<'_>) -> Option<&'a Arc<Entry>> {
    directory.service(it.service).filter(|entry| &*entry.realm == it.realm && entry.persistence != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flow_counts_as_heard_of_as_long_as_its_teller_may_have_kept_silent_about_it() {
        let (now, timeout) = (Duration::from_secs(1_000), 100 * SECOND);
        for (age, until) in [(0, 1_026), (10, 1_016), (26, 1_000), (90, 936)] {
            assert_eq!(since(now, age * SECOND, timeout), until * SECOND, "told of {age} s ago");
        }
    }
}
