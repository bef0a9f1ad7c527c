//! Deletes the records of backends that are dead to their flows. A walk over the flow tables, as the census is: some
//! tenths of a second for a million records, and only when a backend is cut off from its flows, not when it drains.

use std::collections::BTreeSet;

use lb_common::abi::Record;
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
    table(&mut maps.connections_v6, backends)
}

fn table<const K: usize>(table: &mut FlowTable<K>, backends: &BTreeSet<(u32, u16)>) -> anyhow::Result<()>
where
    [u8; K]: aya::Pod,
{
    let mut dead = Vec::new();
    table.for_each(|key, value| {
        let record = Record::read_from_bytes(value).expect("a record is 16 octets");
        if backends.contains(&(record.pool, record.backend)) {
            dead.push(*key);
        }
    })?;
    dead.iter().try_for_each(|key| table.remove(key))
}
