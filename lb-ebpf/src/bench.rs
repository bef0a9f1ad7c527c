//! Programs for the benches only: the floors that the packet path is compared with.
#![no_std]
#![no_main]

use aya_ebpf::{bindings::xdp_action, macros::xdp, programs::XdpContext};

/// The least an XDP program can do: pass.
#[xdp(frags)]
pub fn floor_pass(_context: XdpContext) -> u32 {
    xdp_action::XDP_PASS
}

/// The least that sends a packet back: transmit, unread.
#[xdp(frags)]
pub fn floor_tx(_context: XdpContext) -> u32 {
    xdp_action::XDP_TX
}

/// Marks the programs as fit for the helpers that only GPL-compatible programs may call.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

/// The BPF target cannot unwind, and nothing here panics; the compiler still wants a handler.
#[cfg(not(test))]
#[panic_handler]
fn panic(_information: &core::panic::PanicInfo) -> ! {
    loop {}
}
