//! The production XDP program.
#![no_std]
#![no_main]

use aya_ebpf::{bindings::xdp_action, macros::xdp, programs::XdpContext};

/// Passes every packet to the host.
#[xdp(frags)]
pub fn fairway(_context: XdpContext) -> u32 {
    xdp_action::XDP_PASS
}

/// Marks the program as fit for the helpers that only GPL-compatible programs may call.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

/// The BPF target cannot unwind, and nothing on the packet path panics; the compiler still wants a handler.
#[cfg(not(test))]
#[panic_handler]
fn panic(_information: &core::panic::PanicInfo) -> ! {
    loop {}
}
