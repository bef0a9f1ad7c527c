//! The bench's own programs: trampolines that make a packet anew and jump to the program under test, and the floors that
//! its cost is held against. The harness is `tests/src/bin/bench.rs`.
//!
//! `BPF_PROG_TEST_RUN` repeats a program without restoring the packet, so after the first run a balancer would see its own
//! output. A trampoline undoes moves of the head, writes the header of the next flow, and tail-calls. All of them
//! are `xdp.frags`, since a prog array holds only programs of one kind.
#![no_std]
#![no_main]

mod softirq;

use core::ptr;

use aya_ebpf::bindings::{BPF_F_MMAPABLE, xdp_action};
use aya_ebpf::helpers::generated::bpf_xdp_adjust_head;
use aya_ebpf::macros::{map, xdp};
use aya_ebpf::maps::{Array, LruHashMap, ProgramArray};
use aya_ebpf::programs::XdpContext;

/// What the packets are, written by the harness: `Traffic` of its `traffic` module, word for word.
#[repr(C)]
struct Traffic {
    /// The header that all packets share. IPv4's checksum and the words below are left zero in it.
    template: [u8; 80],
    /// Packets so far, whose product with `multiplier` is the flow: a permutation, so that no prefetcher foresees it.
    sent: u32,
    multiplier: u32,
    /// Flows less one, of a power of two.
    flow_mask: u32,
    /// Addresses of services, on which the flows are spread.
    services: u32,
    /// First client address and first service address: IPv4's, or the last four octets of IPv6's. Host order.
    source: u32,
    destination: u32,
    /// Sum of the template's IPv4 header, in host order.
    sum: u32,
    reserved: u32,
}

#[map]
static TRAFFIC: Array<Traffic> = Array::with_max_entries(1, BPF_F_MMAPABLE);
/// The program under test.
#[map]
static UNDER_TEST: ProgramArray = ProgramArray::with_max_entries(1, 0);

/// The flow of one packet: what differs between packets.
struct Flow {
    source: u32,
    destination: u32,
    port: u16,
}

/// Makes the next IPv4 packet and tail-calls the program under test.
#[xdp(frags)]
pub fn trampoline_v4(context: XdpContext) -> u32 {
    match make_v4(&context) {
        Some(()) => jump(&context),
        None => xdp_action::XDP_ABORTED,
    }
}

/// Makes the next IPv4 packet and sends it: with live frames, out of the interface that it is said to have come in by.
#[xdp(frags)]
pub fn generate_v4(context: XdpContext) -> u32 {
    match make_v4(&context) {
        Some(()) => xdp_action::XDP_TX,
        None => xdp_action::XDP_ABORTED,
    }
}

/// Packets that [`swallow`] has had.
#[map]
static SWALLOWED: Array<u64> = Array::with_max_entries(1, BPF_F_MMAPABLE);

/// The end of all ways: counts IPv4 packets and drops them.
#[xdp(frags)]
pub fn swallow(context: XdpContext) -> u32 {
    const IPV4: u16 = 0x0800_u16.to_be();
    let Some(packet) = front::<34>(&context) else { return xdp_action::XDP_PASS };
    // SAFETY: `front` has checked 34 octets.
    if unsafe { ptr::read_unaligned(packet.add(12).cast::<u16>()) } != IPV4 {
        return xdp_action::XDP_PASS;
    }
    let Some(swallowed) = SWALLOWED.get_ptr_mut(0) else { return xdp_action::XDP_ABORTED };
    // SAFETY: the element stays valid while the program runs, and the machine that this is for has one CPU.
    unsafe { *swallowed += 1 };
    xdp_action::XDP_DROP
}

#[inline(always)]
fn make_v4(context: &XdpContext) -> Option<()> {
    // Each field is stored whole, and none is covered by two stores: a load that spans two stores still under way waits
    // for both (some ten cycles), which no packet from a network card would make it do.
    let (packet, traffic) = reset::<64>(context)?;
    let flow = next_flow(traffic);
    let sum = fold(traffic.sum + halves(flow.source) + halves(flow.destination));
    copy::<u64>(traffic, packet, 0);
    copy::<u32>(traffic, packet, 8);
    copy::<u16>(traffic, packet, 12);
    copy::<u64>(traffic, packet, 14);
    store(packet, 22, word(traffic, 22) & 0xffff | u32::from((!sum).to_be()) << 16);
    store(packet, 26, flow.source.to_be());
    store(packet, 30, flow.destination.to_be());
    store(packet, 34, word(traffic, 34) & 0xffff_0000 | u32::from(flow.port.to_be()));
    copy::<u64>(traffic, packet, 38);
    copy::<u64>(traffic, packet, 46);
    copy::<u64>(traffic, packet, 54);
    copy::<u16>(traffic, packet, 62);
    Some(())
}

