//! The kernel's interfaces, routes and neighbours: asked, followed, and neighbours kept fresh.
//!
//! [`Resolver`] runs the pure `nexthop::tracker` against the kernel and reports its events. [`read_links`] lists the
//! interfaces once, with the XDP program on each; [`ethtool`] reads and sets offloads, [`forwards`] reads a setting. All
//! of it is about the network namespace of the calling thread.

mod announcements;
mod decode;
pub mod ethtool;
mod forwarding;
mod links;
pub mod order;
mod refusal;
mod requests;
mod resolver;
pub mod veth;

pub use forwarding::forwards;
pub use links::read_links;
pub use refusal::ask_why;
pub use resolver::{Leave, Resolver};
