//! The tables of stateful services: who gets which, and the writes that make them what they shall be.

use std::collections::BTreeMap;
use std::time::Duration;

use lb_common::abi::Chooser;
use lb_common::scheduler::Rule;

use super::Planner;
use crate::config::Service as ServiceConfig;
use crate::reconcile::census::Census;
use crate::reconcile::image::Image;
use crate::reconcile::placed::Placed;
use crate::reconcile::plan::PlanError;
use crate::reconcile::stateful::{self, Seat};
use crate::reconcile::write::Write;
use crate::scheduler::slots::WRITE_MARGIN;

/// Loads are given out in multiples of this.
pub(super) const LOAD_GRAIN: u32 = 8;

/// Places to be given out again.
#[derive(Clone, Debug)]
pub(super) struct GivenUp {
    chooser: Option<u32>,
    first_load: u32,
    room: u32,
}

impl Planner {
    /// Where the tables of a service lie that needs so many loads; `None` if it keeps no state. One that kept some before has
    /// its tables until [`Self::retire`] takes them.
    pub(super) fn seat(
        &mut self,
        before: Option<Seat>,
        service: &ServiceConfig,
        needed: u32,
    ) -> Result<Option<Seat>, PlanError> {
        if before.is_none() && stateful::rule_of(service.scheduler).is_none() {
            return Ok(None);
        }
        if let Some(seat) = before.filter(|seat| seat.room >= needed) {
            return Ok(Some(seat));
        }
        let no_room = || PlanError::NoLoads { service: service.name.clone(), loads: needed };
        let chooser = match before {
            Some(seat) => seat.chooser,
            None => self.chooser_ranges.take(1).ok_or_else(no_room)?,
        };
        let rooms = [needed + (needed / 4).max(8), needed].map(|room| room.next_multiple_of(LOAD_GRAIN));
        let taken = rooms.into_iter().find_map(|room| Some((self.load_ranges.take(room)?, room)));
        let (first_load, room) = taken.ok_or_else(no_room)?;
        Ok(Some(Seat { chooser, first_load, room }))
    }

    /// The writes that make the tables of a service what they shall be, when `before` is where they were. New ones are for before
    /// the service is published, others for after its rows are and before any row is given up.
    pub(super) fn store_loads(&self, image: &Image, placed: &Placed, before: Option<Seat>) -> Vec<Write> {
        let Some(seat) = placed.seat else { return Vec::new() };
        let loads = stateful::loads(placed, self.tables.get(placed.table));
        let chooser = stateful::chooser(&placed.config, &seat, &loads);
        let is_new = before.is_none_or(|before| before.chooser != seat.chooser);
        let is_elsewhere = before.is_none_or(|before| before.first_load != seat.first_load);
        let mut writes = Vec::new();
        let mut is_reweighed = false;
        if is_elsewhere {
            writes.push(Write::ClearLoads(seat.first_load, seat.room));
        }
        if let Some(before) = before.filter(|_| is_elsewhere) {
            writes.push(Write::MoveLoads { from: before.first_load, to: seat.first_load, count: before.room });
        }
        for (index, load) in loads {
            let at = seat.load(index);
            let known = image.loads[at as usize];
            if is_elsewhere || known != load {
                is_reweighed |= known.weight != load.weight;
                writes.push(Write::Load(at, load));
            }
        }
        let present = Chooser { turn: 0, ..image.choosers[seat.chooser as usize] };
        if is_new {
            writes.push(Write::Chooser(seat.chooser, chooser));
        } else {
            if present != chooser {
                writes.push(Write::ChangeChooser(seat.chooser, chooser));
            }
            if chooser.rule == Rule::WeightedRoundRobin as u32 && (is_reweighed || present != chooser) {
                writes.push(Write::RestartTurns(seat.chooser));
            }
        }
        writes
    }

    /// Takes back the tables of services that keep no state any more and have no connection left from when they did. Whether
    /// there were any.
    pub(super) fn retire(&mut self, now: Duration, census: &Census) -> bool {
        let mut any = false;
        for placed in self.services.values_mut() {
            let Some(seat) = placed.seat.filter(|_| stateful::rule_of(placed.config.scheduler).is_none()) else {
                placed.retiring = None;
                continue;
            };
            let since = *placed.retiring.get_or_insert(now);
            if since + WRITE_MARGIN <= census.began && census.connections_of(placed.pool) == 0 {
                (placed.seat, placed.retiring) = (None, None);
                let Seat { chooser, first_load, room } = seat;
                self.given_up.push(GivenUp { chooser: Some(chooser), first_load, room });
                any = true;
            }
        }
        any
    }

    /// Gives back the places of seats that no packet in flight can know of: they are used again by the next plan.
    pub(super) fn give_back(&mut self) {
        for GivenUp { chooser, first_load, room } in std::mem::take(&mut self.given_up) {
            if let Some(chooser) = chooser {
                self.chooser_ranges.give(chooser, 1);
            }
            self.load_ranges.give(first_load, room);
        }
    }

    /// Notes what services had before a plan and have not any more.
    pub(super) fn give_up(&mut self, before: &BTreeMap<String, Placed>) {
        for (name, placed) in before {
            let Some(Seat { chooser, first_load, room }) = placed.seat else { continue };
            let now = self.services.get(name).filter(|now| now.pool == placed.pool).and_then(|now| now.seat);
            match now {
                Some(now) if now.first_load == first_load => {}
                Some(_) => self.given_up.push(GivenUp { chooser: None, first_load, room }),
                None => self.given_up.push(GivenUp { chooser: Some(chooser), first_load, room }),
            }
        }
    }

    /// Whether any service keeps connections: then censuses are due more often.
    pub fn keeps_connections(&self) -> bool {
        self.services.values().any(|placed| placed.seat.is_some())
    }

    /// The load of each backend of each stateful service, by service and identity.
    pub fn loads(&self) -> impl Iterator<Item = ((&str, &str), u32)> {
        let seated =
            self.services.iter().filter_map(|(name, placed)| Some((name.as_str(), placed.table, placed.seat?)));
        seated.flat_map(|(name, table, seat)| {
            let members = self.tables.get(table).pool.members();
            members.map(move |(identity, member)| ((name, identity), seat.load(member.index)))
        })
    }
}
