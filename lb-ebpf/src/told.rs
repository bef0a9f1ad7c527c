//! Telling user space of flows that were recorded, if another node is to know of them.

use aya_ebpf::bindings::BPF_RB_NO_WAKEUP;
use lb_common::abi::{FlowKey6, Recorded, Translated, Translation, root_flags};
use lb_common::flow::Flow;

use crate::addressed;
use crate::maps::RECORDED;
use crate::scratch;

/// Tells user space of the flow whose record is in the scratch, if another node is to know.
#[inline(always)]
pub fn tell_recorded(flow: &Flow, stateful: bool) {
    let (root, Some(scratch)) = (addressed::root(), scratch::get()) else { return };
    // SAFETY: a reference is valid for reads. Volatile because user space flips the word while packets flow.
    if unsafe { core::ptr::read_volatile(&root.word) } & root_flags::EXCHANGE == 0 {
        return;
    }
    scratch.recorded = Recorded { key: flow.key6(), record: scratch.record, stateful: stateful.into() };
    // Nobody is woken up: who reads looks every few milliseconds anyway.
    let _ = RECORDED.output::<Recorded>(&scratch.recorded, u64::from(BPF_RB_NO_WAKEUP));
}

/// The same of a flow whose translation was recorded.
#[inline(always)]
pub fn tell_translated(key: &FlowKey6, translation: &Translation) {
    let (root, Some(scratch)) = (addressed::root(), scratch::get()) else { return };
    // SAFETY: as above.
    if unsafe { core::ptr::read_volatile(&root.word) } & root_flags::EXCHANGE == 0 {
        return;
    }
    scratch.translated = Translated { key: *key, translation: *translation };
    // As above.
    let _ = RECORDED.output::<Translated>(&scratch.translated, u64::from(BPF_RB_NO_WAKEUP));
}
