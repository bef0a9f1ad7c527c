//! Backends that packets say may have failed: their checks are made at once. `health::outlier` judges.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use super::view::Totals;
use super::{Controller, Effect};
use crate::config::{Backend, Service};
use crate::happening::Happening;
use crate::health::outlier::Suspect;
use crate::health::spec::Spec;
use crate::reconcile::placed::identity_of;

/// What was counted, by service and identity of the backend.
pub type Counted = BTreeMap<(String, String), Totals>;

impl Controller {
    /// The services whose backends are watched: those with a rule, and with checks to be made.
    pub fn watched_services(&self) -> BTreeSet<&str> {
        self.watched().map(|service| service.name.as_str()).collect()
    }

    /// What follows from what was counted.
    pub(super) fn suspect(&mut self, now: Duration, counted: &Counted) -> Vec<Effect> {
        let watched = self.watched().flat_map(|service| {
            let rule = service.outlier.expect("those that are watched have one");
            service.backends.iter().map(move |backend| {
                let totals = counted.get(&(service.name.clone(), identity_of(backend))).copied().unwrap_or_default();
                ((service.name.clone(), backend.name.clone()), rule, totals)
            })
        });
        let watched: Vec<_> = watched.collect();
        let suspects = self.outliers.observe(now, watched);
        suspects.into_iter().flat_map(|suspect| self.check_now(suspect)).collect()
    }

    fn check_now(&self, Suspect { backend: (service, backend), why }: Suspect) -> Vec<Effect> {
        let found = self.find(&service, &backend);
        let specs = found.map(|(service, backend)| {
            service.checks.iter().map(|check| Arc::new(Spec::of(service, backend, check))).collect()
        });
        let told = Effect::Tell(vec![Happening::Suspect { service, backend, reason: why }]);
        specs.map(Effect::CheckNow).into_iter().chain([told]).collect()
    }

    fn find(&self, service: &str, backend: &str) -> Option<(&Service, &Backend)> {
        let service = self.config.services.iter().find(|it| it.name == service)?;
        Some((service, service.backends.iter().find(|it| it.name == backend)?))
    }

    fn watched(&self) -> impl Iterator<Item = &Service> {
        self.config.services.iter().filter(|service| service.outlier.is_some() && !service.checks.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::controller::Event;

    const CONFIG: &str = "[dataplane]\ninterfaces = [\"eth0\"]
[[service]]\nname = \"web\"\nlisten = [\"tcp://203.0.113.10:80\"]
[service.check]\ntype = \"tcp\"\n[service.outlier]\npercent = 10\nminimum_connections = 20\nwindow = \"10s\"
[[service.backend]]\nname = \"web1\"\naddress = \"10.0.0.11\"\n[[service.backend]]\nname = \"web2\"\naddress = \"10.0.0.12\"
[[service]]\nname = \"plain\"\nlisten = [\"tcp://203.0.113.20:80\"]\n[[service.backend]]\naddress = \"10.0.0.11\"\n";

    #[test]
    fn a_backend_that_many_clients_have_to_ask_again_is_checked_at_once() {
        let (config, _) = crate::config::parse(CONFIG, "lb1").expect("the sample is valid");
        let identity = identity_of(&config.services[0].backends[0]);
        let mut controller = Controller::new(config.clone(), 1 << 16, 1 << 10);
        controller.configure(Duration::ZERO, config).expect("it fits");
        assert_eq!(controller.watched_services(), BTreeSet::from(["web"]));
        let counted = |connections, syn_retransmissions| {
            let totals = Totals { connections, syn_retransmissions, ..Totals::default() };
            Event::Counted([(("web".to_owned(), identity.clone()), totals)].into())
        };
        assert!(controller.handle(Duration::from_secs(1), counted(0, 0)).is_empty());
        let effects = controller.handle(Duration::from_secs(2), counted(100, 30));
        let [Effect::CheckNow(specs), Effect::Tell(told)] = &effects[..] else { panic!("{effects:?}") };
        assert_eq!(specs.iter().map(|spec| spec.target.address.to_string()).collect::<Vec<_>>(), ["10.0.0.11"]);
        assert!(told[0].to_string().contains("backend web1 is suspected"), "{told:?}");
        assert!(controller.handle(Duration::from_secs(3), counted(100, 30)).is_empty(), "nothing new");
    }
}
