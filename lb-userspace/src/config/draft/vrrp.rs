//! What could be read of virtual routers, the peer link and the hook.

use super::{At, Field, List};
use crate::config::diagnostic::Span;
use crate::config::track_kind::TrackKind;
use crate::config::virtual_router::{
    ChecksumForm, Condition, Consequence, Hook, OnCrash, Peer, Track, VirtualRoute, VirtualRouter, VirtualRule,
    VrrpVersion,
};
use ipnet::IpNet;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

/// Octets of a version 2 password.
const PASSWORD: usize = 8;

/// What a track without consequence adds: enough to be lower than any partner of the same tier.
const WEIGHT: i32 = -50;

/// A `[[vrrp]]`.
pub(in super::super) struct DraftRouter {
    /// Its header; the place of every default, too.
    pub span: Span,
    pub name: Field<String>,
    pub interface: Field<String>,
    pub vrid: Field<u8>,
    pub version: Field<VrrpVersion>,
    pub priority: Field<u8>,
    pub advertisement_interval: Field<Duration>,
    pub missed_advertisements: Field<u8>,
    pub preempt: Field<bool>,
    pub preempt_delay: Field<Duration>,
    pub addresses: List<IpNet>,
    pub excluded_addresses: List<IpNet>,
    pub on_crash: Field<OnCrash>,
    pub virtual_mac: Field<bool>,
    pub unicast_source: Field<IpAddr>,
    pub unicast_peers: List<IpAddr>,
    pub unicast_minimum_ttl: Field<u8>,
    pub authentication: Field<String>,
    pub checksum: Field<ChecksumForm>,
    pub group: Field<Option<String>>,
    pub tracks: Vec<DraftTrack>,
    pub routes: Vec<DraftRoute>,
    pub rules: Vec<DraftRule>,
}

/// A `[[vrrp.track]]`.
pub(in super::super) struct DraftTrack {
    pub span: Span,
    pub kind: Field<TrackKind>,
    pub name: Field<String>,
    pub weight: Field<i32>,
    pub fault: Field<bool>,
    /// With its place: of the key that says what is looked at.
    pub condition: Option<At<Condition>>,
}

/// A `[[vrrp.route]]`.
pub(in super::super) struct DraftRoute {
    pub destination: Field<IpNet>,
    pub via: Field<IpAddr>,
    pub interface: Field<String>,
    pub source: Field<IpAddr>,
    pub table: Field<u32>,
    pub metric: Field<u32>,
}

/// A `[[vrrp.rule]]`.
pub(in super::super) struct DraftRule {
    pub span: Span,
    pub from: Field<IpNet>,
    pub to: Field<IpNet>,
    pub table: Field<u32>,
    pub priority: Field<u32>,
}

/// `[peer]`.
pub(in super::super) struct DraftPeer {
    pub addresses: List<IpAddr>,
    pub port: Field<u16>,
    pub key_file: Field<PathBuf>,
    pub heartbeat: Field<Duration>,
    pub misses: Field<u32>,
    pub hold: Field<Duration>,
    pub nodes: Field<u8>,
}

/// `[hook]`.
pub(in super::super) struct DraftHook {
    pub command: List<String>,
    pub timeout: Field<Duration>,
    pub user: Field<String>,
}

impl DraftRouter {
    /// How messages call it.
    pub(in super::super) fn title(&self) -> String {
        self.name.get().map_or_else(|| "the virtual router".to_owned(), |name| format!("virtual router `{name}`"))
    }

    /// Where messages about the whole of it point.
    pub(in super::super) fn place(&self) -> Span {
        self.name.given().map_or(self.span, |name| name.span)
    }

    /// The place of a key that stands in the file; `None` for a default.
    pub(in super::super) fn written<T>(&self, field: &Field<T>) -> Option<Span> {
        field.given().map(|at| at.span).filter(|span| *span != self.span)
    }

