//! What the tracing program does besides forwarding: it notes each step of a packet, and when the packet's fate is known
//! and the filter takes it, writes the notes to the log. The forwarding program has none of this: its tracer is
//! [`Silent`].
//!
//! Notes are made in a map's element and worded afterwards, once, because a line of the log costs the verifier thousands
//! of instructions on every path that leads to it, and because the filter can then ask for what is known only at the end:
//! the backend, the service of a reply. Lines are terse; user space words them (`effects::dataplane::trace`).
//!
//! The last of the places in this crate where `unsafe` is needed: notes are written through a pointer, since every part
//! of the packet path holds it.

use core::ptr;

use aya_ebpf::EbpfContext as _;
use aya_ebpf::bindings::BPF_RB_AVAIL_DATA;
use aya_ebpf::helpers::generated::{
    bpf_get_smp_processor_id, bpf_ktime_get_coarse_ns, bpf_ktime_get_ns, bpf_xdp_get_buff_len, bpf_xdp_load_bytes,
};
use aya_ebpf::macros::map;
use aya_ebpf::maps::{Array, PerCpuArray, RingBuf};
use aya_ebpf::programs::XdpContext;
use aya_log_ebpf::info;
use aya_log_ebpf::macro_support::AYA_LOGS;
use lb_common::abi::Reverse;
use lb_common::address::Address;
use lb_common::flow::{Flow, SECOND};
use lb_common::packet::Datagram;
use lb_common::packet::transport::{destination_port_wire, source_port_wire};
use lb_common::path::translation::Ends;
use lb_common::path::{Step, Verdict};
use lb_common::slot::Slot;
use lb_common::trace::{CAPTURE_MAX, Capture, CaptureHeader, TraceBudget, TraceFilter, direction, terms};

use crate::tables;

#[map]
static TRACE_FILTER: Array<TraceFilter> = Array::with_max_entries(1, 0);
#[map]
static TRACE_BUDGET: PerCpuArray<TraceBudget> = PerCpuArray::with_max_entries(1, 0);
#[map]
static TRACE_NOTES: PerCpuArray<Notes> = PerCpuArray::with_max_entries(1, 0);
#[map]
static TRACE_CAPTURE: PerCpuArray<Capture> = PerCpuArray::with_max_entries(1, 0);
#[map]
static TRACE_PACKETS: RingBuf = RingBuf::with_byte_size(1 << 19, 0);

/// Octets of unread log beyond which no further packet is traced: its lines would come through in part. Half of what
/// aya-log's ring buffer holds.
const CROWDED: u64 = 1 << 16;

