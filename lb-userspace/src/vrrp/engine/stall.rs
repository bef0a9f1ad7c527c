//! The thread did not run, or was taken for dead: what others did meanwhile is not known yet.

use std::time::Duration;

use super::Engine;
use crate::happening::Happening;
use crate::vrrp::router::{Node, Router};
use crate::vrrp::timing;
use crate::vrrp::view::State;
use crate::vrrp::words::span;

/// The fastest other node has this priority.
const FASTEST: u8 = 254;
/// Time to read what lies in the queues.
const TIME_TO_READ: Duration = Duration::from_millis(2);

impl Engine {
    /// A wake-up was late. Where another may have taken over meanwhile, we step back before anything else; where none can
    /// have, nothing changes.
    pub(super) fn stalled(&mut self, now: Duration, gap: Duration) {
        self.stalls += 1;
        self.longest_stall = self.longest_stall.max(gap);
        if let Some(link) = &mut self.peer {
            link.line.forgive(now);
        }
        self.bfd.forgive(now);
        let least = self.time_to_be_heard();
        let mut told = false;
        for unit in 0..self.units.len() {
            let members = &self.units[unit].members;
            let lost = members.iter().any(|member| may_be_lost(&self.routers[*member], &self.node, gap));
            for member in members.clone() {
                self.touched.insert(member);
                let router = &mut self.routers[member];
                router.read_first(now, gap, TIME_TO_READ);
                if lost && router.state() == State::Master {
                    let why = format!("did not run for {}: another may have taken over", span(gap));
                    if self.stopping.is_some() {
                        router.end(now, why, &mut self.out);
                        router.lingers_until = None;
                    } else {
                        router.step_back(now, &self.node, why, least, &mut self.out);
                    }
                    told = true;
                }
            }
        }
        if told {
            self.out.tell(Happening::Stalled { seconds: gap.as_secs_f64() });
        }
    }

    /// The supervisor has released everything in our name: begin anew.
    pub(super) fn deposed(&mut self, now: Duration) {
        for index in 0..self.routers.len() {
            let router = &mut self.routers[index];
            if router.state() != State::Master {
                continue;
            }
            self.touched.insert(index);
            let why = "taken for hung, the supervisor has released everything".to_string();
            if self.stopping.is_some() {
                router.end(now, why, &mut self.out);
            } else {
                router.become_backup(now, &self.node, why, &mut self.out);
            }
            router.lingers_until = None;
        }
    }

    /// Another that took over has said so by then, on one link or the other.
    fn time_to_be_heard(&self) -> Duration {
        self.node.peer.as_ref().map_or(TIME_TO_READ, |peer| (peer.heartbeat * 2).max(TIME_TO_READ))
    }
}

/// Whether another may have taken a master for dead after such a gap.
fn may_be_lost(router: &Router, node: &Node, gap: Duration) -> bool {
    let config = router.config();
    let interval = config.advertisement_interval;
    // An advertisement was due at the end of its interval; of the three that must be missed, two were due in the gap.
    let by_vrrp = interval * 2 + timing::skew_time(config.version, FASTEST, interval);
    let by_peer = node.peer.as_ref().map(|peer| peer.detection);
    router.state() == State::Master && gap >= by_peer.map_or(by_vrrp, |by_peer| by_peer.min(by_vrrp))
}
