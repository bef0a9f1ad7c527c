//! Faults put in on purpose, to see that the judgement of the simulation would notice them.

use std::collections::BTreeSet;
use std::time::Duration;

use fairway::native::NativeTables;
use fairway::reconcile::census::Census;
use fairway::reconcile::planner::Planner;
use fairway::reconcile::write::Write;
use lb_common::address::Address;

use crate::world::poison;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    None,
    /// Slots leave "unsettled" after a quarter of the idle timeout.
    SettleEarly,
    /// Slots leave "unsettled" although records were refused.
    IgnoreRefusals,
    /// The census finds no records: slots settle over them, and indices are used again.
    OverlookRecords,
    /// A census begun before a change is believed.
    TrustOldSurveys,
    /// A service that diverges from those it shared a table with goes on with their table.
    SkipCopy,
    /// Words of live tables are stored before rows are written and entries flipped.
    LiveWordsFirst,
    /// Nobody waits for packets in flight.
    SkipGrace,
    /// Rows in use are written over without taking their MAC address away first.
    WriteRowsInUse,
    /// The row of a removed backend is used again at once.
    ReuseRowsAtOnce,
    /// Replies of removed backends are not translated any more.
    DropReverseOfLeaving,
}

impl Fault {
    /// What becomes of a plan.
    pub fn bend(self, writes: Vec<Write>, tables: &NativeTables, planner: &Planner) -> Vec<Write> {
        match self {
            Self::LiveWordsFirst => {
                let (words, others): (Vec<_>, Vec<_>) =
                    writes.into_iter().partition(|write| matches!(write, Write::Slot(..)));
                words.into_iter().chain(others).collect()
            }
            Self::SkipGrace => writes.into_iter().filter(|write| !matches!(write, Write::Grace)).collect(),
            Self::WriteRowsInUse => writes.into_iter().filter(|write| !matches!(write, Write::RowMac(_, 0))).collect(),
            Self::SkipCopy => writes.into_iter().map(|write| keep_tables(write, tables)).collect(),
            Self::DropReverseOfLeaving => {
                let configured: BTreeSet<Address> = planner
                    .services()
                    .values()
                    .flat_map(|placed| placed.config.backends.iter().map(|backend| backend.address.into()))
                    .collect();
                writes.into_iter().map(|write| keep_reverse(write, &configured)).collect()
            }
            Self::None | Self::SettleEarly | Self::IgnoreRefusals | Self::OverlookRecords => writes,
            Self::TrustOldSurveys | Self::ReuseRowsAtOnce => writes,
        }
    }

    /// What becomes of a census.
    pub fn lie(self, mut census: Census) -> Census {
        match self {
            Self::IgnoreRefusals => census.refusals.clear(),
            Self::OverlookRecords => {
                let refusals = std::mem::take(&mut census.refusals);
                census = Census::new(census.began);
                census.refusals = refusals;
            }
            Self::TrustOldSurveys => census.began = Duration::MAX,
            _ => {}
        }
        census
    }

    /// What happens after a plan was carried out.
    pub fn aftermath(self, tables: &mut NativeTables, planner: &Planner) {
        if self != Self::ReuseRowsAtOnce {
            return;
        }
        for (number, owner) in planner.rows().iter() {
            if planner.services()[&*owner.service].leaving.contains_key(&*owner.identity) {
                tables.image.rows[number as usize] = poison();
            }
        }
    }
}

fn keep_tables(write: Write, tables: &NativeTables) -> Write {
    let Write::Half(mut half) = write else { return write };
    for (_, service) in &mut half.services {
        let before = tables.image.listener(service.address, service.port_wire, service.protocol);
        if let Some(before) = before.filter(|before| before.shift == service.shift && before.pool == service.pool) {
            service.first_slot = before.first_slot;
        }
    }
    Write::Half(half)
}

fn keep_reverse(write: Write, configured: &BTreeSet<Address>) -> Write {
    let Write::Half(mut half) = write else { return write };
    half.reverse.retain(|(_, reverse)| configured.contains(&reverse.backend));
    Write::Half(half)
}
