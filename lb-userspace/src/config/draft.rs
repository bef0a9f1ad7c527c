//! What could be read of a file, with the place of everything: the rules compare drafts, so that one bad value hides no
//! other problem and raises no false one. A part that could not be read is [`Field::Bad`], and the rules leave it out.

mod access;
mod check;
mod scheduling;
mod vrrp;

pub(super) use access::{DraftAccess, DraftRate, DraftRateLimit};
pub(super) use check::{DraftCheck, DraftOutlier, DraftSorry};
pub(super) use scheduling::{DraftPersistence, DraftPrefixes};
pub(super) use vrrp::{DraftHook, DraftPeer, DraftRoute, DraftRouter, DraftRule, DraftTrack};

use super::check::{Check, OnDown};
use super::diagnostic::Span;
use super::model::{
    Admin, Backend, Config, Dataplane, Encapsulation, Forwarding, Listener, Node, OnNoBackend, Service, UdpMode,
    Wrapping,
};
use super::quic::{Configurations, ServerId};
use super::scheduling::Scheduler;
use ipnet::IpNet;
use std::net::IpAddr;
use std::time::Duration;

/// A value and its place in the file.
#[derive(Clone, Debug)]
pub(super) struct At<T> {
    pub value: T,
    pub span: Span,
}

/// What a key turned out to hold.
#[derive(Clone, Debug)]
pub(super) enum Field<T> {
    /// Not written, and it has no default.
    Absent,
    /// Written (or required), and reported.
    Bad,
    /// Written, or the default.
    Given(At<T>),
}

impl<T> Field<T> {
    pub(super) fn given(&self) -> Option<&At<T>> {
        match self {
            Field::Given(at) => Some(at),
            Field::Absent | Field::Bad => None,
        }
    }

    /// The value by reference, where there is one.
    pub(super) fn get(&self) -> Option<&T> {
        self.given().map(|at| &at.value)
    }

    /// The value, where there is one.
    pub(super) fn take(self) -> Option<T> {
        match self {
            Field::Given(at) => Some(at.value),
            Field::Absent | Field::Bad => None,
        }
    }

    /// Another value at the same place.
    pub(super) fn map<U>(self, change: impl FnOnce(T) -> U) -> Field<U> {
        match self {
            Field::Absent => Field::Absent,
            Field::Bad => Field::Bad,
            Field::Given(at) => Field::Given(At { value: change(at.value), span: at.span }),
        }
    }
}

/// What a key with a list turned out to hold.
#[derive(Debug)]
pub(super) struct List<T> {
    /// The readable items.
    pub items: Vec<At<T>>,
    /// Whether these are all.
    pub complete: bool,
    /// Its place, or its table's where it is not written.
    pub span: Span,
}

impl<T> List<T> {
    /// The values, if all could be read.
    pub(super) fn whole(self) -> Option<Vec<T>> {
        self.complete.then(|| self.items.into_iter().map(|at| at.value).collect())
    }
}

/// A file.
pub(super) struct Draft {
    pub node: Option<Node>,
    pub dataplane: Option<Dataplane>,
    /// `dataplane.own_client`
    pub own_client: Field<bool>,
    /// `dataplane.source_nat_addresses`
    pub sources: List<IpAddr>,
    pub admin: Option<Admin>,
    /// Readable entries of `dataplane.interfaces`.
    pub interfaces: Vec<At<String>>,
    /// Where interfaces are, or ought to be, written; `None` when the file has no `[dataplane]`.
    pub interfaces_span: Option<Span>,
    /// Whether `dataplane.interfaces` had entries at all, readable or not.
    pub interfaces_written: bool,
    /// Whether `dataplane.hash_seed` is in the file.
    pub hash_seed_written: bool,
    pub routers: Vec<DraftRouter>,
    pub peer: Option<DraftPeer>,
    pub hook: Option<DraftHook>,
    pub services: Vec<DraftService>,
}

/// A `[[service]]`.
pub(super) struct DraftService {
    /// Its header.
    pub span: Span,
    pub name: Field<String>,
    /// The readable ones.
    pub listeners: Vec<At<Listener>>,
    /// The place of `listen` when it is there and empty.
    pub empty_listen: Option<Span>,
    pub forwarding: Field<Forwarding>,
    pub wrapping: DraftWrapping,
    pub scheduler: Field<Scheduler>,
    pub source_prefix: DraftPrefixes,
    pub source_port: Field<bool>,
    pub persistence: Option<DraftPersistence>,
    pub vrrp: Field<Option<String>>,
    pub idle_timeout: Field<Duration>,
    pub fin_timeout: Field<Duration>,
    pub syn_timeout: Field<Duration>,
    pub closed_timeout: Field<Duration>,
    pub udp: Field<UdpMode>,
    pub quic_configuration: Field<u8>,
    pub quic_other_configuration: Field<u8>,
    pub on_no_backend: Field<OnNoBackend>,
    pub nat_exclude: Vec<At<IpNet>>,
    pub access: DraftAccess,
    pub lookup_table_size: Field<u32>,
    pub checks: Vec<DraftCheck>,
    pub quorum: Field<u32>,
    pub quorum_hysteresis: Field<u32>,
    pub minimum_healthy: Field<f64>,
    pub on_down: Field<OnDown>,
    pub slow_start: Field<Duration>,
    pub drain_timeout: Field<Duration>,
    pub outlier: Option<DraftOutlier>,
    /// The place of `outlier`, if it is written.
    pub outlier_span: Option<Span>,
    pub sorry: Option<DraftSorry>,
    pub backends: Vec<DraftBackend>,
}

