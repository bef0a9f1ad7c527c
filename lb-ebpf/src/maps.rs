//! The maps. Sizes given here are the smallest; user space sets the real ones when it loads the object.

use aya_ebpf::bindings::{BPF_F_MMAPABLE, BPF_F_NO_PREALLOC};
use aya_ebpf::macros::map;
use aya_ebpf::maps::{Array, HashMap, LpmTrie, LruHashMap, PerCpuArray, RingBuf};
use lb_common::abi::{
    Access, BucketKey, Chooser, ClientKey, Counters, Destination, FlowKey4, FlowKey6, FragmentEntry, FragmentKey,
    HALF_ENTRIES, LiveWord, Load, ProbeTarget, QuicCounters, Ranges, Record, Reverse, Row, ServerKey, Signs, Sources,
    Translation, Tunnel,
};
use lb_common::limits::{
    ACCESS_RULES as ACCESS_COUNT, CHOOSERS as CHOOSER_COUNT, CLIENT_BUCKETS as BUCKET_COUNT, COUNTERS_PER_ELEMENT,
    DESTINATIONS as DESTINATION_COUNT, FRAGMENT_ENTRIES, LIVE_WORDS as LIVE_WORD_COUNT, MAX_ACCESS_PREFIXES,
    MAX_SERVER_IDS, PROBE_TARGETS as PROBE_TARGET_COUNT, QUIC_SERVICES, RANGE_LISTS, SLOTS_PER_ELEMENT,
    SYN_MARKS as SYN_MARK_COUNT,
};
use lb_common::probe::PLACES;
use lb_common::scheduler::locality::Servers;

/// Sixteen slots: BPF arrays round each value up to 8 octets, so a bare `u32` would waste half the cache.
#[repr(C)]
pub struct SlotElement(pub [u32; SLOTS_PER_ELEMENT]);

/// The counters of neighbouring rows.
#[repr(C)]
pub struct CountersElement(pub [Counters; COUNTERS_PER_ELEMENT]);

#[map]
pub static REVERSE: Array<Reverse> = Array::with_max_entries(2 * HALF_ENTRIES as u32, BPF_F_MMAPABLE);
#[map]
pub static RANGES: Array<Ranges> = Array::with_max_entries(2 * RANGE_LISTS as u32, BPF_F_MMAPABLE);
#[map]
pub static LIVE_WORDS: Array<LiveWord> = Array::with_max_entries(LIVE_WORD_COUNT, BPF_F_MMAPABLE);
#[map]
pub static SLOTS: Array<SlotElement> = Array::with_max_entries(64, BPF_F_MMAPABLE);
#[map]
pub static REFUSALS: Array<u64> = Array::with_max_entries(64, BPF_F_MMAPABLE);
#[map]
pub static ROWS: Array<Row> = Array::with_max_entries(64, BPF_F_MMAPABLE);
#[map]
pub static TUNNELS: Array<Tunnel> = Array::with_max_entries(64, BPF_F_MMAPABLE);
/// The second that answers are counted in, and how many there were.
#[map]
pub static ANSWERS: PerCpuArray<[u64; 2]> = PerCpuArray::with_max_entries(1, 0);
#[map]
pub static COUNTERS: PerCpuArray<CountersElement> = PerCpuArray::with_max_entries(64, 0);
#[map]
pub static SIGNS: Array<Signs> = Array::with_max_entries(64, BPF_F_MMAPABLE);
#[map]
pub static SYN_MARKS: Array<u64> = Array::with_max_entries(SYN_MARK_COUNT, 0);
#[map]
pub static REASONS: PerCpuArray<u64> = PerCpuArray::with_max_entries(64, 0);
#[map]
pub static FLOWS_V4: HashMap<FlowKey4, Record> = HashMap::with_max_entries(1024, BPF_F_NO_PREALLOC);
#[map]
pub static FLOWS_V6: HashMap<FlowKey6, Record> = HashMap::with_max_entries(1024, BPF_F_NO_PREALLOC);
#[map]
pub static UDP_FLOWS_V4: HashMap<FlowKey4, Record> = HashMap::with_max_entries(1024, BPF_F_NO_PREALLOC);
#[map]
pub static UDP_FLOWS_V6: HashMap<FlowKey6, Record> = HashMap::with_max_entries(1024, BPF_F_NO_PREALLOC);
#[map]
pub static CHOOSERS: Array<Chooser> = Array::with_max_entries(CHOOSER_COUNT as u32, BPF_F_MMAPABLE);
#[map]
pub static LOADS: Array<Load> = Array::with_max_entries(64, BPF_F_MMAPABLE);
#[map]
pub static CONNECTIONS_V4: HashMap<FlowKey4, Record> = HashMap::with_max_entries(1024, BPF_F_NO_PREALLOC);
#[map]
pub static CONNECTIONS_V6: HashMap<FlowKey6, Record> = HashMap::with_max_entries(1024, BPF_F_NO_PREALLOC);
#[map]
pub static CLIENTS: HashMap<ClientKey, Record> = HashMap::with_max_entries(1024, BPF_F_NO_PREALLOC);
#[map]
pub static DESTINATIONS: LruHashMap<Destination, Servers> = LruHashMap::with_max_entries(DESTINATION_COUNT as u32, 0);
#[map]
pub static SERVER_IDS: HashMap<ServerKey, u32> =
    HashMap::with_max_entries(2 * MAX_SERVER_IDS as u32, BPF_F_NO_PREALLOC);
