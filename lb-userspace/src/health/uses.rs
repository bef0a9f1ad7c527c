//! Who uses which spec: from a configuration to what is probed for whom, and back.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use super::spec::Spec;
use crate::config::check::Check;
use crate::config::{Backend, Service};
use crate::reconcile::changes::Unchanged;

/// See the module's description. Those of one configuration share with the next what both have in common.
#[derive(Clone, Debug, Default)]
pub struct Uses {
    by_service: BTreeMap<Arc<str>, Arc<Backends>>,
    by_spec: Arc<HashMap<Arc<Spec>, Vec<User>>>,
}

/// The checks of a service's backends, by name.
type Backends = BTreeMap<Arc<str>, Vec<Named>>;

/// A check of a backend.
#[derive(Clone, Debug, PartialEq)]
pub struct Named {
    /// The kind of its probe, `http`; the backend's second of a kind is `http-2`, and so on.
    pub name: Arc<str>,
    /// What is asked of whom.
    pub spec: Arc<Spec>,
}

/// A backend that is checked.
#[derive(Clone, Debug, PartialEq)]
pub struct User {
    /// Its service.
    pub service: Arc<str>,
    /// Its name.
    pub backend: Arc<str>,
    /// The check, as in [`Named`].
    pub check: Arc<str>,
}

impl Uses {
    /// Those of a configuration. Specs that were there before stay the same values; services that are `unchanged` are not looked
    /// at.
    pub fn new(services: &[Service], before: &Self, unchanged: &Unchanged) -> Self {
        let mut by_service = BTreeMap::new();
        let mut new: HashSet<Arc<Spec>> = HashSet::new();
        for service in services.iter().filter(|service| !service.checks.is_empty()) {
            let known = before.by_service.get_key_value(&*service.name);
            match known.filter(|_| unchanged.contains(&service.name)) {
                Some((name, backends)) => by_service.insert(name.clone(), backends.clone()),
                None => by_service.insert(service.name.as_str().into(), Arc::new(backends(service, before, &mut new))),
            };
        }
        let by_spec =
            if by_service == before.by_service { before.by_spec.clone() } else { Arc::new(users(&by_service)) };
        Self { by_service, by_spec }
    }

    /// Whether the same is asked for the same backends.
    pub fn are_those_of(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.by_spec, &other.by_spec)
    }

    /// Every spec, once, in no order.
    pub fn specs(&self) -> impl Iterator<Item = &Arc<Spec>> {
        self.by_spec.keys()
    }

    /// Whether it is used.
    pub fn contains(&self, spec: &Spec) -> bool {
        self.by_spec.contains_key(spec)
    }

    /// Whether nothing is checked.
    pub fn is_empty(&self) -> bool {
        self.by_spec.is_empty()
    }

    /// The checks of a backend, in the order of the configuration.
    pub fn of(&self, service: &str, backend: &str) -> &[Named] {
        self.by_service.get(service).and_then(|backends| backends.get(backend)).map_or(&[], Vec::as_slice)
    }

    /// Who uses a spec.
    pub fn users(&self, spec: &Spec) -> &[User] {
        self.by_spec.get(spec).map_or(&[], Vec::as_slice)
    }
}

fn backends(service: &Service, before: &Uses, new: &mut HashSet<Arc<Spec>>) -> Backends {
    let names = names(&service.checks);
    let mut shared = |spec: Spec| {
        let known = before.by_spec.get_key_value(&spec).map(|(known, _)| known).or_else(|| new.get(&spec));
        known.cloned().unwrap_or_else(|| {
            let spec = Arc::new(spec);
            new.insert(spec.clone());
            spec
        })
    };
    let mut checks = |backend: &Backend| {
        let checks = service.checks.iter().zip(&names);
        checks
            .map(|(check, name)| Named { name: name.clone(), spec: shared(Spec::of(service, backend, check)) })
            .collect()
    };
    service.backends.iter().map(|backend| (backend.name.as_str().into(), checks(backend))).collect()
}

fn users(services: &BTreeMap<Arc<str>, Arc<Backends>>) -> HashMap<Arc<Spec>, Vec<User>> {
    let mut users: HashMap<Arc<Spec>, Vec<User>> = HashMap::new();
    for (service, backends) in services {
        for (backend, checks) in &**backends {
            for Named { name, spec } in checks {
                let user = User { service: service.clone(), backend: backend.clone(), check: name.clone() };
                users.entry(spec.clone()).or_default().push(user);
            }
        }
    }
    users
}