/// Makes the next IPv6 packet and tail-calls the program under test.
#[xdp(frags)]
pub fn trampoline_v6(context: XdpContext) -> u32 {
    let Some((packet, traffic)) = reset::<80>(&context) else { return xdp_action::XDP_ABORTED };
    let flow = next_flow(traffic);
    copy::<u64>(traffic, packet, 0);
    copy::<u32>(traffic, packet, 8);
    copy::<u16>(traffic, packet, 12);
    copy::<u64>(traffic, packet, 14);
    copy::<u64>(traffic, packet, 22);
    store(packet, 30, u64::from(word(traffic, 30)) | u64::from(flow.source.to_be()) << 32);
    copy::<u64>(traffic, packet, 38);
    store(packet, 46, u64::from(word(traffic, 46)) | u64::from(flow.destination.to_be()) << 32);
    store(packet, 54, word(traffic, 54) & 0xffff_0000 | u32::from(flow.port.to_be()));
    copy::<u64>(traffic, packet, 58);
    copy::<u64>(traffic, packet, 66);
    copy::<u32>(traffic, packet, 74);
    copy::<u16>(traffic, packet, 78);
    jump(&context)
}

/// The least that sends a packet back: transmit, unread.
#[xdp(frags)]
pub fn floor_tx(_context: XdpContext) -> u32 {
    xdp_action::XDP_TX
}

/// The least that an XDP program can do: pass.
#[xdp(frags)]
pub fn floor_pass(_context: XdpContext) -> u32 {
    xdp_action::XDP_PASS
}

/// The least that sends a packet to somebody: swap the MAC addresses.
#[xdp(frags)]
pub fn floor_mac_swap(context: XdpContext) -> u32 {
    swap(&context)
}

#[inline(always)]
fn swap(context: &XdpContext) -> u32 {
    let Some(packet) = front::<14>(context) else { return xdp_action::XDP_ABORTED };
    // SAFETY: `front` has checked 14 octets.
    unsafe {
        let head = ptr::read_unaligned(packet.cast::<u64>());
        let tail = ptr::read_unaligned(packet.add(8).cast::<u32>());
        ptr::write_unaligned(packet.cast::<u64>(), head >> 48 | u64::from(tail) << 16 | head << 48);
        ptr::write_unaligned(packet.add(8).cast::<u32>(), (head >> 16) as u32);
    }
    xdp_action::XDP_TX
}

/// Entries of the LRU table: fewer than the flows of a row that makes a new one for each packet.
const LRU_ENTRIES: u32 = 1 << 16;

#[map]
static LRU: LruHashMap<[u32; 4], [u64; 2]> = LruHashMap::with_max_entries(LRU_ENTRIES, 0);

/// The least that remembers each flow: an LRU hash table is asked for it, and told if it knows nothing, and the MAC addresses are
/// swapped.
#[xdp(frags)]
pub fn floor_lru(context: XdpContext) -> u32 {
    let Some(packet) = front::<38>(&context) else { return xdp_action::XDP_ABORTED };
    // SAFETY: `front` has checked 38 octets: addresses from 26 on, ports from 34 on.
    let key = unsafe { [26, 30, 34].map(|offset| ptr::read_unaligned(packet.add(offset).cast::<u32>())) };
    let key = [key[0], key[1], key[2], 0];
    match LRU.get_ptr_mut(&key) {
        // SAFETY: the element stays valid while the program runs, and one CPU runs one test at a time.
        Some(value) => unsafe { (*value)[0] += 1 },
        None => drop(LRU.insert(&key, &[1, 0], 0)),
    }
    swap(&context)
}

