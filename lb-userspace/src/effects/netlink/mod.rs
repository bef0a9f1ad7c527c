//! The kernel's interfaces, routes and neighbours: asked, followed, and neighbours kept fresh.
//!
//! [`Resolver`] runs the pure `nexthop::tracker` against the kernel and reports its events. [`read_links`] lists the
//! interfaces once, with the XDP program on each; [`ethtool`] reads and sets offloads. Sockets belong to the network
//! namespace of the thread that opens them.

mod announcements;
mod decode;
pub mod ethtool;
mod links;
mod refusal;
mod requests;
mod resolver;

pub use links::read_links;
pub use refusal::ask_why;
pub use resolver::{Leave, Resolver};
