//! What backends of the namespace tests need of the kernel that not every kernel has: the far end of a tunnel, for all
//! encapsulations and families. It unwraps what it knows and leaves the rest to the host.
#![no_std]
#![no_main]

use core::ptr;

use aya_ebpf::bindings::xdp_action;
use aya_ebpf::helpers::generated::bpf_xdp_adjust_head;
use aya_ebpf::macros::xdp;
use aya_ebpf::programs::XdpContext;

const ETHERNET: usize = 14;
const IPV4: usize = 20;
const IPV6: usize = 40;
const UDP: usize = 8;
const SHIM: usize = 4;
const ETHERTYPE_IPV4: u16 = 0x0800u16.to_be();
const ETHERTYPE_IPV6: u16 = 0x86ddu16.to_be();
const GUE_PORT: u16 = 6080u16.to_be();
const FOU_PORT: u16 = 5555u16.to_be();

/// Takes the inner packet out, if there is one.
#[xdp(frags)]
pub fn unwrap(context: XdpContext) -> u32 {
    // A packet that cannot be read is none of ours.
    inner(&context).unwrap_or(xdp_action::XDP_PASS)
}

#[inline(always)]
fn inner(context: &XdpContext) -> Option<u32> {
    let ethertype: u16 = load(context, 12)?;
    let (start, protocol) = match ethertype {
        ETHERTYPE_IPV4 if load::<u8>(context, ETHERNET)? == 0x45 => {
            (ETHERNET + IPV4, load::<u8>(context, ETHERNET + 9)?)
        }
        ETHERTYPE_IPV6 => (ETHERNET + IPV6, load::<u8>(context, ETHERNET + 6)?),
        _ => return None,
    };
    match protocol {
        4 => unwrapped(context, start, ETHERTYPE_IPV4),
        41 => unwrapped(context, start, ETHERTYPE_IPV6),
        47 => match load::<[u16; 2]>(context, start)? {
            [0, protocol] => unwrapped(context, start + SHIM, protocol),
            _ => None,
        },
        17 => {
            let [_, port, _, checksum]: [u16; 4] = load(context, start)?;
            match (port, checksum) {
                (GUE_PORT, 0) => match load::<[u8; 4]>(context, start + UDP)? {
                    [0, 4, 0, 0] => unwrapped(context, start + UDP + SHIM, ETHERTYPE_IPV4),
                    [0, 41, 0, 0] => unwrapped(context, start + UDP + SHIM, ETHERTYPE_IPV6),
                    _ => None,
                },
                (FOU_PORT, 0) => match load::<u8>(context, start + UDP)? >> 4 {
                    4 => unwrapped(context, start + UDP, ETHERTYPE_IPV4),
                    6 => unwrapped(context, start + UDP, ETHERTYPE_IPV6),
                    _ => None,
                },
                _ => None,
            }
        }
        _ => None,
    }
}

/// Cuts off what lies in front of `start`, but for the MAC addresses.
#[inline(always)]
fn unwrapped(context: &XdpContext, start: usize, ethertype: u16) -> Option<u32> {
    let head: u64 = load(context, 0)?;
    let tail: u32 = load(context, 8)?;
    // SAFETY: the context is this program's; pointers into the frame are made after the move.
    if unsafe { bpf_xdp_adjust_head(context.ctx, (start - ETHERNET) as i32) } != 0 {
        return Some(xdp_action::XDP_ABORTED);
    }
    store(context, 0, head)?;
    store(context, 8, tail)?;
    store(context, 12, ethertype)?;
    Some(xdp_action::XDP_PASS)
}

#[inline(always)]
fn at<T>(context: &XdpContext, offset: usize) -> Option<*mut T> {
    let start = context.data() + offset;
    (start + size_of::<T>() <= context.data_end()).then_some(start as *mut T)
}

#[inline(always)]
fn load<T>(context: &XdpContext, offset: usize) -> Option<T> {
    // SAFETY: `at` keeps the whole value, plain octets, inside the frame.
    at(context, offset).map(|at| unsafe { ptr::read_unaligned(at) })
}

#[inline(always)]
fn store<T>(context: &XdpContext, offset: usize, value: T) -> Option<()> {
    // SAFETY: `at` keeps the whole value inside the frame.
    at(context, offset).map(|at| unsafe { ptr::write_unaligned(at, value) })
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo) -> ! {
    loop {}
}

/// As in `main.rs`.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
