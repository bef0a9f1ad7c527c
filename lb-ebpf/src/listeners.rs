//! Asks about listeners what few packets ask, as global functions: the verifier walks each by itself, once, and not once more on every
//! path that leads to it.

use aya_ebpf::programs::XdpContext;
use lb_common::address::Address;
use lb_common::path::classify;

use crate::tables::Maps;
use crate::trace::Silent;

/// What [`classify::takes_ah`] says.
#[inline(always)]
pub fn takes_ah(address: Address) -> bool {
    fairway_takes_ah(address.high, address.low) != 0
}

/// Global, by its name.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn fairway_takes_ah(high: u64, low: u64) -> u32 {
    // No look-up of a listener asks for the packet.
    let context = XdpContext::new(core::ptr::null_mut());
    u32::from(classify::takes_ah(&Maps(&context, Silent), Address { high, low }))
}
