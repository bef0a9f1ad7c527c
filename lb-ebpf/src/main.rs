//! Fairway's XDP program: the packet path of `lb-common` over kernel memory and BPF maps. It decides nothing itself.
#![no_std]
#![no_main]

mod packet;
mod tables;

use aya_ebpf::bindings::xdp_action;
use aya_ebpf::helpers::bpf_redirect;
use aya_ebpf::macros::xdp;
use aya_ebpf::programs::XdpContext;
use lb_common::path::{Verdict, process};

/// Forwards packets of services and passes all others.
#[xdp(frags)]
#[inline(always)]
pub fn fairway(context: XdpContext) -> u32 {
    action(process(&mut packet::Frame(&context), &tables::Maps(&context)))
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
