//! After an event: what follows from the new states is made so, once, whatever led there.

use std::time::Duration;

use super::Engine;
use crate::config::OnCrash;
use crate::vrrp::effect::{Bequest, Effect, Testament};
use crate::vrrp::router::Router;
use crate::vrrp::view::State;

impl Engine {
    /// Brings everything that depends on states in line with them.
    pub(super) fn settle(&mut self, now: Duration) {
        self.arrange_bfd(now);
        self.settle_routers(now);
        self.report(now);
        // Sending the report, time has passed on the peer link too.
        self.settle_routers(now);
        self.announcer.turn(now).into_iter().for_each(|effect| self.out.push(effect));
        self.conclude(now);
        if std::mem::take(&mut self.testament_is_stale) {
            self.bequeath();
        }
    }

    fn settle_routers(&mut self, now: Duration) {
        while let Some(unit) = self.unsettled.pop_first() {
            self.assess(now, unit);
        }
        while let Some(index) = self.touched.pop_first() {
            self.settle_router(now, index);
        }
    }

    fn settle_router(&mut self, now: Duration, index: usize) {
        let router = &mut self.routers[index];
        if std::mem::take(&mut router.moved) {
            self.testament_is_stale = true;
            self.reports_are_stale = true;
            if router.reconcile(&mut self.out) {
                router.announce_anew(now);
            }
            if router.state() != State::Master {
                self.announcer.cancel(router.id);
            }
        }
        if let Some((interface, mac)) = router.burst(now) {
            self.announcer.push(interface, router.id, mac, router.all_addresses());
        }
        self.schedule.set(index, router.deadline());
    }

    /// Says what is to be done in our name, if it is not what was said before.
    fn bequeath(&mut self) {
        let testament = self.testament();
        if self.testament != testament {
            self.testament.clone_from(&testament);
            self.out.push(Effect::Testament(testament));
        }
    }

    /// What is to be released should we die.
    fn testament(&self) -> Testament {
        let dies_with_us =
            |router: &&Router| router.state() == State::Master && router.config().on_crash == OnCrash::Release;
        Testament { release: self.routers.iter().filter(dies_with_us).flat_map(bequests).collect() }
    }
}

/// One bequest a router. Where unicast peers each need a packet of their own, the farewells to the first ones come before
/// it, with nothing to release.
fn bequests(router: &Router) -> Vec<Bequest> {
    let bequest = |farewell| Bequest { router: router.name.to_string(), farewell, addresses: Vec::new(), live: None };
    let mut bequests: Vec<Bequest> = router.advertisements(0).into_iter().map(bequest).collect();
    if let Some(last) = bequests.last_mut() {
        last.addresses = router.footprint.addresses();
        last.live = router.settings.live;
    }
    bequests
}
