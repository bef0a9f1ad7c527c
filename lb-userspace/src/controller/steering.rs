//! Which backends are probed by the way of clients' packets, and in which frames. Pure: `effects::steering` carries the changes
//! out.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use crate::config::{Config, Service, Wrapping};
use crate::health::spec::{Target, Way};
use crate::nexthop::Unresolved;
use crate::reconcile::changes::Unchanged;
use crate::reconcile::entries::Hop;

/// A backend, and the service's address that it is asked at. Ordered by backend.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Pair {
    /// The backend's own address: frames follow it.
    pub backend: IpAddr,
    /// The service's address.
    pub service: IpAddr,
    /// What its packets are put into, under `tunnel`.
    pub wrapping: Option<Wrapping>,
}

/// What is known of the way to a backend.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Course {
    /// The frame, or why there is none.
    pub hop: Hop,
    /// Where outer packets come from that go to it, if the configuration says so.
    pub tunnel_source: Option<IpAddr>,
}

/// A change of what is steered.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Change {
    /// The way to a target is this, or it has none.
    Put {
        /// Whom.
        pair: Pair,
        /// How it is reached.
        course: Course,
    },
    /// Nobody asks this target any more.
    Remove(Pair),
}

/// See the module's description.
#[derive(Clone, Debug, Default)]
pub struct Steering {
    wanted: BTreeMap<Pair, Course>,
}

impl Steering {
    /// From now on the targets are those of this configuration; `hops` is what is known of next hops.
    pub fn configure(&mut self, config: &Config, hops: &BTreeMap<IpAddr, Hop>) -> Vec<Change> {
        let sources = config.dataplane.tunnel_sources;
        let course = |pair: Pair| Course {
            hop: hop(hops, pair.backend),
            tunnel_source: pair.wrapping.and_then(|_| sources.towards(pair.backend)).map(|network| network.network()),
        };
        let wanted = pairs(config).map(|pair| (pair, course(pair))).collect();
        let before = std::mem::replace(&mut self.wanted, wanted);
        let gone = before.keys().filter(|pair| !self.wanted.contains_key(pair)).map(|&pair| Change::Remove(pair));
        let put = self.wanted.iter().filter(|(pair, course)| before.get(pair) != Some(course));
        gone.chain(put.map(|(&pair, course)| Change::Put { pair, course: course.clone() })).collect()
    }

    /// Notes how a backend is reached.
    pub fn next_hop(&mut self, backend: IpAddr, hop: &Hop) -> Vec<Change> {
        let lowest: IpAddr = std::net::Ipv4Addr::UNSPECIFIED.into();
        let of_backend = self.wanted.range_mut(Pair { backend, service: lowest, wrapping: None }..);
        let of_backend = of_backend.take_while(|(pair, _)| pair.backend == backend);
        let changed = of_backend.filter(|(_, present)| present.hop != *hop);
        changed
            .map(|(&pair, present)| {
                present.hop.clone_from(hop);
                Change::Put { pair, course: present.clone() }
            })
            .collect()
    }

    /// Whether there is anything to be steered.
    pub fn is_empty(&self) -> bool {
        self.wanted.is_empty()
    }
}

/// Whether two configurations that differ in no service that is `unchanged` steer the same.
pub fn steer_alike(before: &Config, after: &Config, unchanged: &Unchanged) -> bool {
    let changed = |config: &Config| -> BTreeSet<Pair> {
        config.services.iter().filter(|service| !unchanged.contains(&service.name)).flat_map(pairs_of).collect()
    };
    let is_same_source = before.dataplane.tunnel_sources == after.dataplane.tunnel_sources;
    !unchanged.is_empty() && is_same_source && changed(before) == changed(after)
}

fn pairs(config: &Config) -> impl Iterator<Item = Pair> {
    config.services.iter().flat_map(pairs_of)
}

fn pairs_of(service: &Service) -> impl Iterator<Item = Pair> {
    let backends = service.backends.iter();
    let targets =
        backends.flat_map(move |backend| service.checks.iter().map(move |check| Target::of(service, backend, check)));
    targets.filter_map(|target| match target.way {
        Way::Plain => None,
        Way::Steered { service, wrapping } => Some(Pair { backend: target.address, service, wrapping }),
    })
}

