//! The host's routing table, by the FIB helper.

use aya_ebpf::helpers::generated::bpf_fib_lookup;
use aya_ebpf::programs::XdpContext;
use lb_common::address::Address;
use lb_common::packet::ethernet::Exit;
use lb_common::path::{Route, RouteQuery};

use crate::packet::context;
use crate::scratch;

const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;
// Results of the helper, from `linux/bpf.h`.
const SUCCESS: i64 = 0;
const NOT_FORWARDED: i64 = 4;
const FORWARDING_DISABLED: i64 = 5;
const NO_NEIGHBOUR: i64 = 7;
const FRAGMENTATION_NEEDED: i64 = 8;

/// `struct bpf_fib_lookup` of `linux/bpf.h`, the helper's argument and answer, as eight words: family, protocol,
/// ports, length | interface, flow information | source | … | destination | … | VLAN, source MAC | destination MAC.
/// Whole words, because the compiler would join smaller stores into ones that the verifier calls misaligned.
type Parameters = [u64; 8];

#[inline(always)]
pub fn lookup(xdp: &XdpContext, query: &RouteQuery) -> Route {
    let family = u64::from(if query.v4 { AF_INET } else { AF_INET6 });
    let ports = u64::from(query.ports_wire) << 16;
    let source = words(query.source, query.v4);
    let destination = words(query.destination, query.v4);
    let Some(scratch) = scratch::get() else { return Route::None };
    let fib: &mut Parameters = &mut scratch.fib;
    *fib = [
        family | u64::from(query.protocol) << 8 | ports | u64::from(query.length) << 48,
        u64::from(query.interface),
        source[0],
        source[1],
        destination[0],
        destination[1],
        0,
        0,
    ];
    // SAFETY: the context is this program's, and the structure is as long as said.
    let result = unsafe { bpf_fib_lookup(context(xdp), (&raw mut *fib).cast(), size_of::<Parameters>() as i32, 0) };
    match result {
        SUCCESS => Route::Forward(exit(fib)),
        NOT_FORWARDED => Route::Local,
        FORWARDING_DISABLED => Route::Disabled,
        NO_NEIGHBOUR => Route::NeighbourUnknown,
        FRAGMENTATION_NEEDED => Route::TooBig,
        _ => Route::None,
    }
}

#[inline(always)]
fn words(address: Address, v4: bool) -> [u64; 2] {
    if v4 { [u64::from(address.v4_wire()), 0] } else { [address.high, address.low] }
}

/// The last two words hold VLAN (4 octets), source MAC (6) and destination MAC (6).
#[inline(always)]
fn exit(fib: &Parameters) -> Exit {
    // SAFETY: a reference is valid for reads. Volatile, or the compiler would read across the two words at once, which
    // the verifier calls misaligned.
    let [head, tail] = unsafe { [core::ptr::read_volatile(&fib[6]), core::ptr::read_volatile(&fib[7])] };
    let source_mac = head >> 32 | tail << 32;
    let destination_mac = tail >> 16;
    Exit {
        mac_head: destination_mac | source_mac << 48,
        mac_tail: (source_mac >> 16) as u32,
        interface: fib[1] as u32,
        tags_wire: [0; 2],
    }
}
