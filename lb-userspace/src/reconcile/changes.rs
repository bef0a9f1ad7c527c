//! A change of configuration in the operator's words: one line for each service that is new, different or gone.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::time::Duration;

use super::placed::{Placed, identity_of};
use crate::config::{Backend, Config, Persistence, Prefixes, Service};

/// Services that a configuration leaves as they are. There may be thousands, of which a reload touches one: whoever is told
/// of these need not look at them again.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Unchanged(HashSet<String>);

impl Unchanged {
    /// Those of `before` that `after` has just so.
    pub fn between(before: &BTreeMap<String, Placed>, after: &Config) -> Self {
        let is_as_before = |service: &&Service| before.get(&service.name).is_some_and(|it| *it.config == **service);
        Self(after.services.iter().filter(is_as_before).map(|service| service.name.clone()).collect())
    }

    /// Whether the service of this name stays as it is.
    pub fn contains(&self, service: &str) -> bool {
        self.0.contains(service)
    }

    /// Whether none does.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// The lines for going from `before` to `after`; none when the services are the same.
pub fn between(before: &BTreeMap<String, Placed>, after: &Config, unchanged: &Unchanged) -> Vec<String> {
    let mut lines = Vec::new();
    for service in after.services.iter().filter(|service| !unchanged.contains(&service.name)) {
        match before.get(&service.name) {
            None => lines.push(added(service)),
            Some(placed) if *placed.config != *service => {
                lines.push(format!("~ service {}: {}", service.name, differences(&placed.config, service).join("; ")));
            }
            Some(_) => {}
        }
    }
    let kept: BTreeSet<&str> = after.services.iter().map(|service| service.name.as_str()).collect();
    let gone = before.keys().filter(|name| !kept.contains(name.as_str()));
    lines.extend(gone.map(|name| format!("- service {name}")));
    lines
}

fn added(service: &Service) -> String {
    let (listeners, backends) = (service.listeners.len(), service.backends.len());
    format!("+ service {} ({listeners} listeners, {backends} backends)", service.name)
}

fn differences(old: &Service, new: &Service) -> Vec<String> {
    let mut found = Vec::new();
    let listeners = |service: &Service| service.listeners.iter().map(ToString::to_string).collect::<BTreeSet<_>>();
    let (before, after) = (listeners(old), listeners(new));
    found.extend(after.difference(&before).map(|listener| format!("listener {listener} added")));
    found.extend(before.difference(&after).map(|listener| format!("listener {listener} removed")));
    backends(&old.backends, &new.backends, &mut found);
    let mut setting = |name: &str, old: String, new: String| {
        if old != new {
            found.push(format!("{name} {old} → {new}"));
        }
    };
    setting("forwarding", old.forwarding.name().into(), new.forwarding.name().into());
    setting("scheduler", old.scheduler.name().into(), new.scheduler.name().into());
    setting("source_prefix", clients(old.source_prefix), clients(new.source_prefix));
    setting("source_port", old.source_port.to_string(), new.source_port.to_string());
    setting("persistence", persistence(old), persistence(new));
    setting("vrrp", router(old), router(new));
    setting("udp", old.udp.name().into(), new.udp.name().into());
    setting("quic_configuration", old.quic.usual.to_string(), new.quic.usual.to_string());
    setting("quic_other_configuration", configuration(old), configuration(new));
    setting("on_no_backend", old.on_no_backend.name().into(), new.on_no_backend.name().into());
    setting("idle_timeout", timeout(old), timeout(new));
    setting("syn_timeout", time(Some(old.syn_timeout), ""), time(Some(new.syn_timeout), ""));
    setting("closed_timeout", time(Some(old.closed_timeout), ""), time(Some(new.closed_timeout), ""));
    setting("fin_timeout", time(Some(old.fin_timeout), ""), time(Some(new.fin_timeout), ""));
    setting("access", access(old), access(new));
    setting("nat_exclude", prefixes(old), prefixes(new));
    setting("quorum", old.quorum.to_string(), new.quorum.to_string());
    setting("quorum_hysteresis", old.quorum_hysteresis.to_string(), new.quorum_hysteresis.to_string());
    setting("minimum_healthy", old.minimum_healthy.to_string(), new.minimum_healthy.to_string());
    setting("on_down", old.on_down.name().into(), new.on_down.name().into());
    setting("slow_start", time(Some(old.slow_start), "0s"), time(Some(new.slow_start), "0s"));
    setting("drain_timeout", time(old.drain_timeout, "none"), time(new.drain_timeout, "none"));
    setting("sorry", sorry(old), sorry(new));
    if old.access != new.access && access(old) == access(new) {
        found.push("which clients may come, or how often".to_owned());
    }
    if old.checks != new.checks {
        found.push("its checks".to_owned());
    }
    if old.outlier != new.outlier {
        found.push("outlier".to_owned());
    }
    if old.lookup_table_size != new.lookup_table_size {
        let (old, new) = (old.lookup_table_size, new.lookup_table_size);
        found.push(format!("lookup_table_size {old} → {new}, which re-homes most established flows"));
    }
    if old.selection_key() != new.selection_key() {
        found.push("flows are hashed otherwise, which re-homes most of those that are established".to_owned());
    }
    if found.is_empty() {
        found.push("the order of its backends or listeners, or their names".to_owned());
    }
    found
}

fn clients(prefixes: Prefixes) -> String {
    format!("/{} and /{}", prefixes.v4, prefixes.v6)
}

fn persistence(service: &Service) -> String {
    let describe =
        |it: &Persistence| format!("{} for {}", clients(it.prefixes), time(it.timeout, "as long as it lasts"));
    service.persistence.as_ref().map_or("off".to_owned(), describe)
}

fn thresholds(backend: &Backend) -> String {
    format!("{}/{}", backend.upper_threshold, backend.lower_threshold)
}

fn server_id(backend: &Backend) -> String {
    backend.server_id.map_or_else(|| "none".into(), |id| id.to_string())
}

fn configuration(service: &Service) -> String {
    service.quic.other.map_or_else(|| "none".into(), |other| other.to_string())
}

fn router(service: &Service) -> String {
    service.vrrp.clone().unwrap_or_else(|| "none".into())
}

fn timeout(service: &Service) -> String {
    time(service.idle_timeout, "default")
}

fn time(time: Option<Duration>, none: &str) -> String {
    time.map_or(none.to_owned(), |time| humantime::format_duration(time).to_string())
}

fn sorry(service: &Service) -> String {
    service.sorry.as_ref().map_or("none".to_owned(), |sorry| sorry.address.to_string())
}

fn prefixes(service: &Service) -> String {
    let prefixes: Vec<String> = service.nat_exclude.iter().map(ToString::to_string).collect();
    format!("[{}]", prefixes.join(", "))
}

fn access(service: &Service) -> String {
    if service.access.is_open() { "open to all".to_owned() } else { service.access.to_string() }
}

fn backends(old: &[Backend], new: &[Backend], found: &mut Vec<String>) {
    let by_identity =
        |backends: &[Backend]| backends.iter().map(|b| (identity_of(b), b.clone())).collect::<BTreeMap<_, _>>();
    let (before, after) = (by_identity(old), by_identity(new));
    for (identity, backend) in &after {
        match before.get(identity) {
            None => found.push(format!("backend {} ({}) added", backend.name, backend.address)),
            Some(was) if was.weight != backend.weight => {
                found.push(format!("weight of {} {} → {}", backend.name, was.weight, backend.weight));
            }
            Some(was) if was.priority != backend.priority => {
                found.push(format!("priority of {} {} → {}", backend.name, was.priority, backend.priority));
            }
            Some(was) if thresholds(was) != thresholds(backend) => {
                found.push(format!("thresholds of {} {} → {}", backend.name, thresholds(was), thresholds(backend)));
            }
            Some(was) if was.server_id != backend.server_id => {
                found.push(format!("server_id of {} {} → {}", backend.name, server_id(was), server_id(backend)));
            }
            Some(was) if was.name != backend.name => {
                found.push(format!("backend {} is called {}", was.name, backend.name));
            }
            Some(_) => {}
        }
    }
    let gone = before.iter().filter(|(identity, _)| !after.contains_key(*identity));
    found.extend(gone.map(|(_, backend)| format!("backend {} ({}) removed, drains", backend.name, backend.address)));
}
