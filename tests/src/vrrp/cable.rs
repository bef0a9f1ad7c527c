//! What can happen to a balancer's link, done at the switch's end of it.

use fairway::playground::topology::{Role, router_port};
use fairway::playground::{Lab, Namespace};

use crate::harness::ip;

/// The link of a balancer.
pub struct Cable {
    switch: Namespace,
    port: String,
}

impl Cable {
    /// That of a balancer, counted from 0.
    pub fn of(lab: &Lab, index: usize) -> Self {
        Self { switch: lab.router(), port: router_port(Role::Balancer(index)) }
    }

    /// Nothing passes any more, and neither end notices: as when the node loses power behind a switch.
    pub fn block(&self) {
        self.set("type bridge_slave state 0");
    }

    /// Undoes [`Self::block`].
    pub fn unblock(&self) {
        self.set("type bridge_slave state 3");
    }

    /// The carrier goes.
    pub fn pull(&self) {
        self.set("down");
    }

    /// Undoes [`Self::pull`].
    pub fn plug(&self) {
        self.set("up");
    }

    fn set(&self, what: &str) {
        ip(&self.switch, &format!("link set {} {what}\n", self.port));
    }
}
