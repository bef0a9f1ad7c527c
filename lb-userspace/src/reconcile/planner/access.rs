//! The access rules of services: who gets which place, and the writes that make them what they shall be.
//!
//! A set of prefixes that changes is written anew under another number, one store of the entry makes it the one that is asked, and
//! the old one is forgotten after a grace period: no packet sees half of it.

use std::collections::BTreeMap;

use super::Planner;
use crate::config::Service as ServiceConfig;
use crate::reconcile::access::{self, Place};
use crate::reconcile::image::Image;
use crate::reconcile::placed::Placed;
use crate::reconcile::plan::PlanError;
use crate::reconcile::write::Write;

impl Planner {
    /// Where the access rules of a service lie; `None` if it is open to all.
    pub(super) fn access_place(
        &mut self,
        before: Option<&Placed>,
        service: &ServiceConfig,
    ) -> Result<Option<Place>, PlanError> {
        if service.access.is_open() {
            return Ok(None);
        }
        let before = before.and_then(|placed| Some((placed.access?, &placed.config.access)));
        let index = match before {
            Some((place, _)) => place.index,
            None => {
                let index = self.access_ranges.take(1).and_then(|index| u16::try_from(index).ok());
                index.ok_or_else(|| PlanError::NoAccessRules { service: service.name.clone() })?
            }
        };
        let has_prefixes = service.access.prefixes().next().is_some();
        let set = match before.filter(|(_, known)| known.prefixes().eq(service.access.prefixes())) {
            Some((place, _)) => place.set,
            None if has_prefixes => self.next_number(),
            None => 0,
        };
        let clients = match before.filter(|(_, known)| known.rate_limit == service.access.rate_limit) {
            Some((place, _)) => place.clients,
            None => self.next_number(),
        };
        Ok(Some(Place { index, set, clients }))
    }

    /// The writes that make the entry of a service what it shall be, when `before` is where it was. New ones are for before the
    /// service is published, others for after.
    pub(super) fn store_access(&self, image: &Image, placed: &Placed, before: Option<Place>) -> Option<Write> {
        let place = placed.access?;
        let entry = access::entry(&placed.config, place);
        let index = place.index.into();
        if before.is_none() {
            return Some(Write::Access(index, entry));
        }
        (image.access[usize::from(place.index)] != entry).then_some(Write::ChangeAccess(index, entry))
    }

    /// Gives up the places of services that are open to all now, or gone: they are used again by the next plan.
    pub(super) fn give_up_access(&mut self, before: &BTreeMap<String, Placed>) {
        for (name, placed) in before {
            let Some(place) = placed.access else { continue };
            if self.services.get(name).is_none_or(|after| after.access.is_none()) {
                self.access_given_up.push(place.index.into());
            }
        }
    }

    /// Gives back the places that were given up by the plan before this one.
    pub(super) fn give_back_access(&mut self) {
        for index in std::mem::take(&mut self.access_given_up) {
            self.access_ranges.give(index, 1);
        }
    }

    fn next_number(&mut self) -> u32 {
        self.next_set += 1;
        self.next_set
    }
}

/// The writes that make the sets that only `after` has, and those that forget what only `before` has.
pub(super) fn sets(before: &BTreeMap<String, Placed>, after: &BTreeMap<String, Placed>) -> (Vec<Write>, Vec<Write>) {
    let (before, after) = (by_number(before), by_number(after));
    let made = after.iter().filter(|(set, _)| !before.contains_key(set));
    let made = made.flat_map(|(&set, config)| {
        config.access.prefixes().map(move |(prefix, allowed)| Write::Admit(set, prefix, allowed))
    });
    let gone = before.iter().filter(|(set, _)| !after.contains_key(set));
    let gone =
        gone.flat_map(|(&set, config)| config.access.prefixes().map(move |(prefix, _)| Write::Unadmit(set, prefix)));
    (made.collect(), gone.collect())
}

fn by_number(services: &BTreeMap<String, Placed>) -> BTreeMap<u32, &ServiceConfig> {
    let sets = services.values().filter_map(|placed| Some((placed.access?.set, &*placed.config)));
    sets.filter(|(set, _)| *set != 0).collect()
}