/// Who is told what happens to a packet.
pub trait Tracer {
    /// Takes note of a step.
    fn note(&self, step: Step<'_>);
}

/// The forwarding program's: nobody.
pub struct Silent;

impl Tracer for Silent {
    #[inline(always)]
    fn note(&self, _step: Step<'_>) {}
}

/// The tracing program's: this CPU's notes.
#[derive(Clone, Copy)]
pub struct Notebook(*mut Notes);

/// What is noted of one packet. A field counts only if its bit of `seen` is set.
#[repr(C)]
pub struct Notes {
    source: Address,
    destination: Address,
    flow_source: Address,
    flow_destination: Address,
    backend: Address,
    service: Address,
    becomes: Ends,
    seen: u32,
    ports_wire: u32,
    flow_ports_wire: u32,
    length: u32,
    slot: u32,
    slot_word: u32,
    first_row: u32,
    row: u32,
    interface: u32,
    verdict: u32,
    verdict_number: u32,
    recorded: u16,
    backend_port_wire: u16,
    service_port_wire: u16,
    protocol: u8,
    flow_protocol: u8,
    time_to_live: u8,
    reserved: [u8; 7],
}

mod seen {
    //! Bits of `Notes::seen`.
    pub const DATAGRAM: u32 = 1;
    pub const PORTS: u32 = 1 << 1;
    pub const QUOTE: u32 = 1 << 2;
    pub const FLOW: u32 = 1 << 3;
    pub const SLOT: u32 = 1 << 4;
    pub const RECORDED: u32 = 1 << 5;
    pub const NEW_RECORD: u32 = 1 << 6;
    pub const REFUSED: u32 = 1 << 7;
    pub const ROW: u32 = 1 << 8;
    pub const REPLY: u32 = 1 << 9;
    pub const TRANSLATED: u32 = 1 << 10;
    pub const NAMED: u32 = 1 << 11;
    pub const NOT_NAMED: u32 = 1 << 12;
}

mod fate {
    //! Values of `Notes::verdict`, and of its line in the log.
    pub const TRANSMIT: u32 = 0;
    pub const REDIRECT: u32 = 1;
    pub const PASS: u32 = 2;
    pub const DROP: u32 = 3;
}

impl Notebook {
    /// There is always one.
    #[inline(always)]
    pub fn of_this_cpu() -> Option<Self> {
        TRACE_NOTES.get_ptr_mut(0).map(Self)
    }
}

impl Tracer for Notebook {
    #[inline(always)]
    fn note(&self, step: Step<'_>) {
        // SAFETY: the element is this CPU's own for as long as the program runs, and nothing else refers to it meanwhile.
        let notes = unsafe { &mut *self.0 };
        match step {
            Step::Datagram(datagram) => notes.datagram(datagram),
            Step::Ports(ports_wire) => {
                notes.ports_wire = ports_wire;
                notes.seen |= seen::PORTS;
            }
            Step::Quote(flow) => notes.flow(flow, seen::QUOTE),
            Step::Flow(flow) => notes.flow(flow, seen::FLOW),
            // The row says it.
            Step::Chosen(_) => {}
            // Which it is, the row says too.
            Step::Named(backend) => notes.seen |= if backend.is_some() { seen::NAMED } else { seen::NOT_NAMED },
            // Only the verdict tells of these: names of virtual routers are known to `explain`.
            Step::Live(..) | Step::Admission(_) => {}
            Step::Service(service) => notes.first_row = service.first_row,
            Step::Slot(index, Slot(word)) => {
                (notes.slot, notes.slot_word) = (index, word);
                notes.seen |= seen::SLOT;
            }
            Step::Recorded(backend) => {
                notes.recorded = backend;
                notes.seen |= seen::RECORDED;
            }
            Step::NewRecord(backend) => {
                notes.recorded = backend;
                notes.seen |= seen::NEW_RECORD;
            }
            Step::Refused => notes.seen |= seen::REFUSED,
            Step::Row(index) => {
                notes.row = index;
                notes.seen |= seen::ROW;
            }
            Step::Reply(reverse) => notes.reply(reverse),
            Step::Translated(ends) => {
                notes.becomes = *ends;
                notes.seen |= seen::TRANSLATED;
            }
            Step::Verdict(verdict) => {
                (notes.verdict, notes.verdict_number) = match verdict {
                    Verdict::Transmit => (fate::TRANSMIT, notes.interface),
                    Verdict::Redirect(interface) => (fate::REDIRECT, interface),
                    Verdict::Pass(reason) => (fate::PASS, reason as u32),
                    Verdict::Drop(reason) => (fate::DROP, reason as u32),
                }
            }
        }
    }
}

impl Notes {
    #[inline(always)]
    fn datagram(&mut self, datagram: &Datagram) {
        (self.source, self.destination) = (datagram.source, datagram.destination);
        self.length = datagram.length;
        self.protocol = datagram.protocol;
        self.time_to_live = datagram.time_to_live;
        self.seen |= seen::DATAGRAM;
    }

    #[inline(always)]
    fn flow(&mut self, flow: &Flow, bit: u32) {
        (self.flow_source, self.flow_destination) = (flow.source, flow.destination);
        self.flow_ports_wire = flow.ports_wire;
        self.flow_protocol = flow.protocol;
        self.seen |= bit;
    }

    #[inline(always)]
    fn reply(&mut self, reverse: &Reverse) {
        (self.backend, self.service) = (reverse.backend, reverse.service);
        (self.backend_port_wire, self.service_port_wire) = (reverse.backend_port_wire, reverse.service_port_wire);
        self.seen |= seen::REPLY;
    }

    #[inline(always)]
    fn has(&self, bits: u32) -> bool {
        self.seen & bits != 0
    }

    /// Whether every term holds for one of the packet's two ends, its quoted flow's, its backend's or its service's.
    #[inline(always)]
    fn is_taken_by(&self, filter: &TraceFilter) -> bool {
        let wants = |term| filter.terms & term != 0;
        !(wants(terms::PROTOCOL) && !self.has_protocol(filter.protocol)
            || wants(terms::ADDRESS) && !self.has_address(filter.address)
            || wants(terms::PORT) && !self.has_port(filter.port_wire))
    }

    #[inline(always)]
    fn has_protocol(&self, protocol: u8) -> bool {
        self.has(seen::DATAGRAM) && self.protocol == protocol
            || self.has(seen::QUOTE | seen::FLOW) && self.flow_protocol == protocol
    }

