//! The instruction set of the data plane: each write is safe on its own, at any moment, under traffic. A plan is a list
//! of them; `effects::dataplane` performs it on the maps, [`super::image::Image`] on plain memory.

use std::collections::BTreeSet;

use ipnet::IpNet;
use lb_common::abi::{
    Access, Chooser, Displacements, Load, Ranges, Reverse, Root, Row, ServerKey, Service, Sources, Tunnel,
};
use lb_common::connection::Counted;

/// One change to the tables.
#[derive(Clone, Debug)]
pub enum Write {
    /// Writes a row that nothing names.
    Row(u32, Row),
    /// Writes what packets of a row are put into, while nothing reads it.
    Tunnel(u32, Tunnel),
    /// Replaces how much fits into the packets of a row: one 4-byte store.
    TunnelRoom(u32, u32),
    /// Replaces the destination MAC of a row, or makes its next hop unknown (0): one 8-byte store.
    RowMac(u32, u64),
    /// Replaces the state bits of a row: one 4-byte store.
    RowState(u32, u32),
    /// Replaces the method of a row by another that reads the same row: one store of an octet.
    RowMethod(u32, u8),
    /// Replaces slots from the first on: one 4-byte store each.
    Slots(u32, Vec<u32>),
    /// Replaces the word of one slot: one 4-byte store.
    Slot(u32, u32),
    /// Fills the half of the service tables that is not live.
    Half(Box<Half>),
    /// Makes a half live: one 8-byte store of the root's word, after its seeds.
    Flip(Root),
    /// Leaves replies to a prefix alone, by its number.
    Exclude(u32, IpNet),
    /// Takes that back.
    Include(u32, IpNet),
    /// Says whether the clients of a prefix may come, in a set that no packet asks yet.
    Admit(u32, IpNet, bool),
    /// Forgets what a set that no packet asks any more says of a prefix.
    Unadmit(u32, IpNet),
    /// Writes which clients may come to a service that no packet asks yet.
    Access(u32, Access),
    /// Replaces which clients may come to one that packets ask: one store a word. When its bucket is full again stays.
    ChangeAccess(u32, Access),
    /// Says which backend of a pool has a server ID, by its index.
    ServerId(ServerKey, u16),
    /// Forgets whose a server ID is.
    ForgetServerId(ServerKey),
    /// Begins to count anew at a place of services that go by connection IDs, which no packet is counted at yet.
    ClearQuic(u16),
    /// Writes who chooses in a stateful service that no packet can reach yet.
    Chooser(u32, Chooser),
    /// Replaces who chooses in one that packets reach: one store a word. Whose turn it is stays.
    ChangeChooser(u32, Chooser),
    /// Begins the turns anew, as the weights now are.
    RestartTurns(u32),
    /// Empties loads, from the first so many: nobody has connections there.
    ClearLoads(u32, u32),
    /// Copies loads that are about to be read elsewhere. What is counted meanwhile at the old place is found by a census.
    MoveLoads {
        /// The first of them.
        from: u32,
        /// Where it comes to.
        to: u32,
        /// How many.
        count: u32,
    },
    /// Replaces what a backend may take: one store a word. What it has stays.
    Load(u32, Load),
    /// Corrects what a backend has.
    Recount(u32, Counted),
    /// Deletes the records that name a backend of a pool, for each pair of these: it is dead to its flows, and must not be
    /// theirs again when it is back. After a [`Write::Grace`], so that no packet in flight makes another.
    Forget(BTreeSet<(u32, u16)>),
    /// Waits until no packet in flight can hold what was replaced before (an RCU grace period).
    Grace,
}

/// One half of the service tables.
#[derive(Clone)]
pub struct Half {
    /// Which: 0 or 1.
    pub index: u32,
    /// Displacements of both tables.
    pub displacements: Displacements,
    /// Entries in use of the service table, by index within the half; all others are empty.
    pub services: Vec<(u32, Service)>,
    /// Entries in use of the reverse table.
    pub reverse: Vec<(u32, Reverse)>,
    /// The ranges that entries of both tables name, from the first of the half on.
    pub ranges: Vec<Ranges>,
    /// The sources of full NAT.
    pub sources: Sources,
}

impl std::fmt::Debug for Half {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Half({}, {} services, {} reverse)", self.index, self.services.len(), self.reverse.len())
    }
}
