//! Services that go by QUIC's connection IDs: which gets which place to count at, and the writes that say whose server IDs are.
//!
//! A server ID is said to be a backend's after its rows are there, and forgotten when no packet asks by the entries before. Until then,
//! and for packets in flight after that, it leads to a row that is still right: an index is given to somebody else only much later.

use std::collections::BTreeMap;

use super::Planner;
use crate::config::Service as ServiceConfig;
use crate::reconcile::placed::Placed;
use crate::reconcile::plan::PlanError;
use crate::reconcile::quic::{is_quic, server_ids};
use crate::reconcile::write::Write;

impl Planner {
    /// Where the packets of a service are counted; `None` if it does not go by connection IDs.
    pub(super) fn quic_place(
        &mut self,
        before: Option<&Placed>,
        service: &ServiceConfig,
    ) -> Result<Option<u16>, PlanError> {
        if !is_quic(service) {
            return Ok(None);
        }
        if let Some(place) = before.and_then(|placed| placed.quic) {
            return Ok(Some(place));
        }
        let place = self.quic_ranges.take(1).and_then(|place| u16::try_from(place).ok());
        place.map(Some).ok_or_else(|| PlanError::NoQuicCounters { service: service.name.clone() })
    }

    /// The writes that say whose server IDs are, and begin to count, where that is new; and those that forget others.
    pub(super) fn name_servers(&mut self, before: &BTreeMap<String, Placed>) -> (Vec<Write>, Vec<Write>) {
        let of_service = |placed: &Placed| server_ids(placed, &self.tables.get(placed.table).pool);
        let ids: BTreeMap<_, _> = self.services.values().flat_map(of_service).collect();
        let had = |name: &str| before.get(name).and_then(|placed| placed.quic);
        let places = self.services.iter().filter_map(|(name, placed)| Some((name, placed.quic?)));
        let new_places = places.filter(|(name, place)| had(name) != Some(*place)).map(|(_, place)| place);
        let mut writes: Vec<Write> = new_places.map(Write::ClearQuic).collect();
        let new_ids = ids.iter().filter(|(key, backend)| self.server_ids.get(key) != Some(*backend));
        writes.extend(new_ids.map(|(key, backend)| Write::ServerId(*key, *backend)));
        let forgotten = self.server_ids.keys().filter(|key| !ids.contains_key(key)).copied();
        let forgotten = forgotten.map(Write::ForgetServerId).collect();
        self.server_ids = ids;
        (writes, forgotten)
    }

    /// Gives up the places of services that do not go by connection IDs any more, or are gone: they are used again by the next plan.
    pub(super) fn give_up_quic(&mut self, before: &BTreeMap<String, Placed>) {
        for (name, placed) in before {
            let Some(place) = placed.quic else { continue };
            if self.services.get(name).is_none_or(|after| after.quic.is_none()) {
                self.quic_given_up.push(place.into());
            }
        }
    }

    /// Gives back the places that were given up by the plan before this one.
    pub(super) fn give_back_quic(&mut self) {
        for place in std::mem::take(&mut self.quic_given_up) {
            self.quic_ranges.give(place, 1);
        }
    }
}
