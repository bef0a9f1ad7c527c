//! Stores records that another node tells of, many in one call of user space's: a call for each, which `bpf(2)` would want, costs more
//! than all the rest. What is there is changed in its place, and connections are counted by what it was in that moment, as the
//! packet path does it.
//!
//! Nothing but the tables of flows is touched, and no packet is: the frame is a row of [`Transfer`]s. While this node forwards for the
//! services concerned, nothing is told of them; see `lb-userspace/src/effects/exchange`.

use aya_ebpf::bindings::BPF_NOEXIST;
use aya_ebpf::helpers::generated::bpf_xdp_load_bytes;
use aya_ebpf::macros::map;
use aya_ebpf::maps::{HashMap, PerCpuArray};
use aya_ebpf::programs::XdpContext;
use lb_common::abi::{NO_LOADS, Record, Transfer, transfer};
use lb_common::connection::Counted;
use lb_common::limits::TRANSFERS;
use lb_common::packet::protocol;
use lb_common::scheduler::thresholds::Thresholds;

use crate::atomic;
use crate::maps::{CONNECTIONS_V4, CONNECTIONS_V6, FLOWS_V4, FLOWS_V6, LOADS, UDP_FLOWS_V4, UDP_FLOWS_V6};
use crate::tables::narrow;

/// The one that is stored now.
#[map]
static TRANSFER: PerCpuArray<Transfer> = PerCpuArray::with_max_entries(1, 0);

/// Stores all that a frame holds; how many could not be.
#[inline(always)]
pub fn all(context: &XdpContext) -> u32 {
    const SIZE: usize = size_of::<Transfer>();
    let Some(transfer) = TRANSFER.get_ptr_mut(0) else { return TRANSFERS as u32 };
    let mut failed = 0;
    for number in 0..TRANSFERS {
        // SAFETY: the element is this CPU's own and as large as said.
        let end = unsafe { bpf_xdp_load_bytes(context.ctx, (number * SIZE) as u32, transfer.cast(), SIZE as u32) };
        if end != 0 {
            break;
        }
        failed = fairway_transfer(failed);
    }
    failed
}

/// Stores the one; one more than `failed` if it could not be. Global, so that the verifier walks it once.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn fairway_transfer(failed: u32) -> u32 {
    let Some(it) = TRANSFER.get_ptr_mut(0) else { return failed + 1 };
    // SAFETY: the element is this CPU's own, and nothing writes it before the next is loaded.
    let it = unsafe { &*it };
    let is_udp = it.key.protocol == protocol::UDP as u32;
    let is_done = if it.key.source.is_v4() {
        let key = narrow(&it.key);
        match (it.first_load != NO_LOADS, is_udp) {
            (true, _) => store(&CONNECTIONS_V4, &key, it),
            (false, true) => store(&UDP_FLOWS_V4, &key, it),
            (false, false) => store(&FLOWS_V4, &key, it),
        }
    } else {
        match (it.first_load != NO_LOADS, is_udp) {
            (true, _) => store(&CONNECTIONS_V6, &it.key, it),
            (false, true) => store(&UDP_FLOWS_V6, &it.key, it),
            (false, false) => store(&FLOWS_V6, &it.key, it),
        }
    };
    failed + u32::from(!is_done)
}

/// Whether it could be stored in this table.
#[inline(always)]
fn store<K>(table: &HashMap<K, Record>, key: &K, it: &Transfer) -> bool {
    match (table.get_ptr_mut(key), it.action) {
        (None, transfer::REMOVE) => true,
        (Some(there), transfer::ADD) => {
            // SAFETY: the element is valid while the program runs; of who else writes this word, one is the last.
            unsafe {
                if it.is_later_than(&*there) {
                    (*there).last_seen = it.record.last_seen;
                }
            }
            true
        }
        (None, _) => {
            let is_made = table.insert(key, &it.record, u64::from(BPF_NOEXIST)).is_ok();
            if is_made {
                count(it, &it.record, Counted::one(it.record.state));
            }
            is_made
        }
        (Some(there), transfer::REMOVE) => {
            // SAFETY: the element is valid while the program runs.
            let before = unsafe { *there };
            if table.remove(key).is_ok() {
                count(it, &before, Counted::one(before.state).ended());
            }
            true
        }
        (Some(there), _) => {
            // SAFETY: as above; who reads it meanwhile reads two words, each of which is as it was or as it will be.
            let before = unsafe { there.replace(it.record) };
            if before.backend == it.record.backend && before.pool == it.record.pool {
                count(it, &it.record, Counted::change(before.state, it.record.state));
            } else {
                count(it, &before, Counted::one(before.state).ended());
                count(it, &it.record, Counted::one(it.record.state));
            }
            true
        }
    }
}

/// Counts with the backend that a record names, if it is of this service and that keeps counts.
#[inline(always)]
fn count(it: &Transfer, record: &Record, change: Counted) {
    if it.first_load == NO_LOADS || record.pool != it.record.pool || change == Counted::default() {
        return;
    }
    let Some(load) = LOADS.get_ptr_mut(it.first_load.wrapping_add(record.backend as u32)) else { return };
    // SAFETY: the element is valid while the program runs, and its words are aligned. Volatile because others change them.
    unsafe {
        atomic::add(&raw mut (*load).active_count, change.active);
        atomic::add(&raw mut (*load).inactive_count, change.inactive);
        let upper = core::ptr::read_volatile(&raw const (*load).upper);
        if upper != 0 {
            let thresholds = Thresholds { upper, lower: core::ptr::read_volatile(&raw const (*load).lower) };
            let connections = (*load).connections();
            let was_full = core::ptr::read_volatile(&raw const (*load).full);
            let is_full = u32::from(thresholds.is_full(was_full != 0, connections));
            core::ptr::write_volatile(&raw mut (*load).full, is_full);
        }
    }
}
