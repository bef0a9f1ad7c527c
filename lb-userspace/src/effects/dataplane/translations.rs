//! The tables of recorded translations by descriptors of their own, for who shares them with another node; see [`super::Records`].

use std::ops::ControlFlow;

use lb_common::abi::{FlowKey6, Translation};
use zerocopy::{FromBytes as _, IntoBytes as _};

use super::batch::Walk;
use super::census::{as_is, widen};
use super::flow_table::FlowTable;
use super::{Maps, narrow};
use crate::exchange::pairs::Table;

/// See the module's description.
pub struct Translations {
    v4: FlowTable<16, 48>,
    v6: FlowTable<40, 48>,
}

/// A walk over the table of either family.
#[derive(Default)]
pub struct TranslationWalks {
    v4: Walk<16, 48>,
    v6: Walk<40, 48>,
}

impl Translations {
    pub(super) fn of(maps: &Maps) -> anyhow::Result<Self> {
        Ok(Self { v4: maps.translations_v4.duplicate()?, v6: maps.translations_v6.duplicate()? })
    }
}

impl crate::exchange::store::Translations for Translations {
    type Walks = TranslationWalks;

    fn step_translations(
        &self,
        is_v4: bool,
        walks: &mut TranslationWalks,
        mut visit: impl FnMut(&FlowKey6, &Translation),
    ) -> anyhow::Result<ControlFlow<()>> {
        let mut visit = |key: FlowKey6, it: Translation| {
            if it.state != 0 {
                visit(&key, &it);
            }
        };
        if is_v4 {
            self.v4.step(&mut walks.v4, |key, value| visit(widen(key), read(value)))
        } else {
            self.v6.step(&mut walks.v6, |key, value| visit(as_is(key), read(value)))
        }
    }
}

impl Table for Translations {
    fn get(&self, key: &FlowKey6) -> anyhow::Result<Option<Translation>> {
        let octets = if key.source.is_v4() { self.v4.get(&narrow(key)) } else { self.v6.get(&wide(key)) }?;
        Ok(octets.map(|octets| read(&octets)))
    }

    fn insert(&mut self, key: &FlowKey6, it: &Translation) -> anyhow::Result<()> {
        let octets = zerocopy::transmute!(*it);
        if key.source.is_v4() { self.v4.insert(&narrow(key), octets) } else { self.v6.insert(&wide(key), octets) }
    }

    fn insert_new(&mut self, key: &FlowKey6, it: &Translation) -> anyhow::Result<bool> {
        let octets = zerocopy::transmute!(*it);
        if key.source.is_v4() { self.v4.add(&narrow(key), octets) } else { self.v6.add(&wide(key), octets) }
    }

    fn delete(&mut self, key: &FlowKey6) -> anyhow::Result<()> {
        if key.source.is_v4() { self.v4.remove(&narrow(key)) } else { self.v6.remove(&wide(key)) }
    }
}

fn wide(key: &FlowKey6) -> [u8; 40] {
    key.as_bytes().try_into().expect("a key is 40 octets")
}

fn read(octets: &[u8; 48]) -> Translation {
    Translation::read_from_bytes(octets).expect("a translation is 48 octets")
}
