//! Asks whether a service's access rules let a packet in, as a global function: see [`crate::question`].

use aya_ebpf::programs::XdpContext;
use lb_common::abi::Service;
use lb_common::flow::Flow;
use lb_common::packet::transport::Flags;
use lb_common::path::access::{self, ADMITTED};

use crate::question::Question;
use crate::tables::Maps;
use crate::trace::Silent;

/// What [`access::admission`] says.
#[inline(always)]
pub fn ask(service: &Service, flow: &Flow, flags: Option<Flags>) -> u32 {
    match Question::pose(service, flow) {
        Some(()) => fairway_admission(Question::number(flags)),
        None => ADMITTED,
    }
}

/// Global, by its name.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn fairway_admission(flags: u32) -> u32 {
    let Some(Question { service, flow }) = Question::posed() else { return ADMITTED };
    // No rule asks for the packet.
    let context = XdpContext::new(core::ptr::null_mut());
    access::admission(&Maps(&context, Silent), service, flow, Question::flags(flags))
}
