//! What operators are told of, whichever part it comes from: the one ordered stream of events begins here. Pure.

use std::fmt;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::health::pool::state::State as BackendState;
use crate::health::verdict::CheckState;
use crate::vrrp::view::State;

/// Something worth telling. Each variant is a `kind` of the event stream; add freely, rename nothing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Happening {
    /// A virtual router changed its state.
    Transition {
        /// The virtual router.
        router: String,
        /// From.
        from: State,
        /// To.
        to: State,
        /// Why, in words: `no advertisement for 3.6 s`.
        reason: String,
        /// The addresses that move with it.
        addresses: Vec<IpAddr>,
    },
    /// The effective priority changed.
    Priority {
        /// The virtual router.
        router: String,
        /// From.
        from: u8,
        /// To.
        to: u8,
        /// Which terms, in words.
        reason: String,
    },
    /// Another node says it is master while we are.
    ForeignMaster {
        /// The virtual router.
        router: String,
        /// Who.
        address: IpAddr,
        /// Its priority.
        priority: u8,
    },
    /// The master advertises other addresses than we are configured with.
    AddressesDiffer {
        /// The virtual router.
        router: String,
        /// Who advertises.
        address: IpAddr,
        /// Missing there, missing here.
        difference: String,
    },
    /// The peer was heard, or is silent on every path.
    Peer {
        /// Whether it is heard.
        alive: bool,
        /// In words.
        reason: String,
    },
    /// A path to the peer works, or does not.
    PeerPath {
        /// Its address.
        address: IpAddr,
        /// Whether it works.
        alive: bool,
    },
    /// A BFD session changed.
    Bfd {
        /// The other end.
        neighbour: IpAddr,
        /// Up, down, admin-down, init.
        state: String,
        /// In words.
        reason: String,
    },
    /// A router would be master and is not, because the node is not ready; or takes over although it is not.
    NotReady {
        /// The virtual router.
        router: String,
        /// Why.
        reason: String,
        /// It took over all the same.
        took_over: bool,
    },
    /// The thread did not run when it should have.
    Stalled {
        /// For how long, in seconds.
        seconds: f64,
    },
    /// A check of a backend has another verdict.
    Check {
        /// The service.
        service: String,
        /// The backend.
        backend: String,
        /// What is asked: `http`, `tcp`, …
        check: String,
        /// From.
        from: CheckState,
        /// To.
        to: CheckState,
        /// Why, in words: `connect timed out after 1.0 s`.
        why: String,
    },
    /// A backend is otherwise than before.
    Backend {
        /// The service.
        service: String,
        /// The backend.
        backend: String,
        /// From.
        from: BackendState,
        /// To.
        to: BackendState,
        /// Why, in words: `connect timed out after 1.0 s`.
        why: String,
    },
    /// A service has lost its quorum of backends, or has found it.
    Quorum {
        /// The service.
        service: String,
        /// Whether it has it.
        held: bool,
        /// In words.
        reason: String,
    },
    /// Everything behind an interface is silent, so that verdicts are held; or they count again.
    Uplink {
        /// The interface.
        interface: String,
        /// Whether they are held.
        held: bool,
        /// In words.
        reason: String,
    },
    /// Packets say that a backend may have failed; its checks are made at once.
    Suspect {
        /// The service.
        service: String,
        /// The backend.
        backend: String,
        /// In words with numbers.
        reason: String,
    },
    /// An operator said what is wanted of a backend.
    Operator {
        /// The service; `*`: all.
        service: String,
        /// The backend; its address, if it is meant in all services.
        backend: String,
        /// In words: `drains it`.
        order: String,
    },
    /// Anything else that an operator should see: warnings.
    Warning {
        /// The virtual router, if one is concerned.
        router: Option<String>,
        /// In words.
        message: String,
    },
}

/// Whether an operator should be woken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// A change of the service that goes as it should.
    Info,
    /// Something is wrong.
    Warning,
}

