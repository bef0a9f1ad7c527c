//! The maps of a loaded object, and the one interpreter of [`Write`].

use std::mem::offset_of;
use std::time::Duration;

use anyhow::{Context as _, bail};
use aya::Ebpf;
use aya::maps::lpm_trie::{Key, LpmTrie};
use aya::maps::{HashMap, Map, MapData, PerCpuArray, PerCpuValues, RingBuf};
use aya::util::nr_cpus;
use ipnet::IpNet;
use lb_common::abi::addressed::Table;
use lb_common::abi::{
    Access, BucketKey, Counters, Displacements, HALF_ENTRIES, PrefixKey, ProbeTarget, QuicCounters, Ranges, Reverse,
    Root, Row, ServerKey, Service, Signs, Sources, Tunnel, admission,
};
use lb_common::access::Limit;
use lb_common::address::Address;
use lb_common::counters::{REFUSALS, Reason, UNRECORDED};
use lb_common::limits::{COUNTERS_PER_ELEMENT, RANGE_LISTS, SLOTS_PER_ELEMENT};

use super::census::Tally;
use super::choosers::Choosers;
use super::flow_table::FlowTable;
use super::live_words::LiveWords;
use super::mmap::MappedArray;
use super::object::Object;
use crate::reconcile::image::Image;
use crate::reconcile::write::{Half, Write};

/// Every map of the object.
pub struct Maps {
    root: MappedArray<Root>,
    displacements: MappedArray<Displacements>,
    services: MappedArray<Service>,
    reverse: MappedArray<Reverse>,
    ranges: MappedArray<Ranges>,
    slots: MappedArray<[u32; SLOTS_PER_ELEMENT]>,
    refusals: MappedArray<u64>,
    rows: MappedArray<Row>,
    tunnels: MappedArray<Tunnel>,
    counters: PerCpuArray<MapData, [[u64; 3]; COUNTERS_PER_ELEMENT]>,
    signs: MappedArray<Signs>,
    reasons: PerCpuArray<MapData, u64>,
    exclude: LpmTrie<MapData, [u8; 20], u32>,
    access: MappedArray<Access>,
    admissions: LpmTrie<MapData, [u8; 20], u32>,
    server_ids: HashMap<MapData, [u8; 24], u32>,
    quic_counters: PerCpuArray<MapData, [u64; 3]>,
    vlans: HashMap<MapData, u32, [u32; 3]>,
    /// Whether this node is live, by virtual router. No [`Write`] changes them.
    pub live_words: LiveWords,
    /// TCP's exceptions, IPv4.
    pub flows_v4: FlowTable<16>,
    /// TCP's exceptions, IPv6.
    pub flows_v6: FlowTable<40>,
    /// UDP flows, IPv4.
    pub udp_flows_v4: FlowTable<16>,
    /// UDP flows, IPv6.
    pub udp_flows_v6: FlowTable<40>,
    /// Who chooses in stateful services.
    pub choosers: Choosers,
    /// Flows of stateful services, IPv4.
    pub connections_v4: FlowTable<16>,
    /// Flows of stateful services, IPv6.
    pub connections_v6: FlowTable<40>,
    /// Clients of stateful services that are remembered.
    pub clients: FlowTable<24>,
    /// Whom rules of locality remember, by destination.
    pub destinations: HashMap<MapData, [u8; 24], [u8; 40]>,
    sources: MappedArray<Sources>,
    /// What packets of translated flows become, IPv4.
    pub translations_v4: FlowTable<16, 48>,
    /// The same, IPv6.
    pub translations_v6: FlowTable<40, 48>,
    /// When the buckets of clients are full again. No [`Write`] changes them.
    pub buckets: HashMap<MapData, [u8; 24], u64>,
    /// Whom probes ask, and from where: taken by who steers them.
    pub probes: Option<ProbeTables>,
    /// Frames that wait for a neighbour; taken by who sends them.
    pub unresolved: Option<RingBuf<MapData>>,
    /// Flows that were recorded; taken by who tells another node of them.
    pub recorded: Option<RingBuf<MapData>>,
}

