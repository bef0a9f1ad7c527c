//! What the kernel knows about the hosts on its links (ARP and neighbour discovery).

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::Mac;

/// Marks the neighbour entries that are ours to remove (`ip neigh` shows it as `proto 250`). The kernel only stores
/// the number; 192 and up are nobody's in rt_protos as iproute2 ships it, apart from EIGRP's 192.
pub const NEIGHBOUR_PROTOCOL: u8 = 250;

/// A neighbour is an address on an interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NeighbourKey {
    /// Index of the interface.
    pub interface: u32,
    /// The neighbour's address.
    pub address: IpAddr,
}

/// What is known of a neighbour's MAC address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reachability {
    /// Asked for, no answer yet.
    Asking,
    /// Known. Also while the kernel is checking it (stale, delay, probe): it is right far more often than not.
    Known(Mac),
    /// Entered by the administrator (permanent, or an interface without ARP): not to be touched.
    Fixed(Mac),
    /// Does not answer.
    Silent,
}

/// An entry of the kernel's neighbour table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Neighbour {
    /// What is known.
    pub reachability: Reachability,
    /// The kernel keeps the entry fresh by itself (`NTF_EXT_MANAGED`).
    pub managed: bool,
    /// It bears [`NEIGHBOUR_PROTOCOL`].
    pub ours: bool,
    /// The kernel is checking it: failing now means that it does not answer. Failing all of a sudden means that the
    /// entry is being deleted, which the kernel announces as a failure first.
    pub doubtful: bool,
    /// The kernel has this entry; false for what is remembered of one it dropped.
    pub present: bool,
}

impl Neighbour {
    fn knows_mac(&self) -> bool {
        matches!(self.reachability, Reachability::Known(_) | Reachability::Fixed(_))
    }
}

/// The kernel's neighbour table, IPv4 and IPv6.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Neighbours(BTreeMap<NeighbourKey, Neighbour>);

impl Neighbours {
    /// The entry for this neighbour.
    pub fn get(&self, key: &NeighbourKey) -> Option<&Neighbour> {
        self.0.get(key)
    }

    /// All entries.
    pub fn iter(&self) -> impl Iterator<Item = (&NeighbourKey, &Neighbour)> {
        self.0.iter()
    }

    /// Takes in an announcement; true if the MAC address (or its absence) changed.
    ///
    /// Being asked again takes nothing away from what is known, nor does deleting the entry: a dead host would otherwise
    /// appear to come and go with each attempt, and `ip neigh flush` would stop traffic to hosts that are perfectly well.
    pub fn announced(&mut self, key: NeighbourKey, mut neighbour: Neighbour) -> bool {
        let before = self.0.get(&key).copied();
        let sudden = before.is_some_and(|before| before.knows_mac() && !before.doubtful);
        if neighbour.reachability == Reachability::Silent && sudden {
            neighbour.reachability = Reachability::Asking;
        }
        self.found(key, neighbour)
    }

    /// Takes in an entry as it is in the kernel's table; true if the MAC address (or its absence) changed.
    pub fn found(&mut self, key: NeighbourKey, mut neighbour: Neighbour) -> bool {
        let before = self.0.get(&key).map(|known| known.reachability);
        if neighbour.reachability == Reachability::Asking {
            neighbour.reachability = match before {
                Some(Reachability::Known(mac) | Reachability::Fixed(mac)) => Reachability::Known(mac),
                Some(Reachability::Silent) => Reachability::Silent,
                Some(Reachability::Asking) | None => Reachability::Asking,
            };
            neighbour.doubtful = true;
        }
        self.0.insert(key, neighbour);
        before != Some(neighbour.reachability)
    }

    /// The kernel dropped the entry, which says nothing about the host. What is known of it stays until it is asked
    /// again without success.
    pub fn dropped(&mut self, key: &NeighbourKey) {
        if let Some(neighbour) = self.0.get_mut(key) {
            neighbour.reachability = match neighbour.reachability {
                Reachability::Fixed(mac) => Reachability::Known(mac),
                other @ (Reachability::Known(_) | Reachability::Asking | Reachability::Silent) => other,
            };
            neighbour.managed = false;
            neighbour.ours = false;
            neighbour.doubtful = true;
            neighbour.present = false;
        }
    }

    /// Forgets what is known of hosts that the kernel has no entry for, unless `wanted`.
    pub fn forget(&mut self, wanted: impl Fn(&NeighbourKey) -> bool) {
        self.0.retain(|key, neighbour| neighbour.present || wanted(key));
    }
}