impl Happening {
    /// Whether an operator should be woken.
    pub fn severity(&self) -> Severity {
        match self {
            Self::Transition { to: State::Fault, .. }
            | Self::ForeignMaster { .. }
            | Self::AddressesDiffer { .. }
            | Self::Peer { alive: false, .. }
            | Self::PeerPath { alive: false, .. }
            | Self::NotReady { .. }
            | Self::Stalled { .. }
            | Self::Check { to: CheckState::Down, .. }
            | Self::Backend { to: BackendState::Down, .. }
            | Self::Quorum { held: false, .. }
            | Self::Uplink { held: true, .. }
            | Self::Warning { .. } => Severity::Warning,
            Self::Bfd { state, .. } if state == "down" => Severity::Warning,
            Self::Transition { .. }
            | Self::Priority { .. }
            | Self::Peer { .. }
            | Self::PeerPath { .. }
            | Self::Check { .. }
            | Self::Backend { .. }
            | Self::Quorum { .. }
            | Self::Uplink { .. }
            | Self::Suspect { .. }
            | Self::Operator { .. }
            | Self::Bfd { .. } => Severity::Info,
        }
    }

    /// The virtual router that is concerned, if it is one.
    pub fn router(&self) -> Option<&str> {
        match self {
            Self::Transition { router, .. }
            | Self::Priority { router, .. }
            | Self::ForeignMaster { router, .. }
            | Self::AddressesDiffer { router, .. }
            | Self::NotReady { router, .. } => Some(router),
            Self::Warning { router, .. } => router.as_deref(),
            Self::Peer { .. }
            | Self::PeerPath { .. }
            | Self::Bfd { .. }
            | Self::Stalled { .. }
            | Self::Check { .. }
            | Self::Backend { .. }
            | Self::Quorum { .. }
            | Self::Uplink { .. }
            | Self::Suspect { .. }
            | Self::Operator { .. } => None,
        }
    }
}

/// In a sentence, for the log and for tables.
impl fmt::Display for Happening {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Transition { router, from, to, reason, .. } => {
                write!(f, "virtual router {router}: {from} → {to}, {reason}")
            }
            Self::Priority { router, from, to, reason } => {
                write!(f, "virtual router {router}: effective priority {from} → {to}, {reason}")
            }
            Self::ForeignMaster { router, address, priority } => {
                write!(f, "virtual router {router}: {address} says it is master too, with priority {priority}")
            }
            Self::AddressesDiffer { router, address, difference } => {
                write!(f, "virtual router {router}: {address} advertises other addresses: {difference}")
            }
            Self::Peer { alive: true, reason } => write!(f, "the peer is heard: {reason}"),
            Self::Peer { alive: false, reason } => write!(f, "the peer is silent: {reason}"),
            Self::PeerPath { address, alive: true } => write!(f, "the peer is heard at {address}"),
            Self::PeerPath { address, alive: false } => write!(f, "the peer is not heard at {address}"),
            Self::Bfd { neighbour, state, reason } => {
                write!(f, "BFD session with {neighbour} is {state}: {reason}")
            }
            Self::NotReady { router, reason, took_over: false } => {
                write!(f, "virtual router {router}: would take over, but the node is not ready: {reason}")
            }
            Self::NotReady { router, reason, took_over: true } => {
                write!(f, "virtual router {router}: taken over although the node is not ready: {reason}")
            }
            Self::Stalled { seconds } => write!(f, "the VRRP thread did not run for {seconds:.3} s"),
            Self::Check { service, backend, check, from, to, why } => {
                write!(f, "service {service}, backend {backend}: {check} check {from} → {to}, {why}")
            }
            Self::Backend { service, backend, from, to, why } => {
                write!(f, "service {service}, backend {backend}: {from} → {to}, {why}")
            }
            Self::Quorum { service, held: true, reason } => write!(f, "service {service} has its quorum: {reason}"),
            Self::Quorum { service, held: false, reason } => write!(f, "service {service} has no quorum: {reason}"),
            Self::Uplink { interface, held: true, reason } => write!(f, "interface {interface} is blamed: {reason}"),
            Self::Uplink { interface, held: false, reason } => {
                write!(f, "interface {interface} is not blamed any more: {reason}")
            }
            Self::Suspect { service, backend, reason } => {
                write!(f, "service {service}, backend {backend} is suspected and checked at once: {reason}")
            }
            Self::Operator { service, backend, order } if service == "*" => {
                write!(f, "backend {backend} of all services: an operator {order}")
            }
            Self::Operator { service, backend, order } => {
                write!(f, "service {service}, backend {backend}: an operator {order}")
            }
            Self::Warning { router: Some(router), message } => write!(f, "virtual router {router}: {message}"),
            Self::Warning { router: None, message } => f.write_str(message),
        }
    }
}