    /// Every readable address it holds, advertised or not.
    pub(in super::super) fn held(&self) -> impl Iterator<Item = &At<IpNet>> {
        self.addresses.items.iter().chain(&self.excluded_addresses.items)
    }

    /// Whether it speaks over IPv4, by the first of its addresses.
    pub(in super::super) fn is_ipv4(&self) -> Option<bool> {
        self.addresses.items.first().map(|address| address.value.addr().is_ipv4())
    }

    pub(super) fn into_virtual_router(self) -> Option<VirtualRouter> {
        Some(VirtualRouter {
            name: self.name.take()?,
            interface: self.interface.take()?,
            vrid: self.vrid.take()?,
            version: self.version.take()?,
            priority: self.priority.take()?,
            advertisement_interval: self.advertisement_interval.take()?,
            missed_advertisements: self.missed_advertisements.take()?,
            preempt: self.preempt.take()?,
            preempt_delay: self.preempt_delay.take()?,
            addresses: self.addresses.whole()?,
            excluded_addresses: self.excluded_addresses.whole()?,
            on_crash: self.on_crash.take()?,
            virtual_mac: self.virtual_mac.take()?,
            unicast_source: self.unicast_source.take(),
            unicast_peers: self.unicast_peers.whole()?,
            unicast_minimum_ttl: self.unicast_minimum_ttl.take()?,
            authentication: self.authentication.take().map(|text| password(&text)),
            checksum: self.checksum.take()?,
            group: self.group.take()?,
            tracks: self.tracks.into_iter().map(DraftTrack::into_track).collect::<Option<_>>()?,
            routes: self.routes.into_iter().map(DraftRoute::into_route).collect::<Option<_>>()?,
            rules: self.rules.into_iter().map(DraftRule::into_rule).collect::<Option<_>>()?,
        })
    }
}

/// As it is on the wire: padded with zeros (RFC 2338 section 5.3.10).
fn password(text: &str) -> [u8; PASSWORD] {
    let mut octets = [0; PASSWORD];
    octets[..text.len()].copy_from_slice(text.as_bytes());
    octets
}

impl DraftTrack {
    /// What the file says is to happen: `weight`, or `fault`; `None` where it says both.
    pub(in super::super) fn consequence(&self) -> Option<Consequence> {
        let weight = |weight: i32| Consequence::Weight(i16::try_from(weight).expect("the key's range fits"));
        match (self.weight.get(), *self.fault.get()?) {
            (None, true) => Some(Consequence::Fault),
            (given, false) => Some(weight(given.copied().unwrap_or(WEIGHT))),
            (Some(_), true) => None,
        }
    }

    fn into_track(self) -> Option<Track> {
        let consequence = self.consequence()?;
        Some(Track { name: self.name.take()?, condition: self.condition?.value, consequence })
    }
}

impl DraftRoute {
    fn into_route(self) -> Option<VirtualRoute> {
        Some(VirtualRoute {
            destination: self.destination.take()?,
            via: self.via.take(),
            interface: self.interface.take(),
            source: self.source.take(),
            table: self.table.take()?,
            metric: self.metric.take(),
        })
    }
}

impl DraftRule {
    fn into_rule(self) -> Option<VirtualRule> {
        Some(VirtualRule {
            from: self.from.take(),
            to: self.to.take(),
            table: self.table.take()?,
            priority: self.priority.take(),
        })
    }
}

impl DraftPeer {
    pub(super) fn into_peer(self) -> Option<Peer> {
        Some(Peer {
            addresses: self.addresses.whole()?,
            port: self.port.take()?,
            key_file: self.key_file.take()?,
            heartbeat: self.heartbeat.take()?,
            misses: self.misses.take()?,
            hold: self.hold.take()?,
            nodes: self.nodes.take()?,
        })
    }
}

impl DraftHook {
    pub(super) fn into_hook(self) -> Option<Hook> {
        Some(Hook { command: self.command.whole()?, timeout: self.timeout.take()?, user: self.user.take()? })
    }
}