    #[inline(always)]
    fn has_address(&self, address: Address) -> bool {
        self.has(seen::DATAGRAM) && (self.source == address || self.destination == address)
            || self.has(seen::QUOTE | seen::FLOW) && (self.flow_source == address || self.flow_destination == address)
            || self.has(seen::REPLY) && self.service == address
            || self.has(seen::ROW) && tables::row(self.row).is_some_and(|row| row.address == address)
            || self.has(seen::TRANSLATED) && (self.becomes.source == address || self.becomes.destination == address)
    }

    #[inline(always)]
    fn has_port(&self, port_wire: u16) -> bool {
        self.has(seen::PORTS) && has_port(self.ports_wire, port_wire)
            || self.has(seen::QUOTE | seen::FLOW) && has_port(self.flow_ports_wire, port_wire)
            || self.has(seen::REPLY) && self.service_port_wire == port_wire
            || self.has(seen::ROW) && tables::row(self.row).is_some_and(|row| row.port_wire == port_wire)
            || self.has(seen::TRANSLATED) && has_port(self.becomes.ports_wire, port_wire)
    }
}

#[inline(always)]
fn has_port(ports_wire: u32, port_wire: u16) -> bool {
    source_port_wire(ports_wire) == port_wire || destination_port_wire(ports_wire) == port_wire
}

/// Opens this CPU's notes for a packet, and keeps its octets as they came in if octets are wanted. Whether there are notes: always,
/// but the verifier wants to see it checked.
#[inline(never)]
pub fn begin(context: Context) -> bool {
    let Some(Notebook(notes)) = Notebook::of_this_cpu() else { return false };
    let context = &XdpContext::new(context);
    // SAFETY: the element is this CPU's own, and XDP programs of one CPU do not interrupt each other; the context is valid
    // for as long as the program runs.
    unsafe {
        (*notes).seen = 0;
        (*notes).interface = (*context.ctx).ingress_ifindex;
    }
    if wants_octets() {
        capture(context, direction::IN);
    }
    true
}

/// Logs the packet if the filter takes it, now that its fate is known.
#[inline(never)]
pub fn end(context: Context) {
    let Some(Notebook(notes)) = Notebook::of_this_cpu() else { return };
    let context = &XdpContext::new(context);
    // SAFETY: as in `Tracer::note`.
    let notes = unsafe { &*notes };
    let Some(filter) = TRACE_FILTER.get(0) else { return };
    if !notes.is_taken_by(filter) {
        return;
    }
    let Some(number) = admit(filter) else { return };
    log_packet(context.ctx, notes, number);
    log_choice(context.ctx, notes, number);
    log_fate(context.ctx, notes, number);
    if wants_octets() {
        show_capture();
        if matches!(notes.verdict, fate::TRANSMIT | fate::REDIRECT) {
            capture(context, direction::OUT);
            show_capture();
        }
    }
}

/// Takes one packet from this second's budget, while there is room for its lines; a number that is this packet's alone.
#[inline(always)]
fn admit(filter: &TraceFilter) -> Option<u64> {
    let budget = TRACE_BUDGET.get_ptr_mut(0)?;
    // SAFETY: the element is this CPU's own, and XDP programs of one CPU do not interrupt each other.
    let budget = unsafe { &mut *budget };
    // SAFETY: a helper without arguments.
    let second = unsafe { bpf_ktime_get_coarse_ns() } / SECOND;
    if budget.second != second {
        (budget.second, budget.spent) = (second, 0);
    }
    if budget.spent >= u64::from(filter.budget) || AYA_LOGS.query(BPF_RB_AVAIL_DATA.into()) > CROWDED {
        budget.skipped += 1;
        return None;
    }
    budget.spent += 1;
    budget.traced += 1;
    // SAFETY: a helper without arguments.
    Some(u64::from(unsafe { bpf_get_smp_processor_id() }) << 48 | budget.traced)
}

// Each of the following has a stack of its own: together they would need more than the 512 octets that a program has.

#[inline(never)]
fn log_packet(context: Context, notes: &Notes, number: u64) {
    if notes.has(seen::DATAGRAM) {
        let (source, destination) = (notes.source.octets(), notes.destination.octets());
        info!(context, "{} packet {:i} {:i} {} {}", number, source, destination, notes.protocol, notes.time_to_live);
    }
    if notes.has(seen::PORTS) {
        info!(context, "{} ports {} {}", number, source(notes.ports_wire), destination(notes.ports_wire));
    }
    info!(context, "{} size {} {}", number, notes.length, notes.interface);
}

#[inline(never)]
fn log_choice(context: Context, notes: &Notes, number: u64) {
    if notes.has(seen::QUOTE) {
        log_flow(context, notes, number);
    }
    if notes.has(seen::NAMED | seen::NOT_NAMED) {
        info!(context, "{} named {}", number, u8::from(notes.has(seen::NAMED)));
    }
    if notes.has(seen::SLOT) {
        info!(context, "{} slot {} {} {}", number, notes.slot, notes.slot_word, notes.first_row);
    }
    if notes.has(seen::RECORDED | seen::NEW_RECORD) {
        info!(context, "{} record {} {}", number, notes.recorded, u8::from(notes.has(seen::NEW_RECORD)));
    }
    if notes.has(seen::REFUSED) {
        info!(context, "{} refused", number);
    }
}

#[inline(never)]
fn log_flow(context: Context, notes: &Notes, number: u64) {
    let (client, service) = (notes.flow_source.octets(), notes.flow_destination.octets());
    let (client_port, service_port) = (source(notes.flow_ports_wire), destination(notes.flow_ports_wire));
    info!(context, "{} quote {:i} {} {:i} {}", number, client, client_port, service, service_port);
}

#[inline(never)]
fn log_fate(context: Context, notes: &Notes, number: u64) {
    if notes.has(seen::REPLY) {
        let (backend, service) = (notes.backend.octets(), notes.service.octets());
        let service_port = u16::from_be(notes.service_port_wire);
        info!(context, "{} reply {:i} {:i} {}", number, backend, service, service_port);
    }
    if notes.has(seen::ROW) {
        info!(context, "{} row {}", number, notes.row);
    }
    if notes.has(seen::TRANSLATED) {
        log_translation(context, &notes.becomes, number);
    }
    info!(context, "{} verdict {} {}", number, notes.verdict, notes.verdict_number);
}

#[inline(never)]
fn log_translation(context: Context, becomes: &Ends, number: u64) {
    let (source_octets, destination_octets) = (becomes.source.octets(), becomes.destination.octets());
    let (from, to) = (source(becomes.ports_wire), destination(becomes.ports_wire));
    info!(context, "{} becomes {:i} {} {:i} {}", number, source_octets, from, destination_octets, to);
}

/// The program's context, as a function of its own can take it.
type Context = *mut aya_ebpf::bindings::xdp_md;

#[inline(always)]
fn source(ports_wire: u32) -> u16 {
    u16::from_be(source_port_wire(ports_wire))
}

#[inline(always)]
fn destination(ports_wire: u32) -> u16 {
    u16::from_be(destination_port_wire(ports_wire))
}

#[inline(always)]
fn wants_octets() -> bool {
    TRACE_FILTER.get(0).is_some_and(|filter| filter.terms & terms::OCTETS != 0)
}

/// Copies the frame as it now is.
#[inline(always)]
fn capture(context: &XdpContext, direction: u32) {
    let Some(capture) = TRACE_CAPTURE.get_ptr_mut(0) else { return };
    // SAFETY: the element is this CPU's own; the helper writes no more than the masked length, which fits `octets`. A frame
    // has at least one octet, which the mask presumes.
    unsafe {
        let length = bpf_xdp_get_buff_len(context.ctx) as u32;
        let captured = if length > CAPTURE_MAX as u32 { CAPTURE_MAX as u32 } else { length };
        let captured = (captured.wrapping_sub(1) & (CAPTURE_MAX as u32 - 1)) + 1;
        let interface = (*context.ctx).ingress_ifindex;
        (*capture).header = CaptureHeader { time: bpf_ktime_get_ns(), length, captured, interface, direction };
        let octets = (&raw mut (*capture).octets).cast();
        if bpf_xdp_load_bytes(context.as_ptr().cast(), 0, octets, captured) != 0 {
            (*capture).header.captured = 0;
        }
    }
}

/// Hands the captured frame to user space; when the ring buffer is full it is lost, counted.
#[inline(always)]
fn show_capture() {
    let Some(capture) = TRACE_CAPTURE.get_ptr_mut(0) else { return };
    // SAFETY: the element is this CPU's own.
    let captured = unsafe { ptr::read_volatile(&raw const (*capture).header.captured) } as usize;
    if captured == 0 {
        return;
    }
    let length = size_of::<CaptureHeader>() + (captured - 1 & (CAPTURE_MAX - 1)) + 1;
    // SAFETY: the header and the captured octets lie within the element; the mask is what convinces the verifier.
    let octets: &[u8] = unsafe { core::slice::from_raw_parts(capture.cast_const().cast(), length) };
    if TRACE_PACKETS.output::<[u8]>(octets, 0).is_err()
        && let Some(budget) = TRACE_BUDGET.get_ptr_mut(0)
    {
        // SAFETY: the element is this CPU's own.
        unsafe { (*budget).uncaptured += 1 };
    }
}
