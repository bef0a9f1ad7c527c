//! Everything that touches the kernel or the network: maps, netlink, sockets. It decides nothing.

pub mod admin;
pub mod dataplane;
pub mod netlink;
pub mod vrrp;
