//! What the peer tells, put into our tables under our indices, or why it has no place there.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use foldhash::fast::RandomState;
use lb_common::abi::{ClientKey, FlowKey6, NO_LOADS, Record, Transfer, transfer};
use lb_common::address::Address;
use lb_common::flow::SECOND;
use lb_common::packet::transport::destination_port_wire;

use super::directory::{Directory, Entry, Kind, is_state};
use super::foreign::Foreign;
use super::item::{FlowId, FlowRecord, Key, Keys};
use super::nanoseconds;
use super::store::Store;
use super::tables::{Tables, all, client_key, walk};
use super::told::ALLOWANCE;

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

/// Where a flow goes: its protocol, destination and destination port.
type To = (u32, Address, u16);

/// What was looked up for one message of the peer's: most of its records are of few services and few backends.
#[derive(Default)]
pub struct Lookups<'a> {
    /// Where the last flow goes, and its service.
    last: Option<(To, Option<&'a Arc<Entry>>)>,
    /// Indices of ours, by pool of ours and the teller's index.
    backends: HashMap<(u32, u16), u16, RandomState>,
}

impl<'a> Lookups<'a> {
    /// The service that a flow goes to.
    pub(super) fn of_flow(&mut self, directory: &'a Directory, flow: &FlowKey6) -> Option<&'a Arc<Entry>> {
        let to = (flow.protocol, flow.destination, destination_port_wire(flow.ports_wire));
        if let Some((_, entry)) = self.last.filter(|(last, _)| *last == to) {
            return entry;
        }
        let entry = directory.of_flow(flow);
        self.last = Some((to, entry));
        entry
    }

    /// Our index of a backend, by the teller's.
    pub(super) fn backend(&mut self, foreign: &Foreign, entry: &Entry, index: u16) -> Result<u16, &'static str> {
        if let Some(backend) = self.backends.get(&(entry.pool, index)) {
            return Ok(*backend);
        }
        let identity = foreign.identity(&entry.realm, &entry.name, index).ok_or("unknown-index")?;
        let backend = entry.index_of(identity).ok_or("no-backend")?;
        self.backends.insert((entry.pool, index), backend);
        Ok(backend)
    }

    /// The teller has said something else of its backends.
    pub fn forget_backends(&mut self) {
        self.backends.clear();
    }
}

impl<S: Store> Tables<S> {
    /// Remembers a client of the peer's. `late`: since when this node is master, if these are last words. Then it is remembered only if it is not,
    /// or with another backend that it has not come to since; else only when it began something counts, if that is later.
    ///
    /// # Errors
    /// When the store refuses.
    pub fn store_client(
        &mut self,
        directory: &Directory,
        foreign: &Foreign,
        it: &Client<'_>,
        now: Duration,
        late: Option<Duration>,
    ) -> anyhow::Result<()> {
        let Some(entry) = client_entry(directory, it) else { return Ok(()) };
        let identity = foreign.identity(it.realm, &entry.name, it.backend);
        let Some(backend) = identity.and_then(|identity| entry.index_of(identity)) else {
            self.count_unplaced("no-backend");
            return if late.is_some() { Ok(()) } else { self.remove_client(directory, it) };
        };
        let record = Record { last_seen: since(now, it.age, entry.persistence), pool: entry.pool, backend, state: 0 };
        let key = ClientKey { address: it.address, pool: entry.pool.into() };
        let Some(since) = late else { return self.records.put_client(&key, &record) };
        match self.records.client(&key)? {
            None => self.records.add_client(&key, &record),
            Some(there) if there.backend == backend && there.last_seen < record.last_seen => {
                self.records.put_client(&key, &record)
            }
            Some(there) if there.backend != backend && is_untouched(there.last_seen, now, since) => {
                self.records.remove_client(&key)?;
                self.records.add_client(&key, &record)
            }
            Some(_) => Ok(()),
        }
    }

