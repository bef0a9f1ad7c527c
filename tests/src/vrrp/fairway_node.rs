//! Fairway as a node.

use fairway::playground::{Lab, Namespace, admin_address};

use super::family::Family;
use super::{Node, Router, has_address};
use crate::harness::{Fairway, admin_socket, await_that};

/// The daemon of a balancer, with virtual routers and nothing else.
pub struct FairwayNode {
    daemon: Fairway,
    namespace: Namespace,
    /// What its configuration begins with.
    preamble: String,
}

impl FairwayNode {
    /// Starts it on a balancer, counted from 0, and waits until it answers.
    pub fn start(lab: &Lab, index: usize, routers: &[Router]) -> Self {
        let preamble = preamble(lab, index);
        let daemon = Fairway::start_on(lab, index, &configuration(&preamble, routers));
        Self { daemon, namespace: lab.balancer(index), preamble }
    }
}

/// The configuration of a daemon without virtual routers and services: `[node]` and `[admin]`.
pub fn preamble(lab: &Lab, index: usize) -> String {
    format!(
        "[node]
name = \"lb{number}\"
state_dir = \"{state}\"

[admin]
socket = \"{socket}\"
listen = \"{admin}\"
",
        number = index + 1,
        state = lab.directory().join(format!("state-lb{}", index + 1)).display(),
        socket = admin_socket(lab, index).display(),
        admin = admin_address(),
    )
}

fn configuration(preamble: &str, routers: &[Router]) -> String {
    preamble.to_owned() + &routers.iter().map(Router::for_fairway).collect::<String>()
}

impl Node for FairwayNode {
    fn holds(&self, router: &Router) -> bool {
        has_address(&self.namespace, router.address())
    }

    fn reload(&mut self, routers: &[Router]) {
        let output = self.daemon.reload(&configuration(&self.preamble, routers));
        assert!(output.status.success(), "reload failed: {}", String::from_utf8_lossy(&output.stderr));
    }

    fn stop(&mut self) {
        self.daemon.stop();
    }

    fn kill(&mut self) {
        let family = Family::of(self.daemon.pid());
        family.kill();
        await_that("Fairway is gone", || !family.is_alive());
        self.daemon.kill();
    }

    fn log(&self) -> String {
        self.daemon.log()
    }
}
