//! Fairway's XDP program: the packet path of `lb-common` over kernel memory and BPF maps. It decides nothing itself.
//! Beside it lies the same path with a tracer, which takes its place while `fairway trace` runs, the program that sends probes
//! to `direct` backends by the way of clients' packets, and the one that stores records of another node's.
#![no_std]
#![no_main]
// For the atomic instructions of this target, which the compiler has no types for.
#![feature(asm_experimental_arch)]

mod access;
mod addressed;
mod atomic;
mod clock;
mod listeners;
mod maps;
mod packet;
mod plain;
mod question;
mod quic;
mod route;
mod scratch;
mod stateful;
mod steer;
mod store;
mod tables;
mod told;
mod trace;
mod translation;
mod tunnel;

use aya_ebpf::bindings::{TC_ACT_SHOT, xdp_action};
use aya_ebpf::helpers::bpf_redirect;
use aya_ebpf::macros::{classifier, xdp};
use aya_ebpf::programs::{TcContext, XdpContext};
use lb_common::path::{Verdict, process_any};

/// Forwards packets of services and passes all others.
#[xdp(frags)]
#[inline(always)]
pub fn fairway(context: XdpContext) -> u32 {
    if let Some(action) = plain::process(context.ctx) {
        return action;
    }
    action(process_any(&mut packet::Frame(&context), &tables::Maps(&context, trace::Silent)))
}

/// Forwards and passes like [`fairway`], and logs what happens to the packets that the filter takes.
///
/// The packet path is part of this function, since another frame around it would be one too many for Linux 6.1; what begins and
/// what ends the notes are functions of their own, whose stack is free again for the path.
#[xdp(frags)]
#[inline(always)]
pub fn fairway_trace(context: XdpContext) -> u32 {
    if !trace::begin(context.ctx) {
        return xdp_action::XDP_PASS;
    }
    let Some(notes) = trace::Notebook::of_this_cpu() else { return xdp_action::XDP_PASS };
    let action = action(process_any(&mut packet::Frame(&context), &tables::Maps(&context, notes)));
    trace::end(context.ctx);
    action
}

/// Stores records that another node tells of: a frame of them is no packet, and only user space runs this. How many it could not store.
#[xdp]
pub fn fairway_store(context: XdpContext) -> u32 {
    store::all(&context)
}

/// On the way out of the steering device: probes leave for their backends, all else is dropped.
#[classifier]
pub fn fairway_steer(context: TcContext) -> i32 {
    steer::send(&context).unwrap_or(TC_ACT_SHOT)
}

#[inline(always)]
fn action(verdict: Verdict) -> u32 {
    match verdict {
        Verdict::Transmit => xdp_action::XDP_TX,
        // SAFETY: the helper takes any interface index; it fails as XDP_ABORTED, which the kernel traces.
        Verdict::Redirect(interface) => unsafe { bpf_redirect(interface, 0) as u32 },
        Verdict::Pass(_) => xdp_action::XDP_PASS,
        Verdict::Drop(_) => xdp_action::XDP_DROP,
    }
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo) -> ! {
    loop {}
}

/// The kernel lets only programs with a GPL-compatible licence call some helpers (`bpf_fib_lookup`, …).
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