/// Targets of probes, and what is under way to which.
pub type ProbeTables = (MappedArray<ProbeTarget>, MappedArray<[u32; SLOTS_PER_ELEMENT]>);

impl Maps {
    /// Takes the maps out of a loaded object.
    ///
    /// # Errors
    /// When the object lacks one: it and this program are of different versions.
    pub fn take(object: &mut Object) -> anyhow::Result<Self> {
        let [root, displacements, services] =
            [Table::Root, Table::Displacements, Table::Services].map(|table| object.tables.take(table));
        let ebpf: &mut Ebpf = object;
        Ok(Self {
            root: MappedArray::new(root?)?,
            displacements: MappedArray::new(displacements?)?,
            services: MappedArray::new(services?)?,
            reverse: mapped(ebpf, "REVERSE")?,
            ranges: mapped(ebpf, "RANGES")?,
            slots: mapped(ebpf, "SLOTS")?,
            refusals: mapped(ebpf, "REFUSALS")?,
            rows: mapped(ebpf, "ROWS")?,
            tunnels: mapped(ebpf, "TUNNELS")?,
            counters: take(ebpf, "COUNTERS")?,
            signs: mapped(ebpf, "SIGNS")?,
            reasons: take(ebpf, "REASONS")?,
            exclude: take(ebpf, "NAT_EXCLUDE")?,
            access: mapped(ebpf, "ACCESS")?,
            admissions: take(ebpf, "ACCESS_PREFIXES")?,
            buckets: take(ebpf, "BUCKETS")?,
            server_ids: take(ebpf, "SERVER_IDS")?,
            quic_counters: take(ebpf, "QUIC_COUNTERS")?,
            vlans: take(ebpf, "VLANS")?,
            live_words: LiveWords::of_object(array(ebpf, "LIVE_WORDS")?)?,
            flows_v4: FlowTable::new(raw(ebpf, "FLOWS_V4")?)?,
            flows_v6: FlowTable::new(raw(ebpf, "FLOWS_V6")?)?,
            udp_flows_v4: FlowTable::new(raw(ebpf, "UDP_FLOWS_V4")?)?,
            udp_flows_v6: FlowTable::new(raw(ebpf, "UDP_FLOWS_V6")?)?,
            choosers: Choosers::new(mapped(ebpf, "CHOOSERS")?, mapped(ebpf, "LOADS")?),
            connections_v4: FlowTable::new(raw(ebpf, "CONNECTIONS_V4")?)?,
            connections_v6: FlowTable::new(raw(ebpf, "CONNECTIONS_V6")?)?,
            clients: FlowTable::new(raw(ebpf, "CLIENTS")?)?,
            destinations: destinations(ebpf)?,
            sources: mapped(ebpf, "SOURCES")?,
            translations_v4: FlowTable::new(raw(ebpf, "TRANSLATIONS_V4")?)?,
            translations_v6: FlowTable::new(raw(ebpf, "TRANSLATIONS_V6")?)?,
            probes: Some((mapped(ebpf, "PROBE_TARGETS")?, mapped(ebpf, "PROBES")?)),
            unresolved: Some(take(ebpf, "UNRESOLVED")?),
            recorded: Some(take(ebpf, "RECORDED")?),
        })
    }

