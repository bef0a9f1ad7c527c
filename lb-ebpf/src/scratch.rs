//! Room for what helpers are told by address: keys, values, parameters. It lies in a map's element and not on the stack, because a
//! program has 512 octets of stack, which all that it calls share, and every key made somewhere on the packet path would take its
//! part of them for the whole path.

use aya_ebpf::macros::map;
use aya_ebpf::maps::PerCpuArray;
use lb_common::abi::{
    ClientKey, Destination, FlowKey4, FlowKey6, FragmentEntry, FragmentKey, Record, Recorded, ServerKey, Translated,
};

/// What is written to it holds until the next helper is told something.
#[repr(C)]
pub struct Scratch {
    /// A flow's key.
    pub key4: FlowKey4,
    /// The same for IPv6.
    pub key6: FlowKey6,
    /// A flow's record.
    pub record: Record,
    /// A datagram's key.
    pub fragment_key: FragmentKey,
    /// What its first fragment decided.
    pub fragment: FragmentEntry,
    /// A client that is remembered.
    pub client: ClientKey,
    /// A server ID.
    pub server: ServerKey,
    /// Where flows go that rules of locality keep together.
    pub destination: Destination,
    /// What user space is told of a flow that was recorded.
    pub recorded: Recorded,
    /// The same of one whose translation was recorded.
    pub translated: Translated,
    /// `struct bpf_fib_lookup`.
    pub fib: [u64; 8],
}

#[map]
static SCRATCH: PerCpuArray<Scratch> = PerCpuArray::with_max_entries(1, 0);

/// This CPU's; there always is one, but the verifier wants to see it checked.
#[inline(always)]
pub fn get() -> Option<&'static mut Scratch> {
    // SAFETY: the element is this CPU's own, XDP programs of one CPU do not interrupt each other, and nobody keeps what an earlier
    // call gave: each user fills it, calls one helper and is done.
    SCRATCH.get_ptr_mut(0).map(|scratch| unsafe { &mut *scratch })
}
