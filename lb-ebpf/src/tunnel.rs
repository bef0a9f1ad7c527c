//! Puts packets into tunnels, as a global function: the verifier walks it by itself, once, and not once more on every path that leads
//! to it; and it has a stack frame of its own.

use aya_ebpf::bindings::xdp_md;
use aya_ebpf::programs::XdpContext;
use lb_common::counters::Reason;
use lb_common::path::tunnel::{Question, wrap};

use crate::packet::Frame;
use crate::tables::Maps;
use crate::trace::Silent;

/// Added to the number of a reason, to tell it from an interface.
const REASON: u32 = 1 << 31;

/// What [`wrap`] says.
#[inline(always)]
pub fn ask(context: *mut xdp_md, question: Question) -> Result<u32, Reason> {
    let Question { row, network, entropy, about } = question;
    let answer = fairway_wrap(context, row, network as u32, entropy, about);
    if answer & REASON == 0 { Ok(answer) } else { Err(reason(answer & !REASON)) }
}

/// The reason of a number, of those that [`wrap`] gives.
#[inline(always)]
fn reason(number: u32) -> Reason {
    const REASONS: [Reason; 6] = [
        Reason::Malformed,
        Reason::TimeToLive,
        Reason::NextHopUnknown,
        Reason::NoHeadroom,
        Reason::TooBigForTunnel,
        Reason::TooBigAnswered,
    ];
    for reason in REASONS {
        if number == reason as u32 {
            return reason;
        }
    }
    Reason::Inconsistent
}

/// Global, by its name.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn fairway_wrap(context: *mut xdp_md, row: u32, network: u32, entropy: u32, about: u32) -> u32 {
    let context = XdpContext::new(context);
    let question = Question { row, network: network as usize, entropy, about };
    match wrap(&mut Frame(&context), &Maps(&context, Silent), question) {
        Ok(interface) => interface & !REASON,
        Err(reason) => REASON | reason as u32,
    }
}
