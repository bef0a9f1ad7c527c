//! The two records of a translated flow in a table that both directions share: made and removed together, the reply's first, as the
//! packet path does ([`lb_common::path::translation`]): whoever finds the client's alone makes both anew.

use anyhow::Result;
use lb_common::abi::{FlowKey6, Translation};

use super::translation::{Pair, other_key};

/// A table of translations.
pub trait Table {
    /// The record of one direction.
    fn get(&self, key: &FlowKey6) -> Result<Option<Translation>>;
    /// Makes or replaces one.
    fn insert(&mut self, key: &FlowKey6, it: &Translation) -> Result<()>;
    /// Makes one where there is none; whether it did.
    fn insert_new(&mut self, key: &FlowKey6, it: &Translation) -> Result<bool>;
    /// Deletes one, if it is there.
    fn delete(&mut self, key: &FlowKey6) -> Result<()>;
}

/// Records a flow, in place of all that is recorded under either of its keys. While packets make no records of it.
///
/// # Errors
/// When the table is full or refuses; then nothing is recorded of the flow.
pub fn put(table: &mut impl Table, pair: &Pair) -> Result<()> {
    let ((request_key, request), (reply_key, reply)) = (&pair.request, &pair.reply);
    // The flow had another source, or its source was another flow's.
    for (key, other) in [(request_key, reply_key), (reply_key, request_key)] {
        let Some(before) = table.get(key)? else { continue };
        if other_key(key, &before) != *other {
            delete_other(table, key, &before)?;
            table.delete(key)?;
        }
    }
    table.insert(reply_key, reply)?;
    table.insert(request_key, request).or_else(|error| table.delete(reply_key).and(Err(error)))
}

/// Records a flow if nothing is recorded under either of its keys but what is of earlier flows, as `is_earlier` says by when they were heard of
/// last. Of a flow that is recorded so already it counts when it was heard of, if that is later. Packets may make records meanwhile: theirs stay.
///
/// # Errors
/// When the table is full or refuses; then nothing is recorded of the flow that was not.
pub fn add(table: &mut impl Table, pair: &Pair, is_earlier: impl Fn(u64) -> bool) -> Result<()> {
    let ((request_key, request), (reply_key, reply)) = (&pair.request, &pair.reply);
    let mut earlier = Vec::new();
    for (key, other) in [(request_key, reply_key), (reply_key, request_key)] {
        let Some(there) = table.get(key)? else { continue };
        if other_key(key, &there) == *other {
            continue;
        }
        if !is_earlier(last_seen(table, key, &there)?) {
            return Ok(());
        }
        earlier.push((key, there));
    }
    for (key, there) in earlier {
        delete_other(table, key, &there)?;
        table.delete(key)?;
    }
    if let Some(there) = table.get(request_key)? {
        return refresh(table, request_key, &there, request).and_then(|()| match table.get(reply_key)? {
            Some(there) => refresh(table, reply_key, &there, reply),
            None => table.insert_new(reply_key, reply).map(drop),
        });
    }
    if !table.insert_new(reply_key, reply)? {
        return Ok(());
    }
    match table.insert_new(request_key, request) {
        Ok(true) => Ok(()),
        // A packet was first: it took the record above for its own, or another source.
        Ok(false) if table.get(request_key)?.is_some_and(|made| other_key(request_key, &made) == *reply_key) => Ok(()),
        Ok(false) => table.delete(reply_key),
        Err(error) => table.delete(reply_key).and(Err(error)),
    }
}

/// Forgets a flow, by its client's key.
///
/// # Errors
/// When the table refuses.
pub fn remove(table: &mut impl Table, key: &FlowKey6) -> Result<()> {
    let Some(it) = table.get(key)?.filter(|it| it.state != 0) else { return Ok(()) };
    delete_other(table, key, &it)?;
    table.delete(key)
}

/// When either direction of a flow was heard of last, by its client's record.
///
/// # Errors
/// When the table refuses.
pub fn last_seen(table: &impl Table, key: &FlowKey6, it: &Translation) -> Result<u64> {
    let reply_key = other_key(key, it);
    let reply = table.get(&reply_key)?.filter(|reply| other_key(&reply_key, reply) == *key);
    Ok(reply.map_or(it.last_seen, |reply| reply.last_seen.max(it.last_seen)))
}

