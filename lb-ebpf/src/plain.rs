//! The way of plain packets, as part of the program itself: a function of its own would have to be returned from, which takes processors
//! that return with care longer than a look-up. What is behind it begins anew.

use core::arch::asm;

use aya_ebpf::bindings::xdp_md;
use aya_ebpf::programs::XdpContext;
use lb_common::path::plain::{self, Plain};

use crate::action;
use crate::packet::Frame;
use crate::tables::Maps;
use crate::trace::Silent;

/// What becomes of a packet, if it is plain.
#[inline(always)]
pub fn process(context: *mut xdp_md) -> Option<u32> {
    let xdp = &XdpContext::new(context);
    match plain::begin(&mut Frame(xdp), &Maps(xdp, Silent), action) {
        Plain::Done(action) => Some(action),
        Plain::ToWrap(row) => Some(wrap(context, row)),
        Plain::No => {
            forget();
            None
        }
    }
}

/// The compiler takes nothing that was loaded before into what comes after: the verifier then comes there knowing nothing, whatever
/// was seen of the packet, and walks it once.
#[inline(always)]
fn forget() {
    // SAFETY: no instruction.
    unsafe { asm!("", options(nostack, preserves_flags)) };
}

#[inline(never)]
fn wrap(context: *mut xdp_md, row: u32) -> u32 {
    let context = &XdpContext::new(context);
    action(plain::wrap(&mut Frame(context), &Maps(context, Silent), row))
}
