//! What is said of everything, at a moment.

use std::time::Duration;

use super::Engine;
use crate::vrrp::router::{Heard, Phase, Router, virtual_mac};
use crate::vrrp::view::{MasterView, RouterView, Snapshot};
use crate::vrrp::words::family;

impl Engine {
    /// Everything, as it is at `now`.
    pub fn snapshot(&self, now: Duration) -> Snapshot {
        Snapshot {
            at: now,
            routers: self.routers.iter().map(|router| self.view(now, router)).collect(),
            peer: self.peer.as_ref().map(|link| link.line.view(now)),
            bfd: self.bfd.view(),
            not_ready: self.node.ready.clone().err(),
            stray: self.stray.clone(),
            stalls: self.stalls,
            longest_stall: self.longest_stall,
        }
    }

    fn view(&self, now: Duration, router: &Router) -> RouterView {
        let config = router.config();
        let interval = router.interval();
        let heard = |Heard { address, priority, at }| MasterView { address, priority, heard: at };
        let (held_back, foreign) = match &router.phase {
            Phase::Backup(backup) => (backup.held_back.clone(), None),
            Phase::Master(master) => (None, master.foreign),
            Phase::Init | Phase::Fault => (None, None),
        };
        RouterView {
            name: router.name.to_string(),
            interface: config.interface.clone(),
            family: family(config.is_ipv4()).to_lowercase(),
            vrid: config.vrid,
            version: match config.version {
                crate::config::VrrpVersion::V2 => 2,
                crate::config::VrrpVersion::V3 => 3,
            },
            group: self.units[router.unit].name.clone(),
            state: router.state(),
            since: router.since,
            why: router.why.clone(),
            priority: config.priority,
            effective_priority: router.priority,
            terms: router.standing.terms.clone(),
            master: router.master.map(heard),
            addresses: config.addresses.iter().map(|address| address.addr()).collect(),
            excluded: config.excluded_addresses.iter().map(|address| address.addr()).collect(),
            virtual_mac: config.virtual_mac.then(|| in_colons(virtual_mac(config))),
            resigned: router.resigned,
            hold_until: router.hold_until.filter(|until| *until > now),
            held_back,
            address_difference: router.difference.clone(),
            foreign_master: foreign.map(|foreign| (foreign.address, foreign.at)),
            interval,
            skew: router.skew(interval),
            counters: router.counters.clone(),
        }
    }
}

/// `00:00:5e:00:01:33`.
fn in_colons(mac: [u8; 6]) -> String {
    mac.map(|octet| format!("{octet:02x}")).join(":")
}