/// The least that puts an IPv4 packet into another: room in front, and a header that is always the same but for its length.
#[xdp(frags)]
pub fn floor_encapsulate(context: XdpContext) -> u32 {
    const OUTER: usize = 20;
    const ADDRESSES: [u32; 2] = [u32::from_ne_bytes([10, 1, 0, 1]), u32::from_ne_bytes([10, 0, 0, 1])];
    let Some(packet) = front::<34>(&context) else { return xdp_action::XDP_ABORTED };
    // SAFETY: `front` has checked 34 octets.
    let inner = unsafe { u16::from_be(ptr::read_unaligned(packet.add(16).cast())) };
    // SAFETY: the context is this program's; pointers into the frame are made after the move.
    if unsafe { bpf_xdp_adjust_head(context.ctx, -(OUTER as i32)) } != 0 {
        return xdp_action::XDP_ABORTED;
    }
    let Some(packet) = front::<34>(&context) else { return xdp_action::XDP_ABORTED };
    let length = u32::from((inner + OUTER as u16).to_be());
    let sum = 0x45 + length + 0x40 + 0x0440 + ADDRESSES.map(halves).iter().sum::<u32>();
    store(packet, 0, 0x0002_0200_0000_0002_u64);
    store(packet, 8, 0x0200_0000_u32);
    store(packet, 12, 0x0800_u16.to_be());
    store(packet, 14, 0x45 | length << 16);
    store(packet, 18, 0x0040_0000_u32);
    store(packet, 22, 0x0440 | u32::from(!fold(sum)) << 16);
    store(packet, 26, ADDRESSES);
    xdp_action::XDP_TX
}

/// Gives the packet its first length back; its octets and the traffic.
#[inline(always)]
fn reset<const LENGTH: usize>(context: &XdpContext) -> Option<(*mut u8, &'static mut Traffic)> {
    let length = context.data_end() - context.data();
    // SAFETY: the context is this program's; pointers into the frame are made after the move.
    if length != LENGTH && unsafe { bpf_xdp_adjust_head(context.ctx, length as i32 - LENGTH as i32) } != 0 {
        return None;
    }
    // SAFETY: one CPU runs one test at a time, and the harness writes the element between runs only.
    let traffic = unsafe { &mut *TRAFFIC.get_ptr_mut(0)? };
    front::<LENGTH>(context).map(|packet| (packet, traffic))
}

/// The first octets of the packet, if there are as many.
#[inline(always)]
fn front<const LENGTH: usize>(context: &XdpContext) -> Option<*mut u8> {
    let start = context.data();
    (start + LENGTH <= context.data_end()).then_some(start as *mut u8)
}

#[inline(always)]
fn next_flow(traffic: &mut Traffic) -> Flow {
    let sent = traffic.sent;
    traffic.sent = sent.wrapping_add(1);
    let flow = sent.wrapping_mul(traffic.multiplier) & traffic.flow_mask;
    let service = u64::from(flow.wrapping_mul(SPREAD)) * u64::from(traffic.services) >> 32;
    Flow {
        source: traffic.source + (flow >> 8),
        destination: traffic.destination + service as u32,
        port: 1024 + ((flow & 0xff) << 3) as u16,
    }
}

/// Spreads flows over services: a flow always goes to the same one, and neighbours go to others.
const SPREAD: u32 = 0x85eb_ca6b;

#[inline(always)]
fn jump(context: &XdpContext) -> u32 {
    // SAFETY: the array holds XDP programs only; the kernel refuses others.
    unsafe { UNDER_TEST.tail_call(context, 0) };
    xdp_action::XDP_ABORTED
}

#[inline(always)]
fn copy<T>(traffic: &Traffic, packet: *mut u8, offset: usize) {
    // SAFETY: all offsets above lie inside the template and inside the front of the packet that was checked.
    let value = unsafe { ptr::read_unaligned(traffic.template.as_ptr().add(offset).cast::<T>()) };
    store(packet, offset, value);
}

#[inline(always)]
fn word(traffic: &Traffic, offset: usize) -> u32 {
    // SAFETY: as in `copy`.
    unsafe { ptr::read_unaligned(traffic.template.as_ptr().add(offset).cast()) }
}

#[inline(always)]
fn store<T>(packet: *mut u8, offset: usize, value: T) {
    // SAFETY: as in `copy`.
    unsafe { ptr::write_unaligned(packet.add(offset).cast::<T>(), value) };
}

#[inline(always)]
fn halves(word: u32) -> u32 {
    (word >> 16) + (word & 0xffff)
}

#[inline(always)]
fn fold(sum: u32) -> u16 {
    halves(halves(sum)) as u16
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo) -> ! {
    loop {}
}

/// As in `main.rs`.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
