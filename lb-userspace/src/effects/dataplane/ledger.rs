//! Counters that outlive the rows they are counted in. A row moves when its pool outgrows its place, and is given to another
//! backend when nothing names it any more; what was counted for the one before is folded into its sum.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;

use lb_common::abi::{Counters, Signs};

use super::Maps;
use crate::controller::view::Totals;
use crate::reconcile::rows::{RowIndex, RowOwner};

/// A backend of a service: what is counted together.
pub type Account = (Arc<str>, Arc<str>);

/// What the maps say of one row.
type Counted = (Counters, Signs);

/// Sums by backend.
#[derive(Default)]
pub struct Ledger {
    rows: BTreeMap<u32, (RowOwner, Counted)>,
    folded: BTreeMap<Account, Totals>,
}

impl Ledger {
    /// Takes note of who has which row now.
    ///
    /// # Errors
    /// When the kernel does not tell a row's counters.
    pub fn assign(&mut self, maps: &Maps, index: &RowIndex) -> anyhow::Result<()> {
        let gone: Vec<u32> =
            self.rows.iter().filter(|(row, (owner, _))| index.get(**row) != Some(owner)).map(|(&row, _)| row).collect();
        for row in gone {
            if let Some((owner, base)) = self.rows.remove(&row) {
                self.folded.entry(account(&owner)).or_default().add(&since(&base, &counted(maps, row)?));
            }
        }
        for (row, owner) in index.iter() {
            if let Entry::Vacant(vacant) = self.rows.entry(row) {
                vacant.insert((owner.clone(), counted(maps, row)?));
            }
        }
        Ok(())
    }

    /// Everything counted so far, by backend, of services that `wanted` takes.
    ///
    /// # Errors
    /// When the kernel does not tell a row's counters.
    pub fn totals(&self, maps: &Maps, wanted: impl Fn(&str) -> bool) -> anyhow::Result<BTreeMap<Account, Totals>> {
        let folded = self.folded.iter().filter(|((service, _), _)| wanted(service));
        let mut totals: BTreeMap<Account, Totals> = folded.map(|(account, sum)| (account.clone(), *sum)).collect();
        for (&row, (owner, base)) in self.rows.iter().filter(|(_, (owner, _))| wanted(&owner.service)) {
            totals.entry(account(owner)).or_default().add(&since(base, &counted(maps, row)?));
        }
        Ok(totals)
    }
}

fn account(owner: &RowOwner) -> Account {
    (owner.service.clone(), owner.identity.clone())
}

fn counted(maps: &Maps, row: u32) -> anyhow::Result<Counted> {
    Ok((maps.counters(row)?, maps.signs(row)?))
}

fn since((base, signs_before): &Counted, (now, signs): &Counted) -> Totals {
    Totals {
        packets: now.packets.wrapping_sub(base.packets),
        bytes: now.bytes.wrapping_sub(base.bytes),
        connections: now.connections.wrapping_sub(base.connections),
        syn_retransmissions: signs.syn_retransmissions.wrapping_sub(signs_before.syn_retransmissions),
        resets: signs.resets.wrapping_sub(signs_before.resets),
        unreachables: signs.unreachables.wrapping_sub(signs_before.unreachables),
    }
}
