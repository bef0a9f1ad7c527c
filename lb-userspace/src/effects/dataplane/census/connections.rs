//! The part of a census about stateful services: their records are counted, and those that have had their time are deleted and
//! taken off the counts.

use std::collections::BTreeMap;

use lb_common::abi::{Chooser, ClientKey, FlowKey6};
use lb_common::connection::Counted;
use zerocopy::{FromBytes as _, IntoBytes as _};

use super::{as_is, record, widen};
use crate::effects::dataplane::Maps;
use crate::effects::dataplane::choosers::Choosers;
use crate::effects::dataplane::flow_table::{FlowTable, Taken};
use crate::reconcile::census::{Census, ConnectionFate, Fate};
use crate::reconcile::image::Image;

/// Counts the records of both families. `now` is the packet path's clock.
pub(super) fn count(maps: &mut Maps, image: &Image, census: &mut Census, now: u64) -> anyhow::Result<()> {
    let in_use: Vec<&Chooser> = image.choosers.iter().filter(|chooser| chooser.loads() > 0).collect();
    if in_use.is_empty() {
        return Ok(());
    }
    let places = in_use.iter().flat_map(|chooser| chooser.first_load()..chooser.first_load() + chooser.loads());
    let before: Vec<(u32, Counted)> =
        places.map(|load| Ok((load, has(&maps.choosers, load)?))).collect::<anyhow::Result<_>>()?;
    let mut ended = BTreeMap::new();
    clients(maps, image, census, now)?;
    table(&mut maps.connections_v4, &maps.choosers, widen, image, census, now, &mut ended)?;
    table(&mut maps.connections_v6, &maps.choosers, as_is, image, census, now, &mut ended)?;
    for client in census.take_forgotten() {
        forget(&mut maps.clients, &client, now)?;
    }
    for (load, before) in before {
        let without = before.plus(ended.get(&load).copied().unwrap_or_default());
        census.loads.insert(load, [without, has(&maps.choosers, load)?]);
    }
    Ok(())
}

/// Counts the clients that are remembered, and forgets those of services that remember none any more.
fn clients(maps: &mut Maps, image: &Image, census: &mut Census, now: u64) -> anyhow::Result<()> {
    let timeouts = image.persistence();
    let mut strangers = Vec::new();
    maps.clients.for_each(|key, value| {
        let client = ClientKey::read_from_bytes(key).expect("a key is 24 octets");
        if census.add_client(&timeouts, &client, &record(value), now) == Fate::Delete {
            strangers.push(*key);
        }
    })?;
    strangers.iter().try_for_each(|key| maps.clients.remove(key))
}

/// Forgets a client, unless it has come back since the census began.
fn forget(table: &mut FlowTable<24>, client: &ClientKey, began: u64) -> anyhow::Result<()> {
    let key: &[u8; 24] = client.as_bytes().try_into().expect("a key is 24 octets");
    table.take_if(key, |it| record(it).last_seen < began).map(drop)
}

fn table<const K: usize>(
    table: &mut FlowTable<K>,
    choosers: &Choosers,
    key_of: impl Fn(&[u8; K]) -> FlowKey6,
    image: &Image,
    census: &mut Census,
    now: u64,
    ended: &mut BTreeMap<u32, Counted>,
) -> anyhow::Result<()>
where
    [u8; K]: aya::Pod,
{
    let mut over = Vec::new();
    table.for_each(|key, value| match census.add_connection(image, &key_of(key), &record(value), now) {
        ConnectionFate::Keep => {}
        ConnectionFate::Delete(load) => over.push((*key, load)),
    })?;
    for (key, load) in over {
        let flow = key_of(&key);
        let last = match table.take_if(&key, |it| Census::is_connection_over(image, &flow, &record(it), now))? {
            Taken::Gone(last) => record(&last),
            Taken::Kept(value) => {
                census.add_connection(image, &flow, &record(&value), now);
                continue;
            }
            Taken::Absent => continue,
        };
        if let Some(load) = load {
            let change = Counted::one(last.state).ended();
            choosers.count(load, change)?;
            let sum = ended.entry(load).or_default();
            *sum = sum.plus(change);
        }
    }
    Ok(())
}

fn has(choosers: &Choosers, load: u32) -> anyhow::Result<Counted> {
    let load = choosers.load(load)?;
    Ok(Counted { active: load.active_count, inactive: load.inactive_count })
}
