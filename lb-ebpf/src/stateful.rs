//! Asks whose a flow of a stateful service is, as a global function: see [`crate::question`].

use aya_ebpf::programs::XdpContext;
use lb_common::abi::Service;
use lb_common::flow::Flow;
use lb_common::packet::transport::Flags;
use lb_common::path::stateful::{self, BY_TABLE};

use crate::question::Question;
use crate::tables::Maps;
use crate::trace::Silent;

/// What [`stateful::owner`] says.
#[inline(always)]
pub fn ask(service: &Service, flow: &Flow, flags: Option<Flags>) -> u32 {
    match Question::pose(service, flow) {
        Some(()) => fairway_owner(Question::number(flags)),
        None => BY_TABLE,
    }
}

/// Global, by its name.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn fairway_owner(flags: u32) -> u32 {
    let Some(Question { service, flow }) = Question::posed() else { return BY_TABLE };
    // No look-up of a flow asks for the packet.
    let context = XdpContext::new(core::ptr::null_mut());
    stateful::owner(&Maps(&context, Silent), service, flow, Question::flags(flags))
}
