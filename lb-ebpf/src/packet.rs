//! The octets of a frame in the kernel: every access is checked against the end of the first buffer.
//!
//! One of the three places in this crate where `unsafe` is needed; the verifier proves each of these accesses again.

use core::ptr;

use aya_ebpf::EbpfContext as _;
use aya_ebpf::helpers::generated::{bpf_xdp_adjust_head, bpf_xdp_adjust_tail, bpf_xdp_get_buff_len};
use aya_ebpf::programs::XdpContext;
use lb_common::packet::{FARTHEST, Packet};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// A frame, read and written in place.
pub struct Frame<'a>(pub &'a XdpContext);

impl Frame<'_> {
    #[inline(always)]
    fn at<T>(&self, offset: usize) -> Option<*mut T> {
        let start = self.0.data() + offset;
        (start + size_of::<T>() <= self.0.data_end()).then_some(start as *mut T)
    }
}

impl Packet for Frame<'_> {
    #[inline(always)]
    fn load<T: FromBytes + Copy>(&self, offset: usize) -> Option<T> {
        // SAFETY: `at` keeps the whole value inside the frame; any octets are a valid `T: FromBytes`.
        self.at(offset).map(|at| unsafe { ptr::read_unaligned(at) })
    }

    #[inline(always)]
    fn store<T: IntoBytes + Immutable + Copy>(&mut self, offset: usize, value: T) -> Option<()> {
        // SAFETY: `at` keeps the whole value inside the frame.
        self.at(offset).map(|at| unsafe { ptr::write_unaligned(at, value) })
    }

    #[inline(always)]
    fn front<T: FromBytes + IntoBytes + Immutable + KnownLayout + Unaligned>(&mut self) -> Option<&mut T> {
        // SAFETY: `at` keeps the whole value inside the frame; any octets are a valid `T`, wherever they lie. The frame is borrowed
        // for as long as the reference lives, so nothing moves it. No frame lies at 0: said, since it would be asked.
        self.at::<T>(0).map(|at| unsafe {
            core::hint::assert_unchecked(!at.is_null());
            &mut *at
        })
    }

    #[inline(always)]
    fn adjust_head(&mut self, delta: i32) -> Option<()> {
        // SAFETY: the context is the one that this program was called with. Pointers into the frame are made anew for
        // every access, so none outlives the move.
        let result = unsafe { bpf_xdp_adjust_head(self.0.ctx, delta) };
        (result == 0).then_some(())
    }

    #[inline(always)]
    fn truncate(&mut self, length: usize) -> Option<()> {
        // SAFETY: as for `adjust_head`.
        let result = unsafe {
            let present = bpf_xdp_get_buff_len(self.0.ctx);
            if present <= length as u64 {
                return None;
            }
            bpf_xdp_adjust_tail(self.0.ctx, (length as u64).wrapping_sub(present) as i32)
        };
        (result == 0).then_some(())
    }

    #[inline(always)]
    fn interface(&self) -> u32 {
        // SAFETY: the context is valid for as long as the program runs.
        unsafe { (*self.0.ctx).ingress_ifindex }
    }

    #[inline(always)]
    fn forget(&self, offset: usize) -> Option<usize> {
        // SAFETY: nothing ever writes the word.
        let zero = unsafe { ptr::read_volatile(&raw const ZERO) };
        // A sum, since Linux 6.1 keeps bounds only through sums, differences and masks, and the compiler would move the
        // mask in front of an exclusive or.
        (offset <= FARTHEST).then_some(offset.wrapping_add(zero) & FARTHEST)
    }

    #[inline(always)]
    fn nothing(&self) -> u32 {
        // SAFETY: nothing ever writes the word.
        unsafe { ptr::read_volatile((&raw const ZERO).cast::<u32>()) }
    }
}

/// Zero, which the verifier does not know.
static mut ZERO: usize = 0;

/// The frame's context as the helpers take it.
#[inline(always)]
pub fn context(context: &XdpContext) -> *mut core::ffi::c_void {
    context.as_ptr()
}
