//! The records of flows by descriptors of their own: for who shares them with another node, on a thread that never waits for the
//! loop and for which the loop never waits.

use std::ops::ControlFlow;
use std::os::fd::OwnedFd;

use aya::maps::{MapData, RingBuf};
use lb_common::abi::{ClientKey, FlowKey6, Record, Recorded, Transfer, Translated};
use lb_common::connection::Counted;
use zerocopy::{FromBytes as _, IntoBytes as _};

use super::batch::Walk;
use super::census::{as_is, widen};
use super::choosers::Choosers;
use super::flow_table::FlowTable;
use super::live_words::LiveWords;
use super::transfers::Transfers;
use super::translations::Translations;
use super::{Maps, narrow};
use crate::exchange::directory::Kind;
use crate::exchange::store::{Fresh, Store};

/// One kind, of both families.
struct Pair {
    v4: FlowTable<16>,
    v6: FlowTable<40>,
}

/// All tables of records. May be moved to another thread.
pub struct Records {
    tcp: Pair,
    udp: Pair,
    connections: Pair,
    clients: FlowTable<24>,
    translations: Translations,
    choosers: Choosers,
    live_words: LiveWords,
    recorded: Option<RingBuf<MapData>>,
    transfers: Transfers,
}

/// A walk over the tables of one family.
#[derive(Default)]
pub struct Walks {
    v4: Walk<16, 16>,
    v6: Walk<40, 16>,
    clients: Walk<24, 16>,
}

impl Records {
    /// `storing`: the program that stores what another node tells.
    pub(super) fn of(maps: &Maps, recorded: Option<RingBuf<MapData>>, storing: OwnedFd) -> anyhow::Result<Self> {
        let pair =
            |v4: &FlowTable<16>, v6: &FlowTable<40>| anyhow::Ok(Pair { v4: v4.duplicate()?, v6: v6.duplicate()? });
        Ok(Self {
            tcp: pair(&maps.flows_v4, &maps.flows_v6)?,
            udp: pair(&maps.udp_flows_v4, &maps.udp_flows_v6)?,
            connections: pair(&maps.connections_v4, &maps.connections_v6)?,
            clients: maps.clients.duplicate()?,
            translations: Translations::of(maps)?,
            choosers: maps.choosers.duplicate()?,
            live_words: LiveWords::from_fd(maps.live_words.descriptor()?)?,
            recorded,
            transfers: Transfers::by(storing),
        })
    }

    /// Says whether records of services that follow the virtual router of a live word may be on their way.
    ///
    /// # Errors
    /// When there is no such virtual router.
    pub fn await_records(&self, index: u32, awaits: bool) -> anyhow::Result<()> {
        self.live_words.await_records(index, awaits)
    }

    fn pair(&self, kind: Kind) -> &Pair {
        match kind {
            Kind::Tcp => &self.tcp,
            Kind::Udp => &self.udp,
            Kind::Connection => &self.connections,
        }
    }

    fn pair_mut(&mut self, kind: Kind) -> &mut Pair {
        match kind {
            Kind::Tcp => &mut self.tcp,
            Kind::Udp => &mut self.udp,
            Kind::Connection => &mut self.connections,
        }
    }
}

impl Store for Records {
    type Walks = Walks;
    type Translations = Translations;

    fn recorded(&mut self) -> Option<Fresh> {
        let item = self.recorded.as_mut()?.next()?;
        let translated = || Translated::read_from_bytes(&item).map(Fresh::Translation);
        Recorded::read_from_bytes(&item).map(Fresh::Flow).or_else(|_| translated()).ok()
    }

    fn get(&self, kind: Kind, flow: &FlowKey6) -> anyhow::Result<Option<Record>> {
        let pair = self.pair(kind);
        let octets = if flow.source.is_v4() { pair.v4.get(&narrow(flow)) } else { pair.v6.get(&wide(flow)) }?;
        Ok(octets.map(|octets| read(&octets)))
    }

