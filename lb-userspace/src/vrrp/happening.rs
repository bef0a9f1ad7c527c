//! What operators are told of: the one ordered stream of events begins here.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::view::State;

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
    /// Anything else that an operator should see: warnings.
    Warning {
        /// The virtual router, if one is concerned.
        router: Option<String>,
        /// In words.
        message: String,
    },
}
