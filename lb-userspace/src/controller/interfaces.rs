//! Interfaces that the program belongs on: which exist, which are attached, and why the others are not. An interface that
//! is made anew gets the program again.

use std::collections::{BTreeMap, BTreeSet};

use super::Effect;
use crate::config::{AttachMode, Dataplane};
use crate::nexthop::{Link, LinkKind, Links, ProgramMode, VlanTag};
use crate::own_client::INNER;
use crate::reconcile::entries::tag_wire;

/// One interface of the configuration.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Interface {
    /// Its index, when it exists.
    pub index: Option<u32>,
    /// How the program is attached.
    pub mode: Option<ProgramMode>,
    /// Why it is not, or not natively.
    pub why: Option<String>,
    /// It is not of the configuration, but ours: what this host sends to its own services comes in there.
    pub is_own: bool,
}

/// See the module's description.
#[derive(Clone, Debug, Default)]
pub struct Interfaces {
    links: Links,
    wanted: BTreeMap<String, Interface>,
}

impl Interfaces {
    /// From now on the interfaces of this configuration, and no others, have the program.
    pub fn configure(&mut self, config: &Dataplane) -> Vec<Effect> {
        let own = config.own_client.then(|| INNER.to_owned());
        let wanted: BTreeSet<&String> = config.interfaces.iter().chain(&own).collect();
        let mut effects = Vec::new();
        let unwanted: Vec<String> = self.wanted.keys().filter(|name| !wanted.contains(name)).cloned().collect();
        for name in unwanted {
            if let Some(Interface { index: Some(interface), mode: Some(_), .. }) = self.wanted.remove(&name) {
                effects.push(Effect::Detach { interface });
            }
        }
        for name in wanted {
            self.wanted.entry(name.clone()).or_default().is_own = own.as_ref() == Some(name);
        }
        effects.extend(self.attach_missing(config));
        effects.extend(self.attached_to());
        effects
    }

    /// An interface appeared or changed.
    pub fn link(&mut self, link: Link, config: &Dataplane) -> Vec<Effect> {
        let mut effects = Vec::new();
        let index = link.index;
        self.links.put(link);
        effects.extend(self.vlan(index));
        effects.extend(self.attach_missing(config));
        effects
    }

    /// An interface is gone, and the program with it.
    pub fn gone(&mut self, index: u32) -> Vec<Effect> {
        self.links.remove(index);
        let mut effects = Vec::new();
        for (name, interface) in self.wanted.iter_mut().filter(|(_, interface)| interface.index == Some(index)) {
            let why = (!interface.is_own).then(|| missing(name));
            *interface = Interface { why, is_own: interface.is_own, ..Interface::default() };
            effects.push(Effect::Detach { interface: index });
        }
        if !effects.is_empty() {
            effects.extend(self.attached_to());
        }
        effects
    }

    /// An attempt to attach has ended.
    pub fn attached(&mut self, index: u32, outcome: Result<ProgramMode, String>) -> Vec<Effect> {
        for interface in self.wanted.values_mut().filter(|interface| interface.index == Some(index)) {
            match &outcome {
                Ok(mode) => {
                    interface.mode = Some(*mode);
                    interface.why = (*mode == ProgramMode::Generic && !interface.is_own).then(|| {
                        "generic XDP: every packet is copied into a socket buffer first, several times slower than native"
                            .to_owned()
                    });
                }
                Err(why) => interface.why = Some(why.clone()),
            }
        }
        self.attached_to().into_iter().collect()
    }

    /// The interfaces of the configuration, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Interface)> {
        self.wanted.iter().map(|(name, interface)| (name.as_str(), interface))
    }

    /// Everything that exists.
    pub fn links(&self) -> &Links {
        &self.links
    }

    /// Those of the configuration, without ours.
    pub fn outer(&self) -> impl Iterator<Item = (&str, &Interface)> {
        self.iter().filter(|(_, interface)| !interface.is_own)
    }

    /// Whether every interface of the configuration has the program.
    pub fn is_complete(&self) -> bool {
        self.outer().all(|(_, interface)| interface.mode.is_some())
    }

    /// The index of ours, if it has the program.
    pub fn own(&self) -> Option<u32> {
        let own = self.wanted.values().find(|interface| interface.is_own && interface.mode.is_some());
        own.and_then(|interface| interface.index)
    }

    fn attach_missing(&mut self, config: &Dataplane) -> Vec<Effect> {
        let mut effects = Vec::new();
        for (name, interface) in &mut self.wanted {
            let Some(link) = self.links.by_name(name) else {
                interface.why = (!interface.is_own).then(|| missing(name));
                continue;
            };
            // An attempt is made once for each time that the interface comes to be, not at every change of it.
            if interface.index == Some(link.index) {
                continue;
            }
            interface.index = Some(link.index);
            interface.why = None;
            match unfit(&self.links, link) {
                Some(why) => interface.why = Some(why),
                None => effects.push(Effect::Attach {
                    name: name.clone(),
                    interface: link.index,
                    // What a veth redirects natively, many a driver does not take; and few packets come by it.
                    mode: if interface.is_own { AttachMode::Generic } else { config.mode },
                    carries_vlans: self.links.vlans_on(link.index).next().is_some(),
                }),
            }
        }
        effects
    }

    /// Nothing as long as an attempt is under way: a next hop by an interface that is about to be attached is not missing.
    fn attached_to(&self) -> Option<Effect> {
        let pending =
            |interface: &Interface| interface.index.is_some() && interface.mode.is_none() && interface.why.is_none();
        if self.links.iter().next().is_none() || self.wanted.values().any(pending) {
            return None;
        }
        let attached = self.wanted.values().filter(|interface| interface.mode.is_some());
        Some(Effect::AttachedTo(attached.filter_map(|interface| interface.index).collect()))
    }

    /// What a VLAN interface stands for.
    fn vlan(&self, index: u32) -> Option<Effect> {
        let mut tags = Vec::new();
        let mut link = self.links.get(index)?;
        while let LinkKind::Vlan { id, tpid } = link.kind {
            tags.push(tag_wire(&VlanTag { tpid, tci: id }));
            link = self.links.get(link.lower?)?;
        }
        // Tags were collected from the inside out.
        tags.reverse();
        match *tags.as_slice() {
            [] => None,
            [outer] => Some(Effect::Vlan { interface: index, below: link.index, tags_wire: [outer, 0] }),
            [outer, inner] => Some(Effect::Vlan { interface: index, below: link.index, tags_wire: [outer, inner] }),
            [..] => None,
        }
    }
}

fn missing(name: &str) -> String {
    format!("there is no interface {name}")
}

/// Why a program on this interface would see no traffic, and what to name instead.
fn unfit(links: &Links, link: &Link) -> Option<String> {
    if let Some(bond) = links.bond_of(link.index) {
        let (port, bond) = (&link.name, &bond.name);
        return Some(format!("{port} is a port of the bond {bond}: name {bond} instead of it"));
    }
    if let LinkKind::Vlan { .. } = link.kind {
        let parent = link.lower.map_or_else(|| "its parent".to_owned(), |lower| links.name_of(lower));
        return Some(format!(
            "{} is a VLAN interface, which has no XDP of its own: name {parent} instead of it",
            link.name
        ));
    }
    None
}
