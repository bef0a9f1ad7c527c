//! The way of plain packets, by functions of their own: the compiler shares nothing between it and the path for all packets, and
//! behind it the verifier knows no more of what it has seen, and walks that path once.

use aya_ebpf::bindings::xdp_md;
use aya_ebpf::programs::XdpContext;
use lb_common::path::plain::{self, Plain};

use crate::action;
use crate::packet::Frame;
use crate::tables::Maps;
use crate::trace::Silent;

/// Not an action: the packet is not plain.
const NO: u64 = u64::MAX;
/// Added to a row: it goes by the tunnel of that.
const TO_WRAP: u64 = 1 << 32;

/// What becomes of a packet, if it is plain.
#[inline(always)]
pub fn process(context: *mut xdp_md) -> Option<u32> {
    match begin(context) {
        NO => None,
        word @ TO_WRAP.. => Some(wrap(context, word as u32)),
        word => Some(word as u32),
    }
}

#[inline(never)]
fn begin(context: *mut xdp_md) -> u64 {
    let context = &XdpContext::new(context);
    match plain::begin(&mut Frame(context), &Maps(context, Silent), |verdict| action(verdict) as u64) {
        Plain::No => NO,
        Plain::Done(action) => action,
        Plain::ToWrap(row) => TO_WRAP | row as u64,
    }
}

#[inline(never)]
fn wrap(context: *mut xdp_md, row: u32) -> u32 {
    let context = &XdpContext::new(context);
    action(plain::wrap(&mut Frame(context), &Maps(context, Silent), row))
}