/// A `[[service.backend]]`.
pub(super) struct DraftBackend {
    pub name: Field<String>,
    pub address: Field<IpAddr>,
    pub port: Field<u16>,
    pub weight: Field<u16>,
    pub upper_threshold: Field<u32>,
    pub lower_threshold: Field<u32>,
    pub priority: Field<u8>,
    pub server_id: Field<ServerId>,
    /// The service's where it sets none.
    pub forwarding: Field<Forwarding>,
    /// The same.
    pub wrapping: DraftWrapping,
}

/// `encapsulation` and `encapsulation_port`, of a service or a backend.
#[derive(Clone, Debug)]
pub(super) struct DraftWrapping {
    pub encapsulation: Field<Encapsulation>,
    pub port: Field<u16>,
    /// The place of whichever is written here.
    pub written: Option<Span>,
}

impl DraftWrapping {
    fn wrapping(&self) -> Option<Wrapping> {
        if matches!(self.port, Field::Bad) {
            return None;
        }
        Some(Wrapping { encapsulation: *self.encapsulation.get()?, port: self.port.get().copied() })
    }
}

impl Draft {
    /// The configuration, if all of it could be read.
    pub(super) fn into_config(self) -> Option<Config> {
        let services = self.services.into_iter().map(DraftService::into_service).collect::<Option<_>>()?;
        let routers = self.routers.into_iter().map(DraftRouter::into_virtual_router);
        Some(Config {
            node: self.node?,
            dataplane: self.dataplane?,
            admin: self.admin?,
            virtual_routers: routers.collect::<Option<_>>()?,
            peer: whole(self.peer, DraftPeer::into_peer)?,
            hook: whole(self.hook, DraftHook::into_hook)?,
            services,
        })
    }
}

/// A table that may be left out: `None` if it is there and cannot be read.
fn whole<D, T>(draft: Option<D>, into: fn(D) -> Option<T>) -> Option<Option<T>> {
    match draft {
        None => Some(None),
        Some(draft) => into(draft).map(Some),
    }
}

/// Those that ask anything.
fn checks(drafts: Vec<DraftCheck>) -> Option<Vec<Check>> {
    let checks: Option<Vec<Option<Check>>> = drafts.into_iter().map(DraftCheck::into_check).collect();
    Some(checks?.into_iter().flatten().collect())
}

/// `None` if one of them could not be read.
fn configurations(usual: Field<u8>, other: Field<u8>) -> Option<Configurations> {
    if matches!(usual, Field::Bad) || matches!(other, Field::Bad) {
        return None;
    }
    Some(Configurations { usual: usual.take().unwrap_or(0), other: other.take() })
}

impl DraftService {
    /// How messages call it.
    pub(super) fn title(&self) -> String {
        self.name.get().map_or_else(|| "the service".to_owned(), |name| format!("service `{name}`"))
    }

    /// Where messages about the whole of it point.
    pub(super) fn place(&self) -> Span {
        self.name.given().map_or(self.span, |name| name.span)
    }

    fn into_service(self) -> Option<Service> {
        Some(Service {
            name: self.name.take()?,
            listeners: self.listeners.into_iter().map(|listener| listener.value).collect(),
            forwarding: self.forwarding.take()?,
            wrapping: self.wrapping.wrapping()?,
            scheduler: self.scheduler.take()?,
            source_prefix: self.source_prefix.into_prefixes()?,
            source_port: self.source_port.take()?,
            persistence: whole(self.persistence, DraftPersistence::into_persistence)?,
            vrrp: self.vrrp.take()?,
            idle_timeout: self.idle_timeout.take(),
            fin_timeout: self.fin_timeout.take()?,
            syn_timeout: self.syn_timeout.take()?,
            closed_timeout: self.closed_timeout.take()?,
            udp: self.udp.take()?,
            quic: configurations(self.quic_configuration, self.quic_other_configuration)?,
            on_no_backend: self.on_no_backend.take()?,
            nat_exclude: self.nat_exclude.into_iter().map(|network| network.value).collect(),
            access: self.access.into_access()?,
            lookup_table_size: self.lookup_table_size.take()?,
            checks: checks(self.checks)?,
            quorum: self.quorum.take()?,
            quorum_hysteresis: self.quorum_hysteresis.take()?,
            minimum_healthy: self.minimum_healthy.take()?,
            on_down: self.on_down.take()?,
            slow_start: self.slow_start.take()?,
            drain_timeout: self.drain_timeout.take(),
            outlier: whole(self.outlier, DraftOutlier::into_outlier)?,
            sorry: whole(self.sorry, DraftSorry::into_sorry)?,
            backends: self.backends.into_iter().map(DraftBackend::into_backend).collect::<Option<_>>()?,
        })
    }
}

impl DraftBackend {
    /// The readable part, for rules that ask about ports: `None` unless address, port and method are all known.
    pub(super) fn target(&self) -> Option<Backend> {
        if matches!(self.port, Field::Bad) {
            return None;
        }
        Some(Backend {
            name: self.name.get()?.clone(),
            address: *self.address.get()?,
            port: self.port.get().copied(),
            weight: self.weight.get().copied().unwrap_or_default(),
            upper_threshold: self.upper_threshold.get().copied().unwrap_or_default(),
            lower_threshold: self.lower_threshold.get().copied().unwrap_or_default(),
            priority: self.priority.get().copied().unwrap_or_default(),
            server_id: self.server_id.get().copied(),
            forwarding: *self.forwarding.get()?,
            wrapping: self.wrapping.wrapping()?,
        })
    }

    fn into_backend(self) -> Option<Backend> {
        if matches!(self.server_id, Field::Bad) {
            return None;
        }
        self.weight.get()?;
        self.priority.get()?;
        self.upper_threshold.get()?;
        self.lower_threshold.get()?;
        self.target()
    }
}
