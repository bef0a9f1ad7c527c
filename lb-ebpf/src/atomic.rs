//! Words that all CPUs change. The target has the instructions, but `core` offers no types for them, since the oldest versions
//! of the instruction set lack compare-and-exchange; ours (v3, every kernel since 5.12) has it.

use core::arch::asm;

/// Adds to a word, whatever other CPUs do.
///
/// # Safety
/// `word` is aligned, and valid for reads and writes by all CPUs.
#[inline(always)]
pub unsafe fn add(word: *mut i32, summand: i32) {
    // SAFETY: one instruction on a word that is valid by this function's contract.
    unsafe { asm!("lock *(u32 *)({word} + 0) += {summand}", word = in(reg) word, summand = in(wreg) summand) };
}

/// Replaces a word if it is still `before`; whether it was.
///
/// # Safety
/// `word` is aligned, and valid for reads and writes by all CPUs.
#[inline(always)]
pub unsafe fn replace(word: *mut u64, before: u64, after: u64) -> bool {
    let found: u64;
    // SAFETY: one instruction on a word that is valid by this function's contract. It leaves what it found in r0.
    unsafe {
        asm!(
            "r0 = cmpxchg_64({word} + 0, r0, {after})",
            word = in(reg) word,
            after = in(reg) after,
            inout("r0") before => found,
        );
    }
    found == before
}