    /// Carries out one write.
    ///
    /// # Errors
    /// When it is outside the tables or the kernel refuses; what was written before stays, and is safe by itself.
    pub fn apply(&mut self, write: &Write) -> anyhow::Result<()> {
        match write {
            Write::Row(index, row) => self.rows.write(*index as usize, *row),
            Write::Tunnel(index, tunnel) => self.tunnels.write(*index as usize, *tunnel),
            Write::TunnelRoom(index, room) => self.tunnels.store_u32(*index as usize, offset_of!(Tunnel, room), *room),
            Write::RowMac(index, mac_head) => {
                self.rows.store_u64(*index as usize, offset_of!(Row, mac_head), *mac_head)
            }
            Write::RowState(index, state) => self.rows.store_u32(*index as usize, offset_of!(Row, state), *state),
            Write::RowMethod(index, method) => self.rows.store_u8(*index as usize, offset_of!(Row, method), *method),
            Write::Slots(first, words) => (*first..).zip(words).try_for_each(|(index, word)| self.slot(index, *word)),
            Write::Slot(index, word) => self.slot(*index, *word),
            Write::Half(half) => self.half(half),
            Write::Flip(root) => self.flip(root),
            Write::Exclude(number, prefix) => {
                self.exclude.insert(&prefix_key(*number, *prefix), 1, 0).context("excluding a prefix from translation")
            }
            Write::Include(number, prefix) => {
                self.exclude.remove(&prefix_key(*number, *prefix)).context("including a prefix in translation")
            }
            Write::Admit(set, prefix, allowed) => {
                let admission = if *allowed { admission::ALLOWED } else { admission::DENIED };
                let key = prefix_key(*set, *prefix);
                self.admissions.insert(&key, admission, 0).context("noting whether clients of a prefix may come")
            }
            Write::Unadmit(set, prefix) => {
                self.admissions.remove(&prefix_key(*set, *prefix)).context("forgetting a prefix of clients")
            }
            Write::Access(index, access) => self.access.write(*index as usize, *access),
            Write::ChangeAccess(index, access) => self.change_access(*index as usize, access),
            Write::ServerId(key, backend) => self.name_server(key, *backend),
            Write::ForgetServerId(key) => self.forget_server(key),
            Write::ClearQuic(place) => self.clear_quic(*place),
            Write::Chooser(index, chooser) => self.choosers.write(*index, *chooser),
            Write::ChangeChooser(index, chooser) => self.choosers.change(*index, chooser),
            Write::RestartTurns(index) => self.choosers.restart_turns(*index),
            Write::ClearLoads(first, count) => self.choosers.clear_loads(*first, *count),
            Write::MoveLoads { from, to, count } => self.choosers.move_loads(*from, *to, *count),
            Write::Load(index, load) => self.choosers.change_load(*index, load),
            Write::Recount(load, change) => self.choosers.count(*load, *change),
            Write::Forget(backends) => super::forget::forget(self, backends),
            Write::Grace => super::grace::wait(),
        }
    }

