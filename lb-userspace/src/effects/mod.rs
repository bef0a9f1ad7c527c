//! Everything that touches the kernel or the network: maps, netlink, sockets. It decides nothing.

pub mod admin;
pub mod claims;
pub mod dataplane;
pub mod events;
pub mod exchange;
pub mod hook;
pub mod netlink;
pub mod own_client;
pub mod pidfd;
pub mod prober;
pub mod program;
mod readable;
pub mod run_as;
pub mod steering;
pub mod supervisor;
pub mod track;
pub mod vrrp;
