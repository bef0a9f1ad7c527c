//! Asks which backend a packet's connection ID names, as a global function: the verifier walks it by itself, once, and not once more on
//! every path that leads to it.

use aya_ebpf::bindings::xdp_md;
use aya_ebpf::programs::XdpContext;
use lb_common::abi::ConnectionIds;
use lb_common::path::quic::{Question, find};

use crate::packet::Frame;
use crate::tables::Maps;
use crate::trace::Silent;

/// What [`find`] says.
#[inline(always)]
pub fn ask(context: *mut xdp_md, question: Question) -> u32 {
    let Question { transport, ids, pool, first_row } = question;
    fairway_connection_id(context, transport as u32, ids.0, pool, first_row)
}

/// Global, by its name.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn fairway_connection_id(
    context: *mut xdp_md,
    transport: u32,
    ids: u32,
    pool: u32,
    first_row: u32,
) -> u32 {
    let context = XdpContext::new(context);
    let question = Question { transport: transport as usize, ids: ConnectionIds(ids), pool, first_row };
    find(&Frame(&context), &Maps(&context, Silent), question)
}
