//! What a node's tables say of backends: whether they are up to their flows, get clients back, and have a place for records.

use std::time::Duration;

use crate::desired::{SERVICES, identity};
use crate::node::Node;

impl Node {
    /// Whether a backend is up to its flows here; `None`: it is not known.
    pub fn standing(&self, service: usize, number: u8) -> Option<bool> {
        let planner = self.controller.planner();
        let placed = planner.services().get(SERVICES[service].name)?;
        planner.tables().get(placed.table).pool.member(&identity(service, number)).map(|member| member.up)
    }

    /// Whether a backend gets new flows of clients that it has had.
    pub fn takes_clients(&self, service: usize, number: u8) -> bool {
        let planner = self.controller.planner();
        let placed = &planner.services()[SERVICES[service].name];
        let member = planner.tables().get(placed.table).pool.member(&identity(service, number));
        member.is_some_and(|member| member.up && !member.leaving && member.weight > 0)
    }

    /// Since when records that name a backend have a place here.
    pub fn places_since(&self, service: usize, number: u8) -> Option<Duration> {
        self.places.get(&(service, number)).copied()
    }
}
