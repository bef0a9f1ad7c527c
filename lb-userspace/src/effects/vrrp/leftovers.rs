//! Addresses that an earlier run left on its interfaces when it died.
//!
//! Unless the supervisor has released them already, they are removed when a virtual router begins: this node is not its
//! master. With `on_crash = "keep"` they stay until it is decided who is. The addresses of an owner (priority 255) are
//! its own and stay in any case.

use std::collections::BTreeMap;

use ipnet::IpNet;

use super::hands::{Hands, LOOPBACK};
use crate::config::{OnCrash, VirtualRouter};
use crate::vrrp::view::{Snapshot, State};

/// The priority of who owns the addresses (RFC 9568 section 5.2.4).
const OWNER: u8 = 255;

/// Addresses that stay until there is a master, by virtual router: interface and addresses.
pub type Inherited = BTreeMap<String, (u32, Vec<IpNet>)>;

/// Removes what routers that were not there before find on their interfaces; returns what is to be kept for now.
pub fn clear(routers: &[VirtualRouter], before: &[VirtualRouter], hands: &mut Hands) -> Inherited {
    let mut inherited = Inherited::new();
    let is_new = |router: &&VirtualRouter| before.iter().all(|other| other.name != router.name);
    for router in routers.iter().filter(is_new).filter(|router| router.priority != OWNER) {
        let Some((interface, addresses)) = found(router, hands) else { continue };
        match router.on_crash {
            OnCrash::Release => hands.remove_addresses(interface, &addresses),
            OnCrash::Keep => drop(inherited.insert(router.name.clone(), (interface, addresses))),
        }
    }
    inherited
}

/// Lets go of what was kept where it is now decided who is master: the engine holds it, or it goes.
pub fn settle(inherited: &mut Inherited, snapshot: &Snapshot, hands: &mut Hands) {
    inherited.retain(|name, (interface, addresses)| {
        let Some(router) = snapshot.routers.iter().find(|router| router.name == *name) else { return false };
        let another = router.master.is_some() || router.state == State::Fault;
        match router.state {
            State::Master => false,
            State::Init | State::Backup | State::Fault if another => {
                hands.remove_addresses(*interface, addresses);
                false
            }
            State::Init | State::Backup | State::Fault => true,
        }
    });
}

fn found(router: &VirtualRouter, hands: &Hands) -> Option<(u32, Vec<IpNet>)> {
    let interface = if router.virtual_mac { LOOPBACK } else { hands.watch.index(&router.interface)? };
    let all = router.addresses.iter().chain(&router.excluded_addresses).copied();
    let is_left =
        |address: &IpNet| hands.watch.has(interface, address.addr()) && !hands.holds(interface, address.addr());
    let left: Vec<IpNet> = all.filter(is_left).collect();
    (!left.is_empty()).then_some((interface, left))
}
