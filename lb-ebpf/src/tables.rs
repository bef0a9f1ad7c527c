//! The maps, behind the trait that the packet path asks.

use core::ffi::c_void;

use aya_ebpf::bindings::BPF_NOEXIST;
use aya_ebpf::helpers::generated::{bpf_get_prandom_u32, bpf_ktime_get_coarse_ns, bpf_loop, bpf_xdp_load_bytes};
use aya_ebpf::maps::lpm_trie::Key;
use aya_ebpf::programs::XdpContext;
use lb_common::abi::{
    Access, BucketKey, Chooser, ClientKey, Destination, Displacements, FlowKey4, FlowKey6, FragmentEntry, FragmentKey,
    Load, PrefixKey, ProbeTarget, Ranges, Record, Reverse, Root, Row, ServerKey, Service, Sources, Translation, Tunnel,
    UNRESOLVED_FRAME_MAX, UnresolvedFrame, root_flags,
};
use lb_common::access::Limit;
use lb_common::address::Address;
use lb_common::connection::Counted;
use lb_common::counters::{REFUSALS as REFUSALS_COUNTER, Reason, UNRECORDED};
use lb_common::flow::{Flow, SECOND};
use lb_common::limits::{ANSWERS_PER_SECOND, COUNTERS_PER_ELEMENT, SLOTS_PER_ELEMENT};
use lb_common::packet::transport::Flags;
use lb_common::packet::{Packet, protocol};
use lb_common::path::quic::{self as connection_ids, By};
use lb_common::path::signs::Sign;
use lb_common::path::translation::Work;
use lb_common::path::tunnel::Question;
use lb_common::path::{Inserted, Route, RouteQuery, Step, Tables};
use lb_common::scheduler::Go;
use lb_common::scheduler::locality::Servers;
use lb_common::slot::Slot;

use crate::access;
use crate::addressed;
use crate::atomic;
use crate::clock;
use crate::listeners;
use crate::maps::{
    ACCESS, ACCESS_PREFIXES, ANSWERS, BUCKETS, CHOOSERS, CLIENTS, CONNECTIONS_V4, CONNECTIONS_V6, COUNTERS,
    DESTINATIONS, FLOWS_V4, FLOWS_V6, FRAGMENTS, LIVE_WORDS, LOADS, NAT_EXCLUDE, PROBE_TARGETS, PROBES, QUIC_COUNTERS,
    RANGES, REASONS, REFUSALS, REVERSE, ROWS, SERVER_IDS, SIGNS, SLOTS, SOURCES, SYN_MARKS, TRANSLATIONS_V4,
    TRANSLATIONS_V6, TUNNELS, UDP_FLOWS_V4, UDP_FLOWS_V6, UNRESOLVED, VLANS,
};
use crate::quic;
use crate::route;
use crate::scratch;
use crate::stateful;
use crate::told::tell_recorded;
use crate::trace::Tracer;
use crate::{translation, tunnel};

/// Who is remembered at first.
static NOBODY: Servers = Servers::NOBODY;

/// The maps, as one packet sees them, and who is told what happens to it.
pub struct Maps<'a, T>(pub &'a XdpContext, pub T);

