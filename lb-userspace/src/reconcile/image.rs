//! The tables as plain memory: what user space knows the maps to hold. The reconciler compares against it, `explain` and
//! the simulator look things up in it, and the tests hold it against the kernel.

use std::collections::BTreeMap;

use ipnet::IpNet;
use lb_common::abi::{
    Access, Chooser, Displacements, HALF_ENTRIES, Load, Ranges, Reverse, Root, Row, ServerKey, Service, Sources,
    Tunnel, root_flags, service_flags,
};
use lb_common::address::Address;
use lb_common::hash;
use lb_common::limits::{ACCESS_RULES, CHOOSERS, RANGE_LISTS};
use zerocopy::FromZeros;

use super::write::{Half, Write};

/// All tables that user space writes.
#[derive(Clone)]
pub struct Image {
    /// Where look-ups start.
    pub root: Root,
    /// Displacements of both halves.
    pub displacements: Vec<Displacements>,
    /// Service entries of both halves.
    pub services: Vec<Service>,
    /// Reverse entries of both halves.
    pub reverse: Vec<Reverse>,
    /// Ranges of ports of both halves.
    pub ranges: Vec<Ranges>,
    /// Slot words.
    pub slots: Vec<u32>,
    /// Rows.
    pub rows: Vec<Row>,
    /// What packets of `tunnel` rows are put into, by row.
    pub tunnels: BTreeMap<u32, Tunnel>,
    /// Who chooses in stateful services; whose turn it is, is the packet path's to say.
    pub choosers: Vec<Chooser>,
    /// What backends of stateful services may take; what they have is the packet path's to say. As many as rows.
    pub loads: Vec<Load>,
    /// Excluded destinations, by number.
    pub excluded: Vec<(u32, IpNet)>,
    /// The sources of full NAT, of both halves.
    pub sources: [Sources; 2],
    /// Which clients may come to services; when buckets are full again is the packet path's to say.
    pub access: Vec<Access>,
    /// Prefixes of clients by the number of their set, and whether they may come.
    pub admissions: BTreeMap<(u32, IpNet), bool>,
    /// Indices of backends in their pool, by server ID.
    pub server_ids: BTreeMap<ServerKey, u16>,
}

impl Image {
    /// Empty tables with room for so many slots and rows.
    pub fn new(slots: usize, rows: usize) -> Self {
        Self {
            root: Root::default(),
            displacements: vec![Displacements::new_zeroed(); 2],
            services: vec![Service::default(); 2 * HALF_ENTRIES],
            reverse: vec![Reverse::default(); 2 * HALF_ENTRIES],
            ranges: vec![Ranges::EMPTY; 2 * RANGE_LISTS],
            slots: vec![0; slots],
            rows: vec![Row::default(); rows],
            tunnels: BTreeMap::new(),
            choosers: vec![Chooser::default(); CHOOSERS],
            loads: vec![Load::default(); rows],
            excluded: Vec::new(),
            sources: [Sources::default(); 2],
            access: vec![Access::default(); ACCESS_RULES],
            admissions: BTreeMap::new(),
            server_ids: BTreeMap::new(),
        }
    }

    /// Nothing at all, where the tables of a real one were for a moment.
    pub fn hollow() -> Self {
        Self {
            root: Root::default(),
            displacements: Vec::new(),
            services: Vec::new(),
            reverse: Vec::new(),
            ranges: Vec::new(),
            slots: Vec::new(),
            rows: Vec::new(),
            tunnels: BTreeMap::new(),
            choosers: Vec::new(),
            loads: Vec::new(),
            excluded: Vec::new(),
            sources: [Sources::default(); 2],
            access: Vec::new(),
            admissions: BTreeMap::new(),
            server_ids: BTreeMap::new(),
        }
    }

