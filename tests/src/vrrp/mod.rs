//! Nodes that share virtual routers in a lab: what they are configured with, three programs that can be one, and what
//! is seen of them from outside. For the interop tests and the failover bench.
//!
//! [`Router`] is a virtual router as one node has it, and writes itself in each program's own language; [`PeerLink`] is Fairway's alone. [`Kind`] starts
//! a [`Node`]: Fairway, [`keepalived`](Keepalived) or [`FRR`](Frr). [`Adverts`] listens; [`Cable`] is what can be pulled, [`Bfdd`] the other end
//! of a BFD session.

mod adverts;
mod bfdd;
mod cable;
mod fairway_node;
mod family;
mod frr;
mod keepalived;
mod node;
mod peer;
mod router;

pub use adverts::{Advert, Adverts, plain_checksum};
pub use bfdd::Bfdd;
pub use cable::Cable;
pub use fairway_node::{FairwayNode, preamble};
pub use family::Family;
pub use frr::Frr;
pub use keepalived::Keepalived;
pub use node::{Kind, Node, has_address};
pub use peer::PeerLink;
pub use router::{Router, Version, floating};
