//! Orders of operators: what they say, and what is answered.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use super::intent::said::{About, Hearing, Said};
use super::intent::{Intent, MOST_INTENTS, Out};
use super::{Changes, Pools};
use crate::config::nearest;
use crate::happening::Happening;

/// What an operator says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Order {
    /// Of one backend, by service and name.
    Backend {
        /// The service.
        service: String,
        /// The backend.
        backend: String,
        /// What to do with it.
        action: Action,
    },
    /// Drain an address in all services, also in those to come.
    DrainEverywhere(IpAddr),
    /// No more.
    UndrainEverywhere(IpAddr),
}

/// What can be done with a backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// No new flows.
    Drain,
    /// New flows again.
    Undrain,
    /// No flows at all.
    Disable,
    /// Flows again.
    Enable,
    /// Another weight than the configured one.
    Weight(u16),
    /// As the configuration has it.
    Clear,
}

/// An order that makes no sense, and why.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Refused(pub String);

/// What came of an order.
#[derive(Debug, Default)]
pub struct Told {
    /// What follows from it.
    pub changes: Changes,
    /// How it stands now, in words.
    pub lines: Vec<String>,
}

impl Pools {
    /// Carries out an operator's order, given at `now` and `wall` seconds since the Unix epoch.
    ///
    /// # Errors
    /// When it makes no sense; nothing is changed then.
    pub fn operate(&mut self, now: Duration, wall: f64, order: &Order) -> Result<Told, Refused> {
        match order {
            Order::Backend { service, backend, action } => self.order_backend(now, wall, service, backend, *action),
            Order::DrainEverywhere(address) => self.drain_everywhere(now, wall, *address),
            Order::UndrainEverywhere(address) => self.undrain_everywhere(now, wall, *address),
        }
    }

    fn order_backend(
        &mut self,
        now: Duration,
        wall: f64,
        service: &str,
        backend: &str,
        action: Action,
    ) -> Result<Told, Refused> {
        self.check_names(service, backend, action)?;
        let out = self.intents.of(service, backend).and_then(|intent| intent.out);
        let title = format!("backend {backend} of {service}");
        let verb = |word: &str| format!("fairway backend {word} {service} {backend}");
        let done = match (action, out) {
            (Action::Undrain, Some(Out::Disable)) => {
                return Err(Refused(format!("{title} is disabled, not drained: {}", verb("enable"))));
            }
            (Action::Enable, Some(Out::Drain)) => {
                return Err(Refused(format!("{title} is drained, not disabled: {}", verb("undrain"))));
            }
            (Action::Drain, Some(Out::Drain)) => Some("is drained already"),
            (Action::Disable, Some(Out::Disable)) => Some("is disabled already"),
            (Action::Undrain, None) => Some("was not drained"),
            (Action::Enable, None) => Some("was not disabled"),
            (Action::Clear, _) if self.intents.of(service, backend).is_none() => Some("has nothing to clear"),
            _ => None,
        };
        if let Some(done) = done {
            let everywhere =
                self.address_of(service, backend).filter(|address| self.intents.everywhere(*address).is_some());
            let hint = everywhere.map_or_else(String::new, |address| {
                format!("; its address is drained everywhere (fairway backend undrain --everywhere {address})")
            });
            return Ok(Told { changes: Changes::default(), lines: vec![format!("{title} {done}{hint}")] });
        }
        let grows = self.intents.of(service, backend).is_none();
        if grows && self.intents.len() >= MOST_INTENTS {
            return Err(Refused(format!("there are {MOST_INTENTS} overrides already; clear some first")));
        }
        self.intents.change(service, backend, wall, |intent| match action {
            Action::Drain => intent.out = Some(Out::Drain),
            Action::Disable => intent.out = Some(Out::Disable),
            Action::Undrain | Action::Enable => intent.out = None,
            Action::Weight(weight) => intent.weight = Some(weight),
            Action::Clear => (intent.out, intent.weight) = (None, None),
        });
        let said = match action {
            Action::Drain => "drains it".to_owned(),
            Action::Undrain => "drains it no more".to_owned(),
            Action::Disable => "disables it".to_owned(),
            Action::Enable => "enables it".to_owned(),
            Action::Weight(weight) => format!("gives it weight {weight}"),
            Action::Clear => "wants it as the configuration has it".to_owned(),
        };
        let mut changes = self.decide(now, [Arc::from(service)]);
        let happening = Happening::Operator { service: service.to_owned(), backend: backend.to_owned(), order: said };
        changes.happenings.insert(0, happening);
        Ok(Told { changes, lines: vec![self.line(service, backend)] })
    }

    fn drain_everywhere(&mut self, now: Duration, wall: f64, address: IpAddr) -> Result<Told, Refused> {
        let users = self.users_of(address);
        if users.is_empty() {
            return Err(Refused(self.no_such_address(address)));
        }
        if self.intents.len() >= MOST_INTENTS {
            return Err(Refused(format!("there are {MOST_INTENTS} overrides already; clear some first")));
        }
        self.intents.set_everywhere(address, wall);
        Ok(self.told_everywhere(now, address, users, "drains it everywhere"))
    }

