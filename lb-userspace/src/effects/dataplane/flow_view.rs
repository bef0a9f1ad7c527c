//! The tables that hold records of flows, once more, for whoever walks over them on a thread of its own: some tenths of a second
//! for a million records, which the daemon's loop does not wait for. It only reads. Records that come or go meanwhile may be
//! seen or not.

use lb_common::abi::{ClientKey, FlowKey6, Record, Translation};
use zerocopy::{FromBytes as _, IntoBytes as _};

use super::census::{as_is, widen};
use super::flow_table::FlowTable;
use super::{Maps, narrow};
use crate::controller::flows::Listing;

/// See the module's description.
pub struct FlowView {
    exceptions: (Vec<FlowTable<16>>, Vec<FlowTable<40>>),
    connections: (FlowTable<16>, FlowTable<40>),
    translations: (FlowTable<16, 48>, FlowTable<40, 48>),
    clients: FlowTable<24>,
}

impl FlowView {
    /// Of these maps.
    ///
    /// # Errors
    /// When this process has no descriptors left.
    pub(super) fn new(maps: &Maps) -> anyhow::Result<Self> {
        Ok(Self {
            exceptions: (
                vec![maps.flows_v4.duplicate()?, maps.udp_flows_v4.duplicate()?],
                vec![maps.flows_v6.duplicate()?, maps.udp_flows_v6.duplicate()?],
            ),
            connections: (maps.connections_v4.duplicate()?, maps.connections_v6.duplicate()?),
            translations: (maps.translations_v4.duplicate()?, maps.translations_v6.duplicate()?),
            clients: maps.clients.duplicate()?,
        })
    }

    /// Shows every record to the listing.
    ///
    /// # Errors
    /// When the kernel refuses to read a table.
    pub fn walk(&self, listing: &mut Listing) -> anyhow::Result<()> {
        for table in &self.exceptions.0 {
            table.for_each(|key, value| listing.exception(&widen(key), &record(value)))?;
        }
        for table in &self.exceptions.1 {
            table.for_each(|key, value| listing.exception(&as_is(key), &record(value)))?;
        }
        self.connections.0.for_each(|key, value| listing.connection(&widen(key), &record(value)))?;
        self.connections.1.for_each(|key, value| listing.connection(&as_is(key), &record(value)))?;
        translations(&self.translations.0, widen, narrow, listing)?;
        let octets = |key: &FlowKey6| key.as_bytes().try_into().expect("a key is 40 octets");
        translations(&self.translations.1, as_is, octets, listing)?;
        self.clients.for_each(|key, value| {
            let client = ClientKey::read_from_bytes(key).expect("a key is 24 octets");
            listing.client(&client, &record(value));
        })
    }
}

fn translations<const K: usize>(
    table: &FlowTable<K, 48>,
    widen: impl Fn(&[u8; K]) -> FlowKey6,
    narrow: impl Fn(&FlowKey6) -> [u8; K],
    listing: &mut Listing,
) -> anyhow::Result<()>
where
    [u8; K]: aya::Pod,
{
    // One that is gone a moment later says nothing; nor does one that cannot be read, of which the walk will tell.
    let other = |key: &FlowKey6| table.get(&narrow(key)).ok().flatten().map(|value| translation(&value));
    table.for_each(|key, value| listing.translation(&widen(key), &translation(value), other))
}

fn record(value: &[u8; 16]) -> Record {
    Record::read_from_bytes(value).expect("a record is 16 octets")
}

fn translation(value: &[u8; 48]) -> Translation {
    Translation::read_from_bytes(value).expect("a translation is 48 octets")
}
