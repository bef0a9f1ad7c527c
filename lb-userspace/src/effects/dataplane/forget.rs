//! Deletes the records of backends that are dead to their flows. A walk over the flow tables, as the census is: some
//! tenths of a second for a million records, and only when a backend is cut off from its flows, not when it drains.

use std::collections::BTreeSet;

use anyhow::Context as _;
use aya::maps::{HashMap, MapData, MapError};
use lb_common::abi::{Destination, Record};
use lb_common::scheduler::locality::Servers;
use zerocopy::FromBytes as _;

use super::Maps;
use super::flow_table::FlowTable;

/// Deletes every record that names one of these: a pool and the index of a backend in it.
///
/// # Errors
/// When the kernel refuses. What was deleted until then stays so.
pub fn forget(maps: &mut Maps, backends: &BTreeSet<(u32, u16)>) -> anyhow::Result<()> {
    table(&mut maps.flows_v4, backends)?;
    table(&mut maps.flows_v6, backends)?;
    table(&mut maps.udp_flows_v4, backends)?;
    table(&mut maps.udp_flows_v6, backends)?;
    table(&mut maps.connections_v4, backends)?;
    table(&mut maps.connections_v6, backends)?;
    table(&mut maps.clients, backends)?;
    destinations(&mut maps.destinations, backends)
}

/// Forgets destinations that remember one of these: they are given a backend anew.
fn destinations(
    table: &mut HashMap<MapData, [u8; 24], [u8; 40]>,
    backends: &BTreeSet<(u32, u16)>,
) -> anyhow::Result<()> {
    let keys: Vec<[u8; 24]> = table.keys().collect::<Result<_, _>>().context("reading the destinations")?;
    for key in keys {
        // One that was displaced meanwhile is forgotten anyway.
        let Ok(servers) = table.get(&key, 0) else { continue };
        let destination = Destination::read_from_bytes(&key).expect("a key is 24 octets");
        let servers = Servers::read_from_bytes(&servers).expect("servers are 40 octets");
        let is_dead = |member: &u16| backends.contains(&(destination.pool as u32, *member));
        if servers.members.iter().any(is_dead) {
            match table.remove(&key) {
                Ok(()) | Err(MapError::KeyNotFound) => {}
                Err(error) => return Err(error).context("forgetting a destination"),
            }
        }
    }
    Ok(())
}

fn table<const K: usize>(table: &mut FlowTable<K>, backends: &BTreeSet<(u32, u16)>) -> anyhow::Result<()>
where
    [u8; K]: aya::Pod,
{
    let is_dead = |value: &[u8; 16]| {
        let record = Record::read_from_bytes(value).expect("a record is 16 octets");
        backends.contains(&(record.pool, record.backend))
    };
    let mut dead = Vec::new();
    table.for_each(|key, value| {
        if is_dead(value) {
            dead.push(*key);
        }
    })?;
    dead.iter().try_for_each(|key| table.take_if(key, is_dead).map(drop))
}