    fn undrain_everywhere(&mut self, now: Duration, wall: f64, address: IpAddr) -> Result<Told, Refused> {
        let users = self.users_of(address);
        if self.intents.everywhere(address).is_none() {
            if users.is_empty() {
                return Err(Refused(self.no_such_address(address)));
            }
            let line = format!("{address} was not drained everywhere");
            return Ok(Told { changes: Changes::default(), lines: vec![line] });
        }
        self.intents.end_everywhere(address, wall);
        Ok(self.told_everywhere(now, address, users, "drains it everywhere no more"))
    }

    /// What operators have said on the other node, as far as it was not known: whether anything of it is to be remembered, and what
    /// follows.
    pub fn hear_intents(&mut self, now: Duration, said: &[Said]) -> (bool, Changes) {
        let (mut is_new, mut services, mut happenings) = (false, BTreeSet::new(), Vec::new());
        for said in said {
            let hearing = self.intents.hear(said);
            is_new |= hearing != Hearing::Nothing;
            if hearing != Hearing::Changed {
                continue;
            }
            let (service, backend) = match &said.about {
                About::Backend(service, backend) => {
                    services.insert(Arc::from(service.as_str()));
                    (service.clone(), backend.clone())
                }
                About::Address(address) => {
                    services.extend(self.users_of(*address).into_iter().map(|(service, _)| service));
                    ("*".to_owned(), address.to_string())
                }
            };
            let wanted = Intent { out: said.out, weight: said.weight, since: said.since }.to_string();
            let wanted = if wanted.is_empty() { "as the configuration has it".to_owned() } else { wanted };
            happenings.push(Happening::Operator {
                service,
                backend,
                order: format!("wants it {wanted}, says the peer"),
            });
        }
        let mut changes = self.decide(now, services);
        changes.happenings.splice(0..0, happenings);
        (is_new, changes)
    }

    fn told_everywhere(&mut self, now: Duration, address: IpAddr, users: Vec<(Arc<str>, String)>, said: &str) -> Told {
        let mut services: Vec<Arc<str>> = users.iter().map(|(service, _)| service.clone()).collect();
        services.dedup();
        let mut changes = self.decide(now, services);
        let happening =
            Happening::Operator { service: "*".to_owned(), backend: address.to_string(), order: said.to_owned() };
        changes.happenings.insert(0, happening);
        let mut lines: Vec<String> = users.iter().map(|(service, backend)| self.line(service, backend)).collect();
        if lines.is_empty() {
            lines.push(format!("no service has a backend {address} at present"));
        }
        Told { changes, lines }
    }

    /// Backends of an address: service and name.
    fn users_of(&self, address: IpAddr) -> Vec<(Arc<str>, String)> {
        let members = |(name, pool): (&Arc<str>, &Arc<super::service::Pool>)| {
            let members = pool.members().iter().filter(|member| member.address == address);
            members.map(|member| (name.clone(), member.name.clone())).collect::<Vec<_>>()
        };
        self.services.iter().flat_map(members).collect()
    }

    fn address_of(&self, service: &str, backend: &str) -> Option<IpAddr> {
        let mut members = self.services.get(service)?.members().iter();
        Some(members.find(|member| member.name == backend)?.address)
    }

    fn line(&self, service: &str, backend: &str) -> String {
        let members = self.get(service).map(super::service::Pool::members).unwrap_or_default();
        match members.iter().find(|member| member.name == backend) {
            Some(member) => format!("backend {backend} of {service}: {}, {}", member.part.state, member.part.why),
            None => format!("backend {backend} of {service} is not in the configuration"),
        }
    }

    /// There must be such a backend; or, to take something back, there must be something to take back.
    fn check_names(&self, service: &str, backend: &str, action: Action) -> Result<(), Refused> {
        let takes_back = matches!(action, Action::Undrain | Action::Enable | Action::Clear);
        if takes_back && self.intents.of(service, backend).is_some() {
            return Ok(());
        }
        let Some(pool) = self.services.get(service) else {
            let hint = did_you_mean(service, self.services.keys().map(|name| &**name));
            return Err(Refused(format!("no service is called {service}{hint}")));
        };
        if pool.members().iter().any(|member| member.name == backend) {
            return Ok(());
        }
        let hint = did_you_mean(backend, pool.members().iter().map(|member| member.name.as_str()));
        Err(Refused(format!("service {service} has no backend {backend}{hint}")))
    }

    fn no_such_address(&self, address: IpAddr) -> String {
        let pools = self.services.values();
        let addresses: Vec<String> =
            pools.flat_map(|pool| pool.members().iter().map(|member| member.address.to_string())).collect();
        let hint = did_you_mean(&address.to_string(), addresses.iter().map(String::as_str));
        format!("no backend has the address {address}{hint}")
    }
}

/// The nearest name; else all, if they are few.
fn did_you_mean<'a>(written: &str, names: impl Iterator<Item = &'a str> + Clone) -> String {
    /// Names that are worth reading.
    const FEW: usize = 10;
    if let Some(near) = nearest(written, names.clone()) {
        return format!("; did you mean {near}?");
    }
    let names: Vec<&str> = names.collect();
    match names.len() {
        0 => "; there are none".to_owned(),
        1..=FEW => format!("; there are {}", names.join(", ")),
        _ => String::new(),
    }
}
