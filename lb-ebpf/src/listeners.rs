//! Asks about listeners what few packets ask, as global functions: the verifier walks each by itself, once, and not once more on every
//! path that leads to it.

use aya_ebpf::programs::XdpContext;
use lb_common::address::Address;
use lb_common::path::classify::{self, Side};

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

/// What [`classify::of_several`] says.
#[inline(always)]
pub fn of_several(word: u64, side: Side, address: Address, port_wire: u16, protocol: u8) -> u32 {
    let key = u32::from(port_wire) | u32::from(protocol) << 16;
    match side {
        Side::Services => fairway_listener(address.high, address.low, key, word),
        Side::Reverse => fairway_translated(address.high, address.low, key, word),
    }
}

/// Global, by its name.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn fairway_listener(high: u64, low: u64, key: u32, word: u64) -> u32 {
    ask(Side::Services, Address { high, low }, key, word)
}

/// Global, by its name.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn fairway_translated(high: u64, low: u64, key: u32, word: u64) -> u32 {
    ask(Side::Reverse, Address { high, low }, key, word)
}

#[inline(always)]
fn ask(side: Side, address: Address, key: u32, word: u64) -> u32 {
    let context = XdpContext::new(core::ptr::null_mut());
    classify::of_several(&Maps(&context, Silent), word, side, address, key as u16, (key >> 16) as u8)
}
