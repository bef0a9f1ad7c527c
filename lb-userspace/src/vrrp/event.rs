//! What happens to the engine.

use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;

use crate::config::{Peer, VirtualRouter};

/// Something that happened.
#[derive(Clone, Debug)]
pub enum Event<'a> {
    /// The time of the engine's `deadline` has come; harmless at any other time.
    Tick,
    /// The shell did not run for `gap` although a deadline was due: others may have taken over meanwhile. Told before the
    /// packets that arrived in between are.
    Stalled {
        /// How late it is.
        gap: std::time::Duration,
    },
    /// What is configured, now.
    Configure(Box<Settings>),
    /// An interface is there, or has changed.
    Link(Link),
    /// An interface is gone.
    LinkGone {
        /// Its name.
        name: Arc<str>,
    },
    /// An address that we hold was taken away by somebody else.
    AddressLost {
        /// Index of the interface.
        interface: u32,
        /// The address.
        address: IpAddr,
    },
    /// A VRRP packet. Whether it is for us and well formed is ours to say.
    Received(Received<'a>),
    /// A datagram on the peer link's socket.
    Heartbeat {
        /// Who sent it.
        source: IpAddr,
        /// Its payload.
        octets: &'a [u8],
    },
    /// A BFD control packet.
    Bfd {
        /// Who sent it.
        source: IpAddr,
        /// TTL or hop limit; single-hop sessions take 255 only (RFC 5881 section 5).
        ttl: u8,
        /// Its payload.
        octets: &'a [u8],
    },
    /// A gateway has answered [`Effect::ProbeGateway`](super::effect::Effect::ProbeGateway).
    GatewayAnswered {
        /// Index of the interface.
        interface: u32,
        /// The gateway.
        address: IpAddr,
    },
    /// A track that is watched elsewhere (script, process, file, load, service) has a verdict.
    Track {
        /// The virtual router.
        router: Arc<str>,
        /// Name of the track.
        track: Arc<str>,
        /// The verdict.
        verdict: Verdict,
    },
    /// Whether the data plane could take traffic now, else why not. Routers without services do not ask.
    Ready(Result<(), String>),
    /// Hand over these routers and hold back until [`Event::Resume`]; `None`: all.
    Resign(Option<Arc<str>>),
    /// Take part again.
    Resume(Option<Arc<str>>),
    /// Hand over everything for good; [`Effect::HandedOver`](super::effect::Effect::HandedOver) says when it is done.
    Stop,
    /// The supervisor has taken us for hung and released everything in our name: step back and begin anew.
    Deposed,
}

/// What the engine needs of the configuration.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Settings {
    /// The virtual routers.
    pub routers: Vec<RouterSettings>,
    /// The peer link with its key.
    pub peer: Option<(Peer, Vec<u8>)>,
    /// A node that hears no master takes over after so long even if it is not ready.
    pub ready_timeout: std::time::Duration,
}

/// A virtual router and its place.
#[derive(Clone, Debug, PartialEq)]
pub struct RouterSettings {
    /// As configured.
    pub router: VirtualRouter,
    /// Index of its live word; `None`: no service follows it, and it does not wait for the data plane.
    pub live: Option<u32>,
}

/// An interface as VRRP needs to know it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// Its name.
    pub name: Arc<str>,
    /// Its index.
    pub index: u32,
    /// Administratively up and with carrier.
    pub running: bool,
    /// Its MAC address.
    pub mac: [u8; 6],
    /// Its addresses that may be used, in the kernel's order; tentative ones are not among them.
    pub addresses: Vec<IpNet>,
}

/// A VRRP packet, without its IP header.
#[derive(Clone, Copy, Debug)]
pub struct Received<'a> {
    /// Index of the interface it came in by.
    pub interface: u32,
    /// Source address.
    pub source: IpAddr,
    /// Destination address.
    pub destination: IpAddr,
    /// TTL or hop limit.
    pub ttl: u8,
    /// The VRRP message, perhaps with padding behind it.
    pub payload: &'a [u8],
}

/// What a track found.
#[derive(Clone, Debug, PartialEq)]
pub struct Verdict {
    /// Whether the condition holds. `None`: not known yet, which counts as not holding only for `Fault` consequences.
    pub holds: Option<bool>,
    /// Times the track's weight, for files that hold a number; 1 otherwise.
    pub factor: i32,
    /// In words, for `status`: `exit code 3: disk full`.
    pub detail: String,
}
