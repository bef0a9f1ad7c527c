//! Takes the census of the flow tables: reads every record, deletes those that have had their time.

mod connections;
mod translations;

use std::time::Duration;

use lb_common::abi::{FlowKey4, FlowKey6, Record};
use lb_common::address::Address;
use lb_common::limits::SLOTS_PER_ELEMENT;
use zerocopy::FromBytes as _;

use super::Maps;
use super::flow_table::{FlowTable, Taken};
use crate::reconcile::census::{Census, Fate};
use crate::reconcile::image::Image;

/// Reads all records. `now` is the packet path's clock.
///
/// # Errors
/// When the kernel refuses to read a table.
pub fn take(maps: &mut Maps, image: &Image, now: Duration) -> anyhow::Result<Tally> {
    let mut census = Census::new(now);
    let clock = u64::try_from(now.as_nanos()).unwrap_or(u64::MAX);
    let mut tcp = table(&mut maps.flows_v4, widen, image, &mut census, clock)?;
    tcp += table(&mut maps.flows_v6, as_is, image, &mut census, clock)?;
    let mut udp = table(&mut maps.udp_flows_v4, widen, image, &mut census, clock)?;
    udp += table(&mut maps.udp_flows_v6, as_is, image, &mut census, clock)?;
    connections::count(maps, image, &mut census, clock)?;
    translations::count(maps, image, &mut census, clock)?;
    note_refusals(maps, image, &mut census)?;
    Ok(Tally { census, tcp, udp })
}

/// A census, and how many records each kind of flow has.
pub struct Tally {
    /// What the sweep needs.
    pub census: Census,
    /// Records of TCP flows.
    pub tcp: u64,
    /// Records of UDP flows.
    pub udp: u64,
}

/// Counts one table; how many records stay.
fn table<const K: usize>(
    table: &mut FlowTable<K>,
    key_of: impl Fn(&[u8; K]) -> FlowKey6,
    image: &Image,
    census: &mut Census,
    now: u64,
) -> anyhow::Result<u64>
where
    [u8; K]: aya::Pod,
{
    let mut old = Vec::new();
    let mut kept = 0;
    table.for_each(|key, value| match census.add(image, &key_of(key), &record(value), now) {
        Fate::Keep => kept += 1,
        Fate::Delete => old.push(*key),
    })?;
    for key in old {
        let flow = key_of(&key);
        if let Taken::Kept(value) = table.take_if(&key, |it| Census::is_over(image, &flow, &record(it), now))? {
            census.add(image, &flow, &record(&value), now);
            kept += 1;
        }
    }
    Ok(kept)
}

fn record(octets: &[u8; 16]) -> Record {
    Record::read_from_bytes(octets).expect("a record is 16 octets")
}

pub(super) fn widen(key: &[u8; 16]) -> FlowKey6 {
    let key = FlowKey4::read_from_bytes(key).expect("a key is 16 octets");
    FlowKey6 {
        source: Address::from_v4_wire(key.source_wire),
        destination: Address::from_v4_wire(key.destination_wire),
        ports_wire: key.ports_wire,
        protocol: key.protocol,
    }
}

pub(super) fn as_is(key: &[u8; 40]) -> FlowKey6 {
    FlowKey6::read_from_bytes(key).expect("a key is 40 octets")
}

/// Reads when records were refused, for every element in which a slot is not settled. Last, so that a refusal is not
/// missed that came while the records were read.
fn note_refusals(maps: &Maps, image: &Image, census: &mut Census) -> anyhow::Result<()> {
    let unsettled = |words: &[u32]| words.iter().any(|&word| lb_common::slot::Slot(word).previous() != u16::MAX);
    for (element, words) in image.slots.chunks(SLOTS_PER_ELEMENT).enumerate() {
        if !unsettled(words) {
            continue;
        }
        let element = u32::try_from(element).expect("the slots map has fewer elements");
        match maps.refusal(element)? {
            0 => {}
            at => drop(census.refusals.insert(element, Duration::from_nanos(at))),
        }
    }
    Ok(())
}
