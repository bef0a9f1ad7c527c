//! Persistence: the backend that a client has had.

use super::rule::by_rule;
use super::{BY_TABLE, UNRECORDED};
use crate::abi::{Chooser, ClientKey, Record, Service};
use crate::flow::Flow;
use crate::path::{Inserted, Tables, is_alive};
use crate::slot::NONE;

/// The same, or the backend that the client has had; [`UNRECORDED`] if it could not be remembered.
#[inline(always)]
pub(super) fn by_client<T: Tables>(tables: &T, service: &Service, flow: &Flow, known: u32) -> u32 {
    let had = had(tables, service, flow);
    if had != NONE as u32 {
        return had;
    }
    let chosen = by_rule(tables, service, known);
    if chosen == NONE as u32 { chosen } else { keep(tables, service, flow, chosen) }
}

/// The index of the backend that a client has had, and that may have more of it; else [`NONE`].
#[inline(never)]
fn had<T: Tables>(tables: &T, service: &Service, flow: &Flow) -> u32 {
    let Some(chooser) = &tables.chooser(service.chooser) else { return NONE as u32 };
    let now = tables.now();
    let had = tables.with_client(&ClientKey::of(service, flow.source), |record| {
        record.last_seen = now;
        record.backend
    });
    match had {
        Some(backend) if takes_clients(tables, service, chooser, backend) => backend as u32,
        _ => NONE as u32,
    }
}

/// Remembers the backend of a client. Whose it is then: another CPU may have been first.
#[inline(never)]
fn keep<T: Tables>(tables: &T, service: &Service, flow: &Flow, chosen: u32) -> u32 {
    let Some(chooser) = &tables.chooser(service.chooser) else { return BY_TABLE };
    let client = ClientKey::of(service, flow.source);
    let record = Record { last_seen: tables.now(), pool: service.pool, backend: chosen as u16, state: 0 };
    match tables.insert_client(&client, record) {
        Inserted::Done => chosen,
        Inserted::Exists => {
            let other = tables.with_client(&client, |old| old.backend).unwrap_or(NONE);
            if takes_clients(tables, service, chooser, other) {
                return other as u32;
            }
            tables.with_client(&client, |old| *old = record);
            chosen
        }
        Inserted::Full => {
            tables.note_unrecorded();
            UNRECORDED
        }
    }
}

/// Whether a backend gets new flows of clients that it has had: full or not, while it has weight and is not dead.
#[inline(always)]
fn takes_clients<T: Tables>(tables: &T, service: &Service, chooser: &Chooser, backend: u16) -> bool {
    tables.load(chooser.first_load().wrapping_add(backend as u32)).is_some_and(|load| load.weight > 0)
        && tables.row(service.first_row.wrapping_add(backend as u32)).is_some_and(is_alive)
}
