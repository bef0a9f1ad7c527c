//! The records of flows in plain memory, as the exchange uses them. A walk shows all of a table at once.

use std::ops::ControlFlow;

use anyhow::{Result, ensure};
use lb_common::abi::{ClientKey, FlowKey6, Record, Translation};
use lb_common::connection::Counted;
use lb_common::packet::protocol;
use lb_common::path::Tables as _;

use super::NativeTables;
use crate::exchange::directory::Kind;
use crate::exchange::pairs::Table;
use crate::exchange::store::{Fresh, Store, Translations};
use crate::reconcile::write::Write;

impl Store for NativeTables {
    type Walks = ();
    type Translations = Self;

    fn recorded(&mut self) -> Option<Fresh> {
        self.recorded.get_mut().pop_front()
    }

    fn get(&self, kind: Kind, flow: &FlowKey6) -> Result<Option<Record>> {
        let table = if kind == Kind::Connection { &self.connections } else { &self.flows };
        Ok(table.borrow().get(flow).copied())
    }

    fn put(&mut self, kind: Kind, flow: &FlowKey6, record: &Record) -> Result<()> {
        let (table, room) = match kind {
            Kind::Connection => (self.connections.get_mut(), self.connection_capacity),
            Kind::Tcp | Kind::Udp => (self.flows.get_mut(), self.flow_capacity),
        };
        ensure!(table.contains_key(flow) || table.len() < room, "the table is full");
        table.insert(*flow, *record);
        Ok(())
    }

    fn add(&mut self, kind: Kind, flow: &FlowKey6, record: &Record) -> Result<bool> {
        let is_new = Store::get(self, kind, flow)?.is_none();
        if is_new {
            self.put(kind, flow, record)?;
        }
        Ok(is_new)
    }

    fn take(&mut self, kind: Kind, flow: &FlowKey6) -> Result<Option<Record>> {
        let table = if kind == Kind::Connection { self.connections.get_mut() } else { self.flows.get_mut() };
        Ok(table.remove(flow))
    }

    fn step(
        &self,
        kind: Kind,
        is_v4: bool,
        _walks: &mut (),
        mut visit: impl FnMut(&FlowKey6, &Record),
    ) -> Result<ControlFlow<()>> {
        let table = if kind == Kind::Connection { &self.connections } else { &self.flows };
        let is_of = |flow: &FlowKey6| {
            let is_udp = flow.protocol == u32::from(protocol::UDP);
            flow.source.is_v4() == is_v4 && (kind == Kind::Connection || (kind == Kind::Udp) == is_udp)
        };
        table.borrow().iter().filter(|(flow, _)| is_of(flow)).for_each(|(flow, record)| visit(flow, record));
        Ok(ControlFlow::Break(()))
    }

    fn client(&self, client: &ClientKey) -> Result<Option<Record>> {
        Ok(self.clients.borrow().get(client).copied())
    }

    fn put_client(&mut self, client: &ClientKey, record: &Record) -> Result<()> {
        self.clients.get_mut().insert(*client, *record);
        Ok(())
    }

    fn add_client(&mut self, client: &ClientKey, record: &Record) -> Result<()> {
        self.clients.get_mut().entry(*client).or_insert(*record);
        Ok(())
    }

    fn remove_client(&mut self, client: &ClientKey) -> Result<()> {
        self.clients.get_mut().remove(client);
        Ok(())
    }

    fn step_clients(&self, _walks: &mut (), mut visit: impl FnMut(&ClientKey, &Record)) -> Result<ControlFlow<()>> {
        self.clients.borrow().iter().for_each(|(client, record)| visit(client, record));
        Ok(ControlFlow::Break(()))
    }

    fn count(&mut self, load: u32, change: Counted) -> Result<()> {
        self.apply(&Write::Recount(load, change));
        Ok(())
    }

    fn translations(&self) -> &Self {
        self
    }

    fn translations_mut(&mut self) -> &mut Self {
        self
    }
}

impl Translations for NativeTables {
    type Walks = ();

    fn step_translations(
        &self,
        is_v4: bool,
        _walks: &mut (),
        mut visit: impl FnMut(&FlowKey6, &Translation),
    ) -> Result<ControlFlow<()>> {
        let table = self.translations.borrow();
        let of_clients = table.iter().filter(|(key, it)| key.source.is_v4() == is_v4 && it.state != 0);
        of_clients.for_each(|(key, it)| visit(key, it));
        Ok(ControlFlow::Break(()))
    }
}

impl Table for NativeTables {
    fn get(&self, key: &FlowKey6) -> Result<Option<Translation>> {
        Ok(self.translations.borrow().get(key).copied())
    }

    fn insert(&mut self, key: &FlowKey6, it: &Translation) -> Result<()> {
        let table = self.translations.get_mut();
        ensure!(table.contains_key(key) || table.len() < self.translation_capacity, "the table is full");
        table.insert(*key, *it);
        Ok(())
    }

    fn insert_new(&mut self, key: &FlowKey6, it: &Translation) -> Result<bool> {
        let is_new = !self.translations.get_mut().contains_key(key);
        if is_new {
            self.insert(key, it)?;
        }
        Ok(is_new)
    }

    fn delete(&mut self, key: &FlowKey6) -> Result<()> {
        self.remove_translation(key);
        Ok(())
    }
}
