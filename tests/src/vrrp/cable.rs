//! What can happen to a balancer's link, done at the switch's end of it.

use std::process::Command;

use fairway::playground::topology::{Role, router_port};
use fairway::playground::{Lab, Namespace};

use crate::harness::{ip, tool};

/// States of a bridge's port, as the kernel numbers them.
const DISABLED: &str = "0";
const FORWARDING: &str = "3";

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
        self.set_state(DISABLED);
    }

    /// Undoes [`Self::block`].
    pub fn unblock(&self) {
        self.set_state(FORWARDING);
    }

    /// The carrier goes.
    pub fn pull(&self) {
        self.set("down");
    }

    /// Undoes [`Self::pull`].
    pub fn plug(&self) {
        self.set("up");
    }

    /// By `bridge`, for `ip link set type bridge_slave state` says yes and does nothing.
    fn set_state(&self, state: &str) {
        let mut command = Command::new(tool("bridge", "iproute2"));
        command.args(["-netns", self.switch.name(), "link", "set", "dev", &self.port, "state", state]);
        let output = command.output().expect("bridge starts");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    fn set(&self, what: &str) {
        ip(&self.switch, &format!("link set {} {what}\n", self.port));
    }
}
