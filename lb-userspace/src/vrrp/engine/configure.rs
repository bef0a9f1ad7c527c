//! A new configuration. Routers that are there before and after go on as they are: state, timers and counters stay, and what
//! differs takes effect in place.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{Engine, MOST_ROUTERS, Unit};
use crate::config::{VirtualRouter, VrrpVersion};
use crate::happening::Happening;
use crate::vrrp::event::{RouterSettings, Settings};
use crate::vrrp::router::{PATIENCE, Router, unknown_verdicts};

/// What makes a virtual router the same on the wire.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Identity {
    interface: String,
    is_ipv4: bool,
    vrid: u8,
    version: VrrpVersion,
}

impl Identity {
    fn of(config: &VirtualRouter) -> Self {
        let VirtualRouter { interface, vrid, version, .. } = config;
        Self { interface: interface.clone(), is_ipv4: config.is_ipv4(), vrid: *vrid, version: *version }
    }
}

impl Engine {
    /// What is configured, now.
    pub(super) fn configure(&mut self, now: Duration, mut settings: Settings) {
        self.node.ready_timeout = settings.ready_timeout;
        self.configure_peer(now, settings.peer.take());
        self.limit(&mut settings);
        let present = std::mem::take(&mut self.routers).into_iter();
        let mut present: BTreeMap<Identity, Router> =
            present.map(|router| (Identity::of(router.config()), router)).collect();
        for wanted in settings.routers {
            let router = match present.remove(&Identity::of(&wanted.router)) {
                Some(mut router) => {
                    router.reconfigure(wanted, now);
                    router
                }
                None => self.new_router(wanted, now),
            };
            self.routers.push(router);
        }
        present.into_values().for_each(|router| self.dismiss(now, router));
        self.arrange(now);
    }

    fn limit(&mut self, settings: &mut Settings) {
        let count = settings.routers.len();
        if count > MOST_ROUTERS {
            settings.routers.truncate(MOST_ROUTERS);
            let message = format!("{count} virtual routers, the first {MOST_ROUTERS} of them take part");
            self.out.tell(Happening::Warning { router: None, message });
        }
    }

    fn new_router(&mut self, settings: RouterSettings, now: Duration) -> Router {
        self.next_id += 1;
        Router::new(self.next_id, settings, now)
    }

    /// A router that is configured no more: a master says so and lets go at once.
    fn dismiss(&mut self, now: Duration, mut router: Router) {
        router.end(now, "removed from the configuration".into(), &mut self.out);
        router.lingers_until = None;
        router.reconcile(&mut self.out);
        self.announcer.cancel(router.id);
        self.testament_is_stale = true;
    }

    /// Everything that is looked up by index, anew.
    fn arrange(&mut self, now: Duration) {
        self.schedule.clear();
        self.arrange_units();
        let before = std::mem::take(&mut self.tracks);
        self.tracks = super::tracks::Watched::new(&self.routers, before, now);
        let names: Vec<String> = self.links.keys().map(|name| name.to_string()).collect();
        for name in &names {
            let held = self.held_on(name);
            for index in self.tracks.routers_on(name) {
                self.place(now, index, &held);
            }
            self.interface_verdicts(name);
        }
        self.index_packets();
        self.bfd_is_stale = true;
        self.reports_are_stale = true;
        self.touched.extend(0..self.routers.len());
        self.unsettled.extend(0..self.units.len());
    }

    fn arrange_units(&mut self) {
        self.units.clear();
        let mut groups: BTreeMap<String, usize> = BTreeMap::new();
        for (index, router) in self.routers.iter_mut().enumerate() {
            let group = router.config().group.clone();
            let known = group.as_ref().and_then(|group| groups.get(group).copied());
            router.unit = known.unwrap_or(self.units.len());
            if let Some(unit) = self.units.get_mut(router.unit) {
                unit.members.push(index);
                continue;
            }
            if let Some(group) = &group {
                groups.insert(group.clone(), router.unit);
            }
            self.units.push(Unit { name: group, members: vec![index] });
        }
    }
}

impl Router {
    /// Takes other settings without a change of state.
    fn reconfigure(&mut self, settings: RouterSettings, now: Duration) {
        let before = std::mem::replace(&mut self.settings, settings);
        self.name = self.config().name.as_str().into();
        let mut verdicts = unknown_verdicts(self.config());
        for (verdict, track) in verdicts.iter_mut().zip(&self.settings.router.tracks) {
            let alike = |known: &&crate::config::Track| known.name == track.name && known.condition == track.condition;
            match before.router.tracks.iter().zip(&self.verdicts).find(|(known, _)| alike(known)) {
                Some((_, known)) => verdict.clone_from(known),
                None => self.patient_until = self.patient_until.max(now + PATIENCE),
            }
        }
        self.verdicts = verdicts;
        self.moved = true;
        self.keep_interval(now);
    }
}