    /// Reads the flow tables and deletes records that have had their time. `now` is the packet path's clock.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn census(&mut self, image: &Image, now: Duration) -> anyhow::Result<Tally> {
        super::census::take(self, image, now)
    }

    /// What all CPUs together have counted for a row.
    ///
    /// # Errors
    /// When there is no such row.
    pub fn counters(&self, row: u32) -> anyhow::Result<Counters> {
        let element = self.counters_element(row / COUNTERS_PER_ELEMENT as u32)?;
        Ok(element[row as usize % COUNTERS_PER_ELEMENT])
    }

    /// What all CPUs together have counted for the rows from `element` × [`COUNTERS_PER_ELEMENT`] on: one system call.
    ///
    /// # Errors
    /// When there is no such element.
    pub fn counters_element(&self, element: u32) -> anyhow::Result<[Counters; COUNTERS_PER_ELEMENT]> {
        let mut sums = [Counters::default(); COUNTERS_PER_ELEMENT];
        for rows in self.counters.get(&element, 0)?.iter() {
            for (sum, [packets, bytes, connections]) in sums.iter_mut().zip(rows) {
                sum.packets += packets;
                sum.bytes += bytes;
                sum.connections += connections;
            }
        }
        Ok(sums)
    }

    /// What the packets of a service that goes by connection IDs went by, on all CPUs together, by its place.
    ///
    /// # Errors
    /// When there is no such place.
    pub fn quic_counters(&self, place: u16) -> anyhow::Result<QuicCounters> {
        let mut sum = QuicCounters::default();
        for [routed, beginning, unknown] in self.quic_counters.get(&place.into(), 0)?.iter() {
            sum.routed += routed;
            sum.beginning += beginning;
            sum.unknown += unknown;
        }
        Ok(sum)
    }

    fn name_server(&mut self, key: &ServerKey, backend: u16) -> anyhow::Result<()> {
        let key: [u8; 24] = zerocopy::transmute!(*key);
        self.server_ids.insert(key, u32::from(backend), 0).context("noting whose a server ID is")
    }

    fn forget_server(&mut self, key: &ServerKey) -> anyhow::Result<()> {
        let key: [u8; 24] = zerocopy::transmute!(*key);
        self.server_ids.remove(&key).context("forgetting whose a server ID is")
    }

    fn clear_quic(&mut self, place: u16) -> anyhow::Result<()> {
        let zeros = PerCpuValues::try_from(vec![[0; 3]; nr_cpus().map_err(|(_, error)| error)?])?;
        self.quic_counters.set(place.into(), zeros, 0).context("beginning to count packets of QUIC anew")
    }

    /// Signs that the backend of a row does not do well.
    ///
    /// # Errors
    /// When there is no such row.
    pub fn signs(&self, row: u32) -> anyhow::Result<Signs> {
        self.signs.read(row as usize)
    }

    /// Packets that were not forwarded for this reason.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn reason(&self, reason: Reason) -> anyhow::Result<u64> {
        Ok(self.reasons.get(&(reason as u32), 0)?.iter().sum())
    }

    /// Records that could not be made.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn refusals(&self) -> anyhow::Result<u64> {
        Ok(self.reasons.get(&REFUSALS, 0)?.iter().sum())
    }

    /// Flows of stateful services that could not be recorded.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn unrecorded(&self) -> anyhow::Result<u64> {
        Ok(self.reasons.get(&UNRECORDED, 0)?.iter().sum())
    }

    /// The word of a slot.
    ///
    /// # Errors
    /// When there is no such slot.
    pub fn slot_word(&self, index: u32) -> anyhow::Result<u32> {
        let (element, offset) = slot_place(index);
        self.slots.load_u32(element, offset)
    }

    /// When a record for a flow of the slot's element could last not be made, in coarse monotonic nanoseconds; 0 = never.
    ///
    /// # Errors
    /// When there is no such element.
    pub fn refusal(&self, element: u32) -> anyhow::Result<u64> {
        self.refusals.load_u64(element as usize, 0)
    }

    /// Says which interface and tags a VLAN interface stands for.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn set_vlan(&mut self, interface: u32, below: u32, tags_wire: [u32; 2]) -> anyhow::Result<()> {
        self.vlans.insert(interface, [below, tags_wire[0], tags_wire[1]], 0).context("noting a VLAN interface")
    }

    fn change_access(&self, at: usize, access: &Access) -> anyhow::Result<()> {
        const LIMIT: usize = offset_of!(Access, limit);
        const CLIENT_LIMIT: usize = offset_of!(Access, client_limit);
        let Access { prefixes, limit, clients, client_limit, .. } = access;
        if self.access.read(at)?.limit != *limit {
            // Under another limit it says nothing.
            self.access.store_u64(at, offset_of!(Access, due), 0)?;
        }
        // The one's rate with the other's burst, for a moment, is a limit too.
        self.access.store_u64(at, LIMIT + offset_of!(Limit, tolerance), limit.tolerance)?;
        self.access.store_u64(at, LIMIT + offset_of!(Limit, interval), limit.interval)?;
        self.access.store_u64(at, offset_of!(Access, clients), *clients)?;
        self.access.store_u64(at, CLIENT_LIMIT + offset_of!(Limit, tolerance), client_limit.tolerance)?;
        self.access.store_u64(at, CLIENT_LIMIT + offset_of!(Limit, interval), client_limit.interval)?;
        self.access.store_u64(at, offset_of!(Access, prefixes), *prefixes)
    }

    /// When the bucket of a client is full again; `None` if nothing is known of it.
    pub fn client_bucket(&self, client: &BucketKey) -> Option<u64> {
        self.buckets.get(&zerocopy::transmute!(*client), 0).ok()
    }

    /// When the bucket of a service is full again, by its access rules, in coarse monotonic nanoseconds.
    ///
    /// # Errors
    /// When there are no such rules.
    pub fn service_bucket(&self, access: u32) -> anyhow::Result<u64> {
        self.access.load_u64(access as usize, offset_of!(Access, due))
    }

    fn slot(&self, index: u32, word: u32) -> anyhow::Result<()> {
        let (element, offset) = slot_place(index);
        self.slots.store_u32(element, offset, word)
    }

    fn half(&mut self, half: &Half) -> anyhow::Result<()> {
        let first = half.index as usize * HALF_ENTRIES;
        self.displacements.write(half.index as usize, half.displacements)?;
        self.sources.write(half.index as usize, half.sources)?;
        let first_list = half.index as usize * RANGE_LISTS;
        (first_list..).zip(&half.ranges).try_for_each(|(index, ranges)| self.ranges.write(index, *ranges))?;
        for index in first..first + HALF_ENTRIES {
            self.services.write(index, Service::default())?;
            self.reverse.write(index, Reverse::default())?;
        }
        for (index, service) in &half.services {
            self.services.write(first + *index as usize, *service)?;
        }
        half.reverse.iter().try_for_each(|(index, reverse)| self.reverse.write(first + *index as usize, *reverse))
    }

    /// The seeds of the half that is not live are written first; the word that makes it live last, by one store.
    fn flip(&mut self, root: &Root) -> anyhow::Result<()> {
        let half = (root.word & 1) as usize;
        self.root.store_u64(0, offset_of!(Root, service_seed) + half * 8, root.service_seed[half])?;
        self.root.store_u64(0, offset_of!(Root, reverse_seed) + half * 8, root.reverse_seed[half])?;
        self.root.store_u64(0, offset_of!(Root, own_client), root.own_client)?;
        self.root.store_u64(0, offset_of!(Root, word), root.word)
    }
}

