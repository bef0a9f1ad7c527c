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

/// What [`classify::listener`] says.
#[inline(always)]
pub fn listener(word: u64, address: Address, port_wire: u16, protocol: u8) -> u32 {
    fairway_listener(address.high, address.low, key(port_wire, protocol), word)
}

/// Global, by its name.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn fairway_listener(high: u64, low: u64, key: u32, word: u64) -> u32 {
    let context = XdpContext::new(core::ptr::null_mut());
    classify::listener(&Maps(&context, Silent), word, Address { high, low }, key as u16, (key >> 16) as u8)
}

/// What [`classify::of_several`] says.
#[inline(always)]
pub fn of_several(word: u64, backend: Address, port_wire: u16, protocol: u8) -> u32 {
    fairway_translated(backend.high, backend.low, key(port_wire, protocol), word)
}

/// Global, by its name.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn fairway_translated(high: u64, low: u64, key: u32, word: u64) -> u32 {
    let context = XdpContext::new(core::ptr::null_mut());
    classify::of_several(&Maps(&context, Silent), word, Address { high, low }, key as u16, (key >> 16) as u8)
}

/// A port as it lies in a packet, and a protocol, as one argument.
#[inline(always)]
fn key(port_wire: u16, protocol: u8) -> u32 {
    u32::from(port_wire) | u32::from(protocol) << 16
}