/// What is there was heard of when `said` was, if that is later.
fn refresh(table: &mut impl Table, key: &FlowKey6, there: &Translation, said: &Translation) -> Result<()> {
    let is_later = said.last_seen > there.last_seen;
    if is_later { table.insert(key, &Translation { last_seen: said.last_seen, ..*there }) } else { Ok(()) }
}

/// Deletes the record of the other direction, if it is of the same flow.
fn delete_other(table: &mut impl Table, key: &FlowKey6, it: &Translation) -> Result<()> {
    let other = other_key(key, it);
    let is_pair = table.get(&other)?.is_some_and(|found| other_key(&other, &found) == *key);
    if is_pair { table.delete(&other) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lb_common::address::Address;
    use std::collections::HashMap;

    const ROOM: usize = 5;

    /// A table with a few places; `first` is a flow of which a packet comes as soon as its reply's record is made.
    #[derive(Default)]
    struct Memory {
        records: HashMap<[u32; 4], (FlowKey6, Translation)>,
        first: Option<Pair>,
    }

    fn hash(key: &FlowKey6) -> [u32; 4] {
        [key.source.low as u32, key.destination.low as u32, key.ports_wire, key.protocol]
    }

    impl Table for Memory {
        fn get(&self, key: &FlowKey6) -> Result<Option<Translation>> {
            Ok(self.records.get(&hash(key)).map(|(_, it)| *it))
        }

        fn insert(&mut self, key: &FlowKey6, it: &Translation) -> Result<()> {
            let is_there = self.records.contains_key(&hash(key));
            anyhow::ensure!(is_there || self.records.len() < ROOM, "the table is full");
            self.records.insert(hash(key), (*key, *it));
            Ok(())
        }

        fn insert_new(&mut self, key: &FlowKey6, it: &Translation) -> Result<bool> {
            if self.records.contains_key(&hash(key)) {
                return Ok(false);
            }
            self.insert(key, it)?;
            if let Some(Pair { request, reply }) = self.first.take() {
                self.insert_new(&reply.0, &reply.1)?;
                self.insert(&request.0, &request.1)?;
            }
            Ok(true)
        }

        fn delete(&mut self, key: &FlowKey6) -> Result<()> {
            self.records.remove(&hash(key));
            Ok(())
        }
    }

    impl Memory {
        /// The sources that clients' flows have, by client; every record must have its other.
        fn flows(&self) -> Vec<(u64, u32)> {
            let mut flows = Vec::new();
            for (key, it) in self.records.values() {
                let other = other_key(key, it);
                let (other_back, back) = self.records.get(&hash(&other)).expect("both directions or none");
                assert_eq!((*other_back, other_key(&other, back)), (other, *key), "they lead to each other");
                if it.state != 0 {
                    flows.push((key.source.low, it.ports_wire));
                }
            }
            flows.sort_unstable();
            flows
        }
    }

    /// A client's flow, and the port that it got.
    fn pair(client: u64, port: u32, last_seen: u64) -> Pair {
        let address = |low| Address { high: 0, low };
        let (client, service, source, server) = (address(client), address(100), address(200), address(300));
        let key = |source, destination, ports_wire| FlowKey6 { source, destination, ports_wire, protocol: 6 };
        let request = key(client, service, 0);
        let it = |source, destination, ports_wire, state| Translation {
            last_seen,
            source,
            destination,
            ports_wire,
            live: 1,
            state,
        };
        let becomes = it(source, server, port, 2);
        Pair { request: (request, becomes), reply: (other_key(&request, &becomes), it(service, client, 0, 0)) }
    }

    #[test]
    fn a_flow_is_recorded_and_forgotten_both_ways() {
        let mut table = Memory::default();
        put(&mut table, &pair(1, 10, 5)).unwrap();
        put(&mut table, &pair(2, 11, 5)).unwrap();
        assert_eq!(table.flows(), [(1, 10), (2, 11)]);
        assert!(put(&mut table, &pair(3, 12, 5)).is_err(), "there is room for half of it");
        assert_eq!(table.flows(), [(1, 10), (2, 11)]);
        remove(&mut table, &pair(1, 10, 5).reply.0).unwrap();
        assert_eq!(table.flows(), [(1, 10), (2, 11)], "a flow goes by its client's key");
        remove(&mut table, &pair(1, 10, 5).request.0).unwrap();
        assert_eq!(table.flows(), [(2, 11)]);
    }

    #[test]
    fn what_stands_in_its_place_goes_whole() {
        let mut table = Memory::default();
        put(&mut table, &pair(1, 10, 5)).unwrap();
        put(&mut table, &pair(1, 11, 5)).unwrap();
        assert_eq!(table.flows(), [(1, 11)], "it has another source now");
        put(&mut table, &pair(2, 11, 5)).unwrap();
        assert_eq!(table.flows(), [(2, 11)], "its source is another's now");
        remove(&mut table, &pair(1, 11, 5).request.0).unwrap();
        assert_eq!(table.flows(), [(2, 11)], "which that it has ended does not change");
    }

    /// Heard of here after this; what was heard of before is of earlier flows.
    fn add_after_three(table: &mut Memory, pair: &Pair) {
        add(table, pair, |last_seen| last_seen <= 3).unwrap();
    }

    #[test]
    fn last_words_change_nothing_that_packets_have_come_of() {
        let mut table = Memory::default();
        put(&mut table, &pair(1, 10, 5)).unwrap();
        add_after_three(&mut table, &pair(1, 11, 9));
        add_after_three(&mut table, &pair(2, 10, 9));
        assert_eq!(table.flows(), [(1, 10)]);
        add_after_three(&mut table, &pair(2, 11, 9));
        assert_eq!(table.flows(), [(1, 10), (2, 11)]);
        remove(&mut table, &pair(2, 11, 9).request.0).unwrap();
        for port in [11, 12] {
            table.first = Some(pair(2, port, 9));
            add_after_three(&mut table, &pair(2, 11, 9));
            assert_eq!(table.flows(), [(1, 10), (2, port)], "a packet was first");
            remove(&mut table, &pair(2, port, 9).request.0).unwrap();
        }
    }

    #[test]
    fn last_words_take_the_place_of_earlier_flows_on_either_end() {
        let mut table = Memory::default();
        put(&mut table, &pair(1, 10, 3)).unwrap();
        put(&mut table, &pair(2, 11, 3)).unwrap();
        add_after_three(&mut table, &pair(1, 11, 9));
        assert_eq!(table.flows(), [(1, 11)], "the client has another source, which was another's");
        put(&mut table, &pair(1, 10, 3)).unwrap();
        let Pair { reply, .. } = pair(1, 10, 5);
        table.insert(&reply.0, &reply.1).unwrap();
        add_after_three(&mut table, &pair(1, 11, 9));
        assert_eq!(table.flows(), [(1, 10)], "a server has spoken since");
    }

    #[test]
    fn last_words_say_of_a_flow_that_is_there_when_it_was_heard_of() {
        let mut table = Memory::default();
        for (there, said, heard) in [(3, 9, 9), (5, 9, 9), (9, 5, 9)] {
            put(&mut table, &pair(1, 10, there)).unwrap();
            let Pair { request, reply } = pair(1, 10, said);
            let as_told = Translation { state: 4, ..request.1 };
            add_after_three(&mut table, &Pair { request: (request.0, as_told), reply });
            let both = [&request, &reply].map(|(key, _)| table.get(key).unwrap().unwrap());
            assert_eq!(both.map(|it| (it.last_seen, it.state)), [(heard, 2), (heard, 0)]);
        }
    }

    #[test]
    fn a_flow_is_as_young_as_its_younger_direction() {
        let mut table = Memory::default();
        let Pair { request, mut reply } = pair(1, 10, 5);
        put(&mut table, &Pair { request, reply }).unwrap();
        assert_eq!(last_seen(&table, &request.0, &request.1).unwrap(), 5);
        reply.1.last_seen = 8;
        table.insert(&reply.0, &reply.1).unwrap();
        assert_eq!(last_seen(&table, &request.0, &request.1).unwrap(), 8);
        table.delete(&reply.0).unwrap();
        assert_eq!(last_seen(&table, &request.0, &request.1).unwrap(), 5);
    }
}
