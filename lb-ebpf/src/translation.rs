//! Does what flows need whose translation is recorded, in global functions: the verifier walks each by itself, once, and each has the
//! stack that the path before has left, not what is left after the others. They take numbers and the packet, so what is to be done lies
//! in a map's element.

use core::arch::asm;

use aya_ebpf::bindings::xdp_md;
use aya_ebpf::macros::map;
use aya_ebpf::maps::PerCpuArray;
use aya_ebpf::programs::XdpContext;
use lb_common::counters::Reason;
use lb_common::path::translation::{self, Work};
use lb_common::path::{Step, own_client};

use crate::packet::Frame;
use crate::tables::Maps;
use crate::told::tell_translated;
use crate::trace::{Silent, Tracer};

#[map]
static WORK: PerCpuArray<Work> = PerCpuArray::with_max_entries(1, 0);

/// Set in an outcome that is a [`Reason`], not an interface: those are positive.
const FAILED: u32 = 1 << 31;
/// There is something to be done.
const TAKEN_UP: u32 = 1;
/// There is nothing to add.
const DONE: u32 = 0;

/// Notes what is to be done.
#[inline(always)]
pub fn prepare(note: impl FnOnce(&mut Work)) -> Option<()> {
    let work = WORK.get_ptr_mut(0)?;
    // SAFETY: the element is this CPU's own, XDP programs of one CPU do not interrupt each other, and no other reference to it is
    // live here. Any octets that a map begins with, zeros, are a `Work`.
    note(unsafe { &mut *work });
    Some(())
}

/// Notes a packet that may answer this host; whether there is anything to be done.
#[inline(always)]
pub fn take_up(context: *mut xdp_md) -> bool {
    fairway_read_answer(context) == TAKEN_UP && fairway_find_answer(fairway_identify_answer(context)) == TAKEN_UP
}

/// What [`own_client::read`] comes to.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn fairway_read_answer(context: *mut xdp_md) -> u32 {
    let context = XdpContext::new(context);
    taken_up(work().and_then(|work| own_client::read(&Frame(&context), work)))
}

/// What [`own_client::identify`] comes to.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn fairway_identify_answer(context: *mut xdp_md) -> u32 {
    let context = XdpContext::new(context);
    taken_up(work().and_then(|work| own_client::identify(&Frame(&context), &Maps(&context, Silent), work)))
}

/// What [`own_client::find`] comes to, if the packet's flow is known.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn fairway_find_answer(identified: u32) -> u32 {
    if identified != TAKEN_UP {
        return DONE;
    }
    // No look-up of a flow asks for the packet.
    let context = XdpContext::new(core::ptr::null_mut());
    taken_up(work().and_then(|work| own_client::find(&Maps(&context, Silent), work)))
}

/// Needs an argument: else the compiler passes whatever lies in the register, and the verifier wants it to be a number.
#[inline(always)]
fn take(argument: u32) {
    // SAFETY: it is no instruction.
    unsafe { asm!("/* {0} */", in(reg) argument, options(nomem, nostack, preserves_flags)) }
}

#[inline(always)]
fn taken_up(noted: Option<()>) -> u32 {
    if noted.is_some() { TAKEN_UP } else { DONE }
}

/// Does it; the interface that the packet leaves by.
#[inline(always)]
pub fn carry_out<T: Tracer>(context: &XdpContext, tracer: &T) -> Result<u32, Reason> {
    outcome(fairway_translation(0))?;
    let work = WORK.get_ptr(0).ok_or(Reason::Inconsistent)?;
    // SAFETY: as above.
    tracer.note(Step::Translated(unsafe { &(*work).becomes }));
    // SAFETY: as above.
    if unsafe { (*work).begins } {
        fairway_tell_translated(0);
    }
    outcome(fairway_translated_way(context.ctx))?;
    // SAFETY: as above.
    if unsafe { (*work).quotes() } {
        outcome(fairway_translate_quote(context.ctx))?;
    }
    outcome(fairway_translate(context.ctx))
}

/// What [`translation::decide`] comes to. Such a function must take something.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn fairway_translation(nothing: u32) -> u32 {
    take(nothing);
    let Some(work) = work() else { return number(Err(Reason::Inconsistent)) };
    // No look-up of a flow asks for the packet.
    let context = XdpContext::new(core::ptr::null_mut());
    number(translation::decide(&Maps(&context, Silent), work).map(|()| DONE))
}

/// Tells user space of the flow that begins. By itself, not where that is found out: there the stack is short.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn fairway_tell_translated(nothing: u32) -> u32 {
    take(nothing);
    if let Some(work) = work() {
        tell_translated(&work.key, &work.record);
    }
    DONE
}

/// What [`translation::find_way`] comes to.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn fairway_translated_way(context: *mut xdp_md) -> u32 {
    let Some(work) = work() else { return number(Err(Reason::Inconsistent)) };
    let context = XdpContext::new(context);
    number(translation::find_way(&Frame(&context), &Maps(&context, Silent), work).map(|()| DONE))
}

/// What [`translation::rewrite_quote`] comes to.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn fairway_translate_quote(context: *mut xdp_md) -> u32 {
    let Some(work) = work() else { return number(Err(Reason::Inconsistent)) };
    let context = XdpContext::new(context);
    number(translation::rewrite_quote(&mut Frame(&context), work).map(|()| DONE))
}

/// What [`translation::leave`] comes to.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn fairway_translate(context: *mut xdp_md) -> u32 {
    let Some(work) = work() else { return number(Err(Reason::Inconsistent)) };
    let context = XdpContext::new(context);
    number(translation::leave(&mut Frame(&context), &Maps(&context, Silent), work))
}

/// What was noted; there always is something, but the verifier wants to see it checked.
#[inline(always)]
fn work() -> Option<&'static mut Work> {
    // SAFETY: as in [`prepare`]: each of the functions above has it for itself while it runs.
    WORK.get_ptr_mut(0).map(|work| unsafe { &mut *work })
}

#[inline(always)]
fn number(outcome: Result<u32, Reason>) -> u32 {
    outcome.unwrap_or_else(|reason| FAILED | reason as u32)
}

#[inline(always)]
fn outcome(number: u32) -> Result<u32, Reason> {
    if number & FAILED == 0 {
        return Ok(number);
    }
    Err(Reason::from_number(number & !FAILED).unwrap_or(Reason::Inconsistent))
}