fn hop(hops: &BTreeMap<IpAddr, Hop>, destination: IpAddr) -> Hop {
    hops.get(&destination).cloned().unwrap_or(Err(Unresolved::LookingUp { destination }))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::config::check::{Check, Initial, Probe, Timing, Via};
    use crate::config::{Encapsulation, Forwarding};
    use crate::nexthop::NextHop;

    /// Two backends of two services, one of them direct at 203.0.113.10; each checked, `via` this.
    fn config(via: Via) -> Config {
        let text = "[dataplane]\ninterfaces = [\"eth0\"]
[[service]]\nname = \"direct\"\nlisten = [\"tcp://203.0.113.10:80\", \"tcp://203.0.113.10:443\"]
[[service.backend]]\naddress = \"10.0.0.11\"\n[[service.backend]]\naddress = \"10.0.0.12\"
[[service]]\nname = \"nat\"\nlisten = [\"tcp://203.0.113.20:80\"]\nforwarding = \"nat\"
[[service.backend]]\naddress = \"10.0.0.11\"\n";
        let (mut config, _) = crate::config::parse(text, "lb1").expect("the sample is valid");
        let second = Duration::from_secs(1);
        let timing = Timing { interval: second, fast_interval: second, timeout: second, rise: 1, fall: 1 };
        let check = Check { probe: Probe::Tcp, port: None, via, timing, initial: Initial::Down };
        config.services.iter_mut().for_each(|service| service.checks = vec![check.clone(), check.clone()]);
        config
    }

    fn pair(backend: &str) -> Pair {
        let [backend, service] = [backend, "203.0.113.10"].map(|text| text.parse().expect("literal"));
        Pair { backend, service, wrapping: None }
    }

    fn put(pair: Pair, hop: Hop) -> Change {
        Change::Put { pair, course: Course { hop, tunnel_source: None } }
    }

    fn looking_up(pair: Pair) -> Change {
        put(pair, Err(Unresolved::LookingUp { destination: pair.backend }))
    }

    #[test]
    fn direct_backends_are_steered_once_for_each_address_of_a_service() {
        let mut steering = Steering::default();
        assert!(steering.is_empty());
        let changes = steering.configure(&config(Via::Service), &BTreeMap::new());
        assert_eq!(changes, ["10.0.0.11", "10.0.0.12"].map(pair).map(looking_up));
        assert_eq!(steering.configure(&config(Via::Service), &BTreeMap::new()), [], "nothing changed");
    }

    #[test]
    fn a_check_of_the_backends_own_address_steers_nobody() {
        let mut steering = Steering::default();
        assert_eq!(steering.configure(&config(Via::Address), &BTreeMap::new()), []);
        assert!(steering.is_empty());
    }

    #[test]
    fn a_next_hop_concerns_those_it_leads_to_and_only_when_it_differs() {
        let mut steering = Steering::default();
        steering.configure(&config(Via::Service), &BTreeMap::new());
        let (known, hop) = (pair("10.0.0.12"), Ok(NextHop::Local));
        assert_eq!(steering.next_hop(known.backend, &hop), [put(known, hop.clone())]);
        assert_eq!(steering.next_hop(known.backend, &hop), []);
        assert_eq!(steering.next_hop("10.0.0.13".parse().expect("literal"), &hop), []);
    }

    #[test]
    fn whoever_is_not_asked_any_more_is_forgotten() {
        let mut steering = Steering::default();
        let hops = BTreeMap::from([(pair("10.0.0.11").backend, Ok(NextHop::Local))]);
        steering.configure(&config(Via::Service), &hops);
        let mut fewer = config(Via::Service);
        fewer.services[0].backends.truncate(1);
        assert_eq!(steering.configure(&fewer, &hops), [Change::Remove(pair("10.0.0.12"))]);
    }

    #[test]
    fn tunnel_backends_are_steered_by_what_their_packets_are_put_into_and_from_where() {
        let mut tunnelled = config(Via::Service);
        let service = &mut tunnelled.services[0];
        service.backends.iter_mut().for_each(|backend| backend.forwarding = Forwarding::Tunnel);
        service.backends[1].wrapping.encapsulation = Encapsulation::Gue;
        tunnelled.services.truncate(1);
        let wanted = |config: &Config| Steering::default().configure(config, &BTreeMap::new());
        let expected = |source: Option<IpAddr>| -> Vec<Change> {
            let way = |(backend, encapsulation): (&str, Encapsulation)| {
                let wrapping = Some(Wrapping { encapsulation, port: None });
                let pair = Pair { wrapping, ..pair(backend) };
                let hop = Err(Unresolved::LookingUp { destination: pair.backend });
                Change::Put { pair, course: Course { hop, tunnel_source: source } }
            };
            [("10.0.0.11", Encapsulation::Ipip), ("10.0.0.12", Encapsulation::Gue)].map(way).into()
        };
        assert_eq!(wanted(&tunnelled), expected(None));
        let mut moved = tunnelled.clone();
        moved.dataplane.tunnel_sources.v4 = Some("10.9.0.0/16".parse().expect("literal"));
        let source: IpAddr = "10.9.0.0".parse().expect("literal");
        assert_eq!(wanted(&moved), expected(Some(source)));
    }
}