    /// Forgets a client.
    ///
    /// # Errors
    /// When the store refuses.
    pub fn remove_client(&mut self, directory: &Directory, it: &Client<'_>) -> anyhow::Result<()> {
        let Some(entry) = client_entry(directory, it) else { return Ok(()) };
        self.records.remove_client(&ClientKey { address: it.address, pool: entry.pool.into() })
    }

    /// Puts a record of the peer's on its way into our table, under our indices. `late`: since when this node is master, if these are last
    /// words. Then it is put there only if there is none, or one that is of an earlier flow; else only when its flow was heard of counts, if
    /// that is later: a packet that went to the master before this node is not sent again by its client.
    ///
    /// # Errors
    /// When the store refuses this or others. A record that has no place is counted, and no error.
    pub fn store<'a>(
        &mut self,
        directory: &'a Directory,
        foreign: &Foreign,
        lookups: &mut Lookups<'a>,
        it: &Foreigner<'_>,
        now: Duration,
        late: Option<Duration>,
    ) -> anyhow::Result<()> {
        match place(directory, foreign, lookups, it, now) {
            Ok((entry, record)) => {
                let there = match late {
                    Some(since) => Some((since, self.records.get(Kind::of(&it.flow, it.stateful), &it.flow)?)),
                    None => None,
                };
                let action = match there {
                    Some((since, Some(there))) if !is_of_earlier_flow(&there, &record, now, since) => transfer::ADD,
                    Some((_, None)) => transfer::ADD,
                    Some((_, Some(_))) | None => transfer::PUT,
                };
                self.records.transfer(&of(entry, it.flow, it.stateful, record, action))
            }
            Err(why) => {
                self.count_unplaced(why);
                // What is here by that key is old: another flow had the same ends.
                if late.is_some() { Ok(()) } else { self.remove(directory, it.realm, &it.flow, it.stateful) }
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
        let is_of = |entry: &&Arc<Entry>| &*entry.realm == realm && keeps(entry, stateful);
        let Some(entry) = directory.of_flow(flow).filter(is_of) else { return Ok(()) };
        let record = Record { pool: entry.pool, ..Record::default() };
        self.records.transfer(&of(entry, *flow, stateful, record, transfer::REMOVE))
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

fn of(entry: &Entry, key: FlowKey6, stateful: bool, record: Record, action: u32) -> Transfer {
    let first_load = entry.first_load.filter(|_| stateful).unwrap_or(NO_LOADS);
    Transfer { key, record, first_load, action }
}

/// Whether a service has records of this kind. Also those that keep state have records of flows that the lookup table would get wrong: a
/// connection whose record was lost is left to the table.
fn keeps(entry: &Entry, stateful: bool) -> bool {
    entry.first_load.is_some() || !stateful
}

/// The record that another's is here, or why it has no place.
fn place<'a>(
    directory: &'a Directory,
    foreign: &Foreign,
    lookups: &mut Lookups<'a>,
    it: &Foreigner<'_>,
    now: Duration,
) -> Result<(&'a Arc<Entry>, Record), &'static str> {
    let entry = lookups.of_flow(directory, &it.flow).filter(|entry| &*entry.realm == it.realm).ok_or("no-service")?;
    if !keeps(entry, it.stateful) || !is_state(it.record.state, it.stateful) {
        return Err("other-kind");
    }
    let backend = lookups.backend(foreign, entry, it.record.backend)?;
    let last_seen = since(now, it.age, entry.timeout(&it.flow, it.record.state, it.stateful));
    Ok((entry, Record { last_seen, pool: entry.pool, backend, state: it.record.state }))
}

/// Until when a flow counts as heard of by our clock whose last packet that was told was so long ago by the teller's. There may have been
/// later ones: see the description of [`crate::exchange::told`]. So this may be in the future.
pub(super) fn since(now: Duration, age: u64, timeout: u64) -> u64 {
    nanoseconds(now).saturating_add(timeout / ALLOWANCE + SECOND).saturating_sub(age).max(1)
}

/// Whether a record that is there is of an earlier flow than one that last words are about: of another backend, and no packet of it has
/// come here since this node is master.
fn is_of_earlier_flow(there: &Record, said: &Record, now: Duration, since: Duration) -> bool {
    there.pool == said.pool && there.backend != said.backend && is_untouched(there.last_seen, now, since)
}

/// Whether no packet has come here since this node is master of what was heard of last at this time. A client's packets come to one node after
/// the other; and what the exchange has put there counts as heard of before that, or still in the future.
pub(super) fn is_untouched(heard: u64, now: Duration, since: Duration) -> bool {
    heard <= nanoseconds(since) || heard > nanoseconds(now)
}

/// The service that a client is of, if it remembers any.
fn client_entry<'a>(directory: &'a Directory, it: &Client<'_>) -> Option<&'a Arc<Entry>> {
    directory.service(it.service).filter(|entry| &*entry.realm == it.realm && entry.persistence != 0)
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use lb_common::packet::transport::ports_wire;

    use super::*;
    use crate::config::parse;
    use crate::exchange::item::Backend;
    use crate::native::NativeTables;
    use crate::reconcile::image::Image;
    use crate::reconcile::planner::Planner;
    use crate::scheduler::seed::Seed;

    const NOW: Duration = Duration::from_secs(1_000);

    /// A node with a service that keeps state, as a follower has it, and what its peer's indices stand for.
    fn follower() -> (Tables<NativeTables>, Directory, Foreign) {
        let text = "[dataplane]\ninterfaces = [\"eth0\"]\n[[vrrp]]\nname = \"public\"\ninterface = \"eth0\"\nvrid = 51\n\
                    addresses = [\"203.0.113.10/32\"]\n[[service]]\nname = \"web\"\nlisten = [\"tcp://203.0.113.10:80\"]\n\
                    vrrp = \"public\"\nscheduler = \"round-robin\"\nlookup_table_size = 16\npersistence = { timeout = \"60s\" }\n\
                    backend = [{ address = \"10.0.0.1\" }, { address = \"10.0.0.2\" }]\n";
        let config = parse(text, "host").expect("a valid file").0;
        let (mut planner, mut tables) =
            (Planner::new(Seed::from_text("test"), 64, 64), NativeTables::new(Image::new(64, 64), 10));
        let plan = planner.configure(NOW, &tables.image, &config).expect("there is room");
        plan.writes.iter().for_each(|write| tables.apply(write));
        let directory = Directory::new(&config, "hash", &planner, &Directory::default());
        let backend = |(index, identity): (usize, &str)| Backend {
            index: index as u16,
            weight: 100,
            up: true,
            leaving: false,
            identity: identity.into(),
        };
        let known = ["10.0.0.1 direct", "10.0.0.2 direct", "10.0.0.9 direct"];
        let mut foreign = Foreign::default();
        let backends = known.into_iter().enumerate().map(backend).collect();
        foreign.note(&"public".into(), &"web".into(), 0, Some(backends));
        (Tables::new(tables), directory, foreign)
    }

    fn flow() -> FlowKey6 {
        let address = |text: &str| text.parse::<IpAddr>().expect("literal").into();
        let ports_wire = ports_wire(4242u16.to_be(), 80u16.to_be());
        FlowKey6 { source: address("198.51.100.7"), destination: address("203.0.113.10"), ports_wire, protocol: 6 }
    }

    fn said(stateful: bool, backend: u16, state: u16) -> Foreigner<'static> {
        let record = FlowRecord { backend, state, last_seen: 0 };
        Foreigner { realm: "public", flow: flow(), stateful, record, age: 0 }
    }

    /// The backend that the record of the flow names.
    fn kept(tables: &Tables<NativeTables>, kind: Kind) -> Option<u16> {
        tables.records.get(kind, &flow()).expect("it is memory").map(|record| record.backend)
    }

    #[test]
    fn a_flow_that_a_service_with_state_left_to_the_lookup_table_is_kept_as_such() {
        let (mut tables, directory, foreign) = follower();
        tables
            .store(&directory, &foreign, &mut Lookups::default(), &said(false, 1, 2), NOW, None)
            .expect("it is memory");
        assert_eq!((kept(&tables, Kind::Tcp), kept(&tables, Kind::Connection)), (Some(1), None));
        assert!(tables.unplaced().is_empty() && tables.records.loads.borrow().is_empty());
        tables.remove(&directory, "public", &flow(), false).expect("it is memory");
        assert_eq!(kept(&tables, Kind::Tcp), None);
    }

    #[test]
    fn what_has_no_place_does_not_leave_what_was_there_of_an_earlier_flow() {
        let (mut tables, directory, foreign) = follower();
        tables
            .store(&directory, &foreign, &mut Lookups::default(), &said(true, 1, 2), NOW, None)
            .expect("it is memory");
        tables
            .store(&directory, &foreign, &mut Lookups::default(), &said(true, 2, 2), NOW, Some(NOW))
            .expect("it is memory");
        assert_eq!(kept(&tables, Kind::Connection), Some(1), "last words remove nothing");
        tables
            .store(&directory, &foreign, &mut Lookups::default(), &said(true, 2, 2), NOW, None)
            .expect("it is memory");
        assert_eq!(kept(&tables, Kind::Connection), None);
        assert_eq!(tables.unplaced()["no-backend"], 2);
    }

    #[test]
    fn last_words_about_a_flow_count_unless_its_packets_have_come_here() {
        let (since, later) = (NOW, NOW + Duration::from_millis(20));
        // Put there by the exchange before the takeover; then touched by a packet.
        for (heard, backend) in [(None, 0), (Some(NOW + Duration::from_millis(5)), 1)] {
            let (mut tables, directory, foreign) = follower();
            tables
                .store(&directory, &foreign, &mut Lookups::default(), &said(true, 1, 4), NOW, None)
                .expect("it is memory");
            if let Some(heard) = heard {
                let mut connections = tables.records.connections.borrow_mut();
                connections.values_mut().for_each(|record| record.last_seen = nanoseconds(heard));
            }
            tables
                .store(&directory, &foreign, &mut Lookups::default(), &said(true, 0, 1), later, Some(since))
                .expect("it is memory");
            assert_eq!(kept(&tables, Kind::Connection), Some(backend), "heard of at {heard:?}");
        }
    }

    #[test]
    fn last_words_about_a_client_count_unless_it_has_come_here() {
        let (since, later) = (NOW, NOW + Duration::from_millis(20));
        let (before, touched) =
            (nanoseconds(NOW - Duration::from_secs(1)), nanoseconds(NOW + Duration::from_millis(5)));
        // By whom it was remembered before, and since when it is here; who is remembered afterwards, and whether that is later.
        for (there, heard, expected, is_later) in
            [(1, before, 1, true), (1, touched, 1, true), (0, before, 1, true), (0, touched, 0, false)]
        {
            let (mut tables, directory, foreign) = follower();
            let entry = directory.service("web").expect("it is there");
            let address = flow().source;
            let key = ClientKey { address, pool: entry.pool.into() };
            let record = Record { last_seen: heard, pool: entry.pool, backend: there, state: 0 };
            tables.records.put_client(&key, &record).expect("it is memory");
            let it = Client { realm: "public", service: "web", address, backend: 1, age: 0 };
            tables.store_client(&directory, &foreign, &it, later, Some(since)).expect("it is memory");
            let record = tables.records.client(&key).expect("it is memory").expect("it is remembered");
            assert_eq!((record.backend, record.last_seen > heard), (expected, is_later), "of {there} at {heard}");
        }
    }

    #[test]
    fn a_flow_counts_as_heard_of_as_long_as_its_teller_may_have_kept_silent_about_it() {
        let (now, timeout) = (Duration::from_secs(1_000), 100 * SECOND);
        for (age, until) in [(0, 1_051), (10, 1_041), (51, 1_000), (90, 961)] {
            assert_eq!(since(now, age * SECOND, timeout), until * SECOND, "told of {age} s ago");
        }
    }
}
