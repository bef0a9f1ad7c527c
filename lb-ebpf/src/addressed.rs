//! The tables that this program addresses without a look-up: see [`lb_common::abi::addressed`].

use core::arch::asm;

use lb_common::abi::addressed::Table;
use lb_common::abi::{Displacements, HALF_ENTRIES, Root, Service};

/// The address of a table. The instruction holds a mark until the object is loaded. Not `pure`: each use loads it anew, since an address that
/// is kept from one look-up to the next is one more thing for the kernel's verifier to follow.
macro_rules! address {
    ($table:expr) => {{
        let address: usize;
        // SAFETY: one instruction that loads a number. Which table it is, who loads the object knows by the same number. No table lies
        // at 0: said, since it would be asked.
        unsafe {
            asm!(
                "{address} = {mark} ll",
                address = out(reg) address,
                mark = const $table.mark(),
                options(nomem, nostack, preserves_flags),
            );
            core::hint::assert_unchecked(address != 0);
        }
        address
    }};
}

/// Where look-ups start.
#[inline(always)]
pub fn root() -> &'static Root {
    let address = address!(Table::Root) as *const Root;
    // SAFETY: the table is one of these, is never taken away while a program has its address, and any octets are valid.
    unsafe { &*address }
}

/// The displacements of one half.
#[inline(always)]
pub fn displacements(half: u32) -> &'static Displacements {
    let address = address!(Table::Displacements) as *const Displacements;
    // SAFETY: as above; there are two, and the bit is below that.
    unsafe { &*address.add((half & 1) as usize) }
}

/// An entry of the service table, over both halves; `None` beyond them.
#[inline(always)]
pub fn service(index: u32) -> Option<&'static Service> {
    (index < ENTRIES).then(|| service_at(index))
}

/// An entry of a half of the service table.
#[inline(always)]
pub fn service_in(half: u32, entry: u32) -> &'static Service {
    service_at((half & 1) * HALF_ENTRIES as u32 + entry)
}

/// Entries of both halves; a power of two.
const ENTRIES: u32 = 2 * HALF_ENTRIES as u32;

/// The mask is an instruction that the compiler cannot leave out: what bounds an index otherwise, the verifier of Linux 6.1 does not follow,
/// and what may be anywhere in the table is to it alike, however it was found.
#[inline(always)]
fn service_at(index: u32) -> &'static Service {
    let mut place = index as usize;
    // SAFETY: one instruction on a number.
    unsafe {
        asm!(
            "{place} &= {mask}",
            place = inout(reg) place,
            mask = const ENTRIES - 1,
            options(pure, nomem, nostack, preserves_flags),
        );
    }
    let address = address!(Table::Services) as *const Service;
    // SAFETY: as above; the place is below the number of entries.
    unsafe { &*address.add(place) }
}
