//! What is to be done, put in the order in which it must be done.
//!
//! One event may move many virtual routers. What counts is the same for all of them: first whoever leaves lets go, then the
//! new master forwards, says so, holds the addresses, and last tells the link. So the order is a property of the effects
//! and not of the code that asked for them; effects of one kind stay in the order asked for.

use std::collections::BTreeSet;

use super::effect::Effect;
use crate::happening::Happening;

/// Effects of the event that is being handled.
#[derive(Debug, Default)]
pub struct Outbox {
    effects: Vec<Effect>,
}

impl Outbox {
    /// To be done.
    pub fn push(&mut self, effect: Effect) {
        self.effects.push(effect);
    }

    /// To be told.
    pub fn tell(&mut self, happening: Happening) {
        self.push(Effect::Happened(happening));
    }

    /// A warning about a virtual router.
    pub fn warn(&mut self, router: &str, message: String) {
        self.tell(Happening::Warning { router: Some(router.to_string()), message });
    }

    /// All of it, in order.
    pub fn take(&mut self) -> Vec<Effect> {
        let mut effects = std::mem::take(&mut self.effects);
        effects.sort_by_key(rank);
        keep_what_moves(&mut effects);
        effects
    }
}

/// Place of an effect among the others.
fn rank(effect: &Effect) -> u8 {
    match effect {
        Effect::SetLive { live: false, .. } => 0,
        Effect::RemoveAddresses { .. } => 1,
        Effect::VirtualMac { addresses, .. } if addresses.is_empty() => 2,
        Effect::Routes { present: false, .. } => 3,
        Effect::Listen(_) | Effect::BfdSessions(_) => 4,
        Effect::SetLive { live: true, .. } => 5,
        Effect::Advertise(_) => 6,
        Effect::Heartbeat { .. } | Effect::Bfd { .. } => 7,
        Effect::AddAddresses { .. } => 8,
        Effect::VirtualMac { .. } => 9,
        Effect::Announce { .. } => 10,
        Effect::Routes { present: true, .. } => 11,
        Effect::ProbeGateway { .. } => 12,
        Effect::Testament(_) => 13,
        Effect::Happened(_) => 14,
        Effect::HandedOver => 15,
    }
}

/// An address that one virtual router lets go and another takes, in one reload, stays where it is: removed and added again
/// it would be gone for a moment.
fn keep_what_moves(effects: &mut Vec<Effect>) {
    let added: BTreeSet<_> = effects
        .iter()
        .filter_map(|effect| match effect {
            Effect::AddAddresses { interface, addresses } => Some((*interface, addresses)),
            _ => None,
        })
        .flat_map(|(interface, addresses)| addresses.iter().map(move |address| (interface, *address)))
        .collect();
    if added.is_empty() {
        return;
    }
    effects.retain_mut(|effect| match effect {
        Effect::RemoveAddresses { interface, addresses } => {
            addresses.retain(|address| !added.contains(&(*interface, *address)));
            !addresses.is_empty()
        }
        _ => true,
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(texts: &[&str]) -> Vec<ipnet::IpNet> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn letting_go_comes_before_taking() {
        let mut outbox = Outbox::default();
        outbox.push(Effect::AddAddresses { interface: 2, addresses: addresses(&["10.0.0.1/32"]) });
        outbox.push(Effect::SetLive { index: 0, live: true });
        outbox.push(Effect::RemoveAddresses { interface: 2, addresses: addresses(&["10.0.0.2/32"]) });
        outbox.push(Effect::SetLive { index: 1, live: false });
        let order: Vec<u8> = outbox.take().iter().map(rank).collect();
        assert_eq!(order, [0, 1, 5, 8]);
    }

    #[test]
    fn an_address_that_changes_hands_is_not_removed() {
        let mut outbox = Outbox::default();
        outbox.push(Effect::RemoveAddresses { interface: 2, addresses: addresses(&["10.0.0.1/32", "10.0.0.2/32"]) });
        outbox.push(Effect::RemoveAddresses { interface: 3, addresses: addresses(&["10.0.0.1/32"]) });
        outbox.push(Effect::AddAddresses { interface: 2, addresses: addresses(&["10.0.0.1/32"]) });
        let effects = outbox.take();
        assert_eq!(effects[0], Effect::RemoveAddresses { interface: 2, addresses: addresses(&["10.0.0.2/32"]) });
        assert_eq!(effects[1], Effect::RemoveAddresses { interface: 3, addresses: addresses(&["10.0.0.1/32"]) });
        assert_eq!(effects.len(), 3);
    }
}