fn names(checks: &[Check]) -> Vec<Arc<str>> {
    let name = |(place, check): (usize, &Check)| {
        let kind = check.probe.name();
        match checks[..place].iter().filter(|other| other.probe.name() == kind).count() {
            0 => kind.into(),
            before => format!("{kind}-{}", before + 1).into(),
        }
    };
    checks.iter().enumerate().map(name).collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::config::check::{Initial, Probe, Timing, Via};

    fn check(probe: Probe) -> Check {
        let second = Duration::from_secs(1);
        let timing = Timing { interval: second, fast_interval: second, timeout: second, rise: 2, fall: 3 };
        Check { probe, port: Some(80), via: Via::Address, timing, initial: Initial::Down }
    }

    /// Two services with the same two backends.
    fn services(checks: &[Check]) -> Vec<Service> {
        let text = "[dataplane]\ninterfaces = [\"eth0\"]
[[service]]\nname = \"a\"\nlisten = [\"tcp://203.0.113.10:80\"]
[[service.backend]]\naddress = \"10.0.0.11\"\n[[service.backend]]\naddress = \"10.0.0.12\"
[[service]]\nname = \"b\"\nlisten = [\"tcp://203.0.113.20:80\"]
[[service.backend]]\naddress = \"10.0.0.11\"\n[[service.backend]]\naddress = \"10.0.0.12\"\n";
        let (mut config, _) = crate::config::parse(text, "lb1").expect("the sample is valid");
        config.services.iter_mut().for_each(|service| service.checks = checks.to_vec());
        config.services
    }

    #[test]
    fn services_that_ask_the_same_of_the_same_backend_share_a_spec() {
        let uses = Uses::new(&services(&[check(Probe::Tcp)]), &Uses::default(), &Unchanged::default());
        assert_eq!(uses.specs().count(), 2);
        let [named] = uses.of("a", "10.0.0.11") else { panic!("one check") };
        let users: Vec<_> = uses.users(&named.spec).iter().map(|user| (&*user.service, &*user.backend)).collect();
        assert_eq!(users, [("a", "10.0.0.11"), ("b", "10.0.0.11")]);
    }

    #[test]
    fn what_depends_on_names_is_not_shared() {
        let script = Probe::Script { command: vec!["/bin/true".to_owned()], user: "nobody".to_owned() };
        let uses = Uses::new(&services(&[check(script)]), &Uses::default(), &Unchanged::default());
        assert_eq!(uses.specs().count(), 4);
    }

    #[test]
    fn checks_of_a_kind_are_numbered() {
        let checks = [check(Probe::Tcp), check(Probe::Icmp), check(Probe::Tcp)];
        let uses = Uses::new(&services(&checks), &Uses::default(), &Unchanged::default());
        let names: Vec<_> = uses.of("b", "10.0.0.12").iter().map(|named| &*named.name).collect();
        assert_eq!(names, ["tcp", "icmp", "tcp-2"]);
        assert!(uses.of("b", "10.0.0.99").is_empty());
    }

    #[test]
    fn what_is_asked_is_the_same_while_only_weights_differ() {
        let mut services = services(&[check(Probe::Tcp)]);
        let before = Uses::new(&services, &Uses::default(), &Unchanged::default());
        services[0].backends[0].weight = 7;
        let after = Uses::new(&services, &before, &Unchanged::default());
        assert!(after.are_those_of(&before));
        services[0].backends[0].name = "other".to_owned();
        let renamed = Uses::new(&services, &after, &Unchanged::default());
        assert!(!renamed.are_those_of(&before));
        assert_eq!(renamed.users(&renamed.of("a", "other")[0].spec).len(), 2);
    }

    #[test]
    fn a_reload_keeps_the_values_of_what_stays() {
        let before = Uses::new(&services(&[check(Probe::Tcp)]), &Uses::default(), &Unchanged::default());
        let after = Uses::new(&services(&[check(Probe::Tcp), check(Probe::Icmp)]), &before, &Unchanged::default());
        let (old, new) = (&before.of("a", "10.0.0.12")[0].spec, &after.of("a", "10.0.0.12")[0].spec);
        assert!(Arc::ptr_eq(old, new));
        assert!(after.contains(old) && Uses::default().is_empty());
    }
}