    fn put(&mut self, kind: Kind, flow: &FlowKey6, record: &Record) -> anyhow::Result<()> {
        let (pair, octets) = (self.pair_mut(kind), zerocopy::transmute!(*record));
        if flow.source.is_v4() { pair.v4.insert(&narrow(flow), octets) } else { pair.v6.insert(&wide(flow), octets) }
    }

    fn add(&mut self, kind: Kind, flow: &FlowKey6, record: &Record) -> anyhow::Result<bool> {
        let (pair, octets) = (self.pair_mut(kind), zerocopy::transmute!(*record));
        if flow.source.is_v4() { pair.v4.add(&narrow(flow), octets) } else { pair.v6.add(&wide(flow), octets) }
    }

    fn take(&mut self, kind: Kind, flow: &FlowKey6) -> anyhow::Result<Option<Record>> {
        let pair = self.pair_mut(kind);
        let octets = if flow.source.is_v4() { pair.v4.take(&narrow(flow)) } else { pair.v6.take(&wide(flow)) }?;
        Ok(octets.map(|octets| read(&octets)))
    }

    fn transfer(&mut self, it: &Transfer) -> anyhow::Result<()> {
        if self.transfers.push(*it) { self.settle() } else { Ok(()) }
    }

    fn settle(&mut self) -> anyhow::Result<()> {
        // To store twice what was stored changes nothing; and one by one the kernel says why it refuses.
        let mut settled = Ok(());
        for it in self.transfers.run() {
            settled = settled.and(self.store(&it));
        }
        settled
    }

    fn client(&self, client: &ClientKey) -> anyhow::Result<Option<Record>> {
        Ok(self.clients.get(&of_client(client))?.map(|octets| read(&octets)))
    }

    fn put_client(&mut self, client: &ClientKey, record: &Record) -> anyhow::Result<()> {
        self.clients.insert(&of_client(client), zerocopy::transmute!(*record))
    }

    fn add_client(&mut self, client: &ClientKey, record: &Record) -> anyhow::Result<()> {
        self.clients.add(&of_client(client), zerocopy::transmute!(*record)).map(drop)
    }

    fn remove_client(&mut self, client: &ClientKey) -> anyhow::Result<()> {
        self.clients.remove(&of_client(client))
    }

    fn step_clients(
        &self,
        walks: &mut Walks,
        mut visit: impl FnMut(&ClientKey, &Record),
    ) -> anyhow::Result<ControlFlow<()>> {
        self.clients.step(&mut walks.clients, |key, value| {
            visit(&ClientKey::read_from_bytes(key).expect("a key is 24 octets"), &read(value));
        })
    }

    fn count(&mut self, load: u32, change: Counted) -> anyhow::Result<()> {
        self.choosers.count(load, change)
    }

    fn step(
        &self,
        kind: Kind,
        is_v4: bool,
        walks: &mut Walks,
        mut visit: impl FnMut(&FlowKey6, &Record),
    ) -> anyhow::Result<ControlFlow<()>> {
        let pair = self.pair(kind);
        if is_v4 {
            pair.v4.step(&mut walks.v4, |key, value| visit(&widen(key), &read(value)))
        } else {
            pair.v6.step(&mut walks.v6, |key, value| visit(&as_is(key), &read(value)))
        }
    }

    fn translations(&self) -> &Translations {
        &self.translations
    }

    fn translations_mut(&mut self) -> &mut Translations {
        &mut self.translations
    }
}

fn of_client(client: &ClientKey) -> [u8; 24] {
    client.as_bytes().try_into().expect("a key is 24 octets")
}

fn wide(flow: &FlowKey6) -> [u8; 40] {
    flow.as_bytes().try_into().expect("a key is 40 octets")
}

fn read(octets: &[u8; 16]) -> Record {
    Record::read_from_bytes(octets).expect("a record is 16 octets")
}