impl<T: Tracer> Tables for Maps<'_, T> {
    #[inline(always)]
    fn root(&self) -> Option<&Root> {
        Some(addressed::root())
    }

    #[inline(always)]
    fn displacements(&self, half: u32) -> Option<&Displacements> {
        Some(addressed::displacements(half))
    }

    #[inline(always)]
    fn service(&self, index: u32) -> Option<&Service> {
        addressed::service(index)
    }

    #[inline(always)]
    fn service_in(&self, half: u32, entry: u32) -> Option<&Service> {
        Some(addressed::service_in(half, entry))
    }

    #[inline(always)]
    fn reverse(&self, index: u32) -> Option<&Reverse> {
        REVERSE.get(index)
    }

    #[inline(always)]
    fn ranges(&self, index: u32) -> Option<&Ranges> {
        RANGES.get(index)
    }

    #[inline(always)]
    fn listener(&self, word: u64, address: Address, port_wire: u16, protocol: u8) -> u32 {
        listeners::listener(word, address, port_wire, protocol)
    }

    #[inline(always)]
    fn of_several(&self, word: u64, backend: Address, port_wire: u16, protocol: u8) -> u32 {
        listeners::of_several(word, backend, port_wire, protocol)
    }

    #[inline(always)]
    fn is_live(&self, index: u32) -> bool {
        // SAFETY: a reference is valid for reads. Volatile because user space stores the word while packets flow.
        LIVE_WORDS.get(index).is_some_and(|word| unsafe { core::ptr::read_volatile(&word.live) } != 0)
    }

    #[inline(always)]
    fn awaits_records(&self, index: u32) -> bool {
        // SAFETY: a reference is valid for reads. Volatile because user space stores the word while packets flow.
        LIVE_WORDS.get(index).is_some_and(|word| unsafe { core::ptr::read_volatile(&word.awaits_records) } != 0)
    }

    #[inline(always)]
    fn slot(&self, index: u32) -> Option<Slot> {
        let element = SLOTS.get(index / SLOTS_PER_ELEMENT as u32)?;
        let word = &element.0[index as usize % SLOTS_PER_ELEMENT];
        // SAFETY: a reference is valid for reads. Volatile because user space stores the word while packets flow.
        Some(Slot(unsafe { core::ptr::read_volatile(word) }))
    }

    #[inline(always)]
    fn takes_ah(&self, address: Address) -> bool {
        listeners::takes_ah(address)
    }

    #[inline(always)]
    fn row(&self, index: u32) -> Option<&Row> {
        ROWS.get(index)
    }

    #[inline(always)]
    fn tunnel(&self, row: u32) -> Option<&Tunnel> {
        TUNNELS.get(row)
    }

    #[inline(always)]
    fn wrap<P: Packet>(&self, packet: &mut P, question: Question) -> Result<u32, Reason> {
        let _ = packet;
        tunnel::ask(self.0.ctx, question)
    }

    #[inline(always)]
    fn may_answer(&self) -> bool {
        let Some(answers) = ANSWERS.get_ptr_mut(0) else { return false };
        let now = self.now() / SECOND;
        // SAFETY: the element is this CPU's own, and XDP programs of one CPU do not interrupt each other.
        let [second, count] = unsafe { &mut *answers };
        if *second != now {
            (*second, *count) = (now, 0);
        }
        *count += 1;
        *count <= u64::from(ANSWERS_PER_SECOND)
    }

    #[inline(always)]
    fn count(&self, row: u32, bytes: u32, opens: bool) {
        if let Some(element) = COUNTERS.get_ptr_mut(row / COUNTERS_PER_ELEMENT as u32) {
            // SAFETY: the element is this CPU's own, and XDP programs of one CPU do not interrupt each other.
            let counters = unsafe { &mut (*element).0[row as usize % COUNTERS_PER_ELEMENT] };
            counters.packets += 1;
            counters.bytes += u64::from(bytes);
            if opens {
                counters.connections += 1;
            }
        }
    }

    #[inline(always)]
    fn note_sign(&self, row: u32, sign: Sign) {
        if let Some(signs) = SIGNS.get_ptr_mut(row) {
            // SAFETY: the element is three aligned words. CPUs that race count one sign for two: of signs it is the many that
            // say something, and there is no atomic addition for this target.
            unsafe {
                *match sign {
                    Sign::SynRetransmission => &raw mut (*signs).syn_retransmissions,
                    Sign::Reset => &raw mut (*signs).resets,
                    Sign::Unreachable => &raw mut (*signs).unreachables,
                } += 1;
            }
        }
    }

    #[inline(always)]
    fn mark_syn(&self, place: u32, mark: u64) -> u64 {
        let Some(word) = SYN_MARKS.get_ptr_mut(place) else { return 0 };
        // SAFETY: the element is an aligned word. CPUs that race leave the mark of one of them: the other's is displaced.
        unsafe { word.replace(mark) }
    }

    #[inline(always)]
    fn count_reason(&self, reason: Reason) {
        add_one(reason as u32);
    }

    #[inline(always)]
    fn now(&self) -> u64 {
        // SAFETY: a helper without arguments.
        unsafe { bpf_ktime_get_coarse_ns() }
    }

    #[inline(always)]
    fn ticked(&self) -> u64 {
        clock::ticked()
    }

    #[inline(always)]
    fn with_record<R>(&self, flow: &Flow, act: impl FnOnce(&mut Record) -> R) -> Option<R> {
        let scratch = scratch::get()?;
        let record = if flow.source.is_v4() {
            scratch.key4 = flow.key4();
            let table = if flow.protocol == protocol::UDP { &UDP_FLOWS_V4 } else { &FLOWS_V4 };
            table.get_ptr_mut(&scratch.key4)
        } else {
            scratch.key6 = flow.key6();
            let table = if flow.protocol == protocol::UDP { &UDP_FLOWS_V6 } else { &FLOWS_V6 };
            table.get_ptr_mut(&scratch.key6)
        };
        // SAFETY: the element stays valid while the program runs (RCU). Another CPU may write it at the same moment; each
        // field is a word of its own and either value of it is right.
        record.map(|record| act(unsafe { &mut *record }))
    }

    #[inline(always)]
    fn insert_record(&self, flow: &Flow, record: Record) -> Inserted {
        let Some(scratch) = scratch::get() else { return Inserted::Full };
        scratch.record = record;
        let flags = u64::from(BPF_NOEXIST);
        let result = if flow.source.is_v4() {
            scratch.key4 = flow.key4();
            let table = if flow.protocol == protocol::UDP { &UDP_FLOWS_V4 } else { &FLOWS_V4 };
            table.insert(&scratch.key4, &scratch.record, flags)
        } else {
            scratch.key6 = flow.key6();
            let table = if flow.protocol == protocol::UDP { &UDP_FLOWS_V6 } else { &FLOWS_V6 };
            table.insert(&scratch.key6, &scratch.record, flags)
        };
        if result.is_ok() {
            tell_recorded(flow, false);
        }
        inserted(result)
    }

    #[inline(always)]
    fn owner(&self, service: &Service, flow: &Flow, flags: Option<Flags>) -> u32 {
        stateful::ask(service, flow, flags)
    }

    #[inline(always)]
    fn admission(&self, service: &Service, flow: &Flow, flags: Option<Flags>) -> u32 {
        access::ask(service, flow, flags)
    }

    #[inline(always)]
    fn by_connection_id<P: Packet>(&self, packet: &P, question: connection_ids::Question) -> u32 {
        let _ = packet;
        quic::ask(self.0.ctx, question)
    }

    #[inline(always)]
    fn server(&self, key: &ServerKey) -> Option<u32> {
        let scratch = scratch::get()?;
        scratch.server = *key;
        // SAFETY: the element stays valid while the program runs (RCU), and is replaced as a whole.
        unsafe { SERVER_IDS.get(&scratch.server) }.copied()
    }

    #[inline(always)]
    fn count_quic(&self, place: u32, by: By) {
        let Some(counters) = QUIC_COUNTERS.get_ptr_mut(place) else { return };
        // SAFETY: the element is this CPU's own, and XDP programs of one CPU do not interrupt each other.
        unsafe {
            *match by {
                By::ConnectionId => &raw mut (*counters).routed,
                By::TableAtBeginning => &raw mut (*counters).beginning,
                By::Table => &raw mut (*counters).unknown,
            } += 1;
        }
    }

    #[inline(always)]
    fn access(&self, index: u32) -> Option<Access> {
        let access = ACCESS.get(index)?;
        // SAFETY: a reference is valid for reads. Volatile because user space stores these words while packets flow, and a
        // decision must see each of them once.
        unsafe {
            Some(Access {
                prefixes: core::ptr::read_volatile(&access.prefixes),
                limit: limit(&access.limit),
                clients: core::ptr::read_volatile(&access.clients),
                client_limit: limit(&access.client_limit),
                ..Access::default()
            })
        }
    }

    #[inline(always)]
    fn prefix_admission(&self, set: u32, client: Address) -> Option<u32> {
        ACCESS_PREFIXES.get(prefix_key(set, client)).copied()
    }

    #[inline(always)]
    fn take_of_service(&self, access: u32, limit: Limit, now: u64) -> bool {
        let Some(access) = ACCESS.get_ptr_mut(access) else { return true };
        // SAFETY: the element is valid while the program runs, and the word is aligned.
        unsafe { take(&raw mut (*access).due, limit, now) }
    }

    #[inline(always)]
    fn take_of_client(&self, client: &BucketKey, limit: Limit, now: u64) -> bool {
        let Some(word) = BUCKETS.get_ptr_mut(client) else {
            // One that comes for the first time finds a full bucket. If two CPUs make it at once, one of its tokens is free.
            let _ = BUCKETS.insert(client, now + limit.interval, 0);
            return true;
        };
        // SAFETY: the element is aligned, and stays memory of this table while the program runs (RCU). If it becomes another
        // client's at this moment, that one pays.
        unsafe { take(word, limit, now) }
    }

    #[inline(always)]
    fn chooser(&self, index: u32) -> Option<Chooser> {
        let chooser = CHOOSERS.get(index)?;
        // SAFETY: a reference is valid for reads. Volatile because user space stores these words while packets flow, and a
        // decision must see each of them once.
        unsafe {
            Some(Chooser {
                places: core::ptr::read_volatile(&chooser.places),
                passes: core::ptr::read_volatile(&chooser.passes),
                rule: core::ptr::read_volatile(&chooser.rule),
                fin_timeout: core::ptr::read_volatile(&chooser.fin_timeout),
                syn_timeout: core::ptr::read_volatile(&chooser.syn_timeout),
                closed_timeout: core::ptr::read_volatile(&chooser.closed_timeout),
                persistence: core::ptr::read_volatile(&chooser.persistence),
                ..Chooser::default()
            })
        }
    }

    #[inline(always)]
    fn turn(&self, chooser: u32) -> u64 {
        // SAFETY: a reference is valid for reads. Volatile because other CPUs replace the word.
        CHOOSERS.get(chooser).map_or(0, |chooser| unsafe { core::ptr::read_volatile(&chooser.turn) })
    }

    #[inline(always)]
    fn take_turn(&self, chooser: u32, before: u64, after: u64) -> bool {
        let Some(chooser) = CHOOSERS.get_ptr_mut(chooser) else { return false };
        // SAFETY: the element is valid while the program runs, and the word is aligned.
        unsafe { atomic::replace(&raw mut (*chooser).turn, before, after) }
    }

    #[inline(always)]
    fn random(&self) -> u32 {
        // SAFETY: a helper without arguments.
        unsafe { bpf_get_prandom_u32() }
    }

    #[inline(always)]
    fn load(&self, index: u32) -> Option<Load> {
        let load = LOADS.get(index)?;
        // SAFETY: a reference is valid for reads. Volatile because user space and other CPUs change these words while packets
        // flow.
        unsafe {
            Some(Load {
                weight: core::ptr::read_volatile(&load.weight),
                full: core::ptr::read_volatile(&load.full),
                upper: core::ptr::read_volatile(&load.upper),
                active_count: core::ptr::read_volatile(&load.active_count),
                inactive_count: core::ptr::read_volatile(&load.inactive_count),
                ..Load::default()
            })
        }
    }

    #[inline(always)]
    fn count_connections(&self, load: u32, change: Counted) {
        let Some(load) = LOADS.get_ptr_mut(load) else { return };
        // SAFETY: the element is valid while the program runs, and its words are aligned.
        unsafe {
            atomic::add(&raw mut (*load).active_count, change.active);
            atomic::add(&raw mut (*load).inactive_count, change.inactive);
        }
    }

    #[inline(always)]
    fn close(&self, load: u32) {
        if let Some(load) = LOADS.get_ptr_mut(load) {
            // SAFETY: the element is valid while the program runs, and the word is aligned. All CPUs store the same.
            unsafe { core::ptr::write_volatile(&raw mut (*load).full, 1) };
        }
    }

    #[inline(always)]
    fn with_connection<R>(&self, flow: &Flow, act: impl FnOnce(&mut Record) -> R) -> Option<R> {
        let scratch = scratch::get()?;
        let record = if flow.source.is_v4() {
            scratch.key4 = flow.key4();
            CONNECTIONS_V4.get_ptr_mut(&scratch.key4)
        } else {
            scratch.key6 = flow.key6();
            CONNECTIONS_V6.get_ptr_mut(&scratch.key6)
        };
        // SAFETY: as for the records of other flows.
        record.map(|record| act(unsafe { &mut *record }))
    }

    #[inline(always)]
    fn insert_connection(&self, flow: &Flow, record: Record) -> Inserted {
        let Some(scratch) = scratch::get() else { return Inserted::Full };
        scratch.record = record;
        let flags = u64::from(BPF_NOEXIST);
        let result = if flow.source.is_v4() {
            scratch.key4 = flow.key4();
            CONNECTIONS_V4.insert(&scratch.key4, &scratch.record, flags)
        } else {
            scratch.key6 = flow.key6();
            CONNECTIONS_V6.insert(&scratch.key6, &scratch.record, flags)
        };
        if result.is_ok() {
            tell_recorded(flow, true);
        }
        inserted(result)
    }

    #[inline(always)]
    fn tell_record(&self, flow: &Flow, record: Record, stateful: bool) {
        let Some(scratch) = scratch::get() else { return };
        scratch.record = record;
        tell_recorded(flow, stateful);
    }

    #[inline(always)]
    fn note_unrecorded(&self) {
        add_one(UNRECORDED);
    }

    #[inline(always)]
    fn with_client<R>(&self, client: &ClientKey, act: impl FnOnce(&mut Record) -> R) -> Option<R> {
        let scratch = scratch::get()?;
        scratch.client = *client;
        let record = CLIENTS.get_ptr_mut(&scratch.client);
        // SAFETY: as for the records of flows.
        record.map(|record| act(unsafe { &mut *record }))
    }

    #[inline(always)]
    fn insert_client(&self, client: &ClientKey, record: Record) -> Inserted {
        let Some(scratch) = scratch::get() else { return Inserted::Full };
        (scratch.client, scratch.record) = (*client, record);
        inserted(CLIENTS.insert(&scratch.client, &scratch.record, u64::from(BPF_NOEXIST)))
    }

    #[inline(always)]
    fn with_servers<R>(&self, destination: &Destination, act: impl FnOnce(&mut Servers) -> R) -> Option<R> {
        let scratch = scratch::get()?;
        scratch.destination = *destination;
        if DESTINATIONS.get_ptr(&scratch.destination).is_none() {
            // Another CPU may be first.
            let _ = DESTINATIONS.insert(&scratch.destination, &NOBODY, u64::from(BPF_NOEXIST));
        }
        let servers = DESTINATIONS.get_ptr_mut(&scratch.destination)?;
        // SAFETY: the element stays valid while the program runs (RCU). CPUs that race remember one of two backends, or one twice;
        // an element that is given to another destination meanwhile has a backend of this one, until that is crowded.
        Some(act(unsafe { &mut *servers }))
    }

    #[inline(always)]
    fn repeat<F: FnMut(u32) -> Go>(&self, times: u32, mut step: F) {
        // SAFETY: the helper calls `stepped` with the address of `step`, which outlives the call.
        unsafe { bpf_loop(times, stepped::<F> as *mut c_void, (&raw mut step).cast(), 0) };
    }

    #[inline(always)]
    fn note_refusal(&self, slot: u32, now: u64) {
        add_one(REFUSALS_COUNTER);
        if let Some(time) = REFUSALS.get_ptr_mut(slot / SLOTS_PER_ELEMENT as u32) {
            // SAFETY: the element is an aligned word; CPUs that race write times a moment apart, either of which is right.
            unsafe { core::ptr::write_volatile(time, now) };
        }
    }

    #[inline(always)]
    fn sources(&self) -> Option<&Sources> {
        // SAFETY: a reference is valid for reads. Volatile because user space flips the word while packets flow.
        let word = unsafe { core::ptr::read_volatile(&addressed::root().word) };
        SOURCES.get((word & root_flags::HALF) as u32)
    }

    #[inline(always)]
    fn with_translation<R>(&self, key: &FlowKey6, act: impl FnOnce(&mut Translation) -> R) -> Option<R> {
        let translation = if key.source.is_v4() {
            let scratch = scratch::get()?;
            scratch.key4 = narrow(key);
            TRANSLATIONS_V4.get_ptr_mut(&scratch.key4)
        } else {
            TRANSLATIONS_V6.get_ptr_mut(key)
        };
        // SAFETY: as for the records of other flows. Its addresses and ports are never changed.
        translation.map(|translation| act(unsafe { &mut *translation }))
    }

    #[inline(always)]
    fn insert_translation(&self, key: &FlowKey6, translation: &Translation) -> Inserted {
        let Some(scratch) = scratch::get() else { return Inserted::Full };
        let flags = u64::from(BPF_NOEXIST);
        inserted(if key.source.is_v4() {
            scratch.key4 = narrow(key);
            TRANSLATIONS_V4.insert(&scratch.key4, translation, flags)
        } else {
            TRANSLATIONS_V6.insert(key, translation, flags)
        })
    }

    #[inline(always)]
    fn remove_translation(&self, key: &FlowKey6) {
        let Some(scratch) = scratch::get() else { return };
        // It may have been removed by another CPU, or by user space, a moment ago.
        let _ = if key.source.is_v4() {
            scratch.key4 = narrow(key);
            TRANSLATIONS_V4.remove(&scratch.key4)
        } else {
            TRANSLATIONS_V6.remove(key)
        };
    }

    #[inline(always)]
    fn prepare(&self, note: impl FnOnce(&mut Work)) -> Option<()> {
        translation::prepare(note)
    }

    #[inline(always)]
    fn carry_out<P: Packet>(&self, _packet: &mut P) -> Result<u32, Reason> {
        translation::carry_out(self.0, &self.1)
    }

    #[inline(always)]
    fn take_up<P: Packet>(&self, _packet: &P) -> bool {
        translation::take_up(self.0.ctx)
    }

    #[inline(always)]
    fn fragment(&self, key: &FragmentKey) -> Option<FragmentEntry> {
        let scratch = scratch::get()?;
        scratch.fragment_key = *key;
        // SAFETY: the element is written once, before it can be found, and may be reused for another key while it is
        // copied: then the datagram's fate is as if its entry had been displaced a moment earlier.
        unsafe { FRAGMENTS.get(&scratch.fragment_key) }.copied()
    }

    #[inline(always)]
    fn remember_fragment(&self, key: &FragmentKey, entry: FragmentEntry) {
        let Some(scratch) = scratch::get() else { return };
        scratch.fragment_key = *key;
        scratch.fragment = entry;
        // An LRU table makes room; it refuses only under races, and then the later fragments are dropped, counted.
        let _ = FRAGMENTS.insert(&scratch.fragment_key, &scratch.fragment, 0);
    }

    #[inline(always)]
    fn is_excluded(&self, exclude: u32, destination: Address) -> bool {
        NAT_EXCLUDE.get(prefix_key(exclude, destination)).is_some()
    }

    #[inline(always)]
    fn probed(&self, place: u32) -> Option<u32> {
        let element = PROBES.get(place / SLOTS_PER_ELEMENT as u32)?;
        let word = &element.0[place as usize % SLOTS_PER_ELEMENT];
        // SAFETY: a reference is valid for reads. Volatile because user space stores the word while packets flow.
        unsafe { core::ptr::read_volatile(word) }.checked_sub(1)
    }

    #[inline(always)]
    fn probe_target(&self, index: u32) -> Option<&ProbeTarget> {
        probe_target(index)
    }

    #[inline(always)]
    fn route(&self, query: &RouteQuery) -> Route {
        route::lookup(self.0, query)
    }

    #[inline(always)]
    fn vlan(&self, interface: u32) -> Option<(u32, [u32; 2])> {
        // SAFETY: the element is replaced, never changed in place.
        let &[below, outer, inner] = unsafe { VLANS.get(interface) }?;
        Some((below, [outer, inner]))
    }

    #[inline(always)]
    fn hand_over(&self, network: usize) -> bool {
        let length = self.0.data_end() - self.0.data();
        if length > UNRESOLVED_FRAME_MAX {
            return false;
        }
        // The frame holds an IP header at least; the mask is what convinces the verifier.
        let length = ((length - 1) & (UNRESOLVED_FRAME_MAX - 1)) + 1;
        let Some(mut entry) = UNRESOLVED.reserve::<UnresolvedFrame>(0) else { return false };
        let frame = entry.as_mut_ptr();
        // SAFETY: the reservation is as large as the structure, and `length` fits its `frame`. What is not written of
        // `frame` is never read, since `length` says how much is.
        let copied = unsafe {
            (*frame).length = length as u32;
            (*frame).network = network as u32;
            let buffer = (&raw mut (*frame).frame).cast();
            bpf_xdp_load_bytes(self.0.ctx, 0, buffer, length as u32)
        };
        if copied != 0 {
            entry.discard(0);
            return false;
        }
        entry.submit(0);
        true
    }

    #[inline(always)]
    fn trace(&self, step: Step) {
        self.1.note(step);
    }
}