#[map]
pub static QUIC_COUNTERS: PerCpuArray<QuicCounters> = PerCpuArray::with_max_entries(QUIC_SERVICES as u32, 0);
#[map]
pub static SOURCES: Array<Sources> = Array::with_max_entries(2, BPF_F_MMAPABLE);
#[map]
pub static TRANSLATIONS_V4: HashMap<FlowKey4, Translation> = HashMap::with_max_entries(1024, BPF_F_NO_PREALLOC);
#[map]
pub static TRANSLATIONS_V6: HashMap<FlowKey6, Translation> = HashMap::with_max_entries(1024, BPF_F_NO_PREALLOC);
#[map]
pub static FRAGMENTS: LruHashMap<FragmentKey, FragmentEntry> = LruHashMap::with_max_entries(FRAGMENT_ENTRIES as u32, 0);
#[map]
pub static NAT_EXCLUDE: LpmTrie<[u8; 20], u32> = LpmTrie::with_max_entries(4096, BPF_F_NO_PREALLOC);
#[map]
pub static ACCESS: Array<Access> = Array::with_max_entries(ACCESS_COUNT as u32, BPF_F_MMAPABLE);
#[map]
pub static ACCESS_PREFIXES: LpmTrie<[u8; 20], u32> =
    LpmTrie::with_max_entries(2 * MAX_ACCESS_PREFIXES as u32, BPF_F_NO_PREALLOC);
/// When a client's bucket is full again.
#[map]
pub static BUCKETS: LruHashMap<BucketKey, u64> = LruHashMap::with_max_entries(BUCKET_COUNT as u32, 0);
#[map]
pub static VLANS: HashMap<u32, [u32; 3]> = HashMap::with_max_entries(4096, BPF_F_NO_PREALLOC);
#[map]
pub static PROBE_TARGETS: Array<ProbeTarget> = Array::with_max_entries(PROBE_TARGET_COUNT as u32, BPF_F_MMAPABLE);
/// By place: the target that is asked from there, plus one. Sixteen to an element, as slots are.
#[map]
pub static PROBES: Array<SlotElement> = Array::with_max_entries((PLACES / SLOTS_PER_ELEMENT) as u32, BPF_F_MMAPABLE);
#[map]
pub static UNRESOLVED: RingBuf = RingBuf::with_byte_size(1 << 18, 0);
/// Flows that were recorded, while another node is to know of them. When it is full they are found otherwise, a little later.
#[map]
pub static RECORDED: RingBuf = RingBuf::with_byte_size(1 << 20, 0);