fn slot_place(index: u32) -> (usize, usize) {
    let index = index as usize;
    (index / SLOTS_PER_ELEMENT, index % SLOTS_PER_ELEMENT * size_of::<u32>())
}

/// The key of a prefix: its number in front, so that prefixes of different services never meet.
fn prefix_key(number: u32, prefix: IpNet) -> Key<[u8; 20]> {
    let length = match prefix {
        IpNet::V4(v4) => 96 + u32::from(v4.prefix_len()),
        IpNet::V6(v6) => u32::from(v6.prefix_len()),
    };
    let key = PrefixKey { set: number.to_be_bytes(), address: Address::from(prefix.network()).octets() };
    Key::new(32 + length, zerocopy::transmute!(key))
}

fn destinations(ebpf: &mut Ebpf) -> anyhow::Result<HashMap<MapData, [u8; 24], [u8; 40]>> {
    take(ebpf, "DESTINATIONS")
}

fn mapped<T>(ebpf: &mut Ebpf, name: &str) -> anyhow::Result<MappedArray<T>>
where
    T: zerocopy::FromBytes + zerocopy::IntoBytes + zerocopy::Immutable + Copy,
{
    MappedArray::new(array(ebpf, name)?).with_context(|| format!("mapping `{name}`"))
}

fn array(ebpf: &mut Ebpf, name: &str) -> anyhow::Result<MapData> {
    let Some(Map::Array(data)) = ebpf.take_map(name) else { bail!("the eBPF object has no array `{name}`") };
    Ok(data)
}

/// Takes a map out of a loaded object.
pub(super) fn take<M: TryFrom<Map>>(ebpf: &mut Ebpf, name: &str) -> anyhow::Result<M>
where
    M::Error: std::error::Error + Send + Sync + 'static,
{
    M::try_from(raw(ebpf, name)?)
        .with_context(|| format!("the map `{name}` is of another shape: object and program differ in version"))
}

fn raw(ebpf: &mut Ebpf, name: &str) -> anyhow::Result<Map> {
    ebpf.take_map(name).with_context(|| format!("the eBPF object has no map `{name}`"))
}