/// Whom a probe asks, and how that is reached.
#[inline(always)]
pub fn probe_target(index: u32) -> Option<&'static ProbeTarget> {
    PROBE_TARGETS.get(index)
}

/// How to reach a backend, for who words its row.
#[inline(always)]
pub fn row(index: u32) -> Option<&'static Row> {
    ROWS.get(index)
}

/// The body of the helper's loop.
///
/// # Safety
/// `step` is the address of an `F`.
unsafe extern "C" fn stepped<F: FnMut(u32) -> Go>(index: u32, step: *mut F) -> i64 {
    // SAFETY: by this function's contract.
    match unsafe { (*step)(index) } {
        Go::On => 0,
        Go::Stop => 1,
    }
}

/// The key of an IPv4 flow.
#[inline(always)]
pub fn narrow(key: &FlowKey6) -> FlowKey4 {
    FlowKey4 {
        source_wire: key.source.v4_wire(),
        destination_wire: key.destination.v4_wire(),
        ports_wire: key.ports_wire,
        protocol: key.protocol,
    }
}

#[inline(always)]
fn prefix_key(set: u32, address: Address) -> Key<[u8; 20]> {
    let key = PrefixKey { set: set.to_be_bytes(), address: address.octets() };
    Key::new(160, zerocopy::transmute!(key))
}