    /// Carries out one write.
    ///
    /// # Panics
    /// When the write is outside the tables: the reconciler allocates within them.
    pub fn apply(&mut self, write: &Write) {
        match write {
            Write::Row(index, row) => self.rows[*index as usize] = *row,
            Write::Tunnel(index, tunnel) => drop(self.tunnels.insert(*index, *tunnel)),
            Write::TunnelRoom(index, room) => self.tunnels.entry(*index).or_default().room = *room,
            Write::RowMac(index, mac_head) => self.rows[*index as usize].mac_head = *mac_head,
            Write::RowState(index, state) => self.rows[*index as usize].state = *state,
            Write::RowMethod(index, method) => self.rows[*index as usize].method = *method,
            Write::Slots(first, words) => {
                self.slots[*first as usize..*first as usize + words.len()].copy_from_slice(words);
            }
            Write::Slot(index, word) => self.slots[*index as usize] = *word,
            Write::Half(half) => self.fill(half),
            Write::Flip(root) => self.root = *root,
            Write::Exclude(number, prefix) => self.excluded.push((*number, *prefix)),
            Write::Include(number, prefix) => self.excluded.retain(|entry| entry != &(*number, *prefix)),
            Write::Admit(set, prefix, allowed) => drop(self.admissions.insert((*set, *prefix), *allowed)),
            Write::Unadmit(set, prefix) => drop(self.admissions.remove(&(*set, *prefix))),
            Write::Access(index, access) | Write::ChangeAccess(index, access) => {
                self.access[*index as usize] = *access;
            }
            Write::ServerId(key, backend) => drop(self.server_ids.insert(*key, *backend)),
            Write::ForgetServerId(key) => drop(self.server_ids.remove(key)),
            Write::Chooser(index, chooser) | Write::ChangeChooser(index, chooser) => {
                self.choosers[*index as usize] = *chooser;
            }
            Write::ClearLoads(first, count) => self.loads[*first as usize..][..*count as usize].fill(Load::default()),
            Write::Load(index, load) => self.loads[*index as usize] = *load,
            // Records, counts and turns are the packet path's, not the image's. Loads that move are written anew.
            Write::Forget(_)
            | Write::RestartTurns(_)
            | Write::MoveLoads { .. }
            | Write::Recount(..)
            | Write::ClearQuic(_)
            | Write::Grace => {}
        }
    }

    fn fill(&mut self, half: &Half) {
        self.displacements[half.index as usize] = half.displacements;
        self.sources[half.index as usize] = half.sources;
        let first = half.index as usize * HALF_ENTRIES;
        self.services[first..first + HALF_ENTRIES].zero();
        self.reverse[first..first + HALF_ENTRIES].zero();
        self.ranges[half.index as usize * RANGE_LISTS..][..half.ranges.len()].copy_from_slice(&half.ranges);
        for (index, service) in &half.services {
            self.services[first + *index as usize] = *service;
        }
        for (index, reverse) in &half.reverse {
            self.reverse[first + *index as usize] = *reverse;
        }
    }
}

impl Image {
    /// The listener of an address, port and protocol, as the packet path finds it: of its port, else of a range, else of every port.
    pub fn listener(&self, address: Address, port_wire: u16, protocol: u8) -> Option<&Service> {
        use service_flags::{DIRECTORY, USED};
        if let Some(exact) = self.entry(address, port_wire, protocol, USED) {
            return Some(exact);
        }
        let every = self.entry(address, 0, protocol, USED | DIRECTORY)?;
        let half = (self.root.word & root_flags::HALF) as usize;
        let list = usize::from(every.ranges).checked_sub(1).map(|list| &self.ranges[half * RANGE_LISTS + list]);
        match list.and_then(|ranges| ranges.first_of(port_wire)) {
            Some(first) => self.entry(address, first, protocol, USED),
            None => Some(every).filter(|it| it.flags & USED != 0),
        }
    }

    /// A listener of a stateful service whose records name this pool.
    pub fn of_pool(&self, pool: u32) -> Option<&Service> {
        let first = (self.root.word & root_flags::HALF) as usize * HALF_ENTRIES;
        let live = &self.services[first..first + HALF_ENTRIES];
        live.iter().find(|it| it.flags & service_flags::USED != 0 && it.pool == pool && it.stateful().is_some())
    }

    /// For how long the clients of pools are remembered that do remember them, in seconds, by pool.
    pub fn persistence(&self) -> BTreeMap<u32, u32> {
        let first = (self.root.word & root_flags::HALF) as usize * HALF_ENTRIES;
        let live = self.services[first..first + HALF_ENTRIES].iter();
        let timeout =
            |service: &Service| Some((service.pool, self.choosers.get(service.stateful()? as usize)?.persistence));
        live.filter(|it| it.flags & service_flags::USED != 0)
            .filter_map(timeout)
            .filter(|&(_, timeout)| timeout != 0)
            .collect()
    }

    fn entry(&self, address: Address, port_wire: u16, protocol: u8, flags: u8) -> Option<&Service> {
        let half = (self.root.word & root_flags::HALF) as usize;
        let hash = hash::endpoint(self.root.service_seed[half], address, port_wire, protocol);
        let displacement = self.displacements[half].services[hash::bucket(hash)];
        let service = &self.services[half * HALF_ENTRIES + hash::entry(hash, displacement)];
        let matches = service.flags & flags != 0
            && service.address == address
            && service.port_wire == port_wire
            && service.protocol == protocol;
        matches.then_some(service)
    }
}
