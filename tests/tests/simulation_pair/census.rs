//! The census of a node's flow tables in plain memory, as the daemon takes it of the kernel's: what has had its time is deleted.

use std::collections::BTreeMap;
use std::time::Duration;

use fairway::native::NativeTables;
use fairway::reconcile::census::{Census, ConnectionFate, Fate};
use fairway::reconcile::write::Write;
use lb_common::connection::Counted;

/// More than there are services.
const CHOOSERS: usize = 16;

/// Counts all records, by the clock of the tables.
pub fn take(tables: &mut NativeTables) -> Census {
    let clock = tables.clock.get();
    let mut census = Census::new(Duration::from_nanos(clock));
    let image = &tables.image;
    tables.flows.borrow_mut().retain(|key, record| census.add(image, key, record, clock) == Fate::Keep);
    // Looking for services that remember clients takes longer than all else.
    let timeouts = if tables.clients.borrow().is_empty() { BTreeMap::new() } else { image.persistence() };
    let is_kept =
        |census: &mut Census, client: &_, record: &_| census.add_client(&timeouts, client, record, clock) == Fate::Keep;
    tables.clients.borrow_mut().retain(|client, record| is_kept(&mut census, client, record));
    let mut over = Vec::new();
    tables.connections.borrow_mut().retain(|key, record| match census.add_connection(image, key, record, clock) {
        ConnectionFate::Keep => true,
        ConnectionFate::Delete(load) => {
            over.extend(load.map(|load| Write::Recount(load, Counted::one(record.state).ended())));
            false
        }
    });
    for client in census.take_forgotten() {
        tables.clients.borrow_mut().remove(&client);
    }
    over.iter().for_each(|write| tables.apply(write));
    let loads = tables.loads.borrow();
    let counted = |load: u32| loads.get(&load).map_or(Counted::default(), |&(counted, _)| counted);
    let in_use = tables.image.choosers.iter().take(CHOOSERS).filter(|chooser| chooser.loads() > 0);
    let places = in_use.flat_map(|chooser| chooser.first_load()..chooser.first_load() + chooser.loads());
    census.loads = places.map(|load| (load, [counted(load); 2])).collect();
    let refusals = tables.refusals.borrow();
    census.refusals = refusals.iter().map(|(&element, &at)| (element, Duration::from_nanos(at))).collect();
    census
}