/// Reads a limit that user space may be replacing: each word once.
#[inline(always)]
fn limit(limit: &Limit) -> Limit {
    // SAFETY: references are valid for reads. Volatile because user space stores these words while packets flow.
    unsafe {
        let interval = core::ptr::read_volatile(&limit.interval);
        Limit { interval, tolerance: core::ptr::read_volatile(&limit.tolerance) }
    }
}

/// Attempts to take a token before it is free: CPUs that were faster each took one, so there are plenty.
const ATTEMPTS: u32 = 4;

/// Takes a token out of the bucket that a word is; whether there was one.
///
/// # Safety
/// `word` is aligned, and valid for reads and writes by all CPUs.
#[inline(always)]
unsafe fn take(word: *mut u64, limit: Limit, now: u64) -> bool {
    for _ in 0..ATTEMPTS {
        // SAFETY: by this function's contract. Volatile because other CPUs replace the word.
        let due = unsafe { core::ptr::read_volatile(word) };
        let Some(after) = limit.take(due, now) else { return false };
        // SAFETY: by this function's contract.
        if unsafe { atomic::replace(word, due, after) } {
            return true;
        }
    }
    true
}

#[inline(always)]
fn inserted(result: Result<(), i32>) -> Inserted {
    const EXISTS: i32 = -17;
    match result {
        Ok(()) => Inserted::Done,
        Err(EXISTS) => Inserted::Exists,
        Err(_) => Inserted::Full,
    }
}

#[inline(always)]
fn add_one(counter: u32) {
    if let Some(counter) = REASONS.get_ptr_mut(counter) {
        // SAFETY: the element is this CPU's own, and XDP programs of one CPU do not interrupt each other.
        unsafe { *counter += 1 };
    }
}
