//! The network interfaces of this namespace, as far as forwarding cares about them.

use std::collections::BTreeMap;
use std::fmt;

use super::Mac;

/// What an interface is. The kinds named here are those that something is decided by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LinkKind {
    /// A hardware or virtio device: the kernel gives it no kind.
    Plain,
    /// One end of a virtual cable.
    Veth,
    /// An aggregate of ports; XDP attaches to it, not to its ports.
    Bond,
    /// A bridge.
    Bridge,
    /// A VLAN on a parent interface ([`Link::lower`]).
    Vlan {
        /// VLAN id, 12 bits.
        id: u16,
        /// 0x8100 (802.1Q) or 0x88a8 (802.1ad).
        tpid: u16,
    },
    /// An additional MAC address on a parent interface.
    Macvlan,
    /// Any other; holds the kernel's word.
    Other(String),
}

impl fmt::Display for LinkKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Plain => f.write_str("plain"),
            Self::Veth => f.write_str("veth"),
            Self::Bond => f.write_str("bond"),
            Self::Bridge => f.write_str("bridge"),
            Self::Vlan { id, .. } => write!(f, "vlan {id}"),
            Self::Macvlan => f.write_str("macvlan"),
            Self::Other(kind) => f.write_str(kind),
        }
    }
}

/// How an XDP program is attached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProgramMode {
    /// By the driver.
    Native,
    /// By the network stack, for drivers that cannot.
    Generic,
    /// By the device itself.
    Hardware,
    /// In more than one of these ways.
    Several,
}

impl fmt::Display for ProgramMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Native => "native",
            Self::Generic => "generic",
            Self::Hardware => "hardware",
            Self::Several => "several modes",
        })
    }
}

/// The XDP program on an interface, ours or someone else's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AttachedProgram {
    /// The kernel's id, as `bpftool prog` shows it. 0 where several are attached.
    pub id: u32,
    /// How it is attached.
    pub mode: ProgramMode,
}

/// A network interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// The kernel's number for it: new with each creation.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// What it is.
    pub kind: LinkKind,
    /// Its Ethernet address; none on loopback and on interfaces that are not Ethernet.
    pub mac: Option<Mac>,
    /// Largest IP packet.
    pub mtu: u32,
    /// Index of the bond, bridge or VRF it belongs to.
    pub master: Option<u32>,
    /// Index of the interface beneath a VLAN or macvlan, or of the other end of a veth; none where that one is in
    /// another namespace.
    pub lower: Option<u32>,
    /// Switched on by the administrator.
    pub enabled: bool,
    /// Connected: it has a carrier.
    pub carrier: bool,
    /// The XDP program on it. Up to date only in a fresh list: the kernel announces no link-based attachment.
    pub program: Option<AttachedProgram>,
}

impl Link {
    /// Whether it can send.
    pub fn is_up(&self) -> bool {
        self.enabled && self.carrier
    }
}

/// All interfaces, by index.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Links(BTreeMap<u32, Link>);

impl Links {
    /// The interface with this index.
    pub fn get(&self, index: u32) -> Option<&Link> {
        self.0.get(&index)
    }

    /// The interface with this name.
    pub fn by_name(&self, name: &str) -> Option<&Link> {
        self.iter().find(|link| link.name == name)
    }

    /// All of them, by index.
    pub fn iter(&self) -> impl Iterator<Item = &Link> {
        self.0.values()
    }

    /// The interface's name, or its number where it is gone.
    pub fn name_of(&self, index: u32) -> String {
        self.get(index).map_or_else(|| format!("interface {index}"), |link| link.name.clone())
    }

    /// The bond this interface is a port of: attach there instead.
    pub fn bond_of(&self, index: u32) -> Option<&Link> {
        let master = self.get(self.get(index)?.master?)?;
        (master.kind == LinkKind::Bond).then_some(master)
    }

    /// Whether what is sent by `upper` is transmitted over `lower`: the same, or a VLAN interface somewhere above it.
    pub fn stands_on(&self, upper: u32, lower: u32) -> bool {
        let beneath = |index: &u32| match self.get(*index) {
            Some(Link { kind: LinkKind::Vlan { .. }, lower, .. }) => *lower,
            Some(_) | None => None,
        };
        // A chain longer than any frame could express is no chain we send over.
        std::iter::successors(Some(upper), beneath).take(super::MAX_TAGS + 1).any(|index| index == lower)
    }

    /// The VLAN interfaces directly on this one: with any, its receive-side tag offload must be off, or XDP would not
    /// see the tags.
    pub fn vlans_on(&self, index: u32) -> impl Iterator<Item = &Link> {
        self.iter().filter(move |link| matches!(link.kind, LinkKind::Vlan { .. }) && link.lower == Some(index))
    }

    /// The other end of a veth, where it is in this namespace.
    pub fn veth_peer(&self, index: u32) -> Option<&Link> {
        let link = self.get(index)?;
        if link.kind == LinkKind::Veth { self.get(link.lower?) } else { None }
    }

    /// Adds or replaces; true if that changed something.
    pub fn put(&mut self, link: Link) -> bool {
        if self.0.get(&link.index) == Some(&link) {
            return false;
        }
        self.0.insert(link.index, link);
        true
    }

    /// Takes one out; true if it was there.
    pub fn remove(&mut self, index: u32) -> bool {
        self.0.remove(&index).is_some()
    }
}

impl FromIterator<Link> for Links {
    fn from_iter<I: IntoIterator<Item = Link>>(links: I) -> Self {
        Self(links.into_iter().map(|link| (link.index, link)).collect())
    }
}
