//! Who uses which spec: from a configuration to what is probed for whom, and back.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::spec::Spec;
use crate::config::check::Check;
use crate::config::{Backend, Service};

/// See the module's description.
#[derive(Clone, Debug, Default)]
pub struct Uses {
    by_backend: BTreeMap<Arc<str>, BTreeMap<Arc<str>, Vec<Named>>>,
    by_spec: HashMap<Arc<Spec>, Vec<User>>,
}

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
    /// Those of a configuration. Specs that were there before stay the same values.
    pub fn new(services: &[Service], before: &Self) -> Self {
        let mut uses = Self::default();
        for service in services.iter().filter(|service| !service.checks.is_empty()) {
            let names = names(&service.checks);
            let service_name: Arc<str> = service.name.as_str().into();
            for backend in &service.backends {
                uses.add(service, &service_name, backend, &names, before);
            }
        }
        uses
    }

    fn add(
        &mut self,
        service: &Service,
        service_name: &Arc<str>,
        backend: &Backend,
        names: &[Arc<str>],
        before: &Self,
    ) {
        let backend_name: Arc<str> = backend.name.as_str().into();
        let mut checks = Vec::with_capacity(names.len());
        for (check, name) in service.checks.iter().zip(names) {
            let spec = self.shared(Spec::of(service, backend, check), before);
            let user =
                User { service: Arc::clone(service_name), backend: Arc::clone(&backend_name), check: Arc::clone(name) };
            self.by_spec.entry(Arc::clone(&spec)).or_default().push(user);
            checks.push(Named { name: Arc::clone(name), spec });
        }
        self.by_backend.entry(Arc::clone(service_name)).or_default().insert(backend_name, checks);
    }

    fn shared(&self, spec: Spec, before: &Self) -> Arc<Spec> {
        let present = self.by_spec.get_key_value(&spec).or_else(|| before.by_spec.get_key_value(&spec));
        present.map_or_else(|| Arc::new(spec), |(shared, _)| Arc::clone(shared))
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
        self.by_backend.get(service).and_then(|backends| backends.get(backend)).map_or(&[], Vec::as_slice)
    }

    /// Who uses a spec.
    pub fn users(&self, spec: &Spec) -> &[User] {
        self.by_spec.get(spec).map_or(&[], Vec::as_slice)
    }
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
        let uses = Uses::new(&services(&[check(Probe::Tcp)]), &Uses::default());
        assert_eq!(uses.specs().count(), 2);
        let [named] = uses.of("a", "10.0.0.11") else { panic!("one check") };
        let users: Vec<_> = uses.users(&named.spec).iter().map(|user| (&*user.service, &*user.backend)).collect();
        assert_eq!(users, [("a", "10.0.0.11"), ("b", "10.0.0.11")]);
    }

    #[test]
    fn what_depends_on_names_is_not_shared() {
        let script = Probe::Script { command: vec!["/bin/true".to_owned()], user: "nobody".to_owned() };
        let uses = Uses::new(&services(&[check(script)]), &Uses::default());
        assert_eq!(uses.specs().count(), 4);
    }

    #[test]
    fn checks_of_a_kind_are_numbered() {
        let checks = [check(Probe::Tcp), check(Probe::Icmp), check(Probe::Tcp)];
        let uses = Uses::new(&services(&checks), &Uses::default());
        let names: Vec<_> = uses.of("b", "10.0.0.12").iter().map(|named| &*named.name).collect();
        assert_eq!(names, ["tcp", "icmp", "tcp-2"]);
        assert!(uses.of("b", "10.0.0.99").is_empty());
    }

    #[test]
    fn a_reload_keeps_the_values_of_what_stays() {
        let before = Uses::new(&services(&[check(Probe::Tcp)]), &Uses::default());
        let after = Uses::new(&services(&[check(Probe::Tcp), check(Probe::Icmp)]), &before);
        let (old, new) = (&before.of("a", "10.0.0.12")[0].spec, &after.of("a", "10.0.0.12")[0].spec);
        assert!(Arc::ptr_eq(old, new));
        assert!(after.contains(old) && Uses::default().is_empty());
    }
}
