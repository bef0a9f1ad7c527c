//! Asks whose a flow of a stateful service is, as a global function: the verifier walks it by itself, once, and not once more on every
//! path that leads to it. Such a function takes numbers only, so the question lies in a map's element.

use aya_ebpf::macros::map;
use aya_ebpf::maps::PerCpuArray;
use aya_ebpf::programs::XdpContext;
use lb_common::abi::Service;
use lb_common::flow::Flow;
use lb_common::packet::transport::Flags;
use lb_common::path::stateful::{self, BY_TABLE};

use crate::tables::Maps;
use crate::trace::Silent;

/// Of which service, which flow.
#[repr(C)]
#[derive(Clone, Copy)]
struct Question {
    service: Service,
    flow: Flow,
}

#[map]
static QUESTION: PerCpuArray<Question> = PerCpuArray::with_max_entries(1, 0);

/// In the place of flags: the packet is one that an ICMP error quotes.
const QUOTED: u32 = 1 << 8;

/// What [`stateful::owner`] says.
#[inline(always)]
pub fn ask(service: &Service, flow: &Flow, flags: Option<Flags>) -> u32 {
    let Some(question) = QUESTION.get_ptr_mut(0) else { return BY_TABLE };
    // SAFETY: the element is this CPU's own, and XDP programs of one CPU do not interrupt each other.
    unsafe { question.write(Question { service: *service, flow: *flow }) };
    fairway_owner(flags.map_or(QUOTED, |flags| u32::from(flags.0)))
}

/// Global, by its name.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn fairway_owner(flags: u32) -> u32 {
    let Some(question) = QUESTION.get_ptr_mut(0) else { return BY_TABLE };
    // SAFETY: the element is this CPU's own, and was written just now.
    let Question { service, flow } = unsafe { &*question };
    // No look-up of a flow asks for the packet.
    let context = XdpContext::new(core::ptr::null_mut());
    let flags = (flags != QUOTED).then_some(Flags(flags as u8));
    stateful::owner(&Maps(&context, Silent), service, flow, flags)
}
